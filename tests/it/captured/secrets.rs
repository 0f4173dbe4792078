//! Secrets of the captured traffic: nowhere below the data directory, nowhere in an answer.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
};

use errata::store::{
    client::Database,
    engine::{Engine, EngineOptions},
};
use regex::{Regex, bytes};
use serde_json::Value;

use super::{Readme, all_events, capture, exchanges, ship};
use crate::{
    collector::{self, Collector},
    engine,
};

/// Every secret of the capture, as one pattern.
struct Secrets(bytes::Regex);

impl Secrets {
    /// Each kind is on as many lines as the README says.
    fn of(exchanges: &[Value], readme: &Readme) -> Self {
        let mut secrets = BTreeSet::new();
        let mut find = |pattern: &str, part: &dyn Fn(&Value) -> String| {
            let pattern = Regex::new(pattern).unwrap();
            let mut lines = 0;
            for text in exchanges.iter().map(part) {
                let values: Vec<String> = pattern.captures_iter(&text).map(|found| found[1].to_owned()).collect();
                lines += u64::from(!values.is_empty());
                secrets.extend(values);
            }
            lines
        };
        let header = |name: &'static str| move |it: &Value| text(&it["request_headers"][name]);
        let response = |it: &Value| it["response"].to_string();
        let path = |it: &Value| text(&it["path"]).replace("%40", "@");
        let found = [
            find(r" (\S+)", &header("Authorization")),
            find(r"^\w+=(\w{16,})", &header("Cookie")),
            find(r"([\w.+-]+@[\w-]+\.[\w.-]*\w)", &response),
            find(r"(igk_live_\w+)", &response),
            find(r"[?&]email=([^&]+)", &path),
            find(r"[?&](?:token|api_key)=([^&]+)", &path),
        ];
        let expected = readme.numbers(
            r"`request_headers.Authorization`: (\d+); with `Cookie`: (\d+); email address in the response body: (\d+); live API key in the response body: (\d+);\nemail in the query string: (\d+); `token=` or `api_key=` in the query string: (\d+)\.",
        );
        assert_eq!(found, expected, "the secrets are found as the README counts them");
        // Some clients send `Bearer null`.
        secrets.remove("null");
        assert!(secrets.iter().all(|secret| secret.len() >= 8), "no secret is a common word: {secrets:?}");
        let escaped: Vec<_> = secrets.iter().map(|secret| regex::escape(secret).replace('@', "(?:@|%40)")).collect();
        Self(bytes::Regex::new(&escaped.join("|")).unwrap())
    }

    fn assert_none_in(&self, text: &[u8], what: &str) {
        if let Some(found) = self.0.find(text) {
            let around = &text[found.start().saturating_sub(200)..text.len().min(found.end() + 50)];
            panic!("a secret in {what}: {}", String::from_utf8_lossy(around));
        }
    }
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

/// Every file below a directory.
fn files(directory: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap());
    let below = entries.flat_map(|entry| match entry.file_type().unwrap() {
        kind if kind.is_dir() => files(&entry.path()),
        kind if kind.is_file() => vec![entry.path()],
        _ => vec![],
    });
    below.collect()
}

/// Reads every file below a directory; none may hold a secret. Returns how many, and all they hold.
fn search_files(secrets: &Secrets, directory: &Path) -> (usize, Vec<u8>) {
    let files = files(directory);
    let mut all = Vec::new();
    for file in &files {
        let bytes = std::fs::read(file).unwrap();
        secrets.assert_none_in(&bytes, &file.display().to_string());
        all.extend(bytes);
    }
    (files.len(), all)
}

/// Which of the exchanges' ids a text holds: the control that shows that a search like this one finds things.
fn ids_in(text: &[u8], exchanges: &[Value]) -> usize {
    let id = bytes::Regex::new(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}").unwrap();
    let there: BTreeSet<&[u8]> = id.find_iter(text).map(|found| found.as_bytes()).collect();
    let sent: BTreeSet<&[u8]> =
        exchanges.iter().filter_map(|it| it["request_id"].as_str()).map(str::as_bytes).collect();
    sent.intersection(&there).count()
}

/// UUIDs of the capture, by its README.
fn uuids(readme: &Readme) -> usize {
    readme.numbers::<1>(r"\{'uuid4': (\d+),")[0] as usize
}

#[tokio::test(flavor = "multi_thread")]
async fn no_secret_is_in_a_spool_that_waits_for_clickhouse() {
    let dir = tempfile::tempdir().unwrap();
    let (readme, capture) = (Readme::read(), capture());
    let exchanges = exchanges(&capture);
    let secrets = Secrets::of(&exchanges, &readme);
    let mut config = collector::config(dir.path());
    config.clickhouse.url = "http://127.0.0.1:9".into(); // discard: nobody listens
    let collector = Collector::with(config).await;
    let [accepted, ..] = ship(&collector, &capture).await;
    assert_eq!(collector.metric("errata_spool_events").await, accepted as f64);
    // Without compression: the files show everything that is kept.
    let (_, kept) = search_files(&secrets, &dir.path().join("spool"));
    assert_eq!(ids_in(&kept, &exchanges), uuids(&readme));
    search_files(&secrets, dir.path());
}

#[tokio::test(flavor = "multi_thread")]
async fn no_secret_is_in_any_file_table_or_answer_after_delivery() {
    let dir = tempfile::tempdir().unwrap();
    let (readme, capture) = (Readme::read(), capture());
    let exchanges = exchanges(&capture);
    let secrets = Secrets::of(&exchanges, &readme);
    let collector = Collector::start(dir.path()).await;
    ship(&collector, &capture).await;
    collector.delivered().await;

    let events = all_events(&collector).await;
    let answers: String = events.iter().map(Value::to_string).collect();
    assert_eq!(ids_in(answers.as_bytes(), &exchanges), uuids(&readme));
    secrets.assert_none_in(answers.as_bytes(), "the events as searched");
    secrets.assert_none_in(collector.metrics().await.as_bytes(), "/metrics");
    collector.stop().await.unwrap();

    let (count, _) = search_files(&secrets, dir.path());
    assert!(count > 50, "the files of ClickHouse are among them: {count}");
    // Parts are compressed: what they hold is read through the engine.
    let tables = dump(dir.path()).await;
    assert_eq!(ids_in(&tables, &exchanges), uuids(&readme));
    secrets.assert_none_in(&tables, "the tables of ClickHouse");
}

/// Every row of every table of a collector that has ended, as JSON.
async fn dump(data_dir: &Path) -> Vec<u8> {
    let database = Database::parse("errata").unwrap();
    let mut options = EngineOptions::new(engine::library(), data_dir.to_owned(), database).unwrap();
    options.executable = PathBuf::from(env!("CARGO_BIN_EXE_errata"));
    let engine = tokio::task::spawn_blocking(move || Engine::start(options)).await.unwrap().unwrap();
    let clients = engine.access().first_reachable().await.unwrap();
    let tables = "SELECT name FROM system.tables WHERE database = 'errata' AND engine LIKE '%MergeTree' ORDER BY name";
    let tables: Vec<String> = clients.admin.query(tables).fetch_all().await.unwrap();
    assert!(tables.iter().any(|table| table == "events"), "{tables:?}");
    let mut rows = Vec::new();
    for table in tables {
        let query = clients.read.query(&format!("SELECT * FROM errata.`{table}`"));
        let mut cursor = query.fetch_bytes("JSONEachRow").unwrap();
        rows.extend(cursor.collect().await.unwrap());
    }
    drop(clients);
    tokio::task::spawn_blocking(move || drop(engine)).await.unwrap();
    rows
}
