//! Which traced requests the events of a batch came by: what connects the trace of a request with that of its delivery.
//!
//! In memory alone. After a restart, or past [`LIMIT`] requests that wait, a delivery is a trace of its own.

use std::{
    collections::VecDeque,
    sync::{Mutex, PoisonError},
};

use opentelemetry::{
    Context,
    trace::{SpanContext, TraceContextExt},
};
use tracing::Span;
use tracing_opentelemetry::OpenTelemetrySpanExt;

use super::{SPANS, context};

/// Requests that are remembered, and that a delivery links to, at most.
const LIMIT: usize = 128;

/// Requests whose events wait for delivery, by the position of the log after their last event.
#[derive(Debug, Default)]
pub struct Origins(Mutex<VecDeque<(u64, SpanContext)>>);

impl Origins {
    /// Notes that the current span, if it is recorded, appended what comes before this position.
    pub fn note(&self, end: u64) {
        let Some(span) = context::current().filter(SpanContext::is_sampled) else { return };
        let mut waiting = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if waiting.len() == LIMIT {
            waiting.pop_front();
        }
        waiting.push_back((end, span));
    }

    /// A span for the delivery of the events from `from` to before `to`: part of the request's trace where there is one request,
    /// linked with each where there are several.
    pub fn delivery(&self, from: u64, to: u64, rows: usize) -> Span {
        let span = tracing::info_span!(
            target: SPANS,
            "deliver batch",
            otel.kind = "consumer",
            messaging.batch.message_count = rows
        );
        if span.is_disabled() {
            return span;
        }
        match self.take(from, to).as_slice() {
            // Refused only without an exporter: then there is no trace to be part of.
            [only] => _ = span.set_parent(Context::new().with_remote_span_context(only.clone())),
            several => several.iter().for_each(|origin| span.add_link(origin.clone())),
        }
        span
    }

    /// Those whose last event is in the range; earlier ones are forgotten.
    fn take(&self, from: u64, to: u64) -> Vec<SpanContext> {
        let mut waiting = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut taken = Vec::new();
        waiting.retain(|(end, span)| {
            if (from + 1..=to).contains(end) {
                taken.push(span.clone());
            }
            *end > to
        });
        taken
    }
}
