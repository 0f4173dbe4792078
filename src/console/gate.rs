//! Who may pass to a page, and which forms are taken.

use askama::Template;
use axum::{
    extract::{Request, State as AxumState},
    http::{HeaderMap, Method},
    middleware::Next,
    response::{IntoResponse, Response},
};
use url::form_urlencoded;

use super::{Form, Visit, render, see_other, sign_in::local};
use crate::{
    http::{Access, Shared, answer::ApiError},
    state::Role,
};

/// Lets a visitor pass whose token has the role, with its [`TokenInfo`](crate::state::TokenInfo) and the [`Form`] in the request's
/// extensions. Who has not signed in is sent to do so, and comes back to the page.
pub(crate) async fn gate(
    AxumState((shared, access)): AxumState<(Shared, Access)>,
    mut request: Request,
    next: Next,
) -> Response {
    let Some(visit) = request.extensions().get::<Visit>().cloned() else {
        return ApiError::internal("finding the visitor", &"a page outside the shell").into_response();
    };
    let is_form = request.method() == Method::POST;
    if let Access::Page(roles) = access {
        let Some(session) = &visit.session else { return nobody(&visit, &request) };
        if !session.token.has_any(roles) {
            return refusal(roles).into_response();
        }
        request.extensions_mut().insert(session.token.clone());
    }
    if is_form {
        match Form::read(&shared, &visit, access, &mut request).await {
            Ok(form) => request.extensions_mut().insert(form),
            Err(error) => return error.into_response(),
        };
    }
    next.run(request).await
}

/// Where a request without a session leads: to sign in. A link on another site comes without cookies, whoever has them, as they are
/// `SameSite=Strict`; the browser asks once more then, from a page of ours, and sends them.
fn nobody(visit: &Visit, request: &Request) -> Response {
    if request.method() == Method::GET && is_link_of_others(request.headers()) {
        let page = Again { target: local(&visit.target).to_owned() };
        return render(&page).map_or_else(IntoResponse::into_response, IntoResponse::into_response);
    }
    see_other(&sign_in_for(visit, request.method() == Method::POST))
}

/// Whether a page elsewhere led here. What our own page asks for is `same-origin`, so nobody is sent round in a circle.
fn is_link_of_others(headers: &HeaderMap) -> bool {
    headers.get("sec-fetch-site").is_some_and(|site| site == "cross-site" || site == "same-site")
}

/// A page that has the browser ask for the same page again.
#[derive(Template)]
#[template(path = "again.html")]
struct Again {
    target: String,
}

/// The sign-in page, and where it leads after: the page asked for; of a form, which is lost, home.
fn sign_in_for(visit: &Visit, is_form: bool) -> String {
    if is_form || visit.target == "/" {
        return "/sign-in".to_owned();
    }
    let next: String = form_urlencoded::byte_serialize(visit.target.as_bytes()).collect();
    format!("/sign-in?next={next}")
}

fn refusal(roles: &[Role]) -> ApiError {
    let needed: Vec<_> = roles.iter().map(|role| role.as_str()).chain(["admin"]).collect();
    ApiError::forbidden(format!("this page needs a token with the role {}", needed.join(" or ")))
}
