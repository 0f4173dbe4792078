//! Who asks for a page, and how: found once a request, before it is routed.

use std::{
    fmt::Write,
    net::{IpAddr, Ipv4Addr},
    sync::Arc,
};

use axum::{
    extract::{FromRequestParts, Request},
    http::{HeaderMap, Uri, header, request::Parts as RequestParts},
    response::Response,
};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use url::form_urlencoded;

use super::{Layout, cookies, see_other, theme::Theme, view::address};
use crate::{
    http::{
        Shared,
        answer::{AnswerId, ApiError},
        serve::Peer,
    },
    state::{Session, TokenInfo},
};

/// How long a message waits for the page that shows it, seconds.
const FLASH_S: i64 = 60;

/// Whether anything to read is for this token at all: one that only ships events has no page.
pub(super) fn reads_anything(token: &TokenInfo) -> bool {
    use crate::state::Role::{Product, Sre, Support};
    token.has_any(&[Support, Sre, Product])
}

/// Whose token a request for a page is signed in with.
pub(crate) fn visitor_of(request: &Request) -> Option<TokenInfo> {
    request.extensions().get::<Visit>()?.session.as_ref().map(|session| session.token.clone())
}

/// A request for a page.
#[derive(Clone, Debug)]
pub struct Visit {
    /// Nobody before somebody has signed in.
    pub session: Option<Arc<Session>>,
    pub now_ms: i64,
    pub theme: Theme,
    /// Path and query, as asked for.
    pub target: String,
    /// Id of this request, for error pages and the log.
    pub request_id: String,
    /// What the form before this page had to say.
    pub flash: Option<String>,
    /// Whether cookies may be for https alone.
    pub(super) is_https: bool,
    pub(super) peer: IpAddr,
    /// The session's cookie, as sent.
    pub(super) cookie: Option<String>,
    /// The cookie of a browser without a session.
    pub(super) visitor: Option<String>,
}

impl Visit {
    /// Reads a request.
    ///
    /// # Errors
    /// 500, when sessions cannot be read.
    pub(super) fn of(
        shared: &Shared,
        uri: &Uri,
        headers: &HeaderMap,
        peer: Option<Peer>,
        id: Option<&AnswerId>,
    ) -> Result<Self, ApiError> {
        let now_ms = shared.clock.now_ms();
        let peer = peer.map_or(IpAddr::V4(Ipv4Addr::LOCALHOST), |Peer(address)| address.ip());
        let is_https = is_https(headers, peer, &shared.config.public_url);
        let cookie = cookies::read(headers, &cookies::name(cookies::SESSION, is_https));
        let session = match &cookie {
            Some(cookie) => shared.state.find_session(cookie, now_ms),
            None => Ok(None),
        };
        let flash = cookies::read(headers, cookies::FLASH);
        Ok(Self {
            session: session.map_err(|error| ApiError::internal("reading sessions", &error))?.map(Arc::new),
            now_ms,
            theme: cookies::read(headers, cookies::THEME).map_or(Theme::Auto, |text| Theme::parse(&text)),
            target: uri.path_and_query().map_or("/", |target| target.as_str()).to_owned(),
            request_id: id.map(|id| id.0.clone()).unwrap_or_default(),
            flash: flash.map(|text| form_urlencoded::parse(text.as_bytes()).map(|(name, _)| name).collect()),
            is_https,
            peer: client(headers, peer),
            cookie,
            visitor: cookies::read(headers, cookies::VISITOR),
        })
    }

    /// The path without the query.
    #[must_use]
    pub fn path(&self) -> &str {
        self.target.split('?').next().unwrap_or("/")
    }

    /// The parameters as asked for, in their order.
    #[must_use]
    pub fn params(&self) -> Vec<(String, String)> {
        let query = self.target.split_once('?').map_or("", |(_, query)| query);
        form_urlencoded::parse(query.as_bytes()).into_owned().collect()
    }

    /// The first value of a parameter; empty where there is none.
    #[must_use]
    pub fn param(&self, name: &str) -> String {
        self.params().into_iter().find(|(key, _)| key == name).map(|(_, value)| value).unwrap_or_default()
    }

    /// This page with some parameters set to another value; an empty one leaves the parameter out.
    #[must_use]
    pub fn with_params(&self, changed: &[(&str, &str)]) -> String {
        self.elsewhere(self.path(), changed)
    }

    /// Another page with the parameters of this one, some of them set to another value.
    #[must_use]
    pub fn elsewhere(&self, path: &str, changed: &[(&str, &str)]) -> String {
        let kept = self.params().into_iter().filter(|(name, _)| !changed.iter().any(|(other, _)| other == name));
        let set = changed.iter().filter(|(_, value)| !value.is_empty());
        let set = set.map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        address(path, kept.chain(set))
    }

    /// What is around a page: its title, who sees it, where one can go.
    #[must_use]
    pub fn layout(&self, title: impl Into<String>) -> Layout {
        Layout::new(self, &title.into())
    }

    /// What the forms of this visit's pages carry: known only to who has the cookie it is made of.
    pub(super) fn form_token(&self) -> Option<String> {
        let cookie = self.cookie.as_ref().filter(|_| self.session.is_some()).or(self.visitor.as_ref())?;
        Some(form_token_of(cookie))
    }

