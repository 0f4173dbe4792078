-- Rollups: what dashboards and alerts read in place of the events (docs/decisions/0007-rollups.md).
--
-- * Filled by the collector with groups of delivered batches. A group is one insert, hence one block of one partition (the
--   week of *receipt*), hence atomic. It brings its own marker: one row whose `batch` is the group's id; `batch` is zero in
--   every other row. So "is this group in?" is a point query, and a group is never added twice.
-- * Every other row is one cell of sums. Rows of the same cell, from several groups, are summed when parts are merged and
--   by every read: always sum.
-- * A cell goes by the event's `timestamp`, so late events are in the minute they belong to.
-- * Compare `batch` with zero in every read: the sorting key begins with it.

-- Events per minute, hour and day of UTC (`per` says which), by everything a rate is asked by; minutes and hours again without route
-- and method (`coarse_…`), because of 100 M events in 30 days the hours with them are millions of cells, the others some hundred thousand.
CREATE TABLE IF NOT EXISTS {database}.rollup_counts
(
    week Date CODEC(ZSTD(1)),
    batch UUID CODEC(ZSTD(1)),
    project LowCardinality(String) CODEC(ZSTD(1)),
    per Enum8('minute' = 1, 'hour' = 2, 'coarse_minute' = 3, 'coarse_hour' = 4, 'day' = 5) CODEC(ZSTD(1)),
    at DateTime('UTC') CODEC(ZSTD(1)),
    service LowCardinality(String) CODEC(ZSTD(1)),
    environment LowCardinality(String) CODEC(ZSTD(1)),
    route LowCardinality(String) CODEC(ZSTD(1)),
    method LowCardinality(String) CODEC(ZSTD(1)),
    status UInt16 CODEC(ZSTD(1)),
    count UInt64 CODEC(ZSTD(1))
)
ENGINE = SummingMergeTree(count)
PARTITION BY week
ORDER BY (batch, project, per, toStartOfHour(at), service, environment, route, method, status, at)
TTL week + INTERVAL 97 DAY
SETTINGS
    non_replicated_deduplication_window = 1000,
    ttl_only_drop_parts = 1,
    materialize_ttl_recalculate_only = 1,
    fsync_after_insert = 1,
    fsync_part_directory = 1,
    min_rows_to_fsync_after_merge = 1,
    min_compressed_bytes_to_fsync_after_merge = 1;

-- Field errors per hour. An event with several pairs of field and rule is in several cells; the repeats say how often it was
-- so, and make "events with at least one of them" exact for coarser groups:
-- * `events`: events with this pair; events with this field = sum(events) - sum(field_repeats), and alike for the rule and
--   for any pair at all. A repeat is entered with each pair of an event that an earlier one of it has made known.
CREATE TABLE IF NOT EXISTS {database}.rollup_failures
(
    week Date CODEC(ZSTD(1)),
    batch UUID CODEC(ZSTD(1)),
    project LowCardinality(String) CODEC(ZSTD(1)),
    at DateTime('UTC') CODEC(ZSTD(1)),
    service LowCardinality(String) CODEC(ZSTD(1)),
    environment LowCardinality(String) CODEC(ZSTD(1)),
    route LowCardinality(String) CODEC(ZSTD(1)),
    field LowCardinality(String) CODEC(ZSTD(1)),
    rule LowCardinality(String) CODEC(ZSTD(1)),
    count SimpleAggregateFunction(sum, UInt64) CODEC(ZSTD(1)),
    events SimpleAggregateFunction(sum, UInt64) CODEC(ZSTD(1)),
    field_repeats SimpleAggregateFunction(sum, UInt64) CODEC(ZSTD(1)),
    rule_repeats SimpleAggregateFunction(sum, UInt64) CODEC(ZSTD(1)),
    any_repeats SimpleAggregateFunction(sum, UInt64) CODEC(ZSTD(1)),
    accounts SimpleAggregateFunction(groupUniqArrayArray, Array(String)) CODEC(ZSTD(3)),
    first_seen SimpleAggregateFunction(min, DateTime64(3, 'UTC')) CODEC(ZSTD(1)),
    -- The last event, with its request id as the cell's sample.
    last_seen SimpleAggregateFunction(max, Tuple(at DateTime64(3, 'UTC'), request_id String)) CODEC(ZSTD(3))
)
ENGINE = AggregatingMergeTree
PARTITION BY week
ORDER BY (batch, project, at, service, environment, route, field, rule)
TTL week + INTERVAL 97 DAY
SETTINGS
    non_replicated_deduplication_window = 1000,
    ttl_only_drop_parts = 1,
    materialize_ttl_recalculate_only = 1,
    fsync_after_insert = 1,
    fsync_part_directory = 1,
    min_rows_to_fsync_after_merge = 1,
    min_compressed_bytes_to_fsync_after_merge = 1;

-- Events per hour and account; events without an account are not in it.
CREATE TABLE IF NOT EXISTS {database}.rollup_accounts
(
    week Date CODEC(ZSTD(1)),
    batch UUID CODEC(ZSTD(1)),
    project LowCardinality(String) CODEC(ZSTD(1)),
    account String CODEC(ZSTD(1)),
    at DateTime('UTC') CODEC(ZSTD(1)),
    service LowCardinality(String) CODEC(ZSTD(1)),
    environment LowCardinality(String) CODEC(ZSTD(1)),
    route LowCardinality(String) CODEC(ZSTD(1)),
    method LowCardinality(String) CODEC(ZSTD(1)),
    status UInt16 CODEC(ZSTD(1)),
    count UInt64 CODEC(ZSTD(1))
)
ENGINE = SummingMergeTree(count)
PARTITION BY week
ORDER BY (batch, project, toDate(at), account, at, service, environment, route, method, status)
TTL week + INTERVAL 97 DAY
SETTINGS
    non_replicated_deduplication_window = 1000,
    ttl_only_drop_parts = 1,
    materialize_ttl_recalculate_only = 1,
    fsync_after_insert = 1,
    fsync_part_directory = 1,
    min_rows_to_fsync_after_merge = 1,
    min_compressed_bytes_to_fsync_after_merge = 1;

-- Events received up to this moment were stored before there were rollups, and are in none: reads take them from `events`.
-- No row: none were.
CREATE TABLE IF NOT EXISTS {database}.rollup_start (at DateTime64(3, 'UTC'))
ENGINE = MergeTree ORDER BY at SETTINGS fsync_after_insert = 1, fsync_part_directory = 1;

INSERT INTO {database}.rollup_start SELECT max(received_at) FROM {database}.events HAVING count() > 0;
