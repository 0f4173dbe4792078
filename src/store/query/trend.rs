//! Field errors over time, by field, rule and route: the sparklines beside their counts.

use clickhouse::Row;
use serde::Deserialize;

use super::{
    FailureKey, Filter, Sql, Store, StoreError,
    rollup::{HOUR_MS, take_whole},
    validation::events_in_rollup,
};

/// Field errors of one field, rule and route, step by step.
#[derive(Clone, Debug, PartialEq, Eq, Row, Deserialize)]
pub struct FailureTrend {
    pub field: String,
    pub rule: String,
    pub route: String,
    /// Number of the step from [where they begin](Self::begin_ms), and messages in it; steps without any are left out.
    pub steps: Vec<(u32, u64)>,
}

impl FailureTrend {
    /// What trends are told by.
    pub(super) const KEYS: [FailureKey; 3] = [FailureKey::Field, FailureKey::Rule, FailureKey::Route];

    /// Of labels by [these keys](Self::KEYS).
    pub(super) fn of(labels: &[String], steps: Vec<(u32, u64)>) -> Option<Self> {
        let [field, rule, route] = labels else { return None };
        Some(Self { field: field.clone(), rule: rule.clone(), route: route.clone(), steps })
    }

    /// Where the first step of a range begins: with the range, or, as cells of the rollup are whole hours, with its first hour where steps are
    /// whole hours too. Else an hour that two steps share would be counted in one of them.
    #[must_use]
    pub const fn begin_ms(from_ms: i64, step_ms: i64) -> i64 {
        if step_ms % HOUR_MS == 0 { from_ms.div_euclid(HOUR_MS) * HOUR_MS } else { from_ms }
    }
}

impl Store {
    /// The most frequent field errors, counted by steps of `step_ms`, which is whole hours or shorter than one.
    pub async fn failure_trends(
        &self,
        project: &str,
        filter: &Filter,
        step_ms: i64,
        limit: usize,
    ) -> Result<Vec<FailureTrend>, StoreError> {
        let since_ms = self.rollups_since_ms().await?;
        let in_rollup = step_ms >= HOUR_MS && events_in_rollup(filter, &FailureTrend::KEYS).is_some();
        let mut rest = vec![(filter.from_ms, filter.to_ms)];
        let whole = if in_rollup { take_whole(&mut rest, HOUR_MS, since_ms) } else { Vec::new() };
        let mut sql = Sql::new(
            "SELECT toString(f) AS field, toString(ru) AS rule, toString(ro) AS route, groupArray((step, n)) AS steps FROM \
             (SELECT f, ru, ro, step, sum(n_) AS n FROM (",
        );
        let begin_ms = FailureTrend::begin_ms(filter.from_ms, step_ms);
        for (index, range) in whole.iter().enumerate() {
            sql.push(if index == 0 { "" } else { " UNION ALL " });
            sql.push("SELECT field AS f, rule AS ru, route AS ro, ");
            sql.push(&format!(
                "toUInt32(intDiv(toInt64(toUnixTimestamp(at)) * 1000 - {begin_ms}, {step_ms})) AS step, "
            ));
            sql.push("sum(count) AS n_ FROM ").push(&self.table("rollup_failures"));
            sql.push_cells(project, &[(None, *range)]).push_conditions(filter);
            sql.push_errors_conditions(filter, "field", "rule").push(" GROUP BY f, ru, ro, step");
        }
        for (index, (from, to)) in rest.into_iter().enumerate() {
            sql.push(if index == 0 && whole.is_empty() { "" } else { " UNION ALL " });
            sql.push("SELECT error_field AS f, error_rule AS ru, route_ AS ro, ");
            sql.push(&format!("toUInt32(intDiv(at_ms - {begin_ms}, {step_ms})) AS step, count() AS n_ FROM ("));
            sql.push(
                "SELECT route AS route_, toUnixTimestamp64Milli(timestamp) AS at_ms, `errors.field` AS error_fields, \
                 `errors.rule` AS error_rules FROM ",
            );
            sql.push(&self.table("events")).push_range(project, from, to).push_conditions(filter);
            sql.push(
                " AND notEmpty(`errors.field`) LIMIT 1 BY key) ARRAY JOIN error_fields AS error_field, error_rules AS error_rule \
                 WHERE 1",
            );
            sql.push_errors_conditions(filter, "error_field", "error_rule").push(" GROUP BY f, ru, ro, step");
        }
        sql.push(") GROUP BY f, ru, ro, step) GROUP BY f, ru, ro ORDER BY sum(n) DESC, field, rule, route");
        sql.push(&format!(" LIMIT {limit}"));
        self.rows_of("reading the trend of field errors", self.ask_wide(&sql)).await
    }
}
