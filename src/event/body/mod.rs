//! What an error body says, whichever framework wrote it.
//!
//! # How a shape is told
//!
//! Detection is ordered; the first source of field errors that yields any wins, so that a body is never read twice:
//!
//! 1. `errors`: a mapping of fields (the unified envelope, Rails, Laravel, ASP.NET, Mongoose), a list of items (RFC 9457,
//!    JSON:API, GraphQL, Spring, Ajv, express-validator, GitHub) or a list of sentences (Rails' full messages);
//! 2. `detail` as a list or mapping (FastAPI, pydantic);
//! 3. the other names lists of items go by (`issues`, `invalid-params`, `violations`, `details` …), at the top and then
//!    inside `error`;
//! 4. `message` as a list (class-validator, NestJS);
//! 5. `error` as an object, or the body itself, that names one parameter in `param` or `field` (Stripe, OpenAI);
//! 6. a text in `message`, `error` or `detail` that is a list of issues itself (zod 4), or names its fields in a validator's
//!    own grammar (Fastify, Go's `validator`; `sentences.rs`);
//! 7. the whole body as a mapping of fields (Django REST Framework), only where **every** value has the shape of field
//!    errors and the status is one a validation can have: an envelope's own keys never become fields.
//!
//! A body that is a list is a list of items or of rows (list serializers). Text that is no JSON is read as HTML when it
//! has tags, else as it stands. How lists and mappings are told apart inside these is said in `fields.rs` and `items.rs`.

mod fields;
mod general;
mod html;
mod items;
mod sentences;

use serde_json::{Map, Value};

use super::{
    path::{self, FieldPath},
    start_of,
};

/// Most field errors of one event; the rest is cut.
pub const MAX_ERRORS: usize = 200;

/// Longest message, in bytes; what is longer is cut.
pub const MAX_MESSAGE: usize = 2048;

/// Longest code, in bytes; what is longer is cut.
pub const MAX_CODE: usize = 128;

/// Deepest nesting that is descended into; what lies deeper is cut.
pub const MAX_DEPTH: usize = 32;

/// Most rows and keys of one body that are looked at, empty ones not counted; the rest is cut.
pub const MAX_VISITED: usize = 10_000;

/// A response body as a client sent it.
#[derive(Clone, Copy, Debug)]
pub enum Response<'a> {
    Json(&'a Value),
    /// Text or HTML; JSON inside it is read as JSON.
    Text(&'a str),
}

/// What a body says. Texts are as sent: not scrubbed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Body {
    /// The general message; empty when the body has none.
    pub error: String,
    /// Field errors in the order of the body.
    pub errors: Vec<RawFieldError>,
    /// The machine-readable code; empty when the body has none.
    pub code: String,
    pub request_id: Option<String>,
    /// Whether anything was cut at a limit.
    pub cut: bool,
}

/// One message about one field, before scrubbing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RawFieldError {
    /// `items[].sku`; empty for an error of no field.
    pub field: String,
    /// `items[3].sku`; empty for an error of no field.
    pub path: String,
    pub message: String,
    /// The machine-readable code of this message (pydantic's `type`, zod's `code` …); empty when there is none.
    /// [`super::rule::of`] takes it as a second opinion.
    pub code: String,
}

/// Field errors of the ingest field `errors`, and whether any were cut.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FieldErrors {
    pub errors: Vec<RawFieldError>,
    pub cut: bool,
}

/// Reads a response body.
#[must_use]
pub fn read(status: u16, response: Response<'_>) -> Body {
    match response {
        Response::Json(Value::String(text)) => read_text(status, text),
        Response::Json(value) => read_json(status, value),
        Response::Text(text) => read_text(status, text),
    }
}

/// Reads the ingest field `errors`: `{field: [messages]}`, `{field: message}`, nested as Django REST Framework nests, or a
/// list of items.
#[must_use]
pub fn field_errors(errors: &Value) -> FieldErrors {
    let mut collector = Collector::default();
    fields::read_errors(errors, false, &mut collector);
    FieldErrors { errors: collector.errors, cut: collector.cut }
}

fn read_json(status: u16, value: &Value) -> Body {
    let mut collector = Collector::default();
    let mut body = match value {
        Value::Object(object) => {
            read_object(status, object, &mut collector);
            let mut body = general::of_object(object);
            if sentences::issues(&body.error).is_some() {
                // The issues stand in `errors`; what they are called, or the first of them, speaks for all.
                let nested = object.get("error").and_then(Value::as_object).unwrap_or(object);
                let name = nested.get("name").and_then(Value::as_str);
                let first = || collector.errors.first().map(|error| error.message.as_str());
                name.or_else(first).unwrap_or_default().clone_into(&mut body.error);
            }
            body
        }
        Value::Array(list) => {
            fields::read_errors(value, false, &mut collector);
            general::of_list(list)
        }
        _ => Body::default(),
    };
    // A body that has nothing but sentences of no field: the first of them is its general message.
    if body.error.is_empty()
        && let Some(first) = collector.errors.iter().find(|error| error.path.is_empty())
    {
        body.error.clone_from(&first.message);
    }
    bound(&mut body.error, MAX_MESSAGE, &mut collector.cut);
    bound(&mut body.code, MAX_CODE, &mut collector.cut);
    Body { errors: collector.errors, cut: collector.cut, ..body }
}

