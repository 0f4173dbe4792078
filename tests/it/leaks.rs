//! Every route of the table, asked by everybody: who is of another project sees nothing of this one, and who may not see people sees none.
//!
//! Two projects ship events in whose every field stands a mark of its own. Then each route, of the API and of the console, is asked with
//! each role's token of each project, with plain parameters and with those that lead to the events; every answer is searched for the marks.

use std::{collections::BTreeMap, time::Duration};

use errata::{
    http::{Access, Route, routes},
    state::Role,
};
use reqwest::Method;
use serde_json::{Value, json};

use crate::{
    collector::{Collector, NOW_MS},
    console::Browser,
    contract::token,
};

/// Fields whose marks name somebody: nobody who sees pseudonyms may read them.
const PERSONAL: [&str; 12] = [
    "account",
    "user",
    "agent",
    "host",
    "path",
    "exception",
    "stack",
    "header",
    "answer",
    "attribute",
    "body",
    "event",
];

/// Fields that are about the API alone.
const PLAIN: [&str; 8] = ["service", "environment", "release", "route", "field", "code", "request", "trace"];

const ADDRESSES: [(&str, &str); 2] = [("alpha", "192.0.2.71"), ("beta", "198.51.100.72")];

/// The mark of a field: found nowhere else, and no word that a mask would take.
fn mark(project: &str, field: &str) -> String {
    format!("{project}q{field}zz")
}

fn event(project: &str, index: usize, status: u16) -> Value {
    let mark = |field| mark(project, field);
    let address = ADDRESSES.iter().find(|(name, _)| *name == project).unwrap().1;
    json!({
        "request_id": format!("req_{}_{index}", mark("request")),
        "event_id": format!("{}-{index}", mark("event")),
        "timestamp": NOW_MS - 60_000 * (index as i64 + 1),
        "status": status,
        "service": mark("service"),
        "environment": mark("environment"),
        "release": mark("release"),
        "host": mark("host"),
        "method": "POST",
        "path": format!("/api/{}/1", mark("path")),
        "route": format!("/api/{}/{{id}}", mark("route")),
        "account_id": mark("account"),
        "user_id": mark("user"),
        "client_ip": address,
        "user_agent": mark("agent"),
        "trace_id": format!("{}-{index}", mark("trace")),
        "request_headers": {"Accept-Language": mark("header")},
        "response_headers": {"Content-Language": mark("answer")},
        "attributes": {"site": mark("attribute")},
        "exception": {"type": "E", "message": mark("exception"), "stacktrace": mark("stack")},
        "response": {
            "error": format!("Account {} may not do this", mark("account")),
            "code": mark("code"),
            "note": mark("body"),
            "errors": {mark("field"): [format!("\"{}\" of {} is not allowed", mark("body"), mark("user"))]}
        }
    })
}

/// Paths to ask of a route: with the other's values and the own ones, and, by who may ask there, with filters and groups.
fn paths(route: &Route, ids: &[(String, String)], may: bool) -> Vec<String> {
    let mut paths = Vec::new();
    for (request_id, fingerprint) in ids {
        let path = route
            .path
            .replace("{request_id}", request_id)
            .replace("{fingerprint}", fingerprint)
            .replace("{rule}", "rate-limited")
            .replace("{id}", "1")
            .replace("{*file}", "index.html")
            .replace("{file}", "x");
        let project = if request_id.contains("alpha") { "alpha" } else { "beta" };
        paths.push(path.clone());
        if may && route.method == Method::GET {
            paths.push(format!("{path}?service={}", mark(project, "service")));
            paths.push(format!("{path}?id={request_id}"));
        }
    }
    if may && route.method == Method::GET {
        let query = |query: &str| format!("{}?{query}", route.path);
        paths.push(query("q=allowed"));
        paths.push(query("group_by=account,message,path"));
        paths.push(query("group_by=message&format=csv"));
        paths.push(query("format=ndjson"));
        paths.push(query("by=account_id,user_id"));
        paths.push(query("show=undocumented"));
    }
    paths.sort();
    paths.dedup();
    paths
}

