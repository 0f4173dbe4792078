//! `GET /api/v1/validation/friction`: who cannot get on, and where.

use axum::{Extension, extract::State as AxumState};
use serde::Serialize;
use utoipa::ToSchema;

use super::{ROWS, thousands};
use crate::{
    clock::{rfc3339, when::duration_ms},
    http::{
        Shared,
        answer::{ApiError, Data},
        params::Params,
        privacy::{Shown, Sight},
        unavailable,
    },
    state::TokenInfo,
    store::query::{Filter, FrictionRow, MAX_FAILURES},
};

const HOUR_MS: i64 = 3_600_000;

/// Where accounts fail again and again.
#[derive(Debug, Serialize, ToSchema)]
pub struct Friction {
    /// What was gone through; later than what was asked for where that has more than three million field errors.
    pub from: String,
    pub to: String,
    /// An account whose last attempt was in the last seconds of the range, as many as this, still fails.
    pub quiet_seconds: i64,
    /// Accounts that are stuck somewhere.
    pub stuck_accounts: u64,
    /// The same in words: `38 accounts are stuck.`
    pub sentence: String,
    /// Those with the most stuck accounts first.
    pub rows: Vec<FrictionAt>,
}

/// What accounts meet at one field of one route.
#[derive(Debug, Serialize, ToSchema)]
pub struct FrictionAt {
    pub route: String,
    pub field: String,
    /// Events with an error of the field, those without an account too.
    pub events: u64,
    /// Accounts that failed at it.
    pub accounts: u64,
    /// Hours in which they failed, on average: a client that repeats within the hour has not tried anew. Null without accounts.
    pub attempts_per_account: Option<f64>,
    /// Accounts that failed in the last `quiet_seconds` of the range.
    pub still_failing: u64,
    /// Accounts that did not: they got on, or gave up.
    pub not_seen_again: u64,
    /// Accounts that still fail and attempted more than once.
    pub stuck: u64,
    /// Begin of the first and of the last hour with a failure.
    pub first_seen: String,
    pub last_seen: String,
    /// Five accounts: those that are stuck, then the others, those with the most attempts first. All of them: `GET /api/v1/validation/friction/accounts`.
    pub worst: Vec<FrictionAccount>,
}

/// An account that fails.
#[derive(Debug, Serialize, ToSchema)]
pub struct FrictionAccount {
    pub account_id: Shown,
    /// Hours in which it failed.
    pub attempts: u64,
    /// Begin of the last of them.
    pub last_seen: String,
    pub still_failing: bool,
}

/// What was asked of the friction.
pub(crate) struct Asked {
    pub(crate) filter: Filter,
    /// None: by the length of what is gone through.
    pub(crate) quiet_ms: Option<i64>,
    pub(crate) limit: usize,
}

/// Where accounts cannot get on.
///
/// Fields of routes with the accounts that fail there: how often they tried, how many still fail, how many were not seen failing again. Takes
/// the filters of the event search.
#[utoipa::path(
    get, path = "/api/v1/validation/friction", tag = "analyse", operation_id = "validation_friction",
    params(
        ("quiet" = Option<String>, Query,
            description = "an account that has not failed for so long is not failing any more: `6h`, `2d`; default: a quarter of the range, at least \
                an hour and at most a day"),
        ("from" = Option<String>, Query, description = "start of the range: RFC 3339, a date of UTC (`2026-11-17`: its begin), a time before now (`-30m`, `-7d`), or `now`; default: 24 hours before `to`"), ("to" = Option<String>, Query, description = "end of the range, not included; as `from`, but of a date its end; default: now"),
        ("limit" = Option<u32>, Query, description = "1 to 1000, default 100")),
    responses((status = 200, description = "fields where accounts fail, those with the most stuck accounts first", body = Friction),
        (status = 400, description = "a parameter is wrong"), (status = 503, description = "ClickHouse does not answer"))
)]
pub async fn friction(
    AxumState(shared): AxumState<Shared>,
    Extension(token): Extension<TokenInfo>,
    mut params: Params,
) -> Result<Data<Friction>, ApiError> {
    let filter = params.filter(shared.clock.now_ms());
    let quiet_ms = quiet_of(&mut params);
    let limit = params.limit(ROWS.0, ROWS.1);
    params.finish()?;
    Ok(Data::ok(measure(&shared, &token, &Asked { filter, quiet_ms, limit }).await?))
}

