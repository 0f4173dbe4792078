//! One failure: what it says, whom it meets, where, and requests to look at.

use askama::Template;
use axum::{
    Extension,
    extract::State as AxumState,
    response::{IntoResponse, Response},
};

use super::{
    Context, chips,
    failures::{accounts_link, counted, documented_tag, explore},
    step_ms,
};
use crate::{
    console::{
        Layout, Range, Visit,
        chart::spark,
        render,
        view::{
            Column, Explore, Markup, code, field_name, number, percent, plural, request_for, route_code, scroll,
            time::{Format, moment_of},
        },
    },
    event::pseudonym::MASK,
    http::{
        Shared,
        answer::ApiError,
        params::Params,
        unavailable,
        validation::{self, Asked, Failure},
    },
    state::TokenInfo,
    store::query::{FailureKey, FailureTrend, Filter},
};

/// Rows of each list.
const ROWS: usize = 20;

/// Accounts that are listed.
const ACCOUNTS: usize = 100;

/// Trends that are summed: one for each field, rule and route of the failure.
const TRENDS: usize = 1000;

#[derive(Template)]
#[template(path = "validation/failure.html")]
struct FailurePage {
    layout: Layout,
    title: String,
    range: Markup,
    chips: Vec<Markup>,
    is_empty: bool,
    /// How often, of whom.
    count: Markup,
    accounts: String,
    spark: Markup,
    messages: Markup,
    who: Markup,
    /// How many accounts are not listed, in words.
    others: String,
    /// The list of all accounts, and the words for it; None where no account is named.
    all_accounts: Option<(String, String)>,
    places: Markup,
    samples: Vec<Markup>,
    back: String,
}

/// `GET /validation/failure?field=…&rule=…&route=…`
pub(in crate::console) async fn failure(
    AxumState(shared): AxumState<Shared>,
    Extension(token): Extension<TokenInfo>,
    visit: Visit,
    mut params: Params,
) -> Result<Response, ApiError> {
    let range = Range::read(&mut params, &visit).by_whole_units();
    let filter = range.filter(params.conditions());
    params.finish()?;
    let sight = shared.sight(&token);
    let by =
        |keys: &[FailureKey]| Asked { filter: filter.clone(), group_by: keys.to_vec(), previous: None, limit: ROWS };
    let (whole, messages, who, places) = (
        by(&[]),
        by(&[FailureKey::Field, sight.message_key()]),
        Asked { limit: ACCOUNTS, ..by(&[FailureKey::Account]) },
        by(&[FailureKey::Route, FailureKey::Rule]),
    );
    let step_ms = step_ms(&filter);
    let (whole, messages, who, places, trends) = tokio::try_join!(
        validation::rows(&shared, &token, &whole),
        validation::rows(&shared, &token, &messages),
        validation::rows(&shared, &token, &who),
        validation::rows(&shared, &token, &places),
        trends(&shared, &token, &filter, step_ms),
    )?;
    let context = Context { visit: &visit, range: &range, step_ms, filter: &filter };
    let mut counts: Vec<u64> = Vec::new();
    for trend in trends.iter().map(|trend| context.counts(trend)) {
        counts.resize(trend.len(), 0);
        counts.iter_mut().zip(trend).for_each(|(sum, count)| *sum += count);
    }
    let all = whole.first();
    let accounts = all.map_or(0, |row| row.accounts);
    let title = title(&filter);
    let events = explore(&context, &[]);
    let count = all.map_or(0, |row| row.count);
    let named = who.iter().filter(|row| !text(row, "account").is_empty()).count() as u64;
    let page = FailurePage {
        range: range.within(),
        chips: chips(&visit),
        is_empty: all.is_none(),
        count: all.map_or_else(Markup::default, |row| header_count(row, &events)),
        accounts: plural(accounts, "account", "accounts"),
        spark: spark(&counts, &format!("{} over the range", plural(count, "failure", "failures"))),
        messages: messages_table(&messages, &context),
        who: who_table(&who, &context),
        others: match accounts.saturating_sub(named) {
            0 => String::new(),
            1 => "One further account is not listed.".to_owned(),
            others => format!("{} further accounts are not listed.", number(others)),
        },
        all_accounts: (accounts > 0).then(|| {
            let words = match accounts {
                1 => "How often this account tried, and whether it still fails".to_owned(),
                many => format!("How often each of the {} accounts tried, and which still fail", number(many)),
            };
            (visit.elsewhere("/validation/accounts", &[]), words)
        }),
        places: places_table(&places, &context),
        samples: whole.iter().flat_map(|row| &row.samples).map(|id| request_for(id, &token)).collect(),
        back: visit.elsewhere("/validation", &[("field", ""), ("rule", ""), ("route", "")]),
        layout: visit.layout(title.clone()).with_range(&range, &visit),
        title,
    };
    Ok(render(&page)?.into_response())
}

