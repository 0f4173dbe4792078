//! A body that has arrived becomes durable events: decoded on a thread, kept chunk by chunk, charged as a whole.

use std::{ops::ControlFlow, sync::Arc};

use axum::http::StatusCode;
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tracing::Instrument;

use super::{
    PROTOCOL, Taken, refused, refused_append, rejects,
    workbench::{Counters, Workbench},
};
use crate::{
    decode::{self, Format, Memo, Reject},
    erase::arrivals::Arrival,
    event::{codec, request_id, view::EventView},
    http::{Shared, answer::ApiError, body::Received, quota::Charge},
    memory,
    metrics::{EventCounters, Metrics},
    spool::{AppendError, Appended, Batch},
    state::TokenInfo,
    telemetry::SPANS,
};

/// Events of a body are made durable in chunks of about this much memory, bytes.
const CHUNK_BYTES: usize = 4 << 20;

const DAY_MS: i64 = 86_400_000;

/// A body that has arrived.
pub(super) struct Sent {
    pub(super) format: Format,
    pub(super) encoding: Option<String>,
    pub(super) body: Received,
    pub(super) received_at_ms: i64,
}

/// Makes the good events durable and accounts for the bad ones. A batch that is refused as a whole (quota, spool) costs nothing and
/// counts nothing: the client sends it again. The arrival ends when everything is in the spool that will be.
pub(super) async fn take(shared: Shared, token: TokenInfo, sent: Sent, arrival: Arrival) -> Result<Taken, ApiError> {
    let _memory = reserve(&shared, &sent).await?;
    let now_ms = sent.received_at_ms;
    let (sender, chunks) = mpsc::channel(1);
    let decoding = Decoding { shared: Arc::clone(&shared), token: token.clone(), sent, charge: None, chunks: sender };
    let room = shared.workbenches.room().await;
    let span = tracing::info_span!(target: SPANS, "decode", http.request.body.size = decoding.sent.body.bytes.len());
    let decoding = tokio::task::spawn_blocking(move || {
        let _room = room;
        span.in_scope(|| decoding.run())
    });
    let mut taken = Taken::default();
    let kept = keep(&shared, chunks, &mut taken).await;
    let (decoded, charge) = decoding.await.map_err(|error| ApiError::internal("decoding a body", &error))?;
    if let Some(charge) = charge {
        // What was charged and is not kept is given back.
        shared.quota.give_back(&charge, charge.events() - (taken.accepted + taken.duplicates) as u64);
    }
    if let Err(error) = kept {
        if error.leaves_doubt() {
            arrival.stays();
        }
        return Err(refused_append(&error));
    }
    drop(arrival);
    let rejected = decoded?;
    rejects::account_for(&shared, &token, &rejected, now_ms).await;
    taken.rejected = rejected.len();
    taken.rejections = rejects::list(&rejected);
    if taken.accepted + taken.duplicates == 0 {
        return Err(ApiError::new(StatusCode::UNPROCESSABLE_ENTITY, "Validation failed")
            .field("events", format!("none of the {} events can be taken; see data.rejections", taken.rejected))
            .with_data(&taken));
    }
    Ok(taken)
}

/// Holds as much of the memory budget as the body may need. Asked for after the body is here, so that a slow sender holds
/// nothing others wait for.
pub(super) async fn reserve(shared: &Shared, sent: &Sent) -> Result<OwnedSemaphorePermit, ApiError> {
    let bytes = decode::most_bytes(sent.encoding.as_deref(), sent.body.bytes.len(), &shared.limits);
    let budget = shared.config.ingest.max_in_flight.as_usize() / 1024;
    let permits = u32::try_from((bytes / 1024 + 1).min(budget)).unwrap_or(u32::MAX);
    Arc::clone(&shared.in_flight)
        .acquire_many_owned(permits)
        .await
        .map_err(|error| ApiError::internal("waiting for memory", &error))
}

/// Makes each chunk durable and counts it, while the next one is decoded.
async fn keep(shared: &Shared, mut chunks: mpsc::Receiver<Chunk>, taken: &mut Taken) -> Result<(), AppendError> {
    while let Some(Chunk { counters, items, .. }) = chunks.recv().await {
        let span = tracing::info_span!(
            target: SPANS,
            "append to spool",
            otel.kind = "producer",
            messaging.batch.message_count = items.len()
        );
        let append = append(shared, items).instrument(span);
        let appended = append.await?;
        let duplicates = appended.duplicates.len();
        let accepted = counters.ends.len() - duplicates;
        counters.count_all_but(&appended.duplicates);
        for (outcome, events) in [("accepted", accepted), ("duplicate", duplicates)] {
            shared.metrics.ingest_events.with_label_values(&[PROTOCOL, outcome]).inc_by(events as u64);
        }
        taken.accepted += accepted;
        taken.duplicates += duplicates;
    }
    Ok(())
}

/// Returns when the items are durable; their delivery will name the current span as where they came from.
async fn append(shared: &Shared, items: Batch) -> Result<Appended, AppendError> {
    let count = items.len();
    let appended = shared.spool.append_batch(items).await?;
    if appended.duplicates.len() < count {
        shared.origins.note(appended.end.0);
    }
    Ok(appended)
}

