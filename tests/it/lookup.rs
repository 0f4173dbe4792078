//! From a POST to a lookup.

use serde_json::{Value, json};

use crate::collector::{Collector, event};

const ID: &str = "550e8400-e29b-41d4-a716-446655440000";

#[tokio::test(flavor = "multi_thread")]
async fn an_event_is_durable_then_pending_then_found_and_explained() {
    let dir = tempfile::tempdir().unwrap();
    let collector = Collector::start(dir.path()).await;
    let (status, body) = collector.ship(&[event(ID, 422)]).await;
    assert_eq!(status, 202, "{body}");
    assert_eq!(body["data"], json!({"accepted": 1, "duplicates": 0, "rejected": 0, "rejections": []}));
    let data = collector.found(&ID.to_uppercase()).await;
    assert_eq!(data["events"].as_array().unwrap().len(), 1);
    let error = &data["events"][0]["errors"][0];
    assert_eq!(
        error,
        &json!({
            "field": "site_id", "path": "site_id", "message": "Site must belong to your account",
            "rule": "not_owned", "documented": true
        })
    );
    assert_eq!(data["explanation"][0]["status"]["meaning"], "Validation failed");
    assert_eq!(data["explanation"][0]["fields"][0]["description"], "Site access denied");
    assert_eq!(data["impact"]["events"], 1);
    assert!(data["customer_reply"].as_str().unwrap().contains("site"), "{data:#}");
    assert_eq!(collector.metric("errata_books_imbalance_events").await, 0.0);
    collector.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repeated_event_is_a_duplicate_also_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let collector = Collector::start(dir.path()).await;
    collector.ship(&[event("req_1", 422), event("req_2", 422)]).await;
    let (_, body) = collector.ship(&[event("req_2", 422), event("req_3", 422), event("req_3", 422)]).await;
    assert_eq!((&body["data"]["accepted"], &body["data"]["duplicates"]), (&json!(1), &json!(2)));
    collector.delivered().await;
    collector.stop().await.unwrap();
    let collector = Collector::start(dir.path()).await;
    let (_, body) = collector.ship(&[event("req_1", 422), event("req_4", 422)]).await;
    assert_eq!((&body["data"]["accepted"], &body["data"]["duplicates"]), (&json!(1), &json!(1)));
    collector.delivered().await;
    for id in ["req_1", "req_2", "req_3", "req_4"] {
        assert_eq!(collector.found(id).await["events"].as_array().unwrap().len(), 1, "{id}");
    }
    let (_, rates) = collector.get("/api/v1/rates?group_by=status").await;
    assert_eq!(rates["data"]["series"][0]["errors"], 4, "{rates}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_id_is_answered_with_the_reason() {
    let dir = tempfile::tempdir().unwrap();
    let collector = Collector::start(dir.path()).await;
    let reason = async |id: &str| {
        let (status, body) = collector.get(&format!("/api/v1/requests/{id}")).await;
        assert_eq!(status, 404, "{body}");
        body["errors"]["request_id"][0].as_str().unwrap().to_owned()
    };
    collector.ship(&[event("req_known", 400)]).await;
    collector.found("req_known").await;
    assert!(
        reason("req_unknown")
            .await
            .starts_with("never received: events of the project \"default\" are here from 2026-11-22")
    );
    // The ULID specification's example, of 2016.
    assert!(reason("01ARZ3NDEKTSV4RRFFQ69G5FAV").await.contains("the id was made at 2016-07-30"));
    let mut late = event("req_late", 400);
    late["timestamp"] = json!("2031-01-01T00:00:00Z");
    let (status, body) = collector.ship(&[late]).await;
    assert_eq!(status, 422, "{body}");
    assert!(reason("req_late").await.starts_with("rejected on arrival at 2026-11-22T12:00:00.000Z (too_new)"));
    let (status, body) = collector.get("/api/v1/requests/a%20b").await;
    assert_eq!(status, 400, "{body}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ticket_is_looked_up_in_one_go() {
    let dir = tempfile::tempdir().unwrap();
    let collector = Collector::start(dir.path()).await;
    collector.ship(&[event(ID, 422), event("01M7KE1BA6MR36ZXJN6Q6ZD31W", 500), event("acme-0001", 404)]).await;
    collector.delivered().await;
    let text =
        format!("Hello, {ID} fails since 2026-11-01, and so do 01M7KE1BA6MR36ZXJN6Q6ZD31W, acme-0001, req_nope99.");
    let request = collector.request(reqwest::Method::POST, "/api/v1/requests/lookup").json(&json!({"text": text}));
    let (status, body) = crate::collector::answer(request).await;
    assert_eq!(status, 200, "{body}");
    let short = |result: &Value| (result["request_id"].clone(), result["state"].clone(), result["status"].clone());
    let results: Vec<_> = body["data"]["results"].as_array().unwrap().iter().map(short).collect();
    let expected = [
        (json!(ID), json!("found"), json!(422)),
        (json!("01M7KE1BA6MR36ZXJN6Q6ZD31W"), json!("found"), json!(500)),
        (json!("acme-0001"), json!("found"), json!(404)),
        (json!("req_nope99"), json!("not_found"), Value::Null),
    ];
    assert_eq!(results, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_id_whose_event_is_gone_by_its_age_is_said_to_be_expired() {
    let dir = tempfile::tempdir().unwrap();
    let collector = Collector::start(dir.path()).await;
    collector.ship(&[event("req_aged", 422)]).await;
    collector.found("req_aged").await;
    collector.stop().await.unwrap();

    // What ClickHouse's own retention does in time, done at once: the part is gone, its index is kept longer.
    let engine = crate::engine::start_on(dir.path(), "errata").await.unwrap();
    let clients = engine.access().first_reachable().await.unwrap();
    clients.admin.query("TRUNCATE TABLE errata.events").execute().await.unwrap();
    drop(engine);

    let mut config = crate::collector::config(dir.path());
    config.retention_days = 30;
    let collector = Collector::with(config).await;
    collector.now_ms.store(crate::collector::NOW_MS + 45 * 86_400_000, std::sync::atomic::Ordering::Relaxed);
    let (status, body) = collector.get("/api/v1/requests/req_aged").await;
    assert_eq!(status, 404, "{body}");
    let reason = body["errors"]["request_id"][0].as_str().unwrap();
    assert!(reason.starts_with("expired by retention: its event of 2026-11-22T11:59:00.000Z is gone"), "{reason}");
}
