//! What clients make up cannot grow `/metrics`.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::{collector::ndjson, faults::collector::Setup};

/// Distinct services, routes and fields.
const MADE_UP: usize = 100_000;

const BATCH: usize = 5000;

/// Scrapes whose time is taken.
const SCRAPES: usize = 21;

/// Promise: 100,000 distinct services and routes leave `/metrics` below 5,000 series and 2 MiB, answered in less than 50 ms. (How long it takes is
/// told; a debug build on a busy machine gets some leave.)
#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_thousand_services_and_routes_that_clients_ship_leave_metrics_small() {
    let dir = tempfile::tempdir().unwrap();
    // ClickHouse is of no matter: events are counted as they are taken.
    let setup = Setup::new(dir.path(), "http://127.0.0.1:1").with("ERRATA_SPOOL__MAX_BYTES", "1GiB");
    let collector = setup.start().await;
    let client = reqwest::Client::new();
    let post = async |path: &str, lines: Vec<serde_json::Value>| {
        let request = client.post(format!("{}{path}", collector.setup.url)).bearer_auth(collector.token());
        let answer = request.header("Content-Type", "application/x-ndjson").body(ndjson(&lines)).send().await.unwrap();
        assert_eq!(answer.status(), 202, "{}", answer.text().await.unwrap());
    };
    let minute = chrono::Utc::now().timestamp() / 60 * 60;
    for first in (0..MADE_UP).step_by(BATCH) {
        let names = |number: usize| (format!("service-{number}"), format!("/made/up/{number:x}/"));
        let numbers = first..first + BATCH;
        let event = |number: usize| {
            let (service, route) = names(number);
            let status = [422, 429, 500][number % 3];
            json!({"status": status, "service": service, "route": route, "method": "POST", "errors": {format!("field{number}"): ["x"]}})
        };
        post("/api/v1/events", numbers.clone().map(event).collect()).await;
        let total = |number: usize| {
            let (service, route) = names(number);
            json!({"minute": minute, "service": service, "route": route, "method": "POST", "status": 200, "count": 1})
        };
        post("/api/v1/request-totals", numbers.map(total).collect()).await;
    }
    let (mut text, mut took) = (String::new(), Vec::new());
    for _ in 0..SCRAPES {
        let began = Instant::now();
        text = collector.metrics().await.unwrap();
        took.push(began.elapsed());
    }
    took.sort();
    let series = text.lines().filter(|line| !line.starts_with('#')).count();
    println!(
        "{series} series in {} bytes, answered in {:?} (median), at most {:?}",
        text.len(),
        took[SCRAPES / 2],
        took[SCRAPES - 1]
    );
    assert!(series > 2000 && series < 5000, "{series}");
    assert!(text.len() < 2 << 20, "{}", text.len());
    assert!(took[SCRAPES / 2] < Duration::from_millis(500), "{took:?}");
    for family in ["errata_api_errors_total", "errata_api_errors_by_route_total", "errata_api_requests_total"] {
        assert_eq!(collector.metric(family).await, MADE_UP as f64, "{family}: each is counted");
    }
}
