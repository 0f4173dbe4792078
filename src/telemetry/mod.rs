//! What the collector says of itself while it works: logs, pretty on a terminal and JSON otherwise, and traces, where
//! OpenTelemetry is configured (`export`).
//!
//! Spans of [`SPANS`] are for traces alone. Nobody asks for them where no exporter is, and a span nobody asks for is not made:
//! its fields are not even evaluated.

mod context;
mod export;
mod origins;

use std::io::IsTerminal;

use opentelemetry::trace::TracerProvider;
use opentelemetry_sdk::trace::SdkTracerProvider;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::{
    EnvFilter, Layer, Registry,
    filter::{FilterExt, Targets, filter_fn},
    fmt,
    layer::SubscriberExt,
    util::SubscriberInitExt,
};

pub use context::{continue_trace, of_current_span, trace_id};
pub use origins::Origins;

/// Target of the spans that traces are made of.
pub const SPANS: &str = "errata::spans";

/// What is logged unless `ERRATA_LOG` says otherwise.
const DEFAULT_FILTER: &str = "info";

/// The process' telemetry; [`Telemetry::end`] sends the last spans.
#[must_use]
pub struct Telemetry {
    traces: Option<SdkTracerProvider>,
}

/// Sets up logging to standard error, and the export of traces if it is configured; a second call changes nothing.
///
/// `ERRATA_LOG` holds a filter (`debug`, `errata::deliver=debug`), `ERRATA_LOG_FORMAT` is `pretty` or `json`. Traces are sent
/// on `runtime`, which must live until [`Telemetry::end`].
///
/// # Errors
/// When one of the variables, or one of OpenTelemetry's, cannot be read; the text names it.
pub fn init(runtime: &tokio::runtime::Handle) -> Result<Telemetry, String> {
    let filter = match std::env::var("ERRATA_LOG") {
        Ok(text) => EnvFilter::try_new(&text).map_err(|error| format!("ERRATA_LOG={text:?}: {error}"))?,
        Err(_) => EnvFilter::new(DEFAULT_FILTER),
    };
    let json = match std::env::var("ERRATA_LOG_FORMAT").as_deref() {
        Ok("json") => true,
        Ok("pretty") => false,
        Ok(other) => return Err(format!("ERRATA_LOG_FORMAT={other:?}: expected pretty or json")),
        Err(_) => !std::io::stderr().is_terminal(),
    };
    let traces = export::provider(runtime)?;
    // A subscriber that is there already (another test's) is as good.
    let _ = tracing_subscriber::registry().with(layers(filter, json, traces.as_ref())).try_init();
    Ok(Telemetry { traces })
}

/// Who listens. A list, and not an optional layer for traces: one that is none would ask for every span there is.
fn layers(
    filter: EnvFilter,
    json: bool,
    traces: Option<&SdkTracerProvider>,
) -> Vec<Box<dyn Layer<Registry> + Send + Sync>> {
    let filter = filter.and(filter_fn(|metadata| metadata.target() != SPANS));
    let layer = fmt::layer().with_writer(std::io::stderr);
    let logs = if json {
        layer.json().flatten_event(true).with_filter(filter).boxed()
    } else {
        layer.with_target(false).with_filter(filter).boxed()
    };
    [logs].into_iter().chain(traces.map(|traces| spans(traces).boxed())).collect()
}

/// What makes traces of spans; warnings and errors that are logged inside one become its events.
fn spans(provider: &SdkTracerProvider) -> impl Layer<Registry> + use<> {
    tracing_opentelemetry::layer()
        .with_tracer(provider.tracer("errata"))
        .with_location(false)
        .with_threads(false)
        .with_target(false)
        .with_tracked_inactivity(false)
        .with_filter(Targets::new().with_target(SPANS, LevelFilter::INFO).with_default(LevelFilter::WARN))
}

impl Telemetry {
    /// Sends what is left of the traces, within the exporter's patience.
    pub fn end(self) {
        if let Some(traces) = self.traces
            && let Err(error) = traces.shutdown_with_timeout(export::LAST_WAIT)
        {
            tracing::warn!("the last traces are not sent: {error}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_made_only_where_there_is_a_receiver() {
        let provider = SdkTracerProvider::builder().build();
        for traces in [None, Some(&provider)] {
            let subscriber = tracing_subscriber::registry().with(layers(EnvFilter::new("info"), true, traces));
            tracing::subscriber::with_default(subscriber, || {
                let mut evaluated = false;
                let span = tracing::info_span!(target: SPANS, "ours", field = { evaluated = true; 1 });
                assert_eq!((span.is_disabled(), evaluated), (traces.is_none(), traces.is_some()));
                assert!(tracing::debug_span!(target: SPANS, "too detailed").is_disabled());
                let _in = span.enter();
                assert_eq!(trace_id().is_some(), traces.is_some());
                assert_eq!(of_current_span().contains_key("traceparent"), traces.is_some());
            });
        }
    }
}
