//! Appending, reading, forgetting, knowing.

use std::{sync::Arc, time::Duration};

use super::{
    super::{AppendError, Chunk, Stats},
    *,
};

#[test]
fn acknowledged_items_survive_a_reopen_on_a_real_disk() {
    let directory = tempfile::tempdir().unwrap();
    let options = Options { dir: directory.path().join("deep/spool"), ..options() };
    let (writer, mut reader) = crate::spool::open(options.clone()).unwrap();
    for call in 0..50 {
        append(&writer, call * 10..call * 10 + 10);
    }
    assert_eq!(queued(&mut reader), (0..500).collect::<Vec<_>>());
    let half = reader.read(reader.start(), 250, usize::MAX).unwrap().end;
    reader.forget(half).unwrap();
    close(&writer);
    let (writer, mut reader) = crate::spool::open(options).unwrap();
    assert_eq!(reader.start(), half);
    assert_eq!(queued(&mut reader), (u128::from(half.0)..500).collect::<Vec<_>>());
    assert_eq!(writer.recovery().segments_scanned, 1, "sealed segments are not scanned");
    assert_eq!(append(&writer, [0, 499, 500]), [0, 1]);
    assert_eq!(writer.stats().quarantined, 0);
}

#[test]
fn a_repeated_item_is_reported_and_kept_once() {
    let disk = Simulated::default();
    let (writer, mut reader) = open(&disk, options());
    assert_eq!(append(&writer, [1, 2, 1, 3, 3]), [2, 4], "within a call");
    assert_eq!(append(&writer, [4, 2]), [1], "across calls");
    assert_eq!(append(&writer, [4, 2]), [0, 1], "all of it");
    assert_eq!(queued(&mut reader), [1, 2, 3, 4]);
    close(&writer);
    let (writer, mut reader) = open(&disk, options());
    assert_eq!(append(&writer, [3, 5]), [0], "across a restart");
    assert_eq!(queued(&mut reader), [1, 2, 3, 4, 5]);
}

#[test]
fn keys_of_forgotten_and_unlinked_items_are_known_after_restarts() {
    let disk = Simulated::default();
    for round in 0..4_u128 {
        let (writer, mut reader) = open(&disk, options());
        for call in 0..20 {
            append(&writer, round * 200 + call * 10..round * 200 + call * 10 + 10);
        }
        drain(&mut reader);
        assert_eq!(segments(&disk).len(), 1);
        close(&writer);
    }
    let (writer, mut reader) = open(&disk, options());
    assert_eq!(append(&writer, 0..800).len(), 800);
    assert_eq!(queued(&mut reader), []);
}

#[test]
fn sidecars_are_kept_while_they_are_needed_and_no_longer() {
    let disk = Simulated::default();
    let options = Options { remembered_keys: 100, ..options() };
    let (writer, mut reader) = open(&disk, options.clone());
    for call in 0..200 {
        append(&writer, call * 10..call * 10 + 10);
        drain(&mut reader);
    }
    let sidecars = named(&disk, ".keys").len();
    assert!((5..20).contains(&sidecars), "{sidecars} sidecars");
    close(&writer);
    let (writer, _reader) = open(&disk, options);
    assert_eq!(append(&writer, 1900..2000).len(), 100, "the latest 100 are known");
    assert_eq!(append(&writer, 0..100).len(), 0, "the first ones no longer");
}

#[test]
fn a_repetition_in_the_same_group_is_acknowledged_only_with_its_original() {
    for failing in [false, true] {
        let disk = Simulated::default();
        let (writer, _reader) = open(&disk, options());
        disk.hold_syncs(true);
        let outcomes = run(async {
            let call = |key| {
                let writer = writer.clone();
                tokio::spawn(async move { writer.append(items([key])).await })
            };
            let ahead = call(1);
            tokio::task::yield_now().await;
            disk.wait_for_held_sync();
            // These two wait behind that sync, and so become one group.
            let (original, repetition) = (call(2), call(2));
            tokio::task::yield_now().await;
            if failing {
                // The sync ahead and the group's write are the last to succeed.
                disk.cut_power_after(2);
            }
            disk.hold_syncs(false);
            [ahead.await.unwrap(), original.await.unwrap(), repetition.await.unwrap()]
        });
        assert!(outcomes[0].is_ok());
        if failing {
            assert!(
                matches!(outcomes[1..], [Err(AppendError::Poisoned(_)), Err(AppendError::Poisoned(_))]),
                "{outcomes:?}"
            );
        } else {
            assert_eq!(outcomes[2].as_ref().unwrap().duplicates, [0]);
            assert_eq!(disk.syncs(), 3, "the segment's header, the call ahead, the group");
        }
    }
}

