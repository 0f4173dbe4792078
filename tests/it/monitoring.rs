//! What we ship for those who watch: rules for Prometheus, dashboards for Grafana, and metrics that stay small.

mod boards;
mod cardinality;
mod clickhouse;
mod promql;
pub(crate) mod rules;
mod structure;

use std::{
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use serde_json::Value;

use crate::{
    contract::tools,
    faults::machine::{PATIENCE, eventually, free_port},
};

/// A file of the repository.
pub(crate) fn file(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// A real Prometheus, ended with the test.
pub(crate) struct Prometheus {
    child: Child,
    url: String,
    client: reqwest::Client,
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        let _ = self.child.kill(); // it may have ended
        let _ = self.child.wait();
    }
}

impl Prometheus {
    /// Starts one with its configuration, rules and data in a directory, if this machine has it.
    pub(crate) async fn start(dir: &Path, config: &str) -> Option<Self> {
        let mut command: Command = tools::program("prometheus", "prometheus")?;
        crate::collector::rustls_provider();
        std::fs::write(dir.join("prometheus.yml"), config).unwrap();
        let address = format!("127.0.0.1:{}", free_port());
        let log = std::fs::File::create(dir.join("prometheus.log")).unwrap();
        let child = command
            .arg(format!("--config.file={}", dir.join("prometheus.yml").display()))
            .arg(format!("--storage.tsdb.path={}", dir.join("tsdb").display()))
            .arg(format!("--web.listen-address={address}"))
            .args(["--storage.tsdb.retention.time=100y", "--log.level=warn"])
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap();
        let mut prometheus = Self { child, url: format!("http://{address}"), client: reqwest::Client::new() };
        eventually("Prometheus is ready", PATIENCE, async || {
            let said = || std::fs::read_to_string(dir.join("prometheus.log")).unwrap();
            assert!(prometheus.child.try_wait().unwrap().is_none(), "Prometheus ended: {}", said());
            let ready = prometheus.client.get(format!("{}/-/ready", prometheus.url)).send().await;
            ready.is_ok_and(|answer| answer.status().is_success())
        })
        .await;
        Some(prometheus)
    }

    /// The data of an answer of its API.
    pub(crate) async fn get(&self, path: &str, parameters: &[(&str, &str)]) -> Value {
        let request = self.client.get(format!("{}/api/v1/{path}", self.url)).query(parameters);
        let mut body: Value = request.send().await.unwrap().json().await.unwrap();
        assert_eq!(body["status"], "success", "{path} {parameters:?}: {body}");
        body["data"].take()
    }

    /// The series of an expression now.
    pub(crate) async fn query(&self, expression: &str) -> Vec<Value> {
        let data = self.get("query", &[("query", expression)]).await;
        data["result"].as_array().unwrap().clone()
    }

    /// Names of the alerts that fire, in order.
    async fn firing(&self) -> Vec<String> {
        let data = self.get("alerts", &[]).await;
        let alerts = data["alerts"].as_array().unwrap().iter().filter(|alert| alert["state"] == "firing");
        let mut names: Vec<_> = alerts.map(|alert| alert["labels"]["alertname"].as_str().unwrap().to_owned()).collect();
        names.sort();
        names.dedup();
        names
    }
}