/// Reads `quiet`, milliseconds.
pub(super) fn quiet_of(params: &mut Params) -> Option<i64> {
    params.parsed("quiet", "a length such as 1h, 6h, 2d, at least an hour", |text| {
        duration_ms(text).filter(|ms| *ms >= HOUR_MS)
    })
}

/// What is gone through, and who of it still fails.
pub(super) struct Bounds {
    /// From the first failure on that is gone through.
    pub(super) filter: Filter,
    /// Who failed so long before its end, or later, still fails.
    pub(super) quiet_ms: i64,
}

impl Bounds {
    /// Where no `quiet_ms` is asked for, it follows from the length of what is gone through.
    pub(super) async fn find(
        shared: &Shared,
        token: &TokenInfo,
        filter: &Filter,
        quiet_ms: Option<i64>,
    ) -> Result<Self, ApiError> {
        let from_ms = shared.store.friction_from_ms(&token.project, filter, MAX_FAILURES);
        let from_ms = shared.timed("friction_from", from_ms).await.map_err(|error| unavailable(&error))?;
        let filter = Filter { from_ms, ..filter.clone() };
        let quiet_ms = quiet_ms.unwrap_or_else(|| default_quiet_ms(&filter));
        Ok(Self { filter, quiet_ms })
    }
}

/// A quarter of the range, from an hour to a day.
fn default_quiet_ms(filter: &Filter) -> i64 {
    ((filter.to_ms - filter.from_ms) / 4).clamp(HOUR_MS, 24 * HOUR_MS)
}

pub(crate) async fn measure(shared: &Shared, token: &TokenInfo, asked: &Asked) -> Result<Friction, ApiError> {
    let Bounds { filter, quiet_ms } = Bounds::find(shared, token, &asked.filter, asked.quiet_ms).await?;
    let rows = shared.store.friction(&token.project, &filter, quiet_ms, asked.limit);
    let rows = shared.timed("friction", rows).await.map_err(|error| unavailable(&error))?;
    let stuck_accounts = rows.first().map_or(0, |row| row.stuck_in_all);
    let sight = shared.sight(token);
    let quiet_since_ms = (filter.to_ms - quiet_ms).div_euclid(HOUR_MS) * HOUR_MS;
    Ok(Friction {
        from: rfc3339(filter.from_ms),
        to: rfc3339(filter.to_ms),
        quiet_seconds: quiet_ms / 1000,
        stuck_accounts,
        sentence: sentence(stuck_accounts),
        rows: rows.into_iter().map(|row| sight.friction(row, quiet_since_ms)).collect(),
    })
}

fn sentence(stuck: u64) -> String {
    match stuck {
        0 => "No account is stuck.".to_owned(),
        1 => "One account is stuck.".to_owned(),
        many => format!("{} accounts are stuck.", thousands(many)),
    }
}

impl Sight {
    fn friction(&self, row: FrictionRow, quiet_since_ms: i64) -> FrictionAt {
        let hour = |seconds: u32| rfc3339(i64::from(seconds) * 1000);
        let worst = row.worst.into_iter().map(|(_, minus_attempts, account, last)| FrictionAccount {
            account_id: self.account(account),
            attempts: minus_attempts.unsigned_abs(),
            last_seen: hour(last),
            still_failing: i64::from(last) * 1000 >= quiet_since_ms,
        });
        FrictionAt {
            events: row.events,
            accounts: row.accounts,
            attempts_per_account: (row.accounts > 0).then(|| row.attempts as f64 / row.accounts as f64),
            still_failing: row.still_failing,
            not_seen_again: row.accounts - row.still_failing,
            stuck: row.stuck,
            first_seen: hour(row.first_hour),
            last_seen: hour(row.last_hour),
            worst: worst.collect(),
            route: row.route,
            field: row.field,
        }
    }
}
