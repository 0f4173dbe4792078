"""A lookup by request_id among 100 M events of 30 days, against `SELECT 1` on the same kept connection.

    python3 benches/store/load_100m.py [million rows, default 100]

ClickHouse generates the rows into the tables as the migrations make them, a part a million rows, and merges as it likes; then
closed weeks are merged to one part, as `Store::merge_closed_weeks` does. With ERRATA_BENCH_DIR a second run finds the rows there.
"""

import sys, time
import bench
from lookup_index import BLOCK, COLUMNS, LEAN, first_step, ids, timed, two_steps

DAY_MS = 86_400_000


def load(engine, million, start, step):
    bench.migrate(engine, "b")
    for i in range(million):
        engine.query("INSERT INTO b.events " + bench.rows(i * 1_000_000, 1_000_000, start, step), **BLOCK)
        span = (f"received_at >= fromUnixTimestamp64Milli({start + i * 1_000_000 * step}) AND "
                f"received_at < fromUnixTimestamp64Milli({start + (i + 1) * 1_000_000 * step})")
        engine.query(f"INSERT INTO b.request_index (k, second, week) SELECT {COLUMNS} FROM b.events WHERE {span}", **BLOCK)
    engine.rest()
    for table in ("request_index", "events"):
        weeks = engine.query(f"SELECT DISTINCT partition FROM system.parts WHERE active AND database = 'b' AND table = '{table}' ORDER BY 1").split()
        for week in weeks[:-1]:
            engine.query(f"OPTIMIZE TABLE b.{table} PARTITION '{week}' FINAL")
    engine.rest()


def main():
    million = int(sys.argv[1]) if len(sys.argv) > 1 else 100
    step = 30 * DAY_MS // (million * 1_000_000)
    start = int(time.time() * 1000) - 30 * DAY_MS
    engine = bench.Engine(f"lookup-{million}")
    begin, cpu = time.time(), engine.cpu()
    if engine.query("EXISTS TABLE b.events").strip() == "0":
        load(engine, million, start, step)
    print(f"engine {engine.version}, {million} M rows over 30 days, loaded in {time.time() - begin:.0f} s, {engine.cpu() - cpu:.0f} s of CPU")
    print(engine.query("SELECT table, count() AS parts, round(sum(bytes_on_disk) / sum(rows), 1) AS bytes_a_row FROM system.parts "
                       "WHERE active AND database = 'b' AND table IN ('events', 'request_index') GROUP BY table ORDER BY table FORMAT TSVWithNames"))
    taken = {"`SELECT 1`": [], "an id never received": [], "index": [], "event": [], "both": []}
    rids = ids(engine, million * 1_000_000)
    for rid in rids[:20]:
        two_steps(engine, rid, "request_index", "events", {})
    for rid in rids:
        taken["`SELECT 1`"].append(timed(engine, "SELECT 1", LEAN)[0])
        taken["an id never received"].append(first_step(engine, "none-" + rid, "request_index", LEAN)[0])
        first, second = two_steps(engine, rid, "request_index", "events", {})
        for name, value in (("index", first), ("event", second), ("both", first + second)):
            taken[name].append(value)
    one = bench.percentile(taken["`SELECT 1`"], .5)
    print("| | p50 ms | p99 ms | p50 in `SELECT 1` | p99 |\n|---|---|---|---|---|")
    for name, samples in taken.items():
        p50, p99 = bench.percentile(samples, .5), bench.percentile(samples, .99)
        print(f"| {name} | {p50:.2f} | {p99:.2f} | {p50 / one:.1f} | {p99 / one:.1f} |")
    engine.stop()


main()
