//! What alert rules are evaluated on, beside the rates: counts with accounts, fingerprints, field errors by hour.

use clickhouse::Row;
use serde::Deserialize;

use super::{Filter, Sql, Store, StoreError, Value, rollup::HOUR_MS};

/// Rows of one answer at most. A question that has more is one too many for an alert.
pub const MAX_CELLS: usize = 2_000_000;

/// What field errors are told apart by.
const FIELD_GROUP: &str = "service, environment, route, field, rule";

/// What counts are told apart by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AlertColumn {
    Service,
    Environment,
    Route,
    Method,
    Account,
    Status,
    /// 16 hex digits.
    Fingerprint,
}

impl AlertColumn {
    const fn sql(self) -> &'static str {
        match self {
            Self::Service => "toString(service)",
            Self::Environment => "toString(environment)",
            Self::Route => "toString(route)",
            Self::Method => "toString(method)",
            Self::Account => "account_id",
            Self::Status => "toString(status)",
            Self::Fingerprint => "lower(leftPad(hex(fingerprint), 16, '0'))",
        }
    }
}

/// Events of one group, step and account.
#[derive(Clone, Debug, PartialEq, Eq, Row, Deserialize)]
pub struct AlertCell {
    /// In the order asked for.
    pub labels: Vec<String>,
    /// Begin of the step, milliseconds since the Unix epoch.
    pub at: i64,
    /// Empty: of no account.
    pub account: String,
    pub count: u64,
}

/// A kind of error that was frequent in a range.
#[derive(Clone, Debug, PartialEq, Eq, Row, Deserialize)]
pub struct Frequent {
    pub fingerprint: u64,
    /// The error's text, of one of its events.
    pub error: String,
}

/// Request totals of one service and minute, or hour.
#[derive(Clone, Debug, PartialEq, Eq, Row, Deserialize)]
pub struct TotalCell {
    pub service: String,
    pub environment: String,
    /// Begin of the minute or hour, milliseconds since the Unix epoch.
    pub at: i64,
    pub requests: u64,
    /// Of them, with a status of 5xx.
    pub errors: u64,
    /// Totals that were reported.
    pub reports: u64,
}

/// Field errors of one group and hour.
#[derive(Clone, Debug, PartialEq, Eq, Row, Deserialize)]
pub struct FieldHour {
    pub service: String,
    pub environment: String,
    pub route: String,
    pub field: String,
    pub rule: String,
    /// Begin of the step, milliseconds since the Unix epoch. (Not called `at`: a WHERE would take the name for the column's.)
    pub begin: i64,
    /// Events with it.
    pub count: u64,
}

impl Store {
    /// Events by group, step and account, from the events themselves: the rollups do not know accounts by the minute. Groups with fewer than
    /// `least` events in all are left out.
    ///
    /// # Errors
    /// Beside those of any question: [`StoreError::TooMuch`].
    pub async fn alert_cells(
        &self,
        project: &str,
        filter: &Filter,
        by: &[AlertColumn],
        step_ms: i64,
        least: u64,
    ) -> Result<Vec<AlertCell>, StoreError> {
        let columns: Vec<_> = by.iter().map(|column| column.sql()).collect();
        let mut sql = Sql::new(
            "SELECT labels, at, account, count FROM (SELECT *, sum(count) OVER (PARTITION BY labels) AS in_all FROM (",
        );
        sql.push(&format!("SELECT CAST([{}], 'Array(String)') AS labels, ", columns.join(", ")));
        sql.push_value("intDiv(toUnixTimestamp64Milli(timestamp), {})", Value::Int(step_ms));
        sql.push_value(" * {} AS at, account_id AS account, uniqExact(key) AS count FROM ", Value::Int(step_ms));
        sql.push(&self.table("events")).push_filter(project, filter);
        if by.contains(&AlertColumn::Account) {
            sql.push(" AND account_id != ''");
        }
        sql.push(" GROUP BY labels, at, account)) WHERE in_all >= ").push_value("{}", Value::UInt(least));
        sql.push(&format!(" LIMIT {}", MAX_CELLS + 1));
        let cells = self.rows_of("counting for alerts", self.ask_wide(&sql)).await?;
        bounded(cells)
    }

    /// The kinds of error with at least `least` events in the filter's range.
    pub async fn frequent_fingerprints(
        &self,
        project: &str,
        filter: &Filter,
        least: u64,
    ) -> Result<Vec<Frequent>, StoreError> {
        let mut sql = Sql::new("SELECT fingerprint, toString(any(error)) AS error FROM ");
        sql.push(&self.table("events")).push_filter(project, filter);
        sql.push_value(" GROUP BY fingerprint HAVING uniqExact(key) >= {}", Value::UInt(least));
        sql.push(&format!(" LIMIT {}", MAX_CELLS + 1));
        bounded(self.rows_of("finding frequent errors", self.ask_wide(&sql)).await?)
    }

    /// Which of some fingerprints were seen in the filter's range.
    pub async fn seen_fingerprints(&self, project: &str, filter: &Filter) -> Result<Vec<u64>, StoreError> {
        let mut sql = Sql::new("SELECT DISTINCT fingerprint FROM ");
        sql.push(&self.table("events")).push_filter(project, filter);
        self.rows_of("recognising errors", self.ask_wide(&sql)).await
    }

