//! Rows about processes that end, or should not begin.

use std::{os::unix::process::ExitStatusExt, time::Duration};

use rustix::process::{Pid, Resource, Rlimit};

use super::{
    collector::Collector,
    machine::{PATIENCE, eventually, random, times},
    rig::Rig,
};

/// Row 1 · kill -9 of the collector under load, at random times: no acknowledged event is lost, none is visible twice.
#[tokio::test(flavor = "multi_thread")]
async fn row_01_kill_9_under_load() {
    let rig = Rig::start().await;
    let mut random = random();
    let mut collector = rig.collector().await;
    let load = rig.load().start(&rig.ledger);
    let kills = times(4, 50);
    for _ in 0..kills {
        load.acknowledged(60).await;
        tokio::time::sleep(random.millis(0, 400)).await;
        collector.kill();
        collector = rig.setup.start().await;
    }
    load.acknowledged(60).await;
    load.stop().await;
    rig.check(&collector, "1", &format!("{kills} kills of the collector")).await;
}

/// Row 1 · The same with ClickHouse killed beside the collector, each at its own time.
#[tokio::test(flavor = "multi_thread")]
async fn row_01_kill_9_of_collector_and_clickhouse() {
    let rig = Rig::start().await;
    let mut random = random();
    let mut collector = rig.collector().await;
    let load = rig.load().start(&rig.ledger);
    let kills = times(3, 50);
    for _ in 0..kills {
        load.acknowledged(60).await;
        tokio::time::sleep(random.millis(0, 300)).await;
        rig.engine.kill();
        tokio::time::sleep(random.millis(0, 300)).await;
        collector.kill();
        rig.engine.revive().await;
        collector = rig.setup.start().await;
    }
    load.stop().await;
    rig.check(&collector, "1", &format!("{kills} kills of both")).await;
}

/// Row 5 · A second and a third crash while the first is being recovered from: the same set is recovered.
#[tokio::test(flavor = "multi_thread")]
async fn row_05_kill_9_during_recovery() {
    let rig = Rig::start().await;
    let mut random = random();
    let mut collector = rig.collector().await;
    // A backlog of some segments makes recovery long enough to be met.
    rig.proxy.refuse();
    let mut load = rig.load();
    (load.batch, load.padding) = (50, 1000);
    let load = load.start(&rig.ledger);
    load.acknowledged(2500).await;
    collector.kill();
    load.stop().await;
    let kills = times(5, 50);
    for _ in 0..kills {
        let mut starting = rig.setup.spawn();
        tokio::time::sleep(random.millis(1, 250)).await;
        starting.kill();
    }
    rig.proxy.pass();
    let collector = rig.setup.start().await;
    rig.check(&collector, "5", &format!("{kills} kills during recovery")).await;
}

/// Row 17 · Out of memory under load: an allocation that fails aborts the collector, and then it is as after kill -9. (The kernel's
/// own killer sends SIGKILL: that is row 1.)
#[tokio::test(flavor = "multi_thread")]
async fn row_17_out_of_memory_is_a_crash_like_another() {
    let rig = Rig::start().await;
    let mut collector = rig.collector().await;
    let deaths = times(2, 20);
    for _ in 0..deaths {
        let mut load = rig.load();
        // Larger than what the allocator keeps: each body is asked of the system.
        (load.batch, load.padding) = (50, 200_000);
        let load = load.start(&rig.ledger);
        load.acknowledged(100).await;
        let pid = Pid::from_raw(collector.pid() as i32);
        let none_more = Rlimit { current: Some(1 << 20), maximum: None };
        rustix::process::prlimit(pid, Resource::As, none_more).unwrap();
        let status = collector.ended().await;
        assert!(status.signal().is_some() || !status.success(), "it cannot end well: {status}");
        load.stop().await;
        collector = rig.setup.start().await;
    }
    rig.check(&collector, "17", &format!("{deaths} deaths for want of memory")).await;
}

/// Row 18 · Two processes on one data directory: the second refuses, names the first, and does not disturb it.
#[tokio::test(flavor = "multi_thread")]
async fn row_18_a_second_process_refuses() {
    let rig = Rig::start().await;
    let collector = rig.collector().await;
    let load = rig.load().start(&rig.ledger);
    for _ in 0..3 {
        let mut other = rig.setup.clone();
        other.url = format!("http://127.0.0.1:{}", super::machine::free_port());
        other.log = rig.dir.path().join("other.log");
        let mut second = other.spawn();
        second.failed().await;
        let said = second.log();
        assert!(said.contains("in use") && said.contains(&collector.pid().to_string()), "{said}");
    }
    load.acknowledged(50).await;
    load.stop().await;
    rig.check(&collector, "18", "3 second processes").await;
}

/// Row 33 · SIGTERM under load: it ends well and in time, and keeps or delivers everything.
#[tokio::test(flavor = "multi_thread")]
async fn row_33_sigterm_under_load() {
    let rig = Rig::start().await;
    let mut collector = rig.collector().await;
    let load = rig.load().start(&rig.ledger);
    let ends = times(3, 30);
    for _ in 0..ends {
        load.acknowledged(100).await;
        end_well(collector).await;
        collector = rig.setup.start().await;
    }
    load.stop().await;
    rig.check(&collector, "33", &format!("{ends} times SIGTERM")).await;
}

/// Row 33 · SIGTERM under load while ClickHouse is away: what cannot be delivered is kept.
#[tokio::test(flavor = "multi_thread")]
async fn row_33_sigterm_without_clickhouse_keeps_all() {
    let rig = Rig::start().await;
    let collector = rig.collector().await;
    rig.proxy.refuse();
    let load = rig.load().start(&rig.ledger);
    load.acknowledged(300).await;
    end_well(collector).await;
    load.stop().await;
    rig.proxy.pass();
    let collector = rig.setup.start().await;
    rig.check(&collector, "33", "1 SIGTERM without ClickHouse").await;
}

async fn end_well(collector: Collector) {
    let log = collector.setup.log.clone();
    let (status, took) = collector.terminate().await;
    assert!(status.success(), "{status}: {}", std::fs::read_to_string(log).unwrap_or_default());
    // 10 s for open requests, and 10 s for delivery.
    assert!(took < Duration::from_secs(25), "SIGTERM took {took:?}");
}

/// Row 16 · Out of file descriptors under load, through several new segments: nothing is lost, and it recovers by itself.
#[tokio::test(flavor = "multi_thread")]
async fn row_16_out_of_file_descriptors_recovers() {
    let rig = Rig::start().await;
    let mut collector = rig.collector().await;
    let mut load = rig.load();
    (load.batch, load.padding) = (20, 2000);
    let load = load.start(&rig.ledger);
    load.acknowledged(100).await;
    let rounds = times(1, 10);
    for _ in 0..rounds {
        let pid = Pid::from_raw(collector.pid() as i32);
        let limit = |files| Rlimit { current: Some(files), maximum: Some(20_000) };
        // None that are open are taken away; none can be added.
        let before = rustix::process::prlimit(pid, Resource::Nofile, limit(3)).unwrap();
        let refused = async || {
            assert!(!collector.has_ended(), "the collector ended: {}", collector.log());
            let text = std::fs::read_to_string(&rig.setup.log).unwrap();
            text.contains("Too many open files")
        };
        eventually("it runs out of files", PATIENCE, refused).await;
        load.acknowledged(1500).await;
        rustix::process::prlimit(pid, Resource::Nofile, before).unwrap();
        load.acknowledged(200).await;
    }
    load.stop().await;
    rig.check(&collector, "16", &format!("{rounds} times no descriptors")).await;
}
