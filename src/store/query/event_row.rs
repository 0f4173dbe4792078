//! A stored row as an [`Event`].

use std::borrow::Cow;

use clickhouse::Row;
use serde::Deserialize;
use uuid::Uuid;

use crate::{
    event::{Event, EventKey, FieldError, Marks, RequestId},
    store::{
        StoreError,
        details::Details,
        fold::{self, Fold},
        rows::ORIGIN_SEPARATOR,
    },
};

/// The columns of `events` that make an event, in their order in a `SELECT ?fields`. The project is not among them: every query
/// names it, and a column less is read; nor are columns that ClickHouse would have to put together.
#[derive(Debug, Row, Deserialize)]
pub struct EventRow {
    pub key: u64,
    #[serde(with = "clickhouse::serde::uuid")]
    pub request_uuid: Uuid,
    pub request_text: String,
    /// Milliseconds since the Unix epoch.
    pub timestamp: i64,
    pub received_at: i64,
    pub status: u16,
    pub origin: String,
    pub host: String,
    pub path_values: String,
    pub error: String,
    #[serde(rename = "errors.field")]
    pub errors_field: Vec<String>,
    #[serde(rename = "errors.message")]
    pub errors_message: Vec<String>,
    #[serde(rename = "errors.rule")]
    pub errors_rule: Vec<String>,
    pub body: String,
    pub account_id: String,
    pub user_id: String,
    pub duration_ms: Option<f64>,
    pub client_ip4: u32,
    pub user_agent: String,
    pub fingerprint: u64,
    pub details: String,
}

impl EventRow {
    /// Bytes of its texts, roughly.
    pub fn size(&self) -> usize {
        let lists = [&self.errors_field, &self.errors_message, &self.errors_rule];
        let listed: usize = lists.into_iter().flatten().map(String::len).sum();
        let texts = [&self.origin, &self.path_values, &self.error, &self.body, &self.user_agent, &self.details];
        listed + texts.into_iter().map(String::len).sum::<usize>()
    }

    /// The event, of the project that was asked for.
    ///
    /// # Errors
    /// When the row is none that [`rows`](crate::store::rows) makes.
    pub fn into_event(self, project: &str) -> Result<Event, StoreError> {
        let row = self;
        let request_id = request_id_of(row.request_uuid, &row.request_text);
        let strange = |what: String| StoreError::Answer(format!("the event {request_id} has {what}"));
        let id = RequestId::parse(&request_id).map_err(|error| strange(format!("an id that {error}")))?;
        let mut details: Details =
            serde_json::from_str(&row.details).map_err(|error| strange(format!("no details: {error}")))?;
        let origin = match details.origin.take() {
            Some(words) => words,
            None => origin_words(&row.origin).ok_or_else(|| strange("no origin".to_owned()))?,
        };
        let [service, environment, release, method, route] = origin;
        let messages = row.errors_message.iter().map(String::as_str);
        let parts = Fold::from_parts(&request_id, &row.error, messages);
        let unfold = |text| if details.plain { text } else { parts.unfold(text) };
        let unfold_all = |headers: Vec<(String, String)>| -> Vec<_> {
            headers.into_iter().map(|(name, value)| (name, unfold(value))).collect()
        };
        let client_ip = match row.client_ip4 {
            0 => details.client_ip,
            address => std::net::Ipv4Addr::from(address).to_string(),
        };
        Ok(Event {
            response: unfold(row.body),
            request_headers: unfold_all(details.request_headers.0),
            response_headers: unfold_all(details.response_headers.0),
            path: details.path.unwrap_or_else(|| fold::path_of(&route, &row.path_values)),
            errors: field_errors(row.errors_field, details.paths, row.errors_message, row.errors_rule),
            error_template: details.error_template.unwrap_or_else(|| row.error.clone()),
            project: project.to_owned(),
            key: EventKey(row.key.into()),
            event_id: details.event_id,
            request_id: id,
            timestamp_ms: row.timestamp,
            received_at_ms: row.received_at,
            status: row.status,
            service,
            environment,
            release,
            host: row.host,
            method,
            route,
            error: row.error,
            code: details.code,
            account_id: row.account_id,
            user_id: row.user_id,
            duration_ms: row.duration_ms,
            rate_limit: details.rate_limit,
            client_ip,
            user_agent: row.user_agent,
            trace_id: details.trace_id,
            span_id: details.span_id,
            exception: details.exception,
            attributes: details.attributes.0,
            fingerprint: row.fingerprint,
            marks: Marks(details.marks),
        })
    }
}

/// A request id of its two columns: as [`rows::request_columns`](crate::store::rows) made them.
pub(super) fn request_id_of(uuid: Uuid, text: &str) -> Cow<'_, str> {
    if text.is_empty() { uuid.to_string().into() } else { text.into() }
}

/// Service, environment, release, method and route.
pub(super) fn origin_words(origin: &str) -> Option<[String; 5]> {
    origin.split(ORIGIN_SEPARATOR).map(str::to_owned).collect::<Vec<_>>().try_into().ok()
}

/// ClickHouse keeps the lists of a row at one length; paths are there when they are not the fields.
fn field_errors(
    fields: Vec<String>,
    paths: Option<Vec<String>>,
    messages: Vec<String>,
    rules: Vec<String>,
) -> Vec<FieldError> {
    let paths = paths.unwrap_or_else(|| fields.clone());
    let texts = fields.into_iter().zip(paths).zip(messages).zip(rules);
    texts.map(|(((field, path), message), rule)| FieldError { field, path, message, rule }).collect()
}
