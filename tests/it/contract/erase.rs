//! Erasing: nothing of somebody is left anywhere, others keep theirs, and the books balance, whatever is interrupted.

use std::{path::Path, time::Duration};

use errata::{
    config::Config,
    state::{AlertChanges, AlertRow, Erasure, State},
};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use super::{Answer, token};
use crate::{
    collector::{Collector, NOW_MS, config, event},
    faults::{engine::Engine, proxy::Proxy},
};

const HOUR_MS: i64 = 3_600_000;

fn event_of(request_id: &str, account: &str, user: &str) -> Value {
    let mut event = event(request_id, 422);
    event["account_id"] = json!(account);
    event["user_id"] = json!(user);
    event
}

async fn erase(collector: &Collector, what: &Value) -> Value {
    let answer = Answer::to(collector.request(Method::POST, "/api/v1/erase").json(what)).await;
    assert_eq!(answer.status, 202, "{}", answer.text);
    let receipt = answer.envelope("erase")["data"].clone();
    assert_eq!(receipt["state"], "waiting", "{receipt}");
    receipt
}

async fn done(collector: &Collector, receipt: &Value) -> Value {
    let path = format!("/api/v1/erase/{}", receipt["id"].as_str().unwrap());
    let began = std::time::Instant::now();
    loop {
        let (status, body) = collector.get(&path).await;
        assert_eq!(status, 200, "{body}");
        if body["data"]["state"] == "done" {
            return body["data"].clone();
        }
        assert!(began.elapsed() < Duration::from_secs(60), "{body}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

async fn ids(collector: &Collector, query: &str) -> Vec<String> {
    let (status, body) = collector.get(&format!("/api/v1/events?from=-7d&{query}")).await;
    assert_eq!(status, 200, "{body}");
    let events = body["data"]["events"].as_array().unwrap().iter();
    let mut ids: Vec<_> = events.map(|event| event["request_id"].as_str().unwrap().to_owned()).collect();
    ids.sort();
    ids
}

async fn why_unknown(collector: &Collector, id: &str) -> String {
    let (status, body) = collector.get(&format!("/api/v1/requests/{id}")).await;
    assert_eq!(status, StatusCode::NOT_FOUND, "{body}");
    body["errors"]["request_id"][0].as_str().unwrap().to_owned()
}

/// Bytes of a directory's files that hold a text. ClickHouse keeps parts for a while that no query sees; they are not looked into.
fn files_with(dir: &Path, text: &str) -> Vec<String> {
    let (mut found, mut folders) = (Vec::new(), vec![dir.to_owned()]);
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if std::fs::read(&path).unwrap().windows(text.len()).any(|bytes| bytes == text.as_bytes()) {
                found.push(path.display().to_string());
            }
        }
    }
    found
}

#[tokio::test(flavor = "multi_thread")]
async fn an_accounts_events_go_from_everywhere_and_others_stay() {
    let dir = tempfile::tempdir().unwrap();
    let collector = Collector::start(dir.path()).await;
    collector.advance_clock(30 * 60_000);
    let mut events =
        vec![event_of("req_1", "acme", "anna"), event_of("req_2", "acme", "ben"), event_of("req_3", "zeta", "anna")];
    // A clock that is ahead: its hour is after that of the erasure.
    let mut ahead = event_of("req_5", "acme", "anna");
    ahead["timestamp"] = json!("2026-11-22T13:15:00Z");
    events.push(ahead);
    // The same id in the same second, of another account: its place in the lookup index stays.
    events.push(event_of("req_2", "zeta", "zoe"));
    collector.ship(&events).await;
    let foreign = token(dir.path(), "other", &[errata::state::Role::Admin], None, None);
    collector.ship_as(&foreign, &[event_of("req_1", "acme", "anna")]).await;
    collector.delivered().await;
    let before = collector.get("/api/v1/rates?group_by=status").await.1["data"]["series"][0]["errors"].clone();

    let receipt = erase(&collector, &json!({"account_id": "acme"})).await;
    let receipt = done(&collector, &receipt).await;
    assert_eq!((&receipt["stored"], &receipt["kind"]), (&json!(3), &json!("account_id")), "{receipt}");
    assert!(!receipt.to_string().contains("acme"), "{receipt}");

    assert_eq!(ids(&collector, "").await, ["req_2", "req_3"]);
    assert_eq!(ids(&collector, "account_id=acme").await, [""; 0]);
    assert!(why_unknown(&collector, "req_1").await.starts_with("erased at 2026-11-22"));
    let found = collector.found("req_2").await;
    assert_eq!(found["events"].as_array().unwrap().len(), 1, "{found}");
    assert_eq!(found["events"][0]["account_id"], "zeta");
    // Sums stay; whose they were does not.
    let after = collector.get("/api/v1/rates?group_by=status").await.1["data"]["series"][0]["errors"].clone();
    assert_eq!(before, after);
    let (_, body) =
        collector.get("/api/v1/validation/failures?from=2026-11-22T11:00:00Z&to=2026-11-22T12:00:00Z").await;
    let row = &body["data"]["rows"][0];
    assert_eq!((&row["count"], &row["accounts"]), (&json!(4), &json!(1)), "{body}");
    assert!(!row["samples"].to_string().contains("req_1"), "{body}");
    let path = "/api/v1/validation/failures?from=2026-11-22T13:00:00Z&to=2026-11-22T14:00:00Z";
    let (_, body) = collector.get(path).await;
    let row = &body["data"]["rows"][0];
    assert_eq!((&row["count"], &row["accounts"]), (&json!(1), &json!(0)), "{body}");
    // Nor have the days it, of which that of the erasure is one.
    let (_, body) =
        collector.get("/api/v1/validation/failures?from=2026-11-22T00:00:00Z&to=2026-11-23T00:00:00Z").await;
    let row = &body["data"]["rows"][0];
    assert_eq!((&row["count"], &row["accounts"]), (&json!(5), &json!(1)), "{body}");
    assert!(!row["samples"].to_string().contains("req_1"), "{body}");
    // Another project keeps its own.
    let (_, body) = collector.read(&foreign, "/api/v1/requests/req_1").await;
    assert_eq!(body["data"]["state"], "found", "{body}");
    assert_eq!(collector.metric("errata_books_imbalance_events").await, 0.0);
    assert_eq!(collector.metric("errata_erased_events_total").await, 3.0);

    // Once more: nothing is left, and nothing changes.
    let again = erase(&collector, &json!({"account_id": "acme"})).await;
    assert_eq!(done(&collector, &again).await["stored"], 0);
    assert_eq!(ids(&collector, "").await, ["req_2", "req_3"]);
    let (_, audit) = collector.get("/api/v1/audit?action=erase").await;
    assert!(!audit.to_string().contains("acme"), "the log does not say whose: {audit}");
    collector.stop().await.unwrap();
    assert_eq!(files_with(&dir.path().join("quarantine"), "acme"), [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_and_a_user_are_erased_and_bad_bodies_are_told() {
    let dir = tempfile::tempdir().unwrap();
    let collector = Collector::start(dir.path()).await;
    let id = "550E8400-e29b-41d4-a716-446655440000";
    let mut own = event_of("req_2", "a", "82");
    own["route"] = json!("/of/82/");
    let mut shared = event_of("req_3", "a", "83");
    collector.ship(&[event_of(id, "a", "82"), own.clone(), shared.clone()]).await;
    collector.delivered().await;
    let issues = async || collector.get("/api/v1/issues?from=-7d").await.1.to_string();
    assert!(issues().await.contains("/of/82/"), "{}", issues().await);
    let receipt = erase(&collector, &json!({"request_id": id})).await;
    assert_eq!(done(&collector, &receipt).await["stored"], 1);
    assert!(why_unknown(&collector, id).await.starts_with("erased at"));
    let receipt = erase(&collector, &json!({"user_id": 82})).await;
    assert_eq!(done(&collector, &receipt).await["stored"], 1);
    assert_eq!(ids(&collector, "").await, ["req_3"]);
    let left = issues().await;
    assert!(!left.contains("/of/82/") && left.contains("planner"), "an issue that others have stays: {left}");
    // It is known anew as soon as somebody else has it.
    own["user_id"] = json!("84");
    shared["request_id"] = json!("req_4");
    own["request_id"] = json!("req_5");
    collector.ship(&[own, shared]).await;
    collector.delivered().await;
    assert!(issues().await.contains("/of/82/"), "{}", issues().await);
    let (_, list) = collector.get("/api/v1/erase").await;
    let kinds: Vec<_> = list["data"].as_array().unwrap().iter().map(|one| one["kind"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["user_id", "request_id"]);
    for body in [
        json!({}),
        json!({"account_id": "1", "user_id": "2"}),
        json!({"account_id": ""}),
        json!({"account_id": 1.5}),
        json!({"request_id": "a b"}),
        json!({"colour": "red"}),
    ] {
        let answer = Answer::to(collector.request(Method::POST, "/api/v1/erase").json(&body)).await;
        let errors = answer.envelope("bad")["errors"].clone();
        assert_eq!(answer.status, 400, "{body}: {errors}");
    }
    let (status, body) = collector.get("/api/v1/erase/nope").await;
    assert_eq!(status, 404, "{body}");
    let support = token(dir.path(), "default", &[errata::state::Role::Support], None, None);
    let answer =
        Answer::to(collector.with_token(&support, Method::POST, "/api/v1/erase").json(&json!({"user_id": "83"}))).await;
    assert_eq!(answer.status, 403);
    collector.stop().await.unwrap();
}

/// An address where nobody listens, and one where somebody does.
fn away(config: &Config) -> Config {
    let mut config = config.clone();
    config.clickhouse.url = "http://127.0.0.1:1".into();
    config
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_queued_when_it_is_erased_never_appears_also_after_a_crash() {
    let dir = tempfile::tempdir().unwrap();
    let config = config(dir.path());
    // ClickHouse is away: everything queues.
    let collector = Collector::with(away(&config)).await;
    collector.ship(&[event_of("req_1", "acme", "anna"), event_of("req_2", "zeta", "anna")]).await;
    let receipt = erase(&collector, &json!({"account_id": "acme"})).await;
    // What comes later is new.
    collector.advance_clock(1000);
    collector.ship(&[event_of("req_3", "acme", "anna")]).await;
    let (_, body) = collector.get(&format!("/api/v1/erase/{}", receipt["id"].as_str().unwrap())).await;
    assert_eq!(body["data"]["state"], "waiting", "{body}");
    collector.stop().await.unwrap();

    let collector = Collector::with(config).await;
    collector.delivered().await;
    let receipt = done(&collector, &receipt).await;
    assert_eq!((&receipt["stored"], &receipt["withheld"]), (&json!(0), &json!(1)), "{receipt}");
    assert_eq!(ids(&collector, "").await, ["req_2", "req_3"]);
    assert!(why_unknown(&collector, "req_1").await.starts_with("erased at"));
    assert_eq!(collector.metric("errata_books_imbalance_events").await, 0.0);
    let rates = collector.get("/api/v1/rates?group_by=status").await.1;
    assert_eq!(rates["data"]["series"][0]["errors"], 2, "it was never counted: {rates}");
    // A client that sends it again sends a duplicate.
    let (_, body) = collector.ship(&[event_of("req_1", "acme", "anna")]).await;
    assert_eq!(body["data"]["duplicates"], 1, "{body}");
    collector.stop().await.unwrap();
}

/// The same without a restart: what waits is left out from the moment of the erasure on, and of its project alone.
#[tokio::test(flavor = "multi_thread")]
async fn what_waits_for_clickhouse_when_it_is_erased_never_gets_there() {
    let dir = tempfile::tempdir().unwrap();
    let engine = Engine::start(dir.path()).await;
    let proxy = Proxy::start(engine.port()).await;
    let data = dir.path().join("data");
    let mut config = config(&data);
    config.clickhouse.url = Engine::url_through(proxy.port());
    let collector = Collector::with(config).await;
    collector.ship(&[event_of("req_0", "zeta", "anna")]).await;
    collector.delivered().await;
    proxy.refuse();
    let foreign = token(&data, "other", &[errata::state::Role::Admin], None, None);
    collector.ship(&[event_of("req_1", "acme", "anna"), event_of("req_2", "zeta", "anna")]).await;
    collector.ship_as(&foreign, &[event_of("req_3", "acme", "anna")]).await;
    let receipt = erase(&collector, &json!({"account_id": "acme"})).await;
    proxy.pass();
    let receipt = done(&collector, &receipt).await;
    assert_eq!((&receipt["stored"], &receipt["withheld"]), (&json!(0), &json!(1)), "{receipt}");
    collector.delivered().await;
    assert_eq!(ids(&collector, "").await, ["req_0", "req_2"]);
    let (_, body) = collector.read(&foreign, "/api/v1/requests/req_3").await;
    assert_eq!(body["data"]["state"], "found", "{body}");
    assert_eq!(collector.metric("errata_books_imbalance_events").await, 0.0);
    collector.stop().await.unwrap();
}

/// An alert whose evidence names a request.
fn alert_naming(request_id: &str) -> AlertRow {
    AlertRow {
        project: "default".into(),
        rule: "r".into(),
        fingerprint: request_id.into(),
        labels: "{}".into(),
        severity: "page".into(),
        phase: "resolved".into(),
        active_ms: NOW_MS,
        fired_ms: Some(NOW_MS),
        resolved_ms: Some(NOW_MS),
        held_ms: NOW_MS,
        value: 1.5,
        threshold: 1.0,
        summary: "s".into(),
        window: (0, NOW_MS),
        evidence: Some(json!({"samples": [{"request_id": request_id}]}).to_string()),
        frozen: String::new(),
        told_ms: None,
        acknowledged: None,
    }
}

/// The state database refuses what each step writes, as if there had been a crash just before; a start takes it up again.
#[tokio::test(flavor = "multi_thread")]
async fn an_erasure_that_is_interrupted_anywhere_leaves_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let mut collector = Collector::start(dir.path()).await;
    let steps = [
        "UPDATE ON erasures WHEN NEW.state = 'deleting'", // before anything
        "INSERT ON erased_requests",                      // the events are counted
        "UPDATE ON alerts WHEN NEW.evidence IS NULL",     // ClickHouse has nothing any more
        "UPDATE ON erasures WHEN NEW.state = 'done'",     // nobody has
    ];
    for (round, step) in steps.into_iter().enumerate() {
        let id = |what: &str| format!("req_{what}_{round}");
        let names = [format!("acct{round}"), format!("user{round}"), id("request")];
        let events = [
            event_of(&id("account"), &names[0], "u"),
            event_of(&id("user"), "zeta", &names[1]),
            event_of(&names[2], "zeta", "u"),
        ];
        collector.ship(&events).await;
        collector.delivered().await;
        let ids_of = ["account", "user", "request"].map(id);
        let put = ids_of.iter().map(|id| alert_naming(id)).collect();
        State::open(dir.path()).unwrap().apply_alerts(&AlertChanges { put, ..AlertChanges::default() }).unwrap();
        let database = rusqlite::Connection::open(dir.path().join("state.db")).unwrap();
        database.busy_timeout(Duration::from_secs(10)).unwrap();
        let refuse = format!("CREATE TRIGGER crash BEFORE {step} BEGIN SELECT RAISE(ABORT, 'interrupted'); END");
        database.execute_batch(&refuse).unwrap();
        let mut receipts = Vec::new();
        for (kind, name) in ["account_id", "user_id", "request_id"].into_iter().zip(&names) {
            receipts.push(erase(&collector, &json!({ kind: name })).await);
        }
        for receipt in &receipts {
            interrupted(&collector, receipt).await;
        }
        collector.stop().await.unwrap();
        database.execute_batch("DROP TRIGGER crash").unwrap();
        collector = Collector::start(dir.path()).await;
        for receipt in &receipts {
            assert_eq!(done(&collector, receipt).await["stored"], 1, "{step}");
        }
        for id in &ids_of {
            assert!(why_unknown(&collector, id).await.starts_with("erased at"), "{step}: {id}");
        }
        let alerts = State::open(dir.path()).unwrap().alerts(Some("default")).unwrap();
        let named: Vec<_> =
            alerts.iter().filter_map(|alert| alert.evidence.as_deref()).filter(|text| text.contains("req_")).collect();
        assert_eq!(named, [""; 0], "{step}");
        let (_, body) =
            collector.get("/api/v1/validation/failures?from=2026-11-22T11:00:00Z&to=2026-11-22T12:00:00Z").await;
        let row = &body["data"]["rows"][0];
        assert_eq!(
            (&row["accounts"], row["samples"].to_string().contains("req_")),
            (&json!(1), false),
            "{step}: {body}"
        );
    }
    assert_eq!(ids(&collector, "").await, [""; 0]);
    collector.stop().await.unwrap();
}

/// Waits until an erasure says that its step failed.
async fn interrupted(collector: &Collector, receipt: &Value) {
    let path = format!("/api/v1/erase/{}", receipt["id"].as_str().unwrap());
    let began = std::time::Instant::now();
    loop {
        let (_, body) = collector.get(&path).await;
        if body["data"]["problem"].to_string().contains("interrupted") {
            return;
        }
        assert!(began.elapsed() < Duration::from_secs(60), "{body}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// More requests than go at once, of a user who has some of them in common with somebody else.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_more_than_goes_at_once_goes_in_rounds() {
    const EVENTS: usize = 20_500;
    let dir = tempfile::tempdir().unwrap();
    let collector = Collector::start(dir.path()).await;
    // The longest ids: as much text as there can be.
    let id = |number: usize| format!("req_{number:0124}");
    let line = |number: usize, user: &str| {
        format!(
            "{{\"request_id\":\"{}\",\"status\":422,\"account_id\":\"acme\",\"user_id\":\"{user}\",\"timestamp\":\"2026-11-22T11:{:02}:00Z\"}}\n",
            id(number),
            number % 60
        )
    };
    let body: String = (0..EVENTS).map(|number| line(number, "anna")).chain([line(7, "zoe")]).collect();
    let (status, body) = collector.ship_body("application/x-ndjson", body).await;
    assert_eq!((status, &body["data"]["accepted"]), (StatusCode::ACCEPTED, &json!(EVENTS + 1)), "{body}");
    collector.delivered().await;
    let receipt = erase(&collector, &json!({"user_id": "anna"})).await;
    assert_eq!(done(&collector, &receipt).await["stored"], EVENTS);
    assert_eq!(ids(&collector, "").await, [id(7)]);
    assert_eq!(collector.found(&id(7)).await["events"][0]["user_id"], "zoe");
    for number in [0, 1, EVENTS - 2, EVENTS - 1] {
        assert!(why_unknown(&collector, &id(number)).await.starts_with("erased at"), "{number}");
    }
    collector.stop().await.unwrap();
}

/// A crash between any two steps leaves the state database as it was after one of them: each is taken up from there.
#[tokio::test(flavor = "multi_thread")]
async fn an_erasure_goes_on_after_a_crash_between_its_steps() {
    let dir = tempfile::tempdir().unwrap();
    let collector = Collector::start(dir.path()).await;
    collector.ship(&[event_of("req_1", "acme", "anna"), event_of("req_2", "zeta", "ben")]).await;
    // Received after the erasure: it is new, and stays where it was counted too.
    collector.advance_clock(3 * HOUR_MS);
    let mut later = event_of("req_3", "acme", "anna");
    later["timestamp"] = json!("2026-11-22T14:59:00Z");
    collector.ship(&[later]).await;
    collector.delivered().await;
    collector.stop().await.unwrap();

    let begun = |id: &str, value: &str, stored: Option<u64>| {
        let state = State::open(dir.path()).unwrap();
        let erasure = Erasure { id: id.into(), ..Erasure::new("default", "account_id", value, NOW_MS) };
        state.begin_erasure(&erasure).unwrap();
        if let Some(stored) = stored {
            state.erasure_deletes(id, stored).unwrap();
        }
    };
    // Written, and nothing else done.
    begun("first", "acme", None);
    // Counted 5, and all but its own end done.
    begun("second", "nobody", Some(5));
    let collector = Collector::with_clock(config(dir.path()), NOW_MS + 3 * HOUR_MS).await;
    let first = done(&collector, &json!({"id": "first"})).await;
    assert_eq!(first["stored"], 1, "{first}");
    let second = done(&collector, &json!({"id": "second"})).await;
    assert_eq!(second["stored"], 5, "what was counted first counts: {second}");
    assert_eq!(ids(&collector, "").await, ["req_2", "req_3"]);
    let path = "/api/v1/validation/failures?from=2026-11-22T14:00:00Z&to=2026-11-22T15:00:00Z";
    let (_, body) = collector.get(path).await;
    let row = &body["data"]["rows"][0];
    assert_eq!((&row["accounts"], &row["samples"][0]), (&json!(1), &json!("req_3")), "{body}");
    collector.stop().await.unwrap();
}
