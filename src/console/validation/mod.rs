//! Validation: which rules users trip over, what would fix most, and who cannot get on.

mod accounts;
mod detail;
mod failures;
mod friction;

use askama::Template;
use axum::{
    Extension,
    extract::State as AxumState,
    response::{IntoResponse, Response},
};

pub(super) use accounts::{file as accounts_file, page as accounts_page};
pub(super) use detail::failure;
pub(super) use friction::page as friction_page;

use super::{
    Layout, Range, Visit,
    address::Address,
    newest, render,
    view::{Explore, Markup, filter_words, percent, plural},
};
use crate::{
    http::{
        Shared,
        answer::ApiError,
        params::Params,
        unavailable,
        validation::{self, Asked, FailureSummary, csv},
    },
    state::TokenInfo,
    store::query::{FailureKey, FailureTrend, Filter},
};

/// Rows of the table of failures, at first and where more are asked for (`rows`); the CSV has more still.
const ROWS: [(&str, usize); 2] = [("25", 25), ("100", 100)];

/// Failures up to which the page says at once who cannot get on.
const FRICTION_AT_ONCE: u64 = 50_000;

/// Rows of the CSV.
const CSV_ROWS: usize = 1000;

/// Bars of a sparkline, about.
const BARS: i64 = 30;

const HOUR_MS: i64 = 3_600_000;
const DAY_MS: i64 = 24 * HOUR_MS;

/// Filters that can be typed.
const FILTERS: [&str; 6] = ["service", "environment", "route", "field", "rule", "account_id"];

#[derive(Template)]
#[template(path = "validation/page.html")]
struct ValidationPage {
    layout: Layout,
    /// What would fix most, and who is stuck: the page's title.
    sentence: String,
    /// The words for the range.
    range: Markup,
    chips: Vec<Markup>,
    filters: FilterForm,
    /// Of no failure at all: what would fill the page.
    is_empty: bool,
    /// Where errors are, if the newest one is outside the range.
    newest: Option<Markup>,
    top: Vec<failures::Top>,
    table: Markup,
    /// How many rows there are, if there are failures without one, and where more are.
    more: Option<(usize, Option<String>)>,
    /// None where it takes long, and is asked for by the page itself.
    friction: Option<friction::FrictionView>,
    friction_path: String,
    csv: String,
}

/// The form that narrows the page down.
struct FilterForm {
    /// Name of the parameter, its label, its value.
    fields: Vec<(&'static str, &'static str, String)>,
    /// What else is in the address.
    kept: Vec<(String, String)>,
}

/// `GET /validation`
pub(super) async fn page(
    AxumState(shared): AxumState<Shared>,
    Extension(token): Extension<TokenInfo>,
    visit: Visit,
    mut params: Params,
) -> Result<Response, ApiError> {
    let range = Range::read(&mut params, &visit).by_whole_units();
    let filter = range.filter(params.conditions());
    let rows = params.parsed("rows", "25 or 100", |text| ROWS.into_iter().find(|(name, _)| *name == text));
    params.finish()?;
    let (_, rows) = rows.unwrap_or(ROWS[0]);
    let asked = asked(filter.clone(), range.ends_ms(visit.now_ms), rows);
    let step_ms = step_ms(&filter);
    let counted = validation::count_and_trends(&shared, &token, &asked, Some(step_ms));
    let ((failures, trends), knows_before) = tokio::try_join!(counted, knows_before(&shared, &token, &asked))?;
    let friction = if failures.summary.failures <= FRICTION_AT_ONCE {
        Some(friction::measure(&shared, &token, &friction::until_now(&range, &filter, &visit)).await?)
    } else {
        None
    };
    let is_empty = failures.rows.is_empty();
    let newest = if is_empty {
        newest::outside(&shared, &token.project, &range, &visit, newest::OF_ANY_KIND).await?
    } else {
        None
    };
    let context = Context { visit: &visit, range: &range, step_ms, filter: &filter };
    let page = ValidationPage {
        sentence: sentence(&failures.summary, friction.as_ref().map(|friction| friction.stuck_accounts)),
        range: range.within(),
        chips: chips(&visit),
        filters: FilterForm::new(&visit),
        is_empty,
        newest,
        top: failures.summary.top.iter().map(|rule| failures::Top::new(rule, &context)).collect(),
        more: (failures.rows.len() >= rows).then(|| (rows, more_rows(&visit, rows))),
        table: failures::table(&failures, &trends, knows_before, &context),
        friction: friction.map(|friction| friction::FrictionView::new(&friction, &context)),
        friction_path: context.elsewhere("/validation/friction", &[]),
        csv: context.elsewhere("/validation.csv", &[]),
        layout: visit.layout("Validation").with_range(&range, &visit),
    };
    Ok(render(&page)?.into_response())
}

