-- The baseline *bare*: the events as they are sent, in one table, as one would make it for them alone. Codecs are ClickHouse's own
-- choice (LZ4); the body stays text, as it comes in any form.
CREATE TABLE errata.bare
(
    request_id String,
    timestamp DateTime64(3, 'UTC'),
    status UInt16,
    service LowCardinality(String),
    environment LowCardinality(String),
    release LowCardinality(String),
    host LowCardinality(String),
    method LowCardinality(String),
    path String,
    account_id UInt64,
    user_id UInt64,
    duration_ms Float64,
    client_ip String,
    user_agent LowCardinality(String),
    response_headers Map(LowCardinality(String), String),
    exception String,
    response String
)
ENGINE = MergeTree
ORDER BY (service, timestamp)
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1;
