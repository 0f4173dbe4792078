//! The captured two days, replayed.

use std::{
    process::Command,
    time::{Duration, Instant},
};

use reqwest::Method;
use serde_json::{Value, json};

use crate::{
    captured::{capture, data, ship},
    collector::{Collector, answer},
};

const RULES: &str = include_str!("../../data/alerts.toml");

/// Rule, what it is about, and when it fired and resolved, in minutes of the day.
fn told(firings: &Value, label: &str) -> Vec<(String, String, String, String)> {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let minute = |value: &Value| text(value)[5..16].to_owned();
    let firings = firings.as_array().unwrap().iter();
    let told = firings.map(|firing| {
        let about = firing["labels"].get(label).or_else(|| firing["labels"].get("route"));
        let about = text(about.unwrap_or(&firing["labels"]["service"]));
        (text(&firing["rule"]), about, minute(&firing["fired_at"]), minute(&firing["resolved_at"]))
    });
    told.collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replay_names_the_incident_and_the_hammering_account_and_nothing_else() {
    let dir = tempfile::tempdir().unwrap();
    let collector = Collector::start(dir.path()).await;
    assert_eq!(ship(&collector, &capture()).await, [11_260, 0, 0]);
    let totals =
        collector.request(Method::POST, "/api/v1/request-totals").header("Content-Type", "application/x-ndjson");
    let totals =
        totals.header("Content-Encoding", "gzip").body(std::fs::read(data("drf-request-totals.ndjson.gz")).unwrap());
    assert_eq!(answer(totals).await.0, 202);
    collector.delivered().await;
    collector.totals_delivered().await;
    let test = async |body: Value| {
        let request = collector.request(Method::POST, "/api/v1/alerts/test").json(&body);
        let (status, body) = answer(request).await;
        assert_eq!(status, 200, "{body}");
        body["data"].clone()
    };
    let range = json!({"rules": RULES, "from": "2026-11-17T00:00:00Z", "to": "2026-11-19T00:00:00Z"});
    let began = Instant::now();
    let result = test(range.clone()).await;
    // Less than 5 s are promised of a release build; a debug build on a busy machine gets some leave.
    let took = began.elapsed();
    println!("two days replayed in {took:?}");
    assert!(took < Duration::from_secs(30), "{took:?}");
    let route = "/api/v1/writer/tasks/<int:pk>/generate_content/";
    let firing = |rule: &str, about: &str, fired: &str, resolved: &str| {
        (rule.to_owned(), about.to_owned(), fired.to_owned(), resolved.to_owned())
    };
    // The windows of the README: 09:30 to 09:50, and 14:00 to 14:12; each resolves when its window has passed the end (of the slower burn
    // rate, half an hour). An error is new for an hour. `server-error-count` leaves the incident to the burn rates.
    let expected = [
        firing("rate-limited", "17", "11-17T09:31", "11-17T09:55"),
        firing("new-error", route, "11-18T14:01", "11-18T15:01"),
        firing("server-errors", "igny8-api", "11-18T14:06", "11-18T14:41"),
    ];
    assert_eq!(told(&result["firings"], "account"), expected, "{result}");
    let summary = result["firings"][2]["summary"].as_str().unwrap();
    assert!(summary.contains("objective 98.3 %") && summary.contains("requests failed"), "{summary}");

    // One rule of those in effect, of a part of the range.
    let part = json!({"rule": "rate-limited", "from": "2026-11-17T09:40:00Z", "to": "2026-11-17T09:45:00Z"});
    let result = test(part).await;
    assert_eq!(result["rules"], json!(["rate-limited"]));
    assert_eq!(result["firings"][0]["fired_at"], "2026-11-17T09:40:00.000Z");
    assert_eq!(result["firings"][0].get("resolved_at"), None, "it goes on: {result}");
    command_line(&collector, dir.path());
    collector.stop().await.unwrap();
}

fn command_line(collector: &Collector, dir: &std::path::Path) {
    let errata = |args: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_errata"));
        command.args(["--data-dir", dir.to_str().unwrap(), "alerts"]).args(args);
        command.env("ERRATA_URL", &collector.url).env("ERRATA_TOKEN", &collector.token).current_dir(dir);
        let output = command.output().unwrap();
        (output.status.code(), String::from_utf8(output.stdout).unwrap() + std::str::from_utf8(&output.stderr).unwrap())
    };
    let rules = data("alerts.toml");
    let rules = rules.to_str().unwrap();
    assert_eq!(errata(&["check", rules]).0, Some(0));
    let range = ["--from", "2026-11-17T00:00:00Z", "--to", "2026-11-19T00:00:00Z"];
    let (code, text) = errata(&[&["test", "--rule", "rate-limited", "--file", rules], &range[..]].concat());
    assert_eq!(code, Some(1), "{text}");
    assert!(
        text.contains("rate-limited (ticket)  fired 2026-11-17T09:31:00.000Z, resolved 2026-11-17T09:55:00.000Z"),
        "{text}"
    );
    assert!(text.contains("account=17") && text.contains("1 would have fired"), "{text}");
    // All rules: the account and the incident, with begin and end, and nothing else.
    let (code, text) = errata(&[&["test", "--file", rules], &range[..]].concat());
    assert_eq!(code, Some(1), "{text}");
    let told: Vec<&str> =
        text.lines().filter(|line| line.contains("  fired ") || line.contains("would have")).collect();
    let expected = [
        "rate-limited (ticket)  fired 2026-11-17T09:31:00.000Z, resolved 2026-11-17T09:55:00.000Z",
        "new-error (ticket)  fired 2026-11-18T14:01:00.000Z, resolved 2026-11-18T15:01:00.000Z",
        "server-errors (page)  fired 2026-11-18T14:06:00.000Z, resolved 2026-11-18T14:41:00.000Z",
        "3 would have fired from 2026-11-17T00:00:00.000Z to 2026-11-19T00:00:00.000Z (7 rules)",
    ];
    assert_eq!(told, expected, "{text}");
    assert!(text.contains("generate_content") && text.contains("requests failed") && !text.contains("login"), "{text}");
    let (code, text) = errata(&["test", "--rule", "rate-limited", "--from", "-1h"]);
    assert_eq!((code, text.starts_with("nothing would have fired")), (Some(0), true), "{text}");
    let (code, text) = errata(&["test", "--rule", "nope"]);
    assert_eq!((code, text.contains("there is no rule \"nope\"")), (Some(2), true), "{text}");
}
