//! Debian's Alertmanager, and what it makes of what we tell it.

use std::{
    path::Path,
    process::{Child, Stdio},
    sync::atomic::Ordering,
    time::Duration,
};

use serde_json::Value;

use super::{
    receivers::Receiver,
    running::{limit, with_rules},
};
use crate::{
    collector::{Collector, rustls_provider},
    contract::tools::program,
    faults::machine::{PATIENCE, eventually, free_port},
};

/// One that runs, ended with the test.
pub struct Alertmanager {
    child: Child,
    pub url: String,
    client: reqwest::Client,
}

impl Drop for Alertmanager {
    fn drop(&mut self) {
        let _ = self.child.kill(); // it may have ended
        let _ = self.child.wait();
    }
}

impl Alertmanager {
    /// Starts one on a port, if this machine has it; it tells a webhook, at once, of every change.
    pub async fn start(dir: &Path, port: u16, webhook: &str) -> Option<Self> {
        let mut command = program("prometheus-alertmanager", "prometheus-alertmanager")?;
        rustls_provider();
        let config = dir.join("alertmanager.yml");
        let text = format!(
            "route: {{ receiver: hook, group_by: ['...'], group_wait: 100ms, group_interval: 1s, repeat_interval: 1h }}\n\
             receivers: [{{ name: hook, webhook_configs: [{{ url: '{webhook}', send_resolved: true }}] }}]\n"
        );
        std::fs::write(&config, text).unwrap();
        command
            .arg(format!("--config.file={}", config.display()))
            .arg(format!("--storage.path={}", dir.join("alertmanager").display()))
            .arg(format!("--web.listen-address=127.0.0.1:{port}"))
            .arg("--cluster.listen-address=")
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let child = command.spawn().unwrap();
        let mut alertmanager = Self { child, url: format!("http://127.0.0.1:{port}"), client: reqwest::Client::new() };
        eventually("alertmanager answers", PATIENCE, async || {
            assert!(alertmanager.child.try_wait().unwrap().is_none(), "Alertmanager ended; was its port taken?");
            let ready = alertmanager.client.get(format!("{}/-/ready", alertmanager.url)).send().await;
            ready.is_ok_and(|answer| answer.status().is_success())
        })
        .await;
        Some(alertmanager)
    }

    /// The alerts that it knows to fire.
    pub async fn alerts(&self) -> Vec<Value> {
        let request = self.client.get(format!("{}/api/v2/alerts", self.url));
        request.send().await.unwrap().json().await.unwrap()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_real_alertmanager_notifies_once_that_it_fires_and_once_that_it_has_resolved() {
    let dir = tempfile::tempdir().unwrap();
    let hook = Receiver::start().await;
    let port = free_port();
    let Some(_alertmanager) = Alertmanager::start(dir.path(), port, &hook.url).await else { return };
    let rules = format!(
        "defaults = false\n[[rule]]\nname = 'limited'\nkind = 'rate_limited'\nseverity = 'page'\nthreshold = 5\nwindow = '15s'\n\
         lasting = '0s'\n[[receiver]]\nname = 'am'\ntype = 'alertmanager'\nurl = 'http://127.0.0.1:{port}'\nallow = ['127.0.0.1']\n"
    );
    let collector = Collector::with(with_rules(dir.path(), &rules)).await;
    // Alertmanager goes by the machine's clock: so does this collector.
    let clock = collector.now_ms.clone();
    clock.store(chrono::Utc::now().timestamp_millis(), Ordering::Relaxed);
    let ticking = tokio::spawn(async move {
        loop {
            clock.store(chrono::Utc::now().timestamp_millis(), Ordering::Relaxed);
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    });
    limit(&collector, 17, 6, 0).await;
    let told = hook.wait(1).await[0].body();
    assert_eq!(told["status"], "firing");
    let alert = &told["alerts"][0];
    assert_eq!(alert["labels"]["alertname"], "limited");
    assert_eq!(alert["labels"]["account"], "17");
    assert_eq!(alert["labels"]["severity"], "page");
    assert!(alert["annotations"]["summary"].as_str().unwrap().contains("6 × 429 within 15s (threshold 5)"), "{alert}");
    assert!(alert["annotations"]["accounts"].as_str().unwrap().starts_with("17 (6 events, 100 %)"), "{alert}");
    let resolved = hook.wait(2).await[1].body();
    assert_eq!(resolved["status"], "resolved");
    assert_eq!(resolved["alerts"][0]["labels"], alert["labels"]);
    let statuses: Vec<Value> = hook.got().iter().map(|got| got.body()["status"].clone()).collect();
    assert_eq!(statuses, ["firing", "resolved"]);
    ticking.abort();
    collector.stop().await.unwrap();
}
