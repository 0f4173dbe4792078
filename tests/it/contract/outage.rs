//! ClickHouse goes and comes back while the collector runs.

use std::{
    fs,
    process::Command,
    time::{Duration, Instant},
};

use errata::config::ByteSize;
use reqwest::Method;
use serde_json::{Value, json};

use super::Answer;
use crate::collector::{Collector, config, event};

/// The engine's process: our child that works below a data directory.
pub(super) fn engine_pid(data_dir: &std::path::Path) -> Option<u32> {
    let ours = |pid: &u32| {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        let parent = status.lines().find_map(|line| line.strip_prefix("PPid:")).map(|text| text.trim().to_owned());
        let command = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        parent == Some(std::process::id().to_string())
            && String::from_utf8_lossy(&command).contains(data_dir.to_str().unwrap())
    };
    let processes =
        fs::read_dir("/proc").unwrap().filter_map(|entry| entry.unwrap().file_name().to_str()?.parse().ok());
    processes.into_iter().find(ours)
}

pub(super) fn signal(pid: u32, name: &str) {
    assert!(Command::new("kill").args([&format!("-{name}"), &pid.to_string()]).status().unwrap().success());
}

pub(super) async fn eventually(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let began = Instant::now();
    while !holds().await {
        assert!(began.elapsed() < Duration::from_secs(40), "{what} does not come about");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_clickhouse_what_is_queued_is_pending_and_the_rest_503() {
    let dir = tempfile::tempdir().unwrap();
    let mut config = config(dir.path());
    config.clickhouse.url = "http://127.0.0.1:1".into();
    let collector = Collector::with(config).await;
    assert_eq!(collector.ship(&[event("req_queued1", 422), event("req_queued2", 422)]).await.0, 202);
    let (status, body) = collector.get("/api/v1/requests/req_queued1").await;
    assert_eq!((status.as_u16(), &body["data"]["state"]), (200, &json!("pending")), "{body}");
    let link = body["data"]["links"]["self"].as_str().unwrap();
    assert_eq!(link, format!("{}/api/v1/requests/req_queued1", collector.url), "a link that leads nowhere");
    for path in ["/api/v1/requests/req_unknown9", "/api/v1/events", "/api/v1/rates", "/api/v1/validation/failures"] {
        let answer = Answer::to(collector.request(Method::GET, path)).await;
        assert_eq!(answer.status, 503, "{path}");
        let body = answer.envelope(path);
        assert!(!body.to_string().contains("127.0.0.1"), "the cause is for the log: {body}");
    }
    eventually("alerts say that they are frozen", async || {
        let (_, alerts) = collector.get("/api/v1/alerts").await;
        alerts["data"]["frozen"].as_str().is_some_and(|frozen| frozen.starts_with("frozen: no data since "))
    })
    .await;
    let ticket = async |text: &str| {
        let request = collector.request(Method::POST, "/api/v1/requests/lookup").json(&json!({"text": text}));
        let answer = Answer::to(request).await;
        (answer.status.as_u16(), answer.envelope(text))
    };
    let (status, body) = ticket("req_queued1, req_queued2").await;
    assert_eq!((status, &body["data"]["results"][1]["state"]), (200, &json!("pending")), "{body}");
    assert_eq!(ticket("req_queued1, req_unknown9").await.0, 503);
    assert_eq!(ticket("nothing in it").await.0, 200);
    collector.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn lookups_come_back_with_the_engine_and_every_event_is_there_once() {
    let dir = tempfile::tempdir().unwrap();
    let collector = Collector::start(dir.path()).await;
    assert_eq!(collector.ship(&[event("req_0", 422)]).await.0, 202);
    collector.found("req_0").await;
    collector.delivered().await;
    let pid = engine_pid(dir.path()).expect("an engine");
    // Stopped, it is there and answers nobody: no restart comes between.
    signal(pid, "STOP");
    signal(pid, "KILL");
    let mut shipped = 1;
    let mut failed = false;
    eventually("a lookup while the engine is down", async || {
        let (status, body) = collector.ship(&[event(&format!("req_{shipped}"), 422)]).await;
        assert_eq!(status, 202, "{body}");
        shipped += 1;
        let answer = Answer::to(collector.request(Method::GET, "/api/v1/requests/req_0")).await;
        answer.envelope("lookup");
        assert!(answer.status == 200 || answer.status == 503, "{}: {}", answer.status, answer.text);
        failed |= answer.status == 503;
        failed && answer.status == 200
    })
    .await;
    assert!(engine_pid(dir.path()).is_some_and(|new| new != pid));
    collector.delivered().await;
    for i in 0..shipped {
        let events = collector.found(&format!("req_{i}")).await["events"].clone();
        assert_eq!(events.as_array().unwrap().len(), 1, "req_{i}");
    }
    let (_, rates) = collector.get("/api/v1/rates").await;
    assert_eq!(rates["data"]["series"][0]["errors"], shipped, "{rates}");
    assert_eq!(collector.metric("errata_books_imbalance_events").await, 0.0);
    eventually("clickhouse_up", async || collector.metric("errata_clickhouse_up").await == 1.0).await;
    collector.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_spool_answers_503_and_takes_events_again_when_delivery_has_made_room() {
    let dir = tempfile::tempdir().unwrap();
    let mut config = config(dir.path());
    config.spool.segment_bytes = ByteSize::kib(64);
    config.spool.max_bytes = ByteSize::kib(256);
    let collector = Collector::with(config).await;
    collector.ship(&[event("req_first", 422)]).await;
    collector.found("req_first").await;
    collector.delivered().await;
    let pid = engine_pid(dir.path()).expect("an engine");
    signal(pid, "STOP");
    let mut accepted = 1;
    let refused = loop {
        let batch: Vec<Value> = (0..20).map(|i| event(&format!("req_{accepted}_{i}"), 422)).collect();
        let answer = collector.ship_as(&collector.token, &batch).await;
        if answer.status != 202 {
            break answer;
        }
        accepted += 20;
        assert!(accepted < 10_000, "the spool never fills");
    };
    let full = refused.envelope("a full spool");
    assert_eq!(refused.status, 503, "{full}");
    assert!(full["errors"]["spool"][0].as_str().unwrap().starts_with("the spool is full"), "{full}");
    assert!(accepted > 100, "{accepted}");
    assert_eq!(collector.metric("errata_spool_events").await, f64::from(accepted - 1));
    signal(pid, "CONT");
    eventually("room in the spool", async || {
        let answer = collector.ship_as(&collector.token, &[event("req_again", 422)]).await;
        assert!(answer.status == 202 || answer.status == 503, "{}", answer.text);
        answer.status == 202
    })
    .await;
    collector.found("req_again").await;
    collector.delivered().await;
    let (_, rates) = collector.get("/api/v1/rates").await;
    assert_eq!(rates["data"]["series"][0]["errors"], accepted + 1, "{rates}");
    assert_eq!(collector.metric("errata_books_imbalance_events").await, 0.0);
    collector.stop().await.unwrap();
}
