//! Stored events as answers show them: the ingest names, and field errors as a list.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::value::RawValue;
use utoipa::ToSchema;

use super::privacy::{Shown, Sight};
use crate::{
    clock::rfc3339,
    event::{Event, Exception, FieldError, RateLimit, catalog::Catalog},
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
    #[serde(skip_serializing_if = "Shown::is_empty")]
    pub host: Shown,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub method: String,
    #[serde(skip_serializing_if = "Shown::is_empty")]
    pub path: Shown,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub route: String,
    #[serde(skip_serializing_if = "Shown::is_empty")]
    pub error: Shown,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub code: String,
    pub errors: Vec<StoredFieldError>,
    /// The body as sent, scrubbed: JSON where it was JSON, else text.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<serde_json::Value>)]
    pub response: Option<Box<RawValue>>,
    #[serde(skip_serializing_if = "Shown::is_empty")]
    pub account_id: Shown,
    #[serde(skip_serializing_if = "Shown::is_empty")]
    pub user_id: Shown,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub duration_ms: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rate_limit: Option<StoredRateLimit>,
    #[serde(skip_serializing_if = "Shown::is_empty")]
    pub client_ip: Shown,
    #[serde(skip_serializing_if = "Shown::is_empty")]
    pub user_agent: Shown,
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
    pub message: Shown,
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

impl Sight {
    /// A stored event as the asker sees it. Those who see no people see no address, agent, path, host, body, header, attribute and
    /// exception either: each can hold a name. The client's own `event_id` can too; the key stands for it.
    #[must_use]
    pub fn event(&self, event: Event, catalog: &Catalog) -> StoredEvent {
        let errors = event.errors.iter().map(|error| self.field_error(error, &event, catalog)).collect();
        let error = self.message_of(event.error, &event.account_id, &event.user_id);
        let has_id = !event.event_id.is_empty() && self.sees_people();
        let pairs = |pairs: Vec<(String, String)>| {
            let shown = if self.sees_people() { pairs } else { Vec::new() };
            shown.into_iter().collect::<BTreeMap<_, _>>()
        };
        StoredEvent {
            request_id: event.request_id.to_string(),
            timestamp: rfc3339(event.timestamp_ms),
            received_at: rfc3339(event.received_at_ms),
            status: event.status,
            event_id: if has_id { event.event_id } else { format!("{:016x}", event.key.stored()) },
            errors,
            response: response(self.whole(event.response).as_str()),
            rate_limit: event.rate_limit.map(StoredRateLimit::from),
            exception: event.exception.filter(|_| self.sees_people()).map(StoredException::from),
            request_headers: pairs(event.request_headers),
            response_headers: pairs(event.response_headers),
            attributes: pairs(event.attributes),
            fingerprint: format!("{:016x}", event.fingerprint),
            marks: event.marks.names().collect(),
            service: event.service,
            environment: event.environment,
            release: event.release,
            host: self.whole(event.host),
            method: event.method,
            path: self.whole(event.path),
            route: event.route,
            error,
            code: event.code,
            account_id: self.account(event.account_id),
            user_id: self.user(event.user_id),
            duration_ms: event.duration_ms,
            client_ip: self.whole(event.client_ip),
            user_agent: self.whole(event.user_agent),
            trace_id: event.trace_id,
            span_id: event.span_id,
        }
    }

    fn field_error(&self, error: &FieldError, event: &Event, catalog: &Catalog) -> StoredFieldError {
        StoredFieldError {
            documented: catalog.is_documented(&event.route, &error.field, &error.message, event.status),
            field: error.field.clone(),
            path: error.path.clone(),
            message: self.message_of(error.message.clone(), &event.account_id, &event.user_id),
            rule: error.rule.clone(),
        }
    }
}

impl From<RateLimit> for StoredRateLimit {
    fn from(RateLimit { limit, remaining, reset }: RateLimit) -> Self {
        Self { limit, remaining, reset }
    }
}

impl From<Exception> for StoredException {
    fn from(Exception { r#type, message, stacktrace }: Exception) -> Self {
        Self { r#type, message, stacktrace }
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
