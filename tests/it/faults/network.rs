//! Rows about the way to ClickHouse: what is lost, late, cut or untrue on it.

use std::time::{Duration, Instant};

use super::{
    checker::check,
    collector::Setup,
    engine::Engine,
    machine::{PATIENCE, eventually, is_long, times},
    proxy::{Fault, Proxy},
    rig::Rig,
};

/// Has each fault happen to a batch of its own, and then compares.
async fn faults_cost_nothing(row: &str, what: &str, faults: Vec<Fault>) {
    let rig = Rig::start().await;
    let collector = rig.collector().await;
    let total = faults.len();
    for fault in faults {
        rig.proxy.plan([fault]);
        rig.ship(20).await;
        eventually("the fault has happened", PATIENCE, async || rig.proxy.planned() == 0).await;
        collector.delivered().await;
    }
    assert!(collector.metric("errata_insert_retries_total").await >= 1.0, "no fault was noticed");
    let rows = rig.engine.number("SELECT count() FROM errata.events").await;
    rig.check(&collector, row, &format!("{total} {what}")).await;
    assert_eq!(rows, rig.ledger.acknowledged_count() as u64, "rows in the table itself");
}

/// Row 21 · The answer to an insert is swallowed: reconciled by counting, no duplicate, not even in the table.
#[tokio::test(flavor = "multi_thread")]
async fn row_21_a_swallowed_answer_is_reconciled() {
    faults_cost_nothing("21", "swallowed answers", vec![Fault::CutAnswer(0); times(3, 30)]).await;
}

/// Row 22 · The connection is cut after N bytes of the request: reconciled, no duplicate.
#[tokio::test(flavor = "multi_thread")]
async fn row_22_a_request_that_is_cut_is_sent_again() {
    let every = if is_long() { 150 } else { 1500 };
    faults_cost_nothing(
        "22",
        "requests cut after N bytes",
        (1..10_000).step_by(every).map(Fault::CutRequest).collect(),
    )
    .await;
}

/// Row 22 · The connection is cut after N bytes of the answer: reconciled, no duplicate.
#[tokio::test(flavor = "multi_thread")]
async fn row_22_an_answer_that_is_cut_is_reconciled() {
    let every = if is_long() { 10 } else { 100 };
    faults_cost_nothing("22", "answers cut after N bytes", (1..400).step_by(every).map(Fault::CutAnswer).collect())
        .await;
}

/// Row 23 · Nothing passes for a while, and then the connection ends: reconciled, no duplicate.
#[tokio::test(flavor = "multi_thread")]
async fn row_23_a_connection_that_hangs_is_given_up() {
    // The long one outlasts the collector's own patience for the answer to an insert, 120 s.
    let hangs = if is_long() { vec![500, 2000, 125_000] } else { vec![300, 1000] };
    faults_cost_nothing(
        "23",
        "hanging connections",
        hangs.into_iter().map(Duration::from_millis).map(Fault::Hang).collect(),
    )
    .await;
}

/// Row 23 · ClickHouse hangs as a whole (SIGSTOP) under load: events are taken meanwhile, reconciled afterwards, no duplicate.
#[tokio::test(flavor = "multi_thread")]
async fn row_23_a_frozen_clickhouse_loses_and_doubles_nothing() {
    let rig = Rig::start().await;
    let collector = rig.collector().await;
    let load = rig.load().start(&rig.ledger);
    let freezes = times(2, 20);
    for _ in 0..freezes {
        load.acknowledged(50).await;
        rig.engine.freeze();
        load.acknowledged(200).await;
        assert!(collector.is_ready().await, "an outage of ClickHouse does not make the collector unready");
        rig.engine.thaw();
    }
    load.stop().await;
    rig.check(&collector, "23", &format!("{freezes} times SIGSTOP")).await;
}

/// Row 23 · A server that accepts connections and says nothing: events are taken meanwhile, reconciled afterwards.
#[tokio::test(flavor = "multi_thread")]
async fn row_23_a_server_that_accepts_and_says_nothing() {
    let rig = Rig::start().await;
    let collector = rig.collector().await;
    let load = rig.load().start(&rig.ledger);
    let hangs = times(2, 20);
    for _ in 0..hangs {
        load.acknowledged(50).await;
        rig.proxy.hang();
        load.acknowledged(200).await;
        rig.proxy.pass();
    }
    load.stop().await;
    rig.check(&collector, "23", &format!("{hangs} times silence")).await;
}

/// Row 23 · An answer that comes late is waited for, and nothing is sent twice.
#[tokio::test(flavor = "multi_thread")]
async fn row_23_a_late_answer_is_waited_for() {
    let rig = Rig::start().await;
    let collector = rig.collector().await;
    let before = rig.proxy.inserts();
    rig.proxy.plan([Fault::Delay(Duration::from_millis(1500))]);
    rig.ship(20).await;
    rig.check(&collector, "23", "1 late answer").await;
    assert_eq!(rig.proxy.inserts(), before + 1);
}