    /// Whether a form came from one of this visit's pages; compared in constant time.
    pub(super) fn is_own_form(&self, token: &str) -> bool {
        self.form_token().is_some_and(|own| bool::from(own.as_bytes().ct_eq(token.as_bytes())))
    }

    /// Whether a form came from a page that was shown to this browser without its session's cookie, as after a link from elsewhere.
    pub(super) fn is_visitors_form(&self, token: &str) -> bool {
        let own = self.visitor.as_deref().map(form_token_of);
        own.is_some_and(|own| bool::from(own.as_bytes().ct_eq(token.as_bytes())))
    }

    /// Sends the browser on to a page of ours, as [`see_other`], which shows a message.
    #[must_use]
    pub fn send_on(&self, path: &str, message: &str) -> Response {
        let mut response = see_other(path);
        let text: String = form_urlencoded::byte_serialize(message.as_bytes()).collect();
        cookies::set(&mut response, cookies::FLASH, &text, FLASH_S, self.is_https);
        response
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Visit {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut RequestParts, _: &S) -> Result<Self, ApiError> {
        let visit = parts.extensions.get::<Self>().cloned();
        visit.ok_or_else(|| ApiError::internal("finding the visitor", &"a page outside the shell"))
    }
}

fn form_token_of(cookie: &str) -> String {
    let hash = Sha256::digest(format!("a form of {cookie}"));
    hash[..16].iter().fold(String::with_capacity(32), |mut text, byte| {
        let _ = write!(text, "{byte:02x}"); // writing to a String cannot fail
        text
    })
}

/// Whether the browser speaks https: a proxy on this machine says so of the request, or the configuration of the whole site. A proxy
/// elsewhere is not asked, as anybody could be one.
fn is_https(headers: &HeaderMap, peer: IpAddr, public_url: &str) -> bool {
    let said = headers.get("x-forwarded-proto").filter(|_| peer.to_canonical().is_loopback());
    said.map_or_else(|| public_url.starts_with("https://"), |said| said == "https")
}

/// Where a request comes from: what a proxy on this machine says, else the peer itself.
fn client(headers: &HeaderMap, peer: IpAddr) -> IpAddr {
    let forwarded = headers.get("x-forwarded-for").filter(|_| peer.to_canonical().is_loopback());
    // The last address is the proxy's own word; those before it are the client's.
    let last = forwarded.and_then(|text| text.to_str().ok()?.rsplit(',').next()?.trim().parse().ok());
    last.unwrap_or(peer)
}

/// Whether a request is sent by a page of another site. A browser that says neither leaves it to the form's token: without a referrer, forms
/// have the origin `null`.
pub(super) fn is_foreign(headers: &HeaderMap, public_url: &str) -> bool {
    if let Some(site) = headers.get("sec-fetch-site") {
        return site != "same-origin";
    }
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
    let Some(origin) = text(header::ORIGIN).filter(|origin| *origin != "null") else { return false };
    let authority = |url: &str| url.split_once("://").map(|(_, rest)| rest.split('/').next().unwrap_or("").to_owned());
    let own = [text(header::HOST).map(str::to_owned), authority(public_url)];
    !own.iter().flatten().any(|own| authority(origin).as_ref() == Some(own))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect()
    }

    #[test]
    fn https_is_believed_of_a_proxy_on_this_machine_and_of_the_configuration() {
        let (near, far) = ("127.0.0.1".parse().unwrap(), "192.0.2.1".parse().unwrap());
        let https = headers(&[("x-forwarded-proto", "https")]);
        let http = headers(&[("x-forwarded-proto", "http")]);
        assert!(is_https(&https, near, "") && !is_https(&https, far, ""));
        assert!(is_https(&headers(&[]), far, "https://errata.example"));
        assert!(!is_https(&http, near, "https://errata.example"), "a proxy that says http is asked first");
        assert!(is_https(&http, far, "https://errata.example"));
        assert!(!is_https(&headers(&[]), near, "http://errata.example"));
    }

    #[test]
    fn the_client_is_named_by_a_proxy_on_this_machine_alone() {
        let forwarded = headers(&[("x-forwarded-for", "203.0.113.9, 192.0.2.7")]);
        let (near, far): (IpAddr, IpAddr) = ("::1".parse().unwrap(), "192.0.2.1".parse().unwrap());
        assert_eq!(client(&forwarded, near), "192.0.2.7".parse::<IpAddr>().unwrap());
        assert_eq!(client(&forwarded, far), far);
        assert_eq!(client(&headers(&[("x-forwarded-for", "nobody")]), near), near);
    }

    #[test]
    fn a_form_of_another_site_is_foreign() {
        let host = ("host", "errata.example");
        for (pairs, expected) in [
            (vec![host, ("sec-fetch-site", "same-origin")], false),
            (vec![host, ("sec-fetch-site", "same-site")], true),
            (vec![host, ("sec-fetch-site", "cross-site")], true),
            (vec![host, ("origin", "https://errata.example")], false),
            (vec![host, ("origin", "https://errata.example.evil")], true),
            (vec![host, ("origin", "https://public.example:8443")], false),
            (vec![host, ("origin", "null")], false),
            (vec![host], false),
            (vec![("origin", "https://evil.example")], true),
        ] {
            assert_eq!(is_foreign(&headers(&pairs), "https://public.example:8443/x"), expected, "{pairs:?}");
        }
    }
}