/// Events of a body on their way into the spool, and the items they become.
#[derive(Default)]
struct Chunk {
    items: Batch,
    counters: ChunkCounters,
}

/// What the items of a chunk count as.
#[derive(Default)]
struct ChunkCounters {
    counters: Vec<Arc<EventCounters>>,
    /// Where those of each item end.
    ends: Vec<usize>,
}

impl ChunkCounters {
    /// Counts the items but those of these indexes, which are in order.
    fn count_all_but(&self, duplicates: &[usize]) {
        let mut duplicates = duplicates.iter().peekable();
        let mut start = 0;
        for (index, &end) in self.ends.iter().enumerate() {
            if duplicates.next_if(|duplicate| **duplicate == index).is_none() {
                self.counters[start..end].iter().for_each(|counters| counters.inc());
            }
            start = end;
        }
    }
}

impl Chunk {
    /// For the events of so many bytes of body.
    fn for_body(bytes: usize) -> Self {
        Self { items: Batch::with_capacity(bytes.min(CHUNK_BYTES)), counters: ChunkCounters::default() }
    }

    fn push(&mut self, event: &EventView<'_>, counters: &mut Counters, metrics: &Metrics) {
        let tag = request_id::lookup_key(event.request_id, event.project);
        self.items.push(event.key.0, tag, |bytes| codec::encode_into(*event, bytes));
        counters.push(event, metrics, &mut self.counters.counters);
        self.counters.ends.push(self.counters.counters.len());
    }
}

/// A body being decoded on a thread of its own, and handed on chunk by chunk.
struct Decoding {
    shared: Shared,
    token: TokenInfo,
    sent: Sent,
    charge: Option<Charge>,
    chunks: mpsc::Sender<Chunk>,
}

impl Decoding {
    /// Decodes the body; also says what the token was charged, whatever became of it.
    fn run(mut self) -> (Result<Vec<Reject>, ApiError>, Option<Charge>) {
        let mut bench = self.shared.workbenches.take();
        let rejects = self.decode(&mut bench);
        self.shared.workbenches.give_back(bench);
        (rejects, self.charge)
    }

    fn decode(&mut self, Workbench { memo, counters }: &mut Workbench) -> Result<Vec<Reject>, ApiError> {
        let body = decode::decompress(self.sent.encoding.as_deref(), &self.sent.body.bytes, &self.shared.limits)
            .map_err(|refusal| refused(&refusal))?;
        let mut chunk = Chunk::for_body(body.len());
        let mut charged = Ok(false);
        let (shared, token, sent) = (Arc::clone(&self.shared), self.token.clone(), &self.sent);
        let (charge, chunks) = (&mut self.charge, &self.chunks);
        let context = context(&shared, &token, sent);
        let rejects = decode::each_event(sent.format, &body, context, memo, |_, event| {
            chunk.push(&event, counters, &shared.metrics);
            if chunk.items.bytes() < CHUNK_BYTES {
                return ControlFlow::Continue(());
            }
            if matches!(charged, Ok(false)) {
                charged = charge_whole(&shared, &token, sent, &body).map(|made| {
                    *charge = made;
                    true
                });
            }
            let goes_on = charged.is_ok() && chunks.blocking_send(std::mem::take(&mut chunk)).is_ok();
            if goes_on { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        })
        .map_err(|refusal| refused(&refusal))?;
        if !charged? {
            *charge = charge_for(&shared, &token, chunk.items.len() as u64, sent.received_at_ms)?;
        }
        if !chunk.items.is_empty() {
            // Not taken: appending failed, which is what the client will be told.
            let _ = chunks.blocking_send(chunk);
        }
        if body.len() > memory::LARGE {
            drop(body);
            self.sent.body = Received::default();
            memory::give_back();
        }
        Ok(rejects)
    }
}

/// Charges the token for all good events of a body of several chunks, before the first of them is kept: a body is
/// taken as a whole or not at all. Tokens without a limit do not pay for the counting.
fn charge_whole(shared: &Shared, token: &TokenInfo, sent: &Sent, body: &[u8]) -> Result<Option<Charge>, ApiError> {
    if token.limit.is_none() {
        return Ok(None);
    }
    let mut events = 0;
    decode::each_event(sent.format, body, context(shared, token, sent), &mut Memo::default(), |_, _| {
        events += 1;
        ControlFlow::Continue(())
    })
    .map_err(|refusal| refused(&refusal))?;
    charge_for(shared, token, events, sent.received_at_ms)
}

fn charge_for(shared: &Shared, token: &TokenInfo, events: u64, now_ms: i64) -> Result<Option<Charge>, ApiError> {
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

pub(super) fn context<'a>(shared: &'a Shared, token: &'a TokenInfo, sent: &Sent) -> decode::Context<'a> {
    decode::Context {
        project: &token.project,
        received_at_ms: sent.received_at_ms,
        oldest_ms: sent.received_at_ms - i64::from(shared.config.retention_days) * DAY_MS,
        catalog: shared.catalog,
        scrubber: &shared.scrubber,
        limits: &shared.limits,
    }
}
