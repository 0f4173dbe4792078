//! Cookies: read from a request, written to an answer.

use axum::{
    http::{HeaderMap, HeaderValue, header},
    response::Response,
};

/// The session.
pub(super) const SESSION: &str = "errata_session";
/// What forms are bound to before there is a session.
pub(super) const VISITOR: &str = "errata_visitor";
/// The theme somebody chose.
pub(super) const THEME: &str = "errata_theme";
/// What the next page says about the form that was sent.
pub(super) const FLASH: &str = "errata_flash";

/// The name of a cookie that no page of a sibling host may set, where that can be had: only over https.
pub(super) fn name(name: &str, is_https: bool) -> String {
    if is_https { format!("__Host-{name}") } else { name.to_owned() }
}

/// The value of a cookie.
pub(super) fn read(headers: &HeaderMap, name: &str) -> Option<String> {
    let lines = headers.get_all(header::COOKIE).into_iter().filter_map(|line| line.to_str().ok());
    let mut pairs = lines.flat_map(|line| line.split(';')).filter_map(|pair| pair.trim().split_once('='));
    pairs.find(|(key, _)| *key == name).map(|(_, value)| value.to_owned()).filter(|value| !value.is_empty())
}

/// Adds a cookie for this site alone that scripts cannot read. The value is of characters that a cookie may have.
pub(super) fn set(response: &mut Response, name: &str, value: &str, max_age_s: i64, is_https: bool) {
    let secure = if is_https { "; Secure" } else { "" };
    let text = format!("{name}={value}; Path=/; Max-Age={max_age_s}; HttpOnly; SameSite=Strict{secure}");
    if let Ok(value) = HeaderValue::from_str(&text) {
        response.headers_mut().append(header::SET_COOKIE, value);
    }
}

/// Takes a cookie away.
pub(super) fn clear(response: &mut Response, name: &str, is_https: bool) {
    set(response, name, "", 0, is_https);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cookie_is_found_among_others_and_by_its_whole_name() {
        let mut headers = HeaderMap::new();
        headers.append(header::COOKIE, HeaderValue::from_static("a=1; errata_session=abc=;b=2"));
        headers.append(header::COOKIE, HeaderValue::from_static("c=3; empty="));
        assert_eq!(read(&headers, SESSION).as_deref(), Some("abc="));
        assert_eq!(read(&headers, "c").as_deref(), Some("3"));
        for name in ["session", "errata", "empty", "d"] {
            assert_eq!(read(&headers, name), None, "{name}");
        }
    }

    #[test]
    fn a_cookie_is_for_this_site_alone() {
        let mut response = Response::new(axum::body::Body::empty());
        set(&mut response, &name(SESSION, true), "abc", 60, true);
        clear(&mut response, SESSION, false);
        let set: Vec<_> = response.headers().get_all(header::SET_COOKIE).iter().collect();
        assert_eq!(set[0], "__Host-errata_session=abc; Path=/; Max-Age=60; HttpOnly; SameSite=Strict; Secure");
        assert_eq!(set[1], "errata_session=; Path=/; Max-Age=0; HttpOnly; SameSite=Strict");
    }
}
