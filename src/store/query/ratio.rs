//! Errors and requests, brought together: rates as shares, and gaps as gaps.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    Filter, RateKey, Series, StatusFilter,
    rates::MAX_SERIES,
    served::{RequestPoint, tells_steps},
};

/// Points of all series together at most; the smallest series go.
const MAX_POINTS: usize = 200_000;

/// Errors and requests of one set of labels.
#[derive(Clone, Debug, PartialEq)]
pub struct RatedSeries {
    pub labels: BTreeMap<&'static str, String>,
    pub errors: u64,
    /// Of these labels, the status included; `None` where no totals were reported.
    pub requests: Option<u64>,
    /// Errors of the steps that have requests, per request of these labels, whatever its status. Above 1 where somebody reports errors and not its
    /// requests: then it is no share.
    pub ratio: Option<f64>,
    pub points: Vec<RatedPoint>,
}

/// Errors and requests of one step.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct RatedPoint {
    /// Begin of the step, milliseconds since the Unix epoch.
    pub at_ms: i64,
    /// `None`: a gap, of which nothing is known.
    pub errors: Option<u64>,
    /// `None`: nobody reported.
    pub requests: Option<u64>,
    pub ratio: Option<f64>,
}

/// The steps of a question.
struct Steps {
    length_ms: i64,
    /// Begins of the first and the last one.
    bounds_ms: (i64, i64),
}

/// What the totals say, by step.
#[derive(Default)]
struct Reported<'a> {
    /// Requests by labels.
    requests: BTreeMap<Vec<&'a str>, BTreeMap<i64, u64>>,
    /// Requests by the labels without the status: what errors are a share of.
    all: BTreeMap<Vec<&'a str>, BTreeMap<i64, u64>>,
    /// Steps in which anybody reported, by service and environment as far as these are grouped by.
    steps: BTreeMap<Vec<&'a str>, BTreeSet<i64>>,
}

/// Joins the errors and the requests that one question gave, the series with the most errors first.
///
/// In a series of a service that reports totals, a step without errors counts 0, and the first step of each gap is a point without
/// values. Elsewhere steps without errors are left out.
#[must_use]
pub fn join(
    errors: Vec<Series>,
    requests: &[RequestPoint],
    group_by: &[RateKey],
    filter: &Filter,
    step_seconds: u32,
) -> Vec<RatedSeries> {
    let reported = Reported::of(requests, group_by, filter);
    let length_ms = i64::from(step_seconds.max(1)) * 1000;
    let begin = |time_ms: i64| time_ms.div_euclid(length_ms) * length_ms;
    let steps = Steps { length_ms, bounds_ms: (begin(filter.from_ms), begin(filter.to_ms - 1)) };
    let names = || group_by.iter().map(|key| key.as_str());
    // Of the errors only the largest series are here: what is missing may have some.
    let is_whole = errors.len() < MAX_SERIES;
    let mut series: BTreeMap<Vec<String>, Series> = BTreeMap::new();
    for one in errors {
        series.insert(names().map(|name| one.labels.get(name).cloned().unwrap_or_default()).collect(), one);
    }
    for labels in reported.requests.keys().filter(|_| is_whole) {
        let labels: Vec<String> = labels.iter().map(|&label| label.to_owned()).collect();
        series.entry(labels.clone()).or_insert_with(|| Series {
            labels: names().zip(labels).collect(),
            points: Vec::new(),
            total: 0,
        });
    }
    // Points are made of the series that are shown only: there may be many more, and a series of a service that reports has
    // a point for each step.
    let mut largest: Vec<_> = series.into_iter().collect();
    largest.sort_by_cached_key(|(labels, errors)| std::cmp::Reverse((errors.total, reported.requests_of(labels))));
    largest.truncate(MAX_SERIES);
    let steps = tells_steps(step_seconds).then_some(&steps);
    let mut rated = Vec::new();
    let mut points = 0;
    for (labels, errors) in largest {
        let series = reported.rate(&labels, errors, group_by, steps);
        points += series.points.len();
        if points > MAX_POINTS {
            break;
        }
        rated.push(series);
    }
    rated
}

impl<'a> Reported<'a> {
    fn of(points: &'a [RequestPoint], group_by: &[RateKey], filter: &Filter) -> Self {
        let mut reported = Self::default();
        let status = group_by.iter().position(|key| *key == RateKey::Status);
        for RequestPoint { labels, at, requests, cells } in points {
            let labels: Vec<&str> = labels.iter().map(String::as_str).collect();
            reported.steps.entry(of_reporting(&labels, group_by)).or_default().insert(*at);
            if *cells == 0 {
                continue;
            }
            *reported.all.entry(without_status(&labels, group_by)).or_default().entry(*at).or_default() += requests;
            if status.is_none_or(|status| is_chosen(labels[status], &filter.statuses)) {
                reported.requests.entry(labels).or_default().insert(*at, *requests);
            }
        }
        reported
    }

