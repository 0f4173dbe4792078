//! The live tail: what it tells, what it says it left out, and when it ends.

use std::time::{Duration, Instant};

use errata::state::{Role, State};
use reqwest::Method;
use serde_json::{Value, json};

use super::{Answer, outage::eventually, search::Wire, token};
use crate::{
    collector::{Collector, NOW_MS, config, event},
    faults::{engine::Engine, proxy::Proxy},
};

const TAIL: &str = "/api/v1/events/tail";

/// Events as they are told, each with its id.
fn messages(text: &str) -> Vec<(String, Value)> {
    let blocks = text.split("\n\n").filter_map(|block| {
        let (_, rest) = block.split_once("id: ")?;
        let (id, data) = rest.split_once("\ndata: ")?;
        Some((id.to_owned(), serde_json::from_str(data).ok()?))
    });
    blocks.collect()
}

fn ids(text: &str) -> Vec<String> {
    messages(text).iter().map(|(_, event)| event["request_id"].as_str().unwrap().to_owned()).collect()
}

/// Without the sizes of the chunks, which stand on lines of their own.
fn unchunked(text: &str) -> String {
    let (_, body) = text.split_once("\r\n\r\n").unwrap_or(("", text));
    let parts = body.split("\r\n").filter(|part| !part.is_empty() && u64::from_str_radix(part, 16).is_err());
    parts.collect()
}

/// Waits until its tables are there.
pub(crate) async fn ready(collector: &Collector) {
    eventually("a collector that is ready", async || collector.get("/readyz").await.1["clickhouse"]["up"] == true)
        .await;
}

/// Opens a tail, and waits until it is open.
pub(crate) async fn open(collector: &Collector, token: &str, path: &str, headers: &str) -> Wire {
    ready(collector).await;
    let mut wire = Wire::get(collector, token, path, headers).await;
    let head = wire.until(|text| text.contains(": errors received after")).await;
    assert!(head.starts_with("HTTP/1.1 200") && head.contains("content-type: text/event-stream"), "{head}");
    assert!(head.contains("cache-control: no-store") && head.contains("retry: 2000"), "{head}");
    wire
}

