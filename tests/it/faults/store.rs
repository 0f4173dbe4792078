//! Rows about ClickHouse itself: what it forgets, refuses, or was changed to.

use super::{
    machine::{PATIENCE, eventually, times},
    proxy::Fault,
    rig::Rig,
};

const RETRIES: &str = "errata_insert_retries_total";

/// Row 24 · ClickHouse loses its deduplication log while it is unknown whether a batch is stored: no duplicate, not even in the table.
#[tokio::test(flavor = "multi_thread")]
async fn row_24_a_lost_deduplication_log() {
    let rig = Rig::start().await;
    let collector = rig.collector().await;
    let losses = times(2, 20);
    for _ in 0..losses {
        rig.proxy.plan([Fault::CutAnswer(0)]);
        rig.ship(20).await;
        eventually("the answer is swallowed", PATIENCE, async || rig.proxy.planned() == 0).await;
        rig.engine.kill();
        assert!(rig.engine.forget_deduplication() > 0, "it has a log to lose");
        rig.engine.revive().await;
        collector.delivered().await;
    }
    let rows = rig.engine.number("SELECT count() FROM errata.events").await;
    rig.check(&collector, "24", &format!("{losses} lost deduplication logs")).await;
    assert_eq!(rows, rig.ledger.acknowledged_count() as u64, "rows in the table itself");
}

/// Row 25 · TOO_MANY_PARTS: delivery slows, events are taken all the while, and nothing is lost.
#[tokio::test(flavor = "multi_thread")]
async fn row_25_too_many_parts_slows_and_loses_nothing() {
    let rig = Rig::start().await;
    let collector = rig.collector().await;
    rig.engine.run("SYSTEM STOP MERGES errata.events").await;
    rig.engine
        .run("ALTER TABLE errata.events MODIFY SETTING parts_to_throw_insert = 1, parts_to_delay_insert = 1")
        .await;
    let load = rig.load().start(&rig.ledger);
    let overloaded = format!("{RETRIES}{{reason=\"overloaded\"}}");
    eventually("an insert is refused", PATIENCE, async || collector.metric(&overloaded).await >= 2.0).await;
    load.acknowledged(100).await;
    let inserts = rig.proxy.inserts();
    load.acknowledged(200).await;
    assert!(rig.proxy.inserts() <= inserts + 2, "it does not slow down");
    rig.engine
        .run("ALTER TABLE errata.events MODIFY SETTING parts_to_throw_insert = 3000, parts_to_delay_insert = 1000")
        .await;
    rig.engine.run("SYSTEM START MERGES errata.events").await;
    load.stop().await;
    rig.check(&collector, "25", "1 time too many parts").await;
}

/// Row 26 · A row that ClickHouse will not take: that row alone is quarantined; delivered again after the table was mended, it is there.
#[tokio::test(flavor = "multi_thread")]
async fn row_26_a_poison_row_is_quarantined_alone() {
    let rig = Rig::start().await;
    let collector = rig.collector().await;
    rig.engine.run("ALTER TABLE errata.events ADD CONSTRAINT poison CHECK NOT endsWith(if(request_text = '', toString(request_uuid), request_text), '0003')").await;
    rig.ship(20).await;
    collector.delivered().await;
    assert_eq!(collector.metric("errata_books_imbalance_events").await, 0.0);
    let quarantined = collector.get("/api/v1/quarantine").await;
    let entries = quarantined.as_array().unwrap();
    assert_eq!(entries.len(), 1, "{quarantined}");
    assert!(entries[0]["request_id"].as_str().unwrap().ends_with("0003"), "{quarantined}");
    rig.engine.run("ALTER TABLE errata.events DROP CONSTRAINT poison").await;
    let retry = format!("/api/v1/quarantine/{}/retry", entries[0]["id"].as_str().unwrap());
    collector.post(&retry, &serde_json::Value::Null).await;
    rig.check(&collector, "26", "1 poison row").await;
}

/// Row 26 · The table has drifted from the schema: no row is to blame and none is quarantined; delivery waits until it is mended.
#[tokio::test(flavor = "multi_thread")]
async fn row_26_a_drifted_table_costs_no_row() {
    let rig = Rig::start().await;
    let collector = rig.collector().await;
    rig.engine.run("ALTER TABLE errata.events RENAME COLUMN host TO machine").await;
    let load = rig.load().start(&rig.ledger);
    let denied = format!("{RETRIES}{{reason=\"denied\"}}");
    eventually("an insert is refused", PATIENCE, async || collector.metric(&denied).await >= 2.0).await;
    load.acknowledged(50).await;
    assert!(collector.is_ready().await);
    assert_eq!(collector.get("/api/v1/quarantine").await, serde_json::json!([]));
    rig.engine.run("ALTER TABLE errata.events RENAME COLUMN machine TO host").await;
    load.stop().await;
    rig.check(&collector, "26", "1 drifted table").await;
}
