//! The console in a real Chromium: every page in both themes and two widths, and what people do. The browser's side is `tests/console/`.
//!
//! `ERRATA_SCREENSHOTS` names a directory for pictures of every page (`make screenshots`).

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use errata::state::{AlertChanges, AlertRow, Role, State};
use reqwest::Method;
use serde_json::{Value, json};

use super::overview::{ship_capture, ship_total};
use crate::{
    captured::{self, SPAN},
    collector::{Collector, NOW_MS, answer, event},
    contract::{token, tools},
};

/// The folder of the browser's side.
fn suite() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/console")
}

/// Installs what the suite needs, once for each state of its lock file, and says where.
fn modules() -> PathBuf {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/console-tests");
    fs::create_dir_all(&folder).unwrap();
    let lock = fs::read(suite().join("package-lock.json")).unwrap();
    let installed = folder.join("installed");
    if fs::read(&installed).ok().as_ref() != Some(&lock) {
        for file in ["package.json", "package-lock.json", ".npmrc"] {
            fs::copy(suite().join(file), folder.join(file)).unwrap();
        }
        let mut npm = Command::new("npm");
        npm.args(["ci", "--ignore-scripts", "--no-audit", "--no-fund", "--prefix"]).arg(&folder).current_dir(&folder);
        let done = npm.output().unwrap();
        assert!(done.status.success(), "npm ci: {}", String::from_utf8_lossy(&done.stderr));
        fs::write(installed, lock).unwrap();
    }
    folder
}

/// Ids of the captured traffic by what they are good for.
fn ids() -> Value {
    let exchanges: Vec<Value> = captured::capture().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let first = |is: &dyn Fn(&Value, &str) -> bool| {
        let found =
            exchanges.iter().find(|it| is(it, it["request_id"].as_str().unwrap())).expect("the capture has one");
        found["request_id"].clone()
    };
    let kinds = [
        first(&|_, id| id.len() == 36),
        first(&|_, id| id.len() == 26 && !id.contains(['_', '-'])),
        first(&|_, id| id.starts_with("req_")),
    ];
    let request = first(&|it, _| it["response"]["errors"] == json!({"site_id": ["Site must belong to your account"]}));
    json!({
        "span": SPAN,
        "crowd": CROWD,
        "ids": kinds,
        "ticket": [kinds[0], kinds[1], kinds[2], request],
        "request": request,
        "limited": first(&|it, _| it["status"] == 429),
        "failed": first(&|it, _| it["status"] == 500),
    })
}

/// An alert of before, as the last run left it: the clock stands, so it stays.
fn firing() -> AlertRow {
    let evidence = json!({
        "events": 2082, "samples": ["3312246b-7897-40e0-8703-12c2d8d35023", "f9c7b04c-171c-47eb-9328-9042692a32f8"], "link": "http://127.0.0.1/",
        "groups": [{"service": "igny8-api", "route": "/api/v1/planner/clusters/auto_cluster/", "status": 429, "events": 2082}],
        "accounts": [{"account": "17", "events": 2082, "share": 1.0}],
        "first_seen": "2026-11-22T11:50:00Z", "release": {"from": "2026.11.1", "to": "2026.11.2", "seen_at": "2026-11-22T11:00:00Z"}
    });
    AlertRow {
        project: "default".into(),
        rule: "rate-limited".into(),
        fingerprint: "rate-limited 17".into(),
        labels: json!({"account": "17", "service": "igny8-api"}).to_string(),
        severity: "ticket".into(),
        phase: "firing".into(),
        active_ms: NOW_MS - 600_000,
        fired_ms: Some(NOW_MS - 300_000),
        resolved_ms: None,
        held_ms: NOW_MS,
        value: 2082.0,
        threshold: 60.0,
        summary: "2082 × 429 within 5m (threshold 60)".into(),
        window: (NOW_MS - 300_000, NOW_MS),
        evidence: Some(evidence.to_string()),
        frozen: String::new(),
        told_ms: None,
        acknowledged: None,
    }
}

/// A day with more failures than the page of validation goes through at once.
const CROWD: &str = "from=2026-11-20T00:00:00Z&to=2026-11-21T00:00:00Z";

async fn ship_crowd(collector: &Collector) {
    let messages = vec!["This field is required"; 200];
    let failed = |number: usize| {
        let mut failed = event(&format!("req_crowd_{number}"), 422);
        failed["timestamp"] = json!(format!("2026-11-20T{:02}:{:02}:00Z", number / 60, number % 60));
        failed["account_id"] = json!(format!("crowd-{}", number % 30));
        failed["response"]["errors"] = json!({ "title": messages });
        failed
    };
    let events: Vec<_> = (0..300).map(failed).collect();
    for part in events.chunks(20) {
        collector.ship(part).await;
    }
    // Fewer than the errors: a reporter is missing.
    ship_total(collector, "2026-11-20T00:00:00Z", "igny8-api", 422, 100).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_page_and_flow_in_chromium() {
    let needed = [("chromium", "chromium"), ("node", "nodejs"), ("npm", "npm")];
    if needed.iter().any(|(name, package)| tools::program(name, package).is_none()) {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    State::open(dir.path())
        .unwrap()
        .apply_alerts(&AlertChanges { put: vec![firing()], ..AlertChanges::default() })
        .unwrap();
    let collector = Collector::start(dir.path()).await;
    ship_capture(&collector).await;
    ship_crowd(&collector).await;
    let mut data = ids();
    let (_, issues) =
        answer(collector.request(Method::GET, &format!("/api/v1/issues?{SPAN}&status=500&limit=1"))).await;
    data["issue"] = issues["data"]["issues"][0]["fingerprint"].clone();
    let of = |role: Role| token(dir.path(), "default", &[role], None, None);
    data["tokens"] = json!({"admin": collector.token, "support": of(Role::Support), "sre": of(Role::Sre), "product": of(Role::Product)});
    let mut run = Command::new("node");
    run.arg(suite().join("run.mjs"))
        .env("ERRATA_URL", &collector.url)
        .env("ERRATA_DATA", data.to_string())
        .env("ERRATA_MODULES", modules())
        .env("ERRATA_CHROMIUM", which("chromium"));
    let done = tokio::task::spawn_blocking(move || run.output().unwrap()).await.unwrap();
    let said = String::from_utf8_lossy(&done.stdout);
    assert!(done.status.success(), "{said}\n{}", String::from_utf8_lossy(&done.stderr));
    println!("{said}");
    collector.stop().await.unwrap();
}

/// Where a program is.
fn which(name: &str) -> PathBuf {
    let path = std::env::var_os("PATH").unwrap();
    std::env::split_paths(&path).map(|folder| folder.join(name)).find(|file| file.is_file()).unwrap()
}
