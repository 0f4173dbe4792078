//! Fuzz target: a spool whose files were damaged in any way opens, ends, and has lost no record that is still whole.

// A target tells what it found by panicking.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::collections::BTreeSet;

use super::{
    Item, Options, Reader, Tuning, Writer,
    format::{RecordHeader, SEGMENT_HEADER_BYTES},
    open_tuned,
    simulated::Simulated,
};
use crate::fuzzing::draw::Draw;

/// Small segments, so that a few items fill some.
fn open(disk: &Simulated) -> (Writer, Reader) {
    let options = Options {
        dir: "spool".into(),
        segment_bytes: 700,
        max_bytes: 1 << 20,
        reserve_bytes: 0,
        remembered_keys: 10_000,
    };
    let tuning = Tuning { record_bytes: 300, group_bytes: 4096, queue_bytes: 64 << 10, seal_inline: true };
    open_tuned(options, tuning, &disk.root()).unwrap_or_else(|error| panic!("damage is no reason not to open: {error}"))
}

fn item(key: u128) -> Item {
    Item { key, tag: key as u64 % 5, payload: vec![key as u8; key as usize % 60] }
}

pub fn run(input: &[u8]) {
    let mut draw = Draw::new(input);
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let (disk, appended, forgotten) = made(&mut draw, &runtime);
    let before = records(&disk);
    let mut changes = 0;
    while changes < 8 && !draw.is_empty() {
        damage(&disk, &mut draw);
        changes += 1;
    }
    let (writer, mut reader) = open(&disk);
    let first = delivered(&mut reader);
    let keys: BTreeSet<u128> = first.iter().copied().collect();
    assert_eq!(keys.len(), first.len(), "delivered twice: {first:?}");
    assert!(keys.iter().all(|key| *key < appended), "an item from nowhere: {first:?}");
    for (segment, record, bytes) in &before {
        let is_whole = disk.names("spool").contains(segment)
            && disk.content(segment).windows(bytes.len()).any(|window| window == bytes);
        // Positions are keys here: items are numbered as they are appended.
        let kept = (record.first.max(forgotten)..record.end()).map(u128::from);
        assert!(!is_whole || kept.clone().all(|key| keys.contains(&key)), "whole, and lost: {record:?} of {segment}");
    }
    let answered = runtime.block_on(writer.append(vec![item(1_000_000)])).unwrap();
    assert_eq!(answered.duplicates, [0; 0]);
    runtime.block_on(writer.close());
    let (writer, mut reader) = open(&disk);
    assert_eq!(delivered(&mut reader), [&first[..], &[1_000_000]].concat(), "opening again gives the same");
    runtime.block_on(writer.close());
}

/// A closed spool of items numbered by their positions; how many, and how many of them are forgotten.
fn made(draw: &mut Draw<'_>, runtime: &tokio::runtime::Runtime) -> (Simulated, u128, u64) {
    let disk = Simulated::default();
    let (writer, mut reader) = open(&disk);
    let mut next = 0;
    for _ in 0..=draw.below(12) {
        let end = next + 1 + draw.below(9) as u128;
        let answered = runtime.block_on(writer.append((next..end).map(item).collect())).unwrap();
        assert_eq!(answered.duplicates, [0; 0]);
        next = end;
    }
    if draw.below(2) == 0 {
        let chunk = reader.read(reader.start(), draw.below(40), usize::MAX).unwrap();
        reader.forget(chunk.end).unwrap();
    }
    let forgotten = reader.start().0;
    runtime.block_on(writer.close());
    (disk, next, forgotten)
}

/// Every record with its segment and its bytes.
fn records(disk: &Simulated) -> Vec<(String, RecordHeader, Vec<u8>)> {
    let mut records = Vec::new();
    for name in disk.names("spool").into_iter().filter(|name| is_segment(name)) {
        let content = disk.content(&name);
        let mut at = SEGMENT_HEADER_BYTES;
        while at < content.len() {
            let header = RecordHeader::decode(&content[at..]).unwrap();
            let end = at + header.bytes() as usize;
            records.push((name.clone(), header, content[at..end].to_vec()));
            at = end;
        }
    }
    records
}

fn is_segment(name: &str) -> bool {
    name.strip_suffix(".seg").is_some()
}

/// What disks and people do to files: bits flip, blocks are zero, others' bytes or gone, files end early or are gone.
fn damage(disk: &Simulated, draw: &mut Draw<'_>) {
    let names = disk.names("spool");
    if names.is_empty() {
        return;
    }
    let name = draw.pick(&names).clone();
    let mut content = disk.content(&name);
    let at = draw.below((content.len() + 1).min(65_536));
    let len = 1 + draw.below(80);
    let end = (at + len).min(content.len());
    match draw.below(8) {
        0 | 1 if at < content.len() => content[at] ^= 1 << draw.below(8),
        2 => content[at..end].fill(0),
        3 => content[at..end].iter_mut().for_each(|byte| *byte = draw.byte()),
        4 => content.truncate(at),
        5 => content.resize(content.len() + len, draw.byte()),
        6 => drop(content.splice(at..at, vec![draw.byte(); len])),
        7 if !is_segment(&name) => return disk.remove(&name),
        // A file of no sense, as one that was never written.
        _ => disk.set_content("00000000000000000003.keys.tmp", &content[..at]),
    }
    disk.set_content(&name, &content);
}

/// Everything that is read, to the end; each item is as it was appended.
fn delivered(reader: &mut Reader) -> Vec<u128> {
    let mut keys = Vec::new();
    let mut from = reader.start();
    for _ in 0..10_000 {
        let chunk = reader.read(from, 7, 500).unwrap();
        for (_, read) in &chunk.items {
            assert_eq!(*read, item(read.key), "an item that was not appended");
            keys.push(read.key);
        }
        if chunk.end == from {
            return keys;
        }
        assert!(chunk.end > from, "reading goes backwards");
        from = chunk.end;
    }
    panic!("reading does not end");
}
