//! Bytes → events and rejects. Pure: no HTTP types, no I/O. One file a wire shape.
//!
//! [`decompress`] undoes the content encoding; [`events`] takes the body apart (`ndjson`, `json`), parses each item
//! (`item`) and makes an event of it (`event`, field by field in `fields`, `headers`, `timestamp`), scrubbed and
//! bounded, with its idempotency key (`key`). [`totals()`] does so with request totals, of which `items` are much simpler.

mod encoding;
mod event;
mod fields;
mod headers;
mod item;
mod items;
mod json;
mod key;
mod ndjson;
mod plain;
mod timestamp;
mod totals;

use std::ops::ControlFlow;

pub use self::{
    encoding::{decompress, most_bytes},
    plain::Memo,
    totals::{Totals, totals},
};
use crate::event::{Event, catalog::Catalog, scrub::Scrubber, view::EventView};

/// Limits on what one request may hold; every figure is in bytes unless its name says otherwise.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Body as received (HTTP contract: 16 MiB).
    pub body: usize,
    /// Body after its content encoding is undone (HTTP contract: 64 MiB).
    pub decompressed: usize,
    /// One event as sent (HTTP contract: 256 KiB).
    pub event: usize,
    /// Number of items in one request. An event in memory is many times as large as its shortest text, so bytes alone
    /// bound nothing.
    pub items: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { body: 16 << 20, decompressed: 64 << 20, event: 256 << 10, items: 50_000 }
    }
}

/// What an event is made in the light of.
#[derive(Clone, Copy)]
pub struct Context<'a> {
    /// Project of the token.
    pub project: &'a str,
    /// Time of receipt, milliseconds since the Unix epoch.
    pub received_at_ms: i64,
    /// Oldest timestamp that is still kept, milliseconds since the Unix epoch; older events are rejected.
    pub oldest_ms: i64,
    pub catalog: &'a Catalog,
    pub scrubber: &'a Scrubber,
    pub limits: &'a Limits,
}

/// The outcome of decoding a body: every item of it is in one of the two lists.
#[derive(Debug, Default)]
pub struct Decoded {
    /// Position of each event in the body (item of the array, non-blank line of the NDJSON, from 0) and the event.
    pub events: Vec<(usize, Event)>,
    pub rejects: Vec<Reject>,
}

/// One item of a body that is no event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reject {
    /// Position in the body, from 0.
    pub index: usize,
    pub reason: Reason,
    /// Message per field, for the client.
    pub errors: Vec<(String, String)>,
    /// The item's request id where one could be read, so that a lookup can say that it was rejected.
    pub request_id: Option<crate::event::RequestId>,
}

/// Why an item was rejected: the `reason` label of `errata_ingest_rejected_total`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Reason {
    InvalidJson,
    NotAnObject,
    TooLarge,
    TooDeep,
    MissingStatus,
    InvalidStatus,
    InvalidRequestId,
    InvalidTimestamp,
    TooOld,
    TooNew,
    InvalidField,
}

impl Reason {
    pub const ALL: [Self; 11] = [
        Self::InvalidJson,
        Self::NotAnObject,
        Self::TooLarge,
        Self::TooDeep,
        Self::MissingStatus,
        Self::InvalidStatus,
        Self::InvalidRequestId,
        Self::InvalidTimestamp,
        Self::TooOld,
        Self::TooNew,
        Self::InvalidField,
    ];

    /// The label's value.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::InvalidJson => "invalid_json",
            Self::NotAnObject => "not_an_object",
            Self::TooLarge => "too_large",
            Self::TooDeep => "too_deep",
            Self::MissingStatus => "missing_status",
            Self::InvalidStatus => "invalid_status",
            Self::InvalidRequestId => "invalid_request_id",
            Self::InvalidTimestamp => "invalid_timestamp",
            Self::TooOld => "too_old",
            Self::TooNew => "too_new",
            Self::InvalidField => "invalid_field",
        }
    }
}

/// Why a whole body was refused; nothing of it was taken. The texts are shown to clients.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    #[error("the body holds no item: send at least one")]
    Empty,
    #[error("line {line}, column {column}: {message}")]
    NotJson { line: usize, column: usize, message: String },
    #[error("content type {0:?} is not taken: send application/x-ndjson or application/json")]
    UnsupportedMediaType(String),
    #[error("content encoding {0:?} is not taken: send gzip, zstd, deflate or none")]
    UnsupportedEncoding(String),
    #[error("the body does not decompress as {encoding}: {message}")]
    BadEncoding { encoding: &'static str, message: String },
    #[error("the body is larger than {limit} bytes {what}: send smaller batches")]
    TooLarge { limit: usize, what: &'static str },
    #[error("the body holds more than {limit} items: send smaller batches")]
    TooMany { limit: usize },
    #[error("the body expands more than {0}-fold, which no real traffic does: send it less compressed")]
    Bomb(usize),
}

/// How the items lie in the body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// `application/x-ndjson`: one event a line.
    Ndjson,
    /// `application/json`: one object or an array of them.
    Json,
}

impl Reject {
    /// A reject of the item as a whole: the message is filed under `event`.
    fn of_item(index: usize, reason: Reason, message: String) -> Self {
        Self { index, reason, errors: vec![("event".to_owned(), message)], request_id: None }
    }
}

fn reject_too_large(index: usize, text: &str, limits: &Limits) -> Reject {
    let message =
        format!("has {} bytes, at most {} are taken: cut its response or attributes", text.len(), limits.event);
    Reject { request_id: item::request_id_only(text), ..Reject::of_item(index, Reason::TooLarge, message) }
}

fn reject_of_flaw(index: usize, flaw: item::Flaw) -> Reject {
    match flaw {
        item::Flaw::NotJson { column, message, .. } => {
            Reject::of_item(index, Reason::InvalidJson, format!("is no JSON: column {column}: {message}"))
        }
        item::Flaw::TooDeep => {
            let message = format!("is nested deeper than {} levels", item::MAX_DEPTH);
            Reject::of_item(index, Reason::TooDeep, message)
        }
        item::Flaw::NotAnObject(kind) => {
            Reject::of_item(index, Reason::NotAnObject, format!("must be a JSON object, got {kind}"))
        }
    }
}

/// Decodes a body whose content encoding is already undone.
///
/// # Errors
/// When the body as a whole is no JSON, empty, or holds too many items. A bad item of a good body is a [`Reject`] instead.
pub fn events(format: Format, body: &[u8], context: Context<'_>) -> Result<Decoded, Refusal> {
    let mut events = Vec::new();
    let rejects = each_event(format, body, context, &mut Memo::default(), |index, event| {
        events.push((index, event.to_event()));
        ControlFlow::Continue(())
    })?;
    Ok(Decoded { events, rejects })
}

/// As [`events`], but hands each event over when it is made: an event in memory is many times as large as its text, so
/// those of a large body must not all be there at once. Ends early, with the rejects so far, when `take` breaks.
///
/// `memo` is kept from body to body by whoever decodes many; it belongs to one catalog and one scrubber.
///
/// # Errors
/// As [`events`]; then none was handed over.
pub fn each_event(
    format: Format,
    body: &[u8],
    context: Context<'_>,
    memo: &mut Memo,
    take: impl FnMut(usize, EventView<'_>) -> ControlFlow<()>,
) -> Result<Vec<Reject>, Refusal> {
    match format {
        Format::Ndjson => ndjson::decode(body, &context, memo, take),
        Format::Json => json::decode(body, &context, memo, take),
    }
}

#[cfg(test)]
pub(crate) mod tests;
