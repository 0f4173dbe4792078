//! Delivery against a destination that fails as told. The spool, the plan and the quarantine are real files.

mod crossings;
mod erasures;
mod fake;
mod rollups;

use std::{
    collections::{BTreeMap, HashSet, VecDeque},
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
    time::Duration,
};

use tokio::sync::watch;
use uuid::Uuid;

use super::{
    BatchRef, Books, Deliverer, Destination, Earlier, Failure, InsertError, Options, RetryClass, Rows, Stored,
    quarantine::Quarantine,
    rollup::{Counts, Pending},
    tombstones::Tombstones,
};
use crate::{
    clock::Clock,
    event::{Event, EventKey, Marks, RequestId, codec},
    metrics::Metrics,
    spool::{self, Item, Writer},
    store::rollup::{Group, RollupTable},
};
use fake::{Fake, Fault};

fn event(key: u128, received_at_ms: i64) -> Event {
    let request_id = RequestId::parse(&format!("req_{key}")).unwrap();
    Event {
        project: "p".into(),
        key: EventKey(key),
        event_id: String::new(),
        request_id,
        timestamp_ms: key as i64 * 60_000,
        received_at_ms,
        status: 422,
        service: String::new(),
        environment: String::new(),
        release: String::new(),
        host: String::new(),
        method: String::new(),
        path: String::new(),
        route: String::new(),
        error: String::new(),
        error_template: String::new(),
        code: String::new(),
        errors: vec![],
        response: String::new(),
        account_id: String::new(),
        user_id: String::new(),
        duration_ms: None,
        rate_limit: None,
        client_ip: String::new(),
        user_agent: String::new(),
        trace_id: String::new(),
        span_id: String::new(),
        request_headers: vec![],
        response_headers: vec![],
        exception: None,
        attributes: vec![],
        fingerprint: 0,
        marks: Marks::default(),
    }
}

fn item(event: &Event) -> Item {
    Item { key: event.key.0, tag: 0, payload: codec::encode(event) }
}

/// A spool and a deliverer over a directory.
struct Bench {
    writer: Writer,
    books: Arc<Books>,
    quarantine: Quarantine,
    deliverer: Deliverer<Fake>,
}

fn open(dir: &Path, destination: &Fake) -> Bench {
    let (writer, reader) = spool::open(spool::Options {
        dir: dir.join("spool"),
        segment_bytes: 1 << 20,
        max_bytes: 64 << 20,
        reserve_bytes: 0,
        remembered_keys: 1000,
    })
    .unwrap();
    let books = Arc::new(Books::default());
    let metrics = Arc::new(Metrics::new().unwrap());
    metrics.rollup_pending.set(1);
    let quarantine = Quarantine::open(dir.join("quarantine")).unwrap();
    let deliverer = Deliverer {
        options: Options { max_rows: 8, ..Options::new(dir.join("deliver")) },
        reader,
        writer: writer.clone(),
        destination: destination.clone(),
        quarantine: quarantine.clone(),
        books: Arc::clone(&books),
        metrics,
        origins: Arc::default(),
        clock: Clock::system(),
        tombstones: Arc::new(Tombstones::new(vec![], HashSet::new(), Box::new(|_| Ok(())))),
        earlier: Earlier::default(),
        pending: Pending::default(),
    };
    Bench { writer, books, quarantine, deliverer }
}

impl Bench {
    /// Delivers until the destination hangs, and then crashes.
    async fn crash(self) {
        let (_stop, stopped) = watch::channel(false);
        let crashed = tokio::time::timeout(Duration::from_secs(60), self.deliverer.run(stopped)).await;
        assert!(crashed.is_err(), "delivery hangs");
        self.writer.close().await;
    }

    async fn ship(&self, keys: std::ops::Range<u128>) {
        self.writer.append(keys.map(|key| item(&event(key, 0))).collect()).await.unwrap();
    }

