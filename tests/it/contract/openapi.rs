//! The API's description: complete, true, and readable without the internet.

use std::collections::BTreeSet;

use errata::http::{Access, routes};
use reqwest::Method;
use serde_json::{Value, json};

use super::{Answer, totals::total, without_clickhouse};
use crate::collector::{Collector, NOW_MS, event, ndjson};

async fn document(collector: &Collector) -> Value {
    let answer = Answer::to(collector.anonymous(Method::GET, "/api/v1/openapi.json")).await;
    assert_eq!((answer.status.as_u16(), answer.header("content-type")), (200, Some("application/json")));
    serde_json::from_str(&answer.text).unwrap()
}

/// Every `$ref` of a document.
fn references<'a>(value: &'a Value, found: &mut Vec<&'a str>) {
    match value {
        Value::Object(fields) => {
            found.extend(fields.get("$ref").and_then(Value::as_str));
            fields.values().for_each(|value| references(value, found));
        }
        Value::Array(items) => items.iter().for_each(|item| references(item, found)),
        _ => {}
    }
}

const PAGES: [&str; 3] = ["/docs", "/docs/", "/docs/{*file}"];

#[tokio::test(flavor = "multi_thread")]
async fn the_description_covers_every_route_and_says_who_may_use_it() {
    let dir = tempfile::tempdir().unwrap();
    let collector = Collector::with(without_clickhouse(dir.path())).await;
    let document = document(&collector).await;
    assert!(document["openapi"].as_str().unwrap().starts_with("3.1"), "{}", document["openapi"]);
    let mut found = Vec::new();
    references(&document, &mut found);
    assert!(found.len() > 20, "{found:?}");
    for reference in found {
        assert!(document.pointer(reference.strip_prefix('#').unwrap()).is_some(), "{reference} leads nowhere");
    }
    let mut operations = BTreeSet::new();
    let is_page = |access| matches!(access, Access::Page(_) | Access::OpenPage);
    for route in routes().into_iter().filter(|route| !PAGES.contains(&route.path) && !is_page(route.access)) {
        let about = format!("{} {}", route.method, route.path);
        let operation = &document["paths"][route.path][route.method.as_str().to_ascii_lowercase()];
        assert!(operation["summary"].is_string(), "{about} is not described");
        assert!(operations.insert(operation["operationId"].as_str().unwrap().to_owned()), "{about}");
        let parameters = operation["parameters"].as_array().cloned().unwrap_or_default();
        for name in route.path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}')) {
            assert!(parameters.iter().any(|p| p["in"] == "path" && p["name"] == name), "{about}: {name}");
        }
        let responses = operation["responses"].as_object().unwrap();
        let Access::Roles(roles) = route.access else {
            assert_eq!(operation["security"], json!([]), "{about}");
            continue;
        };
        assert_eq!(document["security"], json!([{"token": []}]));
        assert!(operation.get("security").is_none(), "{about}");
        for role in roles {
            assert!(operation["description"].as_str().unwrap().contains(&format!("`{}`", role.as_str())), "{about}");
        }
        for status in ["401", "403", "500"] {
            assert!(responses.contains_key(status), "{about}: {status}");
        }
        for (status, response) in responses {
            let schema = &response["content"]["application/json"]["schema"];
            let is_stream = response["content"].get("text/event-stream").is_some();
            if is_stream {
                assert!(response["content"]["text/event-stream"]["example"].is_string(), "{about} {status}");
            } else if status.starts_with('2') {
                assert_eq!(schema["required"], json!(["success", "data", "request_id"]), "{about} {status}");
                assert!(schema["properties"]["data"].is_object(), "{about} {status}: {response}");
            } else {
                assert_eq!(schema["$ref"], "#/components/schemas/Error", "{about} {status}");
            }
            assert!(response["description"].is_string() && response["headers"]["x-request-id"].is_object(), "{about}");
        }
    }
    let described: usize =
        document["paths"].as_object().unwrap().values().map(|path| path.as_object().unwrap().len()).sum();
    assert_eq!(described, operations.len(), "the description has operations that no route has");
    collector.stop().await.unwrap();
}