    /// All requests of these labels.
    fn requests_of(&self, labels: &[String]) -> u64 {
        let labels: Vec<&str> = labels.iter().map(String::as_str).collect();
        self.requests.get(&labels).map_or(0, |steps| steps.values().sum())
    }

    fn rate(&self, labels: &[String], errors: Series, group_by: &[RateKey], steps: Option<&Steps>) -> RatedSeries {
        let labels: Vec<&str> = labels.iter().map(String::as_str).collect();
        let nothing = BTreeMap::new();
        let all = self.all.get(&without_status(&labels, group_by)).unwrap_or(&nothing);
        let requests = self.requests.get(&labels).unwrap_or(&nothing);
        let reported = self.steps.get(&of_reporting(&labels, group_by));
        let (points, counted) = match reported.zip(steps) {
            Some((reported, steps)) => points(&errors.points, reported, (requests, all), steps),
            None => (errors.points.iter().map(of_errors).collect(), errors.total),
        };
        // Steps that cut minutes do not tell which errors came while somebody reported.
        let ratio = steps.and_then(|_| share(counted, all.values().sum()));
        RatedSeries {
            labels: errors.labels,
            errors: errors.total,
            requests: reported.map(|_| requests.values().sum()),
            ratio,
            points,
        }
    }
}

/// The points of a series whose service reports, and the errors of those steps in which it did.
fn points(
    errors: &[(i64, u64)],
    reported: &BTreeSet<i64>,
    (requests, all): (&BTreeMap<i64, u64>, &BTreeMap<i64, u64>),
    steps: &Steps,
) -> (Vec<RatedPoint>, u64) {
    let errors: BTreeMap<i64, u64> = errors.iter().copied().collect();
    let at = |counts: &BTreeMap<i64, u64>, step| counts.get(&step).copied().unwrap_or(0);
    let (mut points, mut counted, mut in_gap) = (Vec::new(), 0, false);
    let mut step = steps.bounds_ms.0;
    while step <= steps.bounds_ms.1 {
        let point = if reported.contains(&step) {
            let errors = at(&errors, step);
            counted += errors;
            let ratio = share(errors, at(all, step));
            Some(RatedPoint { at_ms: step, errors: Some(errors), requests: Some(at(requests, step)), ratio })
        } else {
            errors.get_key_value(&step).map(|(step, errors)| of_errors(&(*step, *errors)))
        };
        if point.is_some() || !in_gap {
            points.push(point.unwrap_or(RatedPoint { at_ms: step, ..RatedPoint::default() }));
        }
        in_gap = point.is_none();
        step = step.saturating_add(steps.length_ms);
    }
    (points, counted)
}

fn of_errors((at_ms, errors): &(i64, u64)) -> RatedPoint {
    RatedPoint { at_ms: *at_ms, errors: Some(*errors), ..RatedPoint::default() }
}

fn share(errors: u64, requests: u64) -> Option<f64> {
    (requests > 0).then(|| errors as f64 / requests as f64)
}

fn without_status<'a>(labels: &[&'a str], group_by: &[RateKey]) -> Vec<&'a str> {
    of_keys(labels, group_by, |key| key != RateKey::Status)
}

/// Reporters leave out what they did not serve; so whether anybody reported is asked of the service as a whole.
fn of_reporting<'a>(labels: &[&'a str], group_by: &[RateKey]) -> Vec<&'a str> {
    of_keys(labels, group_by, |key| matches!(key, RateKey::Service | RateKey::Environment))
}

fn of_keys<'a>(labels: &[&'a str], group_by: &[RateKey], is_one: impl Fn(RateKey) -> bool) -> Vec<&'a str> {
    labels.iter().zip(group_by).filter(|(_, key)| is_one(**key)).map(|(label, _)| *label).collect()
}

