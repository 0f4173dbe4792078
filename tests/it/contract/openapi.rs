//! The API's description: complete, true, and readable without the internet.

use std::collections::BTreeSet;

use errata::http::{Access, routes};
use reqwest::Method;
use serde_json::{Value, json};

use super::{Answer, without_clickhouse};
use crate::collector::{Collector, event, ndjson};

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

const PAGES: [&str; 4] = ["/", "/docs", "/docs/", "/docs/{*file}"];

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
    for route in routes().into_iter().filter(|route| !PAGES.contains(&route.path)) {
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
            if status.starts_with('2') {
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
    for part in schema.get("allOf").and_then(Value::as_array).into_iter().flatten() {
        check(document, part, value, at);
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
            None => assert!(known.is_none() || schema.get("allOf").is_some(), "{at} is not described: {schema}"),
        }
    }
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
    let ticket = collector.request(Method::POST, "/api/v1/requests/lookup");
    let questions = [
        ship(&ndjson(&events)),
        ship("{\"status\": 1}\n"),
        ship("nonsense"),
        get("/api/v1/requests/req_2", "/api/v1/requests/{request_id}"),
        get("/api/v1/requests/req_nope", "/api/v1/requests/{request_id}"),
        (ticket.json(&json!({"text": "req_1 and req_nope1"})), "post", "/api/v1/requests/lookup"),
        get("/api/v1/events?limit=1", "/api/v1/events"),
        get("/api/v1/rates?group_by=status", "/api/v1/rates"),
        get("/api/v1/validation/failures?compare=previous", "/api/v1/validation/failures"),
        get("/api/v1/quarantine", "/api/v1/quarantine"),
        get("/api/v1/quarantine/7", "/api/v1/quarantine/{id}"),
        get("/readyz", "/readyz"),
    ];
    for (index, (request, method, template)) in questions.into_iter().enumerate() {
        let answer = Answer::to(request).await;
        if index == 0 {
            collector.delivered().await;
        }
        let about = format!("{method} {template} {}", answer.status);
        let response = &document["paths"][template][method]["responses"][answer.status.as_str()];
        let schema = &response["content"]["application/json"]["schema"];
        assert!(schema.is_object(), "{about} is not described: {}", answer.text);
        check(&document, schema, &serde_json::from_str(&answer.text).unwrap(), &about);
    }
    collector.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn swagger_ui_comes_from_the_binary_alone() {
    let dir = tempfile::tempdir().unwrap();
    let collector = Collector::with(without_clickhouse(dir.path())).await;
    for path in ["/", "/docs", "/docs/"] {
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
