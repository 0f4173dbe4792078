//! Every SQL query of the dashboards, with the macros of Grafana's plugin expanded, as a user who may only read, over the captured traffic.

use std::collections::BTreeMap;

use regex::{Captures, Regex};
use serde_json::Value;

use super::boards::{Board, Panel};
use crate::{
    captured::{Readme, capture, ship},
    collector::{Collector, config},
    console::Browser,
    faults::engine::Engine,
};

/// From the captured two days to after their arrival, seconds since the Unix epoch.
const FROM: i64 = 1_794_873_600; // 2026-11-17T00:00:00Z
const TO: i64 = FROM + 6 * 86_400;

/// The widths of a point that are tried, seconds: of the minute rollup and of the hourly one.
const INTERVALS: [u32; 2] = [300, 7200];

/// What stands for a panel's variables.
struct Variables {
    project: String,
    values: BTreeMap<String, Vec<String>>,
}

impl Variables {
    /// A query as the plugin sends it (grafana/clickhouse-datasource, pkg/macros).
    fn expanded(&self, query: &str, interval: u32) -> String {
        let with_argument = Regex::new(r"\$__(timeFilter_ms|timeFilter|timeInterval)\(([^()]*)\)").unwrap();
        let query = with_argument.replace_all(query, |found: &Captures<'_>| {
            let column = &found[2];
            let between = |from: String, to: String| format!("{column} >= {from} AND {column} <= {to}");
            match &found[1] {
                "timeFilter" => between(format!("toDateTime({FROM})"), format!("toDateTime({TO})")),
                "timeFilter_ms" => {
                    let milli = |seconds: i64| format!("fromUnixTimestamp64Milli({})", seconds * 1000);
                    between(milli(FROM), milli(TO))
                }
                _ => format!("toStartOfInterval(toDateTime({column}), INTERVAL {interval} second)"),
            }
        });
        let mut query = query
            .replace("$__fromTime", &format!("toDateTime({FROM})"))
            .replace("$__toTime", &format!("toDateTime({TO})"))
            .replace("$__interval_s", &interval.to_string())
            .replace("${project}", &self.project);
        for (name, values) in &self.values {
            let quoted: Vec<_> = values.iter().map(|value| format!("'{value}'")).collect();
            query = query.replace(&format!("${{{name}:singlequote}}"), &quoted.join(","));
        }
        assert!(!query.contains('$'), "a macro or a variable is left in {query}");
        query
    }
}

/// Names and types of columns, and rows of values.
struct Answer {
    columns: Vec<(String, String)>,
    rows: Vec<Vec<Value>>,
}

impl Answer {
    async fn to(engine: &Engine, query: &str) -> Self {
        let url = format!("http://127.0.0.1:{}/?database=errata&readonly=1&default_format=JSONCompact", engine.port());
        let request = reqwest::Client::new().post(url).basic_auth("errata", Some("faults")).body(query.to_owned());
        let text = request.send().await.unwrap().text().await.unwrap();
        let body: Value = serde_json::from_str(&text).unwrap_or_else(|_| panic!("{query}\n{text}"));
        let of = |column: &Value, key: &str| column[key].as_str().unwrap().to_owned();
        let columns = body["meta"].as_array().unwrap().iter().map(|column| (of(column, "name"), of(column, "type")));
        let rows = body["data"].as_array().unwrap().iter().map(|row| row.as_array().unwrap().clone());
        Self { columns: columns.collect(), rows: rows.collect() }
    }

    fn is_number(&self, column: usize) -> bool {
        let kind = &self.columns[column].1;
        ["UInt", "Int", "Float"].iter().any(|number| kind.trim_start_matches("Nullable(").starts_with(number))
    }

    /// Values of a row by column.
    fn row(&self, index: usize) -> BTreeMap<String, String> {
        let names = self.columns.iter().map(|(name, _)| name.clone());
        names.zip(self.rows[index].iter().map(text)).collect()
    }

    /// Sums of a series chart by the text that tells its series apart.
    fn sums(&self) -> BTreeMap<String, f64> {
        let mut sums = BTreeMap::new();
        for row in &self.rows {
            *sums.entry(text(&row[1])).or_default() += number(row.last().unwrap());
        }
        sums
    }
}

fn text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// 64-bit numbers may come as texts.
fn number(value: &Value) -> f64 {
    text(value).parse().unwrap_or(f64::NAN)
}

