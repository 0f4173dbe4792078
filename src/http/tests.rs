//! What cannot be reached from outside: a handler that panics, a spool that fails.

use std::{path::Path, sync::atomic::AtomicI64};

use axum::{body::Body, http::HeaderValue, routing::get};
use http_body_util::BodyExt;
use serde_json::{Value, json};
use tower::ServiceExt;

use super::*;
use crate::{
    config::ByteSize,
    spool::simulated::Simulated,
    state::{Limit, NewToken, Role},
    store::client::{Access as ClickHouse, Database},
};

const NOW_MS: i64 = 1_795_348_800_000;

/// A collector without ClickHouse, whose spool is on a simulated disk; and an admin's token with a limit.
fn shared(dir: &Path, disk: &Simulated) -> (Shared, String) {
    shared_on(dir, disk, &Simulated::default())
}

/// [`shared`], and the spool of totals on another disk.
fn shared_on(dir: &Path, disk: &Simulated, totals_disk: &Simulated) -> (Shared, String) {
    let _ = rustls::crypto::ring::default_provider().install_default(); // another test may have been first
    let config = Config { data_dir: dir.to_owned(), retention_days: 3650, ..Config::default() };
    let state = State::open(dir).unwrap();
    let limit = Some(Limit { events: 10, seconds: 60 });
    let new = NewToken { name: "t".into(), project: "p".into(), roles: vec![Role::Admin], expires_ms: None, limit };
    let token = state.create_token(&new, NOW_MS).unwrap();
    let options = spool::Options {
        dir: "spool".into(),
        segment_bytes: ByteSize::mib(1).0,
        max_bytes: ByteSize::mib(8).0,
        reserve_bytes: 0,
        remembered_keys: 1000,
    };
    let (spool, _) = spool::open_in(options.clone(), &disk.root()).unwrap();
    let (totals, _) = spool::open_in(options, &totals_disk.root()).unwrap();
    let database = Database::parse("errata").unwrap();
    let metrics = Arc::new(Metrics::new().unwrap());
    let clock = Clock::manual(Arc::new(AtomicI64::new(NOW_MS)));
    let store = Store::new(ClickHouse::external("http://127.0.0.1:1", database).unwrap().clients().unwrap());
    let quarantine = Quarantine::open(dir.join("quarantine")).unwrap();
    let pseudonyms = crate::event::pseudonym::Pseudonyms::new(&[0; 32]);
    let parts = Parts {
        eraser: Eraser {
            state: state.clone(),
            store: store.clone(),
            quarantine: quarantine.clone(),
            tombstones: Arc::new(crate::erase::tombstones(&state, &pseudonyms, &clock).unwrap()),
            pseudonyms: pseudonyms.clone(),
            metrics: Arc::clone(&metrics),
            clock: clock.clone(),
            arrivals: Arc::default(),
            evaluation: Arc::default(),
            begun: Arc::default(),
        },
        audit: audit::Trail::start(state.clone(), clock.clone(), Arc::clone(&metrics)).unwrap(),
        store,
        clock,
        quota: quota::Quota::default(),
        metrics,
        catalog: Catalog::builtin(),
        rules: Arc::default(),
        alerts: crate::alerts::status::Status::default(),
        scrubber: Scrubber::new(&config.scrub).unwrap(),
        limits: Limits::default(),
        books: Arc::new(Books::default()),
        quarantine,
        health: Health::default(),
        origins: Arc::default(),
        privacy: privacy::Privacy::new(pseudonyms),
        receiving: body::Budget::new(config.ingest.max_in_flight.as_usize()),
        in_flight: Arc::new(tokio::sync::Semaphore::new(config.ingest.max_in_flight.as_usize() / 1024)),
        workbenches: ingest::Workbenches::default(),
        streams: events::Streams::default(),
        sign_ins: console::Attempts::default(),
        swagger: Arc::new(utoipa_swagger_ui::Config::from("/api/v1/openapi.json")),
        totals: ingest::totals::Intake::new(totals),
        state,
        spool,
        config,
    };
    (Arc::new(parts), token)
}

async fn ask(router: &Router, request: Request) -> (Response<()>, Value) {
    let (head, body) = router.clone().oneshot(request).await.unwrap().into_parts();
    let bytes = body.collect().await.unwrap().to_bytes();
    (Response::from_parts(head, ()), serde_json::from_slice(&bytes).unwrap())
}

fn request(method: &str, path: &str, token: &str, body: &'static str) -> Request {
    let request = Request::builder().method(method).uri(path).header("Authorization", format!("Bearer {token}"));
    request
        .header("Content-Type", "application/x-ndjson")
        .header("X-Request-ID", "mine")
        .body(Body::from(body))
        .unwrap()
}

type Response<T> = axum::http::Response<T>;

