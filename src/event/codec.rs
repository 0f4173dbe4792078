//! Events as bytes in the spool: one version byte, then the fields in the order of [`Event`], in postcard's encoding.
//!
//! An event is encoded once, before the spool, and decoded once, by delivery. A change of [`Event`]'s fields needs a new
//! version here and a decoder for the old one, so that a spool written by an older collector stays readable.

use serde::Deserialize;

use super::{Event, EventKey, EventRef, view::EventView};

/// The version this build writes.
pub const VERSION: u8 = 1;

/// Why a payload could not be read.
#[derive(Debug, thiserror::Error)]
pub enum DecodeError {
    #[error("the payload is empty")]
    Empty,
    #[error("payload version {0} is not known to this build; start the newer errata that wrote it")]
    UnknownVersion(u8),
    #[error("the payload does not decode: {0}")]
    Malformed(#[from] postcard::Error),
}

/// Encodes an event as a spool payload.
#[must_use]
pub fn encode<'a>(event: impl Into<EventView<'a>>) -> Vec<u8> {
    let mut payload = Vec::new();
    encode_into(event.into(), &mut payload);
    payload
}

/// Appends an event's spool payload.
pub fn encode_into(event: EventView<'_>, payload: &mut Vec<u8>) {
    payload.push(VERSION);
    postcard::serialize_with_flavor(&event, Appending(payload)).unwrap_or_else(|error| {
        // postcard fails only where a serializer reports an unknown length or a custom error; an event has neither.
        unreachable!("an event always encodes: {error}")
    });
}

/// Writes to the end of a buffer.
struct Appending<'b>(&'b mut Vec<u8>);

impl postcard::ser_flavors::Flavor for Appending<'_> {
    type Output = ();

    fn try_push(&mut self, byte: u8) -> postcard::Result<()> {
        self.0.push(byte);
        Ok(())
    }

    fn try_extend(&mut self, bytes: &[u8]) -> postcard::Result<()> {
        self.0.extend_from_slice(bytes);
        Ok(())
    }

    fn finalize(self) -> postcard::Result<()> {
        Ok(())
    }
}

/// Decodes a spool payload.
///
/// # Errors
/// When the payload is empty, of a version this build does not know, or malformed.
pub fn decode(payload: &[u8]) -> Result<Event, DecodeError> {
    decode_as(payload)
}

/// Decodes a spool payload without copying its texts.
///
/// # Errors
/// As [`decode`].
pub fn decode_ref(payload: &[u8]) -> Result<EventRef<'_>, DecodeError> {
    decode_as(payload)
}

/// The first fields of an event that the log's reader needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    pub key: EventKey,
    pub timestamp_ms: i64,
    pub received_at_ms: i64,
}

/// The head of a spool payload. What comes after it is not looked at.
///
/// # Errors
/// As [`decode`], as far as it is looked at.
pub fn peek(payload: &[u8]) -> Result<Head, DecodeError> {
    /// The first fields of [`Event`].
    type Fields<'a> = (&'a str, EventKey, &'a str, &'a str, i64, i64);
    let fields = fields_of(payload)?;
    let ((_, key, _, _, timestamp_ms, received_at_ms), _) = postcard::take_from_bytes::<Fields<'_>>(fields)?;
    Ok(Head { key, timestamp_ms, received_at_ms })
}

fn fields_of(payload: &[u8]) -> Result<&[u8], DecodeError> {
    match payload.split_first() {
        None => Err(DecodeError::Empty),
        Some((&VERSION, fields)) => Ok(fields),
        Some((&version, _)) => Err(DecodeError::UnknownVersion(version)),
    }
}

fn decode_as<'a, T: Deserialize<'a>>(payload: &'a [u8]) -> Result<T, DecodeError> {
    Ok(postcard::from_bytes(fields_of(payload)?)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{EventKey, Exception, FieldError, Marks, RateLimit, RequestId};

    fn event() -> Event {
        let text = |name: &str| name.to_owned();
        let pairs = |name: &str| vec![(text(name), text("1")), (text(name), text("2"))];
        Event {
            project: text("project"),
            key: EventKey(1 << 100),
            event_id: text("event id"),
            request_id: RequestId::parse("req_1").unwrap(),
            timestamp_ms: -3,
            received_at_ms: i64::MAX,
            status: 422,
            service: text("service"),
            environment: text("environment"),
            release: text("release"),
            host: text("host"),
            method: text("method"),
            path: text("path"),
            route: text("route"),
            error: text("error"),
            error_template: text("template"),
            code: text("code"),
            errors: vec![FieldError { field: text("f"), path: text("p"), message: text("m"), rule: text("r") }],
            response: text("response"),
            account_id: text("account"),
            user_id: text("user"),
            duration_ms: Some(0.1),
            rate_limit: Some(RateLimit { limit: Some(1), remaining: None, reset: Some(-1) }),
            client_ip: text("ip"),
            user_agent: text("agent"),
            trace_id: text("trace"),
            span_id: text("span"),
            request_headers: pairs("request"),
            response_headers: pairs("response"),
            exception: Some(Exception { r#type: text("t"), message: text("m"), stacktrace: text("s") }),
            attributes: pairs("attribute"),
            fingerprint: u64::MAX,
            marks: Marks(5),
        }
    }

    #[test]
    fn owned_and_borrowed_events_are_one_format() {
        let event = event();
        let payload = encode(&event);
        assert_eq!(decode(&payload).unwrap(), event);
        assert_eq!(decode_ref(&payload).unwrap(), EventRef::from(&event));
        let Event { key, timestamp_ms, received_at_ms, .. } = event;
        assert_eq!(peek(&payload).unwrap(), Head { key, timestamp_ms, received_at_ms });
        assert_eq!(postcard::to_extend(&EventRef::from(&event), vec![VERSION]).unwrap(), payload);
    }

    #[test]
    fn what_is_no_payload_is_refused() {
        let payload = encode(&event());
        assert!(matches!(decode_ref(&[]), Err(DecodeError::Empty)));
        assert!(matches!(decode_ref(&[9]), Err(DecodeError::UnknownVersion(9))));
        for end in 1..payload.len() {
            assert!(matches!(decode_ref(&payload[..end]), Err(DecodeError::Malformed(_))), "{end} bytes");
        }
    }
}
