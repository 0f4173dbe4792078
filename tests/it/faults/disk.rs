//! Rows about disks that are full or read-only.

use std::{fs, io::Write as _};

use super::{
    checker::check,
    collector::Setup,
    engine::Engine,
    load::{Ledger, Load},
    machine::{Disk, PATIENCE, eventually, times},
    proxy::Proxy,
};

/// A collector on a small disk of its own.
struct Rig {
    disk: Disk,
    _proxy: Proxy,
    setup: Setup,
    ledger: std::sync::Arc<Ledger>,
    _engine: Engine,
    _dir: tempfile::TempDir,
}

impl Rig {
    async fn start(mib: u64, options: &'static str) -> Option<Self> {
        let dir = tempfile::tempdir().unwrap();
        let disk = Disk::make(dir.path(), mib, options)?;
        let engine = Engine::start(dir.path()).await;
        let proxy = Proxy::start(engine.port()).await;
        let mut setup = Setup::new(dir.path(), &Engine::url_through(proxy.port()));
        setup.data_dir = disk.path().join("data");
        Some(Self { disk, _proxy: proxy, setup, ledger: std::sync::Arc::default(), _engine: engine, _dir: dir })
    }

    fn load(&self) -> Load {
        let mut load = Load::on(&self.setup);
        (load.batch, load.padding) = (20, 2000);
        load
    }

    /// Another program fills the disk to its last byte.
    fn fill(&self) {
        let mut file = fs::OpenOptions::new().create(true).append(true).open(self.disk.path().join("filler")).unwrap();
        for size in [1 << 20, 4096, 1] {
            let block = vec![7; size];
            while file.write_all(&block).is_ok() {}
        }
    }

    fn make_room(&self) {
        fs::remove_file(self.disk.path().join("filler")).unwrap();
    }
}

/// Row 7 and row 8 · The disk fills to its last byte under load, in the middle of a write: 503, earlier acknowledgements are safe, and
/// it recovers by itself when there is space, without a restart.
#[tokio::test(flavor = "multi_thread")]
async fn row_07_a_full_disk_is_refused_and_passes_by_itself() {
    let Some(rig) = Rig::start(24, "").await else { return };
    // No reserve: the writes themselves meet the end of the disk, and are short.
    let setup = rig.setup.clone().with("ERRATA_SPOOL__RESERVE_BYTES", "0");
    let mut collector = setup.start().await;
    let load = rig.load().start(&rig.ledger);
    let rounds = times(2, 20);
    for _ in 0..rounds {
        load.acknowledged(100).await;
        let before = rig.ledger.answers("503");
        rig.fill();
        eventually("requests are refused", PATIENCE, async || {
            assert!(!collector.has_ended(), "the collector ended: {}", collector.log());
            rig.ledger.answers("503") >= before + 20
        })
        .await;
        assert!(!collector.has_ended(), "the collector ended: {}", collector.log());
        rig.make_room();
        load.acknowledged(100).await;
    }
    load.stop().await;
    let verdict = check(&collector, &rig.ledger).await;
    verdict.report("7, 8", &format!("{rounds} full disks"));
    verdict.assert_kept();
}

/// Row 7 · Killed while the disk is full, and started again once there is room: the acknowledged set is there.
#[tokio::test(flavor = "multi_thread")]
async fn row_07_killed_while_the_disk_is_full() {
    let Some(rig) = Rig::start(24, "").await else { return };
    let setup = rig.setup.clone().with("ERRATA_SPOOL__RESERVE_BYTES", "0");
    let mut collector = setup.start().await;
    let load = rig.load().start(&rig.ledger);
    load.acknowledged(200).await;
    rig.fill();
    eventually("requests are refused", PATIENCE, async || rig.ledger.answers("503") >= 8).await;
    collector.kill();
    load.stop().await;
    rig.make_room();
    let collector = setup.start().await;
    let verdict = check(&collector, &rig.ledger).await;
    verdict.report("7", "1 kill with a full disk");
    verdict.assert_kept();
}

/// Row 7 · Below the reserve nothing is taken, and what is queued can still be delivered: 503 in time, not at the last byte.
#[tokio::test(flavor = "multi_thread")]
async fn row_07_the_reserve_is_kept() {
    let Some(rig) = Rig::start(64, "").await else { return };
    let setup = rig.setup.clone().with("ERRATA_SPOOL__RESERVE_BYTES", "20MiB");
    let collector = setup.start().await;
    let load = rig.load().start(&rig.ledger);
    load.acknowledged(100).await;
    let filler = rig.disk.path().join("filler");
    let room = rustix::fs::statvfs(rig.disk.path()).unwrap();
    let all_but_ten_mib = (room.f_bavail * room.f_frsize) as usize - (10 << 20);
    fs::write(&filler, vec![7; all_but_ten_mib]).unwrap();
    eventually("requests are refused", PATIENCE, async || rig.ledger.answers("503") >= 8).await;
    assert!(!collector.is_ready().await, "it is not ready when it takes nothing");
    collector.delivered().await;
    fs::remove_file(filler).unwrap();
    load.acknowledged(100).await;
    load.stop().await;
    let verdict = check(&collector, &rig.ledger).await;
    verdict.report("7", "1 time below the reserve");
    verdict.assert_kept();
}

/// Row 15 · The kernel makes the file system read-only after an error: not ready, no false ack; after a repair everything is there.
#[tokio::test(flavor = "multi_thread")]
async fn row_15_a_file_system_that_turns_read_only() {
    let Some(rig) = Rig::start(48, ",errors=remount-ro").await else { return };
    let mut collector = rig.setup.start().await;
    let load = rig.load().start(&rig.ledger);
    load.acknowledged(200).await;
    let trigger = format!("/sys/fs/ext4/{}/trigger_fs_error", rig.disk.device());
    fs::write(trigger, "a test").unwrap();
    collector.failed().await;
    let acknowledged = rig.ledger.acknowledged_count();
    // Whoever starts it again is told why it cannot.
    let mut again = rig.setup.spawn();
    again.failed().await;
    assert_eq!(rig.ledger.acknowledged_count(), acknowledged, "something was acknowledged without a disk");
    load.stop().await;
    rig.disk.restart();
    let collector = rig.setup.start().await;
    let verdict = check(&collector, &rig.ledger).await;
    verdict.report("15", "1 file system turned read-only");
    verdict.assert_kept();
}
