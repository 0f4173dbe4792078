//! Rate-limit episodes: unbroken runs of 429s of one client on one route.

use std::{collections::HashSet, mem::take};

use clickhouse::Row;
use serde::Deserialize;

use super::{
    Filter, Sql, StatusFilter, Store, StoreError, Value,
    rollup::{HOUR_MS, MINUTE_MS, Range, begin_of},
};
use crate::{
    event::{Event, RateLimit},
    store::rows::{ORIGIN_SEPARATOR, origin_word},
};

/// A longer pause between two 429s ends an episode. Windows of limits are mostly seconds to a minute: a client that waits for one or two of them
/// and is refused again has not changed its ways; one that was silent for five minutes has stopped, and comes back as a new episode.
pub const GAP_MS: i64 = 5 * 60_000;

const LIMITED: StatusFilter = StatusFilter::Code(429);

/// How far from an event its episode is followed, each way.
const WINDOW_MS: i64 = 6 * HOUR_MS;

/// How far from an event its episode is looked for first, each way: most end within.
const NEAR_MS: i64 = 15 * MINUTE_MS;

/// How long before an episode a reset may have been announced that its 429s came before. Those of longer ago count where they are read all the same.
const ANNOUNCED_MS: i64 = HOUR_MS;

/// 429s of one client that are looked at here to tell its episode; of more, ClickHouse tells it, which takes longer to begin.
const MAX_FOLLOWED: usize = 5_000;

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

/// A 429 of a client on a route.
#[derive(Row, Deserialize)]
struct Refusal {
    key: u64,
    timestamp: i64,
    /// What was told of the limit with it, as JSON; empty if nothing was.
    told: String,
}

impl Refusal {
    fn limit(&self) -> Result<RateLimit, StoreError> {
        if self.told.is_empty() {
            return Ok(RateLimit::default());
        }
        serde_json::from_str(&self.told).map_err(|error| StoreError::Answer(format!("a 429 with no limit: {error}")))
    }
}

