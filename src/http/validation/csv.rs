//! Failures as a file for spreadsheets (RFC 4180).

use axum::{
    http::header,
    response::{IntoResponse, Response},
};

use super::{Asked, Failure, Failures};

/// The rows as CSV, with a first line of names.
pub(crate) fn answer(asked: &Asked, failures: &Failures) -> Response {
    let kind = [
        (header::CONTENT_TYPE, "text/csv; charset=utf-8"),
        (header::CONTENT_DISPOSITION, "attachment; filename=\"validation-failures.csv\""),
        (header::CACHE_CONTROL, "no-store"),
    ];
    (kind, text(asked, failures)).into_response()
}

fn text(asked: &Asked, failures: &Failures) -> String {
    let keys: Vec<&str> = asked.group_by.iter().map(|key| key.as_str()).collect();
    let mut names = keys.clone();
    names.extend(["count", "events", "accounts", "share"]);
    names.extend(asked.compared.then_some("previous_count"));
    names.extend(["first_seen", "last_seen", "documented", "samples"]);
    let mut text = String::new();
    push_line(&mut text, names.into_iter().map(str::to_owned));
    for row in &failures.rows {
        push_line(&mut text, cells(row, &keys, asked.compared));
    }
    text
}

fn cells(row: &Failure, keys: &[&str], compared: bool) -> impl Iterator<Item = String> {
    let mut cells: Vec<String> =
        keys.iter().map(|key| row.keys.get(key).map(ToString::to_string).unwrap_or_default()).collect();
    cells.extend([row.count, row.events, row.accounts].map(|number| number.to_string()));
    cells.push(format!("{:.6}", row.share));
    cells.extend(compared.then(|| row.previous_count.unwrap_or_default().to_string()));
    let documented = row.documented.map(|documented| documented.to_string()).unwrap_or_default();
    cells.extend([row.first_seen.clone(), row.last_seen.clone(), documented, row.samples.join(" ")]);
    cells.into_iter()
}

fn push_line(text: &mut String, cells: impl Iterator<Item = String>) {
    for (index, value) in cells.enumerate() {
        if index > 0 {
            text.push(',');
        }
        text.push_str(&cell(&value));
    }
    text.push_str("\r\n");
}

/// A cell that is text, whatever a spreadsheet makes of its first character.
fn cell(value: &str) -> String {
    let is_formula = value.trim_start().starts_with(['=', '+', '-', '@']) || value.starts_with(['\t', '\r', '\n']);
    let guard = if is_formula { "'" } else { "" };
    if value.contains(['"', ',', '\r', '\n']) || value.trim() != value {
        return format!("\"{guard}{}\"", value.replace('"', "\"\""));
    }
    format!("{guard}{value}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cell_is_no_formula_and_ends_where_it_ends() {
        for (value, expected) in [
            ("plain", "plain"),
            ("=1+1", "'=1+1"),
            ("  @SUM(A1)", "\"'  @SUM(A1)\""),
            ("\t=1", "\"'\t=1\""),
            ("a,\"b\"\n", "\"a,\"\"b\"\"\n\""),
            ("-5", "'-5"),
        ] {
            assert_eq!(cell(value), expected);
        }
    }
}
