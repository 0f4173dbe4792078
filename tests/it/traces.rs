//! Traces: what a receiver of OTLP gets of the real program, and what of it ClickHouse is told.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::{Router, body::Bytes, extract::State, http::HeaderMap, routing::post};
use opentelemetry_proto::tonic::{
    collector::trace::v1::ExportTraceServiceRequest,
    common::v1::{KeyValue, any_value::Value as Any},
    trace::v1::{Span, span::SpanKind, status::StatusCode},
};
use prost::Message;
use regex::bytes::Regex;
use serde_json::Value;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::watch,
};

use crate::{
    collector::{event, ndjson},
    faults::{
        collector::{Collector, Setup},
        engine::Engine,
        machine::{PATIENCE, eventually},
    },
};

/// The traces that clients are in when they ask, and their spans there.
const FIRST: (&str, &str) = ("11111111111111111111111111111111", "1111111111111111");
const SECOND: (&str, &str) = ("22222222222222222222222222222222", "2222222222222222");
const ALONE: (&str, &str) = ("33333333333333333333333333333333", "3333333333333333");
const ASKS: (&str, &str) = ("44444444444444444444444444444444", "4444444444444444");
const UNSAMPLED: (&str, &str) = ("55555555555555555555555555555555", "5555555555555555");

/// A receiver of OTLP over HTTP, and what it got.
#[derive(Clone, Default)]
struct Receiver(Arc<Mutex<Vec<ExportTraceServiceRequest>>>);

impl Receiver {
    async fn start() -> (Self, String) {
        let receiver = Self::default();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let router = Router::new().route("/v1/traces", post(receive)).with_state(receiver.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        (receiver, endpoint)
    }

    fn spans(&self) -> Vec<Span> {
        let requests = self.0.lock().unwrap();
        let scopes = requests.iter().flat_map(|request| &request.resource_spans).flat_map(|spans| &spans.scope_spans);
        scopes.flat_map(|scope| scope.spans.clone()).collect()
    }

    /// Waits for the one span of a name in a trace.
    async fn span(&self, trace: &str, name: &str) -> Span {
        self.span_where(&format!("{name} in {trace}"), |span| hex(&span.trace_id) == trace && span.name == name).await
    }

    async fn span_where(&self, what: &str, fits: impl Fn(&Span) -> bool) -> Span {
        let mut found = Vec::new();
        eventually(&format!("the receiver has {what}"), PATIENCE, async || {
            found = self.spans().into_iter().filter(|span| fits(span)).collect();
            !found.is_empty()
        })
        .await;
        assert_eq!(found.len(), 1, "{what}: {found:#?}");
        found.remove(0)
    }
}

async fn receive(State(receiver): State<Receiver>, headers: HeaderMap, body: Bytes) {
    assert_eq!(headers["content-type"], "application/x-protobuf");
    receiver.0.lock().unwrap().push(ExportTraceServiceRequest::decode(body).unwrap());
}

fn hex(id: &[u8]) -> String {
    id.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn attributes(attributes: &[KeyValue]) -> BTreeMap<String, String> {
    let text = |value: &KeyValue| match value.value.as_ref().and_then(|value| value.value.as_ref()) {
        Some(Any::StringValue(text)) => text.clone(),
        Some(Any::IntValue(number)) => number.to_string(),
        other => format!("{other:?}"),
    };
    attributes.iter().map(|attribute| (attribute.key.clone(), text(attribute))).collect()
}

/// Stands before ClickHouse and keeps what it is asked. Nothing passes before it is opened.
struct Relay {
    port: u16,
    asked: Arc<Mutex<Vec<u8>>>,
    open: watch::Sender<bool>,
}

impl Relay {
    async fn start(upstream: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (asked, (open, opened)) = (Arc::<Mutex<Vec<u8>>>::default(), watch::channel(false));
        let all = Arc::clone(&asked);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(pass(client, upstream, Arc::clone(&all), opened.clone()));
            }
        });
        Self { port, asked, open }
    }

    /// The trace and span that requests whose text matches a pattern name as where they came from.
    fn named_by(&self, pattern: &str) -> Vec<(String, String)> {
        let request = format!(
            r"POST /\?{pattern}[^ ]* HTTP/1\.1\r\n(?:[^\r\n]+\r\n)*?traceparent: 00-([0-9a-f]{{32}})-([0-9a-f]{{16}})-01\r\n"
        );
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        let asked = self.asked.lock().unwrap();
        let found = Regex::new(&request).unwrap();
        found.captures_iter(&asked).map(|found| (text(&found[1]), text(&found[2]))).collect()
    }
}

