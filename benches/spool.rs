//! Appends with 64 tasks of 10 KiB calls, beside a plain loop of write and `fdatasync` on the same disk in the same run;
//! then how long a large spool takes to open.
//!
//! `cargo bench --bench spool`; `SPOOL_BENCH_DIR` says where (default: the temporary directory), `SPOOL_BENCH_GIB` how
//! large the spool to open is (default 1).

#![allow(clippy::expect_used)] // A measurement that cannot go on ends.

use std::{
    fs::File,
    io::Write as _,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use errata::spool::{Item, Options, Reader, Writer, open};

const TASKS: u64 = 64;
const ITEMS: u64 = 20;
const ITEM_BYTES: usize = 512;
const TIME: Duration = Duration::from_secs(4);

fn main() {
    let parent = std::env::var_os("SPOOL_BENCH_DIR").map_or_else(std::env::temp_dir, PathBuf::from);
    let gib: u64 = std::env::var("SPOOL_BENCH_GIB").ok().and_then(|gib| gib.parse().ok()).unwrap_or(1);
    let dir = parent.join(format!("errata-spool-bench-{}", std::process::id()));
    std::fs::create_dir_all(&dir).expect("a directory to write to");
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).build().expect("a runtime");
    for _ in 0..3 {
        raw(&dir, "raw, one call a sync", 1);
        raw(&dir, "raw, 64 calls a sync", TASKS as usize);
        runtime.block_on(append(&dir));
    }
    runtime.block_on(reopen(&dir, gib << 30));
    std::fs::remove_dir_all(&dir).expect("to remove what was made");
}

/// What the disk gives: `calls` calls' bytes a sync.
fn raw(dir: &Path, name: &str, calls: usize) {
    let mut file = File::create(dir.join("raw")).expect("a file");
    let bytes = vec![0xA5; calls * ITEMS as usize * ITEM_BYTES];
    let began = Instant::now();
    let mut syncs = 0;
    while began.elapsed() < TIME {
        file.write_all(&bytes).expect("to write");
        file.sync_data().expect("to sync");
        syncs += 1;
    }
    report(name, syncs * calls as u64 * ITEMS, syncs, began.elapsed());
}

fn report(name: &str, items: u64, syncs: u64, took: Duration) {
    let rate = items as f64 / took.as_secs_f64();
    let mib = rate * ITEM_BYTES as f64 / f64::from(1 << 20);
    println!("{name:24} {rate:>9.0} events/s {mib:>6.0} MiB/s {:>6.0} syncs/s", syncs as f64 / took.as_secs_f64());
}

fn options(dir: &Path) -> Options {
    Options {
        dir: dir.join("spool"),
        segment_bytes: 64 << 20,
        max_bytes: 64 << 30,
        reserve_bytes: 1 << 30,
        remembered_keys: 1 << 20,
    }
}

async fn append(dir: &Path) {
    let (writer, mut reader) = open(options(dir)).expect("to open");
    let syncs = Arc::new(AtomicU64::new(0));
    let count = Arc::clone(&syncs);
    writer.observe_syncs(move |_| {
        count.fetch_add(1, Ordering::Relaxed);
    });
    let began = Instant::now();
    let mut latencies = fill(&writer, move |_| began.elapsed() < TIME).await;
    let took = began.elapsed();
    latencies.sort_unstable();
    let at = |share: usize| latencies[latencies.len() * share / 100].as_secs_f64() * 1000.0;
    report("spool, 64 tasks", latencies.len() as u64 * ITEMS, syncs.load(Ordering::Relaxed), took);
    let longest = at(99).max(latencies[latencies.len() - 1].as_secs_f64() * 1000.0);
    println!("{:24} ack p50 {:.1} ms, p99 {:.1} ms, longest {longest:.1} ms", "", at(50), at(99));
    drain(&mut reader);
    writer.close().await;
}

/// Appends from all tasks while `go_on` says so; the time each call took.
async fn fill(writer: &Writer, go_on: impl Fn(&Writer) -> bool + Clone + Send + 'static) -> Vec<Duration> {
    let tasks: Vec<_> = (0..TASKS)
        .map(|task| {
            let (writer, go_on) = (writer.clone(), go_on.clone());
            tokio::spawn(async move {
                let mut latencies = Vec::new();
                let salt = u128::from(std::process::id()) << 96 | u128::from(task) << 64;
                let started = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
                let mut key = salt | started.as_micros() << 16;
                while go_on(&writer) {
                    let items = (0..ITEMS)
                        .map(|n| Item { key: key + u128::from(n), tag: task ^ n, payload: vec![0xA5; ITEM_BYTES] })
                        .collect();
                    key += u128::from(ITEMS);
                    let asked = Instant::now();
                    writer.append(items).await.expect("to append");
                    latencies.push(asked.elapsed());
                }
                latencies
            })
        })
        .collect();
    let mut latencies = Vec::new();
    for task in tasks {
        latencies.extend(task.await.expect("a task"));
    }
    latencies
}

fn drain(reader: &mut Reader) {
    let began = Instant::now();
    let (mut from, mut items) = (reader.start(), 0);
    loop {
        let chunk = reader.read(from, 100_000, 64 << 20).expect("to read");
        if chunk.end == from {
            break;
        }
        items += chunk.items.len();
        from = chunk.end;
        reader.forget(from).expect("to forget");
    }
    println!("{:24} {:>9.0} events/s read and forgotten", "", items as f64 / began.elapsed().as_secs_f64());
}

async fn reopen(dir: &Path, bytes: u64) {
    let (writer, _reader) = open(options(dir)).expect("to open");
    fill(&writer, move |writer| writer.stats().bytes < bytes).await;
    writer.close().await;
    let began = Instant::now();
    let (writer, _reader) = open(options(dir)).expect("to open");
    let opened = began.elapsed();
    let item = Item { key: 1, tag: u64::MAX, payload: vec![0; ITEM_BYTES] };
    writer.append(vec![item]).await.expect("to append");
    let stats = writer.stats();
    println!(
        "opening {:.1} GiB, {} items: {:.0} ms, first acknowledgement after {:.0} ms ({:?})",
        stats.bytes as f64 / f64::from(1 << 30),
        stats.items,
        opened.as_secs_f64() * 1000.0,
        began.elapsed().as_secs_f64() * 1000.0,
        writer.recovery()
    );
    let asked = Instant::now();
    let held = writer.holds(u64::MAX - 1);
    println!("asking for a tag that is not there: {:.1} ms ({held})", asked.elapsed().as_secs_f64() * 1000.0);
    writer.close().await;
}
