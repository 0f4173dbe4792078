use std::{collections::BTreeMap, sync::LazyLock};

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::event::{Marks, codec};

static SCRUBBER: LazyLock<Scrubber> = LazyLock::new(Scrubber::default);
static CATALOG: LazyLock<Catalog> = LazyLock::new(Catalog::default);
static LIMITS: LazyLock<Limits> = LazyLock::new(Limits::default);

/// 2026-11-20T00:00:00Z: after the captured exchanges.
const NOW: i64 = 1_795_132_800_000;

fn context() -> Context<'static> {
    Context {
        project: "igny8",
        received_at_ms: NOW,
        oldest_ms: NOW - 90 * 86_400_000,
        catalog: &CATALOG,
        scrubber: &SCRUBBER,
        limits: &LIMITS,
    }
}

fn ndjson(body: impl AsRef<[u8]>) -> Result<Decoded, Refusal> {
    events(Format::Ndjson, body.as_ref(), context())
}

fn array(body: impl AsRef<[u8]>) -> Result<Decoded, Refusal> {
    events(Format::Json, body.as_ref(), context())
}

#[allow(clippy::needless_pass_by_value)] // tables of `json!` read better
/// The event of `{"status": 500}` with more fields.
fn event(fields: Value) -> Event {
    let mut all = json!({"status": 500});
    all.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
    let mut decoded = array(all.to_string()).unwrap();
    assert_eq!(decoded.rejects, [], "{all}");
    decoded.events.remove(0).1
}

fn reject(item: &Value) -> Reject {
    let mut decoded = array(item.to_string()).unwrap();
    assert!(decoded.events.is_empty(), "{item} was taken");
    decoded.rejects.remove(0)
}

fn attribute<'e>(event: &'e Event, name: &str) -> &'e str {
    event.attributes.iter().find(|(taken, _)| taken == name).map_or("(none)", |(_, value)| value)
}

mod bodies {
    use super::*;

    #[test]
    fn lines_are_decoded_one_by_one() {
        let body = "\u{feff}{\"status\":500}\r\n\n  \t\r\nnope\n[]\n{\"status\":404}";
        let decoded = ndjson(body).unwrap();
        let statuses: Vec<_> = decoded.events.iter().map(|(index, event)| (*index, event.status)).collect();
        assert_eq!(statuses, [(0, 500), (3, 404)]);
        let rejects: Vec<_> = decoded.rejects.iter().map(|reject| (reject.index, reject.reason)).collect();
        assert_eq!(rejects, [(1, Reason::InvalidJson), (2, Reason::NotAnObject)]);
    }

    #[test]
    fn a_body_without_any_json_line_is_refused_with_the_first_place() {
        let refusal = ndjson("\n{\"status\":50x}\nnope").unwrap_err();
        assert!(matches!(refusal, Refusal::NotJson { line: 2, column: 13, .. }), "{refusal:?}");
        let refusal = ndjson("[\n{\n\"status\":\n}\n]").unwrap_err().to_string();
        assert!(refusal.contains("application/json"), "{refusal}");
        let refusal = ndjson(b"{\"a\":\"\xff\"}").unwrap_err();
        assert!(matches!(&refusal, Refusal::NotJson { line: 1, column: 7, message } if message.contains("UTF-8")));
    }

    #[test]
    fn a_line_that_is_not_utf8_is_rejected_alone() {
        let decoded = ndjson(b"{\"status\":500}\n{\"status\":500,\"host\":\"\xff\"}\n").unwrap();
        assert_eq!(decoded.events.len(), 1);
        let reject = &decoded.rejects[0];
        assert!(reject.reason == Reason::InvalidJson && reject.errors[0].1.contains("UTF-8"), "{reject:?}");
    }

