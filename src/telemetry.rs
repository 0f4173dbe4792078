//! Logs: pretty on a terminal, JSON otherwise.

use std::io::IsTerminal;

use tracing_subscriber::{EnvFilter, fmt, layer::SubscriberExt, util::SubscriberInitExt};

/// What is logged unless `ERRATA_LOG` says otherwise.
const DEFAULT_FILTER: &str = "info";

/// Sets up logging to standard error for the process; a second call changes nothing.
///
/// `ERRATA_LOG` holds a filter (`debug`, `errata::deliver=debug`), `ERRATA_LOG_FORMAT` is `pretty` or `json`.
///
/// # Errors
/// When `ERRATA_LOG` or `ERRATA_LOG_FORMAT` cannot be read; the text names the variable.
pub fn init() -> Result<(), String> {
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
    let registry = tracing_subscriber::registry().with(filter);
    let layer = fmt::layer().with_writer(std::io::stderr);
    // A subscriber that is there already (another test's) is as good.
    let _ = if json {
        registry.with(layer.json().flatten_event(true)).try_init()
    } else {
        registry.with(layer.with_target(false)).try_init()
    };
    Ok(())
}
