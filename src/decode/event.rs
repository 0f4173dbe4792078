//! The fields of an item → an [`Event`].

use serde_json::{Map, Value};

use super::{
    Context, Reason,
    fields::{Making, Rejection, cut},
    headers::{self, Headers, Side},
    item::{self, Item},
    key::{self, Occurrences},
    timestamp,
};
use crate::event::{
    Event, EventKey, FieldError, Marks, RequestId,
    body::{self, Body, RawFieldError, Response},
    fingerprint, rate_limit, route, rule,
    scrub::{Shape, without_tokens},
};

/// Longest `service`, `environment`, `release`, `host`, `account_id`, `user_id`, bytes.
pub(super) const MAX_NAME: usize = 256;
pub(super) const MAX_METHOD: usize = 32;
pub(super) const MAX_PATH: usize = 2048;
const MAX_MESSAGE: usize = 2048;
const MAX_FIELD_PATH: usize = 512;
const MAX_RESPONSE: usize = 32 << 10;
const MAX_USER_AGENT: usize = 512;
const MAX_TRACE_ID: usize = 128;

/// What was sent, by field; `Null` is absent.
#[derive(Default)]
struct Sent {
    account_id: Value,
    attributes: Value,
    client_ip: Value,
    duration_ms: Value,
    environment: Value,
    error: Value,
    errors: Value,
    event_id: Value,
    exception: Value,
    host: Value,
    method: Value,
    path: Value,
    rate_limit: Value,
    release: Value,
    request_headers: Value,
    request_id: Value,
    response: Value,
    response_headers: Value,
    route: Value,
    service: Value,
    span_id: Value,
    status: Value,
    timestamp: Value,
    trace_id: Value,
    user_agent: Value,
    user_id: Value,
    /// Fields of no name above, in the order sent.
    unknown: Vec<(String, Value)>,
}

impl Sent {
    fn of(fields: Map<String, Value>) -> Self {
        let mut sent = Self::default();
        for (name, value) in fields {
            match sent.field(&name) {
                Some(field) => *field = value,
                None => sent.unknown.push((name, value)),
            }
        }
        sent
    }

    fn field(&mut self, name: &str) -> Option<&mut Value> {
        Some(match name {
            "account_id" => &mut self.account_id,
            "attributes" => &mut self.attributes,
            "client_ip" => &mut self.client_ip,
            "duration_ms" => &mut self.duration_ms,
            "environment" => &mut self.environment,
            "error" => &mut self.error,
            "errors" => &mut self.errors,
            "event_id" => &mut self.event_id,
            "exception" => &mut self.exception,
            "host" => &mut self.host,
            "method" => &mut self.method,
            "path" => &mut self.path,
            "rate_limit" => &mut self.rate_limit,
            "release" => &mut self.release,
            "request_headers" => &mut self.request_headers,
            "request_id" => &mut self.request_id,
            "response" => &mut self.response,
            "response_headers" => &mut self.response_headers,
            "route" => &mut self.route,
            "service" => &mut self.service,
            "span_id" => &mut self.span_id,
            "status" => &mut self.status,
            "timestamp" => &mut self.timestamp,
            "trace_id" => &mut self.trace_id,
            "user_agent" => &mut self.user_agent,
            "user_id" => &mut self.user_id,
            _ => return None,
        })
    }
}

/// Makes the event, or says everything that is wrong with the item.
pub(super) fn build(item: Item, context: &Context<'_>, occurrences: &mut Occurrences<'_>) -> Result<Event, Rejection> {
    let content_key = match item.fields.get("event_id") {
        None | Some(Value::Null) => Some(key::of_content(context.project, &item.fields)),
        Some(id) if id.as_str() == Some("") => Some(key::of_content(context.project, &item.fields)),
        Some(_) => None,
    };
    let mut making = Making::new(context, item.replaced);
    let mut sent = Sent::of(item.fields);
    let status = making.status(&sent.status);
    let timestamp_ms = timestamp_ms(&mut making, &sent.timestamp);
    let event_id = making.event_id(sent.event_id.take());
    let (response, body) = response(&mut making, status, sent.response.take());
    let request_headers = headers::read(&mut making, Side::Request, sent.request_headers.take());
    let response_headers = headers::read(&mut making, Side::Response, sent.response_headers.take());
    let request_id = request_id(&mut making, &sent.request_id, &body, [&response_headers, &request_headers]);
    if making.has_problems() {
        let mut rejection = making.problems().unwrap_or_default();
        rejection.request_id = request_id;
        return Err(rejection);
    }
    let key = match content_key {
        None => key::of_event_id(context.project, &event_id),
        Some(content) if request_id.is_none() && sent.timestamp.is_null() => {
            occurrences.next(context.project, content, context.received_at_ms)
        }
        Some(content) => content,
    };
    let event_id = making.identifier("event_id", Value::String(event_id), usize::MAX);
    let identity = Identity { key, event_id, request_id, status, timestamp_ms };
    Ok(assemble(making, sent, identity, (response, body), (request_headers, response_headers)))
}

