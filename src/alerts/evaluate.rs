//! (rule, series, time) → does the condition hold, and why. Pure.

use super::{
    counted::Series,
    rule::{
        BY_THE_MINUTE_MS, BurnRate, BurnWindow, DAY_MS, EPISODE_GAP_MS, ErrorCount, HOUR_MS, Kind, MINUTE_MS, NewError,
        Objectives, RateLimited, Rule, Silence, TOTALS_LAG_MS, ValidationSpike,
    },
};

/// Days of history from which on a validation spike goes by the same hour of earlier days.
const DAYS_TO_COMPARE: i64 = 7;

/// A service is silent when it pauses so many times as long as it does at times.
const USUAL_GAPS: i64 = 3;

/// What a rule's condition is at a time.
#[derive(Clone, Debug, PartialEq)]
pub enum Condition {
    Holds(Finding),
    Clear,
    /// There are no data to tell by: whatever state it is in, it stays. The text says since when.
    Unknown(String),
}

/// Why a condition holds.
#[derive(Clone, Debug, PartialEq)]
pub struct Finding {
    pub value: f64,
    /// What the value is over.
    pub threshold: f64,
    /// Number and threshold in words.
    pub summary: String,
    /// What was looked at, milliseconds since the Unix epoch; the end is not in it.
    pub window: (i64, i64),
}

/// What an evaluation knows beside the series.
#[derive(Clone, Copy, Debug, Default)]
pub struct Known {
    /// The project's first event, milliseconds since the Unix epoch; none where it has none.
    pub first_ms: Option<i64>,
    /// Since when everything that was sent could be received; 0 in a replay, where that is not known.
    pub listening_since_ms: i64,
}

/// Evaluates a rule for one of its series at `end`, which no window reaches past.
#[must_use]
pub fn evaluate(rule: &Rule, objectives: &Objectives, series: &Series, known: Known, end: i64) -> Condition {
    match &rule.kind {
        Kind::ServerErrors(kind) => burn_rate(kind, objectives, series, end),
        Kind::ServerErrorCount(kind) => error_count(kind, series, end),
        Kind::RateLimited(kind) => rate_limited(kind, series, end),
        Kind::NewError(kind) => new_error(kind, series, known, end),
        Kind::ValidationSpike(kind) => validation_spike(kind, series, known, end),
        Kind::Silence(kind) => silence(kind, series, known, end),
    }
}

fn burn_rate(kind: &BurnRate, objectives: &Objectives, series: &Series, end: i64) -> Condition {
    let Some(last) = series.reports.last(end).filter(|last| end - last < DAY_MS) else { return Condition::Clear };
    // Totals of a minute are reported after it: the windows end where the reports do.
    let reported = (last + MINUTE_MS).min(end);
    if end - reported > TOTALS_LAG_MS {
        return Condition::Unknown(format!("no request totals since {}", crate::clock::rfc3339(reported)));
    }
    let label = |name| series.labels.get(name).map_or("", String::as_str);
    let objective = objectives.of(label("service"), label("environment"));
    let burns = kind.windows.iter().filter_map(|window| burn(*window, kind.min_errors, objective, series, reported));
    // Of several, the one that is furthest over its threshold.
    let over = |finding: &Finding| finding.value / finding.threshold;
    burns.max_by(|left, right| over(left).total_cmp(&over(right))).map_or(Condition::Clear, Condition::Holds)
}

/// The finding of one pair of windows, if both are over their burn rate.
fn burn(window: BurnWindow, min_errors: u64, objective: f64, series: &Series, end: i64) -> Option<Finding> {
    let begin = match end - window.long_ms {
        begin if window.long_ms > BY_THE_MINUTE_MS => begin.div_euclid(HOUR_MS) * HOUR_MS,
        begin => begin,
    };
    // Three days of which half a day is known are no three days.
    if window.long_ms > BY_THE_MINUTE_MS && series.requests.first(i64::MIN, begin + BY_THE_MINUTE_MS).is_none() {
        return None;
    }
    let part = |from| {
        let (errors, requests) = (series.counted.between(from, end), series.requests.between(from, end));
        (errors, requests, if requests == 0 { 0.0 } else { errors as f64 / requests as f64 })
    };
    let (errors, requests, long) = part(begin);
    let (_, _, short) = part(end - window.short_ms);
    let allowed = 1.0 - objective;
    let (long, short) = (long / allowed, short / allowed);
    // A hair less, for what 1 - 0.99 is short of 0.01.
    let over = window.burn * (1.0 - 1e-9);
    if long < over || short < over || errors < min_errors {
        return None;
    }
    let summary = format!(
        "burns its error budget {} times as fast as it may over {}, and {} times over {} (threshold {}; objective {} %): \
         {errors} of {requests} requests failed",
        number(long),
        span(window.long_ms),
        number(short),
        span(window.short_ms),
        number(window.burn),
        number(objective * 100.0)
    );
    Some(Finding { value: long, threshold: window.burn, summary, window: (begin, end) })
}

