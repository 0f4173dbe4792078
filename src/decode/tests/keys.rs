use super::*;

#[test]
fn the_form_the_time_of_receipt_and_scrubbing_leave_the_key_alone() {
    let one = ndjson(r#"{"status":500,"request_id":"r-1","error":"a@b.example","response":{"x":1,"y":2}}"#)
        .unwrap()
        .events
        .remove(0)
        .1;
    let later = Context { received_at_ms: NOW + 86_400_000, ..context() };
    let body = "[{ \"response\": {\"y\":2, \"x\":1}, \"host\":null,\n \"error\":\"a\\u0040b.example\", \"status\":500,\"request_id\":\"r-1\" }]";
    let other = events(Format::Json, body.as_bytes(), later).unwrap().events.remove(0).1;
    assert_eq!(one.key, other.key);
    assert_ne!(one.key, event(json!({"request_id": "r-1", "error": "c@b.example", "response": {"x": 1, "y": 2}})).key);
}

#[test]
fn an_event_id_alone_makes_the_key() {
    let key = |fields| event(fields).key;
    assert_eq!(key(json!({"event_id": "1", "error": "a"})), key(json!({"event_id": 1, "error": "b"})));
    assert_ne!(key(json!({"event_id": "1"})), key(json!({"event_id": "2"})));
    assert_ne!(key(json!({"event_id": "", "error": "a"})), key(json!({"event_id": "", "error": "b"})));
}

/// A gateway's page: nothing in it tells one from the next.
const PAGE: &str = r#"{"status":502,"service":"gw","path":"/x","response":"<html>502</html>"}"#;

fn keys(body: &str, received_at_ms: i64) -> Vec<crate::event::EventKey> {
    let context = Context { received_at_ms, ..context() };
    let decoded = events(Format::Ndjson, body.as_bytes(), context).unwrap();
    decoded.events.into_iter().map(|(_, event)| event.key).collect()
}

#[test]
fn equal_events_that_nothing_tells_apart_count_each_in_one_body() {
    let mut all = keys(&format!("{PAGE}\n{PAGE}\n{PAGE}"), NOW);
    all.sort_unstable_by_key(|key| key.0);
    all.dedup();
    assert_eq!(all.len(), 3);
}

#[test]
fn the_same_bytes_soon_after_are_a_retry_and_later_or_in_another_body_are_new() {
    let body = format!("{PAGE}\n{PAGE}");
    let first = keys(&body, NOW);
    assert_eq!(keys(&body, NOW + 299_999), first);
    for other in [keys(&body, NOW + 300_000), keys(&body, NOW - 1), keys(&format!("{PAGE}\n{PAGE}\n{PAGE}"), NOW)] {
        assert!(other.iter().all(|key| !first.contains(key)), "{other:?}");
    }
}

#[test]
fn a_timestamp_or_a_request_id_anywhere_makes_the_content_alone_the_key() {
    for own in [
        r#""timestamp":"2026-11-19T00:00:00Z""#,
        r#""request_id":"r-1""#,
        r#""response":{"request_id":"r-1"}"#,
        r#""response_headers":{"X-Request-ID":"r-1"}"#,
    ] {
        let line = format!(r#"{{"status":502,{own}}}"#);
        let [one, two] = keys(&format!("{line}\n{line}"), NOW)[..] else { panic!("two events") };
        assert_eq!([one, one], [two, keys(&line, NOW + 86_400_000)[0]], "{own}");
    }
}
