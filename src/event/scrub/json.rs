//! Secrets in JSON, told by the name they stand under.
//!
//! The value under a secret name is replaced as a whole, be it text, number, list or object. The exception are messages
//! *about* a secret field, which error bodies are made of:
//!
//! - Below a key of [`MESSAGE_KEYS`] (`errors`, `detail` …), strings under a secret name are messages if they read like
//!   one: several words, or a code of letters (`required`, `too_short`). Anything else there is still replaced.
//! - A body that as a whole maps fields to lists (`{"password": ["This field is required."]}`, Django REST Framework's
//!   default) is read the same way, but a message must have several words there.
//! - An error item that points at a secret field (`"loc": ["body", "password"]`) must not echo its value: its
//!   [`ECHO_KEYS`] are replaced.
//!
//! Booleans and nulls tell nothing and stay.

use std::borrow::Cow;

use serde_json::{Map, Value};

use super::{REDACTED, Scrubber};

/// Keys below which strings are messages; compared without case, `-` and `_`.
const MESSAGE_KEYS: [&str; 17] = [
    "detail",
    "details",
    "error",
    "errors",
    "fielderrors",
    "formerrors",
    "failures",
    "invalidparams",
    "invalidparameters",
    "issues",
    "message",
    "messages",
    "nonfielderrors",
    "problems",
    "validationerrors",
    "validationmessages",
    "violations",
];

/// Keys by which an error item names its field.
const POINTER_KEYS: [&str; 11] =
    ["attr", "field", "key", "loc", "name", "param", "parameter", "path", "pointer", "property", "propertyname"];

/// Keys by which an error item repeats what was sent for its field.
const ECHO_KEYS: [&str; 10] = [
    "actual",
    "attemptedvalue",
    "given",
    "input",
    "instance",
    "invalidvalue",
    "received",
    "rejectedvalue",
    "submitted",
    "value",
];

/// Keys whose values identify a request: long numbers there are ids, not card numbers.
const ID_KEYS: [&str; 6] = ["requestid", "xrequestid", "traceid", "spanid", "correlationid", "eventid"];

/// What a JSON value is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// An API's answer: an envelope with messages below some key, or a map of fields to messages.
    Body,
    /// Nothing but messages: what a client sends as `errors`.
    Messages,
    /// Data without messages.
    Data,
}

/// Where in a document a value stands.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    /// The document itself, or an item of it when it is a list.
    Root,
    Data,
    Messages,
    /// Below a secret name; what does not read like a message goes.
    AboutSecret {
        codes: bool,
    },
}

pub(super) fn scrub(scrubber: &Scrubber, value: &mut Value, shape: Shape) -> bool {
    let place = match shape {
        Shape::Body => Place::Root,
        Shape::Messages => Place::Messages,
        Shape::Data => Place::Data,
    };
    walk(scrubber, value, place)
}

/// Recursion is bounded by the parser's depth limit.
fn walk(scrubber: &Scrubber, value: &mut Value, place: Place) -> bool {
    match value {
        Value::Null | Value::Bool(_) => false,
        Value::Number(number) => match place {
            Place::AboutSecret { .. } => redact(value),
            _ if number.is_f64() => false,
            // A card number may come as a number.
            _ => replace_number(scrubber, value),
        },
        Value::String(text) => match place {
            Place::AboutSecret { codes } if !reads_like_a_message(text, codes) => redact(value),
            _ => replace_text(scrubber.text(text)).is_some_and(|new| {
                *text = new;
                true
            }),
        },
        Value::Array(items) => items.iter_mut().fold(false, |changed, item| walk(scrubber, item, place) | changed),
        Value::Object(map) => object(scrubber, map, place),
    }
}

