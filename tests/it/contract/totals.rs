//! Request totals: taken, kept, replaced, and the denominator of rates.

use std::io::Write as _;

use errata::state::{Limit, Role};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use super::{Answer, outage::eventually, token, without_clickhouse};
use crate::collector::{Collector, NOW_MS, answer, ndjson};

mod rates;
mod trouble;

const MINUTE: i64 = 60_000;

/// A total of a minute before now.
pub(super) fn total(minutes_ago: i64, status: u16, count: u64) -> Value {
    json!({
        "minute": (NOW_MS - minutes_ago * MINUTE) / 1000, "service": "igny8-api", "environment": "production",
        "release": "2026.11.2", "route": "/api/v1/planner/keywords/", "method": "POST", "status": status,
        "count": count, "reporter": "api-1"
    })
}

impl Collector {
    pub(super) async fn report(&self, totals: &[Value]) -> (StatusCode, Value) {
        let request = self.request(Method::POST, "/api/v1/request-totals");
        answer(request.header("Content-Type", "application/x-ndjson").body(ndjson(totals))).await
    }

    /// Waits until every total is delivered.
    pub(crate) async fn totals_delivered(&self) {
        eventually("the delivery of totals", async || self.metric("errata_totals_pending").await == 0.0).await;
    }

    /// Reports, and waits until it is delivered.
    async fn reported(&self, totals: &[Value]) {
        let (status, body) = self.report(totals).await;
        assert_eq!((status.as_u16(), &body["data"]["accepted"]), (202, &json!(totals.len())), "{body}");
        self.totals_delivered().await;
    }

    /// The series of `/api/v1/rates`.
    async fn rates(&self, query: &str) -> Vec<Value> {
        let (status, body) = self.get(&format!("/api/v1/rates?{query}")).await;
        assert_eq!(status, 200, "{body}");
        body["data"]["series"].as_array().unwrap().clone()
    }

