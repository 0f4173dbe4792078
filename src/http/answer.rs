//! What every answer of the API looks like: the unified envelope, made in one place.
//!
//! Handlers return [`Data`] or [`ApiError`]; both ride as a response extension until [`envelope`], the outermost
//! middleware, writes the body with the request's id. So an answer that no handler made (an unknown path, a panic, a body
//! the framework refused) has the same shape, and each error is logged once.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use axum::{
    body::Body,
    extract::Request,
    http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header},
    middleware::Next,
    response::{IntoResponse, Response},
};
use serde::Serialize;
use serde_json::value::RawValue;
use utoipa::ToSchema;

use crate::event::RequestId;

/// The header that carries the request id, in both directions.
pub const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// The id of the request being answered: the client's own, or one made here.
#[derive(Clone, Debug)]
pub struct AnswerId(pub String);

/// A success: `{"success": true, "data": …, "request_id": …}`.
#[derive(Debug)]
pub struct Data<T>(pub StatusCode, pub T);

impl<T: Serialize> Data<T> {
    pub const fn ok(data: T) -> Self {
        Self(StatusCode::OK, data)
    }
}

impl<T: Serialize> IntoResponse for Data<T> {
    fn into_response(self) -> Response {
        match serde_json::value::to_raw_value(&self.1) {
            Ok(raw) => with_outcome(self.0, Outcome::Data(raw.into())),
            Err(error) => ApiError::internal("the answer does not serialise", &error).into_response(),
        }
    }
}

/// An error of our own API: status, message, field errors, and what only the log may know.
#[derive(Clone, Debug)]
pub struct ApiError {
    pub status: StatusCode,
    message: String,
    errors: BTreeMap<String, Vec<String>>,
    data: Option<Arc<RawValue>>,
    cause: Option<String>,
    retry_after: Option<Duration>,
}

impl ApiError {
    #[must_use]
    pub fn new(status: StatusCode, message: impl Into<String>) -> Self {
        Self { status, message: message.into(), errors: BTreeMap::new(), data: None, cause: None, retry_after: None }
    }

    /// 400 with a message about one field.
    #[must_use]
    pub fn invalid(field: &str, message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "Validation failed").field(field, message)
    }

    /// 401: no token, or not a good one.
    #[must_use]
    pub fn unauthorized(message: &str) -> Self {
        Self::new(StatusCode::UNAUTHORIZED, message)
    }

    /// 403.
    #[must_use]
    pub fn forbidden(needs: impl Into<String>) -> Self {
        Self::new(StatusCode::FORBIDDEN, "Permission denied").field("token", needs)
    }

    /// 404.
    #[must_use]
    pub fn not_found() -> Self {
        Self::new(StatusCode::NOT_FOUND, "Resource not found")
    }

    /// 429 of a token's quota.
    #[must_use]
    pub fn rate_limited(retry_after: Duration) -> Self {
        Self::new(StatusCode::TOO_MANY_REQUESTS, "Rate limit exceeded").retry_after(retry_after)
    }

    /// 503: something we need is not there just now; `message` says what and what to do.
    #[must_use]
    pub fn unavailable(message: impl Into<String>, retry_after: Duration) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, message).retry_after(retry_after)
    }

    /// 500: a defect of ours. The cause goes to the log alone.
    #[must_use]
    pub fn internal(doing: &str, cause: &dyn std::fmt::Display) -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "Internal server error").cause(format!("{doing}: {cause}"))
    }

    /// Adds a message about a field.
    #[must_use]
    pub fn field(mut self, field: &str, message: impl Into<String>) -> Self {
        self.errors.entry(field.to_owned()).or_default().push(message.into());
        self
    }

    /// Data that goes with the error (the rejections of a batch that held no good event).
    #[must_use]
    pub fn with_data(mut self, data: &impl Serialize) -> Self {
        self.data = serde_json::value::to_raw_value(data).ok().map(Arc::from);
        self
    }

    /// What the log may know and the client may not.
    #[must_use]
    pub fn cause(mut self, cause: impl Into<String>) -> Self {
        self.cause = Some(cause.into());
        self
    }

    #[must_use]
    pub fn retry_after(mut self, delay: Duration) -> Self {
        self.retry_after = Some(delay);
        self
    }

    /// What is wrong, by field, parameter or header.
    pub fn messages(&self) -> impl Iterator<Item = (&str, &str)> {
        self.errors.iter().flat_map(|(field, messages)| messages.iter().map(|text| (field.as_str(), text.as_str())))
    }

    /// Writes it to the log: whoever answers with it does so once.
    pub(crate) fn log(&self, id: &AnswerId) {
        let cause = self.cause.as_deref().unwrap_or_default();
        if self.status == StatusCode::SERVICE_UNAVAILABLE {
            tracing::warn!(request_id = id.0, status = self.status.as_u16(), cause, "{}", self.message);
        } else if self.status.is_server_error() {
            tracing::error!(request_id = id.0, status = self.status.as_u16(), cause, "{}", self.message);
        } else {
            tracing::debug!(request_id = id.0, status = self.status.as_u16(), cause, "{}", self.message);
        }
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        with_outcome(self.status, Outcome::Error(self))
    }
}

