//! The console: pages at `/`, complete when they arrive, and nicer where scripts run.
//!
//! # How a page is made
//!
//! `shell` is around everything that is not the API: it knows the visitor by the cookie ([`Visit`]), turns an
//! [`ApiError`](crate::http::answer::ApiError) into a page for browsers, and gives each page its headers and its compression. A page's route is
//! a row of [`routes()`] with [`Access::Page`]: `gate` lets pass who has the role, sends others to sign in, and checks every form that is sent.
//! The handler asks what the API's handler asks (the same function, never HTTP, never SQL), fills a struct with what its template shows, and
//! [`render`]s it, which is the one way to an [`Html`]: whatever a template shows is inert.
//!
//! # How to add a page
//!
//! 1. A folder or file here: a struct with `layout: Layout` and what is shown, `#[derive(Template)]`, and the template beside it,
//!    which begins with `{% extends "layout.html" %}` and fills `main`.
//! 2. A row in [`routes()`]. Its place in the navigation is in `NAV` already; it is shown once there is a route to it, to those who may use it.
//! 3. Numbers, times, statuses, links and charts by [`view`] and [`chart`] alone, so that they look and escape the same everywhere. No inline
//!    style or script: the policy refuses both.
//! 4. A form is `method="post"` with `{{ layout.csrf }}` in it; its handler takes a [`Form`], answers [`see_other`] or, with a message, [`Visit::send_on`].
//! 5. A test in `tests/it/console/`: `Browser` and `Page::check`; and a row in `tests/console/pages.mjs`, which has the page opened in a real browser.

mod address;
mod alerts;
mod assets;
mod attempts;
pub mod chart;
mod cookies;
mod error;
mod explore;
mod form;
mod gate;
mod html;
mod issues;
mod layout;
mod limits;
pub mod lookup;
mod newest;
mod overview;
mod range;
mod reference;
mod settings;
mod shell;
mod sign_in;
mod theme;
mod validation;
pub mod view;
mod visit;

use axum::{
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
    routing::{get, post},
};

pub use attempts::Attempts;
pub use form::Form;
pub(crate) use gate::gate;
pub use html::{Html, render};
pub use layout::Layout;
pub use range::Range;
pub(crate) use shell::shell;
pub use visit::Visit;
pub(crate) use visit::visitor_of;

use crate::{
    http::{Access, Route},
    state::Role,
};

const READERS: Access = Access::Page(&[Role::Support, Role::Sre, Role::Product]);
const MENDERS: Access = Access::Page(&[Role::Support, Role::Sre]);
const WATCH: Access = Access::Page(&[Role::Sre]);
const SUPPORT: Access = Access::Page(&[Role::Support]);
const PRODUCT: Access = Access::Page(&[Role::Product]);
const ADMIN: Access = Access::Page(&[]);

/// Every page and form, in no order: the navigation has its own.
#[must_use]
pub fn routes() -> Vec<Route> {
    vec![
        Route::get("/", READERS, get(overview::overview)).audited("overview"),
        Route::get("/overview/accounts", WATCH, get(overview::accounts)).audited("overview"),
        Route::get("/lookup", SUPPORT, get(lookup::entry)).audited("ticket"),
        Route::post("/lookup", SUPPORT, post(lookup::search)),
        Route::get("/requests/{request_id}", SUPPORT, get(lookup::request)).audited("lookup"),
        Route::get("/explore", READERS, get(explore::page)).audited("search"),
        Route::get("/explore/export", READERS, get(explore::download)).audited("export"),
        Route::get("/explore/tail", READERS, get(explore::follow)).audited("tail"),
        Route::get("/issues", READERS, get(issues::list)).audited_of_people("issues"),
        Route::get("/issues/{fingerprint}", READERS, get(issues::show)).audited("issue"),
        Route::post("/issues/{fingerprint}/resolve", MENDERS, post(issues::resolve)).audited("resolve"),
        Route::post("/issues/{fingerprint}/reopen", MENDERS, post(issues::reopen)).audited("reopen"),
        Route::get("/rate-limits", WATCH, get(limits::page)).audited("rate limits"),
        Route::get("/rate-limits.csv", WATCH, get(limits::file)).audited("export"),
        Route::get("/alerts", WATCH, get(alerts::page)),
        Route::post("/alerts/acknowledge", WATCH, post(alerts::acknowledge)).audited("acknowledge"),
        Route::post("/alerts/silence", WATCH, post(alerts::silence)).audited("silence"),
        Route::post("/alerts/end-silence", WATCH, post(alerts::end_silence)).audited("silence ended"),
        Route::get("/validation", PRODUCT, get(validation::page)).audited("validation"),
        Route::get("/validation.csv", PRODUCT, get(validation::table)).audited("export"),
        Route::get("/validation/friction", PRODUCT, get(validation::friction_page)).audited("validation"),
        Route::get("/validation/accounts", PRODUCT, get(validation::accounts_page)).audited("validation"),
        Route::get("/validation/accounts.csv", PRODUCT, get(validation::accounts_file)).audited("export"),
        Route::get("/validation/failure", PRODUCT, get(validation::failure)).audited("validation"),
        Route::get("/reference", READERS, get(reference::page)).audited_of_people("reference"),
        Route::get("/settings", ADMIN, get(settings::page)),
        Route::get("/settings/audit", ADMIN, get(settings::audit)).audited("audit"),
        Route::get("/sign-in", Access::OpenPage, get(sign_in::page)),
        Route::post("/sign-in", Access::OpenPage, post(sign_in::sign_in)),
        Route::post("/sign-out", READERS, post(sign_in::sign_out)).audited("sign out"),
        Route::post("/project", READERS, post(sign_in::switch_project)),
        Route::post("/theme", Access::OpenPage, post(theme::choose)),
        Route::get("/assets/{file}", Access::OpenPage, get(assets::serve)),
    ]
}

/// Sends the browser on to a page of ours, as after every form.
#[must_use]
pub fn see_other(path: &str) -> Response {
    let mut response = StatusCode::SEE_OTHER.into_response();
    // What is no header value leads home rather than nowhere.
    let place = HeaderValue::from_str(path).unwrap_or(HeaderValue::from_static("/"));
    response.headers_mut().insert(header::LOCATION, place);
    response
}
