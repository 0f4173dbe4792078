//! Events as bytes in the spool: one version byte, then the fields in the order of [`Event`], in postcard's encoding.
//!
//! An event is encoded once, before the spool, and decoded once, by delivery. A change of [`Event`]'s fields needs a new
//! version here and a decoder for the old one, so that a spool written by an older collector stays readable.

use super::{Event, view::EventView};

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
    match payload.split_first() {
        None => Err(DecodeError::Empty),
        Some((&VERSION, fields)) => Ok(postcard::from_bytes(fields)?),
        Some((&version, _)) => Err(DecodeError::UnknownVersion(version)),
    }
}
