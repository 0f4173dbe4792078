use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

mod frameworks;

/// What is expected of a body: general message, code, and (path, message) pairs.
type Expected<'a> = (&'a str, &'a str, &'a [(&'a str, &'a str)]);

fn check(name: &str, status: u16, response: Response<'_>, (error, code, pairs): Expected<'_>) {
    let body = read(status, response);
    let mut found: Vec<(&str, &str)> = body.errors.iter().map(|e| (e.path.as_str(), e.message.as_str())).collect();
    let mut pairs = pairs.to_vec();
    // The order of an object's keys is the parser's affair.
    found.sort_unstable();
    pairs.sort_unstable();
    assert_eq!((body.error.as_str(), body.code.as_str(), found), (error, code, pairs), "{name}: {body:#?}");
    assert!(!body.cut, "{name}");
}

fn check_json(name: &str, status: u16, value: &Value, expected: Expected<'_>) {
    check(name, status, Response::Json(value), expected);
    // The same body as text, as a shipper sends it that does not parse.
    check(name, status, Response::Text(&value.to_string()), expected);
}

#[test]
fn the_unified_envelope_is_read() {
    check_json(
        "two fields",
        400,
        &json!({"success": false, "error": "Validation failed", "request_id": "r-1",
            "errors": {"email": ["This field is required"], "password": ["too short", "too common"]}}),
        (
            "Validation failed",
            "",
            &[("email", "This field is required"), ("password", "too short"), ("password", "too common")],
        ),
    );
    check_json(
        "rows",
        400,
        &json!({"success": false, "error": "Validation failed", "errors": [{}, {"sku": ["m"]}]}),
        ("Validation failed", "", &[("[1].sku", "m")]),
    );
    for status in [400, 401, 404, 422, 429, 500] {
        let body = json!({"success": false, "error": "x y", "request_id": "r-1"});
        check_json("no field at all", status, &body, ("x y", "", &[]));
        check_json("no errors", status, &json!({"success": false}), ("", "", &[]));
    }
}

#[test]
fn ambiguous_bodies_make_no_fields() {
    for value in [
        json!({"success": false, "error": "x y", "request_id": "r", "data": ["a"]}),
        json!({"ok": false, "reasons": ["a"]}),
        json!({"error": {"message": "m", "stack": ["a", "b"]}}),
        json!({"message": "m", "details": {"resource": "site", "id": 5}}),
        json!({"message": "m", "errors": null}),
        json!({"errors": 3, "tags": ["a"]}),
        json!({"errors": {"count": 3, "fatal": true}}),
        json!(null),
        json!(5),
        json!("plain words"),
        json!({}),
        json!([]),
    ] {
        assert_eq!(read(400, Response::Json(&value)).errors, [], "{value}");
    }
    for status in [404, 405, 429, 500] {
        assert_eq!(read(status, Response::Json(&json!({"allowed": ["GET"]}))).errors, [], "{status}");
    }
}

#[test]
fn request_ids_are_found_where_bodies_put_them() {
    for value in [
        json!({"request_id": "r-1"}),
        json!({"requestId": "r-1", "trace_id": "t"}),
        json!({"error": {"message": "m", "request_id": "r-1"}}),
        json!({"meta": {"request_id": "r-1"}}),
        json!({"errors": [{"message": "m", "extensions": {"requestId": "r-1"}}]}),
        json!([{"request_id": "r-1"}]),
        json!("{\"request_id\": \"r-1\"}"),
        json!("<Error><Code>SlowDown</Code><Message>Wait</Message><RequestId>r-1</RequestId></Error>"),
    ] {
        assert_eq!(read(400, Response::Json(&value)).request_id.as_deref(), Some("r-1"), "{value}");
    }
    assert_eq!(read(400, Response::Json(&json!({"request_id": 17}))).request_id.as_deref(), Some("17"));
    assert_eq!(read(400, Response::Json(&json!({"request_id": null}))).request_id, None);
}

#[test]
fn pages_speak_through_their_heading() {
    let nginx = "<html>\r\n<head><title>502 Bad Gateway</title></head>\r\n<body><center><h1>502 Bad Gateway</h1></center><hr>nginx</body></html>";
    let cases = [
        (nginx, "502 Bad Gateway"),
        (
            "<!DOCTYPE html><html><head><title>Error</title></head><body><pre>Cannot GET /x</pre></body></html>",
            "Cannot GET /x",
        ),
        ("<title>A &amp; B &#8211; C&#x21;</title>", "A & B – C!"),
        (
            "<html><script>var h = '<h1>no</h1>'</script><style>h1{}</style><h2>Gone  <b>away</b></h2></html>",
            "Gone away",
        ),
        ("<!-- <h1>no</h1> --><body><p>Just 3 < 4 words</p></body>", "Just 3 < 4 words"),
        ("<h1>unclosed", "unclosed"),
        ("<H1 class=\"a>b\">Up</H1>", "Up"),
        ("<h1 class=\"a>Up</h1>", "Up"),
        ("<h1></h1><h1>Second</h1>", "Second"),
        ("<p>&bogus; &amp</p>", "&bogus; &amp"),
        ("<html></html>", ""),
    ];
    for (page, heading) in cases {
        check(page, 502, Response::Text(page), (heading, "", &[]));
    }
}

