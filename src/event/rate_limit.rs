//! Rate-limit state from response headers, whatever the dialect.
//!
//! Dialects in order of precedence; each value comes from the first that has it:
//!
//! 1. `X-Throttle-Limit`, `-Remaining`, `-Reset` (the error reference);
//! 2. `X-RateLimit-…` and `X-Rate-Limit-…` (GitHub, Twitter, OpenAI's `-Requests`, Kong's `-Minute` and its like, Discord's
//!    `-Reset-After`);
//! 3. `RateLimit-Limit`, `-Remaining`, `-Reset` (IETF drafts up to 6);
//! 4. `RateLimit` with `RateLimit-Policy`, also on several lines: `"default";r=0;t=30` (drafts from 8) or
//!    `limit=100, remaining=0, reset=5` (draft 7);
//! 5. `Retry-After-Ms` and `Retry-After`, for the reset alone.

use chrono::{DateTime, NaiveDateTime};

use super::RateLimit;

/// Largest limit or remaining count that is believed.
pub const MAX_COUNT: u64 = 1_000_000_000_000;

/// Latest reset that is believed, Unix seconds (2200-01-01); the earliest is 0.
pub const LATEST_RESET: i64 = 7_258_118_400;

/// Smallest number that is read as a time and not as a delay, in seconds (2001-09-09).
const FIRST_EPOCH_SECONDS: f64 = 1e9;

/// Smallest number that is read as a time in milliseconds (in seconds it would be the year 5138).
const FIRST_EPOCH_MILLISECONDS: f64 = 1e11;

/// Largest number that is read as a time in milliseconds (2286).
const LAST_EPOCH_MILLISECONDS: f64 = 1e13;

/// Families of three headers: the prefix, and the suffixes of limit, remaining and reset.
const PREFIXES: [&str; 4] = ["x-throttle-", "x-ratelimit-", "x-rate-limit-", "ratelimit-"];
const SUFFIXES: [&str; 2] = ["", "-requests"];

/// What Kong puts after limit and remaining, for each window there is.
const WINDOWS: [&str; 6] = ["-second", "-minute", "-hour", "-day", "-month", "-year"];

/// Reads the state of the client's quota. `timestamp_ms` is when the response was sent, milliseconds since the Unix epoch: what
/// delays count from. Names match without case. `None` where no header says anything.
///
/// A reset that is a delay or has a fraction is rounded up, so that nobody is told to come back too early.
#[must_use]
pub fn from_headers(headers: &[(String, String)], timestamp_ms: i64) -> Option<RateLimit> {
    let headers = Headers(headers);
    let mut found = RateLimit::default();
    for prefix in PREFIXES {
        for suffix in SUFFIXES {
            let value = |name: &str| headers.get(&[prefix, name, suffix]);
            found.limit = found.limit.or_else(|| value("limit").and_then(count));
            found.remaining = found.remaining.or_else(|| value("remaining").and_then(count));
            found.reset = found.reset.or_else(|| value("reset").and_then(|text| reset(text, timestamp_ms)));
        }
        let window = headers.scarcest_window(prefix);
        found.limit = found.limit.or(window.limit);
        found.remaining = found.remaining.or(window.remaining);
        let after = || headers.get(&[prefix, "reset-after"]).and_then(|text| reset(text, timestamp_ms));
        found.reset = found.reset.or_else(after);
    }
    let structured = of_structured(&headers.list("ratelimit"), &headers.list("ratelimit-policy"), timestamp_ms);
    found.limit = found.limit.or(structured.limit);
    found.remaining = found.remaining.or(structured.remaining);
    found.reset = found.reset.or(structured.reset);
    found.reset =
        found.reset.or_else(|| headers.get(&["retry-after-ms"]).and_then(|text| after_ms(text, timestamp_ms)));
    found.reset = found.reset.or_else(|| headers.get(&["retry-after"]).and_then(|text| reset(text, timestamp_ms)));
    (found != RateLimit::default()).then_some(found)
}

struct Headers<'a>(&'a [(String, String)]);