/// `113 failures in 85 events`, or `85 failures` where each is in an event of its own.
fn header_count(row: &Failure, events: &Explore) -> Markup {
    let failures = events.text(&plural(row.count, "failure", "failures"));
    if row.events == row.count {
        return failures;
    }
    let in_events = events.text(&plural(row.events, "event", "events"));
    Markup::new(format!("{failures} in {in_events}"))
}

/// How each failure of the filter went over the range.
async fn trends(
    shared: &Shared,
    token: &TokenInfo,
    filter: &Filter,
    step_ms: i64,
) -> Result<Vec<FailureTrend>, ApiError> {
    let trends = shared.store.failure_trends(&token.project, filter, step_ms, TRENDS);
    shared.timed("failure_trends", trends).await.map_err(|error| unavailable(&error))
}

/// What the page is about, in words.
fn title(filter: &Filter) -> String {
    let field = match filter.fields.as_slice() {
        [] => "Every field".to_owned(),
        fields => fields.iter().map(|field| field_name(field)).collect::<Vec<_>>().join(", "),
    };
    match filter.rules.as_slice() {
        [] => format!("{field}: every rule"),
        rules => format!("{field}: {}", rules.join(", ")),
    }
}

fn text<'r>(row: &'r Failure, key: &str) -> &'r str {
    row.keys.get(key).map_or("", |value| value.as_str())
}

fn seen(text: &str) -> Markup {
    moment_of(text, Format::Minute)
}

fn messages_table(messages: &[Failure], context: &Context<'_>) -> Markup {
    const COLUMNS: [Column; 5] = [
        Column::Row("Message"),
        Column::Number("Failures"),
        Column::Number("Share"),
        Column::Text("Last seen"),
        Column::Text("Reference"),
    ];
    let rows: Vec<_> = messages
        .iter()
        .map(|row| {
            let message = text(row, "message");
            // A masked message is no text to search for, and the filters may have the one text that there can be.
            let link = if message.contains(MASK) || context.filter.text.is_some() {
                explore(context, &[("field", text(row, "field"))])
            } else {
                explore(context, &[("field", text(row, "field")), ("q", message)])
            };
            vec![
                // What is searched for is found in longer texts and other fields too: the number says no more than the text leads to.
                link.text(message),
                number(row.count).into(),
                percent(row.share).into(),
                seen(&row.last_seen),
                documented_tag(row.documented == Some(true)),
            ]
        })
        .collect();
    scroll("Messages", &COLUMNS, &rows)
}

fn who_table(who: &[Failure], context: &Context<'_>) -> Markup {
    const COLUMNS: [Column; 4] =
        [Column::Row("Account"), Column::Number("Failures"), Column::Text("First seen"), Column::Text("Last seen")];
    let rows: Vec<_> = who
        .iter()
        .map(|row| {
            let account = text(row, "account");
            let name = if account.is_empty() { Markup::from("no account") } else { Markup::from(account) };
            let count = if account.is_empty() {
                number(row.count).into()
            } else {
                counted(row, &explore(context, &[("account_id", account)]))
            };
            vec![name, count, seen(&row.first_seen), seen(&row.last_seen)]
        })
        .collect();
    scroll("Accounts", &COLUMNS, &rows)
}

fn places_table(places: &[Failure], context: &Context<'_>) -> Markup {
    const COLUMNS: [Column; 4] =
        [Column::Row("Route"), Column::Text("Rule"), Column::Number("Failures"), Column::Number("Accounts")];
    let rows: Vec<_> = places
        .iter()
        .map(|row| {
            let (route, rule) = (text(row, "route"), text(row, "rule"));
            let events = explore(context, &[("route", route), ("rule", rule)]);
            let link = context.failure_link(&[("route", route), ("rule", rule)]);
            let accounts = accounts_link(row.accounts, link.as_deref());
            vec![route_code(route), code(rule), counted(row, &events), accounts]
        })
        .collect();
    scroll("Routes and rules", &COLUMNS, &rows)
}