/// `GET /validation.csv`
pub(super) async fn table(
    AxumState(shared): AxumState<Shared>,
    Extension(token): Extension<TokenInfo>,
    visit: Visit,
    mut params: Params,
) -> Result<Response, ApiError> {
    let range = Range::read(&mut params, &visit).by_whole_units();
    let filter = range.filter(params.conditions());
    params.finish()?;
    let asked = asked(filter, range.ends_ms(visit.now_ms), CSV_ROWS);
    let (mut failures, knows_before) =
        tokio::try_join!(validation::count(&shared, &token, &asked), knows_before(&shared, &token, &asked))?;
    if !knows_before {
        // A zero would say that there were none.
        failures.rows.iter_mut().for_each(|row| row.previous_count = None);
    }
    Ok(csv::answer(&asked, &failures))
}

fn asked(filter: Filter, ends_ms: i64, limit: usize) -> Asked {
    let previous = Some(validation::before(&filter, ends_ms));
    Asked { filter, group_by: vec![FailureKey::Field, FailureKey::Rule, FailureKey::Route], previous, limit }
}

/// The page with the next larger number of rows, if there is one.
fn more_rows(visit: &Visit, rows: usize) -> Option<String> {
    let (name, _) = ROWS.into_iter().find(|(_, more)| *more > rows)?;
    Some(visit.with_params(&[("rows", name)]))
}

/// Whether there are events of all of the period of the same length before.
async fn knows_before(shared: &Shared, token: &TokenInfo, asked: &Asked) -> Result<bool, ApiError> {
    let Some((before_ms, _)) = asked.previous else { return Ok(false) };
    let has_events = shared.store.has_events_by(&token.project, before_ms);
    shared.timed("has_events_by", has_events).await.map_err(|error| unavailable(&error))
}

/// What the parts of the page are made with.
struct Context<'a> {
    visit: &'a Visit,
    range: &'a Range,
    step_ms: i64,
    filter: &'a Filter,
}

impl Context<'_> {
    /// The page of one failure, with the page's other filters. None where a value is empty, for which there is no filter: the page would be of
    /// more than that.
    fn failure_link(&self, values: &[(&str, &str)]) -> Option<String> {
        let can_be_asked = values.iter().all(|(_, value)| !value.is_empty());
        can_be_asked.then(|| self.elsewhere("/validation/failure", values))
    }

    /// Another page of the same range and filters, some of them set to another value.
    fn elsewhere(&self, path: &str, changed: &[(&str, &str)]) -> String {
        let changed: Vec<_> = changed.iter().copied().chain([("rows", "")]).collect();
        self.visit.elsewhere(path, &changed)
    }

    /// The events of a failure in the period before.
    fn before(&self, values: &[(&str, &str)]) -> Explore {
        let (from_ms, to_ms) = validation::before(self.filter, self.range.ends_ms(self.visit.now_ms));
        failures::with_filters(Explore::between(from_ms, to_ms), self, values)
    }

    /// How often per step of the range.
    fn counts(&self, trend: &FailureTrend) -> Vec<u64> {
        let begin_ms = FailureTrend::begin_ms(self.filter.from_ms, self.step_ms);
        let steps = usize::try_from((self.filter.to_ms - 1 - begin_ms) / self.step_ms + 1).unwrap_or(1);
        let mut counts = vec![0; steps.min(2000)];
        for (step, count) in &trend.steps {
            if let Some(slot) = counts.get_mut(*step as usize) {
                *slot += count;
            }
        }
        counts
    }
}

