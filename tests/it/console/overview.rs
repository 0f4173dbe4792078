//! The overview, held against the figures that the README of the captured traffic gives.

use errata::state::Role;
use reqwest::Method;
use serde_json::json;

use super::Browser;
use crate::{
    captured::{self, Readme, SPAN},
    collector::{Collector, event},
    contract::token,
};

/// A number as pages show it.
fn shown(number: &str) -> String {
    errata::console::view::number(number.parse().unwrap())
}

/// Ships the captured two days, errors and requests.
pub(crate) async fn ship_capture(collector: &Collector) {
    captured::ship(collector, &captured::capture()).await;
    let totals = std::fs::read(captured::data("drf-request-totals.ndjson.gz")).unwrap();
    let request = collector.request(Method::POST, "/api/v1/request-totals");
    let request = request.header("Content-Type", "application/x-ndjson").header("Content-Encoding", "gzip");
    assert_eq!(request.body(totals).send().await.unwrap().status(), 202);
    all_delivered(collector).await;
}

/// Ships the total of a minute of a service.
pub(crate) async fn ship_total(collector: &Collector, minute: &str, service: &str, status: u16, count: u64) {
    let total = json!({"minute": minute, "service": service, "environment": "production", "route": "/api/v1/planner/keywords/",
        "method": "POST", "status": status, "count": count});
    let request = collector.request(Method::POST, "/api/v1/request-totals").json(&total);
    assert_eq!(request.send().await.unwrap().status(), 202);
    all_delivered(collector).await;
}

/// Waits until events and totals are in ClickHouse.
async fn all_delivered(collector: &Collector) {
    collector.delivered().await;
    let began = std::time::Instant::now();
    while collector.metric("errata_totals_pending").await > 0.0 {
        assert!(began.elapsed().as_secs() < 60, "the totals are not delivered");
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_overview_has_the_figures_of_the_captured_traffic() {
    let dir = tempfile::tempdir().unwrap();
    let collector = Collector::start(dir.path()).await;
    ship_capture(&collector).await;
    let readme = Readme::read();
    let sre = token(dir.path(), "default", &[Role::Sre], None, None);
    let mut browser = Browser::signed_in(&collector, &sre).await;
    let page = browser.get(&format!("/?{SPAN}")).await;
    assert_eq!(page.status, 200, "{}", page.text);
    page.check("overview");
    let words = page.words();
    let [requests, errors] =
        readme.numbers(r"sum to \*\*(\d+)\*\* requests: \d+ below 400 and (\d+) errors").map(|n| n.to_string());
    assert!(
        words.contains(&format!("Together {} 56\u{202f}% of {} requests", shown(&errors), shown(&requests))),
        "{words}"
    );
    let statuses = readme.table(["status", "requests", "error lines"]);
    let of = |wanted: &[&str]| -> u64 {
        let chosen = statuses.iter().filter(|row| wanted.contains(&row[0].as_str()));
        chosen.map(|row| row[2].parse::<u64>().unwrap()).sum()
    };
    for (kind, codes) in [
        ("Invalid requests", &["400", "405", "406", "415", "422"][..]),
        ("Rate limited", &["429"]),
        ("Conflicts", &["409"]),
        ("Server errors", &["500"]),
        ("Not allowed", &["401", "403"]),
        ("Not found", &["404"]),
    ] {
        let expected = format!("{kind} {}", shown(&of(codes).to_string()));
        assert!(words.contains(&expected), "{expected}: {words}");
    }
    // Two days in steps of an hour, each with its sum as a link to its events; the sums of the table are all errors.
    let table = page.text.split("The numbers as a table").nth(1).unwrap().split("</table>").next().unwrap();
    let sums = table.split("<tr>").filter_map(|row| row.rsplit_once("\">")?.1.split("</a>").next());
    let sums: Vec<u64> = sums.filter_map(|sum| sum.replace('\u{202f}', "").parse().ok()).collect();
    assert_eq!((sums.len(), sums.iter().sum::<u64>().to_string()), (48, errors));
    let accounts = readme.table(["lines", "account_id", "note"]).into_iter().filter(|row| row[1] != "None");
    for [lines, account, _] in accounts.take(5) {
        let expected = format!(
            ">{account}</a></th><td class=\"number\"><a href=\"/explore?from=2026-11-17T00%3A00%3A00Z&amp;to=2026-11-19T00%3A00%3A00Z&amp;account_id={account}\">{}<",
            shown(&lines)
        );
        assert!(page.text.contains(&expected), "{expected}: {}", page.text);
    }
    assert!(page.text.contains("<title>2026.11.2</title>"), "the release that came on the second day is marked");
    assert!(words.contains("Nothing fires.") && words.contains("Books balance"), "{words}");
    collector.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn more_errors_than_requests_are_no_share_of_them() {
    let dir = tempfile::tempdir().unwrap();
    let collector = Collector::start(dir.path()).await;
    let events: Vec<_> = (0..27).map(|number| event(&format!("req_{number}"), 422)).collect();
    collector.ship(&events).await;
    let minute = "2026-11-22T11:59:00Z";
    ship_total(&collector, minute, "igny8-api", 422, 25).await;
    let mut browser = Browser::signed_in(&collector, &collector.token).await;
    let page = browser.get("/").await;
    page.check("more errors than requests");
    let words = page.words().replace('\u{202f}', " ");
    for expected in [
        "Together 27 25 requests reported",
        "so what share of the requests they are is not known",
        "27 errors, last 24 h: more than the 25 requests that were reported, so their share is not known.",
        "27 100 % not known Of requests: not known where more errors than requests were reported.",
    ] {
        assert!(words.contains(expected), "{expected}: {words}");
    }
    assert!(
        !words.contains("108 %") && page.text.contains("title=\"More errors than requests were reported\""),
        "{words}"
    );
    // The API gives what it has.
    let (_, body) = collector.get("/api/v1/rates?from=-1h").await;
    let series = &body["data"]["series"][0];
    assert_eq!((&series["errors"], &series["requests"], &series["ratio"]), (&json!(27), &json!(25), &json!(1.08)));
    // Once the rest is reported there is a share again.
    ship_total(&collector, minute, "igny8-api", 200, 75).await;
    let words = browser.get("/").await.words().replace('\u{202f}', " ");
    assert!(words.contains("Together 27 27 % of 100 requests") && !words.contains("not known"), "{words}");
    collector.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_empty_overview_says_what_would_fill_it() {
    let dir = tempfile::tempdir().unwrap();
    let collector = Collector::start(dir.path()).await;
    // Long before the hour that is shown; delivered, ClickHouse answers.
    let mut old = event("req_old", 422);
    old["timestamp"] = json!("2026-11-21T00:00:00Z");
    collector.ship(&[old]).await;
    collector.delivered().await;
    let mut browser = Browser::signed_in(&collector, &collector.token).await;
    let page = browser.get("/?from=-1h").await;
    assert_eq!(page.status, 200, "{}", page.text);
    page.check("an empty overview");
    assert!(page.words().contains("No error has arrived in this time."), "{}", page.words());
    assert!(page.text.contains("aria-current=\"true\">last hour</a>"), "{}", page.text);
    assert!(!page.words().contains("errata demo"), "there are errors, only elsewhere: {}", page.words());
    collector.stop().await.unwrap();
}
