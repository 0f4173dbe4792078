//! Rows about files of the spool that are damaged or lost while the collector is down: real files, and the real program after it.
//!
//! Byte by byte these rows are held by `src/spool/tests/damage.rs`, on a simulated disk.

use std::{
    collections::BTreeSet,
    fs,
    ops::Range,
    path::{Path, PathBuf},
};

use super::{
    checker::{check, check_counted_again},
    collector::Collector,
    machine::{random, times},
    rig::Rig,
};

/// Requests that wait in the spool of a collector that was killed, and the ids of each.
struct Queued {
    rig: Rig,
    requests: Vec<BTreeSet<String>>,
}

/// Events of each request, so of each record.
const EVENTS: usize = 5;

impl Queued {
    async fn new(requests: usize) -> Self {
        let rig = Rig::start().await;
        let mut collector = rig.collector().await;
        rig.proxy.refuse();
        let mut queued = Vec::new();
        for _ in 0..requests {
            let before = rig.ledger.sent();
            rig.ship(EVENTS).await;
            queued.push(rig.ledger.sent().difference(&before).cloned().collect());
        }
        collector.kill();
        rig.proxy.pass();
        Self { rig, requests: queued }
    }

    fn spool(&self) -> PathBuf {
        self.rig.setup.data_dir.join("spool")
    }

    fn segment(&self) -> PathBuf {
        files(&self.spool(), "seg").pop().unwrap()
    }

    /// Where the records of the queued requests are in the segment.
    fn records(&self) -> Vec<Range<usize>> {
        let bytes = fs::read(self.segment()).unwrap();
        let mut records = Vec::new();
        let mut offset = 32;
        while let Some(header) = bytes.get(offset..offset + 52) {
            assert_eq!(header[..4], [0xE5, 0x72, 0x65, 0x63], "a record begins at {offset}");
            let length = u32::from_le_bytes(header[4..8].try_into().unwrap()) as usize;
            records.push(offset..offset + 52 + length);
            offset += 52 + length;
        }
        assert_eq!(offset, bytes.len());
        records.split_off(records.len() - self.requests.len())
    }

    fn change(&self, change: impl FnOnce(&mut Vec<u8>)) {
        let mut bytes = fs::read(self.segment()).unwrap();
        change(&mut bytes);
        fs::write(self.segment(), bytes).unwrap();
    }

    /// Starts the collector: of the requests with these indexes the events are gone, counted and set aside; of the others each is
    /// there once, and the books balance.
    async fn costs(&self, row: &str, done: &str, gone: &[usize], counted: u64) -> Collector {
        let collector = self.rig.setup.start().await;
        let mut verdict = check(&collector, &self.rig.ledger).await;
        let expected: BTreeSet<String> = gone.iter().flat_map(|index| self.requests[*index].iter().cloned()).collect();
        assert_eq!(verdict.lost, expected, "these and no others are gone");
        verdict.lost.clear();
        verdict.report(row, done);
        verdict.assert_kept();
        assert_eq!(collector.metric("errata_spool_quarantined_total").await, counted as f64);
        collector
    }
}

fn files(folder: &Path, extension: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
    let mut files: Vec<PathBuf> = entries.filter(|path| path.extension().is_some_and(|end| end == extension)).collect();
    files.sort();
    files
}

/// Row 10 · A tail torn at some bytes: only the last record goes, and the rest is delivered.
#[tokio::test(flavor = "multi_thread")]
async fn row_10_a_torn_tail_costs_the_last_record() {
    let mut random = random();
    for _ in 0..times(1, 10) {
        let queued = Queued::new(4).await;
        let last = queued.records().pop().unwrap();
        let cut = last.start + 1 + random.below(last.len() as u64 - 1) as usize;
        queued.change(|bytes| bytes.truncate(cut));
        // It looks like an append that was under way, which nobody was promised: not counted as damage.
        queued.costs("10", "1 torn tail", &[3], 0).await;
    }
}

/// Row 11 · A bit flips in a record: it is quarantined and counted, the rest delivered, and the books balance.
#[tokio::test(flavor = "multi_thread")]
async fn row_11_a_flipped_bit_costs_its_record() {
    let mut random = random();
    for _ in 0..times(1, 10) {
        let queued = Queued::new(5).await;
        let record = queued.records()[2].clone();
        let at = record.start + random.below(record.len() as u64) as usize;
        queued.change(|bytes| bytes[at] ^= 1 << random.below(8));
        queued.costs("11", "1 flipped bit", &[2], EVENTS as u64).await;
        let aside = files(&queued.spool().join("quarantine"), "bad");
        assert_eq!(aside.len(), 1, "{aside:?}");
        assert_eq!(fs::metadata(&aside[0]).unwrap().len(), record.len() as u64, "set aside byte for byte");
    }
}

/// Row 12 · A block of zeroes over records: they are quarantined and counted, the rest delivered.
#[tokio::test(flavor = "multi_thread")]
async fn row_12_a_zeroed_block_costs_the_records_it_touches() {
    let queued = Queued::new(6).await;
    let records = queued.records();
    queued.change(|bytes| bytes[records[2].start + 40..records[3].start + 60].fill(0));
    queued.costs("12", "1 zeroed block", &[2, 3], 2 * EVENTS as u64).await;
}

/// Row 13 · The checkpoint is lost, damaged, or an old one: no loss, and no visible duplicate.
#[tokio::test(flavor = "multi_thread")]
async fn row_13_a_checkpoint_that_is_lost_damaged_or_old() {
    let rig = Rig::start().await;
    let mut collector = rig.collector().await;
    let checkpoint = rig.setup.data_dir.join("spool/checkpoint");
    let old = fs::read(&checkpoint).unwrap();
    for content in [None, Some(b"no checkpoint".to_vec()), Some(old)] {
        for _ in 0..3 {
            rig.ship(EVENTS).await;
            collector.delivered().await;
        }
        collector.kill();
        match content {
            Some(content) => fs::write(&checkpoint, content).unwrap(),
            None => fs::remove_file(&checkpoint).unwrap(),
        }
        collector = rig.setup.start().await;
    }
    rig.check(&collector, "13", "3 lost checkpoints").await;
}

/// Row 13 · The checkpoint is lost together with the plan of the delivery: stored again, and still no visible duplicate.
/// (The rollups count what is delivered again a second time: docs/reliability.md.)
#[tokio::test(flavor = "multi_thread")]
async fn row_13_a_checkpoint_that_is_lost_with_the_plan() {
    let rig = Rig::start().await;
    let mut collector = rig.collector().await;
    rig.ship(EVENTS).await;
    collector.delivered().await;
    collector.kill();
    fs::remove_file(rig.setup.data_dir.join("spool/checkpoint")).unwrap();
    fs::remove_file(rig.setup.data_dir.join("deliver/plan.json")).unwrap();
    let collector = rig.setup.start().await;
    rig.ship(EVENTS).await;
    let verdict = check_counted_again(&collector, &rig.ledger).await;
    verdict.report("13", "1 lost checkpoint and plan");
    verdict.assert_kept();
}
