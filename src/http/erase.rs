//! `POST /api/v1/erase`: somebody's events go, and a receipt says what went.

use axum::{
    Extension,
    body::Body,
    extract::{Path, State as AxumState, rejection::PathRejection},
    http::{HeaderMap, StatusCode},
};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use super::{
    Shared,
    answer::{ApiError, Data},
    audit::{Subject, about},
    body, in_state, part_of_path,
};
use crate::{
    clock::rfc3339,
    event::erasure::Erasable,
    state::{Erasure, TokenInfo},
};

/// The longest body.
const BODY: usize = 16 << 10;

/// Longest id of an account or a user, bytes.
const VALUE: usize = 1024;

/// Events may be in another collector's queue too, which delivers them.
const REACH: &str = "this collector and its ClickHouse; where there are several collectors, ask each of them";

/// Receipts that a list shows.
const RECEIPTS: usize = 100;

/// Whose events are to go: just one of them.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct NewErasure {
    /// All events of an account; text or a whole number.
    #[schema(value_type = Option<String>, example = "17")]
    pub account_id: Option<Value>,
    /// All events of a user; text or a whole number.
    #[schema(value_type = Option<String>, example = "82")]
    pub user_id: Option<Value>,
    /// All events of one request.
    #[schema(example = "550e8400-e29b-41d4-a716-446655440000")]
    pub request_id: Option<String>,
}

/// What was erased, or is being erased.
#[derive(Debug, Serialize, ToSchema)]
pub struct Receipt {
    pub id: String,
    /// `waiting` (until nothing of it comes any more), `deleting`, `done`.
    pub state: &'static str,
    /// `account_id`, `user_id` or `request_id`. Whose it was is forgotten when it is done, and no receipt says it.
    pub kind: String,
    /// Events received up to this time are erased.
    pub requested_at: String,
    /// Name of the token.
    pub requested_by: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub done_at: Option<String>,
    /// Events that ClickHouse had; absent until they were counted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stored: Option<u64>,
    /// Events that waited in the spool and will not be delivered; known when it is done.
    pub withheld: u64,
    /// Events that were in the quarantine.
    pub quarantined: u64,
    /// Why it does not go on at the moment.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
    /// Whose rooms it reaches: this collector's, and the ClickHouse it writes to. Where there are several collectors, ask each.
    pub reach: &'static str,
    /// Where its state is shown.
    pub link: String,
}

fn receipt(shared: &Shared, erasure: Erasure) -> Receipt {
    Receipt {
        link: format!("{}/api/v1/erase/{}", shared.config.base_url(), erasure.id),
        id: erasure.id,
        state: erasure.state.as_str(),
        kind: erasure.kind,
        requested_at: rfc3339(erasure.requested_ms),
        requested_by: erasure.by,
        done_at: erasure.done_ms.map(rfc3339),
        stored: erasure.stored,
        withheld: erasure.withheld,
        quarantined: erasure.quarantined,
        problem: erasure.problem,
        reach: REACH,
    }
}

/// Erase somebody's events.
///
/// All events of an account, a user or a request of the token's project, received up to now, go for good: stored, queued or quarantined, and
/// with them their entries of the lookup index, and account and request ids in the rollups. Sums stay: they say how many, not who. A lookup
/// of an erased id says so. It takes a while; the receipt's link shows how far it is. Asking again is harmless.
#[utoipa::path(
    post, path = "/api/v1/erase", tag = "operate", operation_id = "erase",
    request_body = NewErasure,
    responses((status = 202, description = "it has begun, durably", body = Receipt), (status = 400, description = "not just one of the three ids"),
        (status = 408, description = "the body did not arrive in time"), (status = 413, description = "the body is too long"),
        (status = 415, description = "not application/json"))
)]
pub async fn begin(
    AxumState(shared): AxumState<Shared>,
    Extension(token): Extension<TokenInfo>,
    subject: Option<Extension<Subject>>,
    headers: HeaderMap,
    body: Body,
) -> Result<Data<Receipt>, ApiError> {
    let asked: NewErasure = body::json(&shared, &headers, body, BODY, "{\"account_id\": \"…\"}").await?;
    let what = asked.what()?;
    let (eraser, project, by) = (shared.eraser.clone(), token.project, token.name);
    let begun = in_state(&shared, "beginning an erasure", move |_| eraser.begin(&project, &what, &by)).await?;
    // Not whose: the log outlives them.
    about(subject, || format!("{} (erasure {})", begun.kind, begun.id));
    Ok(Data(StatusCode::ACCEPTED, receipt(&shared, begun)))
}

impl NewErasure {
    fn what(self) -> Result<Erasable, ApiError> {
        let ids = [
            ("account_id", self.account_id.map(|id| plain(&id))),
            ("user_id", self.user_id.map(|id| plain(&id))),
            ("request_id", self.request_id.map(Some)),
        ];
        let mut given = ids.into_iter().filter_map(|(kind, id)| Some((kind, id?)));
        let (Some((kind, id)), None) = (given.next(), given.next()) else {
            let message = "give just one of account_id, user_id and request_id: whose events are to go?";
            return Err(ApiError::invalid("body", message));
        };
        let what = id.filter(|id| id.len() <= VALUE).and_then(|id| Erasable::parse(kind, &id));
        what.ok_or_else(|| {
            ApiError::invalid(
                kind,
                format!("expected an id as events have it: text of 1 to {VALUE} bytes, or a whole number"),
            )
        })
    }
}

/// An id as events have it: a number as its digits.
fn plain(id: &Value) -> Option<String> {
    match id {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) if number.is_i64() || number.is_u64() => Some(number.to_string()),
        _ => None,
    }
}

/// Show an erasure.
#[utoipa::path(
    get, path = "/api/v1/erase/{id}", tag = "operate", operation_id = "show_erasure",
    params(("id" = String, Path, description = "as the receipt has it")),
    responses((status = 200, description = "how far it is", body = Receipt), (status = 404, description = "there is none of this id"))
)]
pub async fn show(
    AxumState(shared): AxumState<Shared>,
    Extension(token): Extension<TokenInfo>,
    id: Result<Path<String>, PathRejection>,
) -> Result<Data<Receipt>, ApiError> {
    let id = part_of_path("id", id)?;
    let asked = id.clone();
    let found = in_state(&shared, "reading erasures", move |state| state.erasure(&token.project, &asked)).await?;
    let found = found.ok_or_else(|| {
        ApiError::not_found().field("id", format!("there is no erasure {id:?}; GET /api/v1/erase lists the latest"))
    })?;
    Ok(Data::ok(receipt(&shared, found)))
}

/// List erasures.
#[utoipa::path(
    get, path = "/api/v1/erase", tag = "operate", operation_id = "list_erasures",
    responses((status = 200, description = "the latest 100 of the token's project, newest first", body = Vec<Receipt>))
)]
pub async fn list(
    AxumState(shared): AxumState<Shared>,
    Extension(token): Extension<TokenInfo>,
) -> Result<Data<Vec<Receipt>>, ApiError> {
    let found = in_state(&shared, "reading erasures", move |state| state.erasures(&token.project, RECEIPTS)).await?;
    Ok(Data::ok(found.into_iter().map(|erasure| receipt(&shared, erasure)).collect()))
}
