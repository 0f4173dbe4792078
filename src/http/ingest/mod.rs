//! `POST /api/v1/events`: bytes in, durable events out. Request totals come the same way, in `totals`.

mod rejects;
mod schema;
mod take;
pub mod totals;
mod workbench;

use std::{collections::BTreeMap, time::Duration};

use axum::{
    Extension,
    body::Body,
    extract::{Request, State as AxumState},
    http::{HeaderMap, Method, StatusCode, header},
    middleware::Next,
    response::Response,
};
use serde::Serialize;
use tracing::Instrument;
use utoipa::ToSchema;

use super::{
    Shared,
    answer::{ApiError, Data},
    body,
};
use crate::{
    decode::{Format, Refusal},
    erase::arrivals::Arrival,
    spool::AppendError,
    state::TokenInfo,
};
use take::{Sent, take};
pub use workbench::Workbenches;

/// Where events are shipped to.
pub const PATH: &str = "/api/v1/events";

/// How long a client is asked to wait when the spool takes nothing.
const SPOOL_RETRY_AFTER: Duration = Duration::from_secs(10);

/// The value of the `protocol` label for events.
const PROTOCOL: &str = "json";

/// The value of the `protocol` label for request totals.
const TOTALS_PROTOCOL: &str = "totals";

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
        content(
            (schema::Shipment = "application/json", examples(
                ("event" = (value = json!(schema::example()))),
                ("many events" = (value = json!([schema::example()]))))),
            (String = "application/x-ndjson", example = json!(schema::ndjson_example()))),
        description = "one event, an array of events, or one event a line, at most 16 MiB (64 MiB decompressed) and 50 000 \
            events; `Content-Encoding` gzip, zstd or deflate"),
    responses(
        (status = 202, description = "taken and durable", body = Taken),
        (status = 400, description = "not JSON; the line is named"),
        (status = 408, description = "the body did not arrive in time"), (status = 413, description = "too large"), (status = 415, description = "content type or encoding not taken"),
        (status = 422, description = "every event was rejected"), (status = 429, description = "quota used up"),
        (status = 503, description = "the spool is full or failed, or too many bodies arrive at once; send again after Retry-After"))
)]
pub async fn events(
    AxumState(shared): AxumState<Shared>,
    Extension(token): Extension<TokenInfo>,
    headers: HeaderMap,
    mut body: Body,
) -> Result<Data<Taken>, ApiError> {
    let outcome = ship(shared, token, &headers, &mut body).await;
    body::answered(outcome, &headers, body).await
}

async fn ship(shared: Shared, token: TokenInfo, headers: &HeaderMap, body: &mut Body) -> Result<Data<Taken>, ApiError> {
    let format = format(headers)?;
    if let Some(refusal) = shared.spool.refusal() {
        return Err(refused_append(&refusal));
    }
    let now_ms = shared.clock.now_ms();
    if let Some(allowance) = shared.quota.allowance(&token, now_ms)
        && allowance.remaining == 0
    {
        return Err(ApiError::rate_limited(until(allowance.reset_ms, now_ms)));
    }
    let (sent, arrival) = arrived(&shared, format, headers, body).await?;
    // A task of its own: what is kept is counted, and memory is held while it is used, also when the client has gone.
    let taken = tokio::spawn(take(shared, token, sent, arrival).in_current_span())
        .await
        .map_err(|error| ApiError::internal("taking events", &error))??;
    Ok(Data(StatusCode::ACCEPTED, taken))
}

/// Reads a body to its end; it is on its way into the spool then.
async fn arrived(
    shared: &Shared,
    format: Format,
    headers: &HeaderMap,
    body: &mut Body,
) -> Result<(Sent, Arrival), ApiError> {
    let patience = Duration::from_secs(u64::from(shared.config.ingest.body_timeout_seconds));
    let body = body::read(headers, body, shared.limits.body, patience, &shared.receiving).await?;
    shared.metrics.ingest_bytes.inc_by(body.bytes.len() as u64);
    let encoding = headers.get(header::CONTENT_ENCODING).map(|value| String::from_utf8_lossy(value.as_bytes()).into());
    // Read now: a body may take a minute to arrive, and its quota is that of its arrival.
    let arrival = shared.eraser.arrivals.enter(&shared.clock);
    Ok((Sent { format, encoding, body, received_at_ms: arrival.received_at_ms() }, arrival))
}

/// Counts and times requests that ship events or totals, whatever became of them.
pub async fn count(AxumState(shared): AxumState<Shared>, request: Request, next: Next) -> Response {
    let protocol = match request.uri().path() {
        _ if request.method() != Method::POST => None,
        PATH => Some(PROTOCOL),
        totals::PATH => Some(TOTALS_PROTOCOL),
        _ => None,
    };
    let Some(protocol) = protocol else { return next.run(request).await };
    let timer = shared.metrics.ingest_duration.start_timer();
    let response = next.run(request).await;
    timer.observe_duration();
    shared.metrics.ingest_requests.with_label_values(&[protocol, response.status().as_str()]).inc();
    response
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
    refused_append_of("Events cannot be taken at the moment; send them again later", error)
}

fn refused_append_of(message: &'static str, error: &AppendError) -> ApiError {
    let cause = error.to_string();
    ApiError::unavailable(message, SPOOL_RETRY_AFTER).field("spool", cause.clone()).cause(cause)
}

fn until(reset_ms: i64, now_ms: i64) -> Duration {
    Duration::from_secs(((reset_ms - now_ms).max(1000) as u64).div_ceil(1000))
}
