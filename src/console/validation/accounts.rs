//! Every account that cannot get on: where the numbers of friction and of a failure lead.

use askama::Template;
use axum::{
    Extension,
    extract::State as AxumState,
    response::{IntoResponse, Response},
};

use super::{
    Context,
    failures::explore,
    friction::{self, until_now},
    step_ms,
};
use crate::{
    console::{
        Layout, Range, Visit,
        address::Address,
        render,
        view::{
            Column, Markup, capital, number, plural, scroll,
            time::{Format, moment_of},
        },
    },
    http::{
        Shared,
        answer::ApiError,
        params::Params,
        validation::accounts::{self, Asked, FrictionAccountRow, FrictionAccounts},
    },
    state::TokenInfo,
    store::query::FrictionState,
};

/// Rows of the page; the CSV has more.
const ROWS: usize = 200;

#[derive(Template)]
#[template(path = "validation/accounts.html")]
struct AccountsPage {
    layout: Layout,
    title: String,
    tabs: Vec<Tab>,
    chips: Vec<Markup>,
    range: Markup,
    /// From when on the range was gone through, if not all of it was.
    since: Option<Markup>,
    is_empty: bool,
    /// What the words of the table mean.
    legend: String,
    table: Markup,
    /// What is not shown.
    more: String,
    csv: String,
    back: String,
}

/// One of the states that the list can be of.
struct Tab {
    title: String,
    link: String,
    is_here: bool,
}

/// `GET /validation/accounts?field=…&route=…&state=…`
pub(in crate::console) async fn page(
    AxumState(shared): AxumState<Shared>,
    Extension(token): Extension<TokenInfo>,
    visit: Visit,
    params: Params,
) -> Result<Response, ApiError> {
    let (range, asked) = read(&visit, params, ROWS)?;
    let found = accounts::list(&shared, &token, &asked).await?;
    let context = Context { visit: &visit, range: &range, step_ms: step_ms(&asked.filter), filter: &asked.filter };
    let title = title(found.accounts_in_all, asked.state);
    let page = AccountsPage {
        tabs: tabs(&visit, asked.state),
        chips: Address::of_list(&visit).chips(visit.path()),
        range: range.within(),
        since: friction::since(&found.from, &context),
        is_empty: found.rows.is_empty(),
        legend: friction::legend(found.quiet_seconds),
        table: table(&found.rows, &context),
        more: more(&found),
        csv: visit.elsewhere("/validation/accounts.csv", &[]),
        back: visit.elsewhere("/validation", &[("state", ""), ("field", ""), ("rule", ""), ("route", "")]),
        layout: visit.layout(title.clone()).with_range(&range, &visit),
        title,
    };
    Ok(render(&page)?.into_response())
}

/// `GET /validation/accounts.csv`: the page's accounts as a file, as many as the API gives.
pub(in crate::console) async fn file(
    AxumState(shared): AxumState<Shared>,
    Extension(token): Extension<TokenInfo>,
    visit: Visit,
    params: Params,
) -> Result<Response, ApiError> {
    let (_, asked) = read(&visit, params, accounts::ACCOUNTS.1)?;
    Ok(accounts::as_csv(&accounts::list(&shared, &token, &asked).await?))
}

/// The range, and what is asked of it: up to now, as the numbers that lead here are.
fn read(visit: &Visit, mut params: Params, limit: usize) -> Result<(Range, Asked), ApiError> {
    let range = Range::read(&mut params, visit).by_whole_units();
    let filter = range.filter(params.conditions());
    let state = accounts::state_of(&mut params);
    params.finish()?;
    let filter = until_now(&range, &filter, visit);
    Ok((range, Asked { filter, quiet_ms: None, state, limit }))
}