/// Takes field errors from the first source that yields any, in the order of the module's documentation.
fn read_object(status: u16, object: &Map<String, Value>, collector: &mut Collector) {
    let nested = object.get("error").and_then(Value::as_object);
    if let Some(errors) = object.get("errors").filter(|errors| !errors.is_string()) {
        fields::read_errors(errors, false, collector);
    }
    if collector.is_empty()
        && let Some(detail @ (Value::Array(_) | Value::Object(_))) = object.get("detail")
    {
        fields::read_errors(detail, true, collector);
    }
    for source in std::iter::once(object).chain(nested) {
        for name in items::LIST_NAMES {
            if collector.is_empty()
                && let Some(list @ (Value::Array(_) | Value::Object(_))) = source.get(name)
            {
                fields::read_listed(list, collector);
            }
        }
    }
    if collector.is_empty()
        && let Some(messages @ Value::Array(_)) = object.get("message")
        && !fields::is_bare_mapping(status, object)
    {
        fields::read_errors(messages, false, collector);
    }
    if collector.is_empty() {
        items::read_parameter(nested.unwrap_or(object), collector);
    }
    for source in nested.into_iter().chain([object]) {
        for text in ["message", "error", "detail", "errors"].iter().filter_map(|name| source.get(*name)?.as_str()) {
            if collector.is_empty()
                && !sentences::read_go(text, collector)
                && let Some(issues) = sentences::issues(text)
            {
                fields::read_errors(&Value::Array(issues), false, collector);
            }
        }
    }
    if collector.is_empty()
        && let Some(message) = object.get("message").and_then(Value::as_str)
        && let Some(path) = path::of_sentence(message)
    {
        collector.push(&path, message, general::text_of(object.get("code")).as_deref().unwrap_or_default());
    }
    if collector.is_empty() && fields::is_bare_mapping(status, object) {
        fields::read_mapping(object, collector);
    }
}

fn read_text(status: u16, text: &str) -> Body {
    let text = text.trim_start_matches('\u{feff}').trim();
    if text.starts_with(['{', '[', '"'])
        && let Ok(value) = serde_json::from_str::<Value>(text)
        && !value.is_string()
    {
        return read_json(status, &value);
    }
    let mut body = Body::default();
    let mut collector = Collector::default();
    if html::is_markup(text) {
        let page = html::read(text);
        body.error = page.heading;
        body.code = page.code;
        body.request_id = page.request_id;
    } else {
        let line = text.lines().map(str::trim).find(|line| !line.is_empty());
        line.unwrap_or_default().clone_into(&mut body.error);
        sentences::read_go(text, &mut collector);
        body.cut = collector.cut;
        body.errors = collector.errors;
    }
    bound(&mut body.error, MAX_MESSAGE, &mut body.cut);
    bound(&mut body.code, MAX_CODE, &mut body.cut);
    body
}

/// Field errors within their limits.
#[derive(Debug, Default)]
struct Collector {
    errors: Vec<RawFieldError>,
    cut: bool,
    visited: usize,
}

impl Collector {
    fn push(&mut self, path: &FieldPath, message: &str, code: &str) {
        let message = message.trim();
        if message.is_empty() {
            return;
        }
        if self.errors.len() >= MAX_ERRORS {
            self.cut = true;
            return;
        }
        let mut error = RawFieldError {
            field: path.field(),
            path: path.as_str().to_owned(),
            message: message.to_owned(),
            code: code.to_owned(),
        };
        self.cut |= path.is_cut();
        bound(&mut error.message, MAX_MESSAGE, &mut self.cut);
        bound(&mut error.code, MAX_CODE, &mut self.cut);
        self.errors.push(error);
    }

    fn is_empty(&self) -> bool {
        self.errors.is_empty()
    }

    /// Whether to look at one more row or key.
    fn may_visit(&mut self) -> bool {
        self.visited += 1;
        let may = self.errors.len() < MAX_ERRORS && self.visited <= MAX_VISITED;
        self.cut |= !may;
        may
    }

    /// Whether to go down one more level.
    fn may_descend(&mut self, depth: usize) -> bool {
        let may = depth < MAX_DEPTH;
        self.cut |= !may;
        may
    }
}

fn bound(text: &mut String, limit: usize, cut: &mut bool) {
    if text.len() > limit {
        text.truncate(start_of(text, limit).len());
        *cut = true;
    }
}

#[cfg(test)]
mod captured;
#[cfg(test)]
mod tests;
