//! The route table: every path, who may use it, and what answers. The router and the API's description are made of it.

use axum::{
    http::Method,
    routing::{MethodRouter, delete, get, post},
};

use super::{
    Shared, alerts, analyse, audit, catalog, erase, events, ingest, issues, lookup, openapi, operate, quarantine,
    rate_limits, validation,
};
use crate::{console, state::Role};

/// Who may use a route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Everybody.
    Open,
    /// A token with one of these roles; an admin's always.
    Roles(&'static [Role]),
    /// A page of the console: who has signed in with such a token.
    Page(&'static [Role]),
    /// What the console shows to everybody: where one signs in.
    OpenPage,
}

const INGEST: Access = Access::Roles(&[Role::Ingest]);
const SUPPORT: Access = Access::Roles(&[Role::Support]);
const SEARCH: Access = Access::Roles(&[Role::Support, Role::Sre, Role::Product]);
/// Who may say that an issue is mended: those who answer for the service or to its customers.
const MEND: Access = Access::Roles(&[Role::Support, Role::Sre]);
const WATCH: Access = Access::Roles(&[Role::Sre]);
const PRODUCT: Access = Access::Roles(&[Role::Product]);
const ADMIN: Access = Access::Roles(&[]);

/// One route: a method on a path.
#[derive(Debug)]
pub struct Route {
    pub method: Method,
    /// With parameters as `{name}`.
    pub path: &'static str,
    pub access: Access,
    /// What the audit log calls it; absent: it is not entered.
    pub audit: Option<&'static str>,
    /// Whether it is entered only where it asks for somebody: by account, by user, or by words of a message.
    pub of_people: bool,
    pub(super) handler: MethodRouter<Shared>,
}

impl Route {
    pub(crate) const fn get(path: &'static str, access: Access, handler: MethodRouter<Shared>) -> Self {
        Self { method: Method::GET, path, access, audit: None, of_people: false, handler }
    }

    pub(crate) const fn post(path: &'static str, access: Access, handler: MethodRouter<Shared>) -> Self {
        Self { method: Method::POST, path, access, audit: None, of_people: false, handler }
    }

    /// The same route, each request to it entered in the audit log.
    pub(crate) fn audited(self, action: &'static str) -> Self {
        Self { audit: Some(action), ..self }
    }

    /// The same route, each request to it that asks for somebody entered in the audit log. What is counted of everybody names nobody, and
    /// dashboards ask for it all day.
    pub(crate) fn audited_of_people(self, action: &'static str) -> Self {
        Self { audit: Some(action), of_people: true, ..self }
    }
}

/// Every route.
#[must_use]
pub fn routes() -> Vec<Route> {
    let (reads, writes) = (Route::get, Route::post);
    let mut routes = vec![
        writes(ingest::PATH, INGEST, post(ingest::events)),
        reads(ingest::PATH, SEARCH, get(analyse::events)).audited("search"),
        reads("/api/v1/events/tail", SEARCH, get(events::tail::tail)).audited("tail"),
        reads("/api/v1/events/histogram", SEARCH, get(events::counts::histogram)).audited("search"),
        reads("/api/v1/events/top", SEARCH, get(events::counts::top)).audited("search"),
        writes(ingest::totals::PATH, INGEST, post(ingest::totals::request_totals)),
        writes("/api/v1/requests/lookup", SUPPORT, post(lookup::ticket::ticket)).audited("ticket"),
        reads("/api/v1/requests/{request_id}", SUPPORT, get(lookup::request)).audited("lookup"),
        reads("/api/v1/rates", WATCH, get(analyse::rates)).audited_of_people("rates"),
        reads("/api/v1/rate-limits", WATCH, get(rate_limits::rate_limits)).audited("rate limits"),
        reads("/api/v1/validation/failures", PRODUCT, get(validation::failures)).audited("validation"),
        reads("/api/v1/validation/friction", PRODUCT, get(validation::friction)).audited("validation"),
        reads("/api/v1/validation/friction/accounts", PRODUCT, get(validation::friction_accounts))
            .audited("validation"),
        reads("/api/v1/catalog", SEARCH, get(catalog::catalog)).audited_of_people("reference"),
        reads("/api/v1/catalog/drift", SEARCH, get(catalog::drift)).audited_of_people("reference"),
        reads("/api/v1/issues", SEARCH, get(issues::list)).audited_of_people("issues"),
        reads("/api/v1/issues/{fingerprint}", SEARCH, get(issues::show)).audited("issue"),
        writes("/api/v1/issues/{fingerprint}/resolve", MEND, post(issues::resolve)).audited("resolve"),
        writes("/api/v1/issues/{fingerprint}/reopen", MEND, post(issues::reopen)).audited("reopen"),
        reads("/api/v1/alerts", WATCH, get(alerts::list)),
        reads("/api/v1/alerts/history", WATCH, get(alerts::history)),
        writes("/api/v1/alerts/silences", WATCH, post(alerts::silence)).audited("silence"),
        Route {
            method: Method::DELETE,
            path: "/api/v1/alerts/silences/{id}",
            access: WATCH,
            audit: Some("silence ended"),
            of_people: false,
            handler: delete(alerts::end_silence),
        },
        writes("/api/v1/alerts/{rule}/acknowledge", WATCH, post(alerts::acknowledge)).audited("acknowledge"),
        writes("/api/v1/alerts/test", WATCH, post(alerts::test)),
        reads("/api/v1/quarantine", ADMIN, get(quarantine::list)),
        reads("/api/v1/quarantine/{id}", ADMIN, get(quarantine::show)).audited("quarantine shown"),
        writes("/api/v1/quarantine/{id}/retry", ADMIN, post(quarantine::retry)).audited("quarantine retried"),
        reads("/api/v1/audit", ADMIN, get(audit::list)).audited("audit"),
        writes("/api/v1/erase", ADMIN, post(erase::begin)).audited("erase"),
        reads("/api/v1/erase", ADMIN, get(erase::list)),
        reads("/api/v1/erase/{id}", ADMIN, get(erase::show)),
        reads("/api/v1/openapi.json", Access::Open, get(openapi::document)),
        reads("/healthz", Access::Open, get(operate::healthz)),
        reads("/readyz", Access::Open, get(operate::readyz)),
        reads("/metrics", Access::Open, get(operate::metrics)),
        reads("/docs", Access::Open, get(operate::docs_folder)),
        reads("/docs/", Access::Open, get(operate::docs)),
        reads("/docs/{*file}", Access::Open, get(operate::docs)),
    ];
    routes.extend(console::routes());
    routes
}
