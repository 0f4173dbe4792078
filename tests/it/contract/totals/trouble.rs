//! What is acknowledged is on disk, and no row and no outage keeps the others from being stored.

use super::*;
use crate::{
    collector::config,
    contract::outage::{engine_pid, signal},
    faults::engine::Engine,
};

#[tokio::test(flavor = "multi_thread")]
async fn what_was_taken_without_clickhouse_is_stored_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let collector = Collector::with(without_clickhouse(dir.path())).await;
    assert_eq!(collector.report(&[total(9, 200, 5), total(8, 500, 1)]).await.0, 202);
    assert_eq!(collector.report(&[total(9, 200, 6)]).await.0, 202);
    assert_eq!(collector.metric("errata_totals_pending").await, 3.0);
    collector.stop().await.unwrap();
    let collector = Collector::start(dir.path()).await;
    collector.totals_delivered().await;
    assert_eq!(collector.requests().await, 7);
    collector.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_outage_of_clickhouse_delays_totals_and_loses_none() {
    let dir = tempfile::tempdir().unwrap();
    let collector = Collector::start(dir.path()).await;
    collector.reported(&[total(20, 200, 1)]).await;
    let pid = engine_pid(dir.path()).expect("an engine");
    signal(pid, "STOP");
    for minute in 1..=10 {
        assert_eq!(collector.report(&[total(minute, 200, 10), total(minute, 500, 1)]).await.0, 202);
    }
    assert!(collector.metric("errata_totals_pending").await >= 18.0);
    signal(pid, "KILL");
    // Corrected while the engine starts anew.
    assert_eq!(collector.report(&[total(1, 200, 30)]).await.0, 202);
    collector.totals_delivered().await;
    assert_eq!(collector.requests().await, 1 + 10 * 11 + 20);
    collector.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_total_that_clickhouse_refuses_is_set_aside_and_the_others_are_stored() {
    let (dir, data) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let engine = Engine::start(dir.path()).await;
    let mut config = config(data.path());
    config.clickhouse.url = Engine::url_through(engine.port());
    let collector = Collector::with(config).await;
    collector.reported(&[total(20, 200, 1)]).await;
    engine.run("ALTER TABLE errata.request_totals ADD CONSTRAINT unlucky CHECK count != 13").await;
    let totals: Vec<Value> = (1..=9).map(|minute| total(minute, 200, if minute == 4 { 13 } else { 10 })).collect();
    collector.reported(&totals).await;
    assert_eq!(collector.requests().await, 81);
    assert_eq!(collector.metric("errata_totals_refused_total").await, 1.0);
    assert_eq!(collector.metric("errata_totals_stored_total").await, 9.0);
    let files: Vec<_> = std::fs::read_dir(data.path().join("totals/refused")).unwrap().collect();
    assert_eq!(files.len(), 1);
    let file = std::fs::read(files[0].as_ref().unwrap().path()).unwrap();
    assert!(String::from_utf8_lossy(&file).contains("unlucky"), "{}", String::from_utf8_lossy(&file));
    // A table that has drifted is no total's fault: delivery waits.
    engine.run("ALTER TABLE errata.request_totals DROP CONSTRAINT unlucky").await;
    engine.run("ALTER TABLE errata.request_totals RENAME COLUMN count TO number").await;
    assert_eq!(collector.report(&[total(3, 200, 40)]).await.0, 202);
    let denied = "errata_insert_retries_total{reason=\"denied\"}";
    eventually("a refused insert", async || collector.metric(denied).await >= 2.0).await;
    assert_eq!(collector.metric("errata_totals_pending").await, 1.0);
    engine.run("ALTER TABLE errata.request_totals RENAME COLUMN number TO count").await;
    collector.totals_delivered().await;
    assert_eq!(collector.requests().await, 111);
    assert_eq!(collector.metric("errata_totals_refused_total").await, 1.0);
    collector.stop().await.unwrap();
}
