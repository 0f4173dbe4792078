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
    let event = event.into();
    // Short texts and numbers, about; exact for nobody, enough for most.
    let mut payload = Vec::with_capacity(256 + event.response.len() + event.path.len());
    payload.push(VERSION);
    postcard::to_extend(&event, payload).unwrap_or_else(|error| {
        // postcard fails only where a serializer reports an unknown length or a custom error; an event has neither.
        unreachable!("an event always encodes: {error}")
    })
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
