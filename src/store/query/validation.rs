//! Which field errors users meet: counts per field, rule, route, message, account.

use std::collections::BTreeMap;

use clickhouse::Row;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{CLOCK_AHEAD_MS, Filter, Sql, Store, StoreError, Value};

/// What field errors are counted by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FailureKey {
    Field,
    Rule,
    Route,
    Message,
    Account,
    Path,
}

impl FailureKey {
    pub const ALL: [Self; 6] = [Self::Field, Self::Rule, Self::Route, Self::Message, Self::Account, Self::Path];

    /// Name in answers and in `group_by`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Field => "field",
            Self::Rule => "rule",
            Self::Route => "route",
            Self::Message => "message",
            Self::Account => "account",
            Self::Path => "path",
        }
    }

    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|key| key.as_str() == text)
    }

    /// As the inner select of the question names it.
    const fn column(self) -> &'static str {
        match self {
            Self::Field => "error_field",
            Self::Rule => "error_rule",
            Self::Route => "route",
            Self::Message => "error_message",
            Self::Account => "account_id",
            Self::Path => "error_path",
        }
    }
}

/// Field errors of one set of keys.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct FailureRow {
    pub keys: BTreeMap<&'static str, String>,
    /// Occurrences: an event that has the same error at two positions counts twice.
    pub count: u64,
    /// Events with at least one of them.
    pub events: u64,
    /// Accounts that met it; events without an account count as none.
    pub accounts: u64,
    /// Part of all occurrences that fit the filter.
    pub share: f64,
    /// Occurrences in the period to compare with, when there is one.
    pub previous_count: Option<u64>,
    /// Milliseconds since the Unix epoch, within the period asked for.
    pub first_seen_ms: i64,
    pub last_seen_ms: i64,
    /// At most five.
    pub sample_request_ids: Vec<String>,
}

#[derive(Row, Deserialize)]
struct Counted {
    labels: Vec<String>,
    count: u64,
    events: u64,
    accounts: u64,
    total: u64,
    previous: u64,
    first_seen: i64,
    last_seen: i64,
    samples: Vec<String>,
}

impl Store {
    /// Field errors by keys, the most frequent first. `previous` is a period (from, to; milliseconds) to compare with, before the
    /// filter's own.
    pub async fn validation_failures(
        &self,
        project: &str,
        filter: &Filter,
        group_by: &[FailureKey],
        previous: Option<(i64, i64)>,
        limit: usize,
    ) -> Result<Vec<FailureRow>, StoreError> {
        let labels: Vec<_> = group_by.iter().map(|key| format!("toString({})", key.column())).collect();
        let mut sql = Sql::new("SELECT ");
        sql.push(&format!("CAST([{}], 'Array(String)') AS labels, ", labels.join(", ")));
        sql.push(
            "countIf(current) AS count, uniqExactIf(key, current) AS events, \
             uniqExactIf(account_id, current AND account_id != '') AS accounts, sum(count) OVER () AS total, \
             countIf(NOT current) AS previous, minIf(at, current) AS first_seen, maxIf(at, current) AS last_seen, \
             groupUniqArrayIf(5)(request_id, current) AS samples FROM (",
        );
        let with_paths = group_by.contains(&FailureKey::Path);
        push_events(&mut sql, &self.table("events"), project, filter, previous, with_paths);
        sql.push(
            ") ARRAY JOIN error_fields AS error_field, error_paths AS error_path, error_messages AS error_message, \
             error_rules AS error_rule WHERE 1",
        );
        sql.push_errors_conditions(filter, "error_field", "error_rule");
        sql.push(&format!(" GROUP BY labels HAVING count > 0 ORDER BY count DESC, labels LIMIT {limit}"));
        let rows: Vec<Counted> = self.rows_of("counting validation failures", self.ask_wide(&sql)).await?;
        Ok(rows.into_iter().map(|row| failure(group_by, row, previous.is_some())).collect())
    }
}

/// The events of both periods that have field errors, each once. Paths are read only if asked for: they are not a column of
/// their own.
fn push_events(
    sql: &mut Sql,
    table: &str,
    project: &str,
    filter: &Filter,
    previous: Option<(i64, i64)>,
    with_paths: bool,
) {
    let paths = if with_paths { "path" } else { "field" };
    let current = |sql: &mut Sql| {
        sql.push_value("timestamp >= fromUnixTimestamp64Milli({}, 'UTC')", Value::Int(filter.from_ms));
        sql.push_value(" AND timestamp < fromUnixTimestamp64Milli({}, 'UTC')", Value::Int(filter.to_ms));
    };
    sql.push("SELECT key, request_id, account_id, route, toUnixTimestamp64Milli(timestamp) AS at, ");
    current(sql);
    sql.push(&format!(" AS current, `errors.field` AS error_fields, `errors.{paths}` AS error_paths, "));
    sql.push("`errors.message` AS error_messages, `errors.rule` AS error_rules FROM ").push(table);
    sql.push_value(" WHERE project = {} AND ((", Value::Text(project.to_owned()));
    current(sql);
    sql.push(")");
    if let Some((from_ms, to_ms)) = previous {
        sql.push_value(" OR (timestamp >= fromUnixTimestamp64Milli({}, 'UTC')", Value::Int(from_ms));
        sql.push_value(" AND timestamp < fromUnixTimestamp64Milli({}, 'UTC'))", Value::Int(to_ms));
    }
    let earliest = previous.map_or(filter.from_ms, |(from_ms, _)| from_ms.min(filter.from_ms));
    sql.push_value(
        ") AND received_at >= fromUnixTimestamp64Milli({}, 'UTC')",
        Value::Int(earliest.saturating_sub(CLOCK_AHEAD_MS)),
    );
    sql.push_conditions(filter).push(" AND notEmpty(`errors.field`) LIMIT 1 BY key");
}

fn failure(group_by: &[FailureKey], row: Counted, compared: bool) -> FailureRow {
    let names = group_by.iter().map(|key| key.as_str());
    FailureRow {
        keys: names.zip(row.labels).collect(),
        count: row.count,
        events: row.events,
        accounts: row.accounts,
        share: row.count as f64 / row.total as f64,
        previous_count: compared.then_some(row.previous),
        first_seen_ms: row.first_seen,
        last_seen_ms: row.last_seen,
        sample_request_ids: row.samples,
    }
}