impl<'a> Headers<'a> {
    /// The value of the header whose lower-case name is these parts joined.
    fn get(&self, parts: &[&str]) -> Option<&'a str> {
        let is_named = |name: &str| {
            let mut rest = name.as_bytes();
            parts.iter().all(|part| {
                let found = rest.get(..part.len()).is_some_and(|start| start.eq_ignore_ascii_case(part.as_bytes()));
                rest = rest.get(part.len()..).unwrap_or_default();
                found
            }) && rest.is_empty()
        };
        self.0.iter().find(|(name, _)| is_named(name)).map(|(_, value)| value.trim())
    }

    /// The members of a list that may be on several lines (RFC 9110, 5.3).
    fn list(&self, name: &str) -> Vec<&'a str> {
        let lines = self.0.iter().filter(|(known, _)| known.eq_ignore_ascii_case(name));
        lines.flat_map(|(_, value)| split(value, ',')).filter(|member| !member.is_empty()).collect()
    }

    /// Of several windows, the one with the least left is the one that bites.
    fn scarcest_window(&self, prefix: &str) -> RateLimit {
        let windows = WINDOWS.iter().map(|window| RateLimit {
            limit: self.get(&[prefix, "limit", window]).and_then(count),
            remaining: self.get(&[prefix, "remaining", window]).and_then(count),
            reset: None,
        });
        let stated = windows.filter(|window| *window != RateLimit::default());
        stated.min_by_key(|window| window.remaining.unwrap_or(u64::MAX)).unwrap_or_default()
    }
}

/// The parts of a structured field between separators that are in no quotes, without white space around them.
fn split(text: &str, separator: char) -> impl Iterator<Item = &str> {
    let (mut in_quotes, mut is_escaped) = (false, false);
    let parts = text.split(move |c: char| {
        let is_quote = c == '"' && !is_escaped;
        is_escaped = in_quotes && c == '\\' && !is_escaped;
        in_quotes ^= is_quote;
        c == separator && !in_quotes
    });
    parts.map(str::trim)
}

/// A count: the first number of `100, 100;w=60`; a negative one is 0.
fn count(text: &str) -> Option<u64> {
    let first = text.split([',', ';']).next()?.trim();
    if let Some(owed) = first.strip_prefix('-') {
        return owed.parse::<u64>().ok().map(|_| 0);
    }
    first.parse().ok().filter(|&count| count <= MAX_COUNT)
}

/// When a window resets, Unix seconds: from a time or delay in seconds, a time in milliseconds, a duration (`6m0s`), an
/// HTTP date or an RFC 3339 time.
fn reset(text: &str, timestamp_ms: i64) -> Option<i64> {
    let text = text.trim().trim_matches('"');
    let first = text.split([',', ';']).next().unwrap_or_default().trim();
    let reset = match first.parse::<f64>().ok().or_else(|| duration(first)) {
        Some(number) => of_number(number, timestamp_ms),
        None => date(text),
    };
    reset.filter(|reset| (0..=LATEST_RESET).contains(reset))
}

/// Of a delay in milliseconds, which is never a time.
fn after_ms(text: &str, timestamp_ms: i64) -> Option<i64> {
    let seconds = text.parse::<f64>().ok()? / 1000.0;
    let reset = of_number(seconds, timestamp_ms).filter(|_| seconds < FIRST_EPOCH_SECONDS);
    reset.filter(|reset| (0..=LATEST_RESET).contains(reset))
}

fn of_number(number: f64, timestamp_ms: i64) -> Option<i64> {
    if !number.is_finite() || !(0.0..LAST_EPOCH_MILLISECONDS).contains(&number) {
        return None;
    }
    Some(if number >= FIRST_EPOCH_MILLISECONDS {
        (number / 1000.0).ceil() as i64
    } else if number >= FIRST_EPOCH_SECONDS {
        number.ceil() as i64
    } else {
        let reset_ms = timestamp_ms.saturating_add((number * 1000.0).ceil() as i64);
        reset_ms.div_euclid(1000) + i64::from(reset_ms.rem_euclid(1000) > 0)
    })
}

