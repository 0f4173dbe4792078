//! The running evaluator: on a clock that the tests move, over a real ClickHouse.

use std::{
    path::Path,
    sync::atomic::Ordering,
    time::{Duration, Instant},
};

use errata::{
    config::Config,
    state::{AlertChanges, Role, State},
};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::{
    captured::{capture, ship},
    collector::{Collector, answer, config, event},
    console::Browser,
    contract::token,
    faults::{engine::Engine, proxy::Proxy},
};

use super::receivers::{Receiver, eventually, receiver};

pub const MINUTE: i64 = 60_000;

/// One rule: five 429s of an account within five minutes.
pub const RULE: &str = "defaults = false\n[[rule]]\nname = 'limited'\nkind = 'rate_limited'\nseverity = 'page'\nthreshold = 5\n\
    lasting = '0s'\nlabels = { team = 'shop' }\nrunbook = 'https://wiki.example/limited'\n";

/// One that reads request totals and nothing else.
const BURN: &str = "[[rule]]\nname = 'burn'\nkind = 'server_errors'\nseverity = 'page'\n";

pub fn with_rules(dir: &Path, text: &str) -> Config {
    let file = dir.join("alerts.toml");
    std::fs::write(&file, text).unwrap();
    Config { alerts: file.to_str().unwrap().to_owned(), ..config(dir) }
}

/// So many 429s of an account, so long before now.
pub async fn limit(collector: &Collector, account: u32, count: usize, ago_ms: i64) {
    let at = chrono::DateTime::from_timestamp_millis(collector.now_ms.load(Ordering::Relaxed) - ago_ms).unwrap();
    let make = |index| {
        let mut event = event(&format!("req_{account}_{}_{index}", at.timestamp()), 429);
        event["account_id"] = json!(account);
        event["timestamp"] = json!(at.to_rfc3339());
        event
    };
    let events: Vec<Value> = (0..count).map(make).collect();
    assert_eq!(collector.ship(&events).await.0, 202);
}

impl Collector {
    pub async fn alerts(&self) -> Value {
        let (status, body) = self.get("/api/v1/alerts").await;
        assert_eq!(status, 200, "{body}");
        body["data"].clone()
    }