/// The object that several schemas describe together.
fn together(document: &Value, schema: &Value) -> Value {
    if let Some(reference) = schema["$ref"].as_str() {
        return together(document, document.pointer(&reference[1..]).unwrap());
    }
    let Some(parts) = schema.get("allOf").and_then(Value::as_array) else { return schema.clone() };
    let mut whole = json!({"type": "object", "properties": {}, "required": []});
    for part in parts.iter().map(|part| together(document, part)) {
        for (name, field) in part["properties"].as_object().into_iter().flatten() {
            whole["properties"][name] = field.clone();
        }
        let required = part["required"].as_array().cloned().unwrap_or_default();
        whole["required"].as_array_mut().unwrap().extend(required);
        if let Some(others) = part.get("additionalProperties") {
            whole["additionalProperties"] = others.clone();
        }
    }
    whole
}

/// Whether a value is what a schema says. Knows as much of JSON Schema as the document uses; an unknown key is an error of the test.
fn check(document: &Value, schema: &Value, value: &Value, at: &str) {
    if let Some(reference) = schema["$ref"].as_str() {
        return check(document, document.pointer(&reference[1..]).unwrap(), value, at);
    }
    if let Some(options) = schema.get("oneOf").and_then(Value::as_array) {
        let fits = |option: &Value| std::panic::catch_unwind(|| check(document, option, value, at)).is_ok();
        assert!(options.iter().any(fits), "{at}: {value} is none of {schema}");
        return;
    }
    if schema.get("allOf").is_some() {
        return check(document, &together(document, schema), value, at);
    }
    let types: Vec<&str> = match &schema["type"] {
        Value::String(name) => vec![name],
        Value::Array(names) => names.iter().map(|name| name.as_str().unwrap()).collect(),
        _ => vec![],
    };
    let is = |name: &&str| match *name {
        "null" => value.is_null(),
        "boolean" => value.is_boolean(),
        "integer" => value.is_i64() || value.is_u64(),
        "number" => value.is_number(),
        "string" => value.is_string(),
        "array" => value.is_array(),
        "object" => value.is_object(),
        other => panic!("{at}: type {other}"),
    };
    assert!(types.is_empty() || types.iter().any(is), "{at}: {value} is no {types:?}");
    if let Some(constant) = schema.get("const") {
        assert_eq!(value, constant, "{at}");
    }
    if let Some(names) = schema["enum"].as_array() {
        assert!(names.contains(value), "{at}: {value} is none of {names:?}");
    }
    for (index, item) in value.as_array().into_iter().flatten().enumerate() {
        check(document, &schema["items"], item, &format!("{at}[{index}]"));
    }
    let Some(fields) = value.as_object() else { return };
    for name in schema["required"].as_array().into_iter().flatten() {
        assert!(fields.contains_key(name.as_str().unwrap()), "{at}: {name} is missing in {value}");
    }
    let known = schema["properties"].as_object();
    for (name, field) in fields {
        let at = format!("{at}.{name}");
        match known.and_then(|known| known.get(name)) {
            Some(schema) => check(document, schema, field, &at),
            None if schema.get("additionalProperties").is_some() => {
                check(document, &schema["additionalProperties"], field, &at);
            }
            None => assert!(known.is_none(), "{at} is not described: {schema}"),
        }
    }
}

