//! Where numbers lead: to the events that they count, whatever filters a page has, and nowhere where no filter asks for those.

use std::sync::atomic::Ordering;

use errata::state::Role;
use serde_json::{Value, json};

use super::{Browser, Page};
use crate::{
    collector::{Collector, NOW_MS, event},
    contract::token,
};

/// Another route than that of [`event`].
const OTHER: &str = "/api/v1/writer/tasks/";

fn failed(id: &str, method: &str, route: &str) -> Value {
    let mut failed = event(id, 422);
    failed["method"] = json!(method);
    failed["path"] = json!(route);
    failed["route"] = json!(route);
    failed
}

/// The rows of a page's table, each as its cells.
fn rows(page: &Page, caption: &str) -> Vec<Vec<String>> {
    let table = page.text.split(&format!("aria-label=\"{caption}\"")).nth(1);
    let table = table.unwrap_or_else(|| panic!("no {caption}: {}", page.text)).split("</table>").next().unwrap();
    let body = table.split("<tbody>").nth(1).unwrap();
    let cells = |row: &str| row.replace("</th>", "</td>").split("</td>").map(str::to_owned).collect();
    body.split("</tr>").filter(|row| row.contains("<td")).map(cells).collect()
}

/// Where the first link of some markup leads.
fn link(html: &str) -> Option<String> {
    let target = html.split("<a href=\"").nth(1)?.split('"').next()?;
    Some(target.replace("&amp;", "&").replace("&#38;", "&"))
}

