"""Lookup by request_id over 30 days: which layout, measured against `SELECT 1` on the same kept connection.

    python3 benches/store/lookup_index.py [million rows, default 12]

Every layout is asked for the same random ids; layouts and `SELECT 1` alternate, so that the noise of the machine hits all alike.
Closed weeks are merged to one part, the current week is left as background merges left it.
"""

import random, sys, time
import bench

LEAN = {"max_threads": 1, "optimize_use_projections": 0, "optimize_use_implicit_projections": 0,
        "use_query_condition_cache": 0, "use_skip_indexes": 0}
DEFAULTS = {"max_threads": 2, "optimize_use_projections": 1, "optimize_use_implicit_projections": 1,
            "use_query_condition_cache": 1, "use_skip_indexes": 1, "enable_analyzer": 1}
BLOCK = {"max_insert_block_size": 1_000_000, "min_insert_block_size_rows": 1_000_000, "max_block_size": 1_000_000,
         "min_insert_block_size_bytes": 0, "max_threads": 1, "max_partitions_per_insert_block": 0}
INDEX = "k UInt64 CODEC(T64('bit'), ZSTD(1)), second DateTime('UTC') CODEC(T64('bit'), ZSTD(1)), week Date CODEC(ZSTD(1))"
COLUMNS = "bitShiftRight(xxh3(concat(project, '\\0', request_id)), 24) AS k, toDateTime(timestamp, 'UTC') AS second, toMonday(received_at) AS week"
SAMPLES = 300
# `EventRow` of src/store/query/event_row.rs.
ROW = ("key, request_uuid, request_text, timestamp, received_at, status, origin, host, path_values, error, `errors.field`, `errors.message`, "
       "`errors.rule`, body, account_id, user_id, duration_ms, client_ip4, user_agent, fingerprint, details")


def load(engine, million, start, step):
    for i in range(million):
        engine.query("INSERT INTO b.events " + bench.rows(i * 1_000_000, 1_000_000, start, step), **BLOCK)
    ddl = engine.query("SHOW CREATE TABLE b.events FORMAT TSVRaw")
    engine.query(ddl.replace("b.events", "b.events_8192").replace("index_granularity = 1024", "index_granularity = 8192"))
    engine.query(ddl.replace("b.events", "b.events_bloom").replace("index_granularity = 1024", "index_granularity = 8192")
                 .replace("`details` String CODEC(ZSTD(1))", "`details` String CODEC(ZSTD(1)), INDEX rid request_uuid TYPE bloom_filter(0.001) GRANULARITY 1"))
    engine.query(ddl.replace("b.events", "b.events_compact").replace("index_granularity = 1024",
                 "index_granularity = 4096, min_rows_for_wide_part = 1000000000000, min_bytes_for_wide_part = 1000000000000"))
    engine.query(f"CREATE TABLE b.index_flat ({INDEX}) ENGINE = MergeTree ORDER BY (k, second) SETTINGS index_granularity = 256")
    engine.query(f"CREATE TABLE b.index_unmerged ({INDEX}) ENGINE = MergeTree PARTITION BY week ORDER BY (k, second) "
                 "SETTINGS index_granularity = 256")
    engine.query("SYSTEM STOP MERGES b.index_unmerged")
    week_filter = lambda i: f"received_at >= fromUnixTimestamp64Milli({start + i * 1_000_000 * step}) AND received_at < fromUnixTimestamp64Milli({start + (i + 1) * 1_000_000 * step})"
    for i in range(million):
        for table in ("request_index", "index_flat", "index_unmerged"):
            engine.query(f"INSERT INTO b.{table} (k, second, week) SELECT {COLUMNS} FROM b.events WHERE {week_filter(i)}", **BLOCK)
        for table in ("events_8192", "events_compact", "events_bloom"):
            engine.query(f"INSERT INTO b.{table} SELECT * FROM b.events WHERE {week_filter(i)}", **BLOCK)
    engine.rest()
    for table in ("events", "events_8192", "events_compact", "events_bloom", "request_index"):
        weeks = engine.query(f"SELECT DISTINCT partition FROM system.parts WHERE active AND database='b' AND table='{table}' ORDER BY 1").split()
        for week in weeks[:-1]:
            engine.query(f"OPTIMIZE TABLE b.{table} PARTITION '{week}' FINAL")
    engine.rest()


def timed(engine, sql, settings):
    begin = time.perf_counter()
    settings = dict(settings)
    answer = engine.raw(sql, **settings) if settings.pop("raw", 0) else engine.query(sql, **settings)
    return (time.perf_counter() - begin) * 1000, answer


def key(rid):
    return f"bitShiftRight(xxh3('default\\0{rid}'), 24)"


PLAINLY = {"enable_analyzer": 0}


