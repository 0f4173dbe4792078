//! Pseudonyms: who may not see people sees the same name for the same person everywhere, and finds by it.

use errata::{config::Config, state::Role};
use reqwest::Method;
use serde_json::{Value, json};

use super::{Answer, token};
use crate::collector::{Collector, config, event};

fn event_of(request_id: &str, account: &str, user: &str) -> Value {
    let mut event = event(request_id, 422);
    event["account_id"] = json!(account);
    event["user_id"] = json!(user);
    event["event_id"] = json!(format!("{account}-event-{request_id}"));
    event["response"]["error"] = json!(format!("Account {account} may not do this"));
    event["response"]["errors"] = json!({"site_id": [format!("\"{account}-site\" of {user} is not yours")]});
    event
}

/// A short id is a word or a part of one: shown, searched and counted alike.
#[tokio::test(flavor = "multi_thread")]
async fn an_id_of_three_characters_is_masked_where_it_is_a_word() {
    let dir = tempfile::tempdir().unwrap();
    let collector = Collector::start(dir.path()).await;
    let product = token(dir.path(), "default", &[Role::Product], None, None);
    let mut own = event_of("req_1", "512", "a.c");
    let message = "512 of 1512 sites: 512, says a.c, not abc";
    own["response"]["error"] = json!(message);
    own["response"]["errors"] = json!({"site_id": [message]});
    let mut dashes = event_of("req_2", "-x-", "17");
    dashes["response"]["error"] = json!("17 of -x- and b-x-c");
    collector.ship(&[own, dashes]).await;
    collector.delivered().await;

    let all = events(&collector, &product, "").await;
    let of = |id: &str| all.iter().find(|event| event["request_id"] == id).unwrap();
    let (account, user) = (of("req_1")["account_id"].as_str().unwrap(), of("req_1")["user_id"].as_str().unwrap());
    assert_eq!(of("req_1")["error"], format!("{account} of 1512 sites: {account}, says {user}, not abc"));
    for (text, of_product, of_admin) in [
        ("512 of", 0, 1),
        ("512,", 0, 1),
        ("512 sites", 1, 1), // of 1512
        ("says a.c", 0, 1),
        ("not abc", 1, 1),
        ("17 of", 1, 1), // too short to tell from any number
        ("-x-", 0, 1),
        ("… of 1512", 1, 0),
    ] {
        let query = format!("q={}", text.replace(' ', "%20"));
        assert_eq!(events(&collector, &product, &query).await.len(), of_product, "{text}");
        assert_eq!(events(&collector, &collector.token, &query).await.len(), of_admin, "{text}");
    }
    let (_, body) = collector.read(&product, "/api/v1/validation/failures?group_by=message").await;
    let counted: Vec<_> = body["data"]["rows"].as_array().unwrap().iter().map(|row| &row["message"]).collect();
    let (status, body) = collector.read(&product, "/api/v1/catalog/drift").await;
    assert!(status == 200 && body.to_string().contains("… of 1512 sites: …, says …, not abc"), "{body}");
    assert!(counted.contains(&&json!("… of 1512 sites: …, says …, not abc")), "{counted:?}");
    collector.stop().await.unwrap();
}