async fn pass(
    client: TcpStream,
    upstream: u16,
    asked: Arc<Mutex<Vec<u8>>>,
    mut opened: watch::Receiver<bool>,
) -> std::io::Result<()> {
    if opened.wait_for(|open| *open).await.is_err() {
        return Ok(());
    }
    let (mut from_server, mut to_server) = TcpStream::connect(("127.0.0.1", upstream)).await?.into_split();
    let (mut from_client, mut to_client) = client.into_split();
    tokio::spawn(async move { tokio::io::copy(&mut from_server, &mut to_client).await });
    // Kept by connection, so that requests do not mix.
    let (mut mine, mut bytes) = (Vec::new(), vec![0; 64 << 10]);
    loop {
        let read = from_client.read(&mut bytes).await?;
        if read == 0 {
            return Ok(());
        }
        mine.extend_from_slice(&bytes[..read]);
        if mine.windows(4).any(|window| window == b"\r\n\r\n") {
            asked.lock().unwrap().append(&mut mine);
        }
        to_server.write_all(&bytes[..read]).await?;
    }
}

/// A collector that sends traces to a receiver and calls every query slow, before a ClickHouse behind a closed relay.
struct Rig {
    receiver: Receiver,
    relay: Relay,
    collector: Collector,
    client: reqwest::Client,
    _engine: Engine,
    _dir: tempfile::TempDir,
}

