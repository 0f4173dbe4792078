//! Quotas: who has one sees it on every answer, and pays for what is kept alone.

use errata::{
    config::ByteSize,
    state::{Limit, Role},
};
use reqwest::Method;
use serde_json::{Value, json};

use super::{Answer, token, without_clickhouse};
use crate::collector::{Collector, NOW_MS, event, ndjson};

const TEN_A_MINUTE: Option<Limit> = Some(Limit { events: 10, seconds: 60 });

fn events(prefix: &str, count: usize) -> Vec<Value> {
    (0..count).map(|i| event(&format!("{prefix}{i}"), 400)).collect()
}

/// Limit, remaining and reset.
fn throttle(answer: &Answer) -> (Option<i64>, Option<i64>, Option<i64>) {
    let number = |name| answer.number(name);
    (number("x-throttle-limit"), number("x-throttle-remaining"), number("x-throttle-reset"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_window_gives_its_events_once_then_429_until_it_opens_anew() {
    let dir = tempfile::tempdir().unwrap();
    let collector = Collector::with(without_clickhouse(dir.path())).await;
    let limited = token(dir.path(), "default", &[Role::Ingest], TEN_A_MINUTE, None);
    let reset = Some(NOW_MS / 1000 + 60);
    let answer = collector.ship_as(&limited, &events("a", 7)).await;
    assert_eq!((answer.status.as_u16(), throttle(&answer)), (202, (Some(10), Some(3), reset)));

    collector.advance_clock(20_000);
    let answer = collector.ship_as(&limited, &events("b", 4)).await;
    assert_eq!((answer.status.as_u16(), throttle(&answer)), (429, (Some(10), Some(3), reset)));
    assert_eq!(answer.number("retry-after"), Some(40));
    let body = answer.envelope("past the quota");
    assert_eq!((&body["error"], body.get("errors")), (&json!("Rate limit exceeded"), None));

    // Duplicates cost as much as new events: they were taken.
    let answer = collector.ship_as(&limited, &events("a", 3)).await;
    assert_eq!((answer.status.as_u16(), throttle(&answer)), (202, (Some(10), Some(0), reset)));
    let answer = collector.ship_as(&limited, &events("c", 1)).await;
    assert_eq!((answer.status.as_u16(), throttle(&answer)), (429, (Some(10), Some(0), reset)));

    collector.advance_clock(40_000);
    let answer = collector.ship_as(&limited, &events("c", 10)).await;
    assert_eq!((answer.status.as_u16(), throttle(&answer)), (202, (Some(10), Some(0), reset.map(|at| at + 60))));
    collector.advance_clock(60_000);
    let answer = collector.ship_as(&limited, &events("d", 11)).await;
    assert_eq!(answer.status, 429);
    let body = answer.envelope("a batch larger than the limit");
    let message = body["errors"]["events"][0].as_str().unwrap();
    assert!(message.contains("11 events never fit a limit of 10"), "{message}");
    collector.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn every_answer_to_a_token_with_a_limit_says_what_is_left() {
    let dir = tempfile::tempdir().unwrap();
    let collector = Collector::with(without_clickhouse(dir.path())).await;
    let limited = token(dir.path(), "default", &[Role::Ingest], TEN_A_MINUTE, None);
    let reader = token(dir.path(), "default", &[Role::Support], TEN_A_MINUTE, None);
    let expected = (Some(10), Some(10), Some(NOW_MS / 1000 + 60));
    for (token, method, path, status) in [
        (&limited, Method::POST, "/api/v1/events", 415),
        (&limited, Method::GET, "/api/v1/events", 403),
        (&limited, Method::GET, "/api/v1/nope", 404),
        (&limited, Method::DELETE, "/api/v1/events", 405),
        (&limited, Method::GET, "/api/v1/openapi.json", 200),
        (&reader, Method::GET, "/api/v1/requests/req_1", 503),
        (&reader, Method::GET, "/api/v1/events?limit=0", 400),
    ] {
        let answer = Answer::to(collector.with_token(token, method, path)).await;
        assert_eq!((answer.status.as_u16(), throttle(&answer)), (status, expected), "{path}");
    }
    let unlimited = token(dir.path(), "default", &[Role::Ingest], None, None);
    for token in [&unlimited, "nobody's"] {
        let answer = Answer::to(collector.with_token(token, Method::POST, "/api/v1/events")).await;
        assert_eq!(throttle(&answer), (None, None, None));
    }
    collector.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_rejected_or_refused_is_not_charged() {
    let dir = tempfile::tempdir().unwrap();
    let mut config = without_clickhouse(dir.path());
    config.spool.segment_bytes = ByteSize::kib(16);
    config.spool.max_bytes = ByteSize::kib(32);
    let collector = Collector::with(config).await;
    let hundred = Some(Limit { events: 100, seconds: 60 });
    let limited = token(dir.path(), "default", &[Role::Ingest], hundred, None);
    let remaining = |answer: &Answer| throttle(answer).1.unwrap();

    let mut mixed = events("good", 2);
    mixed.extend([json!({"status": 200}), json!({"status": "x"})]);
    let answer = collector.ship_as(&limited, &mixed).await;
    assert_eq!((answer.status.as_u16(), remaining(&answer)), (202, 98), "{}", answer.text);
    let answer = collector.ship_as(&limited, &[json!({"status": 200})]).await;
    assert_eq!((answer.status.as_u16(), remaining(&answer)), (422, 98), "{}", answer.text);
    let rejected = r#"errata_ingest_events_total{outcome="rejected",protocol="json"}"#;
    assert_eq!(collector.metric(rejected).await, 3.0);

    // More than the spool may hold, with a bad one among them: refused as a whole.
    let mut large = events("large", 80);
    large.push(json!({"status": 200}));
    for event in &mut large {
        event["attributes"] = json!({"filler": "x".repeat(800)});
    }
    let answer = collector.ship_as(&limited, &large).await;
    answer.envelope("a full spool");
    assert_eq!((answer.status.as_u16(), remaining(&answer)), (503, 98), "{}", answer.text);
    assert_eq!(collector.metric(rejected).await, 3.0, "a batch that is to be sent again is not counted twice");
    collector.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn parallel_batches_never_take_more_than_the_window_has() {
    let dir = tempfile::tempdir().unwrap();
    let collector = Collector::with(without_clickhouse(dir.path())).await;
    let limited = token(dir.path(), "default", &[Role::Ingest], TEN_A_MINUTE, None);
    let mut tasks = tokio::task::JoinSet::new();
    for i in 0..20 {
        let request = collector.with_token(&limited, Method::POST, "/api/v1/events");
        let body = ndjson(&events(&format!("p{i}_"), 3));
        tasks.spawn(Answer::to(request.header("Content-Type", "application/x-ndjson").body(body)));
    }
    let answers = tasks.join_all().await;
    let taken = answers.iter().filter(|answer| answer.status == 202).count();
    assert_eq!(taken, 3);
    assert!(answers.iter().all(|answer| answer.status == 202 || answer.status == 429));
    assert_eq!(collector.metric("errata_spool_events").await, 9.0);
    collector.stop().await.unwrap();
}
