//! `POST /api/v1/events`: bytes in, durable events out.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use axum::{
    Extension,
    body::Body,
    extract::{Request, State as AxumState},
    http::{HeaderMap, Method, StatusCode, header},
    middleware::Next,
    response::Response,
};
use bytes::Bytes;
use serde::Serialize;
use tokio::sync::OwnedSemaphorePermit;
use utoipa::ToSchema;

use super::{
    Shared,
    answer::{ApiError, Data},
    body,
    quota::Charge,
};
use crate::{
    decode::{self, Decoded, Format, Refusal, Reject},
    event::{Event, codec},
    spool::{AppendError, Item},
    state::{Rejection, TokenInfo},
};

/// Rejections listed in an answer, and remembered of one request; all are counted.
const LISTED_REJECTIONS: usize = 100;

/// Where events are shipped to.
pub const PATH: &str = "/api/v1/events";

/// How long a client is asked to wait when the spool takes nothing.
const SPOOL_RETRY_AFTER: Duration = Duration::from_secs(10);

/// Days are this many milliseconds.
const DAY_MS: i64 = 86_400_000;

/// The value of the `protocol` label for this endpoint.
const PROTOCOL: &str = "json";

/// What became of the events of a body.
#[derive(Debug, Default, Serialize, ToSchema)]
pub struct Taken {
    /// New events, durable now.
    pub accepted: usize,
    /// Events that were sent before, by `event_id` or content; they are not stored again.
    pub duplicates: usize,
    /// Events that were not taken.
    pub rejected: usize,
    /// The first 100 of them.
    pub rejections: Vec<Rejected>,
}

/// One event that was not taken.
#[derive(Debug, Serialize, ToSchema)]
pub struct Rejected {
    /// Position in the body, from 0.
    pub index: usize,
    /// What is wrong, by field.
    pub errors: BTreeMap<String, Vec<String>>,
}

/// Ship error events.
///
/// Takes NDJSON, an array or one object. `202` is sent after the events are on disk (fsync); they are queryable about a
/// second later. The good events of a mixed batch are taken, the bad ones listed.
#[utoipa::path(
    post, path = "/api/v1/events", tag = "ship", operation_id = "ship_events",
    request_body(
        content((serde_json::Value = "application/json"), (String = "application/x-ndjson")),
        description = "one event, an array of events, or one event a line; `Content-Encoding` gzip, zstd or deflate"),
    responses(
        (status = 202, description = "taken and durable", body = Taken),
        (status = 400, description = "not JSON; the line is named"),
        (status = 408, description = "the body did not arrive in time"), (status = 413, description = "too large"), (status = 415, description = "content type or encoding not taken"),
        (status = 422, description = "every event was rejected"), (status = 429, description = "quota used up"),
        (status = 503, description = "the spool is full or failed; send again after Retry-After"))
)]
pub async fn events(
    AxumState(shared): AxumState<Shared>,
    Extension(token): Extension<TokenInfo>,
    headers: HeaderMap,
    body: Body,
) -> Result<Data<Taken>, ApiError> {
    let format = format(&headers)?;
    if let Some(refusal) = shared.spool.refusal() {
        return Err(refused_append(&refusal));
    }
    let now_ms = shared.clock.now_ms();
    if let Some(allowance) = shared.quota.allowance(&token, now_ms)
        && allowance.remaining == 0
    {
        return Err(ApiError::rate_limited(until(allowance.reset_ms, now_ms)));
    }
    let patience = Duration::from_secs(u64::from(shared.config.ingest.body_timeout_seconds));
    let bytes = body::read(&headers, body, shared.limits.body, patience).await?;
    shared.metrics.ingest_bytes.inc_by(bytes.len() as u64);
    let encoding = headers.get(header::CONTENT_ENCODING).map(|value| String::from_utf8_lossy(value.as_bytes()).into());
    // Read again: a body may take a minute to arrive, and its quota is that of its arrival.
    let sent = Sent { format, encoding, bytes, received_at_ms: shared.clock.now_ms() };
    // A task of its own: what is kept is counted, and memory is held while it is used, also when the client has gone.
    let outcome = tokio::spawn(take(shared, token, sent))
        .await
        .map_err(|error| ApiError::internal("taking events", &error))??;
    Ok(Data(StatusCode::ACCEPTED, outcome))
}

/// Counts and times requests that ship events, whatever became of them.
pub async fn count(AxumState(shared): AxumState<Shared>, request: Request, next: Next) -> Response {
    let ships = request.method() == Method::POST && request.uri().path() == PATH;
    if !ships {
        return next.run(request).await;
    }
    let timer = shared.metrics.ingest_duration.start_timer();
    let response = next.run(request).await;
    timer.observe_duration();
    shared.metrics.ingest_requests.with_label_values(&[PROTOCOL, response.status().as_str()]).inc();
    response
}

