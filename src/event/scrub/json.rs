//! Secrets in JSON, told by the name they stand under.
//!
//! The value under a secret name is replaced as a whole, be it text, number, list or object. The exception are messages
//! *about* a secret field, which error bodies are made of:
//!
//! - Below a key of [`MESSAGE_KEYS`] (`errors`, `detail` …), strings under a secret name are messages if they read like
//!   one: several words, or a code of letters (`required`, `too_short`). Anything else there is still replaced.
//! - A body that as a whole maps fields to lists (`{"password": ["This field is required."]}`, Django REST Framework's
//!   default) is read the same way, but a message must have several words there.
//! - What is said about a secret field, below its name or in an error item that points at it (`"loc": ["body",
//!   "password"]`, `"source": {"pointer": "/password"}`), must not echo its value: [`ECHO_KEYS`] at any depth and quoted
//!   parts of messages are replaced (`quoted.rs`).
//! - What an error item or a validator holds of the whole input ([`INPUT_KEYS`]) is data and no message.
//!
//! Texts that are JSON documents themselves are read as such. Booleans and nulls tell nothing and stay.

use std::borrow::Cow;

use serde_json::{Map, Value};

use super::{REDACTED, Scrubber, quoted};

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
const POINTER_KEYS: [&str; 22] = [
    "argument",
    "argumentname",
    "attr",
    "attribute",
    "datapath",
    "field",
    "fieldname",
    "header",
    "instancepath",
    "key",
    "label",
    "loc",
    "location",
    "name",
    "param",
    "parameter",
    "path",
    "pointer",
    "property",
    "propertyname",
    "propertypath",
    "target",
];

/// Keys of an error item below which its field may be named.
const POINTER_HOLDERS: [&str; 4] = ["context", "extensions", "params", "source"];

/// Keys by which an error item repeats what was sent for its field.
const ECHO_KEYS: [&str; 19] = [
    "actual",
    "actualvalue",
    "attemptedvalue",
    "badvalue",
    "currentvalue",
    "fieldvalue",
    "given",
    "got",
    "input",
    "inputvalue",
    "instance",
    "invalidvalue",
    "provided",
    "rawvalue",
    "received",
    "rejectedvalue",
    "submitted",
    "supplied",
    "value",
];

/// Keys by which an error item repeats all that was sent (class-validator, Joi).
const INPUT_KEYS: [&str; 2] = ["original", "target"];

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

/// A place, and the secret field that what stands there is about.
#[derive(Clone, Copy)]
struct At<'f> {
    place: Place,
    /// Key or path of the field.
    about: Option<&'f str>,
}

pub(super) fn scrub(scrubber: &Scrubber, value: &mut Value, shape: Shape) -> bool {
    let place = match shape {
        Shape::Body => Place::Root,
        Shape::Messages => Place::Messages,
        Shape::Data => Place::Data,
    };
    walk(scrubber, value, At { place, about: None })
}

/// Recursion is bounded by the parser's depth limit.
fn walk(scrubber: &Scrubber, value: &mut Value, at: At<'_>) -> bool {
    match value {
        Value::Null | Value::Bool(_) => false,
        Value::Number(number) => match at.place {
            Place::AboutSecret { .. } => redact(value),
            _ if number.is_f64() => false,
            // A card number may come as a number.
            _ => replace_number(scrubber, value),
        },
        Value::String(text) => match at.place {
            Place::AboutSecret { codes } if !reads_like_a_message(text, codes) => redact(value),
            _ => match json_inside(scrubber, text, at) {
                Some(new) => {
                    *text = new;
                    true
                }
                None => message(scrubber, text, at.about),
            },
        },
        Value::Array(items) => items.iter_mut().fold(false, |changed, item| walk(scrubber, item, at) | changed),
        Value::Object(map) => object(scrubber, map, at),
    }
}

