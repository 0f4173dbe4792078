//! Kill -9 of the collector and of its engine, in the middle of an import by the command line.

use std::{
    collections::HashSet,
    fs::File,
    io::Read,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    time::{Duration, Instant},
};

use errata::event::RequestId;

use crate::collector::rustls_provider;

/// Lines of the captured traffic, and how often each is imported: long enough to be killed ten times in the middle.
const LINES: u64 = 11_260;
const COPIES: u64 = 3;

/// How long any step may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

fn errata(data_dir: &Path, url: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_errata"));
    command
        .env("ERRATA_DATA_DIR", data_dir)
        .env("ERRATA_LISTEN", url.trim_start_matches("http://"))
        .env("ERRATA_URL", url)
        .env("ERRATA_RETENTION_DAYS", "3650")
        .env("ERRATA_SPOOL__RESERVE_BYTES", "1MiB")
        .env("XDG_STATE_HOME", data_dir.join("cli-state"))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    command
}

/// A collector as a process, killed with the test.
struct Process {
    child: Child,
    url: String,
    client: reqwest::Client,
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

impl Process {
    async fn serve(data_dir: &Path, url: &str) -> Self {
        let child = errata(data_dir, url).arg("serve").spawn().unwrap();
        let process = Self { child, url: url.to_owned(), client: reqwest::Client::new() };
        process.until("the collector answers", || async { process.metrics().await.is_some() }).await;
        process
    }

    /// SIGKILL, and reaped.
    fn kill(&mut self) {
        let _ = self.child.kill(); // it may have ended
        let _ = self.child.wait();
    }

    /// The process of the embedded engine: the collector's only child.
    fn engine(&self) -> Option<u32> {
        let tasks = std::fs::read_dir(format!("/proc/{}/task", self.child.id())).ok()?;
        let children = tasks.filter_map(|task| std::fs::read_to_string(task.ok()?.path().join("children")).ok());
        children.flat_map(|list| list.split_whitespace().map(str::to_owned).collect::<Vec<_>>()).next()?.parse().ok()
    }

    async fn metrics(&self) -> Option<String> {
        let response = self.client.get(format!("{}/metrics", self.url)).send().await.ok()?;
        response.text().await.ok()
    }

    async fn metric(&self, series: &str) -> u64 {
        let text = self.metrics().await.unwrap_or_default();
        let value = text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
        value.map_or(0, |value| value.parse::<f64>().unwrap() as u64)
    }

    async fn accepted(&self) -> u64 {
        self.metric("errata_ingest_events_total{outcome=\"accepted\",protocol=\"json\"}").await
    }

    async fn until(&self, what: &str, holds: impl AsyncFn() -> bool) {
        let began = Instant::now();
        while !holds().await {
            assert!(began.elapsed() < PATIENCE, "waited in vain until {what}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

fn wait(mut import: Child) -> ExitStatus {
    let began = Instant::now();
    loop {
        if let Some(status) = import.try_wait().unwrap() {
            return status;
        }
        if began.elapsed() > PATIENCE {
            let _ = import.kill();
            panic!("the import does not end");
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// The captured traffic several times over, each copy with request ids of its own.
fn copies(dir: &Path) -> PathBuf {
    let captured = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/drf-exchanges.ndjson.gz");
    let mut text = String::new();
    flate2::read::GzDecoder::new(File::open(captured).unwrap()).read_to_string(&mut text).unwrap();
    let path = dir.join("copies.ndjson");
    let mut lines = String::new();
    for copy in 0..COPIES {
        for line in text.lines() {
            let mut event: serde_json::Value = serde_json::from_str(line).unwrap();
            event["request_id"] = format!("{}-{copy}", event["request_id"].as_str().unwrap()).into();
            lines.push_str(&event.to_string());
            lines.push('\n');
        }
    }
    std::fs::write(&path, lines).unwrap();
    path
}

/// Promise: an event that was acknowledged is in ClickHouse exactly once, whatever is killed.
#[tokio::test(flavor = "multi_thread")]
async fn killing_the_collector_and_the_engine_loses_nothing_and_doubles_nothing() {
    crate::engine::library();
    rustls_provider();
    let dir = tempfile::tempdir().unwrap();
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let url = format!("http://127.0.0.1:{port}");
    let mut collector = Process::serve(dir.path(), &url).await;
    let file = copies(dir.path());
    let import = errata(dir.path(), &url).args(["import", "--batch", "20"]).arg(file).spawn().unwrap();

    for kill in 0..5 {
        collector.until("events arrive", || async { collector.accepted().await >= 600 }).await;
        collector.kill();
        println!("killed the collector, {kill}");
        collector = Process::serve(dir.path(), &url).await;
    }
    for kill in 0..5 {
        let before = collector.accepted().await;
        let engine = collector.engine();
        collector.until("events arrive", || async { collector.accepted().await >= before + 300 }).await;
        let engine = engine.or_else(|| collector.engine()).expect("an engine runs");
        let killed = Command::new("kill").args(["-9", &engine.to_string()]).status().unwrap();
        println!("killed the engine, {kill}: {killed}");
        let next = || async { collector.engine().is_some_and(|pid| pid != engine) };
        collector.until("the engine is started again", next).await;
    }
    let status = tokio::task::spawn_blocking(move || wait(import)).await.unwrap();
    assert!(status.success(), "the import ends well: {status}");
    let delivered = || async {
        collector.metric("errata_spool_events").await + collector.metric("errata_rollup_pending_events").await == 0
    };
    collector.until("the spool is empty and everything is rolled up", delivered).await;
    assert_eq!(collector.metric("errata_books_imbalance_events").await, 0);
    collector.kill();

    let engine = crate::engine::start_on(dir.path(), "errata").await.unwrap();
    let clients = engine.access().first_reachable().await.unwrap();
    let count = "SELECT count(), uniqExact(key), uniqExact(request_id) FROM events";
    let counts: (u64, u64, u64) = clients.read.query(count).fetch_one().await.unwrap();
    assert_eq!(counts, (LINES * COPIES, LINES * COPIES, 10_867 * COPIES), "rows, keys, request ids");
    let index = "SELECT k, toUnixTimestamp(second) FROM request_index";
    let index: Vec<(u64, u32)> = clients.read.query(index).fetch_all().await.unwrap();
    let index: HashSet<(u64, u32)> = index.into_iter().collect();
    let events = "SELECT request_id, toUnixTimestamp(timestamp) FROM events";
    let events: Vec<(String, u32)> = clients.read.query(events).fetch_all().await.unwrap();
    let key = |id: &str| RequestId::parse(id).unwrap().lookup_key("default") >> 24;
    let lost: Vec<_> = events.iter().filter(|(id, at)| !index.contains(&(key(id), *at))).collect();
    crate::rollups::agree(&clients.read).await;
    assert!(lost.is_empty(), "{} events have no entry in the lookup index: {:?}", lost.len(), lost.first());
}
