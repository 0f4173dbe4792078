//! Explore: numbers as in the README of the capture, filters, pages, files, and rows as they come.

use errata::state::Role;
use reqwest::Method;
use serde_json::json;

use super::{Browser, Page};
use crate::{
    captured::{self, Readme, SPAN},
    collector::{Collector, event},
    contract::{self, token},
};

/// What the headline says.
fn headline(page: &Page) -> String {
    let title = page.text.split("<h1>").nth(1).unwrap().split("</h1>").next().unwrap();
    title.replace('\u{202f}', "")
}

/// Links whose text begins so.
fn link(page: &Page, words: &str) -> Option<String> {
    let (before, _) = page.text.split_once(&format!(">{words}</a>"))?;
    Some(before.rsplit_once("href=\"")?.1.split('"').next()?.replace("&amp;", "&").replace("&#38;", "&"))
}

/// Request ids of the rows.
fn ids(page: &Page) -> Vec<String> {
    let cells = page.text.split("<td class=\"which\">").skip(1);
    cells.map(|cell| cell.split("<code>").nth(1).unwrap().split('<').next().unwrap().to_owned()).collect()
}

async fn with_capture(dir: &std::path::Path) -> Collector {
    let collector = Collector::start(dir).await;
    captured::ship(&collector, &captured::capture()).await;
    collector.delivered().await;
    collector
}

