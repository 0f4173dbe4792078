//! What the same events cost when they are sent straight to ClickHouse.

use std::{
    path::Path,
    sync::atomic::{AtomicUsize, Ordering},
    time::{Duration, Instant},
};

use anyhow::ensure;

use crate::{drive, engine::Engine, events::Events, process};

/// Bytes of one insert.
const INSERT_BYTES: usize = 64 << 20;

const IDLE_LIMIT: Duration = Duration::from_secs(60);

/// Tables that events are sent to as NDJSON.
pub struct Baseline {
    pub name: &'static str,
    /// Statements that make the tables.
    tables: &'static str,
    /// The table that takes the events.
    target: &'static str,
    /// What must be the number of events afterwards.
    rows: &'static [&'static str],
}

/// One plain table of the fields as they are sent.
pub const BARE: Baseline =
    Baseline { name: "bare", tables: include_str!("../bare.sql"), target: "bare", rows: &["count() FROM errata.bare"] };

/// Errata's tables, filled by views.
pub const EQUAL: Baseline = Baseline {
    name: "equal",
    tables: include_str!("../equal.sql"),
    target: "sent",
    rows: &[
        "count() FROM errata.events",
        "uniqExact(request_id) FROM errata.events",
        "count() FROM errata.request_index",
        "sum(count) FROM errata.rollup_counts WHERE per = 'minute'",
        "sum(count) FROM errata.rollup_accounts",
    ],
};

/// What a baseline took.
#[derive(Clone, Debug)]
pub struct Measured {
    pub took: Duration,
    /// CPU seconds of the engine, merges included.
    pub cpu: f64,
    pub peak_memory: u64,
    pub disk: Vec<(String, u64)>,
}

impl Baseline {
    /// Sends every event in a new engine on an empty directory: as many inserts at once as there are cores, each parsed by
    /// one thread. Of what was tried this is both the cheapest and the quickest.
    pub fn run(&self, errata: &Path, data_dir: &Path, events: &Events) -> anyhow::Result<Measured> {
        let engine = Engine::start(errata, data_dir)?;
        for statement in statements(self.tables) {
            engine.query(&statement)?;
        }
        let insert = format!(
            "INSERT INTO errata.{} SETTINGS async_insert=0, input_format_parallel_parsing=0, \
             date_time_input_format='best_effort' FORMAT JSONEachRow",
            self.target
        );
        let before = process::cpu(engine.pid())?;
        let began = Instant::now();
        let batches = batches(events);
        let next = AtomicUsize::new(0);
        drive::on_threads(std::thread::available_parallelism()?.get(), || {
            while let Some(bodies) = batches.get(next.fetch_add(1, Ordering::Relaxed)) {
                engine.insert(&insert, bodies.iter().map(|body| &body.ndjson[..]))?;
            }
            Ok(Vec::new())
        })?;
        let took = began.elapsed();
        let cpu = settled(&engine)? - before;
        for count in self.rows {
            let rows = engine.number(&format!("SELECT {count}"))?;
            ensure!(rows == events.count, "{count} is {rows} of {} events", events.count);
        }
        let peak_memory = process::peak_memory(engine.pid())?;
        Ok(Measured { took, cpu, peak_memory, disk: engine.merged_bytes()? })
    }
}

/// CPU seconds of the engine when its merges had ended.
fn settled(engine: &Engine) -> anyhow::Result<f64> {
    let began = Instant::now();
    loop {
        let cpu = process::cpu_when_idle(engine.pid(), IDLE_LIMIT)?;
        if !engine.is_merging()? || began.elapsed() > IDLE_LIMIT {
            return Ok(cpu);
        }
    }
}

/// The bodies, as many at a time as fit an insert.
fn batches(events: &Events) -> Vec<&[crate::events::Body]> {
    let mut batches = Vec::new();
    let (mut start, mut bytes) = (0, 0);
    for (number, body) in events.bodies.iter().enumerate() {
        if bytes + body.ndjson.len() > INSERT_BYTES {
            batches.push(&events.bodies[start..number]);
            (start, bytes) = (number, 0);
        }
        bytes += body.ndjson.len();
    }
    batches.push(&events.bodies[start..]);
    batches
}

/// The statements of a file of SQL, without its comments.
fn statements(sql: &str) -> Vec<String> {
    let lines = sql.lines().filter(|line| !line.starts_with("--")).collect::<Vec<_>>().join("\n");
    lines
        .split(";\n")
        .map(|statement| statement.trim().trim_end_matches(';').to_owned())
        .filter(|statement| !statement.is_empty())
        .collect()
}
