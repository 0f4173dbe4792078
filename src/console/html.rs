//! A template as the text of a page.

use std::borrow::Cow;

use askama::Template;
use axum::{
    http::StatusCode,
    response::{IntoResponse, Response},
};

use crate::{http::answer::ApiError, inert};

/// The text of a page; `shell` writes it. Only [`render`] makes it of what others sent.
#[derive(Clone, Debug)]
pub struct Html {
    status: StatusCode,
    text: String,
}

/// Fills a template. What steers or deceives is shown as an escape, whoever sent it: what turns the direction of text, and control characters
/// that a terminal would obey which shows the page's source.
///
/// # Errors
/// 500, when something in it does not format.
pub fn render(page: &impl Template) -> Result<Html, ApiError> {
    let text = page.render().map_err(|error| ApiError::internal("filling a template", &error))?;
    // Here and not in an escaper of templates: askama spares `HtmlSafe` types under its own escaper alone, so one of ours would escape `Markup` again.
    let text = match inert::clean_page(&text) {
        Cow::Borrowed(_) => text,
        Cow::Owned(shown) => shown,
    };
    Ok(Html { status: StatusCode::OK, text })
}

impl Html {
    /// A page of a few words of ours.
    pub(super) fn of_words(words: &'static str) -> Self {
        Self { status: StatusCode::OK, text: words.to_owned() }
    }

    #[must_use]
    pub fn with_status(self, status: StatusCode) -> Self {
        Self { status, ..self }
    }

    pub(super) fn into_parts(self) -> (StatusCode, String) {
        (self.status, self.text)
    }
}

impl IntoResponse for Html {
    fn into_response(self) -> Response {
        let mut response = self.status.into_response();
        response.extensions_mut().insert(self);
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::console::view::Markup;

    #[derive(Template)]
    #[template(source = "<p title=\"{{ text }}\">\n{{ text }} {{ markup }}</p>", ext = "html")]
    struct Page {
        text: &'static str,
        markup: Markup,
    }

    #[test]
    fn whatever_a_template_shows_is_inert() {
        let text = "<b>\u{202e}gpj\u{1b}[2J\u{feff}";
        let shown = render(&Page { text, markup: Markup::new(text.to_owned()) }).unwrap();
        let inert = "\\u{202e}gpj\\u{1b}[2J\\u{feff}";
        let expected = format!("<p title=\"&#60;b&#62;{inert}\">\n&#60;b&#62;{inert} <b>{inert}</p>");
        assert_eq!(shown.into_parts(), (StatusCode::OK, expected));
    }
}
