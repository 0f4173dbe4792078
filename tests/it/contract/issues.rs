//! Issues: states as events come and people resolve, whose they are, and pages that hold still.

use errata::state::Role;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use super::{Answer, token};
use crate::collector::{Collector, NOW_MS, answer, event};

const MINUTE: i64 = 60_000;
const HOUR: i64 = 60 * MINUTE;
const DAY: i64 = 24 * HOUR;

/// An event of a release so long after [`NOW_MS`], or before it.
fn at(id: &str, after_ms: i64, release: &str) -> Value {
    let mut event = event(id, 422);
    event["timestamp"] = json!(NOW_MS + after_ms);
    event["release"] = json!(release);
    event
}

impl Collector {
    async fn shipped(&self, events: &[Value]) {
        let (status, body) = self.ship(events).await;
        assert_eq!((status.as_u16(), &body["data"]["accepted"]), (202, &json!(events.len())), "{body}");
        self.delivered().await;
    }

    /// The issues of a question.
    async fn issues(&self, query: &str) -> Value {
        let (status, body) = self.get(&format!("/api/v1/issues?{query}")).await;
        assert_eq!(status, 200, "{body}");
        body["data"].clone()
    }

    /// The only issue there is.
    async fn issue(&self) -> Value {
        let page = self.issues("from=-30d").await;
        assert_eq!(page["issues_in_all"], 1, "{page:#}");
        page["issues"][0].clone()
    }

