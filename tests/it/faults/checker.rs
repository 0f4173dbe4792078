//! Holds what was acknowledged against what the collector answers: in searches, lookups and rates, and in its books.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::OpenOptions,
    io::Write as _,
};

use errata::clock::rfc3339;
use serde_json::json;

use super::{collector::Collector, load::Ledger, machine::is_long};

const HOUR_MS: i64 = 3_600_000;

/// What became of the events of a test.
#[derive(Debug, Default)]
pub struct Verdict {
    pub acknowledged: usize,
    /// Events that queries return.
    pub visible: usize,
    /// Acknowledged, and not to be found.
    pub lost: BTreeSet<String>,
    /// Returned more than once, acknowledged or not.
    pub duplicated: BTreeSet<String>,
    /// Returned, and never sent.
    pub foreign: BTreeSet<String>,
    pub imbalance: f64,
}

impl Verdict {
    /// The promise: nothing lost, nothing twice, the books balance.
    pub fn assert_kept(&self) {
        assert!(self.acknowledged > 0, "a test that ships nothing shows nothing");
        assert!(self.lost.is_empty(), "{} lost, such as {:?}", self.lost.len(), self.lost.first());
        assert!(self.duplicated.is_empty(), "{} twice, such as {:?}", self.duplicated.len(), self.duplicated.first());
        assert!(self.foreign.is_empty(), "{} were never sent, such as {:?}", self.foreign.len(), self.foreign.first());
        assert_eq!(self.imbalance, 0.0, "errata_books_imbalance_events");
    }

    /// Prints the counts, and adds them to the table of `make faults`.
    pub fn report(&self, row: &str, done: &str) {
        let (acknowledged, lost, duplicated) = (self.acknowledged, self.lost.len(), self.duplicated.len());
        let line = format!("{row}\t{done}\t{acknowledged}\t{lost}\t{duplicated}\n");
        print!("row, done, acknowledged, lost, duplicated: {line}");
        if let Some(path) = std::env::var_os("ERRATA_FAULTS_REPORT") {
            let mut file = OpenOptions::new().create(true).append(true).open(path).unwrap();
            file.write_all(line.as_bytes()).unwrap(); // one write a line: tests run side by side
        }
    }
}

/// Waits until everything is delivered, and compares.
pub async fn check(collector: &Collector, ledger: &Ledger) -> Verdict {
    let now = chrono::Utc::now().timestamp_millis();
    check_between(collector, ledger, now - 6 * HOUR_MS, now + 6 * HOUR_MS).await
}

/// [`check`] of events of another time.
pub async fn check_between(collector: &Collector, ledger: &Ledger, from_ms: i64, to_ms: i64) -> Verdict {
    let (verdict, counted) = compare(collector, ledger, from_ms, to_ms).await;
    assert_eq!(counted, verdict.visible as u64, "events that the rates count, and that a search returns");
    verdict
}

/// [`check`] where both the checkpoint and the plan were lost: what is delivered again is shown once, and the rollups count
/// it again, at most twice.
pub async fn check_counted_again(collector: &Collector, ledger: &Ledger) -> Verdict {
    let now = chrono::Utc::now().timestamp_millis();
    let (verdict, counted) = compare(collector, ledger, now - 6 * HOUR_MS, now + 6 * HOUR_MS).await;
    let visible = verdict.visible as u64;
    assert!((visible..=2 * visible).contains(&counted), "the rates count {counted} of {visible} events");
    verdict
}

/// What became of the events, and how many the rates count.
async fn compare(collector: &Collector, ledger: &Ledger, from_ms: i64, to_ms: i64) -> (Verdict, u64) {
    collector.delivered().await;
    let range = format!("from={}&to={}", rfc3339(from_ms), rfc3339(to_ms));
    let found = search(collector, &range).await;
    let (acknowledged, sent) = (ledger.acknowledged(), ledger.sent());
    let mut verdict = Verdict { acknowledged: acknowledged.len(), visible: found.len(), ..Verdict::default() };
    verdict.lost = acknowledged.iter().filter(|id| !found.contains_key(*id)).cloned().collect();
    verdict.duplicated = found.iter().filter(|(_, times)| **times > 1).map(|(id, _)| id.clone()).collect();
    verdict.foreign = found.keys().filter(|id| !sent.contains(*id)).cloned().collect();
    let there = acknowledged.difference(&verdict.lost).cloned().collect();
    lookups(collector, &there, &mut verdict).await;
    let step = if to_ms - from_ms > 1000 * HOUR_MS { "1d" } else { "1h" };
    let counted = rates(collector, &format!("{range}&step={step}")).await;
    verdict.imbalance = collector.metric("errata_books_imbalance_events").await;
    (verdict, counted)
}

/// How often each request id is returned.
async fn search(collector: &Collector, range: &str) -> BTreeMap<String, u64> {
    let mut found = BTreeMap::new();
    let mut cursor = String::new();
    loop {
        let page = collector.get(&format!("/api/v1/events?{range}&limit=500{cursor}")).await;
        for event in page["events"].as_array().unwrap() {
            *found.entry(event["request_id"].as_str().unwrap().to_owned()).or_default() += 1;
        }
        let Some(next) = page["next_cursor"].as_str() else { return found };
        cursor = format!("&cursor={next}");
    }
}

/// Ids that are looked up in the short version; the long one looks all up.
const SAMPLE: usize = 400;

/// Looks ids up that a search has returned; what is not found once is entered.
async fn lookups(collector: &Collector, ids: &BTreeSet<String>, verdict: &mut Verdict) {
    let every = if is_long() { 1 } else { ids.len().div_ceil(SAMPLE).max(1) };
    let ids: Vec<&str> = ids.iter().map(String::as_str).step_by(every).collect();
    for some in ids.chunks(100) {
        let answer = collector.post("/api/v1/requests/lookup", &json!({"text": some.join(" ")})).await;
        let results = answer["results"].as_array().unwrap();
        let events: BTreeMap<&str, u64> = results
            .iter()
            .map(|result| (result["request_id"].as_str().unwrap(), result["events"].as_u64().unwrap()))
            .collect();
        for id in some {
            match events.get(id) {
                Some(1) => {}
                Some(0) | None => drop(verdict.lost.insert((*id).to_owned())),
                Some(_) => drop(verdict.duplicated.insert((*id).to_owned())),
            }
        }
    }
}

/// The sum of all error rates.
async fn rates(collector: &Collector, range: &str) -> u64 {
    let rates = collector.get(&format!("/api/v1/rates?{range}&group_by=status")).await;
    rates["series"].as_array().unwrap().iter().map(|series| series["errors"].as_u64().unwrap()).sum()
}
