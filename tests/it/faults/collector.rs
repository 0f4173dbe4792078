//! The collector as its users run it: the real program, as a process of its own.

use std::{
    fs,
    os::unix::process::ExitStatusExt,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    time::{Duration, Instant},
};

use serde_json::Value;

use super::machine::{PATIENCE, eventually, free_port, signal};

/// How a collector is started. The same again is the same collector after its end.
#[derive(Clone)]
pub struct Setup {
    pub data_dir: PathBuf,
    pub log: PathBuf,
    pub url: String,
    pub environment: Vec<(String, String)>,
    /// A command that runs it.
    pub wrapper: Vec<String>,
}

impl Setup {
    /// One with its data in `dir` and ClickHouse at this address; small, and on a port that stays its own.
    pub fn new(dir: &Path, clickhouse: &str) -> Self {
        let settings = [
            ("CLICKHOUSE__URL", clickhouse),
            ("RETENTION_DAYS", "3650"),
            ("SPOOL__RESERVE_BYTES", "1MiB"),
            ("SPOOL__SEGMENT_BYTES", "1MiB"),
            ("SPOOL__MAX_BYTES", "64MiB"),
        ];
        let environment = settings.map(|(name, value)| (format!("ERRATA_{name}"), value.to_owned())).to_vec();
        let data_dir = dir.join("data");
        let log = dir.join("collector.log");
        Self { data_dir, log, url: format!("http://127.0.0.1:{}", free_port()), environment, wrapper: Vec::new() }
    }

    /// The same with another value of a variable.
    pub fn with(mut self, name: &str, value: &str) -> Self {
        self.environment.retain(|(known, _)| known != name);
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    pub fn wrapped(&self, wrapper: &[String]) -> Self {
        Self { wrapper: wrapper.to_vec(), ..self.clone() }
    }

    /// A command of the program in this setup.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let program = env!("CARGO_BIN_EXE_errata").to_owned();
        let words: Vec<&String> = self.wrapper.iter().chain([&program]).collect();
        let mut command = Command::new(words[0]);
        command.args(&words[1..]).args(arguments);
        // What whoever runs the tests has set is not for the collector, and some of it is no setting.
        for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("ERRATA_")) {
            command.env_remove(name);
        }
        command
            .env("ERRATA_DATA_DIR", &self.data_dir)
            .env("ERRATA_LISTEN", self.url.trim_start_matches("http://"))
            .env("ERRATA_URL", &self.url)
            .env("ERRATA_LOG", "info")
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null());
        command
    }

    /// Starts it without waiting for anything.
    pub fn spawn(&self) -> Collector {
        crate::collector::rustls_provider();
        let log = fs::OpenOptions::new().create(true).append(true).open(&self.log).unwrap();
        let child = self.command(&["serve"]).stdout(log.try_clone().unwrap()).stderr(log).spawn().unwrap();
        let client = reqwest::Client::builder().timeout(Duration::from_secs(30)).build().unwrap();
        Collector { child, setup: self.clone(), client }
    }

    /// Starts it and waits until it answers.
    pub async fn start(&self) -> Collector {
        let mut collector = self.spawn();
        eventually("the collector answers", PATIENCE, async || {
            assert!(collector.child.try_wait().unwrap().is_none(), "the collector ended: {}", collector.log());
            collector.metrics().await.is_some()
        })
        .await;
        collector
    }
}

/// A running collector, killed with the test.
pub struct Collector {
    child: Child,
    pub setup: Setup,
    client: reqwest::Client,
}

impl Drop for Collector {
    fn drop(&mut self) {
        if std::thread::panicking() {
            println!("the collector's last words:\n{}", self.log());
        }
        self.kill();
    }
}

impl Collector {
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// SIGKILL, and gone when this returns.
    pub fn kill(&mut self) {
        let _ = self.child.kill(); // it may have ended
        let _ = self.child.wait();
    }

    /// SIGTERM; returns how it ended and how long that took.
    pub async fn terminate(mut self) -> (ExitStatus, Duration) {
        let began = Instant::now();
        signal(self.child.id(), rustix::process::Signal::TERM);
        let status = self.ended().await;
        (status, began.elapsed())
    }

    /// Waits until it ends by itself.
    pub async fn ended(&mut self) -> ExitStatus {
        let mut status = None;
        eventually("the collector ends", PATIENCE, async || {
            status = self.child.try_wait().unwrap();
            status.is_some()
        })
        .await;
        status.unwrap()
    }

    /// Waits until it ends by itself, which must be with an error and not by a signal.
    pub async fn failed(&mut self) {
        let status = self.ended().await;
        assert!(!status.success() && status.signal().is_none(), "{status}: {}", self.log());
    }

    pub fn has_ended(&mut self) -> bool {
        self.child.try_wait().unwrap().is_some()
    }

    pub fn token(&self) -> String {
        fs::read_to_string(self.setup.data_dir.join("admin.token")).unwrap_or_default().trim().to_owned()
    }

    /// The end of what it logged.
    pub fn log(&self) -> String {
        let text = fs::read_to_string(&self.setup.log).unwrap_or_default();
        // What clients are told over and over says nothing of why.
        let lines: Vec<&str> = text.lines().filter(|line| !line.contains("Events cannot be taken")).collect();
        lines[lines.len().saturating_sub(40)..].join("\n")
    }

    pub async fn metrics(&self) -> Option<String> {
        let response = self.client.get(format!("{}/metrics", self.setup.url)).send().await.ok()?;
        response.text().await.ok()
    }

    /// The value of a series, by its text up to the value; of several with that beginning, their sum.
    pub async fn metric(&self, series: &str) -> f64 {
        let text = self.metrics().await.expect("the collector answers");
        let fits = |line: &str| -> Option<f64> {
            let rest = line.strip_prefix(series)?;
            rest.starts_with([' ', '{', ',']).then(|| rest.rsplit(' ').next()?.parse().ok())?
        };
        let values: Vec<f64> = text.lines().filter_map(fits).collect();
        values.iter().sum()
    }

    pub async fn is_ready(&self) -> bool {
        let answer = self.client.get(format!("{}/readyz", self.setup.url)).send().await;
        answer.is_ok_and(|answer| answer.status().is_success())
    }

    pub async fn get(&self, path: &str) -> Value {
        self.answer(self.client.get(format!("{}{path}", self.setup.url))).await
    }

    pub async fn post(&self, path: &str, body: &Value) -> Value {
        self.answer(self.client.post(format!("{}{path}", self.setup.url)).json(body)).await
    }

    /// Waits until the spool is empty.
    pub async fn delivered(&self) {
        eventually("the spool is empty", PATIENCE * 2, async || self.metric("errata_spool_events").await == 0.0).await;
        let pending = "errata_rollup_pending_events";
        eventually("the rollups are complete", PATIENCE, async || self.metric(pending).await == 0.0).await;
    }

    /// The data of an answer that must be a success. ClickHouse may still be coming back: that is waited for.
    async fn answer(&self, request: reqwest::RequestBuilder) -> Value {
        let began = Instant::now();
        loop {
            let sent = request.try_clone().unwrap().bearer_auth(self.token()).send().await;
            let response = sent.unwrap_or_else(|error| panic!("{error}: {}", self.log()));
            let status = response.status();
            let text = response.text().await.unwrap();
            if status.is_success() {
                return serde_json::from_str::<Value>(&text).unwrap()["data"].take();
            }
            assert!(status == 503 && began.elapsed() < PATIENCE, "{status}: {text}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}