#[test]
fn a_range_reads_the_same_again_and_after_a_restart() {
    let disk = disk_with(options(), &[&[1, 2, 3], &[4, 5], &[6, 7, 8, 9, 10, 11, 12, 13, 14, 15], &[16], &[17, 18]]);
    let (writer, mut reader) = open(&disk, options());
    let mut chunks = Vec::new();
    let mut from = reader.start();
    loop {
        let chunk = reader.read(from, 4, usize::MAX).unwrap();
        if chunk.end == from {
            break;
        }
        assert!(!chunk.items.is_empty());
        from = chunk.end;
        chunks.push(chunk);
    }
    assert!(chunks.len() > 3);
    append(&writer, 100..150);
    for chunk in chunks.iter().rev() {
        assert_eq!(reader.read_range(chunk.start, chunk.end).unwrap(), *chunk);
    }
    close(&writer);
    let (_writer, mut reader) = open(&disk, options());
    for chunk in &chunks {
        assert_eq!(reader.read_range(chunk.start, chunk.end).unwrap(), *chunk);
    }
    let across = reader.read_range(position(2), position(8)).unwrap();
    assert_eq!(
        across.items.iter().map(|(at, item)| (at.0, item.key)).collect::<Vec<_>>(),
        [(2, 3), (3, 4), (4, 5), (5, 6), (6, 7), (7, 8)]
    );
}

#[test]
fn reads_keep_to_their_bounds_but_give_at_least_a_record() {
    let disk = disk_with(roomy(), &[&[1, 2, 3], &[4], &[5, 6]]);
    let (_writer, mut reader) = open(&disk, roomy());
    let lens = |reader: &mut Reader, items, bytes| reader.read(position(0), items, bytes).unwrap().items.len();
    assert_eq!(lens(&mut reader, 1, usize::MAX), 3);
    assert_eq!(lens(&mut reader, 4, usize::MAX), 4);
    assert_eq!(lens(&mut reader, 5, usize::MAX), 4);
    assert_eq!(lens(&mut reader, usize::MAX, 1), 3);
    assert_eq!(lens(&mut reader, usize::MAX, usize::MAX), 6);
    assert_eq!(reader.read(position(6), 1, 1).unwrap(), Chunk { start: position(6), end: position(6), items: vec![] });
}

#[test]
fn a_full_spool_refuses_until_something_is_forgotten() {
    let disk = Simulated::default();
    let options = Options { max_bytes: 4000, ..options() };
    let (writer, mut reader) = open(&disk, options);
    let mut kept = Vec::new();
    let refused = (0..).map(|key| (key, run(writer.append(items([key]))))).find_map(|(key, outcome)| match outcome {
        Ok(_) => {
            kept.push(key);
            None
        }
        Err(error) => Some(error),
    });
    assert!(matches!(refused, Some(AppendError::Full { used: 3900..=4000, limit: 4000 })), "{refused:?}");
    assert!(matches!(writer.refusal(), Some(AppendError::Full { .. })));
    assert_eq!(append(&writer, kept.iter().copied()).len(), kept.len(), "what is kept already needs no room");
    assert_eq!(queued(&mut reader), kept);
    drain(&mut reader);
    assert!(writer.refusal().is_none());
    append(&writer, [9000]);
    assert_eq!(queued(&mut reader), [9000]);
}