/// Go's notation, in seconds: `6m0s`, `1.5s`, `20ms`.
fn duration(text: &str) -> Option<f64> {
    let mut seconds = 0.0;
    let mut rest = text;
    while !rest.is_empty() {
        let number_end = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let (number, unit_on) = rest.split_at(number_end);
        let unit_end = unit_on.find(|c: char| c.is_ascii_digit()).unwrap_or(unit_on.len());
        let unit = match &unit_on[..unit_end] {
            "ms" => 0.001,
            "s" => 1.0,
            "m" => 60.0,
            "h" => 3600.0,
            "d" => 86_400.0,
            _ => return None,
        };
        seconds += number.parse::<f64>().ok()? * unit;
        rest = &unit_on[unit_end..];
    }
    // A delay of thirty years is no delay, and would be read as a time.
    (!text.is_empty() && seconds < FIRST_EPOCH_SECONDS).then_some(seconds)
}

/// The three forms of an HTTP date (RFC 9110, 5.6.7), and RFC 3339.
fn date(text: &str) -> Option<i64> {
    let of_form = |form| NaiveDateTime::parse_from_str(text, form).ok().map(|time| time.and_utc().timestamp());
    of_form("%a, %d %b %Y %H:%M:%S GMT")
        .or_else(|| of_form("%A, %d-%b-%y %H:%M:%S GMT"))
        .or_else(|| of_form("%a %b %e %H:%M:%S %Y"))
        .or_else(|| DateTime::parse_from_rfc3339(text).ok().map(|time| time.timestamp()))
}

/// Reads the members of a structured `RateLimit`. Of several policies, the one with the least left is the one that bites; the policies alone
/// tell the limit of the first.
fn of_structured(items: &[&str], policies: &[&str], timestamp_ms: i64) -> RateLimit {
    // Draft 7: a dictionary.
    let entry = |name| items.iter().flat_map(|item| split(item, ';')).find_map(|part| value_of(part, name));
    if ["limit", "remaining"].into_iter().any(|name| entry(name).is_some()) {
        return RateLimit {
            limit: entry("limit").and_then(count),
            remaining: entry("remaining").and_then(count),
            reset: entry("reset").and_then(|value| reset(value, timestamp_ms)),
        };
    }
    let left = |item: &&&str| parameter(item, "r").and_then(count).unwrap_or(u64::MAX);
    let Some(item) = items.iter().min_by_key(left) else {
        return RateLimit { limit: policies.first().and_then(|policy| quota(policy)), ..RateLimit::default() };
    };
    let policy = policies.iter().find(|policy| name(policy) == name(item));
    RateLimit {
        limit: policy.and_then(|policy| quota(policy)),
        remaining: parameter(item, "r").and_then(count),
        reset: parameter(item, "t").and_then(|value| reset(value, timestamp_ms)),
    }
}

/// Requests a policy allows: `"default";q=100;w=60`, or `100;w=60` (drafts up to 7).
fn quota(policy: &str) -> Option<u64> {
    parameter(policy, "q").or_else(|| split(policy, ';').next()).and_then(count)
}

fn parameter<'a>(item: &'a str, name: &str) -> Option<&'a str> {
    split(item, ';').find_map(|part| value_of(part, name))
}

fn value_of<'a>(part: &'a str, name: &str) -> Option<&'a str> {
    part.strip_prefix(name)?.strip_prefix('=').map(str::trim)
}