impl Episode {
    /// The episode of an event, of all 429s of its client on its route around it; what [`Store::episodes`] says of them.
    fn of(event: &Event, mut refusals: Vec<Refusal>) -> Result<Option<Self>, StoreError> {
        refusals.sort_unstable_by_key(|refusal| (refusal.timestamp, refusal.key));
        let mut seen = HashSet::new();
        refusals.retain(|refusal| seen.insert(refusal.key));
        let [service, environment, route] =
            [&event.service, &event.environment, &event.route].map(|word| origin_word(word).to_owned());
        let begin = |at_ms| Self {
            account_id: event.account_id.clone(),
            client_ip: if event.account_id.is_empty() { event.client_ip.clone() } else { String::new() },
            service: service.clone(),
            environment: environment.clone(),
            route: route.clone(),
            start_ms: at_ms,
            end_ms: at_ms,
            events: 0,
            limit: None,
            remaining: None,
            reset: None,
            retries_before_reset: 0,
            in_all: 1,
        };
        let mut episodes: Vec<Self> = Vec::new();
        let mut announced: i64 = 0;
        for refusal in refusals {
            let at_ms = refusal.timestamp;
            let RateLimit { limit, remaining, reset } = refusal.limit()?;
            if episodes.last().is_none_or(|last| at_ms - last.end_ms > GAP_MS) {
                episodes.push(begin(at_ms));
            }
            let Some(episode) = episodes.last_mut() else { continue };
            episode.end_ms = at_ms;
            episode.events += 1;
            episode.limit = limit.or(episode.limit);
            episode.remaining = remaining.or(episode.remaining);
            episode.reset = reset.or(episode.reset);
            episode.retries_before_reset += u64::from(at_ms < announced.saturating_mul(1000));
            announced = announced.max(reset.unwrap_or(0));
        }
        // Of an event that is not in the table, the one it will be in.
        let distance =
            |episode: &Self| (episode.start_ms - event.timestamp_ms).max(event.timestamp_ms - episode.end_ms);
        Ok(episodes.into_iter().filter(|episode| distance(episode) <= GAP_MS).min_by_key(distance))
    }
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
        let at_ms = event.timestamp_ms;
        let around = |before: i64, after: i64| (at_ms.saturating_sub(before), at_ms.saturating_add(after));
        let near = around(ANNOUNCED_MS + NEAR_MS, NEAR_MS);
        let found = match self.few_refusals(project, event, near).await? {
            Some(refusals) => Episode::of(event, refusals)?,
            None => self.episode_within(project, event, near).await?,
        };
        let is_whole = |episode: &Episode| {
            episode.start_ms >= near.0 + ANNOUNCED_MS && episode.end_ms.saturating_add(GAP_MS) < near.1
        };
        if found.as_ref().is_none_or(is_whole) {
            return Ok(found);
        }
        let window = self.hours_around(project, event, around(WINDOW_MS, WINDOW_MS)).await?;
        self.episode_within(project, event, window).await
    }

    /// The 429s of an event's client on its route; `None` when there are more than [`MAX_FOLLOWED`].
    async fn few_refusals(
        &self,
        project: &str,
        event: &Event,
        (from_ms, to_ms): Range,
    ) -> Result<Option<Vec<Refusal>>, StoreError> {
        let mut sql = Sql::new("SELECT key, timestamp, JSONExtractRaw(details, 'rate_limit') AS told");
        self.push_refusals(&mut sql, project, &Filter { from_ms, to_ms, ..Filter::default() }, Some(event));
        sql.push(&format!(" LIMIT {}", MAX_FOLLOWED + 1));
        let found: Vec<Refusal> = self.rows_of("reading a client's 429s", self.ask_plainly(&sql)).await?;
        Ok((found.len() <= MAX_FOLLOWED).then_some(found))
    }

    /// The episode that an event is in, cut where the range is.
    async fn episode_within(
        &self,
        project: &str,
        event: &Event,
        (from_ms, to_ms): Range,
    ) -> Result<Option<Episode>, StoreError> {
        let mut sql = self.episodes(project, &Filter { from_ms, to_ms, ..Filter::default() }, Some(event));
        // Of an event that is not in the table, the one it will be in.
        sql.push_value(" HAVING (greatest(start_ms - {}, ", Value::Int(event.timestamp_ms));
        sql.push_value("{} - end_ms) AS distance) <= ", Value::Int(event.timestamp_ms));
        sql.push_value("{} ORDER BY distance DESC", Value::Int(GAP_MS));
        Ok(self.rows("reading a rate-limit episode", &sql).await?.pop())
    }

    /// What of a range an episode around an event can be in: an hour without a 429 of its client ends it, and the rollup of accounts tells these, if
    /// there is an account, and they are in it.
    async fn hours_around(&self, project: &str, event: &Event, range: Range) -> Result<Range, StoreError> {
        let first_hour = begin_of(range.0, HOUR_MS);
        if event.account_id.is_empty() || first_hour < self.rollups_since_ms().await? {
            return Ok(range);
        }
        let mut sql = Sql::new("SELECT DISTINCT toInt64(toUnixTimestamp(at)) * 1000 AS hour FROM ");
        sql.push(&self.table("rollup_accounts")).push_cells_by_day(project, &[(first_hour, range.1)]);
        sql.push_value(" AND account = {}", Value::Text(event.account_id.clone()));
        let [services, environments, routes] =
            [&event.service, &event.environment, &event.route].map(|word| vec![origin_word(word).to_owned()]);
        sql.push_conditions(&Filter { services, environments, routes, statuses: vec![LIMITED], ..Filter::default() });
        let hours: Vec<i64> = self.rows("reading the hours of a rate limit", &sql).await?;
        let hours: HashSet<i64> = hours.into_iter().collect();
        let hour = begin_of(event.timestamp_ms, HOUR_MS);
        let (mut first, mut end) = (hour, hour + HOUR_MS);
        while hours.contains(&(first - HOUR_MS)) {
            first -= HOUR_MS;
        }
        while hours.contains(&end) {
            end += HOUR_MS;
        }
        Ok(((first - ANNOUNCED_MS).max(range.0), end.min(range.1)))
    }

    /// Selects episodes: of all clients, or of an event's client on its route. Service, environment and route are told apart as parts of the one column that
    /// they are in, and what was told of the limit is read at once: to name each by itself takes ClickHouse longer than a short range itself.
    fn episodes(&self, project: &str, filter: &Filter, of: Option<&Event>) -> Sql {
        let mut sql = Sql::new(
            "SELECT any(account) AS account_id, any(address) AS client_ip, \
             (splitByChar('\\x1F', toString(any(origin))) AS words)[1] AS service, words[2] AS environment, words[5] AS route, \
             min(at) AS start_ms, max(at) AS end_ms, count() AS events, argMaxIf(quota.1, at, isNotNull(quota.1)) AS limit, \
             argMaxIf(quota.2, at, isNotNull(quota.2)) AS remaining, argMaxIf(quota.3, at, isNotNull(quota.3)) AS reset, \
             countIf(at < announced * 1000) AS retries_before_reset, count() OVER () AS in_all FROM (\
             SELECT who, at, account, address, origin, quota, announced, sum(begins) OVER (PARTITION BY who ORDER BY at) AS number FROM (\
             SELECT who, at, account, address, origin, quota, ",
        );
        sql.push_value(
            "at - lagInFrame(at) OVER (PARTITION BY who ORDER BY at ROWS BETWEEN 1 PRECEDING AND CURRENT ROW) > {} AS begins, ",
            Value::Int(GAP_MS),
        );
        sql.push(
            "max(ifNull(quota.3, 0)) OVER (PARTITION BY who ORDER BY at ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS announced \
             FROM (SELECT toUnixTimestamp64Milli(timestamp) AS at, account_id AS account, if(account_id = '', client_ip, '') AS address, origin, \
             cityHash64(account, address, substringIndex(origin, '\\x1F', 2), substringIndex(origin, '\\x1F', -1)) AS who, ",
        );
        sql.push("JSONExtract(details, 'rate_limit', 'Tuple(limit Nullable(UInt64), remaining Nullable(UInt64), reset Nullable(Int64))') AS quota");
        self.push_refusals(&mut sql, project, filter, of);
        sql.push(" LIMIT 1 BY key))) GROUP BY who, number");
        sql
    }

    /// ` FROM …` for the 429s that fit a filter: of all clients, or of an event's client on its route.
    fn push_refusals(&self, sql: &mut Sql, project: &str, filter: &Filter, of: Option<&Event>) {
        // By itself ClickHouse reads the details of every 429 before it looks whose it is.
        sql.push(" FROM ").push(&self.table("events")).push(" PREWHERE status = 429");
        let mut filter = filter.clone();
        match of {
            Some(event) => {
                let [service, environment, route] =
                    [&event.service, &event.environment, &event.route].map(|word| origin_word(word));
                let begin = format!("{service}{ORIGIN_SEPARATOR}{environment}{ORIGIN_SEPARATOR}");
                let end = format!("{ORIGIN_SEPARATOR}{route}");
                sql.push_value(" AND account_id = {}", Value::Text(event.account_id.clone()));
                sql.push_value(" AND startsWith(origin, {})", Value::Text(begin));
                sql.push_value(" AND endsWith(origin, {})", Value::Text(end));
            }
            None => {
                sql.push_one_of("account_id", &take(&mut filter.account_ids));
            }
        }
        sql.push_filter(project, &filter);
        if let Some(event) = of.filter(|event| event.account_id.is_empty()) {
            sql.push_value(" AND client_ip = {}", Value::Text(event.client_ip.clone()));
        }
    }
}
