//! Captured events and request totals, sent as if they happened now.

mod totals;

use std::{
    io,
    path::{Path, PathBuf},
};

use chrono::DateTime;
use serde_json::Value;

use self::totals::Counts;
use super::{Due, world::timestamp};
use crate::cli::import::input::{self, Kind};

/// Headers that hold a point in time in Unix seconds.
const RESET_HEADERS: [&str; 3] = ["x-throttle-reset", "x-ratelimit-reset", "x-rate-limit-reset"];

const MINUTE_MS: i64 = 60_000;

/// The part of a capture that is replayed, by its own time; milliseconds since the Unix epoch.
#[derive(Clone, Copy, Debug, Default)]
pub struct Range {
    pub from_ms: Option<i64>,
    /// Nothing from this time on.
    pub to_ms: Option<i64>,
}

/// The lines of some files, moved to now.
pub struct Replay {
    tracks: Vec<Track>,
    moved: Moved,
}

/// Where the time of a capture goes.
#[derive(Clone, Copy, Debug)]
struct Moved {
    /// This time of the capture …
    first_ms: i64,
    /// … is this one.
    start_ms: i64,
    speed: f64,
}

impl Moved {
    fn to(self, at_ms: i64) -> i64 {
        self.start_ms + ((at_ms - self.first_ms).max(0) as f64 / self.speed) as i64
    }
}

type Lines = Box<dyn Iterator<Item = io::Result<String>> + Send>;

/// One file, ordered by time.
struct Track {
    kind: Kind,
    lines: Lines,
    range: Range,
    /// The next line, of which the time has not come.
    waiting: Option<(i64, Value)>,
    /// Totals on their way.
    counts: Counts,
    /// Lines without a time, totals without a count, and what is no object.
    passed_over: u64,
}

impl Replay {
    /// Opens files whose range begins at `start_ms` (without one: whose first line does), and goes on at `speed` times their pace.
    pub fn open(paths: &[PathBuf], range: Range, speed: f64, start_ms: i64) -> io::Result<Self> {
        let open = |path: &PathBuf| -> io::Result<(Kind, Lines)> {
            let input = input::open(path).map_err(|error| named(path, &error))?;
            Ok((input.kind, Box::new(io::BufRead::lines(input.reader))))
        };
        Self::of(paths.iter().map(open).collect::<io::Result<_>>()?, range, speed, start_ms)
    }

    fn of(files: Vec<(Kind, Lines)>, range: Range, speed: f64, start_ms: i64) -> io::Result<Self> {
        let counts = |number| Counts::of(format!("replay-{start_ms}-{number}"));
        let track = |(number, (kind, lines))| Track {
            kind,
            lines,
            range,
            waiting: None,
            counts: counts(number),
            passed_over: 0,
        };
        let mut tracks: Vec<_> = files.into_iter().enumerate().map(track).collect();
        let mut first_ms = range.from_ms;
        if first_ms.is_none() {
            for track in &mut tracks {
                let begins_ms = track.peek()?;
                first_ms = [first_ms, begins_ms].into_iter().flatten().min();
            }
        }
        Ok(Self { tracks, moved: Moved { first_ms: first_ms.unwrap_or(start_ms), start_ms, speed } })
    }

    /// What is to be sent up to a time, and was not yet; none when there will be no more.
    pub fn due(&mut self, now_ms: i64) -> io::Result<Option<Due>> {
        let mut due = Due::default();
        let mut is_over = true;
        for track in &mut self.tracks {
            is_over &= track.due(self.moved, now_ms, &mut due)?;
        }
        Ok(if is_over && due.is_empty() { None } else { Some(due) })
    }

    /// What it does, in a line.
    pub fn describe(&self) -> String {
        let Moved { first_ms, start_ms, speed } = self.moved;
        format!("{} of the capture is {}; {speed} times as fast", timestamp(first_ms), timestamp(start_ms))
    }

    /// Lines that cannot be replayed.
    pub fn passed_over(&self) -> u64 {
        self.tracks.iter().map(|track| track.passed_over).sum()
    }
}

fn named(path: &Path, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("cannot read {}: {error}", path.display()))
}

impl Track {
    /// The time of the next line, by the capture's clock.
    fn peek(&mut self) -> io::Result<Option<i64>> {
        while self.waiting.is_none() {
            let Some(line) = self.lines.next().transpose()? else { return Ok(None) };
            if line.trim().is_empty() {
                continue;
            }
            match parse(&line, self.kind) {
                Some((at_ms, _)) if self.range.from_ms.is_some_and(|from_ms| at_ms < from_ms) => {}
                Some((at_ms, _)) if self.range.to_ms.is_some_and(|to_ms| at_ms >= to_ms) => {
                    self.lines = Box::new(std::iter::empty());
                }
                Some(next) => self.waiting = Some(next),
                None => self.passed_over += 1,
            }
        }
        Ok(self.waiting.as_ref().map(|(at_ms, _)| *at_ms))
    }

    /// Adds what is due; whether that was the last.
    fn due(&mut self, moved: Moved, now_ms: i64, due: &mut Due) -> io::Result<bool> {
        let mut is_over = true;
        while let Some(at_ms) = self.peek()? {
            let moved_ms = moved.to(at_ms);
            let Some((_, mut line)) = self.waiting.take_if(|_| moved_ms <= now_ms) else {
                is_over = false;
                break;
            };
            match self.kind {
                Kind::Events => {
                    retime(&mut line, at_ms, moved_ms);
                    due.events.push(line);
                }
                Kind::Totals => {
                    let count = line["count"].as_u64().unwrap_or_default();
                    self.counts.add(line, count, (moved_ms, moved.to(at_ms + MINUTE_MS)));
                }
            }
        }
        due.totals.extend(self.counts.due(now_ms));
        Ok(is_over && self.counts.is_empty())
    }
}

