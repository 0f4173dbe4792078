//! Issues: what kinds of errors a project has, when each was seen, and how often.
//!
//! What an issue is, is in the table `issues`; its hours are in `rollup_issues`. Whole hours are read from there and the edges of a range
//! from the events, as the other rollups are.

mod page;

use std::collections::HashMap;

use clickhouse::Row;
use serde::Deserialize;

use super::{
    Filter, Sql, StatusFilter, Store, StoreError, Value,
    rollup::{HOUR_MS, Range, begin_of, take_whole},
};

/// Issues of one answer at most, those seen last.
pub const MAX_ISSUES: usize = 200_000;

/// Issues named in one question at most: they travel in the address of the request.
const CHUNK: usize = 2000;

/// Which issues a question is about; of a list that is empty, any.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct IssueFilter {
    /// First timestamp that counts, milliseconds since the Unix epoch.
    pub from_ms: i64,
    /// First timestamp that does not count any more.
    pub to_ms: i64,
    /// Where it was seen in the range.
    pub environments: Vec<String>,
    pub services: Vec<String>,
    pub routes: Vec<String>,
    pub statuses: Vec<StatusFilter>,
    /// Text within the error's template, the exception's type, the route or a field, case folded.
    pub text: Option<String>,
    /// The templates within which that text counts, in their normal form; absent: all.
    pub templates: Option<Vec<String>>,
    pub fingerprints: Vec<u64>,
}

/// An issue that was seen in a range.
#[derive(Clone, Debug, PartialEq, Eq, Row, Deserialize)]
pub struct SeenIssue {
    pub fingerprint: u64,
    /// Events in the range.
    pub events: u64,
    /// The first event ever, milliseconds since the Unix epoch.
    pub first_ms: i64,
    /// The last event of the range.
    pub last_ms: i64,
}

/// What an issue is.
#[derive(Clone, Debug, PartialEq, Eq, Row, Deserialize)]
pub struct IssueKind {
    pub fingerprint: u64,
    pub service: String,
    pub route: String,
    pub status: u16,
    pub error_template: String,
    /// With `rules`: pairs, distinct and in order.
    pub fields: Vec<String>,
    pub rules: Vec<String>,
    /// Empty where nothing was thrown.
    pub exception_type: String,
    /// The first event ever, milliseconds since the Unix epoch.
    pub first_ms: i64,
    /// The last event, to a day: what is known when its hours have expired.
    pub last_ms: i64,
}

/// When a release had an issue.
#[derive(Clone, Debug, PartialEq, Eq, Row, Deserialize)]
pub struct IssueRelease {
    pub fingerprint: u64,
    /// Empty for events that name none.
    pub release: String,
    pub events: u64,
    /// The hour of its first event in the range asked for, and its last event; milliseconds since the Unix epoch.
    pub first_ms: i64,
    pub last_ms: i64,
}

/// Events of an issue in one step of a range.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Row, Deserialize)]
pub struct IssueStep {
    pub fingerprint: u64,
    /// Begin of the step, milliseconds since the Unix epoch.
    pub at: i64,
    pub events: u64,
}

/// Some events of an issue.
#[derive(Clone, Debug, Default, PartialEq, Eq, Row, Deserialize)]
pub struct IssueSamples {
    pub fingerprint: u64,
    /// Request ids, the newest first.
    pub request_ids: Vec<String>,
    /// Of the newest event.
    pub method: String,
    pub error: String,
    pub fields: Vec<String>,
    pub messages: Vec<String>,
    pub rules: Vec<String>,
}

/// A number by a name: events of an environment, or of an account.
#[derive(Clone, Debug, PartialEq, Eq, Row, Deserialize)]
pub struct NamedCount {
    pub name: String,
    pub events: u64,
}

impl IssueFilter {
    /// Of the events of a range, those that the filter lets through but for what is in the table `issues` alone.
    fn events(&self, range: Range) -> Filter {
        Filter {
            from_ms: range.0,
            to_ms: range.1,
            environments: self.environments.clone(),
            fingerprints: self.fingerprints.clone(),
            ..Filter::default()
        }
    }

