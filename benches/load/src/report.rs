//! Figures as a table for people and as JSON for programs.

use std::fmt::Write as _;

use serde_json::{Value, json};

use crate::{
    baseline::{self, Baseline},
    events::Events,
    ingest, process,
};

/// Figures of one way to store the events, from all its rounds.
#[derive(Default)]
struct Rows(Vec<(&'static str, Vec<f64>)>);

impl Rows {
    fn add(&mut self, name: &'static str, value: f64) {
        match self.0.iter_mut().find(|(known, _)| *known == name) {
            Some((_, values)) => values.push(value),
            None => self.0.push((name, vec![value])),
        }
    }

    fn mean(&self, name: &str) -> Option<f64> {
        let (_, values) = self.0.iter().find(|(known, _)| *known == name)?;
        Some(values.iter().sum::<f64>() / values.len() as f64)
    }
}

pub struct Report {
    head: Value,
    count: u64,
    bytes: u64,
    ways: Vec<(&'static str, Rows)>,
}

const ACKNOWLEDGED: &str = "events/s acknowledged";
const VISIBLE: &str = "events/s until all is visible";
const CPU: &str = "CPU s per 1 M events";
const COLLECTOR_CPU: &str = "  of the collector";
const ENGINE_CPU: &str = "  of the engine";
const P50: &str = "ack p50 ms";
const P99: &str = "ack p99 ms";
const COLLECTOR_MEMORY: &str = "peak memory MiB, collector";
const ENGINE_MEMORY: &str = "peak memory MiB, engine";
const DISK: &str = "bytes an event in ClickHouse, merged";
const WRITTEN: &str = "bytes the collector wrote / bytes shipped";

impl Report {
    pub fn new(events: &Events, seed: u64) -> Self {
        let head = json!({
            "machine": process::machine(),
            "commit": process::commit(),
            "events": events.count,
            "bytes_each": (events.bytes_each() * 10.0).round() / 10.0,
            "events_a_request": events.bodies.first().map_or(0, |body| body.events),
            "seed": seed,
        });
        Self { head, count: events.count, bytes: events.bytes, ways: Vec::new() }
    }

    fn way(&mut self, name: &'static str) -> &mut Rows {
        let position = self.ways.iter().position(|(known, _)| *known == name).unwrap_or_else(|| {
            self.ways.push((name, Rows::default()));
            self.ways.len() - 1
        });
        &mut self.ways[position].1
    }

    pub fn errata(&mut self, measured: &ingest::Measured) {
        let (count, bytes) = (self.count as f64, self.bytes as f64);
        let per_million = 1e6 / count;
        let rows = self.way("errata");
        rows.add(ACKNOWLEDGED, count / measured.acknowledged.took.as_secs_f64());
        rows.add(VISIBLE, count / measured.visible.as_secs_f64());
        rows.add(CPU, (measured.collector_cpu + measured.engine_cpu) * per_million);
        rows.add(COLLECTOR_CPU, measured.collector_cpu * per_million);
        rows.add(ENGINE_CPU, measured.engine_cpu * per_million);
        rows.add(P50, measured.acknowledged.at(500));
        rows.add(P99, measured.acknowledged.at(990));
        rows.add(COLLECTOR_MEMORY, mib(measured.collector_memory));
        rows.add(ENGINE_MEMORY, mib(measured.engine_memory));
        rows.add(DISK, total(&measured.disk) / count);
        rows.add(WRITTEN, measured.written as f64 / bytes);
        progress("errata", rows);
    }

    pub fn baseline(&mut self, baseline: &Baseline, measured: &baseline::Measured) {
        let count = self.count as f64;
        let rows = self.way(baseline.name);
        rows.add(ACKNOWLEDGED, count / measured.took.as_secs_f64());
        rows.add(VISIBLE, count / measured.took.as_secs_f64());
        rows.add(CPU, measured.cpu * 1e6 / count);
        rows.add(ENGINE_CPU, measured.cpu * 1e6 / count);
        rows.add(ENGINE_MEMORY, mib(measured.peak_memory));
        rows.add(DISK, total(&measured.disk) / count);
        progress(baseline.name, rows);
    }

    pub fn print(&self) {
        print!("{}", self.table());
    }

    fn table(&self) -> String {
        let mut text = format!("\n{}\n\n| |", self.head);
        let (names, others) = (self.ways.iter().map(|(name, _)| *name), self.ways.iter().skip(1));
        for name in names {
            let _ = write!(text, " {name} |");
        }
        for (name, _) in others {
            let _ = write!(text, " errata / {name} |");
        }
        let _ = writeln!(text, "\n|---|{}", "---|".repeat(2 * self.ways.len().max(1) - 1));
        let Some((_, first)) = self.ways.first() else { return text };
        for (row, _) in &first.0 {
            let _ = write!(text, "| {row} |");
            for (_, rows) in &self.ways {
                let _ = write!(text, " {} |", rows.mean(row).map_or("–".to_owned(), number));
            }
            for (_, rows) in self.ways.iter().skip(1) {
                let ratio = first.mean(row).zip(rows.mean(row)).map(|(ours, theirs)| ours / theirs);
                let _ = write!(text, " {} |", ratio.map_or("–".to_owned(), |ratio| format!("{ratio:.2}")));
            }
            text.push('\n');
        }
        text
    }

    pub fn json(&self) -> String {
        let mut value = self.head.clone();
        for (name, rows) in &self.ways {
            value[name] = rows.0.iter().map(|(row, values)| (row.trim().to_owned(), json!(values))).collect();
        }
        format!("{value:#}\n")
    }
}

fn total(disk: &[(String, u64)]) -> f64 {
    disk.iter().map(|(_, bytes)| *bytes as f64).sum()
}

fn mib(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}

fn number(value: f64) -> String {
    if value >= 1000.0 {
        format!("{value:.0}")
    } else if value >= 100.0 {
        format!("{value:.1}")
    } else {
        format!("{value:.2}")
    }
}

/// The newest round on one line, for who waits.
fn progress(name: &str, rows: &Rows) {
    let last =
        |row: &str| rows.0.iter().find(|(known, _)| *known == row).and_then(|(_, values)| values.last().copied());
    let part = |row: &str| last(row).map_or("–".to_owned(), number);
    eprintln!(
        "{name}: {} events/s, {} CPU s per 1 M ({} + {})",
        part(ACKNOWLEDGED),
        part(CPU),
        part(COLLECTOR_CPU),
        part(ENGINE_CPU)
    );
}
