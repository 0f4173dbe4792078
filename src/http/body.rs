//! Reading request bodies: within a size, within a time, within a budget of memory that all bodies share.

use std::{sync::Arc, time::Duration};

use axum::{
    body::Body,
    http::{HeaderMap, StatusCode, header},
};
use bytes::Bytes;
use http_body_util::BodyExt;
use serde::de::DeserializeOwned;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, TryAcquireError},
    time::timeout,
};

use super::{Shared, answer::ApiError};
use crate::{decode::Refusal, memory};

/// How much more of a refused body is read, and for how long, so that its sender can read the answer.
const READ_ON_BYTES: usize = 64 << 20;
const READ_ON_TIMEOUT: Duration = Duration::from_secs(10);

/// How long a client is asked to wait when other bodies fill the memory.
const ROOM_RETRY_AFTER: Duration = Duration::from_secs(2);

/// The unit of the budget, bytes.
const UNIT: usize = 1024;

/// A body's first buffer, bytes, unless the body is declared to be shorter.
const FIRST_BYTES: usize = 16 << 10;

/// Memory for bodies while they arrive, and until they are worked on. A body takes of it as it grows, whatever length it declares;
/// one that finds nothing left is refused, as waiting for others that are half here may take for ever.
#[derive(Clone, Debug)]
pub struct Budget(Arc<Semaphore>);

impl Budget {
    #[must_use]
    pub fn new(bytes: usize) -> Self {
        Self(Arc::new(Semaphore::new((bytes / UNIT).min(Semaphore::MAX_PERMITS))))
    }
}

/// A body that is here. Its share of the budget is free again when it is dropped.
#[derive(Debug, Default)]
pub struct Received {
    pub bytes: Bytes,
    _share: Option<OwnedSemaphorePermit>,
}

/// A small JSON body; an empty one is an empty object. `expected` shows what is taken.
///
/// # Errors
/// As [`read`], and 415 where it is sent as something else, 400 where it is not what is expected.
pub async fn json<T: DeserializeOwned>(
    shared: &Shared,
    headers: &HeaderMap,
    mut body: Body,
    limit: usize,
    expected: &str,
) -> Result<T, ApiError> {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let patience = Duration::from_secs(u64::from(shared.config.ingest.body_timeout_seconds));
    let received = read(headers, &mut body, limit, patience, &shared.receiving).await?;
    let bytes: &[u8] = if received.bytes.is_empty() { b"{}" } else { &received.bytes };
    let is_json = kind.split(';').next().unwrap_or_default().trim().eq_ignore_ascii_case("application/json");
    if !received.bytes.is_empty() && !is_json {
        return Err(ApiError::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "Unsupported media type")
            .field("Content-Type", "send application/json"));
    }
    serde_json::from_slice(bytes).map_err(|error| ApiError::invalid("body", format!("expected {expected}: {error}")))
}

/// The whole body, as sent.
///
/// # Errors
/// 413 past `limit` bytes (at once where the length is declared), 408 when it is not here within `patience`, 400 when it breaks off,
/// 503 when the budget is used up.
pub async fn read(
    headers: &HeaderMap,
    body: &mut Body,
    limit: usize,
    patience: Duration,
    budget: &Budget,
) -> Result<Received, ApiError> {
    let declared = headers
        .get(header::CONTENT_LENGTH)
        .and_then(|value| value.to_str().ok())
        .and_then(|text| text.parse::<usize>().ok());
    if declared.is_some_and(|length| length > limit) {
        return Err(too_large(limit));
    }
    let most = declared.unwrap_or(limit);
    let mut arriving = Arriving { budget, bytes: Vec::new(), share: None, most, limit };
    let outcome = timeout(patience, arriving.read(body)).await.unwrap_or_else(|_| {
        let message = format!("did not arrive within {} seconds: send smaller batches", patience.as_secs());
        Err(ApiError::new(StatusCode::REQUEST_TIMEOUT, "Request timeout").field("body", message))
    });
    match outcome {
        Ok(()) => Ok(Received { bytes: arriving.bytes.into(), _share: arriving.share }),
        Err(error) => {
            arriving.discard();
            Err(error)
        }
    }
}

/// A body of which a part is here.
struct Arriving<'a> {
    budget: &'a Budget,
    bytes: Vec<u8>,
    share: Option<OwnedSemaphorePermit>,
    /// The length it is expected to have at most.
    most: usize,
    limit: usize,
}

impl Arriving<'_> {
    /// Copies each part into one buffer: kept as they came, parts of a byte each would hold many times their length.
    async fn read(&mut self, body: &mut Body) -> Result<(), ApiError> {
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|error| {
                ApiError::new(StatusCode::BAD_REQUEST, "Validation failed")
                    .field("body", "broke off before its end")
                    .cause(error.to_string())
            })?;
            let Some(part) = frame.data_ref() else { continue };
            let length = self.bytes.len() + part.len();
            if length > self.limit {
                return Err(too_large(self.limit));
            }
            self.grow(length)?;
            self.bytes.extend_from_slice(part);
        }
        Ok(())
    }

    /// Makes the buffer large enough, after its growth was taken out of the budget.
    fn grow(&mut self, length: usize) -> Result<(), ApiError> {
        let held = self.bytes.capacity();
        if length <= held {
            return Ok(());
        }
        let wanted = (held * 2).max(FIRST_BYTES).min(self.most).max(length);
        let units = wanted.div_ceil(UNIT) - self.share.as_ref().map_or(0, OwnedSemaphorePermit::num_permits);
        let more = Arc::clone(&self.budget.0).try_acquire_many_owned(u32::try_from(units).unwrap_or(u32::MAX));
        let more = more.map_err(|error| match error {
            TryAcquireError::NoPermits => {
                ApiError::unavailable("Too many bodies at once; send this one again later", ROOM_RETRY_AFTER)
                    .field("body", "the memory for bodies that are arriving (ingest.max_in_flight) is used up")
            }
            TryAcquireError::Closed => ApiError::internal("taking memory for a body", &error),
        })?;
        match &mut self.share {
            Some(share) => share.merge(more),
            None => self.share = Some(more),
        }
        self.bytes.reserve_exact(wanted - self.bytes.len());
        Ok(())
    }

    /// Gives the memory back before the share of the budget.
    fn discard(self) {
        let is_large = self.bytes.capacity() > memory::LARGE;
        drop(self.bytes);
        if is_large {
            memory::give_back();
        }
        drop(self.share);
    }
}

