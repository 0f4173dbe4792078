//! A whole ticket: two lines for each id.

use serde_json::{Value, json};

use super::{Node, times::Times};
use crate::{
    cli::{
        Exit,
        terminal::{self, Colour, DIM, WIDTH},
    },
    event::RequestId,
};

/// Done when something was asked and all of it is found or pending.
pub fn exit(data: Node<'_>) -> Exit {
    let mut results = data.list("results");
    let is_known = |result: Node<'_>| matches!(result.raw("state").as_str(), "found" | "pending");
    if results.len() > 0 && results.all(is_known) { Exit::Done } else { Exit::Negative }
}

/// Of an id that the collector did not answer for.
const NOT_TAKEN: &str = "among others this is taken for a word that is no request id; look it up alone to make sure";

/// The ids that the collector took for ordinary words of a text: whoever names one wants an answer.
pub fn missing(data: &Value, ids: &[String]) -> Vec<String> {
    let known: Vec<String> = Node::of(data).list("results").map(|result| result.raw("request_id")).collect();
    let canonical = ids.iter().map(|id| RequestId::parse(id).map_or_else(|_| id.clone(), |id| id.to_string()));
    canonical.filter(|id| !known.contains(id)).collect()
}

/// Adds those ids as unknown ones.
pub fn add_missing(data: &mut Value, ids: &[String]) {
    for id in missing(data, ids) {
        add(data, json!({ "request_id": id, "state": "not_found", "reason": NOT_TAKEN }));
    }
}

pub fn add(data: &mut Value, result: Value) {
    if let Some(results) = data.get_mut("results").and_then(Value::as_array_mut) {
        results.push(result);
    }
}

/// The answer about one id as a result of a list.
pub fn row(id: &str, answer: Node<'_>) -> Value {
    let mut result = json!({ "request_id": id, "state": answer.raw("state") });
    if let Some(event) = answer.list("events").next_back() {
        result["status"] = json!(event.count("status"));
        for key in ["timestamp", "service", "method", "route"] {
            result[key] = json!(event.raw(key));
        }
    }
    if let Some(explanation) = answer.list("explanation").next_back() {
        result["headline"] = json!(explanation.raw("headline"));
    }
    result
}

/// Renders the answer of a bulk lookup.
pub fn render(data: Node<'_>, colour: Colour, times: &Times) -> String {
    let results = data.list("results");
    if results.len() == 0 {
        return "no request id in this text; ids are UUIDs, ULIDs, req_… and their like\n".to_owned();
    }
    let mut text = String::new();
    for result in results {
        let status = result.count("status").unwrap_or_default();
        let (style, badge, detail) = match result.raw("state").as_str() {
            "found" => (terminal::status_style(status), status.to_string(), detail(result)),
            "pending" => (DIM, "pending".to_owned(), "received and safe, not queryable yet".to_owned()),
            _ => (DIM, "not found".to_owned(), result.text("reason")),
        };
        let when = times.short(&result.raw("timestamp"));
        let id = result.text("request_id");
        let room = WIDTH - terminal::columns(&badge) - terminal::columns(&when) - 4;
        let id = if terminal::columns(&id) <= room { terminal::pad(&id, room.min(36)) } else { id };
        let badge = colour.paint(style, &badge);
        text.push_str(format!("{id}  {badge}  {when}").trim_end());
        for line in terminal::wrap(&detail, WIDTH - 4) {
            text.push_str("\n    ");
            text.push_str(&line);
        }
        text.push('\n');
    }
    if data.flag("more") == Some(true) {
        text.push_str("… the text holds more ids; look the rest up by themselves\n");
    }
    text
}

fn detail(result: Node<'_>) -> String {
    let place = format!("{} {}", result.text("service"), result.text("route"));
    let parts = [result.text("headline"), place.trim().to_owned()];
    let parts: Vec<_> = parts.iter().map(String::as_str).filter(|part| !part.is_empty()).collect();
    parts.join(" · ")
}
