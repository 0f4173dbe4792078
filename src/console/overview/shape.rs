//! Errors over time by kind, with their sums and their share of requests.

use crate::{
    console::{
        Range,
        chart::{Band, Mark, Shade, Stacked},
        view::{Explore, Family, Markup, number, share, time::per},
    },
    store::query::RatedSeries,
};

/// What the chart shows, in numbers.
pub(super) struct Shape {
    pub(super) chart: Markup,
    pub(super) errors: Markup,
    /// None where nobody reports requests.
    pub(super) requests: Option<OfRequests>,
    pub(super) families: Vec<FamilySum>,
    pub(super) is_empty: bool,
}

/// What the errors are a part of.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct OfRequests {
    pub(super) requests: String,
    /// None where it is not known: fewer requests than errors were reported, so there were some that nobody reported.
    pub(super) share: Option<String>,
}

pub(super) struct FamilySum {
    pub(super) class: &'static str,
    pub(super) words: &'static str,
    pub(super) errors: Markup,
}

impl Shape {
    pub(super) fn new(
        series: &[RatedSeries],
        range: &Range,
        step_s: u32,
        (shades, marks): (Vec<Shade>, Vec<Mark>),
    ) -> Self {
        let step_ms = i64::from(step_s) * 1000;
        let from_ms = range.from_ms.div_euclid(step_ms) * step_ms;
        let steps = usize::try_from((range.to_ms - 1 - from_ms).div_euclid(step_ms) + 1).unwrap_or(0);
        let bands = bands(series, from_ms, step_ms, steps);
        let errors: u64 = series.iter().map(|series| series.errors).sum();
        let requests = requests(series);
        let of_requests = requests.map(|all| OfRequests {
            requests: number(all),
            // Of no requests, no errors are no part.
            share: if errors > all { None } else { share(errors as f64 / all.max(1) as f64) },
        });
        let chart = Stacked {
            id: "errors",
            title: "Errors over time by kind".to_owned(),
            description: description(errors, of_requests.as_ref(), range),
            events: Explore::default(),
            unit: format!("errors per {}", per(step_ms)),
            from_ms,
            step_ms,
            counted_ms: Some((range.from_ms, range.to_ms)),
            gaps_are: None,
            known: known(series, from_ms, step_ms, steps),
            bands,
            shades,
            marks,
        };
        Self {
            errors: Explore::of(range).number(errors),
            requests: of_requests,
            families: sums(series, range),
            is_empty: errors == 0 && requests.is_none(),
            chart: chart.html(),
        }
    }
}

/// What one sees, in a sentence.
fn description(errors: u64, of_requests: Option<&OfRequests>, range: &Range) -> String {
    let sum = format!("{} errors, {}", number(errors), range.words());
    match of_requests {
        Some(OfRequests { requests, share: None }) => {
            format!("{sum}: more than the {requests} requests that were reported, so their share is not known.")
        }
        _ => format!("{sum}."),
    }
}

fn status(series: &RatedSeries) -> Option<u16> {
    series.labels.get("status")?.parse().ok()
}

fn bands(series: &[RatedSeries], from_ms: i64, step_ms: i64, steps: usize) -> Vec<Band> {
    let mut bands = Family::ALL.map(|family| Band { family, counts: vec![0; steps] });
    for one in series {
        let Some(family) = status(one).filter(|status| *status >= 400).map(Family::of) else { continue };
        let Some(band) = bands.iter_mut().find(|band| band.family == family) else { continue };
        for point in &one.points {
            let step = usize::try_from((point.at_ms - from_ms).div_euclid(step_ms)).ok();
            if let Some(count) = step.and_then(|step| band.counts.get_mut(step)) {
                *count += point.errors.unwrap_or(0);
            }
        }
    }
    bands.into()
}

/// Steps of which something is known: where requests are reported, those that were reported or had errors; else all.
fn known(series: &[RatedSeries], from_ms: i64, step_ms: i64, steps: usize) -> Vec<bool> {
    if series.iter().all(|series| series.requests.is_none()) {
        return vec![true; steps];
    }
    let mut known = vec![false; steps];
    for point in series.iter().flat_map(|series| &series.points).filter(|point| point.errors.is_some()) {
        let step = usize::try_from((point.at_ms - from_ms).div_euclid(step_ms)).ok();
        if let Some(known) = step.and_then(|step| known.get_mut(step)) {
            *known = true;
        }
    }
    known
}

/// All requests, whatever became of them.
fn requests(series: &[RatedSeries]) -> Option<u64> {
    let mut counted = series.iter().filter_map(|series| series.requests).peekable();
    counted.peek()?;
    Some(counted.sum())
}

