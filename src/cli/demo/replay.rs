//! Captured events, sent as if they happened now.

use std::{io, path::Path};

use chrono::DateTime;
use serde_json::Value;

use super::world::timestamp;
use crate::cli::import::input;

/// Headers that hold a point in time in Unix seconds.
const RESET_HEADERS: [&str; 3] = ["x-throttle-reset", "x-ratelimit-reset", "x-rate-limit-reset"];

/// The events of a file, moved to now.
pub struct Replay {
    lines: Box<dyn Iterator<Item = io::Result<String>> + Send>,
    start_ms: i64,
    speed: f64,
    /// Time of the first event.
    first_ms: Option<i64>,
    /// Lines without a time or that are no objects; they are passed over.
    pub passed_over: u64,
}

impl Replay {
    /// Opens a file whose first event is to happen at `start_ms`, the others at `speed` times their pace.
    pub fn open(path: &Path, speed: f64, start_ms: i64) -> io::Result<Self> {
        let reader = input::open(path)?.reader;
        Ok(Self::of(io::BufRead::lines(reader), speed, start_ms))
    }

    fn of(lines: impl Iterator<Item = io::Result<String>> + Send + 'static, speed: f64, start_ms: i64) -> Self {
        Self { lines: Box::new(lines), start_ms, speed, first_ms: None, passed_over: 0 }
    }

    /// The next event and when to send it, `None` at the end.
    pub fn next(&mut self) -> io::Result<Option<(i64, Value)>> {
        for line in self.lines.by_ref() {
            let line = line?;
            if line.trim().is_empty() {
                continue;
            }
            let Some((mut event, at_ms)) = parse(&line) else {
                self.passed_over += 1;
                continue;
            };
            let first_ms = *self.first_ms.get_or_insert(at_ms);
            let due_ms = self.start_ms + ((at_ms - first_ms).max(0) as f64 / self.speed) as i64;
            retime(&mut event, at_ms, due_ms);
            return Ok(Some((due_ms, event)));
        }
        Ok(None)
    }
}

fn parse(line: &str) -> Option<(Value, i64)> {
    let event: Value = serde_json::from_str(line).ok()?;
    let at_ms = match event.get("timestamp")? {
        Value::String(text) => DateTime::parse_from_rfc3339(text).ok()?.timestamp_millis(),
        // Seconds of any year to come are below this, milliseconds of any year past 1973 above it.
        Value::Number(number) => match number.as_f64()? {
            seconds if seconds < 1e11 => (seconds * 1000.0) as i64,
            milliseconds => milliseconds as i64,
        },
        _ => return None,
    };
    Some((event, at_ms))
}

/// Moves an event in time, with the points in time it speaks of.
fn retime(event: &mut Value, from_ms: i64, to_ms: i64) {
    event["timestamp"] = Value::String(timestamp(to_ms));
    let shift = (to_ms - from_ms).div_euclid(1000);
    let headers = event.get_mut("response_headers").and_then(Value::as_object_mut);
    for (name, value) in headers.into_iter().flatten() {
        if RESET_HEADERS.contains(&name.to_ascii_lowercase().as_str())
            && let Some(reset) =
                value.as_str().and_then(|text| text.trim().parse::<i64>().ok()).filter(|seconds| is_a_time(*seconds))
        {
            *value = Value::String((reset + shift).to_string());
        }
    }
    if let Some(reset) = event.pointer_mut("/rate_limit/reset")
        && let Some(seconds) = reset.as_i64().filter(|seconds| is_a_time(*seconds))
    {
        *reset = Value::from(seconds + shift);
    }
}

/// Small numbers are seconds from now, not points in time.
fn is_a_time(seconds: i64) -> bool {
    (1_000_000_000..100_000_000_000).contains(&seconds)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn events_keep_their_pace_times_the_speed_and_their_resets() {
        let lines = [
            json!({"timestamp": "2026-11-17T00:00:00Z", "response_headers": {"X-Throttle-Reset": "1794873630", "RateLimit-Reset": "30"}}),
            json!({"no": "time"}),
            json!({"timestamp": 1_794_873_620, "rate_limit": {"reset": 1_794_873_680}}),
        ];
        let lines = lines.map(|line| Ok(line.to_string()));
        let mut replay = Replay::of(lines.into_iter(), 10.0, 1_800_000_000_000);
        let (at, event) = replay.next().unwrap().unwrap();
        assert_eq!((at, event["timestamp"].as_str()), (1_800_000_000_000, Some("2027-01-15T08:00:00.000Z")));
        assert_eq!(event["response_headers"], json!({"X-Throttle-Reset": "1800000030", "RateLimit-Reset": "30"}));
        let (at, event) = replay.next().unwrap().unwrap();
        assert_eq!((at, &event["rate_limit"]["reset"]), (1_800_000_002_000, &json!(1_800_000_062)));
        assert!(replay.next().unwrap().is_none());
        assert_eq!(replay.passed_over, 1);
    }
}
