//! Stored events as answers show them: the ingest names, and field errors as a list.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::value::RawValue;
use utoipa::ToSchema;

use crate::{
    clock::rfc3339,
    event::{Event, catalog::Catalog},
};

/// A stored event. Texts the client did not send are left out.
#[derive(Debug, Serialize, ToSchema)]
pub struct StoredEvent {
    pub request_id: String,
    pub timestamp: String,
    pub received_at: String,
    pub status: u16,
    /// The idempotency key: the client's own, else a hash of the content in hex.
    pub event_id: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub service: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub environment: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub release: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub host: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub method: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub path: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub route: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub error: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub code: String,
    pub errors: Vec<StoredFieldError>,
    /// The body as sent, scrubbed: JSON where it was JSON, else text.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<serde_json::Value>)]
    pub response: Option<Box<RawValue>>,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub account_id: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub user_id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub duration_ms: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rate_limit: Option<StoredRateLimit>,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub client_ip: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub user_agent: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub trace_id: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub span_id: String,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub request_headers: BTreeMap<String, String>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub response_headers: BTreeMap<String, String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exception: Option<StoredException>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub attributes: BTreeMap<String, String>,
    /// Identity of the kind of error, 16 hex digits.
    pub fingerprint: String,
    /// What was done to the event on the way in: `scrubbed`, `cut` …
    pub marks: Vec<&'static str>,
}

/// One message about one field.
#[derive(Debug, Serialize, ToSchema)]
pub struct StoredFieldError {
    /// What statistics group by: `items[].sku`; empty for errors of no field.
    pub field: String,
    /// The position as sent: `items[3].sku`.
    pub path: String,
    pub message: String,
    pub rule: String,
    /// Whether the error catalog has this message for the route's module.
    pub documented: bool,
}

/// The client's quota as the API reported it.
#[derive(Debug, Serialize, ToSchema)]
pub struct StoredRateLimit {
    pub limit: Option<u64>,
    pub remaining: Option<u64>,
    /// Unix seconds.
    pub reset: Option<i64>,
}

/// The exception behind a 5xx.
#[derive(Debug, Serialize, ToSchema)]
pub struct StoredException {
    pub r#type: String,
    pub message: String,
    pub stacktrace: String,
}

impl StoredEvent {
    #[must_use]
    pub fn new(event: Event, catalog: &Catalog) -> Self {
        let documented = |field: &str, message: &str| catalog.is_documented(&event.route, field, message, event.status);
        let errors = event.errors.iter().map(|error| StoredFieldError {
            documented: documented(&error.field, &error.message),
            field: error.field.clone(),
            path: error.path.clone(),
            message: error.message.clone(),
            rule: error.rule.clone(),
        });
        Self {
            request_id: event.request_id.to_string(),
            timestamp: rfc3339(event.timestamp_ms),
            received_at: rfc3339(event.received_at_ms),
            status: event.status,
            event_id: if event.event_id.is_empty() { format!("{:016x}", event.key.stored()) } else { event.event_id },
            errors: errors.collect(),
            response: response(&event.response),
            rate_limit: event.rate_limit.map(|limit| StoredRateLimit {
                limit: limit.limit,
                remaining: limit.remaining,
                reset: limit.reset,
            }),
            exception: event.exception.map(|exception| StoredException {
                r#type: exception.r#type,
                message: exception.message,
                stacktrace: exception.stacktrace,
            }),
            request_headers: event.request_headers.into_iter().collect(),
            response_headers: event.response_headers.into_iter().collect(),
            attributes: event.attributes.into_iter().collect(),
            fingerprint: format!("{:016x}", event.fingerprint),
            marks: event.marks.names().collect(),
            service: event.service,
            environment: event.environment,
            release: event.release,
            host: event.host,
            method: event.method,
            path: event.path,
            route: event.route,
            error: event.error,
            code: event.code,
            account_id: event.account_id,
            user_id: event.user_id,
            duration_ms: event.duration_ms,
            client_ip: event.client_ip,
            user_agent: event.user_agent,
            trace_id: event.trace_id,
            span_id: event.span_id,
        }
    }

    /// What may be shown to people who must not see who made a request: no account, user, address, agent, and none of
    /// the parts that can hold them as free text.
    #[must_use]
    pub fn without_personal(mut self) -> Self {
        for text in [
            &mut self.account_id,
            &mut self.user_id,
            &mut self.client_ip,
            &mut self.user_agent,
            &mut self.path,
            &mut self.host,
        ] {
            text.clear();
        }
        self.response = None;
        self.exception = None;
        self.request_headers.clear();
        self.response_headers.clear();
        self.attributes.clear();
        self
    }
}

/// The stored body: as JSON if it is JSON, else as a JSON string.
fn response(text: &str) -> Option<Box<RawValue>> {
    if text.is_empty() {
        return None;
    }
    let is_structure = text.starts_with(['{', '[']);
    let structure = is_structure.then(|| RawValue::from_string(text.to_owned()).ok()).flatten();
    structure.or_else(|| serde_json::value::to_raw_value(text).ok())
}
