//! The OpenAPI document, generated from the handlers and their types.

use axum::{Json, response::IntoResponse};
use utoipa::{
    Modify, OpenApi,
    openapi::security::{Http, HttpAuthScheme, SecurityScheme},
};

/// The description of the API.
#[derive(OpenApi)]
#[openapi(
    info(
        title = "Errata",
        description = "Observability for API errors: ship error events, look requests up, watch and analyse.\n\n\
            Every answer is an envelope: `{\"success\": true, \"data\": …, \"request_id\": …}` or \
            `{\"success\": false, \"error\": …, \"errors\": {field: [messages]}, \"request_id\": …}`. \
            The schemas below describe `data`.",
        license(name = "Apache-2.0", identifier = "Apache-2.0")
    ),
    paths(
        super::ingest::events,
        super::lookup::request,
        super::lookup::ticket,
        super::analyse::events,
        super::analyse::rates,
        super::analyse::validation_failures,
        super::quarantine::list,
        super::quarantine::show,
        super::quarantine::retry,
    ),
    modifiers(&BearerToken),
    security(("token" = []))
)]
pub struct Description;

struct BearerToken;

impl Modify for BearerToken {
    fn modify(&self, openapi: &mut utoipa::openapi::OpenApi) {
        let scheme = SecurityScheme::Http(Http::new(HttpAuthScheme::Bearer));
        openapi.components.get_or_insert_default().add_security_scheme("token", scheme);
    }
}

/// `GET /api/v1/openapi.json`: the bare document, as tools expect it.
pub async fn document() -> impl IntoResponse {
    Json(Description::openapi())
}
