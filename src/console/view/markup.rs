//! HTML that is ready to be shown, and how texts become it.

use std::fmt;

use crate::inert;

/// Text that is HTML already. Only [`view`](super) and [`chart`](crate::console::chart) make it, of escaped texts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Markup(String);

impl Markup {
    pub(in crate::console) const fn new(html: String) -> Self {
        Self(html)
    }

    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Display for Markup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl askama::filters::HtmlSafe for Markup {}

/// A text as it stands in HTML, in an element or a quoted attribute. What steers or deceives is shown as an escape, also where a text leaves
/// without a page around it, as a row of a live tail does.
#[must_use]
pub fn escape(text: &str) -> String {
    let text = inert::clean_page(text);
    let mut html = String::with_capacity(text.len() + text.len() / 8);
    for character in text.chars() {
        match character {
            '&' => html.push_str("&amp;"),
            '<' => html.push_str("&lt;"),
            '>' => html.push_str("&gt;"),
            '"' => html.push_str("&quot;"),
            '\'' => html.push_str("&#39;"),
            other => html.push(other),
        }
    }
    html
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_text_leaves_its_place() {
        assert_eq!(escape("<a href=\"x\" b='y'>&</a>"), "&lt;a href=&quot;x&quot; b=&#39;y&#39;&gt;&amp;&lt;/a&gt;");
        assert_eq!(escape("a\u{202e}b\u{200b}c\u{1b}[31md\r\ne"), "a\\u{202e}b\\u{200b}c\\u{1b}[31md\\r\ne");
    }
}
