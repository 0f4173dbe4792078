//! The W3C trace context (<https://www.w3.org/TR/trace-context/>), in and out.

use std::collections::HashMap;

use hyper::HeaderMap;
use opentelemetry::{
    propagation::TextMapPropagator,
    trace::{SpanContext, TraceContextExt},
};
use opentelemetry_http::HeaderExtractor;
use opentelemetry_sdk::propagation::TraceContextPropagator;
use tracing::Span;
use tracing_opentelemetry::OpenTelemetrySpanExt;

/// Makes a span, which has not been entered yet, part of the trace that the headers of a request name, if they name one.
pub fn continue_trace(span: &Span, headers: &HeaderMap) {
    let context = TraceContextPropagator::new().extract(&HeaderExtractor(headers));
    if context.has_active_span() {
        // Refused only without an exporter: then there is no trace to be part of.
        let _ = span.set_parent(context);
    }
}

/// The headers that make a request part of the current span's trace; none where there is no trace.
#[must_use]
pub fn of_current_span() -> HashMap<String, String> {
    let mut headers = HashMap::new();
    let span = Span::current();
    if !span.is_disabled() {
        TraceContextPropagator::new().inject_context(&span.context(), &mut headers);
        headers.retain(|_, value| !value.is_empty()); // an empty `tracestate` says nothing
    }
    headers
}

/// The id of the current span's trace, as logs name it.
#[must_use]
pub fn trace_id() -> Option<String> {
    current().map(|span| span.trace_id().to_string())
}

/// The current span as other spans name it.
pub(super) fn current() -> Option<SpanContext> {
    let span = Span::current();
    if span.is_disabled() {
        return None;
    }
    let context = span.context();
    Some(context.span().span_context().clone()).filter(SpanContext::is_valid)
}
