//! The HTTP contract: who is answered what, on every path, and how it looks.

mod audit;
mod bodies;
mod documents;
mod drift;
mod envelope;
mod erase;
mod friction;
mod issues;
mod openapi;
mod operations;
mod outage;
mod people;
mod projects;
mod quarantine;
mod quota;
mod search;
mod state;
pub(crate) mod tail;
pub(crate) mod tools;
mod totals;

use std::{path::Path, sync::atomic::Ordering};

use errata::{
    config::Config,
    state::{Limit, NewToken, Role, State},
};
use reqwest::{Method, RequestBuilder, StatusCode, header::HeaderMap};
use serde_json::Value;

use crate::collector::{Collector, NOW_MS, config, ndjson};

/// Every role but admin's, which reaches everything.
pub(crate) const LESSER: [Role; 4] = [Role::Ingest, Role::Support, Role::Sre, Role::Product];

/// A configuration without ClickHouse: nothing listens there.
pub(crate) fn without_clickhouse(data_dir: &Path) -> Config {
    let mut config = config(data_dir);
    config.clickhouse.url = "http://127.0.0.1:1".into();
    config
}

/// An answer, read to its end.
#[derive(Debug)]
struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    text: String,
}

impl Answer {
    async fn to(request: RequestBuilder) -> Self {
        let response = request.send().await.unwrap();
        let (status, headers) = (response.status(), response.headers().clone());
        Self { status, headers, text: response.text().await.unwrap() }
    }

    fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }

    fn number(&self, name: &str) -> Option<i64> {
        self.header(name).map(|text| text.parse().unwrap())
    }

    /// The body, after everything that is true of every envelope was checked.
    fn envelope(&self, about: &str) -> Value {
        let body: Value = serde_json::from_str(&self.text)
            .unwrap_or_else(|error| panic!("{about}: {} is no JSON ({error}): {:?}", self.status, self.text));
        assert_eq!(self.header("content-type"), Some("application/json"), "{about}");
        assert_eq!(body["request_id"].as_str(), self.header("x-request-id"), "{about}: {body}");
        assert_eq!(body["success"], self.status.is_success(), "{about}: {body}");
        self.check_headers(about);
        let allowed = ["success", "data", "error", "errors", "request_id"];
        assert!(body.as_object().unwrap().keys().all(|key| allowed.contains(&key.as_str())), "{about}: {body}");
        if self.status.is_success() {
            assert!(body.get("data").is_some() && body.get("error").is_none(), "{about}: {body}");
            return body;
        }
        assert!(body["error"].as_str().is_some_and(|error| !error.is_empty()), "{about}: {body}");
        for (field, messages) in body["errors"].as_object().into_iter().flatten() {
            let messages = messages.as_array().unwrap();
            assert!(!messages.is_empty() && messages.iter().all(Value::is_string), "{about}: {field}: {body}");
        }
        body
    }

    fn check_headers(&self, about: &str) {
        assert!(self.header("x-request-id").is_some_and(|id| (1..=128).contains(&id.len())), "{about}");
        assert_eq!(self.header("x-content-type-options"), Some("nosniff"), "{about}");
        assert!(self.header("content-security-policy").unwrap().starts_with("default-src 'none'"), "{about}");
        assert_eq!(self.header("www-authenticate").is_some(), self.status == 401, "{about}");
        let wait = self.number("retry-after");
        assert_eq!(wait.is_some(), self.status == 429 || self.status == 503, "{about}");
        assert!(wait.is_none_or(|seconds| seconds >= 1), "{about}");
    }
}

impl Collector {
    fn anonymous(&self, method: Method, path: &str) -> RequestBuilder {
        self.client.request(method, format!("{}{path}", self.url))
    }

    fn with_token(&self, token: &str, method: Method, path: &str) -> RequestBuilder {
        self.anonymous(method, path).bearer_auth(token)
    }

    /// GETs with a token and returns the status and the checked envelope.
    async fn read(&self, token: &str, path: &str) -> (StatusCode, Value) {
        let answer = Answer::to(self.with_token(token, Method::GET, path)).await;
        (answer.status, answer.envelope(path))
    }

    /// Ships events as NDJSON with a token.
    async fn ship_as(&self, token: &str, events: &[Value]) -> Answer {
        let request = self.with_token(token, Method::POST, "/api/v1/events");
        Answer::to(request.header("Content-Type", "application/x-ndjson").body(ndjson(events))).await
    }

    fn advance_clock(&self, by_ms: i64) {
        self.now_ms.fetch_add(by_ms, Ordering::Relaxed);
    }
}

/// A new token; its name says what it is.
pub(crate) fn token(
    data_dir: &Path,
    project: &str,
    roles: &[Role],
    limit: Option<Limit>,
    expires_ms: Option<i64>,
) -> String {
    let name = format!("{project} {roles:?} {limit:?} {expires_ms:?}");
    let new = NewToken { name, project: project.into(), roles: roles.to_vec(), expires_ms, limit };
    State::open(data_dir).unwrap().create_token(&new, NOW_MS - 1000).unwrap()
}
