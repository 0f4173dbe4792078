//! Lookup: one box that takes a request id or a whole ticket, and the page of a request.

mod impact;
mod limit;
mod request;
mod ticket;
mod timeline;
mod unknown;

use askama::Template;
use axum::{
    Extension,
    extract::{Path, State as AxumState, rejection::PathRejection},
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};

use super::{Form, Layout, Visit, render, see_other, view};
use crate::{
    event::{
        RequestId,
        request_id::{self, Candidate},
    },
    http::{
        Shared,
        answer::ApiError,
        audit::{Subject, about},
        lookup::{Depth, Known, ask, ticket as tickets},
    },
    state::TokenInfo,
};

/// Ids of a ticket in the address of its page.
const MOST_IDS: usize = 100;

/// Seconds after which the page of a pending request asks again, by itself.
const PENDING_REFRESH: &str = "2";

/// Where one has not asked for anything yet, or for nothing that is an id.
#[derive(Template)]
#[template(path = "lookup/entry.html")]
struct EntryPage {
    layout: Layout,
    /// The text had no request id in it.
    nothing_found: bool,
}

#[derive(Template)]
#[template(path = "lookup/pending.html")]
struct PendingPage {
    layout: Layout,
    id: RequestId,
    store_answers: bool,
}

/// `GET /lookup?id=…`: the box; of several ids, a short result each.
pub(super) async fn entry(
    AxumState(shared): AxumState<Shared>,
    Extension(token): Extension<TokenInfo>,
    subject: Option<Extension<Subject>>,
    visit: Visit,
) -> Result<Response, ApiError> {
    let asked: Vec<String> =
        visit.params().into_iter().filter(|(name, _)| name == "id").map(|(_, value)| value).collect();
    let text = asked.join(" ");
    if text.trim().is_empty() {
        about(subject, String::new);
        return Ok(render(&EntryPage { layout: visit.layout("Lookup"), nothing_found: false })?.into_response());
    }
    let ids = ids_in(&text);
    // The ids, never the text, nor a word of it that only might be one: a customer may have written it.
    about(subject.clone(), || joined(ids.iter().filter(|candidate| candidate.is_certain)));
    match ids.as_slice() {
        [] => {
            let layout = visit.layout("Lookup").with_asked(text);
            Ok(render(&EntryPage { layout, nothing_found: true })?.into_response())
        }
        [Candidate { id, .. }] if view::lookup_path(id.as_str()).starts_with("/requests/") => {
            Ok(see_other(&view::lookup_path(id.as_str())))
        }
        [Candidate { id, .. }] => shown(&shared, &token, &visit, id).await,
        _ => {
            let answer = tickets::ask(&shared, &token, &text).await?;
            about(subject, || answer.ids());
            Ok(render(&ticket::page(&visit, answer))?.into_response())
        }
    }
}

/// `POST /lookup`: the box. Leads to an address that has the ids and nothing else of the text, which may name people.
pub(super) async fn search(visit: Visit, form: Form) -> Response {
    let text = form.field("text").trim();
    let ids = ids_in(text);
    match ids.as_slice() {
        // One word is shown as what was asked for, if it is short enough to be an id.
        [] if !text.contains(char::is_whitespace) => {
            let word = url::form_urlencoded::byte_serialize(crate::event::start_of(text, 200).as_bytes());
            see_other(&format!("/lookup?id={}", word.collect::<String>()))
        }
        [] => visit.send_on("/lookup", "There is no request id in that text. It was not kept."),
        [Candidate { id, .. }] => see_other(&view::lookup_path(id.as_str())),
        ids => {
            let list: String = url::form_urlencoded::byte_serialize(joined(ids.iter()).as_bytes()).collect();
            see_other(&format!("/lookup?id={list}"))
        }
    }
}

/// `GET /requests/{request_id}`
pub(super) async fn request(
    AxumState(shared): AxumState<Shared>,
    Extension(token): Extension<TokenInfo>,
    visit: Visit,
    id: Result<Path<String>, PathRejection>,
) -> Result<Response, ApiError> {
    let Path(id) = id.map_err(|error| ApiError::invalid("request_id", error.body_text()))?;
    let id = RequestId::parse(&id).map_err(|error| ApiError::invalid("request_id", error.to_string()))?;
    shown(&shared, &token, &visit, &id).await
}

async fn shown(shared: &Shared, token: &TokenInfo, visit: &Visit, id: &RequestId) -> Result<Response, ApiError> {
    let layout = visit.layout(format!("Request {id}")).with_asked(id.as_str());
    match ask(shared, token, id, Depth::Days).await? {
        Known::Request(found) => {
            let latest =
                found.latest().ok_or_else(|| ApiError::internal("looking up", &"a request without an event"))?;
            Ok(render(&request::page(shared, visit, layout, &found, latest))?.into_response())
        }
        Known::Pending { store_answers } => {
            let page = PendingPage { layout, id: id.clone(), store_answers };
            let mut response = render(&page)?.into_response();
            response.headers_mut().insert(header::REFRESH, HeaderValue::from_static(PENDING_REFRESH));
            Ok(response)
        }
        Known::Nothing(why) => {
            let page = render(&unknown::page(layout, id, &why, visit.now_ms))?;
            Ok(page.with_status(StatusCode::NOT_FOUND).into_response())
        }
    }
}

/// The ids that a text asks for: the one word it is, or all in it.
fn ids_in(text: &str) -> Vec<Candidate> {
    let text = text.trim();
    if !text.contains(char::is_whitespace)
        && let Ok(id) = RequestId::parse(text)
    {
        // A link that was pasted is not an id; the id is in it.
        let is_link = text.contains("://");
        if !is_link {
            return vec![Candidate { id, is_certain: true }];
        }
    }
    request_id::find_all(text, MOST_IDS)
}

fn joined<'a>(ids: impl Iterator<Item = &'a Candidate>) -> String {
    ids.map(|candidate| candidate.id.as_str()).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids(text: &str) -> Vec<String> {
        ids_in(text).iter().map(|candidate| candidate.id.to_string()).collect()
    }

    #[test]
    fn a_word_is_an_id_and_a_text_has_some() {
        assert_eq!(ids(" fa/1 \n"), ["fa/1"]);
        let uuid = "550e8400-e29b-41d4-a716-446655440000";
        assert_eq!(ids(&format!("It failed: {uuid}, help! Then req_8f14e45f too.")), [uuid, "req_8f14e45f"]);
        assert_eq!(ids(&format!("https://errata.example/requests/{uuid}")), [uuid]);
        assert!(ids("nothing works").is_empty());
        assert!(ids("").is_empty());
    }
}