async fn panics() -> &'static str {
    panic!("at the disco with {}", "a secret")
}

#[tokio::test]
async fn a_panic_is_a_500_in_the_envelope_that_tells_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let (shared, token) = shared(dir.path(), &Simulated::default());
    let table = Router::new().route("/api/v1/panic", get(panics)).route("/panic", get(panics));
    let router = around(table, shared);
    for path in ["/api/v1/panic", "/panic"] {
        let (response, body) = ask(&router, request("GET", path, &token, "")).await;
        assert_eq!(response.status(), 500);
        assert_eq!(body, json!({"success": false, "error": "Internal server error", "request_id": "mine"}));
        assert_eq!(response.headers()["x-request-id"], "mine");
        assert_eq!(response.headers()["content-type"], "application/json");
        let remaining = response.headers().get("x-throttle-remaining");
        assert_eq!(remaining, path.starts_with("/api").then(|| HeaderValue::from(10)).as_ref(), "{path}");
    }
}

#[tokio::test]
async fn a_refusal_of_the_framework_is_put_into_the_envelope() {
    let dir = tempfile::tempdir().unwrap();
    let (shared, token) = shared(dir.path(), &Simulated::default());
    let refuses = || async { (StatusCode::IM_A_TEAPOT, "short and stout") };
    let router = around(Router::new().route("/api/v1/tea", get(refuses)).route("/tea", get(refuses)), shared);
    let (response, body) = ask(&router, request("GET", "/api/v1/tea", &token, "")).await;
    assert_eq!(response.status(), StatusCode::IM_A_TEAPOT);
    assert_eq!(body, json!({"success": false, "error": "I'm a teapot", "request_id": "mine"}));
}

