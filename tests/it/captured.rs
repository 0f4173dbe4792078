//! The captured traffic through a whole collector, against the figures its README gives.

mod counts;
mod lookups;
mod secrets;

use std::{collections::BTreeMap, io::Write as _, path::PathBuf};

use flate2::{Compression, read::GzDecoder, write::GzEncoder};
use reqwest::Method;
use serde_json::Value;

use crate::collector::{Collector, answer};

/// The captured two days, as a part of a query string.
pub(crate) const SPAN: &str = "from=2026-11-17T00:00:00Z&to=2026-11-19T00:00:00Z";

/// Lines a request.
const BATCH: usize = 2000;

pub(crate) fn data(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/data").join(name)
}

/// The exchanges as text, one a line.
pub(crate) fn capture() -> String {
    let file = std::fs::File::open(data("drf-exchanges.ndjson.gz")).unwrap();
    std::io::read_to_string(GzDecoder::new(file)).unwrap()
}

/// The exchanges, parsed.
fn exchanges(capture: &str) -> Vec<Value> {
    capture.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// Ships every line, as gzip NDJSON; returns the sums of `accepted`, `duplicates` and `rejected`.
pub(crate) async fn ship(collector: &Collector, capture: &str) -> [u64; 3] {
    let lines: Vec<&str> = capture.split_inclusive('\n').collect();
    let mut sums = [0; 3];
    for batch in lines.chunks(BATCH) {
        let request = collector.request(Method::POST, "/api/v1/events");
        let request = request.header("Content-Type", "application/x-ndjson").header("Content-Encoding", "gzip");
        let (status, body) = answer(request.body(gzip(batch.concat().as_bytes()))).await;
        assert_eq!(status, 202, "{body}");
        for (sum, name) in sums.iter_mut().zip(["accepted", "duplicates", "rejected"]) {
            *sum += body["data"][name].as_u64().unwrap();
        }
    }
    sums
}

/// Every stored event, newest first, page by page.
async fn all_events(collector: &Collector) -> Vec<Value> {
    let mut events = Vec::new();
    let mut cursor = String::new();
    loop {
        let (status, body) = collector.get(&format!("/api/v1/events?{SPAN}&limit=500{cursor}")).await;
        assert_eq!(status, 200, "{body}");
        events.extend(body["data"]["events"].as_array().unwrap().iter().cloned());
        match body["data"]["next_cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => return events,
        }
    }
}

/// The README beside the capture, whose tables and sentences are the figures that everything must agree with.
pub(crate) struct Readme(String);

impl Readme {
    pub(crate) fn read() -> Self {
        Self(std::fs::read_to_string(data("README.md")).unwrap())
    }

    /// The rows of the table with this header.
    pub(crate) fn table<const N: usize>(&self, header: [&str; N]) -> Vec<[String; N]> {
        let cells = |line: &str| -> Vec<String> {
            line.trim().trim_matches('|').split('|').map(|cell| cell.trim().to_owned()).collect()
        };
        let mut lines = self.0.lines().skip_while(|line| cells(line) != header);
        assert!(lines.next().is_some(), "the README has a table {header:?}");
        let rows = lines.skip(1).take_while(|line| line.starts_with('|'));
        rows.map(|line| cells(line).try_into().unwrap()).collect()
    }

    /// What the README says where the pattern's groups are.
    fn says<const N: usize>(&self, pattern: &str) -> [String; N] {
        let found = regex::Regex::new(pattern).unwrap().captures(&self.0);
        let found = found.unwrap_or_else(|| panic!("the README says {pattern}"));
        std::array::from_fn(|group| found[group + 1].to_owned())
    }

    /// As [`Readme::says`], numbers.
    pub(crate) fn numbers<const N: usize>(&self, pattern: &str) -> [u64; N] {
        self.says::<N>(pattern).map(|text| text.parse().unwrap())
    }
}

/// One sample of `/metrics`.
struct Sample {
    name: String,
    labels: BTreeMap<String, String>,
    value: f64,
}

fn samples(metrics: &str) -> Vec<Sample> {
    let label = regex::Regex::new(r#"(\w+)="((?:[^"\\]|\\.)*)""#).unwrap();
    let lines = metrics.lines().filter(|line| !line.starts_with('#') && !line.is_empty());
    lines
        .map(|line| {
            let (series, value) = line.rsplit_once(' ').unwrap();
            let (name, labels) = series.split_once('{').unwrap_or((series, ""));
            let labels = label.captures_iter(labels).map(|found| (found[1].to_owned(), found[2].to_owned()));
            Sample { name: name.to_owned(), labels: labels.collect(), value: value.parse().unwrap() }
        })
        .collect()
}

/// Sums of one metric by the values of some of its labels.
fn sums<const N: usize>(samples: &[Sample], name: &str, labels: [&str; N]) -> BTreeMap<[String; N], u64> {
    let mut sums = BTreeMap::new();
    for sample in samples.iter().filter(|sample| sample.name == name) {
        let key = labels.map(|label| sample.labels.get(label).cloned().unwrap_or_default());
        *sums.entry(key).or_insert(0) += sample.value as u64;
    }
    sums
}
