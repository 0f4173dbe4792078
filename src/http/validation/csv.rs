//! Failures as a file for spreadsheets (RFC 4180).

use axum::response::Response;

use super::{Asked, Failure, Failures};
use crate::http::csv;

/// The rows as CSV, with a first line of names.
pub(crate) fn answer(asked: &Asked, failures: &Failures) -> Response {
    let keys: Vec<&str> = asked.group_by.iter().map(|key| key.as_str()).collect();
    let mut names = keys.clone();
    names.extend(["count", "events", "accounts", "share"]);
    names.extend(asked.previous.map(|_| "previous_count"));
    names.extend(["first_seen", "last_seen", "documented", "samples"]);
    let names = names.into_iter().map(str::to_owned).collect();
    let rows = failures.rows.iter().map(|row| cells(row, &keys, asked.previous.is_some()));
    csv::file("validation-failures", std::iter::once(names).chain(rows))
}

fn cells(row: &Failure, keys: &[&str], compared: bool) -> Vec<String> {
    let mut cells: Vec<String> =
        keys.iter().map(|key| row.keys.get(key).map(ToString::to_string).unwrap_or_default()).collect();
    cells.extend([row.count, row.events, row.accounts].map(|number| number.to_string()));
    cells.push(format!("{:.6}", row.share));
    cells.extend(compared.then(|| row.previous_count.map_or_else(String::new, |count| count.to_string())));
    let documented = row.documented.map(|documented| documented.to_string()).unwrap_or_default();
    cells.extend([row.first_seen.clone(), row.last_seen.clone(), documented, row.samples.join(" ")]);
    cells
}