/// Of an event of the tests, as the collector makes it.
fn fingerprint_of(event: &Value) -> String {
    use errata::{
        decode::{Context, Format, Limits, events},
        event::{catalog::Catalog, scrub::Scrubber},
    };
    let (scrubber, limits) = (Scrubber::default(), Limits::default());
    let context = Context {
        project: "default",
        received_at_ms: NOW_MS,
        oldest_ms: 0,
        catalog: Catalog::builtin(),
        scrubber: &scrubber,
        limits: &limits,
    };
    let decoded = events(Format::Json, event.to_string().as_bytes(), context).unwrap();
    format!("{:016x}", decoded.events[0].1.fingerprint)
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_are_what_the_description_says() {
    let dir = tempfile::tempdir().unwrap();
    let collector = Collector::start(dir.path()).await;
    let document = document(&collector).await;
    let mut limited = event("req_2", 429);
    limited["rate_limit"] = json!({"limit": 10, "remaining": 0, "reset": 1_795_348_860});
    limited["exception"] = json!({"type": "E", "message": "m", "stacktrace": "s"});
    let events = [event("req_1", 422), limited, event("req_3", 422)];
    let get = |path: &'static str, template| (collector.request(Method::GET, path), "get", template);
    let ship = |body: &str| {
        let request = collector.request(Method::POST, "/api/v1/events").header("Content-Type", "application/x-ndjson");
        (request.body(body.to_owned()), "post", "/api/v1/events")
    };
    let report = |body: &Value| {
        (collector.request(Method::POST, "/api/v1/request-totals").json(body), "post", "/api/v1/request-totals")
    };
    let ticket = collector.request(Method::POST, "/api/v1/requests/lookup");
    let erase = collector.request(Method::POST, "/api/v1/erase");
    let issue = format!("/api/v1/issues/{}", fingerprint_of(&events[1]));
    let resolve = collector.request(Method::POST, &format!("{issue}/resolve"));
    let test = collector.request(Method::POST, "/api/v1/alerts/test");
    let silence = collector.request(Method::POST, "/api/v1/alerts/silences");
    let questions = [
        ship(&ndjson(&events)),
        ship("{\"status\": 1}\n"),
        ship("nonsense"),
        report(&json!([total(1, 200, 5), {}])),
        report(&json!({"minute": 1})),
        get("/api/v1/requests/req_2", "/api/v1/requests/{request_id}"),
        get("/api/v1/requests/req_nope", "/api/v1/requests/{request_id}"),
        (ticket.json(&json!({"text": "req_1 and req_nope1"})), "post", "/api/v1/requests/lookup"),
        get("/api/v1/events?limit=1", "/api/v1/events"),
        get("/api/v1/events/histogram?status=4xx", "/api/v1/events/histogram"),
        get("/api/v1/events/top?by=account_id", "/api/v1/events/top"),
        get("/api/v1/rates?group_by=status", "/api/v1/rates"),
        get("/api/v1/rate-limits", "/api/v1/rate-limits"),
        get("/api/v1/validation/failures?compare=previous", "/api/v1/validation/failures"),
        get("/api/v1/validation/friction", "/api/v1/validation/friction"),
        get("/api/v1/validation/friction/accounts", "/api/v1/validation/friction/accounts"),
        get("/api/v1/catalog", "/api/v1/catalog"),
        get("/api/v1/catalog/drift", "/api/v1/catalog/drift"),
        get("/api/v1/audit", "/api/v1/audit"),
        (erase.json(&json!({"request_id": "req_nope"})), "post", "/api/v1/erase"),
        get("/api/v1/erase", "/api/v1/erase"),
        get("/api/v1/erase/nope", "/api/v1/erase/{id}"),
        (test.json(&json!({"rule": "rate-limited"})), "post", "/api/v1/alerts/test"),
        (silence.json(&json!({"rule": "r", "for": "1h"})), "post", "/api/v1/alerts/silences"),
        get("/api/v1/issues?limit=1", "/api/v1/issues"),
        (collector.request(Method::GET, &issue), "get", "/api/v1/issues/{fingerprint}"),
        (resolve.json(&json!({"in_release": "9"})), "post", "/api/v1/issues/{fingerprint}/resolve"),
        (collector.request(Method::GET, &issue), "get", "/api/v1/issues/{fingerprint}"),
        (collector.request(Method::POST, &format!("{issue}/reopen")), "post", "/api/v1/issues/{fingerprint}/reopen"),
        get("/api/v1/issues/94f4ac0e7eaf1b52", "/api/v1/issues/{fingerprint}"),
        get("/api/v1/alerts", "/api/v1/alerts"),
        get("/api/v1/alerts/history", "/api/v1/alerts/history"),
        get("/api/v1/quarantine", "/api/v1/quarantine"),
        get("/api/v1/quarantine/7", "/api/v1/quarantine/{id}"),
        get("/readyz", "/readyz"),
    ];
    for (index, (request, method, template)) in questions.into_iter().enumerate() {
        let answer = Answer::to(request).await;
        if index < 4 {
            collector.delivered().await;
            collector.totals_delivered().await;
        }
        let about = format!("{method} {template} {}", answer.status);
        let response = &document["paths"][template][method]["responses"][answer.status.as_str()];
        let schema = &response["content"]["application/json"]["schema"];
        assert!(schema.is_object(), "{about} is not described: {}", answer.text);
        let body: Value = serde_json::from_str(&answer.text).unwrap();
        check(&document, schema, &body, &about);
        let example = &response["content"]["application/json"]["example"]["error"];
        assert!(example.is_null() || *example == body["error"], "{about}: {example} is not {}", body["error"]);
    }
    collector.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn every_parameter_is_explained_and_every_example_is_what_its_schema_says() {
    let dir = tempfile::tempdir().unwrap();
    let collector = Collector::with(without_clickhouse(dir.path())).await;
    let document = document(&collector).await;
    let operations = document["paths"].as_object().unwrap().iter().flat_map(|(path, operations)| {
        operations.as_object().unwrap().iter().map(move |(method, operation)| (format!("{method} {path}"), operation))
    });
    let mut examples = Vec::new();
    for (about, operation) in operations {
        for parameter in operation["parameters"].as_array().into_iter().flatten() {
            assert!(parameter["description"].as_str().is_some_and(|text| text.len() > 10), "{about}: {parameter}");
        }
        let answers = operation["responses"].as_object().unwrap().values();
        for content in answers.map(|answer| &answer["content"]["application/json"]) {
            if let Some(example) = content.get("example") {
                check(&document, &content["schema"], example, &about);
                examples.push(example["data"].is_object() || example["errors"].is_object());
            }
        }
    }
    let whole = examples.iter().filter(|is_whole| **is_whole).count();
    assert_eq!(
        whole, 13,
        "lookup, of an unknown id too, ship, histogram, top, issues, an unknown issue, and six of product and admins"
    );
    let token = document["components"]["securitySchemes"]["token"]["description"].as_str().unwrap();
    assert!(token.contains("admin.token") && token.contains("errata token create"), "{token}");
    collector.stop().await.unwrap();
}

/// The example of a field of the event: its own, or made of its parts' examples.
fn example_of(document: &Value, schema: &Value) -> Value {
    if let Some(example) = schema.get("example") {
        return example.clone();
    }
    let reference = schema["oneOf"].as_array().and_then(|options| options.iter().find_map(|one| one["$ref"].as_str()));
    let schema = reference.map_or(schema, |reference| document.pointer(&reference[1..]).unwrap());
    if let Some(example) = schema.get("example") {
        return example.clone();
    }
    let parts = schema["properties"].as_object().unwrap_or_else(|| panic!("no example: {schema}"));
    parts.iter().map(|(name, part)| (name.clone(), example_of(document, part))).collect()
}

/// What a lookup shows of a field that was sent.
fn as_stored(name: &str, sent: &Value) -> Value {
    let text = |value: &Value| value.as_str().map_or_else(|| json!(value.to_string()), |text| json!(text));
    match name {
        "account_id" | "user_id" => text(sent),
        "attributes" => sent.as_object().unwrap().iter().map(|(name, value)| (name.clone(), text(value))).collect(),
        "request_headers" | "response_headers" => {
            sent.as_object().unwrap().iter().map(|(name, value)| (name.to_lowercase(), value.clone())).collect()
        }
        _ => sent.clone(),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_described_event_is_what_the_decoder_takes() {
    let dir = tempfile::tempdir().unwrap();
    let collector = Collector::start(dir.path()).await;
    let document = document(&collector).await;
    let schemas = &document["components"]["schemas"];
    let described = schemas["IngestEvent"]["properties"].as_object().unwrap();
    let names: BTreeSet<&str> = described.keys().map(String::as_str).collect();
    let made_here = ["received_at", "code", "fingerprint", "marks"];
    let stored = schemas["StoredEvent"]["properties"].as_object().unwrap().keys().map(String::as_str);
    assert_eq!(names, stored.filter(|name| !made_here.contains(name)).collect());
    assert_eq!(schemas["IngestEvent"]["required"], json!(["status"]));

    let mut event: Value =
        described.iter().map(|(name, schema)| (name.clone(), example_of(&document, schema))).collect();
    // Both have the same example.
    event["account_id"] = json!("acct_15");
    check(&document, &schemas["IngestEvent"], &event, "the fields' examples");
    let (status, body) = collector.ship(std::slice::from_ref(&event)).await;
    assert_eq!(status, 202, "{body}");
    let found = collector.found(event["request_id"].as_str().unwrap()).await["events"][0].take();
    for (name, sent) in event.as_object().unwrap() {
        if name == "errors" {
            let errors: Vec<_> =
                found["errors"].as_array().unwrap().iter().map(|e| (&e["path"], &e["message"])).collect();
            assert_eq!(errors, [(&json!("site_id"), &sent["site_id"][0])]);
        } else {
            assert_eq!(found[name], as_stored(name, sent), "{name}");
        }
    }
    assert_eq!(found["marks"], json!([]), "nothing of it was cut, scrubbed or made");

    // As above, with a field that nobody knows.
    let unknown = json!({"status": 400, "request_id": "req_unknown", "colour": "red"});
    check(&document, &schemas["IngestEvent"]["properties"]["status"], &unknown["status"], "status");
    collector.ship(&[unknown]).await;
    assert_eq!(collector.found("req_unknown").await["events"][0]["attributes"], json!({"colour": "red"}));
    collector.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_bodies_the_description_shows_are_taken() {
    let dir = tempfile::tempdir().unwrap();
    let collector = Collector::with(without_clickhouse(dir.path())).await;
    let document = document(&collector).await;
    let content = &document["paths"]["/api/v1/events"]["post"]["requestBody"]["content"];
    let json = content["application/json"]["examples"].as_object().unwrap();
    assert_eq!(json.len(), 2);
    for (name, example) in json {
        check(&document, &content["application/json"]["schema"], &example["value"], name);
        let (status, body) = collector.ship_body("application/json", example["value"].to_string()).await;
        assert_eq!((status.as_u16(), &body["data"]["rejected"]), (202, &json!(0)), "{name}: {body}");
    }
    let ndjson = content["application/x-ndjson"]["example"].as_str().unwrap().to_owned();
    let (status, body) = collector.ship_body("application/x-ndjson", ndjson).await;
    // The first is the one above.
    assert_eq!((status.as_u16(), &body["data"]["accepted"], &body["data"]["duplicates"]), (202, &json!(1), &json!(1)));

    let content = &document["paths"]["/api/v1/request-totals"]["post"]["requestBody"]["content"];
    let examples = content["application/json"]["examples"].as_object().unwrap();
    let page = include_str!("../../../docs/request-totals.md").split("```json\n").nth(1).unwrap();
    let page = serde_json::from_str(page.split("```").next().unwrap()).unwrap();
    for (name, example) in
        examples.iter().map(|(name, example)| (name.as_str(), &example["value"])).chain([("page", &page)])
    {
        check(&document, &content["application/json"]["schema"], example, name);
        let request = collector.request(Method::POST, "/api/v1/request-totals").json(example);
        assert_eq!(Answer::to(request).await.envelope(name)["data"]["rejected"], 0, "{name}");
    }
    let ndjson: Value = serde_json::from_str(content["application/x-ndjson"]["example"].as_str().unwrap()).unwrap();
    assert_eq!(ndjson, page, "one example everywhere");
    collector.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn swagger_ui_comes_from_the_binary_alone() {
    let dir = tempfile::tempdir().unwrap();
    let collector = Collector::with(without_clickhouse(dir.path())).await;
    for path in ["/docs", "/docs/"] {
        let page = Answer::to(collector.anonymous(Method::GET, path)).await;
        assert_eq!(page.status, 200, "{path}");
        assert!(page.header("content-type").unwrap().starts_with("text/html"), "{path}");
        page.check_headers(path);
        let policy = page.header("content-security-policy").unwrap();
        assert!(policy.contains("script-src 'self';") && policy.contains("connect-src 'self';"), "{policy}");
        assert!(!page.text.contains("<script>"), "an inline script does not run under this policy: {}", page.text);
        let links: Vec<&str> =
            page.text.split(['"', '\'']).filter(|part| part.starts_with("./") || part.contains("//")).collect();
        assert!(links.len() >= 4, "{links:?}");
        for link in links {
            let file = link.strip_prefix("./").unwrap_or_else(|| panic!("{link} is not of this server"));
            let asset = Answer::to(collector.anonymous(Method::GET, &format!("/docs/{file}"))).await;
            assert_eq!(asset.status, 200, "{file}");
            asset.check_headers(file);
        }
    }
    let script = Answer::to(collector.anonymous(Method::GET, "/docs/swagger-initializer.js")).await;
    assert!(script.text.contains("/api/v1/openapi.json"), "{}", script.text);
    assert!(script.text.contains(r#""validatorUrl": "none""#), "{}", script.text);
    assert!(!script.text.contains("//") || !script.text.contains("http"), "{}", script.text);
    collector.stop().await.unwrap();
}