    async fn change(&self, fingerprint: &str, what: &str, body: &Value) -> Value {
        let request = self.request(Method::POST, &format!("/api/v1/issues/{fingerprint}/{what}"));
        let (status, body) = answer(request.json(body)).await;
        assert_eq!(status, 200, "{body}");
        body["data"].clone()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_issue_is_new_then_ongoing_resolved_and_regressed() {
    let dir = tempfile::tempdir().unwrap();
    let collector = Collector::start(dir.path()).await;
    collector.shipped(&[at("req_1", -MINUTE, "1"), at("req_2", -2 * MINUTE, "1")]).await;
    let issue = collector.issue().await;
    let fingerprint = issue["fingerprint"].as_str().unwrap().to_owned();
    for (name, value) in [
        ("state", json!("new")),
        ("title", json!("The site sent does not belong to this account")),
        ("service", json!("igny8-api")),
        ("method", json!("POST")),
        ("route", json!("/api/v1/planner/keywords/")),
        ("status", json!(422)),
        ("error_template", json!("Validation failed")),
        ("fields", json!([{"field": "site_id", "rule": "not_owned"}])),
        ("first_seen", json!("2026-11-22T11:58:00.000Z")),
        ("last_seen", json!("2026-11-22T11:59:00.000Z")),
        ("count", json!(2)),
        ("accounts", json!(1)),
        ("first_release", json!("1")),
        ("samples", json!(["req_1"])),
    ] {
        assert_eq!(issue[name], value, "{issue:#}");
    }
    assert_eq!(collector.issues("new_within=1m").await["issues"][0]["state"], "ongoing");
    collector.advance_clock(DAY);
    assert_eq!(collector.issue().await["state"], "ongoing", "a day later");

    let resolved = collector.change(&fingerprint, "resolve", &json!({"comment": "mended"})).await;
    assert_eq!((&resolved["state"], &resolved["resolved"]["comment"]), (&json!("resolved"), &json!("mended")));
    assert_eq!(resolved["resolved"]["at"], "2026-11-23T12:00:00.000Z");
    // An event of before that comes late; and the same again, as a client repeats it.
    let late = at("req_late", DAY - MINUTE, "1");
    collector.shipped(std::slice::from_ref(&late)).await;
    assert_eq!(collector.ship(&[late]).await.1["data"]["duplicates"], 1);
    assert_eq!(collector.issue().await["state"], "resolved");
    assert_eq!(collector.issues("from=-1h&state=resolved").await["issues"][0]["count"], 1);
    // After the restart too.
    collector.stop().await.unwrap();
    let collector = Collector::start(dir.path()).await;
    collector.advance_clock(DAY + HOUR);
    assert_eq!(collector.issue().await["state"], "resolved");
    assert_eq!(collector.issues("from=-30m").await["issues"], json!([]), "neither seen nor resolved in the range");
    collector.shipped(&[at("req_again", DAY + MINUTE, "1")]).await;
    let regressed = collector.issue().await;
    assert_eq!((&regressed["state"], &regressed["resolved"]["comment"]), (&json!("regressed"), &json!("mended")));
    assert_eq!(collector.issues("").await["by_state"]["regressed"], 1);
    // As it was then.
    let before = collector.issues("from=2026-11-01T00:00:00Z&to=2026-11-23T12:00:30Z").await;
    assert_eq!(before["issues"][0]["state"], "resolved", "{before:#}");
    // Resolved anew, and reopened.
    assert_eq!(collector.change(&fingerprint, "resolve", &json!({})).await["state"], "resolved");
    let open = collector.change(&fingerprint, "reopen", &json!({})).await;
    assert_eq!((&open["state"], open.get("resolved")), (&json!("ongoing"), None));
    assert_eq!(collector.change(&fingerprint, "reopen", &json!({})).await["state"], "ongoing");
    collector.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn resolved_in_a_release_older_ones_may_still_have_it() {
    let dir = tempfile::tempdir().unwrap();
    let collector = Collector::start(dir.path()).await;
    // Another error of the same service makes a release known.
    let mut other = at("req_other", -2 * HOUR, "0.9");
    other["status"] = json!(404);
    collector.shipped(&[at("req_1", -HOUR, "1"), other]).await;
    let issues = collector.issues("status=422").await;
    let fingerprint = issues["issues"][0]["fingerprint"].as_str().unwrap();
    let state = async || {
        let (status, body) = collector.get(&format!("/api/v1/issues/{fingerprint}")).await;
        assert_eq!(status, 200, "{body}");
        body["data"].clone()
    };
    let resolved = collector.change(fingerprint, "resolve", &json!({"in_release": "2"})).await;
    assert_eq!((&resolved["state"], &resolved["resolved"]["in_release"]), (&json!("resolved"), &json!("2")));
    collector.advance_clock(HOUR);
    collector.shipped(&[at("req_2", 5 * MINUTE, "1"), at("req_3", 6 * MINUTE, "0.9")]).await;
    assert_eq!(state().await["issue"]["state"], "resolved", "servers that are not replaced yet");
    collector.shipped(&[at("req_4", 7 * MINUTE, "2")]).await;
    let issue = state().await;
    assert_eq!(issue["issue"]["state"], "regressed", "the release that was to hold the remedy");
    let releases: Vec<_> = issue["releases"].as_array().unwrap().iter().map(|one| &one["release"]).collect();
    assert_eq!(releases, ["2", "0.9", "1"], "{issue:#}");
    assert_eq!((&issue["issue"]["first_release"], &issue["issue"]["last_release"]), (&json!("1"), &json!("2")));
    assert_eq!(issue["environments"], json!([{"name": "production", "count": 4}]));
    assert_eq!(issue["top_accounts"], json!([{"name": "7", "count": 4}]));
    assert_eq!((&issue["newest"]["request_id"], &issue["explanation"]["documented"]), (&json!("req_4"), &json!(true)));
    // Resolved in 2 again, now that it is known: 2 itself is no older one.
    collector.change(fingerprint, "resolve", &json!({"in_release": "2"})).await;
    collector.advance_clock(HOUR);
    collector.shipped(&[at("req_5", HOUR + MINUTE, "1")]).await;
    assert_eq!(state().await["issue"]["state"], "resolved");
    collector.shipped(&[at("req_6", HOUR + 2 * MINUTE, "3")]).await;
    assert_eq!(state().await["issue"]["state"], "regressed");
    collector.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_whose_clock_runs_ahead_does_not_regress_what_was_just_resolved() {
    let dir = tempfile::tempdir().unwrap();
    let collector = Collector::start(dir.path()).await;
    collector.shipped(&[at("req_1", 30 * MINUTE, "1")]).await;
    let page = collector.issues("from=-1h&to=2026-11-22T13:00:00Z").await;
    let fingerprint = page["issues"][0]["fingerprint"].as_str().unwrap();
    collector.change(fingerprint, "resolve", &json!({})).await;
    collector.advance_clock(HOUR);
    assert_eq!(collector.issue().await["state"], "resolved");
    collector.shipped(&[at("req_2", 31 * MINUTE, "1")]).await;
    assert_eq!(collector.issue().await["state"], "regressed");
    collector.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_issue_escalates_far_over_its_usual_hour() {
    let dir = tempfile::tempdir().unwrap();
    let collector = Collector::start(dir.path()).await;
    // Two an hour for two days, and then an hour of 25; another error has 25 in each hour.
    let mut events = Vec::new();
    for hour in 2..50 {
        events.extend((0..2).map(|n| at(&format!("usual-{hour}-{n}"), -hour * HOUR, "1")));
        events.extend((0..25).map(|n| at(&format!("often-{hour}-{n}"), -hour * HOUR, "1")));
    }
    events.extend((0..25).map(|n| at(&format!("usual-1-{n}"), -30 * MINUTE, "1")));
    events.extend((0..25).map(|n| at(&format!("often-1-{n}"), -30 * MINUTE, "1")));
    for event in &mut events {
        if event["request_id"].as_str().unwrap().starts_with("often") {
            event["route"] = json!("/api/v1/often/");
        }
    }
    collector.shipped(&events).await;
    let page = collector.issues("sort=first_seen").await;
    assert_eq!(page["by_state"], json!({"escalating": 1, "new": 0, "ongoing": 1, "regressed": 0, "resolved": 0}));
    let page = collector.issues("state=escalating").await;
    assert_eq!((&page["issues_in_all"], &page["issues"][0]["route"]), (&json!(1), &json!("/api/v1/planner/keywords/")));
    let why = &page["issues"][0]["escalation"];
    // 2 + 8 × √2, which is more than twice the high hour.
    assert_eq!((&why["last_hour"], &why["median"], &why["high"]), (&json!(25), &json!(2.0), &json!(2.0)));
    assert!((why["threshold"].as_f64().unwrap() - 13.31).abs() < 0.01, "{why}");
    collector.advance_clock(HOUR);
    assert_eq!(collector.issues("state=escalating").await["issues_in_all"], 0, "an hour later");
    collector.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_hold_still_while_events_come() {
    let dir = tempfile::tempdir().unwrap();
    let collector = Collector::start(dir.path()).await;
    let of_route = |route: i64, after_ms: i64| {
        let mut event = at(&format!("req-{route}-{after_ms}"), after_ms, "1");
        event["route"] = json!(format!("/route/{route}/"));
        event["service"] = json!(if route % 2 == 0 { "even" } else { "odd" });
        event
    };
    let events: Vec<_> =
        (0..7).flat_map(|route| (0..=route).map(move |n| of_route(route, -(route + 1) * MINUTE - n))).collect();
    collector.shipped(&events).await;
    let mut minutes = 0;
    for (sort, first) in [("last_seen", 0), ("count", 6), ("first_seen", 0)] {
        let range = "from=2026-11-22T11:00:00Z&to=2026-11-22T12:00:00Z";
        let (mut seen, mut path) = (Vec::new(), format!("sort={sort}&limit=3&{range}"));
        loop {
            let page = collector.issues(&path).await;
            assert_eq!(page["issues_in_all"], 7);
            seen.extend(page["issues"].as_array().unwrap().iter().map(|issue| issue["route"].clone()));
            let Some(cursor) = page["next_cursor"].as_str() else { break };
            // The range is that of the first page, and what comes in later is of no page.
            path = format!("sort={sort}&limit=3&cursor={cursor}");
            minutes += 1;
            collector.advance_clock(MINUTE);
            collector.shipped(&[of_route(3, minutes * MINUTE), of_route(100 + minutes, minutes * MINUTE)]).await;
        }
        assert_eq!((seen.len(), &seen[0]), (7, &json!(format!("/route/{first}/"))), "{sort}: {seen:?}");
        seen.sort_by_key(ToString::to_string);
        seen.dedup();
        assert_eq!(seen.len(), 7, "{sort}: {seen:?}");
    }
    assert_eq!(collector.issues("service=odd&from=-1h&to=2026-11-22T12:00:00Z").await["issues_in_all"], 3);
    assert_eq!(collector.issues("q=UTE/6&from=-1h").await["issues"][0]["route"], "/route/6/");
    collector.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn issues_are_of_one_project_and_resolved_by_those_who_answer_for_them() {
    let dir = tempfile::tempdir().unwrap();
    let collector = Collector::start(dir.path()).await;
    collector.shipped(&[at("req_1", -MINUTE, "1")]).await;
    let fingerprint = collector.issue().await["fingerprint"].as_str().unwrap().to_owned();
    let foreign = token(dir.path(), "other", &[Role::Admin], None, None);
    let roles = [Role::Support, Role::Sre, Role::Product, Role::Ingest];
    let [support, sre, product, ingest] = roles.map(|role| token(dir.path(), "default", &[role], None, None));
    let change = async |token: &str, what: &str| {
        let request = collector.with_token(token, Method::POST, &format!("/api/v1/issues/{fingerprint}/{what}"));
        let answer = Answer::to(request).await;
        (answer.status, answer.envelope(what))
    };
    for what in ["resolve", "reopen"] {
        let (status, body) = change(&foreign, what).await;
        assert_eq!(status, StatusCode::NOT_FOUND, "{body}");
        assert!(body["errors"]["fingerprint"][0].as_str().unwrap().contains("GET /api/v1/issues"), "{body}");
    }
    let (status, _) = collector.read(&foreign, &format!("/api/v1/issues/{fingerprint}")).await;
    assert_eq!(status, StatusCode::NOT_FOUND);
    assert_eq!(collector.issue().await["state"], "new", "a stranger has changed nothing");
    for (token, may_read, may_change) in
        [(&support, true, true), (&sre, true, true), (&product, true, false), (&ingest, false, false)]
    {
        for path in ["/api/v1/issues".to_owned(), format!("/api/v1/issues/{fingerprint}")] {
            let (status, body) = collector.read(token, &path).await;
            assert_eq!(status.as_u16(), if may_read { 200 } else { 403 }, "{path}: {body}");
        }
        for what in ["resolve", "reopen"] {
            let (status, body) = change(token, what).await;
            assert_eq!(status.as_u16(), if may_change { 200 } else { 403 }, "{what}: {body}");
        }
    }
    let (_, body) = collector.read(&product, &format!("/api/v1/issues/{fingerprint}")).await;
    assert!(
        body["data"].get("top_accounts").is_none()
            && body["data"]["newest"]["account_id"].as_str().is_some_and(|name| name.starts_with("acct_")),
        "{body:#}"
    );
    let (_, body) = collector.read(&support, &format!("/api/v1/issues/{fingerprint}")).await;
    assert_eq!(
        (&body["data"]["top_accounts"][0]["name"], &body["data"]["newest"]["account_id"]),
        (&json!("7"), &json!("7"))
    );
    // A fingerprint that is none, and bodies that are wrong.
    for bad in ["xyz", "123", "94F4AC0E7EAF1B5G", "94f4ac0e7eaf1b5200"] {
        assert_eq!(collector.get(&format!("/api/v1/issues/{bad}")).await.0, 400, "{bad}");
    }
    let path = format!("/api/v1/issues/{fingerprint}/resolve");
    for body in [json!({"release": "2"}), json!({"in_release": "x".repeat(201)}), json!("2")] {
        let (status, body) = answer(collector.request(Method::POST, &path).json(&body)).await;
        assert_eq!(status, 400, "{body}");
    }
    for query in ["state=broken", "sort=name", "cursor=1", "limit=201", "account_id=7", "new_within=soon"] {
        assert_eq!(collector.get(&format!("/api/v1/issues?{query}")).await.0, 400, "{query}");
    }
    collector.stop().await.unwrap();
}
