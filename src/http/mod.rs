//! The HTTP edge: routes as one table, one middleware stack, one way to answer.

pub mod alerts;
pub mod analyse;
pub mod answer;
pub mod audit;
mod auth;
pub mod body;
pub mod catalog;
mod csv;
pub mod erase;
pub mod events;
pub mod ingest;
pub mod issues;
pub mod lookup;
pub mod openapi;
pub mod operate;
pub(crate) mod params;
pub mod privacy;
pub mod quarantine;
pub mod quota;
pub mod rate_limits;
mod routes;
pub mod serve;
pub mod stored;
mod trace;
pub mod validation;

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Instant,
};

use axum::{
    Router,
    extract::{Path, Request, rejection::PathRejection},
    http::{StatusCode, Uri, uri::PathAndQuery},
    middleware::{from_fn, from_fn_with_state},
    response::{IntoResponse, Response},
};
use tower_http::catch_panic::CatchPanicLayer;
use tracing::{Instrument, field::Empty};

use self::answer::ApiError;
pub use self::routes::{Access, Route, routes};
use crate::{
    alerts::{RuleSet, status::Status},
    clock::Clock,
    config::Config,
    console,
    decode::Limits,
    deliver::{Books, quarantine::Quarantine},
    erase::Eraser,
    event::{catalog::Catalog, scrub::Scrubber},
    metrics::Metrics,
    spool,
    state::{State, StateError},
    store::{RetryClass, Store, StoreError},
    telemetry::{Origins, SPANS},
};

/// What handlers share.
pub type Shared = Arc<Parts>;

/// The rooms that handlers call.
pub struct Parts {
    pub config: Config,
    pub clock: Clock,
    pub state: State,
    pub quota: quota::Quota,
    pub metrics: Arc<Metrics>,
    pub catalog: &'static Catalog,
    pub rules: Arc<RuleSet>,
    /// How the evaluation of alerts is.
    pub alerts: Status,
    pub privacy: Arc<privacy::Privacy>,
    pub audit: audit::Trail,
    pub eraser: Eraser,
    pub scrubber: Scrubber,
    pub limits: Limits,
    pub store: Store,
    pub spool: spool::Writer,
    pub totals: ingest::totals::Intake,
    pub books: Arc<Books>,
    pub quarantine: Quarantine,
    pub health: Health,
    /// The traces that events on their way to ClickHouse belong to.
    pub origins: Arc<Origins>,
    /// Memory for request bodies that arrive.
    pub receiving: body::Budget,
    /// KiB of request bodies that may be worked on at once.
    pub in_flight: Arc<tokio::sync::Semaphore>,
    pub workbenches: ingest::Workbenches,
    /// Exports and live tails.
    pub streams: events::Streams,
    /// Attempts to sign in to the console.
    pub sign_ins: console::Attempts,
    pub swagger: Arc<utoipa_swagger_ui::Config<'static>>,
}

impl Parts {
    /// Asks ClickHouse and times the answer under the question's name, in the metrics and in the trace.
    pub(crate) async fn timed<T>(
        &self,
        query: &'static str,
        answer: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<T, StoreError> {
        let span = tracing::info_span!(
            target: SPANS,
            "query",
            otel.name = format!("query {query}"),
            otel.kind = "client",
            otel.status_code = Empty,
            db.system.name = "clickhouse",
            db.query.summary = query,
        );
        let started = Instant::now();
        let answer = answer.instrument(span.clone()).await;
        let took = started.elapsed();
        self.metrics.query_duration.with_label_values(&[query]).observe(took.as_secs_f64());
        if answer.is_err() {
            span.record("otel.status_code", "ERROR");
        }
        answer
    }
}

/// The answer to a question ClickHouse did not answer: 503, or 500 where asking again will not help.
pub(crate) fn unavailable(error: &StoreError) -> ApiError {
    if error.class() == RetryClass::Poison {
        return ApiError::internal("a question to ClickHouse", error);
    }
    let message = "The store does not answer at the moment; events are taken all the same";
    ApiError::unavailable(message, lookup::STORE_RETRY_AFTER).cause(error.to_string())
}

/// Asks the state database, off the threads that serve; `doing` is for the log.
pub(crate) async fn in_state<T: Send + 'static>(
    shared: &Shared,
    doing: &'static str,
    work: impl FnOnce(&State) -> Result<T, StateError> + Send + 'static,
) -> Result<T, ApiError> {
    let state = shared.state.clone();
    let done = tokio::task::spawn_blocking(move || work(&state)).await;
    let done = done.map_err(|error| ApiError::internal(doing, &error))?;
    done.map_err(|error| ApiError::internal(doing, &error))
}

