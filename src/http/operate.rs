//! Operations: liveness, readiness, metrics, the API's description.

use std::sync::Arc;

use axum::{
    Json,
    extract::{Path, State as AxumState},
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Redirect, Response},
};
use serde::Serialize;
use utoipa::ToSchema;

use super::{Shared, answer::ApiError};
use crate::spool;

/// What `/readyz` says.
#[derive(Debug, Serialize, ToSchema)]
pub struct Readiness {
    /// Whether events are taken.
    pub ready: bool,
    pub spool: SpoolReadiness,
    pub request_totals: TotalsReadiness,
    pub clickhouse: ClickHouseReadiness,
}

/// State of the durable log.
#[derive(Debug, Serialize, ToSchema)]
pub struct SpoolReadiness {
    pub writable: bool,
    /// Why not, if not.
    pub reason: Option<String>,
    pub bytes: u64,
    /// Events that ClickHouse does not have yet.
    pub events: u64,
}

/// State of the durable log of request totals. That it takes none does not make the collector unready: events are taken all the same.
#[derive(Debug, Serialize, ToSchema)]
pub struct TotalsReadiness {
    pub writable: bool,
    /// Why not, if not.
    pub reason: Option<String>,
    pub bytes: u64,
    /// Request totals that ClickHouse does not have yet.
    pub totals: u64,
}

/// State of the store. Its outage does not make the collector unready: events queue in the spool.
#[derive(Debug, Serialize, ToSchema)]
pub struct ClickHouseReadiness {
    pub up: bool,
    /// What the last check said, if it failed.
    pub reason: Option<String>,
}

/// Whether the process lives.
#[utoipa::path(
    get, path = "/healthz", tag = "operate", operation_id = "healthz",
    responses((status = 200, description = "it does", body = String, content_type = "text/plain"))
)]
pub async fn healthz() -> &'static str {
    "ok\n"
}

/// Whether events are taken.
///
/// An outage of ClickHouse does not make the collector unready: events queue in the spool.
#[utoipa::path(
    get, path = "/readyz", tag = "operate", operation_id = "readyz",
    responses((status = 200, description = "they are", body = Readiness),
        (status = 503, description = "they are not", body = Readiness))
)]
pub async fn readyz(AxumState(shared): AxumState<Shared>) -> Response {
    let refusal = shared.spool.refusal();
    let stats = shared.spool.stats();
    let totals = shared.totals.spool.stats();
    let totals_refusal = shared.totals.spool.refusal();
    let health = shared.health.get();
    let readiness = Readiness {
        ready: refusal.is_none(),
        spool: SpoolReadiness {
            writable: refusal.is_none(),
            reason: refusal.map(|refusal| refusal.to_string()),
            bytes: stats.bytes,
            events: stats.items,
        },
        request_totals: TotalsReadiness {
            writable: totals_refusal.is_none(),
            reason: totals_refusal.map(|refusal| refusal.to_string()),
            bytes: totals.bytes,
            totals: totals.items,
        },
        clickhouse: ClickHouseReadiness { up: health.is_ok(), reason: health.err() },
    };
    let code = if readiness.ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (code, Json(readiness)).into_response()
}

/// Every series, in the Prometheus text format.
#[utoipa::path(
    get, path = "/metrics", tag = "operate", operation_id = "metrics",
    responses((status = 200, description = "all series", body = String, content_type = "text/plain"))
)]
pub async fn metrics(AxumState(shared): AxumState<Shared>) -> Response {
    let (imbalance, stats) = match read_books(&shared).await {
        Ok(read) => read,
        Err(error) => return error.into_response(),
    };
    let metrics = &shared.metrics;
    metrics.books_imbalance.set(imbalance);
    metrics.count_damaged(stats.damaged_at_open + stats.damaged);
    let totals = shared.totals.spool.stats();
    metrics.totals_pending.set(totals.items as i64);
    metrics.count_damaged_totals(totals.damaged_at_open + totals.damaged);
    metrics.spool_bytes.set(stats.bytes as i64);
    metrics.spool_events.set(stats.items as i64);
    let age_ms = stats.oldest_ms.map_or(0, |oldest| (shared.clock.now_ms() - oldest).max(0));
    metrics.spool_oldest.set(age_ms as f64 / 1000.0);
    // While nothing is delivered, the lag grows with the oldest event that waits.
    metrics.visible_lag.set(metrics.visible_lag.get().max(age_ms as f64 / 1000.0));
    match metrics.encode() {
        Ok(text) => ([(header::CONTENT_TYPE, prometheus::TEXT_FORMAT)], text).into_response(),
        Err(error) => ApiError::internal("encoding metrics", &error).into_response(),
    }
}

/// What Swagger UI's own page needs: its scripts and styles, the API it describes, and icons within its styles.
const DOCS_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; \
    font-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// The books' imbalance and the spool they are of.
async fn read_books(shared: &Shared) -> Result<(i64, spool::Stats), ApiError> {
    let asked = Arc::clone(shared);
    // Off the threads that serve: delivery holds the books while the spool forgets, which is a sync of the disk.
    let read = tokio::task::spawn_blocking(move || asked.books.imbalance(&asked.spool)).await;
    read.map_err(|error| ApiError::internal("reading the books", &error))
}

/// How events fare on their way in.
#[derive(Clone, Debug)]
pub struct Intake {
    /// Why no events are taken, if none are.
    pub refusal: Option<String>,
    /// What the last check of ClickHouse said, if it failed.
    pub store_problem: Option<String>,
    /// Events that are durable and not yet in ClickHouse.
    pub queued: u64,
    /// Of the spool's files.
    pub bytes: u64,
    /// How long the oldest of the queued events has waited, milliseconds.
    pub oldest_wait_ms: i64,
    /// From the receipt of the latest delivered events until they could be queried, seconds.
    pub lag_s: f64,
    /// Accepted less stored, queued and set aside: 0.
    pub imbalance: i64,
}

/// How events fare on their way in, for the overview.
///
/// # Errors
/// 500 when the books cannot be read.
pub async fn intake(shared: &Shared) -> Result<Intake, ApiError> {
    let (imbalance, stats) = read_books(shared).await?;
    Ok(Intake {
        refusal: shared.spool.refusal().map(|refusal| refusal.to_string()),
        store_problem: shared.health.get().err(),
        queued: stats.items,
        bytes: stats.bytes,
        oldest_wait_ms: stats.oldest_ms.map_or(0, |oldest| (shared.clock.now_ms() - oldest).max(0)),
        lag_s: shared.metrics.visible_lag.get(),
        imbalance,
    })
}

/// The page's links are relative to the folder.
pub async fn docs_folder() -> Redirect {
    Redirect::permanent("/docs/")
}

/// Swagger UI, from the binary.
pub async fn docs(AxumState(shared): AxumState<Shared>, path: Option<Path<String>>) -> Response {
    let file = path.as_ref().map_or("", |Path(path)| path.as_str());
    match utoipa_swagger_ui::serve(file, shared.swagger.clone()) {
        Ok(Some(file)) => {
            let kind = HeaderValue::from_str(&file.content_type)
                .unwrap_or_else(|_| HeaderValue::from_static("application/octet-stream"));
            let policy = HeaderValue::from_static(DOCS_POLICY);
            let headers = [(header::CONTENT_TYPE, kind), (header::CONTENT_SECURITY_POLICY, policy)];
            (headers, file.bytes.into_owned()).into_response()
        }
        Ok(None) => ApiError::not_found().into_response(),
        Err(error) => ApiError::internal("serving the API's description", &error).into_response(),
    }
}