    #[test]
    fn arrays_and_single_objects_are_taken() {
        assert_eq!(array(r#"{"status":500}"#).unwrap().events.len(), 1);
        let decoded = array("\u{feff} [ {\"status\":500}, 7, {\"status\":200} , {\"status\":404} ] ").unwrap();
        assert_eq!(decoded.events.iter().map(|(index, _)| *index).collect::<Vec<_>>(), [0, 3]);
        let rejects: Vec<_> = decoded.rejects.iter().map(|reject| (reject.index, reject.reason)).collect();
        assert_eq!(rejects, [(1, Reason::NotAnObject), (2, Reason::InvalidStatus)]);
        assert_eq!(array("42").unwrap().rejects[0].reason, Reason::NotAnObject);
    }

    #[test]
    fn a_syntax_error_anywhere_in_a_document_refuses_all_of_it() {
        for body in
            ["[{\"status\":500},\n {\"status\":}]", "[{\"status\":500},\n {\"status\":500}x]", "{\n \"status\":50x}"]
        {
            assert!(matches!(array(body), Err(Refusal::NotJson { line: 2, .. })), "{body}: {:?}", array(body));
        }
        for body in ["[{\"status\":500}] x", "[{\"status\":500}", "{\"status\":500}{", "[,]"] {
            assert!(matches!(array(body), Err(Refusal::NotJson { line: 1, .. })), "{body}: {:?}", array(body));
        }
        let refusal = array(b"[\n\"\xff\"]").unwrap_err();
        assert!(matches!(refusal, Refusal::NotJson { line: 2, column: 2, .. }), "{refusal:?}");
    }

    #[test]
    fn empty_bodies_are_refused() {
        for body in ["", " \r\n\n", "\u{feff}"] {
            assert!(matches!(ndjson(body), Err(Refusal::Empty)), "{body:?}");
            assert!(matches!(array(body), Err(Refusal::Empty)), "{body:?}");
        }
        assert!(matches!(array("[ ]"), Err(Refusal::Empty)));
    }

    #[test]
    fn items_are_limited_in_number() {
        let limits = Limits { items: 3, ..Limits::default() };
        let context = Context { limits: &limits, ..context() };
        let lines = |count: usize| "{\"status\":500}\n".repeat(count);
        assert_eq!(events(Format::Ndjson, lines(3).as_bytes(), context).unwrap().events.len(), 3);
        let refusal = events(Format::Ndjson, lines(4).as_bytes(), context).unwrap_err();
        assert!(matches!(refusal, Refusal::TooMany { limit: 3 }), "{refusal:?}");
        let refusal = events(Format::Ndjson, "nope\n".repeat(100).as_bytes(), context).unwrap_err();
        assert!(matches!(refusal, Refusal::NotJson { line: 1, .. }), "{refusal:?}");
        assert!(matches!(events(Format::Json, b"[1,2,3,4,5,6]", context), Err(Refusal::TooMany { limit: 3 })));
        assert!(matches!(events(Format::Json, b"[1,2,3,4,5,x]", context), Err(Refusal::NotJson { .. })));
    }

    #[test]
    fn items_are_limited_in_size_and_depth_and_their_id_is_kept() {
        let large = json!({"status": 500, "request_id": "req_big", "response": "x".repeat(300 << 10)});
        let deep = format!("{{\"status\":500,\"response\":{}{}}}", "[".repeat(200), "]".repeat(200));
        for decoded in [ndjson(format!("{large}\n{deep}\n")).unwrap(), array(format!("[{large},{deep}]")).unwrap()] {
            assert_eq!(decoded.rejects[0].reason, Reason::TooLarge);
            assert_eq!(decoded.rejects[0].request_id.as_ref().unwrap().as_str(), "req_big");
            assert_eq!(decoded.rejects[1].reason, Reason::TooDeep);
        }
        let nested = "[".repeat(100_000);
        assert!(matches!(array(&nested), Err(Refusal::NotJson { .. })));
        assert!(ndjson(&nested).is_ok_and(|decoded| decoded.rejects[0].reason == Reason::TooDeep));
    }
}

mod fields {
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
        let reject =
            reject(&json!({"status": 1, "timestamp": "x", "request_id": "a b", "request_headers": "Cookie: x"}));
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
    fn headers_are_kept_by_an_allow_list() {
        let event = event(json!({
            "request_headers": {
                "Authorization": "Bearer abc", "Cookie": "a=b", "X-Api-Key": "k", "X-Forwarded-For": "203.0.113.9",
                "Accept": ["text/html", "text/csv"], "Content-Length": 69, "Referer": "https://x.example/a?token=1",
                "X-Whatever": "1", "Origin": null,
            },
            "response_headers": [["Set-Cookie", "a=b"], ["X-Throttle-Limit", "60"], ["Via", "1.1 a@b.example"]],
        }));
        let expected =
            [("accept", "text/html, text/csv"), ("content-length", "69"), ("referer", "https://x.example/a")];
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
        let kept =
            event(json!({"exception": {"type": "E", "message": "m", "stacktrace": trace, "locals": {"pwd": "x"}}}));
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
}

mod keys {
    use super::*;

    #[test]
    fn the_form_the_time_of_receipt_and_scrubbing_leave_the_key_alone() {
        let one =
            ndjson(r#"{"status":500,"error":"a@b.example","response":{"x":1,"y":2}}"#).unwrap().events.remove(0).1;
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
}

/// Exchanges captured from a live API; see `tests/data/README.md` for what is in them.
fn captured() -> Vec<u8> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/drf-exchanges.ndjson.gz");
    let body = std::fs::read(path).unwrap();
    decompress(Some("gzip"), &body, &LIMITS).unwrap().into_owned()
}

mod capture {
    use super::*;

    #[test]
    fn every_captured_exchange_is_decoded() {
        let decoded = ndjson(captured()).unwrap();
        assert_eq!(decoded.rejects, []);
        let mut statuses = BTreeMap::new();
        for (_, event) in &decoded.events {
            *statuses.entry(event.status).or_insert(0) += 1;
        }
        let expected = [
            (400, 4780),
            (401, 648),
            (403, 138),
            (404, 531),
            (405, 35),
            (406, 21),
            (409, 1091),
            (415, 33),
            (422, 1042),
            (429, 2110),
            (500, 831),
        ];
        assert_eq!(statuses, BTreeMap::from(expected));
        let ids: std::collections::HashSet<_> = decoded.events.iter().map(|(_, event)| &event.request_id).collect();
        assert_eq!(ids.len(), 10_867);
        let keys: std::collections::HashSet<_> = decoded.events.iter().map(|(_, event)| event.key).collect();
        assert_eq!(keys.len(), 11_260);
    }

    #[test]
    fn no_secret_of_the_capture_is_in_any_event() {
        let body = captured();
        let decoded = ndjson(&body).unwrap();
        let find = |pattern: &str| regex::Regex::new(pattern).unwrap();
        let address = find(r"[A-Za-z0-9._+-]+(?:@|%40)[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)+");
        let token = find(r"ig[kt]_[A-Za-z0-9_]+|[?&](?:token|api_key)=[^&\s]+");
        let lines = body.split(|&byte| byte == b'\n').filter(|line| !line.is_empty());
        let mut seen = [0; 4];
        for (line, (_, event)) in lines.zip(&decoded.events) {
            let sent: Value = serde_json::from_slice(line).unwrap();
            let encoded = codec::encode(event);
            let stored = String::from_utf8_lossy(&encoded);
            let headers = &sent["request_headers"];
            for (kind, name) in ["Authorization", "Cookie"].into_iter().enumerate() {
                if let Some(value) = headers[name].as_str() {
                    seen[kind] += 1;
                    let secret = value.rsplit([' ', '=']).next().unwrap();
                    assert!(!stored.contains(secret), "{name} in {event:?}");
                }
            }
            let line = std::str::from_utf8(line).unwrap();
            seen[2] += usize::from(address.is_match(line));
            seen[3] += usize::from(token.find_iter(line).any(|found| !found.as_str().starts_with("igt_")));
            let found = address.find(&stored).or_else(|| token.find(&stored));
            assert!(found.is_none(), "{found:?} in {event:?}");
        }
        assert_eq!(seen[..2], [1430, 195]);
        assert!(seen[2] >= 336 && seen[3] >= 22 + 37, "{seen:?}");
    }

    #[test]
    fn messages_of_the_capture_keep_their_words() {
        let decoded = ndjson(captured()).unwrap();
        let messages = |wanted: &str| {
            let all = decoded.events.iter().flat_map(|(_, event)| &event.errors);
            all.filter(|error| error.message == wanted).count()
        };
        assert!(messages("User with email [email] already exists") > 0);
        assert!(messages("Password must be at least 8 characters") >= 74);
        assert!(messages("Invalid API key format") >= 58);
        assert!(messages("Invalid credentials") >= 144);
    }
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        "(?s).{0,24}".prop_map(Value::from),
        "[a-z]{1,9}=[!-~]{0,30}@[a-z.]{3,9}".prop_map(Value::from),
    ];
    leaf.prop_recursive(5, 48, 6, |inner| {
        let key = prop_oneof!["errors|password|detail|loc|input|message|request_id", "(?s).{0,8}"];
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            prop::collection::vec((key, inner), 0..6).prop_map(|entries| Value::Object(entries.into_iter().collect())),
        ]
    })
}

fn any_item() -> impl Strategy<Value = Value> {
    let names = "account_id|attributes|client_ip|duration_ms|environment|error|errors|event_id|exception|host|method|path|\
                 rate_limit|release|request_headers|request_id|response|response_headers|route|service|span_id|status|\
                 timestamp|trace_id|user_agent|user_id|other|password";
    let fields = prop::collection::vec((names, any_json()), 0..12);
    (fields, any::<bool>()).prop_map(|(fields, with_status)| {
        let mut fields: serde_json::Map<_, _> = fields.into_iter().collect();
        if with_status {
            fields.insert("status".into(), json!(422));
        }
        Value::Object(fields)
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn arbitrary_bytes_never_panic(body in prop::collection::vec(any::<u8>(), 0..400)) {
        let _ = ndjson(&body);
        let _ = array(&body);
        for encoding in ["gzip", "zstd", "deflate"] {
            let _ = decompress(Some(encoding), &body, &LIMITS);
        }
    }

    #[test]
    fn arbitrary_text_is_scrubbed_without_panic_and_once_is_enough(text in "(?s)(.{0,9}(@|token=|Bearer |eyJ|%40|4111 ?|\"|: ?)){0,9}") {
        let once = SCRUBBER.text(&text).into_owned();
        let _ = SCRUBBER.text(&once);
    }

    #[test]
    fn every_item_ends_in_exactly_one_list(items in prop::collection::vec(prop_oneof![any_item(), any_json()], 1..6)) {
        let lines = items.iter().map(Value::to_string).collect::<Vec<_>>().join("\n");
        for decoded in [ndjson(lines), array(Value::from(items.clone()).to_string())] {
            let decoded = decoded.unwrap();
            let mut indexes: Vec<_> = decoded.events.iter().map(|(index, _)| *index).collect();
            indexes.extend(decoded.rejects.iter().map(|reject| reject.index));
            indexes.sort_unstable();
            prop_assert_eq!(indexes, (0..items.len()).collect::<Vec<_>>());
            for (_, event) in &decoded.events {
                let back = codec::decode(&codec::encode(event)).unwrap();
                prop_assert_eq!(back.key, event.key);
            }
            for reject in &decoded.rejects {
                prop_assert!(!reject.errors.is_empty());
            }
        }
    }
}
