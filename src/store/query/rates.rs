//! Errors per time step, by labels.

use std::collections::BTreeMap;

use clickhouse::Row;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{Filter, Sql, Store, StoreError, Value};

/// Series returned at most, the largest.
pub const MAX_SERIES: usize = 500;

/// What errors are counted by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RateKey {
    Status,
    Service,
    Environment,
    Release,
    Route,
    Method,
}

impl RateKey {
    pub const ALL: [Self; 6] =
        [Self::Status, Self::Service, Self::Environment, Self::Release, Self::Route, Self::Method];

    /// Name in answers and in `group_by`; the column's name too.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Status => "status",
            Self::Service => "service",
            Self::Environment => "environment",
            Self::Release => "release",
            Self::Route => "route",
            Self::Method => "method",
        }
    }

    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|key| key.as_str() == text)
    }
}

/// Errors of one set of labels.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct Series {
    pub labels: BTreeMap<&'static str, String>,
    /// Begin of the step (milliseconds since the Unix epoch) and errors in it; steps without errors are left out.
    pub points: Vec<(i64, u64)>,
    pub total: u64,
}

#[derive(Row, Deserialize)]
struct Point {
    labels: Vec<String>,
    at: i64,
    events: u64,
}

impl Store {
    /// Errors per step, the largest series first; steps begin at multiples of `step_seconds` of Unix time.
    ///
    /// The caller bounds the number of steps.
    pub async fn rates(
        &self,
        project: &str,
        filter: &Filter,
        group_by: &[RateKey],
        step_seconds: u32,
    ) -> Result<Vec<Series>, StoreError> {
        let step_ms = i64::from(step_seconds.max(1)) * 1000;
        let columns: Vec<_> = group_by.iter().map(|key| format!("toString({})", key.as_str())).collect();
        let mut sql = Sql::new("SELECT ");
        sql.push(&format!("CAST([{}], 'Array(String)') AS labels, ", columns.join(", ")));
        sql.push_value("intDiv(toUnixTimestamp64Milli(timestamp), {}) AS step, ", Value::Int(step_ms));
        sql.push_value("step * {} AS at, uniqExact(key) AS events FROM ", Value::Int(step_ms));
        sql.push(&self.table("events")).push_filter(project, filter).push(" GROUP BY labels, step ORDER BY step");
        let mut outer = Sql::new("SELECT labels, at, events FROM (");
        outer.push(&sql.text).push(")");
        outer.params = sql.params;
        let points: Vec<Point> = self.rows_of("counting errors", self.ask_wide(&outer)).await?;
        Ok(series(group_by, points))
    }
}

fn series(group_by: &[RateKey], points: Vec<Point>) -> Vec<Series> {
    let mut by_labels: BTreeMap<Vec<String>, Vec<(i64, u64)>> = BTreeMap::new();
    for Point { labels, at, events } in points {
        by_labels.entry(labels).or_default().push((at, events));
    }
    let names = || group_by.iter().map(|key| key.as_str());
    let mut series: Vec<_> = by_labels
        .into_iter()
        .map(|(labels, points)| Series {
            labels: names().zip(labels).collect(),
            total: points.iter().map(|(_, events)| events).sum(),
            points,
        })
        .collect();
    series.sort_by_key(|series| std::cmp::Reverse(series.total));
    series.truncate(MAX_SERIES);
    series
}
