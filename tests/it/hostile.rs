//! A thousand malformed inputs: each is answered in the envelope with the right code, none costs memory that stays.

mod kinds;
mod values;

use std::{
    io::{BufRead, BufReader, Read as _},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use errata::state::{Limit, Role};
use reqwest::StatusCode;
use serde_json::{Value, json};

use self::kinds::{Input, KINDS};
use crate::collector::{Collector, event};

/// Inputs sent (issue A).
const INPUTS: usize = 1000;

/// By how much the collector's resident memory may grow over all of them (issue A), bytes.
const MAX_GROWTH: u64 = 64 << 20;

/// By how much it may at any moment exceed what it was, bytes: a body of 16 MiB, its 64 MiB decompressed, and as much again
/// for what is being decoded, delivered and answered.
const MAX_PEAK: u64 = 256 << 20;

/// Random numbers from a seed (splitmix64).
pub struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `end`.
    fn below(&mut self, end: usize) -> usize {
        (self.next() % end as u64) as usize
    }

    fn of<T: Clone>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len())].clone()
    }
}

/// A collector in a process of its own, so that its memory is its own.
struct Apart {
    process: Child,
    collector: Collector,
}

impl Apart {
    fn start(data_dir: &std::path::Path) -> Self {
        crate::engine::library();
        let mut process = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "hostile::collector_to_be_fed", "--ignored", "--nocapture"])
            .env("ERRATA_TEST_DIR", data_dir)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(process.stdout.take().unwrap()).lines().map_while(Result::ok);
        let line = lines.find_map(|line| line.strip_prefix("collector ").map(str::to_owned));
        let line = line.expect("the collector starts");
        let (url, token) = line.split_once(' ').unwrap();
        std::thread::spawn(move || lines.for_each(drop)); // its output must not fill the pipe
        Self { process, collector: Collector::at(url, token) }
    }

    /// Resident memory now and at its peak since [`Apart::reset_peak`], bytes.
    fn memory(&self) -> (u64, u64) {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.process.id())).unwrap();
        let kib = |name: &str| {
            let value = status.lines().find_map(|line| line.strip_prefix(name)?.trim().strip_suffix(" kB"));
            value.unwrap().parse::<u64>().unwrap()
        };
        (kib("VmRSS:") << 10, kib("VmHWM:") << 10)
    }

    fn reset_peak(&self) {
        std::fs::write(format!("/proc/{}/clear_refs", self.process.id()), "5").unwrap();
    }

    /// Ends it as SIGTERM would; it must end well.
    fn stop(mut self) {
        drop(self.process.stdin.take());
        assert!(self.process.wait().unwrap().success(), "the collector ended badly");
    }
}

