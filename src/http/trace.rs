//! A span for each request of the API, as OpenTelemetry's conventions for HTTP servers name things.

use axum::{
    extract::{MatchedPath, Request},
    middleware::Next,
    response::Response,
};
use tracing::{Instrument, field::Empty};

use super::{answer::X_REQUEST_ID, is_api};
use crate::telemetry::{self, SPANS};

/// Middleware around the envelope. Of what a request asks for, a span holds the route alone: ids and parameters are customers'.
pub async fn record(request: Request, next: Next) -> Response {
    if !is_api(request.uri().path()) {
        return next.run(request).await;
    }
    let route = request.extensions().get::<MatchedPath>().map_or("", MatchedPath::as_str);
    let span = tracing::info_span!(
        target: SPANS,
        "request",
        otel.name = format!("{} {route}", request.method()).trim_end(),
        otel.kind = "server",
        otel.status_code = Empty,
        http.request.method = request.method().as_str(),
        http.route = route,
        http.response.status_code = Empty,
        errata.request_id = Empty,
    );
    if span.is_disabled() {
        return next.run(request).await;
    }
    telemetry::continue_trace(&span, request.headers());
    let response = next.run(request).instrument(span.clone()).await;
    let status = response.status();
    span.record("http.response.status_code", status.as_u16());
    if let Some(id) = response.headers().get(X_REQUEST_ID).and_then(|id| id.to_str().ok()) {
        span.record("errata.request_id", id);
    }
    if status.is_server_error() {
        span.record("otel.status_code", "ERROR");
    }
    response
}