fn name(item: &str) -> &str {
    split(item, ';').next().unwrap_or_default().trim_matches('"')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// 2023-11-14T22:13:20.500Z.
    const NOW_MS: i64 = 1_700_000_000_500;
    const NOW: i64 = 1_700_000_000;

    fn read(headers: &[(&str, &str)]) -> Option<RateLimit> {
        let headers: Vec<_> = headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        from_headers(&headers, NOW_MS)
    }

    fn state(
        limit: impl Into<Option<u64>>,
        remaining: impl Into<Option<u64>>,
        reset: impl Into<Option<i64>>,
    ) -> RateLimit {
        RateLimit { limit: limit.into(), remaining: remaining.into(), reset: reset.into() }
    }

    #[test]
    fn every_dialect_is_read() {
        let three = |prefix: &str, reset: &str| {
            let name = |part| format!("{prefix}{part}");
            let headers =
                [(name("Limit"), "60".to_owned()), (name("remaining"), "0".into()), (name("RESET"), reset.into())];
            from_headers(&headers, NOW_MS)
        };
        for prefix in ["X-Throttle-", "X-RateLimit-", "X-Rate-Limit-", "RateLimit-", "x-ratelimit-"] {
            assert_eq!(three(prefix, "1700000060"), Some(state(60, 0, NOW + 60)), "{prefix}");
            assert_eq!(three(prefix, "60"), Some(state(60, 0, NOW + 61)), "{prefix}: a delay, from the half second on");
        }
        let structured = [("RateLimit", "\"default\";r=3;t=30"), ("RateLimit-Policy", "\"default\";q=100;w=60")];
        assert_eq!(read(&structured), Some(state(100, 3, NOW + 31)));
        assert_eq!(read(&[("RateLimit", "limit=100, remaining=0, reset=5")]), Some(state(100, 0, NOW + 6)));
        assert_eq!(read(&[("Retry-After", "120")]), Some(state(None, None, NOW + 121)));
        assert_eq!(read(&[("X-RateLimit-Reset-After", "1.5")]), Some(state(None, None, NOW + 2)));
        let openai = [
            ("x-ratelimit-limit-requests", "60"),
            ("x-ratelimit-remaining-requests", "59"),
            ("x-ratelimit-reset-requests", "6m0s"),
        ];
        assert_eq!(read(&openai), Some(state(60, 59, NOW + 361)));
    }

    #[test]
    fn of_several_policies_the_one_that_bites_counts() {
        let headers = [
            ("RateLimit", "\"day\";r=900;t=3600, \"burst\";r=0;t=5"),
            ("RateLimit-Policy", "\"day\";q=1000;w=86400, \"burst\";q=10;w=10"),
        ];
        assert_eq!(read(&headers), Some(state(10, 0, NOW + 6)));
    }

    #[test]
    fn quotes_lines_and_policies_alone_are_read_as_the_draft_has_them() {
        let quoted = [
            ("RateLimit", r#""a,b;r=1";r=4;t=30, "c\",d";r=2;pk=:YWI=:;t=5"#),
            ("RateLimit-Policy", r#""a,b;r=1";q=100;w=60, "c\",d";q=10;w=10;qu="requests""#),
        ];
        assert_eq!(read(&quoted), Some(state(10, 2, NOW + 6)));
        let lines = [
            ("RateLimit", "\"day\";r=900;t=3600"),
            ("ratelimit", "\"burst\";r=0;t=5"),
            ("RateLimit-Policy", "\"day\";q=1000;w=86400"),
            ("RateLimit-Policy", "\"burst\";q=10;w=10"),
            ("Retry-After", "30"),
        ];
        assert_eq!(read(&lines), Some(state(10, 0, NOW + 6)));
        assert_eq!(read(&[("RateLimit-Policy", "\"default\";q=100;w=60")]), Some(state(100, None, None)));
        assert_eq!(read(&[("RateLimit-Policy", "100;w=60;comment=\"q=7\"")]), Some(state(100, None, None)));
        let without_reset = [("RateLimit", "\"default\";r=0"), ("Retry-After", "Tue, 14 Nov 2023 22:14:20 GMT")];
        assert_eq!(read(&without_reset), Some(state(None, 0, NOW + 60)));
        let draft_7 = [("RateLimit", "limit=100;w=60, remaining=5"), ("RateLimit", "reset=5")];
        assert_eq!(read(&draft_7), Some(state(100, 5, NOW + 6)));
    }

    #[test]
    fn the_dialects_of_gateways_and_sites_are_read() {
        let kong = [
            ("X-RateLimit-Limit-Hour", "1000"),
            ("X-RateLimit-Remaining-Hour", "412"),
            ("X-RateLimit-Limit-Minute", "60"),
            ("X-RateLimit-Remaining-Minute", "0"),
            ("Retry-After", "12"),
        ];
        assert_eq!(read(&kong), Some(state(60, 0, NOW + 13)));
        let github = [
            ("x-ratelimit-limit", "5000"),
            ("x-ratelimit-remaining", "0"),
            ("x-ratelimit-used", "5000"),
            ("x-ratelimit-reset", "1700003600"),
            ("x-ratelimit-resource", "core"),
        ];
        assert_eq!(read(&github), Some(state(5000, 0, NOW + 3600)));
        let twitter =
            [("x-rate-limit-limit", "15"), ("x-rate-limit-remaining", "0"), ("x-rate-limit-reset", "1700000900")];
        assert_eq!(read(&twitter), Some(state(15, 0, NOW + 900)));
        assert_eq!(read(&[("retry-after-ms", "1500"), ("Retry-After", "2")]), Some(state(None, None, NOW + 2)));
        for nonsense in ["-1", "soon", "1e300", "NaN"] {
            assert_eq!(read(&[("Retry-After-Ms", nonsense)]), None, "{nonsense}");
        }
    }

    #[test]
    fn resets_are_unix_seconds_however_they_are_written() {
        for (text, expected) in [
            ("1700000060", NOW + 60),
            ("1700000060.2", NOW + 61),
            ("1700000060000", NOW + 60),
            ("1700000060001", NOW + 61),
            ("0", NOW + 1),
            ("0.5", NOW + 1),
            ("20ms", NOW + 1),
            ("1m30s", NOW + 91),
            ("Tue, 14 Nov 2023 22:14:20 GMT", NOW + 60),
            ("Tuesday, 14-Nov-23 22:14:20 GMT", NOW + 60),
            ("Tue Nov 14 22:14:20 2023", NOW + 60),
            ("2023-11-14T22:14:20Z", NOW + 60),
            ("2023-11-14T23:14:20+01:00", NOW + 60),
        ] {
            assert_eq!(reset(text, NOW_MS), Some(expected), "{text}");
        }
    }

    #[test]
    fn nonsense_is_nothing() {
        for text in [
            "",
            "soon",
            "-5",
            "NaN",
            "inf",
            "1e300",
            "99999999999999999",
            "5x",
            "9999999999h",
            "7258118401",
            "7258118401000",
            "9999-12-31T23:59:59Z",
            "1969-12-31T23:59:59Z",
            "Tue, 99 Nov 2023 22:14:20 GMT",
        ] {
            assert_eq!(reset(text, NOW_MS), None, "{text}");
        }
        assert_eq!(read(&[("X-Throttle-Limit", "many"), ("Content-Type", "text/html")]), None);
        assert_eq!(read(&[]), None);
        assert_eq!(
            read(&[("X-RateLimit-Limit", "1000000000001"), ("X-RateLimit-Remaining", "1000000000000")]),
            Some(state(None, MAX_COUNT, None))
        );
        assert_eq!(read(&[("X-RateLimit-Remaining", "-1")]), Some(state(None, 0, None)));
        assert_eq!(read(&[("X-RateLimit-Limit", "100, 100;w=60")]), Some(state(100, None, None)));
    }

    #[test]
    fn the_first_dialect_wins_and_the_others_fill_in() {
        let headers = [
            ("Retry-After", "5"),
            ("RateLimit-Limit", "9"),
            ("X-Throttle-Limit", "60"),
            ("X-Throttle-Reset", "1700000060"),
        ];
        assert_eq!(read(&headers), Some(state(60, None, NOW + 60)));
        assert_eq!(read(&[("X-Throttle-Limit", "60"), ("Retry-After", "5")]), Some(state(60, None, NOW + 6)));
    }

    proptest! {
        #[test]
        fn any_headers_are_read(
            headers in prop::collection::vec((
                prop::sample::select(vec!["X-Throttle-Reset", "RateLimit", "RateLimit-Policy", "Retry-After", "X-RateLimit-Limit"]),
                "[0-9a-zA-Z\";=,. -]{0,24}|\\PC{0,8}",
            ), 0..5),
            timestamp_ms: i64,
        ) {
            let headers: Vec<_> = headers.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
            let _ = from_headers(&headers, timestamp_ms);
        }
    }
}