def first_step(engine, rid, index, settings):
    """As `few_places` of src/store/query/request.rs asks."""
    sql = f"SELECT DISTINCT k, second, week FROM b.{index} WHERE k = {key(rid)} LIMIT 203 FORMAT TSV"
    return timed(engine, sql, {**PLAINLY, **settings})


def two_steps(engine, rid, index, events, extra):
    """The second as `few_events` asks: nearly all requests have one second. Of a stranger's second nothing is found."""
    first, answer = first_step(engine, rid, index, {**LEAN, **extra})
    found = b""
    second = 0
    for _, at, week in (line.split("\t") for line in answer.splitlines()):
        took, rows = timed(engine, f"SELECT {ROW} FROM b.{events} WHERE project = 'default' AND timestamp >= toDateTime64('{at}', 3, 'UTC') AND "
                           f"timestamp < toDateTime64('{at}', 3, 'UTC') + INTERVAL 1 SECOND AND toMonday(received_at) = '{week}' AND request_text = '' "
                           f"AND request_uuid = toUUID('{rid}') LIMIT 203 FORMAT RowBinary", {**LEAN, **PLAINLY, **extra, "raw": 1})
        second, found = second + took, found + rows
    # A UUID in RowBinary: its two halves, each in reverse.
    whole = bytes.fromhex(rid.replace("-", ""))
    assert whole[7::-1] + whole[:7:-1] in found
    return first, second


def ids(engine, rows):
    """Request ids of rows drawn at random, of the same rows each time."""
    seed = random.Random(20261122)
    numbers = ",".join(str(seed.randrange(rows)) for _ in range(SAMPLES))
    hexes = engine.query(f"SELECT lower(hex(sipHash128(toUInt64(arrayJoin([{numbers}])), 'request')))").split()
    return [f"{h[:8]}-{h[8:12]}-{h[12:16]}-{h[16:20]}-{h[20:]}" for h in hexes]


def main():
    million = int(sys.argv[1]) if len(sys.argv) > 1 else 12
    span = 30 * 86_400_000
    step = span // (million * 1_000_000)
    start = int(time.time() * 1000) - span
    engine = bench.Engine("lookup")
    begin = time.time()
    if engine.query("EXISTS TABLE b.events_bloom").strip() == "0":  # else: loaded by an earlier run in the same ERRATA_BENCH_DIR
        bench.migrate(engine, "b")
        load(engine, million, start, step)
    print(f"engine {engine.version}, {million} M rows over 30 days, loaded in {time.time() - begin:.0f} s")
    print(engine.query("SELECT table, count() AS parts, round(sum(bytes_on_disk) / sum(rows), 1) AS bytes_a_row "
                       "FROM system.parts WHERE active AND database = 'b' GROUP BY table ORDER BY table FORMAT TSVWithNames"))
    rids = ids(engine, million * 1_000_000)
    pairs = {"request_index (weekly, closed weeks merged)": ("request_index", "events", {}),
             "the same, default settings instead of lean ones": ("request_index", "events", DEFAULTS),
             "the same, enable_analyzer=1": ("request_index", "events", {"enable_analyzer": 1}),
             "the same, events granule 8192": ("request_index", "events_8192", {}),
             "the same, events in compact parts, granule 4096": ("request_index", "events_compact", {}),
             "weekly, never merged": ("index_unmerged", "events", {}),
             "not partitioned": ("index_flat", "events", {})}
    taken = {name: ([], [], []) for name in pairs}
    ones, blooms, missing = [], [], []
    for turn, rid in enumerate(rids):
        ones.append(timed(engine, "SELECT 1", LEAN)[0])
        missing.append(first_step(engine, "none-" + rid, "request_index", LEAN)[0])
        for name, (index, events, extra) in pairs.items():
            first, second = two_steps(engine, rid, index, events, extra)
            for samples, value in zip(taken[name], (first, second, first + second)):
                samples.append(value)
        if turn % 4 == 0:
            settings = {**LEAN, "use_skip_indexes": 1}
            blooms.append(timed(engine, f"SELECT * FROM b.events_bloom WHERE project = 'default' AND request_uuid = '{rid}' FORMAT JSONEachRow", settings)[0])
    print("| layout | index p50 | p99 | event p50 | p99 | both p50 | p99 ms |\n|---|---|---|---|---|---|---|")
    show = lambda samples: f"{bench.percentile(samples, .5):.2f} | {bench.percentile(samples, .99):.2f}"
    print(f"| SELECT 1 | | | | | {show(ones)} |")
    print(f"| an id never received | {show(missing)} | | | | |")
    for name, (first, second, both) in taken.items():
        print(f"| {name} | {show(first)} | {show(second)} | {show(both)} |")
    print(f"| bloom filter on events, no index table | | | | | {show(blooms)} |")
    engine.stop()


if __name__ == "__main__":
    main()
