//! `GET /api/v1/validation/friction/accounts`: every account that fails, not the five worst of a field alone.

use axum::{
    Extension,
    extract::State as AxumState,
    response::{IntoResponse, Response},
};
use serde::Serialize;
use utoipa::ToSchema;

use super::friction::{Bounds, quiet_of};
use crate::{
    clock::rfc3339,
    http::{
        Shared,
        answer::{ApiError, Data},
        csv,
        params::Params,
        privacy::{Shown, Sight},
        unavailable,
    },
    state::TokenInfo,
    store::query::{FailingAccount, Filter, FrictionState},
};

/// Accounts unless `limit` says otherwise, and at most.
pub(crate) const ACCOUNTS: (usize, usize) = (100, 10_000);

/// Accounts that fail.
#[derive(Debug, Serialize, ToSchema)]
pub struct FrictionAccounts {
    /// What was gone through; later than what was asked for where that has more than three million field errors.
    pub from: String,
    pub to: String,
    /// An account whose last attempt was in the last seconds of the range, as many as this, still fails.
    pub quiet_seconds: i64,
    /// Accounts that fit, with those beyond `limit`.
    pub accounts_in_all: u64,
    /// Those with the most attempts first.
    pub rows: Vec<FrictionAccountRow>,
}

/// An account with everything that it failed at and that fits the filters.
#[derive(Debug, Serialize, ToSchema)]
pub struct FrictionAccountRow {
    pub account_id: Shown,
    /// Hours in which it failed, whatever the field.
    pub attempts: u64,
    /// Begin of the first and of the last of them.
    pub first_seen: String,
    pub last_seen: String,
    /// Whether it failed in the last `quiet_seconds` of the range. If not, it got on, or gave up.
    pub still_failing: bool,
    /// Whether it still fails at a field of a route that it attempted more than once.
    pub stuck: bool,
}

/// What was asked of the accounts.
pub(crate) struct Asked {
    pub(crate) filter: Filter,
    /// None: by the length of what is gone through.
    pub(crate) quiet_ms: Option<i64>,
    /// None: all of them.
    pub(crate) state: Option<FrictionState>,
    pub(crate) limit: usize,
}

/// Accounts that fail.
///
/// The accounts that the friction counts, each with how often it tried and whether it still fails. Takes the filters of the event search: with
/// `route` and `field`, they are those of one row of the friction. A token whose only role is `product` sees pseudonyms, which `account_id` takes.
#[utoipa::path(
    get, path = "/api/v1/validation/friction/accounts", tag = "analyse", operation_id = "friction_accounts",
    params(
        ("state" = Option<String>, Query, description = "only accounts that are `stuck`, `still_failing` (those that are stuck too), or `not_seen_again`"),
        ("quiet" = Option<String>, Query,
            description = "an account that has not failed for so long is not failing any more: `6h`, `2d`; default: a quarter of the range, at least \
                an hour and at most a day"),
        ("from" = Option<String>, Query, description = "start of the range: RFC 3339, a date of UTC (`2026-11-17`: its begin), a time before now (`-30m`, `-7d`), or `now`; default: 24 hours before `to`"), ("to" = Option<String>, Query, description = "end of the range, not included; as `from`, but of a date its end; default: now"),
        ("format" = Option<String>, Query, description = "`json` (default), or `csv`: the rows alone, as a file for spreadsheets"),
        ("limit" = Option<u32>, Query, description = "1 to 10000, default 100")),
    responses((status = 200, description = "accounts that fail, those with the most attempts first", body = FrictionAccounts),
        (status = 400, description = "a parameter is wrong"), (status = 503, description = "ClickHouse does not answer"))
)]
pub async fn friction_accounts(
    AxumState(shared): AxumState<Shared>,
    Extension(token): Extension<TokenInfo>,
    mut params: Params,
) -> Result<Response, ApiError> {
    let filter = params.filter(shared.clock.now_ms());
    let quiet_ms = quiet_of(&mut params);
    let state = state_of(&mut params);
    let limit = params.limit(ACCOUNTS.0, ACCOUNTS.1);
    let is_file = csv::is_asked(&mut params);
    params.finish()?;
    let found = list(&shared, &token, &Asked { filter, quiet_ms, state, limit }).await?;
    Ok(if is_file { as_csv(&found) } else { Data::ok(found).into_response() })
}

/// Reads `state`.
pub(crate) fn state_of(params: &mut Params) -> Option<FrictionState> {
    params.choice("state", &FrictionState::ALL, FrictionState::as_str)
}

pub(crate) async fn list(shared: &Shared, token: &TokenInfo, asked: &Asked) -> Result<FrictionAccounts, ApiError> {
    let Bounds { filter, quiet_ms } = Bounds::find(shared, token, &asked.filter, asked.quiet_ms).await?;
    let accounts = shared.store.failing_accounts(&token.project, &filter, quiet_ms, asked.state, asked.limit);
    let accounts = shared.timed("friction_accounts", accounts).await.map_err(|error| unavailable(&error))?;
    let sight = shared.sight(token);
    Ok(FrictionAccounts {
        from: rfc3339(filter.from_ms),
        to: rfc3339(filter.to_ms),
        quiet_seconds: quiet_ms / 1000,
        accounts_in_all: accounts.first().map_or(0, |account| account.in_all),
        rows: accounts.into_iter().map(|account| sight.failing_account(account)).collect(),
    })
}

/// The accounts as a file for spreadsheets.
pub(crate) fn as_csv(found: &FrictionAccounts) -> Response {
    const NAMES: [&str; 6] = ["account_id", "attempts", "first_seen", "last_seen", "still_failing", "stuck"];
    let lines = found.rows.iter().map(|row| {
        vec![
            row.account_id.to_string(),
            row.attempts.to_string(),
            row.first_seen.clone(),
            row.last_seen.clone(),
            row.still_failing.to_string(),
            row.stuck.to_string(),
        ]
    });
    csv::file("failing-accounts", std::iter::once(NAMES.map(str::to_owned).to_vec()).chain(lines))
}

impl Sight {
    fn failing_account(&self, account: FailingAccount) -> FrictionAccountRow {
        let hour = |seconds: u32| rfc3339(i64::from(seconds) * 1000);
        FrictionAccountRow {
            account_id: self.account(account.account),
            attempts: account.attempts,
            first_seen: hour(account.first_hour),
            last_seen: hour(account.last_hour),
            still_failing: account.still_failing,
            stuck: account.stuck,
        }
    }
}