    /// Runs delivery until the spool is empty and everything is rolled up, and hands back what can be asked afterwards.
    async fn drain(self) -> (Writer, Arc<Books>, Quarantine) {
        let Self { writer, books, quarantine, deliverer } = self;
        let (destination, metrics) = (deliverer.destination.clone(), Arc::clone(&deliverer.metrics));
        let (stop, stopped) = watch::channel(false);
        let spool = writer.clone();
        let delivery = async { deliverer.run(stopped).await.unwrap() };
        let empty = async {
            while spool.stats().items > 0 || metrics.rollup_pending.get() > 0 {
                tokio::time::sleep(Duration::from_millis(10)).await; // on a paused clock: no real time
            }
            stop.send(true).unwrap();
        };
        tokio::join!(delivery, empty);
        destination.check_rollups();
        (writer, books, quarantine)
    }
}

#[tokio::test(start_paused = true)]
async fn whatever_fails_every_event_is_stored_exactly_once() {
    use RetryClass::{Ambiguous, Denied, Overloaded, Resend};
    let before = Fault::Before;
    let cases: [&[Fault]; 9] = [
        &[],
        &[before(Resend), before(Resend)],
        &[before(Ambiguous)],
        &[before(Overloaded), before(Denied)],
        &[Fault::After],
        &[Fault::Half],
        &[Fault::Half, Fault::Half, Fault::After],
        &[Fault::None, Fault::After, before(Ambiguous)],
        &[before(Denied), Fault::Half, before(Resend), before(Overloaded), Fault::After],
    ];
    for faults in cases {
        let dir = tempfile::tempdir().unwrap();
        let fake = Fake::failing(faults);
        let bench = open(dir.path(), &fake);
        bench.ship(0..5).await;
        bench.ship(5..20).await;
        let (writer, books, quarantine) = bench.drain().await;
        assert_eq!(fake.keys(), (0..20).collect::<Vec<_>>(), "{faults:?}");
        assert_eq!(books.imbalance(&writer).0, 0, "{faults:?}");
        assert_eq!(quarantine.list().unwrap(), [], "{faults:?}");
        assert_eq!(writer.stats().items, 0, "{faults:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_crash_at_any_insert_loses_nothing_and_doubles_nothing() {
    for stored in [false, true] {
        for crash_at in 0..3 {
            let dir = tempfile::tempdir().unwrap();
            let mut faults = vec![Fault::None; crash_at];
            faults.push(Fault::Hang { stored });
            let fake = Fake::failing(&faults);
            let bench = open(dir.path(), &fake);
            for start in [0, 8, 16] {
                bench.ship(start..start + 8).await;
            }
            let (_stop, stopped) = watch::channel(false);
            let crashed = tokio::time::timeout(Duration::from_secs(60), bench.deliverer.run(stopped)).await;
            assert!(crashed.is_err(), "delivery hangs at insert {crash_at}");
            bench.writer.close().await;
            let (writer, books, _) = open(dir.path(), &fake).drain().await;
            assert_eq!(fake.keys(), (0..24).collect::<Vec<_>>(), "crash at {crash_at}, stored: {stored}");
            assert_eq!(books.imbalance(&writer).0, 0);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_poison_row_is_set_aside_alone_and_can_be_delivered_later() {
    let dir = tempfile::tempdir().unwrap();
    let fake = Fake::default();
    fake.0.lock().unwrap().poison = HashSet::from([EventKey(3), EventKey(6)]);
    let bench = open(dir.path(), &fake);
    bench.ship(0..8).await;
    let (writer, books, quarantine) = bench.drain().await;
    assert_eq!(fake.keys(), [0, 1, 2, 4, 5, 7]);
    assert_eq!(books.imbalance(&writer).0, 0);
    let entries = quarantine.list().unwrap();
    let ids: Vec<_> = entries.iter().map(|entry| entry.request_id.clone().unwrap()).collect();
    assert_eq!(ids, ["req_3", "req_6"]);
    assert!(entries[0].reason.contains("Poison"), "{}", entries[0].reason);

    writer.close().await;
    fake.0.lock().unwrap().poison.clear();
    let bench = open(dir.path(), &fake);
    let (_, item, event) = quarantine.get(&entries[0].id).unwrap();
    assert_eq!(event.unwrap().key, EventKey(3));
    bench.writer.append_again(vec![item]).await.unwrap();
    quarantine.remove(&entries[0].id).unwrap();
    bench.drain().await;
    assert_eq!(fake.keys(), [0, 1, 2, 3, 4, 5, 7]);
    assert_eq!(quarantine.list().unwrap().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn tables_that_refuse_even_an_empty_batch_cost_no_event() {
    let dir = tempfile::tempdir().unwrap();
    let fake = Fake::default();
    fake.0.lock().unwrap().drifted = 5;
    let bench = open(dir.path(), &fake);
    bench.ship(0..8).await;
    let (_, _, quarantine) = bench.drain().await;
    assert_eq!(fake.keys(), (0..8).collect::<Vec<_>>());
    assert_eq!(quarantine.list().unwrap(), []);
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_decoded_is_set_aside() {
    let dir = tempfile::tempdir().unwrap();
    let fake = Fake::default();
    let bench = open(dir.path(), &fake);
    let strange = Item { key: 9, tag: 0, payload: vec![255, 1, 2] };
    let mut broken = item(&event(10, 0));
    broken.payload.pop();
    let items = vec![item(&event(1, 0)), strange.clone(), item(&event(2, 0)), broken.clone(), item(&event(3, 0))];
    bench.writer.append(items).await.unwrap();
    let (writer, books, quarantine) = bench.drain().await;
    assert_eq!(fake.keys(), [1, 2, 3]);
    assert_eq!(books.imbalance(&writer).0, 0);
    let entries = quarantine.list().unwrap();
    let kept: Vec<_> = entries.iter().map(|entry| quarantine.get(&entry.id).unwrap().1).collect();
    assert!(kept.contains(&strange) && kept.contains(&broken) && kept.len() == 2, "{kept:?}");
    assert!(entries.iter().any(|entry| entry.reason.contains("version 255")), "{entries:?}");
}

/// Promise: what the log loses between the plan and the insert is counted as damaged, and costs no other event.
#[tokio::test(start_paused = true)]
async fn a_record_that_is_damaged_while_its_batch_is_under_way_costs_its_own_events_only() {
    let records = [0..3, 3..5, 5..8];
    for damaged in 0..records.len() {
        let dir = tempfile::tempdir().unwrap();
        let fake = Fake::default();
        let bench = open(dir.path(), &fake);
        let segment = dir.path().join("spool/00000000000000000000.seg");
        let mut ends = vec![];
        for record in &records {
            bench.ship(record.clone()).await;
            ends.push(std::fs::metadata(&segment).unwrap().len() as usize);
        }
        fake.0.lock().unwrap().flip = Some((segment, ends[damaged] - 1));
        let (writer, books, quarantine) = bench.drain().await;
        let left = records.iter().enumerate().filter(|(n, _)| *n != damaged);
        assert_eq!(fake.keys(), left.flat_map(|(_, keys)| keys.clone()).collect::<Vec<_>>(), "record {damaged}");
        assert_eq!(writer.stats().damaged, records[damaged].clone().count() as u64);
        assert_eq!((books.imbalance(&writer).0, quarantine.list().unwrap().len()), (0, 0));
    }
}

#[tokio::test(start_paused = true)]
async fn a_batch_never_spans_two_weeks_of_receipt() {
    const WEEK_MS: i64 = 7 * 86_400_000;
    // The Monday of the first whole week after the Unix epoch.
    const MONDAY_MS: i64 = 4 * 86_400_000;
    let dir = tempfile::tempdir().unwrap();
    let fake = Fake::default();
    let bench = open(dir.path(), &fake);
    let times = [MONDAY_MS - 1, MONDAY_MS, MONDAY_MS + WEEK_MS - 1, MONDAY_MS + WEEK_MS];
    let items = times.iter().zip(1..).map(|(ms, key)| item(&event(key, *ms))).collect();
    bench.writer.append(items).await.unwrap();
    bench.drain().await;
    let batches: Vec<usize> = fake.0.lock().unwrap().sent.values().map(Vec::len).collect();
    assert_eq!(batches, [1, 2, 1]);
}

#[tokio::test(start_paused = true)]
async fn a_shutdown_ends_the_retries_and_keeps_the_events() {
    let dir = tempfile::tempdir().unwrap();
    let fake = Fake::failing(&[Fault::Before(RetryClass::Resend); 1000]);
    let bench = open(dir.path(), &fake);
    bench.ship(0..8).await;
    let (stop, stopped) = watch::channel(false);
    let ((), ended) = tokio::join!(
        async {
            tokio::time::sleep(Duration::from_secs(30)).await;
            stop.send(true).unwrap();
        },
        bench.deliverer.run(stopped)
    );
    ended.unwrap();
    assert_eq!(bench.writer.stats().items, 8);
    bench.writer.close().await;
    fake.0.lock().unwrap().faults.clear();
    open(dir.path(), &fake).drain().await;
    assert_eq!(fake.keys(), (0..8).collect::<Vec<_>>());
}

#[tokio::test(start_paused = true)]
async fn a_batch_that_never_fits_the_memory_is_sent_in_smaller_ones() {
    let dir = tempfile::tempdir().unwrap();
    let fake = Fake::default();
    fake.0.lock().unwrap().fits = 3;
    let bench = open(dir.path(), &fake);
    bench.ship(0..8).await;
    let (writer, books, quarantine) = bench.drain().await;
    assert_eq!(fake.keys(), (0..8).collect::<Vec<_>>());
    assert_eq!((books.imbalance(&writer).0, quarantine.list().unwrap().len()), (0, 0));
}

/// Promise: a plan that is about other events than the log holds neither hides nor doubles one.
#[tokio::test(start_paused = true)]
async fn a_plan_of_another_log_loses_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let fake = Fake::default();
    let bench = open(dir.path(), &fake);
    bench.ship(0..16).await;
    let (writer, _, _) = bench.drain().await;
    writer.close().await;
    // The plan of the last batch is still there; its log is not.
    std::fs::remove_dir_all(dir.path().join("spool")).unwrap();
    let bench = open(dir.path(), &fake);
    bench.ship(100..105).await;
    let (writer, books, _) = bench.drain().await;
    assert_eq!(fake.keys(), (0..16).chain(100..105).collect::<Vec<_>>());
    assert_eq!(books.imbalance(&writer).0, 0);
}

#[tokio::test(start_paused = true)]
async fn what_a_plan_had_stored_of_a_log_that_changed_is_not_stored_again() {
    let dir = tempfile::tempdir().unwrap();
    // Stored, and then the collector dies before it knows.
    let fake = Fake::failing(&[Fault::Hang { stored: true }]);
    let bench = open(dir.path(), &fake);
    bench.ship(0..8).await;
    let (_stop, stopped) = watch::channel(false);
    let crashed = tokio::time::timeout(Duration::from_secs(60), bench.deliverer.run(stopped)).await;
    assert!(crashed.is_err());
    bench.writer.close().await;
    // The log comes back with the same events and others between them.
    std::fs::remove_dir_all(dir.path().join("spool")).unwrap();
    let bench = open(dir.path(), &fake);
    bench.ship(50..54).await;
    bench.ship(0..8).await;
    let (writer, books, _) = bench.drain().await;
    assert_eq!(fake.keys(), (0..8).chain(50..54).collect::<Vec<_>>());
    assert_eq!(books.imbalance(&writer).0, 0);
}

/// Promise: what a plan's range has and its batches have not is delivered, not forgotten.
#[tokio::test(start_paused = true)]
async fn a_plan_with_more_in_its_range_than_in_its_batches_loses_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let fake = Fake::failing(&[Fault::Hang { stored: true }]);
    let bench = open(dir.path(), &fake);
    bench.ship(0..8).await;
    let (_stop, stopped) = watch::channel(false);
    let file = bench.deliverer.options.dir.join("plan.json");
    assert!(tokio::time::timeout(Duration::from_secs(60), bench.deliverer.run(stopped)).await.is_err());
    bench.writer.append((8..12).map(|key| item(&event(key, 0))).collect()).await.unwrap();
    bench.writer.close().await;
    // As version 1 wrote it: without a checksum, which would tell.
    let mut plan: serde_json::Value = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
    plan["version"] = 1.into();
    plan["end"] = 12.into();
    plan.as_object_mut().unwrap().remove("crc");
    std::fs::write(&file, plan.to_string()).unwrap();
    let (writer, books, _) = open(dir.path(), &fake).drain().await;
    assert_eq!(fake.keys(), (0..12).collect::<Vec<_>>());
    assert_eq!(books.imbalance(&writer).0, 0);
}