#[derive(Clone, Debug)]
enum Outcome {
    Data(Arc<RawValue>),
    Error(ApiError),
}

fn with_outcome(status: StatusCode, outcome: Outcome) -> Response {
    let mut response = status.into_response();
    response.extensions_mut().insert(outcome);
    response
}

#[allow(clippy::struct_field_names)] // the contract's name
#[derive(Serialize)]
struct Success<'a> {
    success: bool,
    data: &'a RawValue,
    request_id: &'a str,
}

/// An error, in the unified envelope.
#[derive(Serialize, ToSchema)]
#[schema(as = Error)]
pub(super) struct Failure<'a> {
    /// Always false.
    success: bool,
    /// What is wrong, in a few words: `Validation failed`, `Permission denied` …
    error: &'a str,
    /// Messages by field, parameter or header.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    #[schema(value_type = Option<BTreeMap<String, Vec<String>>>)]
    errors: &'a BTreeMap<String, Vec<String>>,
    /// Details: the rejections of a batch that held no good event.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<serde_json::Value>)]
    data: Option<&'a RawValue>,
    /// Also in `X-Request-ID`.
    request_id: &'a str,
}

/// The outermost middleware: gives the request its id and the answer its envelope.
pub async fn envelope(mut request: Request, next: Next) -> Response {
    let id = AnswerId(request_id(request.headers()));
    request.extensions_mut().insert(id.clone());
    let is_api = super::is_api(request.uri().path());
    let mut response = next.run(request).await;
    let outcome = response.extensions_mut().remove::<Outcome>().or_else(|| {
        // A refusal the framework made by itself.
        let status = response.status();
        let bare = is_api && (status.is_client_error() || status.is_server_error());
        bare.then(|| Outcome::Error(ApiError::new(status, status.canonical_reason().unwrap_or("Error"))))
    });
    if let Some(outcome) = outcome {
        if let Outcome::Error(error) = &outcome {
            error.log(&id);
            error_headers(error, response.headers_mut());
        }
        *response.body_mut() = Body::from(body(&outcome, &id.0));
        let headers = response.headers_mut();
        headers.remove(header::CONTENT_LENGTH);
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    }
    if let Ok(value) = HeaderValue::from_str(&id.0) {
        response.headers_mut().insert(X_REQUEST_ID, value);
    }
    for (name, value) in PROTECTIONS {
        response.headers_mut().entry(name).or_insert(HeaderValue::from_static(value));
    }
    response
}

/// What a browser may do with an answer: nothing. A page that needs more says so itself.
const PROTECTIONS: [(HeaderName, &str); 4] = [
    (header::CONTENT_SECURITY_POLICY, "default-src 'none'; frame-ancestors 'none'"),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::X_FRAME_OPTIONS, "DENY"),
    (header::REFERRER_POLICY, "no-referrer"),
];

/// Takes the error out of a response that has not got its body yet, for who answers with something else than the envelope.
pub(crate) fn take_error(response: &mut Response) -> Option<ApiError> {
    match response.extensions_mut().remove::<Outcome>()? {
        Outcome::Error(error) => Some(error),
        data @ Outcome::Data(_) => {
            response.extensions_mut().insert(data);
            None
        }
    }
}

pub(crate) fn error_headers(error: &ApiError, headers: &mut HeaderMap) {
    if let Some(delay) = error.retry_after {
        headers.insert(header::RETRY_AFTER, HeaderValue::from(delay.as_secs().max(1)));
    }
    if error.status == StatusCode::UNAUTHORIZED {
        headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    }
}

fn body(outcome: &Outcome, request_id: &str) -> Vec<u8> {
    let written = match outcome {
        Outcome::Data(data) => serde_json::to_vec(&Success { success: true, data, request_id }),
        Outcome::Error(error) => serde_json::to_vec(&Failure {
            success: false,
            error: &error.message,
            errors: &error.errors,
            data: error.data.as_deref(),
            request_id,
        }),
    };
    let mut written = written.unwrap_or_else(|error| {
        // Strings and raw JSON always serialise; say so rather than answer nothing.
        tracing::error!(%error, request_id, "an envelope does not serialise");
        br#"{"success":false,"error":"Internal server error"}"#.to_vec()
    });
    // A terminal's prompt begins on a line of its own.
    written.push(b'\n');
    written
}

/// The client's id when it is 1–128 visible ASCII characters, else a new one.
fn request_id(headers: &HeaderMap) -> String {
    headers
        .get(X_REQUEST_ID)
        .and_then(|value| value.to_str().ok())
        .filter(|text| RequestId::parse(text).is_ok_and(|id| id.as_str().len() == text.len()))
        .map_or_else(|| uuid::Uuid::new_v4().to_string(), str::to_owned)
}

/// The answer to a panic in a handler: an error like any other, the panic's text in the log.
#[allow(clippy::needless_pass_by_value)] // the layer's signature
pub fn panicked(panic: Box<dyn std::any::Any + Send + 'static>) -> Response {
    let text = panic.downcast_ref::<String>().map(String::as_str).or_else(|| panic.downcast_ref::<&str>().copied());
    ApiError::internal("a handler panicked", &text.unwrap_or("no text")).into_response()
}
