//! The unified envelope, on every path, to everybody.

use std::collections::{BTreeMap, BTreeSet};

use errata::{
    http::{Access, routes},
    state::Role,
};
use reqwest::{Method, header::HeaderValue};

use super::{Answer, LESSER, token, without_clickhouse};
use crate::collector::{Collector, NOW_MS};

/// A path of the table with values for its parameters.
fn filled(path: &str) -> String {
    path.replace("{request_id}", "req_unknown1")
        .replace("{id}", "17")
        .replace("{rule}", "rate-limited")
        .replace("{fingerprint}", "94f4ac0e7eaf1b52")
        .replace("{*file}", "index.html")
}

/// What a token that may use a route is answered without ClickHouse and without a body.
fn allowed_status(method: &Method, path: &str) -> u16 {
    match (method.as_str(), path) {
        ("POST", "/api/v1/events" | "/api/v1/request-totals" | "/api/v1/requests/lookup") => 415,
        ("GET", "/api/v1/quarantine" | "/api/v1/audit" | "/api/v1/erase") => 200,
        ("POST", "/api/v1/erase") => 400,
        ("GET", "/api/v1/erase/{id}") => 404,
        (_, path) if path.starts_with("/api/v1/quarantine/") => 404,
        ("GET", path) if path.starts_with("/api/v1/alerts") => 200,
        ("POST", "/api/v1/alerts/silences") => 400,
        (_, "/api/v1/alerts/silences/{id}" | "/api/v1/alerts/{rule}/acknowledge") => 404,
        _ => 503,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_route_answers_every_token_in_the_envelope_with_the_right_status() {
    let dir = tempfile::tempdir().unwrap();
    let collector = Collector::with(without_clickhouse(dir.path())).await;
    let expired = token(dir.path(), "default", &[Role::Admin], None, Some(NOW_MS));
    let bad = [
        (None, "Authentication required"),
        (Some(b"Basic YWRtaW46YWRtaW4=".to_vec()), "Authentication required"),
        (Some(b"Bearer".to_vec()), "Invalid or expired token"),
        (Some(b"Bearer ".to_vec()), "Invalid or expired token"),
        (Some(b"Bearer \xff\xfe".to_vec()), "Invalid or expired token"),
        (Some(collector.token.clone().into_bytes()), "Invalid or expired token"),
        (Some(b"Bearer errata_0000".to_vec()), "Invalid or expired token"),
        (Some(format!("Bearer {expired}").into_bytes()), "Invalid or expired token"),
    ];
    let roles = LESSER.map(|role| (role, token(dir.path(), "default", &[role], None, None)));
    let mut with_roles = 0;
    for route in routes() {
        let Access::Roles(allowed) = route.access else { continue };
        with_roles += 1;
        for slash in ["", "/"] {
            let path = format!("{}{slash}", filled(route.path));
            let about = |who: &str| format!("{} {path} as {who}", route.method);
            for (header, expected) in &bad {
                let mut request = collector.anonymous(route.method.clone(), &path);
                if let Some(header) = header {
                    request = request.header("Authorization", HeaderValue::from_bytes(header).unwrap());
                }
                let about = about(&format!("{header:?}"));
                let answer = Answer::to(request).await;
                assert_eq!(answer.status, 401, "{about}");
                assert_eq!(answer.envelope(&about)["error"], *expected, "{about}");
            }
            let admin = (Role::Admin, collector.token.clone());
            for (role, token) in roles.iter().chain([&admin]) {
                let about = about(role.as_str());
                let answer = Answer::to(collector.with_token(token, route.method.clone(), &path)).await;
                let body = answer.envelope(&about);
                if *role == Role::Admin || allowed.contains(role) {
                    assert_eq!(answer.status, allowed_status(&route.method, route.path), "{about}: {body}");
                } else {
                    assert_eq!((answer.status.as_u16(), &body["error"]), (403, &"Permission denied".into()), "{about}");
                    assert!(body["errors"]["token"][0].as_str().unwrap().contains("admin"), "{about}: {body}");
                }
            }
        }
    }
    assert!(with_roles >= 9, "{with_roles}");
    collector.stop().await.unwrap();
}

/// The contract's roles line, written down once more: a slip in the route table is seen here.
#[test]
fn roles_reach_what_the_contract_says() {
    let reach = |role: Role| -> BTreeSet<String> {
        let reaches = |access| matches!(access, Access::Roles(roles) if roles.contains(&role));
        let found = routes().into_iter().filter(|route| reaches(route.access));
        found.map(|route| format!("{} {}", route.method, route.path)).collect()
    };
    let [search, tail, histogram, top] =
        ["", "/tail", "/histogram", "/top"].map(|path| format!("GET /api/v1/events{path}"));
    let [search, tail, histogram, top] = [&*search, &*tail, &*histogram, &*top];
    let issues = ["GET /api/v1/issues", "GET /api/v1/issues/{fingerprint}"];
    let catalog = ["GET /api/v1/catalog", "GET /api/v1/catalog/drift"];
    let [resolve, reopen] = ["resolve", "reopen"].map(|what| format!("POST /api/v1/issues/{{fingerprint}}/{what}"));
    let expected: [(Role, &[&str]); 4] = [
        (Role::Ingest, &["POST /api/v1/events", "POST /api/v1/request-totals"]),
        (
            Role::Support,
            &[
                "GET /api/v1/requests/{request_id}",
                "POST /api/v1/requests/lookup",
                search,
                tail,
                histogram,
                top,
                issues[0],
                issues[1],
                catalog[0],
                catalog[1],
                &resolve,
                &reopen,
            ],
        ),
        (
            Role::Sre,
            &[
                "GET /api/v1/rates",
                "GET /api/v1/rate-limits",
                "GET /api/v1/alerts",
                "GET /api/v1/alerts/history",
                "POST /api/v1/alerts/silences",
                "DELETE /api/v1/alerts/silences/{id}",
                "POST /api/v1/alerts/{rule}/acknowledge",
                "POST /api/v1/alerts/test",
                search,
                tail,
                histogram,
                top,
                issues[0],
                issues[1],
                catalog[0],
                catalog[1],
                &resolve,
                &reopen,
            ],
        ),
        (
            Role::Product,
            &[
                "GET /api/v1/validation/failures",
                "GET /api/v1/validation/friction",
                "GET /api/v1/validation/friction/accounts",
                search,
                tail,
                histogram,
                top,
                issues[0],
                issues[1],
                catalog[0],
                catalog[1],
            ],
        ),
    ];
    for (role, paths) in expected {
        assert_eq!(reach(role), paths.iter().map(ToString::to_string).collect(), "{role:?}");
    }
    let open: BTreeSet<_> =
        routes().into_iter().filter(|route| route.access == Access::Open).map(|route| route.path).collect();
    let expected = ["/api/v1/openapi.json", "/docs", "/docs/", "/docs/{*file}", "/healthz", "/metrics", "/readyz"];
    assert_eq!(open, expected.into());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_there_is_404_and_a_wrong_method_405_with_allow() {
    let dir = tempfile::tempdir().unwrap();
    let collector = Collector::with(without_clickhouse(dir.path())).await;
    let unknown = [
        "/api",
        "/api/",
        "/api/v1",
        "/api/v1/nope",
        "/api/v1/events/1",
        "/api/v1/%FF",
        "/nope",
        "//",
        "/docs/nope.js",
        "/docsx/",
    ];
    for path in unknown {
        for method in [Method::GET, Method::POST, Method::OPTIONS] {
            if path.starts_with("/docs/") && method != Method::GET {
                continue;
            }
            let about = format!("{method} {path}");
            let answer = Answer::to(collector.anonymous(method, path)).await;
            assert_eq!(answer.status, 404, "{about}");
            assert_eq!(answer.envelope(&about)["error"], "Resource not found", "{about}");
        }
    }
    let mut methods: BTreeMap<&str, BTreeSet<String>> = BTreeMap::new();
    for route in routes() {
        let of_path = methods.entry(route.path).or_default();
        of_path.insert(route.method.to_string());
        if route.method == Method::GET {
            of_path.insert("HEAD".into());
        }
    }
    // One path is matched by two templates.
    methods.remove("/api/v1/requests/lookup");
    for (path, allowed) in methods {
        for method in ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "BREW"] {
            if allowed.contains(method) {
                continue;
            }
            let about = format!("{method} {path}");
            let method = Method::from_bytes(method.as_bytes()).unwrap();
            let answer = Answer::to(collector.anonymous(method.clone(), &filled(path))).await;
            assert_eq!(answer.status, 405, "{about}");
            let allow: BTreeSet<String> = answer.header("allow").unwrap().split(',').map(str::to_owned).collect();
            assert_eq!(allow, allowed, "{about}");
            if method == Method::HEAD {
                answer.check_headers(&about);
                assert_eq!(answer.text, "", "{about}");
            } else {
                assert_eq!(answer.envelope(&about)["error"], "Method not allowed", "{about}");
            }
        }
    }
    collector.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn head_is_get_without_the_body() {
    let dir = tempfile::tempdir().unwrap();
    let collector = Collector::with(without_clickhouse(dir.path())).await;
    for route in routes().into_iter().filter(|route| route.method == Method::GET && route.path != "/metrics") {
        let path = filled(route.path);
        let get = Answer::to(collector.request(Method::GET, &path)).await;
        let head = Answer::to(collector.request(Method::HEAD, &path)).await;
        assert_eq!((head.status, head.text.as_str()), (get.status, ""), "{path}");
        assert_eq!(head.header("content-type"), get.header("content-type"), "{path}");
    }
    collector.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_good_request_id_is_kept_and_a_bad_one_replaced() {
    let dir = tempfile::tempdir().unwrap();
    let collector = Collector::with(without_clickhouse(dir.path())).await;
    let longest = "x".repeat(128);
    for kept in ["a", "req_1", "550E8400-E29B-41D4-A716-446655440000", "{\"<&>\"}", &longest] {
        for path in ["/api/v1/nope", "/api/v1/rates", "/api/v1/events", "/healthz"] {
            let answer = Answer::to(collector.anonymous(Method::GET, path).header("X-Request-ID", kept)).await;
            assert_eq!(answer.header("x-request-id"), Some(kept), "{path}");
            if path.starts_with("/api") {
                answer.envelope(path);
            }
        }
    }
    let too_long = "x".repeat(129);
    let mut made = BTreeSet::new();
    for bad in [&b""[..], b"two words", b"tab\tbed", "é".as_bytes(), b"\xff", too_long.as_bytes()] {
        let request = collector.anonymous(Method::GET, "/api/v1/rates");
        let answer = Answer::to(request.header("X-Request-ID", HeaderValue::from_bytes(bad).unwrap())).await;
        answer.envelope("a bad id");
        let id = answer.header("x-request-id").unwrap().to_owned();
        assert!(uuid::Uuid::try_parse(&id).is_ok_and(|id| id.get_version_num() == 4), "{id}");
        made.insert(id);
    }
    assert_eq!(made.len(), 6);
    collector.stop().await.unwrap();
}
