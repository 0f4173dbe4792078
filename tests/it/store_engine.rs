//! A migrated database on an engine of its own.

use std::{
    net::TcpListener,
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use errata::store::Store;

pub struct Engine {
    pub store: Store,
    pub client: clickhouse::Client,
    child: Child,
    _dir: tempfile::TempDir,
}

impl Drop for Engine {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub async fn engine() -> Engine {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let dir = tempfile::tempdir().unwrap();
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let child = Command::new("python3")
        .arg(root.join("benches/store/bench.py"))
        .arg(dir.path())
        .arg(port.to_string())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let client = clickhouse::Client::default().with_url(format!("http://127.0.0.1:{port}"));
    let begin = Instant::now();
    while client.query("SELECT 1").fetch_one::<u8>().await.is_err() {
        assert!(begin.elapsed() < Duration::from_secs(20), "the engine does not start: is ERRATA_BENCH_LIB set?");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    migrate(root, &client).await;
    let ours = client.clone().with_database("errata");
    let store = Store::new(client.clone(), ours.clone(), ours.clone(), "errata");
    Engine { store, client: ours, child, _dir: dir }
}

async fn migrate(root: &Path, client: &clickhouse::Client) {
    client.query("CREATE DATABASE IF NOT EXISTS errata ENGINE = Atomic").execute().await.unwrap();
    let mut files: Vec<_> = root.join("migrations").read_dir().unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    for file in files {
        let text = std::fs::read_to_string(file).unwrap().replace("{database}", "errata");
        for statement in text.split(";\n").filter(|statement| !statement.trim().is_empty()) {
            client.query_raw(statement).execute().await.unwrap();
        }
    }
}
