//! The time range of a page: in its address, and chosen at the top.

use axum::http::{Uri, uri::PathAndQuery};
use chrono::{Datelike, NaiveDateTime};
use url::form_urlencoded;

use super::{
    Visit,
    view::{
        Markup, moment,
        time::{self, Format},
    },
};
use crate::{
    clock::{rfc3339, when::day},
    http::params::Params,
    store::query::Filter,
};

/// A time as a browser's date field sends it, which names no zone.
const FIELD: [&str; 2] = ["%Y-%m-%dT%H:%M", "%Y-%m-%dT%H:%M:%S%.f"];

/// The lengths people choose most: the parameter, the words.
const PRESETS: [(&str, &str); 7] = [
    ("-15m", "last 15 min"),
    ("-1h", "last hour"),
    ("-6h", "last 6 h"),
    ("-24h", "last 24 h"),
    ("-7d", "last 7 d"),
    ("-30d", "last 30 d"),
    ("-90d", "last 90 d"),
];

/// A time range, and how it was asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Range {
    /// Milliseconds since the Unix epoch.
    pub from_ms: i64,
    /// Not included.
    pub to_ms: i64,
    /// The parameters as asked for; empty: the default.
    pub from: String,
    pub to: String,
    /// To what units it was widened: [whole hours or days](Self::by_whole_units), which end after now.
    pub widened_ms: Option<i64>,
}

const HOUR_MS: i64 = 3_600_000;
const DAY_MS: i64 = 24 * HOUR_MS;

/// From how long on a range is widened, and to what units: those that numbers are kept by.
const UNITS_MS: [(i64, i64); 2] = [(6 * DAY_MS, DAY_MS), (6 * HOUR_MS, HOUR_MS)];

/// A page's address whose `from` or `to` is [of a date field](FIELD), with these in UTC, as the form says where no script puts them in the
/// reader's zone; and with a `day` as both. What the page leads to takes them then as the API does. None where there is nothing to do.
pub(super) fn in_utc(uri: &Uri) -> Option<Uri> {
    let query = uri.query()?;
    let parts: Vec<String> =
        query.split('&').map(|part| part_in_utc(part).unwrap_or_else(|| part.to_owned())).collect();
    let changed = parts.join("&");
    if changed == query {
        return None;
    }
    let mut pieces = uri.clone().into_parts();
    pieces.path_and_query = Some(PathAndQuery::try_from(format!("{}?{changed}", uri.path())).ok()?);
    Uri::from_parts(pieces).ok()
}

/// One parameter of a query.
fn part_in_utc(part: &str) -> Option<String> {
    let (name, value) = part.split_once('=').filter(|(name, _)| ["from", "to", "day"].contains(name))?;
    if name == "day" {
        return Some(format!("from={value}&to={value}"));
    }
    let (value, _) = form_urlencoded::parse(value.as_bytes()).next()?;
    let time = FIELD.iter().find_map(|format| NaiveDateTime::parse_from_str(&value, format).ok())?;
    Some(format!("{name}={}", time.format("%Y-%m-%dT%H:%M:%SZ")))
}

/// One length to choose.
#[derive(Clone, Debug)]
pub struct Choice {
    pub words: &'static str,
    pub link: String,
    pub is_chosen: bool,
}

/// The time picker of a page.
#[derive(Clone, Debug)]
pub struct Picker {
    /// What is chosen.
    pub words: Markup,
    pub choices: Vec<Choice>,
    /// Where the form for other times leads, and what it keeps of the address.
    pub action: String,
    pub kept: Vec<(String, String)>,
    /// As a browser's date field takes them, UTC.
    pub from: String,
    pub to: String,
    /// The day of UTC that it begins on, as a browser's field of a day takes it.
    pub day: String,
}

impl Range {
    /// Reads `from` and `to`; what is wrong with them is among the problems of the parameters.
    #[must_use]
    pub fn read(params: &mut Params, visit: &Visit) -> Self {
        let (from_ms, to_ms) = params.range(visit.now_ms);
        let ends_now = visit.param("to").trim() == "now";
        let to = if ends_now { String::new() } else { visit.param("to") };
        Self { from_ms, to_ms, from: visit.param("from"), to, widened_ms: None }
    }

