"""Codecs of the event table: engine CPU of an insert and of a merge, and bytes on disk, per event.

    python3 benches/store/codecs.py
"""

import time
import bench

SETTINGS = {"async_insert": 0, "max_insert_threads": 1, "input_format_parallel_parsing": 0, "max_insert_block_size": 100_000_000,
            "min_insert_block_size_rows": 100_000_000, "min_insert_block_size_bytes": 0}
OUTPUT = "output_format_arrow_low_cardinality_as_dictionary = 1, output_format_arrow_string_as_string = 1, output_format_arrow_compression_method = 'none', max_threads = 1"
SIZE = 500_000


def main():
    engine = bench.Engine("codecs")
    bench.migrate(engine, "c")
    ddl = engine.query("SHOW CREATE TABLE c.events FORMAT TSVRaw")
    tables = {
        "migration": ddl,
        "ZSTD(1) throughout": ddl.replace("ZSTD(3)", "ZSTD(1)"),
        "LZ4 throughout": ddl.replace("ZSTD(3)", "LZ4").replace("ZSTD(1)", "LZ4"),
        "migration, LZ4 for columns of few values": "\n".join(
            line.replace("ZSTD(1)", "LZ4") if "LowCardinality" in line or "Bool" in line or "Nullable" in line else line for line in ddl.split("\n")),
        "migration, granule 8192": ddl.replace("index_granularity = 1024", "index_granularity = 8192"),
        "migration, ORDER BY (project, service, route, timestamp)": ddl.replace("(project, timestamp)", "(project, service, route, timestamp)"),
    }
    columns = ", ".join(f"`{name}`" for name in engine.query(
        "SELECT name FROM system.columns WHERE database = 'c' AND table = 'events' AND default_kind = '' ORDER BY position FORMAT TSVRaw").split())
    start = int(time.time() * 1000) - 3_600_000
    engine.query("INSERT INTO c.events " + bench.rows(0, 1_000_000, start, 1), max_partitions_per_insert_block=0)
    bodies = [engine.raw(f"SELECT {columns} FROM c.events WHERE received_at >= fromUnixTimestamp64Milli({start + i * SIZE}) AND "
                         f"received_at < fromUnixTimestamp64Milli({start + (i + 1) * SIZE}) ORDER BY received_at FORMAT ArrowStream "
                         f"SETTINGS {OUTPUT}, max_block_size = {SIZE}") for i in range(2)]
    print("| table | insert | merge of two parts | CPU s per 1 M events; bytes an event |\n|---|---|---|---|", flush=True)
    for turn in range(2):
        for name, create in tables.items():
            engine.query("DROP TABLE IF EXISTS c.t")
            engine.query(create.replace("c.events", "c.t"))
            engine.query("SYSTEM STOP MERGES c.t")
            before = engine.cpu()
            for body in bodies:
                engine.query(f"INSERT INTO c.t ({columns}) FORMAT ArrowStream", body=body, **SETTINGS)
            inserted = engine.cpu()
            engine.query("SYSTEM START MERGES c.t")
            engine.query("OPTIMIZE TABLE c.t FINAL")
            merged = engine.cpu()
            size = engine.query("SELECT round(sum(bytes_on_disk) / sum(rows), 1) FROM system.parts WHERE active AND database = 'c' AND table = 't'").strip()
            print(f"| {name} | {inserted - before:.2f} | {merged - inserted:.2f} | {size} |", flush=True)
    engine.stop()


main()
