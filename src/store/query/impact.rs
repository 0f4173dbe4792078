//! How far an error reaches: the same fingerprint around it, and the account's other errors.

use clickhouse::Row;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use super::{
    Sql, Store, StoreError, Value,
    event_row::{origin_words, request_id_of},
    rollup::{HOUR_MS, MINUTE_MS, Range, begin_of, take_whole},
};
use crate::event::Event;

/// Half of "the hour around".
const HALF_WINDOW_MS: i64 = 30 * MINUTE_MS;

/// How far back "first seen" looks: further would read the whole retention for every lookup.
const LOOK_BACK_MS: i64 = 24 * 60 * MINUTE_MS;

/// The same error (service, route and fingerprint) in the hour around an event.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct Impact {
    /// Milliseconds since the Unix epoch; the hour around the event.
    pub from_ms: i64,
    pub to_ms: i64,
    /// Events of the same fingerprint.
    pub events: u64,
    /// Accounts among them; events without an account count as none.
    pub accounts: u64,
    /// Events of this event's account; 0 when it has none.
    pub account_events: u64,
    /// `account_events / events`.
    pub account_share: f64,
    /// First event of this fingerprint from a day before the event on, milliseconds since the Unix epoch. Or of all, if [asked for](Store::impact_ever).
    pub first_seen_ms: i64,
    /// Releases among them, sorted; at most 20. Not read where the first event [of all](Store::impact_ever) is asked for: the days around tell them.
    pub releases: Vec<String>,
    /// Events per minute from `from_ms` on, zeros included.
    pub per_minute: Vec<u64>,
}

/// An error in one line.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct EventSummary {
    pub request_id: String,
    /// Milliseconds since the Unix epoch.
    pub timestamp_ms: i64,
    pub status: u16,
    pub service: String,
    pub method: String,
    pub route: String,
    pub error: String,
    /// Fields of its field errors.
    pub fields: Vec<String>,
    pub fingerprint: u64,
}

/// The hour around an event.
#[derive(Row, Deserialize)]
struct Near {
    events: u64,
    accounts: u64,
    account_events: u64,
    /// Of no event, the epoch.
    first_seen: i64,
    releases: Vec<String>,
    per_minute: Vec<u64>,
}

/// An account's error as it is stored: the columns of an [`EventSummary`], and of none that ClickHouse would have to put together.
#[derive(Row, Deserialize)]
struct SummaryRow {
    #[serde(with = "clickhouse::serde::uuid")]
    request_uuid: Uuid,
    request_text: String,
    timestamp: i64,
    status: u16,
    origin: String,
    error: String,
    #[serde(rename = "errors.field")]
    fields: Vec<String>,
    fingerprint: u64,
}

impl SummaryRow {
    fn summary(self) -> Result<EventSummary, StoreError> {
        let request_id = request_id_of(self.request_uuid, &self.request_text).into_owned();
        let Some([service, _, _, method, route]) = origin_words(&self.origin) else {
            return Err(StoreError::Answer(format!("the event {request_id} has no origin")));
        };
        let Self { timestamp: timestamp_ms, status, error, fields, fingerprint, .. } = self;
        Ok(EventSummary { request_id, timestamp_ms, status, service, method, route, error, fields, fingerprint })
    }
}

/// Its begin and end, whole minutes.
const fn hour_around(event: &Event) -> Range {
    let from_ms = begin_of(event.timestamp_ms - HALF_WINDOW_MS, MINUTE_MS);
    (from_ms, from_ms + 2 * HALF_WINDOW_MS)
}

impl Near {
    /// The first event in the hour, which has the event itself once it is stored.
    fn first_or(&self, event: &Event) -> i64 {
        if self.events == 0 { event.timestamp_ms } else { self.first_seen.min(event.timestamp_ms) }
    }

    fn impact(self, event: &Event, before_ms: Option<i64>) -> Impact {
        let (from_ms, to_ms) = hour_around(event);
        let events = self.events;
        let first_near = Some(self.first_seen).filter(|_| events > 0);
        Impact {
            from_ms,
            to_ms,
            events,
            accounts: self.accounts,
            account_events: self.account_events,
            account_share: if events == 0 { 0.0 } else { self.account_events as f64 / events as f64 },
            first_seen_ms: before_ms.or(first_near).unwrap_or(event.timestamp_ms),
            releases: self.releases,
            per_minute: self.per_minute,
        }
    }
}

