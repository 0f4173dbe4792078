-- Field errors per day of UTC: the cells of `rollup_failures`, which are many over weeks (docs/decisions/0007-rollups.md). Filled with
-- the same groups, each with its marker, and like it always summed. An event goes by its `timestamp`.
--
-- * In the order of field, rule and route, by a hash of the three: what a page of failures shows is a few of tens of thousands of them, of which
--   then little else is read. Granules are small for the same reason: a field error of one week is some ten rows.
-- * A collector of before this migration fills hours alone: of several, end the old ones first. What one has counted since is left out of days until
--   `failure_day_start` is told again, after its end.
-- * `key` is what the query `key_of` makes of field, rule and route, in this order.
-- * What is read of every cell is packed for speed, what is read of few for room.
CREATE TABLE IF NOT EXISTS {database}.rollup_failure_days
(
    week Date CODEC(LZ4),
    batch UUID CODEC(LZ4),
    project LowCardinality(String) CODEC(LZ4),
    key UInt64 MATERIALIZED 1 * cityHash64(field) + 3 * cityHash64(rule) + 5 * cityHash64(route) CODEC(LZ4),
    at DateTime('UTC') CODEC(LZ4),
    service LowCardinality(String) CODEC(LZ4),
    environment LowCardinality(String) CODEC(LZ4),
    route LowCardinality(String) CODEC(LZ4),
    field LowCardinality(String) CODEC(LZ4),
    rule LowCardinality(String) CODEC(LZ4),
    count SimpleAggregateFunction(sum, UInt64) CODEC(LZ4),
    events SimpleAggregateFunction(sum, UInt64) CODEC(LZ4),
    field_repeats SimpleAggregateFunction(sum, UInt64) CODEC(ZSTD(1)),
    rule_repeats SimpleAggregateFunction(sum, UInt64) CODEC(ZSTD(1)),
    any_repeats SimpleAggregateFunction(sum, UInt64) CODEC(ZSTD(1)),
    accounts SimpleAggregateFunction(groupUniqArrayArray, Array(String)) CODEC(ZSTD(3)),
    first_seen SimpleAggregateFunction(min, DateTime64(3, 'UTC')) CODEC(ZSTD(1)),
    last_seen SimpleAggregateFunction(max, Tuple(at DateTime64(3, 'UTC'), request_id String)) CODEC(ZSTD(3))
)
ENGINE = AggregatingMergeTree
PARTITION BY week
ORDER BY (batch, project, key, at, service, environment, route, field, rule)
TTL week + INTERVAL 97 DAY
SETTINGS
    index_granularity = 128,
    min_compress_block_size = 16384,
    max_compress_block_size = 65536,
    non_replicated_deduplication_window = 1000,
    ttl_only_drop_parts = 1,
    materialize_ttl_recalculate_only = 1,
    fsync_after_insert = 1,
    fsync_part_directory = 1,
    min_rows_to_fsync_after_merge = 1,
    min_compressed_bytes_to_fsync_after_merge = 1;

-- How often they were, and nothing else, per day and per week (from Monday, UTC; `per` says which): what tells the most frequent of them, for which
-- all are gone through. In the order of time, so that no other day is read. `pair` is what `key_of` makes of field and rule.
CREATE TABLE IF NOT EXISTS {database}.rollup_failure_counts
(
    week Date CODEC(LZ4),
    batch UUID CODEC(LZ4),
    project LowCardinality(String) CODEC(LZ4),
    per Enum8('day' = 1, 'week' = 2) CODEC(LZ4),
    at DateTime('UTC') CODEC(LZ4),
    pair UInt64 MATERIALIZED 1 * cityHash64(field) + 3 * cityHash64(rule) CODEC(LZ4),
    key UInt64 MATERIALIZED 1 * cityHash64(field) + 3 * cityHash64(rule) + 5 * cityHash64(route) CODEC(LZ4),
    service LowCardinality(String) CODEC(LZ4),
    environment LowCardinality(String) CODEC(LZ4),
    route LowCardinality(String) CODEC(LZ4),
    field LowCardinality(String) CODEC(LZ4),
    rule LowCardinality(String) CODEC(LZ4),
    count UInt64 CODEC(LZ4)
)
ENGINE = SummingMergeTree(count)
PARTITION BY week
ORDER BY (batch, project, per, at, pair, key, service, environment, route, field, rule)
TTL week + INTERVAL 97 DAY
SETTINGS
    non_replicated_deduplication_window = 1000,
    ttl_only_drop_parts = 1,
    materialize_ttl_recalculate_only = 1,
    fsync_after_insert = 1,
    fsync_part_directory = 1,
    min_rows_to_fsync_after_merge = 1,
    min_compressed_bytes_to_fsync_after_merge = 1;

-- Events received up to this moment are in no day: reads take those of them that are in the hours from there. No row: none were.
CREATE TABLE IF NOT EXISTS {database}.failure_day_start (at DateTime64(3, 'UTC'))
ENGINE = MergeTree ORDER BY at SETTINGS fsync_after_insert = 1, fsync_part_directory = 1;

INSERT INTO {database}.failure_day_start SELECT max(received_at) FROM {database}.events HAVING count() > 0;
