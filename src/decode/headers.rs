//! Which headers of the reported exchange are kept.
//!
//! An allow-list: whoever adds a header with a secret in it must not have to tell us. `Authorization`, cookies and keys are
//! on no list, and neither is who the client is beyond `client_ip` (`X-Forwarded-For`).

use serde_json::Value;

use super::fields::{Making, cut};

/// Kept of the request.
const REQUEST: [&str; 16] = [
    "accept",
    "accept-encoding",
    "accept-language",
    "content-encoding",
    "content-length",
    "content-type",
    "host",
    "idempotency-key",
    "origin",
    "referer",
    "request-id",
    "traceparent",
    "via",
    "x-correlation-id",
    "x-request-id",
    "x-requested-with",
];

/// Kept of the response, besides [`RESPONSE_FAMILIES`].
const RESPONSE: [&str; 16] = [
    "allow",
    "cache-control",
    "content-encoding",
    "content-language",
    "content-length",
    "content-type",
    "date",
    "request-id",
    "retry-after",
    "retry-after-ms",
    "server",
    "vary",
    "via",
    "www-authenticate",
    "x-correlation-id",
    "x-request-id",
];

/// Beginnings of names kept of the response: the ways APIs state a quota.
const RESPONSE_FAMILIES: [&str; 4] = ["ratelimit", "x-ratelimit-", "x-rate-limit-", "x-throttle-"];

/// Headers that may hold the request id, in the order they are asked (HTTP contract).
pub(super) const REQUEST_ID: [&str; 3] = ["x-request-id", "request-id", "x-correlation-id"];

/// Most headers kept of one message.
const MAX_HEADERS: usize = 48;

/// Longest name of a header that is kept, bytes; a longer one is on no list.
const MAX_NAME: usize = 64;

/// Longest value that is kept, bytes.
const MAX_VALUE: usize = 512;

/// Whose headers they are.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    Request,
    Response,
}

impl Side {
    pub(super) const fn field(self) -> &'static str {
        match self {
            Self::Request => "request_headers",
            Self::Response => "response_headers",
        }
    }

    fn keeps(self, name: &str) -> bool {
        match self {
            Self::Request => REQUEST.contains(&name),
            Self::Response => {
                RESPONSE.contains(&name) || RESPONSE_FAMILIES.iter().any(|family| name.starts_with(family))
            }
        }
    }
}

/// Names in lower case, and values.
pub(super) type Headers = Vec<(String, String)>;

/// Reads `{name: value}`; values are texts, numbers or lists of them. `[[name, value]]` and `[{name, value}]` (HAR) are
/// taken too. Anything else is a problem rather than an attribute: it may hold credentials in any place.
pub(super) fn read(making: &mut Making<'_>, side: Side, value: Value) -> Headers {
    let mut kept = Vec::new();
    match value {
        Value::Null => {}
        Value::Object(headers) => {
            for (name, value) in headers {
                keep(making, side, &name, &value, &mut kept);
            }
        }
        Value::Array(headers) if headers.iter().all(|header| pair(header).is_some()) => {
            for (name, value) in headers.iter().filter_map(pair) {
                keep(making, side, name, value, &mut kept);
            }
        }
        other => making.wrong_type(side.field(), "an object of names and values", &other),
    }
    kept
}

fn pair(header: &Value) -> Option<(&str, &Value)> {
    match header {
        Value::Array(pair) => match pair.as_slice() {
            [Value::String(name), value] => Some((name, value)),
            _ => None,
        },
        Value::Object(header) => Some((header.get("name")?.as_str()?, header.get("value")?)),
        _ => None,
    }
}

fn keep(making: &mut Making<'_>, side: Side, name: &str, value: &Value, kept: &mut Headers) {
    let name = name.trim();
    if name.len() > MAX_NAME {
        return;
    }
    let name = name.to_ascii_lowercase();
    if !side.keeps(&name) {
        return;
    }
    let Some(text) = text_of(value) else { return };
    if kept.len() == MAX_HEADERS {
        making.mark_cut();
        return;
    }
    let scrubber = making.scrubber();
    let clean = match name.as_str() {
        id if REQUEST_ID.contains(&id) => scrubber.identifier(&text),
        "origin" | "referer" => scrubber.path(&text),
        _ => scrubber.text(&text),
    };
    let clean = making.scrubbed(clean);
    kept.push((name, cut(clean, MAX_VALUE, making)));
}

fn text_of(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Array(values) => {
            let texts: Option<Vec<String>> =
                values.iter().map(|value| if value.is_array() { None } else { text_of(value) }).collect();
            texts.map(|texts| texts.join(", "))
        }
        _ => None,
    }
}

/// The value of a kept header.
pub(super) fn get<'h>(headers: &'h [(String, String)], name: &str) -> Option<&'h str> {
    headers.iter().find(|(kept, _)| kept == name).map(|(_, value)| value.as_str())
}