    /// Requests of the last day.
    async fn requests(&self) -> Value {
        self.rates("").await.first().map_or(Value::Null, |series| series["requests"].clone())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn totals_are_taken_like_events_and_replace_each_other() {
    let dir = tempfile::tempdir().unwrap();
    let collector = Collector::start(dir.path()).await;
    let bad = json!({"minute": "2026-11-22T11:58:30Z", "status": 200, "count": 1, "reporter": "api-1"});
    let (status, body) = collector.report(&[total(5, 200, 10), bad.clone(), total(5, 422, 1)]).await;
    assert_eq!((status.as_u16(), &body["success"]), (202, &json!(true)), "{body}");
    let data = &body["data"];
    assert_eq!(
        (&data["accepted"], &data["rejected"], &data["rejections"][0]["index"]),
        (&json!(2), &json!(1), &json!(1))
    );
    assert!(data["rejections"][0]["errors"]["minute"][0].as_str().unwrap().contains("begin of a minute"), "{body}");
    // A retry, a correction, and a correction back within one body; another reporter adds.
    let other = |count| {
        let mut total = total(5, 200, count);
        total["reporter"] = json!("api-2");
        total
    };
    collector.reported(&[total(5, 200, 10), total(5, 422, 1)]).await;
    collector.reported(&[total(5, 200, 12), other(100), other(7), other(100)]).await;
    assert_eq!(collector.requests().await, 113);
    collector.reported(&[total(5, 200, 9)]).await;
    assert_eq!(collector.requests().await, 110);
    // The counter cannot go down: it has the largest of each.
    let series = |status| {
        format!("errata_api_requests_total{{environment=\"production\",service=\"igny8-api\",status=\"{status}\"}}")
    };
    assert_eq!(collector.metric(&series(200)).await, 112.0);
    assert_eq!(collector.metric(&series(422)).await, 1.0);
    assert_eq!(collector.metric("errata_totals_accepted_total").await, 9.0);
    assert_eq!(collector.metric("errata_totals_stored_total").await, 9.0);
    assert_eq!(collector.metric("errata_totals_rejected_total{reason=\"invalid_timestamp\"}").await, 1.0);
    assert_eq!(collector.metric("errata_ingest_requests_total{code=\"202\",protocol=\"totals\"}").await, 4.0);
    assert_eq!(collector.metric("errata_ingest_events_total{outcome=\"accepted\",protocol=\"json\"}").await, 0.0);

    // Another project sees none of them.
    let other = token(dir.path(), "other", &[Role::Sre], None, None);
    assert_eq!(collector.read(&other, "/api/v1/rates").await.1["data"]["series"], json!([]));

    let (status, body) = collector.report(&[bad]).await;
    assert_eq!((status.as_u16(), &body["error"]), (422, &json!("Validation failed")), "{body}");
    assert_eq!(body["data"]["rejections"][0]["index"], 0, "{body}");
    collector.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_encodings_tokens_and_quotas_are_those_of_events() {
    let dir = tempfile::tempdir().unwrap();
    let collector = Collector::with(without_clickhouse(dir.path())).await;
    let post = |kind: &str, body: Vec<u8>| {
        collector.request(Method::POST, "/api/v1/request-totals").header("Content-Type", kind).body(body)
    };
    let array = json!([total(3, 200, 1), total(2, 200, 1)]).to_string();
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(array.as_bytes()).unwrap();
    let taken = [
        (post("application/json", array.clone().into()), 2),
        (post("application/json", total(1, 200, 1).to_string().into()), 1),
        (post("application/json", gzip.finish().unwrap()).header("Content-Encoding", "gzip"), 2),
        (
            post("application/x-ndjson", zstd::encode_all(total(1, 200, 1).to_string().as_bytes(), 1).unwrap())
                .header("Content-Encoding", "zstd"),
            1,
        ),
    ];
    for (request, accepted) in taken {
        let answer = Answer::to(request).await;
        assert_eq!(answer.status, 202, "{}", answer.text);
        assert_eq!(answer.envelope("totals")["data"], json!({"accepted": accepted, "rejected": 0, "rejections": []}));
    }
    for (request, status, field) in [
        (post("application/x-ndjson", b"{}\nnonsense".to_vec()), 422, "totals"),
        (post("application/x-ndjson", b"\nnonsense".to_vec()), 400, "body"),
        (post("application/json", b"[".to_vec()), 400, "body"),
        (post("application/json", Vec::new()), 400, "body"),
        (post("text/plain", array.clone().into()), 415, "Content-Type"),
        (post("application/json", array.clone().into()).header("Content-Encoding", "br"), 415, "Content-Encoding"),
        (post("application/json", array.clone().into()).header("Content-Encoding", "gzip"), 400, "Content-Encoding"),
        (post("application/json", vec![b' '; (16 << 20) + 1]), 413, "body"),
    ] {
        let answer = Answer::to(request).await;
        let body = answer.envelope(field);
        assert_eq!((answer.status.as_u16(), body["errors"][field].is_array()), (status, true), "{}", answer.text);
    }
    let limit = Some(Limit { events: 1, seconds: 3600 });
    let limited = token(dir.path(), "default", &[Role::Ingest], limit, None);
    let support = token(dir.path(), "default", &[Role::Support], None, None);
    for (token, status) in [(&limited, 202), (&limited, 202), (&support, 403)] {
        let request = collector.with_token(token, Method::POST, "/api/v1/request-totals");
        let request = request.header("Content-Type", "application/json").body(array.clone());
        assert_eq!(Answer::to(request).await.status, status);
    }
    let request = collector.anonymous(Method::POST, "/api/v1/request-totals").body(array);
    assert_eq!(Answer::to(request).await.status, 401);
    assert_eq!(collector.metric("errata_totals_pending").await, 10.0);
    collector.stop().await.unwrap();
}
