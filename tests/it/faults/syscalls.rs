//! Rows about system calls that fail, are interrupted, or take their time: strace on the thread that writes the spool.

use std::time::{Duration, Instant};

use super::{
    machine::{PATIENCE, Tracer, eventually, times},
    rig::Rig,
};

/// The thread that writes the spool.
const SPOOL: &str = "spool";

/// Has system calls of the spool fail under load: the collector ends, with an error, and acknowledges nothing of it. Then compares.
async fn a_failure_ends_the_collector(row: &str, rules: &[&str]) {
    let rig = Rig::start().await;
    let mut collector = rig.collector().await;
    for rule in rules {
        let load = rig.load().start(&rig.ledger);
        load.acknowledged(50).await;
        let Some(tracer) = Tracer::attach(collector.pid(), SPOOL, &[rule]) else { return load.stop().await };
        collector.failed().await;
        drop(tracer);
        assert!(collector.log().contains("the spool failed"), "{}", collector.log());
        collector = rig.setup.start().await;
        load.acknowledged(20).await;
        load.stop().await;
    }
    rig.check(&collector, row, &format!("{} failures such as {}", rules.len(), rules[0])).await;
}

/// Row 6 · EIO on fdatasync: no ack, the process ends non-zero, the next start recovers.
#[tokio::test(flavor = "multi_thread")]
async fn row_06_eio_on_fdatasync_ends_the_process() {
    let rules: Vec<String> = (1..=times(2, 12)).map(|n| format!("fdatasync:error=EIO:when={n}")).collect();
    a_failure_ends_the_collector("6", &rules.iter().map(String::as_str).collect::<Vec<_>>()).await;
}

/// Row 6 · EIO on write: the same.
#[tokio::test(flavor = "multi_thread")]
async fn row_06_eio_on_write_ends_the_process() {
    a_failure_ends_the_collector("6", &["pwrite64:error=EIO:when=2"]).await;
}

/// Row 7 · ENOSPC on write: 503, earlier acknowledgements are safe, and it recovers by itself.
#[tokio::test(flavor = "multi_thread")]
async fn row_07_enospc_on_write_is_refused_and_passes() {
    let rig = Rig::start().await;
    let collector = rig.collector().await;
    let load = rig.load().start(&rig.ledger);
    load.acknowledged(50).await;
    let Some(tracer) = Tracer::attach(collector.pid(), SPOOL, &["pwrite64:error=ENOSPC"]) else {
        return load.stop().await;
    };
    eventually("requests are refused", PATIENCE, async || rig.ledger.answers("503") >= 8).await;
    let during = rig.ledger.acknowledged_count();
    eventually("more are refused", PATIENCE, async || rig.ledger.answers("503") >= 16).await;
    assert_eq!(rig.ledger.acknowledged_count(), during, "nothing can be written, and something is acknowledged");
    drop(tracer);
    load.acknowledged(50).await;
    load.stop().await;
    rig.check(&collector, "7", "1 time ENOSPC").await;
}

/// Row 9 · EINTR on every second write and sync, and on reads of the spool: nothing is lost, and nobody notices.
#[tokio::test(flavor = "multi_thread")]
async fn row_09_an_eintr_storm_is_not_noticed() {
    let rig = Rig::start().await;
    let collector = rig.collector().await;
    let load = rig.load().start(&rig.ledger);
    load.acknowledged(20).await;
    let storm = ["pwrite64", "fdatasync", "fsync", "openat", "pread64", "ftruncate"];
    let storm: Vec<String> = storm.iter().map(|call| format!("{call}:error=EINTR:when=1+2")).collect();
    let storm: Vec<&str> = storm.iter().map(String::as_str).collect();
    let Some(writer) = Tracer::attach(collector.pid(), SPOOL, &storm) else { return load.stop().await };
    let Some(reader) = Tracer::attach(collector.pid(), "deliver", &storm) else { return load.stop().await };
    load.acknowledged(times(200, 5000)).await;
    load.stop().await;
    collector.delivered().await;
    drop((writer, reader));
    assert_eq!(rig.ledger.answers("503"), 0);
    rig.check(&collector, "9", "1 storm of EINTR").await;
}

/// Row 14 · A disk that takes 100 ms to sync: requests wait and memory stays bounded; nothing is lost.
#[tokio::test(flavor = "multi_thread")]
async fn row_14_a_slow_disk_pushes_back_in_bounded_memory() {
    const MIB: f64 = 1024.0 * 1024.0;
    let rig = Rig::start().await;
    let collector = rig.collector().await;
    let mut load = rig.load();
    (load.clients, load.batch, load.padding, load.pause) = (48, 10, 2000, Duration::ZERO);
    let resident = |pid: u32| {
        let pages = std::fs::read_to_string(format!("/proc/{pid}/statm")).unwrap();
        pages.split(' ').nth(1).unwrap().parse::<f64>().unwrap() * 4096.0 / MIB
    };
    let Some(tracer) = Tracer::attach(collector.pid(), SPOOL, &["fdatasync:delay_enter=100000"]) else { return };
    let load = load.start(&rig.ledger);
    let (began, mut most) = (Instant::now(), 0.0_f64);
    let lasts = Duration::from_secs(times(2, 30) as u64);
    while began.elapsed() < lasts {
        most = most.max(resident(collector.pid()));
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    load.acknowledged(100).await;
    load.stop().await;
    drop(tracer);
    let slowest = rig.ledger.slowest();
    println!("at most {most:.0} MiB resident, the slowest acknowledgement after {slowest:?}");
    assert!(slowest >= Duration::from_millis(100), "the disk was not slow");
    assert!(most < 150.0, "{most:.0} MiB resident");
    rig.check(&collector, "14", "1 slow disk").await;
}
