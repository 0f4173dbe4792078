//! Points and lengths of time as people and programs write them in questions: what `from` and `to` take, everywhere.

use chrono::{DateTime, NaiveDate};

/// What a time is written as, for messages.
pub const TAKEN: &str =
    "RFC 3339 (2026-11-22T10:00:00Z), a date (2026-11-22, UTC), a time before now (-24h, -30m, -7d) or now";

/// What a time is written as where now means nothing, for messages.
pub const CALENDAR_TAKEN: &str = "RFC 3339 (2026-11-22T10:00:00Z) or a date (2026-11-22, UTC)";

/// The latest time ClickHouse can tell: the end of 2299. Times before 1970 and after it are these.
const LATEST_MS: i64 = 10_413_791_999_999;

const DAY_MS: i64 = 86_400_000;

/// Which end of a range a time is. What is longer than a moment, such as a day, is within the range either way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Edge {
    /// The first moment of it.
    From,
    /// The first moment after it: ends are not included.
    To,
}

/// Reads a point in time: [one of the calendar](calendar), `-24h` before now (s, m, h, d, w), or `now`; milliseconds since the Unix epoch,
/// from 1970 to 2299, to which it is moved. A day that is not over ends now: what is judged by a range's end (who still fails, what is new, a period to
/// compare with) must not be judged by a time to come.
///
/// # Errors
/// What is wrong with it, and what is taken.
pub fn when(text: &str, edge: Edge, now_ms: i64) -> Result<i64, String> {
    let trimmed = text.trim();
    if let Some(length_ms) = trimmed.strip_prefix('-').and_then(duration_ms) {
        return Ok(now_ms.saturating_sub(length_ms).max(0));
    }
    // Now is within the range.
    let end_ms = now_ms + 1;
    if trimmed == "now" {
        return Ok(if edge == Edge::To { end_ms } else { now_ms });
    }
    let ms = read(text, edge, TAKEN)?;
    let is_today = edge == Edge::To && day(trimmed).is_some() && (ms - DAY_MS..ms).contains(&now_ms);
    Ok(if is_today { end_ms } else { ms })
}

/// Reads a point in time that does not hang on now: RFC 3339, or a date of UTC (`2026-11-17`), which begins or ends a range with its own begin
/// or end; milliseconds since the Unix epoch, from 1970 to 2299, to which it is moved.
///
/// # Errors
/// What is wrong with it, and what is taken.
pub fn calendar(text: &str, edge: Edge) -> Result<i64, String> {
    read(text, edge, CALENDAR_TAKEN)
}

/// The day of a text that is a date and nothing else.
#[must_use]
pub fn day(text: &str) -> Option<NaiveDate> {
    let text = text.trim();
    begins_as_date(text).filter(|date| date.len() == text.len())?.parse().ok()
}

fn read(text: &str, edge: Edge, taken: &str) -> Result<i64, String> {
    let trimmed = text.trim();
    let ms = if let Some(day) = day(trimmed) {
        let begin_ms = day.and_time(chrono::NaiveTime::MIN).and_utc().timestamp_millis();
        begin_ms + if edge == Edge::To { DAY_MS } else { 0 }
    } else {
        // In a query string an unescaped `+` of an offset arrives as a space.
        let time = DateTime::parse_from_rfc3339(&trimmed.replace(' ', "+"));
        time.map_err(|_| wrong(text, taken))?.timestamp_millis()
    };
    Ok(ms.clamp(0, LATEST_MS))
}

/// Why a text is no time.
fn wrong(text: &str, taken: &str) -> String {
    match begins_as_date(text.trim()).filter(|date| date.parse::<NaiveDate>().is_err()) {
        Some(date) => format!("there is no {date} in the calendar; expected {taken}, got {text:?}"),
        None => format!("expected {taken}, got {text:?}"),
    }
}

/// The first ten characters, where they have the form of a date.
fn begins_as_date(text: &str) -> Option<&str> {
    let has_form = |date: &&str| {
        date.bytes()
            .enumerate()
            .all(|(at, byte)| if matches!(at, 4 | 7) { byte == b'-' } else { byte.is_ascii_digit() })
    };
    text.get(..10).filter(has_form)
}

