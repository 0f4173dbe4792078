//! The way through pages by cursor.

use super::{Markup, escape};

/// Where the first and the next page are. There is no page before: a cursor leads on only, and browsers go back.
#[derive(Clone, Debug, Default)]
pub struct Pager {
    /// Absent on the first page.
    pub first: Option<String>,
    /// Absent on the last.
    pub next: Option<String>,
}

impl Pager {
    #[must_use]
    pub fn html(&self) -> Markup {
        if self.first.is_none() && self.next.is_none() {
            return Markup::default();
        }
        let link = |path: &Option<String>, rel: &str, words: &str| {
            path.as_ref()
                .map(|path| format!("<a class=\"button\"{rel} href=\"{}\">{words}</a>", escape(path)))
                .unwrap_or_default()
        };
        let (first, next) = (link(&self.first, "", "First page"), link(&self.next, " rel=\"next\"", "Next page"));
        Markup::new(format!("<nav class=\"pager\" aria-label=\"Pages of this list\">{first}{next}</nav>"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_there_is_is_linked() {
        assert!(Pager::default().html().is_empty());
        let html = Pager { first: None, next: Some("/explore?cursor=a&b=\"".into()) }.html();
        assert!(
            html.as_str().contains("href=\"/explore?cursor=a&amp;b=&quot;\"") && !html.as_str().contains("First"),
            "{html}"
        );
    }
}
