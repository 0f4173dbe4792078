//! Counts: what the README says, what the API says and what `/metrics` says are one.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::LazyLock,
};

use regex::Regex;
use serde_json::{Value, json};

use super::{Readme, SPAN, all_events, capture, exchanges, samples, ship, sums};
use crate::collector::Collector;

/// Field and message, or another pair of texts.
type Pair = [String; 2];

/// Events and occurrences.
type Counted = (u64, u64);

/// What of the collector must not change when everything is shipped once more.
#[derive(Debug, PartialEq)]
struct Counts {
    statuses: BTreeMap<[String; 1], u64>,
    pairs: BTreeMap<Pair, Counted>,
    metrics: BTreeMap<[String; 1], u64>,
    events: usize,
}

#[tokio::test(flavor = "multi_thread")]
async fn api_and_metrics_agree_with_the_readme_also_after_a_second_shipping() {
    let dir = tempfile::tempdir().unwrap();
    let collector = Collector::start(dir.path()).await;
    let (readme, capture) = (Readme::read(), capture());
    let [lines] = readme.numbers(r"drf-exchanges\.ndjson\.gz \(errors, by time\) \| (\d+) \|");
    assert_eq!(ship(&collector, &capture).await, [lines, 0, 0]);
    collector.delivered().await;
    let events = all_events(&collector).await;

    statuses_and_places_agree(&collector, &readme).await;
    accounts_agree(&collector, &readme).await;
    let exchanges = exchanges(&capture);
    field_errors_agree(&collector, &readme, &exchanges).await;
    request_ids_agree(&readme, &events);
    metrics_agree(&collector, &readme, &events).await;

    let before = counts(&collector).await;
    assert_eq!(ship(&collector, &capture).await, [0, lines, 0]);
    collector.delivered().await;
    assert_eq!(counts(&collector).await, before);
    assert_eq!(collector.metric("errata_books_imbalance_events").await, 0.0);
    collector.stop().await.unwrap();
}

/// Errors per set of labels, from `/api/v1/rates`.
async fn rates<const N: usize>(collector: &Collector, group_by: [&str; N], filter: &str) -> BTreeMap<[String; N], u64> {
    let path = format!("/api/v1/rates?group_by={}&{SPAN}{filter}", group_by.join(","));
    let (status, body) = collector.get(&path).await;
    assert_eq!(status, 200, "{body}");
    let series = body["data"]["series"].as_array().unwrap().iter().map(|series| {
        let points = series["points"].as_array().unwrap().iter().map(|point| point["errors"].as_u64().unwrap());
        assert_eq!(points.sum::<u64>(), series["errors"], "{series}");
        (group_by.map(|key| text(&series["labels"][key])), series["errors"].as_u64().unwrap())
    });
    series.collect()
}

/// Field errors by two keys, from `/api/v1/validation/failures`.
async fn failures(collector: &Collector, group_by: [&str; 2]) -> BTreeMap<Pair, Counted> {
    let path = format!("/api/v1/validation/failures?group_by={}&{SPAN}&limit=1000", group_by.join(","));
    let (status, body) = collector.get(&path).await;
    assert_eq!(status, 200, "{body}");
    let rows = body["data"]["rows"].as_array().unwrap().iter().map(|row| {
        let counted = (row["events"].as_u64().unwrap(), row["count"].as_u64().unwrap());
        (group_by.map(|key| text(&row[key])), counted)
    });
    rows.collect()
}

async fn counts(collector: &Collector) -> Counts {
    Counts {
        statuses: rates(collector, ["status"], "").await,
        pairs: failures(collector, ["field", "message"]).await,
        metrics: sums(&samples(&collector.metrics().await), "errata_api_errors_total", ["status"]),
        events: all_events(collector).await.len(),
    }
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_else(|| panic!("{value} is a text")).to_owned()
}

/// Of the README's table of statuses, the errors.
fn statuses(readme: &Readme) -> BTreeMap<[String; 1], u64> {
    let rows = readme.table(["status", "requests", "error lines"]);
    rows.into_iter().filter(|row| row[2] != "0").map(|[status, _, lines]| ([status], lines.parse().unwrap())).collect()
}

