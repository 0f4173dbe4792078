//! Issues: the kinds of errors by state, and one with all that is known of it.

mod issue;
mod rows;

use askama::Template;
use axum::{
    Extension,
    extract::{Path, State, rejection::PathRejection},
    response::Response,
};

use super::{
    Form, Html, Layout, Range, Visit,
    address::Address,
    newest, render,
    view::{Column, Markup, Pager, capital, plural, scroll},
};
use crate::{
    http::{
        Shared,
        answer::ApiError,
        issues::{self, Issues, NewResolution},
        params::Params,
    },
    issues::{IssueState, NEW_MS, Sort},
    state::TokenInfo,
};

#[derive(Template)]
#[template(path = "issues/issues.html")]
struct IssuesPage {
    layout: Layout,
    summary: Markup,
    tabs: Vec<Tab>,
    sorts: Vec<Tab>,
    chips: Vec<Markup>,
    /// What the search field holds, and what of the address it keeps.
    q: String,
    kept: Vec<(String, String)>,
    table: Markup,
    pager: Markup,
    /// Where there is nothing to show: why, and what leads on.
    empty: Option<Empty>,
}

/// One of several ways to see the list.
struct Tab {
    title: String,
    count: String,
    link: String,
    is_here: bool,
}

struct Empty {
    /// Filters are on: without them there may be something.
    is_filtered: bool,
    without: String,
    longer: String,
    range: Markup,
    /// Where errors are, if the newest one is outside the range.
    newest: Option<Markup>,
}

/// Parameters that filter, by the names of the API, beside `state`.
const FILTERS: [&str; 5] = ["q", "service", "environment", "route", "status"];

/// `GET /issues`
pub(super) async fn list(
    State(shared): State<Shared>,
    Extension(token): Extension<TokenInfo>,
    visit: Visit,
    mut params: Params,
) -> Result<Html, ApiError> {
    let range = Range::read(&mut params, &visit);
    let question = issues::question(&mut params, (range.from_ms, range.to_ms));
    params.finish()?;
    let page = issues::page(&shared, &token, &question).await?;
    let asked = visit.params();
    let is_filtered = asked.iter().any(|(name, _)| FILTERS.contains(&name.as_str()) || name == "state");
    let empty = if page.issues.is_empty() {
        let what = if is_filtered { newest::OF_ANY_KIND } else { "The newest one" };
        let newest = newest::outside(&shared, &token.project, &range, &visit, what).await?;
        Some(Empty::new(is_filtered, newest, &visit, &range))
    } else {
        None
    };
    let pager = Pager {
        first: question.after.map(|_| visit.with_params(&[("cursor", "")])),
        next: page.next_cursor.as_ref().map(|cursor| visit.with_params(&[("cursor", cursor)])),
    };
    let columns = [
        Column::Row("Issue"),
        Column::Text("State"),
        Column::Text("Trend"),
        Column::Number("Events"),
        Column::Number("Accounts"),
        Column::Text("First seen"),
        Column::Text("Last seen"),
    ];
    let rows: Vec<_> = page.issues.iter().map(|issue| rows::cells(issue, &range, visit.now_ms)).collect();
    render(&IssuesPage {
        layout: visit.layout("Issues").with_range(&range, &visit),
        summary: summary(&page, &range),
        tabs: tabs(&page, &visit, &question.states),
        sorts: sorts(&visit, question.sort),
        chips: Address::of_list(&visit).chips_of("/issues", |name| FILTERS.contains(&name) && name != "q"),
        q: visit.param("q"),
        kept: asked.into_iter().filter(|(name, _)| name != "q" && name != "cursor").collect(),
        table: scroll(&format!("Issues, {}", range.words()), &columns, &rows),
        pager: pager.html(),
        empty,
    })
}

impl Empty {
    fn new(is_filtered: bool, newest: Option<Markup>, visit: &Visit, range: &Range) -> Self {
        let filters = FILTERS.map(|name| (name, ""));
        let without: Vec<_> = filters.into_iter().chain([("state", ""), ("cursor", "")]).collect();
        Self {
            is_filtered,
            without: visit.with_params(&without),
            longer: visit.with_params(&[("from", "-30d"), ("to", ""), ("cursor", "")]),
            range: range.within(),
            newest,
        }
    }
}

