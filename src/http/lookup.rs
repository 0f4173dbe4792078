//! `GET /api/v1/requests/{id}` and the bulk lookup: what support reads.

use std::time::Duration;

use axum::{
    Extension,
    body::Body,
    extract::{Path, State as AxumState, rejection::PathRejection},
    http::{HeaderMap, StatusCode, header},
};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{
    Shared,
    answer::{ApiError, Data},
    body,
    stored::StoredEvent,
    unavailable,
};
use crate::{
    clock::rfc3339,
    event::{Event, RequestId, catalog::Explanation, request_id},
    state::TokenInfo,
    store::query::{Episode, EventSummary, Found, Impact},
};

/// How long "related" looks to each side of a request.
const RELATED_WINDOW_MS: i64 = 10 * 60_000;

/// Related errors in an answer.
const RELATED: usize = 50;

/// Ids looked up of one text (HTTP contract).
const BULK_IDS: usize = 100;

/// Longest ticket text, bytes.
const BULK_TEXT: usize = 256 << 10;

/// The same as JSON, where a character may take six bytes (`\u0000`).
const TICKET_BODY: usize = 6 * BULK_TEXT + 1024;

const DAY_MS: i64 = 86_400_000;

/// Whether a request's events can be shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum LookupState {
    /// Its events are in this answer.
    Found,
    /// Its events are durable and not yet queryable; ask again in a second.
    Pending,
    /// It is not known (bulk lookup only; the single lookup answers 404).
    NotFound,
}

/// Everything about one request.
#[derive(Debug, Serialize, ToSchema)]
pub struct Lookup {
    pub request_id: String,
    pub state: LookupState,
    pub first_seen: Option<String>,
    pub last_seen: Option<String>,
    /// Oldest first.
    pub events: Vec<StoredEvent>,
    /// One for each event, in the same order.
    pub explanation: Vec<Explanation>,
    /// How widespread the latest event's error is.
    pub impact: Option<ImpactAnswer>,
    /// The rate limit of the latest event that reported one.
    pub rate_limit: Option<RateLimitAnswer>,
    /// The account's other errors around the request, oldest first.
    pub related: Vec<RelatedEvent>,
    /// A text for the customer; it holds nothing internal.
    pub customer_reply: Option<String>,
    pub links: Links,
}

/// Where to go on from a lookup.
#[derive(Debug, Serialize, ToSchema)]
pub struct Links {
    /// This answer.
    #[serde(rename = "self")]
    pub this: String,
    /// Events of the same kind of error.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub same_error: Option<String>,
    /// The account's events.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub account: Option<String>,
}

/// The same error in the hour around.
#[derive(Debug, Serialize, ToSchema)]
pub struct ImpactAnswer {
    pub from: String,
    pub to: String,
    pub events: u64,
    pub accounts: u64,
    pub account_events: u64,
    /// This account's part of the events, 0 to 1.
    pub account_share: f64,
    /// First event of this error in the day before.
    pub first_seen: String,
    pub releases: Vec<String>,
    /// Events per minute from `from` on.
    pub buckets: Vec<Bucket>,
}

/// Events of one minute.
#[derive(Debug, Serialize, ToSchema)]
pub struct Bucket {
    pub at: String,
    pub events: u64,
}

/// A client's quota, then and now.
#[derive(Debug, Serialize, ToSchema)]
pub struct RateLimitAnswer {
    pub limit: Option<u64>,
    pub remaining: Option<u64>,
    /// When the window resets.
    pub reset: Option<String>,
    /// Seconds from the event to the reset; absent if requests were left.
    pub wait_seconds_then: Option<i64>,
    /// Seconds from now to the reset; 0 if it has passed.
    pub wait_seconds_now: Option<i64>,
    /// The run of 429s this one belongs to.
    pub episode: Option<EpisodeAnswer>,
}

