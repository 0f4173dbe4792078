//! How many events, over time and by what: `GET /api/v1/events/histogram` and `GET /api/v1/events/top`.

use std::{collections::BTreeMap, time::Duration};

use axum::{Extension, extract::State as AxumState};
use serde::Serialize;
use utoipa::ToSchema;

use super::Viewer;
use crate::{
    clock::rfc3339,
    http::{
        Shared,
        analyse::step_of,
        answer::{ApiError, Data},
        params::Params,
        privacy::{Shown, Sight},
        unavailable,
    },
    state::TokenInfo,
    store::query::RateKey,
};

/// How long the events are counted that no rollup counts.
pub const PATIENCE: Duration = Duration::from_millis(1500);

/// Groups unless `limit` says otherwise, and at most.
const GROUPS: (usize, usize) = (20, 500);

/// Events over time.
#[derive(Debug, Serialize, ToSchema)]
pub struct EventCounts {
    pub from: String,
    pub to: String,
    /// Seconds.
    pub step: u32,
    /// Events counted.
    pub events: u64,
    /// From when on everything is counted. Later than `from` when the filter is one that only the events themselves tell (a text, a user,
    /// a release, a field …) and there are too many of them: ask for a shorter range, or by what the rollups know.
    pub counted_from: String,
    /// Steps with events, in order.
    pub bars: Vec<Bar>,
}

/// Events of one step.
#[derive(Debug, Serialize, ToSchema)]
pub struct Bar {
    pub at: String,
    pub events: u64,
    /// By status code.
    pub statuses: BTreeMap<u16, u64>,
}

/// The groups with most events.
#[derive(Debug, Serialize, ToSchema)]
pub struct TopGroups {
    pub from: String,
    pub to: String,
    /// Events that fit the filter, also those of no group below.
    pub events: u64,
    /// Most events first.
    pub rows: Vec<TopGroup>,
}

/// Events of one group.
#[derive(Debug, Serialize, ToSchema)]
pub struct TopGroup {
    /// The values grouped by: `status`, `service`, `route`, `account_id` …
    #[serde(flatten)]
    pub keys: BTreeMap<&'static str, Shown>,
    pub events: u64,
    /// Part of all events that fit, 0 to 1.
    pub share: f64,
}

/// Count events over time.
///
/// Events per step and status, of any filter of the search. What the rollups tell is counted whole; else the newest events are counted for
/// a second and a half, and `counted_from` says how far back that went.
#[utoipa::path(
    get, path = "/api/v1/events/histogram", tag = "look up", operation_id = "event_histogram",
    params(("step" = Option<String>, Query, description = "`1m`, `1h` …; default: the range in some 120 steps")),
    responses((status = 200, description = "events per step", body = EventCounts), (status = 400, description = "a parameter is wrong"),
        (status = 503, description = "ClickHouse does not answer"))
)]
pub async fn histogram(
    AxumState(shared): AxumState<Shared>,
    Extension(token): Extension<TokenInfo>,
    mut params: Params,
) -> Result<Data<EventCounts>, ApiError> {
    let filter = params.filter(shared.clock.now_ms());
    let step = step_of(&mut params, filter.to_ms - filter.from_ms);
    params.finish()?;
    let viewer = Viewer::of(token, &shared);
    let counted = shared.store.histogram(viewer.project(), &filter, step, PATIENCE);
    let counted = shared.timed("histogram", counted).await.map_err(|error| unavailable(&error))?;
    let bars = counted.counts.into_iter().map(|(at_ms, statuses)| Bar {
        at: rfc3339(at_ms),
        events: statuses.values().sum(),
        statuses,
    });
    let bars: Vec<Bar> = bars.collect();
    Ok(Data::ok(EventCounts {
        from: rfc3339(filter.from_ms),
        to: rfc3339(filter.to_ms),
        step,
        events: bars.iter().map(|bar| bar.events).sum(),
        counted_from: rfc3339(counted.counted_from_ms),
        bars,
    }))
}

/// Find what has most errors.
///
/// Events by status, service, environment, release, route, method, account or user, most first. Takes the filters of the event search.
/// By account or user, events without one are in no row; the role product sees their pseudonyms.
#[utoipa::path(
    get, path = "/api/v1/events/top", tag = "look up", operation_id = "top_events",
    params(
        ("by" = Option<String>, Query, description = "status, service, environment, release, route, method, account_id, user_id; several; default: route"),
        ("limit" = Option<u32>, Query, description = "1 to 500, default 20")),
    responses((status = 200, description = "groups, most events first", body = TopGroups), (status = 400, description = "a parameter is wrong"),
        (status = 503, description = "ClickHouse does not answer"))
)]
pub async fn top(
    AxumState(shared): AxumState<Shared>,
    Extension(token): Extension<TokenInfo>,
    mut params: Params,
) -> Result<Data<TopGroups>, ApiError> {
    let filter = params.filter(shared.clock.now_ms());
    let mut by = params.choices("by", &RateKey::WITH_PEOPLE, RateKey::as_str);
    if by.is_empty() {
        by = vec![RateKey::Route];
    }
    let limit = params.limit(GROUPS.0, GROUPS.1);
    params.finish()?;
    let viewer = Viewer::of(token, &shared);
    let top = shared.store.top(viewer.project(), &filter, &by, limit);
    let top = shared.timed("top", top).await.map_err(|error| unavailable(&error))?;
    let rows = top.rows.into_iter().map(|row| TopGroup {
        keys: by
            .iter()
            .zip(row.labels)
            .map(|(key, label)| (key.as_str(), shown(viewer.sight(), *key, label)))
            .collect(),
        events: row.events,
        share: row.events as f64 / top.events.max(row.events) as f64,
    });
    Ok(Data::ok(TopGroups {
        from: rfc3339(filter.from_ms),
        to: rfc3339(filter.to_ms),
        events: top.events,
        rows: rows.collect(),
    }))
}

/// A label of a group, as it may be seen.
fn shown(sight: &Sight, key: RateKey, label: String) -> Shown {
    match key {
        RateKey::Account => sight.account(label),
        RateKey::User => sight.user(label),
        RateKey::Status
        | RateKey::Service
        | RateKey::Environment
        | RateKey::Release
        | RateKey::Route
        | RateKey::Method => sight.plain(label),
    }
}
