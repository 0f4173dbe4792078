//! Who cannot get on, as a table.

use askama::Template;
use axum::{
    Extension,
    extract::State as AxumState,
    response::{IntoResponse, Response},
};

use super::{
    Context, HOUR_MS, chips,
    failures::{accounts_link, explore, field_link},
    step_ms, stuck_words,
};
use crate::{
    console::{
        Layout, Range, Visit, render,
        view::{
            Column, Markup, duration, escape, number, plural, route_code, scroll,
            time::{Format, ago_of, moment_of, parse},
        },
    },
    http::{
        Shared,
        answer::ApiError,
        params::Params,
        validation::friction::{self, Asked, Friction, FrictionAccount, FrictionAt},
    },
    state::TokenInfo,
    store::query::{Filter, FrictionState},
};

/// Rows of the table.
const ROWS: usize = 20;

#[derive(Template)]
#[template(path = "validation/friction_page.html")]
struct FrictionPage {
    layout: Layout,
    sentence: String,
    /// How the title of the page goes on that asks for this part.
    goes_on: String,
    chips: Vec<Markup>,
    friction: FrictionView,
    back: String,
}

pub(super) struct FrictionView {
    /// From when on the range was gone through, if not all of it was.
    pub(super) since: Option<Markup>,
    pub(super) is_empty: bool,
    /// Where all accounts are that are stuck; empty where none is.
    pub(super) stuck: Markup,
    /// What the words of the table mean.
    pub(super) legend: String,
    pub(super) table: Markup,
    /// How many rows are shown, where there may be others.
    pub(super) cut: Option<usize>,
}

/// The filter, without what is left of an hour or a day that has begun: who still fails is told by the last hours before the range's end.
pub(super) fn until_now(range: &Range, filter: &Filter, visit: &Visit) -> Filter {
    Filter { to_ms: range.ends_ms(visit.now_ms), ..filter.clone() }
}

/// `GET /validation/friction`: who cannot get on, by itself; where many failures are to be gone through, [the page](super::page) asks for it here
/// when it is there.
pub(in crate::console) async fn page(
    AxumState(shared): AxumState<Shared>,
    Extension(token): Extension<TokenInfo>,
    visit: Visit,
    mut params: Params,
) -> Result<Response, ApiError> {
    let range = Range::read(&mut params, &visit).by_whole_units();
    let filter = range.filter(params.conditions());
    params.finish()?;
    let friction = measure(&shared, &token, &until_now(&range, &filter, &visit)).await?;
    let context = Context { visit: &visit, range: &range, step_ms: step_ms(&filter), filter: &filter };
    let page = FrictionPage {
        sentence: friction.sentence.clone(),
        goes_on: stuck_words(friction.stuck_accounts),
        chips: chips(&visit),
        friction: FrictionView::new(&friction, &context),
        back: visit.elsewhere("/validation", &[]),
        layout: visit.layout("Who cannot get on").with_range(&range, &visit),
    };
    Ok(render(&page)?.into_response())
}

pub(super) async fn measure(shared: &Shared, token: &TokenInfo, filter: &Filter) -> Result<Friction, ApiError> {
    friction::measure(shared, token, &Asked { filter: filter.clone(), quiet_ms: None, limit: ROWS }).await
}

impl FrictionView {
    pub(super) fn new(friction: &Friction, context: &Context<'_>) -> Self {
        const COLUMNS: [Column; 8] = [
            Column::Row("Field"),
            Column::Text("Route"),
            Column::Number("Accounts"),
            Column::Number("Tries each"),
            Column::Number("Stuck"),
            Column::Number("Still failing"),
            Column::Number("Not seen again"),
            Column::Text("Whom to help first"),
        ];
        let since_link = since(&friction.from, context).map(|_| friction.from.as_str());
        let rows: Vec<_> =
            friction.rows.iter().filter(|row| row.accounts > 0).map(|row| cells(row, since_link, context)).collect();
        Self {
            since: since(&friction.from, context),
            stuck: stuck(friction.stuck_accounts, since_link, context),
            is_empty: rows.is_empty(),
            cut: (friction.rows.len() >= ROWS).then_some(rows.len()),
            legend: legend(friction.quiet_seconds),
            table: scroll("Accounts that fail again and again, by field and route", &COLUMNS, &rows),
        }
    }
}

