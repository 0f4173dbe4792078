//! Errors per time step, by labels.

use std::collections::BTreeMap;

use clickhouse::Row;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{
    Filter, Sql, Store, StoreError, Value,
    rollup::{DAY_MS, HOUR_MS, MINUTE_MS, Range, key_of, take_whole},
};

/// Series returned at most, the largest.
pub const MAX_SERIES: usize = 500;

/// A step that holds any range, seconds: for sums without steps. A hundred years; whole days, so that rollups tell them.
pub const NO_STEPS_S: u32 = 36_500 * 86_400;

/// What errors are counted by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RateKey {
    Status,
    Service,
    Environment,
    Release,
    Route,
    Method,
    Account,
    User,
}

impl RateKey {
    /// What rates are told by. Request totals know no accounts and users, and there may be very many.
    pub const ALL: [Self; 6] =
        [Self::Status, Self::Service, Self::Environment, Self::Release, Self::Route, Self::Method];

    /// Everything events are counted by.
    pub const WITH_PEOPLE: [Self; 8] = [
        Self::Status,
        Self::Service,
        Self::Environment,
        Self::Release,
        Self::Route,
        Self::Method,
        Self::Account,
        Self::User,
    ];

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
            Self::Account => "account_id",
            Self::User => "user_id",
        }
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