/// A text that is itself a JSON document (zod 4's `message`), scrubbed as one; `None` where nothing in it was replaced.
/// Texts in texts double their escapes each time, which bounds how deep they go.
fn json_inside(scrubber: &Scrubber, text: &str, at: At<'_>) -> Option<String> {
    let trimmed = text.trim();
    if !(trimmed.starts_with('[') && trimmed.ends_with(']') || trimmed.starts_with('{') && trimmed.ends_with('}')) {
        return None;
    }
    let mut inside: Value = serde_json::from_str(trimmed).ok()?;
    walk(scrubber, &mut inside, at).then(|| inside.to_string())
}

fn message(scrubber: &Scrubber, text: &mut String, about: Option<&str>) -> bool {
    let quotes = about.and_then(|field| quoted::redact_about(field, text));
    let scrubbed = replace_text(scrubber.text(quotes.as_deref().unwrap_or(text)));
    let Some(new) = scrubbed.or(quotes) else { return false };
    *text = new;
    true
}

fn object(scrubber: &Scrubber, map: &mut Map<String, Value>, At { place, about }: At<'_>) -> bool {
    let is_field_map = place == Place::Root && is_field_map(map);
    let pointed_at = pointed_at(scrubber, map);
    let about = pointed_at.as_deref().or(about);
    let is_item = map.iter().any(|(key, value)| is_one_of(key, &POINTER_KEYS) && value.is_string());
    let mut changed = false;
    for (key, value) in map.iter_mut() {
        let secret = scrubber.is_secret_name(key);
        let about_key = |codes| At { place: Place::AboutSecret { codes }, about: Some(key.as_str()) };
        changed |= match place {
            _ if value.is_null() || value.is_boolean() => false,
            _ if about.is_some() && is_one_of(key, &ECHO_KEYS) => redact(value),
            Place::AboutSecret { .. } => walk(scrubber, value, At { place, about }),
            Place::Messages if secret => walk(scrubber, value, about_key(true)),
            Place::Root if secret && is_field_map => walk(scrubber, value, about_key(false)),
            _ if secret => redact(value),
            _ if is_one_of(key, &ID_KEYS) && value.is_string() => identifier(scrubber, value),
            Place::Messages if value.is_object() && is_item && is_one_of(key, &INPUT_KEYS) => {
                walk(scrubber, value, At { place: Place::Data, about })
            }
            _ if is_one_of(key, &MESSAGE_KEYS) => walk(scrubber, value, At { place: Place::Messages, about }),
            Place::Root if !is_field_map => walk(scrubber, value, At { place: Place::Data, about }),
            _ => walk(scrubber, value, At { place, about }),
        };
    }
    scrub_keys(scrubber, map) | changed
}

/// The secret field that an error item says it is about, in a key of its own or below one of [`POINTER_HOLDERS`].
fn pointed_at(scrubber: &Scrubber, map: &Map<String, Value>) -> Option<String> {
    let named = |map: &Map<String, Value>| {
        let mut pointers = map.iter().filter(|(key, _)| is_one_of(key, &POINTER_KEYS));
        pointers.find_map(|(_, value)| secret_field(scrubber, value))
    };
    named(map).or_else(|| {
        let mut holders = map.iter().filter(|(key, _)| is_one_of(key, &POINTER_HOLDERS));
        holders.find_map(|(_, value)| named(value.as_object()?))
    })
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

/// The field a pointer names where a step of it is secret: the text, or the last text of the list.
fn secret_field(scrubber: &Scrubber, pointer: &Value) -> Option<String> {
    match pointer {
        Value::String(text) => {
            let secret =
                text.split(['/', '.', '[', ']']).chain([text.as_str()]).any(|step| scrubber.is_secret_name(step));
            secret.then(|| text.clone())
        }
        Value::Array(steps) => {
            // zod 4 and valibot may write a step as an object with its key.
            let mut names = steps.iter().filter_map(|step| step.as_str().or_else(|| step.get("key")?.as_str())).rev();
            let last = names.next()?;
            let secret = scrubber.is_secret_name(last) || names.any(|name| scrubber.is_secret_name(name));
            secret.then(|| last.to_owned())
        }
        _ => None,
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
