//! The same promise for request totals: what was acknowledged counts, and of what repeats, the latest.
//!
//! Each client has a total of its own that grows by one with each request, so that a lost total, one that is counted beside its
//! replacement, and an older one that comes last are each seen as a wrong number. With each fault a round ends, and the clients go on with
//! totals of a new one: else the next total would replace what a fault has lost.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use errata::clock::rfc3339;
use serde_json::{Value, json};
use tokio::task::JoinSet;

use super::{
    checker::Verdict,
    collector::{Collector, Setup},
    machine::{Disk, PATIENCE, eventually, random, times},
    rig::Rig,
};

const CLIENTS: usize = 4;

/// What a client sent last, and the last that it read a 202 for.
#[derive(Clone, Copy, Debug, Default)]
struct Count {
    sent: u64,
    acknowledged: u64,
}

/// Reporters at work.
struct Reporters {
    minute: String,
    round: Arc<AtomicUsize>,
    counts: Arc<Mutex<BTreeMap<String, Count>>>,
    stop: Arc<AtomicBool>,
    tasks: JoinSet<()>,
}

impl Reporters {
    fn start(setup: &Setup) -> Self {
        let now_ms = chrono::Utc::now().timestamp_millis();
        let minute = rfc3339(now_ms - now_ms.rem_euclid(60_000) - 600_000);
        let (round, counts, stop) = (Arc::default(), Arc::default(), Arc::default());
        let mut reporters = Self { minute, round, counts, stop, tasks: JoinSet::new() };
        let http = reqwest::Client::builder().timeout(Duration::from_secs(20)).build().unwrap();
        let token = std::fs::read_to_string(setup.data_dir.join("admin.token")).unwrap();
        for client in 0..CLIENTS {
            let reporter = Reporter {
                post: http.post(format!("{}/api/v1/request-totals", setup.url)).bearer_auth(token.trim()),
                client,
                minute: reporters.minute.clone(),
                round: Arc::clone(&reporters.round),
                counts: Arc::clone(&reporters.counts),
                stop: Arc::clone(&reporters.stop),
            };
            reporters.tasks.spawn(reporter.run());
        }
        reporters
    }

    fn acknowledged(&self) -> u64 {
        self.counts.lock().unwrap().values().map(|count| count.acknowledged).sum()
    }

    /// Waits until so many more totals are acknowledged.
    async fn more(&self, totals: u64) {
        let wanted = self.acknowledged() + totals;
        eventually("totals are acknowledged", PATIENCE, async || self.acknowledged() >= wanted).await;
    }

    /// Ends the round, while nobody listens: of what was sent in it, nothing more is taken.
    fn next_round(&self) {
        self.round.fetch_add(1, Ordering::Relaxed);
    }

    /// Ends the clients; what each sent and had acknowledged, by route.
    async fn stop(mut self) -> (String, BTreeMap<String, Count>) {
        self.stop.store(true, Ordering::Relaxed);
        while let Some(ended) = self.tasks.join_next().await {
            ended.unwrap();
        }
        (self.minute, self.counts.lock().unwrap().clone())
    }
}

struct Reporter {
    post: reqwest::RequestBuilder,
    client: usize,
    minute: String,
    round: Arc<AtomicUsize>,
    counts: Arc<Mutex<BTreeMap<String, Count>>>,
    stop: Arc<AtomicBool>,
}

impl Reporter {
    async fn run(self) {
        while !self.stop.load(Ordering::Relaxed) {
            self.report(self.round.load(Ordering::Relaxed)).await;
        }
    }

    /// Sends each count of a round until it is acknowledged, then the next.
    async fn report(&self, round: usize) {
        let route = format!("/rounds/{round}/clients/{}/", self.client);
        let is_over = || self.stop.load(Ordering::Relaxed) || self.round.load(Ordering::Relaxed) != round;
        for count in 1.. {
            self.note(&route, |of| of.sent = count);
            while !self.is_taken(&route, count).await {
                tokio::time::sleep(Duration::from_millis(10)).await; // as a client that tries again
                if is_over() {
                    return;
                }
            }
            self.note(&route, |of| of.acknowledged = count);
            if is_over() {
                return;
            }
        }
    }