    /// Only some issues of any kind.
    #[must_use]
    pub fn of(fingerprints: Vec<u64>, (from_ms, to_ms): (i64, i64)) -> Self {
        Self { from_ms, to_ms, fingerprints, ..Self::default() }
    }

    /// The same for parts of a long list of issues, each short enough for one question.
    fn parts(&self) -> Vec<Self> {
        if self.fingerprints.len() <= CHUNK {
            return vec![self.clone()];
        }
        self.fingerprints.chunks(CHUNK).map(|part| Self { fingerprints: part.to_vec(), ..self.clone() }).collect()
    }
}

/// How the pieces of a question name what they count.
struct Counted {
    /// Further columns after the fingerprint and the count, each behind its comma: of the cells, and of the events.
    cells: &'static str,
    events: &'static str,
    group_by: &'static str,
}

/// The last event of a cell, and of events.
macro_rules! last {
    (cells) => {
        ", toInt64(max(toUnixTimestamp(at) * 1000 + last_ms)) AS last"
    };
    (events) => {
        ", toUnixTimestamp64Milli(max(timestamp)) AS last"
    };
}
use last;

const COUNTS: Counted = Counted { cells: "", events: "", group_by: "" };
const LAST: Counted = Counted { cells: last!(cells), events: last!(events), group_by: "" };
const RELEASES: Counted = Counted {
    cells: concat!(
        ", toString(release) AS of_release, toInt64(toUnixTimestamp(min(at))) * 1000 AS first",
        last!(cells)
    ),
    events: concat!(
        ", toString(release) AS of_release, intDiv(toUnixTimestamp64Milli(min(timestamp)), 3600000) * 3600000 AS first",
        last!(events)
    ),
    group_by: ", of_release",
};
impl Store {
    /// The issues that were seen in the filter's range, at most [`MAX_ISSUES`], those seen last first.
    ///
    /// # Errors
    /// When ClickHouse does not answer; so all of these.
    pub async fn seen_issues(&self, project: &str, filter: &IssueFilter) -> Result<Vec<SeenIssue>, StoreError> {
        let mut seen = Vec::new();
        for filter in filter.parts() {
            let mut sql = Sql::new(
                "SELECT seen.fingerprint AS fingerprint, events, first_ms, last_ms FROM (SELECT fingerprint, \
                 sum(counted) AS events, max(last) AS last_ms FROM (",
            );
            self.push_pieces(&mut sql, project, &filter, &LAST).await?;
            sql.push(
                ") GROUP BY fingerprint) AS seen INNER JOIN (SELECT fingerprint, \
                 toUnixTimestamp64Milli(min(first_seen)) AS first_ms FROM ",
            );
            self.push_kinds(&mut sql, project, &filter);
            sql.push(" GROUP BY fingerprint) AS kinds USING fingerprint ORDER BY last_ms DESC, fingerprint");
            sql.push(&format!(" LIMIT {MAX_ISSUES}"));
            seen.extend(self.rows_of::<SeenIssue>("listing issues", self.ask_wide(&sql)).await?);
        }
        Ok(seen)
    }

    /// How many events of some issues a range has; those with none are left out.
    pub async fn issue_counts(
        &self,
        project: &str,
        issues: &[IssueKind],
        (from_ms, to_ms): (i64, i64),
    ) -> Result<HashMap<u64, u64>, StoreError> {
        let mut counts = HashMap::new();
        let Some(first_ms) = issues.iter().map(|issue| issue.first_ms).min() else { return Ok(counts) };
        // Before the first of them there is nothing to count.
        let since = from_ms.max(begin_of(first_ms, HOUR_MS));
        let fingerprints = issues.iter().map(|issue| issue.fingerprint).collect();
        for filter in IssueFilter::of(fingerprints, (since, to_ms)).parts() {
            let mut sql = Sql::new("SELECT fingerprint, sum(counted) AS events FROM (");
            self.push_pieces(&mut sql, project, &filter, &COUNTS).await?;
            sql.push(") GROUP BY fingerprint");
            let counted: Vec<(u64, u64)> = self.rows_of("counting issues", self.ask_plainly(&sql)).await?;
            for (fingerprint, events) in counted {
                *counts.entry(fingerprint).or_default() += events;
            }
        }
        Ok(counts)
    }

