//! `GET /api/v1/requests/{id}` and the bulk lookup: what support reads.

mod answer;
mod ask;
pub mod ticket;

use std::time::Duration;

use axum::{
    Extension,
    extract::{Path, State as AxumState, rejection::PathRejection},
};

pub(crate) use answer::percent;
pub use answer::{Lookup, LookupState};
use answer::{found, pending};
pub use ask::{Depth, Known, Limited, RELATED, Request, Unknown, ask};

use super::{
    Shared,
    answer::{ApiError, Data},
    part_of_path, unavailable,
};
use crate::{event::RequestId, state::TokenInfo};

/// Look a request up.
///
/// Needs no time range. 404 says why nothing is known of the id: never received, rejected on arrival, expired, erased.
#[utoipa::path(
    get, path = "/api/v1/requests/{request_id}", tag = "look up", operation_id = "lookup_request",
    params(("request_id" = String, Path, description = "any form the API uses; UUIDs in either case",
        example = "550e8400-e29b-41d4-a716-446655440000")),
    responses(
        (status = 200, description = "found, or pending", body = Lookup),
        (status = 400, description = "no request id"),
        (status = 404, description = "not known, with the reason in errors.request_id"),
        (status = 503, description = "ClickHouse does not answer"))
)]
pub async fn request(
    AxumState(shared): AxumState<Shared>,
    Extension(token): Extension<TokenInfo>,
    id: Result<Path<String>, PathRejection>,
) -> Result<Data<Lookup>, ApiError> {
    let id = part_of_path("request_id", id)?;
    let id = RequestId::parse(&id).map_err(|error| ApiError::invalid("request_id", error.to_string()))?;
    match ask(&shared, &token, &id, Depth::Answer).await? {
        Known::Request(request) => Ok(Data::ok(found(&shared, &shared.sight(&token), &id, *request))),
        Known::Pending { store_answers } => Ok(Data::ok(pending(&shared, &id, store_answers))),
        Known::Nothing(why) => Err(ApiError::not_found().field("request_id", why.to_string())),
    }
}

/// How long a client is asked to wait when ClickHouse does not answer.
pub const STORE_RETRY_AFTER: Duration = Duration::from_secs(5);
