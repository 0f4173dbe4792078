//! `POST /api/v1/events`: bytes in, durable events out.

use std::{collections::BTreeMap, ops::ControlFlow, sync::Arc, time::Duration};

use axum::{
    Extension,
    body::Body,
    extract::State as AxumState,
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde::Serialize;
use tokio::sync::mpsc;
use utoipa::ToSchema;

use super::{
    Shared,
    answer::{ApiError, Data},
    body,
};
use crate::{
    decode::{self, Format, Refusal, Reject},
    event::{Event, codec},
    memory,
    spool::{AppendError, Item},
    state::{Rejection, TokenInfo},
};

/// Rejections listed in an answer, and remembered of one request; all are counted.
const LISTED_REJECTIONS: usize = 100;

/// Events of a body are made durable in chunks of about this much memory, bytes.
const CHUNK_BYTES: usize = 4 << 20;

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
    request_body(content = serde_json::Value, description = "one event, an array of events, or one event a line",
        content_type = "application/json"),
    responses(
        (status = 202, description = "taken and durable", body = Taken),
        (status = 400, description = "not JSON"), (status = 401, description = "no good token"),
        (status = 413, description = "too large"), (status = 415, description = "content type or encoding not taken"),
        (status = 422, description = "every event was rejected"), (status = 429, description = "quota used up"),
        (status = 503, description = "the spool is full"))
)]
pub async fn events(
    AxumState(shared): AxumState<Shared>,
    Extension(token): Extension<TokenInfo>,
    headers: HeaderMap,
    mut body: Body,
) -> Response {
    let timer = shared.metrics.ingest_duration.start_timer();
    let response = match take(&shared, &token, &headers, &mut body).await {
        Ok(taken) => Data(StatusCode::ACCEPTED, taken).into_response(),
        Err(error) => {
            body::read_on(&headers, body).await;
            error.into_response()
        }
    };
    timer.observe_duration();
    shared.metrics.ingest_requests.with_label_values(&[PROTOCOL, response.status().as_str()]).inc();
    response
}

async fn take(shared: &Shared, token: &TokenInfo, headers: &HeaderMap, body: &mut Body) -> Result<Taken, ApiError> {
    let format = format(headers)?;
    if let Some(refusal) = shared.spool.refusal() {
        return Err(refused_append(&refusal));
    }
    let now_ms = shared.clock.now_ms();
    if let Some(allowance) = shared.quota.allowance(token, now_ms)
        && allowance.remaining == 0
    {
        return Err(ApiError::rate_limited(until(allowance.reset_ms, now_ms)));
    }
    let (bytes, _permit) = body::read(shared, headers, body).await?;
    shared.metrics.ingest_bytes.inc_by(bytes.len() as u64);
    let encoding =
        headers.get(header::CONTENT_ENCODING).map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned());
    let (sender, chunks) = mpsc::channel(1);
    let decoding = Decoding { shared: Arc::clone(shared), token: token.clone(), now_ms, format, chunks: sender };
    let decoding = tokio::task::spawn_blocking(move || decoding.run(encoding.as_deref(), bytes));
    let kept = keep(shared, chunks).await;
    let decoded = decoding.await.map_err(|error| ApiError::internal("decoding a body", &error))?;
    let kept = kept?;
    let rejects = decoded?;
    account_for_rejects(shared, token, &rejects, now_ms).await?;
    let rejected = rejects.len();
    let answer = Taken { rejected, rejections: list(&rejects), ..kept };
    if answer.accepted + answer.duplicates == 0 {
        return Err(ApiError::new(StatusCode::UNPROCESSABLE_ENTITY, "Validation failed")
            .field("events", format!("none of the {rejected} events can be taken; see data.rejections"))
            .with_data(&answer));
    }
    Ok(answer)
}

/// Makes the events of each chunk durable, one chunk after the other, while the next one is decoded.
async fn keep(shared: &Shared, mut chunks: mpsc::Receiver<Chunk>) -> Result<Taken, ApiError> {
    let mut taken = Taken::default();
    while let Some(Chunk { events, items, .. }) = chunks.recv().await {
        let appended = shared.spool.append(items).await.map_err(|error| refused_append(&error))?;
        let mut is_duplicate = vec![false; events.len()];
        for index in appended.duplicates {
            is_duplicate[index] = true;
        }
        let mut accepted = 0;
        for (event, _) in events.iter().zip(&is_duplicate).filter(|(_, duplicate)| !**duplicate) {
            shared.metrics.count_accepted(event);
            accepted += 1;
        }
        let duplicates = events.len() - accepted;
        for (outcome, events) in [("accepted", accepted), ("duplicate", duplicates)] {
            shared.metrics.ingest_events.with_label_values(&[PROTOCOL, outcome]).inc_by(events as u64);
        }
        taken.accepted += accepted;
        taken.duplicates += duplicates;
    }
    Ok(taken)
}