    /// What issues are, of those that the filter names; its range and environments do not matter.
    pub async fn issue_kinds(&self, project: &str, filter: &IssueFilter) -> Result<Vec<IssueKind>, StoreError> {
        let mut kinds = Vec::new();
        for filter in filter.parts() {
            let mut sql = Sql::new(
                "SELECT fingerprint, kind.1 AS service, kind.2 AS route, kind.3 AS status, kind.4 AS error_template, kind.5 AS fields, \
                 kind.6 AS rules, kind.7 AS exception_type, first_ms, last_ms FROM (SELECT fingerprint, \
                 any((service, route, status, error_template, fields, rules, exception_type)) AS kind, \
                 toUnixTimestamp64Milli(min(first_seen)) AS first_ms, toUnixTimestamp64Milli(max(last_seen)) AS last_ms FROM ",
            );
            self.push_kinds(&mut sql, project, &filter);
            sql.push(&format!(" GROUP BY fingerprint ORDER BY fingerprint LIMIT {MAX_ISSUES})"));
            kinds.extend(self.rows_of::<IssueKind>("reading what issues are", self.ask_wide(&sql)).await?);
        }
        Ok(kinds)
    }

    /// Which releases had the issues of a filter, and when, within its range.
    pub async fn issue_releases(&self, project: &str, filter: &IssueFilter) -> Result<Vec<IssueRelease>, StoreError> {
        let mut releases = Vec::new();
        for filter in filter.parts() {
            let mut sql = Sql::new(
                "SELECT fingerprint, of_release AS release, sum(counted) AS events, min(first) AS first_ms, max(last) AS last_ms \
                 FROM (",
            );
            self.push_pieces(&mut sql, project, &filter, &RELEASES).await?;
            sql.push(") GROUP BY fingerprint, of_release ORDER BY fingerprint, last_ms DESC, of_release");
            releases.extend(self.rows_of::<IssueRelease>("reading an issue's releases", self.ask_wide(&sql)).await?);
        }
        Ok(releases)
    }

    /// The releases with any error of a service in a range, and when each first had one.
    pub async fn service_releases(
        &self,
        project: &str,
        service: &str,
        range: (i64, i64),
    ) -> Result<Vec<IssueRelease>, StoreError> {
        let kinds = IssueFilter { services: vec![service.to_owned()], ..IssueFilter::default() };
        let fingerprints: Vec<_> =
            self.issue_kinds(project, &kinds).await?.into_iter().map(|kind| kind.fingerprint).collect();
        if fingerprints.is_empty() {
            return Ok(Vec::new());
        }
        self.issue_releases(project, &IssueFilter::of(fingerprints, range)).await
    }

    /// The issues with at least `least` events in a range that is short: it is read from the events.
    pub async fn busy_issues(
        &self,
        project: &str,
        range: (i64, i64),
        fingerprints: &[u64],
        least: u64,
    ) -> Result<Vec<IssueStep>, StoreError> {
        let filter = IssueFilter::of(fingerprints.to_vec(), range);
        let mut busy = Vec::new();
        for filter in filter.parts() {
            let mut sql = Sql::new("SELECT fingerprint, ");
            sql.push_value("toInt64({}) AS at, uniqExact(key) AS events FROM ", Value::Int(range.0));
            sql.push(&self.table("events")).push_filter(project, &filter.events(range));
            sql.push_value(" GROUP BY fingerprint HAVING events >= {}", Value::UInt(least));
            sql.push(&format!(" ORDER BY events DESC LIMIT {MAX_ISSUES}"));
            busy.extend(self.rows_of::<IssueStep>("finding busy issues", self.ask_wide(&sql)).await?);
        }
        Ok(busy)
    }

