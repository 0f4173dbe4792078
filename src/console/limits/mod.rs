//! Rate limits: who was refused for asking too often, when, where, and how many retries came too soon.

use std::{collections::BTreeSet, fmt::Write as _};

use askama::Template;
use axum::{Extension, extract::State, response::Response};

use super::{
    Html, Layout, Range, Visit,
    address::Address,
    newest, render,
    view::{
        Column, Explore, Markup, capital, escape, number, percent, plural, scroll,
        time::{self, Format, moment},
    },
};
use crate::{
    http::{
        Shared,
        answer::ApiError,
        params::Params,
        rate_limits::{self, LimitEpisode, LimitedAccount, LimitedRoute, RateLimits},
    },
    state::TokenInfo,
};

/// Episodes that are shown.
const EPISODES: usize = 100;

/// Parameters that filter, by the names of the API.
const FILTERS: [&str; 4] = ["service", "environment", "route", "account_id"];

#[derive(Template)]
#[template(path = "limits/limits.html")]
struct LimitsPage {
    layout: Layout,
    summary: Markup,
    chips: Vec<Markup>,
    accounts: Markup,
    routes: Markup,
    /// What a row of the routes is.
    of_routes: String,
    episodes: Markup,
    /// What is not shown.
    more: String,
    gap: String,
    csv: String,
    /// Where there is nothing to show.
    empty: bool,
    /// Where errors are, if the newest one is outside the range.
    newest: Option<Markup>,
    is_filtered: bool,
    without: String,
    longer: String,
    range: Markup,
}

/// `GET /rate-limits`
pub(super) async fn page(
    State(shared): State<Shared>,
    Extension(token): Extension<TokenInfo>,
    visit: Visit,
    mut params: Params,
) -> Result<Html, ApiError> {
    let range = Range::read(&mut params, &visit);
    let filter = range.filter(rate_limits::filter(&mut params, visit.now_ms));
    params.finish()?;
    let found = rate_limits::limited(&shared, &token.project, &filter, EPISODES).await?;
    let address = Address::of_list(&visit);
    let filters: Vec<_> = address.pairs().iter().filter(|(name, _)| FILTERS.contains(&name.as_str())).collect();
    let events =
        filters.iter().fold(Explore::of(&range).with("status", "429"), |link, (name, value)| link.with(name, value));
    let shown = found.episodes.len() as u64;
    let newest = match shown {
        0 => newest::outside(&shared, &token.project, &range, &visit, newest::OF_ANY_KIND).await?,
        _ => None,
    };
    render(&LimitsPage {
        layout: visit.layout("Rate limits").with_range(&range, &visit),
        summary: summary(&found, &range),
        chips: address.chips_of("/rate-limits", |name| FILTERS.contains(&name)),
        accounts: accounts(&found.accounts, &events),
        routes: routes(&found.routes, &events),
        of_routes: of_routes(&found),
        episodes: episodes(&found.episodes),
        more: if found.episodes_in_all > shown {
            format!("The {} largest of {} are shown.", number(shown), number(found.episodes_in_all))
        } else {
            String::new()
        },
        gap: time::duration(found.gap_seconds * 1000),
        csv: visit.elsewhere("/rate-limits.csv", &[]),
        empty: found.episodes.is_empty(),
        newest,
        is_filtered: !filters.is_empty(),
        without: visit.with_params(&FILTERS.map(|name| (name, ""))),
        longer: visit.with_params(&[("from", "-30d"), ("to", "")]),
        range: range.within(),
    })
}

/// `GET /rate-limits.csv`: the page's episodes as a file, as many as the API gives.
pub(super) async fn file(
    State(shared): State<Shared>,
    Extension(token): Extension<TokenInfo>,
    visit: Visit,
    mut params: Params,
) -> Result<Response, ApiError> {
    let filter = rate_limits::filter(&mut params, visit.now_ms);
    params.finish()?;
    let found = rate_limits::limited(&shared, &token.project, &filter, rate_limits::EPISODES.1).await?;
    Ok(rate_limits::as_csv(&found))
}

/// `412 refusals in 9 episodes on 3 routes in the last 24 h. Account 17 has 61 % of them; 230 came before a reset that had been announced.`
fn summary(found: &RateLimits, range: &Range) -> Markup {
    let (events, retries) = (found.events_in_all, found.retries_before_reset_in_all);
    let mut text = format!(
        "{} in {} on {} {}.",
        plural(events, "refusal", "refusals"),
        plural(found.episodes_in_all, "episode", "episodes"),
        plural(found.routes_in_all as u64, "route", "routes"),
        range.within()
    );
    if let Some(first) = found.accounts.first().filter(|first| events > 0 && first.events * 10 >= events) {
        let share = percent(first.events as f64 / events as f64);
        let client = escape(&capital(&who(first.account_id.as_ref(), first.client_ip.as_ref())));
        let _ = write!(text, " {client} has {share} of them."); // writing to a String cannot fail
    }
    if retries > 0 {
        let came = plural(retries, "request came", "requests came");
        let _ = write!(
            text,
            " {came} before a reset that had been announced: a patient client would have spared itself those."
        );
    }
    Markup::new(text)
}