/// What an event is told apart by.
struct Identity {
    key: EventKey,
    event_id: String,
    request_id: Option<RequestId>,
    status: u16,
    timestamp_ms: i64,
}

fn assemble(
    mut making: Making<'_>,
    sent: Sent,
    identity: Identity,
    (response, body): (String, Body),
    (request_headers, response_headers): (Headers, Headers),
) -> Event {
    let context = making.context;
    let request_id = identity.request_id.unwrap_or_else(|| {
        making.marks.insert(Marks::GENERATED_REQUEST_ID);
        RequestId::generate()
    });
    let (error, code) = error(&mut making, sent.error, &body);
    let errors = errors(&mut making, sent.errors, body.errors);
    let (path, route) = path_and_route(&mut making, sent.path, sent.route);
    let quota = making.rate_limit(sent.rate_limit);
    let mut event = Event {
        project: context.project.to_owned(),
        key: identity.key,
        event_id: identity.event_id,
        request_id,
        timestamp_ms: identity.timestamp_ms,
        received_at_ms: context.received_at_ms,
        status: identity.status,
        service: making.text("service", sent.service, MAX_NAME),
        environment: making.text("environment", sent.environment, MAX_NAME),
        release: making.text("release", sent.release, MAX_NAME),
        host: making.text("host", sent.host, MAX_NAME),
        method: making.text("method", sent.method, MAX_METHOD).trim().to_ascii_uppercase(),
        path,
        route,
        error_template: rule::template(&without_tokens(&error)),
        error,
        code,
        errors,
        response,
        account_id: making.identifier("account_id", sent.account_id, MAX_NAME),
        user_id: making.identifier("user_id", sent.user_id, MAX_NAME),
        duration_ms: making.duration_ms(sent.duration_ms),
        rate_limit: quota.or_else(|| rate_limit::from_headers(&response_headers, identity.timestamp_ms)),
        client_ip: making.client_ip(sent.client_ip),
        user_agent: making.text("user_agent", sent.user_agent, MAX_USER_AGENT),
        trace_id: making.identifier("trace_id", sent.trace_id, MAX_TRACE_ID),
        span_id: making.identifier("span_id", sent.span_id, MAX_TRACE_ID),
        request_headers,
        response_headers,
        exception: making.exception(sent.exception),
        attributes: Vec::new(),
        fingerprint: 0,
        marks: Marks::default(),
    };
    attributes(&mut making, sent.attributes, sent.unknown);
    event.attributes = making.attributes;
    event.marks = making.marks;
    event.fingerprint = fingerprint::of(&event);
    event
}

fn timestamp_ms(making: &mut Making<'_>, value: &Value) -> i64 {
    let context = making.context;
    if value.is_null() {
        making.marks.insert(Marks::NO_TIMESTAMP);
        return context.received_at_ms;
    }
    match timestamp::parse(value) {
        Ok(time) => {
            if let Err((reason, message)) = timestamp::check(time, context.oldest_ms, context.received_at_ms) {
                making.problem("timestamp", reason, message);
            }
            time
        }
        Err(message) => {
            making.problem("timestamp", Reason::InvalidTimestamp, message);
            context.received_at_ms
        }
    }
}

/// The body as it is stored, and what it says. It is scrubbed before it is read, so that nothing read from it needs to be.
pub(super) fn response(making: &mut Making<'_>, status: u16, value: Value) -> (String, Body) {
    let mut value = match value {
        Value::Null => return (String::new(), Body::default()),
        Value::String(text) => {
            let Some((value, replaced)) = json_inside(&text) else {
                let text = making.bounded(text, usize::MAX);
                let body = body::read(status, Response::Text(&text));
                return (stored_response(making, text, &body), body);
            };
            if replaced {
                making.marks.insert(Marks::REPLACED_CHARACTERS);
            }
            value
        }
        other => other,
    };
    if making.scrubber().json(&mut value, Shape::Body) {
        making.marks.insert(Marks::SCRUBBED);
    }
    let body = body::read(status, Response::Json(&value));
    (stored_response(making, value.to_string(), &body), body)
}

fn stored_response(making: &mut Making<'_>, text: String, body: &Body) -> String {
    if body.cut {
        making.mark_cut();
    }
    cut(text, MAX_RESPONSE, making)
}

/// The object or array that a text holds.
fn json_inside(text: &str) -> Option<(Value, bool)> {
    matches!(text.trim_start().as_bytes().first(), Some(b'{' | b'[')).then(|| item::parse(text).ok()).flatten()
}

