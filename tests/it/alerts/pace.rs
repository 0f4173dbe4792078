//! How often each receiver is told, of what no rule watches any more, and what one that hangs does to the others.

use std::{
    sync::atomic::Ordering,
    time::{Duration, Instant},
};

use errata::state::{Role, State};
use serde_json::Value;

use super::{
    receivers::{Got, NOTHING, Receiver, collector, eventually, fire, receiver},
    running::{MINUTE, RULE, limit, with_rules},
};
use crate::{
    collector::{Collector, ndjson},
    contract::token,
};

fn named(name: &str, url: &str, keys: &str) -> String {
    receiver("webhook", url).replacen("name = 'webhook'", &format!("name = '{name}'"), 1) + keys + "\n"
}

fn field(receiver: &Receiver, key: &str) -> Vec<Value> {
    receiver.got().iter().map(|got| got.body()[key].clone()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn each_receiver_is_told_again_at_its_own_pace() {
    let dir = tempfile::tempdir().unwrap();
    let [often, seldom, never] = [Receiver::start().await, Receiver::start().await, Receiver::start().await];
    let receivers = [
        named("often", &often.url, "repeat = '2m'"),
        named("seldom", &seldom.url, "repeat = '5m'"),
        named("never", &never.url, "repeat = '0s'"),
    ];
    let collector = collector(dir.path(), &receivers.concat()).await;
    fire(&collector).await;
    // It fires at 12:01, and goes on.
    let mut counts = Vec::new();
    for minute in 2..=12 {
        limit(&collector, 17, 6, MINUTE / 2).await;
        collector.delivered().await;
        collector.minutes(1).await;
        let [two, five] = [1 + (minute - 1) / 2, 1 + (minute - 1) / 5];
        often.wait(two).await;
        seldom.wait(five).await;
        counts.push([often.got().len(), seldom.got().len(), never.got().len()]);
    }
    let expected: Vec<_> = (2..=12).map(|minute| [1 + (minute - 1) / 2, 1 + (minute - 1) / 5, 1]).collect();
    assert_eq!(counts, expected);
    for receiver in [&often, &seldom] {
        let mut ids = field(receiver, "id");
        ids.dedup();
        assert_eq!(ids.len(), 1, "it is one message, said again");
    }
    collector.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_alert_whose_project_is_gone_or_no_longer_watched_resolves_and_that_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let hook = Receiver::start().await;
    let rules = |only: &str| with_rules(dir.path(), &format!("{RULE}{only}{}", receiver("webhook", &hook.url)));
    let collector = Collector::with(rules("")).await;
    // One alert of each of two projects.
    fire(&collector).await;
    hook.wait(1).await;
    let other = token(dir.path(), "other", &[Role::Ingest], None, None);
    let at = chrono::DateTime::from_timestamp_millis(collector.now_ms.load(Ordering::Relaxed) - MINUTE / 2).unwrap();
    let events: Vec<Value> = (0..6)
        .map(|number| {
            let mut event = crate::collector::event(&format!("other_{number}"), 429);
            event["timestamp"] = at.to_rfc3339().into();
            event
        })
        .collect();
    let request = collector.client.post(format!("{}/api/v1/events", collector.url)).bearer_auth(&other);
    let shipped = request.header("Content-Type", "application/x-ndjson").body(ndjson(&events)).send().await.unwrap();
    assert_eq!(shipped.status(), 202);
    collector.delivered().await;
    collector.minutes(1).await;
    hook.wait(2).await;

    // The second project has no token any more.
    let state = State::open(dir.path()).unwrap();
    let gone = state.tokens().unwrap().into_iter().find(|token| token.project != "default").unwrap();
    state.revoke_token(&gone.id, 0).unwrap();
    limit(&collector, 17, 6, MINUTE / 2).await;
    collector.delivered().await;
    collector.minutes(1).await;
    let told = hook.wait(3).await;
    assert_eq!(
        (&told[2].body()["status"], &told[2].body()["project"]),
        (&"resolved".into(), &gone.project.as_str().into())
    );
    assert_eq!(collector.alerts().await["alerts"][0]["state"], "firing", "that of the other project goes on");

    // The rule is of other projects now: the alert of the first is nobody's either.
    let now = collector.now_ms.load(Ordering::Relaxed);
    collector.stop().await.unwrap();
    let collector = Collector::with_clock(rules("projects = ['shop']\n"), now).await;
    collector.minutes(1).await;
    let told = hook.wait(4).await;
    assert_eq!((&told[3].body()["status"], &told[3].body()["project"]), (&"resolved".into(), &"default".into()));
    collector.minutes(1).await;
    assert_eq!(hook.got().len(), 4, "once");
    collector.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_alert_whose_rule_is_gone_resolves_and_every_receiver_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let hook = Receiver::start().await;
    let with = |text: &str| with_rules(dir.path(), &format!("{text}{}", receiver("webhook", &hook.url)));
    let collector = Collector::with(with(RULE)).await;
    fire(&collector).await;
    hook.wait(1).await;
    let now = collector.now_ms.load(Ordering::Relaxed);
    collector.stop().await.unwrap();
    let collector = Collector::with_clock(with(&RULE.replace("'limited'", "'another'")), now).await;
    collector.minutes(1).await;
    eventually_resolved(&hook).await;
    assert_eq!(
        collector.metric("errata_alerts_firing{rule=\"another\"}").await,
        1.0,
        "the same account, by another rule"
    );
    collector.stop().await.unwrap();
}

async fn eventually_resolved(hook: &Receiver) {
    let began = Instant::now();
    loop {
        let got = hook.got();
        let of_rule = |name: &str| -> Vec<Value> {
            let own = got.iter().map(Got::body).filter(|body| body["rule"] == name);
            own.map(|body| body["status"].clone()).collect()
        };
        if of_rule("limited") == ["firing", "resolved"] && of_rule("another") == ["firing"] {
            return;
        }
        assert!(began.elapsed() < Duration::from_secs(20), "{got:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// A receiver that takes messages and never answers costs ten seconds an attempt: no other waits for it.
#[tokio::test(flavor = "multi_thread")]
async fn a_receiver_that_hangs_keeps_no_other_waiting() {
    let dir = tempfile::tempdir().unwrap();
    let [hanging, hook] = [Receiver::start().await, Receiver::start().await];
    hanging.answers(NOTHING);
    let receivers = named("hanging", &hanging.url, "repeat = '0s'") + &named("hook", &hook.url, "repeat = '0s'");
    let collector = collector(dir.path(), &receivers).await;
    // What account 18 does is of the minute after.
    limit(&collector, 18, 6, -3 * MINUTE / 2).await;
    fire(&collector).await;
    hanging.wait(1).await;
    collector.minutes(1).await;
    let told = hook.wait(2).await;
    assert_eq!(told[1].body()["labels"]["account"], "18");
    let failed = "errata_notifications_total{outcome=\"failed\",receiver=\"hanging\"}";
    assert_eq!((collector.metric(failed).await, hanging.got().len()), (0.0, 1), "it still hangs in its first attempt");
    collector.stop().await.unwrap();
}

/// Whoever cannot be reached is tried with one message, and the others wait with it.
#[tokio::test(flavor = "multi_thread")]
async fn who_cannot_be_reached_is_not_asked_for_each_message() {
    let dir = tempfile::tempdir().unwrap();
    // Nobody listens there any more.
    let address = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let collector = collector(dir.path(), &receiver("webhook", &format!("http://{address}"))).await;
    for account in [18, 19] {
        limit(&collector, account, 6, MINUTE / 2).await;
    }
    fire(&collector).await;
    let state = State::open(dir.path()).unwrap();
    let now_ms = collector.now_ms.load(Ordering::Relaxed);
    eventually("a pause", || state.due_messages(now_ms, 10).unwrap().is_empty()).await;
    let waiting = state.due_messages(i64::MAX, 10).unwrap();
    let attempts: u32 = waiting.iter().map(|row| row.attempts).sum();
    assert_eq!((waiting.len(), attempts), (3, 1), "{waiting:?}");
    collector.stop().await.unwrap();
}