    /// Events of the filter's issues per step; steps begin at multiples of `step_ms`. Steps without events are left out.
    pub async fn issue_steps(
        &self,
        project: &str,
        filter: &IssueFilter,
        step_ms: i64,
    ) -> Result<Vec<IssueStep>, StoreError> {
        let since_ms = self.issues_since_ms().await?;
        let mut steps = Vec::new();
        for filter in filter.parts() {
            let mut rest = vec![(filter.from_ms, filter.to_ms)];
            let hours = if step_ms % HOUR_MS == 0 { take_whole(&mut rest, HOUR_MS, since_ms) } else { Vec::new() };
            let mut sql = Sql::new("SELECT fingerprint, ");
            sql.push_value("step * {} AS at, sum(counted) AS events FROM (", Value::Int(step_ms));
            let mut is_first = true;
            for range in hours {
                sql.push(if is_first { "" } else { " UNION ALL " });
                is_first = false;
                sql.push_value(
                    "SELECT fingerprint, intDiv(toUnixTimestamp(at), toInt64({})) AS step, sum(count) AS counted FROM ",
                    Value::Int(step_ms / 1000),
                );
                self.push_hours(&mut sql, project, &filter, range);
                sql.push(" GROUP BY fingerprint, step");
            }
            for range in rest {
                sql.push(if is_first { "" } else { " UNION ALL " });
                is_first = false;
                sql.push_value(
                    "SELECT fingerprint, intDiv(toUnixTimestamp64Milli(timestamp), {}) AS step, uniqExact(key) AS counted FROM ",
                    Value::Int(step_ms),
                );
                sql.push(&self.table("events")).push_filter(project, &filter.events(range));
                sql.push(" GROUP BY fingerprint, step");
            }
            sql.push(") GROUP BY fingerprint, step ORDER BY fingerprint, step");
            steps.extend(self.rows_of::<IssueStep>("counting an issue's events", self.ask_wide(&sql)).await?);
        }
        Ok(steps)
    }

    /// `database.issues WHERE …`: of a project, what the filter says of kinds.
    fn push_kinds(&self, sql: &mut Sql, project: &str, filter: &IssueFilter) {
        sql.push(&self.table("issues")).push_value(" WHERE project = {}", Value::Text(project.to_owned()));
        sql.push_one_of("service", &filter.services).push_one_of("route", &filter.routes);
        sql.push_statuses(&filter.statuses);
        sql.push_fingerprints(&filter.fingerprints);
        if let Some(text) = &filter.text {
            sql.push(" AND arrayExists(part -> positionCaseInsensitiveUTF8(part, ");
            sql.push_value("{}) > 0, arrayConcat([exception_type, route], fields, ", Value::Text(text.clone()));
            match &filter.templates {
                None => sql.push("[error_template]))"),
                // The normal form, as the catalog makes it.
                Some(templates) => sql.push_value(
                    "if(has({}, replaceRegexpOne(lowerUTF8(trimBoth(error_template)), ' *[.]*$', '')), \
                     [toString(error_template)], [])))",
                    Value::Texts(templates.clone()),
                ),
            };
        }
    }

    /// The cells of some hours, as the filter has them.
    fn push_hours(&self, sql: &mut Sql, project: &str, filter: &IssueFilter, hours: Range) {
        sql.push(&self.table("rollup_issues")).push_cells_by_day(project, &[hours]);
        sql.push_one_of("environment", &filter.environments).push_fingerprints(&filter.fingerprints);
    }

    /// Fingerprint, `counted`, and more, of the filter's range: the hours and the edges around them.
    async fn push_pieces(
        &self,
        sql: &mut Sql,
        project: &str,
        filter: &IssueFilter,
        counted: &Counted,
    ) -> Result<(), StoreError> {
        let since_ms = self.issues_since_ms().await?;
        let mut rest = vec![(filter.from_ms, filter.to_ms)];
        let hours = take_whole(&mut rest, HOUR_MS, since_ms);
        let mut is_first = true;
        let mut union = |sql: &mut Sql| {
            sql.push(if is_first { "" } else { " UNION ALL " });
            is_first = false;
        };
        for range in hours {
            union(sql);
            sql.push(&format!("SELECT fingerprint, sum(count) AS counted{} FROM ", counted.cells));
            self.push_hours(sql, project, filter, range);
            sql.push(&format!(" GROUP BY fingerprint{}", counted.group_by));
        }
        for range in rest {
            union(sql);
            sql.push(&format!("SELECT fingerprint, uniqExact(key) AS counted{} FROM ", counted.events));
            sql.push(&self.table("events")).push_filter(project, &filter.events(range));
            sql.push(&format!(" GROUP BY fingerprint{}", counted.group_by));
        }
        Ok(())
    }
}
