//! The console as browsers see it: who reaches which page, forms, headers, and what pages say. Real browsers are in `browser`.

mod alerts;
mod browser;
mod explore;
mod hostile;
mod inert;
mod issues;
mod limits;
mod lookup;
mod newest;
mod numbers;
pub(crate) mod overview;
mod pages;
mod product;
mod sign_in;

use std::collections::BTreeMap;

use reqwest::{
    Method, RequestBuilder, StatusCode,
    header::{HeaderMap, HeaderValue},
};

use crate::collector::Collector;

/// A browser as far as cookies and forms go: it follows no redirect by itself, so that each is seen.
pub(crate) struct Browser {
    client: reqwest::Client,
    url: String,
    pub(crate) cookies: BTreeMap<String, String>,
    /// The token of the last page's forms.
    form_token: String,
    /// Headers of every request.
    pub(crate) headers: HeaderMap,
}

/// An answer to a browser.
#[derive(Debug)]
pub(crate) struct Page {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) text: String,
}

impl Browser {
    pub(crate) fn new(collector: &Collector) -> Self {
        crate::collector::rustls_provider();
        let client = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).build().unwrap();
        let mut headers = HeaderMap::new();
        headers.insert("accept", HeaderValue::from_static("text/html,application/xhtml+xml"));
        headers.insert("sec-fetch-site", HeaderValue::from_static("same-origin"));
        Self { client, url: collector.url.clone(), cookies: BTreeMap::new(), form_token: String::new(), headers }
    }

    /// One that has signed in.
    pub(crate) async fn signed_in(collector: &Collector, token: &str) -> Self {
        let mut browser = Self::new(collector);
        let page = browser.sign_in(token, "/").await;
        assert_eq!(page.status, 303, "{}", page.text);
        browser
    }

    /// Opens the sign-in page and sends its form.
    pub(crate) async fn sign_in(&mut self, token: &str, next: &str) -> Page {
        self.get("/sign-in").await;
        self.send("/sign-in", &[("token", token), ("next", next)]).await
    }

    pub(crate) async fn get(&mut self, path: &str) -> Page {
        self.ask(Method::GET, path, &[]).await
    }

    /// Opens a page, again until ClickHouse has started.
    pub(crate) async fn answered(&mut self, path: &str) -> Page {
        let began = std::time::Instant::now();
        loop {
            let page = self.get(path).await;
            if page.status != 503 {
                return page;
            }
            assert!(began.elapsed().as_secs() < 60, "{path}: {}", page.words());
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
    }

    /// Sends a form of the last page.
    pub(crate) async fn send(&mut self, path: &str, fields: &[(&str, &str)]) -> Page {
        let token = self.form_token.clone();
        let fields: Vec<_> = fields.iter().copied().chain([("form_token", token.as_str())]).collect();
        self.ask(Method::POST, path, &fields).await
    }

    /// Asks, and follows where it is sent on to.
    pub(crate) async fn follow(&mut self, path: &str) -> Page {
        let mut page = self.get(path).await;
        for _ in 0..5 {
            let Some(next) = page.location().map(str::to_owned) else { return page };
            page = self.get(&next).await;
        }
        panic!("{path} leads on and on");
    }

    async fn ask(&mut self, method: Method, path: &str, fields: &[(&str, &str)]) -> Page {
        let mut request: RequestBuilder = self.client.request(method.clone(), format!("{}{path}", self.url));
        request = request.headers(self.headers.clone());
        let cookies: Vec<_> = self.cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
        if !cookies.is_empty() {
            request = request.header("cookie", cookies.join("; "));
        }
        if method == Method::POST {
            let body = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish();
            request = request.header("content-type", "application/x-www-form-urlencoded").body(body);
        }
        let response = request.send().await.unwrap();
        let (status, headers) = (response.status(), response.headers().clone());
        for set in headers.get_all("set-cookie") {
            let (name, rest) = set.to_str().unwrap().split_once('=').unwrap();
            let value = rest.split(';').next().unwrap();
            if rest.contains("Max-Age=0") {
                self.cookies.remove(name);
            } else {
                self.cookies.insert(name.to_owned(), value.to_owned());
            }
        }
        let page = Page { status, headers, text: response.text().await.unwrap() };
        if let Some(token) = page.form_token() {
            self.form_token = token;
        }
        page
    }
}

impl Page {
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    pub(crate) fn location(&self) -> Option<&str> {
        self.headers.get("location").map(|value| value.to_str().unwrap())
    }

    fn form_token(&self) -> Option<String> {
        let (_, rest) = self.text.split_once("name=\"form_token\" value=\"")?;
        rest.split('"').next().map(str::to_owned)
    }

    /// The text without tags, white space put together.
    pub(crate) fn words(&self) -> String {
        let main = self.text.split("<main").nth(1).unwrap_or(&self.text);
        let mut words = String::new();
        for part in main.split('<').map(|part| part.split_once('>').map_or(part, |(_, text)| text)) {
            words.push_str(part);
            words.push(' ');
        }
        let words = words
            .replace("&#39;", "'")
            .replace("&quot;", "\"")
            .replace("&lt;", "<")
            .replace("&#60;", "<")
            .replace("&#62;", ">")
            .replace("&#34;", "\"")
            .replace("&#38;", "&")
            .replace("&gt;", ">")
            .replace("&amp;", "&");
        // Not at the thin spaces within numbers.
        words.split_ascii_whitespace().collect::<Vec<_>>().join(" ")
    }

    /// Checks what is true of every page.
    pub(crate) fn check(&self, about: &str) {
        assert_eq!(self.header("content-type"), "text/html; charset=utf-8", "{about}: {}", self.status);
        let policy = self.header("content-security-policy");
        assert!(policy.starts_with("default-src 'none'; style-src 'self'; script-src 'self';"), "{about}: {policy}");
        assert!(policy.contains("frame-ancestors 'none'") && !policy.contains("unsafe"), "{about}: {policy}");
        assert_eq!(self.header("x-content-type-options"), "nosniff", "{about}");
        assert_eq!(self.header("referrer-policy"), "no-referrer", "{about}");
        assert_eq!(self.header("cache-control"), "no-store", "{about}");
        assert!(!self.header("x-request-id").is_empty(), "{about}");
        assert!(self.text.starts_with("<!doctype html>"), "{about}");
        for inline in [" style=", "<style", " onclick=", " onload=", "javascript:"] {
            assert!(!self.text.contains(inline), "{about} has {inline}");
        }
        assert_eq!(self.text.matches("<script").count(), 1, "{about}");
        assert!(!self.text.contains("http://") || !self.text.contains("src=\"http"), "{about} asks others");
        assert_eq!(self.text.matches("<h1").count(), 1, "{about} has one title");
        assert!(self.text.len() < 400_000, "{about}: {} bytes", self.text.len());
    }
}
