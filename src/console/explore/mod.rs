//! Explore: the events that fit some filters, how many there are over time, as a table, as a file, and live. Everything that makes a view is in its
//! address.

mod chart;
mod rows;
mod scan;

use std::time::Duration;

use askama::Template;
use axum::{
    Extension,
    extract::State as AxumState,
    http::HeaderMap,
    response::{IntoResponse, Response},
};

use self::chart::Counted;
use super::{
    Layout, Range, Visit,
    address::{Address, FILTERS},
    newest, render, see_other,
    view::{Markup, Pager, filter_words, plural, time},
};
use crate::{
    clock::rfc3339,
    http::{
        Shared,
        analyse::default_step,
        answer::ApiError,
        events::{
            Viewer,
            export::{self, Format},
            tail,
        },
        params::Params,
        unavailable,
    },
    state::TokenInfo,
    store::query::{Cursor, Filter, Histogram, Page},
};

/// Rows of a page.
const ROWS: usize = 50;

/// How long the events are counted that no rollup counts: a page is there at once.
const PATIENCE: Duration = Duration::from_millis(120);

/// Views to begin with: the words, and their filters.
const VIEWS: [(&str, &[(&str, &str)]); 5] = [
    ("Server errors", &[("status", "5xx")]),
    ("Invalid requests", &[("status", "400"), ("status", "422")]),
    ("Rate limited", &[("status", "429")]),
    ("Not allowed", &[("status", "401"), ("status", "403")]),
    ("Server errors of the last 7 d", &[("from", "-7d"), ("status", "5xx")]),
];

