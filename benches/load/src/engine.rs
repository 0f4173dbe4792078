//! An engine of the benchmark's own: the same library with the same configuration as the collector's, and one user more,
//! whose password is known here. For the baselines, and to look into the tables a collector left.

use std::{
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, bail, ensure};

use crate::{
    collector::Collector,
    wire::{self, Connection},
};

const PATIENCE: Duration = Duration::from_secs(20);
const USER: &str = "bench";

/// A running engine; killed when dropped.
pub struct Engine {
    child: Child,
    pub port: u16,
    password: String,
    head: String,
}

impl Engine {
    /// Starts an engine on the `clickhouse` directory of a data directory, new or left by a collector. Errata's tables are there.
    ///
    /// Call it on a thread that lives on: the kernel ends the engine with it.
    pub fn start(errata: &Path, data_dir: &Path) -> anyhow::Result<Self> {
        // A collector makes the configuration and the tables.
        Collector::start(errata, data_dir, "embedded")?.with_tables()?.stop()?;
        let library = library(errata)?;
        let directory = std::path::absolute(data_dir.join("clickhouse"))?;
        let password = uuid::Uuid::new_v4().simple().to_string();
        add_user(&directory.join("config.xml"), &password)?;
        let port = wire::free_port()?;
        let child = Command::new(errata)
            .arg("__engine")
            .arg(std::process::id().to_string())
            .args([&library, &directory])
            .arg(port.to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .env_clear()
            .spawn()?;
        let head = format!(
            "HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nX-ClickHouse-User: {USER}\r\nX-ClickHouse-Key: {password}\r\n"
        );
        let engine = Self { child, port, password, head };
        let began = Instant::now();
        while engine.query("SELECT 1").is_err() {
            ensure!(began.elapsed() < PATIENCE, "the engine does not answer: see {}", directory.display());
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(engine)
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Its address for a collector, through a port that leads to it.
    pub fn url(&self, port: u16) -> String {
        format!("http://{USER}:{}@127.0.0.1:{port}", self.password)
    }

    /// Asks something; the answer is text, columns separated by tabs.
    pub fn query(&self, sql: &str) -> anyhow::Result<String> {
        self.post("", std::iter::once(sql.as_bytes()))
    }

    /// Sends data: `insert` is the statement up to its data, which is in pieces.
    pub fn insert<'a>(&self, insert: &str, data: impl Iterator<Item = &'a [u8]> + Clone) -> anyhow::Result<()> {
        let query = insert.bytes().fold(String::new(), |mut text, byte| {
            let _ = write!(text, "%{byte:02x}"); // a String takes everything
            text
        });
        self.post(&format!("?query={query}"), data).map(drop)
    }

    fn post<'a>(&self, query: &str, body: impl Iterator<Item = &'a [u8]> + Clone) -> anyhow::Result<String> {
        let answer = Connection::open(self.port)?.ask(&format!("POST /{query} {}", self.head), body)?;
        let text = answer.text();
        if answer.status != 200 || text.contains("DB::Exception") {
            bail!("ClickHouse answers {}: {text}", answer.status);
        }
        Ok(text)
    }

    /// The one number that a query returns.
    pub fn number(&self, sql: &str) -> anyhow::Result<u64> {
        let text = self.query(sql)?;
        text.trim().parse().with_context(|| format!("{sql}: {text}"))
    }

    pub fn is_merging(&self) -> anyhow::Result<bool> {
        Ok(self.number("SELECT count() FROM system.merges")? > 0)
    }

    /// Merges every table of the database to one part a partition; returns each table's bytes on disk.
    pub fn merged_bytes(&self) -> anyhow::Result<Vec<(String, u64)>> {
        let tables =
            self.query("SELECT name FROM system.tables WHERE database = 'errata' AND engine LIKE '%MergeTree'")?;
        let mut bytes = Vec::new();
        for table in tables.lines() {
            self.query(&format!("OPTIMIZE TABLE errata.{table} FINAL"))?;
            let sum = self.number(&format!(
                "SELECT sum(bytes_on_disk) FROM system.parts WHERE database = 'errata' AND table = '{table}' AND active"
            ))?;
            bytes.push((table.to_owned(), sum));
        }
        Ok(bytes)
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        // Its standard input ends, and it with it; not waited for in vain: it is killed too.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Where the engine's library is.
fn library(errata: &Path) -> anyhow::Result<PathBuf> {
    let output = Command::new(errata).args(["engine", "status"]).output()?;
    ensure!(output.status.success(), "the engine is not installed: run `errata engine install`");
    let text = String::from_utf8(output.stdout)?;
    Ok(text.lines().nth(1).context("`errata engine status` names no library")?.into())
}

/// Gives the user `bench` the rights of the collector's users.
fn add_user(config: &Path, password: &str) -> anyhow::Result<()> {
    let text = fs::read_to_string(config)?;
    let user = format!(
        "    <{USER}>
      <password>{password}</password>
      <networks><ip>127.0.0.1</ip></networks><profile>default</profile><quota>default</quota>
      <grants><query>GRANT ALL ON errata.*</query><query>GRANT TABLE ENGINE ON *</query><query>GRANT SELECT ON system.*</query></grants>
    </{USER}>
  </users>"
    );
    let with_user = text.replace("  </users>", &user);
    ensure!(with_user != text, "the engine's configuration has no users");
    Ok(fs::write(config, with_user)?)
}