/// The answer has the shape that a panel of this type draws.
fn check_shape(panel: &Panel<'_>, answer: &Answer) {
    let about = panel.name();
    assert!(!answer.rows.is_empty(), "{about:?} shows nothing");
    let numbers: Vec<usize> = (0..answer.columns.len()).filter(|column| answer.is_number(*column)).collect();
    match panel.text("type") {
        "stat" => assert_eq!((answer.rows.len(), answer.columns.len(), numbers.len()), (1, 1, 1), "{about:?}"),
        "timeseries" => {
            assert!(answer.columns[0].1.starts_with("DateTime") && answer.columns[0].0 == "time", "{about:?}");
            assert!(!numbers.is_empty(), "{about:?}");
            let others = (1..answer.columns.len()).filter(|column| !numbers.contains(column));
            assert!(others.count() <= 1, "{about:?}: more than one text tells its series apart");
        }
        _ => assert!(answer.rows.len() <= 100, "{about:?} is too long to read"),
    }
    let finite = answer.rows.iter().flat_map(|row| numbers.iter().map(|column| &row[*column]));
    assert!(finite.filter(|value| !value.is_null()).all(|value| number(value).is_finite()), "{about:?}");
}

/// What some panels must show, from the figures beside the capture.
fn check(panel: &Panel<'_>, answer: &Answer, readme: &Readme) {
    let only = || number(&answer.rows[0][0]);
    let statuses = readme.table(["status", "requests", "error lines"]);
    let [all, server_errors] = readme.numbers(r"(?s)\(errors, by time\) \| (\d+) \|.*\| 500 \| (\d+) \|");
    match panel.name() {
        ("errata-overview-clickhouse", "Errors") => assert_eq!(only(), all as f64),
        ("errata-overview-clickhouse", "Server errors") => assert_eq!(only(), server_errors as f64),
        ("errata-overview-clickhouse", "Errors by status") => {
            let errors = statuses.iter().filter(|[_, _, errors]| errors != "0");
            let expected = errors.map(|[status, _, errors]| (status.clone(), errors.parse().unwrap()));
            assert_eq!(answer.sums(), expected.collect());
        }
        ("errata-overview-clickhouse", "Errors by service") => {
            assert_eq!(answer.sums().values().sum::<f64>(), all as f64);
        }
        ("errata-overview-clickhouse", "Server errors by route" | "Server errors by release") => {
            assert_eq!(answer.sums().values().sum::<f64>(), server_errors as f64);
        }
        ("errata-overview-clickhouse", "Accounts with most errors") => {
            let [first] = readme.numbers(r"\| (\d+) \| 17 \| hammers the limit \|");
            assert_eq!((answer.row(0)["account"].as_str(), number(&answer.rows[0][1])), ("17", first as f64));
        }
        ("errata-rate-limits-clickhouse", "Rate-limited requests") => {
            assert_eq!([only() as u64], readme.numbers(r"All 429: (\d+)\."));
        }
        ("errata-rate-limits-clickhouse", "Who hammers what") => {
            let [hammered] = readme.numbers(r"requests\n?\s*to the route in those minutes, (\d+) answered 429");
            let row = answer.row(0);
            assert_eq!((row["account"].as_str(), row["requests"].as_str()), ("17", hammered.to_string().as_str()));
            assert_eq!(
                (row["told_limit"].as_str(), row["first"].as_str()),
                ("10", "2026-11-17 09:30:06.199"),
                "{row:?}"
            );
        }
        ("errata-health-clickhouse", "Stored twice" | "Rollups minus events") => assert_eq!(only(), 0.0),
        ("errata-health-clickhouse", "Events received") => {
            assert_eq!(answer.rows.iter().map(|row| number(&row[1])).sum::<f64>(), all as f64);
        }
        _ => {}
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_query_for_clickhouse_shows_what_the_captured_traffic_was() {
    let dir = tempfile::tempdir().unwrap();
    let engine = Engine::start(dir.path()).await;
    let mut config = config(&dir.path().join("data"));
    config.clickhouse.url = Engine::url_through(engine.port());
    let collector = Collector::with(config).await;
    let readme = Readme::read();
    ship(&collector, &capture()).await;
    collector.delivered().await;
    let mut browser = Browser::signed_in(&collector, &collector.token).await;
    let mut asked = 0;
    for board in Board::of("grafana-clickhouse-datasource") {
        let mut variables = Variables { project: "default".to_owned(), values: BTreeMap::new() };
        for variable in board.variables().iter().filter(|variable| variable["type"] == "query") {
            let query = variables.expanded(variable["query"].as_str().unwrap(), 300);
            let answer = Answer::to(&engine, &query).await;
            let values: Vec<String> = answer.rows.iter().map(|row| text(&row[0])).collect();
            assert!(!values.is_empty(), "{}: {variable}", board.uid);
            if variable["name"] == "project" {
                assert_eq!(values, ["default"]);
            } else {
                variables.values.insert(variable["name"].as_str().unwrap().to_owned(), values);
            }
        }
        for panel in board.panels() {
            for interval in INTERVALS {
                for target in panel.targets() {
                    let query = variables.expanded(target["rawSql"].as_str().unwrap(), interval);
                    let answer = Answer::to(&engine, &query).await;
                    check_shape(&panel, &answer);
                    check(&panel, &answer, &readme);
                    panel.follow_links(&mut browser, &answer.row(0)).await;
                    asked += 1;
                }
            }
        }
    }
    assert!(asked > 50, "{asked}");
    collector.stop().await.unwrap();
}
