//! A stored row as an [`Event`].

use clickhouse::Row;
use serde::Deserialize;

use crate::{
    event::{Event, EventKey, Exception, FieldError, Marks, RateLimit, RequestId},
    store::{StoreError, fold},
};

/// The columns of `events`, in their order in a `SELECT ?fields`.
#[derive(Debug, Row, Deserialize)]
pub struct EventRow {
    pub project: String,
    pub key: u128,
    pub event_id: String,
    pub request_id: String,
    /// Milliseconds since the Unix epoch.
    pub timestamp: i64,
    pub received_at: i64,
    pub status: u16,
    pub service: String,
    pub environment: String,
    pub release: String,
    pub host: String,
    pub method: String,
    pub path: String,
    pub route: String,
    pub error: String,
    pub error_template: String,
    pub code: String,
    #[serde(rename = "errors.field")]
    pub errors_field: Vec<String>,
    #[serde(rename = "errors.path")]
    pub errors_path: Vec<String>,
    #[serde(rename = "errors.message")]
    pub errors_message: Vec<String>,
    #[serde(rename = "errors.rule")]
    pub errors_rule: Vec<String>,
    pub folded: bool,
    pub response_folded: String,
    pub account_id: String,
    pub user_id: String,
    pub duration_ms: Option<f64>,
    pub rate_limit_reported: bool,
    pub rate_limit: Option<u64>,
    pub rate_limit_remaining: Option<u64>,
    pub rate_limit_reset: Option<i64>,
    pub client_ip: String,
    pub user_agent: String,
    pub trace_id: String,
    pub span_id: String,
    pub request_headers: Vec<(String, String)>,
    pub response_headers: Vec<(String, String)>,
    pub has_exception: bool,
    pub exception_type: String,
    pub exception_message: String,
    pub exception_stacktrace: String,
    pub attributes: Vec<(String, String)>,
    pub fingerprint: u64,
    pub marks: u32,
}

impl TryFrom<EventRow> for Event {
    type Error = StoreError;

    fn try_from(row: EventRow) -> Result<Self, StoreError> {
        let request_id = RequestId::parse(&row.request_id)
            .map_err(|error| StoreError::Answer(format!("stored request id {:?} {error}", row.request_id)))?;
        let unfold = |text| fold::unfold(text, &row.request_id, row.folded);
        let unfold_all = |headers: Vec<(String, String)>| {
            headers.into_iter().map(|(name, value)| (name, unfold(value))).collect::<Vec<_>>()
        };
        let exception = Exception {
            r#type: row.exception_type,
            message: row.exception_message,
            stacktrace: row.exception_stacktrace,
        };
        let rate_limit =
            RateLimit { limit: row.rate_limit, remaining: row.rate_limit_remaining, reset: row.rate_limit_reset };
        Ok(Self {
            response: unfold(row.response_folded),
            request_headers: unfold_all(row.request_headers),
            response_headers: unfold_all(row.response_headers),
            project: row.project,
            key: EventKey(row.key),
            event_id: row.event_id,
            request_id,
            timestamp_ms: row.timestamp,
            received_at_ms: row.received_at,
            status: row.status,
            service: row.service,
            environment: row.environment,
            release: row.release,
            host: row.host,
            method: row.method,
            path: row.path,
            route: row.route,
            error: row.error,
            error_template: row.error_template,
            code: row.code,
            errors: field_errors(row.errors_field, row.errors_path, row.errors_message, row.errors_rule),
            account_id: row.account_id,
            user_id: row.user_id,
            duration_ms: row.duration_ms,
            rate_limit: row.rate_limit_reported.then_some(rate_limit),
            client_ip: row.client_ip,
            user_agent: row.user_agent,
            trace_id: row.trace_id,
            span_id: row.span_id,
            exception: row.has_exception.then_some(exception),
            attributes: row.attributes,
            fingerprint: row.fingerprint,
            marks: Marks(row.marks),
        })
    }
}

/// ClickHouse keeps the four lists of a row at one length.
fn field_errors(fields: Vec<String>, paths: Vec<String>, messages: Vec<String>, rules: Vec<String>) -> Vec<FieldError> {
    let texts = fields.into_iter().zip(paths).zip(messages).zip(rules);
    texts.map(|(((field, path), message), rule)| FieldError { field, path, message, rule }).collect()
}