/// The sources of the contract in their order; `None` when none of them has an id.
fn request_id(making: &mut Making<'_>, value: &Value, body: &Body, headers: [&Headers; 2]) -> Option<RequestId> {
    let sent = match value {
        Value::Null => None,
        Value::String(text) if text.trim().is_empty() => None,
        Value::String(text) => Some(RequestId::parse(text)),
        Value::Number(number) => Some(RequestId::parse(&number.to_string())),
        other => {
            let message = format!("must be a string, got {}", item::kind(other));
            making.problem("request_id", Reason::InvalidRequestId, message);
            return None;
        }
    };
    if let Some(sent) = sent {
        return sent.map_err(|error| making.problem("request_id", Reason::InvalidRequestId, error.to_string())).ok();
    }
    let in_headers = headers
        .into_iter()
        .flat_map(|side| headers::REQUEST_ID.into_iter().filter_map(|name| headers::get(side, name)));
    body.request_id.as_deref().into_iter().chain(in_headers).find_map(|text| RequestId::parse(text).ok())
}

/// The general message and the code. An object under `error` is read as an error body is, and kept as an attribute.
pub(super) fn error(making: &mut Making<'_>, value: Value, body: &Body) -> (String, String) {
    let (error, code) = match value {
        Value::String(text) if !text.is_empty() => {
            let mut error = Value::String(text);
            if making.scrubber().json(&mut error, Shape::Messages) {
                making.marks.insert(Marks::SCRUBBED);
            }
            (error.as_str().unwrap_or_default().to_owned(), body.code.clone())
        }
        Value::Object(_) | Value::Array(_) => {
            let mut whole = serde_json::json!({ "error": value });
            making.scrubber().json(&mut whole, Shape::Body);
            let inner = body::read(400, Response::Json(&whole));
            making.attribute("error", whole["error"].take());
            let or = |first: String, second: &String| if first.is_empty() { second.clone() } else { first };
            (or(inner.error, &body.error), or(inner.code, &body.code))
        }
        Value::Null | Value::String(_) => (body.error.clone(), body.code.clone()),
        other => (making.bounded(other.to_string(), MAX_MESSAGE), body.code.clone()),
    };
    (cut(error, MAX_MESSAGE, making), code)
}

/// The field errors as sent, else those of the body. `errors` that hold none become an attribute.
pub(super) fn errors(making: &mut Making<'_>, mut value: Value, of_body: Vec<RawFieldError>) -> Vec<FieldError> {
    let mut raw = of_body;
    if !value.is_null() {
        if making.scrubber().json(&mut value, Shape::Messages) {
            making.marks.insert(Marks::SCRUBBED);
        }
        let sent = body::field_errors(&value);
        if sent.cut {
            making.mark_cut();
        }
        let says_nothing = value.as_object().is_some_and(Map::is_empty) || value.as_array().is_some_and(Vec::is_empty);
        if !sent.errors.is_empty() {
            raw = sent.errors;
        } else if !says_nothing {
            making.attribute("errors", value);
        }
    }
    raw.into_iter().map(|raw| field_error(making, raw)).collect()
}

fn field_error(making: &mut Making<'_>, raw: RawFieldError) -> FieldError {
    let message = cut(raw.message, MAX_MESSAGE, making);
    let plain = without_tokens(&message);
    let field = without_tokens(&raw.field).into_owned();
    let stated = making.context.catalog.rule_for(&field, &plain).unwrap_or_else(|| rule::of(&plain, &raw.code));
    let rule = stated.into_owned();
    FieldError { field: cut(field, MAX_FIELD_PATH, making), path: cut(raw.path, MAX_FIELD_PATH, making), message, rule }
}

/// The path without its query string, and the route as sent or made from it.
fn path_and_route(making: &mut Making<'_>, path: Value, route: Value) -> (String, String) {
    let path = match path {
        Value::String(target) => {
            let scrubbed = making.scrubber().path(without_origin(&target));
            let scrubbed = making.scrubbed(scrubbed);
            cut(scrubbed, MAX_PATH, making)
        }
        other => making.text("path", other, MAX_PATH),
    };
    let route = making.text("route", route, MAX_PATH);
    let route = if route.is_empty() && !path.is_empty() { route_of(&path) } else { route };
    (path, route)
}

/// The route of a scrubbed path; what was scrubbed becomes a placeholder (`[email]` → `{email}`).
pub(super) fn route_of(path: &str) -> String {
    let segment =
        |segment: &str| match without_tokens(segment).strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            Some(label) if !label.contains(['[', ']', ':']) => format!("{{{label}}}"),
            _ => segment.to_owned(),
        };
    route::template(&path.split('/').map(segment).collect::<Vec<_>>().join("/"))
}

/// A URL without its scheme and host; a path as it is.
fn without_origin(target: &str) -> &str {
    let Some(rest) = ["http://", "https://"].into_iter().find_map(|scheme| target.strip_prefix(scheme)) else {
        return target;
    };
    rest.find(['/', '?', '#']).map_or("/", |at| &rest[at..])
}

/// `attributes`, then the unknown fields.
fn attributes(making: &mut Making<'_>, value: Value, unknown: Vec<(String, Value)>) {
    match value {
        Value::Object(attributes) => {
            for (name, value) in attributes {
                making.attribute(&name, value);
            }
        }
        other => making.attribute("attributes", other),
    }
    for (name, value) in unknown {
        making.attribute(&name, value);
    }
}
