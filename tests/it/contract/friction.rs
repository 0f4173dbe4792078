//! Friction: who tried how often, who still fails, who was not seen again.

use reqwest::Method;
use serde_json::{Value, json};

use super::Answer;
use crate::collector::{Collector, event};

fn failure(request_id: &str, account: Option<&str>, at: &str, field: &str) -> Value {
    let mut event = event(request_id, 422);
    event["account_id"] = json!(account);
    event["timestamp"] = json!(at);
    event["response"]["errors"] = json!({field: ["This field is required"]});
    event
}

/// Three accounts at one field, one of them at another too.
fn attempts() -> [Value; 11] {
    [
        // Stuck: in three hours, the last of them late.
        failure("req_1", Some("stuck"), "2026-11-22T02:10:00Z", "title"),
        failure("req_2", Some("stuck"), "2026-11-22T02:50:00Z", "title"),
        failure("req_3", Some("stuck"), "2026-11-22T05:00:00Z", "title"),
        failure("req_4", Some("stuck"), "2026-11-22T11:30:00Z", "title"),
        // Got on, or gave up.
        failure("req_5", Some("gone"), "2026-11-22T02:00:00Z", "title"),
        failure("req_6", Some("gone"), "2026-11-22T03:00:00Z", "title"),
        failure("req_10", Some("gone"), "2026-11-22T04:00:00Z", "title"),
        failure("req_11", Some("gone"), "2026-11-22T06:00:00Z", "title"),
        // Fails, and has tried once.
        failure("req_7", Some("new"), "2026-11-22T11:40:00Z", "title"),
        failure("req_8", None, "2026-11-22T11:41:00Z", "title"),
        failure("req_9", Some("gone"), "2026-11-22T11:41:00Z", "name"),
    ]
}

/// Whole hours, which come from the rollup, and a range whose edges and a filter make it ask the events: the same.
const RANGES: [&str; 3] = [
    "from=2026-11-22T00:00:00Z&to=2026-11-22T12:00:00Z&quiet=3h",
    "from=2026-11-22T00:30:00Z&to=2026-11-22T12:00:00Z&quiet=3h",
    "from=2026-11-22T00:00:00Z&to=2026-11-22T12:00:00Z&quiet=3h&status=422",
];

