//! An event that waits in the quarantine, as seen from outside.

use std::path::Path;

use errata::{
    decode::{self, Context, Format, Limits},
    deliver::quarantine::Quarantine,
    event::{
        catalog::Catalog,
        codec,
        scrub::{ScrubConfig, Scrubber},
    },
    spool::{Item, Position},
};
use reqwest::Method;
use serde_json::json;

use crate::collector::{Collector, NOW_MS, answer, event};

/// Puts an event of the first token's project into the quarantine of a collector that does not run.
fn set_aside(data_dir: &Path, request_id: &str) {
    let context = Context {
        project: "default",
        received_at_ms: NOW_MS - 60_000,
        oldest_ms: 0,
        catalog: Catalog::builtin(),
        scrubber: &Scrubber::new(&ScrubConfig::default()).unwrap(),
        limits: &Limits::default(),
    };
    let body = event(request_id, 422).to_string();
    let event = decode::events(Format::Json, body.as_bytes(), context).unwrap().events.remove(0).1;
    let tag = event.request_id.lookup_key(&event.project);
    let item = Item { key: event.key.0, tag, payload: codec::encode(&event) };
    let quarantine = Quarantine::open(data_dir.join("quarantine")).unwrap();
    quarantine.put(Position(7), &item, "Code: 27. Cannot parse input", NOW_MS).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lookup_of_a_quarantined_event_says_where_it_is_until_it_is_retried() {
    let dir = tempfile::tempdir().unwrap();
    set_aside(dir.path(), "req_aside");
    let collector = Collector::start(dir.path()).await;
    collector.ship(&[event("req_other", 422)]).await;
    collector.found("req_other").await;
    let (status, body) = collector.get("/api/v1/requests/req_aside").await;
    let expected = "received at 2026-11-22T11:59:00.000Z, but ClickHouse refused it (Code: 27. Cannot parse input): it is kept in \
        the quarantine; an admin can retry it with `errata quarantine retry 7`";
    assert_eq!((status.as_u16(), &body["errors"]["request_id"]), (404, &json!([expected])), "{body}");
    let ticket =
        collector.request(Method::POST, "/api/v1/requests/lookup").json(&json!({"text": "request_id: req_aside"}));
    assert_eq!(answer(ticket).await.1["data"]["results"][0]["reason"], expected);
    let (status, body) = answer(collector.request(Method::POST, "/api/v1/quarantine/7/retry")).await;
    assert_eq!(status, 202, "{body}");
    assert_eq!(collector.found("req_aside").await["events"].as_array().unwrap().len(), 1);
    assert_eq!(collector.get("/api/v1/quarantine").await.1["data"], json!([]));
    collector.stop().await.unwrap();
}