/// From when on a range was gone through, if not all of it was.
pub(super) fn since(from: &str, context: &Context<'_>) -> Option<Markup> {
    let is_cut = parse(from).is_some_and(|from_ms| from_ms > context.filter.from_ms);
    is_cut.then(|| moment_of(from, Format::Minute))
}

/// What the words of the tables mean.
pub(super) fn legend(quiet_seconds: i64) -> String {
    let quiet = duration(quiet_seconds * 1000);
    format!(
        "A try is an hour in which an account failed. Who failed in the last {quiet} of the time that is shown still fails; who tried more than once and still fails is \
         stuck; the others got on, or gave up."
    )
}

/// Where all accounts are that are stuck.
fn stuck(accounts: u64, since: Option<&str>, context: &Context<'_>) -> Markup {
    let words = match accounts {
        0 => return Markup::default(),
        1 => "The account that is stuck".to_owned(),
        many => format!("All {} accounts that are stuck", number(many)),
    };
    let link = accounts_path(&[], Some(FrictionState::Stuck), since, context);
    Markup::new(format!("<a href=\"{}\">{}</a>", escape(&link), escape(&words)))
}

/// The list of accounts with the page's filters but with these values of their own. Where not all of the range was gone through, the list is of what was: else it
/// would be of another time, as fewer failures fit its filters.
fn accounts_path(
    values: &[(&str, &str)],
    state: Option<FrictionState>,
    since: Option<&str>,
    context: &Context<'_>,
) -> String {
    let mut changed = values.to_vec();
    changed.extend([("state", state.map_or("", FrictionState::as_str))]);
    changed.extend(since.map(|since| ("from", since)));
    context.elsewhere("/validation/accounts", &changed)
}

/// A number of accounts of a row that leads to all of them; where there is none, or no filter for the row, it leads nowhere.
fn all_of(row: &FrictionAt, count: u64, state: FrictionState, since: Option<&str>, context: &Context<'_>) -> Markup {
    if count == 0 || row.field.is_empty() || row.route.is_empty() {
        return number(count).into();
    }
    let values = [("field", row.field.as_str()), ("route", row.route.as_str())];
    let link = accounts_path(&values, Some(state), since, context);
    Markup::new(format!("<a href=\"{}\">{}</a>", escape(&link), number(count)))
}

fn cells(row: &FrictionAt, since: Option<&str>, context: &Context<'_>) -> Vec<Markup> {
    let values = [("field", row.field.as_str()), ("route", row.route.as_str())];
    let link = context.failure_link(&values);
    let tries = row.attempts_per_account.map(|tries| format!("{tries:.1}")).unwrap_or_default();
    let all_of = |count, state| all_of(row, count, state, since, context);
    vec![
        field_link(&row.field, link.as_deref()),
        route_code(&row.route),
        accounts_link(row.accounts, link.as_deref()),
        tries.into(),
        Markup::new(format!("<b>{}</b>", all_of(row.stuck, FrictionState::Stuck))),
        all_of(row.still_failing, FrictionState::StillFailing),
        all_of(row.not_seen_again, FrictionState::NotSeenAgain),
        worst(&row.worst, row, context),
    ]
}

/// When an account failed last: the begin of an hour, and that of this hour is hardly ago.
pub(super) fn last(hour: &str, context: &Context<'_>) -> Markup {
    let is_now = parse(hour).is_some_and(|hour_ms| context.visit.now_ms - hour_ms < HOUR_MS);
    if is_now { Markup::from("in this hour") } else { ago_of(hour, context.visit.now_ms) }
}

/// Three accounts, those that are stuck first, each with its events.
fn worst(accounts: &[FrictionAccount], row: &FrictionAt, context: &Context<'_>) -> Markup {
    const NAMED: usize = 3;
    let name = |account: &FrictionAccount| {
        let id = account.account_id.as_str();
        let values = [("field", row.field.as_str()), ("route", row.route.as_str()), ("account_id", id)];
        let link = explore(context, &values).text(id);
        let last = last(&account.last_seen, context);
        let tries = plural(account.attempts, "try", "tries");
        format!("<li>{link} <span class=\"faint\">{}, last {last}</span></li>", escape(&tries))
    };
    Markup::new(format!("<ul class=\"plain lines\">{}</ul>", accounts.iter().take(NAMED).map(name).collect::<String>()))
}
