//! Issues in short, for pages about something else: those that are new, and how one has gone over the last days.

use std::collections::BTreeSet;

use clickhouse::Row;
use serde::Deserialize;

use super::{
    IssueKind, Sql, Store, StoreError, Value,
    rollup::{DAY_MS, HOUR_MS, take_whole},
};

/// An issue by the hour.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct IssueHours {
    /// Begin of the first hour, milliseconds since the Unix epoch.
    pub from_ms: i64,
    /// Events of each hour, zeros included.
    pub counts: Vec<u64>,
    /// Releases they were of, sorted, at most 100 of each hour; empty of those without one.
    pub releases: BTreeSet<String>,
}

/// A release that came to an environment, and the hour in which it first had an error there: one that had none in the day before the range asked for.
#[derive(Clone, Debug, PartialEq, Eq, Row, Deserialize)]
pub struct ReleaseStart {
    pub release: String,
    pub environment: String,
    /// Begin of the hour, milliseconds since the Unix epoch.
    pub at_ms: i64,
}

#[derive(Row, Deserialize)]
struct Hour {
    at_ms: i64,
    events: u64,
    releases: Vec<String>,
}

/// ` AND` a time in a range.
fn push_in_range(sql: &mut Sql, time: &str, (from_ms, to_ms): (i64, i64)) {
    sql.push_value(&format!(" AND {time} >= fromUnixTimestamp64Milli({{}}, 'UTC')"), Value::Int(from_ms));
    sql.push_value(&format!(" AND {time} < fromUnixTimestamp64Milli({{}}, 'UTC')"), Value::Int(to_ms));
}

impl Store {
    /// The issues whose first event was in a range, the newest first.
    ///
    /// # Errors
    /// When ClickHouse does not answer; so of all.
    pub async fn new_issues(
        &self,
        project: &str,
        range_ms: (i64, i64),
        limit: usize,
    ) -> Result<Vec<IssueKind>, StoreError> {
        // All rows of an issue that is newer than the oldest of these rows are among them. An old issue is in it too, if it was written again (once a
        // day) and the rows are not merged yet.
        let latest = limit.saturating_mul(100);
        let mut sql = Sql::new("SELECT fingerprint, toUnixTimestamp64Milli(first_seen) AS at_ms FROM ");
        sql.push(&self.table("issues")).push_value(" WHERE project = {}", Value::Text(project.to_owned()));
        push_in_range(&mut sql, "first_seen", range_ms);
        sql.push(&format!(" ORDER BY at_ms DESC LIMIT {latest}"));
        let rows: Vec<(u64, i64)> = self.rows_of("finding the latest issues", self.ask_wide(&sql)).await?;
        if rows.is_empty() {
            return Ok(Vec::new());
        }
        let oldest_ms = rows.last().filter(|_| rows.len() >= latest).map(|(_, at_ms)| *at_ms);
        let mut seen = Sql::default();
        seen.push_value("{}", Value::UInts(rows.iter().map(|(issue, _)| *issue).collect()));
        let found = self.new_issues_among(project, range_ms, limit, &seen).await?;
        let is_whole = oldest_ms.is_none_or(|oldest_ms| {
            found.len() >= limit && found.last().is_some_and(|issue| issue.first_ms > oldest_ms)
        });
        if is_whole {
            return Ok(found);
        }
        let mut any = Sql::new("(SELECT fingerprint FROM ");
        any.push(&self.table("issues")).push_value(" WHERE project = {}", Value::Text(project.to_owned()));
        push_in_range(&mut any, "first_seen", range_ms);
        any.push(")");
        self.new_issues_among(project, range_ms, limit, &any).await
    }

    /// The same, of some fingerprints.
    async fn new_issues_among(
        &self,
        project: &str,
        range_ms: (i64, i64),
        limit: usize,
        fingerprints: &Sql,
    ) -> Result<Vec<IssueKind>, StoreError> {
        // Which they are is told by two columns; what they are is read of those.
        let mut sql = fingerprints.clone();
        sql.text = format!(
            "SELECT fingerprint, kind.1 AS service, kind.2 AS route, kind.3 AS status, kind.4 AS error_template, kind.5 AS fields, \
             kind.6 AS rules, kind.7 AS exception_type, first_ms, last_ms FROM (SELECT fingerprint, \
             any((service, route, status, error_template, fields, rules, exception_type)) AS kind, \
             toUnixTimestamp64Milli(min(first_seen)) AS first_ms, toUnixTimestamp64Milli(max(last_seen)) AS last_ms FROM {issues} \
             WHERE project = {{project:String}} AND fingerprint IN (SELECT fingerprint FROM {issues} WHERE project = {{project:String}} AND \
             fingerprint IN {} GROUP BY fingerprint HAVING 1",
            sql.text,
            issues = self.table("issues")
        );
        push_in_range(&mut sql, "min(first_seen)", range_ms);
        sql.push(&format!(" ORDER BY min(first_seen) DESC, fingerprint LIMIT {limit})"));
        sql.push(" GROUP BY fingerprint) ORDER BY first_ms DESC, fingerprint");
        self.rows_of("listing new issues", self.ask_wide(&sql).param("project", project)).await
    }

