//! Lists as files for spreadsheets (RFC 4180). Their cells are inert ([`csv_cell`]).

use axum::{
    http::{HeaderValue, header},
    response::{IntoResponse, Response},
};

use crate::inert::csv_cell;

/// A file: its name without `.csv`, and its lines, of which the first has the names of the columns.
pub(super) fn file(name: &str, lines: impl Iterator<Item = Vec<String>>) -> Response {
    let text = lines.fold(String::new(), |mut text, line| {
        push_line(&mut text, &line);
        text
    });
    let disposition = HeaderValue::from_str(&format!("attachment; filename=\"{name}.csv\""));
    let kind = [
        (header::CONTENT_TYPE, HeaderValue::from_static("text/csv; charset=utf-8")),
        (header::CONTENT_DISPOSITION, disposition.unwrap_or(HeaderValue::from_static("attachment"))),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
    ];
    (kind, text).into_response()
}

fn push_line(text: &mut String, cells: &[String]) {
    for (index, value) in cells.iter().enumerate() {
        if index > 0 {
            text.push(',');
        }
        text.push_str(&csv_cell(value));
    }
    text.push_str("\r\n");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_ends_as_the_standard_says() {
        let mut text = String::new();
        push_line(&mut text, &["a".to_owned(), "=b,c".to_owned()]);
        push_line(&mut text, &[String::new()]);
        assert_eq!(text, "a,\"'=b,c\"\r\n\r\n");
    }
}
