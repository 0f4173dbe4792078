//! Rows about the power: an ext4 of its own that forgets, at a moment of our choice, everything that was not synced.
//!
//! The control is in the same file: the same cut of a collector whose `fdatasync` and `fsync` are answered by strace without being
//! done *must* lose acknowledged events. If it does not, these tests show nothing.

use std::{sync::Arc, time::Duration};

use super::{
    checker::{Verdict, check},
    collector::{Collector, Setup},
    engine::Engine,
    load::{Ledger, Load},
    machine::{Disk, PATIENCE, Random, eventually, random, strace, times},
    proxy::Proxy,
};

/// Has strace answer them without doing them.
const WITHOUT_FSYNC: [&str; 2] = ["fdatasync:retval=0", "fsync:retval=0"];

/// A collector whose data is on a disk that can lose its power.
struct Rig {
    disk: Disk,
    proxy: Proxy,
    setup: Setup,
    ledger: Arc<Ledger>,
    random: Random,
    /// Last: the others stand on it.
    _engine: Engine,
    _dir: tempfile::TempDir,
}

impl Rig {
    async fn start() -> Option<Self> {
        let dir = tempfile::tempdir().unwrap();
        let disk = Disk::make(dir.path(), 96, "")?;
        let engine = Engine::start(dir.path()).await;
        let proxy = Proxy::start(engine.port()).await;
        let mut setup = Setup::new(dir.path(), &Engine::url_through(proxy.port()));
        setup.data_dir = disk.path().join("data");
        if std::env::var_os("ERRATA_FAULTS_WITHOUT_FSYNC").is_some() {
            // To see these tests turn red: the promise is taken away.
            setup.wrapper = strace(&WITHOUT_FSYNC)?;
        }
        let random = random();
        Some(Self { disk, proxy, setup, ledger: Arc::default(), random, _engine: engine, _dir: dir })
    }

    fn load(&self) -> Load {
        let mut load = Load::on(&self.setup);
        (load.batch, load.padding, load.pause) = (10, 1500, Duration::ZERO);
        load
    }

    /// The power goes, and comes back. A collector that still runs notices, and ends with an error.
    async fn cut(&self, collector: &mut Collector) {
        self.disk.cut();
        eventually("the collector ends without its disk", PATIENCE, async || collector.has_ended()).await;
    }

    async fn check(&self, collector: &Collector, row: &str, done: &str) -> Verdict {
        let verdict = check(collector, &self.ledger).await;
        verdict.report(row, done);
        verdict
    }
}

/// Row 2 · Power cuts under load, at random times, with and without ClickHouse: no acknowledged event is lost, none visible twice.
#[tokio::test(flavor = "multi_thread")]
async fn row_02_power_cuts_under_load() {
    let Some(mut rig) = Rig::start().await else { return };
    let cuts = times(2, 12);
    for cut in 0..cuts {
        if cut % 2 == 0 {
            rig.proxy.refuse();
        } else {
            rig.proxy.pass();
        }
        let mut collector = rig.setup.start().await;
        let load = rig.load().start(&rig.ledger);
        load.acknowledged(300).await;
        tokio::time::sleep(rig.random.millis(0, 300)).await;
        rig.cut(&mut collector).await;
        load.stop().await;
        rig.disk.restart();
    }
    rig.proxy.pass();
    let collector = rig.setup.start().await;
    rig.check(&collector, "2", &format!("{cuts} power cuts")).await.assert_kept();
}

/// Row 2, control · The same with `fdatasync` and `fsync` taken away *must* lose acknowledged events.
#[tokio::test(flavor = "multi_thread")]
async fn row_02_control_without_fdatasync_acknowledged_events_are_lost() {
    let Some(rig) = Rig::start().await else { return };
    let Some(unsynced) = strace(&WITHOUT_FSYNC) else { return };
    rig.proxy.refuse();
    // Once whole, so that tokens and directories are there afterwards.
    let (status, _) = rig.setup.start().await.terminate().await;
    assert!(status.success(), "{status}");
    let mut collector = rig.setup.wrapped(&unsynced).start().await;
    let load = rig.load().start(&rig.ledger);
    load.acknowledged(300).await;
    rig.disk.cut();
    // Its syncs never fail: nothing tells it.
    collector.kill();
    load.stop().await;
    rig.disk.restart();
    rig.proxy.pass();
    let collector = rig.setup.start().await;
    let verdict = rig.check(&collector, "2 control, without fsync", "1 power cut").await;
    assert!(
        verdict.lost.len() > 100,
        "only {} of {} lost: the cut cuts nothing",
        verdict.lost.len(),
        verdict.acknowledged
    );
    assert!(verdict.duplicated.is_empty() && verdict.imbalance == 0.0);
}

