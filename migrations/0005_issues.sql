-- Issues: kinds of errors, by their fingerprint (docs/issues.md; why so: docs/decisions/0011-issues.md).

-- Events per issue, environment, release and hour: a rollup like those of 0003, with their markers, and like them summed by every read.
CREATE TABLE IF NOT EXISTS {database}.rollup_issues
(
    week Date CODEC(ZSTD(1)),
    batch UUID CODEC(ZSTD(1)),
    project LowCardinality(String) CODEC(ZSTD(1)),
    at DateTime('UTC') CODEC(ZSTD(1)),
    fingerprint UInt64 CODEC(ZSTD(1)),
    environment LowCardinality(String) CODEC(ZSTD(1)),
    release LowCardinality(String) CODEC(ZSTD(1)),
    count SimpleAggregateFunction(sum, UInt64) CODEC(ZSTD(1)),
    -- When in the hour the last of them was: milliseconds after `at`. (As a time of its own it took half of the table.)
    last_ms SimpleAggregateFunction(max, UInt32) CODEC(T64('bit'), ZSTD(1))
)
ENGINE = AggregatingMergeTree
PARTITION BY week
ORDER BY (batch, project, toDate(at), fingerprint, environment, release, at)
TTL week + INTERVAL 97 DAY
SETTINGS
    index_granularity = 1024,
    min_compress_block_size = 16384,
    max_compress_block_size = 65536,
    non_replicated_deduplication_window = 1000,
    ttl_only_drop_parts = 1,
    materialize_ttl_recalculate_only = 1,
    fsync_after_insert = 1,
    fsync_part_directory = 1,
    min_rows_to_fsync_after_merge = 1,
    min_compressed_bytes_to_fsync_after_merge = 1;

-- Events received up to this moment are in no cell of `rollup_issues`: reads take them from `events`. No row: none were.
CREATE TABLE IF NOT EXISTS {database}.issue_start (at DateTime64(3, 'UTC'))
ENGINE = MergeTree ORDER BY at SETTINGS fsync_after_insert = 1, fsync_part_directory = 1;

INSERT INTO {database}.issue_start SELECT max(received_at) FROM {database}.events HAVING count() > 0;

-- What each fingerprint is, and when it was first seen: a row an issue, which outlives the events by 400 days.
--
-- * Written at least once, before the cells of the same group: a row too many changes nothing, because the first time is a
--   minimum, the last a maximum, and all else is part of the fingerprint. Always read as aggregates of each fingerprint.
-- * A collector writes an issue when it meets it, and again each day that it is seen: `last_seen` is exact to a day.
-- * `fields` and `rules` are pairs, in order.
-- * Granules are small: a page asks for some issues, and reads a granule of texts for each.
CREATE TABLE IF NOT EXISTS {database}.issues
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

INSERT INTO {database}.issues (project, fingerprint, service, route, status, error_template, fields, rules, exception_type, first_seen, last_seen)
SELECT project, fingerprint, kind.1, kind.2, kind.3,
    if(JSONHas(kind.5, 'error_template'), JSONExtractString(kind.5, 'error_template'), kind.4),
    arrayMap(pair -> pair.1, pairs), arrayMap(pair -> pair.2, pairs), JSONExtractString(kind.5, 'exception', 'type'), first, last
FROM
(
    SELECT toString(project) AS project, fingerprint,
        any((toString(service), toString(route), status, toString(error), details, `errors.field`, `errors.rule`)) AS kind,
        arraySort(arrayDistinct(arrayZip(arrayMap(f -> toString(f), kind.6), arrayMap(r -> toString(r), kind.7)))) AS pairs,
        min(timestamp) AS first, max(timestamp) AS last
    FROM {database}.events GROUP BY project, fingerprint
);
