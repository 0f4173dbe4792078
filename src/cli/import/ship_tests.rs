use std::sync::{Arc, Mutex};

use serde_json::json;

use super::*;
use crate::cli::stub::{Received, Reply, Stub};

/// A batch of lines `{"n":1}` … as lines 11, 12 … of a file.
fn batch(count: u64) -> Batch {
    let mut batch = Batch::default();
    (1..=count).for_each(|number| batch.push(number + 10, format!("{{\"n\":{number}}}").as_bytes()));
    batch
}

struct Fixture {
    stub: Stub,
    shipper: Shipper,
    pauses: Arc<Mutex<Vec<Duration>>>,
}

impl Fixture {
    async fn start(script: impl FnMut(&Received) -> Reply + Send + 'static) -> Self {
        let stub = Stub::start(script).await;
        let (patience, pauses) = Patience::recorded(Duration::from_mins(1));
        let shipper = Shipper::new(stub.client(), patience, |_| {});
        Self { stub, shipper, pauses }
    }

    /// The answers of a list, then `202` for everything.
    async fn of(mut replies: Vec<Reply>) -> Self {
        replies.reverse();
        Self::start(move |received| replies.pop().unwrap_or_else(|| Reply::taken(received.lines.len()))).await
    }

    fn sizes(&self) -> Vec<usize> {
        self.stub.received().iter().map(|received| received.lines.len()).collect()
    }
}

fn accepted(count: u64) -> Outcome {
    Outcome { accepted: count, ..Outcome::default() }
}

#[tokio::test]
async fn a_batch_goes_out_compressed_in_one_request() {
    let fixture = Fixture::of(vec![]).await;
    assert_eq!(fixture.shipper.ship_as(Kind::Events, &batch(3)).await.unwrap(), accepted(3));
    let received = fixture.stub.received();
    assert_eq!(received[0].target, "POST /api/v1/events");
    assert_eq!(received[0].encoding.as_deref(), Some("zstd"));
    assert_eq!(received[0].lines, ["{\"n\":1}", "{\"n\":2}", "{\"n\":3}"]);
}

#[tokio::test]
async fn retry_after_is_honoured_and_the_same_lines_are_sent_again() {
    let full = || Reply::error(503, "retry-after: 7\r\n", &json!({"spool": ["full"]}), &Value::Null);
    let busy = Reply::error(429, "retry-after: 3\r\nx-throttle-limit: 1000\r\n", &json!({}), &Value::Null);
    let fixture = Fixture::of(vec![full(), full(), busy]).await;
    assert_eq!(fixture.shipper.ship_as(Kind::Events, &batch(3)).await.unwrap(), accepted(3));
    assert_eq!(*fixture.pauses.lock().unwrap(), [7, 7, 3].map(Duration::from_secs));
    assert_eq!(fixture.sizes(), [3, 3, 3, 3]);
}

#[tokio::test]
async fn a_cut_connection_and_a_proxys_page_are_retried_with_back_off() {
    let page = Reply::Answer { status: 502, headers: "", body: "<html>".into() };
    let fixture = Fixture::of(vec![Reply::Cut, page, Reply::Cut]).await;
    assert_eq!(fixture.shipper.ship_as(Kind::Events, &batch(2)).await.unwrap(), accepted(2));
    assert_eq!(*fixture.pauses.lock().unwrap(), [200, 400, 800].map(Duration::from_millis));
}

#[tokio::test]
async fn patience_has_an_end_that_names_the_reason_and_the_way_on() {
    let fixture = Fixture::start(|_| Reply::Cut).await;
    let error = fixture.shipper.ship_as(Kind::Events, &batch(1)).await.unwrap_err().to_string();
    assert!(error.contains("gave up after 60 s") && error.contains("run the same command again"), "{error}");
    let slow = |_: &Received| Reply::error(429, "retry-after: 3600\r\n", &json!({}), &Value::Null);
    let fixture = Fixture::start(slow).await;
    assert!(matches!(fixture.shipper.ship_as(Kind::Events, &batch(1)).await, Err(ShipError::GaveUp { .. })));
    assert!(fixture.pauses.lock().unwrap().is_empty(), "a wait past the patience is not begun");
}

#[tokio::test]
async fn a_refusal_that_no_retry_mends_ends_at_once() {
    for status in [401, 403, 404] {
        let fixture = Fixture::start(move |_| Reply::error(status, "", &json!({}), &Value::Null)).await;
        let error = fixture.shipper.ship_as(Kind::Events, &batch(1)).await.unwrap_err();
        assert!(matches!(error, ShipError::Client(_)), "{status}: {error}");
        assert_eq!(fixture.sizes(), [1]);
    }
}