/// Whether a filter of statuses lets this one pass.
fn is_chosen(status: &str, filter: &[StatusFilter]) -> bool {
    filter.is_empty() || status.parse().is_ok_and(|status| filter.iter().any(|chosen| chosen.holds(status)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: i64 = 60_000;

    fn requests(labels: &[&str], minute: i64, requests: u64) -> RequestPoint {
        let labels = labels.iter().map(|&label| label.to_owned()).collect();
        RequestPoint { labels, at: minute * MINUTE, requests, cells: u64::from(requests > 0) }
    }

    fn errors(labels: &[(&'static str, &str)], points: &[(i64, u64)]) -> Series {
        Series {
            labels: labels.iter().map(|(name, value)| (*name, (*value).to_owned())).collect(),
            points: points.iter().map(|(minute, errors)| (minute * MINUTE, *errors)).collect(),
            total: points.iter().map(|(_, errors)| errors).sum(),
        }
    }

    fn of_minutes(minutes: i64) -> Filter {
        Filter { from_ms: 0, to_ms: minutes * MINUTE, ..Filter::default() }
    }

    type Shown = (i64, Option<u64>, Option<u64>, Option<f64>);

    fn shown(series: &RatedSeries) -> Vec<Shown> {
        series.points.iter().map(|p| (p.at_ms / MINUTE, p.errors, p.requests, p.ratio)).collect()
    }

    #[test]
    fn a_gap_is_a_gap_and_a_step_without_errors_is_zero() {
        let errors = vec![errors(&[], &[(1, 5), (4, 2)])];
        let totals = [requests(&[], 1, 50), requests(&[], 2, 10), requests(&[], 7, 0)];
        let [series] = &join(errors, &totals, &[], &of_minutes(9), 60)[..] else { panic!() };
        let expected = [
            (0, None, None, None),
            (1, Some(5), Some(50), Some(0.1)),
            (2, Some(0), Some(10), Some(0.0)),
            (3, None, None, None),
            (4, Some(2), None, None),
            (5, None, None, None),
            (7, Some(0), Some(0), None),
            (8, None, None, None),
        ];
        assert_eq!(shown(series), expected);
        // The two errors of the minute that nobody reported are a share of nothing.
        assert_eq!((series.errors, series.requests, series.ratio), (7, Some(60), Some(5.0 / 60.0)));
    }

    #[test]
    fn more_errors_than_requests_are_told_as_they_are() {
        let errors = vec![errors(&[], &[(0, 5)])];
        let [series] = &join(errors, &[requests(&[], 0, 4)], &[], &of_minutes(1), 60)[..] else { panic!() };
        assert_eq!((shown(series), series.ratio), (vec![(0, Some(5), Some(4), Some(1.25))], Some(1.25)));
    }

    #[test]
    fn a_status_is_a_share_of_all_requests_and_the_statuses_add_up() {
        let of = |status| errors(&[("status", status)], &[(0, 3)]);
        let totals = [requests(&["200"], 0, 90), requests(&["422"], 0, 3), requests(&["500"], 0, 7)];
        let by = [RateKey::Status];
        let series = join(vec![of("422")], &totals, &by, &of_minutes(1), 60);
        let told: Vec<_> =
            series.iter().map(|s| (s.labels["status"].as_str(), s.errors, s.requests, s.ratio)).collect();
        let none = Some(0.0);
        assert_eq!(told, [("422", 3, Some(3), Some(0.03)), ("200", 0, Some(90), none), ("500", 0, Some(7), none)]);
        let filter = Filter { statuses: vec![StatusFilter::Class(4)], ..of_minutes(1) };
        let [series] = &join(vec![of("422")], &totals, &by, &filter, 60)[..] else { panic!() };
        assert_eq!(shown(series), [(0, Some(3), Some(3), Some(0.03))]);
    }

    #[test]
    fn what_a_reporting_service_did_not_serve_is_zero_and_another_service_is_a_gap() {
        let by = [RateKey::Service, RateKey::Route];
        let totals =
            [requests(&["api", "/a/"], 0, 4), requests(&["api", "/a/"], 1, 4), requests(&["api", "/b/"], 1, 1)];
        let silent = errors(&[("service", "web"), ("route", "/")], &[(0, 1)]);
        let series = join(vec![silent], &totals, &by, &of_minutes(2), 60);
        let told: Vec<_> = series.iter().map(|s| (s.labels["route"].as_str(), shown(s))).collect();
        let expected: [(&str, Vec<Shown>); 3] = [
            ("/", vec![(0, Some(1), None, None)]),
            ("/a/", vec![(0, Some(0), Some(4), Some(0.0)), (1, Some(0), Some(4), Some(0.0))]),
            ("/b/", vec![(0, Some(0), Some(0), None), (1, Some(0), Some(1), Some(0.0))]),
        ];
        assert_eq!(told, expected);
    }

    #[test]
    fn steps_that_cut_minutes_have_requests_as_a_whole_only() {
        let totals = [requests(&[], 0, 40)];
        let [series] = &join(vec![errors(&[], &[(1, 2)])], &totals, &[], &of_minutes(5), 90)[..] else { panic!() };
        assert_eq!(shown(series), [(1, Some(2), None, None)]);
        assert_eq!((series.requests, series.ratio), (Some(40), None));
    }

    #[test]
    fn series_and_points_are_bounded_and_no_hidden_errors_are_called_none() {
        let labels: Vec<String> = (0..MAX_SERIES).map(|number| format!("/{number}/")).collect();
        let all: Vec<_> = labels.iter().map(|route| errors(&[("route", route)], &[(0, 1)])).collect();
        let totals: Vec<_> = (0..4999).map(|minute| requests(&["/hidden/"], minute, 1)).collect();
        let series = join(all, &totals, &[RateKey::Route], &of_minutes(5000), 60);
        assert!(series.iter().all(|series| series.errors == 1), "a route that may have errors is left out");
        assert_eq!(series.len(), MAX_POINTS / 5000);
    }
}
