//! Events that parse, and say what no event may.

use super::*;

pub(super) fn bad_status(random: &mut Random) -> Input {
    let values = [
        "null",
        "\"500\"",
        "\"\"",
        "\"five\"",
        "true",
        "[500]",
        "{\"code\":500}",
        "-500",
        "-1",
        "0",
        "0.5",
        "-0.0",
        "99",
        "200",
        "204",
        "302",
        "399",
        "600",
        "999",
        "65936",
        "70000",
        "4294967796",
        "18446744073709552116",
        "-18446744073709551616",
        "99999999999999999999999999999999",
        "1e300",
        "-1e300",
        "422.5",
        "1e-300",
    ];
    let text = event(random).to_string().replacen("422", random.of(&values), 1);
    item(random, text, 422)
}

pub(super) fn bad_timestamp(random: &mut Random) -> Input {
    let values = [
        json!("9999-12-31T23:59:59Z"),
        json!("10000-01-01T00:00:00Z"),
        json!("0000-01-01T00:00:00Z"),
        json!("0001-01-01T00:00:00Z"),
        json!("-0001-01-01T00:00:00Z"),
        json!("1969-12-31T23:59:59Z"),
        json!("2026-02-30T00:00:00Z"),
        json!("2026-13-01T00:00:00Z"),
        json!("2026-11-22T25:00:00Z"),
        json!("2026-11-22T12:00:00+99:00"),
        json!("2026-11-24T12:00:00Z"),
        json!("yesterday"),
        json!("\u{0}"),
        json!("🕛".repeat(1000)),
        json!(true),
        json!([]),
        json!({"seconds": 1}),
        json!(-1),
        json!(1e300),
        json!(-1e300),
        json!(i64::MAX),
        json!(i64::MIN),
        json!(u64::MAX),
        json!("99999999999999999999999"),
    ];
    let value = random.of(&values);
    let text = with(random, "timestamp", value);
    item(random, text, 422)
}

pub(super) fn bad_request_id(random: &mut Random) -> Input {
    let values = [
        json!("x".repeat(129)),
        json!("x".repeat(100_000)),
        json!("a b"),
        json!("a\nb"),
        json!("a\u{0}b"),
        json!("ünique"),
        json!("\u{202e}abc"),
        json!("😀"),
        json!({"id": "x"}),
        json!(["x"]),
        json!(true),
    ];
    let value = random.of(&values);
    let text = with(random, "request_id", value);
    item(random, text, 422)
}

pub(super) fn bad_event_id(random: &mut Random) -> Input {
    let values = [json!("x".repeat(129)), json!("é".repeat(65)), json!({"id": 1}), json!([1]), json!(false)];
    let value = random.of(&values);
    let text = with(random, "event_id", value);
    item(random, text, 422)
}

/// A field with a value of any type: the event means the same without it.
pub(super) fn wrong_type(random: &mut Random) -> Input {
    const FIELDS: [&str; 22] = [
        "account_id",
        "attributes",
        "client_ip",
        "duration_ms",
        "environment",
        "error",
        "errors",
        "exception",
        "host",
        "method",
        "path",
        "rate_limit",
        "release",
        "request_headers",
        "response",
        "response_headers",
        "route",
        "service",
        "span_id",
        "trace_id",
        "user_agent",
        "user_id",
    ];
    let field = random.of(&FIELDS);
    let values = [
        json!(null),
        json!(true),
        json!(0),
        json!(-1),
        json!(1e308),
        json!(u64::MAX),
        json!(""),
        json!("text"),
        json!([]),
        json!([1, "a", null]),
        json!([[[]]]),
        json!({}),
        json!({"a": {"b": [null]}}),
        json!({"": ""}),
        json!({"limit": "x", "type": 5, "message": {}, "Authorization": ["x"]}),
    ];
    let value = random.of(&values);
    // Headers of a strange form may hold credentials in any place: they are not kept as an attribute.
    let empty = value.as_array().is_some_and(Vec::is_empty);
    let strict = field.ends_with("_headers") && !(value.is_null() || value.is_object() || empty);
    let text = with(random, field, value);
    item(random, text, if strict { 422 } else { 202 })
}