impl Store {
    /// The same error in the hour around an event, itself included once it is stored.
    ///
    /// # Errors
    /// When ClickHouse does not answer; so of all.
    pub async fn impact(&self, project: &str, event: &Event) -> Result<Impact, StoreError> {
        let (from_ms, to_ms) = hour_around(event);
        let near = self.impact_near(project, event, (from_ms, to_ms), true);
        let before = self.impact_before(project, event, from_ms);
        let (near, before) = tokio::try_join!(near, before)?;
        Ok(near.impact(event, before))
    }

    /// The same, but with the first event ever where that is known, which is quicker to find than the first of a day.
    ///
    /// # Errors
    /// As of [`Store::impact`].
    pub async fn impact_ever(&self, project: &str, event: &Event) -> Result<Impact, StoreError> {
        let (from_ms, to_ms) = hour_around(event);
        let near = self.impact_near(project, event, (from_ms, to_ms), false);
        let before = async {
            match self.issue_first_ms(project, event.fingerprint).await? {
                Some(first_ms) => Ok(Some(first_ms)),
                None => self.impact_before(project, event, from_ms).await,
            }
        };
        let (near, before) = tokio::try_join!(near, before)?;
        // An event that came late may be older than what was written of its issue so far.
        let first_ms = before.map(|first_ms| first_ms.min(near.first_or(event)));
        Ok(near.impact(event, first_ms))
    }

    async fn issue_first_ms(&self, project: &str, fingerprint: u64) -> Result<Option<i64>, StoreError> {
        let mut sql = Sql::new("SELECT toUnixTimestamp64Milli(min(first_seen)) AS first_ms FROM ");
        sql.push(&self.table("issues")).push_value(" WHERE project = {}", Value::Text(project.to_owned()));
        sql.push_value(" AND fingerprint = {} HAVING count() > 0", Value::UInt(fingerprint));
        Ok(self.rows_of::<i64>("reading when an issue was first seen", self.ask_plainly(&sql)).await?.pop())
    }

    /// One pass over the hour, each event once by its key; a column less where the releases are not asked for.
    async fn impact_near(
        &self,
        project: &str,
        event: &Event,
        (from_ms, to_ms): Range,
        tells_releases: bool,
    ) -> Result<Near, StoreError> {
        let mut sql =
            Sql::new("SELECT uniqExact(key) AS events, uniqExactIf(account_id, account_id != '') AS accounts, ");
        sql.push_value(
            "uniqExactIf(key, account_id != '' AND account_id = {}) AS account_events, ",
            Value::Text(event.account_id.clone()),
        );
        sql.push("toUnixTimestamp64Milli(min(timestamp)) AS first_seen, ").push(if tells_releases {
            "arraySort(groupUniqArrayIf(20)(toString(release), release != '')) AS releases, "
        } else {
            "CAST([], 'Array(String)') AS releases, "
        });
        sql.push(&format!("uniqExactResample(0, {}, 1)(key, ", (to_ms - from_ms) / MINUTE_MS));
        sql.push_value(
            "intDiv(toUnixTimestamp64Milli(timestamp) - {}, 60000)) AS per_minute FROM ",
            Value::Int(from_ms),
        );
        sql.push(&self.table("events")).push_range(project, from_ms, to_ms);
        sql.push_value(" AND fingerprint = {}", Value::UInt(event.fingerprint));
        let near: Vec<Near> = self.rows_of("measuring an error's impact", self.ask_plainly(&sql)).await?;
        near.into_iter().next().ok_or_else(|| StoreError::Answer("an aggregate without a row".to_owned()))
    }