/// Consecutive 429s of an account on a route.
#[derive(Debug, Serialize, ToSchema)]
pub struct EpisodeAnswer {
    pub start: String,
    pub end: String,
    pub events: u64,
    pub limit: Option<u64>,
    /// Requests the client sent before the reset it had been told.
    pub retries_before_reset: u64,
}

/// Another error of the account.
#[derive(Debug, Serialize, ToSchema)]
pub struct RelatedEvent {
    pub timestamp: String,
    pub request_id: String,
    pub status: u16,
    pub service: String,
    pub method: String,
    pub route: String,
    pub error: String,
    pub fields: Vec<String>,
}

/// Look a request up.
///
/// Needs no time range. 404 says why nothing is known of the id: never received, rejected on arrival, expired.
#[utoipa::path(
    get, path = "/api/v1/requests/{request_id}", tag = "look up", operation_id = "lookup_request",
    params(("request_id" = String, Path, description = "any form the API uses; UUIDs in either case")),
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
    // Asked before ClickHouse: an event that becomes visible in between is found, never missed.
    let queued = shared.spool.holds(id.lookup_key(&token.project));
    let found = match shared.timed("request", shared.store.request(&token.project, &id)).await {
        Ok(found) => found,
        Err(_) if queued => Found::default(),
        Err(error) => return Err(unavailable(&error)),
    };
    if !found.events.is_empty() {
        return Ok(Data::ok(Box::pin(answer(&shared, &token, id, found.events)).await?));
    }
    if queued {
        return Ok(Data::ok(pending(&shared, &id)));
    }
    Err(not_found(&shared, &token, &id, &found).await?)
}

fn pending(shared: &Shared, id: &RequestId) -> Lookup {
    Lookup {
        request_id: id.to_string(),
        state: LookupState::Pending,
        first_seen: None,
        last_seen: None,
        events: vec![],
        explanation: vec![],
        impact: None,
        rate_limit: None,
        related: vec![],
        customer_reply: None,
        links: links(shared, id, None),
    }
}

async fn answer(shared: &Shared, token: &TokenInfo, id: RequestId, events: Vec<Event>) -> Result<Lookup, ApiError> {
    let (Some(first), Some(last)) = (events.first(), events.last().cloned()) else { return Ok(pending(shared, &id)) };
    let project = &token.project;
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
        first_seen: Some(rfc3339(first.timestamp_ms)),
        last_seen: Some(rfc3339(last.timestamp_ms)),
        explanation,
        impact: Some(impact.into()),
        rate_limit,
        related,
        customer_reply,
        links: links(shared, &id, Some(&last)),
        request_id: id.to_string(),
        events: events.into_iter().map(|event| StoredEvent::new(event, shared.catalog)).collect(),
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
    let episode = if event.status == 429 {
        let asked = shared.store.episode(project, &event.account_id, &event.route, event.timestamp_ms);
        shared.timed("episode", asked).await?
    } else {
        None
    };
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

/// Why nothing is known of an id, as a 404.
async fn not_found(shared: &Shared, token: &TokenInfo, id: &RequestId, found: &Found) -> Result<ApiError, ApiError> {
    let rejection = shared
        .state
        .find_rejection(&token.project, id.as_str())
        .map_err(|error| ApiError::internal("reading rejections", &error))?;
    let error = ApiError::not_found();
    if let Some(rejection) = rejection {
        return Ok(error.field(
            "request_id",
            format!(
                "rejected on arrival at {} ({}): {}",
                rfc3339(rejection.at_ms),
                rejection.reason,
                rejection.message
            ),
        ));
    }
    let kept = shared.config.retention_days;
    if let Some(first_seen) = found.expired_first_seen_ms {
        return Ok(error.field(
            "request_id",
            format!("expired by retention: its event of {} is gone, events are kept {kept} days", rfc3339(first_seen)),
        ));
    }
    let made = id.made_at_ms();
    if let Some(made) = made.filter(|made| *made < shared.clock.now_ms() - i64::from(kept) * DAY_MS) {
        return Ok(error.field(
            "request_id",
            format!("never received, or expired: the id was made at {}, events are kept {kept} days", rfc3339(made)),
        ));
    }
    let span = shared.timed("project_span", shared.store.project_span(&token.project)).await;
    let known = match span {
        Ok(Some(span)) => {
            format!("events of this project are here from {} to {}", rfc3339(span.first_ms), rfc3339(span.last_ms))
        }
        Ok(None) => "no event of this project has arrived yet".to_owned(),
        Err(error) => return Err(unavailable(&error)),
    };
    Ok(error.field(
        "request_id",
        format!("never received: {known}; check the id with the customer, and that the API ships its events"),
    ))
}

fn links(shared: &Shared, id: &RequestId, event: Option<&Event>) -> Links {
    let base = shared.config.base_url();
    let search = |filter: String| format!("{base}/api/v1/events?from=-7d&{filter}");
    Links {
        this: format!("{base}/api/v1/requests/{}", percent(id.as_str())),
        same_error: event.map(|event| search(format!("fingerprint={:016x}", event.fingerprint))),
        account: event
            .filter(|event| !event.account_id.is_empty())
            .map(|event| search(format!("account_id={}", percent(&event.account_id)))),
    }
}

/// Escapes what is not an unreserved character of RFC 3986.
fn percent(text: &str) -> String {
    use std::fmt::Write;
    text.bytes().fold(String::with_capacity(text.len()), |mut url, byte| {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            url.push(byte as char);
        } else {
            let _ = write!(url, "%{byte:02X}"); // writing to a String cannot fail
        }
        url
    })
}

