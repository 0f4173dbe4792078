mod problems;
mod reference;
mod replies;
mod traffic;

use super::Catalog;
use crate::event::{Event, EventKey, FieldError, Marks, RequestId};

const REQUEST_ID: &str = "550e8400-e29b-41d4-a716-446655440000";

/// An event as decoding would make it: rules by the catalog, else `other`.
fn event(status: u16, route: &str, error: &str, errors: &[(&str, &str)]) -> Event {
    let errors = errors.iter().map(|(path, message)| FieldError {
        field: (*path).to_owned(),
        path: (*path).to_owned(),
        message: (*message).to_owned(),
        rule: Catalog::builtin().rule_for(path, message).map_or_else(|| "other".to_owned(), Into::into),
    });
    Event {
        project: "p".to_owned(),
        key: EventKey(1),
        event_id: String::new(),
        request_id: RequestId::parse(REQUEST_ID).unwrap(),
        // 14 November 2023, 22:13:20 UTC
        timestamp_ms: 1_700_000_000_000,
        received_at_ms: 1_700_000_000_100,
        status,
        service: "igny8-api".to_owned(),
        environment: "production".to_owned(),
        release: String::new(),
        host: "web-17.internal".to_owned(),
        method: "POST".to_owned(),
        path: route.to_owned(),
        route: route.to_owned(),
        error: error.to_owned(),
        error_template: error.to_owned(),
        code: String::new(),
        errors: errors.collect(),
        response: serde_json::json!({ "success": false, "error": error }).to_string(),
        account_id: "acct-4711".to_owned(),
        user_id: "user-815".to_owned(),
        duration_ms: None,
        rate_limit: None,
        client_ip: "192.0.2.1".to_owned(),
        user_agent: String::new(),
        trace_id: String::new(),
        span_id: String::new(),
        request_headers: Vec::new(),
        response_headers: Vec::new(),
        exception: None,
        attributes: Vec::new(),
        fingerprint: 0,
        marks: Marks::default(),
    }
}

fn reply(event: &Event) -> String {
    let catalog = Catalog::builtin();
    catalog.customer_reply(event, &catalog.explain(event))
}
