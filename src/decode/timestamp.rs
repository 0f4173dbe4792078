//! The time an event states.

use chrono::{DateTime, SecondsFormat};
use serde_json::Value;

use super::{Reason, item::kind};

/// How far ahead of the collector's clock a timestamp may be, milliseconds.
const MAX_AHEAD_MS: i64 = 3_600_000;

/// Numbers from here on are milliseconds: as seconds this would be the year 5138, as milliseconds it is March 1973.
const FIRST_MILLISECONDS: f64 = 1e11;

const TAKEN: &str = "send RFC 3339 (2026-01-31T23:59:59.123Z), Unix seconds or Unix milliseconds";

/// Milliseconds since the Unix epoch: of an RFC 3339 text, of Unix seconds (with a fraction or without), or of Unix
/// milliseconds.
pub(super) fn parse(value: &Value) -> Result<i64, String> {
    match value {
        Value::String(text) => of_text(text),
        Value::Number(number) => of_number(number.as_f64().unwrap_or(f64::NAN))
            .ok_or_else(|| format!("is no time in seconds or milliseconds: {TAKEN}")),
        other => Err(format!("must be a string or a number, got {}: {TAKEN}", kind(other))),
    }
}

/// Of an RFC 3339 text.
pub(super) fn of_text(text: &str) -> Result<i64, String> {
    DateTime::parse_from_rfc3339(text.trim())
        .map(|time| time.timestamp_millis())
        .map_err(|error| format!("is no RFC 3339 time ({error}): {TAKEN}"))
}

/// Of Unix seconds or milliseconds.
pub(super) fn of_number(number: f64) -> Option<i64> {
    let milliseconds = if number.abs() < FIRST_MILLISECONDS { number * 1000.0 } else { number };
    // Beyond this, the years have more than four digits.
    (milliseconds.abs() < 2.5e14).then(|| milliseconds.round() as i64)
}

/// Whether events of this time are kept.
pub(super) fn check(timestamp_ms: i64, oldest_ms: i64, received_at_ms: i64) -> Result<(), (Reason, String)> {
    let newest_ms = received_at_ms.saturating_add(MAX_AHEAD_MS);
    if timestamp_ms < oldest_ms {
        let (time, bound) = (shown(timestamp_ms), shown(oldest_ms));
        return Err((
            Reason::TooOld,
            format!("{time} is before {bound}, the oldest time that is kept (ERRATA_RETENTION_DAYS)"),
        ));
    }
    if timestamp_ms > newest_ms {
        let (time, bound) = (shown(timestamp_ms), shown(newest_ms));
        let message = format!("{time} is after {bound}, one hour ahead of the collector: check the sender's clock");
        return Err((Reason::TooNew, message));
    }
    Ok(())
}

fn shown(milliseconds: i64) -> String {
    DateTime::from_timestamp_millis(milliseconds)
        .map_or_else(|| milliseconds.to_string(), |time| time.to_rfc3339_opts(SecondsFormat::Millis, true))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn every_form_of_one_moment_is_the_same() {
        let forms = [
            json!("2023-11-14T22:13:20.5Z"),
            json!("2023-11-15T00:13:20.500+02:00"),
            json!("2023-11-14t22:13:20.500z"),
            json!(1_700_000_000.5),
            json!(1_700_000_000_500_i64),
        ];
        for form in forms {
            assert_eq!(parse(&form), Ok(1_700_000_000_500), "{form}");
        }
        assert_eq!(parse(&json!(1_700_000_000)), Ok(1_700_000_000_000));
        assert_eq!(parse(&json!(-1)), Ok(-1000));
    }

    #[test]
    fn what_is_no_moment_is_refused_with_what_is_taken() {
        for value in [json!("yesterday"), json!("2023-11-14T22:13:20"), json!("1700000000"), json!(1e300), json!(true)]
        {
            assert!(parse(&value).unwrap_err().contains("RFC 3339 ("), "{value}");
        }
    }

    #[test]
    fn bounds_are_inclusive_and_named() {
        let (oldest, now) = (1_000_000_000_000, 1_700_000_000_000);
        assert_eq!(check(oldest, oldest, now), Ok(()));
        assert_eq!(check(now + MAX_AHEAD_MS, oldest, now), Ok(()));
        let (reason, message) = check(oldest - 1, oldest, now).unwrap_err();
        assert!(reason == Reason::TooOld && message.contains("2001-09-09T01:46:40.000Z"), "{message}");
        let (reason, message) = check(now + MAX_AHEAD_MS + 1, oldest, now).unwrap_err();
        assert!(reason == Reason::TooNew && message.contains("2023-11-14T23:13:20.000Z"), "{message}");
    }
}