    /// Requests and 5xx of each service by request totals: by the minute from `minutes_from_ms` (a whole hour) on, by the hour before.
    pub async fn total_cells(
        &self,
        project: &str,
        filter: &Filter,
        minutes_from_ms: i64,
    ) -> Result<Vec<TotalCell>, StoreError> {
        let hours_from = filter.from_ms.div_euclid(HOUR_MS) * HOUR_MS;
        let mut sql = Sql::default();
        for (table, at, from, to) in [
            ("request_totals_hours", "hour", hours_from, minutes_from_ms.min(filter.to_ms)),
            ("request_totals", "minute", minutes_from_ms.max(filter.from_ms), filter.to_ms),
        ] {
            sql.push(if sql.text.is_empty() { "" } else { " UNION ALL " });
            sql.push("SELECT toString(service) AS service, toString(environment) AS environment, ");
            sql.push(&format!("toInt64(toUnixTimestamp({at})) * 1000 AS at, sum(count) AS requests, "));
            sql.push("sumIf(count, status >= 500) AS errors, count() AS reports FROM ");
            sql.push(&self.table(table)).push(" FINAL");
            sql.push_value(" WHERE project = {}", Value::Text(project.to_owned()));
            sql.push(&format!(" AND {at} >= ")).push_value("toDateTime({}, 'UTC')", Value::Int(from / 1000));
            sql.push(&format!(" AND {at} < ")).push_value("toDateTime({}, 'UTC')", Value::Int(to.max(from) / 1000));
            for (column, values) in
                [("service", &filter.services), ("environment", &filter.environments), ("route", &filter.routes)]
            {
                sql.push_one_of(column, values);
            }
            sql.push(" GROUP BY ALL");
        }
        let query = self.ask_wide(&sql).with_setting("do_not_merge_across_partitions_select_final", "1");
        bounded(self.rows_of("counting requests", query).await?)
    }

    /// Field errors by hour, the last one as far as it has come: from the rollups. Of the groups that had `least` in one of the hours from
    /// `recent_ms` on: the hours of all of them, two weeks back, are more than anybody could read every minute.
    pub async fn field_error_hours(
        &self,
        project: &str,
        filter: &Filter,
        recent_ms: i64,
        least: u64,
    ) -> Result<Vec<FieldHour>, StoreError> {
        let hour = |ms: i64| ms.div_euclid(HOUR_MS) * HOUR_MS;
        let mut sql = Sql::new(
            "SELECT toString(service) AS service, toString(environment) AS environment, toString(route) AS route, \
             toString(field) AS field, toString(rule) AS rule, toInt64(toUnixTimestamp(at)) * 1000 AS begin, sum(events) AS count FROM ",
        );
        let table = self.table("rollup_failures");
        sql.push(&table).push_cells(project, &[(None, (hour(filter.from_ms), filter.to_ms))]).push_conditions(filter);
        sql.push(&format!(" AND ({FIELD_GROUP}) IN (SELECT {FIELD_GROUP} FROM ")).push(&table);
        sql.push_cells(project, &[(None, (hour(recent_ms.max(filter.from_ms)), filter.to_ms))]).push_conditions(filter);
        sql.push(&format!(" GROUP BY {FIELD_GROUP}, at HAVING "));
        sql.push_value("sum(events) >= {}) GROUP BY ALL", Value::UInt(least));
        sql.push(&format!(" LIMIT {}", MAX_CELLS + 1));
        bounded(self.rows_of("counting field errors", self.ask_wide(&sql)).await?)
    }

    /// Field errors by step, from the events.
    pub async fn field_error_steps(
        &self,
        project: &str,
        filter: &Filter,
        step_ms: i64,
    ) -> Result<Vec<FieldHour>, StoreError> {
        let mut sql = Sql::new(
            "SELECT toString(service) AS service, toString(environment) AS environment, toString(route) AS route, \
             toString(field) AS field, toString(rule) AS rule, ",
        );
        sql.push_value("intDiv(toUnixTimestamp64Milli(timestamp), {})", Value::Int(step_ms));
        sql.push_value(" * {} AS begin, uniqExact(key) AS count FROM ", Value::Int(step_ms));
        sql.push("(SELECT key, timestamp, service, environment, route, `errors.field` AS fields, `errors.rule` AS rules FROM ");
        sql.push(&self.table("events")).push_filter(project, filter);
        sql.push(" AND notEmpty(`errors.field`)) ARRAY JOIN fields AS field, rules AS rule GROUP BY ALL");
        sql.push(&format!(" LIMIT {}", MAX_CELLS + 1));
        bounded(self.rows_of("counting field errors", self.ask_wide(&sql)).await?)
    }
}

/// Refuses an answer of too many rows, of which one more than [`MAX_CELLS`] was asked for.
pub(super) fn bounded<T>(rows: Vec<T>) -> Result<Vec<T>, StoreError> {
    if rows.len() > MAX_CELLS { Err(StoreError::TooMuch(MAX_CELLS)) } else { Ok(rows) }
}
