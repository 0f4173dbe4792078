//! Rate-limit episodes: an unbroken run of 429s of one account on one route.

use clickhouse::Row;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{Sql, Store, StoreError, Value};

/// A longer pause between two 429s ends an episode.
pub const GAP_MS: i64 = 5 * 60_000;

/// How far from the moment asked for an episode is followed, each way.
const WINDOW_MS: i64 = 6 * 3_600_000;

/// A run of 429s of an account on a route with no pause of more than [`GAP_MS`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct Episode {
    /// First 429, milliseconds since the Unix epoch.
    pub start_ms: i64,
    /// Last 429.
    pub end_ms: i64,
    /// 429s.
    pub events: u64,
    /// Requests allowed per window, as last reported.
    pub limit: Option<u64>,
    /// 429s that came before a reset an earlier one had announced: what a patient client would have spared itself.
    pub retries_before_reset: u64,
}

/// The 429s of one minute. Within a minute no pause ends an episode, so runs of minutes are exact.
#[derive(Clone, Debug, Row, Deserialize)]
struct Minute {
    first: i64,
    last: i64,
    events: u64,
    limit: Option<u64>,
    early: u64,
}

impl Store {
    /// The episode at a moment, if the account had one on this route (at most six hours of it each way).
    pub async fn episode(
        &self,
        project: &str,
        account_id: &str,
        route: &str,
        around_ms: i64,
    ) -> Result<Option<Episode>, StoreError> {
        if account_id.is_empty() {
            return Ok(None);
        }
        let mut sql = Sql::new(
            "SELECT min(at) AS first, max(at) AS last, count() AS events, argMaxIf(allowed, at, isNotNull(allowed)) AS limit, \
             countIf(at < announced * 1000) AS early FROM (SELECT at, allowed, max(ifNull(reset, 0)) OVER \
             (ORDER BY at ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS announced FROM \
             (SELECT toUnixTimestamp64Milli(timestamp) AS at, rate_limit AS allowed, rate_limit_reset AS reset FROM ",
        );
        sql.push(&self.table("events"));
        sql.push_range(project, around_ms.saturating_sub(WINDOW_MS), around_ms.saturating_add(WINDOW_MS));
        sql.push_value(" AND status = 429 AND account_id = {}", Value::Text(account_id.to_owned()));
        sql.push_value(" AND route = {} LIMIT 1 BY key)", Value::Text(route.to_owned()));
        sql.push(") GROUP BY intDiv(at, 60000) ORDER BY first");
        let minutes: Vec<Minute> = self.rows("reading a rate-limit episode", &sql).await?;
        Ok(run_around(&minutes, around_ms))
    }
}

/// The run of minutes with no gap that the moment lies in, or at most a gap away from.
fn run_around(minutes: &[Minute], around_ms: i64) -> Option<Episode> {
    let runs = minutes.chunk_by(|earlier, later| later.first - earlier.last <= GAP_MS);
    let distance = |run: &&[Minute]| match (run.first(), run.last()) {
        (Some(first), Some(last)) => (first.first - around_ms).max(around_ms - last.last).max(0),
        _ => i64::MAX,
    };
    let run = runs.min_by_key(distance).filter(|run| distance(run) <= GAP_MS)?;
    Some(Episode {
        start_ms: run.first()?.first,
        end_ms: run.last()?.last,
        events: run.iter().map(|minute| minute.events).sum(),
        limit: run.iter().rev().find_map(|minute| minute.limit),
        retries_before_reset: run.iter().map(|minute| minute.early).sum(),
    })
}
