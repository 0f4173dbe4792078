//! The lookup: from a text to the page that explains.

use errata::state::Role;
use serde_json::json;

use super::Browser;
use crate::{
    collector::{Collector, event},
    contract::token,
};

const ID: &str = "550e8400-e29b-41d4-a716-446655440000";

#[tokio::test(flavor = "multi_thread")]
async fn a_request_is_explained_on_one_page() {
    let dir = tempfile::tempdir().unwrap();
    let collector = Collector::start(dir.path()).await;
    let mut before = event("req_before", 429);
    before["timestamp"] = json!("2026-11-22T11:58:30Z");
    before["rate_limit"] = json!({"limit": 10, "remaining": 0, "reset": 1_795_348_730});
    let mut again = event("req_again", 422);
    again["timestamp"] = json!("2026-11-22T11:59:24Z");
    assert_eq!(collector.ship(&[before, event(ID, 422), again]).await.0, 202);
    collector.delivered().await;
    let support = token(dir.path(), "default", &[Role::Support], None, None);
    let mut browser = Browser::signed_in(&collector, &support).await;
    browser.get("/lookup").await;
    let page = browser.send("/lookup", &[("text", &format!(" {} ", ID.to_uppercase()))]).await;
    assert_eq!(page.location(), Some(format!("/requests/{ID}").as_str()));
    let page = browser.get(&format!("/requests/{ID}")).await;
    assert_eq!(page.status, 200);
    page.check("a request");
    let words = page.words();
    for expected in [
        "422 Validation failed",
        ID,
        "POST /api/v1/planner/keywords/",
        "igny8-api 2026.11.2",
        "Sun 22 Nov 2026 11:59:00 UTC ( 1 min ago )",
        "account 7",
        "Site must belong to your account documented rule not_owned",
        "Reply to the customer",
        "only this account",
        "They tried again once within ten minutes and met the same error.",
        "this request",
        "tried again, same error",
    ] {
        assert!(words.contains(expected), "{expected}: {words}");
    }
    assert!(page.text.contains("href=\"/requests/req_before\""), "{}", page.text);
    let page = browser.get("/requests/req_before").await;
    assert!(page.words().contains("The limit is 10 requests, none were left"), "{}", page.text);
    assert!(page.words().contains("The customer had to wait 20 s"), "{}", page.words());
    collector.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ticket_is_looked_up_whole_and_only_its_ids_stand_in_the_address() {
    let dir = tempfile::tempdir().unwrap();
    let collector = Collector::start(dir.path()).await;
    collector.ship(&[event(ID, 422), event("req_8f14e45f", 500)]).await;
    collector.delivered().await;
    let mut browser = Browser::signed_in(&collector, &collector.token).await;
    browser.get("/lookup").await;
    let ticket = format!("Hi, Anna Miller here: {ID} fails,\nand req_8f14e45f too, and req_00000000 as well.");
    let page = browser.send("/lookup", &[("text", &ticket)]).await;
    let location = page.location().unwrap().to_owned();
    assert!(!location.contains("Anna") && location.contains("req_8f14e45f"), "{location}");
    let page = browser.get(&location).await;
    page.check("a ticket");
    let words = page.words();
    assert!(words.contains("2 of 3 requests found"), "{words}");
    assert!(words.contains("Not found req_00000000"), "{words}");
    assert!(page.text.contains(&format!("href=\"/requests/{ID}\"")), "{}", page.text);
    // A word that only might be an id is no unknown one: neither on the page nor in the log.
    let ticket = format!("On 2026-11-22 we, customer-4711, met {ID} and req_8f14e45f; call 0301234567.");
    let location = browser.send("/lookup", &[("text", &ticket)]).await.location().unwrap().to_owned();
    let page = browser.get(&location).await;
    let words = page.words();
    assert!(words.contains("2 of 2 requests found") && !words.contains("4711"), "{words}");
    let page = browser.send("/lookup", &[("text", "Anna Miller: it does not work")]).await;
    assert_eq!(page.location(), Some("/lookup"), "no word of it is in an address");
    let page = browser.get("/lookup").await;
    assert!(page.words().contains("There is no request id in that text"), "{}", page.text);
    let page = browser.send("/lookup", &[("text", "https://shop.example/help")]).await;
    assert_eq!(page.location(), Some("/lookup?id=https%3A%2F%2Fshop.example%2Fhelp"), "one word is shown again");
    browser.get("/lookup?id=Anna+Miller+has+req_8f14e45f+and+req_00000000").await;
    browser.get("/lookup?id=Anna+Miller").await;
    let began = std::time::Instant::now();
    loop {
        let (_, body) = collector.get("/api/v1/audit?action=ticket").await;
        let entries = body["data"]["entries"].as_array().unwrap();
        assert!(!body.to_string().contains("Anna") && !body.to_string().contains("4711"), "{body}");
        if entries.iter().any(|entry| entry["subject"] == "req_8f14e45f req_00000000") {
            break;
        }
        assert!(began.elapsed().as_secs() < 20, "{body}");
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    collector.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn not_found_says_why_and_what_to_do() {
    let dir = tempfile::tempdir().unwrap();
    let collector = Collector::start(dir.path()).await;
    let mut bad = event("req_bad", 422);
    bad["status"] = json!(200);
    collector.ship(&[bad, event(ID, 422)]).await;
    collector.delivered().await;
    let mut browser = Browser::signed_in(&collector, &collector.token).await;
    let page = browser.get("/requests/req_bad").await;
    assert_eq!(page.status, 404);
    page.check("rejected");
    assert!(page.words().contains("This request was reported, and the report was not taken"), "{}", page.text);
    let page = browser.get("/requests/req_unheard_of").await;
    assert_eq!(page.status, 404);
    let words = page.words();
    assert!(words.contains("Nothing was ever received with this id") && words.contains("What to do"), "{words}");
    assert!(
        words.contains("Latest event Sun 22 Nov 2026 11:59:00 UTC (1 min ago)")
            || words.contains("11:59:00 UTC ( 1 min ago"),
        "{words}"
    );
    collector.stop().await.unwrap();
}
