"""The hours of issues in small granules and blocks, as `migrations/0005_issues.sql` has them, and in ClickHouse's own: one issue's week, and all issues.

    ERRATA_BENCH_DIR=… python3 benches/store/granules.py [million events, default 100]

Over the tables that `api_100m.py` has filled.
"""

import random
import re
import sys
import time
import bench

SMALL = "index_granularity = 1024, min_compress_block_size = 16384, max_compress_block_size = 65536"
TABLES = ("b.issues_small", "b.issues_large")
LEAN = {"max_threads": 1, "enable_analyzer": 0, "use_query_condition_cache": 0, "optimize_use_projections": 0, "use_skip_indexes": 0}
CELLS = "FROM {} WHERE batch = toUUID('00000000-0000-0000-0000-000000000000') AND project = 'default'"
WEEK = ("SELECT at, sum(count), groupUniqArray(100)(toString(release)) " + CELLS + " AND week >= toDate({}) AND at >= toDateTime({}, 'UTC') AND "
        "at < toDateTime({}, 'UTC') AND toDate(at) >= toDate({}) AND toDate(at) <= toDate({}) AND fingerprint = {} GROUP BY at")
ALL = "SELECT fingerprint, sum(count) AS events " + CELLS + " GROUP BY fingerprint ORDER BY events DESC LIMIT 100"


def fill(engine, table, settings):
    ddl = engine.query("SHOW CREATE TABLE b.rollup_issues FORMAT TSVRaw").replace("b.rollup_issues", table)
    for name in ("index_granularity", "min_compress_block_size", "max_compress_block_size"):
        ddl = re.sub(rf"{name} = \d+(, )?", "", ddl)
    engine.query(f"DROP TABLE IF EXISTS {table} SYNC")
    engine.query(ddl.strip().rstrip(",") + (f", {settings}" if settings else ""))
    for week in engine.query("SELECT DISTINCT week FROM b.rollup_issues").split():
        engine.query(f"INSERT INTO {table} SELECT * FROM b.rollup_issues WHERE week = '{week}'", max_insert_block_size=100_000_000,
                     min_insert_block_size_rows=100_000_000, min_insert_block_size_bytes=0)
    engine.query(f"OPTIMIZE TABLE {table} FINAL")


def main():
    million = int(sys.argv[1]) if len(sys.argv) > 1 else 100
    engine = bench.Engine(f"lookup-{million}")
    try:
        for table, settings in zip(TABLES, (SMALL, "")):
            fill(engine, table, settings)
        last = int(engine.query("SELECT toUInt32(max(at)) FROM b.rollup_issues")) // 86400
        issues = engine.query("SELECT fingerprint FROM b.issues WHERE project = 'default' ORDER BY cityHash64(fingerprint) LIMIT 400").split()
        chance = random.Random(1)
        print("| table | bytes | one issue's week: p50 ms | p95 | CPU ms | all issues: p50 ms |\n|---|---|---|---|---|---|")
        weeks = [(chance.randrange(last - 28, last - 7), issue) for issue in issues]
        taken = {table: ([], [0.0], []) for table in TABLES}
        for turn in range(8):
            for table in TABLES:
                times, cpu, scans = taken[table]
                before = engine.cpu()
                for day, issue in weeks[turn * 50:turn * 50 + 50]:
                    sql = WEEK.format(table, day - 7, day * 86400, (day + 7) * 86400, day, day + 6, issue)
                    start = time.perf_counter()
                    engine.query(sql, **LEAN)
                    times.append((time.perf_counter() - start) * 1000)
                cpu[0] += engine.cpu() - before
                start = time.perf_counter()
                engine.query(ALL.format(table), max_threads=2, use_query_condition_cache=0)
                scans.append((time.perf_counter() - start) * 1000)
        for table in TABLES:
            times, cpu, scans = taken[table]
            size = engine.query(f"SELECT sum(bytes_on_disk) FROM system.parts WHERE active AND database || '.' || table = '{table}'").strip()
            p50, p95 = bench.percentile(times, .5), bench.percentile(times, .95)
            print(f"| {table} | {size} | {p50:.1f} | {p95:.1f} | {cpu[0] * 1000 / len(times):.1f} | {bench.percentile(scans, .5):.0f} |")
    finally:
        for table in TABLES:
            engine.query(f"DROP TABLE IF EXISTS {table} SYNC")
        engine.stop()


main()
