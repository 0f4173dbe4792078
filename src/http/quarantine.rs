//! Events that could not be delivered: list, show, try again.

use axum::{
    Extension,
    extract::{Path, State as AxumState, rejection::PathRejection},
    http::StatusCode,
};
use serde::Serialize;
use utoipa::ToSchema;

use super::{
    Shared,
    answer::{ApiError, Data},
    part_of_path,
    stored::StoredEvent,
};
use crate::{
    clock::rfc3339,
    deliver::quarantine::{Entry, Quarantine, QuarantineError},
    event::Event,
    spool::Item,
    state::TokenInfo,
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
    responses((status = 200, description = "those of the token's project, oldest first", body = Vec<Quarantined>))
)]
pub async fn list(
    AxumState(shared): AxumState<Shared>,
    Extension(token): Extension<TokenInfo>,
) -> Result<Data<Vec<Quarantined>>, ApiError> {
    let entries = read(&shared, Quarantine::list).await?;
    let own = entries.into_iter().filter(|entry| is_of(&token, entry));
    Ok(Data::ok(own.map(Quarantined::from).collect()))
}

/// Show a quarantined event.
#[utoipa::path(
    get, path = "/api/v1/quarantine/{id}", tag = "operate", operation_id = "show_quarantined",
    params(("id" = String, Path, description = "as the list has it")),
    responses((status = 200, description = "the event and why it was set aside", body = Quarantined), (status = 404, description = "there is none of this id"))
)]
pub async fn show(
    AxumState(shared): AxumState<Shared>,
    Extension(token): Extension<TokenInfo>,
    id: Result<Path<String>, PathRejection>,
) -> Result<Data<Quarantined>, ApiError> {
    let (entry, _, event) = find(&shared, &token, id).await?;
    let sight = shared.sight(&token);
    let event = event.map(|event| sight.event(event, shared.catalog));
    Ok(Data::ok(Quarantined { event, ..entry.into() }))
}

/// Deliver a quarantined event again.
///
/// It goes back into the spool; if ClickHouse still refuses it, it returns to the quarantine under a new id. An event that a newer
/// errata wrote cannot be read by this one: only that one retries it.
#[utoipa::path(
    post, path = "/api/v1/quarantine/{id}/retry", tag = "operate", operation_id = "retry_quarantined",
    params(("id" = String, Path, description = "as the list has it")),
    responses((status = 202, description = "it is in the spool again", body = Quarantined), (status = 404, description = "there is none of this id"),
        (status = 409, description = "another retry has it, or only a newer errata can read it"),
        (status = 503, description = "the spool takes nothing"))
)]
pub async fn retry(
    AxumState(shared): AxumState<Shared>,
    Extension(token): Extension<TokenInfo>,
    id: Result<Path<String>, PathRejection>,
) -> Result<Data<Quarantined>, ApiError> {
    let (entry, item, event) = find(&shared, &token, id).await?;
    if event.is_none() {
        // Whose it is nobody can tell either.
        return Err(conflict("this errata cannot read the event; use the newer errata that wrote it".to_owned()));
    }
    let id = entry.id.clone();
    // A task of its own: it ends what it began, also when the client has gone.
    tokio::spawn(async move { append_and_remove(&shared, id, item).await })
        .await
        .map_err(|error| ApiError::internal("retrying a quarantined event", &error))??;
    Ok(Data(StatusCode::ACCEPTED, entry.into()))
}

/// Hands an event to the spool, once however many ask for it at the same time.
async fn append_and_remove(shared: &Shared, id: String, item: Item) -> Result<(), ApiError> {
    let claimed = id.clone();
    read(shared, move |quarantine| quarantine.claim(&claimed)).await?;
    if let Err(error) = shared.spool.append_again(vec![item]).await {
        // Where it is in doubt, the claim ends with the next start, as a crash's: an erasure waits for it.
        if !error.leaves_doubt() {
            read(shared, move |quarantine| quarantine.release(&id)).await?;
        }
        return Err(super::ingest::refused_append(&error));
    }
    read(shared, move |quarantine| quarantine.remove(&id)).await
}

async fn find(
    shared: &Shared,
    token: &TokenInfo,
    id: Result<Path<String>, PathRejection>,
) -> Result<(Entry, Item, Option<Event>), ApiError> {
    let id = part_of_path("id", id)?;
    let asked = id.clone();
    let found = read(shared, move |quarantine| quarantine.get(&asked)).await?;
    if is_of(token, &found.0) { Ok(found) } else { Err(failed(&QuarantineError::Unknown(id))) }
}

/// Whether a token may see an entry: of its project, or of none because its payload cannot be read. Of the latter there is nothing
/// to see but that it is there, and every admin should know that.
fn is_of(token: &TokenInfo, entry: &Entry) -> bool {
    entry.project.as_ref().is_none_or(|project| *project == token.project)
}

/// Works on the quarantine's files, off the threads that serve.
async fn read<T: Send + 'static>(
    shared: &Shared,
    work: impl FnOnce(&Quarantine) -> Result<T, QuarantineError> + Send + 'static,
) -> Result<T, ApiError> {
    let quarantine = shared.quarantine.clone();
    tokio::task::spawn_blocking(move || work(&quarantine))
        .await
        .map_err(|error| ApiError::internal("reading the quarantine", &error))?
        .map_err(|error| failed(&error))
}

fn failed(error: &QuarantineError) -> ApiError {
    match error {
        QuarantineError::Unknown(_) => ApiError::not_found().field("id", error.to_string()),
        QuarantineError::Claimed(_) => conflict(error.to_string()),
        _ => ApiError::internal("reading the quarantine", error),
    }
}

fn conflict(message: String) -> ApiError {
    ApiError::new(StatusCode::CONFLICT, "Conflict").field("id", message)
}