#[tokio::test(flavor = "multi_thread")]
async fn attempts_are_hours_and_who_fails_late_and_again_is_stuck() {
    let dir = tempfile::tempdir().unwrap();
    let collector = Collector::start(dir.path()).await;
    collector.ship(&attempts()).await;
    collector.delivered().await;
    for range in RANGES {
        let (status, body) = collector.get(&format!("/api/v1/validation/friction?{range}")).await;
        assert_eq!(status, 200, "{body}");
        let data = &body["data"];
        assert_eq!(
            (&data["stuck_accounts"], &data["sentence"]),
            (&json!(1), &json!("One account is stuck.")),
            "{body:#}"
        );
        let row = &data["rows"][0];
        let expected =
            json!({"field": "title", "events": 10, "accounts": 3, "still_failing": 2, "not_seen_again": 1, "stuck": 1});
        for (name, value) in expected.as_object().unwrap() {
            assert_eq!(&row[name], value, "{range} {name}: {row:#}");
        }
        assert_eq!(row["attempts_per_account"], 8.0 / 3.0, "3, 4 and 1 hours: {row:#}");
        let worst: Vec<_> = row["worst"]
            .as_array()
            .unwrap()
            .iter()
            .map(|one| {
                (
                    one["account_id"].as_str().unwrap(),
                    one["attempts"].as_u64().unwrap(),
                    one["still_failing"].as_bool().unwrap(),
                )
            })
            .collect();
        assert_eq!(worst, [("stuck", 3, true), ("gone", 4, false), ("new", 1, true)], "who is stuck comes first");
        assert_eq!(data["rows"][1]["field"], "name");
    }
    let (_, body) =
        collector.get("/api/v1/validation/friction?from=2026-11-21T00:00:00Z&to=2026-11-21T12:00:00Z").await;
    assert_eq!((&body["data"]["rows"], &body["data"]["sentence"]), (&json!([]), &json!("No account is stuck.")));
    for query in ["quiet=5m", "quiet=x", "limit=1001", "field_=x"] {
        let (status, body) = collector.get(&format!("/api/v1/validation/friction?{query}")).await;
        assert_eq!(status, 400, "{query}: {body}");
    }
    collector.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn every_account_that_fails_is_listed_and_friction_counts_just_those() {
    let dir = tempfile::tempdir().unwrap();
    let collector = Collector::start(dir.path()).await;
    collector.ship(&attempts()).await;
    collector.delivered().await;
    let list = async |query: &str| {
        let (status, body) = collector.get(&format!("/api/v1/validation/friction/accounts?{query}")).await;
        assert_eq!(status, 200, "{query}: {body}");
        body["data"].clone()
    };
    let accounts = |data: &Value| -> Vec<String> {
        let rows = data["rows"].as_array().unwrap().iter();
        rows.map(|row| row["account_id"].as_str().unwrap().to_owned()).collect()
    };
    for range in RANGES {
        let data = list(&format!("{range}&field=title")).await;
        let hour = |hour: &str| format!("2026-11-22T{hour}:00:00.000Z");
        let row = |id: &str, attempts: u64, first: &str, last: &str, failing: bool, stuck: bool| {
            json!({"account_id": id, "attempts": attempts, "first_seen": hour(first), "last_seen": hour(last),
                "still_failing": failing, "stuck": stuck})
        };
        let expected = json!([
            row("gone", 4, "02", "06", false, false),
            row("stuck", 3, "02", "11", true, true),
            row("new", 1, "11", "11", true, false),
        ]);
        assert_eq!((&data["rows"], &data["accounts_in_all"]), (&expected, &json!(3)), "{range}");

        // Each number of a row of the friction is as many as its list has.
        let (_, friction) = collector.get(&format!("/api/v1/validation/friction?{range}&field=title")).await;
        for (name, expected) in
            [("stuck", &["stuck"][..]), ("still_failing", &["stuck", "new"]), ("not_seen_again", &["gone"])]
        {
            let data = list(&format!("{range}&field=title&state={name}")).await;
            assert_eq!(accounts(&data), expected, "{range} {name}");
            assert_eq!(data["accounts_in_all"], friction["data"]["rows"][0][name], "{range} {name}");
        }
        // Of all fields: the account that was not seen again at one still fails at another, once, and so is not stuck.
        let data = list(range).await;
        assert_eq!(data["rows"][0], row("gone", 5, "02", "11", true, false), "{range}");
        assert_eq!(accounts(&list(&format!("{range}&state=stuck")).await), ["stuck"], "{range}");
        assert_eq!(accounts(&list(&format!("{range}&state=not_seen_again")).await), [""; 0], "{range}");
        let data = list(&format!("{range}&limit=1")).await;
        assert_eq!((accounts(&data), &data["accounts_in_all"]), (vec!["gone".to_owned()], &json!(3)), "{range}");
    }
    let path = format!("/api/v1/validation/friction/accounts?{}&format=csv&state=stuck", RANGES[0]);
    let csv = Answer::to(collector.request(Method::GET, &path)).await;
    assert_eq!(
        csv.text,
        "account_id,attempts,first_seen,last_seen,still_failing,stuck\r\n\
         stuck,3,2026-11-22T02:00:00.000Z,2026-11-22T11:00:00.000Z,true,true\r\n"
    );
    for query in ["quiet=5m", "state=lost", "limit=10001", "limit=0", "format=xml", "group_by=field"] {
        let (status, body) = collector.get(&format!("/api/v1/validation/friction/accounts?{query}")).await;
        assert_eq!(status, 400, "{query}: {body}");
    }
    collector.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_summary_is_of_all_rules_whatever_is_grouped_and_limited() {
    let dir = tempfile::tempdir().unwrap();
    let collector = Collector::start(dir.path()).await;
    let counts = [("a", 40), ("b", 20), ("c", 11), ("d", 10), ("e", 10), ("f", 9)];
    let events: Vec<_> = counts
        .iter()
        .flat_map(|(field, count)| {
            (0..*count).map(move |i| failure(&format!("req_{field}_{i}"), Some("x"), "2026-11-22T11:00:00Z", field))
        })
        .collect();
    collector.ship(&events).await;
    collector.delivered().await;
    for query in ["", "group_by=route&", "limit=1&", "group_by=message,account&limit=2&"] {
        let (_, body) = collector.get(&format!("/api/v1/validation/failures?{query}compare=previous")).await;
        let summary = &body["data"]["summary"];
        assert_eq!(summary["sentence"], "Three rules cause 71 % of 100 validation failures.", "{query}: {body:#}");
        assert_eq!((&summary["failures"], &summary["top_share"]), (&json!(100), &json!(0.71)), "{query}");
        let top: Vec<_> =
            summary["top"].as_array().unwrap().iter().map(|rule| rule["field"].as_str().unwrap()).collect();
        assert_eq!(top, ["a", "b", "c"]);
        assert_eq!(body["data"]["rows"][0]["previous_count"], 0, "{body:#}");
    }
    let csv =
        Answer::to(collector.request(Method::GET, "/api/v1/validation/failures?format=csv&compare=previous")).await;
    let first = csv.text.lines().nth(1).unwrap();
    assert!(first.starts_with("a,required,40,40,1,0.400000,0,2026-11-22T11:00:00.000Z,"), "{first}");
    assert_eq!(collector.get("/api/v1/validation/failures?format=xml").await.0, 400);
    collector.stop().await.unwrap();
}
