//! Field errors over time, by field, rule and route: the sparklines beside their counts.

use clickhouse::Row;
use serde::Deserialize;

use super::{
    FailureKey, Filter, Sql, Store, StoreError,
    rollup::{DAY_MS, HOUR_MS},
    validation::columns,
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

    /// Where the first step of a range begins: with the range, or, as cells of the rollups are whole hours or days, with its first one where steps are
    /// whole ones too. Else an hour that two steps share would be counted in one of them.
    #[must_use]
    pub const fn begin_ms(from_ms: i64, step_ms: i64) -> i64 {
        match Self::unit_ms(step_ms) {
            0 => from_ms,
            unit_ms => from_ms.div_euclid(unit_ms) * unit_ms,
        }
    }

    /// How long the cells may be that a range is counted by, so that no step is a part of one; zero: there are none so short.
    pub(super) const fn unit_ms(step_ms: i64) -> i64 {
        if step_ms % DAY_MS == 0 {
            DAY_MS
        } else if step_ms % HOUR_MS == 0 {
            HOUR_MS
        } else {
            0
        }
    }
}

impl Store {
    /// The most frequent field errors, counted by steps of `step_ms`.
    pub async fn failure_trends(
        &self,
        project: &str,
        filter: &Filter,
        step_ms: i64,
        limit: usize,
    ) -> Result<Vec<FailureTrend>, StoreError> {
        let begin_ms = FailureTrend::begin_ms(filter.from_ms, step_ms);
        let unit_ms = FailureTrend::unit_ms(step_ms);
        let mut sql = Sql::new(
            "SELECT toString(f) AS field, toString(ru) AS rule, toString(ro) AS route, groupArray((step, n)) AS steps FROM \
             (SELECT f, ru, ro, step, sum(n_) AS n FROM (",
        );
        for (index, piece) in self.pieces(filter, &FailureTrend::KEYS, None, unit_ms).await?.into_iter().enumerate() {
            sql.push(if index == 0 { "SELECT " } else { " UNION ALL SELECT " });
            let in_rollup = piece.source.is_rollup();
            let told = columns(&FailureTrend::KEYS, in_rollup);
            let (at_ms, count) =
                if in_rollup { ("toInt64(toUnixTimestamp(at)) * 1000", "sum(count)") } else { ("at", "count()") };
            for (column, name) in told.iter().zip(["f", "ru", "ro"]) {
                sql.push(&format!("{column} AS {name}, "));
            }
            sql.push(&format!("{count} AS n_, "));
            sql.push(&format!("toUInt32(intDiv({at_ms} - {begin_ms}, {step_ms})) AS step FROM "));
            self.push_failures_that_fit(&mut sql, project, filter, &FailureTrend::KEYS, &piece.source);
            sql.push(" GROUP BY f, ru, ro, step");
        }
        sql.push(") GROUP BY f, ru, ro, step) GROUP BY f, ru, ro ORDER BY sum(n) DESC, field, rule, route");
        sql.push(&format!(" LIMIT {limit}"));
        self.rows_of("reading the trend of field errors", self.ask_wide(&sql)).await
    }
}
