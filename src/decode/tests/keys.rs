use super::*;

#[test]
fn the_form_the_time_of_receipt_and_scrubbing_leave_the_key_alone() {
    let one = ndjson(r#"{"status":500,"error":"a@b.example","response":{"x":1,"y":2}}"#).unwrap().events.remove(0).1;
    let later = Context { received_at_ms: NOW + 5000, ..context() };
    let body =
        "[{ \"response\": {\"y\":2, \"x\":1}, \"host\":null,\n \"error\":\"a\\u0040b.example\", \"status\":500 }]";
    let other = events(Format::Json, body.as_bytes(), later).unwrap().events.remove(0).1;
    assert_eq!(one.key, other.key);
    assert_ne!(one.key, event(json!({"error": "c@b.example", "response": {"x": 1, "y": 2}})).key);
}

#[test]
fn an_event_id_alone_makes_the_key() {
    let key = |fields| event(fields).key;
    assert_eq!(key(json!({"event_id": "1", "error": "a"})), key(json!({"event_id": 1, "error": "b"})));
    assert_ne!(key(json!({"event_id": "1"})), key(json!({"event_id": "2"})));
    assert_ne!(key(json!({"event_id": "", "error": "a"})), key(json!({"event_id": "", "error": "b"})));
}
