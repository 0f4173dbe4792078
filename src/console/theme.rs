//! Light, dark, or as the system is: kept in a cookie, so that it holds without scripts.

use axum::response::Response;

use super::{Form, Visit, cookies, see_other, sign_in::local};

/// A year, seconds.
const KEPT_S: i64 = 365 * 86_400;

/// How pages look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Theme {
    /// As the reader's system is.
    #[default]
    Auto,
    Light,
    Dark,
}

impl Theme {
    pub const ALL: [Self; 3] = [Self::Auto, Self::Light, Self::Dark];

    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Light => "light",
            Self::Dark => "dark",
        }
    }

    /// A sign to press.
    #[must_use]
    pub const fn sign(self) -> &'static str {
        match self {
            Self::Auto => "◐",
            Self::Light => "☀",
            Self::Dark => "☾",
        }
    }

    /// Anything else is [`Theme::Auto`].
    #[must_use]
    pub fn parse(text: &str) -> Self {
        Self::ALL.into_iter().find(|theme| theme.as_str() == text).unwrap_or_default()
    }
}

/// `POST /theme`: keeps the choice and goes back to the page it was made on.
pub(super) async fn choose(visit: Visit, form: Form) -> Response {
    let mut response = see_other(local(form.field("next")));
    cookies::set(&mut response, cookies::THEME, Theme::parse(form.field("theme")).as_str(), KEPT_S, visit.is_https);
    response
}