    /// Waits until the alerts fit, and returns them.
    pub async fn alerts_when(&self, what: &str, holds: impl Fn(&Value) -> bool) -> Value {
        let began = Instant::now();
        loop {
            let alerts = self.alerts().await;
            if holds(&alerts) {
                return alerts;
            }
            assert!(began.elapsed() < Duration::from_secs(30), "{what} does not come about: {alerts}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Moves the clock on by minutes, one by one, and waits for the evaluation of each.
    pub async fn minutes(&self, count: usize) -> Value {
        let mut alerts = Value::Null;
        for _ in 0..count {
            let now = self.now_ms.fetch_add(MINUTE, Ordering::Relaxed) + MINUTE;
            let end = errata::clock::rfc3339(now / MINUTE * MINUTE);
            alerts =
                self.alerts_when(&end, |alerts| alerts["evaluated_at"] == *end && alerts["frozen"].is_null()).await;
        }
        alerts
    }

    pub async fn changes(&self) -> Vec<String> {
        let (_, body) = self.get("/api/v1/alerts/history").await;
        let changes = body["data"]["changes"].as_array().unwrap().iter().rev();
        changes.map(|change| change["change"].as_str().unwrap().to_owned()).collect()
    }

    async fn send(&self, method: Method, path: &str, body: Value) -> (StatusCode, Value) {
        answer(self.request(method, path).json(&body)).await
    }
}

/// Promise: in a storm the worst alerts have evidence and every one has its number and a link; the store is not read for each.
#[tokio::test(flavor = "multi_thread")]
async fn of_many_alerts_at_once_the_ten_worst_have_evidence_and_all_have_a_link() {
    let dir = tempfile::tempdir().unwrap();
    let collector = Collector::with(with_rules(dir.path(), RULE)).await;
    for account in 1..=14 {
        limit(&collector, account, 5 + account as usize, MINUTE / 2).await;
    }
    collector.delivered().await;
    let alerts = collector.minutes(1).await;
    let alerts = alerts["alerts"].as_array().unwrap();
    assert_eq!(alerts.len(), 14);
    for alert in alerts {
        let account: u64 = alert["labels"]["account"].as_str().unwrap().parse().unwrap();
        let events = if account > 4 { 5 + account } else { 0 };
        assert_eq!((&alert["value"], &alert["evidence"]["events"]), (&json!(5.0 + account as f64), &json!(events)));
        let link = alert["evidence"]["link"].as_str().unwrap();
        assert!(link.contains(&format!("account_id={account}&")), "{link}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_release_is_named_where_it_has_the_events_of_the_alert() {
    let dir = tempfile::tempdir().unwrap();
    // Of every environment.
    let rule = format!("{RULE}group_by = ['account']\n");
    let collector = Collector::with(with_rules(dir.path(), &rule)).await;
    for (account, release, environment, ago_ms) in [(17, "1", "production", 90_000), (18, "2", "staging", 30_000)] {
        let at = errata::clock::rfc3339(collector.now_ms.load(Ordering::Relaxed) - ago_ms);
        let limited = (0..6).map(|number| {
            let mut limited = event(&format!("req_{account}_{number}"), 429);
            limited["account_id"] = json!(account);
            limited["release"] = json!(release);
            limited["environment"] = json!(environment);
            limited["timestamp"] = json!(at);
            limited
        });
        collector.ship(&limited.collect::<Vec<_>>()).await;
    }
    collector.delivered().await;
    let alerts = collector.minutes(1).await;
    let of = |account: &str| {
        let alerts = alerts["alerts"].as_array().unwrap().iter();
        let alert = alerts.clone().find(|alert| alert["labels"]["account"] == account).unwrap();
        (alert["evidence"]["events"].clone(), alert["evidence"]["release"].clone())
    };
    assert_eq!(of("17"), (json!(6), Value::Null), "{alerts:#}");
    let (events, release) = of("18");
    assert_eq!((events, &release["from"], &release["to"]), (json!(6), &json!("1"), &json!("2")), "{alerts:#}");
    collector.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_alert_fires_with_its_evidence_and_resolves_once_also_across_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let rules = with_rules(dir.path(), RULE);
    let collector = Collector::with(rules.clone()).await;
    limit(&collector, 17, 6, MINUTE / 2).await;
    limit(&collector, 18, 4, MINUTE / 2).await;
    collector.delivered().await;
    let alerts = collector.minutes(1).await;
    let [alert] = alerts["alerts"].as_array().unwrap().as_slice() else { panic!("{alerts}") };
    assert_eq!(
        (&alert["rule"], &alert["state"], &alert["labels"]["account"]),
        (&json!("limited"), &json!("firing"), &json!("17"))
    );
    assert_eq!((&alert["value"], &alert["threshold"]), (&json!(6.0), &json!(5.0)));
    assert_eq!(alert["runbook"], "https://wiki.example/limited");
    let evidence = &alert["evidence"];
    assert_eq!(evidence["events"], 6);
    assert_eq!(evidence["accounts"], json!([{"account": "17", "events": 6, "share": 1.0}]));
    assert_eq!(evidence["groups"][0]["route"], "/api/v1/planner/keywords/");
    assert_eq!(evidence["samples"].as_array().unwrap().len(), 5);
    assert_eq!(evidence["first_seen"], "2026-11-22T11:59:30.000Z");
    let link = evidence["link"].as_str().unwrap();
    // A person who follows it sees a page, and the API finds as much by the same parameters.
    let page = link.strip_prefix(&collector.url).unwrap();
    let shown = Browser::signed_in(&collector, &collector.token).await.get(page).await;
    assert_eq!((page.split('?').next(), shown.status.as_u16()), (Some("/explore"), 200), "{link}: {}", shown.words());
    let (status, found) = collector.get(&page.replacen("/explore", "/api/v1/events", 1)).await;
    assert_eq!((status.as_u16(), found["data"]["events"].as_array().unwrap().len()), (200, 6), "{link}");
    assert_eq!(collector.metric("errata_alerts_firing{rule=\"limited\"}").await, 1.0);

    // It fires on over a restart, and is the same alert.
    let fingerprint = alert["fingerprint"].clone();
    let now = collector.now_ms.load(Ordering::Relaxed);
    collector.stop().await.unwrap();
    let collector = Collector::with(rules).await;
    collector.now_ms.store(now, Ordering::Relaxed);
    let alerts = collector.minutes(2).await;
    assert_eq!((&alerts["alerts"][0]["state"], &alerts["alerts"][0]["fingerprint"]), (&json!("firing"), &fingerprint));
    // 11:59 is in no window of five minutes any more at 12:05.
    let alerts = collector.minutes(2).await;
    assert_eq!(
        (&alerts["alerts"][0]["state"], &alerts["alerts"][0]["resolved_at"]),
        (&json!("resolved"), &json!("2026-11-22T12:05:00.000Z"))
    );
    assert_eq!(collector.changes().await, ["firing", "resolved"]);
    assert_eq!(collector.metric("errata_alerts_firing{rule=\"limited\"}").await, 0.0);
    collector.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn alerts_are_acknowledged_and_silenced() {
    let dir = tempfile::tempdir().unwrap();
    let collector = Collector::with(with_rules(dir.path(), RULE)).await;
    let path = "/api/v1/alerts/limited/acknowledge";
    let (status, body) = collector.send(Method::POST, path, json!({})).await;
    assert_eq!(status, 404, "nothing fires: {body}");
    for account in [17, 18] {
        limit(&collector, account, 6, MINUTE / 2).await;
    }
    collector.delivered().await;
    collector.minutes(1).await;
    let state_of = |alerts: &Value, account: &str| {
        let of = |alert: &&Value| alert["labels"]["account"] == account;
        alerts["alerts"].as_array().unwrap().iter().find(of).unwrap()["state"].as_str().unwrap().to_owned()
    };
    let (status, body) =
        collector.send(Method::POST, path, json!({"labels": {"account": "17"}, "comment": "on it"})).await;
    assert_eq!((status.as_u16(), body["data"].as_array().unwrap().len()), (200, 1), "{body}");
    assert_eq!(body["data"][0]["acknowledged"]["comment"], "on it");
    let wrong = [
        json!({}),
        json!({"rule": "limited"}),
        json!({"rule": "limited", "for": "60d"}),
        json!({"labels": {}, "for": "1h"}),
    ];
    for wrong in wrong {
        assert_eq!(collector.send(Method::POST, "/api/v1/alerts/silences", wrong).await.0, 400);
    }
    let silence = json!({"rule": "limited", "labels": {"account": "18"}, "for": "1h", "comment": "load test"});
    let (status, body) = collector.send(Method::POST, "/api/v1/alerts/silences", silence).await;
    assert_eq!(status, 201, "{body}");
    let alerts = collector.minutes(1).await;
    assert_eq!([state_of(&alerts, "17"), state_of(&alerts, "18")], ["acknowledged", "silenced"]);
    assert_eq!(alerts["silences"][0]["comment"], "load test");
    let id = body["data"]["id"].as_str().unwrap();
    let end = format!("/api/v1/alerts/silences/{id}");
    assert_eq!(collector.send(Method::DELETE, &end, json!({})).await.0, 200);
    assert_eq!(collector.send(Method::DELETE, &end, json!({})).await.0, 404);
    assert_eq!(state_of(&collector.alerts().await, "18"), "firing");

    // Another project sees none of it, and can end nothing of it.
    let other = token(dir.path(), "other", &[Role::Sre], None, None);
    let ask =
        |method, path: &str| collector.client.request(method, format!("{}{path}", collector.url)).bearer_auth(&other);
    assert_eq!(answer(ask(Method::GET, "/api/v1/alerts")).await.1["data"]["alerts"], json!([]));
    assert_eq!(answer(ask(Method::GET, "/api/v1/alerts/history")).await.1["data"]["changes"], json!([]));
    assert_eq!(answer(ask(Method::POST, path)).await.0, 404);
    collector.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_old_backlog_raises_no_alert() {
    let dir = tempfile::tempdir().unwrap();
    let collector = Collector::start(dir.path()).await;
    ship(&collector, &capture()).await;
    collector.delivered().await;
    let alerts = collector.minutes(3).await;
    assert_eq!(alerts["alerts"], json!([]));
    assert_eq!(collector.changes().await, Vec::<String>::new());
    // The same account now: the rules that are on by default do work.
    limit(&collector, 17, 70, MINUTE / 2).await;
    collector.delivered().await;
    let alerts = collector.minutes(1).await;
    assert_eq!(alerts["alerts"][0]["rule"], "rate-limited");
    collector.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn without_clickhouse_every_state_is_frozen_and_says_since_when() {
    let dir = tempfile::tempdir().unwrap();
    let engine = Engine::start(dir.path()).await;
    let proxy = Proxy::start(engine.port()).await;
    let manager = Receiver::start().await;
    let mut config = with_rules(dir.path(), &(RULE.to_owned() + &receiver("alertmanager", &manager.url)));
    config.data_dir = dir.path().join("data");
    config.clickhouse.url = Engine::url_through(proxy.port());
    let collector = Collector::with(config).await;
    limit(&collector, 17, 6, MINUTE / 2).await;
    collector.delivered().await;
    collector.minutes(1).await;
    collector.alerts_when("a firing alert", |alerts| alerts["alerts"][0]["state"] == "firing").await;

    proxy.refuse();
    collector.now_ms.fetch_add(10 * MINUTE, Ordering::Relaxed);
    let frozen =
        |alerts: &Value| alerts["frozen"].as_str().is_some_and(|why| why.starts_with("frozen: no data since "));
    let alerts = collector.alerts_when("a freeze", frozen).await;
    assert!(alerts["frozen"].as_str().unwrap().contains("2026-11-22T12:01:00.000Z"), "{alerts}");
    // Alertmanager would take it for resolved by now, were it not told again.
    let believed = errata::clock::rfc3339(collector.now_ms.load(Ordering::Relaxed) + 5 * MINUTE);
    eventually("a refresh", || manager.got().last().is_some_and(|got| got.body()[0]["endsAt"] == *believed)).await;
    // So would it be of one that is frozen by itself, as a burn rate without totals.
    let state = State::open(&dir.path().join("data")).unwrap();
    let mut row = state.alerts(None).unwrap().remove(0);
    row.frozen = "no request totals".to_owned();
    state.apply_alerts(&AlertChanges { put: vec![row], ..AlertChanges::default() }).unwrap();
    collector.now_ms.fetch_add(MINUTE, Ordering::Relaxed);
    let believed = errata::clock::rfc3339(collector.now_ms.load(Ordering::Relaxed) + 5 * MINUTE);
    eventually("a refresh", || manager.got().last().is_some_and(|got| got.body()[0]["endsAt"] == *believed)).await;
    // The incident goes on meanwhile; what is shipped waits in the spool, which alone freezes too.
    limit(&collector, 17, 6, MINUTE / 2).await;
    let alerts = collector.alerts().await;
    assert_eq!((&alerts["alerts"][0]["state"], collector.changes().await.len()), (&json!("firing"), 1));

    proxy.pass();
    collector.delivered().await;
    let alerts = collector
        .alerts_when("a thaw", |alerts| {
            alerts["frozen"].is_null() && alerts["evaluated_at"] == "2026-11-22T12:12:00.000Z"
        })
        .await;
    assert_eq!(alerts["alerts"][0]["state"], "firing", "nothing resolves falsely");
    assert_eq!(collector.changes().await, ["firing"], "nothing fires twice");
    let alerts = collector.minutes(6).await;
    assert_eq!(alerts["alerts"][0]["state"], "resolved");
    assert_eq!(collector.changes().await, ["firing", "resolved"]);
    collector.stop().await.unwrap();
}

/// Promise: where little comes, the first event after a while freezes nothing until it is stored.
#[tokio::test(flavor = "multi_thread")]
async fn the_first_event_after_a_quiet_hour_freezes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let collector = Collector::with(with_rules(dir.path(), RULE)).await;
    limit(&collector, 17, 1, MINUTE / 2).await;
    collector.delivered().await;
    for _ in 0..3 {
        collector.now_ms.fetch_add(20 * MINUTE, Ordering::Relaxed);
        collector.minutes(1).await;
        limit(&collector, 17, 1, MINUTE / 2).await;
        let mut looks = 0;
        while collector.metric("errata_spool_events").await + collector.metric("errata_rollup_pending_events").await
            > 0.0
        {
            let alerts = collector.alerts().await;
            assert!(alerts["frozen"].is_null(), "{alerts}");
            looks += 1;
        }
        assert!(looks > 10, "it waits for its group for a while: {looks}");
    }
    collector.stop().await.unwrap();
}

/// Promise: a rule that ClickHouse cannot answer is no evaluated one; it is said and counted, and the other rules go on.
#[tokio::test(flavor = "multi_thread")]
async fn a_rule_that_fails_says_so_and_the_others_go_on() {
    let dir = tempfile::tempdir().unwrap();
    let engine = Engine::start(dir.path()).await;
    let mut config = with_rules(dir.path(), &(RULE.to_owned() + BURN));
    config.data_dir = dir.path().join("data");
    config.clickhouse.url = Engine::url_through(engine.port());
    let collector = Collector::with(config).await;
    limit(&collector, 17, 1, MINUTE / 2).await;
    collector.delivered().await;
    collector.minutes(1).await;
    let failures = async |rule: &str| {
        collector.metric(&format!("errata_alerts_evaluation_failures_total{{rule=\"{rule}\"}}")).await
    };
    assert_eq!((failures("burn").await, failures("limited").await), (0.0, 0.0));

    // What the burn rate reads, and nobody else of the two.
    engine.run("RENAME TABLE errata.request_totals TO errata.away").await;
    limit(&collector, 17, 6, MINUTE / 2).await;
    collector.delivered().await;
    collector.now_ms.fetch_add(MINUTE, Ordering::Relaxed);
    let says =
        |alerts: &Value| alerts["frozen"].as_str().is_some_and(|why| why.starts_with("frozen: rule burn cannot"));
    let alerts = collector.alerts_when("a failing rule", says).await;
    assert_eq!((&alerts["alerts"][0]["rule"], &alerts["alerts"][0]["state"]), (&json!("limited"), &json!("firing")));
    assert_eq!(alerts["evaluated_at"], "2026-11-22T12:02:00.000Z");
    assert_eq!((failures("burn").await, failures("limited").await), (1.0, 0.0));

    engine.run("RENAME TABLE errata.away TO errata.request_totals").await;
    collector.minutes(1).await;
    assert_eq!(failures("burn").await, 1.0);
    collector.stop().await.unwrap();
}

/// Promise: when every rule fails, the time of the last evaluation stays that of the last one that was answered.
#[tokio::test(flavor = "multi_thread")]
async fn where_every_rule_fails_nothing_is_shown_as_evaluated() {
    let dir = tempfile::tempdir().unwrap();
    let engine = Engine::start(dir.path()).await;
    let mut config = with_rules(dir.path(), &("defaults = false\n".to_owned() + BURN));
    config.data_dir = dir.path().join("data");
    config.clickhouse.url = Engine::url_through(engine.port());
    let collector = Collector::with(config).await;
    limit(&collector, 17, 1, MINUTE / 2).await;
    collector.delivered().await;
    collector.minutes(1).await;
    engine.run("RENAME TABLE errata.request_totals TO errata.away").await;
    collector.now_ms.fetch_add(MINUTE, Ordering::Relaxed);
    let alerts = collector.alerts_when("a failing rule", |alerts| alerts["frozen"].is_string()).await;
    assert_eq!(alerts["evaluated_at"], "2026-11-22T12:01:00.000Z", "{alerts}");
    engine.run("RENAME TABLE errata.away TO errata.request_totals").await;
    collector.minutes(1).await;
    collector.stop().await.unwrap();
}
