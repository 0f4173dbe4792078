//! The quick way and the full way give the same event, whatever the text: see `decode/plain`.

use proptest::{collection, sample::select};

use super::*;
use crate::decode::{event, item::Item, key::Occurrences, plain};

/// The event by the quick way, `None` where the text is not plain.
fn quick(text: &str, memo: &mut Memo) -> Option<Event> {
    let mut made = None;
    let _taken = plain::each(text, &context(), memo, |event| {
        made = Some(event.to_event());
        ControlFlow::Continue(())
    })?;
    made
}

fn full(text: &str) -> Option<Event> {
    let item = Item::parse(text).ok()?;
    event::build(item, &context(), &mut Occurrences::in_body(text.as_bytes())).ok()
}

/// Both ways, twice: with what the memo holds before, and with what it holds then. Whether the text was plain.
fn same(text: &str, memo: &mut Memo) -> bool {
    let first = quick(text, memo);
    if let Some(event) = &first {
        assert_eq!(Some(event), full(text).as_ref(), "{text}");
        assert_eq!(quick(text, memo).as_ref(), Some(event), "{text}");
    }
    first.is_some()
}

#[test]
fn captured_events_are_the_same_either_way() {
    let body = captured();
    let mut memo = Memo::default();
    let text = std::str::from_utf8(&body).unwrap();
    let plain = text.lines().filter(|line| same(line, &mut memo)).count();
    // Those with unknown fields, secrets or texts of their own go the full way.
    assert!(plain > 10_000, "{plain} of {} captured events are plain", text.lines().count());
}

