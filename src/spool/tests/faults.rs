//! What the log does when the disk refuses.

use super::{super::AppendError, *};

#[test]
fn no_space_is_refused_and_passes_when_there_is_some() {
    let disk = Simulated::default();
    let (writer, mut reader) = open(&disk, roomy());
    append(&writer, 0..5);
    // Room for a part of the next record.
    let used = disk.used();
    disk.set_capacity(Some(used + 40));
    for _ in 0..3 {
        let refused = run(writer.append(items(10..15))).unwrap_err();
        assert!(matches!(refused, AppendError::DiskFull { .. }), "{refused}");
        assert_eq!(queued(&mut reader), (0..5).collect::<Vec<_>>());
        assert_eq!(disk.used(), used, "nothing of what was refused is left");
    }
    assert_eq!(append(&writer, 0..5).len(), 5, "what is kept needs no space");
    let crashed = disk.duplicate();
    disk.set_capacity(None);
    assert_eq!(append(&writer, 10..15), [0; 0]);
    assert_eq!(queued(&mut reader), (0..5).chain(10..15).collect::<Vec<_>>());
    close(&writer);
    let (_writer, mut reader) = open(&crashed, roomy());
    assert_eq!(queued(&mut reader), (0..5).collect::<Vec<_>>());
}

#[test]
fn the_reserve_is_left_free() {
    let disk = Simulated::default();
    let (writer, mut reader) = open(&disk, Options { reserve_bytes: 10_000, ..roomy() });
    disk.set_capacity(Some(disk.used() + 10_200));
    append(&writer, [1]);
    let refused = run(writer.append(items(2..6))).unwrap_err();
    assert!(matches!(refused, AppendError::DiskFull { free: 10_000..10_200, reserve: 10_000 }), "{refused:?}");
    disk.set_capacity(Some(5000));
    assert!(matches!(writer.refusal(), Some(AppendError::DiskFull { .. })));
    drain(&mut reader);
    disk.set_capacity(None);
    assert!(writer.refusal().is_none());
    append(&writer, 2..6);
}

#[test]
fn a_failed_sync_poisons_for_good_and_is_not_tried_again() {
    let disk = Simulated::default();
    let (writer, mut reader) = open(&disk, roomy());
    append(&writer, [1]);
    disk.fail_syncs(true);
    let error = run(writer.append(items([2]))).unwrap_err();
    assert!(matches!(&error, AppendError::Poisoned(reason) if reason.contains("sync")), "{error}");
    disk.fail_syncs(false);
    let syncs = disk.syncs();
    for key in [1, 2, 3] {
        assert!(matches!(run(writer.append(items([key]))), Err(AppendError::Poisoned(_))), "{key}");
    }
    assert_eq!(disk.syncs(), syncs);
    assert!(matches!(writer.refusal(), Some(AppendError::Poisoned(_))));
    assert!(run(writer.failed()).contains("sync"));
    assert_eq!(queued(&mut reader), [1], "what was not acknowledged is not delivered");
    close(&writer);
}

#[test]
fn what_a_failed_sync_left_in_the_page_cache_is_durable_before_it_is_acknowledged() {
    let disk = Simulated::default();
    let (writer, _reader) = open(&disk, roomy());
    append(&writer, [1]);
    disk.fail_syncs(true);
    assert!(run(writer.append(items([2]))).is_err());
    close(&writer);
    disk.fail_syncs(false);
    // The process starts again, the machine does not: item 2 is readable, and on no disk.
    let (writer, mut reader) = open(&disk, roomy());
    assert_eq!(queued(&mut reader), [1, 2]);
    assert_eq!(append(&writer, [2]), [0]);
    close(&writer);
    disk.crash(1);
    let (_writer, mut reader) = open(&disk, roomy());
    assert_eq!(queued(&mut reader), [1, 2]);
}

#[test]
fn a_segment_that_cannot_be_begun_is_begun_later() {
    let disk = Simulated::default();
    let (writer, mut reader) = open(&disk, options());
    disk.fail_creates(Some(""));
    for key in 0..30 {
        append(&writer, [key]);
    }
    assert_eq!(segments(&disk).len(), 1);
    disk.fail_creates(None);
    append(&writer, [30]);
    append(&writer, [31]);
    assert_eq!(segments(&disk).len(), 2);
    assert_eq!(queued(&mut reader), (0..32).collect::<Vec<_>>());
}

