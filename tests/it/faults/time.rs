//! Rows about the clock: libfaketime moves it for the collector alone, while it runs.

use std::{fs, path::PathBuf};

use super::{checker::check_between, collector::Collector, machine::skip, rig::Rig};

const DAY_MS: i64 = 86_400_000;

/// The library, if this machine has it. In CI it must be there.
fn library() -> Option<PathBuf> {
    let folders = ["/usr/lib/x86_64-linux-gnu/faketime", "/usr/lib64/faketime", "/usr/lib/faketime"];
    let found = folders.iter().map(|folder| PathBuf::from(folder).join("libfaketime.so.1")).find(|file| file.exists());
    if found.is_none() {
        let why = "libfaketime is missing: apt-get install libfaketime";
        assert!(std::env::var_os("CI").is_none_or(|ci| ci.is_empty()), "{why}");
        skip("a test that moves the clock", why);
    }
    found
}

/// The clock jumps by ±1 hour and ±1 year under load, with ClickHouse there and away, and over restarts: what is acknowledged is there
/// once, what is refused is refused with a reason, gauges of age are no nonsense.
///
/// Row 29 · Clock ±1 h, ±1 year: sane.
#[tokio::test(flavor = "multi_thread")]
async fn row_29_a_clock_that_jumps() {
    let Some(library) = library() else { return };
    let mut rig = Rig::start().await;
    let offset = rig.dir.path().join("offset");
    let set = |jump: &str| fs::write(&offset, jump).unwrap();
    set("+0");
    for (name, value) in [
        ("LD_PRELOAD", library.to_str().unwrap()),
        ("FAKETIME_TIMESTAMP_FILE", offset.to_str().unwrap()),
        ("FAKETIME_NO_CACHE", "1"),
        ("FAKETIME_DONT_FAKE_MONOTONIC", "1"),
    ] {
        rig.setup = rig.setup.clone().with(name, value);
    }
    let mut collector = rig.collector().await;
    // At a time of its own, so that a client's retry is never refused for the jump between.
    let mut load = rig.load();
    load.timestamp_ms = None;
    let load = load.start(&rig.ledger);
    let jumps = ["+1h", "-1h", "+365d", "-365d", "+0"];
    for (number, jump) in jumps.iter().enumerate() {
        if number % 2 == 0 {
            rig.proxy.refuse();
        } else {
            rig.proxy.pass();
        }
        set(jump);
        load.acknowledged(50).await;
        assert!(collector.is_ready().await, "{jump}");
        for gauge in ["errata_spool_oldest_seconds", "errata_visible_lag_seconds"] {
            let age = collector.metric(gauge).await;
            assert!((0.0..=800.0 * 86_400.0).contains(&age), "{gauge} is {age} after {jump}");
        }
        if number % 2 == 1 {
            collector.kill();
            collector = rig.setup.start().await;
        }
    }
    assert_refused_with_a_reason(&rig, &collector, &offset).await;
    rig.proxy.pass();
    load.stop().await;
    let now = chrono::Utc::now().timestamp_millis();
    let verdict = check_between(&collector, &rig.ledger, now - 400 * DAY_MS, now + 400 * DAY_MS).await;
    verdict.report("29", &format!("{} jumps of the clock", jumps.len()));
    verdict.assert_kept();
}

/// An event whose time is far ahead of a clock that is a year late is refused, and told why.
async fn assert_refused_with_a_reason(rig: &Rig, collector: &Collector, offset: &std::path::Path) {
    fs::write(offset, "-365d").unwrap();
    let (status, body) = rig.load().ship(&rig.ledger, 1).await;
    assert_eq!(status, 422, "{body}");
    assert!(body["data"]["rejections"][0]["errors"]["timestamp"][0].is_string(), "{body}");
    fs::write(offset, "+0").unwrap();
    assert_eq!(collector.metric("errata_books_imbalance_events").await, 0.0);
}