/// A body that has arrived.
struct Sent {
    format: Format,
    encoding: Option<String>,
    bytes: Bytes,
    received_at_ms: i64,
}

async fn take(shared: Shared, token: TokenInfo, sent: Sent) -> Result<Taken, ApiError> {
    let _memory = memory(&shared, &sent).await?;
    let now_ms = sent.received_at_ms;
    let (rooms, project) = (Arc::clone(&shared), token.project.clone());
    let decoded = tokio::task::spawn_blocking(move || decode_body(&rooms, &project, &sent))
        .await
        .map_err(|error| ApiError::internal("decoding a body", &error))??;
    keep(&shared, &token, decoded, now_ms).await
}

/// Holds as much of the memory budget as the body may need. Asked for after the body is here, so that a slow sender holds
/// nothing others wait for.
async fn memory(shared: &Shared, sent: &Sent) -> Result<OwnedSemaphorePermit, ApiError> {
    let bytes = decode::most_bytes(sent.encoding.as_deref(), sent.bytes.len(), &shared.limits);
    let budget = shared.config.ingest.max_in_flight.as_usize() / 1024;
    let permits = u32::try_from((bytes / 1024 + 1).min(budget)).unwrap_or(u32::MAX);
    Arc::clone(&shared.in_flight)
        .acquire_many_owned(permits)
        .await
        .map_err(|error| ApiError::internal("waiting for memory", &error))
}

fn decode_body(shared: &Shared, project: &str, sent: &Sent) -> Result<Decoded, ApiError> {
    let body = decode::decompress(sent.encoding.as_deref(), &sent.bytes, &shared.limits)
        .map_err(|refusal| refused(&refusal))?;
    let context = decode::Context {
        project,
        received_at_ms: sent.received_at_ms,
        oldest_ms: sent.received_at_ms - i64::from(shared.config.retention_days) * DAY_MS,
        catalog: shared.catalog,
        scrubber: &shared.scrubber,
        limits: &shared.limits,
    };
    decode::events(sent.format, &body, context).map_err(|refusal| refused(&refusal))
}

/// Makes the good events durable and accounts for the bad ones. A batch that is refused as a whole (quota, spool) costs nothing and
/// counts nothing: the client sends it again.
async fn keep(shared: &Shared, token: &TokenInfo, decoded: Decoded, now_ms: i64) -> Result<Taken, ApiError> {
    let rejected = decoded.rejects.len();
    let mut outcome = Taken { rejected, rejections: list(&decoded.rejects), ..Taken::default() };
    let events: Vec<Event> = decoded.events.into_iter().map(|(_, event)| event).collect();
    if !events.is_empty() {
        append(shared, token, &events, &mut outcome, now_ms).await?;
    }
    account_for_rejects(shared, token, &decoded.rejects, now_ms).await;
    if events.is_empty() {
        return Err(ApiError::new(StatusCode::UNPROCESSABLE_ENTITY, "Validation failed")
            .field("events", format!("none of the {rejected} events can be taken; see data.rejections"))
            .with_data(&outcome));
    }
    Ok(outcome)
}

/// Charges the events and makes them durable; what is not kept is not charged.
async fn append(
    shared: &Shared,
    token: &TokenInfo,
    events: &[Event],
    outcome: &mut Taken,
    now_ms: i64,
) -> Result<(), ApiError> {
    let charge = charge(shared, token, events.len() as u64, now_ms)?;
    let appended = shared.spool.append(events.iter().map(item).collect()).await.map_err(|error| {
        if let Some(charge) = &charge {
            shared.quota.give_back(charge);
        }
        refused_append(&error)
    })?;
    let mut is_duplicate = vec![false; events.len()];
    for index in appended.duplicates {
        is_duplicate[index] = true;
    }
    for (event, _) in events.iter().zip(&is_duplicate).filter(|(_, duplicate)| !**duplicate) {
        shared.metrics.count_accepted(event);
        outcome.accepted += 1;
    }
    outcome.duplicates = events.len() - outcome.accepted;
    let count = |name, events: usize| {
        shared.metrics.ingest_events.with_label_values(&[PROTOCOL, name]).inc_by(events as u64);
    };
    count("accepted", outcome.accepted);
    count("duplicate", outcome.duplicates);
    Ok(())
}

fn item(event: &Event) -> Item {
    Item { key: event.key.0, tag: event.request_id.lookup_key(&event.project), payload: codec::encode(event) }
}

