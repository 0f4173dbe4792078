//! Rows about another version of the program: `tests/data/collector-v1/` holds the spool of a collector that was ended with all its
//! events waiting. It is never written anew: a later format of segments or events gets a directory of its own.

use std::{
    fs,
    path::{Path, PathBuf},
};

use super::{checker::check_between, rig::Rig};

const REQUESTS: u64 = 6;
const EVENTS: usize = 5;

fn golden() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/data/collector-v1")
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap().flatten().filter(|entry| entry.path().is_file()) {
        fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
    }
}

/// Row 34 · An upgrade with a full spool: every event that the first version had queued is delivered, once.
#[tokio::test(flavor = "multi_thread")]
async fn row_34_the_spool_of_the_first_version_is_delivered() {
    let rig = Rig::start().await;
    copy(&golden(), &rig.setup.data_dir.join("spool"));
    for number in 0..REQUESTS {
        rig.ledger.know((0..EVENTS).map(|index| format!("req_{number:08x}{index:04x}")));
    }
    let collector = rig.setup.start().await;
    let written = chrono::DateTime::parse_from_rfc3339("2026-11-26T00:00:00Z").unwrap().timestamp_millis();
    let verdict = check_between(&collector, &rig.ledger, written - 86_400_000, written + 2 * 86_400_000).await;
    verdict.report("34", "1 upgrade with a full spool");
    verdict.assert_kept();
    assert_eq!(verdict.visible, REQUESTS as usize * EVENTS);
}

/// Row 34 · A rollback to a version that does not know the format: it refuses by name and leaves the files alone, so that nothing is lost.
#[tokio::test(flavor = "multi_thread")]
async fn row_34_a_newer_spool_is_refused_and_left_alone() {
    let rig = Rig::start().await;
    let spool = rig.setup.data_dir.join("spool");
    copy(&golden(), &spool);
    let segment = spool.join("00000000000000000000.seg");
    let mut bytes = fs::read(&segment).unwrap();
    bytes[8..12].copy_from_slice(&2_u32.to_le_bytes());
    let crc = crc32c::crc32c(&bytes[..28]);
    bytes[28..32].copy_from_slice(&crc.to_le_bytes());
    fs::write(&segment, &bytes).unwrap();
    let mut collector = rig.setup.spawn();
    collector.failed().await;
    let said = collector.log();
    assert!(said.contains("00000000000000000000.seg is written by a newer errata"), "{said}");
    assert_eq!(fs::read(&segment).unwrap(), bytes, "the file was changed");
}

/// Run once a format: `cargo test --test it write_the_spool_of_a_new_version -- --ignored`.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "writes the files that the other tests read"]
async fn write_the_spool_of_a_new_version() {
    assert!(!golden().exists(), "the files of a released format are not changed");
    let rig = Rig::start().await;
    rig.proxy.refuse();
    let collector = rig.setup.start().await;
    for _ in 0..REQUESTS {
        rig.ship(EVENTS).await;
    }
    let (status, _) = collector.terminate().await;
    assert!(status.success());
    copy(&rig.setup.data_dir.join("spool"), &golden());
}