/// Row 28 · HTTP 200 with an exception inside: a failure, and the rows are sent again.
#[tokio::test(flavor = "multi_thread")]
async fn row_28_a_200_with_an_exception_inside_is_a_failure() {
    const WITH_HEADER: &str = "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nX-ClickHouse-Exception-Code: 241\r\nContent-Length: 62\r\n\r\n\
        Code: 241. DB::Exception: Memory limit (total) exceeded. (NO)\n";
    const IN_CHUNKS: &str = "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nTransfer-Encoding: chunked\r\n\r\n\
        3e\r\nCode: 241. DB::Exception: Memory limit (total) exceeded. (NO)\n\r\n0\r\n\r\n";
    const SILENT: &str = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
    let answers = [WITH_HEADER, IN_CHUNKS, SILENT].map(Fault::Answer);
    faults_cost_nothing("28", "untrue 200s", answers.to_vec()).await;
}

/// Row 19 · ClickHouse is down for long at full load: everything is queued, and then drained at 3 times the ingest rate or more,
/// while new events go on coming.
#[tokio::test(flavor = "multi_thread")]
async fn row_19_an_outage_is_queued_and_drained_at_three_times_the_ingest_rate() {
    let rig = Rig::start().await;
    let collector = rig.collector().await;
    rig.proxy.refuse();
    let mut load = rig.load();
    (load.clients, load.batch, load.pause) = (4, 50, Duration::from_millis(100));
    let load = load.start(&rig.ledger);
    let (began, before) = (Instant::now(), rig.ledger.acknowledged_count());
    load.acknowledged(times(6_000, 60_000)).await;
    let rate = (rig.ledger.acknowledged_count() - before) as f64 / began.elapsed().as_secs_f64();
    let backlog = collector.metric("errata_spool_events").await;
    assert!(backlog >= 6_000.0, "{backlog} queued");
    // From the first batch on: before it, delivery rests between attempts.
    let queued = async || collector.metric("errata_spool_events").await;
    rig.proxy.pass();
    eventually("delivery goes on", PATIENCE, async || queued().await < backlog).await;
    let (drains, stored) = (Instant::now(), collector.metric("errata_insert_events_total").await);
    eventually("the backlog is gone", PATIENCE, async || queued().await < 1_000.0).await;
    let drained = collector.metric("errata_insert_events_total").await;
    let speed = (drained - stored) / drains.elapsed().as_secs_f64();
    println!("ingest {rate:.0}/s, backlog {backlog}, first batch {stored}, then {speed:.0}/s");
    load.stop().await;
    rig.check(&collector, "19", "1 outage").await;
    assert!(stored >= backlog || speed >= 3.0 * rate, "drained at {speed:.0}/s only, at an ingest of {rate:.0}/s");
}

/// Row 20 · ClickHouse is killed in the middle of an insert: each event once.
#[tokio::test(flavor = "multi_thread")]
async fn row_20_clickhouse_killed_in_the_middle_of_an_insert() {
    let rig = Rig::start().await;
    let collector = rig.collector().await;
    let kills = times(3, 50);
    let mut random = super::machine::random();
    let mut load = rig.load();
    (load.batch, load.pause) = (20, Duration::from_millis(50));
    let load = load.start(&rig.ledger);
    for _ in 0..kills {
        load.acknowledged(100).await;
        let inserts = rig.proxy.inserts();
        eventually("an insert is under way", PATIENCE, async || rig.proxy.inserts() > inserts).await;
        tokio::time::sleep(random.millis(0, 15)).await;
        rig.engine.kill();
        load.acknowledged(100).await;
        rig.engine.revive().await;
        // Killed at every attempt, it would never take anything, and the spool would fill.
        let stored = collector.metric("errata_insert_events_total").await;
        eventually("delivery goes on", PATIENCE, async || {
            collector.metric("errata_insert_events_total").await > stored
        })
        .await;
    }
    load.stop().await;
    rig.check(&collector, "20", &format!("{kills} kills of ClickHouse")).await;
}

/// Row 27 · The first of several replicas cannot be reached: the next one is used, and what comes while it too is away is queued.
#[tokio::test(flavor = "multi_thread")]
async fn row_27_an_unreachable_replica_loses_nothing() {
    let rig = Rig::start().await;
    let dead = Proxy::start(rig.engine.port()).await;
    dead.refuse();
    let urls = format!("{},{}", Engine::url_through(dead.port()), Engine::url_through(rig.proxy.port()));
    let setup: Setup = rig.setup.clone().with("ERRATA_CLICKHOUSE__URL", &urls);
    let collector = setup.start().await;
    rig.ship(20).await;
    collector.delivered().await;
    rig.proxy.refuse();
    rig.ship(20).await;
    eventually("the outage is noticed", PATIENCE, async || collector.metric("errata_clickhouse_up").await == 0.0).await;
    assert!(collector.is_ready().await);
    rig.proxy.pass();
    let verdict = check(&collector, &rig.ledger).await;
    verdict.report("27", "1 replica dead, 1 outage of the other");
    verdict.assert_kept();
}
