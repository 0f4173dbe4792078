-- Request totals: every request served, successes included, per minute and reporter: the denominator of rates
-- (docs/decisions/0009-request-totals.md).
--
-- * A row is what one reporter said of one minute. A later report of the same replaces it: of rows with one sorting key, the one
--   received last counts. Until parts are merged both are there: read with FINAL, always, or take
--   argMax(count, received_at) of each sorting key.
-- * Nobody reported where there is no row; a reporter that served nothing says so with a count of 0.
-- * The partition is the week of the *minute*, a function of the sorting key: a row and what replaces it share it, so FINAL need
--   not merge across partitions (`do_not_merge_across_partitions_select_final`). The collector takes no minute that is not
--   kept or more than an hour ahead, and cuts inserts by week.
-- * `reporter` is empty where the client named none, `route` where none matched, as are the other words.
CREATE TABLE IF NOT EXISTS {database}.request_totals
(
    project LowCardinality(String) CODEC(ZSTD(1)),
    minute DateTime('UTC') CODEC(ZSTD(1)),
    service LowCardinality(String) CODEC(ZSTD(1)),
    environment LowCardinality(String) CODEC(ZSTD(1)),
    release LowCardinality(String) CODEC(ZSTD(1)),
    route LowCardinality(String) CODEC(ZSTD(1)),
    method LowCardinality(String) CODEC(ZSTD(1)),
    status UInt16 CODEC(ZSTD(1)),
    reporter LowCardinality(String) CODEC(ZSTD(1)),
    count UInt64 CODEC(ZSTD(1)),
    -- To the microsecond, and made unique by counting on: also the order of receipt.
    received_at DateTime64(6, 'UTC') CODEC(ZSTD(1))
)
ENGINE = ReplacingMergeTree(received_at)
PARTITION BY toMonday(minute)
ORDER BY (project, toStartOfHour(minute), service, environment, release, route, method, status, reporter, minute)
TTL toMonday(minute) + INTERVAL 97 DAY
SETTINGS
    ttl_only_drop_parts = 1,
    materialize_ttl_recalculate_only = 1,
    fsync_after_insert = 1,
    fsync_part_directory = 1,
    min_rows_to_fsync_after_merge = 1,
    min_compressed_bytes_to_fsync_after_merge = 1;

-- The same per hour, reporters summed. Delivery counts each hour it has touched anew from `request_totals`, so a row here is
-- replaced as those are: read with FINAL.
CREATE TABLE IF NOT EXISTS {database}.request_totals_hours
(
    project LowCardinality(String) CODEC(ZSTD(1)),
    hour DateTime('UTC') CODEC(ZSTD(1)),
    service LowCardinality(String) CODEC(ZSTD(1)),
    environment LowCardinality(String) CODEC(ZSTD(1)),
    release LowCardinality(String) CODEC(ZSTD(1)),
    route LowCardinality(String) CODEC(ZSTD(1)),
    method LowCardinality(String) CODEC(ZSTD(1)),
    status UInt16 CODEC(ZSTD(1)),
    count UInt64 CODEC(ZSTD(1)),
    -- Of the latest of its reports.
    received_at DateTime64(6, 'UTC') CODEC(ZSTD(1))
)
ENGINE = ReplacingMergeTree(received_at)
PARTITION BY toMonday(hour)
ORDER BY (project, hour, service, environment, release, route, method, status)
TTL toMonday(hour) + INTERVAL 97 DAY
SETTINGS
    ttl_only_drop_parts = 1,
    materialize_ttl_recalculate_only = 1,
    fsync_after_insert = 1,
    fsync_part_directory = 1,
    min_rows_to_fsync_after_merge = 1,
    min_compressed_bytes_to_fsync_after_merge = 1;