/// The sums of each kind that there is, the largest first. A link names the statuses that are of it.
fn sums(series: &[RatedSeries], range: &Range) -> Vec<FamilySum> {
    let mut sums: Vec<(Family, u64, Vec<String>)> = Family::ALL.map(|family| (family, 0, Vec::new())).into();
    for one in series.iter().filter(|series| series.errors > 0) {
        let Some(status) = status(one) else { continue };
        if let Some((_, errors, statuses)) = sums.iter_mut().find(|(family, ..)| *family == Family::of(status)) {
            *errors += one.errors;
            statuses.push(status.to_string());
        }
    }
    sums.retain(|(_, errors, _)| *errors > 0);
    sums.sort_by_key(|(_, errors, _)| std::cmp::Reverse(*errors));
    let sum = |(family, errors, statuses): (Family, u64, Vec<String>)| FamilySum {
        class: family.class(),
        words: family.words(),
        errors: Explore::of(range).with("status", statuses.join(",")).number(errors),
    };
    sums.into_iter().map(sum).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::query::RatedPoint;

    const MINUTE: i64 = 60_000;

    fn series(status: &str, errors: u64, requests: Option<u64>, points: &[(i64, Option<u64>)]) -> RatedSeries {
        let point = |(minute, errors): &(i64, Option<u64>)| RatedPoint {
            at_ms: minute * MINUTE,
            errors: *errors,
            ..RatedPoint::default()
        };
        RatedSeries {
            labels: [("status", status.to_owned())].into(),
            errors,
            requests,
            ratio: None,
            points: points.iter().map(point).collect(),
        }
    }

    #[test]
    fn kinds_are_summed_and_unreported_steps_are_gaps() {
        let range = Range { from_ms: 0, to_ms: 4 * MINUTE, ..Range::default() };
        let all = [
            series("200", 0, Some(90), &[(0, Some(0)), (1, None), (3, Some(0))]),
            series("400", 3, Some(3), &[(0, Some(3))]),
            series("422", 4, Some(4), &[(3, Some(4))]),
            series("500", 1, Some(3), &[(3, Some(1))]),
        ];
        assert_eq!(known(&all, 0, MINUTE, 4), [true, false, false, true]);
        let bands = bands(&all, 0, MINUTE, 4);
        let of = |family| bands.iter().find(|band| band.family == family).unwrap().counts.clone();
        assert_eq!((of(Family::Validation), of(Family::Server)), (vec![3, 0, 0, 4], vec![0, 0, 0, 1]));
        let shape = Shape::new(&all, &range, 60, (vec![], vec![]));
        let of_requests = OfRequests { requests: "100".into(), share: Some("8.0\u{202f}%".into()) };
        assert_eq!(shape.requests, Some(of_requests));
        let sums: Vec<_> = shape.families.iter().map(|sum| (sum.words, sum.errors.as_str())).collect();
        assert_eq!(
            sums,
            [
                ("Invalid requests", "<a href=\"/explore?status=400%2C422\">7</a>"),
                ("Server errors", "<a href=\"/explore?status=500\">1</a>")
            ]
        );
    }

    #[test]
    fn more_errors_than_requests_are_no_share() {
        let range = Range { from_ms: 0, to_ms: 2 * MINUTE, ..Range::default() };
        let of = |errors, requests| {
            let all = [series("500", errors, Some(requests), &[(1, Some(errors))])];
            let shape = Shape::new(&all, &range, 60, (vec![], vec![]));
            let says = "so their share is not known.";
            let of_requests = shape.requests.unwrap();
            assert_eq!(shape.chart.as_str().contains(says), of_requests.share.is_none(), "{}", shape.chart);
            of_requests.share
        };
        assert_eq!((of(27, 25), of(1, 0)), (None, None));
        assert_eq!((of(25, 25), of(0, 0)), (Some("100\u{202f}%".into()), Some("0\u{202f}%".into())));
    }

    #[test]
    fn where_nobody_reports_requests_a_step_without_errors_is_none() {
        let range = Range { from_ms: 0, to_ms: 2 * MINUTE, ..Range::default() };
        let all = [series("429", 5, None, &[(1, Some(5))])];
        assert_eq!(known(&all, 0, MINUTE, 2), [true, true]);
        assert_eq!(Shape::new(&all, &range, 60, (vec![], vec![])).requests, None);
        assert!(Shape::new(&[], &range, 60, (vec![], vec![])).is_empty);
    }
}