/// What [`a_thousand_malformed_inputs`] feeds: runs until its standard input ends.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "a part of the other test, which runs it in a process of its own"]
async fn collector_to_be_fed() {
    let dir = std::env::var_os("ERRATA_TEST_DIR").expect("run by the other test");
    let collector = Collector::start(dir.as_ref()).await;
    println!("\ncollector {} {}", collector.url, collector.token);
    tokio::task::spawn_blocking(|| std::io::stdin().read_to_end(&mut Vec::new())).await.unwrap().unwrap();
    collector.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_malformed_inputs_are_answered_rightly_within_bounded_memory() {
    let seed = std::env::var("ERRATA_TEST_SEED").map_or_else(|_| rand_seed(), |seed| seed.parse().unwrap());
    println!("seed {seed}: repeat with ERRATA_TEST_SEED={seed}");
    let mut random = Random(seed);
    let dir = tempfile::tempdir().unwrap();
    let apart = Apart::start(dir.path());
    let collector = &apart.collector;
    warm_up(collector).await;
    apart.reset_peak();
    let (before, _) = apart.memory();

    let mut kinds: Vec<_> = KINDS.iter().flat_map(|kind| std::iter::repeat_n(kind, kind.count)).collect();
    assert_eq!(kinds.len(), INPUTS);
    for at in (1..kinds.len()).rev() {
        kinds.swap(at, random.below(at + 1));
    }
    let mut peaks: Vec<(u64, &str)> = Vec::new();
    for kind in kinds {
        let input = (kind.make)(&mut random);
        apart.reset_peak();
        let began = Instant::now();
        send(collector, kind.name, input).await;
        let (now, peak) = apart.memory();
        peaks.push((peak.saturating_sub(before), kind.name));
        if std::env::var_os("ERRATA_TEST_TRACE").is_some() {
            println!(
                "{:30} {:8?} rss +{} peak +{} MiB",
                kind.name,
                began.elapsed(),
                now.saturating_sub(before) >> 20,
                peak.saturating_sub(before) >> 20
            );
        }
    }

    collector.ship(&[event("req_after_all_that", 422)]).await;
    collector.found("req_after_all_that").await;
    collector.delivered().await;
    assert_eq!(collector.metric("errata_books_imbalance_events").await, 0.0);
    // What the last delivery took is given back just after it has ended: the least of some seconds is what stays.
    let mut after = u64::MAX;
    for _ in 0..60 {
        after = after.min(apart.memory().0);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    peaks.sort_unstable();
    let (highest, of) = peaks[peaks.len() - 1];
    println!(
        "resident: {} MiB after the warm-up, {} MiB at the end, at most {} MiB more than before ({of})",
        before >> 20,
        after >> 20,
        highest >> 20
    );
    assert!(after.saturating_sub(before) < MAX_GROWTH, "grew from {before} to {after} bytes");
    assert!(highest < MAX_PEAK, "{of} took {highest} bytes");
    apart.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_of_several_chunks_is_charged_to_a_quota_as_a_whole() {
    let dir = tempfile::tempdir().unwrap();
    let mut collector = Collector::start(dir.path()).await;
    let limit = Limit { events: 6000, seconds: 3600 };
    collector.token = crate::contract::token(dir.path(), "default", &[Role::Ingest, Role::Sre], Some(limit), None);
    let mut events: Vec<Value> = (0..6001).map(|n| event(&format!("req_quota_{n}"), 422)).collect();
    let (status, body) = collector.ship(&events).await;
    assert_eq!((status.as_u16(), &body["error"]), (429, &json!("Rate limit exceeded")), "{body}");
    assert_eq!(collector.metric("errata_spool_events").await, 0.0, "nothing of it was kept");
    // A reject costs nothing.
    events[3000]["status"] = json!(200);
    let (status, body) = collector.ship(&events).await;
    assert_eq!(status, 202, "{body}");
    assert_eq!((&body["data"]["accepted"], &body["data"]["rejections"][0]["index"]), (&json!(6000), &json!(3000)));
    let (status, body) = collector.ship(&[event("req_quota_more", 422)]).await;
    assert_eq!(status, 429, "{body}");
    collector.stop().await.unwrap();
}

fn rand_seed() -> u64 {
    uuid::Uuid::new_v4().as_u64_pair().0
}

/// Ordinary traffic, so that what is allocated once is not held against the inputs.
async fn warm_up(collector: &Collector) {
    for batch in 0..20 {
        let events: Vec<Value> = (0..500).map(|n| event(&format!("req_warm_{batch}_{n}"), 422)).collect();
        let (status, body) = collector.ship(&events).await;
        assert_eq!(status, 202, "{body}");
    }
    collector.delivered().await;
    collector.found("req_warm_0_0").await;
}

async fn send(collector: &Collector, kind: &str, input: Input) {
    let request = collector.request(reqwest::Method::POST, "/api/v1/events");
    let request = input.headers.iter().fold(request, |request, (name, value)| request.header(*name, value));
    let start: Vec<u8> = input.body.iter().take(300).copied().collect();
    let shown = format!("{kind} {:?} {:?}", input.headers, String::from_utf8_lossy(&start));
    let response = request.body(input.body).send().await.unwrap_or_else(|error| panic!("{shown}: {error:?}"));
    let (status, headers) = (response.status(), response.headers().clone());
    let body = response.text().await.unwrap();
    assert_eq!(status.as_u16(), input.expected, "{shown}: {body:.1000}");
    let body: Value = serde_json::from_str(&body).unwrap_or_else(|error| panic!("{shown}: {error}: {body}"));
    assert_eq!(headers["content-type"], "application/json", "{shown}");
    assert_eq!(headers["x-request-id"].to_str().unwrap(), body["request_id"], "{shown}");
    if status == StatusCode::ACCEPTED {
        assert_eq!(body["success"], true, "{shown}");
        let taken = |name: &str| body["data"][name].as_u64().unwrap();
        let rest = taken("accepted") + taken("duplicates");
        assert!(
            rest > 0 && input.rejected.is_none_or(|rejected| rejected == taken("rejected")),
            "{shown}: {body:.1000}"
        );
    } else {
        assert_eq!(body["success"], false, "{shown}");
        assert!(body["error"].as_str().is_some_and(|error| !error.is_empty()), "{shown}: {body}");
        assert!(body["errors"].as_object().is_some_and(|errors| !errors.is_empty()), "{shown}: {body}");
    }
}
