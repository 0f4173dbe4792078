//! Each kind at its edges.

#![allow(clippy::float_cmp, reason = "counts and thresholds are whole numbers")]

use super::*;
use crate::alerts::{RuleSet, counted::Counts};

/// A whole hour; times below are minutes after it.
const BASE: i64 = 500_000 * HOUR_MS;

fn set(text: &str) -> RuleSet {
    RuleSet::parse(&format!("defaults = false\n{text}")).unwrap()
}

fn rule_of(kind: &str, keys: &str) -> RuleSet {
    set(&format!("[[rule]]\nname = 'r'\nkind = '{kind}'\nseverity = 'page'\n{keys}"))
}

const fn at(minute: i64) -> i64 {
    BASE + minute * MINUTE_MS
}

/// The same count in each minute of a range.
fn each(minutes: std::ops::Range<i64>, count: u64) -> Vec<(i64, u64)> {
    minutes.map(|minute| (at(minute), count)).collect()
}

fn evaluated(set: &RuleSet, series: &Series, minute: i64) -> Condition {
    let known = Known { first_ms: Some(BASE - 30 * DAY_MS), listening_since_ms: 0 };
    evaluate(&set.rules[0], &set.objectives, series, known, at(minute))
}

fn holds(set: &RuleSet, series: &Series, minute: i64) -> Option<Finding> {
    match evaluated(set, series, minute) {
        Condition::Holds(finding) => Some(finding),
        Condition::Clear => None,
        Condition::Unknown(reason) => panic!("{reason}"),
    }
}

fn series(steps: Vec<(i64, u64)>) -> Series {
    Series { counted: Counts::new(steps), ..Series::default() }
}

/// 100 requests a minute of a service, and its errors.
fn with_totals(minutes: std::ops::Range<i64>, errors: Vec<(i64, u64)>) -> Series {
    let labels = [("service".to_owned(), "a".to_owned()), ("environment".to_owned(), "p".to_owned())].into();
    let (requests, reports) = (Counts::new(each(minutes.clone(), 100)), Counts::new(each(minutes, 3)));
    Series { labels, requests, reports, ..series(errors) }
}

#[test]
fn a_burn_rate_needs_both_windows() {
    let set = rule_of("server_errors", "windows = [{ long = '1h', short = '5m', burn = 10 }]\n[objectives]\na = 99");
    // 10 % of the objective's budget is 10 requests of 100: for an hour it takes 600 errors of 6,000 requests.
    let burning = with_totals(-600..0, each(-6..0, 100));
    let finding = holds(&set, &burning, 0).unwrap();
    assert!((finding.value - 10.0).abs() < 1e-6 && finding.threshold == 10.0, "{finding:?}");
    assert!(finding.summary.contains("600 of 6000 requests failed") && finding.summary.contains("objective 99 %"));
    assert_eq!(finding.window, (at(-60), at(0)));
    let shorter = with_totals(-600..0, each(-5..0, 100));
    assert_eq!(holds(&set, &shorter, 0), None, "500 in the hour");
    let over = with_totals(-600..0, each(-20..-6, 100));
    assert_eq!(holds(&set, &over, 0), None, "the short window has one minute of errors no more");
}

#[test]
fn few_errors_never_burn_a_budget() {
    let set = rule_of("server_errors", "min_errors = 10\n[objectives]\na = 99");
    let mut quiet = with_totals(-600..0, each(-3..0, 3));
    quiet.requests = Counts::new(each(-10..0, 1));
    assert_eq!(holds(&set, &quiet, 0), None, "9 errors");
    quiet.counted = Counts::new(each(-5..0, 2));
    assert!(holds(&set, &quiet, 0).is_some(), "10 errors of 10 requests");
}

#[test]
fn windows_end_where_the_totals_do_and_late_totals_are_unknown() {
    let set = rule_of("server_errors", "[objectives]\na = 99");
    let burning = with_totals(-600..0, each(-30..0, 100));
    assert_eq!(holds(&set, &burning, 5).unwrap().window.1, at(0));
    let Condition::Unknown(reason) = evaluated(&set, &burning, 6) else { panic!() };
    assert!(reason.starts_with("no request totals since 20"), "{reason}");
    assert_eq!(evaluated(&set, &burning, 25 * 60), Condition::Clear, "gone for a day");
    assert_eq!(holds(&set, &series(each(-30..0, 100)), 0), None, "of a service without totals nothing is said");
}