/// `account 17`, or an address where there is no account.
fn who(account: Option<&String>, address: Option<&String>) -> String {
    match (account, address) {
        (Some(account), _) => format!("account {account}"),
        (None, Some(address)) => format!("{address} (no account)"),
        (None, None) => "nobody known".to_owned(),
    }
}

fn accounts(accounts: &[LimitedAccount], events: &Explore) -> Markup {
    let columns = [
        Column::Row("Client"),
        Column::Number("429s"),
        Column::Number("Episodes"),
        Column::Number("Routes"),
        Column::Number("Before the reset"),
    ];
    let row = |one: &LimitedAccount| {
        // Events have no filter by address.
        let count = match &one.account_id {
            Some(account) => events.clone().with("account_id", account).number(one.events),
            None => number(one.events).into(),
        };
        vec![
            who(one.account_id.as_ref(), one.client_ip.as_ref()).into(),
            count,
            number(one.episodes as u64).into(),
            number(one.routes as u64).into(),
            number(one.retries_before_reset).into(),
        ]
    };
    scroll("Clients with most 429s", &columns, &accounts.iter().map(row).collect::<Vec<_>>())
}

fn routes(routes: &[LimitedRoute], events: &Explore) -> Markup {
    let columns =
        [Column::Row("Route"), Column::Number("429s"), Column::Number("Clients"), Column::Number("Before the reset")];
    let row = |one: &LimitedRoute| {
        let link = events.clone().with("service", &one.service).with("environment", &one.environment);
        vec![
            route(&one.route, &one.service, &one.environment),
            link.with("route", &one.route).number(one.events),
            number(one.accounts as u64).into(),
            number(one.retries_before_reset).into(),
        ]
    };
    scroll("Routes that the limits were spent on", &columns, &routes.iter().map(row).collect::<Vec<_>>())
}

/// What the rows are, where they are not just the routes: the first of more, or several of one route.
fn of_routes(found: &RateLimits) -> String {
    let named: BTreeSet<_> = found.routes.iter().map(|one| (&one.service, &one.route)).collect();
    let (rows, named, all) = (found.routes.len(), named.len(), found.routes_in_all);
    let mut words = Vec::new();
    // Of a route, some environments may be among the rows and others not.
    if named < all || rows >= rate_limits::TOP {
        words.push(format!(
            "The {} rows with most, of {} in all.",
            number(rows as u64),
            plural(all as u64, "route", "routes")
        ));
    }
    if named < rows {
        let routes = plural(named as u64, "route", "routes");
        words.push(format!("{routes} in {} rows: each is of one environment.", number(rows as u64)));
    }
    words.join(" ")
}

/// A route, and below it whose it is.
fn route(route: &str, service: &str, environment: &str) -> Markup {
    let text = if route.is_empty() { "none named" } else { route };
    let place: Vec<_> = [service, environment].into_iter().filter(|text| !text.is_empty()).map(escape).collect();
    Markup::new(format!("<code>{}</code><span class=\"under\">{}</span>", escape(text), place.join(" · ")))
}

fn episodes(episodes: &[LimitEpisode]) -> Markup {
    let columns = [
        Column::Row("Client"),
        Column::Text("Route"),
        Column::Text("Began"),
        Column::Text("Lasted"),
        Column::Number("429s"),
        Column::Number("Limit"),
        Column::Text("Reset"),
        Column::Number("Before the reset"),
    ];
    scroll("Episodes, the largest first", &columns, &episodes.iter().map(episode).collect::<Vec<_>>())
}

fn episode(one: &LimitEpisode) -> Vec<Markup> {
    let (start, end) = (time::parse(&one.start), time::parse(&one.end));
    let lasted = start.zip(end).map(|(start, end)| time::duration(end - start)).unwrap_or_default();
    let link =
        Explore::between(start.unwrap_or_default(), end.unwrap_or_default().saturating_add(1)).with("status", "429");
    let link = link.with("service", &one.service).with("environment", &one.environment).with("route", &one.route);
    let link = link.with("account_id", one.account_id.as_deref().unwrap_or_default());
    let limit = match (one.limit, one.remaining) {
        (Some(limit), Some(left)) if left > 0 => format!("{}, {} left", number(limit), number(left)),
        (Some(limit), _) => number(limit),
        (None, _) => "not told".to_owned(),
    };
    let reset = one.reset.as_deref().and_then(time::parse);
    vec![
        who(one.account_id.as_ref(), one.client_ip.as_ref()).into(),
        route(&one.route, &one.service, &one.environment),
        start.map_or_else(Markup::default, |at| moment(at, Format::Minute)),
        lasted.into(),
        link.number(one.events),
        limit.into(),
        reset.map_or_else(|| "not told".into(), |at| moment(at, Format::Clock)),
        number(one.retries_before_reset).into(),
    ]
}