impl From<Impact> for ImpactAnswer {
    fn from(impact: Impact) -> Self {
        let minute = |index: usize| rfc3339(impact.from_ms + index as i64 * 60_000);
        Self {
            from: rfc3339(impact.from_ms),
            to: rfc3339(impact.to_ms),
            events: impact.events,
            accounts: impact.accounts,
            account_events: impact.account_events,
            account_share: impact.account_share,
            first_seen: rfc3339(impact.first_seen_ms),
            buckets: impact
                .per_minute
                .iter()
                .enumerate()
                .map(|(i, events)| Bucket { at: minute(i), events: *events })
                .collect(),
            releases: impact.releases,
        }
    }
}

impl From<Episode> for EpisodeAnswer {
    fn from(episode: Episode) -> Self {
        Self {
            start: rfc3339(episode.start_ms),
            end: rfc3339(episode.end_ms),
            events: episode.events,
            limit: episode.limit,
            retries_before_reset: episode.retries_before_reset,
        }
    }
}

impl From<EventSummary> for RelatedEvent {
    fn from(event: EventSummary) -> Self {
        Self {
            timestamp: rfc3339(event.timestamp_ms),
            request_id: event.request_id,
            status: event.status,
            service: event.service,
            method: event.method,
            route: event.route,
            error: event.error,
            fields: event.fields,
        }
    }
}

/// A text with request ids in it.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Ticket {
    /// Any text: a mail, a chat, a log. At most 256 KiB; the first 100 ids are looked up.
    pub text: String,
}

/// What is known of each id in a text.
#[derive(Debug, Serialize, ToSchema)]
pub struct TicketAnswer {
    /// In the order of the text.
    pub results: Vec<TicketResult>,
    /// Whether the text held more than could be looked up.
    pub more: bool,
}

/// A request in short.
#[derive(Debug, Serialize, ToSchema)]
pub struct TicketResult {
    pub request_id: String,
    pub state: LookupState,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub headline: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timestamp: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub service: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub method: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub route: Option<String>,
    /// Events with this id.
    pub events: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub customer_reply: Option<String>,
    pub link: String,
}

