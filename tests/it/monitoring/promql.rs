//! Every PromQL query of the dashboards, in a real Prometheus that holds what a real collector's `/metrics` said while the captured
//! traffic came in. The scrapes are entered a minute apart (`promtool tsdb create-blocks-from openmetrics`), so that the windows are
//! those of a real one.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
    path::Path,
};

use errata::config::Config;
use flate2::read::GzDecoder;
use regex::Regex;
use reqwest::Method;
use serde_json::Value;

use super::{
    Prometheus,
    boards::{Board, Panel},
    file,
};
use crate::{
    alerts::{receivers::receiver, running::with_rules},
    captured::{Readme, capture},
    collector::{Collector, answer},
    console::Browser,
    contract::tools,
};

/// When the first scrape is entered, and how many follow each other by a minute.
const BEGIN: i64 = 1_795_255_200; // 2026-11-21T10:00:00Z
const SCRAPES: usize = 90;

/// Ships the captured traffic in as many pieces, with a scrape after each; returns all as OpenMetrics.
async fn record(collector: &Collector) -> String {
    let capture = capture();
    let lines: Vec<&str> = capture.split_inclusive('\n').collect();
    let totals = totals();
    let mut totals = totals.chunks(totals.len().div_ceil(SCRAPES));
    let mut history = String::new();
    for (minute, piece) in lines.chunks(lines.len().div_ceil(SCRAPES)).enumerate() {
        if let Some(totals) = totals.next() {
            let request = collector.request(Method::POST, "/api/v1/request-totals");
            let (status, body) =
                answer(request.header("Content-Type", "application/x-ndjson").body(totals.concat())).await;
            assert_eq!(status, 202, "{body}");
        }
        let (status, body) = collector.ship_body("application/x-ndjson", piece.concat()).await;
        assert_eq!(status, 202, "{body}");
        // Something to reject, and something to ask for.
        assert_eq!(collector.ship_body("application/x-ndjson", "{\"status\": 200}\n").await.0, 422);
        // Delivery has its say too: it goes by its own clock, so now and then the scrapes wait for it.
        if minute % 30 == 0 {
            collector.delivered().await;
        }
        assert_eq!(collector.get("/api/v1/rates?from=2026-11-17T00:00:00Z&to=2026-11-18T00:00:00Z").await.0, 200);
        let scrape = collector.metrics().await;
        let at = BEGIN + 60 * minute as i64;
        for sample in scrape.lines().filter(|line| !line.starts_with('#')) {
            let (series, value) = sample.rsplit_once(' ').unwrap();
            let (name, labels) = series.split_once('{').unwrap_or((series, "}"));
            let comma = if labels == "}" { "" } else { "," };
            writeln!(history, "{name}{{job=\"errata\",instance=\"here\"{comma}{labels} {value} {at}").unwrap();
        }
        writeln!(history, "up{{job=\"errata\",instance=\"here\"}} 1 {at}").unwrap();
    }
    history + "# EOF\n"
}

