-- Error events, one row each, and everything a client sent of them (see `event::Event`).
--
-- * One insert is one block of one partition, hence atomic: the collector cuts a batch where the week of *receipt*
--   changes. A late or hostile `timestamp` cannot open partitions.
-- * ORDER BY (project, timestamp): the lookup index names the second, searches read newest first.
-- * Every row carries its idempotency key and its batch: delivery verifies by `batch_id`, reads deduplicate by
--   `key`, the low 64 bits of the event's key.
-- * A column is stored because something filters or groups by it, or because it is a number or a word that is smaller
--   so; all else of an event is in `details`, as JSON. ALIAS columns show what is stored in another form under the
--   names that the API uses; `SELECT *` leaves them out.
-- * `origin` is one word for five that hardly vary without each other, separated by U+001F.
-- * `request_text` is empty where the request id is a UUID, which is `request_uuid`.
-- * What is said twice is stored once (`store::fold`): `path_values` is what stands in the path for the placeholders of the
--   route; in `body` U+0010 stands for the request id (in header values too), U+0011 for the error, U+0012 to U+001B
--   for the first ten messages, unless there is `details.plain`.
CREATE TABLE IF NOT EXISTS {database}.events
(
    project LowCardinality(String),
    timestamp DateTime64(3, 'UTC') CODEC(DoubleDelta, ZSTD(1)),
    received_at DateTime64(3, 'UTC') CODEC(T64, ZSTD(1)),
    key UInt64 CODEC(NONE),
    batch_id UUID CODEC(ZSTD(1)),
    request_uuid UUID CODEC(ZSTD(1)),
    request_text String CODEC(ZSTD(1)),
    status UInt16 CODEC(ZSTD(1)),
    origin LowCardinality(String) CODEC(ZSTD(1)),
    host LowCardinality(String) CODEC(ZSTD(1)),
    path_values String CODEC(ZSTD(1)),
    error LowCardinality(String) CODEC(ZSTD(1)),
    `errors.field` Array(LowCardinality(String)) CODEC(ZSTD(1)),
    `errors.message` Array(LowCardinality(String)) CODEC(ZSTD(1)),
    `errors.rule` Array(LowCardinality(String)) CODEC(ZSTD(1)),
    body String CODEC(ZSTD(1)),
    account_id String CODEC(ZSTD(1)),
    user_id String CODEC(ZSTD(1)),
    duration_ms Nullable(Float64) CODEC(ZSTD(1)),
    client_ip4 UInt32 CODEC(ZSTD(1)),
    user_agent LowCardinality(String) CODEC(ZSTD(1)),
    fingerprint UInt64 CODEC(ZSTD(1)),
    details String CODEC(ZSTD(1)),

    request_id String ALIAS if(request_text = '', toString(request_uuid), request_text),
    service LowCardinality(String) ALIAS substringIndex(origin, '\x1F', 1),
    environment LowCardinality(String) ALIAS substringIndex(substringIndex(origin, '\x1F', 2), '\x1F', -1),
    release LowCardinality(String) ALIAS substringIndex(substringIndex(origin, '\x1F', 3), '\x1F', -1),
    method LowCardinality(String) ALIAS substringIndex(substringIndex(origin, '\x1F', 4), '\x1F', -1),
    route LowCardinality(String) ALIAS substringIndex(origin, '\x1F', -1),
    path String ALIAS if(JSONHas(details, 'path'), JSONExtractString(details, 'path'),
        arrayStringConcat(arrayMap((fixed, value) -> concat(fixed, value), splitByRegexp('\\{[^/{}]*\\}', toString(route)) AS path_parts,
            arrayResize(splitByChar('/', path_values), length(path_parts), '')))),
    `errors.path` Array(String) ALIAS if(JSONHas(details, 'paths'), JSONExtract(details, 'paths', 'Array(String)'), `errors.field`),
    response String ALIAS if(JSONHas(details, 'plain'), body,
        arrayFold((text, message, number) -> replaceAll(text, char(18 + number), toString(message)),
            arraySlice(`errors.message`, 1, 10), range(least(length(`errors.message`), 10)),
            replaceAll(replaceAll(body, '\x10', request_id), '\x11', toString(error)))),
    event_id String ALIAS JSONExtractString(details, 'event_id'),
    error_template String ALIAS if(JSONHas(details, 'error_template'), JSONExtractString(details, 'error_template'), error),
    code String ALIAS JSONExtractString(details, 'code'),
    client_ip String ALIAS if(client_ip4 = 0, JSONExtractString(details, 'client_ip'), IPv4NumToString(client_ip4)),
    trace_id String ALIAS JSONExtractString(details, 'trace_id'),
    span_id String ALIAS JSONExtractString(details, 'span_id'),
    rate_limit_reported Bool ALIAS JSONHas(details, 'rate_limit'),
    rate_limit Nullable(UInt64) ALIAS JSONExtract(details, 'rate_limit', 'limit', 'Nullable(UInt64)'),
    rate_limit_remaining Nullable(UInt64) ALIAS JSONExtract(details, 'rate_limit', 'remaining', 'Nullable(UInt64)'),
    rate_limit_reset Nullable(Int64) ALIAS JSONExtract(details, 'rate_limit', 'reset', 'Nullable(Int64)'),
    request_headers Map(String, String) ALIAS if(JSONHas(details, 'plain'), JSONExtract(details, 'request_headers', 'Map(String, String)'),
        mapApply((name, value) -> (name, replaceAll(value, '\x10', request_id)), JSONExtract(details, 'request_headers', 'Map(String, String)'))),
    response_headers Map(String, String) ALIAS if(JSONHas(details, 'plain'), JSONExtract(details, 'response_headers', 'Map(String, String)'),
        mapApply((name, value) -> (name, replaceAll(value, '\x10', request_id)), JSONExtract(details, 'response_headers', 'Map(String, String)'))),
    has_exception Bool ALIAS JSONHas(details, 'exception'),
    exception_type String ALIAS JSONExtractString(details, 'exception', 'type'),
    exception_message String ALIAS JSONExtractString(details, 'exception', 'message'),
    exception_stacktrace String ALIAS JSONExtractString(details, 'exception', 'stacktrace'),
    attributes Map(String, String) ALIAS JSONExtract(details, 'attributes', 'Map(String, String)'),
    marks UInt32 ALIAS JSONExtractUInt(details, 'marks')
)
ENGINE = MergeTree
PARTITION BY toMonday(received_at)
ORDER BY (project, timestamp)
TTL toDateTime(received_at) + INTERVAL 90 DAY
SETTINGS
    index_granularity = 1024,
    min_compress_block_size = 16384,
    non_replicated_deduplication_window = 1000,
    ttl_only_drop_parts = 1,
    materialize_ttl_recalculate_only = 1,
    fsync_after_insert = 1,
    fsync_part_directory = 1,
    min_rows_to_fsync_after_merge = 1,
    min_compressed_bytes_to_fsync_after_merge = 1;