    /// The first event of the same kind in the day before the hour around. The rollup tells the first whole hour that has one, so that at
    /// most that hour and the day's edges are read: a rare error would be looked for among all events of a day.
    async fn impact_before(&self, project: &str, event: &Event, from_ms: i64) -> Result<Option<i64>, StoreError> {
        let since_ms = self.issues_since_ms().await?;
        let mut edges = vec![(event.timestamp_ms - LOOK_BACK_MS, from_ms)];
        let hours = take_whole(&mut edges, HOUR_MS, since_ms);
        let (at_edges, hour) = tokio::try_join!(
            self.first_event_of(project, event.fingerprint, &edges),
            self.first_hour_of(project, event.fingerprint, &hours),
        )?;
        // Of an hour whose events were erased, the rollup still counts some: then the next one is asked for.
        let mut hour = hour;
        while let Some(at_ms) = hour.filter(|at_ms| at_edges.is_none_or(|first| *at_ms < first)) {
            if let Some(first) = self.first_event_of(project, event.fingerprint, &[(at_ms, at_ms + HOUR_MS)]).await? {
                return Ok(Some(first));
            }
            let later = hours.last().map(|(_, end)| (at_ms + HOUR_MS, *end)).filter(|(from, end)| from < end);
            hour = self.first_hour_of(project, event.fingerprint, later.as_slice()).await?;
        }
        Ok(at_edges)
    }

    /// Begin of the first whole hour with an event of an issue.
    async fn first_hour_of(&self, project: &str, fingerprint: u64, hours: &[Range]) -> Result<Option<i64>, StoreError> {
        if hours.is_empty() {
            return Ok(None);
        }
        let mut sql = Sql::new("SELECT toInt64(toUnixTimestamp(min(at))) * 1000 AS first_seen FROM ");
        sql.push(&self.table("rollup_issues")).push_cells_by_day(project, hours);
        sql.push_value(" AND fingerprint = {} HAVING count() > 0", Value::UInt(fingerprint));
        Ok(self.rows("looking for an error's first hour", &sql).await?.pop())
    }

    /// The first event of an issue in some ranges, the earliest range first. Read in the order of the primary key, which ends at the first one.
    async fn first_event_of(
        &self,
        project: &str,
        fingerprint: u64,
        ranges: &[Range],
    ) -> Result<Option<i64>, StoreError> {
        let (Some((from_ms, _)), Some((_, to_ms))) = (ranges.first(), ranges.last()) else { return Ok(None) };
        let mut sql = Sql::new("SELECT toUnixTimestamp64Milli(timestamp) AS first_seen FROM ");
        sql.push(&self.table("events")).push_range(project, *from_ms, *to_ms).push(" AND (0");
        for (from_ms, to_ms) in ranges {
            sql.push_value(" OR (timestamp >= fromUnixTimestamp64Milli({}, 'UTC')", Value::Int(*from_ms));
            sql.push_value(" AND timestamp < fromUnixTimestamp64Milli({}, 'UTC'))", Value::Int(*to_ms));
        }
        sql.push_value(") AND fingerprint = {} ORDER BY timestamp LIMIT 1", Value::UInt(fingerprint));
        Ok(self.rows_of("looking for an error's first event", self.ask_plainly(&sql)).await?.pop())
    }

    /// The account's errors within `window_ms` before and after a moment: the `limit` nearest to it, oldest first.
    pub async fn account_around(
        &self,
        project: &str,
        account_id: &str,
        around_ms: i64,
        window_ms: i64,
        limit: usize,
    ) -> Result<Vec<EventSummary>, StoreError> {
        if account_id.is_empty() {
            return Ok(Vec::new());
        }
        let mut sql = Sql::new("SELECT ?fields FROM ");
        sql.push(&self.table("events"));
        sql.push_range(project, around_ms.saturating_sub(window_ms), around_ms.saturating_add(window_ms));
        sql.push_value(" AND account_id = {}", Value::Text(account_id.to_owned()));
        sql.push_value(" ORDER BY abs(toUnixTimestamp64Milli(timestamp) - {}), key", Value::Int(around_ms));
        sql.push(&format!(" LIMIT 1 BY key LIMIT {limit}"));
        let mut rows: Vec<SummaryRow> = self.rows_of("reading an account's errors", self.ask_plainly(&sql)).await?;
        rows.sort_by_key(|row| row.timestamp);
        rows.into_iter().map(SummaryRow::summary).collect()
    }
}
