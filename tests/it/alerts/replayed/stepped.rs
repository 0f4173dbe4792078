//! The captured two days in a running collector, on a clock that the test moves on as the traffic comes in: every built-in rule with its own
//! windows, and the objectives of `alerts.toml`. A replay over stored history says the same (`captured.rs`).

use std::sync::atomic::Ordering;

use errata::clock::rfc3339;
use flate2::read::GzDecoder;
use reqwest::Method;
use serde_json::{Value, json};

use super::stage::millis;
use crate::{
    alerts::{
        receivers::{Got, Receiver},
        running::{MINUTE, with_rules},
    },
    captured::{capture, data},
    collector::{Collector, answer},
};

const RULES: &str = include_str!("../../../data/alerts.toml");

/// How much earlier the traffic arrives than it is evaluated; a step more must be less than an hour, beyond which it is refused.
const AHEAD: i64 = 20 * MINUTE;

/// Lines of the capture that were not sent yet, with their times.
struct Lines {
    lines: Vec<(i64, String)>,
    sent: usize,
}

impl Lines {
    fn of(text: &str, time: &str) -> Self {
        let line = |line: &str| {
            let value: Value = serde_json::from_str(line).unwrap();
            (millis(value[time].as_str().unwrap()), format!("{line}\n"))
        };
        Self { lines: text.lines().map(line).collect(), sent: 0 }
    }

    /// What there is before a time, and was not sent.
    fn until(&mut self, time_ms: i64) -> String {
        let from = self.sent;
        self.sent = self.lines.partition_point(|(at, _)| *at < time_ms);
        self.lines[from..self.sent].iter().map(|(_, line)| line.as_str()).collect()
    }
}

/// A collector that lives through the capture.
struct Day {
    collector: Collector,
    hook: Receiver,
    errors: Lines,
    totals: Lines,
    /// Up to when it has taken in what there was.
    taken_ms: i64,
    _dir: tempfile::TempDir,
}

impl Day {
    /// One that takes up its work at a time, with all that was before in store.
    async fn begin(time: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let hook = Receiver::start().await;
        let receiver = format!(
            "[[receiver]]\nname = 'hook'\ntype = 'webhook'\nurl = '{}'\nallow = ['127.0.0.1']\nrepeat = '0s'\n",
            hook.url
        );
        let rules = with_rules(dir.path(), &format!("{RULES}{receiver}"));
        let collector = Collector::with_clock(rules, millis(time)).await;
        let totals = std::fs::File::open(data("drf-request-totals.ndjson.gz")).unwrap();
        let totals = std::io::read_to_string(GzDecoder::new(totals)).unwrap();
        let (errors, totals) = (Lines::of(&capture(), "timestamp"), Lines::of(&totals, "minute"));
        let mut day = Self { collector, hook, errors, totals, taken_ms: 0, _dir: dir };
        day.take(millis(time)).await;
        day
    }

    /// Takes in what there is before a time.
    async fn take(&mut self, time_ms: i64) {
        for (path, body) in
            [("/api/v1/events", self.errors.until(time_ms)), ("/api/v1/request-totals", self.totals.until(time_ms))]
        {
            if !body.is_empty() {
                let request = self.collector.request(Method::POST, path).header("Content-Type", "application/x-ndjson");
                let (status, answer) = answer(request.body(body)).await;
                assert_eq!((status.as_u16(), &answer["data"]["rejected"]), (202, &json!(0)), "{answer}");
            }
        }
        self.collector.delivered().await;
        self.collector.totals_delivered().await;
        self.taken_ms = time_ms;
    }

    /// Moves on to a time, and evaluates every so many minutes. What comes is taken in some time before: no window reaches past its end.
    async fn until(&mut self, time: &str, every: i64) {
        let mut now = self.collector.now_ms.load(Ordering::Relaxed);
        while now < millis(time) {
            now += every * MINUTE;
            if self.taken_ms < now {
                self.take(now + AHEAD).await;
            }
            self.collector.now_ms.store(now, Ordering::Relaxed);
            let end = rfc3339(now);
            let is_evaluated = |alerts: &Value| alerts["evaluated_at"] == *end && alerts["frozen"].is_null();
            self.collector.alerts_when(&end, is_evaluated).await;
        }
    }