/// Look up every request id in a text.
#[utoipa::path(
    post, path = "/api/v1/requests/lookup", tag = "look up", operation_id = "lookup_ticket",
    request_body = Ticket,
    responses(
        (status = 200, description = "each id with what is known of it", body = TicketAnswer),
        (status = 400, description = "not JSON, or no text"), (status = 408, description = "the body did not arrive in time"),
        (status = 413, description = "the text is too long"), (status = 415, description = "not application/json"),
        (status = 503, description = "ClickHouse does not answer"))
)]
pub async fn ticket(
    AxumState(shared): AxumState<Shared>,
    Extension(token): Extension<TokenInfo>,
    headers: HeaderMap,
    body: Body,
) -> Result<Data<TicketAnswer>, ApiError> {
    let ticket = read_ticket(&shared, &headers, body).await?;
    let mut candidates = request_id::find_all(&ticket.text, BULK_IDS + 1);
    let more = candidates.len() > BULK_IDS;
    candidates.truncate(BULK_IDS);
    let ids: Vec<RequestId> = candidates.iter().map(|candidate| candidate.id.clone()).collect();
    let queued: Vec<bool> = ids.iter().map(|id| shared.spool.holds(id.lookup_key(&token.project))).collect();
    let found = if ids.is_empty() {
        vec![]
    } else {
        match shared.timed("requests", shared.store.requests(&token.project, &ids)).await {
            Ok(found) => found,
            // Without ClickHouse the spool still answers for what it holds, if that is all.
            Err(_) if queued.iter().all(|queued| *queued) => ids.iter().map(|_| Found::default()).collect(),
            Err(error) => return Err(unavailable(&error)),
        }
    };
    let results = candidates
        .into_iter()
        .zip(found)
        .zip(queued)
        // A word that only might be an id is not reported as an unknown one.
        .filter(|((candidate, found), queued)| candidate.is_certain || *queued || !found.events.is_empty())
        .map(|((candidate, found), queued)| ticket_result(&shared, &candidate.id, &found.events, queued))
        .collect();
    Ok(Data::ok(TicketAnswer { results, more }))
}

async fn read_ticket(shared: &Shared, headers: &HeaderMap, mut body: Body) -> Result<Ticket, ApiError> {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    if !kind.split(';').next().unwrap_or_default().trim().eq_ignore_ascii_case("application/json") {
        return Err(ApiError::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "Unsupported media type")
            .field("Content-Type", "send application/json"));
    }
    let patience = Duration::from_secs(u64::from(shared.config.ingest.body_timeout_seconds));
    let bytes = body::read(headers, &mut body, TICKET_BODY, patience).await?;
    let ticket: Ticket = serde_json::from_slice(&bytes)
        .map_err(|error| ApiError::invalid("body", format!("expected {{\"text\": \"…\"}}: {error}")))?;
    if ticket.text.len() > BULK_TEXT {
        return Err(ApiError::new(StatusCode::PAYLOAD_TOO_LARGE, "Request body too large")
            .field("text", format!("must have at most {BULK_TEXT} bytes; paste less of the ticket")));
    }
    Ok(ticket)
}

fn ticket_result(shared: &Shared, id: &RequestId, events: &[Event], queued: bool) -> TicketResult {
    let last = events.last();
    let explanation = last.map(|event| shared.catalog.explain(event));
    TicketResult {
        request_id: id.to_string(),
        state: match last {
            Some(_) => LookupState::Found,
            None if queued => LookupState::Pending,
            None => LookupState::NotFound,
        },
        customer_reply: last
            .zip(explanation.as_ref())
            .map(|(event, explanation)| shared.catalog.customer_reply(event, explanation)),
        headline: explanation.map(|explanation| explanation.headline),
        status: last.map(|event| event.status),
        timestamp: last.map(|event| rfc3339(event.timestamp_ms)),
        service: last.map(|event| event.service.clone()),
        method: last.map(|event| event.method.clone()),
        route: last.map(|event| event.route.clone()),
        events: events.len(),
        link: links(shared, id, None).this,
    }
}

/// How long a client is asked to wait when ClickHouse does not answer.
pub const STORE_RETRY_AFTER: Duration = Duration::from_secs(5);
