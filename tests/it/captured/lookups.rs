//! Lookups: what support reads of the captured requests.

use std::collections::BTreeMap;

use chrono::DateTime;
use reqwest::Method;
use serde_json::{Value, json};

use super::{Readme, capture, exchanges, ship};
use crate::collector::{Collector, answer};

#[tokio::test(flavor = "multi_thread")]
async fn captured_requests_are_found_and_explained() {
    let dir = tempfile::tempdir().unwrap();
    let collector = Collector::start(dir.path()).await;
    let (readme, capture) = (Readme::read(), capture());
    ship(&collector, &capture).await;
    collector.delivered().await;
    let exchanges = exchanges(&capture);

    every_kind_of_id_is_found(&collector, &exchanges).await;
    a_shared_id_shows_all_its_events(&collector, &readme, &exchanges).await;
    a_documented_field_error_is_explained(&collector, &exchanges).await;
    a_429_shows_its_episode(&collector, &readme, &exchanges).await;
    a_500_explains_itself_and_leaks_nothing(&collector, &readme, &exchanges).await;
    a_ticket_is_looked_up(&collector, &exchanges).await;
    collector.stop().await.unwrap();
}

fn id(exchange: &Value) -> &str {
    exchange["request_id"].as_str().unwrap()
}

/// The first exchange of some kind.
fn first(exchanges: &[Value], is: impl Fn(&Value) -> bool) -> &Value {
    exchanges.iter().find(|exchange| is(exchange)).expect("the capture has one")
}

/// One exchange for each kind of id: UUID, ULID, `req_…`.
fn of_each_kind(exchanges: &[Value]) -> [&Value; 3] {
    [
        first(exchanges, |it| id(it).len() == 36),
        first(exchanges, |it| id(it).len() == 26 && !id(it).contains(['_', '-'])),
        first(exchanges, |it| id(it).starts_with("req_")),
    ]
}

async fn every_kind_of_id_is_found(collector: &Collector, exchanges: &[Value]) {
    let kinds = of_each_kind(exchanges);
    for sent in kinds {
        let data = collector.found(id(sent)).await;
        let stored = &data["events"][0];
        assert_eq!(data["request_id"], sent["request_id"]);
        for field in ["request_id", "timestamp", "status", "service", "environment", "release", "method", "route"] {
            assert_eq!(stored[field], sent[field], "{field} of {}", id(sent));
        }
    }
    let upper = id(kinds[0]).to_uppercase();
    assert_ne!(upper, id(kinds[0]));
    assert_eq!(collector.found(&upper).await["events"][0]["request_id"], kinds[0]["request_id"]);
    // Only a UUID's case means nothing.
    let (status, body) = collector.get(&format!("/api/v1/requests/{}", id(kinds[2]).to_uppercase())).await;
    assert_eq!(status, 404, "{body}");
}

async fn a_shared_id_shows_all_its_events(collector: &Collector, readme: &Readme, exchanges: &[Value]) {
    let mut lines: BTreeMap<&str, Vec<&Value>> = BTreeMap::new();
    for exchange in exchanges {
        lines.entry(id(exchange)).or_default().push(exchange);
    }
    let [_, _, most] = readme.numbers(r"(\d+) ids are on more than one line \((\d+) lines\), at most (\d+) lines each");
    let (shared, lines) = lines.into_iter().max_by_key(|(_, lines)| lines.len()).unwrap();
    assert_eq!(lines.len() as u64, most);
    let data = collector.found(shared).await;
    let events = data["events"].as_array().unwrap();
    let at = |event: &Value| event["timestamp"].as_str().unwrap().to_owned();
    // The capture is in the order of time.
    assert_eq!(events.iter().map(at).collect::<Vec<_>>(), lines.iter().map(|line| at(line)).collect::<Vec<_>>());
    assert!(events.iter().map(at).is_sorted());
    assert_eq!(data["explanation"].as_array().unwrap().len(), events.len());
    assert_eq!(
        (&data["first_seen"], &data["last_seen"]),
        (&events[0]["timestamp"], &events[events.len() - 1]["timestamp"])
    );
}

async fn a_documented_field_error_is_explained(collector: &Collector, exchanges: &[Value]) {
    let sent =
        first(exchanges, |it| it["response"]["errors"] == json!({"site_id": ["Site must belong to your account"]}));
    let data = collector.found(id(sent)).await;
    let explanation = &data["explanation"][0];
    let field = &explanation["fields"][0];
    assert_eq!(field["description"], "Site access denied", "the reference's words");
    assert_eq!((&field["field"], &field["documented"]), (&json!("site_id"), &json!(true)));
    assert!(!field["solution"].as_str().unwrap().is_empty());
    assert!(!explanation["status"]["solution"].as_str().unwrap().is_empty());
    assert!(!explanation["headline"].as_str().unwrap().is_empty());
    let reply = data["customer_reply"].as_str().unwrap();
    assert!(reply.contains(id(sent)) && reply.contains("site"), "{reply}");
    assert!(data["impact"]["events"].as_u64().unwrap() >= 1);
}

fn millis(text: &str) -> i64 {
    DateTime::parse_from_rfc3339(text).unwrap().timestamp_millis()
}

