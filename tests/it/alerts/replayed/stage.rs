//! Where a capture is played: a collector with its ClickHouse and an Alertmanager, and what they said.

use std::{
    fmt::Write as _,
    path::Path,
    process::{Child, Stdio},
    time::Duration,
};

use chrono::DateTime;
use errata::clock::rfc3339;
use regex::{Captures, Regex};
use serde_json::Value;

use crate::{
    alerts::{alertmanager::Alertmanager, receivers::Receiver},
    captured::data,
    faults::{
        collector::Collector,
        machine::{PATIENCE, eventually, free_port},
        proxy::Proxy,
        rig::Rig,
    },
    monitoring::{Prometheus, file, rules},
};

/// Whether the long version was asked for.
pub fn is_long() -> bool {
    std::env::var_os("ERRATA_REPLAY").is_some_and(|value| value == "long")
}

/// How many times faster than it was a capture is played: 12 minutes are 12 seconds, and the windows of minutes some seconds. In the long
/// version windows of five minutes are one.
pub fn speed(short: i64) -> i64 {
    if is_long() { 5 } else { short }
}

/// The rules at speed, and who is told.
fn alert_rules(speed: i64, port: u16) -> String {
    let text = std::fs::read_to_string(data("alerts-at-speed.toml")).unwrap();
    let seconds = |found: &Captures<'_>| format!("\"{}s\"", found[1].parse::<i64>().unwrap() * 60 / speed);
    let text = Regex::new(r#""(\d+)m""#).unwrap().replace_all(&text, seconds);
    let floor = |found: &Captures<'_>| format!("floor = {}", found[1].parse::<i64>().unwrap() * speed);
    let mut text = Regex::new(r"floor = (\d+)").unwrap().replace_all(&text, floor).into_owned();
    if 5 % speed == 0 {
        let minutes = |minutes: i64| format!("\"{}m\"", minutes / speed);
        let window =
            |long, short, burn| format!("{{ long = {}, short = {}, burn = {burn} }}", minutes(long), minutes(short));
        let windows = [window(60, 5, 14.4), window(360, 30, 6.0)].join(", ");
        write!(
            text,
            "[[rule]]\nname = 'server-errors'\nkind = 'server_errors'\nseverity = 'page'\nwindows = [{windows}]\n"
        )
        .unwrap();
    }
    text + &format!(
        "[[receiver]]\nname = 'alertmanager'\ntype = 'alertmanager'\nurl = 'http://127.0.0.1:{port}'\nallow = ['127.0.0.1']\n"
    )
}

/// Prometheus' rules at speed, with the objective of `alerts-at-speed.toml`.
fn prometheus_rules(speed: i64) -> String {
    let rules = std::fs::read_to_string(file(rules::RULES)).unwrap();
    assert!(rules.contains("* 0.001") && rules.contains("> 0.001"), "the objective is written in another way now");
    let rules = rules.replace("0.001", "0.017");
    // What is counted by the minute is so many times as much.
    rules::hastened(&rules, speed as u64).replace("60 * sum by", &format!("60 / {speed} * sum by"))
}

pub struct Stage {
    // Before its files are removed.
    pub collector: Collector,
    pub rig: Rig,
    /// Whom Alertmanager tells.
    pub hook: Receiver,
    /// Between the collector and Alertmanager.
    pub gate: Proxy,
    pub speed: i64,
}

impl Stage {
    /// One whose Alertmanager is not there yet.
    pub async fn start(speed: i64) -> Self {
        let mut rig = Rig::start().await;
        let hook = Receiver::start().await;
        let gate = Proxy::start(0).await;
        let alerts = rig.dir.path().join("alerts.toml");
        std::fs::write(&alerts, alert_rules(speed, gate.port())).unwrap();
        rig.setup = rig.setup.with("ERRATA_ALERTS", alerts.to_str().unwrap());
        let collector = rig.setup.start().await;
        eventually("alerts are evaluated", PATIENCE, async || {
            collector.get("/api/v1/alerts").await["evaluated_at"].is_string()
        })
        .await;
        Self { collector, rig, hook, gate, speed }
    }

    /// Debian's Alertmanager, if this machine has it.
    pub async fn alertmanager(&self) -> Option<Alertmanager> {
        let port = free_port();
        self.gate.lead_to(port);
        Alertmanager::start(self.rig.dir.path(), port, &self.hook.url).await
    }

    /// Debian's Prometheus, if this machine has it; it scrapes the collector.
    pub async fn prometheus(&self) -> Option<Prometheus> {
        let dir = self.rig.dir.path();
        std::fs::write(dir.join("rules.yml"), prometheus_rules(self.speed)).unwrap();
        let target = self.rig.setup.url.trim_start_matches("http://");
        let config = format!(
            "global: {{scrape_interval: 250ms, scrape_timeout: 250ms, evaluation_interval: 250ms}}\n\
             rule_files: [rules.yml]\n\
             scrape_configs: [{{job_name: errata, static_configs: [{{targets: [\"{target}\"]}}]}}]\n"
        );
        Prometheus::start(dir, &config).await
    }

    /// Plays the capture between two of its times.
    pub async fn play(&self, from: &str, to: &str) -> Playing {
        let log = self.rig.dir.path().join(format!("demo-{from}.log"));
        let [errors, totals] = ["drf-exchanges.ndjson.gz", "drf-request-totals.ndjson.gz"].map(data);
        let speed = self.speed.to_string();
        let arguments = ["demo", "--replay", errors.to_str().unwrap(), totals.to_str().unwrap(), "--speed", &speed];
        let mut command = self.rig.setup.command(&[&arguments[..], &["--from", from, "--to", to]].concat());
        let child = command.stdout(Stdio::null()).stderr(std::fs::File::create(&log).unwrap()).spawn().unwrap();
        let mut playing = Playing { child, first_ms: 0, start_ms: 0, speed: self.speed };
        let said = Regex::new(r"(\S+Z) of the capture is (\S+Z);").unwrap();
        eventually("the replay begins", PATIENCE, async || {
            let Some(found) = said.captures(&read(&log)).map(|found| [millis(&found[1]), millis(&found[2])]) else {
                return false;
            };
            [playing.first_ms, playing.start_ms] = found;
            true
        })
        .await;
        playing
    }

    /// Every change of an alert: the alert, what became of it, and when; oldest first.
    pub async fn changes(&self) -> Vec<[String; 3]> {
        let history = self.collector.get("/api/v1/alerts/history").await;
        let changes = history["changes"].as_array().unwrap().iter().rev();
        changes.map(|change| ["rule", "change", "at"].map(|key| change[key].as_str().unwrap().to_owned())).collect()
    }

    /// What Alertmanager has told: the alert, and `firing` or `resolved`.
    pub fn told(&self) -> Vec<(String, String)> {
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        let alerts = self.hook.got().into_iter().flat_map(|got| got.body()["alerts"].as_array().unwrap().clone());
        alerts.map(|alert| (text(&alert["labels"]["alertname"]), text(&alert["status"]))).collect()
    }

    /// Waits until Alertmanager has told of so many changes.
    pub async fn until_told(&self, count: usize) {
        // The longest window that an alert waits for is half an hour; the incident and as much again come before.
        let limit = PATIENCE * 2 + Duration::from_mins(70) / u32::try_from(self.speed).unwrap();
        eventually("Alertmanager has told", limit, async || self.told().len() >= count).await;
    }
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_default()
}

/// Milliseconds since the Unix epoch.
pub fn millis(time: &str) -> i64 {
    DateTime::parse_from_rfc3339(time).unwrap_or_else(|error| panic!("{time}: {error}")).timestamp_millis()
}

/// A replay under way, ended with the test.
pub struct Playing {
    child: Child,
    first_ms: i64,
    start_ms: i64,
    speed: i64,
}

impl Drop for Playing {
    fn drop(&mut self) {
        let _ = self.child.kill(); // it may have ended
        let _ = self.child.wait();
    }
}

impl Playing {
    /// The capture's time that a time of now stands for, `14:06:10` of its day.
    pub fn captured(&self, now: &str) -> String {
        self.captured_ms(millis(now))
    }

    pub fn captured_ms(&self, now_ms: i64) -> String {
        rfc3339(self.first_ms + (now_ms - self.start_ms) * self.speed)[11..19].to_owned()
    }

    /// A time of the capture's day, later by what a busy machine may be behind: thirty seconds of ours.
    pub fn at_latest(&self, time: &str) -> String {
        let day = &rfc3339(self.first_ms)[..11];
        rfc3339(millis(&format!("{day}{time}Z")) + 30_000 * self.speed)[11..19].to_owned()
    }

    /// Waits until all is sent, which must have gone well.
    pub async fn ended(&mut self) {
        let mut status = None;
        eventually("the replay ends", Duration::from_secs(3600), async || {
            status = self.child.try_wait().unwrap();
            status.is_some()
        })
        .await;
        assert!(status.unwrap().success(), "{status:?}");
    }

    /// Waits for a time of the capture.
    pub async fn until(&self, time: &str) {
        let over = Duration::from_secs(3600);
        let now = || chrono::Utc::now().timestamp_millis();
        eventually(time, over, async || self.captured_ms(now()).as_str() >= time).await;
    }
}

/// Whether a time of the capture's day is between two, and says which where it is not.
#[track_caller]
pub fn assert_between(what: &str, time: &str, from: &str, to: &str) {
    println!("{what}: {time} (expected from {from} to {to})");
    assert!((from..=to).contains(&time), "{what} at {time}, not from {from} to {to}");
}

/// What of Prometheus' alerts is of the traffic: those of our own health have no service.
pub const FIRES: &str = "ALERTS{alertstate=\"firing\",service!=\"\"}";

/// The alerts of the traffic that fired in Prometheus since a replay began, each with when it did first and last, by the capture's clock.
pub async fn fired(prometheus: &Prometheus, playing: &Playing) -> Vec<(String, String, String)> {
    let seconds = |ms: i64| (ms as f64 / 1000.0).to_string();
    let (start, end) = (seconds(playing.start_ms), seconds(chrono::Utc::now().timestamp_millis()));
    // A range has at most 11,000 points.
    let step = if is_long() { "2" } else { "0.25" };
    let data =
        prometheus.get("query_range", &[("query", FIRES), ("start", &start), ("end", &end), ("step", step)]).await;
    let fired = data["result"].as_array().unwrap().iter().map(|series| {
        let values = series["values"].as_array().unwrap();
        let at = |value: &Value| playing.captured_ms((value[0].as_f64().unwrap() * 1000.0) as i64);
        let name = series["metric"]["alertname"].as_str().unwrap().to_owned();
        (name, at(&values[0]), at(values.last().unwrap()))
    });
    fired.collect()
}
