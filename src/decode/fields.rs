//! One field at a time: type, coercion, limit, scrubbing, and what becomes of a value of the wrong type.
//!
//! A wrongly typed value is kept as an attribute of the field's name (JSON text) where the event means the same without
//! it, and is a problem, which rejects the event, where it does not.

use std::{
    borrow::Cow,
    net::{IpAddr, SocketAddr},
};

use serde_json::Value;

use super::{Context, Reason, Reject, item::kind};
use crate::event::{
    Exception, Marks, RateLimit, RequestId,
    rate_limit::{LATEST_RESET, MAX_COUNT},
    scrub::{Scrubber, Shape},
    start_of,
};

/// Most attributes of one event; the rest is cut.
pub const MAX_ATTRIBUTES: usize = 64;

/// Longest name of an attribute, bytes.
const MAX_ATTRIBUTE_NAME: usize = 128;

/// Longest value of an attribute, bytes.
const MAX_ATTRIBUTE: usize = 2048;

/// Longest stack trace, bytes; of a longer one the first [`STACK_HEAD`] bytes and the end are kept.
const MAX_STACK: usize = 32 << 10;
const STACK_HEAD: usize = 12 << 10;

/// What an item lacks to be an event.
#[derive(Debug, Default)]
pub(super) struct Rejection {
    reason: Option<Reason>,
    errors: Vec<(String, String)>,
    pub request_id: Option<RequestId>,
}

impl Rejection {
    pub(super) fn at(self, index: usize) -> Reject {
        let reason = self.reason.unwrap_or(Reason::InvalidField);
        Reject { index, reason, errors: self.errors, request_id: self.request_id }
    }
}

/// An event being made: what is noted while its fields are read.
pub(super) struct Making<'c> {
    pub context: &'c Context<'c>,
    pub marks: Marks,
    pub attributes: Vec<(String, String)>,
    problems: Rejection,
}

impl<'c> Making<'c> {
    pub(super) fn new(context: &'c Context<'c>, replaced: bool) -> Self {
        let mut marks = Marks::default();
        if replaced {
            marks.insert(Marks::REPLACED_CHARACTERS);
        }
        Self { context, marks, attributes: Vec::new(), problems: Rejection::default() }
    }