    /// The same, of whole hours where it is a length of some hours until now, or of whole days of UTC where it is of some days: from the begin of its
    /// first one to the end of the one that has begun. For pages whose numbers are kept by the hour and the day: of an hour that is cut, they would be
    /// counted from its events, which takes longer than all the others; and a month by its hours takes several times as long as by its days. A time that
    /// somebody typed is left as it is.
    #[must_use]
    pub fn by_whole_units(self) -> Self {
        let is_length = self.to.is_empty() && (self.from.is_empty() || self.from.starts_with('-'));
        let unit_ms = UNITS_MS.into_iter().find(|(least_ms, _)| is_length && self.length_ms() >= *least_ms);
        let Some((_, unit_ms)) = unit_ms else { return self };
        let from_ms = self.from_ms.div_euclid(unit_ms) * unit_ms;
        let to_ms = (self.to_ms - 1).div_euclid(unit_ms).saturating_add(1).saturating_mul(unit_ms);
        Self { from_ms, to_ms, widened_ms: Some(unit_ms), ..self }
    }

    /// Where it ends so far: now, where that is to come.
    #[must_use]
    pub fn ends_ms(&self, now_ms: i64) -> i64 {
        self.to_ms.min(now_ms.max(self.from_ms + 1))
    }

    /// Conditions on events, within this range.
    #[must_use]
    pub fn filter(&self, conditions: Filter) -> Filter {
        Filter { from_ms: self.from_ms, to_ms: self.to_ms, ..conditions }
    }

    #[must_use]
    pub const fn length_ms(&self) -> i64 {
        self.to_ms - self.from_ms
    }

    /// The parameters that lead to the same range.
    #[must_use]
    pub fn params(&self) -> Vec<(&'static str, String)> {
        if self.widened_ms.is_some() {
            return vec![("from", rfc3339(self.from_ms)), ("to", rfc3339(self.to_ms))];
        }
        let pairs = [("from", &self.from), ("to", &self.to)];
        pairs.into_iter().filter(|(_, value)| !value.is_empty()).map(|(name, value)| (name, value.clone())).collect()
    }

