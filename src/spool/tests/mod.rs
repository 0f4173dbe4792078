//! The promises of the log, on a simulated disk where that tells more than a real one.

mod damage;
mod faults;
mod golden;
mod log;
mod property;

use std::{path::PathBuf, sync::Arc};

use super::{Item, Options, Position, Reader, SpoolError, Tuning, Writer, open_tuned, simulated::Simulated};

/// Small segments, so that a few items fill some.
fn options() -> Options {
    Options {
        dir: PathBuf::from("spool"),
        segment_bytes: 1000,
        max_bytes: 1 << 20,
        reserve_bytes: 0,
        remembered_keys: 10_000,
    }
}

/// One segment for all.
fn roomy() -> Options {
    Options { segment_bytes: 1 << 18, ..options() }
}

fn try_open(disk: &Simulated, options: Options) -> Result<(Writer, Reader), SpoolError> {
    let tuning = Tuning { record_bytes: 300, group_bytes: 4096, queue_bytes: 64 << 10, seal_inline: true };
    open_tuned(options, tuning, &disk.root())
}

fn open(disk: &Simulated, options: Options) -> (Writer, Reader) {
    try_open(disk, options).unwrap()
}

fn item(key: u128) -> Item {
    Item {
        key,
        tag: key as u64 % 7,
        payload: format!("payload of {key}, {}", "x".repeat(key as usize % 40)).into_bytes(),
    }
}

fn items(keys: impl IntoIterator<Item = u128>) -> Vec<Item> {
    keys.into_iter().map(item).collect()
}

/// Keys of everything that is not forgotten, each item being as it was appended.
fn queued(reader: &mut Reader) -> Vec<u128> {
    let mut keys = Vec::new();
    let mut from = reader.start();
    loop {
        let chunk = reader.read(from, 7, 500).unwrap();
        for (_, read) in &chunk.items {
            assert_eq!(*read, item(read.key));
        }
        keys.extend(chunk.items.iter().map(|(_, read)| read.key));
        if chunk.end == from {
            return keys;
        }
        from = chunk.end;
    }
}

/// Reads and forgets everything.
fn drain(reader: &mut Reader) {
    let mut from = reader.start();
    loop {
        let chunk = reader.read(from, 100, 10_000).unwrap();
        if chunk.end == from {
            return reader.forget(from).unwrap();
        }
        from = chunk.end;
    }
}

fn run<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(future)
}

fn append(writer: &Writer, keys: impl IntoIterator<Item = u128>) -> Vec<usize> {
    run(writer.append(items(keys))).unwrap().duplicates
}

fn close(writer: &Writer) {
    run(writer.close());
}

/// A disk with the log that these calls make, closed.
fn disk_with(options: Options, calls: &[&[u128]]) -> Simulated {
    let disk = Simulated::default();
    let (writer, _reader) = open(&disk, options);
    for call in calls {
        assert!(append(&writer, call.iter().copied()).is_empty());
    }
    close(&writer);
    disk
}

fn named(disk: &Simulated, suffix: &str) -> Vec<String> {
    disk.names("spool").into_iter().filter(|name| name.ends_with(suffix)).collect()
}

fn segments(disk: &Simulated) -> Vec<String> {
    named(disk, ".seg")
}

#[test]
fn the_room_knows_no_neighbour() {
    let imports = ["ax", "um|click", "house|serde_", "json"].concat();
    let sources = Arc::new(std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src/spool"));
    for entry in std::fs::read_dir(&*sources).unwrap() {
        let path = entry.unwrap().path();
        let Ok(source) = std::fs::read_to_string(&path) else { continue };
        for import in imports.split('|') {
            assert!(!source.contains(&format!("{import}::")), "{} imports {import}", path.display());
        }
    }
}

fn position(number: u64) -> Position {
    Position(number)
}
