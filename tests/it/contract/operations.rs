//! Operations: liveness, readiness, metrics.

use std::{collections::BTreeSet, io::Write, process::Stdio};

use errata::{config::ByteSize, decode::Reason};
use reqwest::Method;
use serde_json::{Value, json};

use super::{Answer, tools, totals::total, without_clickhouse};
use crate::collector::{Collector, event};

async fn ready(collector: &Collector) -> (u16, Value) {
    let answer = Answer::to(collector.anonymous(Method::GET, "/readyz")).await;
    (answer.status.as_u16(), serde_json::from_str(&answer.text).unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn without_clickhouse_the_collector_lives_is_ready_and_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let collector = Collector::with(without_clickhouse(dir.path())).await;
    let answer = Answer::to(collector.anonymous(Method::GET, "/healthz")).await;
    assert_eq!((answer.status.as_u16(), answer.text.as_str()), (200, "ok\n"));
    let (status, body) = ready(&collector).await;
    assert_eq!((status, &body["ready"], &body["spool"]["writable"]), (200, &json!(true), &json!(true)), "{body}");
    assert_eq!(body["clickhouse"]["up"], false, "{body}");
    assert_eq!(collector.metric("errata_clickhouse_up").await, 0.0);
    assert_eq!(collector.ship(&[event("req_1", 400)]).await.0, 202);
    assert_eq!(ready(&collector).await.1["spool"]["events"], 1);
    collector.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_spool_that_takes_nothing_is_not_ready_and_answers_503() {
    let dir = tempfile::tempdir().unwrap();
    let mut config = without_clickhouse(dir.path());
    config.spool.reserve_bytes = ByteSize(u64::MAX);
    let collector = Collector::with(config).await;
    let (status, body) = ready(&collector).await;
    assert_eq!((status, &body["ready"]), (503, &json!(false)), "{body}");
    assert!(body["spool"]["reason"].as_str().unwrap().starts_with("the disk is nearly full"), "{body}");
    let answer = collector.ship_as(&collector.token, &[event("req_1", 400)]).await;
    assert_eq!(answer.status, 503);
    let body = answer.envelope("a full disk");
    assert!(body["errors"]["spool"][0].as_str().unwrap().starts_with("the disk is nearly full"), "{body}");
    assert_eq!(Answer::to(collector.anonymous(Method::GET, "/healthz")).await.status, 200);
    collector.stop().await.unwrap();
}

/// Names, types and labels of the contract whose parts exist.
const FAMILIES: [(&str, &str, &[&str]); 38] = [
    ("errata_api_errors_total", "counter", &["service", "environment", "status"]),
    ("errata_api_errors_by_route_total", "counter", &["service", "route", "method", "status"]),
    ("errata_rate_limited_total", "counter", &["service", "route"]),
    ("errata_validation_failures_total", "counter", &["service", "field", "rule"]),
    ("errata_ingest_requests_total", "counter", &["protocol", "code"]),
    ("errata_ingest_events_total", "counter", &["protocol", "outcome"]),
    ("errata_ingest_rejected_total", "counter", &["reason"]),
    ("errata_ingest_marked_total", "counter", &["mark"]),
    ("errata_ingest_duration_seconds", "histogram", &["le"]),
    ("errata_ingest_bytes_total", "counter", &[]),
    ("errata_spool_bytes", "gauge", &[]),
    ("errata_spool_events", "gauge", &[]),
    ("errata_rollup_pending_events", "gauge", &[]),
    ("errata_spool_oldest_seconds", "gauge", &[]),
    ("errata_spool_fsync_seconds", "histogram", &["le"]),
    ("errata_spool_quarantined_total", "counter", &[]),
    ("errata_insert_batches_total", "counter", &["outcome"]),
    ("errata_insert_events_total", "counter", &[]),
    ("errata_insert_duration_seconds", "histogram", &["le"]),
    ("errata_insert_retries_total", "counter", &["reason"]),
    ("errata_visible_lag_seconds", "gauge", &[]),
    ("errata_books_imbalance_events", "gauge", &[]),
    ("errata_query_duration_seconds", "histogram", &["query", "le"]),
    ("errata_clickhouse_up", "gauge", &[]),
    ("errata_build_info", "gauge", &["version"]),
    ("errata_api_requests_total", "counter", &["service", "environment", "status"]),
    ("errata_totals_accepted_total", "counter", &[]),
    ("errata_totals_rejected_total", "counter", &["reason"]),
    ("errata_totals_pending", "gauge", &[]),
    ("errata_totals_stored_total", "counter", &[]),
    ("errata_totals_refused_total", "counter", &[]),
    ("errata_alerts_firing", "gauge", &["rule"]),
    ("errata_alerts_evaluation_failures_total", "counter", &["rule"]),
    ("errata_notifications_total", "counter", &["receiver", "outcome"]),
    ("errata_audit_entries_total", "counter", &["outcome"]),
    ("errata_erased_events_total", "counter", &[]),
    ("errata_tails", "gauge", &[]),
    ("errata_tail_events_total", "counter", &["outcome"]),
];

/// Families that have no series before their first event: their labels come with it.
const LATER: [&str; 7] = [
    "errata_api_requests_total",
    "errata_api_errors_total",
    "errata_api_errors_by_route_total",
    "errata_rate_limited_total",
    "errata_validation_failures_total",
    "errata_ingest_requests_total",
    "errata_query_duration_seconds",
];

/// Label names of each sample of a family.
fn label_sets(text: &str, family: &str, kind: &str) -> BTreeSet<BTreeSet<String>> {
    let suffixes: &[&str] = if kind == "histogram" { &["_bucket"] } else { &[""] };
    let of_family = |line: &&str| {
        let name = line.split(['{', ' ']).next().unwrap();
        suffixes.iter().any(|suffix| name == format!("{family}{suffix}"))
    };
    let names = |line: &str| -> BTreeSet<String> {
        let Some((_, labels)) = line.split_once('{') else { return BTreeSet::new() };
        labels.split("\",").filter_map(|label| Some(label.split_once("=\"")?.0.trim_matches('}').to_owned())).collect()
    };
    text.lines().filter(of_family).map(names).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_metric_of_the_contract_is_there_from_the_start_with_its_labels() {
    let dir = tempfile::tempdir().unwrap();
    let mut config = without_clickhouse(dir.path());
    let rules = dir.path().join("alerts.toml");
    std::fs::write(&rules, "[[receiver]]\nname = 'hook'\ntype = 'webhook'\nurl = 'https://h.example'\n").unwrap();
    config.alerts = rules.to_str().unwrap().to_owned();
    let collector = Collector::with(config).await;
    let fresh = collector.metrics().await;
    let mut limited = event("req_2", 429);
    limited["duration_ms"] = json!(1);
    collector.ship(&[event("req_1", 422), limited, json!({"status": 1})]).await;
    collector.report(&[total(1, 200, 7)]).await;
    collector.get("/api/v1/rates").await;
    let used = collector.metrics().await;
    for (name, kind, labels) in FAMILIES {
        for text in [&fresh, &used] {
            assert!(text.contains(&format!("# HELP {name} ")), "{name} has no help:\n{text}");
            assert_eq!(text.matches(&format!("# TYPE {name} {kind}\n")).count(), 1, "{name} is no {kind}:\n{text}");
        }
        let expected: BTreeSet<String> = labels.iter().map(ToString::to_string).collect();
        assert_eq!(label_sets(&used, name, kind), [expected].into(), "{name}");
        assert_eq!(label_sets(&fresh, name, kind).is_empty(), LATER.contains(&name), "{name}");
    }
    let known: BTreeSet<&str> = FAMILIES.iter().map(|(name, ..)| *name).collect();
    for line in used.lines().filter_map(|line| line.strip_prefix("# TYPE ")) {
        assert!(known.contains(line.split(' ').next().unwrap()), "{line} is in no list");
    }
    for reason in Reason::ALL {
        for family in ["errata_ingest_rejected_total", "errata_totals_rejected_total"] {
            assert!(fresh.contains(&format!("{family}{{reason=\"{}\"}} 0", reason.as_str())), "{family}");
        }
    }
    assert!(used.contains(r#"errata_ingest_requests_total{code="202",protocol="json"} 1"#), "{used}");
    assert!(used.contains("errata_ingest_duration_seconds_count 2"), "{used}");
    assert!(used.contains(r#"errata_api_errors_total{environment="production",service="igny8-api",status="422"} 1"#));
    let kind = Answer::to(collector.anonymous(Method::GET, "/metrics")).await;
    assert_eq!(kind.header("content-type"), Some("text/plain; version=0.0.4"));
    for text in [&fresh, &used] {
        lint(text);
    }
    collector.stop().await.unwrap();
}

/// `promtool check metrics` has nothing to say.
fn lint(text: &str) {
    let Some(mut promtool) = tools::program("promtool", "prometheus") else { return };
    let mut child = promtool
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.trim().is_empty(), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn refused_requests_are_counted_by_their_code() {
    let dir = tempfile::tempdir().unwrap();
    let collector = Collector::with(without_clickhouse(dir.path())).await;
    Answer::to(collector.anonymous(Method::POST, "/api/v1/events")).await;
    Answer::to(collector.request(Method::POST, "/api/v1/events/")).await;
    Answer::to(collector.request(Method::GET, "/api/v1/events")).await;
    let text = collector.metrics().await;
    let counted: Vec<&str> = text.lines().filter(|line| line.starts_with("errata_ingest_requests_total{")).collect();
    let series = |code| format!("errata_ingest_requests_total{{code=\"{code}\",protocol=\"json\"}} 1");
    assert_eq!(counted, [series(401), series(415)]);
    collector.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn hostile_labels_do_not_blow_up_the_metrics() {
    let dir = tempfile::tempdir().unwrap();
    let collector = Collector::with(without_clickhouse(dir.path())).await;
    let hostile = |i: usize, filler: &str| format!("{i}{}", filler.repeat(400));
    for (round, filler) in ["\\", "\"", "é", "x"].into_iter().enumerate() {
        let events: Vec<Value> = (0..3000)
            .map(|i| {
                let mut event = event(&format!("req_{round}_{i}"), 400 + (i % 200) as u16);
                event["service"] = json!(hostile(i, filler));
                event["environment"] = json!(hostile(i, filler));
                event["route"] = json!(format!("/{}", hostile(i, filler)));
                event["method"] = json!(format!("METHOD{i}"));
                event["response"]["errors"] =
                    json!({format!("field{}", hostile(i, filler)): ["This field is required"]});
                event
            })
            .collect();
        let (status, body) = collector.ship(&events).await;
        assert_eq!(
            (status.as_u16(), &body["data"]["accepted"]),
            (202, &json!(3000)),
            "{}",
            body["data"]["rejections"][0]
        );
        let totals = (0..3000_u16).map(|i| {
            let mut total = total(i64::from(i) % 1000, 100 + i % 500, 1);
            total["service"] = json!(format!("{i}{}", filler.repeat(100)));
            total
        });
        let (status, body) = collector.report(&totals.collect::<Vec<_>>()).await;
        assert_eq!((status.as_u16(), &body["data"]["accepted"]), (202, &json!(3000)), "{body}");
    }
    let text = collector.metrics().await;
    let series = text.lines().filter(|line| !line.starts_with('#')).count();
    assert!(series > 4000 && series < 5000, "{series} series");
    assert!(text.len() < 2 << 20, "{} bytes", text.len());
    let sum = |family: &str| -> f64 {
        let of_family = text.lines().filter(|line| line.starts_with(&format!("{family}{{")));
        of_family.map(|line| line.rsplit_once(' ').unwrap().1.parse::<f64>().unwrap()).sum()
    };
    assert_eq!((sum("errata_api_errors_total"), sum("errata_api_errors_by_route_total")), (12_000.0, 12_000.0));
    assert_eq!(sum("errata_api_requests_total"), 12_000.0);
    lint(&text);
    collector.stop().await.unwrap();
}
