//! `GET /api/v1/rate-limits`: who was refused for asking too often, when, and on which routes.

use std::collections::{BTreeMap, BTreeSet};

use axum::{
    Extension,
    extract::State as AxumState,
    response::{IntoResponse, Response},
};
use serde::Serialize;
use utoipa::ToSchema;

use super::{
    Shared,
    answer::{ApiError, Data},
    csv,
    params::Params,
    unavailable,
};
use crate::{
    clock::rfc3339,
    state::TokenInfo,
    store::query::{Episode, Filter, rate_limit::GAP_MS},
};

/// Episodes unless `limit` says otherwise, and at most.
pub(crate) const EPISODES: (usize, usize) = (100, 1000);

/// Accounts, and routes, that are listed.
pub(crate) const TOP: usize = 20;

/// 429s as episodes.
#[derive(Debug, Serialize, ToSchema)]
pub struct RateLimits {
    pub from: String,
    pub to: String,
    /// A longer pause between two 429s ends an episode, seconds.
    pub gap_seconds: i64,
    /// Most events first.
    pub episodes: Vec<LimitEpisode>,
    /// Episodes there are in all. The numbers below are of the 20,000 largest of them.
    pub episodes_in_all: u64,
    /// 429s of all those episodes.
    pub events_in_all: u64,
    /// How many of them came before a reset that an earlier one had announced.
    pub retries_before_reset_in_all: u64,
    /// Routes that they were on: a route of a service is one, in however many environments.
    pub routes_in_all: usize,
    /// The 20 accounts with most 429s; clients without an account by their address.
    pub accounts: Vec<LimitedAccount>,
    /// What the limits were spent on: the 20 with most 429s of the routes of each environment. A route of two environments is there twice.
    pub routes: Vec<LimitedRoute>,
}

/// 429s of one client on one route, with no longer pause than the gap. Cut at the range's ends.
#[derive(Debug, Serialize, ToSchema)]
pub struct LimitEpisode {
    /// Null where the client had no account.
    pub account_id: Option<String>,
    /// The client's address, where it had no account.
    pub client_ip: Option<String>,
    pub service: String,
    pub environment: String,
    pub route: String,
    /// First 429.
    pub start: String,
    /// Last 429.
    pub end: String,
    /// 429s.
    pub events: u64,
    /// Requests allowed per window, as last reported.
    pub limit: Option<u64>,
    /// Requests left, as last reported.
    pub remaining: Option<u64>,
    /// When the window resets, as last reported.
    pub reset: Option<String>,
    /// 429s before a reset that an earlier one had announced.
    pub retries_before_reset: u64,
}

/// The episodes of one client.
#[derive(Debug, Serialize, ToSchema)]
pub struct LimitedAccount {
    /// Null where the client had no account.
    pub account_id: Option<String>,
    /// The client's address, where it had no account.
    pub client_ip: Option<String>,
    pub episodes: usize,
    pub events: u64,
    pub retries_before_reset: u64,
    /// Routes it was refused on: a route of a service is one, in however many environments.
    pub routes: usize,
}

/// The episodes on one route of one environment.
#[derive(Debug, Serialize, ToSchema)]
pub struct LimitedRoute {
    pub service: String,
    pub environment: String,
    pub route: String,
    pub episodes: usize,
    pub events: u64,
    pub retries_before_reset: u64,
    /// Accounts, or addresses without one, that were refused.
    pub accounts: usize,
}

/// Rate-limit episodes.
///
/// Runs of 429s of one account on one route (of one address, where there is no account), with the limit that was told and how many of them came
/// before the reset: what a patient client would have spared itself. Five minutes without a 429 end an episode.
#[utoipa::path(
    get, path = "/api/v1/rate-limits", tag = "watch", operation_id = "rate_limits",
    params(
        ("service" = Option<String>, Query, description = "service that answered, as shipped; several"),
        ("environment" = Option<String>, Query, description = "`production`, `staging` … as shipped; several"),
        ("route" = Option<String>, Query, description = "template of the path: `/api/orders/{id}`; repeat it for several"),
        ("account_id" = Option<String>, Query, description = "account the request was made for; several"),
        ("from" = Option<String>, Query, description = "start of the range: RFC 3339, a date of UTC (`2026-11-17`: its begin), a time before now (`-30m`, `-7d`), or `now`; default: 24 hours before `to`"), ("to" = Option<String>, Query, description = "end of the range, not included; as `from`, but of a date its end; default: now"),
        ("format" = Option<String>, Query, description = "`json` (default), or `csv`: the episodes alone, as a file for spreadsheets"),
        ("limit" = Option<u32>, Query, description = "episodes: 1 to 1000, default 100")),
    responses((status = 200, description = "episodes, top accounts and routes", body = RateLimits), (status = 400, description = "a parameter is wrong"),
        (status = 503, description = "ClickHouse does not answer"))
)]
pub async fn rate_limits(
    AxumState(shared): AxumState<Shared>,
    Extension(token): Extension<TokenInfo>,
    mut params: Params,
) -> Result<Response, ApiError> {
    let filter = filter(&mut params, shared.clock.now_ms());
    let limit = params.limit(EPISODES.0, EPISODES.1);
    let is_file = csv::is_asked(&mut params);
    params.finish()?;
    let found = limited(&shared, &token.project, &filter, limit).await?;
    Ok(if is_file { as_csv(&found) } else { Data::ok(found).into_response() })
}