/// Whole days for ranges of some of them, whole hours for other long ones, as the rollups answer them; a part of the range for short ones.
fn step_ms(filter: &Filter) -> i64 {
    let length_ms = filter.to_ms - filter.from_ms;
    let step_ms = (length_ms / BARS).max(1000);
    if length_ms >= 7 * DAY_MS {
        return ((step_ms + DAY_MS / 2) / DAY_MS).max(1) * DAY_MS;
    }
    if step_ms > HOUR_MS / 3 { (step_ms + HOUR_MS - 1) / HOUR_MS * HOUR_MS } else { step_ms }
}

/// The title. Who is stuck is left out where that is not known yet: the page asks for it.
fn sentence(summary: &FailureSummary, stuck: Option<u64>) -> String {
    let (caused, all) = (summary.top.iter().map(|rule| rule.count).sum::<u64>(), summary.failures);
    let rules = match summary.top.len() {
        0 => return "No validation failed".to_owned(),
        1 => "One rule causes",
        2 => "Two rules cause",
        _ => "Three rules cause",
    };
    let share = if caused == all { "all".to_owned() } else { format!("{} of", percent(summary.top_share)) };
    let stuck = stuck.map(stuck_words).unwrap_or_default();
    format!("{rules} {share} {}{stuck}", plural(all, "validation failure", "validation failures"))
}

/// How the title goes on.
fn stuck_words(stuck: u64) -> String {
    match stuck {
        0 => String::new(),
        1 => "; one account is stuck".to_owned(),
        many => format!("; {} are stuck", plural(many, "account", "accounts")),
    }
}

/// The filters that are on. As typed: who may not see people can only have typed a pseudonym.
fn chips(visit: &Visit) -> Vec<Markup> {
    Address::of(visit).chips(visit.path())
}

impl FilterForm {
    fn new(visit: &Visit) -> Self {
        let asked = visit.params();
        Self {
            fields: FILTERS.map(|name| (name, filter_words(name), visit.param(name))).into(),
            kept: asked.iter().filter(|(name, _)| !FILTERS.contains(&name.as_str())).cloned().collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::validation::TopRule;

    fn summary(counts: &[u64], failures: u64) -> FailureSummary {
        let top = counts.iter().map(|count| TopRule {
            field: "f".into(),
            rule: "required".into(),
            count: *count,
            share: *count as f64 / failures as f64,
        });
        let top_share = counts.iter().sum::<u64>() as f64 / failures.max(1) as f64;
        FailureSummary { failures, top: top.collect(), top_share, sentence: String::new() }
    }

    #[test]
    fn the_title_says_what_would_fix_most_and_who_is_stuck() {
        let told =
            |counts: &[u64], failures, stuck| sentence(&summary(counts, failures), stuck).replace('\u{202f}', " ");
        assert_eq!(
            told(&[2000, 1000, 416], 4812, Some(38)),
            "Three rules cause 71 % of 4 812 validation failures; 38 accounts are stuck"
        );
        assert_eq!(told(&[5], 5, Some(1)), "One rule causes all 5 validation failures; one account is stuck");
        let all = "One rule causes all 5 validation failures";
        assert_eq!([told(&[5], 5, Some(0)), told(&[5], 5, None)], [all, all]);
        assert_eq!(told(&[], 0, Some(0)), "No validation failed");
    }

    #[test]
    fn long_ranges_have_steps_of_whole_hours() {
        let step = |hours: i64| step_ms(&Filter { from_ms: 0, to_ms: hours * HOUR_MS, ..Filter::default() });
        assert_eq!([step(48), step(6 * 24)], [2 * HOUR_MS, 5 * HOUR_MS]);
        assert_eq!([step(7 * 24), step(31 * 24), step(91 * 24)], [24 * HOUR_MS, 24 * HOUR_MS, 72 * HOUR_MS]);
        assert_eq!(step(1), 120_000);
        assert!(step(30) < HOUR_MS || step(30) % HOUR_MS == 0);
    }
}