/// Events of a body on their way into the spool, and the items they become.
#[derive(Default)]
struct Chunk {
    events: Vec<Event>,
    items: Vec<Item>,
    /// Memory of both, bytes, about.
    bytes: usize,
}

/// A body being decoded on a thread of its own, and handed on chunk by chunk.
struct Decoding {
    shared: Shared,
    token: TokenInfo,
    now_ms: i64,
    format: Format,
    chunks: mpsc::Sender<Chunk>,
}

impl Decoding {
    fn run(self, encoding: Option<&str>, bytes: bytes::Bytes) -> Result<Vec<Reject>, ApiError> {
        let body = decode::decompress(encoding, &bytes, &self.shared.limits).map_err(|refusal| refused(&refusal))?;
        let mut chunk = Chunk::default();
        let mut charged = Ok(false);
        let rejects = decode::each_event(self.format, &body, self.context(), |_, event| {
            let item = item(&event);
            chunk.bytes += event.memory() + item.payload.len();
            chunk.items.push(item);
            chunk.events.push(event);
            if chunk.bytes < CHUNK_BYTES {
                return ControlFlow::Continue(());
            }
            if matches!(charged, Ok(false)) {
                charged = self.charge_whole(&body).map(|()| true);
            }
            let goes_on = charged.is_ok() && self.chunks.blocking_send(std::mem::take(&mut chunk)).is_ok();
            if goes_on { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        })
        .map_err(|refusal| refused(&refusal))?;
        if !charged? {
            charge(&self.shared, &self.token, chunk.events.len() as u64, self.now_ms)?;
        }
        if !chunk.events.is_empty() {
            // Not taken: appending failed, which is what the client will be told.
            let _ = self.chunks.blocking_send(chunk);
        }
        if body.len() > memory::LARGE {
            drop(body);
            drop(bytes);
            memory::give_back();
        }
        Ok(rejects)
    }

    /// Charges the token for all good events of a body of several chunks, before the first of them is kept: a body is
    /// taken as a whole or not at all. Tokens without a limit do not pay for the counting.
    fn charge_whole(&self, body: &[u8]) -> Result<(), ApiError> {
        if self.token.limit.is_none() {
            return Ok(());
        }
        let mut events = 0;
        decode::each_event(self.format, body, self.context(), |_, _| {
            events += 1;
            ControlFlow::Continue(())
        })
        .map_err(|refusal| refused(&refusal))?;
        charge(&self.shared, &self.token, events, self.now_ms)
    }

    fn context(&self) -> decode::Context<'_> {
        decode::Context {
            project: &self.token.project,
            received_at_ms: self.now_ms,
            oldest_ms: self.now_ms - i64::from(self.shared.config.retention_days) * DAY_MS,
            catalog: self.shared.catalog,
            scrubber: &self.shared.scrubber,
            limits: &self.shared.limits,
        }
    }
}

fn item(event: &Event) -> Item {
    Item { key: event.key.0, tag: event.request_id.lookup_key(&event.project), payload: codec::encode(event) }
}

fn charge(shared: &Shared, token: &TokenInfo, events: u64, now_ms: i64) -> Result<(), ApiError> {
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
async fn account_for_rejects(
    shared: &Shared,
    token: &TokenInfo,
    rejects: &[Reject],
    now_ms: i64,
) -> Result<(), ApiError> {
    if rejects.is_empty() {
        return Ok(());
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
        return Ok(());
    }
    let (state, project) = (shared.state.clone(), token.project.clone());
    tokio::task::spawn_blocking(move || state.remember_rejections(&project, &remembered, now_ms))
        .await
        .map_err(|error| ApiError::internal("remembering rejections", &error))?
        .map_err(|error| ApiError::internal("remembering rejections", &error))
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

pub(super) fn refused(refusal: &Refusal) -> ApiError {
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