fn charge(shared: &Shared, token: &TokenInfo, events: u64, now_ms: i64) -> Result<Option<Charge>, ApiError> {
    shared.quota.take(token, events, now_ms).map_err(|exceeded| {
        let limit = exceeded.allowance.limit;
        let error = ApiError::rate_limited(exceeded.retry_after);
        if events > limit {
            return error
                .field("events", format!("{events} events never fit a limit of {limit}: send smaller batches"));
        }
        error
    })
}

/// Counts rejects and remembers those that name a request id, so that a lookup can say what became of them.
async fn account_for_rejects(shared: &Shared, token: &TokenInfo, rejects: &[Reject], now_ms: i64) {
    if rejects.is_empty() {
        return;
    }
    for reject in rejects {
        shared.metrics.ingest_rejected.with_label_values(&[reject.reason.as_str()]).inc();
    }
    shared.metrics.ingest_events.with_label_values(&[PROTOCOL, "rejected"]).inc_by(rejects.len() as u64);
    let remembered: Vec<Rejection> = rejects
        .iter()
        .filter_map(|reject| {
            let request_id = reject.request_id.as_ref()?.as_str().to_owned();
            let words: Vec<_> = reject.errors.iter().map(|(field, text)| format!("{field}: {text}")).collect();
            Some(Rejection {
                request_id,
                at_ms: now_ms,
                reason: reject.reason.as_str().to_owned(),
                message: words.join("; "),
            })
        })
        .take(LISTED_REJECTIONS)
        .collect();
    if remembered.is_empty() {
        return;
    }
    let (state, project) = (shared.state.clone(), token.project.clone());
    let written = tokio::task::spawn_blocking(move || state.remember_rejections(&project, &remembered, now_ms)).await;
    // The good events are durable and the client is told of the bad ones: only a later lookup of these knows less.
    match written {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::error!(%error, "rejections are not remembered; a lookup will not know of them"),
        Err(error) => tracing::error!(%error, "rejections are not remembered; a lookup will not know of them"),
    }
}

fn list(rejects: &[Reject]) -> Vec<Rejected> {
    let listed = rejects.iter().take(LISTED_REJECTIONS).map(|reject| {
        let mut errors: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for (field, message) in &reject.errors {
            errors.entry(field.clone()).or_default().push(message.clone());
        }
        Rejected { index: reject.index, errors }
    });
    listed.collect()
}

/// The format a content type names.
fn format(headers: &HeaderMap) -> Result<Format, ApiError> {
    let text = headers.get(header::CONTENT_TYPE).map(|value| String::from_utf8_lossy(value.as_bytes()));
    let essence = text.as_deref().unwrap_or_default().split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    match essence.as_str() {
        "application/json" => Ok(Format::Json),
        "application/x-ndjson" | "application/ndjson" | "application/jsonl" | "application/x-jsonlines" => {
            Ok(Format::Ndjson)
        }
        _ => Err(refused(&Refusal::UnsupportedMediaType(essence))),
    }
}

fn refused(refusal: &Refusal) -> ApiError {
    let status = match refusal {
        Refusal::Empty | Refusal::NotJson { .. } | Refusal::BadEncoding { .. } => StatusCode::BAD_REQUEST,
        Refusal::TooLarge { .. } | Refusal::TooMany { .. } | Refusal::Bomb(_) => StatusCode::PAYLOAD_TOO_LARGE,
        Refusal::UnsupportedMediaType(_) | Refusal::UnsupportedEncoding(_) => StatusCode::UNSUPPORTED_MEDIA_TYPE,
    };
    let (field, error) = match refusal {
        Refusal::UnsupportedMediaType(_) => ("Content-Type", "Unsupported media type"),
        Refusal::UnsupportedEncoding(_) => ("Content-Encoding", "Unsupported media type"),
        Refusal::BadEncoding { .. } => ("Content-Encoding", "Validation failed"),
        Refusal::TooLarge { .. } | Refusal::TooMany { .. } | Refusal::Bomb(_) => ("body", "Request body too large"),
        Refusal::Empty | Refusal::NotJson { .. } => ("body", "Validation failed"),
    };
    ApiError::new(status, error).field(field, refusal.to_string())
}

pub(super) fn refused_append(error: &AppendError) -> ApiError {
    let cause = error.to_string();
    ApiError::unavailable("Events cannot be taken at the moment; send them again later", SPOOL_RETRY_AFTER)
        .field("spool", cause.clone())
        .cause(cause)
}

fn until(reset_ms: i64, now_ms: i64) -> Duration {
    Duration::from_secs(((reset_ms - now_ms).max(1000) as u64).div_ceil(1000))
}