/// Ships events, and lets the time pass after which they are told.
pub(crate) async fn ship(collector: &Collector, events: &[Value]) {
    collector.advance_clock(1000);
    assert_eq!(collector.ship(events).await.0, 202);
    collector.delivered().await;
    collector.advance_clock(3000);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tail_tells_what_comes_and_fits_and_goes_on_after_the_last_id() {
    let dir = tempfile::tempdir().unwrap();
    let collector = Collector::start(dir.path()).await;
    let support = token(dir.path(), "default", &[Role::Support], None, None);
    let product = token(dir.path(), "default", &[Role::Product], None, None);
    let other = token(dir.path(), "other", &[Role::Admin], None, None);
    ship(&collector, &[event("req_before", 500)]).await;
    let path = format!("{TAIL}?status=5xx&account_id=7&q=validation");
    let mut wire = open(&collector, &support, &path, "").await;
    let mut of_other = open(&collector, &other, TAIL, "").await;
    let mut of_product = open(&collector, &product, &format!("{TAIL}?status=5xx"), "").await;
    let mut pretty = event("req_two", 503);
    pretty["response"] = json!("{\n  \"error\": \"Validation\\nfailed\"\r\n}");
    ship(&collector, &[event("req_one", 500), event("req_422", 422), pretty]).await;
    let text = unchunked(&wire.until(|text| text.contains("req_two") && text.ends_with("\n\n\r\n")).await);
    assert_eq!(ids(&text), ["req_one", "req_two"], "{text}");
    let found = collector.found("req_two").await;
    assert_eq!(messages(&text)[1].1, found["events"][0], "as a search shows it");
    let text = unchunked(&of_product.until(|text| text.contains("req_two") && text.ends_with("\n\n\r\n")).await);
    let account = messages(&text)[0].1["account_id"].as_str().unwrap().to_owned();
    assert!(account.starts_with("acct_"), "a pseudonym: {text}");

    // Away for a while.
    let (last, _) = messages(&unchunked(&text))[0].clone();
    drop(wire);
    ship(&collector, &[event("req_three", 500)]).await;
    let mut again = open(&collector, &support, &path, &format!("Last-Event-ID: {last}\r\n")).await;
    let text = unchunked(&again.until(|text| text.contains("req_three") && text.ends_with("\n\n\r\n")).await);
    assert_eq!(ids(&text), ["req_two", "req_three"]);
    collector.advance_clock(1000);
    let events = [json!({"status": 500, "request_id": "req_of_other"})];
    assert_eq!(collector.ship_as(&other, &events).await.status, 202);
    collector.delivered().await;
    collector.advance_clock(3000);
    let text = unchunked(&of_other.until(|text| text.contains("req_of_other")).await);
    assert_eq!(ids(&text).len(), 1, "{text}");
    assert_eq!(collector.metric("errata_tail_events_total{outcome=\"missed\"}").await, 0.0);
    collector.stop().await.unwrap();
}

/// A tail has no range: the account of a pseudonym is found however long ago it was seen.
#[tokio::test(flavor = "multi_thread")]
async fn a_tail_takes_the_pseudonym_of_somebody_seen_days_ago() {
    let dir = tempfile::tempdir().unwrap();
    let collector = Collector::start(dir.path()).await;
    let product = token(dir.path(), "default", &[Role::Product], None, None);
    let mut old = event("req_old", 500);
    old["timestamp"] = json!("2026-11-19T12:00:00Z");
    ship(&collector, &[old]).await;
    let (_, body) = collector.read(&product, "/api/v1/events?from=-7d").await;
    let name = body["data"]["events"][0]["account_id"].as_str().unwrap().to_owned();
    collector.stop().await.unwrap();
    // Nothing is remembered after a restart.
    let collector = Collector::with_clock(config(dir.path()), NOW_MS + 60_000).await;
    let mut wire = open(&collector, &product, &format!("{TAIL}?account_id={name}"), "").await;
    let mut other = event("req_other", 500);
    other["account_id"] = json!(8);
    ship(&collector, &[other, event("req_new", 500)]).await;
    let text = unchunked(&wire.until(|text| text.contains("req_new") && text.ends_with("\n\n\r\n")).await);
    assert_eq!(ids(&text), ["req_new"], "{text}");
    collector.stop().await.unwrap();
}

/// Promise: while ClickHouse is away a tail says so, once, and afterwards tells what came meanwhile.
#[tokio::test(flavor = "multi_thread")]
async fn without_clickhouse_a_tail_says_that_it_waits() {
    let dir = tempfile::tempdir().unwrap();
    let engine = Engine::start(dir.path()).await;
    let proxy = Proxy::start(engine.port()).await;
    let mut config = config(&dir.path().join("data"));
    config.clickhouse.url = Engine::url_through(proxy.port());
    let collector = Collector::with(config).await;
    let mut wire = open(&collector, &collector.token, TAIL, "").await;
    proxy.refuse();
    // Time goes on, so that there may be news.
    collector.advance_clock(3000);
    let told = wire.until(|text| text.contains("event: waiting\ndata: {")).await;
    assert_eq!(collector.ship(&[event("req_meanwhile", 500)]).await.0, 202);
    proxy.pass();
    collector.delivered().await;
    collector.advance_clock(3000);
    let told = told + &wire.until(|text| text.contains("req_meanwhile")).await;
    assert_eq!(told.matches("event: waiting").count(), 1, "{told}");
    collector.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_slow_is_told_how_many_events_are_missing() {
    let dir = tempfile::tempdir().unwrap();
    let collector = Collector::start(dir.path()).await;
    let mut wire = open(&collector, &collector.token, TAIL, "").await;
    // Some 18 MB, which no buffer on the way holds; 2 MiB at a time are told.
    let long = "long ".repeat(6400);
    for round in 0..3 {
        let events: Vec<Value> = (0..180)
            .map(|index| {
                let mut event = event(&format!("req_{round}_{index}"), 422);
                event["response"] = json!(format!("{long}{round}-{index}"));
                event
            })
            .collect();
        ship(&collector, &events).await;
    }
    ship(&collector, &[event("req_last", 500)]).await;
    let text = unchunked(&wire.until(|text| text.contains("req_last")).await);
    let counts = text.split("event: missed\ndata: {\"count\":").skip(1);
    let missed: usize = counts.map(|rest| rest.split('}').next().unwrap().parse::<usize>().unwrap()).sum();
    let told = text.matches("\"fingerprint\":").count();
    assert!(missed > 0, "{told} told");
    assert_eq!(told + missed, 541);
    collector.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn tails_are_so_many_and_end_with_their_token_and_with_the_collector() {
    let dir = tempfile::tempdir().unwrap();
    let collector = Collector::start(dir.path()).await;
    let sre = token(dir.path(), "default", &[Role::Sre], None, None);
    for (path, headers) in
        [("?from=-1h", ""), ("?limit=5", ""), ("?status=200", ""), ("", "Last-Event-ID: nonsense\r\n")]
    {
        let text = Wire::get(&collector, &sre, &format!("{TAIL}{path}"), headers).await.rest().await;
        assert!(text.starts_with("HTTP/1.1 400 ") && text.contains("\"errors\":{"), "{path} {headers}: {text}");
    }
    let product = token(dir.path(), "default", &[Role::Product], None, None);
    let answer = Answer::to(collector.with_token(&product, Method::GET, &format!("{TAIL}?user_id=1"))).await;
    assert_eq!(answer.status, 403);
    let mut tails = Vec::new();
    for _ in 0..4 {
        tails.push(open(&collector, &sre, TAIL, "").await);
    }
    let refused = Answer::to(collector.with_token(&sre, Method::GET, TAIL)).await;
    assert_eq!(refused.status, 429);
    assert!(refused.envelope("a fifth")["errors"]["token"][0].as_str().unwrap().contains("4 live tails"));
    assert_eq!(collector.metric("errata_tails").await, 4.0);

    let name = State::open(dir.path())
        .unwrap()
        .tokens()
        .unwrap()
        .iter()
        .find(|one| one.roles == [Role::Sre])
        .unwrap()
        .name
        .clone();
    State::open(dir.path()).unwrap().revoke_token(&name, 0).unwrap();
    for tail in tails {
        tail.rest().await;
    }
    let tail = open(&collector, &collector.token, TAIL, "").await;
    let began = Instant::now();
    collector.stop().await.unwrap();
    tail.rest().await;
    assert!(began.elapsed() < Duration::from_secs(8), "a tail holds the collector up: {:?}", began.elapsed());
}
