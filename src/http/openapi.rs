//! The OpenAPI document: generated from the handlers and their types, completed from the route table.

use std::sync::LazyLock;

use axum::{
    http::header,
    response::{IntoResponse, Response},
};
use serde_json::{Map, Value, json};
use utoipa::{
    Modify, OpenApi,
    openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme},
};

use super::{
    answer::{ApiError, X_REQUEST_ID},
    routes::{Access, routes},
};
use crate::state::Role;

/// What the handlers say of themselves.
#[derive(OpenApi)]
#[openapi(
    info(
        title = "Errata",
        description = "Observability for API errors: ship error events, look requests up, watch and analyse.\n\n\
            Every answer of a path that takes a token is an envelope: `{\"success\": true, \"data\": …, \"request_id\": …}` or \
            `{\"success\": false, \"error\": …, \"errors\": {field: [messages]}, \"request_id\": …}`; so are unknown paths and \
            methods. `X-Request-ID` repeats the id; send your own (1 to 128 visible ASCII characters) to have it kept.",
        license(name = "Apache-2.0", identifier = "Apache-2.0")
    ),
    paths(
        super::ingest::events,
        super::ingest::totals::request_totals,
        super::lookup::request,
        super::lookup::ticket::ticket,
        super::analyse::events,
        super::events::tail::tail,
        super::events::counts::histogram,
        super::events::counts::top,
        super::analyse::rates,
        super::rate_limits::rate_limits,
        super::validation::failures,
        super::validation::friction,
        super::validation::friction_accounts,
        super::catalog::catalog,
        super::catalog::drift,
        super::issues::list,
        super::issues::show,
        super::issues::resolve,
        super::issues::reopen,
        super::alerts::list,
        super::alerts::history,
        super::alerts::silence,
        super::alerts::end_silence,
        super::alerts::acknowledge,
        super::alerts::test,
        super::quarantine::list,
        super::quarantine::show,
        super::quarantine::retry,
        super::audit::list,
        super::erase::begin,
        super::erase::list,
        super::erase::show,
        super::operate::healthz,
        super::operate::readyz,
        super::operate::metrics,
        document,
    ),
    components(schemas(super::answer::Failure<'_>)),
    tags((name = "ship"), (name = "look up"), (name = "watch"), (name = "analyse"), (name = "operate")),
    modifiers(&BearerToken),
    security(("token" = []))
)]
struct Description;

/// What stands where a reader of the description authorizes.
const TOKEN: &str = "Paste a token alone, without `Bearer`. The first one, an admin's of the project `default`, lies in \
    `<data_dir>/admin.token` (`errata-data/admin.token` unless configured otherwise); \
    `errata token create --name NAME --project PROJECT --role ROLE` makes more. A token sees the events of its project alone.";

/// Answers as they come from a collector: operation, status, the whole body.
const EXAMPLES: [(&str, &str, &str); 13] = [
    ("ship_events", "202", include_str!("examples/taken.json")),
    ("lookup_request", "200", include_str!("examples/lookup.json")),
    ("lookup_request", "404", include_str!("examples/unknown.json")),
    ("event_histogram", "200", include_str!("examples/histogram.json")),
    ("top_events", "200", include_str!("examples/top.json")),
    ("issues", "200", include_str!("examples/issues.json")),
    ("resolve_issue", "404", include_str!("examples/unknown_issue.json")),
    ("validation_failures", "200", include_str!("examples/failures.json")),
    ("validation_friction", "200", include_str!("examples/friction.json")),
    ("friction_accounts", "200", include_str!("examples/friction_accounts.json")),
    ("catalog_drift", "200", include_str!("examples/drift.json")),
    ("erase", "202", include_str!("examples/receipt.json")),
    ("audit", "200", include_str!("examples/audit.json")),
];

/// Operations that take the filters of the event search.
const FILTERED: [&str; 8] = [
    "rates",
    "validation_failures",
    "validation_friction",
    "friction_accounts",
    "catalog",
    "catalog_drift",
    "event_histogram",
    "top_events",
];

/// Parts of answers that are no JSON: operation, media type, text.
const TEXT_EXAMPLES: [(&str, &str, &str); 3] = [
    ("search_events", "text/csv", include_str!("examples/export.csv")),
    ("search_events", "application/x-ndjson", include_str!("examples/export.ndjson")),
    ("tail_events", "text/event-stream", include_str!("examples/tail.txt")),
];

const JSON: &str = "application/json";

/// What `error` says wherever one of these statuses is answered.
const ERRORS: [(&str, &str); 10] = [
    ("400", "Validation failed"),
    ("401", "Authentication required"),
    ("403", "Permission denied"),
    ("404", "Resource not found"),
    ("408", "Request timeout"),
    ("413", "Request body too large"),
    ("415", "Unsupported media type"),
    ("422", "Validation failed"),
    ("429", "Rate limit exceeded"),
    ("500", "Internal server error"),
];

struct BearerToken;

impl Modify for BearerToken {
    fn modify(&self, openapi: &mut utoipa::openapi::OpenApi) {
        let scheme =
            SecurityScheme::Http(HttpBuilder::new().scheme(HttpAuthScheme::Bearer).description(Some(TOKEN)).build());
        openapi.components.get_or_insert_default().add_security_scheme("token", scheme);
    }
}

static DOCUMENT: LazyLock<Result<String, String>> = LazyLock::new(|| complete().map_err(|error| error.to_string()));

