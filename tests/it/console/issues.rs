//! Issues as pages: by state, one with its evidence, resolved and reopened by a form.

use errata::state::Role;
use serde_json::{Value, json};

use super::Browser;
use crate::{
    collector::{Collector, NOW_MS, event},
    contract::token,
};

const MINUTE: i64 = 60_000;
const DAY: i64 = 24 * 60 * MINUTE;

fn at(id: &str, after_ms: i64, route: &str) -> Value {
    let mut event = event(id, 422);
    event["timestamp"] = json!(NOW_MS + after_ms);
    event["route"] = json!(route);
    event
}

/// The fingerprints that a page links to, in its order.
fn linked(text: &str) -> Vec<String> {
    text.split("href=\"/issues/").skip(1).map(|part| part[..16].to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn issues_are_listed_resolved_and_come_back() {
    let dir = tempfile::tempdir().unwrap();
    let collector = Collector::start(dir.path()).await;
    let mut browser = Browser::signed_in(&collector, &collector.token).await;
    let page = browser.answered("/issues").await;
    page.check("no issues");
    assert!(page.words().contains("No error was seen") && page.words().contains("errata demo"), "{}", page.words());

    let mut thrown = at("req_3", -3 * MINUTE, "/b/");
    thrown["status"] = json!(500);
    thrown["exception"] =
        json!({"type": "KeyError", "message": "'a'", "stacktrace": "  File \"/srv/app/views.py\", line 5, in post\n"});
    let events = [at("req_1", -MINUTE, "/a/"), at("req_2", -2 * MINUTE, "/a/"), thrown];
    assert_eq!(collector.ship(&events).await.0, 202);
    collector.delivered().await;
    let page = browser.get("/issues?sort=count").await;
    page.check("issues");
    let words = page.words();
    for expected in [
        "2 issues, last 24 h: 2 new.",
        "The site sent does not belong to this account",
        ": KeyError",
        "422 POST /a/ igny8-api",
        "All 2",
        "Regressed 0",
        "2 min ago",
    ] {
        assert!(words.contains(expected), "{expected}: {words}");
    }
    let [first, second] = linked(&page.text).try_into().unwrap();
    assert!(
        page.text.contains(&format!("/explore?fingerprint={first}\">2</a>")),
        "a number leads to its events: {}",
        page.text
    );

    let page = browser.get(&format!("/issues/{second}")).await;
    page.check("an exception");
    assert!(page.words().contains("Exception KeyError at post in app/views.py"), "{}", page.words());
    let page = browser.get(&format!("/issues/{first}?from=-7d")).await;
    page.check("an issue");
    let words = page.words();
    for expected in [
        "The site sent does not belong to this account 422",
        "new POST /a/ igny8-api first seen 2 min ago last seen 1 min ago",
        "It was never seen before the last 24 hours. 2 events and 1 account , last 7 d.",
        "site_id Site must belong to your account documented rule not_owned Cause",
        "Nobody has resolved it.",
        "req_1",
        "2026.11.2",
        "production",
    ] {
        assert!(words.contains(expected), "{expected}: {words}");
    }
    assert!(page.text.contains("href=\"/requests/req_1\"") && page.text.contains("account_id=7"), "{}", page.text);

    let path = format!("/issues/{first}/resolve");
    let page = browser.send(&path, &[("in_release", " 2026.11.3 "), ("comment", "the form <b>checks</b> it")]).await;
    assert_eq!((page.status.as_u16(), page.location()), (303, Some(format!("/issues/{first}").as_str())));
    let page = browser.get(&format!("/issues/{first}")).await;
    let words = page.words();
    assert!(words.contains("Resolved. If it is seen again, it comes back as regressed."), "{words}");
    assert!(words.contains("Resolved by admin now in release 2026.11.3 . the form <b>checks</b> it Reopen"), "{words}");
    assert!(!page.text.contains("<b>checks"), "{}", page.text);

    collector.now_ms.fetch_add(DAY, std::sync::atomic::Ordering::Relaxed);
    let mut back = at("req_4", DAY - MINUTE, "/a/");
    back["release"] = json!("2026.11.3");
    collector.ship(&[back]).await;
    collector.delivered().await;
    // The session has ended meanwhile.
    let mut browser = Browser::signed_in(&collector, &collector.token).await;
    let page = browser.get("/issues?state=regressed").await;
    assert_eq!(linked(&page.text), std::slice::from_ref(&first));
    assert!(page.words().contains("1 issue, last 24 h: 1 regressed."), "{}", page.words());
    let page = browser.get(&format!("/issues/{first}")).await;
    assert!(page.words().contains("It came back after it was resolved."), "{}", page.words());
    browser.send(&format!("/issues/{first}/reopen"), &[]).await;
    let page = browser.get(&format!("/issues/{first}")).await;
    assert!(page.words().contains("Reopened.") && page.words().contains("Nobody has resolved it."), "{}", page.words());

    for (query, words) in [
        ("q=nothing+like+it", "No issue fits"),
        ("state=escalating", "No issue fits"),
        ("from=2020-01-01T00:00:00Z&to=2020-01-02T00:00:00Z", "No error was seen"),
    ] {
        let page = browser.get(&format!("/issues?{query}")).await;
        page.check(query);
        assert!(page.words().contains(words), "{query}: {}", page.words());
    }
    assert_eq!(
        browser.get("/issues?service=igny8-api&q=site_id").await.words().matches("Take off the filter").count(),
        1
    );
    for (path, status) in [("/issues/0000000000000001", 404), ("/issues/nonsense", 400), ("/issues?state=broken", 400)]
    {
        let page = browser.get(path).await;
        assert_eq!(page.status.as_u16(), status, "{path}");
        page.check(path);
    }
    collector.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn who_may_not_resolve_sees_no_form_and_product_no_accounts() {
    let dir = tempfile::tempdir().unwrap();
    let collector = Collector::start(dir.path()).await;
    collector.ship(&[at("req_1", -MINUTE, "/a/")]).await;
    collector.delivered().await;
    for (role, may, looks_up) in [(Role::Product, false, false), (Role::Sre, true, false), (Role::Support, true, true)]
    {
        let token = token(dir.path(), "default", &[role], None, None);
        let mut browser = Browser::signed_in(&collector, &token).await;
        let list = browser.get("/issues").await;
        let fingerprint = linked(&list.text).remove(0);
        let page = browser.get(&format!("/issues/{fingerprint}")).await;
        page.check(role.as_str());
        assert_eq!(page.text.contains("/resolve\""), may, "{}", role.as_str());
        assert_eq!(page.text.contains("account_id="), may, "{}", role.as_str());
        assert_eq!(page.text.contains("href=\"/requests/req_1\""), looks_up, "{}", role.as_str());
        let answer = browser.send(&format!("/issues/{fingerprint}/resolve"), &[]).await;
        assert_eq!(answer.status.as_u16(), if may { 303 } else { 403 }, "{}", role.as_str());
    }
    // Another project's issue is none.
    let foreign = token(dir.path(), "other", &[Role::Admin], None, None);
    let mut browser = Browser::signed_in(&collector, &foreign).await;
    assert!(browser.get("/issues").await.words().contains("No error was seen"));
    collector.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn hostile_texts_are_inert() {
    let dir = tempfile::tempdir().unwrap();
    let collector = Collector::start(dir.path()).await;
    let hostile = "\"><script>alert(1)</script>\u{202e}\u{1b}[31m=1+1";
    let mut event = at("req_1", -MINUTE, &format!("/{hostile}/"));
    for name in ["service", "environment", "release"] {
        event[name] = json!(hostile);
    }
    event["account_id"] = json!(hostile);
    event["status"] = json!(500);
    event["error"] = json!(hostile);
    event["errors"] = json!({hostile: [hostile]});
    event["exception"] = json!({"type": hostile, "message": hostile, "stacktrace": format!("  File \"/srv/{hostile}\", line 5, in {hostile}\n")});
    event["response"] = json!({"error": hostile, "errors": {hostile: [hostile]}});
    assert_eq!(collector.ship(&[event]).await.0, 202);
    collector.delivered().await;
    let mut browser = Browser::signed_in(&collector, &collector.token).await;
    let list = browser.get("/issues").await;
    let fingerprint = linked(&list.text).remove(0);
    let resolved = [("in_release", hostile), ("comment", hostile)];
    assert_eq!(browser.send(&format!("/issues/{fingerprint}/resolve"), &resolved).await.status, 303);
    for path in [
        format!("/issues/{fingerprint}"),
        "/issues?q=%22%3E%3Cscript%3E&service=%22%3E%3Cscript%3E".to_owned(),
        "/issues".to_owned(),
    ] {
        let page = browser.get(&path).await;
        page.check(&path);
        assert!(
            !page.text.contains("<script>") && !page.text.contains(['\u{202e}', '\u{1b}']),
            "{path}: {}",
            page.text
        );
    }
    collector.stop().await.unwrap();
}
