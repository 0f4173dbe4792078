//! `POST /api/v1/request-totals`: bytes in, durable request totals out.

use std::{
    collections::HashMap,
    hash::{BuildHasher, RandomState},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicI64, Ordering},
    },
};

use axum::{
    Extension,
    body::Body,
    extract::State as AxumState,
    http::{HeaderMap, StatusCode},
};
use serde::Serialize;
use utoipa::ToSchema;

use super::{Rejected, Sent, arrived, format, refused, refused_append_of, rejects, schema, take::reserve};
use crate::{
    decode::{self, Totals},
    event::RequestTotal,
    http::{
        Shared,
        answer::{ApiError, Data},
        body,
    },
    metrics::Metrics,
    spool::{Item, Writer},
    state::TokenInfo,
};

/// Where request totals are shipped to.
pub const PATH: &str = "/api/v1/request-totals";

/// Totals whose count is remembered for the metric, at least; twice as many at most, at some 40 bytes each.
const REMEMBERED: usize = 100_000;

const NOT_NOW: &str = "Request totals cannot be taken at the moment; send them again later";

/// What became of the totals of a body.
#[derive(Debug, Default, Serialize, ToSchema)]
pub struct TotalsTaken {
    /// Totals that are durable now, those that replace earlier ones included.
    pub accepted: usize,
    /// Totals that were not taken.
    pub rejected: usize,
    /// The first 100 of them.
    pub rejections: Vec<Rejected>,
}

/// Where totals are kept until they are delivered, and what is remembered of them.
pub struct Intake {
    pub spool: Writer,
    /// Time of receipt of the latest total, microseconds since the Unix epoch.
    latest_us: AtomicI64,
    counted: Mutex<Counted>,
}

impl Intake {
    #[must_use]
    pub fn new(spool: Writer) -> Self {
        Self { spool, latest_us: AtomicI64::new(0), counted: Mutex::default() }
    }

    /// Times of receipt for so many totals, the first of them: now, or after the latest one where that is later. So a later
    /// total has a later time, also where the clock goes back.
    fn receive(&self, now_ms: i64, totals: usize) -> i64 {
        let first = |latest: i64| now_ms.saturating_mul(1000).max(latest.saturating_add(1));
        let after = |latest| first(latest).saturating_add(totals as i64);
        first(
            self.latest_us
                .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |latest| Some(after(latest)))
                .unwrap_or(0),
        )
    }

    /// Counts accepted totals. Of one that repeats, what it has more than before.
    fn count(&self, totals: &[RequestTotal], metrics: &Metrics) {
        let mut counted = self.counted.lock().unwrap_or_else(PoisonError::into_inner);
        for total in totals {
            let more = counted.more(total);
            // Statuses of totals are no few: past the limit they are folded to their class, which alerts still tell apart.
            let of = [total.service.as_str(), total.environment.as_str()];
            let (status, class) = (total.status.to_string(), format!("{}xx", total.status / 100));
            metrics.api_requests.counter_or(of, [&status], [&class]).inc_by(more);
        }
    }
}

/// The largest counts of the latest totals. Two generations: when the younger is full it takes the older one's place.
#[derive(Default)]
struct Counted {
    seed: RandomState,
    younger: HashMap<u64, u64>,
    older: HashMap<u64, u64>,
}

impl Counted {
    /// How much a total adds to what it was counted with before.
    fn more(&mut self, total: &RequestTotal) -> u64 {
        let RequestTotal { project, minute, service, environment, release, route, method, status, reporter, .. } =
            total;
        let key = (project, minute, service, environment, release, route, method, status, reporter);
        let key = self.seed.hash_one(key);
        let known = self.younger.get(&key).copied().or_else(|| self.older.remove(&key)).unwrap_or(0);
        if self.younger.len() >= REMEMBERED && !self.younger.contains_key(&key) {
            std::mem::swap(&mut self.younger, &mut self.older);
            self.younger.clear();
        }
        self.younger.insert(key, known.max(total.count));
        total.count.saturating_sub(known)
    }
}

/// Ship request totals.
///
/// How many requests were served per minute, successes included: what rates are a share of. A total that differs from an earlier one of
/// the project in nothing but `count` replaces it, so sending again is harmless and a correction is sent like anything else. Several processes
/// that serve the same routes each need a `reporter` of their own, else they replace each other's totals; theirs add up. `202` is sent after
/// the totals are on disk (fsync). They cost nothing of a token's quota.
#[utoipa::path(
    post, path = "/api/v1/request-totals", tag = "ship", operation_id = "ship_request_totals",
    request_body(
        content(
            (schema::TotalsShipment = "application/json", examples(
                ("total" = (value = json!(schema::total_example()))),
                ("many totals" = (value = json!([schema::total_example()]))))),
            (String = "application/x-ndjson", example = json!(format!("{}\n", schema::total_example())))),
        description = "one total, an array of totals, or one total a line, at most 16 MiB (64 MiB decompressed) and 50 000 \
            totals; `Content-Encoding` gzip, zstd or deflate"),
    responses(
        (status = 202, description = "taken and durable", body = TotalsTaken),
        (status = 400, description = "not JSON; the line is named"),
        (status = 408, description = "the body did not arrive in time"), (status = 413, description = "too large"), (status = 415, description = "content type or encoding not taken"),
        (status = 422, description = "every total was rejected"),
        (status = 503, description = "the spool is full or failed, or too many bodies arrive at once; send again after Retry-After"))
)]
pub async fn request_totals(
    AxumState(shared): AxumState<Shared>,
    Extension(token): Extension<TokenInfo>,
    headers: HeaderMap,
    mut body: Body,
) -> Result<Data<TotalsTaken>, ApiError> {
    let outcome = ship(shared, token, &headers, &mut body).await;
    body::answered(outcome, &headers, body).await
}

