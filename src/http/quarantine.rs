//! Events that could not be delivered: list, show, try again.

use axum::{
    extract::{Path, State as AxumState},
    http::StatusCode,
};
use serde::Serialize;
use utoipa::ToSchema;

use super::{
    Shared,
    answer::{ApiError, Data},
    stored::StoredEvent,
};
use crate::{
    clock::rfc3339,
    deliver::quarantine::{Entry, QuarantineError},
};

/// One event that was set aside.
#[derive(Debug, Serialize, ToSchema)]
pub struct Quarantined {
    pub id: String,
    pub at: String,
    /// Why it could not be delivered.
    pub reason: String,
    pub request_id: Option<String>,
    pub project: Option<String>,
    /// The event, where one is asked for and its payload can be read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub event: Option<StoredEvent>,
}

impl From<Entry> for Quarantined {
    fn from(entry: Entry) -> Self {
        Self {
            id: entry.id,
            at: rfc3339(entry.at_ms),
            reason: entry.reason,
            request_id: entry.request_id,
            project: entry.project,
            event: None,
        }
    }
}

/// List quarantined events.
#[utoipa::path(
    get, path = "/api/v1/quarantine", tag = "operate", operation_id = "list_quarantine",
    responses((status = 200, body = Vec<Quarantined>))
)]
pub async fn list(AxumState(shared): AxumState<Shared>) -> Result<Data<Vec<Quarantined>>, ApiError> {
    let entries = shared.quarantine.list().map_err(|error| failed(&error))?;
    Ok(Data::ok(entries.into_iter().map(Quarantined::from).collect()))
}

/// Show a quarantined event.
#[utoipa::path(
    get, path = "/api/v1/quarantine/{id}", tag = "operate", operation_id = "show_quarantined",
    params(("id" = String, Path)),
    responses((status = 200, body = Quarantined), (status = 404, description = "there is none of this id"))
)]
pub async fn show(AxumState(shared): AxumState<Shared>, Path(id): Path<String>) -> Result<Data<Quarantined>, ApiError> {
    let (entry, _, event) = shared.quarantine.get(&id).map_err(|error| failed(&error))?;
    let event = event.map(|event| StoredEvent::new(event, &shared.catalog));
    Ok(Data::ok(Quarantined { event, ..entry.into() }))
}

/// Deliver a quarantined event again.
///
/// It goes back into the spool; if ClickHouse still refuses it, it returns to the quarantine under a new id.
#[utoipa::path(
    post, path = "/api/v1/quarantine/{id}/retry", tag = "operate", operation_id = "retry_quarantined",
    params(("id" = String, Path)),
    responses((status = 202, body = Quarantined), (status = 404, description = "there is none of this id"),
        (status = 503, description = "the spool takes nothing"))
)]
pub async fn retry(
    AxumState(shared): AxumState<Shared>,
    Path(id): Path<String>,
) -> Result<Data<Quarantined>, ApiError> {
    let (entry, item, _) = shared.quarantine.get(&id).map_err(|error| failed(&error))?;
    shared.spool.append_again(vec![item]).await.map_err(|error| super::ingest::refused_append(&error))?;
    shared.quarantine.remove(&id).map_err(|error| failed(&error))?;
    Ok(Data(StatusCode::ACCEPTED, entry.into()))
}

fn failed(error: &QuarantineError) -> ApiError {
    match error {
        QuarantineError::Unknown(_) => ApiError::not_found().field("id", error.to_string()),
        _ => ApiError::internal("reading the quarantine", error),
    }
}
