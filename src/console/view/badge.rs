//! Statuses: a family has one colour, and never colour alone.

use super::{Markup, escape};

/// What kind of error a status is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Family {
    /// The request as sent cannot be taken: 400, 422 and what else is of 4xx.
    Validation,
    /// 401, 403.
    Access,
    /// 404.
    Missing,
    /// 409.
    Conflict,
    /// 429.
    Limit,
    /// 5xx.
    Server,
}

impl Family {
    /// In the order of charts, from below.
    pub const ALL: [Self; 6] =
        [Self::Server, Self::Validation, Self::Limit, Self::Access, Self::Missing, Self::Conflict];

    #[must_use]
    pub const fn of(status: u16) -> Self {
        match status {
            401 | 403 => Self::Access,
            404 => Self::Missing,
            409 => Self::Conflict,
            429 => Self::Limit,
            500.. => Self::Server,
            _ => Self::Validation,
        }
    }

    /// The class of its colour in the stylesheet.
    #[must_use]
    pub const fn class(self) -> &'static str {
        match self {
            Self::Validation => "validation",
            Self::Access => "access",
            Self::Missing => "missing",
            Self::Conflict => "conflict",
            Self::Limit => "limit",
            Self::Server => "server",
        }
    }

    /// In words.
    #[must_use]
    pub const fn words(self) -> &'static str {
        match self {
            Self::Validation => "Invalid requests",
            Self::Access => "Not allowed",
            Self::Missing => "Not found",
            Self::Conflict => "Conflicts",
            Self::Limit => "Rate limited",
            Self::Server => "Server errors",
        }
    }
}

/// A status in the colour of its family.
#[must_use]
pub fn badge(status: u16) -> Markup {
    badge_with(status, "")
}

/// A status with a few words.
#[must_use]
pub fn badge_with(status: u16, words: &str) -> Markup {
    let class = Family::of(status).class();
    let words = if words.is_empty() { String::new() } else { format!(" {}", escape(words)) };
    Markup::new(format!("<span class=\"badge {class}\"><b>{status}</b>{words}</span>"))
}

/// The state of an issue or an alert, in a colour and always in words.
#[must_use]
pub fn state_tag(state: &str) -> Markup {
    let class = match state {
        "firing" | "regressed" | "escalating" => " bad",
        "pending" | "acknowledged" | "new" => " no",
        "resolved" => " yes",
        _ => "",
    };
    Markup::new(format!("<span class=\"tag{class}\">{}</span>", escape(state)))
}

#[cfg(test)]
mod tests {
    use super::{
        Family::{Access, Conflict, Limit, Missing, Server, Validation},
        *,
    };

    #[test]
    fn every_status_is_of_a_family() {
        let families: Vec<_> = [400, 401, 403, 404, 409, 418, 422, 429, 500, 503, 599].map(Family::of).into();
        let expected =
            [Validation, Access, Access, Missing, Conflict, Validation, Validation, Limit, Server, Server, Server];
        assert_eq!(families, expected);
        assert_eq!(badge_with(422, "a<b").as_str(), "<span class=\"badge validation\"><b>422</b> a&lt;b</span>");
    }
}