/// A whole answer; of one that goes on for ever, what comes at first.
async fn read(mut answer: reqwest::Response) -> String {
    let is_endless = answer.headers().get("content-type").is_some_and(|kind| kind == "text/event-stream");
    if !is_endless {
        return answer.text().await.unwrap();
    }
    let mut bytes = Vec::new();
    while let Ok(Ok(Some(chunk))) = tokio::time::timeout(Duration::from_millis(50), answer.chunk()).await {
        bytes.extend_from_slice(&chunk);
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// What an answer must not hold, in words; nothing if it is clean.
fn leaks(text: &str, own: &str, role: Role, asked: &str) -> Vec<String> {
    let other = if own == "alpha" { "beta" } else { "alpha" };
    let mut found = Vec::new();
    for field in PERSONAL.into_iter().chain(PLAIN) {
        let theirs = mark(other, field);
        // What was asked for is repeated: in a message that nothing was found, in the box, in a link.
        if text.contains(&theirs) && !asked.contains(&theirs) {
            found.push(format!("another project's {field}"));
        }
    }
    for (project, address) in ADDRESSES {
        if text.contains(address) && (project == other || role == Role::Product) {
            found.push(format!("an address of {project}"));
        }
    }
    if role == Role::Product {
        let personal = PERSONAL.into_iter().filter(|field| text.contains(&mark(own, field)));
        found.extend(
            personal.filter(|field| !asked.contains(&mark(own, field))).map(|field| format!("somebody's {field}")),
        );
    }
    found
}

#[tokio::test(flavor = "multi_thread")]
async fn no_route_shows_another_project_or_anybody_to_who_may_not_see_them() {
    let dir = tempfile::tempdir().unwrap();
    let collector = Collector::start(dir.path()).await;
    let admins = ["alpha", "beta"].map(|project| (project, token(dir.path(), project, &[Role::Admin], None, None)));
    let mut ids = Vec::new();
    for (project, admin) in &admins {
        let events: Vec<_> =
            [422, 400, 429, 500].into_iter().enumerate().map(|(i, status)| event(project, i, status)).collect();
        let request =
            collector.client.post(format!("{}/api/v1/events", collector.url)).bearer_auth(admin).json(&events);
        assert_eq!(request.send().await.unwrap().status(), 202);
        collector.delivered().await;
        let answer = collector.client.get(format!("{}/api/v1/events?limit=500", collector.url)).bearer_auth(admin);
        let body: Value = answer.send().await.unwrap().json().await.unwrap();
        for event in body["data"]["events"].as_array().unwrap() {
            let text = |name: &str| event[name].as_str().unwrap().to_owned();
            ids.push((text("request_id"), text("fingerprint")));
        }
        assert!(body.to_string().contains(&mark(project, "attribute")), "the marks are stored: {body}");
    }
    assert_eq!(ids.len(), 8);
    // Of each project one is enough: they are alike.
    let ids = [ids[0].clone(), ids[4].clone()];

    let services = ["alpha", "beta"].map(|project| mark(project, "service"));
    let mut asked: BTreeMap<&str, usize> = BTreeMap::new();
    let mut seen_own = 0;
    for (project, _) in &admins {
        for role in [Role::Ingest, Role::Support, Role::Sre, Role::Product, Role::Admin] {
            let token = token(dir.path(), project, &[role, role], None, Some(NOW_MS + 1_000_000));
            let mut browser = Browser::new(&collector);
            let is_in = browser.sign_in(&token, "/").await.status == 303;
            assert_eq!(is_in, role != Role::Ingest);
            for route in routes() {
                // What changes something is asked too, but for signing in and out, which would end the walk.
                if ["/sign-in", "/sign-out"].contains(&route.path) {
                    continue;
                }
                let may = match route.access {
                    Access::Open | Access::OpenPage => true,
                    Access::Roles(roles) | Access::Page(roles) => role == Role::Admin || roles.contains(&role),
                };
                for path in paths(&route, &ids, may) {
                    let about = format!("{} {path} as {} of {project}", route.method, role.as_str());
                    let (status, text) = match route.access {
                        Access::Page(_) | Access::OpenPage => {
                            let page = match route.method {
                                Method::GET => browser.get(&path).await,
                                // A form as it comes from a page of theirs, with what a form may have.
                                _ => {
                                    browser
                                        .send(&path, &[("q", &ids[0].0), ("comment", "seen"), ("minutes", "5")])
                                        .await
                                }
                            };
                            if route.method != Method::GET && !may {
                                // Who is not signed in is led there.
                                assert_eq!(page.status, if is_in { 403 } else { 303 }, "{about}");
                            }
                            (
                                page.status,
                                page.text + page.headers.get("location").map_or("", |place| place.to_str().unwrap()),
                            )
                        }
                        Access::Open | Access::Roles(_) => {
                            let request =
                                collector.client.request(route.method.clone(), format!("{}{path}", collector.url));
                            let answer = request.bearer_auth(&token).send().await.unwrap();
                            let status = answer.status();
                            (status, read(answer).await)
                        }
                    };
                    assert!(status != 500, "{about}: {text}");
                    // One listener's metrics are of all projects, and open: the README says so. They name no person.
                    if route.path == "/metrics" {
                        assert!(PERSONAL.iter().all(|field| !text.contains(&mark(project, field))), "{about}");
                        continue;
                    }
                    // The audit log repeats what this project's own tokens have asked for in this walk.
                    let is_log = route.path.contains("/audit") || route.path == "/settings";
                    let asked_for = if is_log { format!("{path} {ids:?} {}", services.concat()) } else { path.clone() };
                    let leaks = leaks(&text, project, role, &asked_for);
                    assert!(leaks.is_empty(), "{about} shows {leaks:?}: {text}");
                    seen_own += usize::from(status == 200 && text.contains(&mark(project, "field")));
                    *asked.entry(route.path).or_default() += 1;
                }
            }
        }
    }
    assert!(asked.len() > 30 && seen_own > 50, "{seen_own} answers showed events: {asked:?}");
    collector.stop().await.unwrap();
}

/// What somebody changes, and each lookup, export and search, is in the audit log.
#[test]
fn what_is_done_and_looked_up_is_audited() {
    // Events and totals arrive by the million; signing in is entered by its handler; the rest changes nobody's data.
    let exempt = [
        "/api/v1/events",
        "/api/v1/request-totals",
        "/api/v1/alerts/test",
        "/sign-in",
        "/project",
        "/theme",
        "/lookup",
    ];
    for route in routes() {
        let changes = route.method != Method::GET && !exempt.contains(&route.path);
        let looks_up = route.method == Method::GET
            && [
                "/requests/",
                ".csv",
                "/audit",
                "/api/v1/events",
                "/rate-limits",
                "/issues/{",
                "/validation",
                "/explore",
            ]
            .iter()
            .any(|part| route.path.contains(part));
        assert!(route.audit.is_some() || !(changes || looks_up), "{} {} is not audited", route.method, route.path);
    }
}
