//! Signing in by token, signing out, and changing between the projects of a session.

use std::time::Duration;

use askama::Template;
use axum::{
    Extension,
    extract::State as AxumState,
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};

use super::{Form, Layout, Visit, cookies, render, see_other, visit::reads_anything};
use crate::{
    http::{Shared, answer::ApiError, audit, in_state},
    state::{AuditEntry, State, TokenInfo},
};

/// How long a session lasts: a working day, so that nobody is signed out in the middle of one.
const SESSION_S: i64 = 12 * 3600;

/// How long a browser without a session keeps what its forms are bound to, seconds.
const VISITOR_S: i64 = 3600;

/// What the log says is done.
const KEEPING: &str = "keeping a session";

/// The longest text that is looked at as a token.
const LONGEST_TOKEN: usize = 200;

#[derive(Template)]
#[template(path = "sign_in.html")]
struct SignInPage {
    layout: Layout,
    next: String,
    /// Why the last attempt failed.
    problem: Option<String>,
    /// The projects this browser has already signed in to.
    projects: Vec<String>,
}

/// `GET /sign-in`
pub(super) async fn page(visit: Visit) -> Result<Response, ApiError> {
    let next = visit.param("next");
    shown(visit, local(&next), None, StatusCode::OK)
}

/// `POST /sign-in`
pub(super) async fn sign_in(
    AxumState(shared): AxumState<Shared>,
    visit: Visit,
    form: Form,
) -> Result<Response, ApiError> {
    let next = local(form.field("next")).to_owned();
    let token = form.field("token").trim();
    let now_ms = visit.now_ms;
    let known = if token.len() <= LONGEST_TOKEN { shared.state.find_token(token, now_ms) } else { Ok(None) };
    let Some(token) = known.map_err(|error| ApiError::internal("reading tokens", &error))? else {
        return failed(&shared, visit, &next);
    };
    shared.sign_ins.succeeded(visit.peer);
    if !reads_anything(&token) {
        let problem = format!(
            "The token “{}” may only ship events. The console needs one with the role support, sre, product or admin.",
            token.name
        );
        return shown(visit, &next, Some(problem), StatusCode::FORBIDDEN);
    }
    shared.audit.record(AuditEntry {
        outcome: "ok".to_owned(),
        peer: visit.peer.to_string(),
        request_id: visit.request_id.clone(),
        ..audit::entry_of(&token, "sign in", now_ms)
    });
    let old = visit.cookie.clone().filter(|_| visit.session.is_some());
    let begin = move |state: &State| {
        state.begin_session(&token.id, old.as_deref(), now_ms, now_ms.saturating_add(SESSION_S * 1000))
    };
    let cookie = in_state(&shared, KEEPING, begin).await?;
    let mut response = see_other(&next);
    let name = cookies::name(cookies::SESSION, visit.is_https);
    cookies::set(&mut response, &name, &cookie, SESSION_S, visit.is_https);
    Ok(response)
}

/// Says that a token is unknown; past a few of them, that one has to wait.
fn failed(shared: &Shared, visit: Visit, next: &str) -> Result<Response, ApiError> {
    if let Err(wait) = shared.sign_ins.failed(visit.peer, visit.now_ms) {
        let minutes = wait.as_secs().div_ceil(60);
        let problem = format!("Too many unknown tokens from your address. Try again in {minutes} min.");
        return Ok(with_retry_after(shown(visit, next, Some(problem), StatusCode::TOO_MANY_REQUESTS)?, wait));
    }
    tracing::info!(peer = %visit.peer, request_id = visit.request_id, "somebody failed to sign in to the console");
    let problem = "This token is not known, or it has expired. Check that you copied all of it; whoever runs Errata \
        makes another by errata token create.";
    shown(visit, next, Some(problem.to_owned()), StatusCode::UNPROCESSABLE_ENTITY)
}

/// `POST /sign-out`
pub(super) async fn sign_out(
    AxumState(shared): AxumState<Shared>,
    visit: Visit,
    _: Form,
) -> Result<Response, ApiError> {
    if let Some(cookie) = visit.cookie.clone() {
        in_state(&shared, KEEPING, move |state| state.end_session(&cookie)).await?;
    }
    let mut response = visit.send_on("/sign-in", "You have signed out.");
    cookies::clear(&mut response, &cookies::name(cookies::SESSION, visit.is_https), visit.is_https);
    Ok(response)
}

/// `POST /project`: shows the pages of another token of the session.
pub(super) async fn switch_project(
    AxumState(shared): AxumState<Shared>,
    Extension(current): Extension<TokenInfo>,
    visit: Visit,
    form: Form,
) -> Result<Response, ApiError> {
    let id = form.field("token").to_owned();
    let cookie = visit.cookie.clone().unwrap_or_default();
    let chosen = visit.session.iter().flat_map(|session| &session.tokens).find(|token| token.id == id);
    let project = chosen.unwrap_or(&current).project.clone();
    let switched = in_state(&shared, KEEPING, move |state| state.switch_session(&cookie, &id)).await?;
    let message =
        if switched { format!("You now see the project {project}.") } else { "That token has ended.".to_owned() };
    Ok(visit.send_on("/", &message))
}

/// The sign-in page; a browser without a session gets what its form is bound to.
fn shown(mut visit: Visit, next: &str, problem: Option<String>, status: StatusCode) -> Result<Response, ApiError> {
    let new = visit.session.is_none() && visit.visitor.is_none();
    if new {
        visit.visitor = Some(uuid::Uuid::new_v4().simple().to_string());
    }
    let page = SignInPage {
        layout: visit.layout("Sign in"),
        next: next.to_owned(),
        problem,
        projects: visit
            .session
            .iter()
            .flat_map(|session| &session.tokens)
            .map(|token| format!("{} ({})", token.project, token.name))
            .collect(),
    };
    let mut response = render(&page)?.with_status(status).into_response();
    if let Some(visitor) = visit.visitor.as_ref().filter(|_| new) {
        cookies::set(&mut response, cookies::VISITOR, visitor, VISITOR_S, visit.is_https);
    }
    Ok(response)
}

fn with_retry_after(mut response: Response, wait: Duration) -> Response {
    response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(wait.as_secs().max(1)));
    response
}

/// A path of this site to go on to; home for anything else, such as `//other.example` and what browsers read like it.
pub(super) fn local(next: &str) -> &str {
    let is_visible = next.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'\\');
    let is_path = next.starts_with('/') && !next.starts_with("//");
    let leads_on = !next.starts_with("/sign-in") && !next.starts_with("/sign-out");
    if is_visible && is_path && leads_on { next } else { "/" }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_returns_to_pages_of_this_site_alone() {
        for next in ["/", "/requests/a%2Fb?x=//y", "/explore?from=-24h&status=5xx"] {
            assert_eq!(local(next), next);
        }
        for next in [
            "",
            "x",
            "//evil.example",
            "/\\evil.example",
            "\\\\evil",
            "https://evil.example",
            "javascript:alert(1)",
            "/a b",
            "/a\r\nSet-Cookie: x=1",
            "/\t/evil.example",
            "/é",
            "/sign-in?next=/",
            "/sign-out",
        ] {
            assert_eq!(local(next), "/", "{next:?}");
        }
    }
}
