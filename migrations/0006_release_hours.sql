-- In which hours an environment had errors of a release: what tells when a release came (docs/decisions/0011-issues.md). Of 100 M events in 30 days some
-- thousand rows, where `rollup_issues` has twenty million.
--
-- Written at least once, before the cells of the same group, as `issues` is: a row too many changes nothing. Events of before `issue_start` are not in it,
-- nor what a collector delivers that was started before this migration: of several, end the old ones first.
CREATE TABLE IF NOT EXISTS {database}.release_hours
(
    project LowCardinality(String) CODEC(ZSTD(1)),
    at DateTime('UTC') CODEC(ZSTD(1)),
    environment LowCardinality(String) CODEC(ZSTD(1)),
    release LowCardinality(String) CODEC(ZSTD(1))
)
ENGINE = ReplacingMergeTree
ORDER BY (project, at, environment, release)
TTL at + INTERVAL 97 DAY
SETTINGS
    materialize_ttl_recalculate_only = 1,
    fsync_after_insert = 1,
    fsync_part_directory = 1,
    min_rows_to_fsync_after_merge = 1,
    min_compressed_bytes_to_fsync_after_merge = 1;

INSERT INTO {database}.release_hours (project, at, environment, release)
SELECT project, at, environment, release FROM {database}.rollup_issues
WHERE batch = toUUID('00000000-0000-0000-0000-000000000000') AND release != '' GROUP BY project, at, environment, release;
