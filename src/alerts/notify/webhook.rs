//! A webhook: the [`Notification`] as JSON, with a signature over it and the time.
//!
//! `X-Errata-Signature: sha256=<hex>` is the HMAC-SHA256, by the receiver's secret, of `X-Errata-Timestamp` (Unix seconds), a full stop and
//! the body as sent. Whoever checks it should refuse times that are more than some minutes off, and know a repetition by `id`.

use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use ring::hmac;

use super::{Notification, SendError, http};
use crate::alerts::receiver::{Network, SecretText};

const SIGNATURE: HeaderName = HeaderName::from_static("x-errata-signature");
const TIMESTAMP: HeaderName = HeaderName::from_static("x-errata-timestamp");

/// The value of `X-Errata-Signature`.
#[must_use]
pub fn signature(secret: &str, timestamp: &str, body: &[u8]) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
    let mut context = hmac::Context::with_key(&key);
    context.update(timestamp.as_bytes());
    context.update(b".");
    context.update(body);
    let hex = context.sign().as_ref().iter().fold(String::new(), |mut hex, byte| {
        use std::fmt::Write as _;
        let _ = write!(hex, "{byte:02x}"); // writing to a String cannot fail
        hex
    });
    format!("sha256={hex}")
}

pub(super) async fn send(
    url: &SecretText,
    secret: Option<&SecretText>,
    allow: &[Network],
    notification: &Notification,
    now_ms: i64,
) -> Result<(), SendError> {
    let body = serde_json::to_vec(notification).map_err(|error| SendError::Unmade(error.to_string()))?;
    let mut headers = HeaderMap::new();
    let timestamp = now_ms.div_euclid(1000).to_string();
    if let Some(secret) = secret {
        let signature = signature(&secret.read().map_err(SendError::Unreadable)?, &timestamp, &body);
        headers.insert(SIGNATURE, value(&signature)?);
    }
    headers.insert(TIMESTAMP, value(&timestamp)?);
    http::post(http::address(url)?, allow, headers, body).await
}

fn value(text: &str) -> Result<HeaderValue, SendError> {
    HeaderValue::from_str(text).map_err(|error| SendError::Unmade(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// By `printf '1700000000.{"a":1}' | openssl dgst -sha256 -hmac secret`.
    #[test]
    fn the_signature_is_what_openssl_says() {
        let signature = signature("secret", "1700000000", br#"{"a":1}"#);
        assert_eq!(signature, "sha256=49f24e537407743fa4a0242bb63b94b9a47ee99cbbe071ccd8a22550ae411686");
    }
}