#[test]
fn plain_text_is_its_first_line() {
    check(
        "text",
        503,
        Response::Text("\u{feff}\n  upstream connect error\nreset"),
        ("upstream connect error", "", &[]),
    );
    check("broken json", 500, Response::Text("{\"error\": "), ("{\"error\":", "", &[]));
    check("angle", 500, Response::Text("<3 you"), ("<3 you", "", &[]));
    check("empty", 500, Response::Text(""), ("", "", &[]));
}

#[test]
fn limits_cut_and_say_so() {
    let many: Map<String, Value> = (0..10_000).map(|n| (format!("field{n}"), json!(["m"]))).collect();
    let body = read(400, Response::Json(&json!({"errors": many})));
    assert!(body.cut && body.errors.len() == MAX_ERRORS);

    let exactly: Map<String, Value> = (0..MAX_ERRORS).map(|n| (format!("field{n}"), json!(["m"]))).collect();
    assert!(!read(400, Response::Json(&json!({"errors": exactly}))).cut);

    let rows = |row: Value| {
        let mut rows = vec![row; MAX_VISITED * 2];
        rows.push(json!({"sku": ["m"]}));
        read(400, Response::Json(&json!({"errors": rows})))
    };
    assert!(!rows(json!({})).cut && rows(json!({})).errors.len() == 1);
    assert!(rows(json!({"sku": []})).cut);

    // Tags whose quotes hide their end: quadratic, were it not for the limits.
    let page = read(500, Response::Text(&"<a \">\" ".repeat(100_000)));
    assert!(page.error.len() < 16);

    let long = json!({"errors": {"k".repeat(300): ["ü".repeat(2000)]}, "error": "é".repeat(2000)});
    let body = read(400, Response::Json(&long));
    assert!(body.cut && body.errors[0].message.len() <= MAX_MESSAGE && body.errors[0].path.len() <= path::MAX_LEN);
    assert!(body.error.len() <= MAX_MESSAGE);

    let deep = (0..100).fold(json!(["m"]), |inner, _| json!({"a": inner}));
    let body = read(400, Response::Json(&json!({"errors": deep})));
    assert!(body.cut && body.errors.is_empty());
    let deep = (0..100).fold(json!([]), |inner, _| json!([inner]));
    assert!(read(400, Response::Json(&json!({"errors": deep}))).cut);
    let deep = (0..100).fold(
        json!({"property": "a", "constraints": {"x": "m"}}),
        |inner, _| json!({"property": "a", "children": [inner]}),
    );
    assert!(read(400, Response::Json(&json!({"message": [deep]}))).cut);
}

#[test]
fn the_ingest_field_takes_lists_single_messages_and_nesting() {
    let errors = field_errors(&json!({"a": ["m", "n"], "b": "o", "c": {"d": ["p"]}, "items": [{}, {"sku": ["q"]}]}));
    let pairs: Vec<_> = errors.errors.iter().map(|e| (e.field.as_str(), e.path.as_str(), e.message.as_str())).collect();
    assert_eq!(
        pairs,
        [("a", "a", "m"), ("a", "a", "n"), ("b", "b", "o"), ("c.d", "c.d", "p"), ("items[].sku", "items[1].sku", "q"),]
    );
    assert!(field_errors(&json!({"non_field_errors": ["m"]})).errors[0].field == "non_field_errors");
    assert!(field_errors(&json!({})).errors.is_empty());
}

#[test]
fn codes_of_messages_are_kept_for_the_rule() {
    let body = read(422, Response::Json(&json!({"detail": [{"type": "missing", "loc": ["body", "a"], "msg": "m"}]})));
    assert_eq!(body.errors[0].code, "missing");
    let body = read(400, Response::Json(&json!({"email": [{"message": "m", "code": "unique"}]})));
    assert_eq!(body.errors[0].code, "unique");
}

fn any_json() -> impl Strategy<Value = Value> {
    let key = prop_oneof![
        prop::sample::select(vec![
            "errors",
            "detail",
            "message",
            "error",
            "issues",
            "details",
            "path",
            "loc",
            "field",
            "code",
            "property",
            "constraints",
            "children",
            "extensions",
            "source",
            "fieldErrors",
            "_errors",
            "0",
            "title",
            "params",
        ])
        .prop_map(str::to_owned),
        "\\PC{0,6}",
    ];
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        "\\PC{0,12}".prop_map(Value::from),
    ];
    leaf.prop_recursive(6, 64, 6, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
            prop::collection::vec((key.clone(), inner), 0..6).prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn any_body_is_read_within_its_limits(value in any_json(), status in 400u16..600) {
        let body = read(status, Response::Json(&value));
        prop_assert!(body.errors.len() <= MAX_ERRORS);
        for error in &body.errors {
            prop_assert_eq!(&path::collapse(&error.path), &error.field);
            prop_assert!(!error.message.is_empty());
        }
        let _ = field_errors(&value);
    }

    #[test]
    fn any_text_is_read(text in "(<[a-z/!?-]{0,4}>?|&#?x?[0-9a-z]{0,5};?|\\PC){0,40}") {
        let _ = read(500, Response::Text(&text));
    }
}
