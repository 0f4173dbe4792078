//! The pages of product teams and admins: their numbers are the README's, and nobody is named who may not be.

use errata::state::Role;
use serde_json::json;

use super::Browser;
use crate::{
    captured::{Readme, SPAN, capture, ship},
    collector::{Collector, event},
    contract::token,
};

#[tokio::test(flavor = "multi_thread")]
async fn numbers_on_the_pages_are_the_readmes() {
    let dir = tempfile::tempdir().unwrap();
    let collector = Collector::start(dir.path()).await;
    ship(&collector, &capture()).await;
    collector.delivered().await;
    let readme = Readme::read();
    let product = token(dir.path(), "default", &[Role::Product], None, None);
    let mut browser = Browser::signed_in(&collector, &product).await;

    let page = browser.get(&format!("/validation?{SPAN}")).await;
    page.check("validation");
    let words = page.words().replace('\u{202f}', " ");
    let [occurrences] = readme.numbers(r"Total occurrences: (\d+)\.");
    assert_eq!(occurrences, 7416);
    assert!(words.contains("7 416 validation failures"), "{words}");
    assert!(words.starts_with("id=\"main\"") || words.contains("Three rules cause"), "{words}");
    // The two most frequent pairs are of one route each.
    for (field, lines) in [("seed_keyword_id", "2 123"), ("site_id", "749")] {
        assert!(words.contains(&format!("{field} ")) && words.contains(lines), "{field}: {words}");
    }
    let csv = browser.get(&format!("/validation.csv?{SPAN}")).await;
    assert_eq!(csv.header("content-type"), "text/csv; charset=utf-8");
    let sum: u64 = csv.text.lines().skip(1).map(|line| line.split(',').nth(3).unwrap().parse::<u64>().unwrap()).sum();
    assert_eq!(sum, occurrences, "the rows of the file are all failures");
    let told = |documented: &str| csv.text.lines().filter(|line| line.contains(&format!(",{documented},"))).count();
    assert!(told("true") > 0 && told("true") + told("false") == csv.text.lines().count() - 1, "{}", csv.text);

    let path = format!("/validation/failure?{SPAN}&field=site_id&rule=not_owned");
    let page = browser.get(&path).await;
    page.check(&path);
    let words = page.words();
    for expected in ["749 failures", "Site must belong to your account", "39 accounts", "acct_"] {
        assert!(words.contains(expected), "{expected}: {words}");
    }
    assert!(!words.contains("further accounts are not listed") || words.contains("19 further"), "{words}");

    let page = browser.get(&format!("/reference?{SPAN}")).await;
    page.check("reference");
    let words = page.words().replace('\u{202f}', " ");
    for [status, _, lines] in readme.table(["status", "requests", "error lines"]) {
        let is_documented = words.contains(&format!("{status} "));
        let count = lines.parse::<u64>().unwrap();
        if count > 0 && ["400", "401", "429", "500"].contains(&status.as_str()) {
            let shown = errata::console::view::number(count).replace('\u{202f}', " ");
            assert!(is_documented && words.contains(&format!("{shown} events")), "{status} {shown}: {words}");
        }
    }
    let page = browser.get(&format!("/reference?show=undocumented&{SPAN}")).await;
    page.check("drift");
    assert!(page.words().contains("Messages of fields that the reference does not have"), "{}", page.words());
    collector.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn empty_pages_say_what_would_fill_them_and_settings_are_the_admins() {
    let dir = tempfile::tempdir().unwrap();
    let collector = Collector::start(dir.path()).await;
    let mut admin = Browser::signed_in(&collector, &collector.token).await;
    // The tables are made as soon as ClickHouse answers.
    let began = std::time::Instant::now();
    while !admin.get("/settings").await.words().contains("The database answers") {
        assert!(began.elapsed().as_secs() < 20, "the database does not answer");
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    for (path, expected) in [
        ("/validation", "errata demo"),
        ("/validation/friction", "No account is named"),
        ("/validation/accounts?state=stuck", "No account is stuck"),
        ("/overview/accounts", "No event names an account"),
        ("/validation/failure?field=x", "Nothing failed so"),
        ("/reference", "error reference"),
        ("/reference?show=undocumented", "errata catalog drift --fail-on undocumented"),
        ("/reference?show=unobserved", "Messages that no event had"),
        ("/settings", "Events are kept for"),
        ("/settings/audit?action=nothing", "Nothing was done in"),
    ] {
        let page = admin.get(path).await;
        assert_eq!(page.status, 200, "{path}");
        page.check(path);
        assert!(page.words().contains(expected), "{path}: {}", page.words());
    }
    assert_eq!(admin.get("/reference?show=everything").await.status, 400);
    let page = admin.get("/settings").await;
    for expected in ["The database answers", "The books balance", "admin", "sign in", "never"] {
        assert!(page.words().contains(expected), "{expected}: {}", page.words());
    }
    // What a customer ships is inert, also in the file.
    let mut hostile = event("req_hostile", 422);
    hostile["response"]["errors"] = json!({"=cmd|'/C calc'!A0": ["<script>alert(1)</script>\u{202e}"]});
    hostile["account_id"] = json!("<img src=x onerror=alert(1)>");
    collector.ship(&[hostile]).await;
    collector.delivered().await;
    for path in ["/validation", "/validation/failure?rule=other", "/reference?show=undocumented", "/settings/audit"] {
        let page = admin.get(path).await;
        page.check(path);
        assert!(!page.text.contains("<img src=x") && !page.text.contains("<script>alert"), "{path}: {}", page.text);
        assert!(!page.text.contains('\u{202e}'), "{path}");
    }
    let csv = admin.get("/validation.csv").await;
    assert!(csv.text.lines().nth(1).unwrap().starts_with("'=cmd"), "{}", csv.text);
    collector.stop().await.unwrap();
}

/// The overview names the accounts with most errors; who is sent on from it has seen nobody.
#[tokio::test(flavor = "multi_thread")]
async fn the_overview_is_in_the_audit_log() {
    let dir = tempfile::tempdir().unwrap();
    let collector = Collector::start(dir.path()).await;
    let product = token(dir.path(), "default", &[Role::Product], None, None);
    let mut sent_on = Browser::signed_in(&collector, &product).await;
    sent_on.get("/").await;
    let mut admin = Browser::signed_in(&collector, &collector.token).await;
    admin.get("/?from=-7d").await;
    let began = std::time::Instant::now();
    loop {
        let (_, body) = collector.get("/api/v1/audit?action=overview").await;
        let entries = body["data"]["entries"].as_array().unwrap();
        // Signing in leads there too.
        let seen: Vec<_> = entries.iter().filter(|entry| entry["subject"] == "?from=-7d").collect();
        if !seen.is_empty() {
            assert!(entries.iter().all(|entry| entry["roles"] != json!(["product"])), "{entries:?}");
            break;
        }
        assert!(began.elapsed().as_secs() < 20, "{body}");
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
}
