//! Reading a request's body, within limits of size, time and memory.

use std::{sync::Arc, time::Duration};

use axum::{
    body::Body,
    http::{HeaderMap, StatusCode, header},
};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use tokio::{sync::OwnedSemaphorePermit, time::timeout};

use super::{Shared, answer::ApiError, ingest::refused};
use crate::decode::Refusal;

/// How long a client may take to send a body.
const BODY_TIMEOUT: Duration = Duration::from_secs(60);

/// How much more of a refused body is read, and for how long, so that its sender can read the answer.
const READ_ON_BYTES: usize = 64 << 20;
const READ_ON_TIMEOUT: Duration = Duration::from_secs(10);

/// Reads a body within its limit, holding as many bytes of the memory budget as it may need.
pub(super) async fn read(
    shared: &Shared,
    headers: &HeaderMap,
    body: &mut Body,
) -> Result<(bytes::Bytes, OwnedSemaphorePermit), ApiError> {
    let limit = shared.limits.body;
    let declared = headers
        .get(header::CONTENT_LENGTH)
        .and_then(|value| value.to_str().ok())
        .and_then(|text| text.parse::<usize>().ok());
    let too_large = || refused(&Refusal::TooLarge { limit, what: "as sent" });
    if declared.is_some_and(|length| length > limit) {
        return Err(too_large());
    }
    let collected = timeout(BODY_TIMEOUT, Limited::new(body, limit).collect())
        .await
        .map_err(|_| ApiError::new(StatusCode::REQUEST_TIMEOUT, "The body did not arrive within 60 seconds"))?
        .map_err(|error| {
            if error.downcast_ref::<LengthLimitError>().is_some() {
                return too_large();
            }
            ApiError::new(StatusCode::BAD_REQUEST, "The body broke off").cause(error.to_string())
        })?;
    let bytes = collected.to_bytes();
    // Taken after the body is here, so that a slow sender holds nothing others wait for.
    let weight = if headers.contains_key(header::CONTENT_ENCODING) { shared.limits.decompressed } else { bytes.len() };
    let permits = u32::try_from(weight / 1024 + 1).unwrap_or(u32::MAX);
    let permit = Arc::clone(&shared.in_flight)
        .acquire_many_owned(permits)
        .await
        .map_err(|error| ApiError::internal("waiting for memory", &error))?;
    Ok((bytes, permit))
}

/// Reads on, within bounds, what is left of a refused body: a client that is still sending when the connection is closed
/// sees a reset and not the answer. One that asked first (`Expect: 100-continue`) has not begun to send.
pub(super) async fn read_on(headers: &HeaderMap, mut body: Body) {
    if headers.contains_key(header::EXPECT) {
        return;
    }
    let mut left = READ_ON_BYTES;
    let reading = async {
        while let Some(Ok(frame)) = body.frame().await {
            left = left.saturating_sub(frame.data_ref().map_or(0, bytes::Bytes::len));
            if left == 0 {
                break;
            }
        }
    };
    // The bound: whoever needs longer does without the answer.
    let _ = timeout(READ_ON_TIMEOUT, reading).await;
}
