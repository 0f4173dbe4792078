//! The audit log: each lookup is in it, with who and what and how it ended, and no customer's words.

use errata::state::{NewToken, Role, State};
use reqwest::Method;
use serde_json::{Value, json};

use super::{Answer, token};
use crate::collector::{Collector, NOW_MS, event};

/// Entries, newest first, once there are as many of others' deeds as expected.
async fn entries(collector: &Collector, query: &str, least: usize) -> Vec<Value> {
    let began = std::time::Instant::now();
    loop {
        let (status, body) = collector.read(&collector.token, &format!("/api/v1/audit?{query}")).await;
        assert_eq!(status, 200, "{body}");
        let entries = body["data"]["entries"].as_array().unwrap().clone();
        if entries.len() >= least {
            return entries;
        }
        assert!(began.elapsed().as_secs() < 20, "{query}: {entries:?}");
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
}

fn deeds(entries: &[Value]) -> Vec<[String; 3]> {
    let deed = |entry: &Value| ["action", "subject", "outcome"].map(|key| entry[key].as_str().unwrap().to_owned());
    entries.iter().rev().map(deed).collect()
}

fn text(deeds: &[[&str; 3]]) -> Vec<[String; 3]> {
    deeds.iter().map(|deed| deed.map(str::to_owned)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn who_looked_up_what_is_in_the_log_and_a_tickets_text_is_not() {
    let dir = tempfile::tempdir().unwrap();
    let collector = Collector::start(dir.path()).await;
    let new = NewToken {
        name: "anna".into(),
        project: "default".into(),
        roles: vec![Role::Support, Role::Product],
        expires_ms: None,
        limit: None,
    };
    let anna = State::open(dir.path()).unwrap().create_token(&new, NOW_MS - 1).unwrap();
    let foreign = token(dir.path(), "other", &[Role::Admin], None, None);
    collector.ship(&[event("req_0001", 422)]).await;
    collector.found("req_0001").await;
    for path in [
        "/api/v1/requests/req_0001",
        "/api/v1/requests/req_none",
        "/api/v1/events?status=5xx",
        "/api/v1/rates",
        "/api/v1/catalog",
        "/api/v1/catalog?user%5Fid=82",
        "/api/v1/quarantine/7",
        "/api/v1/events/histogram?q=acme",
        "/api/v1/issues/00000000000000aa",
        "/api/v1/validation/failures?group_by=account",
        "/api/v1/validation/friction",
        "/api/v1/validation/friction/accounts?state=stuck",
        "/api/v1/rate-limits",
        "/api/v1/rates?account_id=17",
        "/api/v1/issues",
        "/api/v1/issues?q=Anna",
    ] {
        collector.read(&anna, path).await;
    }
    let ticket = collector.with_token(&anna, Method::POST, "/api/v1/requests/lookup");
    Answer::to(
        ticket
            .header("X-Forwarded-For", "203.0.113.9")
            .json(&json!({"text": "Dear Errata, req_0001 and req_none fail. Yours, Otto"})),
    )
    .await;
    Answer::to(collector.with_token(&anna, Method::POST, "/api/v1/requests/lookup").json(&json!({"txt": 1}))).await;

    let found = entries(&collector, "token=anna", 15).await;
    let expected = [
        ["lookup", "req_0001", "ok"],
        ["lookup", "req_none", "not found"],
        ["search", "?status=5xx", "ok"],
        ["reference", "?user%5Fid=82", "ok"],
        ["quarantine shown", "7", "denied"],
        ["search", "?q=acme", "ok"],
        ["issue", "00000000000000aa", "not found"],
        ["validation", "?group_by=account", "ok"],
        ["validation", "", "ok"],
        ["validation", "?state=stuck", "ok"],
        ["rate limits", "", "denied"],
        ["rates", "?account_id=17", "denied"],
        ["issues", "?q=Anna", "ok"],
        ["ticket", "req_0001 req_none", "ok"],
        ["ticket", "", "refused"],
    ];
    assert_eq!(deeds(&found), text(&expected));
    assert!(!json!(found).to_string().contains("Otto"), "{found:?}");
    let of_ticket = &found[1];
    assert_eq!(of_ticket["peer"], "127.0.0.1 for 203.0.113.9");
    assert_eq!(
        (&of_ticket["roles"], &of_ticket["at"]),
        (&json!(["support", "product"]), &json!("2026-11-22T12:00:00.000Z"))
    );
    assert!(of_ticket["request_id"].as_str().is_some_and(|id| id.len() == 36), "{of_ticket}");

    // Filters, pages, and what the command line did.
    let one = entries(&collector, "token=anna&action=lookup&outcome=ok&subject=eq_0001", 1).await;
    assert_eq!(deeds(&one), text(&[["lookup", "req_0001", "ok"]]));
    let (_, body) = collector.read(&collector.token, "/api/v1/audit?token=anna&limit=9").await;
    let cursor = body["data"]["next_cursor"].as_str().unwrap();
    let rest = entries(&collector, &format!("token=anna&limit=9&cursor={cursor}"), 6).await;
    assert_eq!(deeds(&rest), text(&expected[..6]));
    let created = entries(&collector, "action=token%20created&subject=anna", 1).await;
    assert_eq!(
        (&created[0]["token"], &created[0]["subject"]),
        (&json!("(command line)"), &json!("anna (support,product)"))
    );
    assert!(!entries(&collector, "action=audit", 1).await.is_empty(), "reading the log is in it");

    let (_, body) = collector.read(&foreign, "/api/v1/audit?from=-7d").await;
    let others = body["data"]["entries"].as_array().unwrap();
    assert!(
        others.iter().all(|entry| entry["token"] != "anna" && !entry["subject"].as_str().unwrap().contains("req_0001"))
    );
    assert_eq!(collector.read(&anna, "/api/v1/audit").await.0, 403);
    for query in ["cursor=x", "limit=0", "from=soon", "colour=red"] {
        assert_eq!(collector.read(&collector.token, &format!("/api/v1/audit?{query}")).await.0, 400, "{query}");
    }
    collector.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lookup_does_not_wait_for_the_log_and_what_is_lost_is_counted() {
    let dir = tempfile::tempdir().unwrap();
    let collector = Collector::with(super::without_clickhouse(dir.path())).await;
    let locked = rusqlite::Connection::open(dir.path().join(errata::state::FILE)).unwrap();
    locked.execute_batch("DROP TABLE audit").unwrap();
    let began = std::time::Instant::now();
    let (status, _) = collector.read(&collector.token, "/api/v1/requests/req_0001").await;
    assert_eq!(status, 503, "there is no ClickHouse");
    assert!(began.elapsed().as_secs() < 5);
    while collector.metric("errata_audit_entries_total{outcome=\"lost\"}").await < 1.0 {
        assert!(began.elapsed().as_secs() < 20, "the loss is not counted");
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    collector.stop().await.unwrap();
}