fn object(scrubber: &Scrubber, map: &mut Map<String, Value>, place: Place) -> bool {
    let is_field_map = place == Place::Root && is_field_map(map);
    let echoes_secret = map.iter().any(|(key, value)| is_one_of(key, &POINTER_KEYS) && names_secret(scrubber, value));
    let mut changed = false;
    for (key, value) in map.iter_mut() {
        let secret = scrubber.is_secret_name(key);
        changed |= match place {
            _ if value.is_null() || value.is_boolean() => false,
            Place::AboutSecret { .. } => walk(scrubber, value, place),
            Place::Messages if secret => walk(scrubber, value, Place::AboutSecret { codes: true }),
            Place::Root if secret && is_field_map => walk(scrubber, value, Place::AboutSecret { codes: false }),
            _ if secret || (echoes_secret && is_one_of(key, &ECHO_KEYS)) => redact(value),
            _ if is_one_of(key, &ID_KEYS) && value.is_string() => identifier(scrubber, value),
            _ if is_one_of(key, &MESSAGE_KEYS) => walk(scrubber, value, Place::Messages),
            Place::Root if !is_field_map => walk(scrubber, value, Place::Data),
            _ => walk(scrubber, value, place),
        };
    }
    scrub_keys(scrubber, map) | changed
}

/// Keys are data too where an API maps addresses to something.
fn scrub_keys(scrubber: &Scrubber, map: &mut Map<String, Value>) -> bool {
    if !map.keys().any(|key| matches!(scrubber.text(key), Cow::Owned(_))) {
        return false;
    }
    let entries = std::mem::take(map);
    *map = entries.into_iter().map(|(key, value)| (scrubber.text(&key).into_owned(), value)).collect();
    true
}

fn redact(value: &mut Value) -> bool {
    if value.as_str() == Some(REDACTED) {
        return false;
    }
    *value = Value::String(REDACTED.to_owned());
    true
}

fn replace_text(text: Cow<'_, str>) -> Option<String> {
    match text {
        Cow::Owned(new) => Some(new),
        Cow::Borrowed(_) => None,
    }
}

fn replace_number(scrubber: &Scrubber, value: &mut Value) -> bool {
    let long = value.as_u64().is_some_and(|number| number >= 1_000_000_000_000);
    if !long {
        return false;
    }
    match replace_text(scrubber.text(&value.to_string())) {
        Some(new) => {
            *value = Value::String(new);
            true
        }
        None => false,
    }
}

fn identifier(scrubber: &Scrubber, value: &mut Value) -> bool {
    let new = value.as_str().and_then(|text| replace_text(scrubber.identifier(text)));
    new.is_some_and(|new| {
        *value = Value::String(new);
        true
    })
}

/// Whether a key is one of a list whose entries are in lower case without separators.
fn is_one_of(key: &str, list: &[&str]) -> bool {
    let letters = || key.bytes().filter(|byte| !matches!(byte, b'-' | b'_')).map(|byte| byte.to_ascii_lowercase());
    list.iter().any(|entry| letters().eq(entry.bytes()))
}

/// Whether the text, or the last text of the list, names a secret field.
fn names_secret(scrubber: &Scrubber, value: &Value) -> bool {
    match value {
        Value::String(text) => scrubber.is_secret_name(text),
        Value::Array(items) => {
            items.iter().rev().find_map(Value::as_str).is_some_and(|text| scrubber.is_secret_name(text))
        }
        _ => false,
    }
}

/// Whether every value is a list of texts or of objects, or a map of such: nothing but fields and their messages.
fn is_field_map(map: &Map<String, Value>) -> bool {
    !map.is_empty()
        && map.values().all(|value| match value {
            Value::Array(items) => {
                !items.is_empty()
                    && items.iter().all(|item| match item {
                        Value::String(_) => true,
                        Value::Object(inner) => inner.is_empty() || is_field_map(inner),
                        _ => false,
                    })
            }
            Value::Object(inner) => is_field_map(inner),
            _ => false,
        })
}

/// Several words; a script that writes without spaces; or, where codes are taken, letters alone.
fn reads_like_a_message(text: &str, codes: bool) -> bool {
    let text = text.trim();
    let is_code = || text.len() <= 64 && text.bytes().all(|byte| byte.is_ascii_alphabetic() || b"_-.!".contains(&byte));
    text.is_empty() || text.contains(char::is_whitespace) || !text.is_ascii() || (codes && is_code())
}
