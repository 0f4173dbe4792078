//! Rate-limit episodes: unbroken runs of 429s of one client on one route.

use clickhouse::Row;
use serde::Deserialize;

use super::{Filter, Sql, StatusFilter, Store, StoreError, Value};
use crate::event::Event;

/// A longer pause between two 429s ends an episode. Windows of limits are mostly seconds to a minute: a client that waits for one or two of them
/// and is refused again has not changed its ways; one that was silent for five minutes has stopped, and comes back as a new episode.
pub const GAP_MS: i64 = 5 * 60_000;

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

impl Store {
    /// The episodes of the events that fit the filter, the largest first; they are cut where the filter's range is.
    pub async fn rate_limit_episodes(&self, project: &str, filter: &Filter) -> Result<Vec<Episode>, StoreError> {
        let mut sql = self.episodes(project, filter, None);
        sql.push(&format!(" ORDER BY events DESC, start_ms, who LIMIT {MAX_EPISODES}"));
        self.rows_of("reading rate-limit episodes", self.ask_wide(&sql)).await
    }

    /// The episode that an event is in, if it is a 429 (at most six hours of it each way).
    pub async fn episode(&self, project: &str, event: &Event) -> Result<Option<Episode>, StoreError> {
        let client = if event.account_id.is_empty() { &event.client_ip } else { &event.account_id };
        if event.status != 429 || client.is_empty() {
            return Ok(None);
        }
        let filter = Filter {
            from_ms: event.timestamp_ms.saturating_sub(WINDOW_MS),
            to_ms: event.timestamp_ms.saturating_add(WINDOW_MS),
            services: vec![event.service.clone()],
            environments: vec![event.environment.clone()],
            routes: vec![event.route.clone()],
            account_ids: vec![event.account_id.clone()],
            ..Filter::default()
        };
        let mut sql = self.episodes(project, &filter, event.account_id.is_empty().then_some(&event.client_ip));
        // Of an event that is not in the table, the one it will be in.
        sql.push_value(" HAVING (greatest(start_ms - {}, ", Value::Int(event.timestamp_ms));
        sql.push_value("{} - end_ms) AS distance) <= ", Value::Int(event.timestamp_ms));
        sql.push_value("{} ORDER BY distance DESC", Value::Int(GAP_MS));
        Ok(self.rows("reading a rate-limit episode", &sql).await?.pop())
    }

    /// Selects episodes; of the clients of one address where one is given.
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
             rate_limit AS allowed, rate_limit_remaining AS left, rate_limit_reset AS resets FROM ",
        );
        let filter = Filter { statuses: vec![StatusFilter::Code(429)], ..filter.clone() };
        sql.push(&self.table("events")).push_filter(project, &filter);
        if let Some(address) = client_ip {
            sql.push_value(" AND client_ip = {}", Value::Text(address.clone()));
        }
        sql.push(" LIMIT 1 BY key))) GROUP BY who, number");
        sql
    }
}
