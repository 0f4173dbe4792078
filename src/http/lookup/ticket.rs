//! `POST /api/v1/requests/lookup`: every request id in a text.

use std::time::Duration;

use axum::{
    Extension,
    body::Body,
    extract::State as AxumState,
    http::{HeaderMap, StatusCode, header},
};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{LookupState, answer::links, ask::why_unknown};
use crate::{
    clock::rfc3339,
    event::{Event, RequestId, request_id},
    http::{
        Shared,
        answer::{ApiError, Data},
        audit::{Subject, about},
        body, unavailable,
    },
    state::TokenInfo,
    store::query::Found,
};

/// Ids looked up of one text (HTTP contract).
const BULK_IDS: usize = 100;

/// Longest ticket text, bytes.
const BULK_TEXT: usize = 256 << 10;

/// The same as JSON, where a character may take six bytes (`\u0000`).
const TICKET_BODY: usize = 6 * BULK_TEXT + 1024;

/// A text with request ids in it.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Ticket {
    /// Any text: a mail, a chat, a log. At most 256 KiB; the first 100 ids are looked up.
    pub text: String,
}

/// What is known of each id in a text.
#[derive(Debug, Serialize, ToSchema)]
pub struct TicketAnswer {
    /// In the order of the text.
    pub results: Vec<TicketResult>,
    /// Whether the text held more than could be looked up.
    pub more: bool,
}

impl TicketAnswer {
    /// The ids that were looked up, for the audit log.
    pub(crate) fn ids(&self) -> String {
        self.results.iter().map(|result| result.request_id.as_str()).collect::<Vec<_>>().join(" ")
    }
}

/// A request in short.
#[derive(Debug, Serialize, ToSchema)]
pub struct TicketResult {
    pub request_id: String,
    pub state: LookupState,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub headline: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timestamp: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub service: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub method: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub route: Option<String>,
    /// Events with this id, five at most: a lookup of the id alone shows all.
    pub events: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub customer_reply: Option<String>,
    /// Why nothing is known of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    pub link: String,
}

/// Look up every request id in a text.
#[utoipa::path(
    post, path = "/api/v1/requests/lookup", tag = "look up", operation_id = "lookup_ticket",
    request_body = Ticket,
    responses(
        (status = 200, description = "each id with what is known of it", body = TicketAnswer),
        (status = 400, description = "not JSON, or no text"), (status = 408, description = "the body did not arrive in time"),
        (status = 413, description = "the text is too long"), (status = 415, description = "not application/json"),
        (status = 503, description = "ClickHouse does not answer"))
)]
pub async fn ticket(
    AxumState(shared): AxumState<Shared>,
    Extension(token): Extension<TokenInfo>,
    subject: Option<Extension<Subject>>,
    headers: HeaderMap,
    body: Body,
) -> Result<Data<TicketAnswer>, ApiError> {
    let ticket = read_ticket(&shared, &headers, body).await?;
    let answer = ask(&shared, &token, &ticket.text).await?;
    // The ids, never the text: a customer wrote it.
    about(subject, || answer.ids());
    Ok(Data::ok(answer))
}

/// Looks up every request id in a text.
///
/// # Errors
/// 503 when ClickHouse does not answer, 500 when the state cannot be read.
pub async fn ask(shared: &Shared, token: &TokenInfo, text: &str) -> Result<TicketAnswer, ApiError> {
    let mut candidates = request_id::find_all(text, BULK_IDS + 1);
    let more = candidates.len() > BULK_IDS;
    candidates.truncate(BULK_IDS);
    let ids: Vec<RequestId> = candidates.iter().map(|candidate| candidate.id.clone()).collect();
    let queued: Vec<bool> = ids.iter().map(|id| shared.spool.holds(id.lookup_key(&token.project))).collect();
    let found = if ids.is_empty() {
        vec![]
    } else {
        match shared.timed("requests", shared.store.requests(&token.project, &ids)).await {
            Ok(found) => found,
            // Without ClickHouse the spool still answers for what it holds, if that is all.
            Err(_) if queued.iter().all(|queued| *queued) => ids.iter().map(|_| Found::default()).collect(),
            Err(error) => return Err(unavailable(&error)),
        }
    };
    let mut results = Vec::with_capacity(candidates.len());
    for ((candidate, found), queued) in candidates.into_iter().zip(found).zip(queued) {
        let is_known = queued || !found.events.is_empty();
        // A word that only might be an id is not reported as an unknown one.
        if !is_known && !candidate.is_certain {
            continue;
        }
        let mut result = ticket_result(shared, &candidate.id, &found.events, queued);
        if !is_known {
            result.reason = Some(why_unknown(shared, &token.project, &candidate.id, &found).await?.to_string());
        }
        results.push(result);
    }
    Ok(TicketAnswer { results, more })
}

async fn read_ticket(shared: &Shared, headers: &HeaderMap, mut body: Body) -> Result<Ticket, ApiError> {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    if !kind.split(';').next().unwrap_or_default().trim().eq_ignore_ascii_case("application/json") {
        return Err(ApiError::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "Unsupported media type")
            .field("Content-Type", "send application/json"));
    }
    let patience = Duration::from_secs(u64::from(shared.config.ingest.body_timeout_seconds));
    let received = body::read(headers, &mut body, TICKET_BODY, patience, &shared.receiving).await?;
    let ticket: Ticket = serde_json::from_slice(&received.bytes)
        .map_err(|error| ApiError::invalid("body", format!("expected {{\"text\": \"…\"}}: {error}")))?;
    if ticket.text.len() > BULK_TEXT {
        return Err(ApiError::new(StatusCode::PAYLOAD_TOO_LARGE, "Request body too large")
            .field("text", format!("must have at most {BULK_TEXT} bytes; paste less of the ticket")));
    }
    Ok(ticket)
}

fn ticket_result(shared: &Shared, id: &RequestId, events: &[Event], queued: bool) -> TicketResult {
    let last = events.last();
    let explanation = last.map(|event| shared.catalog.explain(event));
    TicketResult {
        request_id: id.to_string(),
        state: match last {
            Some(_) => LookupState::Found,
            None if queued => LookupState::Pending,
            None => LookupState::NotFound,
        },
        customer_reply: last
            .zip(explanation.as_ref())
            .map(|(event, explanation)| shared.catalog.customer_reply(event, explanation)),
        headline: explanation.map(|explanation| explanation.headline),
        status: last.map(|event| event.status),
        timestamp: last.map(|event| rfc3339(event.timestamp_ms)),
        service: last.map(|event| event.service.clone()),
        method: last.map(|event| event.method.clone()),
        route: last.map(|event| event.route.clone()),
        events: events.len(),
        reason: None,
        link: links(shared, id, None).this,
    }
}
