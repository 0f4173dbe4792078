//! The collector under test: the release binary, as a process.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};

use crate::{
    events::Body,
    process,
    wire::{self, Answer, Connection},
};

/// How long a start, and an end with a full spool, may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// A running collector; killed when dropped.
pub struct Collector {
    child: Child,
    pub port: u16,
    pub data_dir: PathBuf,
    pub token: String,
}

/// What the collector and its engine had used at a moment.
#[derive(Clone, Copy, Debug)]
pub struct Used {
    pub collector: f64,
    pub engine: f64,
}

impl Collector {
    /// Starts `errata serve` on a directory and waits until it answers. `clickhouse` is `embedded` or a URL.
    pub fn start(errata: &Path, data_dir: &Path, clickhouse: &str) -> anyhow::Result<Self> {
        let port = wire::free_port()?;
        let log = fs::File::create(data_dir.join("collector.log"))?;
        let child = Command::new(errata)
            .arg("serve")
            .env("ERRATA_DATA_DIR", data_dir)
            .env("ERRATA_LISTEN", format!("127.0.0.1:{port}"))
            .env("ERRATA_CLICKHOUSE__URL", clickhouse)
            // Room for the largest spool that is measured.
            .env("ERRATA_SPOOL__MAX_BYTES", "16GiB")
            // Not in the directory where the benchmark is run: it may hold an errata.toml.
            .current_dir(data_dir)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .with_context(|| format!("cannot start {}", errata.display()))?;
        let mut collector = Self { child, port, data_dir: data_dir.to_owned(), token: String::new() };
        collector.until("it answers", || Ok(collector.get("/metrics").is_ok()))?;
        fs::read_to_string(data_dir.join("admin.token"))?.trim().clone_into(&mut collector.token);
        Ok(collector)
    }

    /// Waits until its tables are there: it takes events before. Delivery begins after the last migration, and says then that
    /// no rollup is behind.
    pub fn with_tables(self) -> anyhow::Result<Self> {
        self.until("its tables are there", || Ok(self.metrics()?.count("errata_rollup_pending_events")? == 0))?;
        Ok(self)
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The process of the embedded engine.
    pub fn engine(&self) -> anyhow::Result<u32> {
        process::child(self.pid()).context("the collector has no engine")
    }

    pub fn used(&self) -> anyhow::Result<Used> {
        Ok(Used { collector: process::cpu(self.pid())?, engine: self.engine().and_then(process::cpu).unwrap_or(0.0) })
    }

    /// Waits for something that the collector does.
    pub fn until(&self, what: &str, happened: impl Fn() -> anyhow::Result<bool>) -> anyhow::Result<()> {
        let began = Instant::now();
        while !happened()? {
            ensure!(began.elapsed() < PATIENCE, "waited in vain until {what}: see {}", self.data_dir.display());
            std::thread::sleep(Duration::from_millis(5));
        }
        Ok(())
    }

    pub fn get(&self, path: &str) -> anyhow::Result<Answer> {
        Connection::open(self.port)?.ask(&self.head("GET", path), std::iter::empty())
    }

    /// All of a request's head but the length and the end.
    pub fn head(&self, method: &str, path: &str) -> String {
        format!(
            "{method} {path} HTTP/1.1\r\nHost: 127.0.0.1:{}\r\nAuthorization: Bearer {}\r\nContent-Type: application/x-ndjson\r\n",
            self.port, self.token
        )
    }

    pub fn metrics(&self) -> anyhow::Result<Metrics> {
        Ok(Metrics(self.get("/metrics")?.text()))
    }

    /// Waits until ClickHouse has `events` events of this process, and sees that the books balance.
    pub fn until_stored(&self, events: u64, limit: Duration) -> anyhow::Result<()> {
        let began = Instant::now();
        loop {
            let metrics = self.metrics()?;
            let stored = metrics.count("errata_insert_events_total")?;
            if stored >= events {
                ensure!(stored == events, "{stored} events stored of {events} sent");
                return metrics.balanced();
            }
            ensure!(began.elapsed() < limit, "{stored} of {events} events stored after {limit:?}");
            std::thread::sleep(Duration::from_millis(200));
        }
    }

    /// Waits until the rollups count every stored event.
    pub fn until_rolled_up(&self, limit: Duration) -> anyhow::Result<()> {
        let began = Instant::now();
        while self.metrics()?.count("errata_rollup_pending_events")? > 0 {
            ensure!(began.elapsed() < limit, "the rollups are still behind after {limit:?}");
            std::thread::sleep(Duration::from_millis(500));
        }
        Ok(())
    }

    /// Ends it as an operator does, and waits.
    pub fn stop(mut self) -> anyhow::Result<()> {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM)?;
        let status = self.child.wait()?;
        ensure!(status.success(), "the collector ended with {status}: see {}", self.data_dir.display());
        Ok(())
    }
}

impl Drop for Collector {
    fn drop(&mut self) {
        let _ = self.child.kill(); // it may have ended
        let _ = self.child.wait();
    }
}

/// The text of `/metrics`.
pub struct Metrics(String);

impl Metrics {
    /// The value of one series, by its text up to the value.
    pub fn value(&self, series: &str) -> anyhow::Result<f64> {
        let value = self.0.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
        Ok(value.with_context(|| format!("no series {series}"))?.parse()?)
    }

    /// The same of something that is counted.
    pub fn count(&self, series: &str) -> anyhow::Result<u64> {
        let value = self.value(series)?;
        ensure!(value >= 0.0, "{series} is {value}");
        Ok(value as u64)
    }

    /// Sees that no accepted event is unaccounted for.
    pub fn balanced(&self) -> anyhow::Result<()> {
        let imbalance = self.value("errata_books_imbalance_events")? as i64;
        ensure!(imbalance == 0, "the books are out of balance by {imbalance} events");
        Ok(())
    }
}

/// A connection that ships bodies and checks every answer.
pub struct Shipper {
    connection: Connection,
    head: String,
}

impl Shipper {
    pub fn open(collector: &Collector) -> anyhow::Result<Self> {
        Ok(Self { connection: Connection::open(collector.port)?, head: collector.head("POST", "/api/v1/events") })
    }

    /// Ships a body; returns how long the acknowledgement took.
    pub fn ship(&mut self, body: &Body) -> anyhow::Result<Duration> {
        let asked = Instant::now();
        let answer = self.connection.ask(&self.head, std::iter::once(&body.ndjson[..]))?;
        let took = asked.elapsed();
        ensure!(answer.status == 202, "not acknowledged: {} {}", answer.status, answer.text());
        let accepted = answer.json()?["data"]["accepted"].as_u64();
        ensure!(accepted == Some(body.events as u64), "{accepted:?} of {} events accepted", body.events);
        Ok(took)
    }
}