    pub(super) fn scrubber(&self) -> &'c Scrubber {
        self.context.scrubber
    }

    /// Notes a problem; the first one's reason is the rejection's.
    pub(super) fn problem(&mut self, field: &str, reason: Reason, message: String) {
        self.problems.reason.get_or_insert(reason);
        self.problems.errors.push((field.to_owned(), message));
    }

    pub(super) fn wrong_type(&mut self, field: &str, expected: &str, got: &Value) {
        self.problem(field, Reason::InvalidField, format!("must be {expected}, got {}", kind(got)));
    }

    pub(super) fn problems(self) -> Option<Rejection> {
        self.problems.reason.is_some().then_some(self.problems)
    }

    /// The marks, if nothing else was noted.
    pub(super) fn plain_marks(self) -> Option<Marks> {
        (self.attributes.is_empty() && !self.has_problems()).then_some(self.marks)
    }

    pub(super) fn has_problems(&self) -> bool {
        self.problems.reason.is_some()
    }

    pub(super) fn mark_cut(&mut self) {
        self.marks.insert(Marks::CUT);
    }

    /// Takes a scrubber's result and notes whether it replaced anything.
    pub(super) fn scrubbed(&mut self, text: Cow<'_, str>) -> String {
        if matches!(text, Cow::Owned(_)) {
            self.marks.insert(Marks::SCRUBBED);
        }
        text.into_owned()
    }

    /// Scrubs and cuts a text.
    pub(super) fn bounded(&mut self, text: String, max: usize) -> String {
        let text = match self.scrubber().text(&text) {
            Cow::Borrowed(_) => text,
            Cow::Owned(scrubbed) => self.scrubbed(Cow::Owned(scrubbed)),
        };
        cut(text, max, self)
    }

    /// A text field: a number is taken as its text, anything else becomes an attribute.
    pub(super) fn text(&mut self, field: &str, value: Value, max: usize) -> String {
        match value {
            Value::Null => String::new(),
            Value::String(text) => self.bounded(text, max),
            Value::Number(number) => self.bounded(number.to_string(), max),
            other => {
                self.attribute(field, other);
                String::new()
            }
        }
    }

    /// A field that identifies an account or user: as [`Making::text`], but long numbers are ids.
    pub(super) fn identifier(&mut self, field: &str, value: Value, max: usize) -> String {
        let text = match value {
            Value::Null => return String::new(),
            Value::String(text) => text,
            Value::Number(number) => number.to_string(),
            other => {
                self.attribute(field, other);
                return String::new();
            }
        };
        let scrubbed = self.scrubber().identifier(&text);
        let scrubbed = self.scrubbed(scrubbed);
        cut(scrubbed, max, self)
    }

    /// Keeps a value that has no field of its own; nested values as JSON text. Nulls are absent.
    pub(super) fn attribute(&mut self, name: &str, mut value: Value) {
        if value.is_null() {
            return;
        }
        if self.attributes.len() == MAX_ATTRIBUTES {
            self.mark_cut();
            return;
        }
        let scrubber = self.scrubber();
        let text = match value {
            _ if !value.is_boolean() && scrubber.is_secret_name(name) => {
                self.marks.insert(Marks::SCRUBBED);
                crate::event::scrub::REDACTED.to_owned()
            }
            Value::String(text) => self.bounded(text, MAX_ATTRIBUTE),
            _ => {
                if scrubber.json(&mut value, Shape::Data) {
                    self.marks.insert(Marks::SCRUBBED);
                }
                // A card number that came as a number is a string now.
                let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
                cut(text, MAX_ATTRIBUTE, self)
            }
        };
        let mut name = self.bounded(name.to_owned(), MAX_ATTRIBUTE_NAME);
        while self.attributes.iter().any(|(taken, _)| *taken == name) {
            name.push('_');
        }
        self.attributes.push((name, text));
    }

    /// `event_id`: the one text that must not be cut, or two events could share a key.
    pub(super) fn event_id(&mut self, value: Value) -> String {
        const MAX: usize = 128;
        let text = match value {
            Value::Null => return String::new(),
            Value::String(text) => text,
            Value::Number(number) => number.to_string(),
            other => {
                self.wrong_type("event_id", "a string of at most 128 bytes", &other);
                return String::new();
            }
        };
        if text.len() > MAX {
            let message = format!("must have at most {MAX} bytes, got {}", text.len());
            self.problem("event_id", Reason::InvalidField, message);
            return String::new();
        }
        text
    }

    pub(super) fn status(&mut self, value: &Value) -> u16 {
        const EXPECTED: &str = "an integer from 400 to 599";
        let integer =
            value.as_i64().or_else(|| value.as_f64().filter(|number| number.fract() == 0.0).map(|n| n as i64));
        let (reason, message) = match (value, integer) {
            (Value::Null, _) => (Reason::MissingStatus, format!("is required: {EXPECTED}")),
            (_, Some(status @ 400..=599)) => return status as u16,
            (_, Some(status @ 100..=399)) => {
                (Reason::InvalidStatus, format!("must be {EXPECTED}, got {status}: only error responses are taken"))
            }
            (Value::Number(number), _) => (Reason::InvalidStatus, format!("must be {EXPECTED}, got {number}")),
            (other, _) => (Reason::InvalidStatus, format!("must be {EXPECTED}, got {}", kind(other))),
        };
        self.problem("status", reason, message);
        0
    }

    pub(super) fn duration_ms(&mut self, value: Value) -> Option<f64> {
        match value.as_f64() {
            Some(duration) if duration >= 0.0 => Some(duration),
            _ => {
                self.attribute("duration_ms", value);
                None
            }
        }
    }

    /// An address, with a port or without; v4 in v6 is v4.
    pub(super) fn client_ip(&mut self, value: Value) -> String {
        let address = value.as_str().map(str::trim).and_then(|text| {
            text.parse::<IpAddr>().ok().or_else(|| text.parse::<SocketAddr>().ok().map(|address| address.ip()))
        });
        match address {
            Some(address) => address.to_canonical().to_string(),
            None if value.as_str() == Some("") => String::new(),
            None => {
                self.attribute("client_ip", value);
                String::new()
            }
        }
    }

    /// `{limit, remaining, reset}`, numbers or their texts; `None` when it says nothing. Where a part is no number or none
    /// that is believed, the whole is kept as an attribute too.
    pub(super) fn rate_limit(&mut self, value: Value) -> Option<RateLimit> {
        let mut all_read = true;
        let mut number = |name: &str, max: f64| {
            let sent = value.get(name).filter(|sent| !sent.is_null())?;
            let number = sent.as_f64().or_else(|| sent.as_str()?.trim().parse().ok());
            // Some libraries state milliseconds.
            let number = number.map(|number| if name == "reset" && number >= 1e11 { number / 1000.0 } else { number });
            let believed = number.filter(|number| (0.0..=max).contains(number));
            all_read &= believed.is_some();
            believed
        };
        let limit = number("limit", MAX_COUNT as f64).map(|count| count as u64);
        let remaining = number("remaining", MAX_COUNT as f64).map(|count| count as u64);
        let reset = number("reset", LATEST_RESET as f64).map(|reset| reset as i64);
        let read = RateLimit { limit, remaining, reset };
        let says_something = read != RateLimit::default();
        if !all_read || !says_something {
            self.attribute("rate_limit", value);
        }
        says_something.then_some(read)
    }

    /// `{type, message, stacktrace}`; a text alone is a message, or a stack trace when it has several lines.
    pub(super) fn exception(&mut self, value: Value) -> Option<Exception> {
        let mut exception = Exception::default();
        match value {
            Value::Null => return None,
            Value::String(text) if text.trim_end().contains('\n') => exception.stacktrace = self.stacktrace(text),
            Value::String(text) => exception.message = self.bounded(text, 4096),
            Value::Object(parts) => {
                for (name, part) in parts {
                    match (name.as_str(), part) {
                        ("type", part) => exception.r#type = self.text("exception.type", part, 256),
                        ("message", part) => exception.message = self.text("exception.message", part, 4096),
                        ("stacktrace", Value::String(trace)) => exception.stacktrace = self.stacktrace(trace),
                        ("stacktrace", Value::Array(lines)) if lines.iter().all(Value::is_string) => {
                            let lines: Vec<&str> = lines.iter().filter_map(Value::as_str).collect();
                            exception.stacktrace = self.stacktrace(lines.join("\n"));
                        }
                        (_, part) => self.attribute(&format!("exception.{name}"), part),
                    }
                }
            }
            other => self.attribute("exception", other),
        }
        (exception != Exception::default()).then_some(exception)
    }

    fn stacktrace(&mut self, text: String) -> String {
        let text = self.bounded(text, usize::MAX);
        if text.len() <= MAX_STACK {
            return text;
        }
        self.mark_cut();
        let head = start_of(&text, STACK_HEAD).len();
        // Some room for the note between the two.
        let tail = start_of(&text, text.len() - (MAX_STACK - STACK_HEAD - 64)).len();
        format!("{}\n… {} bytes cut …\n{}", &text[..head], tail - head, &text[tail..])
    }
}

/// Cuts a text to at most `max` bytes at a character's end, and notes it.
pub(super) fn cut(mut text: String, max: usize, making: &mut Making<'_>) -> String {
    if text.len() > max {
        text.truncate(start_of(&text, max).len());
        making.mark_cut();
    }
    text
}
