//! Links: to the events behind a number, to requests, and filters as chips.

use std::borrow::Borrow;

use url::form_urlencoded;

use super::{Markup, code, escape, number};
use crate::{
    clock::rfc3339,
    console::Range,
    http::lookup::percent,
    state::{Role, TokenInfo},
};

/// A link to the events behind a number: `/explore` with the parameters of `GET /api/v1/events`.
#[derive(Clone, Debug, Default)]
pub struct Explore {
    params: Vec<(String, String)>,
    /// One of the values was empty, which no filter asks for.
    is_beyond_filters: bool,
}

impl Explore {
    /// The events of a time range.
    #[must_use]
    pub fn of(range: &Range) -> Self {
        let params = range.params().into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        Self { params, is_beyond_filters: false }
    }

    /// The events between two times, milliseconds since the Unix epoch.
    #[must_use]
    pub fn between(from_ms: i64, to_ms: i64) -> Self {
        Self::default().within(from_ms, to_ms)
    }

    /// Only events between two times, milliseconds since the Unix epoch; where no range is set yet.
    #[must_use]
    pub fn within(self, from_ms: i64, to_ms: i64) -> Self {
        self.with("from", rfc3339(from_ms)).with("to", rfc3339(to_ms))
    }

    /// Only events with this value: `status`, `service`, `route`, `account_id` … There is no filter for an empty one, as of a failure of no
    /// field: it is left out of the address, and numbers and texts lead nowhere rather than to more than they say.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl AsRef<str>) -> Self {
        let value = value.as_ref();
        if value.is_empty() {
            self.is_beyond_filters = true;
        } else {
            self.params.push((name.to_owned(), value.to_owned()));
        }
        self
    }

    #[must_use]
    pub fn path(&self) -> String {
        address("/explore", &self.params)
    }

    /// A number that leads to its events.
    #[must_use]
    pub fn number(&self, value: u64) -> Markup {
        self.text(&number(value))
    }

    /// A text that leads to its events.
    #[must_use]
    pub fn text(&self, text: &str) -> Markup {
        if self.is_beyond_filters {
            return text.into();
        }
        Markup::new(format!("<a href=\"{}\">{}</a>", escape(&self.path()), escape(text)))
    }
}

/// A path with parameters.
#[must_use]
pub fn address<I, K, V>(path: &str, params: I) -> String
where
    I: IntoIterator<Item: Borrow<(K, V)>>,
    K: AsRef<str>,
    V: AsRef<str>,
{
    let query = form_urlencoded::Serializer::new(String::new()).extend_pairs(params).finish();
    if query.is_empty() { path.to_owned() } else { format!("{path}?{query}") }
}

/// The page of an issue, over a time range.
#[must_use]
pub fn issue_path(fingerprint: &str, range: &Range) -> String {
    address(&format!("/issues/{fingerprint}"), range.params())
}

/// The page of a request.
#[must_use]
pub fn lookup_path(id: &str) -> String {
    // A browser would take these for steps in the path.
    if id == "." || id == ".." {
        return format!("/lookup?id={id}");
    }
    format!("/requests/{}", percent(id))
}

/// A request id that leads to its page, with a button that copies it.
#[must_use]
pub fn request(id: &str) -> Markup {
    let (path, id) = (escape(&lookup_path(id)), escape(id));
    Markup::new(format!(
        "<span class=\"id\"><a href=\"{path}\"><code>{id}</code></a><button type=\"button\" class=\"copy\" data-copy=\"{id}\" hidden>\
         <span class=\"hidden\">Copy the request id</span><svg viewBox=\"0 0 16 16\" aria-hidden=\"true\"><path d=\"M5.5 5.5v-4h9v9h-4M1.5 5.5h9v9h-9z\"/></svg></button></span>"
    ))
}

/// A request id, as [`request`] for those who may open its page; the id alone for others.
#[must_use]
pub fn request_for(id: &str, token: &TokenInfo) -> Markup {
    if token.has_any(&[Role::Support]) { request(id) } else { code(id) }
}

/// What filters are called, by the names of the API.
const FILTERS: [(&str, &str); 12] = [
    ("status", "Status"),
    ("service", "Service"),
    ("environment", "Environment"),
    ("release", "Release"),
    ("route", "Route"),
    ("method", "Method"),
    ("account_id", "Account"),
    ("user_id", "User"),
    ("field", "Field"),
    ("rule", "Rule"),
    ("fingerprint", "Kind of error"),
    ("q", "Text"),
];

/// The word for a filter; its own name where there is none.
#[must_use]
pub fn filter_words(name: &str) -> &str {
    FILTERS.iter().find(|(known, _)| *known == name).map_or(name, |(_, words)| words)
}

/// A filter that is on: what it is called, its value, and the link that takes it off.
#[must_use]
pub fn chip(name: &str, value: &str, without: &str) -> Markup {
    let (name, value, without) = (escape(filter_words(name)), escape(value), escape(without));
    Markup::new(format!(
        "<span class=\"chip\"><span class=\"name\">{name}</span> {value}<a href=\"{without}\"><span class=\"hidden\">Take off the filter {name}: \
         {value}</span><span aria-hidden=\"true\">×</span></a></span>"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_leads_to_its_events_by_the_names_of_the_api() {
        let range = Range { from: "-7d".into(), ..Range::default() };
        let link = Explore::of(&range).with("status", "5xx").with("route", "/a/{id}?x&y");
        assert_eq!(link.path(), "/explore?from=-7d&status=5xx&route=%2Fa%2F%7Bid%7D%3Fx%26y");
        let html = "<a href=\"/explore?from=-7d&amp;status=5xx&amp;route=%2Fa%2F%7Bid%7D%3Fx%26y\">1\u{202f}234</a>";
        assert_eq!(link.number(1234).as_str(), html);
        assert_eq!(link.with("account_id", "").number(1234).as_str(), "1\u{202f}234", "no filter asks for no account");
        assert_eq!(Explore::default().path(), "/explore");
        assert_eq!(issue_path("00ff", &range), "/issues/00ff?from=-7d");
        assert!(Explore::between(0, 1000).path().starts_with("/explore?from=1970-01-01T00%3A00%3A00.000Z&to="));
    }

    #[test]
    fn ids_of_any_form_lead_to_their_page() {
        assert_eq!(lookup_path("req_1"), "/requests/req_1");
        assert_eq!(lookup_path("a/b?c#d%"), "/requests/a%2Fb%3Fc%23d%25");
        assert_eq!(lookup_path(".."), "/lookup?id=..");
        assert!(!request("\"><script>").as_str().contains("<script>"));
        assert!(chip("account_id", "17", "/x").as_str().contains("<span class=\"name\">Account</span> 17"));
        assert!(!chip("q", "\"><script>", "/x?\"").as_str().contains("<script>"));
    }
}
