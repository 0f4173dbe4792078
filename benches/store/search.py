"""The newest 100 events of a filter, by three ways to ask: whole rows, narrow rows first, narrow rows read in order (by two sizes of blocks).

    ERRATA_BENCH_DIR=… python3 benches/store/lookup_index.py 10    # loads the rows
    ERRATA_BENCH_DIR=… python3 benches/store/search.py [directory, default lookup; lookup-100 of load_100m.py]
"""

import sys, time
import bench

LEAN = {"max_threads": 1, "optimize_use_projections": 0, "optimize_use_implicit_projections": 0,
        "use_query_condition_cache": 0, "use_skip_indexes": 0}
IN_ORDER = [{"max_block_size": rows, "read_in_order_use_buffering": 0} for rows in (8192, 65536)]
FILTERS = (("none", ""), ("5xx", " AND status >= 500"), ("status, service and method", " AND status = 422 AND service = 'service-3' AND method = 'POST'"),
           ("an account with a page in a day", " AND account_id = '500'"), ("a rare account", " AND account_id = '49999'"))
NEWEST = "ORDER BY timestamp DESC, key DESC LIMIT 1 BY key LIMIT 101"


def main():
    engine = bench.Engine(sys.argv[1] if len(sys.argv) > 1 else "lookup")
    to = int(time.time() * 1000)
    window = to - 31 * 86_400_000
    rows = (f"FROM b.events WHERE project = 'default' AND timestamp >= fromUnixTimestamp64Milli({window}, 'UTC') "
            f"AND timestamp < fromUnixTimestamp64Milli({to}, 'UTC')")
    print("| filter | whole rows | narrow first | in order, 8,192 | 65,536 | ms, best of 3 |\n|---|---|---|---|---|---|")
    for name, condition in FILTERS:
        whole = f"SELECT * {rows}{condition} {NEWEST}"
        narrow = f"SELECT * {rows} AND (timestamp, key) IN (SELECT timestamp, key {rows}{condition} {NEWEST}) {NEWEST}"
        taken = []
        for sql, settings in ((whole, LEAN), (narrow, LEAN), *((narrow, {**LEAN, **in_order}) for in_order in IN_ORDER)):
            samples = []
            for _ in range(3):
                begin = time.perf_counter()
                engine.query(sql, **settings)
                samples.append((time.perf_counter() - begin) * 1000)
            taken.append(f"{min(samples):.0f}")
        print(f"| {name} | {' | '.join(taken)} |", flush=True)
    engine.stop()


main()
