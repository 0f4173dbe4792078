//! Bodies that cannot be taken, and clients that do not send them.

use std::time::{Duration, Instant};

use errata::config::ByteSize;
use flate2::{Compression, write::GzEncoder};
use reqwest::Method;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use super::{Answer, without_clickhouse};
use crate::collector::{Collector, event};

fn gzip(bytes: &[u8]) -> Vec<u8> {
    use std::io::Write;
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

async fn ship(collector: &Collector, headers: &[(&str, &str)], body: impl Into<reqwest::Body>) -> (u16, Value) {
    let mut request = collector.request(Method::POST, "/api/v1/events");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let answer = Answer::to(request.body(body)).await;
    (answer.status.as_u16(), answer.envelope(&format!("{headers:?}")))
}

const NDJSON: (&str, &str) = ("Content-Type", "application/x-ndjson");
const JSON: (&str, &str) = ("Content-Type", "application/json");
const GZIP: (&str, &str) = ("Content-Encoding", "gzip");

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_cannot_be_taken_is_refused_with_its_own_status() {
    let dir = tempfile::tempdir().unwrap();
    let mut config = without_clickhouse(dir.path());
    config.ingest.max_body = ByteSize::mib(1);
    config.ingest.max_decompressed = ByteSize::mib(2);
    let collector = Collector::with(config).await;
    let large = vec![b' '; 8 << 20];

    let (status, body) = ship(&collector, &[NDJSON], large.clone()).await;
    assert_eq!((status, &body["error"]), (413, &json!("Request body too large")), "declared: {body}");
    let mut client = Raw::open(&collector, "Transfer-Encoding: chunked").await;
    for chunk in large.chunks(1 << 16) {
        client.send(format!("{:x}\r\n", chunk.len()).as_bytes()).await;
        client.send(chunk).await;
        client.send(b"\r\n").await;
    }
    let (status, body) = client.answer().await;
    assert_eq!((status, &body["error"]), (413, &json!("Request body too large")), "chunked: {body}");
    let (status, body) = ship(&collector, &[NDJSON, GZIP], gzip(&large)).await;
    assert_eq!((status, &body["error"]), (413, &json!("Request body too large")), "decompressed: {body}");

    for kind in [None, Some(("Content-Type", "text/plain")), Some(("Content-Type", "application/jsonx"))] {
        let (status, body) = ship(&collector, kind.as_slice(), "{}").await;
        assert_eq!((status, &body["error"]), (415, &json!("Unsupported media type")), "{kind:?}");
        assert!(body["errors"]["Content-Type"][0].as_str().unwrap().contains("application/x-ndjson"), "{body}");
    }
    let (status, body) = ship(&collector, &[NDJSON, ("Content-Encoding", "br")], "{}").await;
    assert_eq!(status, 415);
    assert!(body["errors"]["Content-Encoding"][0].as_str().unwrap().contains("zstd"), "{body}");
    let (status, body) = ship(&collector, &[NDJSON, GZIP], "{}").await;
    assert_eq!(status, 400, "{body}");

    let (status, body) = ship(&collector, &[JSON], "[\n{\"status\": 400},\n nonsense]").await;
    assert_eq!(status, 400, "{body}");
    assert!(body["errors"]["body"][0].as_str().unwrap().starts_with("line 3, column "), "{body}");
    for empty in ["", "\n\n"] {
        let (status, body) = ship(&collector, &[NDJSON], empty).await;
        assert_eq!(status, 400, "{body}");
    }
    let (status, body) = ship(&collector, &[JSON], r#"[{"status": 200}, {"status": 404, "timestamp": "soon"}]"#).await;
    assert_eq!((status, &body["error"]), (422, &json!("Validation failed")), "{body}");
    assert_eq!((&body["data"]["accepted"], &body["data"]["rejected"]), (&json!(0), &json!(2)), "{body}");
    assert!(body["data"]["rejections"][0]["errors"]["status"][0].is_string(), "{body}");
    collector.stop().await.unwrap();
}

/// A client whose bytes are sent one by one. It asks to have the connection closed after the answer.
struct Raw {
    stream: TcpStream,
}

impl Raw {
    async fn open(collector: &Collector, header: &str) -> Self {
        let host = collector.url.trim_start_matches("http://");
        let mut client = Self { stream: TcpStream::connect(host).await.unwrap() };
        let token = &collector.token;
        let head = format!(
            "POST /api/v1/events HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {token}\r\n\
             Content-Type: application/x-ndjson\r\nConnection: close\r\n{header}\r\n\r\n"
        );
        client.send(head.as_bytes()).await;
        client
    }

    /// What the other side no longer reads is of no interest here.
    async fn send(&mut self, bytes: &[u8]) {
        let _ = self.stream.write_all(bytes).await;
    }

    async fn answer(mut self) -> (u16, Value) {
        let mut bytes = Vec::new();
        let read = tokio::time::timeout(Duration::from_secs(20), self.stream.read_to_end(&mut bytes)).await;
        let text = String::from_utf8(bytes).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap_or_else(|| panic!("{read:?}: no answer: {text:?}"));
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        (status, serde_json::from_str(body).unwrap())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_does_not_arrive_is_given_up() {
    let dir = tempfile::tempdir().unwrap();
    let mut config = without_clickhouse(dir.path());
    config.ingest.body_timeout_seconds = 1;
    let collector = Collector::with(config).await;
    let began = Instant::now();
    let mut waiting = Vec::new();
    for _ in 0..50 {
        let mut client = Raw::open(&collector, "Content-Length: 1000").await;
        client.send(b"{\"status\"").await;
        waiting.push(client);
    }
    // Others are not kept waiting.
    let (status, body) = collector.ship(&[event("req_1", 400)]).await;
    assert_eq!(status, 202, "{body}");
    assert!(began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());
    for client in waiting {
        let (status, body) = client.answer().await;
        assert_eq!((status, &body["error"]), (408, &json!("Request timeout")), "{body}");
    }
    collector.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_breaks_off_leaves_nothing_behind() {
    let dir = tempfile::tempdir().unwrap();
    let collector = Collector::with(without_clickhouse(dir.path())).await;
    let line = format!("{}\n", event("req_1", 400));
    let mut client = Raw::open(&collector, &format!("Content-Length: {}", line.len() * 2)).await;
    client.send(line.as_bytes()).await;
    drop(client);
    let (status, body) = collector.ship(&[event("req_1", 400)]).await;
    assert_eq!((status.as_u16(), &body["data"]["accepted"]), (202, &json!(1)), "{body}");
    collector.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_kept_is_counted_also_when_the_client_has_gone() {
    let dir = tempfile::tempdir().unwrap();
    let collector = Collector::with(without_clickhouse(dir.path())).await;
    for i in 0..100 {
        let line = format!("{}\n", event(&format!("req_{i}"), 400));
        let mut client = Raw::open(&collector, &format!("Content-Length: {}", line.len())).await;
        client.send(line.as_bytes()).await;
        drop(client);
    }
    // Behind all of them in the spool; its answer comes last.
    let (status, _) = collector.ship(&[event("req_last", 400)]).await;
    assert_eq!(status, 202);
    let series = r#"errata_api_errors_total{environment="production",service="igny8-api",status="400"}"#;
    let began = Instant::now();
    while collector.metric(series).await < collector.metric("errata_spool_events").await {
        assert!(began.elapsed() < Duration::from_secs(5), "{}", collector.metrics().await);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(collector.metric("errata_spool_events").await > 1.0, "no client was served after it had gone");
    collector.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_budget_of_one_body_takes_compressed_bodies_one_after_the_other() {
    let dir = tempfile::tempdir().unwrap();
    let mut config = without_clickhouse(dir.path());
    config.ingest.max_decompressed = ByteSize::mib(4);
    config.ingest.max_in_flight = config.ingest.max_decompressed;
    let collector = Collector::with(config).await;
    let lines: Vec<u8> =
        (0..2000).flat_map(|i| format!("{}\n", event(&format!("req_{i}"), 400)).into_bytes()).collect();
    let body = gzip(&lines);
    let shipped =
        async |_| tokio::time::timeout(Duration::from_secs(20), ship(&collector, &[NDJSON, GZIP], body.clone())).await;
    let (one, two, three) = tokio::join!(shipped(1), shipped(2), shipped(3));
    for answer in [one, two, three] {
        let (status, body) = answer.expect("a body waits for memory that is never free");
        assert_eq!(status, 202, "{body}");
    }
    assert_eq!(collector.metric("errata_spool_events").await, 2000.0);
    collector.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn while_bodies_half_here_fill_the_memory_a_large_one_is_told_to_come_again() {
    let dir = tempfile::tempdir().unwrap();
    let mut config = without_clickhouse(dir.path());
    config.ingest.max_body = ByteSize::mib(1);
    config.ingest.max_decompressed = ByteSize::mib(1);
    config.ingest.max_in_flight = ByteSize::mib(1);
    let collector = Collector::with(config).await;
    let line = format!("{}\n", event("req_1", 400));
    let body = line.clone() + &"\n".repeat((900 << 10) - line.len());
    let mut slow = Raw::open(&collector, &format!("Content-Length: {}", body.len())).await;
    slow.send(&body.as_bytes()[1..]).await;
    let began = Instant::now();
    let refused = loop {
        let answer =
            Answer::to(collector.request(Method::POST, "/api/v1/events").header(NDJSON.0, NDJSON.1).body(body.clone()))
                .await;
        if answer.status != 202 {
            break answer;
        }
        assert!(began.elapsed() < Duration::from_secs(20), "the memory for bodies has no bound");
        // That one was quicker, and the slow one was told to come again.
        slow = Raw::open(&collector, &format!("Content-Length: {}", body.len())).await;
        slow.send(&body.as_bytes()[1..]).await;
    };
    let text = refused.envelope("too many bodies");
    assert_eq!(
        (refused.status.as_u16(), &text["error"]),
        (503, &json!("Too many bodies at once; send this one again later"))
    );
    drop(slow);
    let began = Instant::now();
    while ship(&collector, &[NDJSON], body.clone()).await.0 != 202 {
        assert!(began.elapsed() < Duration::from_secs(20), "a body that broke off keeps its memory");
    }
    collector.stop().await.unwrap();
}
