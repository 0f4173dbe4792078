-- Error events, one row each, and everything a client sent of them (see `event::Event`).
--
-- * One insert is one block of one partition, hence atomic: the collector cuts a batch where the week of *receipt*
--   changes. A late or hostile `timestamp` cannot open partitions.
-- * ORDER BY (project, timestamp): the lookup index names the exact timestamp, searches read newest first.
-- * Every row carries its idempotency key and its batch: delivery verifies by `batch_id`, reads deduplicate by `key`.
-- * The id of the request stands once: texts that repeat it (`response`, header values) hold the character U+001A in
--   its place where `folded` is 1; the column `response` shows them unfolded.
CREATE TABLE IF NOT EXISTS {database}.events
(
    project LowCardinality(String),
    timestamp DateTime64(3, 'UTC') CODEC(DoubleDelta, ZSTD(1)),
    received_at DateTime64(3, 'UTC') CODEC(Delta, ZSTD(1)),
    key UInt128 CODEC(NONE),
    batch_id UUID CODEC(ZSTD(1)),
    event_id String CODEC(ZSTD(3)),
    request_id String CODEC(ZSTD(3)),
    status UInt16 CODEC(ZSTD(1)),
    service LowCardinality(String) CODEC(ZSTD(1)),
    environment LowCardinality(String) CODEC(ZSTD(1)),
    release LowCardinality(String) CODEC(ZSTD(1)),
    host LowCardinality(String) CODEC(ZSTD(1)),
    method LowCardinality(String) CODEC(ZSTD(1)),
    path String CODEC(ZSTD(3)),
    route LowCardinality(String) CODEC(ZSTD(1)),
    error String CODEC(ZSTD(3)),
    error_template LowCardinality(String) CODEC(ZSTD(1)),
    code LowCardinality(String) CODEC(ZSTD(1)),
    `errors.field` Array(LowCardinality(String)) CODEC(ZSTD(1)),
    `errors.path` Array(String) CODEC(ZSTD(3)),
    `errors.message` Array(String) CODEC(ZSTD(3)),
    `errors.rule` Array(LowCardinality(String)) CODEC(ZSTD(1)),
    folded Bool CODEC(ZSTD(1)),
    response_folded String CODEC(ZSTD(3)),
    response String ALIAS if(folded, replaceAll(response_folded, '\x1A', request_id), response_folded),
    account_id String CODEC(ZSTD(3)),
    user_id String CODEC(ZSTD(3)),
    duration_ms Nullable(Float64) CODEC(ZSTD(1)),
    rate_limit_reported Bool CODEC(ZSTD(1)),
    rate_limit Nullable(UInt64) CODEC(ZSTD(1)),
    rate_limit_remaining Nullable(UInt64) CODEC(ZSTD(1)),
    rate_limit_reset Nullable(Int64) CODEC(ZSTD(1)),
    client_ip String CODEC(ZSTD(3)),
    user_agent LowCardinality(String) CODEC(ZSTD(1)),
    trace_id String CODEC(ZSTD(3)),
    span_id String CODEC(ZSTD(3)),
    request_headers Map(LowCardinality(String), String) CODEC(ZSTD(3)),
    response_headers Map(LowCardinality(String), String) CODEC(ZSTD(3)),
    has_exception Bool CODEC(ZSTD(1)),
    exception_type LowCardinality(String) CODEC(ZSTD(1)),
    exception_message String CODEC(ZSTD(3)),
    exception_stacktrace String CODEC(ZSTD(3)),
    attributes Map(LowCardinality(String), String) CODEC(ZSTD(3)),
    fingerprint UInt64 CODEC(ZSTD(1)),
    marks UInt32 CODEC(ZSTD(1))
)
ENGINE = MergeTree
PARTITION BY toMonday(received_at)
ORDER BY (project, timestamp)
TTL toDateTime(received_at) + INTERVAL 90 DAY
SETTINGS
    index_granularity = 1024,
    non_replicated_deduplication_window = 1000,
    ttl_only_drop_parts = 1,
    materialize_ttl_recalculate_only = 1,
    fsync_after_insert = 1,
    fsync_part_directory = 1,
    min_rows_to_fsync_after_merge = 1,
    min_compressed_bytes_to_fsync_after_merge = 1;
