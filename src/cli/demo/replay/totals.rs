//! Request totals at another pace: a total is of a whole minute, and a captured minute is one no longer.

use std::collections::BTreeMap;

use serde_json::Value;

use super::{MINUTE_MS, timestamp};

/// The longest reporter that is kept as it is, characters; ours is added.
const REPORTER: usize = 100;

/// Totals on their way. A captured minute that lasts for a second now is reported after it, as part of the minute it falls into: each report is
/// the sum so far, since it replaces the one before it. A captured minute that lasts longer is spread over its minutes.
pub struct Counts {
    reporter: String,
    /// By when they are to be reported.
    parts: BTreeMap<i64, Vec<Part>>,
    /// What was reported, by minute and by the total without its count.
    sums: BTreeMap<(i64, String), u64>,
}

/// What is to be added to one minute.
struct Part {
    minute_ms: i64,
    total: Value,
    count: u64,
}

impl Counts {
    /// Of a reporter that nobody else is: its totals would replace these.
    pub fn of(reporter: String) -> Self {
        Self { reporter, parts: BTreeMap::new(), sums: BTreeMap::new() }
    }

    pub fn is_empty(&self) -> bool {
        self.parts.is_empty()
    }

    /// Takes a total whose minute lasts from a time to another now.
    pub fn add(&mut self, mut total: Value, count: u64, (from_ms, to_ms): (i64, i64)) {
        let to_ms = to_ms.max(from_ms + 1);
        let own: String = total["reporter"].as_str().unwrap_or_default().chars().take(REPORTER).collect();
        total["reporter"] = Value::String(format!("{own}{}", self.reporter));
        total["count"] = Value::Null;
        // How many there were up to a time: no request is lost or made up where the number cannot be divided.
        let until = |ms: i64| {
            let (passed, whole) = (ms.min(to_ms) - from_ms, to_ms - from_ms);
            (u128::from(count) * passed.max(0) as u128 / whole as u128) as u64
        };
        let mut minute_ms = from_ms.div_euclid(MINUTE_MS) * MINUTE_MS;
        while minute_ms < to_ms {
            let ends_ms = minute_ms + MINUTE_MS;
            let part = until(ends_ms) - until(minute_ms);
            if part > 0 || count == 0 {
                let part = Part { minute_ms, total: total.clone(), count: part };
                self.parts.entry(ends_ms.min(to_ms)).or_default().push(part);
            }
            minute_ms = ends_ms;
        }
    }

    /// The totals to report now.
    pub fn due(&mut self, now_ms: i64) -> Vec<Value> {
        let mut changed: BTreeMap<(i64, String), Value> = BTreeMap::new();
        while let Some(entry) = self.parts.first_entry().filter(|entry| *entry.key() <= now_ms) {
            for Part { minute_ms, mut total, count } in entry.remove() {
                total["minute"] = Value::String(timestamp(minute_ms));
                let key = (minute_ms, total.to_string());
                let sum = self.sums.entry(key.clone()).or_default();
                *sum += count;
                total["count"] = Value::from(*sum);
                changed.insert(key, total);
            }
        }
        // Parts come in the order of their ends: nothing more comes of the minute before the last.
        if let Some(((last_ms, _), _)) = changed.last_key_value() {
            self.sums = self.sums.split_off(&(last_ms - MINUTE_MS, String::new()));
        }
        changed.into_values().collect()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// Reports as they are made: seconds, minute of the day, count.
    fn reports(spans: &[(u64, i64, i64)]) -> Vec<(i64, String, u64)> {
        let mut counts = Counts::of("r".to_owned());
        for (count, from_s, to_s) in spans {
            counts.add(json!({"status": 200}), *count, (from_s * 1000, to_s * 1000));
        }
        let mut told = Vec::new();
        for second in 0..1000 {
            for total in counts.due(second * 1000) {
                let minute = total["minute"].as_str().unwrap()[11..16].to_owned();
                told.push((second, minute, total["count"].as_u64().unwrap()));
            }
        }
        assert!(counts.is_empty());
        told
    }

    #[test]
    fn a_minute_that_lasts_longer_is_spread_and_keeps_its_number() {
        let row = |second, minute: &str, count| (second, minute.to_owned(), count);
        assert_eq!(reports(&[(10, 30, 180)]), [row(60, "00:00", 2), row(120, "00:01", 4), row(180, "00:02", 4)]);
        assert_eq!(
            reports(&[(1, 30, 90), (4, 90, 150)]),
            [row(90, "00:01", 1), row(120, "00:01", 3), row(150, "00:02", 2)]
        );
    }

    #[test]
    fn a_minute_without_requests_is_reported_too() {
        assert_eq!(reports(&[(0, 0, 1)]), [(1, "00:00".to_owned(), 0)]);
    }

    #[test]
    fn a_reporter_stays_its_own_and_what_is_long_past_is_forgotten() {
        let mut counts = Counts::of("-r".to_owned());
        counts.add(json!({"reporter": "a"}), 1, (0, 1000));
        let [total] = counts.due(1000).try_into().unwrap();
        assert_eq!((&total["reporter"], &total["minute"]), (&json!("a-r"), &json!("1970-01-01T00:00:00.000Z")));
        for minute in 0..10 {
            counts.add(json!({}), 1, (minute * MINUTE_MS, minute * MINUTE_MS + 1000));
        }
        counts.due(MINUTE_MS * 10);
        assert_eq!(counts.sums.len(), 2);
    }
}
