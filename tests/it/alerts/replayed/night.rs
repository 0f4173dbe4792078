//! What is no incident: an account that hammers a limit (a page), and a stranger's login burst (none).

use super::stage::{FIRES, Stage, assert_between, fired, speed};
use crate::faults::machine::{PATIENCE, eventually};

#[tokio::test(flavor = "multi_thread")]
async fn the_hammering_account_is_told_once_and_the_login_burst_never() {
    let stage = Stage::start(speed(30)).await;
    let Some(_alertmanager) = stage.alertmanager().await else { return };
    let Some(prometheus) = stage.prometheus().await else { return };
    // 28 × 429 in 52 seconds, of no account.
    let mut burst = stage.play("2026-11-18T02:12:00Z", "2026-11-18T02:18:00Z").await;
    burst.ended().await;
    eventually("the burst is evaluated", PATIENCE, async || {
        let alerts = stage.collector.get("/api/v1/alerts").await;
        alerts["evaluated_at"].as_str().is_some_and(|at| burst.captured(at).as_str() > "02:18:00")
    })
    .await;
    assert_eq!(stage.collector.metric("errata_rate_limited_total").await, 28.0);
    assert_eq!((stage.told(), stage.changes().await), (Vec::new(), Vec::new()), "the burst is no episode");
    assert_eq!(fired(&prometheus, &burst).await, Vec::new());

    let mut playing = stage.play("2026-11-17T09:27:00Z", "2026-11-17T10:00:00Z").await;
    stage.until_told(2).await;
    let [firing, resolved] = stage.hook.got().try_into().unwrap();
    let alert = &firing.body()["alerts"][0];
    assert_eq!((&alert["labels"]["alertname"], &alert["labels"]["account"]), (&"rate-limited".into(), &"17".into()));
    assert!(alert["annotations"]["accounts"].as_str().unwrap().starts_with("17 ("), "{alert}");
    assert!(alert["annotations"]["accounts"].as_str().unwrap().ends_with(" events, 100 %)"), "{alert}");
    assert!(alert["annotations"]["routes"].as_str().unwrap().contains("auto_cluster"), "{alert}");
    assert_eq!((&firing.body()["status"], &resolved.body()["status"]), (&"firing".into(), &"resolved".into()));
    let changes = stage.changes().await;
    let [begun, ended] = &changes[..] else { panic!("{changes:?}") };
    // 60 refusals come within 40 seconds; of five minutes, the last 40 seconds have no 60 any more.
    assert_between("fired", &playing.captured(&begun[2]), "09:30:30", &playing.at_latest("09:37:00"));
    assert_between("resolved", &playing.captured(&ended[2]), "09:53:00", &playing.at_latest("10:03:00"));

    playing.ended().await;
    eventually("Prometheus' alert ends", PATIENCE, async || prometheus.query(FIRES).await.is_empty()).await;
    assert_eq!(stage.told().len(), 2, "nothing else");
    let all = fired(&prometheus, &playing).await;
    let [(name, first, last)] = &all[..] else { panic!("{all:?}") };
    assert_eq!(name, "ErrataRateLimitedSurge");
    assert_between("Prometheus fired", first, "09:31:00", &playing.at_latest("09:40:00"));
    assert_between("Prometheus fired last", last, "09:50:00", &playing.at_latest("10:02:00"));
}