async fn statuses_and_places_agree(collector: &Collector, readme: &Readme) {
    assert_eq!(rates(collector, ["status"], "").await, statuses(readme));

    let rows = readme.table(["service", "environment", "release", "lines"]);
    let places: BTreeMap<_, u64> = rows
        .into_iter()
        .map(|[service, environment, release, n]| ([service, environment, release], n.parse().unwrap()))
        .collect();
    assert_eq!(rates(collector, ["service", "environment", "release"], "").await, places);

    let routes = rates(collector, ["method", "route"], "").await;
    let rows = readme.table(["lines", "method", "route"]);
    let least: u64 = rows.last().unwrap()[0].parse().unwrap();
    let top: BTreeMap<_, u64> =
        rows.into_iter().map(|[n, method, route]| ([method, route], n.parse().unwrap())).collect();
    let largest: BTreeMap<_, u64> = routes.into_iter().filter(|(_, errors)| *errors >= least).collect();
    assert_eq!(largest, top);

    for [lines, status, error] in readme.table(["lines", "status", "error"]) {
        let filter = format!("&status={status}&q={}", url(&scrubbed(&error)));
        assert_eq!(
            rates(collector, ["status"], &filter).await,
            BTreeMap::from([([status], lines.parse().unwrap())]),
            "{error}"
        );
    }
}

fn url(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02X}")).collect()
}

async fn accounts_agree(collector: &Collector, readme: &Readme) {
    for [lines, account, _] in readme.table(["lines", "account_id", "note"]) {
        if account != "None" {
            let errors = rates(collector, [], &format!("&account_id={account}")).await;
            assert_eq!(errors, BTreeMap::from([([], lines.parse().unwrap())]), "account {account}");
        }
    }
}

/// The pairs of an exchange as the README defines them, with `*` for positions or with the positions.
fn pairs_of(exchange: &Value, with_positions: bool) -> Vec<Pair> {
    fn walk(value: &Value, path: &str, with_positions: bool, found: &mut Vec<Pair>) {
        let below = |step: &str| {
            let step = if step.parse::<u32>().is_ok() && !with_positions { "*" } else { step };
            if path.is_empty() { step.to_owned() } else { format!("{path}.{step}") }
        };
        match value {
            Value::String(message) => found.push([path.to_owned(), message.clone()]),
            Value::Array(items) => {
                for (position, item) in items.iter().enumerate() {
                    let path = if item.is_string() { path.to_owned() } else { below(&position.to_string()) };
                    walk(item, &path, with_positions, found);
                }
            }
            Value::Object(fields) => {
                fields.iter().for_each(|(key, value)| walk(value, &below(key), with_positions, found));
            }
            _ => {}
        }
    }
    let mut found = Vec::new();
    walk(&exchange["response"]["errors"], "", with_positions, &mut found);
    found
}

fn count(exchanges: &[Value], pairs: impl Fn(&Value) -> Vec<Pair>) -> BTreeMap<Pair, Counted> {
    let mut counted: BTreeMap<Pair, Counted> = BTreeMap::new();
    for exchange in exchanges {
        let pairs = pairs(exchange);
        for pair in &pairs {
            counted.entry(pair.clone()).or_default().1 += 1;
        }
        for pair in pairs.into_iter().collect::<BTreeSet<_>>() {
            counted.entry(pair).or_default().0 += 1;
        }
    }
    counted
}

async fn field_errors_agree(collector: &Collector, readme: &Readme, exchanges: &[Value]) {
    let sent = count(exchanges, |exchange| pairs_of(exchange, false));
    let placed = count(exchanges, |exchange| pairs_of(exchange, true));
    let expected =
        readme.numbers(r"Distinct pairs: (\d+) with `\*`, (\d+) with real positions. Total occurrences: (\d+)\.");
    let total: u64 = sent.values().map(|(_, occurrences)| occurrences).sum();
    assert_eq!([sent.len() as u64, placed.len() as u64, total], expected, "the pairs are counted as the README's were");

    // What the collector must have of them: its own notation, secrets scrubbed.
    let ours = |with_positions| {
        count(exchanges, |exchange| pairs_of(exchange, with_positions).into_iter().map(stored).collect())
    };
    assert_eq!(failures(collector, ["field", "message"]).await, ours(false));
    assert_eq!(failures(collector, ["path", "message"]).await, ours(true));

    let found = failures(collector, ["field", "message"]).await;
    for [lines, occurrences, path, message] in readme.table(["lines", "occurrences", "path", "message"]) {
        let counted = found[&stored([path, message])];
        assert_eq!(counted, (lines.parse().unwrap(), occurrences.parse().unwrap()));
    }
}

