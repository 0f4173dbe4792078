//! Events that are erased while they wait: left out, whatever crashes, and none that a plan has already.

use super::{super::tombstones::Tombstone, *};
use crate::event::erasure::Erasable;

/// Tombstones over a file's worth of memory that outlives a crash, as the state database does.
fn tombstones(noted: &Arc<Mutex<HashSet<EventKey>>>, users: &[&str]) -> Arc<Tombstones> {
    let tombstone = |user: &&str| Tombstone {
        erasure: (*user).to_owned(),
        project: "p".into(),
        what: Erasable::User((*user).to_owned()),
        until_ms: 100,
    };
    let (known, note) = (noted.lock().unwrap().clone(), Arc::clone(noted));
    Arc::new(Tombstones::new(
        users.iter().map(tombstone).collect(),
        known,
        Box::new(move |events| {
            note.lock().unwrap().extend(events.iter().map(|event| event.key));
            Ok(())
        }),
    ))
}

/// Events whose user is `gone` where the key is even; each received at 50, the last one at 101.
async fn ship(bench: &Bench, keys: std::ops::Range<u128>) {
    let last = keys.end - 1;
    let of_user = |key| {
        let received_at_ms = if key == last { 101 } else { 50 };
        Event { user_id: if key % 2 == 0 { "gone".into() } else { "stays".into() }, ..event(key, received_at_ms) }
    };
    bench.writer.append(keys.map(|key| item(&of_user(key))).collect()).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn what_is_erased_is_left_out_whatever_crashes() {
    for faults in [
        &[][..],
        &[Fault::Hang { stored: false }],
        &[Fault::Hang { stored: true }],
        &[Fault::None, Fault::Hang { stored: true }],
    ] {
        let dir = tempfile::tempdir().unwrap();
        let (fake, noted) = (Fake::failing(faults), Arc::default());
        let bench = open(dir.path(), &fake);
        ship(&bench, 0..13).await;
        let mut bench = bench;
        bench.deliverer.tombstones = tombstones(&noted, &["gone"]);
        if !faults.is_empty() {
            bench.crash().await;
            bench = open(dir.path(), &fake);
            bench.deliverer.tombstones = tombstones(&noted, &["gone"]);
        }
        let metrics = Arc::clone(&bench.deliverer.metrics);
        let (writer, books, _) = bench.drain().await;
        // 12 came after the erasure.
        assert_eq!(fake.keys(), [1, 3, 5, 7, 9, 11, 12], "{faults:?}");
        assert_eq!(noted.lock().unwrap().len(), 6, "{faults:?}");
        assert_eq!((books.imbalance(&writer).0, writer.stats().items), (0, 0), "{faults:?}");
        assert!(metrics.erased_events.get() <= 6);
    }
}

/// A plan is delivered as it was made: the erasure deletes from ClickHouse afterwards.
#[tokio::test(start_paused = true)]
async fn a_plan_from_before_an_erasure_is_followed_and_the_rest_is_left_out() {
    for stored in [false, true] {
        let dir = tempfile::tempdir().unwrap();
        let (fake, noted) = (Fake::failing(&[Fault::Hang { stored }]), Arc::default());
        let bench = open(dir.path(), &fake);
        ship(&bench, 0..9).await;
        bench.crash().await;
        let mut bench = open(dir.path(), &fake);
        ship(&bench, 20..25).await;
        bench.deliverer.tombstones = tombstones(&noted, &["gone"]);
        let (writer, books, _) = bench.drain().await;
        assert_eq!(fake.keys(), (0..9).chain([21, 23, 24]).collect::<Vec<_>>(), "{stored}");
        assert_eq!(noted.lock().unwrap().len(), 2);
        assert_eq!(books.imbalance(&writer).0, 0);
    }
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_noted_is_not_left_out_and_nothing_is_lost() {
    let dir = tempfile::tempdir().unwrap();
    let fake = Fake::default();
    let mut bench = open(dir.path(), &fake);
    ship(&bench, 0..5).await;
    let failures = Arc::new(Mutex::new(2));
    let left = Arc::clone(&failures);
    let tombstone =
        Tombstone { erasure: "e".into(), project: "p".into(), what: Erasable::User("gone".into()), until_ms: 100 };
    let note = move |_: &[super::super::tombstones::Withheld]| {
        let mut left = left.lock().unwrap();
        if *left == 0 {
            return Ok(());
        }
        *left -= 1;
        Err("the disk is full".to_owned())
    };
    bench.deliverer.tombstones = Arc::new(Tombstones::new(vec![tombstone], HashSet::new(), Box::new(note)));
    let (writer, books, _) = bench.drain().await;
    assert_eq!((fake.keys(), *failures.lock().unwrap()), (vec![1, 3, 4], 0));
    assert_eq!(books.imbalance(&writer).0, 0);
}
