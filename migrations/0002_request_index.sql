-- Where the events of a request are: (project, request_id) as a 40-bit key → second and week of receipt.
--
-- * `k` is the upper 40 bits of `RequestId::lookup_key`: of 100 million requests one in 10,000 finds a stranger too, which costs a
--   granule, because a lookup verifies the text of the request id.
-- * Written by the collector before the events of the same batch, at least once: a row without its event, or twice,
--   does no harm for the same reason, and because a lookup deduplicates by event key.
-- * Weekly partitions and a small granule keep a lookup at one granule a part over all retention.
-- * Kept longer than the events, so that a lookup can say "expired" instead of "never received".
CREATE TABLE IF NOT EXISTS {database}.request_index
(
    k UInt64 CODEC(T64('bit'), ZSTD(1)),
    second DateTime('UTC') CODEC(T64('bit'), ZSTD(1)),
    week Date CODEC(ZSTD(1))
)
ENGINE = MergeTree
PARTITION BY week
ORDER BY (k, second)
TTL week + INTERVAL 127 DAY
SETTINGS
    index_granularity = 256,
    non_replicated_deduplication_window = 1000,
    ttl_only_drop_parts = 1,
    materialize_ttl_recalculate_only = 1,
    fsync_after_insert = 1,
    fsync_part_directory = 1,
    min_rows_to_fsync_after_merge = 1,
    min_compressed_bytes_to_fsync_after_merge = 1;