async fn a_429_shows_its_episode(collector: &Collector, readme: &Readme, exchanges: &[Value]) {
    let [date, first_429, last_429] = readme
        .says(r"\*\*Hammering\*\*: account 17 [^,]*, [^,]*, (\d{4}-\d\d-\d\d)[\s\S]*?first 429 ([^,]+), last (\S+Z);");
    let [limit, answered] =
        readme.numbers(r"\*\*Hammering\*\*[\s\S]*?limit (\d+) a minute[\s\S]*?, (\d+) answered 429");
    let in_window = |it: &&Value| {
        it["account_id"] == 17
            && it["status"] == 429
            && it["timestamp"].as_str().unwrap().starts_with(&date)
            && (millis(&first_429)..=millis(&last_429)).contains(&millis(it["timestamp"].as_str().unwrap()))
    };
    let throttled: Vec<&Value> = exchanges.iter().filter(in_window).collect();
    assert_eq!(throttled.len() as u64, answered);
    for sent in [throttled[0], throttled[throttled.len() / 2], throttled[throttled.len() - 1]] {
        let data = collector.found(id(sent)).await;
        let quota = &data["rate_limit"];
        assert_eq!((&quota["limit"], &quota["remaining"]), (&json!(limit), &json!(0)));
        let reset: i64 = sent["response_headers"]["X-Throttle-Reset"].as_str().unwrap().parse().unwrap();
        assert_eq!(millis(quota["reset"].as_str().unwrap()), reset * 1000);
        let wait = (reset * 1000 - millis(sent["timestamp"].as_str().unwrap())).max(0);
        let wait = (wait + 999) / 1000;
        assert_eq!((&quota["wait_seconds_then"], &quota["wait_seconds_now"]), (&json!(wait), &json!(0)));
        let episode = &quota["episode"];
        assert_eq!((&episode["start"], &episode["end"]), (&json!(first_429), &json!(last_429)), "{episode}");
        assert_eq!((&episode["events"], &episode["limit"]), (&json!(answered), &json!(limit)), "{episode}");
        assert!(episode["retries_before_reset"].as_u64().unwrap() > answered * 9 / 10, "{episode}");
        assert!(!data["explanation"][0]["scenario"]["solution"].as_str().unwrap().is_empty());
    }
}

async fn a_500_explains_itself_and_leaks_nothing(collector: &Collector, readme: &Readme, exchanges: &[Value]) {
    let [errors, first_error, last_error] =
        readme.says(r"\*\*Incident\*\*[\s\S]*?(\d+) errors of \d+ requests to the route, first (\S+Z), last (\S+Z);");
    let [accounts] = readme.numbers(r"(\d+) accounts, \d+ users, \d+ request ids, release 2026\.11\.2 only");
    let [_, exception, message, route] = readme.table(["lines", "type", "message", "route"]).remove(0);
    let sent = first(exchanges, |it| it["status"] == 500 && it["route"] == *route && it["timestamp"] == *first_error);
    let data = collector.found(id(sent)).await;
    let event = &data["events"][0];
    assert_eq!(event["exception"]["type"], exception);
    assert_eq!(event["exception"]["message"], message);
    assert!(event["exception"]["stacktrace"].as_str().unwrap().starts_with("Traceback"), "{event}");
    assert_eq!(data["explanation"][0]["status"]["meaning"], "Server error");
    let impact = &data["impact"];
    assert_eq!((&impact["events"], &impact["accounts"]), (&json!(errors.parse::<u64>().unwrap()), &json!(accounts)));
    assert_eq!((&impact["first_seen"], &impact["releases"]), (&json!(first_error), &json!(["2026.11.2"])));
    let mut per_minute = impact["buckets"].as_array().unwrap().iter().filter(|bucket| bucket["events"] != 0);
    assert!(millis(per_minute.next_back().unwrap()["at"].as_str().unwrap()) <= millis(&last_error));

    let reply = data["customer_reply"].as_str().unwrap();
    assert!(reply.contains(id(sent)), "{reply}");
    let internal = ["Traceback", "OperationalError", "igny8_writer", "model_tier", "File \"", ".py", "django", &route];
    for word in internal {
        assert!(!reply.contains(word), "{word:?} in {reply}");
    }
}

async fn a_ticket_is_looked_up(collector: &Collector, exchanges: &[Value]) {
    let [uuid, ulid, req] = of_each_kind(exchanges);
    let text = format!(
        "Hi, since this morning we see errors:\n> request_id: {}\nand ({}), \"{}\".\nAlso req_000000neversent?\nRegards, Lena",
        id(uuid).to_uppercase(),
        id(ulid),
        id(req)
    );
    let request = collector.request(Method::POST, "/api/v1/requests/lookup").json(&json!({"text": text}));
    let (status, body) = answer(request).await;
    assert_eq!(status, 200, "{body}");
    let results = body["data"]["results"].as_array().unwrap();
    let short: Vec<_> =
        results.iter().map(|result| (&result["request_id"], &result["state"], &result["status"])).collect();
    let (found, missing) = (json!("found"), json!("not_found"));
    let unknown = json!("req_000000neversent");
    let expected = [
        (&uuid["request_id"], &found, &uuid["status"]),
        (&ulid["request_id"], &found, &ulid["status"]),
        (&req["request_id"], &found, &req["status"]),
        (&unknown, &missing, &Value::Null),
    ];
    assert_eq!(short, expected);
    for result in &results[..3] {
        let reply = result["customer_reply"].as_str().unwrap();
        assert!(reply.contains(result["request_id"].as_str().unwrap()), "{reply}");
    }
}
