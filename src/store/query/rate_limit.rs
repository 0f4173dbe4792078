//! Rate-limit episodes: unbroken runs of 429s of one client on one route.

use std::collections::HashMap;

use clickhouse::Row;
use serde::Deserialize;

use super::{
    Filter, Sql, StatusFilter, Store, StoreError, Value,
    rollup::{HOUR_MS, Range, begin_of},
};
use crate::event::Event;

/// A longer pause between two 429s ends an episode. Windows of limits are mostly seconds to a minute: a client that waits for one or two of them
/// and is refused again has not changed its ways; one that was silent for five minutes has stopped, and comes back as a new episode.
pub const GAP_MS: i64 = 5 * 60_000;

const LIMITED: StatusFilter = StatusFilter::Code(429);

/// How far from an event its episode is followed, each way.
const WINDOW_MS: i64 = 6 * 3_600_000;

/// Episodes read at most, the largest.
pub const MAX_EPISODES: usize = 20_000;

/// A run of 429s of a client on a route with no pause of more than [`GAP_MS`].
#[derive(Clone, Debug, PartialEq, Eq, Row, Deserialize)]
pub struct Episode {
    /// Empty where the client was not known.
    pub account_id: String,
    /// The address, where there is no account: clients without one are told apart by it.
    pub client_ip: String,
    pub service: String,
    pub environment: String,
    pub route: String,
    /// First 429, milliseconds since the Unix epoch.
    pub start_ms: i64,
    /// Last 429.
    pub end_ms: i64,
    /// 429s.
    pub events: u64,
    /// Requests allowed per window, as last reported.
    pub limit: Option<u64>,
    /// Requests left, as last reported.
    pub remaining: Option<u64>,
    /// When the window resets, Unix seconds, as last reported.
    pub reset: Option<i64>,
    /// 429s that came before a reset an earlier one had announced: what a patient client would have spared itself.
    pub retries_before_reset: u64,
    /// All episodes of the question, also those beyond [`MAX_EPISODES`].
    pub in_all: u64,
}

impl Episode {
    /// Of a 429 that is the only one.
    #[must_use]
    pub fn of_one(event: &Event) -> Self {
        let limit = event.rate_limit.unwrap_or_default();
        Self {
            account_id: event.account_id.clone(),
            client_ip: if event.account_id.is_empty() { event.client_ip.clone() } else { String::new() },
            service: event.service.clone(),
            environment: event.environment.clone(),
            route: event.route.clone(),
            start_ms: event.timestamp_ms,
            end_ms: event.timestamp_ms,
            events: 1,
            limit: limit.limit,
            remaining: limit.remaining,
            reset: limit.reset,
            retries_before_reset: 0,
            in_all: 1,
        }
    }
}

impl Store {
    /// The episodes of the events that fit the filter, the largest first; they are cut where the filter's range is.
    pub async fn rate_limit_episodes(&self, project: &str, filter: &Filter) -> Result<Vec<Episode>, StoreError> {
        let mut sql = self.episodes(project, filter, None);
        sql.push(&format!(" ORDER BY events DESC, start_ms, who LIMIT {MAX_EPISODES}"));
        self.rows_of("reading rate-limit episodes", self.ask_wide(&sql)).await
    }

    /// The episode that an event is in, if it is a 429 (at most six hours of it each way). `is_alone`: whether it is known to be its account's only one
    /// on its route for longer than [`GAP_MS`] each way.
    pub async fn episode(&self, project: &str, event: &Event, is_alone: bool) -> Result<Option<Episode>, StoreError> {
        let client = if event.account_id.is_empty() { &event.client_ip } else { &event.account_id };
        if event.status != 429 || client.is_empty() {
            return Ok(None);
        }
        let window = (event.timestamp_ms.saturating_sub(WINDOW_MS), event.timestamp_ms.saturating_add(WINDOW_MS));
        let mut filter = Filter {
            from_ms: window.0,
            to_ms: window.1,
            services: vec![event.service.clone()],
            environments: vec![event.environment.clone()],
            routes: vec![event.route.clone()],
            account_ids: vec![event.account_id.clone()],
            ..Filter::default()
        };
        let told = self.hours_around(project, &filter, event.timestamp_ms).await?;
        if let Some((range, refused)) = told {
            // Nor was there an earlier one in these hours, whose reset it could have come before.
            if is_alone && refused == 1 {
                return Ok(Some(Episode::of_one(event)));
            }
            (filter.from_ms, filter.to_ms) = range;
        }
        let mut sql = self.episodes(project, &filter, event.account_id.is_empty().then_some(&event.client_ip));
        // Of an event that is not in the table, the one it will be in.
        sql.push_value(" HAVING (greatest(start_ms - {}, ", Value::Int(event.timestamp_ms));
        sql.push_value("{} - end_ms) AS distance) <= ", Value::Int(event.timestamp_ms));
        sql.push_value("{} ORDER BY distance DESC", Value::Int(GAP_MS));
        Ok(self.rows("reading a rate-limit episode", &sql).await?.pop())
    }

