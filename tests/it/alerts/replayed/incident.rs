//! 14:00 to 14:12 on the second day: every request to one route answers 500.

use serde_json::Value;

use errata::state::State;

use super::stage::{FIRES, Playing, Stage, assert_between, fired, is_long, millis, speed};
use crate::faults::machine::{PATIENCE, eventually};

const ROUTE: &str = "/api/v1/writer/tasks/<int:pk>/generate_content/";

const INCIDENT_ENDS: &str = "14:12:00";

const FIRING: &str = "firing";
const RESOLVED: &str = "resolved";

/// The alerts of the incident: in the long version the burn rate sees it too.
fn alerts() -> &'static [&'static str] {
    if is_long() { &["server-error-count", "server-errors"] } else { &["server-error-count"] }
}

/// Each of these alerts was told once that it fires and once that it has resolved, and nothing else was.
#[track_caller]
fn assert_told_once(stage: &Stage, alerts: &[&str]) {
    let mut told = stage.told();
    told.sort();
    let once = alerts.iter().flat_map(|name| [FIRING, RESOLVED].map(|status| ((*name).to_owned(), status.to_owned())));
    assert_eq!(told, once.collect::<Vec<_>>());
}

/// When the alert of the count fired and resolved, by the capture's clock. It takes 50 errors in five minutes, at 45 a minute, for two
/// minutes; the last five minutes have less than 50 four minutes after the end, or when there are data again (`known_from`) if that is later.
async fn assert_times(stage: &Stage, playing: &Playing, known_from: &str) {
    let changes = stage.changes().await;
    let of = |name: &str| -> Vec<_> { changes.iter().filter(|[rule, ..]| rule == name).collect() };
    let between = |what: &str, at: &str, from: &str, to: &str| {
        assert_between(what, &playing.captured(at), from, &playing.at_latest(to));
    };
    let count = of("server-error-count");
    let [pending, firing, resolved] = count[..] else { panic!("{changes:?}") };
    assert_eq!([&pending[1], &firing[1], &resolved[1]], ["pending", FIRING, RESOLVED]);
    between("fired", &firing[2], "14:02:00", "14:12:00");
    between("resolved", &resolved[2], "14:13:00", known_from.max("14:18:00"));
    if let [[.., fired], [.., resolved]] = of("server-errors")[..] {
        between("the burn rate fired", fired, "14:02:00", "14:17:00");
        between("the burn rate resolved", resolved, "14:37:00", known_from.max("14:57:00"));
    }
    assert_eq!(changes.len(), 3 + 2 * usize::from(is_long()), "{changes:?}");
}