#[tokio::test]
async fn rejections_come_back_with_the_lines_of_the_file() {
    let data = json!({ "accepted": 1, "duplicates": 1, "rejected": 3, "rejections": [
        { "index": 3, "errors": { "status": ["is required"] } },
        { "index": 1, "errors": { "status": ["a"], "timestamp": ["b"] } },
    ] });
    let fixture = Fixture::of(vec![Reply::data(202, &data)]).await;
    let outcome = fixture.shipper.ship_as(Kind::Events, &batch(5)).await.unwrap();
    assert_eq!((outcome.accepted, outcome.duplicates, outcome.unlisted), (1, 1, 1));
    let rejected: Vec<_> = outcome.rejected.iter().map(|entry| (entry.line, entry.message.as_str())).collect();
    assert_eq!(rejected, [(12, "status: a; timestamp: b"), (14, "status: is required")]);
}

#[tokio::test]
async fn a_batch_of_which_nothing_is_taken_is_a_rejection_of_each_line() {
    let rejections = [0, 1].map(|index| json!({ "index": index, "errors": { "status": ["is required"] } }));
    let data = json!({ "accepted": 0, "duplicates": 0, "rejected": 2, "rejections": rejections });
    let fixture = Fixture::of(vec![Reply::error(422, "", &json!({"events": ["none"]}), &data)]).await;
    let outcome = fixture.shipper.ship_as(Kind::Events, &batch(2)).await.unwrap();
    assert_eq!(outcome.rejected.iter().map(|entry| entry.line).collect::<Vec<_>>(), [11, 12]);
}

#[tokio::test]
async fn lines_that_are_no_json_are_set_aside_and_the_others_sent() {
    let refusal = || Reply::error(400, "", &json!({"body": ["line 1, column 1: expected value"]}), &Value::Null);
    let fixture = Fixture::of(vec![refusal()]).await;
    let mut mixed = batch(1);
    mixed.push(99, b"\xff\xfe garbage");
    let outcome = fixture.shipper.ship_as(Kind::Events, &mixed).await.unwrap();
    assert_eq!(outcome.accepted, 1);
    assert_eq!(outcome.rejected, [Rejection { line: 99, message: "not JSON: expected value".into() }]);
    // A 400 that the lines do not explain must not be repeated for ever.
    let fixture = Fixture::start(move |_| refusal()).await;
    assert!(matches!(fixture.shipper.ship_as(Kind::Events, &batch(2)).await, Err(ShipError::Client(_))));
}

#[tokio::test]
async fn what_is_too_large_is_sent_plain_then_in_halves_then_rejected() {
    let fixture = Fixture::start(|received| match received.lines.len() {
        1 if received.lines[0] != "{\"n\":3}" => Reply::taken(1),
        _ => Reply::error(413, "", &json!({"body": ["too large"]}), &Value::Null),
    })
    .await;
    let outcome = fixture.shipper.ship_as(Kind::Events, &batch(4)).await.unwrap();
    assert_eq!(outcome.accepted, 3);
    assert_eq!(outcome.rejected, [Rejection { line: 13, message: "no".into() }]);
    assert_eq!(fixture.sizes(), [4, 4, 2, 1, 1, 2, 1, 1]);
    let encodings: Vec<_> = fixture.stub.received().iter().map(|received| received.encoding.is_some()).collect();
    assert_eq!(encodings[..3], [true, false, false]);
}

#[tokio::test]
async fn a_batch_larger_than_the_quotas_window_is_cut_to_fit() {
    let mut left = 2;
    let fixture = Fixture::start(move |received| {
        if received.lines.len() > left {
            left = 2;
            return Reply::error(429, "retry-after: 1\r\nx-throttle-limit: 2\r\n", &json!({}), &Value::Null);
        }
        left -= received.lines.len();
        Reply::taken(received.lines.len())
    })
    .await;
    assert_eq!(fixture.shipper.ship_as(Kind::Events, &batch(5)).await.unwrap(), accepted(5));
    assert_eq!(*fixture.pauses.lock().unwrap(), [1, 1].map(Duration::from_secs));
}

#[tokio::test]
async fn lines_too_long_to_send_are_rejections_too() {
    let fixture = Fixture::of(vec![]).await;
    let mut long = batch(1);
    long.too_long.push(5);
    let outcome = fixture.shipper.ship_as(Kind::Events, &long).await.unwrap();
    assert_eq!((outcome.accepted, outcome.rejected[0].line), (1, 5));
}