async fn ship(
    shared: Shared,
    token: TokenInfo,
    headers: &HeaderMap,
    body: &mut Body,
) -> Result<Data<TotalsTaken>, ApiError> {
    let format = format(headers)?;
    if let Some(refusal) = shared.totals.spool.refusal() {
        return Err(refused_append_of(NOT_NOW, &refusal));
    }
    // Totals are nobody's: no erasure waits for them.
    let (sent, _) = arrived(&shared, format, headers, body).await?;
    // A task of its own: what is kept is counted also when the client has gone.
    let taken = tokio::spawn(take(shared, token, sent))
        .await
        .map_err(|error| ApiError::internal("taking totals", &error))??;
    Ok(Data(StatusCode::ACCEPTED, taken))
}

/// Makes the good totals durable, all or none, and accounts for the bad ones.
async fn take(shared: Shared, token: TokenInfo, sent: Sent) -> Result<TotalsTaken, ApiError> {
    let _memory = reserve(&shared, &sent).await?;
    let decoding = Arc::clone(&shared);
    let room = shared.workbenches.room().await;
    let decoded = tokio::task::spawn_blocking(move || {
        let _room = room;
        decode_body(&decoding, &token, &sent)
    });
    let (Totals { totals, rejects }, items) =
        decoded.await.map_err(|error| ApiError::internal("decoding a body", &error))??;
    if !items.is_empty() {
        shared.totals.spool.append_again(items).await.map_err(|error| refused_append_of(NOT_NOW, &error))?;
        shared.totals.count(&totals, &shared.metrics);
        shared.metrics.totals_accepted.inc_by(totals.len() as u64);
    }
    for reject in &rejects {
        shared.metrics.totals_rejected.with_label_values(&[reject.reason.as_str()]).inc();
    }
    let rejections = rejects::list(&rejects);
    let taken = TotalsTaken { accepted: totals.len(), rejected: rejects.len(), rejections };
    if taken.accepted == 0 {
        return Err(ApiError::new(StatusCode::UNPROCESSABLE_ENTITY, "Validation failed")
            .field("totals", format!("none of the {} totals can be taken; see data.rejections", taken.rejected))
            .with_data(&taken));
    }
    Ok(taken)
}

/// The totals of a body in the order of their receipt, and the items they become.
fn decode_body(shared: &Shared, token: &TokenInfo, sent: &Sent) -> Result<(Totals, Vec<Item>), ApiError> {
    let body = decode::decompress(sent.encoding.as_deref(), &sent.body.bytes, &shared.limits)
        .map_err(|refusal| refused(&refusal))?;
    let mut decoded = decode::totals(sent.format, &body, super::take::context(shared, token, sent))
        .map_err(|refusal| refused(&refusal))?;
    let first_us = shared.totals.receive(sent.received_at_ms, decoded.totals.len());
    let items = (first_us..).zip(&mut decoded.totals).map(|(received_us, total)| {
        total.received_us = received_us;
        // Every total is kept, the same again too: an earlier value that comes back must replace what came between.
        Item { key: received_us as u128, tag: 0, payload: total.encode() }
    });
    let items = items.collect();
    Ok((decoded, items))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn total(minute: u32, count: u64) -> RequestTotal {
        RequestTotal {
            project: "p".into(),
            minute,
            service: "s".into(),
            environment: "e".into(),
            release: String::new(),
            route: "/a/".into(),
            method: "GET".into(),
            status: 200,
            reporter: String::new(),
            count,
            received_us: 0,
        }
    }

    #[test]
    fn a_repeated_total_counts_what_it_has_more() {
        let mut counted = Counted::default();
        for (count, more) in [(10, 10), (10, 0), (7, 0), (10, 0), (12, 2), (0, 0)] {
            assert_eq!(counted.more(&total(60, count)), more, "{count}");
        }
        assert_eq!(counted.more(&RequestTotal { reporter: "b".into(), ..total(60, 12) }), 12, "another's count adds");
    }

    #[test]
    fn what_is_remembered_is_bounded_and_the_latest() {
        let mut counted = Counted::default();
        for minute in 0..3 * REMEMBERED as u32 {
            counted.more(&total(minute, 1));
            assert!(counted.younger.len() <= REMEMBERED && counted.older.len() <= REMEMBERED);
        }
        assert_eq!(counted.more(&total(3 * REMEMBERED as u32 - 1, 1)), 0);
        assert_eq!(counted.more(&total(2 * REMEMBERED as u32 + 1, 1)), 0);
    }

    #[tokio::test]
    async fn a_later_total_has_a_later_time_of_receipt_whatever_the_clock_says() {
        let dir = tempfile::tempdir().unwrap();
        let options = crate::spool::Options {
            dir: dir.path().to_owned(),
            segment_bytes: 1 << 20,
            max_bytes: 1 << 20,
            reserve_bytes: 0,
            remembered_keys: 1,
        };
        let intake = Intake::new(crate::spool::open(options).unwrap().0);
        assert_eq!(intake.receive(5, 3), 5000);
        assert!(intake.receive(5, 2000) > 5002, "within the millisecond");
        let before = intake.receive(5, 1);
        assert!(before > 7002);
        assert!(intake.receive(1, 1) > before, "the clock went back");
        assert_eq!(intake.receive(100, 1), 100_000);
    }
}
