//! What a body says of the error as a whole: message, code, request id.

use serde_json::{Map, Value};

use super::{Body, items, sentences};

const MESSAGE_KEYS: [&str; 12] = [
    "message",
    "error_description",
    "detail",
    "msg",
    "error_message",
    "errorMessage",
    "Message",
    "title",
    "description",
    "reason",
    "statusMessage",
    "status_message",
];

const CODE_KEYS: [&str; 6] = ["code", "error_code", "errorCode", "Code", "type", "__type"];

/// Names of the request id in bodies; the last two only identify a trace, which is better than nothing.
const REQUEST_ID_KEYS: [&str; 11] = [
    "request_id",
    "requestId",
    "requestID",
    "RequestId",
    "request-id",
    "x_request_id",
    "correlation_id",
    "correlationId",
    "error_id",
    "trace_id",
    "traceId",
];

/// Objects in which a request id may be, beside the body itself.
const REQUEST_ID_HOLDERS: [&str; 4] = ["error", "meta", "detail", "extensions"];

/// HTTP reason phrases: an `error` that is one says less than the `message` beside it.
const REASON_PHRASES: [&str; 20] = [
    "bad request",
    "unauthorized",
    "payment required",
    "forbidden",
    "not found",
    "method not allowed",
    "not acceptable",
    "request timeout",
    "conflict",
    "gone",
    "payload too large",
    "unsupported media type",
    "unprocessable entity",
    "unprocessable content",
    "too many requests",
    "internal server error",
    "not implemented",
    "bad gateway",
    "service unavailable",
    "gateway timeout",
];

/// Reads the general parts of a body that is an object. `errors` of the result is empty.
pub(super) fn of_object(object: &Map<String, Value>) -> Body {
    let mut body = Body { request_id: request_id(object), ..Body::default() };
    match object.get("error") {
        Some(Value::String(error)) if !error.trim().is_empty() => {
            let is_phrase = REASON_PHRASES.contains(&error.to_ascii_lowercase().as_str());
            let better = message(object).filter(|_| is_phrase || is_code(error));
            if better.is_some() && !is_phrase {
                body.code.clone_from(error);
            }
            better.unwrap_or(error).trim().clone_into(&mut body.error);
        }
        Some(Value::Object(nested)) => take_nested(nested, &mut body),
        _ => {}
    }
    if body.error.is_empty() {
        message(object).unwrap_or_default().trim().clone_into(&mut body.error);
    }
    if let Some(Value::Object(detail)) = object.get("detail").filter(|_| body.error.is_empty()) {
        take_nested(detail, &mut body);
    }
    take_from_errors(object.get("errors"), &mut body);
    if let Some(code) = code(object) {
        body.code = code;
    }
    body
}

/// Reads the general parts of a body that is a list of errors.
pub(super) fn of_list(list: &[Value]) -> Body {
    let request_id = list.iter().find_map(|item| request_id(item.as_object()?));
    Body { request_id, ..Body::default() }
}

/// A text, or a number as text.
pub(super) fn text_of(value: Option<&Value>) -> Option<String> {
    match value? {
        Value::String(text) if !text.trim().is_empty() => Some(text.trim().to_owned()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

fn take_nested(nested: &Map<String, Value>, body: &mut Body) {
    let text = message(nested).or_else(|| nested.get("error").and_then(Value::as_str));
    text.unwrap_or_default().trim().clone_into(&mut body.error);
    let status = || nested.get("status").and_then(Value::as_str).filter(|status| is_code(status));
    if let Some(code) = code(nested).or_else(|| status().map(str::to_owned)) {
        body.code = code;
    }
}

/// GraphQL and JSON:API say everything in the items of `errors`; the first speaks for all.
fn take_from_errors(errors: Option<&Value>, body: &mut Body) {
    match errors {
        Some(Value::String(error)) if body.error.is_empty() => error.trim().clone_into(&mut body.error),
        Some(Value::Array(list)) => {
            // Rails' full messages are sentences of their own, though each names its field.
            if let Some(Value::String(sentence)) = list.first()
                && body.error.is_empty()
                && sentences::rails_field(sentence).is_some()
            {
                sentence.trim().clone_into(&mut body.error);
            }
            let Some(first) = list.first().and_then(Value::as_object) else { return };
            let is_graphql = first.contains_key("extensions") || first.contains_key("locations");
            if body.error.is_empty() {
                let title = first.get("title").and_then(Value::as_str);
                let text = title.or_else(|| items::message(first).filter(|_| is_graphql));
                text.unwrap_or_default().trim().clone_into(&mut body.error);
            }
            if body.code.is_empty() && (is_graphql || first.contains_key("status")) {
                body.code = items::code(first).into_owned();
            }
        }
        _ => {}
    }
}

fn message(object: &Map<String, Value>) -> Option<&str> {
    MESSAGE_KEYS.iter().find_map(|key| {
        object.get(*key)?.as_str().filter(|text| !text.trim().is_empty() && *text != "No message available")
    })
}

/// The code: never the HTTP status again, and no `about:blank` (RFC 9457's "no type").
fn code(object: &Map<String, Value>) -> Option<String> {
    CODE_KEYS.iter().find_map(|key| {
        let value = object.get(*key)?;
        let is_status = value.as_u64().is_some_and(|number| (100..600).contains(&number));
        text_of(Some(value)).filter(|text| !is_status && text != "about:blank" && !text.contains(char::is_whitespace))
    })
}

/// Whether a text is a name for machines: `invalid_grant`, `ValidationError`, `E_FAILED`.
fn is_code(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-.:".contains(&byte))
}

fn request_id(object: &Map<String, Value>) -> Option<String> {
    let own = |object: &Map<String, Value>| REQUEST_ID_KEYS.iter().find_map(|key| text_of(object.get(*key)));
    own(object)
        .or_else(|| REQUEST_ID_HOLDERS.iter().find_map(|key| own(object.get(*key)?.as_object()?)))
        .or_else(|| own(object.get("errors")?.as_array()?.first()?.get("extensions")?.as_object()?))
}