/// What Alertmanager was given to tell.
fn assert_evidence(alert: &Value) {
    let note = |name: &str| alert["annotations"][name].as_str().unwrap_or_else(|| panic!("no {name}: {alert}"));
    assert_eq!((&alert["labels"]["route"], &alert["labels"]["service"]), (&ROUTE.into(), &"igny8-api".into()));
    assert!(note("summary").contains("5xx a minute") && note("summary").contains("accounts"), "{alert}");
    assert!(note("routes").contains(&format!("500 igny8-api {ROUTE}")), "{alert}");
    assert_eq!(note("accounts").split(';').count(), 3);
    assert_eq!(note("requests").split(' ').count(), 5);
    assert!(note("release").starts_with("2026.11.1 → 2026.11.2 at "), "{alert}");
    assert!(note("events").contains("/explore?") && !note("first_seen").is_empty(), "{alert}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_incident_is_told_once_by_our_rules_and_by_prometheus_and_nothing_is_told_of_the_hour_around() {
    let stage = Stage::start(speed(60)).await;
    let Some(_alertmanager) = stage.alertmanager().await else { return };
    let Some(prometheus) = stage.prometheus().await else { return };
    let begin = if is_long() { "2026-11-18T13:20:00Z" } else { "2026-11-18T13:40:00Z" };
    let mut playing = stage.play(begin, "2026-11-18T14:50:00Z").await;
    playing.until("13:59:00").await;
    assert_eq!((stage.told(), stage.changes().await), (Vec::new(), Vec::new()), "the time before is quiet");
    assert_eq!(fired(&prometheus, &playing).await, Vec::new());
    stage.until_told(1).await;
    assert_evidence(&stage.hook.got()[0].body()["alerts"][0]);
    stage.until_told(2 * alerts().len()).await;
    playing.ended().await;
    assert_told_once(&stage, alerts());
    assert_times(&stage, &playing, INCIDENT_ENDS).await;

    // 14.4 times the objective's 1.7 % of an hour and of five minutes, or 6 times of six hours and of thirty minutes.
    eventually("Prometheus' alert ends", PATIENCE, async || prometheus.query(FIRES).await.is_empty()).await;
    let fired = fired(&prometheus, &playing).await;
    let [(name, first, last)] = &fired[..] else { panic!("{fired:?}") };
    assert_eq!(name, "ErrataErrorBudgetBurnFast");
    assert_between("Prometheus fired", first, "14:00:30", &playing.at_latest("14:08:00"));
    assert_between("Prometheus fired last", last, "14:13:00", &playing.at_latest("14:48:00"));
}

#[tokio::test(flavor = "multi_thread")]
async fn without_clickhouse_for_ten_minutes_of_the_incident_nothing_resolves_and_nothing_fires_twice() {
    let stage = Stage::start(speed(30)).await;
    let Some(_alertmanager) = stage.alertmanager().await else { return };
    let playing = stage.play("2026-11-18T13:57:00Z", "2026-11-18T14:30:00Z").await;
    // All that is to fire does: without data, what is pending would pass with the incident.
    stage.until_told(alerts().len()).await;
    let before = stage.changes().await;
    stage.rig.engine.kill();
    let killed_ms = chrono::Utc::now().timestamp_millis();
    let mut frozen = String::new();
    let mut looks = 0;
    eventually("ten minutes are over", PATIENCE * 5, async || {
        let alerts = stage.collector.get("/api/v1/alerts").await;
        assert_eq!(alerts["alerts"][0]["state"], FIRING, "{alerts}");
        frozen = alerts["frozen"].as_str().unwrap_or_default().to_owned();
        looks += usize::from(!frozen.is_empty());
        chrono::Utc::now().timestamp_millis() - killed_ms >= 600_000 / stage.speed
    })
    .await;
    assert!(looks > 10 && frozen.starts_with("frozen: no data since "), "{looks}: {frozen:?}");
    let since = millis(frozen.split(' ').nth(4).unwrap());
    assert!((killed_ms - 30_000..=killed_ms + 1000).contains(&since), "{frozen}: it was killed at {killed_ms}");
    assert_eq!(stage.changes().await, before, "nothing moves while nothing is known");

    stage.rig.engine.revive().await;
    eventually("the evaluation goes on", PATIENCE, async || {
        stage.collector.get("/api/v1/alerts").await["frozen"].is_null()
    })
    .await;
    let known_from = playing.captured_ms(chrono::Utc::now().timestamp_millis());
    stage.until_told(2 * alerts().len()).await;
    assert_told_once(&stage, alerts());
    assert_times(&stage, &playing, &known_from).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_alertmanager_that_was_away_is_told_later_and_after_a_crash_in_between_the_same_again() {
    let mut stage = Stage::start(speed(30)).await;
    let playing = stage.play("2026-11-18T13:57:00Z", "2026-11-18T14:15:00Z").await;
    let failed = "errata_notifications_total{outcome=\"failed\",receiver=\"alertmanager\"}";
    eventually("a message cannot be delivered", PATIENCE * 5, async || stage.collector.metric(failed).await > 0.0)
        .await;

    // It comes back; but its first answer does not arrive, and the collector is killed before it can forget the message.
    stage.gate.mute();
    let Some(alertmanager) = stage.alertmanager().await else { return };
    stage.until_told(1).await;
    stage.collector.kill();
    let told = alertmanager.alerts().await;
    let state = State::open(&stage.rig.setup.data_dir).unwrap();
    let waiting = state.due_messages(i64::MAX, 10).unwrap();
    assert!(!waiting.is_empty() && !told.is_empty(), "{waiting:?} {told:?}");
    stage.gate.pass();
    stage.collector = stage.rig.setup.start().await;
    let sent = "errata_notifications_total{outcome=\"sent\",receiver=\"alertmanager\"}";
    eventually("the message is delivered again", PATIENCE, async || stage.collector.metric(sent).await > 0.0).await;
    let again = alertmanager.alerts().await;
    let of = |alerts: &[Value]| -> Vec<_> {
        alerts.iter().map(|alert| (alert["fingerprint"].clone(), alert["startsAt"].clone())).collect()
    };
    assert!(of(&told).iter().all(|alert| of(&again).contains(alert)), "the same again: {told:?} {again:?}");
    stage.until_told(2 * alerts().len()).await;
    assert_told_once(&stage, alerts());
    assert_times(&stage, &playing, INCIDENT_ENDS).await;
    // The collector forgets a message after it was told.
    eventually("nothing is left", PATIENCE, async || state.due_messages(i64::MAX, 10).unwrap().is_empty()).await;
}
