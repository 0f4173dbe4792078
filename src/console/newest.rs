//! Where the errors of a project are, on a page that finds none in its range: after an import they are of another time than the last day.

use super::{
    Range, Visit,
    view::{
        Markup, escape,
        time::{self, Format, moment},
    },
};
use crate::http::{Shared, answer::ApiError, unavailable};

const DAY_MS: i64 = 86_400_000;

/// What begins the sentence on a page of some errors only.
pub(super) const OF_ANY_KIND: &str = "The newest error of this project, of whatever kind,";

/// A sentence that tells when the newest error of the visitor's project was, and leads there; none where it is in the range, or there is none.
/// `what` begins it: `The newest one`. Asked only for an empty page, it reads the primary key alone.
///
/// # Errors
/// 503 when ClickHouse does not answer.
pub(super) async fn outside(
    shared: &Shared,
    project: &str,
    range: &Range,
    visit: &Visit,
    what: &str,
) -> Result<Option<Markup>, ApiError> {
    let span = shared.timed("project_span", shared.store.project_span(project)).await;
    let span = span.map_err(|error| unavailable(&error))?;
    Ok(span.and_then(|span| told(span.last_ms, range, visit, what)))
}

/// That sentence, of the time of the newest error. The days it leads to are of UTC, and keep the filters of the page.
pub(super) fn told(last_ms: i64, range: &Range, visit: &Visit, what: &str) -> Option<Markup> {
    if (range.from_ms..range.to_ms).contains(&last_ms) {
        return None;
    }
    let date = |ms| time::utc(ms, Format::Date);
    let since = |from_ms| {
        let changed = [("from", date(from_ms)), ("to", date(last_ms))];
        let changed = changed.iter().map(|(name, value)| (*name, value.as_str()));
        // Another range begins at its first page, and what is past does not go on.
        escape(&visit.with_params(&changed.chain([("cursor", ""), ("live", "")]).collect::<Vec<_>>()))
    };
    Some(Markup::new(format!(
        "{what} is of {}: show <a href=\"{}\">its day</a>, or <a href=\"{}\">the week up to it</a>.",
        moment(last_ms, Format::Full),
        since(last_ms),
        since((last_ms - 6 * DAY_MS).max(0)),
    )))
}