/// A length of time: `30s`, `5m`, `24h`, `7d`, `2w`; in milliseconds.
#[must_use]
pub fn duration_ms(text: &str) -> Option<i64> {
    let unit = text.chars().last()?;
    let scale = match unit {
        's' => 1000,
        'm' => 60_000,
        'h' => 3_600_000,
        'd' => DAY_MS,
        'w' => 7 * DAY_MS,
        _ => return None,
    };
    let count: i64 = text[..text.len() - 1].parse().ok().filter(|count| *count >= 0)?;
    count.checked_mul(scale)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW_MS: i64 = 1_000_000_000;

    #[test]
    fn times_are_absolute_or_before_now() {
        for edge in [Edge::From, Edge::To] {
            let told = |text| when(text, edge, NOW_MS).unwrap();
            assert_eq!(told("-1h"), NOW_MS - 3_600_000);
            assert_eq!(told(" 1970-01-01T00:00:01Z "), 1000);
            assert_eq!(told("1970-01-01T01:00:01 01:00"), 1000);
            assert_eq!(told("-100000000w"), 0);
            assert_eq!(told("0000-01-01T00:00:00Z"), 0);
            assert_eq!(told("9999-12-31T23:59:59Z"), LATEST_MS);
            for text in ["", "-", "-1", "-1y", "yesterday", "--1h", "-9223372036854775807w", "-é", "Now", "now-1h"] {
                let expected = format!("expected {TAKEN}, got {text:?}");
                assert_eq!(when(text, edge, NOW_MS).unwrap_err(), expected);
            }
        }
    }

    #[test]
    fn a_date_is_its_whole_day_and_now_is_within() {
        let both = |text| [Edge::From, Edge::To].map(|edge| when(text, edge, NOW_MS).unwrap());
        assert_eq!(both("1970-01-02"), [DAY_MS, 2 * DAY_MS]);
        // Today ends now, and what is to come with its day.
        assert_eq!(both("1970-01-12"), [11 * DAY_MS, NOW_MS + 1]);
        assert_eq!(both("1970-01-13"), [12 * DAY_MS, 13 * DAY_MS]);
        assert_eq!(both("1970-01-12T23:00:00Z"), [12 * DAY_MS - 3_600_000; 2]);
        assert_eq!(both(" 1970-01-02 "), both("1970-01-02"));
        assert_eq!(both("2024-02-29"), [1_709_164_800_000, 1_709_251_200_000]);
        assert_eq!(both("0000-01-01"), [0, 0]);
        assert_eq!(both("2299-12-31"), [LATEST_MS + 1 - DAY_MS, LATEST_MS]);
        assert_eq!(both("9999-12-31"), [LATEST_MS, LATEST_MS]);
        assert_eq!(both("now"), [NOW_MS, NOW_MS + 1]);
        let [of_calendar, of_now] = ["2024-02-29", "-1h"].map(|text| calendar(text, Edge::From));
        assert_eq!((of_calendar, of_now.is_err()), (when("2024-02-29", Edge::From, 0), true));
        assert_eq!((day(" 1970-01-02 "), day("1970-01-02T00:00:00Z")), ("1970-01-02".parse().ok(), None));
    }

    #[test]
    fn a_date_that_is_none_is_named() {
        for (text, date) in [
            ("2026-02-30", "2026-02-30"),
            ("2026-13-01", "2026-13-01"),
            (" 2025-02-29", "2025-02-29"),
            ("2026-00-10T00:00:00Z", "2026-00-10"),
        ] {
            let told = when(text, Edge::To, NOW_MS).unwrap_err();
            assert!(told.starts_with(&format!("there is no {date} in the calendar; expected RFC 3339")), "{told}");
            assert_eq!(calendar(text, Edge::To).unwrap_err(), told.replace(TAKEN, CALENDAR_TAKEN));
        }
        for text in ["2026-1-1", "20261117", "2026-11-17T", "2026-11-17x", "+2026-11-17", "2026-11-1é"] {
            assert!(when(text, Edge::From, NOW_MS).unwrap_err().starts_with("expected "), "{text}");
        }
    }
}
