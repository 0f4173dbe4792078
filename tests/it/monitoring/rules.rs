//! `deploy/prometheus/`: by promtool, and in a real Prometheus that scrapes a real collector.

use std::{collections::BTreeSet, time::Duration};

use regex::{Captures, Regex};
use serde_json::Value;

use super::{Prometheus, file};
use crate::{
    collector::{Collector, event},
    contract::tools,
    faults::machine::{PATIENCE, eventually},
};

pub(crate) const RULES: &str = "deploy/prometheus/errata.rules.yml";

/// How much faster the rules run in a test.
const FASTER: u64 = 60;

#[test]
fn promtool_takes_the_rules_their_tests_and_the_example_configuration() {
    for arguments in [
        ["test", "rules", "deploy/prometheus/errata.rules_test.yml"],
        ["check", "config", "deploy/prometheus/prometheus.yml"],
    ] {
        let Some(mut promtool) = tools::program("promtool", "prometheus") else { return };
        let output = promtool.args(&arguments[..2]).arg(file(arguments[2])).output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "promtool {arguments:?}: {said}");
    }
}

fn alerts(rules: &str) -> BTreeSet<&str> {
    rules.lines().filter_map(|line| line.trim().strip_prefix("- alert: ")).collect()
}

#[test]
fn every_alert_fires_in_a_case_and_is_explained() {
    let read = |path| std::fs::read_to_string(file(path)).unwrap();
    let (rules, tests) = (read(RULES), read("deploy/prometheus/errata.rules_test.yml"));
    let page = read("docs/operations/prometheus.md");
    let fires = Regex::new(r"alertname: (\w+)\n +eval_time: \w+\n +exp_alerts:\n +- exp_labels").unwrap();
    let fires: BTreeSet<&str> = fires.captures_iter(&tests).map(|found| found.get(1).unwrap().as_str()).collect();
    let names = alerts(&rules);
    assert_eq!(fires, names);
    for name in &names {
        assert!(page.contains(&format!("\n### {name}\n")), "{name} is not explained");
        let runbook = format!("runbook: docs/operations/prometheus.md#{}\n", name.to_lowercase());
        assert!(rules.contains(&runbook), "{name} has no runbook");
    }
    assert_eq!(page.matches("\n### Errata").count(), names.len(), "the page explains an alert that is none");
}

/// The rules with every window and wait so much shorter.
pub(crate) fn hastened(rules: &str, faster: u64) -> String {
    let durations = Regex::new(r"(\[|offset |for: )(\d+)([smhd])\b").unwrap();
    let shorter = |found: &Captures<'_>| {
        let seconds = match &found[3] {
            "s" => 1,
            "m" => 60,
            "h" => 3600,
            _ => 86_400,
        };
        let millis = found[2].parse::<u64>().unwrap() * seconds * 1000 / faster;
        format!("{}{millis}ms", &found[1])
    };
    durations.replace_all(rules, shorter).into_owned()
}

/// Ships some events of a status, of a service without totals.
async fn ship(collector: &Collector, round: usize, status: u16, count: usize) {
    let events: Vec<Value> = (0..count)
        .map(|number| {
            let mut event = event(&format!("req_{round}_{status}_{number}"), status);
            event["service"] = "rules".into();
            event
        })
        .collect();
    assert_eq!(collector.ship(&events).await.0, 202);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_real_prometheus_fires_for_an_incident_and_for_a_collector_that_is_gone_and_for_nothing_else() {
    let dir = tempfile::tempdir().unwrap();
    let collector = Collector::start(&dir.path().join("data")).await;
    std::fs::write(dir.path().join("rules.yml"), hastened(&std::fs::read_to_string(file(RULES)).unwrap(), FASTER))
        .unwrap();
    let target = collector.url.trim_start_matches("http://");
    let config = format!(
        "global: {{scrape_interval: 250ms, scrape_timeout: 250ms, evaluation_interval: 250ms}}\n\
         rule_files: [rules.yml]\n\
         scrape_configs: [{{job_name: errata, static_configs: [{{targets: [\"{target}\"]}}]}}]\n"
    );
    let Some(prometheus) = Prometheus::start(dir.path(), &config).await else { return };

    // Users get things wrong, and little else: no alert, although 20 and more a second fail.
    let mut round = 0;
    let others = "service_status:errata_api_errors:rate5m{service=\"rules\", status=\"422\"} > 10";
    eventually("the usual errors are seen", PATIENCE, async || {
        round += 1;
        ship(&collector, round, 422, 10).await;
        ship(&collector, round, 429, 1).await;
        tokio::time::sleep(Duration::from_millis(100)).await; // the traffic's own pace
        !prometheus.query(others).await.is_empty()
    })
    .await;
    let health = ["ErrataCollectorDown", "ErrataClickHouseDown"];
    let quiet = |firing: &[String]| firing.iter().all(|name| health.contains(&name.as_str()));
    assert!(quiet(&prometheus.firing().await), "{:?}", prometheus.firing().await);

    // An incident: server errors, and a client that hammers.
    let expected = ["ErrataRateLimitedSurge", "ErrataServerErrors"];
    eventually("the incident's alerts fire", PATIENCE, async || {
        round += 1;
        ship(&collector, round, 500, 5).await;
        ship(&collector, round, 429, 20).await;
        tokio::time::sleep(Duration::from_millis(100)).await; // the traffic's own pace
        prometheus.firing().await == expected
    })
    .await;

    eventually("the alerts end after the incident", PATIENCE, async || prometheus.firing().await.is_empty()).await;

    collector.stop().await.unwrap();
    eventually("the collector is missed", PATIENCE, async || prometheus.firing().await == ["ErrataCollectorDown"])
        .await;
}
