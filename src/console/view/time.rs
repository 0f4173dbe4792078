//! Times and lengths of time. Pages say UTC; the script puts the reader's zone in its place, with UTC on hover.

use chrono::DateTime;

use super::{Markup, escape};
use crate::clock::rfc3339;

/// How much of a time is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// `Tue 17 Nov 2026 14:02:07 UTC`
    Full,
    /// `17 Nov 14:02`
    Minute,
    /// `14:02:07`
    Clock,
    /// `17 Nov`
    Day,
    /// As a browser's field of a day has it: `2026-11-17`
    Date,
    /// As a browser's date field has it: `2026-11-17T14:02`
    Field,
}

impl Format {
    /// For the script.
    const fn name(self) -> &'static str {
        match self {
            Self::Full => "full",
            Self::Minute => "minute",
            Self::Clock => "clock",
            Self::Day => "day",
            Self::Date => "date",
            Self::Field => "field",
        }
    }

    const fn pattern(self) -> &'static str {
        match self {
            Self::Full => "%a %-d %b %Y %H:%M:%S UTC",
            Self::Minute => "%-d %b %H:%M",
            Self::Clock => "%H:%M:%S",
            Self::Day => "%-d %b",
            Self::Date => "%Y-%m-%d",
            Self::Field => "%Y-%m-%dT%H:%M",
        }
    }
}

/// Reads the times of answers back: RFC 3339 to milliseconds since the Unix epoch.
#[must_use]
pub fn parse(text: &str) -> Option<i64> {
    DateTime::parse_from_rfc3339(text).ok().map(|at| at.timestamp_millis())
}

/// A time as text, in UTC.
#[must_use]
pub fn utc(ms: i64, format: Format) -> String {
    DateTime::from_timestamp_millis(ms).map_or_else(|| rfc3339(ms), |at| at.format(format.pattern()).to_string())
}

/// A time.
#[must_use]
pub fn moment(ms: i64, format: Format) -> Markup {
    let (machine, text) = (rfc3339(ms), utc(ms, format));
    let hover = utc(ms, Format::Full);
    Markup::new(format!(
        "<time datetime=\"{}\" title=\"{}\" data-time=\"{}\">{}</time>",
        escape(&machine),
        escape(&hover),
        format.name(),
        escape(&text)
    ))
}

/// `12 min ago`, with the time on hover.
#[must_use]
pub fn ago(ms: i64, now_ms: i64) -> Markup {
    let distance = duration((now_ms - ms).abs());
    let text = match now_ms - ms {
        now if now.abs() < 1000 => "now".to_owned(),
        past if past > 0 => format!("{distance} ago"),
        _ => format!("in {distance}"),
    };
    let (machine, hover) = (rfc3339(ms), utc(ms, Format::Full));
    Markup::new(format!("<time datetime=\"{}\" title=\"{}\">{text}</time>", escape(&machine), escape(&hover)))
}

/// A time of an answer, as [`moment`]; a text that is none as it is.
#[must_use]
pub fn moment_of(text: &str, format: Format) -> Markup {
    parse(text).map_or_else(|| text.into(), |at| moment(at, format))
}

/// A time of an answer, as [`ago`]; a text that is none as it is.
#[must_use]
pub fn ago_of(text: &str, now_ms: i64) -> Markup {
    parse(text).map_or_else(|| text.into(), |at| ago(at, now_ms))
}

/// A sentence of an answer, its times as [`moment`]s.
#[must_use]
pub fn with_moments(text: &str) -> Markup {
    let word = |word: &str| {
        let time = word.trim_end_matches([' ', ',', ';', ':', '.']);
        match parse(time) {
            Some(at) => format!("{}{}", moment(at, Format::Full), escape(&word[time.len()..])),
            None => escape(word),
        }
    };
    Markup::new(text.split_inclusive(' ').map(word).collect())
}

/// A step as what something is counted by: `hour`, `15 min`.
#[must_use]
pub fn per(step_ms: i64) -> String {
    match step_ms {
        1000 => "second".to_owned(),
        60_000 => "minute".to_owned(),
        3_600_000 => "hour".to_owned(),
        86_400_000 => "day".to_owned(),
        604_800_000 => "week".to_owned(),
        other => duration(other),
    }
}

/// A length of time in its largest unit, or two where the second one matters: `12 min`, `1 h 5 min`, `5 d`.
#[must_use]
pub fn duration(ms: i64) -> String {
    let seconds = ms.unsigned_abs() / 1000;
    let with_rest = |value: u64, unit: &str, rest: u64, rest_unit: &str| {
        if rest == 0 || value >= 10 { format!("{value} {unit}") } else { format!("{value} {unit} {rest} {rest_unit}") }
    };
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3600 => with_rest(seconds / 60, "min", if seconds < 300 { seconds % 60 } else { 0 }, "s"),
        3600..86_400 => with_rest(seconds / 3600, "h", seconds / 60 % 60, "min"),
        _ => with_rest(seconds / 86_400, "d", if seconds < 3 * 86_400 { seconds / 3600 % 24 } else { 0 }, "h"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_have_the_digits_that_matter() {
        for (seconds, expected) in [
            (0, "0 s"),
            (59, "59 s"),
            (60, "1 min"),
            (125, "2 min 5 s"),
            (750, "12 min"),
            (3600, "1 h"),
            (3900, "1 h 5 min"),
            (40_000, "11 h"),
            (90_000, "1 d 1 h"),
            (5 * 86_400 + 4000, "5 d"),
        ] {
            assert_eq!(duration(seconds * 1000), expected);
        }
    }

    #[test]
    fn a_time_has_utc_for_machines_and_on_hover() {
        let at = 1_794_924_127_000;
        assert_eq!(
            moment(at, Format::Minute).as_str(),
            "<time datetime=\"2026-11-17T14:02:07.000Z\" title=\"Tue 17 Nov 2026 14:02:07 UTC\" data-time=\"minute\">17 Nov 14:02</time>"
        );
        assert!(ago(at, at + 720_000).as_str().ends_with(">12 min ago</time>"));
        assert!(ago(at, at - 90_000).as_str().ends_with(">in 1 min 30 s</time>"));
        assert!(ago(at, at + 5).as_str().ends_with(">now</time>"));
        assert!(!moment(i64::MAX, Format::Full).is_empty());
        assert_eq!(ago_of("2026-11-17T14:02:07Z", at + 5), ago(at, at + 5));
        assert_eq!(moment_of("<soon>", Format::Day).as_str(), "&lt;soon&gt;");
        assert_eq!((parse("2026-11-17T14:02:07Z"), parse("soon")), (Some(at), None));
    }

    #[test]
    fn the_times_of_a_sentence_are_moments_and_all_else_is_text() {
        let html = with_moments("expired: its event of 2026-11-22T09:12:00.000Z, <b>");
        let moment = moment(parse("2026-11-22T09:12:00.000Z").unwrap(), Format::Full);
        assert_eq!(html.as_str(), format!("expired: its event of {moment}, &lt;b&gt;"));
    }
}
