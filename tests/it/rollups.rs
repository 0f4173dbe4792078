//! Whether the rollups say what the events say: for tests that have put something into ClickHouse.

/// A rollup's cells as text, and the same counted from the events, each key once.
const PAIRS: [(&str, &str); 15] = [
    (
        "SELECT toString((project, at, service, environment, route, method, status, sum(count))) FROM rollup_counts \
         WHERE batch = toUUID('00000000-0000-0000-0000-000000000000') AND per = 'minute' \
         GROUP BY project, at, service, environment, route, method, status",
        "SELECT toString((project, toStartOfMinute(toDateTime(timestamp, 'UTC')) AS at, service, environment, route, method, \
         status, count())) FROM {events} GROUP BY project, at, service, environment, route, method, status",
    ),
    (
        "SELECT toString((project, at, service, environment, route, method, status, sum(count))) FROM rollup_counts \
         WHERE batch = toUUID('00000000-0000-0000-0000-000000000000') AND per = 'hour' \
         GROUP BY project, at, service, environment, route, method, status",
        "SELECT toString((project, toStartOfHour(toDateTime(timestamp, 'UTC')) AS at, service, environment, route, method, \
         status, count())) FROM {events} GROUP BY project, at, service, environment, route, method, status",
    ),
    (
        "SELECT toString((project, at, service, environment, route, method, status, sum(count))) FROM rollup_counts \
         WHERE batch = toUUID('00000000-0000-0000-0000-000000000000') AND per = 'coarse_minute' \
         GROUP BY project, at, service, environment, route, method, status",
        "SELECT toString((project, toStartOfMinute(toDateTime(timestamp, 'UTC')) AS at, service, environment, '', '', \
         status, count())) FROM {events} GROUP BY project, at, service, environment, status",
    ),
    (
        "SELECT toString((project, at, service, environment, route, method, status, sum(count))) FROM rollup_counts \
         WHERE batch = toUUID('00000000-0000-0000-0000-000000000000') AND per = 'coarse_hour' \
         GROUP BY project, at, service, environment, route, method, status",
        "SELECT toString((project, toStartOfHour(toDateTime(timestamp, 'UTC')) AS at, service, environment, '', '', \
         status, count())) FROM {events} GROUP BY project, at, service, environment, status",
    ),
    (
        "SELECT toString((project, at, service, environment, route, method, status, sum(count))) FROM rollup_counts \
         WHERE batch = toUUID('00000000-0000-0000-0000-000000000000') AND per = 'day' \
         GROUP BY project, at, service, environment, route, method, status",
        "SELECT toString((project, toStartOfDay(toDateTime(timestamp, 'UTC')) AS at, service, environment, route, method, \
         status, count())) FROM {events} GROUP BY project, at, service, environment, route, method, status",
    ),
    (
        "SELECT toString((project, account, at, service, environment, route, method, status, sum(count))) FROM rollup_accounts \
         WHERE batch = toUUID('00000000-0000-0000-0000-000000000000') \
         GROUP BY project, account, at, service, environment, route, method, status",
        "SELECT toString((project, account_id, toStartOfHour(toDateTime(timestamp, 'UTC')) AS at, service, environment, route, \
         method, status, count())) FROM {events} WHERE account_id != '' \
         GROUP BY project, account_id, at, service, environment, route, method, status",
    ),
    (
        "SELECT toString((project, at, service, environment, route, field, rule, sum(count), sum(events), \
         uniqExactArray(accounts), min(first_seen), max(last_seen))) FROM rollup_failures \
         WHERE batch = toUUID('00000000-0000-0000-0000-000000000000') \
         GROUP BY project, at, service, environment, route, field, rule",
        "SELECT toString((project, toStartOfHour(toDateTime(timestamp, 'UTC')) AS at, service, environment, route, field, rule, \
         count(), uniqExact(key), uniqExactIf(account_id, account_id != ''), min(timestamp), max((timestamp, request_id)))) \
         FROM {events} ARRAY JOIN `errors.field` AS field, `errors.rule` AS rule \
         GROUP BY project, at, service, environment, route, field, rule",
    ),
    (
        "SELECT toString((project, at, service, environment, route, field, rule, key, uniqExactArray(accounts), min(first_seen), \
         max(last_seen))) FROM rollup_failure_days WHERE batch = toUUID('00000000-0000-0000-0000-000000000000') \
         GROUP BY project, at, service, environment, route, field, rule, key",
        "SELECT toString((project, toStartOfDay(toDateTime(timestamp, 'UTC')) AS at, service, environment, route, field, rule, \
         cityHash64(field) + 3 * cityHash64(rule) + 5 * cityHash64(route), uniqExactIf(account_id, account_id != ''), min(timestamp), \
         max((timestamp, request_id)))) \
         FROM {events} ARRAY JOIN `errors.field` AS field, `errors.rule` AS rule \
         GROUP BY project, at, service, environment, route, field, rule",
    ),
    (
        "SELECT toString((project, per, at, service, environment, route, field, rule, pair, key, sum(count))) FROM rollup_failure_counts \
         WHERE batch = toUUID('00000000-0000-0000-0000-000000000000') \
         GROUP BY project, per, at, service, environment, route, field, rule, pair, key",
        "SELECT toString((project, arrayJoin(['day', 'week']) AS per, toDateTime(if(per = 'day', toDate(timestamp, 'UTC'), \
         toMonday(timestamp, 'UTC')), 'UTC') AS at, service, environment, route, field, rule, \
         cityHash64(field) + 3 * cityHash64(rule) AS pair, pair + 5 * cityHash64(route), count())) \
         FROM {events} ARRAY JOIN `errors.field` AS field, `errors.rule` AS rule \
         GROUP BY project, per, at, service, environment, route, field, rule",
    ),
    (
        "SELECT toString((project, at, service, environment, route, field, rule, sum(count), sum(events), sum(field_repeats), \
         sum(rule_repeats), sum(any_repeats))) FROM rollup_failure_days WHERE batch = toUUID('00000000-0000-0000-0000-000000000000') \
         GROUP BY project, at, service, environment, route, field, rule",
        "SELECT toString((project, toStartOfDay(at) AS day, service, environment, route, field, rule, sum(count), sum(events), \
         sum(field_repeats), sum(rule_repeats), sum(any_repeats))) FROM rollup_failures \
         WHERE batch = toUUID('00000000-0000-0000-0000-000000000000') \
         GROUP BY project, day, service, environment, route, field, rule",
    ),
    (
        "SELECT toString((project, field, sum(events) - sum(field_repeats))) FROM rollup_failures \
         WHERE batch = toUUID('00000000-0000-0000-0000-000000000000') GROUP BY project, field \
         UNION ALL SELECT toString((project, rule, sum(events) - sum(rule_repeats), 'rule')) FROM rollup_failures \
         WHERE batch = toUUID('00000000-0000-0000-0000-000000000000') GROUP BY project, rule",
        "SELECT toString((project, field, uniqExact(key))) FROM {events} ARRAY JOIN `errors.field` AS field \
         GROUP BY project, field UNION ALL SELECT toString((project, rule, uniqExact(key), 'rule')) FROM {events} \
         ARRAY JOIN `errors.rule` AS rule GROUP BY project, rule",
    ),
    (
        "SELECT toString((project, service, environment, route, sum(events) - sum(any_repeats))) FROM rollup_failures \
         WHERE batch = toUUID('00000000-0000-0000-0000-000000000000') GROUP BY project, service, environment, route",
        "SELECT toString((project, service, environment, route, count())) FROM {events} WHERE notEmpty(`errors.field`) \
         GROUP BY project, service, environment, route",
    ),
    (
        "SELECT toString((project, at, fingerprint, environment, release, sum(count), max(toUnixTimestamp(at) * 1000 + last_ms))) \
         FROM rollup_issues WHERE batch = toUUID('00000000-0000-0000-0000-000000000000') \
         GROUP BY project, at, fingerprint, environment, release",
        "SELECT toString((project, toStartOfHour(toDateTime(timestamp, 'UTC')) AS at, fingerprint, environment, release, \
         count(), toUnixTimestamp64Milli(max(timestamp)))) FROM {events} GROUP BY project, at, fingerprint, environment, release",
    ),
    (
        "SELECT DISTINCT toString((project, at, environment, release)) FROM release_hours",
        "SELECT DISTINCT toString((project, toStartOfHour(toDateTime(timestamp, 'UTC')), environment, release)) FROM {events} \
         WHERE release != ''",
    ),
    (
        "SELECT toString((project, fingerprint, any(service), any(route), any(status), any(error_template), any(fields), any(rules), \
         any(exception_type), min(first_seen))) FROM issues GROUP BY project, fingerprint",
        "SELECT toString((project, fingerprint, any(service), any(route), any(status), any(error_template), \
         arrayMap(pair -> pair.1, arraySort(arrayDistinct(arrayZip(any(`errors.field`), any(`errors.rule`)))) AS pairs), \
         arrayMap(pair -> pair.2, pairs), any(exception_type), min(timestamp))) FROM {events} GROUP BY project, fingerprint",
    ),
];

/// Panics unless every rollup counts what is in `events`. The client reads in the collector's database.
pub async fn agree(client: &clickhouse::Client) {
    let read = async |sql: &str| -> Vec<String> {
        let sql = sql.replace(
            "{events}",
            "(SELECT *, service, environment, release, route, method, request_id, error_template, exception_type FROM events \
             LIMIT 1 BY key)",
        );
        let mut rows: Vec<String> = client.query_raw(&sql).fetch_all().await.unwrap();
        rows.sort();
        rows
    };
    for (rollup, events) in PAIRS {
        let (rollup_rows, event_rows) = (read(rollup).await, read(events).await);
        let differs = rollup_rows.iter().zip(&event_rows).find(|(left, right)| left != right);
        assert!(
            rollup_rows == event_rows,
            "{rollup}: {} and {} cells; {differs:?} is the first that differs",
            rollup_rows.len(),
            event_rows.len()
        );
    }
}
