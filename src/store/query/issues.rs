//! Issues: what kinds of errors a project has, when each was seen, and how often.
//!
//! What an issue is, is in the table `issues`; its hours are in `rollup_issues`. Whole hours are read from there and the edges of a range
//! from the events, as the other rollups are.

use clickhouse::Row;
use serde::Deserialize;

use super::{
    Filter, Sql, StatusFilter, Store, StoreError, Value,
    rollup::{HOUR_MS, Range, take_whole},
};

/// Issues of one answer at most, those seen last.
pub const MAX_ISSUES: usize = 200_000;

/// Issues named in one question at most: they travel in the address of the request.
const CHUNK: usize = 2000;

/// Request ids shown of each issue, each of another hour.
const SAMPLES: usize = 5;

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

#[derive(Row, Deserialize)]
struct Accounts {
    fingerprint: u64,
    accounts: u64,
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
    /// Columns beside the fingerprint and the count: of the cells, and of the events.
    cells: &'static str,
    events: &'static str,
    group_by: &'static str,
}

/// The last event of a cell, and of events.
macro_rules! last {
    (cells) => {
        "toInt64(max(toUnixTimestamp(at) * 1000 + last_ms)) AS last"
    };
    (events) => {
        "toUnixTimestamp64Milli(max(timestamp)) AS last"
    };
}

const LAST: Counted = Counted { cells: last!(cells), events: last!(events), group_by: "" };
const RELEASES: Counted = Counted {
    cells: concat!(
        "toString(release) AS of_release, toInt64(toUnixTimestamp(min(at))) * 1000 AS first, ",
        last!(cells)
    ),
    events: concat!(
        "toString(release) AS of_release, intDiv(toUnixTimestamp64Milli(min(timestamp)), 3600000) * 3600000 AS first, ",
        last!(events)
    ),
    group_by: ", of_release",
};
const ENVIRONMENTS: Counted =
    Counted { cells: "toString(environment) AS name", events: "toString(environment) AS name", group_by: ", name" };