async fn events(collector: &Collector, token: &str, query: &str) -> Vec<Value> {
    let (status, body) = collector.read(token, &format!("/api/v1/events?{query}")).await;
    assert_eq!(status, 200, "{body}");
    body["data"]["events"].as_array().unwrap().clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pseudonym_is_stable_is_nobodys_elsewhere_and_filters() {
    let dir = tempfile::tempdir().unwrap();
    let collector = Collector::start(dir.path()).await;
    let product = token(dir.path(), "default", &[Role::Product], None, None);
    let foreign = token(dir.path(), "other", &[Role::Product, Role::Ingest], None, None);
    let shipped = [event_of("req_1", "acme-corp", "anna-1"), event_of("req_2", "acme-corp", "ben-2")];
    collector.ship(&shipped).await;
    collector.ship(&[event_of("req_3", "zeta-corp", "anna-1"), event("req_5", 422)]).await;
    collector.ship_as(&foreign, &[event_of("req_4", "acme-corp", "anna-1")]).await;
    collector.delivered().await;

    let all = events(&collector, &product, "").await;
    let of = |id: &str| all.iter().find(|event| event["request_id"] == id).unwrap();
    let text = json!(all).to_string();
    for trace in ["acme", "zeta", "anna", "ben-2"] {
        assert!(!text.contains(trace), "{trace}: {text}");
    }
    let (acme, anna) = (of("req_1")["account_id"].as_str().unwrap(), of("req_1")["user_id"].as_str().unwrap());
    assert!(acme.starts_with("acct_") && anna.starts_with("user_"), "{acme} {anna}");
    assert_eq!((&of("req_2")["account_id"], &of("req_3")["user_id"]), (&json!(acme), &json!(anna)));
    assert_ne!(of("req_3")["account_id"], acme);
    assert_eq!(of("req_1")["error"], format!("Account {acme} may not do this"));
    assert_eq!(of("req_1")["errors"][0]["message"], format!("… of {anna} is not yours"));
    let elsewhere = events(&collector, &foreign, "").await;
    assert_ne!(elsewhere[0]["account_id"], acme, "another project has other names");

    let both = ["req_1", "req_2"];
    assert_eq!(ids(&collector, &product, &format!("account_id={acme}")).await, both);
    assert_eq!(ids(&collector, &product, &format!("account_id={acme}&user_id={anna}")).await, ["req_1"]);
    assert_eq!(ids(&collector, &product, "account_id=acct_000000000000").await, [""; 0]);
    let (acme, anna) = (acme.to_owned(), anna.to_owned());

    // Texts are searched as they are shown: a name that is masked is not found by trying.
    for (text, of_product, of_admin) in
        [("acme-corp", 0, 2), ("ANNA-1 is", 0, 2), ("may not do", 3, 3), ("… may not", 3, 0)]
    {
        let query = format!("q={}", text.replace(' ', "%20"));
        assert_eq!(events(&collector, &product, &query).await.len(), of_product, "{text}");
        assert_eq!(events(&collector, &collector.token, &query).await.len(), of_admin, "{text}");
        for (path, count) in [
            ("events/histogram", "/data/events"),
            ("events/top", "/data/events"),
            ("validation/failures", "/data/summary/failures"),
        ] {
            for (token, expected) in [(&product, of_product), (&collector.token, of_admin)] {
                let (status, body) = collector.read(token, &format!("/api/v1/{path}?{query}")).await;
                assert_eq!(status, 200, "{body}");
                assert_eq!(body.pointer(count), Some(&json!(expected)), "{path} {text}: {body}");
            }
        }
        let export = format!("/api/v1/events?format=ndjson&{query}");
        let export = Answer::to(collector.with_token(&product, Method::GET, &export)).await;
        assert_eq!(export.text.lines().count(), of_product, "{text}: {}", export.text);
        let (status, body) = collector.read(&product, &format!("/api/v1/validation/friction?{query}")).await;
        assert_eq!(status, 200, "{body}");
        assert_eq!(body["data"]["rows"].as_array().unwrap().is_empty(), of_product == 0, "{text}: {body}");
    }
    let issues = async |token: &str, text: &str| {
        let (status, body) = collector.read(token, &format!("/api/v1/issues?q={text}")).await;
        assert_eq!(status, 200, "{body}");
        body["data"]["issues_in_all"].as_u64().unwrap()
    };
    for (text, of_product, of_admin) in
        [("acme-corp", 0, 1), ("may%20not", 0, 2), ("tion%20FAIL", 1, 1), ("site_id", 3, 3)]
    {
        assert_eq!(issues(&product, text).await, of_product, "{text}");
        assert_eq!(issues(&collector.token, text).await, of_admin, "{text}");
    }
    let many: Vec<_> = (0..51).map(|number| format!("acct_{number:012x}")).collect();
    assert_eq!(ids(&collector, &product, &format!("account_id={},{acme}", many[..49].join(","))).await, both);
    let (status, body) = collector.read(&product, &format!("/api/v1/events?account_id={}", many.join(","))).await;
    assert_eq!(status, 400);
    assert!(body["errors"]["account_id"][0].as_str().unwrap().contains("50 pseudonyms at most"), "{body}");

    // Somebody who sees people finds by both; who may not is not told by trying.
    let seen = events(&collector, &collector.token, &format!("account_id={acme}")).await;
    assert_eq!(seen[0]["account_id"], "acme-corp");
    let (status, body) = collector.read(&product, "/api/v1/events?account_id=acme-corp").await;
    assert_eq!(status, 403);
    assert!(body["errors"]["token"][0].as_str().unwrap().contains("acct_"), "{body}");
    collector.stop().await.unwrap();

    // After a restart nothing is remembered; the names are the same, and are found in the store.
    let collector = Collector::start(dir.path()).await;
    for query in [format!("account_id={acme}"), format!("account_id={acme}&user_id={anna},user_000000000000")] {
        let expected: &[&str] = if query.contains("user_id") { &["req_1"] } else { &both };
        assert_eq!(ids(&collector, &product, &query).await, expected, "{query}");
    }
    collector.stop().await.unwrap();
}

/// Request ids of the events that fit, sorted.
async fn ids(collector: &Collector, token: &str, query: &str) -> Vec<String> {
    let events = events(collector, token, query).await;
    let mut ids: Vec<_> = events.iter().map(|event| event["request_id"].as_str().unwrap().to_owned()).collect();
    ids.sort();
    ids
}

/// An id of three characters is not shown in an event's messages: so it is not found there either.
#[tokio::test(flavor = "multi_thread")]
async fn a_short_id_is_not_found_by_trying() {
    let dir = tempfile::tempdir().unwrap();
    let collector = Collector::start(dir.path()).await;
    let product = token(dir.path(), "default", &[Role::Product], None, None);
    collector.ship(&[event_of("req_1", "a17", "u42"), event_of("req_2", "b18", "u43")]).await;
    collector.delivered().await;
    let shown = json!(events(&collector, &product, "").await).to_string();
    for id in ["a17", "u42"] {
        assert!(!shown.contains(&format!(" {id} ")), "{shown}");
        assert_eq!(ids(&collector, &product, &format!("q={id}")).await, [""; 0], "{id}");
        assert_eq!(ids(&collector, &collector.token, &format!("q={id}")).await, ["req_1"], "{id}");
    }
    assert_eq!(ids(&collector, &product, "q=may%20not").await, ["req_1", "req_2"]);
    collector.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn validation_analytics_name_nobody_to_product() {
    let dir = tempfile::tempdir().unwrap();
    let collector = Collector::start(dir.path()).await;
    let product = token(dir.path(), "default", &[Role::Product], None, None);
    collector.ship(&[event_of("req_1", "acme-corp", "anna-1"), event_of("req_2", "zeta-corp", "ben-2")]).await;
    collector.delivered().await;
    let (_, body) = collector.read(&product, "/api/v1/validation/failures?group_by=account,field").await;
    let rows = body["data"]["rows"].as_array().unwrap();
    let account = rows[0]["account"].as_str().unwrap();
    assert!(rows.len() == 2 && account.starts_with("acct_"), "{body}");
    let (_, body) = collector.read(&product, &format!("/api/v1/validation/failures?account_id={account}")).await;
    assert_eq!(body["data"]["rows"][0]["count"], 1, "{body}");
    let (_, body) = collector.read(&product, "/api/v1/validation/failures?group_by=message").await;
    assert!(!body.to_string().contains("-corp"), "{body}");
    let (_, body) = collector.read(&collector.token, "/api/v1/validation/failures?group_by=message").await;
    assert!(body.to_string().contains("acme-corp-site"), "{body}");

    for path in [
        "/api/v1/validation/failures?group_by=account,message,path&format=csv",
        "/api/v1/validation/friction",
        "/api/v1/validation/friction/accounts",
        "/api/v1/validation/friction/accounts?format=csv",
        "/api/v1/catalog",
        "/api/v1/catalog/drift",
    ] {
        let answer = Answer::to(collector.with_token(&product, Method::GET, path)).await;
        assert_eq!(answer.status, 200, "{path}: {}", answer.text);
        assert!(!answer.text.contains("acme") && !answer.text.contains("zeta"), "{path}: {}", answer.text);
        if path.ends_with("csv") {
            assert_eq!(answer.header("content-type"), Some("text/csv; charset=utf-8"));
            let names = if path.contains("friction") { "account_id,attempts," } else { "account,message,path,count," };
            assert!(answer.text.starts_with(names), "{}", answer.text);
            assert_eq!(answer.text.lines().count(), 3, "{}", answer.text);
        }
    }
    collector.stop().await.unwrap();
}

/// What is known of statuses, of which one lists no messages: any is documented by it, and none is stated.
const CATALOG: &str = r#"
    api = { name = "x", version = "1" }
    [[status]]
    code = 500
    title = "Broken"
    meaning = "It broke"
    causes = ["c"]
    solution = "s"
    customer = "c"
    [[status]]
    code = 409
    title = "Conflict"
    meaning = "It is taken"
    causes = ["c"]
    solution = "s"
    customer = "c"
    errors = ["It is taken."]
"#;

#[tokio::test(flavor = "multi_thread")]
async fn of_issues_product_sees_the_texts_that_the_catalog_states_word_for_word() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("catalog.toml");
    std::fs::write(&file, CATALOG).unwrap();
    let catalog = file.to_str().unwrap().to_owned();
    let collector = Collector::with(Config { catalog, ..config(dir.path()) }).await;
    let product = token(dir.path(), "default", &[Role::Product], None, None);
    let failed = |id: &str, status: u16, error: &str| {
        let mut event = event(id, status);
        event["response"] = json!({ "error": error });
        event["account_id"] = json!("acme-corp");
        event
    };
    collector.ship(&[failed("req_1", 500, "Account acme-corp is gone"), failed("req_2", 409, "It is taken")]).await;
    collector.delivered().await;
    let (_, all) = collector.get("/api/v1/issues").await;
    assert!(all.to_string().contains("acme-corp"), "{all}");
    let (_, list) = collector.read(&product, "/api/v1/issues").await;
    assert_eq!(list["data"]["issues"].as_array().unwrap().len(), 2, "{list}");
    assert!(!list.to_string().contains("acme-corp") && list.to_string().contains("It is taken"), "{list}");
    for issue in list["data"]["issues"].as_array().unwrap() {
        let path = format!("/api/v1/issues/{}", issue["fingerprint"].as_str().unwrap());
        let (status, body) = collector.read(&product, &path).await;
        assert!(status == 200 && !body.to_string().contains("acme-corp"), "{body}");
    }
    collector.stop().await.unwrap();
}