#[test]
fn a_tag_is_held_until_its_items_are_forgotten() {
    let disk = Simulated::default();
    let (writer, _reader) = open(&disk, options());
    let tagged = |key: u128| Item { tag: 1000 + key as u64, ..item(key) };
    for key in 0..60 {
        run(writer.append(vec![tagged(key)])).unwrap();
    }
    close(&writer);
    let (writer, mut reader) = open(&disk, options());
    for forgotten in [0, 1, 17, 40, 60] {
        reader.forget(position(forgotten)).unwrap();
        for key in 0..60 {
            assert_eq!(writer.holds(1000 + key), key >= forgotten, "tag of {key} with {forgotten} forgotten");
        }
    }
}

#[test]
fn stats_tell_what_is_queued() {
    let disk = Simulated::default();
    let (writer, mut reader) = open(&disk, options());
    assert_eq!(writer.stats(), Stats::default());
    append(&writer, 0..30);
    let stats = writer.stats();
    assert_eq!((stats.items, stats.accepted), (30, 30));
    assert!(stats.oldest_ms.is_some_and(|ms| ms > 1_600_000_000_000), "{stats:?}");
    reader.forget(position(10)).unwrap();
    let fewer = writer.stats();
    assert!(fewer.items == 20 && fewer.bytes < stats.bytes && fewer.oldest_ms.is_some(), "{fewer:?}");
    close(&writer);
    let (writer, mut reader) = open(&disk, options());
    assert_eq!(writer.stats(), Stats { accepted: 20, ..fewer });
    drain(&mut reader);
    assert_eq!(writer.stats(), Stats { accepted: 20, ..Stats::default() });
}

#[test]
fn waiting_ends_with_an_append_or_the_time() {
    let disk = Simulated::default();
    let (writer, mut reader) = open(&disk, options());
    run(async {
        assert!(!reader.wait(position(0), Duration::from_millis(1)).await);
        let waiting = tokio::spawn(async move { reader.wait(position(1), Duration::from_secs(60)).await });
        writer.append(items([1])).await.unwrap();
        writer.append(items([2])).await.unwrap();
        assert!(waiting.await.unwrap());
    });
}

#[test]
fn closing_answers_what_is_queued_and_refuses_the_rest() {
    let disk = Simulated::default();
    let (writer, mut reader) = open(&disk, options());
    run(async {
        let calls: Vec<_> = (0..20)
            .map(|key| {
                let writer = writer.clone();
                tokio::spawn(async move { writer.append(items([key])).await })
            })
            .collect();
        for _ in 0..3 {
            tokio::task::yield_now().await;
        }
        writer.close().await;
        for call in calls {
            call.await.unwrap().unwrap();
        }
        assert!(matches!(writer.append(items([99])).await, Err(AppendError::Closed)));
    });
    assert!(matches!(writer.refusal(), Some(AppendError::Closed)));
    assert_eq!(queued(&mut reader), (0..20).collect::<Vec<_>>());
}

#[test]
fn concurrent_calls_keep_their_order_and_lose_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let options = Options { dir: directory.path().to_owned(), segment_bytes: 20_000, ..options() };
    let (writer, mut reader) = crate::spool::open(options).unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).build().unwrap();
    runtime.block_on(async {
        let tasks: Vec<_> = (0..32_u128)
            .map(|task| {
                let writer = writer.clone();
                tokio::spawn(async move {
                    for call in 0..20 {
                        writer.append(items([task * 1000 + call * 2, task * 1000 + call * 2 + 1])).await.unwrap();
                    }
                })
            })
            .collect();
        for task in tasks {
            task.await.unwrap();
        }
    });
    let keys = queued(&mut reader);
    assert_eq!(keys.len(), 32 * 40);
    for task in 0..32 {
        let own: Vec<u128> = keys.iter().copied().filter(|key| key / 1000 == task).collect();
        assert_eq!(own, (task * 1000..task * 1000 + 40).collect::<Vec<_>>());
    }
}

#[test]
fn each_group_is_synced_once_and_the_observer_sees_it() {
    let disk = Simulated::default();
    let (writer, _reader) = open(&disk, roomy());
    let seen = Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let count = Arc::clone(&seen);
    writer.observe_syncs(move |_| {
        count.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    });
    let before = disk.syncs();
    for key in 0..5 {
        append(&writer, [key]);
    }
    append(&writer, [0, 1]);
    assert_eq!(disk.syncs() - before, 5);
    assert_eq!(seen.load(std::sync::atomic::Ordering::Relaxed), 5);
}