    async fn is_taken(&self, route: &str, count: u64) -> bool {
        let total = json!({"minute": self.minute, "service": "shop", "environment": "test", "route": route,
            "method": "GET", "status": 200, "count": count, "reporter": "here"});
        let answer = self.post.try_clone().unwrap().json(&total).send().await;
        let Ok(answer) = answer else { return false };
        let status = answer.status().as_u16();
        // Only a whole answer acknowledges.
        let Ok(body) = answer.json::<Value>().await else { return false };
        assert!(status != 202 || body["data"]["accepted"] == 1, "{body}");
        status == 202
    }

    fn note(&self, route: &str, change: impl FnOnce(&mut Count)) {
        change(self.counts.lock().unwrap().entry(route.to_owned()).or_default());
    }
}

/// Holds what the rates count against what was acknowledged.
async fn check(collector: &Collector, reporters: Reporters, row: &str, done: &str) {
    let (minute, counts) = reporters.stop().await;
    assert!(counts.len() >= 2 * CLIENTS, "{counts:?}");
    let none_waits = async || collector.metric("errata_totals_pending").await == 0.0;
    eventually("the totals are delivered", PATIENCE, none_waits).await;
    for (route, count) in &counts {
        let path = format!("/api/v1/rates?group_by=route&step=1m&from={minute}&to=-1m&route={route}");
        let answer = collector.get(&path).await;
        // There is no series of what never was taken.
        let points = answer["series"].as_array().unwrap().iter().filter_map(|one| one["points"].as_array()).flatten();
        let requests: u64 = points.filter_map(|point| point["requests"].as_u64()).sum();
        // The last one sent may be in doubt.
        assert!(
            (count.acknowledged..=count.sent).contains(&requests),
            "{route}: {count:?}, and {requests} are counted"
        );
    }
    let acknowledged: u64 = counts.values().map(|count| count.acknowledged).sum();
    Verdict { acknowledged: acknowledged as usize, ..Verdict::default() }.report(row, done);
}

/// Row 1 · kill -9 of collector and ClickHouse while request totals are reported: the latest acknowledged count of each is what counts.
#[tokio::test(flavor = "multi_thread")]
async fn row_01_request_totals_outlive_kill_9() {
    let rig = Rig::start().await;
    let mut random = random();
    let mut collector = rig.collector().await;
    let reporters = Reporters::start(&rig.setup);
    let kills = times(3, 50);
    for kill in 0..kills {
        reporters.more(40).await;
        tokio::time::sleep(random.millis(0, 300)).await;
        if kill % 2 == 1 {
            rig.engine.kill();
        }
        collector.kill();
        reporters.next_round();
        if kill % 2 == 1 {
            rig.engine.revive().await;
        }
        collector = rig.setup.start().await;
    }
    reporters.more(40).await;
    check(&collector, reporters, "1", &format!("{kills} kills while totals are reported")).await;
}

/// Row 2 · Power cuts while request totals are reported: the same.
#[tokio::test(flavor = "multi_thread")]
async fn row_02_request_totals_outlive_power_cuts() {
    let rig = Rig::start().await;
    let Some(disk) = Disk::make(rig.dir.path(), 96, "") else { return };
    let mut setup = rig.setup.clone();
    setup.data_dir = disk.path().join("data");
    let mut random = random();
    let mut collector = setup.start().await;
    let reporters = Reporters::start(&setup);
    let cuts = times(2, 12);
    for _ in 0..cuts {
        reporters.more(40).await;
        tokio::time::sleep(random.millis(0, 300)).await;
        disk.cut();
        eventually("the collector ends without its disk", PATIENCE, async || collector.has_ended()).await;
        disk.restart();
        reporters.next_round();
        collector = setup.start().await;
    }
    reporters.more(40).await;
    check(&collector, reporters, "2", &format!("{cuts} power cuts while totals are reported")).await;
}
