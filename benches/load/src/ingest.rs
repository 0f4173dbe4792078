//! One run of the collector at full load, from the first body until everything is visible and merged.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use anyhow::ensure;

use crate::{
    collector::Collector,
    drive::{self, Acknowledged},
    engine::Engine,
    events::Events,
    process,
};

const DRAIN_LIMIT: Duration = Duration::from_secs(120);
const IDLE_LIMIT: Duration = Duration::from_secs(60);

pub struct Measured {
    pub acknowledged: Acknowledged,
    /// From the first byte until ClickHouse was seen to have every event.
    pub visible: Duration,
    /// CPU seconds until the rollups were written and the engine was idle.
    pub collector_cpu: f64,
    pub engine_cpu: f64,
    /// CPU seconds of the load generator itself, while it shipped.
    pub own_cpu: f64,
    pub collector_memory: u64,
    pub engine_memory: u64,
    /// Bytes the collector wrote to disk: the spool, its sidecars, and the plans of delivery.
    pub written: u64,
    pub disk: Vec<(String, u64)>,
}

/// Runs a new collector with its embedded engine on an empty directory.
pub fn run(errata: &Path, data_dir: &Path, events: &Events, connections: usize) -> anyhow::Result<Measured> {
    let collector = Collector::start(errata, data_dir, "embedded")?.with_tables()?;
    let (pid, engine) = (collector.pid(), collector.engine()?);
    let (before, written) = (collector.used()?, process::written(pid)?);
    let (began, own) = (Instant::now(), process::cpu(std::process::id())?);
    let acknowledged = drive::closed_loop(&collector, &events.bodies, connections)?;
    let own_cpu = process::cpu(std::process::id())? - own;
    collector.until_stored(events.count, DRAIN_LIMIT)?;
    let visible = began.elapsed();
    collector.until_rolled_up(DRAIN_LIMIT)?;
    let collector_cpu = process::cpu(pid)? - before.collector;
    let engine_cpu = process::cpu_when_idle(engine, IDLE_LIMIT)? - before.engine;
    let written = process::written(pid)? - written;
    let (collector_memory, engine_memory) = (process::peak_memory(pid)?, process::peak_memory(engine)?);
    collector.stop()?;
    Ok(Measured {
        acknowledged,
        visible,
        collector_cpu,
        engine_cpu,
        own_cpu,
        collector_memory,
        engine_memory,
        written,
        disk: look_into(errata, data_dir, events)?,
    })
}

/// Sees that the tables hold every event exactly once; returns what they take on disk when merged.
fn look_into(errata: &Path, data_dir: &Path, events: &Events) -> anyhow::Result<Vec<(String, u64)>> {
    let engine = Engine::start(errata, data_dir)?;
    for count in ["count()", "uniqExact(request_id)"] {
        let rows = engine.number(&format!("SELECT {count} FROM errata.events"))?;
        ensure!(rows == events.count, "{count} of events is {rows}; {} were acknowledged", events.count);
    }
    let indexed = engine.number("SELECT count() FROM errata.request_index")?;
    ensure!(indexed >= events.count, "the lookup index has {indexed} rows for {} events", events.count);
    // Rows of other batches are markers of what was added.
    for (rollup, per) in [("rollup_counts", "per = 'minute'"), ("rollup_accounts", "true"), ("rollup_issues", "true")] {
        let counted = engine.number(&format!(
            "SELECT sum(count) FROM errata.{rollup} WHERE {per} AND batch = toUUID('00000000-0000-0000-0000-000000000000')"
        ))?;
        ensure!(counted == events.count, "{rollup} counts {counted} of {} events", events.count);
    }
    engine.merged_bytes()
}