/// What stands in a path for a placeholder; `name` is for the answer where it cannot be read.
pub(crate) fn part_of_path<T>(name: &str, part: Result<Path<T>, PathRejection>) -> Result<T, ApiError> {
    part.map(|Path(part)| part).map_err(|error| ApiError::invalid(name, error.body_text()))
}

/// Of rows that were asked for with one more than a page has: the page, and the cursor of the next one, if there is one.
fn page_of<T>(mut rows: Vec<T>, limit: usize, id: impl Fn(&T) -> i64) -> (Vec<T>, Option<String>) {
    let more = rows.len() > limit;
    rows.truncate(limit);
    let next = rows.last().filter(|_| more).map(|row| id(row).to_string());
    (rows, next)
}

/// What the last check of ClickHouse said.
#[derive(Clone, Debug)]
pub struct Health(Arc<Mutex<Result<(), String>>>);

impl Default for Health {
    fn default() -> Self {
        Self(Arc::new(Mutex::new(Err("not checked yet".into()))))
    }
}

impl Health {
    pub fn get(&self) -> Result<(), String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub fn set(&self, state: Result<(), String>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = state;
    }
}

/// Every route of [`routes()`], and the middleware around them.
pub fn router(shared: Shared) -> Router {
    let table = routes().into_iter().fold(Router::new(), |router, route| {
        let Route { path, access, audit, of_people, handler, .. } = route;
        let handler = match access {
            Access::Open => handler,
            Access::Roles(roles) => handler.route_layer(from_fn_with_state(roles, auth::require)),
            Access::Page(_) | Access::OpenPage => {
                let gate = from_fn_with_state((Arc::clone(&shared), access), console::gate);
                handler.route_layer(gate)
            }
        };
        let handler = match audit {
            None => handler,
            Some(action) => {
                let audited = audit::Audited { path, action, of_people };
                handler.route_layer(from_fn_with_state((Arc::clone(&shared), audited), audit::record))
            }
        };
        router.route(path, handler)
    });
    around(table, shared)
}

/// What every request passes: outermost the envelope, so that whatever answers further in has the same shape.
fn around(table: Router<Shared>, shared: Shared) -> Router {
    table
        .fallback(unknown_path)
        .method_not_allowed_fallback(method_not_allowed)
        .layer(CatchPanicLayer::custom(answer::panicked))
        .layer(from_fn_with_state(Arc::clone(&shared), ingest::count))
        .layer(from_fn_with_state(Arc::clone(&shared), auth::identify))
        .layer(from_fn_with_state(Arc::clone(&shared), console::shell))
        .layer(from_fn(answer::envelope))
        .layer(from_fn(trace::record))
        .with_state(shared)
}

/// Whether a path is the API's: then every answer is an envelope.
pub(crate) fn is_api(path: &str) -> bool {
    path == "/api" || path.starts_with("/api/")
}

async fn unknown_path(uri: Uri) -> Response {
    ApiError::not_found().field("path", format!("there is nothing at {}; see /docs", uri.path())).into_response()
}

async fn method_not_allowed() -> Response {
    ApiError::new(StatusCode::METHOD_NOT_ALLOWED, "Method not allowed").into_response()
}

/// Drops a trailing slash, so that a path works with it and without. Swagger UI's own paths keep it.
pub fn trim_trailing_slash(mut request: Request) -> Request {
    let path = request.uri().path();
    let trimmed = path.trim_end_matches('/');
    if trimmed.len() == path.len() || trimmed.is_empty() || path == "/docs" || path.starts_with("/docs/") {
        return request;
    }
    let target = match request.uri().query() {
        Some(query) => format!("{trimmed}?{query}"),
        None => trimmed.to_owned(),
    };
    let mut parts = request.uri().clone().into_parts();
    parts.path_and_query = target.parse::<PathAndQuery>().ok();
    if let Ok(uri) = Uri::from_parts(parts) {
        *request.uri_mut() = uri;
    }
    request
}

#[cfg(test)]
mod tests;
