//! Reading request bodies: within a size, within a time.

use std::time::Duration;

use axum::{
    body::Body,
    http::{HeaderMap, StatusCode, header},
};
use bytes::Bytes;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use tokio::time::timeout;

use super::answer::ApiError;
use crate::decode::Refusal;

/// How much more of a refused body is read, and for how long, so that its sender can read the answer.
const READ_ON_BYTES: usize = 64 << 20;
const READ_ON_TIMEOUT: Duration = Duration::from_secs(10);

/// The whole body, as sent.
///
/// # Errors
/// 413 past `limit` bytes (at once where the length is declared), 408 when it is not here within `patience`, 400 when it breaks off.
pub async fn read(headers: &HeaderMap, body: &mut Body, limit: usize, patience: Duration) -> Result<Bytes, ApiError> {
    let declared = headers
        .get(header::CONTENT_LENGTH)
        .and_then(|value| value.to_str().ok())
        .and_then(|text| text.parse::<usize>().ok());
    if declared.is_some_and(|length| length > limit) {
        return Err(too_large(limit));
    }
    let collected = timeout(patience, Limited::new(body, limit).collect())
        .await
        .map_err(|_| {
            let message = format!("did not arrive within {} seconds: send smaller batches", patience.as_secs());
            ApiError::new(StatusCode::REQUEST_TIMEOUT, "Request timeout").field("body", message)
        })?
        .map_err(|error| {
            if error.downcast_ref::<LengthLimitError>().is_some() {
                return too_large(limit);
            }
            ApiError::new(StatusCode::BAD_REQUEST, "Validation failed")
                .field("body", "broke off before its end")
                .cause(error.to_string())
        })?;
    Ok(collected.to_bytes())
}

/// Reads on, within bounds, what is left of a refused body: a client that is still sending when the connection is closed
/// sees a reset and not the answer. One that asked first (`Expect: 100-continue`) has not begun to send.
pub async fn read_on(headers: &HeaderMap, mut body: Body) {
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