/// Which 429s a question is about.
pub(crate) fn filter(params: &mut Params, now_ms: i64) -> Filter {
    let (from_ms, to_ms) = params.range(now_ms);
    Filter {
        from_ms,
        to_ms,
        services: params.list("service"),
        environments: params.list("environment"),
        routes: params.texts("route"),
        account_ids: params.list("account_id"),
        ..Filter::default()
    }
}

/// The episodes of a project, the largest `limit` of them, and who and what has most.
pub(crate) async fn limited(
    shared: &Shared,
    project: &str,
    filter: &Filter,
    limit: usize,
) -> Result<RateLimits, ApiError> {
    let asked = shared.store.rate_limit_episodes(project, filter);
    let episodes = shared.timed("rate_limits", asked).await.map_err(|error| unavailable(&error))?;
    Ok(RateLimits::of(filter, episodes, limit))
}

impl RateLimits {
    /// Of all episodes, of which the first `limit` are listed.
    fn of(filter: &Filter, episodes: Vec<Episode>, limit: usize) -> Self {
        Self {
            from: rfc3339(filter.from_ms),
            to: rfc3339(filter.to_ms),
            gap_seconds: GAP_MS / 1000,
            episodes_in_all: episodes.first().map_or(0, |episode| episode.in_all),
            events_in_all: episodes.iter().map(|episode| episode.events).sum(),
            retries_before_reset_in_all: episodes.iter().map(|episode| episode.retries_before_reset).sum(),
            routes_in_all: episodes.iter().map(route).collect::<BTreeSet<_>>().len(),
            accounts: accounts(&episodes),
            routes: routes(&episodes),
            episodes: episodes.into_iter().take(limit).map(LimitEpisode::from).collect(),
        }
    }
}

/// The episodes as a file for spreadsheets.
pub(crate) fn as_csv(found: &RateLimits) -> Response {
    const NAMES: [&str; 12] = [
        "account_id",
        "client_ip",
        "service",
        "environment",
        "route",
        "start",
        "end",
        "events",
        "limit",
        "remaining",
        "reset",
        "retries_before_reset",
    ];
    let number = |number: Option<u64>| number.map_or_else(String::new, |number| number.to_string());
    let text = |text: &Option<String>| text.clone().unwrap_or_default();
    let lines = found.episodes.iter().map(|episode| {
        vec![
            text(&episode.account_id),
            text(&episode.client_ip),
            episode.service.clone(),
            episode.environment.clone(),
            episode.route.clone(),
            episode.start.clone(),
            episode.end.clone(),
            episode.events.to_string(),
            number(episode.limit),
            number(episode.remaining),
            text(&episode.reset),
            episode.retries_before_reset.to_string(),
        ]
    });
    csv::file("rate-limits", std::iter::once(NAMES.map(str::to_owned).to_vec()).chain(lines))
}

/// Of several episodes.
#[derive(Default)]
struct Sum<'a> {
    episodes: usize,
    events: u64,
    retries: u64,
    others: BTreeSet<[&'a str; 2]>,
}