#[test]
fn a_long_window_begins_on_a_whole_hour() {
    let keys = "windows = [{ long = '1d', short = '6h', burn = 1 }]\n[objectives]\na = 99";
    let set = rule_of("server_errors", keys);
    let burning = with_totals(-2000..30, each(-1500..30, 2));
    let finding = holds(&set, &burning, 30).unwrap();
    assert_eq!(finding.window, (at(-1440), at(30)));
    assert!((finding.value - 2.0).abs() < 1e-6, "{finding:?}");
    let young = with_totals(-1000..30, each(-1000..30, 2));
    assert_eq!(holds(&set, &young, 30), None, "seventeen hours are no day");
}

#[test]
fn server_errors_are_counted_over_the_larger_of_floor_and_usual() {
    let set = rule_of("server_error_count", "window = '5m'\nfloor = 10\nfactor = 3\nmin_accounts = 2");
    let mut errors = series(each(-5..0, 10));
    errors.accounts = vec![(at(-3), 0), (at(-2), 1)];
    let finding = holds(&set, &errors, 0).unwrap();
    assert_eq!((finding.value, finding.threshold), (10.0, 10.0));
    assert!(finding.summary.contains("2 accounts"), "{}", finding.summary);
    assert_eq!(holds(&set, &errors, 1), None, "one minute later: 40 in 5 minutes");
    errors.hours = Counts::new((-24..0).map(|hour| (BASE + hour * HOUR_MS, 300)).collect());
    assert_eq!(holds(&set, &errors, 0), None, "usual is 5 a minute: the threshold is 15");
    errors.hours = Counts::default();
    errors.accounts = vec![(at(-9), 1), (at(-3), 0), (at(-2), 0)];
    assert_eq!(holds(&set, &errors, 0), None, "one account in the window");
    errors.accounts.clear();
    assert!(holds(&set, &errors, 0).is_some(), "no event names an account");
    errors.reports = Counts::new(each(-6..-5, 1));
    assert_eq!(holds(&set, &errors, 0), None, "the service ships totals: its burn rate is watched");
}

/// Promise: totals that stop while requests fail leave no time in which neither rule can tell.
#[test]
fn when_totals_stop_the_count_begins_where_the_burn_rate_ends() {
    let count = rule_of("server_error_count", "window = '5m'\nfloor = 10\nmin_accounts = 1");
    let burn = rule_of("server_errors", "windows = [{long = '1h', short = '5m', burn = 14.4}]");
    let failing = with_totals(-90..0, each(-90..60, 20));
    for minute in 0..60 {
        let knows = !matches!(evaluated(&burn, &failing, minute), Condition::Unknown(_));
        assert_eq!(knows, minute <= 5, "the burn rate at {minute}");
        assert_eq!(holds(&count, &failing, minute).is_some(), !knows, "the count at {minute}");
    }
}

#[test]
fn rate_limits_count_in_a_window_or_by_lasting() {
    let set = rule_of("rate_limited", "window = '5m'\nthreshold = 60\nlasting = '30m'");
    assert_eq!(holds(&set, &series(each(-5..0, 12)), 0).unwrap().value, 60.0);
    assert_eq!(holds(&set, &series(each(-5..0, 12)), 1), None);
    // Two a minute, for half an hour: an episode, until it has paused for more than five minutes.
    let slow = series(each(-30..0, 2));
    let finding = holds(&set, &slow, 0).unwrap();
    assert_eq!((finding.window, finding.value, finding.threshold), ((at(-30), at(0)), 1800.0, 1800.0));
    assert!(holds(&set, &slow, 4).is_some() && holds(&set, &slow, 5).is_none());
    assert_eq!(holds(&set, &slow, -1), None, "58 in 29 minutes");
    let mut gap = each(-40..-10, 3);
    gap.extend(each(-4..0, 3));
    assert_eq!(holds(&set, &series(gap), 0), None, "a pause of seven minutes began another episode");
    let off = rule_of("rate_limited", "lasting = '0s'");
    assert_eq!(holds(&off, &slow, 0), None);
}

