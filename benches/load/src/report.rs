//! Figures as a table for people and as JSON for programs.

use std::{fmt::Write as _, fs, path::Path};

use anyhow::Context;
use serde_json::{Value, json};

use crate::{
    baseline::{self, Baseline},
    events::Events,
    ingest, process,
};

/// Figures of one way to store the events, from all its rounds.
#[derive(Default)]
struct Rows(Vec<(String, Vec<f64>)>);

impl Rows {
    fn add(&mut self, name: &str, value: f64) {
        match self.0.iter_mut().find(|(known, _)| known == name) {
            Some((_, values)) => values.push(value),
            None => self.0.push((name.to_owned(), vec![value])),
        }
    }

    /// Bytes an event on disk, in all and by table.
    fn add_disk(&mut self, disk: &[(String, u64)], events: f64) {
        self.add(DISK, disk.iter().map(|(_, bytes)| *bytes as f64).sum::<f64>() / events);
        let tables = || disk.iter().filter(|(_, bytes)| *bytes as f64 > events / 10.0);
        for (table, bytes) in tables().filter(|_| tables().count() > 1) {
            self.add(&format!("  of `{table}`"), *bytes as f64 / events);
        }
    }

    fn mean(&self, name: &str) -> Option<f64> {
        let (_, values) = self.0.iter().find(|(known, _)| known == name)?;
        Some(values.iter().sum::<f64>() / values.len() as f64)
    }
}

pub struct Report {
    head: Value,
    count: u64,
    bytes: u64,
    /// Ways to store the same events, to be compared.
    ways: Vec<(&'static str, Rows)>,
    /// Figures that stand alone.
    figures: Vec<(String, f64)>,
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
const OWN_CPU: &str = "CPU s per 1 M events of the load generator";

impl Report {
    pub fn new(seed: u64, events_a_request: u64) -> Self {
        let head = json!({
            "machine": process::machine(),
            "commit": process::commit(),
            "seed": seed,
            "events a request": events_a_request,
        });
        Self { head, count: 0, bytes: 0, ways: Vec::new(), figures: Vec::new() }
    }

    /// Says which events the next figures are about.
    pub fn of(&mut self, events: &Events) {
        (self.count, self.bytes) = (events.count, events.bytes);
        self.head["events"] = events.count.into();
        self.head["bytes an event"] = json!((events.bytes_each() * 10.0).round() / 10.0);
    }

    /// A figure that stands alone.
    pub fn figure(&mut self, name: &str, value: f64) {
        eprintln!("{name}: {}", number(value));
        self.figures.push((name.to_owned(), value));
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
        rows.add_disk(&measured.disk, count);
        rows.add(WRITTEN, measured.written as f64 / bytes);
        rows.add(OWN_CPU, measured.own_cpu * per_million);
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
        rows.add_disk(&measured.disk, count);
        progress(baseline.name, rows);
    }

    /// Everything as Markdown.
    pub fn table(&self) -> String {
        let mut text = String::new();
        if let Value::Object(head) = &self.head {
            let values = head.iter().map(|(name, value)| match value {
                Value::String(text) => format!("{name}: {text}"),
                other => format!("{name}: {other}"),
            });
            text = format!("\n{}\n", values.collect::<Vec<_>>().join(" · "));
        }
        text.push('\n');
        self.compared(&mut text);
        if !self.figures.is_empty() {
            text.push_str("\n| errata alone | |\n|---|---|\n");
        }
        for (name, value) in &self.figures {
            let _ = writeln!(text, "| {name} | {} |", number(*value));
        }
        text
    }

    fn compared(&self, text: &mut String) {
        let Some((_, ours)) = self.ways.first() else { return };
        let baselines = || self.ways.iter().skip(1);
        let mut line = |cells: Vec<String>| {
            let _ = writeln!(text, "| {} |", cells.join(" | ")); // a String takes everything
        };
        let names = self.ways.iter().map(|(name, _)| (*name).to_owned());
        let ratios = baselines().map(|(name, _)| format!("errata / {name}"));
        line(std::iter::once(String::new()).chain(names).chain(ratios).collect());
        line(vec!["---".to_owned(); 2 * self.ways.len()]);
        for row in &self.rows() {
            let means = self.ways.iter().map(|(_, rows)| rows.mean(row).map_or("–".to_owned(), number));
            let ratios = baselines().map(|(_, rows)| {
                let both = ours.mean(row).zip(rows.mean(row));
                both.map_or("–".to_owned(), |(ours, theirs)| format!("{:.2}", ours / theirs))
            });
            line(std::iter::once(row.clone()).chain(means).chain(ratios).collect());
        }
    }

    /// The names of all rows; those that only a baseline has come last.
    fn rows(&self) -> Vec<String> {
        let mut names: Vec<String> = Vec::new();
        for (name, _) in self.ways.iter().flat_map(|(_, rows)| &rows.0) {
            if !names.contains(name) {
                names.push(name.clone());
            }
        }
        names
    }

    /// Puts the table in the place of the last one in a Markdown file, between the two comments that name `section`.
    pub fn write_into(&self, path: &Path, section: &str) -> anyhow::Result<()> {
        let text = fs::read_to_string(path)?;
        let (begin, end) = (format!("<!-- figures: {section} -->"), format!("<!-- end of figures: {section} -->"));
        let (before, rest) = text.split_once(&begin).with_context(|| format!("{} has no {begin}", path.display()))?;
        let (_, after) = rest.split_once(&end).with_context(|| format!("{} has no {end}", path.display()))?;
        Ok(fs::write(path, format!("{before}{begin}\n{}\n{end}{after}", self.table()))?)
    }

    /// Everything as JSON; a compared figure is a list, a number a round.
    pub fn json(&self) -> String {
        let mut value = self.head.clone();
        for (name, rows) in &self.ways {
            value[name] = rows.0.iter().map(|(row, values)| (row.trim().to_owned(), json!(values))).collect();
        }
        if !self.figures.is_empty() {
            value["errata alone"] = self.figures.iter().map(|(name, value)| (name.clone(), json!(value))).collect();
        }
        format!("{value:#}\n")
    }
}

pub fn mib(bytes: u64) -> f64 {
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
    let last = |row: &str| rows.0.iter().find(|(known, _)| known == row).and_then(|(_, values)| values.last().copied());
    let part = |row: &str| last(row).map_or("–".to_owned(), number);
    eprintln!(
        "{name}: {} events/s, {} CPU s per 1 M ({} + {})",
        part(ACKNOWLEDGED),
        part(CPU),
        part(COLLECTOR_CPU),
        part(ENGINE_CPU)
    );
}