impl Rig {
    async fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let engine = Engine::start(dir.path()).await;
        let relay = Relay::start(engine.port()).await;
        let (receiver, endpoint) = Receiver::start().await;
        let setup = Setup::new(dir.path(), &Engine::url_through(relay.port))
            .with("OTEL_EXPORTER_OTLP_ENDPOINT", &endpoint)
            .with("OTEL_BSP_SCHEDULE_DELAY", "50")
            .with("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment.name=test")
            .with("ERRATA_CLICKHOUSE__SLOW_QUERY_MS", "1");
        let collector = setup.start().await;
        Self { receiver, relay, collector, client: reqwest::Client::new(), _engine: engine, _dir: dir }
    }

    fn request(
        &self,
        method: reqwest::Method,
        path: &str,
        trace: (&str, &str),
        flags: &str,
    ) -> reqwest::RequestBuilder {
        let url = format!("{}{path}", self.collector.setup.url);
        let request = self.client.request(method, url).bearer_auth(self.collector.token());
        request.header("traceparent", format!("00-{}-{}-{flags}", trace.0, trace.1))
    }

    async fn ship(&self, ids: &[&str], trace: (&str, &str), flags: &str) {
        let events: Vec<Value> = ids.iter().map(|id| event(id, 422)).collect();
        let request = self.request(reqwest::Method::POST, "/api/v1/events", trace, flags);
        let request = request.header("Content-Type", "application/x-ndjson").header("X-Request-ID", "shipment-1");
        let answer = request.body(ndjson(&events)).send().await.unwrap();
        assert_eq!(answer.status(), 202, "{}", answer.text().await.unwrap());
    }

    /// The span that answered a request, checked, and that of its append to the spool.
    async fn ingest(&self, (trace, parent): (&str, &str)) -> (Span, Span) {
        let server = self.receiver.span(trace, "POST /api/v1/events").await;
        assert_eq!((hex(&server.parent_span_id).as_str(), server.kind()), (parent, SpanKind::Server));
        let about = attributes(&server.attributes);
        assert_eq!(about["http.request.method"], "POST");
        assert_eq!(about["http.route"], "/api/v1/events");
        assert_eq!(about["http.response.status_code"], "202");
        assert_eq!(about["errata.request_id"], "shipment-1");
        let decode = self.receiver.span(trace, "decode").await;
        let append = self.receiver.span(trace, "append to spool").await;
        assert_eq!(decode.parent_span_id, server.span_id);
        assert_eq!((&append.parent_span_id, append.kind()), (&server.span_id, SpanKind::Producer));
        (server, append)
    }

    /// The insert of a delivery; ClickHouse was told of it, and of its verification.
    async fn insert_of(&self, delivery: &Span) -> Span {
        let insert = self.receiver.span_where("the insert", |span| span.parent_span_id == delivery.span_id).await;
        assert_eq!((insert.name.as_str(), insert.kind()), ("insert", SpanKind::Client));
        let about = attributes(&insert.attributes);
        assert_eq!((about["db.system.name"].as_str(), about["errata.attempt"].as_str()), ("clickhouse", "1"));
        let told = (hex(&insert.trace_id), hex(&insert.span_id));
        let inserts = self.relay.named_by("[^ ]*INSERT%20INTO%20errata.events|[^ ]*INSERT\\+INTO\\+errata.events");
        assert!(inserts.contains(&told), "{told:?} is not among {inserts:?}");
        assert!(self.relay.named_by("").iter().filter(|named| **named == told).count() >= 3, "index, events, count");
        insert
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_is_followed_from_the_client_into_clickhouse() {
    let rig = Rig::start().await;
    // Both wait in the spool, and are delivered together when ClickHouse is there.
    rig.ship(&["req_first", "req_first_too"], FIRST, "01").await;
    rig.ship(&["req_second"], SECOND, "01").await;
    rig.relay.open.send_replace(true);
    let (_, first) = rig.ingest(FIRST).await;
    let (_, second) = rig.ingest(SECOND).await;
    let together = rig.receiver.span_where("a delivery with links", |span| !span.links.is_empty()).await;
    assert_eq!((together.name.as_str(), together.kind()), ("deliver batch", SpanKind::Consumer));
    assert!(together.parent_span_id.is_empty(), "a batch of two requests is a trace of its own");
    assert_eq!(attributes(&together.attributes)["messaging.batch.message_count"], "3");
    let linked: Vec<_> = together.links.iter().map(|link| (&link.trace_id, &link.span_id)).collect();
    assert_eq!(linked, [(&first.trace_id, &first.span_id), (&second.trace_id, &second.span_id)]);
    rig.insert_of(&together).await;

    rig.collector.delivered().await;
    rig.ship(&["req_alone"], ALONE, "01").await;
    let (_, append) = rig.ingest(ALONE).await;
    let alone = rig.receiver.span(ALONE.0, "deliver batch").await;
    assert_eq!(alone.parent_span_id, append.span_id, "one request: its delivery is in its trace");
    let insert = rig.insert_of(&alone).await;
    assert!(insert.status.is_none_or(|status| status.code() == StatusCode::Unset));

    rig.collector.delivered().await;
    let path = "/api/v1/requests/req_alone";
    let answer = rig.request(reqwest::Method::GET, path, ASKS, "01").send().await.unwrap();
    assert_eq!(answer.status(), 200);
    let server = rig.receiver.span(ASKS.0, "GET /api/v1/requests/{request_id}").await;
    assert_eq!(hex(&server.parent_span_id), ASKS.1);
    for query in ["request", "impact", "account_around"] {
        let span = rig.receiver.span(ASKS.0, &format!("query {query}")).await;
        assert_eq!((&span.parent_span_id, span.kind()), (&server.span_id, SpanKind::Client));
        let told = (ASKS.0.to_owned(), hex(&span.span_id));
        assert!(rig.relay.named_by("").contains(&told), "ClickHouse is not told of {query}");
    }
    let texts = format!("{:?}", rig.receiver.spans());
    assert!(!texts.contains("req_") && !texts.contains("Site must belong"), "what customers sent is in no span");

    let resource = rig.receiver.0.lock().unwrap()[0].resource_spans[0].resource.clone().unwrap();
    let about = attributes(&resource.attributes);
    assert_eq!((about["service.name"].as_str(), about["deployment.environment.name"].as_str()), ("errata", "test"));
}

/// A trace that its caller does not record is not recorded here, and the end of the process sends what is left.
#[tokio::test(flavor = "multi_thread")]
async fn the_callers_sampling_is_followed_and_nothing_recorded_is_left_behind() {
    let rig = Rig::start().await;
    rig.relay.open.send_replace(true);
    rig.ship(&["req_1"], UNSAMPLED, "00").await;
    rig.collector.delivered().await;
    let answer = rig.request(reqwest::Method::GET, "/api/v1/requests/req_1", ASKS, "01").send().await.unwrap();
    assert_eq!(answer.status(), 200);
    let answer = rig.request(reqwest::Method::GET, "/api/v1/events?from=-7d", ASKS, "01").send().await.unwrap();
    assert_eq!(answer.status(), 200);
    let Rig { receiver, collector, _engine, _dir, .. } = rig;
    let log = collector.setup.log.clone();
    assert!(collector.terminate().await.0.success());
    let spans = receiver.spans();
    assert!(spans.iter().any(|span| span.name.starts_with("GET /api/v1/requests")), "{spans:?}");
    assert!(spans.iter().all(|span| hex(&span.trace_id) != UNSAMPLED.0), "{spans:?}");
    // The log of slow queries names the trace.
    let text = std::fs::read_to_string(log).unwrap();
    let lines = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let slow: Vec<Value> = lines.filter(|line| line["message"] == "a slow query").collect();
    for query in ["finding a request", "searching"] {
        let line = slow.iter().find(|line| line["query"] == query && line["trace_id"] == ASKS.0);
        let line = line.unwrap_or_else(|| panic!("{query} is not among the slow in {text}"));
        assert!(line["took_ms"].as_u64().unwrap() >= 1 && line["slow_ms"] == 1, "{line}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receiver_that_is_not_there_costs_one_line_in_the_log_and_a_wrong_protocol_stops_the_start() {
    let dir = tempfile::tempdir().unwrap();
    let setup = Setup::new(dir.path(), "http://127.0.0.1:1")
        .with("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:2")
        .with("OTEL_BSP_SCHEDULE_DELAY", "20");
    let collector = setup.start().await;
    let url = format!("{}/api/v1/openapi.json", setup.url);
    let lines = || std::fs::read_to_string(&setup.log).unwrap().matches("traces do not reach").count();
    eventually("the failure is logged", PATIENCE, async || {
        assert_eq!(reqwest::get(&url).await.unwrap().status(), 200);
        lines() > 0
    })
    .await;
    for _ in 0..5 {
        assert_eq!(reqwest::get(&url).await.unwrap().status(), 200);
        tokio::time::sleep(Duration::from_millis(50)).await; // a failure each, had it been logged each time
    }
    assert!(collector.terminate().await.0.success());
    assert_eq!(lines(), 1);
    let mut refused = setup.with("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc").spawn();
    refused.failed().await;
    assert!(refused.log().contains("OTEL_EXPORTER_OTLP_PROTOCOL=\"grpc\": traces are sent by http/protobuf"));
}
