//! `GET /api/v1/requests/{id}` and the bulk lookup: what support reads.

mod answer;
pub mod ticket;

use std::time::{Duration, Instant};

use axum::{
    Extension,
    extract::{Path, State as AxumState, rejection::PathRejection},
};

use answer::{EpisodeAnswer, RateLimitAnswer, RelatedEvent, links};
pub use answer::{Lookup, LookupState};

use super::{
    Shared,
    answer::{ApiError, Data},
    unavailable,
};
use crate::{
    clock::rfc3339,
    event::{Event, RequestId},
    state::TokenInfo,
    store::query::{EventSummary, Found},
};

/// How long "related" looks to each side of a request.
const RELATED_WINDOW_MS: i64 = 10 * 60_000;

/// How long a lookup waits for an id that is durable and not yet queryable, and how often it looks.
const PENDING_WAIT: Duration = Duration::from_secs(1);
const PENDING_STEP: Duration = Duration::from_millis(50);

/// How much is told of why an event is in the quarantine, bytes; an admin reads all of it there.
const QUARANTINE_REASON_BYTES: usize = 300;

/// Related errors in an answer.
const RELATED: usize = 50;

const DAY_MS: i64 = 86_400_000;

/// Look a request up.
///
/// Needs no time range. 404 says why nothing is known of the id: never received, rejected on arrival, expired, erased.
#[utoipa::path(
    get, path = "/api/v1/requests/{request_id}", tag = "look up", operation_id = "lookup_request",
    params(("request_id" = String, Path, description = "any form the API uses; UUIDs in either case",
        example = "550e8400-e29b-41d4-a716-446655440000")),
    responses(
        (status = 200, description = "found, or pending", body = Lookup),
        (status = 400, description = "no request id"),
        (status = 404, description = "not known, with the reason in errors.request_id"),
        (status = 503, description = "ClickHouse does not answer"))
)]
pub async fn request(
    AxumState(shared): AxumState<Shared>,
    Extension(token): Extension<TokenInfo>,
    id: Result<Path<String>, PathRejection>,
) -> Result<Data<Lookup>, ApiError> {
    let Path(id) = id.map_err(|error| ApiError::invalid("request_id", error.body_text()))?;
    let id = RequestId::parse(&id).map_err(|error| ApiError::invalid("request_id", error.to_string()))?;
    let deadline = Instant::now() + PENDING_WAIT;
    loop {
        // Asked before ClickHouse: an event that becomes visible in between is found, never missed.
        let queued = shared.spool.holds(id.lookup_key(&token.project));
        let found = match shared.timed("request", shared.store.request(&token.project, &id)).await {
            Ok(found) => found,
            Err(_) if queued => return Ok(Data::ok(pending(&shared, &id))),
            Err(error) => return Err(unavailable(&error)),
        };
        if !found.events.is_empty() {
            return Ok(Data::ok(Box::pin(answer(&shared, &token, id, found)).await?));
        }
        if !queued {
            let reason = why_unknown(&shared, &token.project, &id, &found).await?;
            return Err(ApiError::not_found().field("request_id", reason));
        }
        // Most ids that are asked for so soon are visible a moment later.
        if Instant::now() >= deadline || shared.health.get().is_err() {
            return Ok(Data::ok(pending(&shared, &id)));
        }
        tokio::time::sleep(PENDING_STEP).await;
    }
}

fn pending(shared: &Shared, id: &RequestId) -> Lookup {
    let message = match shared.health.get() {
        Ok(()) => "received and durable, not yet queryable: ask again in a second".to_owned(),
        Err(_) => {
            "received and durable; it becomes queryable when ClickHouse, which does not answer now, is back".to_owned()
        }
    };
    Lookup {
        request_id: id.to_string(),
        state: LookupState::Pending,
        message: Some(message),
        first_seen: None,
        last_seen: None,
        events: vec![],
        more_events: false,
        explanation: vec![],
        impact: None,
        rate_limit: None,
        related: vec![],
        customer_reply: None,
        links: links(shared, id, None),
    }
}

async fn answer(shared: &Shared, token: &TokenInfo, id: RequestId, found: Found) -> Result<Lookup, ApiError> {
    let Found { events, more, .. } = found;
    let (Some(first), Some(last)) = (events.first(), events.last().cloned()) else { return Ok(pending(shared, &id)) };
    let project = &token.project;
    let sight = shared.sight(token);
    let explanation: Vec<_> = events.iter().map(|event| shared.catalog.explain(event)).collect();
    let (impact, related, rate_limit) = tokio::try_join!(
        shared.timed("impact", shared.store.impact(project, &last)),
        related(shared, project, &last),
        rate_limit(shared, project, &events),
    )
    .map_err(|error| unavailable(&error))?;
    let related = related.into_iter().filter(|other| other.request_id != id.as_str()).map(RelatedEvent::from).collect();
    let customer_reply = explanation.last().map(|explanation| shared.catalog.customer_reply(&last, explanation));
    Ok(Lookup {
        state: LookupState::Found,
        message: None,
        more_events: more,
        first_seen: Some(rfc3339(first.timestamp_ms)),
        last_seen: Some(rfc3339(last.timestamp_ms)),
        explanation,
        impact: Some(impact.into()),
        rate_limit,
        related,
        customer_reply,
        links: links(shared, &id, Some(&last)),
        request_id: id.to_string(),
        events: events.into_iter().map(|event| sight.event(event, shared.catalog)).collect(),
    })
}