#[test]
fn an_error_is_new_once() {
    let set =
        rule_of("new_error", "window = '1h'\nlook_back = '7d'\nmin_events = 5\nmin_accounts = 2\nlearning = '1d'");
    let mut error = series(each(-10..0, 1));
    error.title = "boom".to_owned();
    error.accounts = vec![(at(-10), 0), (at(-2), 1)];
    assert!(holds(&set, &error, 0).unwrap().summary.starts_with("\"boom\": 10 events of 2 accounts since "));
    assert_eq!(holds(&set, &error, -2), None, "one account as yet");
    let nobodys = Series { accounts: Vec::new(), ..error.clone() };
    let summary = holds(&set, &nobodys, 0).unwrap().summary;
    assert!(summary.starts_with("\"boom\": 10 events since ") && summary.contains(" UTC, none in the "), "{summary}");
    assert!(holds(&set, &error, 50).is_some() && holds(&set, &error, 51).is_none(), "an hour after its first event");
    let mut steps = each(-10..0, 1);
    steps.push((BASE - 6 * DAY_MS, 1));
    assert_eq!(holds(&set, &series(steps.clone()), 0), None, "seen six days ago");
    steps.pop();
    steps.push((BASE - 8 * DAY_MS, 1));
    assert!(holds(&set, &series(steps), 0).is_some(), "not for seven days: it is back");
    let young = Known { first_ms: Some(BASE - DAY_MS + 1), listening_since_ms: 0 };
    assert_eq!(
        evaluate(&set.rules[0], &set.objectives, &error, young, at(0)),
        Condition::Clear,
        "all is new on the first day"
    );
}

#[test]
fn a_validation_spike_is_over_the_same_hour_of_earlier_days() {
    let set = rule_of("validation_spike", "deviations = 8\nmin_events = 20");
    let usual: Vec<_> = (1..=14).map(|day| (BASE - day * DAY_MS, if day % 2 == 0 { 100 } else { 110 })).collect();
    let spike = |events| Series { hours: Counts::new(usual.clone()), ..series(vec![(at(3), events)]) };
    // The median is 100 (the lower of two), the median deviation 0 or 10: of seven each, the lower. It counts as its root at least.
    assert_eq!(holds(&set, &spike(180), 10).map(|finding| finding.threshold), Some(180.0));
    assert_eq!(holds(&set, &spike(179), 10), None);
    let nightly: Vec<_> = (1..=14).map(|day| (BASE - day * DAY_MS, 30)).collect();
    let constant = |events| Series { hours: Counts::new(nightly.clone()), ..series(vec![(at(3), events)]) };
    assert_eq!(holds(&set, &constant(30), 10), None, "as every night");
    assert!(holds(&set, &constant(90), 10).is_some());
    assert_eq!(holds(&set, &spike(500), 3), None, "before it happened");
    assert!(holds(&set, &spike(500), 100).is_some(), "through the next hour");
    assert_eq!(holds(&set, &spike(500), 121), None);
}

#[test]
fn with_little_history_a_spike_is_ten_times_the_peak() {
    let set = rule_of("validation_spike", "peak_factor = 10\nmin_events = 20\nlearning = '1d'");
    let known = Known { first_ms: Some(BASE - 2 * DAY_MS), listening_since_ms: 0 };
    let with = |peak, events, known| {
        let spike = Series { hours: Counts::new(vec![(BASE - DAY_MS, peak)]), ..series(vec![(at(3), events)]) };
        matches!(evaluate(&set.rules[0], &set.objectives, &spike, known, at(10)), Condition::Holds(_))
    };
    assert!(with(5, 50, known) && !with(5, 49, known));
    assert!(with(0, 20, known) && !with(0, 19, known), "never seen: at least min_events");
    assert!(
        !with(0, 500, Known { first_ms: Some(BASE - DAY_MS + 11 * MINUTE_MS), listening_since_ms: 0 }),
        "still learning"
    );
}

#[test]
fn a_regular_service_that_stops_is_silent_until_it_returns_or_is_gone_for_a_day() {
    let set = rule_of("silence", "window = '15m'\nregular = 0.9");
    let regular = series(each(-1500..0, 1));
    assert_eq!(holds(&set, &regular, 14), None);
    assert!(holds(&set, &regular, 15).unwrap().summary.contains("nothing received since"));
    assert_eq!(holds(&set, &regular, 24 * 60), None, "gone for a day");
    let rare = series((-100..0).map(|tick| (at(tick * 17), 1)).collect());
    assert_eq!(holds(&set, &rare, 15), None, "some spans had nothing");
    // One pause of an hour was an outage; pauses of ten minutes are usual.
    let mut pausing: Vec<_> = (-150..0).map(|tick| (at(tick * 10), 1)).collect();
    pausing.retain(|(step, _)| !(at(-700)..at(-650)).contains(step));
    let pausing = series(pausing);
    assert_eq!(holds(&set, &pausing, 20), None, "thirty minutes since -10, and no more");
    assert_eq!(holds(&set, &pausing, 21).unwrap().threshold, 1800.0);
    let known = Known { first_ms: Some(0), listening_since_ms: at(1) };
    let deaf = evaluate(&set.rules[0], &set.objectives, &regular, known, at(15));
    assert!(matches!(deaf, Condition::Unknown(_)), "we did not listen for the whole span: a page stays: {deaf:?}");
}