    /// Rule, change, and when, as `18T14:06`; oldest first.
    async fn changes(&self) -> Vec<String> {
        let (_, body) = self.collector.get("/api/v1/alerts/history").await;
        let changes = body["data"]["changes"].as_array().unwrap().iter().rev();
        let text = |change: &Value, key: &str| change[key].as_str().unwrap().to_owned();
        let line = |change: &Value| {
            format!("{} {} {}", text(change, "rule"), text(change, "change"), &text(change, "at")[8..16])
        };
        changes.map(line).collect()
    }

    /// Ends it; what the receiver was told.
    async fn end(self) -> Vec<Got> {
        self.collector.stop().await.unwrap();
        self.hook.got()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_hours_of_the_first_day_have_one_alert_of_the_account_that_hammers() {
    let mut day = Day::begin("2026-11-17T00:00:00Z").await;
    day.until("2026-11-17T09:00:00Z", 36).await;
    day.until("2026-11-17T09:30:00Z", 10).await;
    day.until("2026-11-17T09:33:00Z", 1).await;
    day.until("2026-11-17T09:53:00Z", 5).await;
    day.until("2026-11-17T09:56:00Z", 1).await;
    day.until("2026-11-17T10:08:00Z", 12).await;
    assert_eq!(day.changes().await, ["rate-limited firing 17T09:31", "rate-limited resolved 17T09:55"]);
    day.hook.wait(2).await;
    let [firing, resolved] = day.end().await.try_into().unwrap();
    let (firing, resolved) = (firing.body(), resolved.body());
    assert_eq!((&firing["status"], &resolved["status"]), (&json!("firing"), &json!("resolved")));
    assert_eq!(firing["labels"]["account"], "17");
    assert_eq!(firing["evidence"]["groups"][0]["route"], "/api/v1/planner/clusters/auto_cluster/");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_login_burst_is_nobodys_alert() {
    // What was before arrives as a backlog: it raises nothing.
    let mut day = Day::begin("2026-11-18T01:30:00Z").await;
    day.until("2026-11-18T02:12:00Z", 21).await;
    day.until("2026-11-18T02:20:00Z", 1).await;
    assert_eq!((day.changes().await, day.end().await.len()), (Vec::new(), 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_incident_is_a_page_by_its_burn_rate_and_a_ticket_by_its_new_error_and_the_hours_around_are_quiet() {
    let mut day = Day::begin("2026-11-18T11:30:00Z").await;
    day.until("2026-11-18T14:00:00Z", 30).await;
    day.until("2026-11-18T14:08:00Z", 1).await;
    day.until("2026-11-18T14:38:00Z", 6).await;
    day.until("2026-11-18T14:43:00Z", 1).await;
    day.until("2026-11-18T15:00:00Z", 17).await;
    day.until("2026-11-18T15:03:00Z", 1).await;
    day.until("2026-11-18T17:03:00Z", 30).await;
    let expected = [
        "new-error firing 18T14:01",
        "server-errors firing 18T14:06",
        "server-errors resolved 18T14:41",
        "new-error resolved 18T15:01",
    ];
    assert_eq!(day.changes().await, expected);
    day.hook.wait(4).await;
    let told: Vec<Value> = day.end().await.iter().map(Got::body).collect();
    assert_eq!(told.len(), 4);
    let page = told.iter().find(|told| told["rule"] == "server-errors").unwrap();
    assert_eq!((&page["status"], &page["severity"]), (&json!("firing"), &json!("page")));
    let evidence = &page["evidence"];
    assert_eq!(evidence["groups"][0]["route"], "/api/v1/writer/tasks/<int:pk>/generate_content/");
    assert_eq!((&evidence["release"]["from"], &evidence["release"]["to"]), (&json!("2026.11.1"), &json!("2026.11.2")));
    assert_eq!(evidence["samples"].as_array().unwrap().len(), 5);
}
