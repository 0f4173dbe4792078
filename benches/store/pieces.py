"""Batches sent as one record batch or as many: engine CPU of the inserts and of one merge, per 1 M events.

    python3 benches/store/pieces.py

Each body is one insert and one block, with the settings of `src/store/insert.rs`, whatever number of record batches it has.
"""

import time
import bench

SETTINGS = {"async_insert": 0, "max_insert_threads": 1, "input_format_parallel_parsing": 0, "max_insert_block_size": 100_000_000,
            "min_insert_block_size_rows": 100_000_000, "min_insert_block_size_bytes": 0}
OUTPUT = ("output_format_arrow_low_cardinality_as_dictionary = 1, output_format_arrow_string_as_string = 1, "
          "output_format_arrow_compression_method = 'none', max_threads = 1, preferred_block_size_bytes = 0")
ROWS = 1_000_000
PIECE = 8192
COUNT = "SELECT count() FROM system.parts WHERE active AND database = 'c' AND table = 't'"


def main():
    engine = bench.Engine("pieces")
    bench.migrate(engine, "c")
    start = int(time.time() * 1000) - 3_600_000
    engine.query("INSERT INTO c.events " + bench.rows(0, ROWS, start, 1), max_partitions_per_insert_block=0)
    ddl = engine.query("SHOW CREATE TABLE c.events FORMAT TSVRaw")
    columns = ", ".join(f"`{name}`" for name in engine.query(
        "SELECT name FROM system.columns WHERE database = 'c' AND table = 'events' AND default_kind = '' ORDER BY position FORMAT TSVRaw").split())
    print("| rows a batch | rows a record batch | MB | insert | merge |\n|---|---|---|---|---|", flush=True)
    for turn in range(2):
        for batch in (50_000, 100_000, 250_000, 500_000):
            for piece in (batch, PIECE):
                bodies = [engine.raw(f"SELECT {columns} FROM c.events WHERE received_at >= fromUnixTimestamp64Milli({start + at}) AND "
                                     f"received_at < fromUnixTimestamp64Milli({start + at + batch}) ORDER BY received_at FORMAT ArrowStream "
                                     f"SETTINGS {OUTPUT}, max_block_size = {piece}") for at in range(0, ROWS, batch)]
                engine.query("DROP TABLE IF EXISTS c.t")
                engine.query(ddl.replace("c.events", "c.t"))
                engine.query("SYSTEM STOP MERGES c.t")
                before = engine.cpu()
                for body in bodies:
                    engine.query(f"INSERT INTO c.t ({columns}) FORMAT ArrowStream", body=body, **SETTINGS)
                inserted = engine.cpu()
                assert int(engine.query(COUNT)) == len(bodies), "a batch is not one part"
                engine.query("SYSTEM START MERGES c.t")
                engine.query("OPTIMIZE TABLE c.t FINAL")
                size = sum(map(len, bodies)) / 1e6
                print(f"| {batch} | {piece} | {size:.0f} | {inserted - before:.2f} | {engine.cpu() - inserted:.2f} |", flush=True)
    engine.stop()


main()