/// One after another with one memo, as in a body: the second of each pair finds what the first one left.
#[test]
fn a_memo_never_answers_for_another_event() {
    let id = |n: u32| format!("0000000{n}-aaaa-4bbb-8ccc-0123456789ab");
    let event = |id: &str, more: &str| format!(r#"{{"request_id":"{id}","timestamp":1795000000,"status":400{more}}}"#);
    let mut memo = Memo::default();
    let bodies = [
        r#","response":{"error":"Validation failed","errors":{"a":["This field is required"]},"request_id":"ID"}"#,
        r#","response":{"error":"Validation failed","errors":{"a":["This field is required"]},"id":"ID"}"#,
        r#","response":{"error":"Request ID failed","request_id":"ID"}"#,
        r#","response":{"request_id":"other","error":"x"}"#,
        r#","response":{"request_id":"ID","request_id":"other"}"#,
        r#","response":{"password":"hunter22","request_id":"ID"}"#,
        r#","response":{"error":"write to a@example.org","request_id":"ID"}"#,
        r#","response":["ID"]"#,
        r#","response":{"a":[1,2}"#,
        r#","response":{"error":"\ud800","request_id":"ID"}"#,
        r#","error":"Conflict","errors":{"a":"taken"},"response":{"code":"E1"}"#,
        r#","error":"Conflict","errors":{"a":1}"#,
        r#","errors":{},"response":{}"#,
        r#","request_headers":{"X-Request-ID":"ID","Accept":"a"}"#,
        r#","request_headers":{"Accept":"ID"},"response_headers":{"X-RateLimit-Limit":"5","Retry-After":"7"}"#,
        r#","request_headers":{"Authorization":"Bearer abcdef0123456789"}"#,
        r#","request_headers":["no","pairs"]"#,
        r#","exception":{"type":"E","message":"m ID","stacktrace":"  File \"a.py\", line 5, in b\n"}"#,
        r#","exception":{"type":"E","more":"m"}"#,
        r#","path":"/a/17/b?token=s3cret99","method":"GET","duration_ms":1.50"#,
        r#","path":"/a/20261126/b","method":"get""#,
        r#","path":"/a/4111111111111111/b","account_id":4111111111111111"#,
        r#","path":"/a/bob@example.org/","account_id":"bob@example.org""#,
        r#","path":"https://h/a/1","duration_ms":1.0,"account_id":5.0"#,
        r#","service":"a=b","user_agent":"token=0123456789","event_id":"e-1""#,
        r#","client_ip":"::1","trace_id":7"#,
        r#","client_ip":"192.0.2.1","user_id":12,"host":null,"event_id":null"#,
    ];
    let mut plain = 0;
    for more in bodies {
        for n in [1, 2] {
            plain += usize::from(same(&event(&id(n), &more.replace("ID", &id(n))), &mut memo));
        }
        // An id of another kind, and one that is a word of the body.
        same(&event("req_8f14e45f", &more.replace("ID", "req_8f14e45f")), &mut memo);
        same(&event("error", &more.replace("ID", "error")), &mut memo);
    }
    assert!(plain >= 16, "only {plain} are plain: the test tests little");
}

/// In each pair, the first leaves something in the memo that the second must not be given.
#[test]
fn what_one_event_leaves_is_not_taken_for_another_that_differs_where_it_matters() {
    let pairs = [
        // Rules that look over a slash.
        [r#""path":"/reset/token:/1""#, r#""path":"/reset/token:/482913""#],
        [r#""path":"/a/pin:1/2""#, r#""path":"/a/pin:1/23456""#],
        [r#""path":"/x/bearer ab/1""#, r#""path":"/x/bearer ab/123456""#],
        // No JSON, but for what is known to stand around an id.
        [r#""response":{"request_id":"xy","k":"v\"","z":1}"#, r#""response":{"request_id":"a\","k":"v\"","z":1}"#],
        // An id that a later member of the same name replaces.
        [
            r#""request_id":"AB","response":{"x":"AB","x":"q","request_id":"\u0041B"}"#,
            r#""request_id":"CD","response":{"x":"CD","x":"q","request_id":"\u0041B"}"#,
        ],
        [
            r#""request_id":"AB","request_headers":{"Foo":"AB","Foo":"q","X-Request-Id":"\u0041B"}"#,
            r#""request_id":"CD","request_headers":{"Foo":"CD","Foo":"q","X-Request-Id":"\u0041B"}"#,
        ],
        // Characters that no text can hold.
        [r#""request_headers":{"Accept":"a\u0000b"}"#, r#""exception":{"message":"a\u0000b"}"#],
    ];
    for pair in pairs {
        let mut memo = Memo::default();
        for fields in pair {
            same(&format!(r#"{{"status":400,{fields}}}"#), &mut memo);
            same(&format!(r#"{{"status":400,"timestamp":1795000000,"request_id":"r-1",{fields}}}"#), &mut memo);
        }
    }
}

#[test]
fn patterns_of_a_deployment_hold_on_both_ways() {
    use crate::event::scrub::{Pattern, ScrubConfig};
    let pattern = |pattern: &str| Pattern { pattern: pattern.into(), label: "own".into() };
    let patterns = vec![pattern("/users/[0-9]{6}/"), pattern("[0-9a-f]{8}-aaaa-[0-9a-f-]+"), pattern("^17$")];
    let scrubber = Scrubber::new(&ScrubConfig { patterns, ..ScrubConfig::default() }).unwrap();
    let context = Context { scrubber: &scrubber, ..context() };
    let mut memo = Memo::default();
    for n in 1..3 {
        for fields in [
            r#""path":"/users/12345/""#,
            r#""path":"/users/123456/""#,
            r#""account_id":17"#,
            r#""response":{"error":"x","request_id":"0000000N-aaaa-4bbb-8ccc-0123456789ab"}"#,
        ] {
            let id = "0000000N-aaaa-4bbb-8ccc-0123456789ab";
            let text = format!(r#"{{"status":400,"request_id":"{id}",{fields}}}"#).replace('N', &n.to_string());
            let mut quick = None;
            let _taken = plain::each(&text, &context, &mut memo, |event| {
                quick = Some(event.to_event());
                ControlFlow::Continue(())
            });
            let item = Item::parse(&text).unwrap();
            let full = event::build(item, &context, &mut Occurrences::in_body(text.as_bytes())).ok();
            assert!(quick.is_none() || quick == full, "{text}");
        }
    }
}

#[test]
fn both_ways_have_the_same_depth() {
    let mut memo = Memo::default();
    for (depth, is_taken) in [(125, true), (126, true), (127, false), (128, false)] {
        let nested = format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        let text = format!(r#"{{"request_id":"r-1","status":400,"response":{nested}}}"#);
        assert_eq!(same(&text, &mut memo), is_taken, "{depth}");
        assert_eq!(full(&text).is_some(), is_taken, "{depth}");
    }
}

#[test]
fn what_nearly_all_events_are_is_plain() {
    let mut memo = Memo::default();
    for text in [
        r#"{"request_id":"1818e811-892f-402b-923f-0824128b2f33","timestamp":1795000000001,"status":400,"service":"s","environment":"production","release":"2026.11.2","host":"api-32","method":"POST","path":"/api/v1/a/7/","response":{"success":false,"error":"Validation failed","errors":{"title":["This field is required"]},"request_id":"1818e811-892f-402b-923f-0824128b2f33"},"account_id":28444,"user_id":"u-1","duration_ms":18.7,"client_ip":"10.44.142.3","user_agent":"axios/1.4.4"}"#,
        r#"{"status": 429, "timestamp": "2026-11-19T00:00:00Z", "response": {"error": "Rate limit exceeded", "request_id": "r-1"}, "response_headers": {"X-Throttle-Limit": "60", "X-Throttle-Reset": "1795000060"}}"#,
        r#"{"request_id":"r-1","status":500,"exception":{"type":"E","message":"database is locked"}}"#,
    ] {
        assert!(same(text, &mut memo), "{text}");
    }
}

/// Fields, and values of each: the first is plain, the others may be.
const FIELDS: &[(&str, &[&str])] = &[
    ("request_id", &["\"ID\"", "\"r-1\"", "\"ABCDEFAB-aaaa-4bbb-8ccc-0123456789ab\"", "7", "\"\"", "\" x\""]),
    ("timestamp", &["1795000000", "1795000000.5", "\"2026-11-19T00:00:00+01:00\"", "\"never\"", "1", "0.5"]),
    ("path", &["\"/a/1/b\"", "\"/a/123456/\"", "\"/v1/a?b=c\"", "\"\"", "\"/token=0123456789/\"", "\"a/1\"", "5"]),
    ("route", &["\"/a/{id}\"", "\"\"", "\"/x@y.example\""]),
    ("service", &["\"a\"", "\"é\"", "\"password=hunter22\"", "1"]),
    ("account_id", &["17", "\"17\"", "4111111111111111", "411111111111111", "\"4111111111111111\"", "1.5", "true"]),
    ("user_id", &["0", "\"a@b.example\"", "{}"]),
    ("method", &["\"GET\"", "\"get\"", "\" GET\""]),
    ("duration_ms", &["1", "1.0", "0.1", "123456789.987654321", "\"1\""]),
    ("error", &["\"Conflict\"", "\"\"", "\"id ID\"", "{\"message\":\"m\"}"]),
    (
        "errors",
        &["{\"a\":[\"This field is required\"]}", "{\"a\":{\"0\":\"ID\"}}", "[]", "{\"password\":[\"'x' is short\"]}"],
    ),
    (
        "response",
        &[
            "{\"request_id\":\"ID\"}",
            "{\"error\":\"Validation failed\",\"errors\":{\"a\":[\"m\"]},\"request_id\":\"ID\"}",
            "{\"request_id\":\"ID\",\"error\":\"no ID\"}",
            "{\"requestId\":\"ID\"}",
            "{\"error\":{\"code\":\"c\",\"request_id\":\"ID\"}}",
            "[{\"request_id\":\"ID\"}]",
            "\"text\"",
            "{\"email\":[\"Enter a valid email\"],\"request_id\":\"ID\"}",
            "{\"error\":\"a@b.example\",\"request_id\":\"ID\"}",
            "{\"request_id\":\"ID\"",
        ],
    ),
    ("response_headers", &["{\"X-Request-Id\":\"ID\"}", "{\"Retry-After\":\"5\"}", "{}", "[[\"Server\",\"ID\"]]", "3"]),
    ("exception", &["{\"type\":\"T\"}", "\"T\"", "{\"other\":1}", "{\"message\":\"ID\"}"]),
    ("event_id", &["\"e\"", "\"\"", "null", "\"a@b.example\""]),
    ("client_ip", &["\"192.0.2.1\"", "\"192.0.2.01\"", "\"::ffff:192.0.2.1\"", "\"\""]),
    ("host", &["null", "\"h\"", "[]"]),
];

/// The text of an event with some of the fields, each once.
fn event_text() -> impl Strategy<Value = String> {
    let field = |(name, values): &(&'static str, &'static [&'static str])| {
        let (name, values) = (*name, *values);
        let value = prop_oneof![15 => Just(values[0]), 1 => select(values)];
        proptest::option::weighted(0.4, value.prop_map(move |value| format!("\"{name}\":{value}")))
    };
    let fields: Vec<_> = FIELDS.iter().map(field).collect();
    (fields, select(vec!["400", "422", "500", "429", "200", "\"400\""]), any::<bool>(), 0..4_usize).prop_map(
        |(fields, status, spaced, id)| {
            let id =
                ["11111111-aaaa-4bbb-8ccc-0123456789ab", "22222222-aaaa-4bbb-8ccc-0123456789ab", "req_8f14", "x"][id];
            let mut parts = vec![format!("\"status\":{status}")];
            parts.extend(fields.into_iter().flatten());
            format!("{{{}}}", parts.join(if spaced { ", " } else { "," })).replace("ID", id)
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    /// Several events with one memo, so that they meet what others left.
    #[test]
    fn any_events_are_the_same_either_way(events in collection::vec(event_text(), 1..8)) {
        let mut memo = Memo::default();
        for text in events {
            same(&text, &mut memo);
        }
    }
}