    /// The words for a length that people choose.
    fn preset(&self) -> Option<&'static str> {
        let asked = if self.from.is_empty() { "-24h" } else { &self.from };
        PRESETS.iter().find(|(value, _)| *value == asked && self.to.is_empty()).map(|(_, words)| *words)
    }

    /// The first and the last day of whole days: they are of UTC, whatever the reader's zone.
    fn days(&self) -> Option<[String; 2]> {
        let (first, last) = (day(&self.from)?, day(&self.to)?);
        let pattern = if first.year() == last.year() && first != last { "%-d %b" } else { "%-d %b %Y" };
        Some([first.format(pattern).to_string(), last.format("%-d %b %Y").to_string()])
    }

    /// `last 24 h`, or from when to when in UTC: where there can be text alone.
    #[must_use]
    pub fn words(&self) -> String {
        let at = |ms| time::utc(ms, Format::Minute);
        if let Some([first, last]) = self.days() {
            return if first == last { format!("{last} (UTC)") } else { format!("{first} – {last} (UTC)") };
        }
        match (self.preset(), self.to.is_empty()) {
            (Some(words), _) => words.to_owned(),
            (None, true) => format!("{} UTC – now", at(self.from_ms)),
            (None, false) => format!("{} – {} UTC", at(self.from_ms), at(self.to_ms)),
        }
    }

    /// `last 24 h`, or from when to when, as times are shown.
    #[must_use]
    pub fn shown(&self) -> Markup {
        let at = |ms| moment(ms, Format::Minute);
        if self.days().is_some() {
            return self.words().into();
        }
        match (self.preset(), self.to.is_empty()) {
            (Some(words), _) => words.into(),
            (None, true) => Markup::new(format!("{} – now", at(self.from_ms))),
            (None, false) => Markup::new(format!("{} – {}", at(self.from_ms), at(self.to_ms))),
        }
    }

    /// As a part of a sentence: `in the last 24 h`, `from … to …`.
    #[must_use]
    pub fn within(&self) -> Markup {
        let at = |ms| moment(ms, Format::Minute);
        if let Some([first, last]) = self.days() {
            let words =
                if first == last { format!("on {last} (UTC)") } else { format!("from {first} to {last} (UTC)") };
            return words.into();
        }
        match (self.preset(), self.to.is_empty()) {
            (Some(words), _) if self.widened_ms.is_some() => {
                let whole = if self.widened_ms == Some(DAY_MS) { "whole days of UTC, " } else { "" };
                Markup::new(format!("in the {words} ({whole}since {})", at(self.from_ms)))
            }
            (Some(words), _) => format!("in the {words}").into(),
            (None, true) => Markup::new(format!("since {}", at(self.from_ms))),
            (None, false) => Markup::new(format!("from {} to {}", at(self.from_ms), at(self.to_ms))),
        }
    }

    /// The time picker of the page that was asked for.
    #[must_use]
    pub fn picker(&self, visit: &Visit) -> Picker {
        let asked = if self.from.is_empty() { "-24h" } else { &self.from };
        let choices = PRESETS.iter().map(|(value, words)| Choice {
            words,
            // Another range begins at its first page.
            link: visit.with_params(&[("from", value), ("to", ""), ("cursor", "")]),
            is_chosen: *value == asked && self.to.is_empty(),
        });
        let keeps = |(name, _): &(String, String)| !["from", "to", "cursor"].contains(&name.as_str());
        Picker {
            words: self.shown(),
            choices: choices.collect(),
            action: visit.path().to_owned(),
            kept: visit.params().into_iter().filter(keeps).collect(),
            from: time::utc(self.from_ms, Format::Field),
            to: time::utc(self.ends_ms(visit.now_ms), Format::Field),
            day: time::utc(self.from_ms, Format::Date),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_range_that_ends_now_is_told_by_the_hour_or_the_day() {
        let now_ms = 500 * HOUR_MS + 1_234_567;
        let range = |hours: i64, to: &str| Range {
            from_ms: now_ms - hours * HOUR_MS,
            to_ms: now_ms,
            to: to.to_owned(),
            ..Range::default()
        };
        let day = range(24, "").by_whole_units();
        assert_eq!((day.from_ms, day.to_ms, day.ends_ms(now_ms)), (476 * HOUR_MS, 501 * HOUR_MS, now_ms));
        assert_eq!(day.params(), [("from", rfc3339(476 * HOUR_MS)), ("to", rfc3339(501 * HOUR_MS))]);
        assert_eq!(day.words(), "last 24 h");
        let week = range(7 * 24, "").by_whole_units();
        assert_eq!((week.from_ms, week.to_ms, week.ends_ms(now_ms)), (13 * DAY_MS, 21 * DAY_MS, now_ms));
        assert_eq!([week.widened_ms, day.widened_ms], [Some(DAY_MS), Some(HOUR_MS)]);
        let near_six_days = range(6 * 24 - 1, "").by_whole_units();
        assert_eq!((near_six_days.length_ms(), near_six_days.widened_ms), (6 * DAY_MS, Some(HOUR_MS)));
        let some_days = range(5 * 24, "").by_whole_units();
        assert_eq!((some_days.from_ms, some_days.to_ms), (380 * HOUR_MS, 501 * HOUR_MS));
        let typed = Range { from: "2026-11-17T10:30:00Z".to_owned(), ..range(24, "") };
        for exact in [range(5, ""), range(24, "2026-11-18T00:00:00Z"), typed] {
            assert_eq!(exact.clone().by_whole_units(), exact);
        }
        let whole = Range { from_ms: 0, to_ms: 24 * HOUR_MS, ..Range::default() }.by_whole_units();
        assert_eq!((whole.from_ms, whole.to_ms), (0, 24 * HOUR_MS));
    }

    #[test]
    fn whole_days_are_told_as_days() {
        let of = |from: &str, to: &str| Range { from: from.to_owned(), to: to.to_owned(), ..Range::default() };
        let day = of("2026-11-17", "2026-11-17");
        assert_eq!([day.words().as_str(), day.within().as_str()], ["17 Nov 2026 (UTC)", "on 17 Nov 2026 (UTC)"]);
        assert_eq!(day.shown().as_str(), day.words());
        let days = of("2026-11-17", "2026-11-18");
        assert_eq!(days.within().as_str(), "from 17 Nov to 18 Nov 2026 (UTC)");
        assert_eq!(of("2026-12-31", "2027-01-01").words(), "31 Dec 2026 – 1 Jan 2027 (UTC)");
        assert!(!of("2026-11-17", "2026-11-18T00:00:00Z").words().contains("(UTC)"));
        assert_eq!(day.params(), [("from", "2026-11-17".to_owned()), ("to", "2026-11-17".to_owned())]);
    }

    #[test]
    fn times_of_a_date_field_are_of_utc_and_nothing_else_is_touched() {
        let told = |text: &str| in_utc(&text.parse().unwrap()).map(|uri| uri.to_string());
        assert_eq!(
            told("/explore?q=a+b&from=2026-11-17T00%3A00&to=2026-11-18T09:30:15&route=%2Fa").unwrap(),
            "/explore?q=a+b&from=2026-11-17T00:00:00Z&to=2026-11-18T09:30:15Z&route=%2Fa"
        );
        assert_eq!(told("/?status=5xx&day=2026-11-17").unwrap(), "/?status=5xx&from=2026-11-17&to=2026-11-17");
        for text in [
            "/",
            "/?from=-7d&to=2026-11-18T00:00:00Z",
            "/?from=2026-11-18T00:00+01:00",
            "/?from=2026-11-17&to=2026-11-17",
            "/?from=2026-13-01T00:00",
            "/?from=soon&to",
            "/?q=2026-11-17T00:00&not-from=2026-11-17T00:00",
        ] {
            assert_eq!(told(text), None, "{text}");
        }
    }
}