/// A pair in the collector's notation: `keywords.*.volume` is `keywords[].volume`.
fn stored([path, message]: Pair) -> Pair {
    let path = path.split('.').fold(String::new(), |path, step| match step {
        "*" => path + "[]",
        step if step.parse::<u32>().is_ok() => format!("{path}[{step}]"),
        step if path.is_empty() => step.to_owned(),
        step => format!("{path}.{step}"),
    });
    [path, scrubbed(&message)]
}

/// A text without what may not be kept.
fn scrubbed(text: &str) -> String {
    static ADDRESS: LazyLock<Regex> = LazyLock::new(|| Regex::new(r"[\w.+-]+@[\w.-]+\w").unwrap());
    static KEY: LazyLock<Regex> = LazyLock::new(|| Regex::new(r"igk_live_\w+").unwrap());
    KEY.replace_all(&ADDRESS.replace_all(text, "[email]"), "[api_key]").into_owned()
}

fn request_ids_agree(readme: &Readme, events: &[Value]) {
    let mut lines: HashMap<&str, u64> = HashMap::new();
    for event in events {
        *lines.entry(event["request_id"].as_str().unwrap()).or_default() += 1;
    }
    let distinct: BTreeSet<&str> = events.iter().map(|event| event["event_id"].as_str().unwrap()).collect();
    let expected = readme.numbers(r"Distinct: \*\*(\d+)\*\* on (\d+) lines");
    assert_eq!([lines.len() as u64, distinct.len() as u64], expected);
    assert_eq!(events.len(), distinct.len(), "no event is on two pages");

    let several: Vec<u64> = lines.values().copied().filter(|count| *count > 1).collect();
    let expected = readme.numbers(r"(\d+) ids are on more than one line \((\d+) lines\), at most (\d+) lines each");
    assert_eq!([several.len() as u64, several.iter().sum(), *several.iter().max().unwrap()], expected);

    let kinds = |prefix: &str, length: usize| {
        lines.keys().filter(|id| id.starts_with(prefix) && (length == 0 || id.len() == length)).count() as u64
    };
    let expected = readme.numbers(r"\{'uuid4': (\d+), 'ulid': (\d+), 'req_': (\d+)\}");
    assert_eq!([kinds("", 36), kinds("", 26), kinds("req_", 0)], expected);
}

async fn metrics_agree(collector: &Collector, readme: &Readme, events: &[Value]) {
    let samples = samples(&collector.metrics().await);
    let total = |name| sums(&samples, name, [])[&[]];
    assert_eq!(sums(&samples, "errata_api_errors_total", ["status"]), statuses(readme));
    assert_eq!(sums(&samples, "errata_api_errors_by_route_total", ["status"]), statuses(readme));
    assert_eq!(total("errata_rate_limited_total"), statuses(readme)[&["429".to_owned()]]);
    let accepted = sums(&samples, "errata_ingest_events_total", ["protocol", "outcome"]);
    assert_eq!(accepted[&["json".to_owned(), "accepted".to_owned()]], events.len() as u64);
    assert_eq!(total("errata_books_imbalance_events"), 0);
    assert_eq!(total("errata_insert_events_total"), events.len() as u64);

    let [occurrences] = readme.numbers(r"Total occurrences: (\d+)\.");
    assert_eq!(total("errata_validation_failures_total"), occurrences);
    let by_rule = failures(collector, ["field", "rule"]).await;
    let by_rule: BTreeMap<_, u64> = by_rule.into_iter().map(|(keys, (_, occurrences))| (keys, occurrences)).collect();
    assert_eq!(sums(&samples, "errata_validation_failures_total", ["field", "rule"]), by_rule);

    let expected = readme.numbers(
        r"Lines with at least one pair: (\d+); with two or more pairs: (\d+); most pairs on one line: (\d+)\.",
    );
    let pairs = events.iter().map(|event| {
        let errors = event["errors"].as_array().unwrap().iter();
        errors.map(|error| json!([error["path"], error["message"]]).to_string()).collect::<BTreeSet<_>>().len() as u64
    });
    let pairs: Vec<u64> = pairs.filter(|pairs| *pairs > 0).collect();
    let several = pairs.iter().filter(|pairs| **pairs > 1).count() as u64;
    assert_eq!([pairs.len() as u64, several, *pairs.iter().max().unwrap()], expected);
}