#[tokio::test(flavor = "multi_thread")]
async fn its_numbers_are_the_readmes_and_its_pages_have_every_event_once() {
    let dir = tempfile::tempdir().unwrap();
    let collector = with_capture(dir.path()).await;
    let mut browser = Browser::signed_in(&collector, &collector.token).await;
    let readme = Readme::read();
    let mut all = 0;
    for [status, _, lines] in readme.table(["status", "requests", "error lines"]) {
        if lines != "0" {
            let page = browser.get(&format!("/explore?{SPAN}&status={status}")).await;
            page.check(&status);
            assert!(headline(&page).starts_with(&format!("{lines} error")), "{status}: {}", headline(&page));
            all += lines.parse::<u64>().unwrap();
        }
    }
    let page = browser.get(&format!("/explore?{SPAN}")).await;
    page.check("everything");
    assert!(headline(&page).starts_with(&format!("{all} errors from")), "{}", headline(&page));
    let small = page.text.replace('\u{202f}', "");
    for [status, _, lines] in readme.table(["status", "requests", "error lines"]) {
        let shown = format!("status={status}\">{lines}</a>");
        assert_eq!(small.contains(&shown), lines != "0", "{status} {lines} beside the chart");
    }
    // Three filters, and the same question asked of the API.
    let three = "service=igny8-api&environment=production&status=403";
    let (_, body) = collector.get(&format!("/api/v1/events?{SPAN}&{three}&limit=500")).await;
    let expected: Vec<&str> =
        body["data"]["events"].as_array().unwrap().iter().map(|event| event["request_id"].as_str().unwrap()).collect();
    let mut page = browser.get(&format!("/explore?{SPAN}&{three}")).await;
    assert!(headline(&page).starts_with(&format!("{} errors", expected.len())), "{}", headline(&page));
    let (mut found, mut pages) = (ids(&page), 1);
    while let Some(next) = link(&page, "Next page") {
        page = browser.get(&next).await;
        page.check("a next page");
        found.extend(ids(&page));
        pages += 1;
        assert!(link(&page, "First page").is_some());
    }
    assert_eq!(
        (found.iter().map(String::as_str).collect::<Vec<_>>(), pages),
        (expected.clone(), expected.len().div_ceil(50))
    );
    assert!(page.text.len() < 300_000, "{}", page.text.len());
    collector.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn filters_are_added_and_taken_off_without_scripts() {
    let dir = tempfile::tempdir().unwrap();
    let collector = Collector::start(dir.path()).await;
    let mut browser = Browser::signed_in(&collector, &collector.token).await;
    contract::tail::ready(&collector).await;
    let page = browser.get("/explore").await;
    page.check("an empty project");
    for words in
        ["Nothing has arrived in the project default yet", "errata token create", &collector.url, "errata demo"]
    {
        assert!(page.words().contains(words), "{words}: {}", page.words());
    }
    collector.ship(&[event("req_1", 422), event("req_2", 500), event("req_3", 503)]).await;
    collector.delivered().await;
    let page = browser.get("/explore").await;
    assert_eq!((headline(&page).as_str(), ids(&page).len()), ("3 errors in the last 24 h", 3));
    assert!(
        page.text.contains("name=\"add\"") && page.text.contains(">The site sent does not belong"),
        "{}",
        page.text
    );
    let added = browser.get("/explore?from=-7d&status=422&add=status&value=5xx").await;
    assert_eq!((added.status.as_u16(), added.location()), (303, Some("/explore?from=-7d&status=422&status=5xx")));
    let page = browser.get(added.location().unwrap()).await;
    assert_eq!((headline(&page).as_str(), ids(&page).len()), ("3 errors in the last 7 d", 3));
    assert!(
        page.text.contains("href=\"/explore?from=-7d&amp;status=5xx\"><span class=\"hidden\">Take off"),
        "{}",
        page.text
    );
    assert_eq!(ids(&browser.get("/explore?from=-7d&status=5xx").await).len(), 2);
    let page = browser.get("/explore?service=nobody").await;
    assert!(
        page.words().contains("No error fits") && page.words().contains("22 Nov 2026 11:59:00"),
        "{}",
        page.words()
    );
    assert_eq!(link(&page, "take off every filter").as_deref(), Some("/explore"));
    assert_eq!(link(&page, "the last 7 days").as_deref(), Some("/explore?service=nobody&from=-7d"));
    let page = browser.get("/explore?status=5xx&q=it's").await;
    assert!(page.words().contains(r"errata tail --status 5xx --text 'it'\''s'"), "{}", page.words());
    for bad in ["status=200", "cursor=x", "colour=red", "from=soon"] {
        let page = browser.get(&format!("/explore?{bad}")).await;
        assert_eq!(page.status, 400, "{bad}");
        page.check(bad);
    }
    collector.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn files_and_live_rows_are_for_who_has_signed_in_and_as_its_role_may_see() {
    let dir = tempfile::tempdir().unwrap();
    let collector = Collector::start(dir.path()).await;
    let mut person = event("req_1", 422);
    person["user_id"] = json!("anna");
    person["account_id"] = json!("acct-77");
    contract::tail::ship(&collector, &[person.clone(), event("req_2", 500)]).await;
    let mut nobody = Browser::new(&collector);
    for path in ["/explore/export?format=csv", "/explore/tail"] {
        assert_eq!(nobody.get(path).await.status, 303, "{path}");
    }
    for (role, sees_people, looks_up) in
        [(Role::Support, true, true), (Role::Sre, true, false), (Role::Product, false, false)]
    {
        let about = role.as_str();
        let mut browser = Browser::signed_in(&collector, &token(dir.path(), "default", &[role], None, None)).await;
        let page = browser.get("/explore").await;
        page.check(about);
        assert_eq!(page.text.contains("acct-77"), sees_people, "{about}");
        assert_eq!(page.text.contains("href=\"/requests/req_1\""), looks_up, "{about}");
        let file = browser.get("/explore/export?format=csv&status=422").await;
        assert_eq!(file.status, 200, "{about}: {}", file.text);
        assert!(file.text.contains(",req_1,422,") && !file.text.contains(",req_2,500,"), "{about}: {}", file.text);
        assert_eq!(file.text.contains("acct-77") && file.text.contains("anna"), sees_people, "{about}");
        assert!(file.header("content-disposition").starts_with("attachment; filename=\"errata-events-"), "{about}");
        let refused = browser.get("/explore?account_id=acct-77").await.status;
        assert_eq!(refused, if sees_people { 200 } else { 403 }, "{about}");

        let cookies: Vec<_> = browser.cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let headers = format!("Cookie: {}\r\n", cookies.join("; "));
        let mut wire = contract::tail::open(&collector, "", "/explore/tail?status=422", &headers).await;
        person["request_id"] = json!(format!("req_of_{about}"));
        person["response"]["errors"]["site_id"] = json!("two\nlines <b>");
        contract::tail::ship(&collector, &[person.clone(), event(&format!("req_other_{about}"), 500)]).await;
        let text = wire.until(|text| text.contains("</tr>")).await;
        let row = text.lines().find_map(|line| line.split_once("data: ")).unwrap().1;
        assert!(row.starts_with("<tr><td class=\"when\">") && row.ends_with("</tr>"), "{row}");
        assert!(row.contains("two lines &lt;b&gt;") && !row.contains("req_other"), "{row}");
        assert_eq!(row.contains("acct-77"), sees_people, "{about}: {row}");
        assert!(
            row.contains("href=\"/explore?status=422&amp;account_id="),
            "{about}: what stands for the account can be filtered by: {row}"
        );
    }
    collector.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_live_tail_of_the_page_counts_as_one_of_the_token() {
    let dir = tempfile::tempdir().unwrap();
    let collector = Collector::start(dir.path()).await;
    let mut browser = Browser::signed_in(&collector, &collector.token).await;
    let cookies: Vec<_> = browser.cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
    let headers = format!("Cookie: {}\r\n", cookies.join("; "));
    let mut open = Vec::new();
    for _ in 0..4 {
        open.push(contract::tail::open(&collector, "", "/explore/tail", &headers).await);
    }
    assert_eq!(browser.get("/explore/tail").await.status, 429);
    assert_eq!(collector.request(Method::GET, "/api/v1/events/tail").send().await.unwrap().status(), 429);
    drop(open);
    collector.stop().await.unwrap();
}
