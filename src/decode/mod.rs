//! Bytes → events and rejects. Pure: no HTTP types, no I/O. One file a wire shape.

use crate::event::{Event, catalog::Catalog, scrub::Scrubber};

/// Limits on what one request may hold; every figure is in bytes unless its name says otherwise.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Body as received (HTTP contract: 16 MiB).
    pub body: usize,
    /// Body after its content encoding is undone (HTTP contract: 64 MiB).
    pub decompressed: usize,
    /// One event as sent (HTTP contract: 256 KiB).
    pub event: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { body: 16 << 20, decompressed: 64 << 20, event: 256 << 10 }
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
    #[error("the body is empty: send at least one event")]
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

/// Decodes a body whose content encoding is already undone.
///
/// # Errors
/// When the body as a whole is no JSON, or empty. A bad item of a good body is a [`Reject`] instead.
pub fn events(_format: Format, _body: &[u8], _context: Context<'_>) -> Result<Decoded, Refusal> {
    todo!()
}

/// Undoes a content encoding within the limits.
///
/// # Errors
/// When the encoding is unknown, the bytes do not decode, or a limit is passed.
pub fn decompress<'a>(
    _encoding: Option<&str>,
    _body: &'a [u8],
    _limits: &Limits,
) -> Result<std::borrow::Cow<'a, [u8]>, Refusal> {
    todo!()
}
