//! Rollups: each stored event is counted once in each table, whatever fails. ([`Bench::drain`] checks it everywhere.)

use super::*;

const HANGS: [Fault; 2] = [Fault::Hang { stored: false }, Fault::Hang { stored: true }];

fn rolling_up_at(mut bench: Bench, events: u64) -> Bench {
    bench.deliverer.options.roll_up.events = events;
    bench
}

async fn ship_four_batches(bench: &Bench) {
    for start in [0, 8, 16, 24] {
        bench.ship(start..start + 8).await;
    }
}

fn groups(fake: &Fake) -> HashSet<Uuid> {
    fake.0.lock().unwrap().rollups.iter().map(|(_, group, _)| *group).collect()
}

#[tokio::test(start_paused = true)]
async fn whatever_fails_at_a_rollup_every_event_is_counted_once() {
    use RetryClass::{Ambiguous, Denied, Memory, Overloaded, Poison, Resend};
    for events in [1, 1000] {
        for at in 0..6 {
            for class in [Resend, Ambiguous, Overloaded, Memory, Poison, Denied] {
                for fault in [Fault::Before(class), Fault::After] {
                    let dir = tempfile::tempdir().unwrap();
                    let fake = Fake::default();
                    let faults = std::iter::repeat_n(Fault::None, at).chain([fault, fault, Fault::None, fault]);
                    fake.0.lock().unwrap().rollup_faults = faults.collect();
                    let bench = rolling_up_at(open(dir.path(), &fake), events);
                    bench.ship(0..20).await;
                    bench.drain().await;
                    assert_eq!(fake.keys(), (0..20).collect::<Vec<_>>());
                }
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_crash_at_any_rollup_neither_loses_nor_doubles_a_count() {
    for events in [1, 1000] {
        let tables = if events == 1 { 9 } else { 3 };
        for (at, hang) in (0..tables).flat_map(|at| HANGS.map(|hang| (at, hang))) {
            let dir = tempfile::tempdir().unwrap();
            let fake = Fake::default();
            fake.0.lock().unwrap().rollup_faults = std::iter::repeat_n(Fault::None, at).chain([hang]).collect();
            let bench = rolling_up_at(open(dir.path(), &fake), events);
            for start in [0, 8, 16] {
                bench.ship(start..start + 8).await;
            }
            bench.crash().await;
            // The next start is hit as well, where it counts what was lost from memory.
            fake.0.lock().unwrap().rollup_faults = [hang].into();
            let bench = open(dir.path(), &fake);
            bench.ship(24..30).await;
            bench.crash().await;
            open(dir.path(), &fake).drain().await;
            assert_eq!(fake.keys(), (0..30).collect::<Vec<_>>(), "{events} {at} {hang:?}");
        }
    }
}

/// Promise: what memory had counted when the collector died during a later insert is counted all the same.
#[tokio::test(start_paused = true)]
async fn a_crash_at_any_insert_keeps_the_counts_of_the_batches_before() {
    for (at, hang) in (0..4).flat_map(|at| HANGS.map(|hang| (at, hang))) {
        let dir = tempfile::tempdir().unwrap();
        let faults: Vec<_> = std::iter::repeat_n(Fault::None, at).chain([hang]).collect();
        let fake = Fake::failing(&faults);
        let bench = open(dir.path(), &fake);
        ship_four_batches(&bench).await;
        bench.crash().await;
        assert_eq!(groups(&fake).len(), 0, "counts are in memory still");
        open(dir.path(), &fake).drain().await;
        assert_eq!(fake.keys(), (0..32).collect::<Vec<_>>());
        assert_eq!(groups(&fake).len(), if at < 3 { 2 } else { 1 }, "all batches before the crash are one group");
    }
}

#[tokio::test(start_paused = true)]
async fn batches_that_come_together_are_rolled_up_together_and_within_their_time() {
    let dir = tempfile::tempdir().unwrap();
    let fake = Fake::default();
    let bench = open(dir.path(), &fake);
    ship_four_batches(&bench).await;
    let (stop, stopped) = watch::channel(false);
    let (metrics, age) = (Arc::clone(&bench.deliverer.metrics), bench.deliverer.options.roll_up.age);
    let first = bench.writer.clone();
    let watch = async {
        while first.stats().items > 0 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        assert_eq!((groups(&fake).len(), metrics.rollup_pending.get()), (0, 32));
        tokio::time::sleep(age + Duration::from_millis(20)).await;
        assert_eq!((groups(&fake).len(), metrics.rollup_pending.get()), (1, 0));
        stop.send(true).unwrap();
    };
    let (ended, ()) = tokio::join!(bench.deliverer.run(stopped), watch);
    ended.unwrap();
    assert_eq!(fake.0.lock().unwrap().sent.len(), 4, "batches");
    fake.check_rollups();
}

#[tokio::test(start_paused = true)]
async fn a_shutdown_rolls_up_what_is_pending_and_the_next_start_what_it_could_not() {
    for faults in [vec![], vec![Fault::Before(RetryClass::Resend); 5]] {
        let dir = tempfile::tempdir().unwrap();
        let fake = Fake::default();
        let fails = !faults.is_empty();
        fake.0.lock().unwrap().rollup_faults = faults.into();
        let bench = open(dir.path(), &fake);
        bench.ship(0..8).await;
        let (stop, stopped) = watch::channel(false);
        stop.send(true).unwrap();
        bench.deliverer.run(stopped).await.unwrap();
        assert_eq!(fake.keys().len(), 8);
        assert_eq!(groups(&fake).len(), usize::from(!fails));
        bench.writer.close().await;
        fake.0.lock().unwrap().rollup_faults.clear();
        open(dir.path(), &fake).drain().await;
    }
}

#[tokio::test(start_paused = true)]
async fn weeks_of_receipt_are_rolled_up_apart() {
    const WEEK_MS: i64 = 7 * 86_400_000;
    let dir = tempfile::tempdir().unwrap();
    let fake = Fake::default();
    let bench = open(dir.path(), &fake);
    let items = (0..6).map(|key| item(&event(key, key as i64 / 2 * WEEK_MS))).collect();
    bench.writer.append(items).await.unwrap();
    bench.drain().await;
    assert_eq!((fake.keys().len(), groups(&fake).len()), (6, 3));
}

/// Promise: a plan of an older version, which knows no groups, is followed, and later plans roll up as ever.
#[tokio::test(start_paused = true)]
async fn a_plan_without_groups_is_read() {
    let dir = tempfile::tempdir().unwrap();
    let fake = Fake::default();
    let bench = open(dir.path(), &fake);
    std::fs::create_dir_all(dir.path().join("deliver")).unwrap();
    std::fs::write(dir.path().join("deliver/plan.json"), r#"{"version":1,"start":0,"end":0,"batches":[]}"#).unwrap();
    bench.ship(0..8).await;
    bench.drain().await;
    assert_eq!(fake.keys().len(), 8);
}
