//! Seam to the domain's readers until they are merged; every function here is to become a call of theirs.

use serde_json::Value;

use crate::event::{Event, RateLimit};

#[derive(Clone, Copy, Debug)]
pub(super) enum Response<'a> {
    Json(&'a Value),
    Text(&'a str),
}

#[derive(Clone, Debug, Default)]
pub(super) struct Body {
    pub error: String,
    pub errors: Vec<RawFieldError>,
    pub code: String,
    pub request_id: Option<String>,
    pub cut: bool,
}

#[derive(Clone, Debug, Default)]
pub(super) struct RawFieldError {
    pub field: String,
    pub path: String,
    pub message: String,
    pub code: String,
}

#[derive(Clone, Debug, Default)]
pub(super) struct FieldErrors {
    pub errors: Vec<RawFieldError>,
    pub cut: bool,
}

pub(super) fn read_body(_status: u16, response: Response<'_>) -> Body {
    let Response::Json(value) = response else {
        let Response::Text(text) = response else { return Body::default() };
        return Body { error: text.chars().take(200).collect(), ..Body::default() };
    };
    let text = |name: &str| value.get(name).and_then(Value::as_str).map(str::to_owned);
    let errors = value.get("errors").map(field_errors).unwrap_or_default();
    Body {
        error: text("error").unwrap_or_default(),
        errors: errors.errors,
        code: text("code").unwrap_or_default(),
        request_id: text("request_id"),
        cut: false,
    }
}

pub(super) fn field_errors(value: &Value) -> FieldErrors {
    let mut errors = Vec::new();
    for (field, messages) in value.as_object().into_iter().flatten() {
        let messages = messages.as_array().map_or(std::slice::from_ref(messages), Vec::as_slice);
        for message in messages.iter().filter_map(Value::as_str) {
            let message = message.to_owned();
            errors.push(RawFieldError { field: field.clone(), path: field.clone(), message, code: String::new() });
        }
    }
    FieldErrors { errors, cut: false }
}

pub(super) fn rule(_message: &str, _code: &str) -> String {
    "other".to_owned()
}

pub(super) fn message_template(message: &str) -> String {
    message.to_owned()
}

pub(super) fn route_template(path: &str) -> String {
    path.to_owned()
}

pub(super) fn rate_limit(_headers: &[(String, String)], _timestamp_ms: i64) -> Option<RateLimit> {
    None
}

pub(super) fn fingerprint(_event: &Event) -> u64 {
    0
}
