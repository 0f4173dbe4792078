//! Rate limits as a page and as a file.

use errata::state::Role;
use serde_json::{Value, json};

use super::Browser;
use crate::{
    collector::{Collector, NOW_MS, event},
    contract::token,
};

fn limited(id: &str, seconds_ago: i64, account: &Value) -> Value {
    let mut event = event(id, 429);
    event["timestamp"] = json!(NOW_MS - seconds_ago * 1000);
    event["account_id"] = account.clone();
    event["route"] = json!("/clusters/auto_cluster/");
    event["rate_limit"] = json!({"limit": 10, "remaining": 0, "reset": NOW_MS / 1000 - 30});
    event
}

#[tokio::test(flavor = "multi_thread")]
async fn who_was_refused_is_told_in_a_sentence_tables_and_a_file() {
    let dir = tempfile::tempdir().unwrap();
    let collector = Collector::start(dir.path()).await;
    let sre = token(dir.path(), "default", &[Role::Sre], None, None);
    let mut browser = Browser::signed_in(&collector, &sre).await;
    let page = browser.answered("/rate-limits").await;
    page.check("nobody");
    assert!(
        page.words().contains("Nobody was refused") && page.words().contains("X-RateLimit-Limit"),
        "{}",
        page.words()
    );

    let hostile = json!("=1+1\"><script>");
    let mut events: Vec<_> = (0..6).map(|n| limited(&format!("req_{n}"), 60 + n, &json!(17))).collect();
    events.extend((0..2).map(|n| limited(&format!("other_{n}"), 10 + n, &hostile)));
    let mut nobody = limited("req_nobody", 20, &Value::Null);
    nobody["client_ip"] = json!("192.0.2.7");
    events.push(nobody);
    assert_eq!(collector.ship(&events).await.0, 202);
    collector.delivered().await;
    let page = browser.get("/rate-limits?from=-1h").await;
    page.check("rate limits");
    let words = page.words();
    for expected in [
        "9 refusals in 3 episodes on 1 route in the last hour. Account 17 has 67",
        "5 requests came before a reset that had been announced",
        "Who was refused most",
        "192.0.2.7 (no account)",
        "/clusters/auto_cluster/ igny8-api · production 9 3",
        "account 17 /clusters/auto_cluster/ igny8-api · production 22 Nov 11:58 5 s 6 10 11:59:30 5",
    ] {
        assert!(words.contains(expected), "{expected}: {words}");
    }
    assert!(!page.text.contains("<script>"), "{}", page.text);
    assert!(page.text.contains("/explore?from=-1h&amp;status=429&amp;account_id=17\">6</a>"), "{}", page.text);
    assert!(page.text.contains("href=\"/rate-limits.csv?from=-1h\""), "{}", page.text);
    let page = browser.get("/rate-limits?account_id=17").await;
    assert!(
        page.words().contains("6 refusals in 1 episode on 1 route")
            && page.words().contains("Take off the filter Account"),
        "{}",
        page.words()
    );

    // Of several values, a chip takes off its own.
    let page = browser.get("/rate-limits?from=-1h&account_id=17,18&service=igny8-api").await;
    for rest in [
        "account_id=18&amp;service=igny8-api",
        "account_id=17&amp;service=igny8-api",
        "account_id=17&amp;account_id=18",
    ] {
        assert!(page.text.contains(&format!("href=\"/rate-limits?from=-1h&amp;{rest}\"")), "{rest}: {}", page.text);
    }
    let file = browser.get("/rate-limits.csv?from=-1h").await;
    assert_eq!(file.header("content-type"), "text/csv; charset=utf-8");
    assert!(file.header("content-disposition").contains("rate-limits.csv"));
    let lines: Vec<_> = file.text.split("\r\n").collect();
    assert_eq!((lines.len(), lines[0].split(',').count()), (5, 12), "{}", file.text);
    assert!(
        lines[1].starts_with("17,,igny8-api,production,/clusters/auto_cluster/,2026-11-22T11:58:55.000Z,"),
        "{}",
        file.text
    );
    assert!(file.text.contains("\r\n\"'=1+1\"\"><script>\","), "{}", file.text);
    let (status, _) = collector.get("/api/v1/rate-limits?format=xml").await;
    assert_eq!(status, 400);
    let answer =
        collector.request(reqwest::Method::GET, "/api/v1/rate-limits?format=csv&from=-1h").send().await.unwrap();
    assert_eq!(answer.text().await.unwrap(), file.text, "the API gives the same file");
    collector.stop().await.unwrap();
}

/// The same deployed twice is one route; where rows are of one environment each, the page says so.
#[tokio::test(flavor = "multi_thread")]
async fn a_route_in_two_environments_is_counted_once() {
    let dir = tempfile::tempdir().unwrap();
    let collector = Collector::start(dir.path()).await;
    let mut events = Vec::new();
    for (index, environment) in ["production", "staging", "production"].into_iter().enumerate() {
        let mut event = limited(&format!("req_{index}"), 60 + index as i64, &json!(17));
        event["environment"] = json!(environment);
        events.push(event);
    }
    assert_eq!(collector.ship(&events).await.0, 202);
    collector.delivered().await;
    let mut browser = Browser::signed_in(&collector, &collector.token).await;
    let page = browser.get("/rate-limits?from=-1h").await;
    page.check("two environments");
    let words = page.words();
    for expected in [
        "3 refusals in 2 episodes on 1 route in the last hour.",
        // 429s, episodes, routes, before the reset.
        "account 17 3 2 1 ",
        "1 route in 2 rows: each is of one environment.",
        "/clusters/auto_cluster/ igny8-api · production 2 1",
        "/clusters/auto_cluster/ igny8-api · staging 1 1",
    ] {
        assert!(words.contains(expected), "{expected}: {words}");
    }
    let page = browser.get("/rate-limits?from=-1h&environment=staging").await;
    assert!(!page.words().contains("each is of one environment"), "{}", page.words());
    let (_, body) = collector.get("/api/v1/rate-limits?from=-1h").await;
    let data = &body["data"];
    assert_eq!((&data["routes_in_all"], &data["accounts"][0]["routes"]), (&json!(1), &json!(1)), "{data:#}");
    assert_eq!((&data["events_in_all"], data["routes"].as_array().unwrap().len()), (&json!(3), 2), "{data:#}");
    collector.stop().await.unwrap();
}