/// How many events a link leads to: fewer than a page of them.
async fn events(browser: &mut Browser, html: &str) -> usize {
    let path = link(html).unwrap_or_else(|| panic!("no link: {html}"));
    let page = browser.get(&path).await;
    assert_eq!(page.status, 200, "{path}");
    page.text.matches("<td class=\"which\">").count()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_number_leads_to_what_it_counts_whatever_the_filters() {
    let dir = tempfile::tempdir().unwrap();
    let collector = Collector::start(dir.path()).await;
    let route = "/api/v1/planner/keywords/";
    let mut all: Vec<_> = (0..3).map(|n| failed(&format!("post_{n}"), "POST", route)).collect();
    all.extend((0..2).map(|n| failed(&format!("put_{n}"), "PUT", route)));
    all.push(failed("elsewhere", "POST", OTHER));
    let mut required = failed("required", "POST", route);
    required["response"]["errors"] = json!({"site_id": ["This field is required"]});
    all.push(required);
    let mut whole = failed("whole", "POST", route);
    whole["response"] = json!(["Invalid data"]);
    whole["service"] = json!("");
    all.push(whole);
    collector.ship(&all).await;
    collector.delivered().await;
    let admin = collector.token.clone();
    let mut browser = Browser::signed_in(&collector, &admin).await;

    let filters = format!("from=-1h&method=POST&route={route}&q=Site+must+belong");
    let page = browser.get(&format!("/validation?{filters}")).await;
    page.check("validation");
    let lead = page.text.split("<p class=\"lead\">").nth(1).unwrap().split("</p>").next().unwrap();
    let (failure, count) = lead.split_once("</a>").unwrap();
    assert!(count.contains(">3 failures<"), "{lead}");
    assert_eq!(events(&mut browser, count).await, 3, "of the rule that causes most");
    let failures = rows(&page, "Validation failures by field, rule and route");
    let [row] = failures.as_slice() else { panic!("{failures:?}") };
    assert_eq!(events(&mut browser, &row[3]).await, 3, "of a row");
    for html in [failure, row[0].as_str()] {
        let page = browser.get(&link(html).unwrap()).await;
        assert!(page.words().contains("3 failures"), "{html}: {}", page.words());
        for caption in ["Accounts", "Routes and rules", "Messages"] {
            let row = rows(&page, caption).remove(0);
            // A text is searched for, and the number beside it says no more than that it was counted.
            let counts = |cell: &&String| cell.contains("class=\"number\"") && caption != "Messages";
            let cell = row.iter().find(counts).unwrap_or(&row[0]);
            assert_eq!(events(&mut browser, cell).await, 3, "{caption}");
        }
    }
    let page = browser.get("/validation/friction?from=-1h&method=POST&rule=not_owned").await;
    let row = rows(&page, "Accounts that fail again and again, by field and route")
        .into_iter()
        .find(|row| row[1].contains("keywords"))
        .unwrap();
    let accounts = link(&row[2]).unwrap();
    assert!(accounts.ends_with("#who"), "{accounts}");
    let listed = browser.get(accounts.trim_end_matches("#who")).await;
    assert_eq!(rows(&listed, "Accounts").len(), 1, "{}", listed.words());
    assert_eq!(events(&mut browser, &row[7]).await, 3, "of the account to help first");
    let words = browser.get(&link(&row[0]).unwrap()).await.words();
    assert!(words.contains("3 failures"), "{words}");

    // Of no field and of no service: no filter asks for those.
    let page = browser.get("/validation?from=-1h").await;
    let of_none = rows(&page, "Validation failures by field, rule and route").into_iter();
    let row = of_none.into_iter().find(|row| row[0].contains("the whole request")).unwrap();
    assert_eq!(row.iter().find_map(|cell| link(cell)), None, "{row:?}");
    let page = browser.get("/?from=-1h").await;
    let services = rows(&page, "Services with most errors");
    let row = services.iter().find(|row| row[0].contains("(not named)")).unwrap();
    assert!(link(&row[0]).is_none() && link(&row[1]).is_none() && row[1].ends_with(">1"), "{row:?}");
    collector.stop().await.unwrap();
}

/// From a number of accounts to all of them and to the events of each, for who sees people and for who sees pseudonyms.
#[tokio::test(flavor = "multi_thread")]
async fn a_number_of_accounts_leads_to_all_of_them() {
    const STUCK: usize = 210;
    let dir = tempfile::tempdir().unwrap();
    let collector = Collector::start(dir.path()).await;
    let mut all = Vec::new();
    for (hours_ago, accounts) in [(1, 0..STUCK), (2, 0..STUCK), (9, 500..503)] {
        for account in accounts {
            let mut failed = event(&format!("req_{hours_ago}_{account}"), 422);
            failed["account_id"] = json!(format!("tenant-{account}"));
            failed["timestamp"] = json!(errata::clock::rfc3339(NOW_MS - hours_ago * 3_600_000));
            all.push(failed);
        }
    }
    // One of them tried once more: it comes first.
    let mut again = all[7].clone();
    again["request_id"] = json!("req_again");
    again["timestamp"] = json!(errata::clock::rfc3339(NOW_MS - 5 * 3_600_000));
    all.push(again);
    collector.ship(&all).await;
    collector.delivered().await;
    let product = token(dir.path(), "default", &[Role::Product], None, None);
    for (token, is_admin) in [(&collector.token, true), (&product, false)] {
        let mut browser = Browser::signed_in(&collector, token).await;
        let page = browser.get("/validation?from=-12h").await;
        let row = rows(&page, "Accounts that fail again and again, by field and route").remove(0);
        for (cell, title) in
            [(4, "210 accounts are stuck"), (5, "210 accounts still fail"), (6, "3 accounts were not seen again")]
        {
            let listed = browser.get(&link(&row[cell]).unwrap_or_else(|| panic!("{row:?}"))).await;
            listed.check(title);
            assert!(listed.words().contains(title), "{title}: {}", listed.words());
        }
        let all_stuck = page.text.split("is stuck; the others got on").nth(1).and_then(link);
        assert!(all_stuck.is_some_and(|link| link.contains("state=stuck")), "the legend leads to who is stuck");
        let listed = browser.get(&link(&row[4]).unwrap()).await;
        let accounts = rows(&listed, "Accounts, those that tried most first");
        assert_eq!(accounts.len(), 200);
        assert!(listed.words().contains("The 200 that tried most of 210; the CSV has all of them."));
        assert_eq!(listed.text.contains("tenant-"), is_admin, "{}", listed.text);
        assert!(accounts[0][1].ends_with(">3") && accounts[1][1].ends_with(">2"), "{:?}", &accounts[..2]);
        assert_eq!((events(&mut browser, &accounts[0][0]).await, events(&mut browser, &accounts[1][0]).await), (3, 2));
        let csv = listed.text.split("href=\"").find(|part| part.starts_with("/validation/accounts.csv")).unwrap();
        let csv = csv.split('"').next().unwrap().replace("&#38;", "&").replace("&amp;", "&");
        let csv = browser.get(&csv).await;
        assert_eq!((csv.text.lines().count(), csv.text.contains("tenant-")), (STUCK + 1, is_admin));

        // From a failure, whose list is bounded, too; its rule stays a filter.
        let page = browser.get("/validation/failure?from=-12h&field=site_id&rule=not_owned").await;
        assert!(page.words().contains("113 further accounts are not listed."), "{}", page.words());
        let all = page.text.split("accounts are not listed.").nth(1).and_then(link).unwrap();
        let listed = browser.get(&all).await;
        assert!(all.contains("rule=not_owned") && listed.words().contains("213 accounts failed"), "{all}");
        let chips = listed.text.matches("class=\"chip\"").count();
        assert_eq!(chips, 2, "{}", listed.text);
    }
    collector.stop().await.unwrap();
}

/// A length until now begins with its first hour, and its numbers lead to just that, though the same length is less elsewhere.
#[tokio::test(flavor = "multi_thread")]
async fn validation_of_a_day_is_of_whole_hours_and_leads_to_them() {
    const HOUR_S: i64 = 3600;
    let dir = tempfile::tempdir().unwrap();
    let collector = Collector::start(dir.path()).await;
    let now = (collector.now_ms.fetch_add(1_234_567, Ordering::Relaxed) + 1_234_567) / 1000;
    let first_hour = (now - 24 * HOUR_S) / HOUR_S * HOUR_S;
    let mut all = Vec::new();
    for (id, at) in [("before", first_hour - 1), ("first", first_hour), ("now", now - 1)] {
        let mut failed = event(id, 422);
        failed["timestamp"] = json!(errata::clock::rfc3339(at * 1000));
        all.push(failed);
    }
    collector.ship(&all).await;
    collector.delivered().await;
    let admin = collector.token.clone();
    let mut browser = Browser::signed_in(&collector, &admin).await;
    let page = browser.get("/validation").await;
    page.check("validation");
    assert!(page.words().contains("Counted in the last 24 h (since 21 Nov 12:00"), "{}", page.words());
    let failures = rows(&page, "Validation failures by field, rule and route");
    let [row] = failures.as_slice() else { panic!("{failures:?}") };
    assert!(row[3].contains(">2<"), "{row:?}");
    assert_eq!(events(&mut browser, &row[3]).await, 2);
    let detail = browser.get(&link(&row[0]).unwrap()).await;
    assert!(detail.words().contains("2 failures"), "{}", detail.words());
    // The picker offers no time that is to come.
    let field = page.text.split("name=\"to\"").nth(1).unwrap().split("value=\"").nth(1).unwrap();
    let to = chrono::NaiveDateTime::parse_from_str(&field[..16], "%Y-%m-%dT%H:%M").unwrap();
    assert!(to.and_utc().timestamp() <= now, "{to}");
    collector.stop().await.unwrap();
}

/// One failure every ten minutes, a range that begins and ends within an hour.
#[tokio::test(flavor = "multi_thread")]
async fn steady_failures_have_bars_of_one_height() {
    let dir = tempfile::tempdir().unwrap();
    let collector = Collector::start(dir.path()).await;
    let at = |n: usize| format!("2026-11-{:02}T{:02}:{:02}:00Z", 20 + n / 144, n / 6 % 24, n % 6 * 10);
    let steady = |n: usize| {
        let mut failed = event(&format!("req_{n}"), 422);
        failed["timestamp"] = json!(at(n));
        failed
    };
    collector.ship(&(0..288).map(steady).collect::<Vec<_>>()).await;
    collector.delivered().await;
    let product = token(dir.path(), "default", &[Role::Product], None, None);
    let mut browser = Browser::signed_in(&collector, &product).await;
    let span = "from=2026-11-20T12:40:00Z&to=2026-11-21T12:40:00Z";
    // Twenty minutes of the first hour, forty of the last, and all of those between.
    let expected: Vec<_> = std::iter::once("7.7").chain(std::iter::repeat_n("23.0", 23)).chain(["15.3"]).collect();
    for path in [format!("/validation?{span}"), format!("/validation/failure?{span}&field=site_id")] {
        let page = browser.get(&path).await;
        let bars = page.text.split("<path class=\"bars\" d=\"").nth(1).unwrap().split('"').next().unwrap();
        let heights: Vec<_> = bars.split("v-").skip(1).map(|bar| bar.split('h').next().unwrap()).collect();
        assert_eq!(heights, expected, "{path}: {bars}");
    }
    // There is nothing from before the first event to compare with.
    let change = |page: &Page| rows(page, "Validation failures by field, rule and route")[0][6].clone();
    let page = browser.get("/validation?from=2026-11-20T06:00:00Z&to=2026-11-20T18:00:00Z").await;
    assert!(change(&page).contains(">–<"), "{}", change(&page));
    let page = browser.get("/validation?from=2026-11-21T00:00:00Z&to=2026-11-22T00:00:00Z").await;
    assert!(change(&page).contains(">same<"), "{}", change(&page));
    collector.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_leads_to_the_period_before_and_failures_tell_their_events() {
    let dir = tempfile::tempdir().unwrap();
    let collector = Collector::start(dir.path()).await;
    let at = |id: &str, minutes_ago: i64| {
        let mut failed = event(id, 422);
        failed["timestamp"] = json!(NOW_MS - minutes_ago * 60_000);
        failed
    };
    // Of one event, two failures at two positions.
    let mut twice = at("twice", 5);
    twice["response"]["errors"] = json!({"items": [{"sku": ["Unknown"]}, {"sku": ["Unknown"]}]});
    let all = [at("now", 5), twice, at("before_1", 70), at("before_2", 80), at("before_3", 90), at("long_ago", 500)];
    collector.ship(&all).await;
    collector.delivered().await;
    let admin = collector.token.clone();
    let mut browser = Browser::signed_in(&collector, &admin).await;
    let page = browser.get("/validation?from=-1h").await;
    page.check("validation");
    let failures = rows(&page, "Validation failures by field, rule and route");
    let of = |field: &str| failures.iter().find(|row| row[0].contains(field)).unwrap_or_else(|| panic!("{failures:?}"));
    assert_eq!(events(&mut browser, &of("site_id")[6]).await, 3, "{:?}", of("site_id"));
    assert!(of("sku")[6].contains(">none before<") && link(&of("sku")[6]).is_none(), "{:?}", of("sku"));
    assert!(of("sku")[3].contains(">2</a> <span class=\"faint\">in 1 event<"), "{:?}", of("sku"));
    assert_eq!(events(&mut browser, &of("sku")[3]).await, 1);
    assert!(!of("site_id")[3].contains("event"), "{:?}", of("site_id"));
    let detail = browser.get(&link(&of("sku")[0]).unwrap()).await;
    assert!(detail.words().contains("2 failures in 1 event"), "{}", detail.words());
    // A file says nothing of a period that is not known as a whole.
    let previous = async |browser: &mut Browser, from: &str| {
        let file = browser.get(&format!("/validation.csv?from={from}")).await;
        let lines: Vec<_> =
            file.text.lines().map(|line| line.split(',').map(str::to_owned).collect::<Vec<_>>()).collect();
        let column = lines[0].iter().position(|name| name == "previous_count").unwrap();
        lines.iter().find(|line| line[0] == "site_id").unwrap()[column].clone()
    };
    assert_eq!([previous(&mut browser, "-1h").await, previous(&mut browser, "-5h").await], ["3", ""]);
    collector.stop().await.unwrap();
}

/// One field more than the page has rows at first.
#[tokio::test(flavor = "multi_thread")]
async fn more_failures_than_rows_are_one_link_away_and_other_pages_do_not_mind() {
    let dir = tempfile::tempdir().unwrap();
    let collector = Collector::start(dir.path()).await;
    let of_field = |number: usize| {
        let mut failed = event(&format!("req_{number}"), 422);
        failed["response"]["errors"] = json!({format!("field_{number}"): ["This field is required"]});
        failed
    };
    collector.ship(&(0..26).map(of_field).collect::<Vec<_>>()).await;
    collector.delivered().await;
    let admin = collector.token.clone();
    let mut browser = Browser::signed_in(&collector, &admin).await;
    let table = |page: &Page| rows(page, "Validation failures by field, rule and route");
    let page = browser.get("/validation?from=-1h&method=POST").await;
    assert_eq!(table(&page).len(), 25);
    let more = page.text.split("most frequent: ").nth(1).unwrap_or_else(|| panic!("{}", page.words()));
    let page = browser.get(&link(more).unwrap()).await;
    page.check("validation");
    let all = table(&page);
    assert_eq!(all.len(), 26);
    assert!(!page.text.contains("most frequent"), "{}", page.words());
    // Whatever it leads to has the filters, and no rows.
    let csv = page.text.split("href=\"").find(|part| part.starts_with("/validation.csv")).unwrap();
    let file = browser.get(&link(&format!("<a href=\"{csv}")).unwrap()).await;
    assert!(file.status == 200 && file.text.lines().count() == 27, "{}", file.text);
    assert_eq!(events(&mut browser, &all[0][3]).await, 1);
    let detail = link(&all[0][0]).unwrap();
    assert!(detail.contains("method=POST") && !detail.contains("rows="), "{detail}");
    assert_eq!(browser.get(&detail).await.status, 200);
    let page = browser.get("/validation?from=-1h&rows=7").await;
    assert!(page.status == 400 && page.words().contains("expected 25 or 100"), "{}", page.words());
    collector.stop().await.unwrap();
}