fn error_count(kind: &ErrorCount, series: &Series, end: i64) -> Condition {
    // As long as the burn rate goes by the totals it is what tells; when they stop, there is the count again.
    let has_totals = series.reports.last(end).is_some_and(|last| end - last <= TOTALS_LAG_MS + MINUTE_MS);
    if !kind.with_totals && has_totals {
        return Condition::Clear;
    }
    let from = end - kind.window_ms;
    let errors = series.counted.between(from, end);
    let rate = errors as f64 * MINUTE_MS as f64 / kind.window_ms as f64;
    let last_hour = from.div_euclid(HOUR_MS) * HOUR_MS;
    let hours = (1..=kind.baseline_ms / HOUR_MS).map(|back| last_hour - back * HOUR_MS);
    let usual = median(hours.map(|hour| series.hours.between(hour, hour + HOUR_MS) as f64).collect()) / 60.0;
    let threshold = kind.floor.max(kind.factor * usual);
    if rate < threshold || errors == 0 {
        return Condition::Clear;
    }
    let accounts = series.accounts(from, end);
    // Where no event names an account, they cannot be counted.
    if accounts > 0 && accounts < kind.min_accounts {
        return Condition::Clear;
    }
    let affected = if accounts > 0 { format!(", {accounts} accounts") } else { String::new() };
    let summary = format!(
        "{} 5xx a minute over {} (threshold {}; usual {}){affected}",
        number(rate),
        span(kind.window_ms),
        number(threshold),
        number(usual)
    );
    Condition::Holds(Finding { value: rate, threshold, summary, window: (from, end) })
}

fn rate_limited(kind: &RateLimited, series: &Series, end: i64) -> Condition {
    let from = end - kind.window_ms;
    let events = series.counted.between(from, end);
    if events >= kind.threshold {
        let summary = format!("{events} × 429 within {} (threshold {})", span(kind.window_ms), kind.threshold);
        let (value, threshold) = (events as f64, kind.threshold as f64);
        return Condition::Holds(Finding { value, threshold, summary, window: (from, end) });
    }
    if kind.lasting_ms == 0 {
        return Condition::Clear;
    }
    let Some(begin) = episode_begin(series, end) else { return Condition::Clear };
    let events = series.counted.between(begin, end);
    if end - begin < kind.lasting_ms || events < kind.threshold {
        return Condition::Clear;
    }
    let summary = format!(
        "429s without a pause for {} (threshold {}), {events} of them",
        span(end - begin),
        span(kind.lasting_ms)
    );
    let (value, threshold) = ((end - begin) as f64 / 1000.0, kind.lasting_ms as f64 / 1000.0);
    Condition::Holds(Finding { value, threshold, summary, window: (begin, end) })
}

/// When the episode that goes on at `end` began.
fn episode_begin(series: &Series, end: i64) -> Option<i64> {
    let mut begin = series.counted.last(end).filter(|last| end - last <= EPISODE_GAP_MS)?;
    while let Some(before) = series.counted.last(begin).filter(|before| begin - before <= EPISODE_GAP_MS) {
        begin = before;
    }
    Some(begin)
}

fn new_error(kind: &NewError, series: &Series, known: Known, end: i64) -> Condition {
    let is_learning = known.first_ms.is_none_or(|first| end - first < kind.learning_ms);
    let Some(first) = series.counted.first(end - kind.look_back_ms, end) else { return Condition::Clear };
    if is_learning || first < end - kind.window_ms {
        return Condition::Clear;
    }
    let events = series.counted.between(first, end);
    let accounts = series.accounts(first, end);
    if events < kind.min_events || (accounts > 0 && accounts < kind.min_accounts) {
        return Condition::Clear;
    }
    let before = match series.resolved_ms {
        Some(at_ms) => format!("although it was resolved at {}", crate::clock::spoken(at_ms)),
        None => format!("none in the {} before", span(kind.look_back_ms)),
    };
    let of = if accounts == 0 { String::new() } else { format!(" of {accounts} accounts") };
    let since = crate::clock::spoken(first);
    let summary = format!("{:?}: {events} events{of} since {since}, {before}", series.title);
    let (value, threshold) = (events as f64, kind.min_events as f64);
    Condition::Holds(Finding { value, threshold, summary, window: (first, end) })
}