/// Stops the collector at its next call of `name` on one thread, and cuts the power there. `None` where strace cannot.
async fn cut_at(rig: &Rig, thread: &str, call: &str, number: usize) -> Option<()> {
    let mut collector = rig.setup.start().await;
    let mut load = rig.load();
    // A segment is full after some 35 requests.
    (load.clients, load.padding) = (6, 3000);
    let load = load.start(&rig.ledger);
    load.acknowledged(20).await;
    let rule = format!("{call}:signal=SIGSTOP:when={number}");
    let Some(tracer) = super::machine::Tracer::attach(collector.pid(), thread, &[&rule]) else {
        load.stop().await;
        return None;
    };
    let pid = collector.pid();
    eventually("the collector stops at the call", PATIENCE, async || {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        stat.rsplit_once(") ").is_some_and(|(_, rest)| rest.starts_with('T') || rest.starts_with('t'))
    })
    .await;
    rig.disk.cut();
    collector.kill();
    drop(tracer);
    load.stop().await;
    rig.disk.restart();
    Some(())
}

/// Cuts the power at calls of a thread, the first, the second …, and compares.
async fn cuts_at(row: &str, thread: &str, calls: &[&str], each: usize) {
    let Some(rig) = Rig::start().await else { return };
    let mut cuts = 0;
    for call in calls {
        for number in 1..=each {
            if cut_at(&rig, thread, call, number).await.is_none() {
                return;
            }
            cuts += 1;
        }
    }
    let collector = rig.setup.start().await;
    rig.check(&collector, row, &format!("{cuts} power cuts at {}", calls.join(", "))).await.assert_kept();
}

/// Row 3 · The power is cut while a segment is begun (before and after its renaming, its syncs): the same set is recovered.
#[tokio::test(flavor = "multi_thread")]
async fn row_03_power_cut_during_segment_rotation() {
    // The spool's thread renames when it begins a segment, syncs its directory, and nothing else.
    cuts_at("3", "spool", &["rename", "fsync"], times(1, 4)).await;
}

/// Row 4 · The power is cut around a checkpoint and the unlinking of segments: the same set is recovered.
#[tokio::test(flavor = "multi_thread")]
async fn row_04_power_cut_during_unlink_and_checkpoint() {
    // Delivery renames its plan, then the checkpoint, in turn; it unlinks segments that are done.
    let calls =
        if super::machine::is_long() { &["rename", "unlink", "fdatasync", "fsync"][..] } else { &["rename", "unlink"] };
    cuts_at("4", "deliver", calls, times(2, 4)).await;
}

/// Row 5 · A second and a third power cut during the recovery from the first: the same set is recovered.
#[tokio::test(flavor = "multi_thread")]
async fn row_05_power_cut_during_recovery() {
    let Some(mut rig) = Rig::start().await else { return };
    rig.proxy.refuse();
    let mut collector = rig.setup.start().await;
    let load = rig.load().start(&rig.ledger);
    load.acknowledged(1500).await;
    rig.cut(&mut collector).await;
    load.stop().await;
    rig.disk.restart();
    let cuts = times(3, 12);
    for _ in 0..cuts {
        let mut starting = rig.setup.spawn();
        tokio::time::sleep(rig.random.millis(1, 250)).await;
        rig.disk.cut();
        // It may be past its recovery, and idle: nothing tells it.
        starting.kill();
        rig.disk.restart();
    }
    rig.proxy.pass();
    let collector = rig.setup.start().await;
    rig.check(&collector, "5", &format!("{cuts} power cuts during recovery")).await.assert_kept();
}

/// Row 2 · The power is cut right after the first start: what the start made is there again, its admin token too.
#[tokio::test(flavor = "multi_thread")]
async fn row_02_power_cut_after_the_first_start() {
    let Some(rig) = Rig::start().await else { return };
    let mut collector = rig.setup.start().await;
    let token = collector.token();
    let (status, body) = rig.load().ship(&rig.ledger, 5).await;
    assert_eq!(status, 202, "{body}");
    rig.disk.cut();
    collector.kill();
    rig.disk.restart();
    let collector = rig.setup.start().await;
    assert_eq!(collector.token(), token, "the token that was handed out is gone");
    rig.check(&collector, "2", "1 power cut after the first start").await.assert_kept();
}
