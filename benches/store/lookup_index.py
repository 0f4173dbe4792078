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
            "use_query_condition_cache": 1, "use_skip_indexes": 1}
BLOCK = {"max_insert_block_size": 1_000_000, "min_insert_block_size_rows": 1_000_000, "max_block_size": 1_000_000,
         "min_insert_block_size_bytes": 0, "max_threads": 1, "max_partitions_per_insert_block": 0}
INDEX = "k UInt64 CODEC(Delta, ZSTD(1)), timestamp DateTime64(3, 'UTC') CODEC(ZSTD(1)), week Date CODEC(ZSTD(1))"
COLUMNS = "cityHash64(project, request_id) AS k, timestamp, toMonday(received_at) AS week"
SAMPLES = 300


def load(engine, million, start, step):
    for i in range(million):
        engine.query("INSERT INTO b.events " + bench.rows(i * 1_000_000, 1_000_000, start, step), **BLOCK)
    ddl = engine.query("SHOW CREATE TABLE b.events FORMAT TSVRaw")
    engine.query(ddl.replace("b.events", "b.events_8192").replace("index_granularity = 1024", "index_granularity = 8192"))
    engine.query(ddl.replace("b.events", "b.events_bloom").replace("index_granularity = 1024", "index_granularity = 8192")
                 .replace("`marks` UInt32 CODEC(ZSTD(1))", "`marks` UInt32 CODEC(ZSTD(1)), INDEX rid request_id TYPE bloom_filter(0.001) GRANULARITY 1"))
    engine.query(ddl.replace("b.events", "b.events_compact").replace("index_granularity = 1024",
                 "index_granularity = 4096, min_rows_for_wide_part = 1000000000000, min_bytes_for_wide_part = 1000000000000"))
    engine.query(f"CREATE TABLE b.index_flat ({INDEX}) ENGINE = MergeTree ORDER BY (k, timestamp) SETTINGS index_granularity = 256")
    engine.query(f"CREATE TABLE b.index_unmerged ({INDEX}) ENGINE = MergeTree PARTITION BY week ORDER BY (k, timestamp) "
                 "SETTINGS index_granularity = 256")
    engine.query("SYSTEM STOP MERGES b.index_unmerged")
    week_filter = lambda i: f"received_at >= fromUnixTimestamp64Milli({start + i * 1_000_000 * step}) AND received_at < fromUnixTimestamp64Milli({start + (i + 1) * 1_000_000 * step})"
    for i in range(million):
        for table in ("request_index", "index_flat", "index_unmerged"):
            engine.query(f"INSERT INTO b.{table} (k, timestamp, week) SELECT {COLUMNS} FROM b.events WHERE {week_filter(i)}", **BLOCK)
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
    answer = engine.query(sql, **settings)
    return (time.perf_counter() - begin) * 1000, answer


def two_steps(engine, rid, index, events, extra):
    lean = {**LEAN, **extra}
    first, answer = timed(engine, f"SELECT toUnixTimestamp64Milli(timestamp), week FROM b.{index} WHERE k = cityHash64('default', '{rid}') LIMIT 1000 FORMAT TSV", lean)
    found = [line.split("\t") for line in answer.splitlines()]
    stamps = ",".join(f"fromUnixTimestamp64Milli({ms}, 'UTC')" for ms, _ in found)
    weeks = ",".join(f"'{week}'" for _, week in found)
    second, answer = timed(engine, f"SELECT * FROM b.{events} WHERE project = 'default' AND timestamp IN ({stamps}) AND toMonday(received_at) IN ({weeks}) "
                           f"AND request_id = '{rid}' ORDER BY timestamp LIMIT 1 BY key FORMAT JSONEachRow", lean)
    assert rid in answer
    return first, second


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
    seed = random.Random(20261122)
    rids = []
    while len(rids) < SAMPLES:
        n = seed.randrange(million * 1_000_000)
        h = engine.query(f"SELECT lower(hex(sipHash128(toUInt64({n}), 'request')))").strip()
        rids.append(f"{h[:8]}-{h[8:12]}-{h[12:16]}-{h[16:20]}-{h[20:]}")
    pairs = {"request_index (weekly, closed weeks merged)": ("request_index", "events", {}),
             "the same, default settings instead of lean ones": ("request_index", "events", DEFAULTS),
             "the same, enable_analyzer=0": ("request_index", "events", {"enable_analyzer": 0}),
             "the same, events granule 8192": ("request_index", "events_8192", {}),
             "the same, events in compact parts, granule 4096": ("request_index", "events_compact", {}),
             "weekly, never merged": ("index_unmerged", "events", {}),
             "not partitioned": ("index_flat", "events", {})}
    taken = {name: ([], [], []) for name in pairs}
    ones, blooms, missing = [], [], []
    for turn, rid in enumerate(rids):
        ones.append(timed(engine, "SELECT 1", LEAN)[0])
        missing.append(timed(engine, f"SELECT timestamp, week FROM b.request_index WHERE k = cityHash64('default', 'none-{rid}') LIMIT 1000", LEAN)[0])
        for name, (index, events, extra) in pairs.items():
            first, second = two_steps(engine, rid, index, events, extra)
            for samples, value in zip(taken[name], (first, second, first + second)):
                samples.append(value)
        if turn % 4 == 0:
            settings = {**LEAN, "use_skip_indexes": 1}
            blooms.append(timed(engine, f"SELECT * FROM b.events_bloom WHERE project = 'default' AND request_id = '{rid}' FORMAT JSONEachRow", settings)[0])
    print("| layout | index p50 | p99 | event p50 | p99 | both p50 | p99 ms |\n|---|---|---|---|---|---|---|")
    show = lambda samples: f"{bench.percentile(samples, .5):.2f} | {bench.percentile(samples, .99):.2f}"
    print(f"| SELECT 1 | | | | | {show(ones)} |")
    print(f"| an id never received | {show(missing)} | | | | |")
    for name, (first, second, both) in taken.items():
        print(f"| {name} | {show(first)} | {show(second)} | {show(both)} |")
    print(f"| bloom filter on events, no index table | | | | | {show(blooms)} |")
    engine.stop()


main()