/// The captured totals of all requests, one a line, by one reporter.
fn totals() -> Vec<String> {
    let file = std::fs::File::open(file("tests/data/drf-request-totals.ndjson.gz")).unwrap();
    let text = std::io::read_to_string(GzDecoder::new(file)).unwrap();
    text.lines().map(|line| line.replacen('{', r#"{"reporter": "capture", "#, 1) + "\n").collect()
}

/// Enters samples into a new database; whether this machine has the tool.
fn enter(dir: &Path, history: &str) -> bool {
    let Some(mut promtool) = tools::program("promtool", "prometheus") else { return false };
    let file = dir.join("history.txt");
    std::fs::write(&file, history).unwrap();
    let output = promtool
        .args(["tsdb", "create-blocks-from", "openmetrics", "--quiet"])
        .arg(&file)
        .arg(dir.join("tsdb"))
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    true
}

/// A query as Grafana sends it.
fn expanded(query: &str) -> String {
    let minutes = SCRAPES - 1;
    query
        .replace("$__rate_interval", "5m")
        .replace("$__range", &format!("{minutes}m"))
        .replace("$service", ".*")
        .replace("$environment", ".*")
        .replace("$instance", ".*")
}

/// Labels of a series.
fn labels(series: &Value) -> BTreeMap<String, String> {
    let labels = series["metric"].as_object().unwrap();
    labels.iter().map(|(name, value)| (name.clone(), value.as_str().unwrap().to_owned())).collect()
}

/// The series of a panel's query, which each have a number, and the labels that their legend names.
async fn series(prometheus: &Prometheus, panel: &Panel<'_>, target: &Value) -> Vec<Value> {
    let query = expanded(target["expr"].as_str().unwrap());
    assert!(!query.contains('$'), "{:?}: a variable is left in {query}", panel.name());
    let end = (BEGIN + 60 * (SCRAPES as i64 - 1)).to_string();
    let data = if target["instant"] == true {
        prometheus.get("query", &[("query", &query), ("time", &end)]).await
    } else {
        let range = [("query", query.as_str()), ("start", &BEGIN.to_string()), ("end", &end), ("step", "60")];
        prometheus.get("query_range", &range).await
    };
    let result = data["result"].as_array().unwrap().clone();
    let legend = Regex::new(r"\{\{(\w+)\}\}").unwrap();
    let named = legend.captures_iter(target["legendFormat"].as_str().unwrap_or_default());
    let named: Vec<String> = named.map(|found| found[1].to_owned()).collect();
    for series in &result {
        let labels = labels(series);
        assert!(named.iter().all(|name| labels.contains_key(name)), "{:?}: {named:?} of {labels:?}", panel.name());
        if panel.text("type") == "timeseries" && result.len() > 1 {
            assert!(!named.is_empty(), "{:?}: its series cannot be told apart", panel.name());
        }
        let values = series["values"].as_array().cloned().unwrap_or_else(|| vec![series["value"].clone()]);
        let numbers = values.iter().map(|pair| pair[1].as_str().unwrap().parse::<f64>().unwrap());
        assert!(numbers.clone().any(f64::is_finite), "{:?}: no number in {series}", panel.name());
        assert!(numbers.filter(|number| number.is_finite()).all(|number| number >= 0.0), "{:?}", panel.name());
    }
    result
}

/// What some panels must show, from the figures beside the capture.
fn check(panel: &Panel<'_>, series: &[Value], readme: &Readme) {
    let values =
        |name: &str| -> BTreeSet<String> { series.iter().map(|series| labels(series)[name].clone()).collect() };
    let number = |series: &Value| series["value"][1].as_str().unwrap().parse::<f64>().unwrap();
    match panel.name() {
        ("errata-overview", "Errors by status") => {
            let rows = readme.table(["status", "requests", "error lines"]);
            let errors = rows.iter().filter(|[_, _, errors]| errors != "0");
            assert_eq!(values("status"), errors.map(|[status, ..]| status.clone()).collect());
        }
        ("errata-overview", "Errors by service" | "Share of server errors by service") => {
            assert_eq!(values("service"), ["igny8-api", "igny8-media"].map(str::to_owned).into());
        }
        ("errata-rate-limits", "Routes that spend their limit") => {
            let first = &series.iter().max_by(|one, other| number(one).total_cmp(&number(other))).unwrap();
            assert!(labels(first)["route"].contains("auto_cluster"), "{first}");
        }
        // Nearly all: what a family has at its first scrape is no increase.
        ("errata-rate-limits", "In the time range") => {
            let [all] = readme.numbers(r"All 429: (\d+)\.");
            let shown = number(&series[0]) / all as f64;
            assert!((0.9..=1.05).contains(&shown), "{shown}");
        }
        ("errata-health", "Collectors" | "ClickHouse") => assert!(series.iter().all(|series| number(series) == 1.0)),
        ("errata-health", "Books" | "Set aside") => assert_eq!(number(&series[0]), 0.0),
        ("errata-health", "Events taken") => {
            assert_eq!(values("outcome"), ["accepted", "duplicate", "rejected"].map(str::to_owned).into());
        }
        _ => {}
    }
}

/// The values that a variable offers.
async fn check_variables(prometheus: &Prometheus, board: &Board) {
    let form = Regex::new(r"^label_values\((\w+), (\w+)\)$").unwrap();
    for variable in board.variables().iter().filter(|variable| variable["type"] == "query") {
        let found = form.captures(variable["query"].as_str().unwrap()).unwrap();
        let (metric, label) = (&found[1], &found[2]);
        let (start, end) = (BEGIN.to_string(), (BEGIN + 5400).to_string());
        let matching = [("match[]", metric), ("start", &start), ("end", &end)];
        let values = prometheus.get(&format!("label/{label}/values"), &matching).await;
        assert!(!values.as_array().unwrap().is_empty(), "{}: {variable}", board.uid);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_query_for_prometheus_shows_what_the_captured_traffic_was() {
    let dir = tempfile::tempdir().unwrap();
    // With somebody to tell, so that there is a series of notifications.
    let rules = receiver("webhook", "http://127.0.0.1:1/");
    let collector =
        Collector::with(Config { data_dir: dir.path().join("data"), ..with_rules(dir.path(), &rules) }).await;
    let history = record(&collector).await;
    if !enter(dir.path(), &history) {
        return;
    }
    let Some(prometheus) = Prometheus::start(dir.path(), "").await else { return };
    let readme = Readme::read();
    let mut browser = Browser::signed_in(&collector, &collector.token).await;
    let mut asked = 0;
    for board in Board::of("prometheus") {
        check_variables(&prometheus, &board).await;
        for panel in board.panels() {
            for target in panel.targets() {
                let query = target["expr"].as_str().unwrap();
                let found = series(&prometheus, &panel, target).await;
                assert!(!found.is_empty(), "{:?} shows nothing: {query}", panel.name());
                check(&panel, &found, &readme);
                panel.follow_links(&mut browser, &labels(&found[0])).await;
                asked += 1;
            }
        }
    }
    assert!(asked > 35, "{asked}");
    collector.stop().await.unwrap();
}