const HOURLY: Counted = Counted {
    cells: concat!(last!(cells), ", toInt64(intDiv(toUnixTimestamp(at), 3600)) AS hour"),
    events: concat!(last!(events), ", intDiv(toUnixTimestamp64Milli(timestamp), 3600000) AS hour"),
    group_by: ", hour",
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
            sql.push_value("{} AS at, uniqExact(key) AS events FROM ", Value::Int(range.0));
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
                    "SELECT fingerprint, intDiv(toUnixTimestamp(at), {}) AS step, sum(count) AS counted FROM ",
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

    /// How many accounts had each of the filter's issues in its range: fingerprint and accounts.
    pub async fn issue_accounts(&self, project: &str, filter: &IssueFilter) -> Result<Vec<(u64, u64)>, StoreError> {
        let mut sql = Sql::new("SELECT fingerprint, uniqExactIf(account_id, account_id != '') AS accounts FROM ");
        sql.push(&self.table("events")).push_filter(project, &filter.events((filter.from_ms, filter.to_ms)));
        sql.push(" GROUP BY fingerprint");
        let rows: Vec<Accounts> = self.rows_of("counting an issue's accounts", self.ask_wide(&sql)).await?;
        Ok(rows.into_iter().map(|row| (row.fingerprint, row.accounts)).collect())
    }

    /// The accounts with most events of the filter's issues in its range.
    pub async fn issue_top_accounts(
        &self,
        project: &str,
        filter: &IssueFilter,
        limit: usize,
    ) -> Result<Vec<NamedCount>, StoreError> {
        let mut sql = Sql::new("SELECT account_id AS name, uniqExact(key) AS events FROM ");
        sql.push(&self.table("events")).push_filter(project, &filter.events((filter.from_ms, filter.to_ms)));
        sql.push(&format!(" AND account_id != '' GROUP BY name ORDER BY events DESC, name LIMIT {limit}"));
        self.rows_of("reading an issue's accounts", self.ask_wide(&sql)).await
    }

    /// The environments with events of the filter's issues in its range.
    pub async fn issue_environments(&self, project: &str, filter: &IssueFilter) -> Result<Vec<NamedCount>, StoreError> {
        let mut sql = Sql::new("SELECT name, sum(counted) AS events FROM (");
        self.push_pieces(&mut sql, project, filter, &ENVIRONMENTS).await?;
        sql.push(") GROUP BY name ORDER BY events DESC, name LIMIT 100");
        self.rows_of("reading an issue's environments", self.ask_wide(&sql)).await
    }

    /// Some events of each of the filter's issues: the last ones of the latest hours that it was seen in, within the filter's range.
    ///
    /// The hours say when; so only those moments are read from the events, however long the range is.
    pub async fn issue_samples(&self, project: &str, filter: &IssueFilter) -> Result<Vec<IssueSamples>, StoreError> {
        let mut sql = Sql::new("SELECT arrayJoin(arraySlice(arrayReverseSort(groupUniqArray(last)), 1, ");
        sql.push(&format!("{SAMPLES})) AS moment FROM ("));
        self.push_pieces(&mut sql, project, filter, &HOURLY).await?;
        sql.push(") GROUP BY fingerprint");
        let moments: Vec<i64> = self.rows_of("finding an issue's last events", self.ask_wide(&sql)).await?;
        let (Some(from), Some(to)) = (moments.iter().min().copied(), moments.iter().max().copied()) else {
            return Ok(Vec::new());
        };
        let mut sql = Sql::new(
            "SELECT fingerprint, arrayMap(one -> one.2, arraySlice(arrayReverseSort(groupUniqArray((at, id))), 1, ",
        );
        sql.push(&format!(
            "{SAMPLES})) AS request_ids, argMax(of_method, at) AS method, argMax(of_error, at) AS error, \
             argMax(of_fields, at) AS fields, argMax(of_messages, at) AS messages, argMax(of_rules, at) AS rules FROM (SELECT fingerprint, \
             toUnixTimestamp64Milli(timestamp) AS at, request_id AS id, toString(method) AS of_method, toString(error) AS of_error, \
             `errors.field` AS of_fields, `errors.message` AS of_messages, `errors.rule` AS of_rules FROM "
        ));
        sql.push(&self.table("events")).push_filter(project, &filter.events((from, to + 1)));
        sql.push_value(
            " AND timestamp IN (SELECT fromUnixTimestamp64Milli(arrayJoin({}), 'UTC')) LIMIT 1 BY key) GROUP BY fingerprint",
            Value::Ints(moments),
        );
        self.rows_of("reading an issue's last events", self.ask_wide(&sql)).await
    }

    /// `database.issues WHERE …`: of a project, what the filter says of kinds.
    fn push_kinds(&self, sql: &mut Sql, project: &str, filter: &IssueFilter) {
        sql.push(&self.table("issues")).push_value(" WHERE project = {}", Value::Text(project.to_owned()));
        sql.push_one_of("service", &filter.services).push_one_of("route", &filter.routes);
        sql.push_statuses(&filter.statuses);
        sql.push_fingerprints(&filter.fingerprints);
        if let Some(text) = &filter.text {
            sql.push(" AND arrayExists(part -> positionCaseInsensitiveUTF8(part, ");
            sql.push_value(
                "{}) > 0, arrayConcat([error_template, exception_type, route], fields))",
                Value::Text(text.clone()),
            );
        }
    }

    /// The cells of some hours, as the filter has them.
    fn push_hours(&self, sql: &mut Sql, project: &str, filter: &IssueFilter, hours: Range) {
        sql.push(&self.table("rollup_issues")).push_cells(project, &[(None, hours)]);
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
            sql.push(&format!("SELECT fingerprint, sum(count) AS counted, {} FROM ", counted.cells));
            self.push_hours(sql, project, filter, range);
            sql.push(&format!(" GROUP BY fingerprint{}", counted.group_by));
        }
        for range in rest {
            union(sql);
            sql.push(&format!("SELECT fingerprint, uniqExact(key) AS counted, {} FROM ", counted.events));
            sql.push(&self.table("events")).push_filter(project, &filter.events(range));
            sql.push(&format!(" GROUP BY fingerprint{}", counted.group_by));
        }
        Ok(())
    }
}
