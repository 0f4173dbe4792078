//! Requests per time step, by labels: the denominator of rates, from request totals.

use clickhouse::Row;
use serde::Deserialize;

use super::{
    Filter, RateKey, Sql, Store, StoreError, Value,
    alerts::{MAX_CELLS, bounded},
    rates::by_first,
    rollup::{HOUR_MS, MINUTE_MS, Range, take_whole},
};

/// What the totals say of one step and one set of labels.
#[derive(Clone, Debug, PartialEq, Eq, Row, Deserialize)]
pub struct RequestPoint {
    /// In the order of `group_by`.
    pub labels: Vec<String>,
    /// Begin of the step, milliseconds since the Unix epoch; 0 where steps cannot be told apart ([`tells_steps`]).
    pub at: i64,
    /// Requests that fit the filter.
    pub requests: u64,
    /// Cells that fit it. None: the service reported, and nothing of these labels that fits.
    pub cells: u64,
}

/// Whether totals, which are per minute, can be told apart by steps of this length.
#[must_use]
pub fn tells_steps(step_seconds: u32) -> bool {
    i64::from(step_seconds) * 1000 % MINUTE_MS == 0
}

/// Whether a filter is one that totals can follow: they know no accounts and users. What the others choose among a request's errors
/// (status, field, message …) does not matter to how many requests there were.
#[must_use]
pub fn can_count(filter: &Filter) -> bool {
    filter.account_ids.is_empty() && filter.user_ids.is_empty()
}

impl RequestPoint {
    /// What they are by the first of their labels alone.
    #[must_use]
    pub fn by_first(points: &[Self]) -> Vec<Self> {
        let sums = by_first(points.iter().map(|point| (&point.labels[..], point.at, [point.requests, point.cells])));
        sums.map(|(labels, at, [requests, cells])| Self { labels, at, requests, cells }).collect()
    }
}

impl Store {
    /// Requests per step, of the whole minutes within the filter's range. Rows that no filter but those of service and environment fits
    /// are there too: they tell that the service reported.
    ///
    /// Whole hours come from the table of hours where the step allows.
    pub async fn requests_served(
        &self,
        project: &str,
        filter: &Filter,
        group_by: &[RateKey],
        step_seconds: u32,
    ) -> Result<Vec<RequestPoint>, StoreError> {
        let step_seconds = if tells_steps(step_seconds) { i64::from(step_seconds) } else { i64::MAX };
        let pieces = pieces(filter, step_seconds);
        if pieces.is_empty() || !can_count(filter) {
            return Ok(Vec::new());
        }
        let columns: Vec<_> = group_by.iter().map(|key| key.as_str()).collect();
        let texts: Vec<_> = columns.iter().map(|column| format!("toString({column})")).collect();
        let mut sql = Sql::new(&format!("SELECT CAST([{}], 'Array(String)') AS labels, ", texts.join(", ")));
        sql.push_value("step * {} AS at, ", Value::Int(step_seconds.saturating_mul(1000)));
        sql.push("sum(counted) AS requests, sum(fitting) AS cells FROM (");
        for (index, piece) in pieces.into_iter().enumerate() {
            sql.push(if index == 0 { "" } else { " UNION ALL " });
            self.push_piece(&mut sql, project, filter, (&columns, step_seconds), piece);
        }
        sql.push(&format!(") GROUP BY labels, at ORDER BY at LIMIT {}", MAX_CELLS + 1));
        // A total and its replacement are in one partition.
        let query = self.ask_wide(&sql).with_setting("do_not_merge_across_partitions_select_final", "1");
        bounded(self.rows_of("counting requests", query).await?)
    }

    fn push_piece(
        &self,
        sql: &mut Sql,
        project: &str,
        filter: &Filter,
        (columns, step_seconds): (&[&str], i64),
        (table, time, (from_ms, to_ms)): Piece,
    ) {
        sql.push("SELECT ");
        for column in columns {
            sql.push(column).push(", ");
        }
        sql.push_value(&format!("intDiv(toUnixTimestamp({time}), toInt64({{}})) AS step"), Value::Int(step_seconds));
        let fitting = Filter {
            routes: filter.routes.clone(),
            methods: filter.methods.clone(),
            releases: filter.releases.clone(),
            ..Filter::default()
        };
        sql.push(", sumIf(count, 1").push_conditions(&fitting).push(") AS counted");
        sql.push(", countIf(1").push_conditions(&fitting).push(") AS fitting");
        sql.push(" FROM ").push(&self.table(table)).push(" FINAL");
        sql.push_value(" WHERE project = {}", Value::Text(project.to_owned()));
        sql.push_value(&format!(" AND {time} >= toDateTime({{}}, 'UTC')"), Value::Int(from_ms / 1000));
        sql.push_value(&format!(" AND {time} < toDateTime({{}}, 'UTC')"), Value::Int(to_ms / 1000));
        sql.push_one_of("service", &filter.services).push_one_of("environment", &filter.environments);
        sql.push(" GROUP BY ");
        for column in columns {
            sql.push(column).push(", ");
        }
        sql.push("step");
    }
}

/// A table, its column of time, and what of the question is read from it.
type Piece = (&'static str, &'static str, Range);

fn pieces(filter: &Filter, step_seconds: i64) -> Vec<Piece> {
    let mut rest = vec![(filter.from_ms, filter.to_ms)];
    let by_hours = step_seconds == i64::MAX || step_seconds.saturating_mul(1000) % HOUR_MS == 0;
    let hours = if by_hours { take_whole(&mut rest, HOUR_MS, 0) } else { Vec::new() };
    let minutes = take_whole(&mut rest, MINUTE_MS, 0);
    let of_hours = hours.into_iter().map(|range| ("request_totals_hours", "hour", range));
    of_hours.chain(minutes.into_iter().map(|range| ("request_totals", "minute", range))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_hours_where_the_step_allows_and_whole_minutes_around_them() {
        let filter = Filter { from_ms: HOUR_MS - 90_000, to_ms: 3 * HOUR_MS + 61_000, ..Filter::default() };
        let minutes = |range| ("request_totals", "minute", range);
        let hours = ("request_totals_hours", "hour", (HOUR_MS, 3 * HOUR_MS));
        let around = [(HOUR_MS - 60_000, HOUR_MS), (3 * HOUR_MS, 3 * HOUR_MS + 60_000)].map(minutes);
        for step in [3600, 86_400, i64::MAX] {
            assert_eq!(pieces(&filter, step), [hours, around[0], around[1]], "{step}");
        }
        assert_eq!(pieces(&filter, 900), [minutes((HOUR_MS - 60_000, 3 * HOUR_MS + 60_000))]);
        let within_a_minute = Filter { from_ms: 1, to_ms: 60_000, ..Filter::default() };
        assert_eq!(pieces(&within_a_minute, 60), []);
    }

    #[test]
    fn what_routes_served_adds_up_to_their_service_in_each_step() {
        let point = |labels: &[&str], at, requests, cells| {
            let labels = labels.iter().map(|&label| label.to_owned()).collect();
            RequestPoint { labels, at, requests, cells }
        };
        let routes = [
            point(&["api", "/a/"], 0, 30, 1),
            point(&["api", "/b/"], 0, 10, 2),
            point(&["api", "/b/"], 60, 5, 1),
            point(&["jobs", "/"], 0, 0, 0),
        ];
        let services = [point(&["api"], 0, 40, 3), point(&["api"], 60, 5, 1), point(&["jobs"], 0, 0, 0)];
        assert_eq!(RequestPoint::by_first(&routes), services);
    }
}