/// Hands an answer on, after the rest of a refused body was read: see `read_on`. A body that did not come in time is not waited for.
///
/// # Errors
/// Those of the answer.
pub async fn answered<T>(outcome: Result<T, ApiError>, headers: &HeaderMap, body: Body) -> Result<T, ApiError> {
    if outcome.as_ref().is_err_and(|error| error.status != StatusCode::REQUEST_TIMEOUT) {
        read_on(headers, body).await;
    }
    outcome
}

/// Reads on, within bounds, what is left of a refused body: a client that is still sending when the connection is closed
/// sees a reset and not the answer. One that asked first (`Expect: 100-continue`) has not begun to send.
async fn read_on(headers: &HeaderMap, mut body: Body) {
    if headers.contains_key(header::EXPECT) {
        return;
    }
    let mut left = READ_ON_BYTES;
    let reading = async {
        while let Some(Ok(frame)) = body.frame().await {
            left = left.saturating_sub(frame.data_ref().map_or(0, Bytes::len));
            if left == 0 {
                break;
            }
        }
    };
    // The bound: whoever needs longer does without the answer.
    let _ = timeout(READ_ON_TIMEOUT, reading).await;
}

fn too_large(limit: usize) -> ApiError {
    ApiError::new(StatusCode::PAYLOAD_TOO_LARGE, "Request body too large")
        .field("body", Refusal::TooLarge { limit, what: "as sent" }.to_string())
}

#[cfg(test)]
mod tests {
    use std::{
        convert::Infallible,
        pin::Pin,
        task::{Context, Poll},
    };

    use hyper::body::Frame;
    use tokio::sync::mpsc;

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(60);
    const LIMIT: usize = 1 << 20;

    /// A body whose parts come out of a channel.
    struct Slow(mpsc::UnboundedReceiver<Bytes>);

    impl hyper::body::Body for Slow {
        type Data = Bytes;
        type Error = Infallible;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            context: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
            self.0.poll_recv(context).map(|part| part.map(|bytes| Ok(Frame::data(bytes))))
        }
    }

    /// A body of which so many bytes arrive, and the end where the sender is dropped.
    fn slow(bytes: usize) -> (mpsc::UnboundedSender<Bytes>, Body) {
        let (sender, parts) = mpsc::unbounded_channel();
        for part in vec![b' '; bytes].chunks(1000) {
            sender.send(Bytes::copy_from_slice(part)).unwrap();
        }
        (sender, Body::new(Slow(parts)))
    }

    async fn whole(bytes: usize, budget: &Budget) -> Result<Received, ApiError> {
        let (end, mut body) = slow(bytes);
        drop(end);
        read(&HeaderMap::new(), &mut body, LIMIT, PATIENCE, budget).await
    }

    #[tokio::test]
    async fn bodies_half_here_take_of_the_budget_and_the_one_too_many_is_told_to_come_again() {
        let budget = Budget::new(600 << 10);
        let (_end, mut body) = slow(400 << 10);
        let headers = HeaderMap::new();
        let mut half = Box::pin(read(&headers, &mut body, LIMIT, PATIENCE, &budget));
        assert!(timeout(Duration::from_millis(10), &mut half).await.is_err(), "its end is not here");
        assert!(budget.0.available_permits() <= 200, "{}", budget.0.available_permits());
        let error = whole(300 << 10, &budget).await.unwrap_err();
        assert_eq!(error.status, StatusCode::SERVICE_UNAVAILABLE);
        let small = whole(1000, &budget).await.expect("what fits is taken");
        drop(half);
        let large = whole(500 << 10, &budget).await.expect("a body that is given up gives its share back");
        assert!(whole(300 << 10, &budget).await.is_err(), "a body holds its share as long as it is held");
        drop((small, large));
        assert_eq!(budget.0.available_permits(), 600);
    }

    #[tokio::test]
    async fn a_declared_length_costs_nothing_before_the_bytes_are_here() {
        let budget = Budget::new(600 << 10);
        let headers = [(header::CONTENT_LENGTH, (500 << 10).into())].into_iter().collect();
        let (_end, mut body) = slow(1);
        let mut half = Box::pin(read(&headers, &mut body, LIMIT, PATIENCE, &budget));
        assert!(timeout(Duration::from_millis(10), &mut half).await.is_err());
        assert_eq!(budget.0.available_permits(), 600 - FIRST_BYTES / UNIT);
    }

    #[tokio::test]
    async fn a_body_is_here_byte_for_byte_or_refused_past_the_limit() {
        let budget = Budget::new(8 << 20);
        for bytes in [0, 1, FIRST_BYTES, FIRST_BYTES + 1, LIMIT] {
            assert_eq!(whole(bytes, &budget).await.unwrap().bytes.len(), bytes);
        }
        let error = whole(LIMIT + 1, &budget).await.unwrap_err();
        assert_eq!(error.status, StatusCode::PAYLOAD_TOO_LARGE);
        assert_eq!(budget.0.available_permits(), 8 << 10);
    }
}
