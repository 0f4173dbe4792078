//! Events as CSV: RFC 4180, UTF-8, a record an event. Their cells are inert ([`csv::record`]).

use crate::http::{csv, stored::StoredEvent};

/// The columns. Bodies, headers, attributes and stack traces are in NDJSON only.
pub(super) const COLUMNS: [&str; 24] = [
    "timestamp",
    "received_at",
    "request_id",
    "status",
    "service",
    "environment",
    "release",
    "host",
    "method",
    "route",
    "path",
    "error",
    "code",
    "errors",
    "account_id",
    "user_id",
    "duration_ms",
    "client_ip",
    "user_agent",
    "trace_id",
    "exception_type",
    "exception_message",
    "fingerprint",
    "event_id",
];

/// The first record: the names of the columns.
pub(super) fn header() -> String {
    COLUMNS.join(",") + "\r\n"
}

/// The record of an event.
pub(super) fn record(event: &StoredEvent) -> String {
    let errors = event.errors.iter().map(|error| match error.path.as_str() {
        "" => format!("{} ({})", error.message, error.rule),
        path => format!("{path}: {} ({})", error.message, error.rule),
    });
    let exception = event.exception.as_ref();
    let cells: [&str; COLUMNS.len()] = [
        &event.timestamp,
        &event.received_at,
        &event.request_id,
        &event.status.to_string(),
        &event.service,
        &event.environment,
        &event.release,
        event.host.as_str(),
        &event.method,
        &event.route,
        event.path.as_str(),
        event.error.as_str(),
        &event.code,
        &errors.collect::<Vec<_>>().join("; "),
        event.account_id.as_str(),
        event.user_id.as_str(),
        &event.duration_ms.map_or_else(String::new, |ms| ms.to_string()),
        event.client_ip.as_str(),
        event.user_agent.as_str(),
        &event.trace_id,
        exception.map_or("", |exception| &exception.r#type),
        exception.map_or("", |exception| &exception.message),
        &event.fingerprint,
        &event.event_id,
    ];
    csv::record(&cells)
}

/// A record that says in its first cell why there are no more.
pub(super) fn broken(why: &str) -> String {
    let mut cells = [""; COLUMNS.len()];
    let text = format!("export_error: {why}");
    cells[0] = &text;
    csv::record(&cells)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_record_has_a_cell_for_each_column() {
        let broken = broken("ClickHouse, it does not answer");
        assert_eq!(broken.matches(',').count(), COLUMNS.len(), "one within the quotes: {broken}");
        assert!(broken.starts_with("\"export_error: ") && broken.ends_with(",,\r\n"));
    }
}