#[tokio::test]
async fn a_failed_spool_is_503_not_ready_and_costs_no_quota() {
    let dir = tempfile::tempdir().unwrap();
    let disk = Simulated::default();
    let (shared, token) = shared(dir.path(), &disk);
    let router = router(Arc::clone(&shared));
    let event = "{\"status\": 400}\n";
    let (response, body) = ask(&router, request("POST", "/api/v1/events", &token, event)).await;
    assert_eq!((response.status(), &body["data"]["accepted"]), (StatusCode::ACCEPTED, &json!(1)), "{body}");
    let (response, _) = ask(&router, request("GET", "/readyz", &token, "")).await;
    assert_eq!(response.status(), 200);
    disk.fail_syncs(true);
    for event in ["{\"status\": 401}\n", "{\"status\": 402}\n"] {
        let (response, body) = ask(&router, request("POST", "/api/v1/events", &token, event)).await;
        assert_eq!(response.status(), 503, "{body}");
        assert!(response.headers().contains_key("retry-after"));
        assert_eq!(response.headers()["x-throttle-remaining"], "9");
        assert!(body["errors"]["spool"][0].as_str().unwrap().starts_with("the spool failed"), "{body}");
    }
    assert!(!shared.eraser.arrivals.have_arrived(NOW_MS), "the next start may find them: no erasure is done before");
    let (response, body) = ask(&router, request("GET", "/readyz", &token, "")).await;
    assert_eq!((response.status().as_u16(), &body["spool"]["writable"]), (503, &json!(false)), "{body}");
    assert!(body["spool"]["reason"].as_str().unwrap().starts_with("the spool failed"), "{body}");
    let text = String::from_utf8(shared.metrics.encode().unwrap()).unwrap();
    assert!(text.contains(r#"errata_ingest_events_total{outcome="accepted",protocol="json"} 1"#), "{text}");
}

/// Promise: an erasure knows of every body that is not durable yet, also when its client has gone.
#[tokio::test(flavor = "multi_thread")]
async fn a_body_is_arriving_until_its_events_are_durable() {
    let dir = tempfile::tempdir().unwrap();
    let disk = Simulated::default();
    let (shared, token) = shared(dir.path(), &disk);
    let router = router(Arc::clone(&shared));
    let arrivals = &shared.eraser.arrivals;
    assert!(arrivals.have_arrived(NOW_MS));
    for (event, client_goes) in [("{\"status\": 400}\n", false), ("{\"status\": 401}\n", true)] {
        let before = shared.spool.stats().items;
        disk.hold_syncs(true);
        let shipping = {
            let (router, request) = (router.clone(), request("POST", "/api/v1/events", &token, event));
            tokio::spawn(async move { ask(&router, request).await.0.status() })
        };
        let waiting = disk.clone();
        tokio::task::spawn_blocking(move || waiting.wait_for_held_sync()).await.unwrap();
        if client_goes {
            shipping.abort();
        }
        assert_eq!((arrivals.have_arrived(NOW_MS), shared.spool.stats().items), (false, before));
        assert!(arrivals.have_arrived(NOW_MS - 1));
        disk.hold_syncs(false);
        match shipping.await {
            Ok(status) => assert_eq!(status, StatusCode::ACCEPTED),
            Err(gone) => assert!(gone.is_cancelled()),
        }
        while !arrivals.have_arrived(NOW_MS) {
            tokio::task::yield_now().await;
        }
        assert_eq!(shared.spool.stats().items, before + 1, "it is in the spool when it has arrived");
    }
}

#[tokio::test]
async fn totals_whose_sync_fails_are_not_acknowledged_and_not_counted() {
    let dir = tempfile::tempdir().unwrap();
    let disk = Simulated::default();
    let (shared, token) = shared_on(dir.path(), &Simulated::default(), &disk);
    let router = router(Arc::clone(&shared));
    let total = "{\"minute\": 1795348680, \"status\": 200, \"count\": 7}\n";
    let ship = || ask(&router, request("POST", ingest::totals::PATH, &token, total));
    let (response, body) = ship().await;
    assert_eq!((response.status(), &body["data"]["accepted"]), (StatusCode::ACCEPTED, &json!(1)), "{body}");
    disk.fail_syncs(true);
    for _ in 0..2 {
        let (response, body) = ship().await;
        assert_eq!(response.status(), 503, "{body}");
        assert!(response.headers().contains_key("retry-after"));
        assert!(body["error"].as_str().unwrap().starts_with("Request totals cannot be taken"), "{body}");
        assert!(body["errors"]["spool"][0].as_str().unwrap().starts_with("the spool failed"), "{body}");
    }
    assert_eq!((shared.totals.spool.stats().items, shared.metrics.totals_accepted.get()), (1, 1));
    let (response, _) = ask(&router, request("POST", "/api/v1/events", &token, "{\"status\": 400}\n")).await;
    assert_eq!(response.status(), 202, "events have a spool of their own");
}

/// Puts an event of a project into the quarantine.
fn set_aside(shared: &Shared, position: u64, project: &str) {
    let context = crate::decode::Context {
        project,
        received_at_ms: NOW_MS,
        oldest_ms: 0,
        catalog: shared.catalog,
        scrubber: &shared.scrubber,
        limits: &shared.limits,
    };
    let decoded = crate::decode::events(crate::decode::Format::Json, br#"{"status": 400}"#, context).unwrap();
    let event = &decoded.events[0].1;
    let item = spool::Item { key: event.key.0, tag: 0, payload: crate::event::codec::encode(event) };
    shared.quarantine.put(spool::Position(position), &item, "poison", NOW_MS).unwrap();
}

#[tokio::test]
async fn of_retries_at_once_one_hands_the_event_to_delivery() {
    let dir = tempfile::tempdir().unwrap();
    let (shared, token) = shared(dir.path(), &Simulated::default());
    let router = router(Arc::clone(&shared));
    for round in 1..=10 {
        set_aside(&shared, round, "p");
        let path = format!("/api/v1/quarantine/{round}/retry");
        let retry = async || ask(&router, request("POST", &path, &token, "")).await.0.status();
        let (a, b, c, d) = tokio::join!(retry(), retry(), retry(), retry());
        let taken = [a, b, c, d].into_iter().filter(|status| *status == StatusCode::ACCEPTED).count();
        assert_eq!((taken, shared.spool.stats().items), (1, round), "{a} {b} {c} {d}");
    }
}

#[tokio::test]
async fn a_retry_that_fails_leaves_the_event_where_it_was() {
    let dir = tempfile::tempdir().unwrap();
    let disk = Simulated::default();
    let (shared, token) = shared(dir.path(), &disk);
    set_aside(&shared, 1, "p");
    let router = router(Arc::clone(&shared));
    let retry = async || ask(&router, request("POST", "/api/v1/quarantine/1/retry", &token, "")).await.0.status();
    disk.set_capacity(Some(disk.used()));
    assert_eq!((retry().await.as_u16(), shared.quarantine.list().unwrap().len()), (503, 1));
    disk.set_capacity(None);
    disk.fail_syncs(true);
    assert_eq!(retry().await, 503);
    // The next start may find it in the spool too: until then it is neither erased from the quarantine nor tried again.
    assert_eq!(shared.quarantine.erase(|_| true).unwrap(), (0, true));
    assert_eq!(Quarantine::open(dir.path().join("quarantine")).unwrap().list().unwrap().len(), 1);
}

#[tokio::test]
async fn a_retry_whose_client_has_gone_ends_what_it_began() {
    let dir = tempfile::tempdir().unwrap();
    let (shared, token) = shared(dir.path(), &Simulated::default());
    let router = router(Arc::clone(&shared));
    let mut begun = 0;
    for round in 1..=100 {
        set_aside(&shared, round, "p");
        let path = format!("/api/v1/quarantine/{round}/retry");
        let asked = ask(&router, request("POST", &path, &token, ""));
        let file = dir.path().join(format!("quarantine/{round}.retrying"));
        // The client goes when the event is claimed, or a little later.
        tokio::select! {
            biased;
            () = claimed(&file) => begun += 1,
            _ = asked => {}
        }
        let began = Instant::now();
        while shared.spool.stats().items < round || !shared.quarantine.list().unwrap().is_empty() {
            assert!(began.elapsed().as_secs() < 5, "round {round}: neither in the quarantine nor in the spool alone");
            tokio::task::yield_now().await;
        }
    }
    assert!(begun > 0, "no client went in between");
}

async fn claimed(path: &Path) {
    while !path.exists() {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn metrics_wait_for_the_books_and_keep_nobody_else_waiting() {
    let dir = tempfile::tempdir().unwrap();
    let (shared, token) = shared(dir.path(), &Simulated::default());
    let router = router(Arc::clone(&shared));
    let (settled, settling) = std::sync::mpsc::channel::<()>();
    let (holds, held) = tokio::sync::oneshot::channel();
    let books = Arc::clone(&shared.books);
    let forgetting = std::thread::spawn(move || {
        books.settle(0, 0, || {
            holds.send(()).unwrap();
            (true, settling.recv_timeout(std::time::Duration::from_secs(5)))
        })
    });
    held.await.unwrap();
    let asked = tokio::spawn(router.clone().oneshot(request("GET", "/metrics", &token, "")));
    // One thread serves both; the first is begun before the second.
    tokio::task::yield_now().await;
    let alive = router.oneshot(request("GET", "/healthz", &token, "")).await.unwrap();
    assert_eq!(alive.status(), 200);
    settled.send(()).expect("others waited as long as the spool took to forget");
    assert_eq!(asked.await.unwrap().unwrap().status(), 200);
    assert!(forgetting.join().unwrap().is_ok());
}

#[tokio::test]
async fn the_quarantine_shows_a_project_its_own_events_and_retries_them() {
    let dir = tempfile::tempdir().unwrap();
    let (shared, token) = shared(dir.path(), &Simulated::default());
    set_aside(&shared, 1, "p");
    set_aside(&shared, 2, "q");
    let unreadable = spool::Item { key: 3, tag: 0, payload: b"junk".to_vec() };
    shared.quarantine.put(spool::Position(3), &unreadable, "junk", NOW_MS).unwrap();
    let router = router(Arc::clone(&shared));
    let (_, body) = ask(&router, request("GET", "/api/v1/quarantine", &token, "")).await;
    let ids: Vec<_> = body["data"].as_array().unwrap().iter().map(|entry| entry["id"].clone()).collect();
    assert_eq!(ids, ["1", "3"], "{body}");
    let (response, body) = ask(&router, request("GET", "/api/v1/quarantine/1", &token, "")).await;
    assert_eq!((response.status().as_u16(), &body["data"]["event"]["status"]), (200, &json!(400)), "{body}");
    for (method, path) in [("GET", "/api/v1/quarantine/2"), ("POST", "/api/v1/quarantine/2/retry")] {
        let (response, body) = ask(&router, request(method, path, &token, "")).await;
        assert_eq!(response.status(), 404, "{body}");
        assert!(body["errors"]["id"][0].is_string(), "{body}");
    }
    let (response, body) = ask(&router, request("POST", "/api/v1/quarantine/3/retry", &token, "")).await;
    assert_eq!(response.status(), 409, "{body}");
    assert!(body["errors"]["id"][0].as_str().unwrap().contains("use the newer errata that wrote it"), "{body}");
    let (response, body) = ask(&router, request("POST", "/api/v1/quarantine/1/retry", &token, "")).await;
    assert_eq!(response.status(), 202, "{body}");
    assert_eq!(shared.spool.stats().items, 1);
    let (response, _) = ask(&router, request("GET", "/api/v1/quarantine/1", &token, "")).await;
    assert_eq!(response.status(), 404);
}

#[test]
fn a_trailing_slash_is_dropped_but_for_swagger_ui() {
    for (path, expected) in [
        ("/api/v1/events/?a=b/", "/api/v1/events?a=b/"),
        ("/api/v1/events//", "/api/v1/events"),
        ("/metrics/", "/metrics"),
        ("http://host/api/v1/events/", "http://host/api/v1/events"),
        ("/", "/"),
        ("//", "//"),
        ("/docs/", "/docs/"),
        ("/docsx/", "/docsx"),
    ] {
        let request = Request::builder().uri(path).body(Body::empty()).unwrap();
        assert_eq!(trim_trailing_slash(request).uri().to_string(), expected, "{path}");
    }
}
