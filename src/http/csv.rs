//! Lists as files for spreadsheets (RFC 4180). Their cells are inert ([`csv_cell`](crate::inert::csv_cell)).

use axum::{
    http::{HeaderValue, header},
    response::{IntoResponse, Response},
};

use super::params::Params;
pub(super) use crate::inert::csv_record as record;

/// A file: its name without `.csv`, and its lines, of which the first has the names of the columns.
pub(super) fn file(name: &str, lines: impl Iterator<Item = Vec<String>>) -> Response {
    let text: String = lines.map(|line| record(&line)).collect();
    let disposition = HeaderValue::from_str(&format!("attachment; filename=\"{name}.csv\""));
    let kind = [
        (header::CONTENT_TYPE, HeaderValue::from_static("text/csv; charset=utf-8")),
        (header::CONTENT_DISPOSITION, disposition.unwrap_or(HeaderValue::from_static("attachment"))),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
    ];
    (kind, text).into_response()
}

/// Whether `format` asks for a file in the place of an envelope.
pub(super) fn is_asked(params: &mut Params) -> bool {
    params.choice("format", &["json", "csv"], |name| name) == Some("csv")
}