/// The description of the API.
///
/// The bare document, as tools expect it: no envelope.
#[utoipa::path(
    get, path = "/api/v1/openapi.json", tag = "operate", operation_id = "openapi",
    responses((status = 200, description = "this document", body = serde_json::Value))
)]
pub async fn document() -> Response {
    match &*DOCUMENT {
        Ok(text) => ([(header::CONTENT_TYPE, "application/json")], text.as_str()).into_response(),
        Err(error) => ApiError::internal("describing the API", error).into_response(),
    }
}

/// The handlers' document with what is true of all of them: the envelope, who may ask, and the errors anybody may get.
fn complete() -> serde_json::Result<String> {
    let mut document = serde_json::to_value(Description::openapi())?;
    let filters = filters(&document);
    for route in routes() {
        let method = route.method.as_str().to_ascii_lowercase();
        // Pages have no operation.
        let path = document["paths"].get_mut(route.path);
        let Some(operation) = path.and_then(|path| path.get_mut(method)).and_then(Value::as_object_mut) else {
            continue;
        };
        match operation["operationId"].as_str() {
            Some(id) if FILTERED.contains(&id) => {
                add_parameters(operation, &filters);
            }
            // It has no range: it is about what comes.
            Some("tail_events") => {
                let lasting: Vec<_> =
                    filters.iter().filter(|one| one["name"] != "from" && one["name"] != "to").collect();
                add_parameters(operation, lasting);
            }
            _ => {}
        }
        match route.access {
            Access::Open => {
                operation.insert("security".into(), json!([]));
            }
            Access::Roles(roles) => {
                state_roles(operation, roles);
                wrap(operation);
                add_examples(operation)?;
            }
            Access::Page(_) | Access::OpenPage => {}
        }
    }
    serde_json::to_string(&document)
}

/// The parameters of the event search that other questions take too.
fn filters(document: &Value) -> Vec<Value> {
    let all = document["paths"]["/api/v1/events"]["get"]["parameters"].as_array().cloned().unwrap_or_default();
    let of_pages = ["limit", "format", "cursor"];
    all.into_iter().filter(|parameter| of_pages.iter().all(|name| parameter["name"] != *name)).collect()
}

fn add_parameters<'a>(operation: &mut Map<String, Value>, more: impl IntoIterator<Item = &'a Value>) {
    let Some(own) = operation.get_mut("parameters").and_then(Value::as_array_mut) else { return };
    for parameter in more {
        if own.iter().all(|known| known["name"] != parameter["name"]) {
            own.push(parameter.clone());
        }
    }
}

fn state_roles(operation: &mut Map<String, Value>, roles: &[Role]) {
    let names: Vec<_> = roles.iter().map(|role| format!("`{}`", role.as_str())).chain(["`admin`".into()]).collect();
    let text = operation.get("description").and_then(Value::as_str).unwrap_or_default();
    let text = format!("{text}\n\nRoles: {}.", names.join(", "));
    operation.insert("description".into(), json!(text.trim_start()));
}

/// Puts the envelope around every answer of an operation, and adds the answers that its middleware gives.
fn wrap(operation: &mut Map<String, Value>) {
    let Some(responses) = operation.get_mut("responses").and_then(Value::as_object_mut) else { return };
    for (status, description) in [
        ("401", "no token, or not a good one"),
        ("403", "the token lacks the role"),
        ("500", "a defect of the collector; its log has the request id"),
    ] {
        responses.entry(status).or_insert_with(|| json!({"description": description}));
    }
    for (status, response) in responses {
        // Exports and live tails are no envelopes.
        let streams: Map<String, Value> = response["content"]
            .as_object()
            .into_iter()
            .flatten()
            .filter(|(kind, _)| *kind != JSON)
            .map(|(kind, content)| (kind.clone(), content.clone()))
            .collect();
        let is_stream_only = !streams.is_empty() && response["content"].get(JSON).is_none();
        let schema = if status.starts_with('2') {
            let data = response["content"][JSON]["schema"].take();
            json!({
                "type": "object",
                "required": ["success", "data", "request_id"],
                "properties": {
                    "success": {"type": "boolean", "const": true},
                    "data": data,
                    "request_id": {"type": "string"}
                }
            })
        } else {
            json!({"$ref": "#/components/schemas/Error"})
        };
        response["content"] = Value::Object(streams);
        if !is_stream_only {
            response["content"][JSON] = json!({"schema": schema});
        }
        if let Some((_, error)) = ERRORS.iter().find(|(known, _)| known == status) {
            let example =
                json!({"success": false, "error": error, "request_id": "2bb786a6-b436-411f-9fee-85795d7b64ae"});
            response["content"][JSON]["example"] = example;
        }
        let mut headers = json!({X_REQUEST_ID.as_str(): {"schema": {"type": "string"}}});
        if status == "429" || status == "503" {
            headers["retry-after"] = json!({"description": "seconds", "schema": {"type": "integer"}});
        }
        response["headers"] = headers;
    }
}

fn add_examples(operation: &mut Map<String, Value>) -> serde_json::Result<()> {
    for (id, status, example) in EXAMPLES {
        if operation["operationId"] == id {
            operation["responses"][status]["content"][JSON]["example"] = serde_json::from_str(example)?;
        }
    }
    for (id, kind, example) in TEXT_EXAMPLES {
        if operation["operationId"] == id {
            operation["responses"]["200"]["content"][kind]["example"] = json!(example);
        }
    }
    Ok(())
}
