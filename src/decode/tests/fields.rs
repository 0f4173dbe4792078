use super::*;

#[test]
fn every_text_field_is_kept_and_null_is_absent() {
    type Field = fn(&Event) -> &str;
    let fields: [(&str, Field); 9] = [
        ("service", |event| &event.service),
        ("environment", |event| &event.environment),
        ("release", |event| &event.release),
        ("host", |event| &event.host),
        ("account_id", |event| &event.account_id),
        ("user_id", |event| &event.user_id),
        ("user_agent", |event| &event.user_agent),
        ("trace_id", |event| &event.trace_id),
        ("span_id", |event| &event.span_id),
    ];
    for (name, field) in fields {
        let stored = |value: Value| {
            let event = event(json!({ name: value }));
            (field(&event).to_owned(), event)
        };
        assert_eq!(stored(json!("abc")).0, "abc", "{name}");
        assert_eq!(stored(json!(12)).0, "12", "{name}");
        assert_eq!(stored(json!(null)).0, "", "{name}");
        let (text, event) = stored(json!({"a": [1]}));
        assert_eq!((text.as_str(), attribute(&event, name)), ("", r#"{"a":[1]}"#), "{name}");
        let (text, event) = stored(json!("é".repeat(300)));
        assert!(text.len() <= 512 && !text.is_empty(), "{name}");
        assert!(event.marks.contains(Marks::CUT), "{name}");
        let (text, event) = stored(json!("x a@b.example"));
        assert_eq!(text, "x [email]", "{name}");
        assert!(event.marks.contains(Marks::SCRUBBED), "{name}");
    }
}

#[test]
fn statuses_are_integers_of_errors() {
    for (status, expected) in [(json!(400), 400), (json!(599), 599), (json!(422.0), 422)] {
        assert_eq!(event(json!({ "status": status })).status, expected);
    }
    let cases = [
        (json!(null), Reason::MissingStatus, "required"),
        (json!(399), Reason::InvalidStatus, "only error responses"),
        (json!(200), Reason::InvalidStatus, "only error responses"),
        (json!(600), Reason::InvalidStatus, "got 600"),
        (json!(-1), Reason::InvalidStatus, "got -1"),
        (json!(422.5), Reason::InvalidStatus, "got 422.5"),
        (json!("422"), Reason::InvalidStatus, "an integer from 400 to 599, got a string"),
        (json!([422]), Reason::InvalidStatus, "got an array"),
    ];
    for (status, reason, text) in cases {
        let reject = reject(&json!({ "status": status, "request_id": "req_1" }));
        assert_eq!(reject.reason, reason, "{status}");
        assert!(reject.errors[0].0 == "status" && reject.errors[0].1.contains(text), "{reject:?}");
        assert_eq!(reject.request_id.unwrap().as_str(), "req_1");
    }
    assert_eq!(reject(&json!({})).reason, Reason::MissingStatus);
}

#[test]
fn the_request_id_comes_from_the_first_source_that_has_one() {
    let all = json!({
        "request_id": "a",
        "response": {"request_id": "b"},
        "response_headers": {"X-Correlation-ID": "e", "Request-Id": "d", "x-request-id": ["c"]},
        "request_headers": {"X-REQUEST-ID": "f"},
    });
    let id = |fields: &Value| event(fields.clone()).request_id.as_str().to_owned();
    let mut fields = all.clone();
    assert_eq!(id(&fields), "a");
    fields["request_id"] = json!(" ");
    assert_eq!(id(&fields), "b");
    fields["response"] = json!({"request_id": "not an id"});
    assert_eq!(id(&fields), "c");
    fields["response_headers"]["x-request-id"] = json!(null);
    assert_eq!(id(&fields), "d");
    fields["response_headers"]["Request-Id"] = json!("no id");
    assert_eq!(id(&fields), "e");
    fields["response_headers"] = json!({});
    assert_eq!(id(&fields), "f");
    fields["request_headers"] = json!(null);
    let made = event(fields);
    assert!(made.request_id.as_str().starts_with("gen_") && made.marks.contains(Marks::GENERATED_REQUEST_ID));
    assert!(!event(all).marks.contains(Marks::GENERATED_REQUEST_ID));
    assert_eq!(id(&json!({"request_id": 4_111_111_111_111_111_u64})), "4111111111111111");
    assert_eq!(id(&json!({"response": {"request_id": "4111111111111111"}})), "4111111111111111");
    for bad in [json!("a b"), json!("x".repeat(129)), json!({}), json!(true)] {
        let reject = reject(&json!({"status": 500, "request_id": bad}));
        assert_eq!((reject.reason, reject.errors[0].0.as_str()), (Reason::InvalidRequestId, "request_id"));
    }
}

#[test]
fn timestamps_default_to_now_and_are_bounded() {
    let now = event(json!({}));
    assert_eq!(now.timestamp_ms, NOW);
    assert!(now.marks.contains(Marks::NO_TIMESTAMP));
    let stated = event(json!({"timestamp": "2026-11-19T00:00:00Z"}));
    assert_eq!(stated.timestamp_ms, NOW - 86_400_000);
    assert!(!stated.marks.contains(Marks::NO_TIMESTAMP));
    let cases = [
        (json!("nonsense"), Reason::InvalidTimestamp),
        (json!("9999-12-31T23:59:59Z"), Reason::TooNew),
        (json!(1e300), Reason::InvalidTimestamp),
        (json!(0), Reason::TooOld),
        (json!(NOW + 3_600_001), Reason::TooNew),
    ];
    for (timestamp, reason) in cases {
        let reject = reject(&json!({"status": 500, "timestamp": timestamp}));
        assert_eq!((reject.reason, reject.errors[0].0.as_str()), (reason, "timestamp"), "{timestamp}");
    }
}

#[test]
fn every_problem_of_an_item_is_named_at_once() {
    let reject = reject(&json!({"status": 1, "timestamp": "x", "request_id": "a b", "request_headers": "Cookie: x"}));
    let fields: Vec<_> = reject.errors.iter().map(|(field, _)| field.as_str()).collect();
    assert_eq!(fields, ["status", "timestamp", "request_headers", "request_id"]);
    assert_eq!(reject.reason, Reason::InvalidStatus);
}

#[test]
fn event_ids_are_whole_or_refused() {
    assert_eq!(event(json!({"event_id": "evt_1"})).event_id, "evt_1");
    assert_eq!(event(json!({"event_id": 7})).event_id, "7");
    for bad in [json!("x".repeat(129)), json!([]), json!(true)] {
        let reject = reject(&json!({"status": 500, "event_id": bad}));
        assert_eq!((reject.reason, reject.errors[0].0.as_str()), (Reason::InvalidField, "event_id"));
    }
}

#[test]
fn methods_paths_and_routes_are_normalised() {
    let sent = event(json!({"method": " post", "path": "/a/1/?token=x#y", "route": "/a/<int:pk>/"}));
    assert_eq!((sent.method.as_str(), sent.path.as_str(), sent.route.as_str()), ("POST", "/a/1/", "/a/<int:pk>/"));
    assert_eq!(event(json!({"path": "https://api.example/a/b?x"})).path, "/a/b");
    assert_eq!(event(json!({"path": "https://api.example?x"})).path, "");
    let made = event(json!({"path": "/users/7/?page=2", "route": null}));
    assert!(!made.route.is_empty() && !made.route.contains('?'));
    assert_eq!(attribute(&event(json!({"path": ["a"]})), "path"), r#"["a"]"#);
}

#[test]
fn error_and_errors_come_from_the_fields_and_else_from_the_response() {
    let response = json!({"error": "Validation failed", "errors": {"email": ["This field is required"]}});
    let from_response = event(json!({ "response": response }));
    assert_eq!(from_response.error, "Validation failed");
    assert_eq!(from_response.errors[0].field, "email");
    let as_text = event(json!({"response": response.to_string()}));
    assert_eq!((&as_text.errors, &as_text.response), (&from_response.errors, &from_response.response));
    let sent = event(json!({"response": response, "error": "Other", "errors": {"name": "too long"}}));
    assert_eq!(sent.error, "Other");
    assert_eq!((sent.errors.len(), sent.errors[0].message.as_str()), (1, "too long"));
    assert_eq!(event(json!({"response": response, "errors": {}})).errors, from_response.errors);
    assert_eq!(attribute(&event(json!({"errors": 5})), "errors"), "5");
    assert_eq!(attribute(&event(json!({"error": {"x": 1}})), "error"), r#"{"x":1}"#);
}

#[test]
fn responses_are_stored_scrubbed_and_bounded() {
    let stored = |value: Value| event(json!({ "response": value }));
    let sent = json!({"z": 1, "error": "a@b.example", "token": "t"});
    assert_eq!(stored(sent).response, r#"{"z":1,"error":"[email]","token":"[redacted]"}"#);
    assert_eq!(stored(json!("<h1>Bad gateway for a@b.example</h1>")).response, "<h1>Bad gateway for [email]</h1>");
    assert_eq!(stored(json!("{broken")).response, "{broken");
    let cut = stored(json!("é".repeat(20_000)));
    assert!(cut.response.len() <= 32 << 10 && cut.marks.contains(Marks::CUT));
    assert_eq!(stored(json!(null)).response, "");
    assert_eq!(stored(json!("{\"a\":\"\\u0000\"}")).response, "{\"a\":\"\u{fffd}\"}");
}

#[test]
fn numbers_objects_and_addresses() {
    assert_eq!(event(json!({"duration_ms": 12.5})).duration_ms, Some(12.5));
    for odd in [json!(-1), json!("fast"), json!([1])] {
        let event = event(json!({ "duration_ms": odd }));
        assert_eq!((event.duration_ms, attribute(&event, "duration_ms") == "(none)"), (None, false), "{odd}");
    }
    let addresses = [
        ("203.0.113.9", "203.0.113.9"),
        ("203.0.113.9:4711", "203.0.113.9"),
        ("::ffff:203.0.113.9", "203.0.113.9"),
        ("2001:DB8::1", "2001:db8::1"),
        ("[2001:db8::1]:80", "2001:db8::1"),
    ];
    for (sent, expected) in addresses {
        assert_eq!(event(json!({ "client_ip": sent })).client_ip, expected);
    }
    let bad = event(json!({"client_ip": "999.1.1.1"}));
    assert_eq!((bad.client_ip.as_str(), attribute(&bad, "client_ip")), ("", "999.1.1.1"));
    let limit =
        event(json!({"rate_limit": {"limit": "60", "remaining": 0, "reset": 1_794_873_684_000_i64}})).rate_limit;
    assert_eq!(limit.map(|l| (l.limit, l.remaining, l.reset)), Some((Some(60), Some(0), Some(1_794_873_684))));
    assert_eq!(attribute(&event(json!({"rate_limit": "many"})), "rate_limit"), "many");
}

#[test]
fn rate_limits_nobody_can_mean_are_kept_as_sent_but_not_believed() {
    let read = |value: Value| {
        let event = event(json!({ "rate_limit": value }));
        assert!(!event.marks.contains(Marks::CUT) && !event.marks.contains(Marks::SCRUBBED));
        let limit = event.rate_limit.unwrap_or_default();
        ((limit.limit, limit.remaining, limit.reset), attribute(&event, "rate_limit").to_owned())
    };
    let none = (None, None, None);
    assert_eq!(
        read(json!({"limit": 60, "reset": 1e300})),
        ((Some(60), None, None), r#"{"limit":60,"reset":1e+300}"#.to_owned())
    );
    for absurd in [
        json!({"reset": 7_258_118_401_i64}),
        json!({"reset": 7_258_118_401_000_i64}),
        json!({"reset": -1}),
        json!({"limit": 1e40}),
        json!({"remaining": 1_000_000_000_001_i64}),
        json!({"limit": "NaN"}),
        json!({"limit": "inf"}),
    ] {
        assert_eq!(read(absurd.clone()), (none, absurd.to_string()));
    }
    let most = json!({"limit": 1_000_000_000_000_i64, "remaining": null, "reset": 7_258_118_400_000_i64});
    assert_eq!(read(most), ((Some(1_000_000_000_000), None, Some(7_258_118_400)), "(none)".to_owned()));
}

#[test]
fn headers_are_kept_by_an_allow_list() {
    let event = event(json!({
        "request_headers": {
            "Authorization": "Bearer abc", "Cookie": "a=b", "X-Api-Key": "k", "X-Forwarded-For": "203.0.113.9",
            "Accept": ["text/html", "text/csv"], "Content-Length": 69, "Referer": "https://x.example/a?token=1",
            "X-Whatever": "1", "Origin": null,
        },
        "response_headers": [["Set-Cookie", "a=b"], ["X-Throttle-Limit", "60"], ["Via", "1.1 a@b.example"]],
    }));
    let expected = [("accept", "text/html, text/csv"), ("content-length", "69"), ("referer", "https://x.example/a")];
    assert_eq!(event.request_headers, expected.map(|(name, value)| (name.to_owned(), value.to_owned())));
    let expected = [("x-throttle-limit", "60"), ("via", "1.1 [email]")];
    assert_eq!(event.response_headers, expected.map(|(name, value)| (name.to_owned(), value.to_owned())));
    for bad in [json!("Authorization: Bearer x"), json!(["a"]), json!(5)] {
        let reject = reject(&json!({"status": 500, "response_headers": bad}));
        assert_eq!((reject.reason, reject.errors[0].0.as_str()), (Reason::InvalidField, "response_headers"));
    }
}

#[test]
fn exceptions_are_bounded_and_keep_head_and_tail() {
    let trace = format!("first line\n{}last line é", "middle a@b.example\n".repeat(4000));
    let kept = event(json!({"exception": {"type": "E", "message": "m", "stacktrace": trace, "locals": {"pwd": "x"}}}));
    let exception = kept.exception.clone().unwrap();
    assert!(exception.stacktrace.starts_with("first line") && exception.stacktrace.ends_with("last line é"));
    assert!(exception.stacktrace.len() <= 32 << 10 && !exception.stacktrace.contains('@'));
    assert!(kept.marks.contains(Marks::CUT));
    assert_eq!(attribute(&kept, "exception.locals"), r#"{"pwd":"[redacted]"}"#);
    let of = |value: Value| event(json!({ "exception": value })).exception.unwrap();
    assert_eq!(of(json!("boom")).message, "boom");
    assert_eq!(of(json!("a\nb")).stacktrace, "a\nb");
    assert_eq!(of(json!({"stacktrace": ["a", "b"]})).stacktrace, "a\nb");
}

#[test]
fn unknown_fields_and_attributes_are_kept_scrubbed_and_bounded() {
    let event = event(json!({
        "attributes": {"plan": "pro", "n": 1, "ok": true, "nothing": null, "nested": {"token": "t"}},
        "site_id": 5, "plan": "other", "session": "abc", "blob": "x".repeat(5000),
    }));
    let kept = |name| attribute(&event, name);
    assert_eq!((kept("plan"), kept("n"), kept("ok"), kept("site_id")), ("pro", "1", "true", "5"));
    assert_eq!((kept("nothing"), kept("nested")), ("(none)", r#"{"token":"[redacted]"}"#));
    assert_eq!((kept("plan_"), kept("session"), kept("blob").len()), ("other", "[redacted]", 2048));
    let many: serde_json::Map<_, _> = (0..10_000).map(|n| (format!("f{n}"), json!(n))).collect();
    let event = super::event(Value::Object(many));
    assert_eq!((event.attributes.len(), event.marks.contains(Marks::CUT)), (64, true));
}

#[test]
fn characters_that_no_text_can_hold_are_replaced_and_noted() {
    let decoded = ndjson(r#"{"status":500,"error":"a\ud800b\u0000c"}"#).unwrap();
    let event = &decoded.events[0].1;
    assert_eq!(event.error, "a\u{fffd}b\u{fffd}c");
    assert!(event.marks.contains(Marks::REPLACED_CHARACTERS));
}
