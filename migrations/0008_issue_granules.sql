-- The same issues in small granules: a page asks for some of them, and reads a granule of texts for each (docs/decisions/0011-issues.md).
-- Repeated after a crash, it copies them anew. What a collector of before this migration writes meanwhile is lost, until it sees the issue on another
-- day: of several, end the old ones first.
DROP TABLE IF EXISTS {database}.issues_in_small_granules SYNC;

CREATE TABLE {database}.issues_in_small_granules
(
    project LowCardinality(String) CODEC(ZSTD(1)),
    fingerprint UInt64 CODEC(ZSTD(1)),
    service SimpleAggregateFunction(any, String) CODEC(ZSTD(1)),
    route SimpleAggregateFunction(any, String) CODEC(ZSTD(1)),
    status SimpleAggregateFunction(any, UInt16) CODEC(ZSTD(1)),
    error_template SimpleAggregateFunction(any, String) CODEC(ZSTD(1)),
    fields SimpleAggregateFunction(any, Array(String)) CODEC(ZSTD(1)),
    rules SimpleAggregateFunction(any, Array(String)) CODEC(ZSTD(1)),
    exception_type SimpleAggregateFunction(any, String) CODEC(ZSTD(1)),
    first_seen SimpleAggregateFunction(min, DateTime64(3, 'UTC')) CODEC(ZSTD(1)),
    last_seen SimpleAggregateFunction(max, DateTime64(3, 'UTC')) CODEC(ZSTD(1))
)
ENGINE = AggregatingMergeTree
ORDER BY (project, fingerprint)
TTL toDateTime(last_seen) + INTERVAL 490 DAY
SETTINGS
    index_granularity = 256,
    min_compress_block_size = 16384,
    max_compress_block_size = 65536,
    materialize_ttl_recalculate_only = 1,
    fsync_after_insert = 1,
    fsync_part_directory = 1,
    min_rows_to_fsync_after_merge = 1,
    min_compressed_bytes_to_fsync_after_merge = 1;

INSERT INTO {database}.issues_in_small_granules SELECT * FROM {database}.issues;

EXCHANGE TABLES {database}.issues AND {database}.issues_in_small_granules;

DROP TABLE {database}.issues_in_small_granules SYNC;