/// Sums by a key, most events first; also how many others each has.
fn sums<'a, const N: usize>(
    episodes: &'a [Episode],
    key: impl Fn(&'a Episode) -> [&'a str; N],
    other: impl Fn(&'a Episode) -> [&'a str; 2],
) -> Vec<([&'a str; N], Sum<'a>)> {
    let mut sums: BTreeMap<[&str; N], Sum<'_>> = BTreeMap::new();
    for episode in episodes {
        let sum = sums.entry(key(episode)).or_default();
        sum.episodes += 1;
        sum.events += episode.events;
        sum.retries += episode.retries_before_reset;
        sum.others.insert(other(episode));
    }
    let mut sums: Vec<_> = sums.into_iter().collect();
    sums.sort_by_key(|(_, sum)| std::cmp::Reverse(sum.events));
    sums.truncate(TOP);
    sums
}

fn place(episode: &Episode) -> [&str; 3] {
    [&episode.service, &episode.environment, &episode.route]
}

/// What is one route, wherever it is deployed.
fn route(episode: &Episode) -> [&str; 2] {
    [&episode.service, &episode.route]
}

fn client(episode: &Episode) -> [&str; 2] {
    [&episode.account_id, &episode.client_ip]
}

fn accounts(episodes: &[Episode]) -> Vec<LimitedAccount> {
    let sums = sums(episodes, client, route);
    let account = |([account_id, client_ip], sum): ([&str; 2], Sum<'_>)| LimitedAccount {
        account_id: some(account_id),
        client_ip: some(client_ip),
        episodes: sum.episodes,
        events: sum.events,
        retries_before_reset: sum.retries,
        routes: sum.others.len(),
    };
    sums.into_iter().map(account).collect()
}

fn routes(episodes: &[Episode]) -> Vec<LimitedRoute> {
    let sums = sums(episodes, place, client);
    let limited = |([service, environment, route], sum): ([&str; 3], Sum<'_>)| LimitedRoute {
        service: service.to_owned(),
        environment: environment.to_owned(),
        route: route.to_owned(),
        episodes: sum.episodes,
        events: sum.events,
        retries_before_reset: sum.retries,
        accounts: sum.others.len(),
    };
    sums.into_iter().map(limited).collect()
}

fn some(text: &str) -> Option<String> {
    (!text.is_empty()).then(|| text.to_owned())
}

impl From<Episode> for LimitEpisode {
    fn from(episode: Episode) -> Self {
        Self {
            account_id: some(&episode.account_id),
            client_ip: some(&episode.client_ip),
            service: episode.service,
            environment: episode.environment,
            route: episode.route,
            start: rfc3339(episode.start_ms),
            end: rfc3339(episode.end_ms),
            events: episode.events,
            limit: episode.limit,
            remaining: episode.remaining,
            reset: episode.reset.map(|seconds| rfc3339(seconds.saturating_mul(1000))),
            retries_before_reset: episode.retries_before_reset,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn episode(account: &str, service: &str, environment: &str, route: &str, events: u64) -> Episode {
        Episode {
            account_id: account.to_owned(),
            client_ip: String::new(),
            service: service.to_owned(),
            environment: environment.to_owned(),
            route: route.to_owned(),
            start_ms: 0,
            end_ms: 0,
            events,
            limit: None,
            remaining: None,
            reset: None,
            retries_before_reset: 1,
            in_all: 30,
        }
    }

    #[test]
    fn a_route_of_several_environments_is_one_route_and_several_rows() {
        let episodes = [
            episode("17", "api", "production", "/a", 5),
            episode("17", "api", "staging", "/a", 3),
            episode("17", "media", "staging", "/a", 2),
            episode("17", "api", "canary", "/a", 1),
            episode("18", "api", "staging", "/a", 1),
        ];
        let accounts = accounts(&episodes);
        assert_eq!((accounts[0].routes, accounts[1].routes), (2, 1), "a route of another service is another one");
        let rows: Vec<_> =
            routes(&episodes).into_iter().map(|row| (row.environment, row.events, row.accounts)).collect();
        let expected = [("production", 5, 1), ("staging", 4, 2), ("staging", 2, 1), ("canary", 1, 1)];
        assert_eq!(rows, expected.map(|(name, events, accounts)| (name.to_owned(), events, accounts)));
    }

    #[test]
    fn numbers_are_of_all_episodes_and_not_of_those_that_are_listed() {
        let routes: Vec<_> = (0..30).map(|number| format!("/{number}")).collect();
        let episodes = routes.iter().map(|route| episode("17", "api", "production", route, 2)).collect();
        let found = RateLimits::of(&Filter::default(), episodes, 10);
        assert_eq!((found.episodes.len(), found.routes.len(), found.accounts.len()), (10, TOP, 1));
        assert_eq!((found.events_in_all, found.retries_before_reset_in_all, found.routes_in_all), (60, 30, 30));
    }
}
