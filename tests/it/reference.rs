//! Every example response of the API's error reference: stored as sent, and explained in the reference's words.

use reqwest::Method;
use serde_json::{Value, json};

use crate::collector::{Collector, answer};

fn reference() -> Value {
    serde_json::from_str(include_str!("../data/reference-examples.json")).unwrap()
}

/// The event of an example: its response, under an id of its own, as an API server would ship it.
fn event(example: &Value, id: &str) -> Value {
    let mut response = example["response"].clone();
    response["request_id"] = json!(id);
    let mut event = json!({"status": example["status"], "response": response, "timestamp": "2026-11-22T11:59:00Z"});
    for (name, field) in [("method", "method"), ("path", "path"), ("headers", "response_headers")] {
        if !example[name].is_null() {
            event[field] = example[name].clone();
        }
    }
    event
}

#[tokio::test(flavor = "multi_thread")]
async fn every_example_is_stored_as_sent_and_explained_by_its_entry() {
    let dir = tempfile::tempdir().unwrap();
    let collector = Collector::start(dir.path()).await;
    let reference = reference();
    let examples = reference["examples"].as_array().unwrap();
    assert_eq!(examples.len(), 12);
    for (number, example) in examples.iter().enumerate() {
        let id = format!("550e8400-e29b-41d4-a716-4466554400{number:02}");
        let request = collector.request(Method::POST, "/api/v1/events").json(&event(example, &id));
        let (status, body) = answer(request).await;
        assert_eq!((status.as_u16(), &body["data"]["accepted"]), (202, &json!(1)), "{example}: {body}");
        let data = collector.found(&id).await;
        is_stored_as_sent(example, &data["events"][0]);
        is_explained(&reference, example, &data["explanation"][0]);
        let reply = data["customer_reply"].as_str().unwrap();
        assert!(reply.contains(&id), "{reply}");
    }
    collector.stop().await.unwrap();
}

fn is_stored_as_sent(example: &Value, stored: &Value) {
    let name = &example["name"];
    assert_eq!(stored["status"], example["status"], "{name}");
    assert_eq!(stored["error"], example["response"]["error"], "{name}");
    assert_eq!(stored["response"]["errors"], example["response"]["errors"], "{name}");
    assert_eq!(stored["method"], example["method"], "{name}");
    assert_eq!(stored["path"], example["path"], "{name}");
    let route = example["path"].as_str().map(|path| path.replace("99999", "{id}"));
    assert_eq!(stored["route"].as_str(), route.as_deref(), "{name}");
    let errors = stored["errors"].as_array().unwrap().iter();
    let stored_fields: Vec<_> =
        errors.map(|error| json!({"field": error["field"], "message": error["message"]})).collect();
    assert_eq!(json!(stored_fields), example["fields"], "{name}");
    if let Some(headers) = example["headers"].as_object() {
        let number = |name: &str| headers[name].as_str().unwrap().parse::<u64>().unwrap();
        let quota = json!({
            "limit": number("X-Throttle-Limit"),
            "remaining": number("X-Throttle-Remaining"),
            "reset": number("X-Throttle-Reset"),
        });
        assert_eq!(stored["rate_limit"], quota, "{name}");
    }
}

fn is_explained(reference: &Value, example: &Value, explanation: &Value) {
    let name = &example["name"];
    let status = reference["statuses"].as_array().unwrap().iter().find(|status| status["code"] == example["status"]);
    let status = status.unwrap();
    for part in ["title", "meaning", "causes"] {
        assert_eq!(explanation["status"][part], status[part], "{part} of {name}");
    }
    assert_eq!(explanation["status"]["meaning"], example["meaning"], "{name}");
    if !example["solution"].is_null() {
        assert_eq!(explanation["status"]["solution"], example["solution"], "{name}");
    }
    assert!(!explanation["status"]["solution"].as_str().unwrap().is_empty(), "{name}");
    if !example["scenario"].is_null() {
        assert_eq!(explanation["scenario"]["title"], example["scenario"], "{name}");
        assert_eq!(explanation["scenario"]["solution"], example["scenario_solution"], "{name}");
    }
    assert_eq!(explanation["documented"], true, "{name}: {explanation}");
    let fields = example["fields"].as_array().unwrap();
    assert_eq!(explanation["fields"].as_array().unwrap().len(), fields.len(), "{name}");
    for (field, explained) in fields.iter().zip(explanation["fields"].as_array().unwrap()) {
        // The reference's example of 422 says `site` where its table says `site_id`.
        let names = |entry: &Value| {
            entry["field"] == field["field"] || entry["field"] == format!("{}_id", field["field"].as_str().unwrap())
        };
        let entries = reference["fields"].as_array().unwrap().iter();
        let mut descriptions = entries
            .filter(|entry| names(entry) && entry["message"] == field["message"])
            .map(|entry| &entry["description"]);
        assert!(descriptions.any(|description| *description == explained["description"]), "{name}: {explained}");
        assert_eq!(explained["documented"], true, "{name}: {explained}");
        assert!(!explained["solution"].as_str().unwrap().is_empty(), "{name}: {explained}");
    }
}