/// `12 issues in the last 24 h: 1 regressed, 2 new.`
fn summary(page: &Issues, range: &Range) -> Markup {
    let in_all: usize = page.by_state.values().sum();
    let told = [IssueState::Regressed, IssueState::Escalating, IssueState::New, IssueState::Resolved];
    let parts: Vec<_> = told
        .iter()
        .filter_map(|state| {
            let count = page.by_state.get(state.as_str()).copied().filter(|count| *count > 0)?;
            Some(format!("{count} {}", state.as_str()))
        })
        .collect();
    let parts = if parts.is_empty() { String::new() } else { format!(": {}", parts.join(", ")) };
    Markup::new(format!("{}, {}{parts}.", plural(in_all as u64, "issue", "issues"), range.shown()))
}

fn tabs(page: &Issues, visit: &Visit, chosen: &[IssueState]) -> Vec<Tab> {
    let count = |state: IssueState| page.by_state.get(state.as_str()).copied().unwrap_or_default();
    let all = Tab {
        title: "All".to_owned(),
        count: page.by_state.values().sum::<usize>().to_string(),
        link: visit.with_params(&[("state", ""), ("cursor", "")]),
        is_here: chosen.is_empty(),
    };
    let of_state = |state: IssueState| Tab {
        title: capital(state.as_str()),
        count: count(state).to_string(),
        link: visit.with_params(&[("state", state.as_str()), ("cursor", "")]),
        is_here: chosen == [state],
    };
    std::iter::once(all).chain(IssueState::ALL.into_iter().map(of_state)).collect()
}

fn sorts(visit: &Visit, chosen: Sort) -> Vec<Tab> {
    let words = |sort| match sort {
        Sort::LastSeen => "seen last",
        Sort::Count => "most events",
        Sort::FirstSeen => "newest",
    };
    let tab = |sort: Sort| Tab {
        title: words(sort).to_owned(),
        count: String::new(),
        link: visit.with_params(&[("sort", sort.as_str()), ("cursor", "")]),
        is_here: sort == chosen,
    };
    Sort::ALL.map(tab).into()
}

/// `GET /issues/{fingerprint}`
pub(super) async fn show(
    State(shared): State<Shared>,
    Extension(token): Extension<TokenInfo>,
    fingerprint: Result<Path<String>, PathRejection>,
    visit: Visit,
    mut params: Params,
) -> Result<Html, ApiError> {
    let fingerprint = issues::parse(fingerprint)?;
    let range = Range::read(&mut params, &visit);
    params.finish()?;
    let detail = issues::whole(&shared, &token, fingerprint, (range.from_ms, range.to_ms), NEW_MS).await?;
    let layout = visit.layout(detail.issue.title.clone()).with_range(&range, &visit);
    render(&issue::page(layout, detail, &range, &token, visit.now_ms))
}

/// `POST /issues/{fingerprint}/resolve`
pub(super) async fn resolve(
    State(shared): State<Shared>,
    Extension(token): Extension<TokenInfo>,
    fingerprint: Result<Path<String>, PathRejection>,
    visit: Visit,
    form: Form,
) -> Result<Response, ApiError> {
    let fingerprint = issues::parse(fingerprint)?;
    let in_release = Some(form.field("in_release").trim().to_owned()).filter(|release| !release.is_empty());
    let asked = NewResolution { in_release, comment: form.field("comment").trim().to_owned() };
    issues::note(&shared, &token, fingerprint, asked).await?;
    let page = format!("/issues/{fingerprint:016x}");
    Ok(visit.send_on(&page, "Resolved. If it is seen again, it comes back as regressed."))
}

/// `POST /issues/{fingerprint}/reopen`
pub(super) async fn reopen(
    State(shared): State<Shared>,
    Extension(token): Extension<TokenInfo>,
    fingerprint: Result<Path<String>, PathRejection>,
    visit: Visit,
) -> Result<Response, ApiError> {
    let fingerprint = issues::parse(fingerprint)?;
    let was_resolved = issues::forget(&shared, &token, fingerprint).await?;
    let message = if was_resolved { "Reopened." } else { "It was not resolved." };
    Ok(visit.send_on(&format!("/issues/{fingerprint:016x}"), message))
}
