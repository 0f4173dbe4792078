//! An event that borrows its texts from the payload it was decoded from: what delivery turns into columns.

use serde::{Deserialize, Serialize};

use super::{Event, EventKey, Exception, FieldError, Marks, RateLimit, RequestId};

/// [`Event`] with borrowed texts: the same fields in the same order, so both have the same encoding (a test in
/// [`super::codec`] holds them together).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EventRef<'a> {
    pub project: &'a str,
    pub key: EventKey,
    pub event_id: &'a str,
    pub request_id: &'a str,
    pub timestamp_ms: i64,
    pub received_at_ms: i64,
    pub status: u16,
    pub service: &'a str,
    pub environment: &'a str,
    pub release: &'a str,
    pub host: &'a str,
    pub method: &'a str,
    pub path: &'a str,
    pub route: &'a str,
    pub error: &'a str,
    pub error_template: &'a str,
    pub code: &'a str,
    #[serde(borrow)]
    pub errors: Vec<FieldErrorRef<'a>>,
    pub response: &'a str,
    pub account_id: &'a str,
    pub user_id: &'a str,
    pub duration_ms: Option<f64>,
    pub rate_limit: Option<RateLimit>,
    pub client_ip: &'a str,
    pub user_agent: &'a str,
    pub trace_id: &'a str,
    pub span_id: &'a str,
    #[serde(borrow)]
    pub request_headers: Vec<(&'a str, &'a str)>,
    #[serde(borrow)]
    pub response_headers: Vec<(&'a str, &'a str)>,
    #[serde(borrow)]
    pub exception: Option<ExceptionRef<'a>>,
    #[serde(borrow)]
    pub attributes: Vec<(&'a str, &'a str)>,
    pub fingerprint: u64,
    pub marks: Marks,
}

/// [`FieldError`] with borrowed texts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FieldErrorRef<'a> {
    pub field: &'a str,
    pub path: &'a str,
    pub message: &'a str,
    pub rule: &'a str,
}

/// [`Exception`] with borrowed texts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExceptionRef<'a> {
    pub r#type: &'a str,
    pub message: &'a str,
    pub stacktrace: &'a str,
}

impl<'a> From<&'a Event> for EventRef<'a> {
    fn from(event: &'a Event) -> Self {
        Self {
            project: &event.project,
            key: event.key,
            event_id: &event.event_id,
            request_id: RequestId::as_str(&event.request_id),
            timestamp_ms: event.timestamp_ms,
            received_at_ms: event.received_at_ms,
            status: event.status,
            service: &event.service,
            environment: &event.environment,
            release: &event.release,
            host: &event.host,
            method: &event.method,
            path: &event.path,
            route: &event.route,
            error: &event.error,
            error_template: &event.error_template,
            code: &event.code,
            errors: event.errors.iter().map(FieldErrorRef::from).collect(),
            response: &event.response,
            account_id: &event.account_id,
            user_id: &event.user_id,
            duration_ms: event.duration_ms,
            rate_limit: event.rate_limit,
            client_ip: &event.client_ip,
            user_agent: &event.user_agent,
            trace_id: &event.trace_id,
            span_id: &event.span_id,
            request_headers: pairs(&event.request_headers),
            response_headers: pairs(&event.response_headers),
            exception: event.exception.as_ref().map(ExceptionRef::from),
            attributes: pairs(&event.attributes),
            fingerprint: event.fingerprint,
            marks: event.marks,
        }
    }
}

fn pairs(pairs: &[(String, String)]) -> Vec<(&str, &str)> {
    pairs.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect()
}

impl<'a> From<&'a FieldError> for FieldErrorRef<'a> {
    fn from(error: &'a FieldError) -> Self {
        Self { field: &error.field, path: &error.path, message: &error.message, rule: &error.rule }
    }
}

impl<'a> From<&'a Exception> for ExceptionRef<'a> {
    fn from(exception: &'a Exception) -> Self {
        Self { r#type: &exception.r#type, message: &exception.message, stacktrace: &exception.stacktrace }
    }
}
