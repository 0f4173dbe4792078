//! What a client reports in forms of its own: times, quotas, stack traces.

use serde_json::{Value, json};

use super::{
    draw::{Draw, text},
    events::{NOW_MS, context},
};
use crate::{
    decode::{self, Context, Format, Limits, Reason},
    event::{
        Event, RateLimit,
        fingerprint::frame,
        rate_limit::{LATEST_RESET, MAX_COUNT, from_headers},
    },
};

/// The latest time that can be written with a year of four digits, and a day for its offset.
const LAST_MS: i64 = 253_402_300_800_000 + 86_400_000;

/// Numbers of milliseconds that are read as such.
const NUMBERS: std::ops::Range<i64> = 100_000_000_000..250_000_000_000_000;

/// A time that is taken is the same in every form; only its distance from the bounds decides whether it is kept.
pub fn timestamps(input: &[u8]) {
    let text = text(input);
    let number = serde_json::from_str::<serde_json::Number>(&text).ok().map(Value::Number);
    for value in [Some(Value::from(text)), number].into_iter().flatten() {
        let wide = (-LAST_MS * 1000, LAST_MS * 1000);
        let time = match at(&value, wide) {
            Ok(event) => event.timestamp_ms,
            Err(reason) => {
                assert_eq!(reason, Reason::InvalidTimestamp);
                assert_eq!(
                    at(&value, (NOW_MS, NOW_MS)).unwrap_err(),
                    reason,
                    "bounds do not matter to what is no time"
                );
                continue;
            }
        };
        assert!(time.abs() <= LAST_MS, "{value} is {time}");
        let four_digits = -62_000_000_000_000..253_402_300_800_000;
        if let Some(written) = chrono::DateTime::from_timestamp_millis(time).filter(|_| four_digits.contains(&time)) {
            assert_eq!(at(&json!(written.to_rfc3339()), wide).unwrap().timestamp_ms, time, "{written}");
            assert_eq!(at(&json!(format!(" {} ", written.to_rfc3339())), wide).unwrap().timestamp_ms, time);
        }
        if NUMBERS.contains(&time.abs()) {
            assert_eq!(at(&json!(time), wide).unwrap().timestamp_ms, time, "milliseconds");
        } else if time.abs() < NUMBERS.start && time % 1000 == 0 {
            assert_eq!(at(&json!(time / 1000), wide).unwrap().timestamp_ms, time, "seconds");
        }
        assert!(at(&value, (time, time)).is_ok() && at(&value, (time, time - 3_600_000)).is_ok(), "on the bounds");
        assert_eq!(at(&value, (time + 1, time + 1)).unwrap_err(), Reason::TooOld);
        assert_eq!(at(&value, (time - 9_000_000, time - 3_600_001)).unwrap_err(), Reason::TooNew);
    }
}

/// An event of this time, or why there is none.
fn at(time: &Value, (oldest_ms, received_at_ms): (i64, i64)) -> Result<Event, Reason> {
    let body = json!({"status": 500, "request_id": "r-1", "timestamp": time}).to_string();
    let limits = Limits::default();
    let context = Context { received_at_ms, oldest_ms, ..context(&limits) };
    let mut decoded = decode::events(Format::Json, body.as_bytes(), context).unwrap();
    match decoded.rejects.pop() {
        Some(reject) => Err(reject.reason),
        None => Ok(decoded.events.pop().unwrap().1),
    }
}

/// Headers, one a line: what is read of them is believable, and the dialect that comes first wins.
pub fn rate_limits(input: &[u8]) {
    let text = text(input);
    let headers: Vec<(String, String)> = text
        .lines()
        .take(64)
        .map(|line| line.split_once(':').unwrap_or((line, "")))
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect();
    for timestamp_ms in [NOW_MS, 0, i64::MAX, i64::MIN] {
        let read = from_headers(&headers, timestamp_ms);
        assert_ne!(read, Some(RateLimit::default()), "it says nothing");
        let RateLimit { limit, remaining, reset } = read.unwrap_or_default();
        assert!(limit.is_none_or(|limit| limit <= MAX_COUNT) && remaining.is_none_or(|count| count <= MAX_COUNT));
        assert!(reset.is_none_or(|reset| (0..=LATEST_RESET).contains(&reset)), "{reset:?}");
    }
    let read = from_headers(&headers, NOW_MS);
    let shouted: Vec<_> =
        headers.iter().map(|(name, value)| (name.to_ascii_uppercase(), format!(" {value}\t"))).collect();
    assert_eq!(from_headers(&shouted, NOW_MS), read, "case and white space mean nothing");
    let with = |name: &str, value: &str| {
        let first = [(name.to_owned(), value.to_owned())];
        from_headers(&[&first[..], &headers[..]].concat(), NOW_MS)
    };
    assert_eq!(with("X-Unrelated", "7"), read, "other headers mean nothing");
    let state = RateLimit { limit: Some(7), ..read.unwrap_or_default() };
    assert_eq!(with("X-Throttle-Limit", "7"), Some(state), "the first dialect wins");
    let state = RateLimit { reset: Some(NOW_MS / 1000 + 30), ..read.unwrap_or_default() };
    assert_eq!(with("X-Throttle-Reset", "30"), Some(state), "a delay counts from the event");
}

/// The top frame of any text names no place that changes with a deploy, and lines that are no frames change nothing.
pub fn stack_frames(input: &[u8]) {
    let text = text(input);
    let top = frame::top(&text);
    if let Some(frame) = &top {
        assert!(frame.file.matches('/').count() <= 1 && !frame.file.contains(['?', '#', '\\', '\n']), "{frame:?}");
        assert!(!frame.function.contains('\n'), "{frame:?}");
    }
    let long = "x".repeat(3000);
    let spread: Vec<&str> = text.lines().flat_map(|line| [line, &long]).collect();
    assert_eq!(frame::top(&spread.join("\n")), top, "a line too long to be a frame changes nothing");
    assert_eq!(frame::top(&text.lines().collect::<Vec<_>>().join("\r\n")), top, "line ends mean nothing");
    let mut draw = Draw::new(input);
    let (kind, name, file) = (draw.below(7), draw.below(4), draw.below(3));
    let trace =
        |line: usize| written(kind, ["load", "Store.save", "add_item", "run2"][name], ["cart", "x", "y1"][file], line);
    let frame = frame::top(&trace(12)).unwrap_or_else(|| panic!("no frame in {:?}", trace(12)));
    assert_eq!(frame::top(&trace(4711)), Some(frame), "line numbers are not in it");
}

/// A frame as each language writes it.
fn written(kind: usize, function: &str, file: &str, line: usize) -> String {
    match kind {
        0 => format!("  File \"/srv/app/{file}.py\", line {line}, in {function}"),
        1 => format!("\tat com.shop.{function}({file}.java:{line})"),
        2 => format!("    at {function} (/app/{file}.js:{line}:7)"),
        3 => format!("{function}@https://app.example/{file}.js:{line}:2"),
        4 => format!("app/{file}.rb:{line}:in `{function}'"),
        5 => format!("main.{function}(0xc0001)\n\t/app/{file}.go:{line} +0x1d"),
        _ => format!("#0 /var/www/app/{file}.php({line}): {function}()"),
    }
}
