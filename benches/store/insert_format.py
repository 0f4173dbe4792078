"""What an insert of 1 M events costs the engine, by format and batch size, in one run.

    python3 benches/store/insert_format.py [rounds, default 2]

The same rows are first written out by ClickHouse itself in each format, then inserted into a table as the migrations make it
(fsync included), the formats in turn. "idle" = merges stopped; "merging" = merges run, and are waited for. CPU seconds of the
engine alone; encoding is the collector's cost and not in here.
"""

import sys, time
import bench

FORMATS = {"ArrowStream": {}, "Native": {}, "RowBinary": {}, "JSONEachRow": {}}
SETTINGS = {"async_insert": 0, "max_insert_threads": 1, "input_format_parallel_parsing": 0, "max_insert_block_size": 100_000_000,
            "min_insert_block_size_rows": 100_000_000, "min_insert_block_size_bytes": 0, "input_format_null_as_default": 0}
OUTPUT = "output_format_arrow_low_cardinality_as_dictionary = 1, output_format_arrow_string_as_string = 1, output_format_arrow_compression_method = 'none', max_threads = 1, output_format_native_use_flattened_dynamic_and_json_serialization = 0"


def main():
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 2
    engine = bench.Engine("format")
    bench.migrate(engine, "f")
    start = int(time.time() * 1000) - 6 * 3_600_000
    columns = ", ".join(f"`{name}`" for name in engine.query(
        "SELECT name FROM system.columns WHERE database = 'f' AND table = 'events' AND default_kind = '' ORDER BY position FORMAT TSVRaw").split())
    # Out of a table of the real types, so that dictionaries are dictionaries; in the order of receipt.
    engine.query("CREATE TABLE f.source AS f.events")
    engine.query("INSERT INTO f.source " + bench.rows(0, 1_000_000, start, 1), max_partitions_per_insert_block=0)
    part = lambda i, size: f"FROM f.source WHERE received_at >= fromUnixTimestamp64Milli({start + i * size}) AND received_at < fromUnixTimestamp64Milli({start + (i + 1) * size}) ORDER BY received_at"
    bodies = {}
    for size in (100_000, 500_000):
        for form in FORMATS:
            bodies[form, size] = [
                engine.raw(f"SELECT {columns} {part(i, size)} FORMAT {form} SETTINGS {OUTPUT}, max_block_size = {size}")
                for i in range(1_000_000 // size)]
    print(f"engine {engine.version}; MB a million rows: " + ", ".join(f"{form} {sum(map(len, bodies[form, 500_000])) / 1e6:.0f}" for form in FORMATS))
    print("| format | batch | idle | merging | CPU s per 1 M events |\n|---|---|---|---|---|")
    taken = {}
    for _ in range(rounds):
        for size in (100_000, 500_000):
            for form in FORMATS:
                for merging in (False, True):
                    engine.query("TRUNCATE TABLE f.events")
                    engine.query(f"SYSTEM {'START' if merging else 'STOP'} MERGES f.events")
                    engine.rest()
                    before = engine.cpu()
                    for body in bodies[form, size]:
                        engine.query(f"INSERT INTO f.events ({columns}) FORMAT {form}", body=body, **SETTINGS)
                    if merging:
                        engine.rest()
                    taken.setdefault((form, size, merging), []).append(engine.cpu() - before)
                    assert engine.query("SELECT count() FROM f.events").strip() == "1000000"
    show = lambda samples: " / ".join(f"{sample:.2f}" for sample in samples)
    for form in FORMATS:
        for size in (100_000, 500_000):
            print(f"| {form} | {size} | {show(taken[form, size, False])} | {show(taken[form, size, True])} |")
    # The lookup index: a second insert by the collector against a materialized view on events.
    engine.query("CREATE TABLE f.index_mv (k UInt64 CODEC(T64('bit'), ZSTD(1)), second DateTime('UTC') CODEC(T64('bit'), ZSTD(1)), week Date) ENGINE = MergeTree PARTITION BY week "
                 "ORDER BY (k, second) SETTINGS index_granularity = 256, fsync_after_insert = 1, fsync_part_directory = 1")
    select = "SELECT bitShiftRight(xxh3(concat(project, '\\0', request_id)), 24) AS k, toDateTime(timestamp, 'UTC') AS second, toDate(toMonday(received_at)) AS week"
    print("\n| lookup index, ArrowStream | batch | CPU s per 1 M events (events and index, merges stopped) |\n|---|---|---|")
    for size in (100_000, 500_000):
        index_bodies = [engine.raw(f"{select} {part(i, size)} FORMAT ArrowStream SETTINGS {OUTPUT}, max_block_size = {size}")
                        for i in range(1_000_000 // size)]
        for way in ("second insert", "materialized view"):
            if way == "materialized view":
                engine.query(f"CREATE MATERIALIZED VIEW f.mv TO f.index_mv AS {select} FROM f.events")
            samples = []
            for _ in range(rounds):
                for table in ("events", "request_index", "index_mv"):
                    engine.query(f"TRUNCATE TABLE f.{table}")
                    engine.query(f"SYSTEM STOP MERGES f.{table}")
                before = engine.cpu()
                for body, index_body in zip(bodies["ArrowStream", size], index_bodies):
                    if way == "second insert":
                        engine.query("INSERT INTO f.request_index (k, second, week) FORMAT ArrowStream", body=index_body, **SETTINGS)
                    engine.query(f"INSERT INTO f.events ({columns}) FORMAT ArrowStream", body=body, **SETTINGS)
                samples.append(engine.cpu() - before)
            print(f"| {way} | {size} | {show(samples)} |")
        engine.query("DROP VIEW f.mv")
    engine.stop()


main()