/// The hour that is running, or the one before: so a spike that has crossed the end of its hour does not resolve there.
fn validation_spike(kind: &ValidationSpike, series: &Series, known: Known, end: i64) -> Condition {
    let Some(first) = known.first_ms.filter(|first| end - first >= kind.learning_ms) else { return Condition::Clear };
    let running = (end - 1).div_euclid(HOUR_MS) * HOUR_MS;
    for hour in [running, running - HOUR_MS] {
        let events = series.counted.between(hour, end.min(hour + HOUR_MS));
        let usual = usual_at(kind, series, first, hour);
        let threshold = usual.max(kind.min_events as f64);
        if events as f64 >= threshold {
            let at = crate::clock::spoken(hour);
            let summary = format!("{events} field errors in the hour from {at} (threshold {})", number(threshold));
            let window = (hour, end.min(hour + HOUR_MS));
            return Condition::Holds(Finding { value: events as f64, threshold, summary, window });
        }
    }
    Condition::Clear
}

/// What is too much in an hour, by the hours before it.
fn usual_at(kind: &ValidationSpike, series: &Series, first_ms: i64, hour: i64) -> f64 {
    let of = |hour: i64| series.hours.between(hour, hour + HOUR_MS) as f64;
    let since = first_ms.max(hour - kind.history_ms);
    let days = (hour - since) / DAY_MS;
    if days >= DAYS_TO_COMPARE {
        let same_hour: Vec<_> = (1..=days).map(|day| of(hour - day * DAY_MS)).collect();
        let middle = median(same_hour.clone());
        let deviation = median(same_hour.into_iter().map(|count| (count - middle).abs()).collect());
        // Counts of the same size every day vary by chance all the same.
        return middle + kind.deviations * deviation.max(middle.sqrt()).max(1.0);
    }
    let peak = series.hours.steps(since, hour).iter().map(|hour| of(*hour)).fold(0.0, f64::max);
    kind.peak_factor * peak
}

fn silence(kind: &Silence, series: &Series, known: Known, end: i64) -> Condition {
    let Some(last) = series.counted.last(end) else { return Condition::Clear };
    if last >= end - kind.window_ms {
        return Condition::Clear;
    }
    let limit = kind.window_ms.max(USUAL_GAPS * usual_gap(series, last));
    let from = end - limit;
    // What is away for a day has gone.
    if last >= from || end - last >= DAY_MS {
        return Condition::Clear;
    }
    if from < known.listening_since_ms {
        let since = crate::clock::rfc3339(known.listening_since_ms);
        return Condition::Unknown(format!("the collector listens since {since} only"));
    }
    let slots = DAY_MS / kind.window_ms;
    let kept = (0..slots).filter(|slot| {
        let slot_end = last - slot * kind.window_ms + 1;
        series.counted.between(slot_end - kind.window_ms, slot_end) > 0
    });
    let part = kept.count() as f64 / slots as f64;
    if part < kind.regular {
        return Condition::Clear;
    }
    let summary = format!("nothing received since {} (threshold {})", crate::clock::spoken(last), span(limit));
    let (value, threshold) = ((end - last) as f64 / 1000.0, limit as f64 / 1000.0);
    Condition::Holds(Finding { value, threshold, summary, window: (from, end) })
}

/// The second longest pause of the day before: the longest may have been an outage.
fn usual_gap(series: &Series, last: i64) -> i64 {
    let steps = series.counted.steps(last - DAY_MS, last + 1);
    let mut gaps: Vec<_> = steps.windows(2).map(|pair| pair[1] - pair[0]).collect();
    gaps.sort_unstable();
    gaps.iter().rev().nth(1).copied().unwrap_or_default()
}

/// The middle value, the lower of two; 0 of none.
fn median(mut values: Vec<f64>) -> f64 {
    values.sort_unstable_by(f64::total_cmp);
    values.get(values.len().saturating_sub(1) / 2).copied().unwrap_or_default()
}

/// A number as people read it: at most two digits after the point, and none that say nothing.
fn number(value: f64) -> String {
    let text = format!("{value:.2}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

fn span(ms: i64) -> String {
    super::keys::length(ms)
}

#[cfg(test)]
mod tests;
