"""What adding rollups costs the engine per 1 M events, by how many events are added at once.

    python3 benches/store/rollups.py

The cells are counted by ClickHouse itself and written out as Arrow streams, as the collector sends them; then they are
inserted (fsync included), once with merges stopped ("idle") and once with merges, which are waited for. CPU seconds of the engine alone:
what counting costs the collector is `cargo bench --bench rollup`. "final" is the size of everything merged to one part.
"""

import time
import bench

SETTINGS = {"async_insert": 0, "max_insert_threads": 1, "input_format_parallel_parsing": 0, "max_insert_block_size": 100_000_000,
            "min_insert_block_size_rows": 100_000_000, "min_insert_block_size_bytes": 0, "input_format_null_as_default": 0, "optimize_on_insert": 0}
OUTPUT = ("output_format_arrow_low_cardinality_as_dictionary = 1, output_format_arrow_string_as_string = 1, "
          "output_format_arrow_compression_method = 'none', max_threads = 1, max_block_size = 100000000, "
          "group_by_two_level_threshold = 0, group_by_two_level_threshold_bytes = 0")
HOUR = "toStartOfHour(toDateTime(timestamp, 'UTC')) AS at"
DAY = "toStartOfDay(toDateTime(timestamp, 'UTC')) AS at"
MINUTE = "toStartOfMinute(toDateTime(timestamp, 'UTC')) AS at"
WHO = "toDate(toMonday(received_at)) AS week, toUUID('00000000-0000-0000-0000-000000000000') AS batch, project"
LAST = "max(CAST((timestamp, request_id), 'Tuple(at DateTime64(3, \\'UTC\\'), request_id String)')) AS last_seen"
CELLS = {
    "rollup_counts": (
        "SELECT {who}, 1::Int8 AS per, {minute}, service, environment, route, method, status, count() AS count {rows} GROUP BY ALL "
        "UNION ALL SELECT {who}, 2::Int8 AS per, {hour}, service, environment, route, method, status, count() AS count {rows} GROUP BY ALL "
        "UNION ALL SELECT {who}, 3::Int8 AS per, {minute}, service, environment, '' AS route, '' AS method, status, count() AS count {rows} GROUP BY ALL "
        "UNION ALL SELECT {who}, 4::Int8 AS per, {hour}, service, environment, '' AS route, '' AS method, status, count() AS count {rows} GROUP BY ALL",
        "project, per, toStartOfHour(at), service, environment, route, method, status, at"),
    "rollup_failures": (
        "SELECT {who}, {hour}, service, environment, route, `errors.field`[1]::LowCardinality(String) AS field, "
        "`errors.rule`[1]::LowCardinality(String) AS rule, count() AS count, count() AS events, 0::UInt64 AS field_repeats, "
        "0::UInt64 AS rule_repeats, 0::UInt64 AS any_repeats, groupUniqArray(account_id) AS accounts, min(timestamp) AS first_seen, "
        "{last} {rows} AND notEmpty(`errors.field`) GROUP BY week, batch, project, at, service, environment, route, field, rule",
        "project, at, service, environment, route, field, rule"),
    "rollup_failure_days": (
        "SELECT {who}, {day}, service, environment, route, `errors.field`[1]::LowCardinality(String) AS field, "
        "`errors.rule`[1]::LowCardinality(String) AS rule, count() AS count, count() AS events, 0::UInt64 AS field_repeats, "
        "0::UInt64 AS rule_repeats, 0::UInt64 AS any_repeats, groupUniqArray(account_id) AS accounts, min(timestamp) AS first_seen, "
        "{last} {rows} AND notEmpty(`errors.field`) GROUP BY week, batch, project, at, service, environment, route, field, rule",
        "project, at, service, environment, route, field, rule"),
    "rollup_failure_counts": (
        "SELECT {who}, 1::Int8 AS per, {day}, service, environment, route, `errors.field`[1]::LowCardinality(String) AS field, "
        "`errors.rule`[1]::LowCardinality(String) AS rule, count() AS count {rows} AND notEmpty(`errors.field`) GROUP BY ALL "
        "UNION ALL SELECT {who}, 2::Int8 AS per, toDateTime(toMonday(toDateTime(timestamp, 'UTC')), 'UTC') AS at, service, environment, route, "
        "`errors.field`[1]::LowCardinality(String) AS field, `errors.rule`[1]::LowCardinality(String) AS rule, count() AS count {rows} "
        "AND notEmpty(`errors.field`) GROUP BY ALL",
        "project, per, at, service, environment, route, field, rule"),
    "rollup_accounts": (
        "SELECT {who}, account_id AS account, {hour}, service, environment, route, method, status, count() AS count {rows} GROUP BY ALL",
        "project, toDate(at), account, at, service, environment, route, method, status"),
    "rollup_issues": (
        "SELECT {who}, {hour}, fingerprint, environment, release, count() AS count, "
        "toUInt32(max(toUnixTimestamp64Milli(timestamp)) - toUnixTimestamp(at) * 1000) AS last_ms {rows} GROUP BY ALL",
        "project, toDate(at), fingerprint, environment, release, at"),
}


def main():
    engine = bench.Engine("rollups")
    bench.migrate(engine, "f")
    start = int(time.time() * 1000) // 3_600_000 * 3_600_000 + 1000
    columns = ", ".join(f"`{name}`" for name in engine.query(
        "SELECT name FROM system.columns WHERE database = 'f' AND table = 'events' AND default_kind = '' ORDER BY position FORMAT TSVRaw").split())
    engine.query("CREATE TABLE f.source AS f.events")
    # 100,000 events a second: ten seconds of one hour.
    engine.query(f"INSERT INTO f.source ({columns}) SELECT {columns} FROM ({bench.rows(0, 1_000_000, start, 0.01)})", max_partitions_per_insert_block=0)
    print(f"engine {engine.version}\n| table | added each | rows | idle | merging | rows and bytes, final |\n|---|---|---|---|---|---|")
    for table, (cells, order) in CELLS.items():
        for size in (100_000, 500_000):
            bodies = []
            for first in range(0, 1_000_000, size):
                bounds = [start + first // 100, start + (first + size) // 100]
                rows = ("FROM f.source WHERE received_at >= fromUnixTimestamp64Milli({}) AND received_at < fromUnixTimestamp64Milli({})".format(*bounds))
                select = cells.format(who=WHO, hour=HOUR, day=DAY, minute=MINUTE, last=LAST, rows=rows)
                bodies.append(engine.raw(f"SELECT * FROM ({select}) ORDER BY {order} FORMAT ArrowStream SETTINGS {OUTPUT}"))
            taken = []
            for merges in ("STOP", "START"):
                engine.query(f"TRUNCATE TABLE f.{table}")
                engine.query(f"SYSTEM {merges} MERGES f.{table}")
                engine.rest()
                before = engine.cpu()
                for body in bodies:
                    engine.query(f"INSERT INTO f.{table} FORMAT ArrowStream", body=body, **SETTINGS)
                engine.rest()
                taken.append(engine.cpu() - before)
                if merges == "STOP":
                    count = engine.query(f"SELECT count() FROM f.{table}").strip()
            engine.query(f"OPTIMIZE TABLE f.{table} FINAL")
            final = engine.query(f"SELECT sum(rows), sum(bytes_on_disk) FROM system.parts WHERE active AND database = 'f' AND table = '{table}'").split()
            print(f"| {table} | {size} | {count} | {taken[0]:.2f} | {taken[1]:.2f} | {', '.join(final)} |", flush=True)
    engine.stop()


main()