#[test]
fn what_a_killed_process_left_in_the_page_cache_is_durable_before_it_is_acknowledged() {
    for seed in 0..20 {
        let disk = Simulated::default();
        let (writer, _reader) = open(&disk, roomy());
        append(&writer, [1]);
        // The write is the last thing that happens.
        disk.cut_power_after(1);
        assert!(run(writer.append(items([2]))).is_err());
        close(&writer);
        disk.kill();
        let (writer, mut reader) = open(&disk, roomy());
        assert_eq!(append(&writer, [2]), [0]);
        assert_eq!(queued(&mut reader), [1, 2]);
        close(&writer);
        disk.crash(seed);
        let (_writer, mut reader) = open(&disk, roomy());
        assert_eq!(queued(&mut reader), [1, 2]);
    }
}

#[test]
fn a_segment_is_not_unlinked_before_its_keys_are_durable() {
    let disk = Simulated::default();
    let (writer, mut reader) = open(&disk, options());
    disk.fail_creates(Some(".keys.tmp"));
    append(&writer, 0..20);
    append(&writer, 20..22);
    drain(&mut reader);
    assert_eq!(reader.start(), position(22));
    assert_eq!(segments(&disk).len(), 2, "forgotten, and kept for its keys");
    disk.fail_creates(None);
    drain(&mut reader);
    assert_eq!(segments(&disk).len(), 1);
    close(&writer);
    let (writer, _reader) = open(&disk, options());
    assert_eq!(append(&writer, 0..22).len(), 22);
}

#[test]
fn keys_without_a_sidecar_are_known_when_none_can_be_written_at_the_start_either() {
    let disk = Simulated::default();
    let (writer, _reader) = open(&disk, options());
    disk.fail_creates(Some(".keys.tmp"));
    append(&writer, 0..20);
    append(&writer, 20..22);
    close(&writer);
    let (writer, mut reader) = open(&disk, options());
    assert_eq!(append(&writer, 0..22).len(), 22);
    drain(&mut reader);
    assert_eq!(segments(&disk).len(), 2);
    disk.fail_creates(None);
    drain(&mut reader);
    assert_eq!(segments(&disk).len(), 1);
}

#[test]
fn nothing_is_forgotten_without_a_checkpoint() {
    let disk = Simulated::default();
    let (writer, mut reader) = open(&disk, roomy());
    append(&writer, 0..20);
    disk.fail_creates(Some(""));
    assert!(reader.forget(position(20)).is_err());
    assert_eq!(reader.start(), position(0));
    assert_eq!(queued(&mut reader), (0..20).collect::<Vec<_>>());
    disk.fail_creates(None);
    reader.forget(position(20)).unwrap();
    assert_eq!(queued(&mut reader), []);
}

#[test]
fn a_call_that_is_larger_than_the_spool_is_refused() {
    let disk = Simulated::default();
    let (writer, _reader) = open(&disk, Options { max_bytes: 10_000, ..options() });
    let huge = Item { key: 1, tag: 0, payload: vec![0; 20_000] };
    assert!(matches!(run(writer.append(vec![huge])), Err(AppendError::Full { limit: 10_000, .. })));
    append(&writer, [1]);
}

/// The next start makes the name durable itself: not every start places a file, as that of a sidecar would.
#[test]
fn what_a_killed_process_had_named_is_durable_before_it_is_acknowledged() {
    for seed in 0..20 {
        let disk = Simulated::default();
        let (writer, _reader) = open(&disk, options());
        // Fills the segment; the next one's name is there, and its sync is not.
        disk.fail_dir_syncs(true);
        append(&writer, 0..20);
        close(&writer);
        disk.kill();
        assert_eq!(segments(&disk).len(), 2);
        disk.fail_creates(Some(".keys.tmp"));
        let (writer, _reader) = open(&disk, options());
        append(&writer, [20]);
        close(&writer);
        disk.crash(seed);
        let (_writer, mut reader) = open(&disk, options());
        assert_eq!(queued(&mut reader), (0..21).collect::<Vec<_>>(), "crash {seed}");
    }
}
