//! Rollups counted by ClickHouse from the events it has: for groups that memory has lost. The same cells as [`super::Rollups`]
//! makes; a test compares the two.

use super::RollupTable;

/// Of a group's events: parameters `batches`, `first` and `last` (bounds of their receipt). A row that a batch holds twice counts once.
const EVENTS: &str = "FROM {table} WHERE batch_id IN {batches:Array(UUID)} \
    AND received_at >= fromUnixTimestamp64Milli({first:Int64}, 'UTC') \
    AND received_at <= fromUnixTimestamp64Milli({last:Int64}, 'UTC') LIMIT 1 BY batch_id, key";

const MINUTE: &str = "toStartOfMinute(toDateTime(timestamp, 'UTC'))";
const HOUR: &str = "toStartOfHour(toDateTime(timestamp, 'UTC'))";
const DAY: &str = "toStartOfDay(toDateTime(timestamp, 'UTC'))";
const WEEK: &str = "toDateTime(toMonday(toDateTime(timestamp, 'UTC')), 'UTC')";

const FAILURE_MARKER: &str = "'', 0, '', '', '', '', '', 1, 0, 0, 0, 0, [], 0, (0, '')";

/// The cells and the marker of a group, in the table's columns; further parameters `group` and `week`.
pub(super) fn select(table: RollupTable, events: &str) -> String {
    let (cells, marker) = match table {
        RollupTable::Counts => (counts(), "'', 'minute', 0, '', '', '', '', 0, 1".to_owned()),
        RollupTable::Accounts => (accounts(), "'', '', 0, '', '', '', '', 0, 1".to_owned()),
        RollupTable::Issues => (issues(), "'', 0, 0, '', '', 1, 0".to_owned()),
        RollupTable::Failures => (failures(HOUR), FAILURE_MARKER.to_owned()),
        RollupTable::FailureDays => (failures(DAY), FAILURE_MARKER.to_owned()),
        RollupTable::FailureCounts => (failure_counts(), "'', 'day', 0, '', '', '', '', '', 1".to_owned()),
    };
    let cells = cells.replace("{events}", EVENTS).replace("{table}", events);
    format!(
        "SELECT toDate({{week:Int32}}), toUUID('00000000-0000-0000-0000-000000000000'), {cells} UNION ALL \
         SELECT toDate({{week:Int32}}), {{group:UUID}}, {marker}"
    )
}

fn counts() -> String {
    format!(
        "project, step.1, step.2, service, environment, if(step.3, route, '') AS step_route, if(step.3, method, '') AS step_method, \
         status, count() FROM (SELECT project, timestamp, service, environment, toString(route) AS route, toString(method) AS method, \
         status {{events}}) ARRAY JOIN [('minute', {MINUTE}, true), ('hour', {HOUR}, true), ('coarse_minute', {MINUTE}, false), \
         ('coarse_hour', {HOUR}, false), ('day', {DAY}, true)] AS step GROUP BY project, step, service, environment, step_route, step_method, status"
    )
}

fn accounts() -> String {
    format!(
        "project, account_id, {HOUR} AS at, service, environment, route, method, status, count() FROM (SELECT project, \
         account_id, timestamp, service, environment, route, method, status {{events}}) WHERE account_id != '' \
         GROUP BY project, account_id, at, service, environment, route, method, status"
    )
}

fn issues() -> String {
    format!(
        "project, {HOUR} AS at, fingerprint, environment, release, count(), \
         toUInt32(max(toUnixTimestamp64Milli(timestamp)) - toUnixTimestamp(at) * 1000) FROM (SELECT project, timestamp, fingerprint, environment, release {{events}}) GROUP BY project, at, fingerprint, environment, release"
    )
}

/// What the issues of a group are, in the columns of `issues`; the parameters of a group but for `group` and `week`, which it ignores.
pub(super) fn select_issues(events: &str) -> String {
    let events = EVENTS.replace("{table}", events);
    format!(
        "SELECT project, fingerprint, kind.1, kind.2, kind.3, kind.4, arrayMap(pair -> pair.1, pairs), \
         arrayMap(pair -> pair.2, pairs), kind.7, first, last FROM (SELECT project, fingerprint, \
         any((service, route, status, template, fields, rules, thrown)) AS kind, \
         arraySort(arrayDistinct(arrayZip(kind.5, kind.6))) AS pairs, min(timestamp) AS first, max(timestamp) AS last \
         FROM (SELECT toString(project) AS project, timestamp, fingerprint, toString(service) AS service, toString(route) AS route, \
         status, error_template AS template, arrayMap(f -> toString(f), `errors.field`) AS fields, \
         arrayMap(r -> toString(r), `errors.rule`) AS rules, exception_type AS thrown {events}) GROUP BY project, fingerprint)"
    )
}

/// In which hours the events of a group had releases, in the columns of `release_hours`; parameters as of [`select_issues`].
pub(super) fn select_releases(events: &str) -> String {
    let events = EVENTS.replace("{table}", events);
    format!(
        "SELECT project, {HOUR} AS at, environment, release FROM (SELECT project, timestamp, environment, release {events}) WHERE release != '' \
         GROUP BY project, at, environment, release"
    )
}

fn failure_counts() -> String {
    format!(
        "project, step.1, step.2, service, environment, route, pair.1 AS field, pair.2 AS rule, count() \
         FROM (SELECT project, timestamp, service, environment, route, arrayZip(arrayMap(f -> toString(f), `errors.field`), \
         arrayMap(r -> toString(r), `errors.rule`)) AS pairs {{events}}) ARRAY JOIN pairs AS pair \
         ARRAY JOIN [('day', {DAY}), ('week', {WEEK})] AS step GROUP BY project, step, service, environment, route, field, rule"
    )
}

/// By hours or days.
fn failures(unit: &str) -> String {
    format!(
        "project, {unit} AS at, service, environment, route, pair.1 AS field, pair.2 AS rule, \
         sum(countEqual(every, pair)), count(), \
         countIf(has(arrayMap(p -> p.1, arraySlice(pairs, 1, number - 1) AS earlier), field)), \
         countIf(has(arrayMap(p -> p.2, earlier), rule)), countIf(notEmpty(earlier)), \
         groupUniqArrayIf(account_id, account_id != ''), min(timestamp), max((timestamp, request_id)) \
         FROM (SELECT project, timestamp, service, environment, route, account_id, request_id, \
         arrayZip(arrayMap(f -> toString(f), fields), arrayMap(r -> toString(r), rules)) AS every, \
         arrayDistinct(every) AS pairs FROM (SELECT project, timestamp, service, environment, route, account_id, request_id, \
         `errors.field` AS fields, `errors.rule` AS rules {{events}}) WHERE notEmpty(fields)) \
         ARRAY JOIN pairs AS pair, arrayEnumerate(pairs) AS number \
         GROUP BY project, at, service, environment, route, field, rule"
    )
}