fn title(accounts: u64, state: Option<FrictionState>) -> String {
    let some = plural(accounts, "account", "accounts");
    let (one, many) = match state {
        None => ("failed", "failed"),
        Some(FrictionState::Stuck) => ("is stuck", "are stuck"),
        Some(FrictionState::StillFailing) => ("still fails", "still fail"),
        Some(FrictionState::NotSeenAgain) => ("was not seen again", "were not seen again"),
    };
    match accounts {
        0 => format!("No account {one}"),
        1 => format!("{some} {one}"),
        _ => format!("{some} {many}"),
    }
}

fn tabs(visit: &Visit, chosen: Option<FrictionState>) -> Vec<Tab> {
    let tab = |state: Option<FrictionState>| Tab {
        title: state.map_or_else(|| "All".to_owned(), |state| capital(words(state))),
        link: visit.with_params(&[("state", state.map_or("", FrictionState::as_str))]),
        is_here: state == chosen,
    };
    std::iter::once(None).chain(FrictionState::ALL.map(Some)).map(tab).collect()
}

const fn words(state: FrictionState) -> &'static str {
    match state {
        FrictionState::Stuck => "stuck",
        FrictionState::StillFailing => "still failing",
        FrictionState::NotSeenAgain => "not seen again",
    }
}

/// How many are not shown, and where they are.
fn more(found: &FrictionAccounts) -> String {
    let (shown, all) = (found.rows.len() as u64, found.accounts_in_all);
    if all <= shown {
        return String::new();
    }
    let most = accounts::ACCOUNTS.1 as u64;
    let file = if all <= most { "all of them".to_owned() } else { format!("the {} first", number(most)) };
    format!("The {} that tried most of {}; the CSV has {file}.", number(shown), number(all))
}

fn table(rows: &[FrictionAccountRow], context: &Context<'_>) -> Markup {
    const COLUMNS: [Column; 5] = [
        Column::Row("Account"),
        Column::Number("Tries"),
        Column::Text("First failure"),
        Column::Text("Last failure"),
        Column::Text("State"),
    ];
    let row = |row: &FrictionAccountRow| {
        let id = row.account_id.as_str();
        vec![
            explore(context, &[("account_id", id)]).text(id),
            number(row.attempts).into(),
            moment_of(&row.first_seen, Format::Minute),
            friction::last(&row.last_seen, context),
            state_of(row),
        ]
    };
    scroll("Accounts, those that tried most first", &COLUMNS, &rows.iter().map(row).collect::<Vec<_>>())
}

fn state_of(row: &FrictionAccountRow) -> Markup {
    let (state, class) = match (row.stuck, row.still_failing) {
        (true, _) => (FrictionState::Stuck, " bad"),
        (false, true) => (FrictionState::StillFailing, " no"),
        (false, false) => (FrictionState::NotSeenAgain, ""),
    };
    Markup::new(format!("<span class=\"tag{class}\">{}</span>", words(state)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_title_says_how_many_are_how_far() {
        use FrictionState::{NotSeenAgain, StillFailing, Stuck};
        let told = |accounts, state| title(accounts, state).replace('\u{202f}', " ");
        assert_eq!(told(1234, Some(Stuck)), "1 234 accounts are stuck");
        assert_eq!(told(1, Some(StillFailing)), "1 account still fails");
        assert_eq!(told(2, Some(NotSeenAgain)), "2 accounts were not seen again");
        assert_eq!([told(0, Some(Stuck)), told(3, None)], ["No account is stuck", "3 accounts failed"]);
    }

    #[test]
    fn what_is_not_shown_is_said() {
        let found = |accounts_in_all| FrictionAccounts {
            from: String::new(),
            to: String::new(),
            quiet_seconds: 0,
            accounts_in_all,
            rows: Vec::new(),
        };
        let told = |all| more(&found(all)).replace('\u{202f}', " ");
        assert_eq!(told(0), "");
        assert_eq!(told(10_000), "The 0 that tried most of 10 000; the CSV has all of them.");
        assert!(told(10_001).ends_with("the CSV has the 10 000 first."), "{}", told(10_001));
    }
}
