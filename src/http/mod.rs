//! The HTTP edge: routes as one table, one middleware stack, one way to answer.

pub mod analyse;
pub mod answer;
mod auth;
mod body;
pub mod ingest;
pub mod lookup;
pub mod openapi;
pub mod operate;
mod params;
pub mod quarantine;
pub mod quota;
pub mod stored;

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Instant,
};

use axum::{
    Router,
    extract::Request,
    http::{StatusCode, Uri},
    middleware::{from_fn, from_fn_with_state},
    response::{IntoResponse, Response},
    routing::{MethodRouter, get, post},
};
use tower_http::catch_panic::CatchPanicLayer;

use self::answer::ApiError;
use crate::{
    clock::Clock,
    config::Config,
    decode::Limits,
    deliver::{Books, quarantine::Quarantine},
    event::{catalog::Catalog, scrub::Scrubber},
    metrics::Metrics,
    spool,
    state::{Role, State},
    store::{Store, StoreError},
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
    pub scrubber: Scrubber,
    pub limits: Limits,
    pub store: Store,
    pub spool: spool::Writer,
    pub books: Arc<Books>,
    pub quarantine: Quarantine,
    pub health: Health,
    /// KiB of request bodies that may be in memory at once.
    pub in_flight: Arc<tokio::sync::Semaphore>,
    pub swagger: Arc<utoipa_swagger_ui::Config<'static>>,
}

impl Parts {
    /// Asks ClickHouse and times the answer under the question's name.
    async fn timed<T>(
        &self,
        query: &'static str,
        answer: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<T, StoreError> {
        let started = Instant::now();
        let answer = answer.await;
        self.metrics.query_duration.with_label_values(&[query]).observe(started.elapsed().as_secs_f64());
        answer
    }
}

/// The answer to a question ClickHouse did not answer.
fn unavailable(error: &StoreError) -> ApiError {
    let message = "The store does not answer at the moment; events are taken all the same";
    ApiError::unavailable(message, lookup::STORE_RETRY_AFTER).cause(error.to_string())
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

const INGEST: &[Role] = &[Role::Ingest];
const SUPPORT: &[Role] = &[Role::Support];
const SEARCH: &[Role] = &[Role::Support, Role::Sre, Role::Product];
const WATCH: &[Role] = &[Role::Sre];
const PRODUCT: &[Role] = &[Role::Product];
const ADMIN: &[Role] = &[];

/// Every route, with who may use it, and the middleware around them.
pub fn router(shared: Shared) -> Router {
    let open = Router::new()
        .route("/", get(operate::root))
        .route("/healthz", get(operate::healthz))
        .route("/readyz", get(operate::readyz))
        .route("/metrics", get(operate::metrics))
        .route("/api/v1/openapi.json", get(openapi::document))
        .route("/docs", get(|| async { axum::response::Redirect::permanent("/docs/") }))
        .route("/docs/", get(operate::docs))
        .route("/docs/{*file}", get(operate::docs));
    let table: [(&str, MethodRouter<Shared>, &'static [Role]); 9] = [
        ("/api/v1/events", post(ingest::events), INGEST),
        ("/api/v1/events", get(analyse::events), SEARCH),
        ("/api/v1/requests/lookup", post(lookup::ticket), SUPPORT),
        ("/api/v1/requests/{request_id}", get(lookup::request), SUPPORT),
        ("/api/v1/rates", get(analyse::rates), WATCH),
        ("/api/v1/validation/failures", get(analyse::validation_failures), PRODUCT),
        ("/api/v1/quarantine", get(quarantine::list), ADMIN),
        ("/api/v1/quarantine/{id}", get(quarantine::show), ADMIN),
        ("/api/v1/quarantine/{id}/retry", post(quarantine::retry), ADMIN),
    ];
    table
        .into_iter()
        .fold(open, |router, (path, methods, roles)| {
            router.route(path, methods.route_layer(from_fn_with_state((Arc::clone(&shared), roles), auth::require)))
        })
        .fallback(unknown_path)
        .method_not_allowed_fallback(method_not_allowed)
        .layer(CatchPanicLayer::custom(answer::panicked))
        .layer(from_fn(answer::envelope))
        .with_state(shared)
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
    if path.len() <= 1 || !path.ends_with('/') || path.starts_with("/docs") {
        return request;
    }
    let trimmed = path.trim_end_matches('/');
    let target = match request.uri().query() {
        Some(query) => format!("{trimmed}?{query}"),
        None => trimmed.to_owned(),
    };
    if let Ok(uri) = target.parse() {
        *request.uri_mut() = uri;
    }
    request
}