#[derive(Template)]
#[template(path = "explore/page.html")]
struct ExplorePage {
    layout: Layout,
    /// `1 234 errors in the last 24 h`
    headline: Markup,
    /// What is not counted, if something is not.
    uncounted: Option<Markup>,
    chips: Vec<Markup>,
    /// Filters to add: the parameter and its word.
    choices: Vec<(&'static str, &'static str)>,
    /// Parameters that the form keeps.
    kept: Vec<(String, String)>,
    views: Vec<(&'static str, String)>,
    counted: Counted,
    rows: Vec<Markup>,
    pager: Markup,
    /// From when on the range was searched, if not all of it was.
    searched: Option<Markup>,
    /// What would fill an empty page.
    empty: Option<Empty>,
    address: String,
    csv: String,
    ndjson: String,
    tail: String,
    command: String,
    events: u64,
    is_live: bool,
}

/// Why there is nothing, and what to do.
struct Empty {
    /// Whether anything has ever arrived in the project.
    has_events: bool,
    project: String,
    collector: String,
    /// Where the newest error is, if that is outside the range.
    newest: Option<Markup>,
    /// When it was, if there is one.
    last: Option<Markup>,
    /// Longer times, where filters may find something in them.
    wider: Vec<(&'static str, String)>,
    without_filters: Option<String>,
}

/// `GET /explore`
pub(super) async fn page(
    AxumState(shared): AxumState<Shared>,
    Extension(token): Extension<TokenInfo>,
    visit: Visit,
    mut params: Params,
) -> Result<Response, ApiError> {
    let address = Address::of(&visit);
    // The form that adds a filter leads here, and on to the view with it.
    if let Some(place) = added(&address, &mut params) {
        return Ok(see_other(&place));
    }
    let range = Range::read(&mut params, &visit);
    let filter = range.filter(params.conditions());
    let cursor = params.parsed("cursor", "the address of a next page, unchanged", |text| text.parse::<Cursor>().ok());
    let is_live = params.one("live").is_some();
    params.finish()?;
    let viewer = Viewer::of(token, &shared);
    let step_s = u32::try_from(default_step(range.length_ms()) / 1000).unwrap_or(u32::MAX);
    let found = ask(&shared, &viewer, &filter, step_s, cursor).await?;
    let counted = Counted::new(&found.counted, &filter, step_s, &range, &address);
    let empty = if found.page.events.is_empty() && found.searched_from_ms.is_none() {
        Some(empty(&shared, &viewer, (&visit, &range), &address, cursor).await?)
    } else {
        None
    };
    let next = found.page.next.map(|next| address.and("cursor", &next.to_string()).path("/explore"));
    let page = ExplorePage {
        layout: visit.layout("Explore").with_range(&range, &visit),
        headline: headline(&counted, found.page.events.len() as u64, &range),
        uncounted: counted.only_from_ms.map(uncounted),
        chips: address.chips("/explore"),
        choices: FILTERS.iter().map(|(name, _)| (*name, filter_words(name))).collect(),
        kept: address.pairs().to_vec(),
        views: VIEWS.iter().map(|(words, pairs)| (*words, view_path(pairs))).collect(),
        rows: found.page.events.into_iter().map(|event| rows::row(event, &viewer, &shared, &address)).collect(),
        pager: Pager { first: cursor.map(|_| address.path("/explore")), next }.html(),
        searched: found.searched_from_ms.map(|from_ms| time::moment(from_ms, time::Format::Minute)),
        empty,
        csv: address.and("format", "csv").path("/explore/export"),
        ndjson: address.and("format", "ndjson").path("/explore/export"),
        tail: address.without(&["from", "to"]).path("/explore/tail"),
        command: address.tail_command(),
        address: format!("{}{}", shared.config.base_url(), address.path("/explore")),
        events: counted.events,
        counted,
        is_live,
    };
    Ok(render(&page)?.into_response())
}

/// What a page shows of the events.
struct Found {
    page: Page,
    counted: Histogram,
    /// From when on the range was searched, if not all of it was; milliseconds since the Unix epoch.
    searched_from_ms: Option<i64>,
}

async fn ask(
    shared: &Shared,
    viewer: &Viewer,
    filter: &Filter,
    step_s: u32,
    cursor: Option<Cursor>,
) -> Result<Found, ApiError> {
    let (store, project) = (&shared.store, viewer.project());
    let anything = Filter { from_ms: filter.from_ms, to_ms: filter.to_ms, ..Filter::default() };
    let of_all = async {
        let counted = store.histogram(project, &anything, step_s, PATIENCE);
        if *filter == anything { Ok(None) } else { shared.timed("histogram", counted).await.map(Some) }
    };
    let counted = shared.timed("histogram", store.histogram(project, filter, step_s, PATIENCE));
    let (of_all, counted) = tokio::try_join!(of_all, counted).map_err(|error| unavailable(&error))?;
    let first_ms = scan::first_ms(of_all.as_ref().unwrap_or(&counted), filter, cursor);
    let scanned = Filter { from_ms: first_ms, ..filter.clone() };
    let page = shared.timed("search", store.search(project, &scanned, ROWS, cursor)).await;
    let mut page = page.map_err(|error| unavailable(&error))?;
    let is_full = page.next.is_some();
    if !is_full {
        page.next = scan::next(first_ms, &counted, filter, i64::from(step_s) * 1000);
    }
    let searched_from_ms = page.next.filter(|_| !is_full).map(|_| first_ms);
    Ok(Found { page, counted, searched_from_ms })
}

/// `GET /explore/export`: the events of a view as a file.
pub(super) async fn download(
    AxumState(shared): AxumState<Shared>,
    Extension(token): Extension<TokenInfo>,
    mut params: Params,
) -> Result<Response, ApiError> {
    let filter = params.filter(shared.clock.now_ms());
    let format = params.parsed("format", "csv or ndjson", Format::parse);
    params.finish()?;
    let viewer = Viewer::of(token, &shared);
    export::export(&shared, viewer, filter, format.unwrap_or(Format::Csv), export::MOST, None).await
}

/// `GET /explore/tail`: the rows of a view as they come.
pub(super) async fn follow(
    AxumState(shared): AxumState<Shared>,
    Extension(token): Extension<TokenInfo>,
    visit: Visit,
    headers: HeaderMap,
    mut params: Params,
) -> Result<Response, ApiError> {
    let filter = params.conditions();
    let last = tail::last_event(&headers, &mut params);
    params.finish()?;
    let viewer = Viewer::of(token, &shared);
    let address = Address::of(&visit);
    tail::open(&shared, viewer, filter, last, move |event, viewer, shared| {
        // A message of a tail is one line.
        rows::row(event, viewer, shared, &address).as_str().replace('\n', " ").into_bytes()
    })
    .await
}

/// Where the form leads that adds a filter.
fn added(address: &Address, params: &mut Params) -> Option<String> {
    let name = params.one("add")?;
    let value = params.one("value").unwrap_or_default();
    let (name, _) = FILTERS.iter().find(|(filter, _)| *filter == name)?;
    // There is one text; of anything else there may be several.
    let to = if *name == "q" { address.only(name, value.trim()) } else { address.and(name, value.trim()) };
    Some(to.path("/explore"))
}

fn view_path(pairs: &[(&str, &str)]) -> String {
    pairs.iter().fold(Address::default(), |view, (name, value)| view.and(name, value)).path("/explore")
}

/// What was counted, or at least listed: the list goes on to where nothing was counted.
fn headline(counted: &Counted, listed: u64, range: &Range) -> Markup {
    let errors = |events| plural(events, "error", "errors");
    match counted.only_from_ms {
        None => Markup::new(format!("{} {}", errors(counted.events), range.within())),
        Some(from_ms) if counted.events == 0 => {
            let counted = Range { from_ms, from: rfc3339(from_ms), ..range.clone() };
            Markup::new(format!("No errors {}", counted.within()))
        }
        Some(_) => Markup::new(format!("At least {} {}", errors(counted.events.max(listed)), range.within())),
    }
}

/// What of the range the chart does not count.
fn uncounted(counted_from_ms: i64) -> Markup {
    let from = time::moment(counted_from_ms, time::Format::Minute);
    Markup::new(format!(
        "The chart counts what came since {from}: by these filters, older events are counted one by one, which takes longer. The list below \
             goes on to the start of the range; drag over a part of the chart, or choose a shorter time, to count that."
    ))
}

async fn empty(
    shared: &Shared,
    viewer: &Viewer,
    (visit, range): (&Visit, &Range),
    address: &Address,
    cursor: Option<Cursor>,
) -> Result<Empty, ApiError> {
    let span = shared.timed("project_span", shared.store.project_span(viewer.project())).await;
    let span = span.map_err(|error| unavailable(&error))?;
    let has_filters = address.is_filtered() || cursor.is_some();
    let what = if has_filters { "The newest error of this project, whatever the filters," } else { "The newest one" };
    let newest = span.and_then(|span| newest::told(span.last_ms, range, visit, what));
    let wider = [("the last 7 days", "-7d"), ("the last 30 days", "-30d"), ("the last 90 days", "-90d")];
    Ok(Empty {
        has_events: span.is_some(),
        project: viewer.project().to_owned(),
        collector: shared.config.base_url(),
        wider: wider
            .into_iter()
            .filter(|_| has_filters || newest.is_none())
            .map(|(words, from)| (words, address.within(from, "").path("/explore")))
            .collect(),
        newest,
        last: span.map(|span| time::moment(span.last_ms, time::Format::Full)),
        without_filters: has_filters.then(|| address.without(&FILTERS.map(|(name, ..)| name)).path("/explore")),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_view_to_begin_with_is_one_of_filters() {
        for (words, pairs) in VIEWS {
            assert!(
                pairs.iter().all(|(name, _)| *name == "from" || FILTERS.iter().any(|(filter, ..)| filter == name)),
                "{words}"
            );
            assert!(view_path(pairs).starts_with("/explore?"));
        }
    }

    #[test]
    fn the_headline_claims_no_more_than_was_counted() {
        let range = Range { from_ms: 1000, to_ms: 9000, ..Range::default() };
        let counted =
            |events, only_from_ms| Counted { chart: Markup::default(), events, only_from_ms, statuses: Vec::new() };
        let told = |events, only_from_ms| headline(&counted(events, only_from_ms), 2, &range).as_str().to_owned();
        assert!(told(0, None).starts_with("0 errors "), "{}", told(0, None));
        assert!(told(3, Some(5000)).starts_with("At least 3 errors "));
        assert!(told(1, Some(5000)).starts_with("At least 2 errors "), "as many as are listed");
        let none = told(0, Some(5000));
        assert!(none.starts_with("No errors since <time datetime=\"1970-01-01T00:00:05.000Z\""), "{none}");
        let ended = Range { to: "1970-01-01T00:00:09Z".to_owned(), ..range.clone() };
        let none = headline(&counted(0, Some(5000)), 2, &ended);
        assert!(none.as_str().starts_with("No errors from <time datetime=\"1970-01-01T00:00:05.000Z\""), "{none}");
        assert!(none.as_str().contains(" to <time datetime=\"1970-01-01T00:00:09.000Z\""), "{none}");
    }

    #[test]
    fn what_is_not_counted_is_said() {
        let filter = Filter { from_ms: 1000, to_ms: 9000, ..Filter::default() };
        let only_from_ms = |counted_from_ms| {
            let histogram = Histogram { counted_from_ms, ..Histogram::default() };
            Counted::new(&histogram, &filter, 1, &Range::default(), &Address::default()).only_from_ms
        };
        assert_eq!((only_from_ms(1000), only_from_ms(5000)), (None, Some(5000)));
        assert!(uncounted(5000).as_str().contains("1970-01-01T00:00:05.000Z"));
    }
}