/// The time of a line, and the line; none where it lacks what a replay needs.
fn parse(line: &str, kind: Kind) -> Option<(i64, Value)> {
    let line: Value = serde_json::from_str(line).ok()?;
    let time = match kind {
        Kind::Events => "timestamp",
        Kind::Totals => "minute",
    };
    if kind == Kind::Totals {
        line.get("count")?.as_u64()?;
    }
    let at_ms = match line.get(time)? {
        Value::String(text) => DateTime::parse_from_rfc3339(text).ok()?.timestamp_millis(),
        // Seconds of any year to come are below this, milliseconds of any year past 1973 above it.
        Value::Number(number) => match number.as_f64()? {
            seconds if seconds < 1e11 => (seconds * 1000.0) as i64,
            milliseconds => milliseconds as i64,
        },
        _ => return None,
    };
    Some((at_ms, line))
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

    const START: i64 = 1_800_000_000_000; // 2027-01-15T08:00:00Z

    fn file(kind: Kind, lines: Vec<Value>) -> (Kind, Lines) {
        (kind, Box::new(lines.into_iter().map(|line| Ok(line.to_string()))))
    }

    fn replay(files: Vec<(Kind, Lines)>, range: Range, speed: f64) -> Replay {
        Replay::of(files, range, speed, START).unwrap()
    }

    #[test]
    fn events_keep_their_pace_times_the_speed_and_their_resets() {
        let lines = vec![
            json!({"timestamp": "2026-11-17T00:00:00Z", "response_headers": {"X-Throttle-Reset": "1794873630", "RateLimit-Reset": "30"}}),
            json!({"no": "time"}),
            json!({"timestamp": 1_794_873_620, "rate_limit": {"reset": 1_794_873_680}}),
        ];
        let mut replay = replay(vec![file(Kind::Events, lines)], Range::default(), 10.0);
        let [event] = replay.due(START).unwrap().unwrap().events.try_into().unwrap();
        assert_eq!(event["timestamp"], "2027-01-15T08:00:00.000Z");
        assert_eq!(event["response_headers"], json!({"X-Throttle-Reset": "1800000030", "RateLimit-Reset": "30"}));
        assert_eq!(replay.due(START + 1999).unwrap(), Some(Due::default()), "not before its time");
        let [event] = replay.due(START + 2000).unwrap().unwrap().events.try_into().unwrap();
        assert_eq!(
            (&event["timestamp"], &event["rate_limit"]["reset"]),
            (&json!("2027-01-15T08:00:02.000Z"), &json!(1_800_000_062))
        );
        assert_eq!(replay.due(START + 2001).unwrap(), None);
        assert_eq!(replay.passed_over(), 1);
    }

    #[test]
    fn a_range_begins_now_whatever_is_in_it() {
        let lines =
            ["09:59:59", "10:00:10", "10:01:00"].map(|time| json!({"timestamp": format!("2026-11-17T{time}Z")}));
        let at = |text: &str| Some(DateTime::parse_from_rfc3339(text).unwrap().timestamp_millis());
        let range = Range { from_ms: at("2026-11-17T10:00:00Z"), to_ms: at("2026-11-17T10:01:00Z") };
        let mut replay = replay(vec![file(Kind::Events, lines.into())], range, 2.0);
        let due = replay.due(START + 60_000).unwrap().unwrap();
        assert_eq!(due.events, [json!({"timestamp": "2027-01-15T08:00:05.000Z"})]);
        assert_eq!(replay.due(START + 90_000).unwrap(), None);
        assert_eq!(
            replay.describe(),
            "2026-11-17T10:00:00.000Z of the capture is 2027-01-15T08:00:00.000Z; 2 times as fast"
        );
    }

    /// What every reporter must keep to: a total replaces the one before it, so those of minutes that fall together are summed.
    #[test]
    fn totals_of_minutes_that_fall_into_one_are_reported_as_their_sum() {
        let total = |minute: &str, status: u16, count: u64| json!({"minute": format!("2026-11-17T{minute}:00Z"), "status": status, "count": count});
        let lines =
            vec![total("00:00", 200, 5), total("00:00", 500, 1), total("00:01", 200, 7), total("01:00", 200, 9)];
        let errors = vec![json!({"timestamp": "2026-11-17T00:00:30Z"})];
        let files = vec![file(Kind::Events, errors), file(Kind::Totals, lines)];
        // The events come first, half a minute later: both begin at their own times.
        let mut replay = replay(files, Range::default(), 60.0);
        let mut told = Vec::new();
        let mut events = 0;
        let mut now = START;
        while let Some(due) = replay.due(now).unwrap() {
            events += due.events.len();
            for total in due.totals {
                assert!(total["reporter"].as_str().unwrap().starts_with("replay-1800000000000-"), "{total}");
                told.push((
                    now - START,
                    total["minute"].as_str().unwrap()[11..19].to_owned(),
                    total["status"].as_u64(),
                    total["count"].as_u64(),
                ));
            }
            now += 500;
        }
        let row = |at, minute: &str, status, count| (at, minute.to_owned(), Some(status), Some(count));
        let expected = [
            row(1000, "08:00:00", 200, 5),
            row(1000, "08:00:00", 500, 1),
            row(2000, "08:00:00", 200, 12),
            row(61_000, "08:01:00", 200, 9),
        ];
        assert_eq!((told, events), (expected.to_vec(), 1));
    }
}