/// Where the events of one piece of a question are counted.
enum Source {
    Events(Range),
    /// Of `rollup_counts`, by the name of its `per`.
    Counts(Vec<(&'static str, Range)>),
    /// Of `rollup_accounts`, hours.
    Accounts(Vec<Range>),
}

impl Store {
    /// Errors per step, the largest series first; steps begin at multiples of `step_seconds` of Unix time.
    ///
    /// Whole minutes and hours come from the rollups where the step, the labels and the filter allow; the answer is the same.
    /// The caller bounds the number of steps.
    pub async fn rates(
        &self,
        project: &str,
        filter: &Filter,
        group_by: &[RateKey],
        step_seconds: u32,
    ) -> Result<Vec<Series>, StoreError> {
        Ok(series(group_by, self.points(project, filter, group_by, step_seconds).await?))
    }

    /// The same, and what it is by the first of the labels alone: counted once.
    ///
    /// # Errors
    /// As of [`Store::rates`].
    pub async fn rates_and_first(
        &self,
        project: &str,
        filter: &Filter,
        group_by: &[RateKey],
        step_seconds: u32,
    ) -> Result<(Vec<Series>, Vec<Series>), StoreError> {
        let points = self.points(project, filter, group_by, step_seconds).await?;
        let of_first = by_first(points.iter().map(|point| (&point.labels[..], point.at, [point.events])));
        let of_first = of_first.map(|(labels, at, [events])| Point { labels, at, events }).collect();
        Ok((series(group_by, points), series(group_by, of_first)))
    }

    async fn points(
        &self,
        project: &str,
        filter: &Filter,
        group_by: &[RateKey],
        step_seconds: u32,
    ) -> Result<Vec<Point>, StoreError> {
        let step_ms = i64::from(step_seconds.max(1)) * 1000;
        let since_ms = self.rollups_since_ms().await?;
        let mut sql = Sql::new("SELECT labels, step * ");
        sql.push_value("{} AS at, sum(counted) AS events FROM (", Value::Int(step_ms));
        self.push_counts(&mut sql, project, filter, group_by, step_ms, since_ms);
        sql.push(") GROUP BY labels, step ORDER BY step");
        self.rows_of("counting errors", self.ask_wide(&sql)).await
    }

    /// Labels, step and number of events, from everywhere they are counted.
    pub(super) fn push_counts(
        &self,
        sql: &mut Sql,
        project: &str,
        filter: &Filter,
        group_by: &[RateKey],
        step_ms: i64,
        since_ms: i64,
    ) {
        for (index, source) in sources(filter, group_by, step_ms, since_ms).into_iter().enumerate() {
            let name = |key: &RateKey| match (key, &source) {
                (RateKey::Account, Source::Accounts(_)) => "account",
                _ => key.as_str(),
            };
            let columns: Vec<_> = group_by.iter().map(name).collect();
            let labels: Vec<_> = columns.iter().map(|column| format!("toString(any({column}))")).collect();
            sql.push(if index == 0 { "" } else { " UNION ALL " });
            sql.push(&format!("SELECT CAST([{}], 'Array(String)') AS labels, ", labels.join(", ")));
            let is_of_events = matches!(source, Source::Events(_));
            self.push_source(sql, project, filter, step_ms, source);
            for key in group_by.iter().filter(|key| is_of_events && matches!(key, RateKey::Account | RateKey::User)) {
                // The rollup has only events with an account.
                sql.push(&format!(" AND {} != ''", key.as_str()));
            }
            sql.push(" GROUP BY ")
                .push(&key_of(&columns).map_or_else(String::new, |key| format!("{key}, ")))
                .push("step");
        }
    }

    /// The step, the number of events in it, and where they are.
    fn push_source(&self, sql: &mut Sql, project: &str, filter: &Filter, step_ms: i64, source: Source) {
        let of_cells = |sql: &mut Sql| {
            sql.push_value("intDiv(toUnixTimestamp(at), toInt64({})) AS step, ", Value::Int(step_ms / 1000));
            sql.push("sum(count) AS counted FROM ");
        };
        match source {
            Source::Events(range) => {
                sql.push_value("intDiv(toUnixTimestamp64Milli(timestamp), {}) AS step, ", Value::Int(step_ms));
                sql.push("uniqExact(key) AS counted FROM ").push(&self.table("events"));
                sql.push_filter(project, &filter.within(range));
            }
            Source::Counts(ranges) => {
                of_cells(sql);
                let ranges: Vec<_> = ranges.into_iter().map(|(per, range)| (Some(per), range)).collect();
                sql.push(&self.table("rollup_counts")).push_cells(project, &ranges).push_conditions(filter);
            }
            Source::Accounts(ranges) => {
                of_cells(sql);
                sql.push(&self.table("rollup_accounts")).push_cells_by_day(project, &ranges);
                sql.push_one_of("account", &filter.account_ids);
                sql.push_conditions(&Filter { account_ids: Vec::new(), ..filter.clone() });
            }
        }
    }
}

/// The pieces of a question, of which no event is in two; at least one.
fn sources(filter: &Filter, group_by: &[RateKey], step_ms: i64, since_ms: i64) -> Vec<Source> {
    let mut ranges = vec![(filter.from_ms, filter.to_ms)];
    let mut sources = Vec::new();
    if in_rollups(filter, group_by) {
        let mut whole = |unit_ms| {
            if step_ms % unit_ms == 0 { take_whole(&mut ranges, unit_ms, since_ms) } else { Vec::new() }
        };
        if filter.account_ids.is_empty() && !group_by.contains(&RateKey::Account) {
            let units: &[_] = if is_coarse(filter, group_by) {
                &[("coarse_hour", HOUR_MS), ("coarse_minute", MINUTE_MS)]
            } else {
                &[("day", DAY_MS), ("hour", HOUR_MS), ("minute", MINUTE_MS)]
            };
            let cells =
                units.iter().flat_map(|(per, unit_ms)| whole(*unit_ms).into_iter().map(move |range| (*per, range)));
            let cells: Vec<_> = cells.collect();
            sources.extend((!cells.is_empty()).then_some(Source::Counts(cells)));
        } else {
            let hours = whole(HOUR_MS);
            sources.extend((!hours.is_empty()).then_some(Source::Accounts(hours)));
        }
    }
    sources.extend(ranges.into_iter().map(Source::Events));
    sources
}

/// Whether the rollups tell apart what the question does. An account that is named empty means the events without one, which
/// are not in the rollup of accounts.
pub(super) fn in_rollups(filter: &Filter, group_by: &[RateKey]) -> bool {
    let Filter { user_ids, fields, rules, fingerprints, releases, text, account_ids, .. } = filter;
    let others = [user_ids, fields, rules, releases];
    !group_by.iter().any(|key| matches!(key, RateKey::Release | RateKey::User))
        && others.iter().all(|values| values.is_empty())
        && fingerprints.is_empty()
        && text.is_none()
        && account_ids.iter().all(|account| !account.is_empty())
}

/// Whether cells without route and method will do.
fn is_coarse(filter: &Filter, group_by: &[RateKey]) -> bool {
    let tells = group_by.iter().any(|key| matches!(key, RateKey::Route | RateKey::Method));
    !tells && filter.routes.is_empty() && filter.methods.is_empty()
}

/// Sums by the first of the labels and the time.
pub(super) fn by_first<'a, const N: usize>(
    points: impl Iterator<Item = (&'a [String], i64, [u64; N])>,
) -> impl Iterator<Item = (Vec<String>, i64, [u64; N])> {
    let mut sums: BTreeMap<(&[String], i64), [u64; N]> = BTreeMap::new();
    for (labels, at, counts) in points {
        let sum = sums.entry((&labels[..labels.len().min(1)], at)).or_insert([0; N]);
        sum.iter_mut().zip(counts).for_each(|(sum, count)| *sum += count);
    }
    sums.into_iter().map(|((labels, at), sums)| (labels.to_vec(), at, sums))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_without_steps_come_from_the_rollups_alone_where_the_range_is_whole() {
        let filter = Filter { from_ms: 3 * HOUR_MS, to_ms: 50 * HOUR_MS, ..Filter::default() };
        let of = |step_s: u32| sources(&filter, &[RateKey::Status], i64::from(step_s) * 1000, 0);
        assert!(matches!(of(NO_STEPS_S).as_slice(), [Source::Counts(_)]));
        // The length of the range and a second, say: no step of whole minutes.
        assert!(matches!(of(47 * 3600 + 1).as_slice(), [Source::Events(_)]));
    }
}
