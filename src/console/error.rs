//! Errors as pages: what happened, and what to do next.

use askama::Template;
use axum::{
    http::{StatusCode, header},
    response::Response,
};

use super::{Html, Layout, Visit, render};
use crate::http::answer::{ApiError, error_headers};

/// Also where not even the visitor is known.
#[derive(Template)]
#[template(path = "error.html")]
struct ErrorPage {
    layout: Layout,
    headline: &'static str,
    advice: &'static str,
    /// What the error says of each field, parameter or header.
    messages: Vec<(String, String)>,
    status: u16,
    request_id: String,
}

/// Makes a response the page of an error.
pub(super) fn show(response: &mut Response, error: &ApiError, visit: Option<&Visit>) {
    let (headline, advice) = words(error.status);
    let page = ErrorPage {
        layout: visit.map_or_else(|| Layout::bare(headline), |visit| visit.layout(headline)),
        headline,
        advice,
        messages: error.messages().map(|(field, text)| (field.to_owned(), text.to_owned())).collect(),
        status: error.status.as_u16(),
        request_id: visit.map(|visit| visit.request_id.clone()).unwrap_or_default(),
    };
    // A template of texts alone formats; were it not so, the status says it.
    let page = render(&page).unwrap_or_else(|_| Html::of_words(headline));
    error_headers(error, response.headers_mut());
    response.headers_mut().remove(header::WWW_AUTHENTICATE);
    response.extensions_mut().insert(page.with_status(error.status));
}

/// In plain words, and what to do.
fn words(status: StatusCode) -> (&'static str, &'static str) {
    match status {
        StatusCode::NOT_FOUND => {
            ("There is nothing here", "The address may be mistyped, or the page is of a newer version of Errata.")
        }
        StatusCode::FORBIDDEN => (
            "This is not for your token",
            "Ask whoever runs Errata for a token with another role, and sign in with it; or go back.",
        ),
        StatusCode::BAD_REQUEST => {
            ("Something in the address does not fit", "Mend what is named below, or start from the page without it.")
        }
        StatusCode::METHOD_NOT_ALLOWED => {
            ("This cannot be done here", "The address is of a form. Open the page and send the form from there.")
        }
        StatusCode::TOO_MANY_REQUESTS => ("Too many attempts", "Wait a few minutes, then try again."),
        StatusCode::PAYLOAD_TOO_LARGE => {
            ("That is too long", "Paste less of it: the part with the request ids will do.")
        }
        StatusCode::REQUEST_TIMEOUT => ("That took too long to arrive", "Check your connection and send it again."),
        StatusCode::SERVICE_UNAVAILABLE => (
            "The store does not answer at the moment",
            "Nothing is lost: events are taken all the same and show up when it is back. Try again in a minute.",
        ),
        status if status.is_server_error() => (
            "Something went wrong on our side",
            "Try again. If it happens again, tell whoever runs Errata, with the id below: the log has the cause.",
        ),
        _ => ("This did not work", "Go back and try again."),
    }
}
