//! The pure domain: what an error event is. No I/O, no HTTP types, no ClickHouse.
//!
//! [`Event`] is the normalised, scrubbed form that every later room works with. It is made in [`crate::decode`] from
//! what a client sent; it is never changed afterwards.

pub mod body;
pub mod borrowed;
pub mod catalog;
pub mod codec;
pub mod erasure;
pub mod fingerprint;
pub mod path;
pub mod pseudonym;
pub mod rate_limit;
pub mod request_id;
pub mod route;
pub mod rule;
pub mod scrub;
pub mod total;
pub mod view;

use serde::{Deserialize, Serialize};

pub use borrowed::EventRef;
pub use request_id::RequestId;
pub use total::RequestTotal;

/// One error response of an API server, normalised and scrubbed.
///
/// Text fields that the client did not send are empty strings, never a placeholder. Field order is the spool's
/// payload format (see [`codec`]): append only, and raise the payload version when it changes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Event {
    /// Tenant, from the token alone.
    pub project: String,
    /// Idempotency key: from `event_id` when the client sent one, else a hash of the content. Scoped by project.
    pub key: EventKey,
    /// The client's own `event_id`, empty when it sent none; at most 128 bytes.
    pub event_id: String,
    pub request_id: RequestId,
    /// When the error happened by the client's clock, milliseconds since the Unix epoch.
    pub timestamp_ms: i64,
    /// When the collector took the event, milliseconds since the Unix epoch.
    pub received_at_ms: i64,
    /// HTTP status, 400–599.
    pub status: u16,
    pub service: String,
    pub environment: String,
    pub release: String,
    pub host: String,
    /// HTTP method in upper case.
    pub method: String,
    /// Path as sent, without its query string, secrets scrubbed.
    pub path: String,
    /// Route template: as sent, else made from `path`.
    pub route: String,
    /// The general message (`error`), scrubbed.
    pub error: String,
    /// `error` with its variable parts replaced, so that numbers and quoted values do not split history.
    pub error_template: String,
    /// The body's machine-readable code (`code`, `error.code`, `type` …), empty when it has none.
    pub code: String,
    /// Field errors in the order of the body.
    pub errors: Vec<FieldError>,
    /// The body as sent, scrubbed: JSON text, or the text itself when the body was no JSON.
    pub response: String,
    pub account_id: String,
    pub user_id: String,
    /// Milliseconds.
    pub duration_ms: Option<f64>,
    pub rate_limit: Option<RateLimit>,
    /// Textual IP address, empty when absent or malformed (a malformed one goes to `attributes`).
    pub client_ip: String,
    pub user_agent: String,
    pub trace_id: String,
    pub span_id: String,
    /// Allow-listed headers, names in lower case.
    pub request_headers: Vec<(String, String)>,
    /// Allow-listed headers, names in lower case.
    pub response_headers: Vec<(String, String)>,
    pub exception: Option<Exception>,
    /// Scalars the client sent under `attributes` and every unknown top-level field (nested values as JSON text).
    pub attributes: Vec<(String, String)>,
    /// Identity of the kind of error: service, route, status, error template, field rules, exception type and top frame.
    pub fingerprint: u64,
    /// What was done to the event on the way in.
    pub marks: Marks,
}

/// One message about one field.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FieldError {
    /// What statistics group by: `items[].sku`. Empty for errors of no field.
    pub field: String,
    /// The position as sent: `items[3].sku`. Empty for errors of no field.
    pub path: String,
    /// The message as sent, scrubbed.
    pub message: String,
    /// The rule the message states: `required`, `min_length(8)` … (see [`rule`]); `other` when it is not understood.
    pub rule: String,
}

/// Idempotency key of an event within all projects of a collector.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct EventKey(pub u128);

impl EventKey {
    /// The part of the key that the store keeps: its low 64 bits. Two of a billion events share it with odds of one in 37.
    #[must_use]
    pub const fn stored(self) -> u64 {
        self.0 as u64
    }
}

/// State of the client's quota as the API server reported it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RateLimit {
    /// Requests allowed per window.
    pub limit: Option<u64>,
    /// Requests left in the window.
    pub remaining: Option<u64>,
    /// When the window resets, Unix seconds.
    pub reset: Option<i64>,
}

/// The exception behind a 5xx.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exception {
    pub r#type: String,
    pub message: String,
    pub stacktrace: String,
}

/// A set of notes on what was done to an event on the way in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Marks(pub u32);

impl Marks {
    /// No request id was found anywhere; one was made (`gen_…`).
    pub const GENERATED_REQUEST_ID: Self = Self(1);
    /// A text, list or map was longer than its limit and was cut.
    pub const CUT: Self = Self(1 << 1);
    /// A secret or personal value was replaced.
    pub const SCRUBBED: Self = Self(1 << 2);
    /// Lone surrogates or NUL characters were replaced by U+FFFD.
    pub const REPLACED_CHARACTERS: Self = Self(1 << 3);
    /// `timestamp` was absent; the time of receipt stands in.
    pub const NO_TIMESTAMP: Self = Self(1 << 4);

    /// Every mark with the name it has in answers and metrics.
    pub const NAMES: [(Self, &'static str); 5] = [
        (Self::GENERATED_REQUEST_ID, "generated_request_id"),
        (Self::CUT, "cut"),
        (Self::SCRUBBED, "scrubbed"),
        (Self::REPLACED_CHARACTERS, "replaced_characters"),
        (Self::NO_TIMESTAMP, "no_timestamp"),
    ];

    pub fn insert(&mut self, mark: Self) {
        self.0 |= mark.0;
    }

    #[must_use]
    pub fn contains(self, mark: Self) -> bool {
        self.0 & mark.0 == mark.0
    }

    /// Names of the marks that are set.
    pub fn names(self) -> impl Iterator<Item = &'static str> {
        Self::NAMES.into_iter().filter(move |(mark, _)| self.contains(*mark)).map(|(_, name)| name)
    }
}

/// The start of a text that has at most `limit` bytes, cut between characters.
#[must_use]
pub fn start_of(text: &str, limit: usize) -> &str {
    let mut end = limit.min(text.len());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}