    /// The releases that came to an environment within a range, the latest `limit` of them, the earliest first: those with errors there only after
    /// another one had some, and with none in the day before the range.
    pub async fn release_starts(
        &self,
        project: &str,
        range_ms: (i64, i64),
        limit: usize,
    ) -> Result<Vec<ReleaseStart>, StoreError> {
        let before_ms = range_ms.0.saturating_sub(DAY_MS).max(self.issues_since_ms().await?);
        let from_ms = before_ms.div_euclid(HOUR_MS) * HOUR_MS;
        let mut sql = Sql::new(
            "SELECT of_release AS release, of_environment AS environment, at_ms FROM (SELECT of_release, of_environment, at_ms, \
             min(at_ms) OVER (PARTITION BY of_environment) AS first_ms FROM (SELECT toString(release) AS of_release, \
             toString(environment) AS of_environment, toInt64(toUnixTimestamp(min(at))) * 1000 AS at_ms FROM ",
        );
        sql.push(&self.table("release_hours")).push_value(" WHERE project = {}", Value::Text(project.to_owned()));
        sql.push_value(" AND at >= toDateTime({}, 'UTC')", Value::Int(from_ms / 1000));
        sql.push_value(" AND at < toDateTime({}, 'UTC')", Value::Int(range_ms.1.max(from_ms) / 1000));
        sql.push(" GROUP BY of_release, of_environment)) WHERE at_ms > first_ms");
        // The hour that the range begins in counts as its first.
        sql.push_value(" AND at_ms > {} - 3600000 ORDER BY at_ms DESC, release, environment", Value::Int(range_ms.0));
        sql.push(&format!(" LIMIT {limit}"));
        let mut starts: Vec<ReleaseStart> = self.rows("finding when releases began", &sql).await?;
        starts.reverse();
        Ok(starts)
    }

    /// The hours of an issue that a range touches. Only the rollup is read: hours of before there was one are zeros.
    pub async fn issue_hours(
        &self,
        project: &str,
        fingerprint: u64,
        range_ms: (i64, i64),
    ) -> Result<IssueHours, StoreError> {
        let since_ms = self.issues_since_ms().await?;
        let from_ms = range_ms.0.div_euclid(HOUR_MS) * HOUR_MS;
        let to_ms = (range_ms.1 - 1).div_euclid(HOUR_MS).saturating_add(1) * HOUR_MS;
        let mut counts = vec![0; usize::try_from((to_ms - from_ms) / HOUR_MS).unwrap_or(0)];
        let cells = take_whole(&mut vec![(from_ms, to_ms)], HOUR_MS, since_ms);
        if cells.is_empty() {
            return Ok(IssueHours { from_ms, counts, releases: BTreeSet::new() });
        }
        let mut sql = Sql::new(
            "SELECT toInt64(toUnixTimestamp(at)) * 1000 AS at_ms, sum(count) AS events, groupUniqArray(100)(toString(release)) AS releases FROM ",
        );
        sql.push(&self.table("rollup_issues")).push_cells_by_day(project, &cells);
        sql.push_value(" AND fingerprint = {} GROUP BY at", Value::UInt(fingerprint));
        let hours: Vec<Hour> = self.rows_of("counting an issue by the hour", self.ask_plainly(&sql)).await?;
        let mut of_releases = BTreeSet::new();
        for Hour { at_ms, events, releases } in hours {
            of_releases.extend(releases);
            let slot = usize::try_from((at_ms - from_ms) / HOUR_MS).ok().and_then(|hour| counts.get_mut(hour));
            if let Some(slot) = slot {
                *slot = events;
            }
        }
        Ok(IssueHours { from_ms, counts, releases: of_releases })
    }
}
