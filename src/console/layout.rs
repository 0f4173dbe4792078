//! What is around a page: the header with the lookup box, where one can go, who is signed in.

use std::sync::LazyLock;

use super::{
    Range, Visit, assets, form,
    range::Picker,
    theme::Theme,
    view::{Markup, address, escape},
};
use crate::{
    http::{Access, routes},
    state::{Role, TokenInfo},
};

/// Every place of the navigation, in its order.
const NAV: [(&str, &str); 9] = [
    ("Overview", "/"),
    ("Lookup", "/lookup"),
    ("Explore", "/explore"),
    ("Validation", "/validation"),
    ("Rate limits", "/rate-limits"),
    ("Issues", "/issues"),
    ("Alerts", "/alerts"),
    ("Reference", "/reference"),
    ("Settings", "/settings"),
];

/// The places that show a range: where one goes on with the range of the page.
const WITH_RANGE: [&str; 6] = ["/", "/explore", "/validation", "/rate-limits", "/issues", "/reference"];

/// Paths that are below a place of the navigation by another name.
const BELOW: [(&str, &str); 1] = [("/requests/", "/lookup")];

/// The places there are routes to, and who may go there.
static PLACES: LazyLock<Vec<(&str, &str, &[Role])>> = LazyLock::new(|| {
    let routes = routes();
    let roles = |path: &str| {
        routes.iter().find_map(|route| match route.access {
            Access::Page(roles) if route.path == path && route.method == axum::http::Method::GET => Some(roles),
            _ => None,
        })
    };
    NAV.into_iter().filter_map(|(title, path)| Some((title, path, roles(path)?))).collect()
});

/// The first place of a token's navigation that is not the overview.
pub(super) fn first_place(token: &TokenInfo) -> Option<&'static str> {
    PLACES.iter().find(|(_, path, roles)| *path != "/" && token.has_any(roles)).map(|(_, path, _)| *path)
}

/// The frame of a page; `layout.html` shows it.
#[derive(Clone, Debug)]
pub struct Layout {
    pub title: String,
    pub theme: Theme,
    pub style: &'static str,
    pub script: &'static str,
    pub icon: &'static str,
    /// Nobody before signing in.
    pub member: Option<Member>,
    pub flash: Option<String>,
    /// The hidden field that every form needs.
    pub csrf: Markup,
    /// This page's address, to come back to.
    pub target: String,
    /// Where the page has a time range.
    pub picker: Option<Picker>,
    /// What the lookup box holds.
    pub asked: String,
}

/// Who is signed in.
#[derive(Clone, Debug)]
pub struct Member {
    /// Name of the token.
    pub name: String,
    pub project: String,
    pub places: Vec<Place>,
    /// Whether the lookup box is theirs to use.
    pub looks_up: bool,
    /// The session's tokens, where there are several.
    pub others: Vec<Other>,
}

/// One place of the navigation.
#[derive(Clone, Debug)]
pub struct Place {
    pub title: &'static str,
    pub path: &'static str,
    /// The path, with the range of the page.
    pub link: String,
    pub is_here: bool,
}

/// A token of the session.
#[derive(Clone, Debug)]
pub struct Other {
    pub id: String,
    pub name: String,
    pub project: String,
    pub is_current: bool,
}

impl Layout {
    pub(super) fn new(visit: &Visit, title: &str) -> Self {
        Self {
            theme: visit.theme,
            member: visit.session.as_ref().map(|session| Member::new(&session.token, &session.tokens, visit.path())),
            flash: visit.flash.clone(),
            csrf: visit.form_token().map_or_else(Markup::default, |token| {
                let (name, token) = (form::TOKEN, escape(&token));
                Markup::new(format!("<input type=\"hidden\" name=\"{name}\" value=\"{token}\">"))
            }),
            target: visit.target.clone(),
            ..Self::bare(title)
        }
    }

    /// The frame where nothing is known of who asks.
    pub(super) fn bare(title: &str) -> Self {
        Self {
            title: title.to_owned(),
            theme: Theme::Auto,
            style: &assets::STYLE.path,
            script: &assets::SCRIPT.path,
            icon: &assets::ICON.path,
            member: None,
            flash: None,
            csrf: Markup::default(),
            target: "/".to_owned(),
            picker: None,
            asked: String::new(),
        }
    }

    /// The themes one can change to.
    #[must_use]
    pub fn other_themes(&self) -> Vec<Theme> {
        Theme::ALL.into_iter().filter(|theme| *theme != self.theme).collect()
    }

    /// With the time picker in the header, and places of the same range.
    #[must_use]
    pub fn with_range(mut self, range: &Range, visit: &Visit) -> Self {
        self.picker = Some(range.picker(visit));
        let asked = [("from", &range.from), ("to", &range.to)];
        let asked: Vec<_> = asked.into_iter().filter(|(_, value)| !value.is_empty()).collect();
        let places = self.member.iter_mut().flat_map(|member| &mut member.places);
        for place in places.filter(|place| WITH_RANGE.contains(&place.path)) {
            place.link = address(place.path, &asked);
        }
        self
    }

    /// With a text in the lookup box.
    #[must_use]
    pub fn with_asked(self, asked: impl Into<String>) -> Self {
        Self { asked: asked.into(), ..self }
    }
}

impl Member {
    fn new(token: &TokenInfo, tokens: &[TokenInfo], path: &str) -> Self {
        let below = BELOW.iter().find(|(prefix, _)| path.starts_with(prefix)).map_or(path, |(_, place)| place);
        let is_here = |place: &str| below == place || (place != "/" && below.starts_with(&format!("{place}/")));
        let reached = PLACES.iter().filter(|(_, _, roles)| token.has_any(roles));
        let places = reached
            .map(|(title, path, _)| Place { title, path, link: (*path).to_owned(), is_here: is_here(path) })
            .collect();
        let other = |other: &TokenInfo| Other {
            id: other.id.clone(),
            name: other.name.clone(),
            project: other.project.clone(),
            is_current: other.id == token.id,
        };
        Self {
            name: token.name.clone(),
            project: token.project.clone(),
            places,
            looks_up: token.has_any(&[Role::Support]),
            others: if tokens.len() > 1 { tokens.iter().map(other).collect() } else { vec![] },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(roles: &[Role]) -> TokenInfo {
        TokenInfo {
            id: "t".into(),
            name: "t".into(),
            project: "p".into(),
            roles: roles.to_vec(),
            created_ms: 0,
            expires_ms: None,
            limit: None,
        }
    }

    fn places(roles: &[Role], path: &str) -> Vec<(&'static str, bool)> {
        let token = token(roles);
        let member = Member::new(&token, std::slice::from_ref(&token), path);
        member.places.into_iter().map(|place| (place.path, place.is_here)).collect()
    }

    #[test]
    fn the_navigation_shows_what_the_role_reaches() {
        let support = places(&[Role::Support], "/requests/a");
        assert!(support.contains(&("/lookup", true)) && support.contains(&("/", false)), "{support:?}");
        assert!(!places(&[Role::Product], "/").iter().any(|(path, _)| *path == "/lookup"));
        assert!(places(&[Role::Ingest], "/").is_empty());
        let all: Vec<_> = places(&[Role::Admin], "/lookup").into_iter().map(|(path, _)| path).collect();
        assert_eq!(all, PLACES.iter().map(|(_, path, _)| *path).collect::<Vec<_>>());
    }

    #[test]
    fn where_support_begins_is_the_lookup() {
        assert_eq!(first_place(&token(&[Role::Support])), Some("/lookup"));
        assert_eq!(first_place(&token(&[Role::Ingest])), None);
    }
}