async fn related(shared: &Shared, project: &str, event: &Event) -> Result<Vec<EventSummary>, crate::store::StoreError> {
    if event.account_id.is_empty() {
        return Ok(vec![]);
    }
    let around =
        shared.store.account_around(project, &event.account_id, event.timestamp_ms, RELATED_WINDOW_MS, RELATED);
    shared.timed("account_around", around).await
}

async fn rate_limit(
    shared: &Shared,
    project: &str,
    events: &[Event],
) -> Result<Option<RateLimitAnswer>, crate::store::StoreError> {
    let reported = events.iter().rev().find(|event| event.status == 429 || event.rate_limit.is_some());
    let Some(event) = reported else { return Ok(None) };
    let episode =
        if event.status == 429 { shared.timed("episode", shared.store.episode(project, event)).await? } else { None };
    let limit = event.rate_limit.unwrap_or_default();
    let now_ms = shared.clock.now_ms();
    // A client that has requests left need not wait.
    let is_closed = event.status == 429 || limit.remaining == Some(0);
    let until = |from_ms: i64| {
        let reset_ms = limit.reset.filter(|_| is_closed)?.saturating_mul(1000);
        Some(reset_ms.saturating_sub(from_ms).max(0).div_euclid(1000))
    };
    Ok(Some(RateLimitAnswer {
        limit: limit.limit,
        remaining: limit.remaining,
        reset: limit.reset.map(|reset| rfc3339(reset.saturating_mul(1000))),
        wait_seconds_then: until(event.timestamp_ms),
        wait_seconds_now: until(now_ms),
        episode: episode.map(EpisodeAnswer::from),
    }))
}

/// Why nothing is known of an id.
async fn why_unknown(shared: &Shared, project: &str, id: &RequestId, found: &Found) -> Result<String, ApiError> {
    let rejection = shared
        .state
        .find_rejection(project, id.as_str())
        .map_err(|error| ApiError::internal("reading rejections", &error))?;
    if let Some(rejection) = rejection {
        let at = rfc3339(rejection.at_ms);
        return Ok(format!("rejected on arrival at {at} ({}): {}", rejection.reason, rejection.message));
    }
    if let Some(reason) = quarantined(shared, project, id).await? {
        return Ok(reason);
    }
    let erased = shared.state.erased_ms(project, &shared.privacy.pseudonyms.of_erased(project, id.as_str()));
    if let Some(at) = erased.map_err(|error| ApiError::internal("reading erasures", &error))?.map(rfc3339) {
        return Ok(format!("erased at {at}, by an admin's request: what was stored of it is gone for good"));
    }
    let kept = shared.config.retention_days;
    if let Some(first_seen) = found.expired_first_seen_ms {
        let at = rfc3339(first_seen);
        return Ok(format!("expired by retention: its event of {at} is gone, events are kept {kept} days"));
    }
    let oldest_ms = shared.clock.now_ms() - i64::from(kept) * DAY_MS;
    if let Some(made) = id.made_at_ms().filter(|made| *made < oldest_ms) {
        let at = rfc3339(made);
        return Ok(format!("never received, or expired: the id was made at {at}, events are kept {kept} days"));
    }
    let span = shared.timed("project_span", shared.store.project_span(project)).await;
    let known = match span.map_err(|error| unavailable(&error))? {
        Some(span) => {
            format!(
                "events of the project {project:?} are here from {} to {}",
                rfc3339(span.first_ms),
                rfc3339(span.last_ms)
            )
        }
        None => format!("no event of the project {project:?} has arrived yet"),
    };
    Ok(format!(
        "never received: {known}; check the id with the customer, and that the API ships its events with a token of this project"
    ))
}

/// What is said of an event that waits in the quarantine.
async fn quarantined(shared: &Shared, project: &str, id: &RequestId) -> Result<Option<String>, ApiError> {
    let (quarantine, project, id) = (shared.quarantine.clone(), project.to_owned(), id.to_string());
    let found = tokio::task::spawn_blocking(move || quarantine.find(&project, &id))
        .await
        .map_err(|error| ApiError::internal("reading the quarantine", &error))?
        .map_err(|error| ApiError::internal("reading the quarantine", &error))?;
    let Some((entry, event)) = found else { return Ok(None) };
    let at = rfc3339(event.map_or(entry.at_ms, |event| event.received_at_ms));
    let reason = &entry.reason[..entry.reason.floor_char_boundary(QUARANTINE_REASON_BYTES)];
    let retry = format!("`errata quarantine retry {}`", entry.id);
    Ok(Some(format!(
        "received at {at}, but ClickHouse refused it ({reason}): it is kept in the quarantine; an admin can retry it with {retry}"
    )))
}

/// How long a client is asked to wait when ClickHouse does not answer.
pub const STORE_RETRY_AFTER: Duration = Duration::from_secs(5);