    /// What of a filter's range an episode around a moment can be in, and the 429s there: an hour without one ends it, and the rollup of accounts
    /// tells these. None where it does not.
    async fn hours_around(
        &self,
        project: &str,
        filter: &Filter,
        at_ms: i64,
    ) -> Result<Option<(Range, u64)>, StoreError> {
        let range = (filter.from_ms, filter.to_ms);
        let first_hour = begin_of(filter.from_ms, HOUR_MS);
        let is_told = first_hour >= self.rollups_since_ms().await?;
        if !is_told || filter.account_ids.iter().any(String::is_empty) {
            return Ok(None);
        }
        let mut sql = Sql::new("SELECT toInt64(toUnixTimestamp(at)) * 1000 AS hour, sum(count) AS refused FROM ");
        sql.push(&self.table("rollup_accounts")).push_cells(project, &[(None, (first_hour, filter.to_ms))]);
        sql.push_one_of("account", &filter.account_ids);
        sql.push_conditions(&Filter { account_ids: Vec::new(), statuses: vec![LIMITED], ..filter.clone() });
        sql.push(" GROUP BY hour");
        let hours: Vec<(i64, u64)> = self.rows("reading the hours of a rate limit", &sql).await?;
        let hours: HashMap<i64, u64> = hours.into_iter().collect();
        let hour = begin_of(at_ms, HOUR_MS);
        let (mut first, mut end) = (hour, hour + HOUR_MS);
        let mut refused = hours.get(&hour).copied().unwrap_or(0);
        while let Some(before) = hours.get(&(first - HOUR_MS)) {
            first -= HOUR_MS;
            refused += before;
        }
        while let Some(after) = hours.get(&end) {
            end += HOUR_MS;
            refused += after;
        }
        Ok(Some(((first.max(range.0), end.min(range.1)), refused)))
    }

    /// Selects episodes; what was told of the limit is read at once, which the three columns of it would do one after the other. Of the clients of one address where one is given.
    fn episodes(&self, project: &str, filter: &Filter, client_ip: Option<&String>) -> Sql {
        let mut sql = Sql::new(
            "SELECT any(account) AS account_id, any(address) AS client_ip, any(of_service) AS service, \
             any(of_environment) AS environment, any(of_route) AS route, min(at) AS start_ms, max(at) AS end_ms, count() AS events, \
             argMaxIf(allowed, at, isNotNull(allowed)) AS limit, argMaxIf(left, at, isNotNull(left)) AS remaining, \
             argMaxIf(resets, at, isNotNull(resets)) AS reset, countIf(at < announced * 1000) AS retries_before_reset, \
             count() OVER () AS in_all FROM (SELECT *, sum(begins) OVER (PARTITION BY who ORDER BY at) AS number FROM (SELECT *, ",
        );
        sql.push_value(
            "at - lagInFrame(at) OVER (PARTITION BY who ORDER BY at ROWS BETWEEN 1 PRECEDING AND CURRENT ROW) > {} AS begins, ",
            Value::Int(GAP_MS),
        );
        sql.push(
            "max(ifNull(resets, 0)) OVER (PARTITION BY who ORDER BY at ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) \
             AS announced FROM (SELECT toUnixTimestamp64Milli(timestamp) AS at, account_id AS account, \
             if(account_id = '', client_ip, '') AS address, toString(service) AS of_service, \
             toString(environment) AS of_environment, toString(route) AS of_route, \
             cityHash64(account, address, of_service, of_environment, of_route) AS who, \
             JSONExtract(details, 'rate_limit', 'Tuple(limit Nullable(UInt64), remaining Nullable(UInt64), reset Nullable(Int64))') AS quota, \
             quota.1 AS allowed, quota.2 AS left, quota.3 AS resets FROM ",
        );
        // By itself ClickHouse reads the details of every 429 before it looks whose it is.
        sql.push(&self.table("events")).push(" PREWHERE status = 429").push_one_of("account_id", &filter.account_ids);
        let filter = Filter { account_ids: Vec::new(), ..filter.clone() };
        sql.push_filter(project, &filter);
        if let Some(address) = client_ip {
            sql.push_value(" AND client_ip = {}", Value::Text(address.clone()));
        }
        sql.push(" LIMIT 1 BY key))) GROUP BY who, number");
        sql
    }
}
