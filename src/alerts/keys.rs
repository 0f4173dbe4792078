//! Typed reading of one table of `alerts.toml`. Every problem names the entry, the key, and what to write.

use std::{cell::RefCell, collections::BTreeMap};

use toml::{Table, Value};

use super::rule::{DAY_MS, HOUR_MS, MINUTE_MS, SECOND_MS};

/// The longest length of time that a file may ask for: more is not kept, or nobody meant it.
const LONGEST_MS: i64 = 31 * DAY_MS;

/// Keys whose values are shown in no message. A secret may have been put where its file should be.
const SECRET: [&str; 6] = ["password", "secret", "url", "password_file", "secret_file", "url_file"];

/// One table, whose keys are taken one by one; what nobody took is unknown.
pub(super) struct Keys<'p> {
    /// As messages call it: `rule "server-errors"`.
    place: String,
    table: Table,
    known: Vec<&'static str>,
    problems: &'p RefCell<Vec<String>>,
}

impl<'p> Keys<'p> {
    pub fn new(place: impl Into<String>, table: Table, problems: &'p RefCell<Vec<String>>) -> Self {
        Self { place: place.into(), table, known: Vec::new(), problems }
    }

    /// A table within this one.
    pub fn within(&self, key: &str, table: Table) -> Self {
        Self::new(format!("{}: {key}", self.place), table, self.problems)
    }

    pub fn problem(&self, key: &str, message: &str) {
        self.problems.borrow_mut().push(format!("{}: {key}: {message}", self.place));
    }

    fn take(&mut self, key: &'static str) -> Option<Value> {
        self.known.push(key);
        self.table.remove(key)
    }

    fn typed<T>(&mut self, key: &'static str, expected: &str, read: impl Fn(&Value) -> Option<T>) -> Option<T> {
        let value = self.take(key)?;
        let read = read(&value);
        if read.is_none() {
            // A secret of the wrong type is a secret still.
            let got = if SECRET.contains(&key) {
                format!("a value of the type {}", value.type_str())
            } else {
                value.to_string()
            };
            self.problem(key, &format!("expected {expected}, got {got}"));
        }
        read
    }

    /// A text that is not empty.
    pub fn text(&mut self, key: &'static str) -> Option<String> {
        let read = |value: &Value| value.as_str().filter(|text| !text.trim().is_empty()).map(str::to_owned);
        self.typed(key, "a text", read)
    }

    /// A text that must be there; empty where it is not, which is a problem.
    pub fn required(&mut self, key: &'static str, example: &str) -> String {
        if !self.table.contains_key(key) {
            self.problem(key, &format!("is missing; write {key} = {example}"));
        }
        self.text(key).unwrap_or_default()
    }

    pub fn flag(&mut self, key: &'static str, default: bool) -> bool {
        self.typed(key, "true or false", Value::as_bool).unwrap_or(default)
    }

    /// A whole number of at least `least`.
    pub fn count(&mut self, key: &'static str, default: u64, least: u64) -> u64 {
        let read = |value: &Value| u64::try_from(value.as_integer()?).ok().filter(|count| *count >= least);
        self.typed(key, &format!("a whole number of at least {least}"), read).unwrap_or(default)
    }

    /// A number above 0.
    pub fn number(&mut self, key: &'static str, default: f64) -> f64 {
        self.typed(key, "a number above 0", |value| as_number(value).filter(|number| *number > 0.0)).unwrap_or(default)
    }

    /// A length of time in milliseconds, from `least_ms` on.
    pub fn duration(&mut self, key: &'static str, default_ms: i64, least_ms: i64) -> i64 {
        let expected = format!("a length of time such as \"5m\" from {} to 31d", length(least_ms));
        let read = |value: &Value| {
            let ms = duration_ms(value.as_str()?)?;
            (least_ms..=LONGEST_MS).contains(&ms).then_some(ms)
        };
        self.typed(key, &expected, read).unwrap_or(default_ms)
    }

    /// A list of texts; one text is a list of one.
    pub fn texts(&mut self, key: &'static str) -> Vec<String> {
        let read = |value: &Value| match value {
            Value::String(text) => Some(vec![text.clone()]),
            Value::Array(items) => items.iter().map(|item| item.as_str().map(str::to_owned)).collect(),
            _ => None,
        };
        self.typed(key, "a list of texts such as [\"a\", \"b\"]", read).unwrap_or_default()
    }

    /// A list of values that `parse` knows; the default where the key is absent.
    pub fn list<T>(
        &mut self,
        key: &'static str,
        expected: &str,
        default: Vec<T>,
        parse: impl Fn(&str) -> Option<T>,
    ) -> Vec<T> {
        if !self.table.contains_key(key) {
            self.known.push(key);
            return default;
        }
        let texts = self.texts(key);
        let mut values = Vec::new();
        for text in &texts {
            match parse(text) {
                Some(value) => values.push(value),
                None => self.problem(key, &format!("expected one or more of {expected}, got {text:?}")),
            }
        }
        values
    }

    /// A table of texts.
    pub fn pairs(&mut self, key: &'static str) -> BTreeMap<String, String> {
        let read = |value: &Value| {
            let pair = |(name, value): (&String, &Value)| Some((name.clone(), value.as_str()?.to_owned()));
            value.as_table()?.iter().map(pair).collect()
        };
        self.typed(key, "a table of texts such as { team = \"shop\" }", read).unwrap_or_default()
    }

    /// The tables of a list; `each` gets them in order.
    pub fn tables(&mut self, key: &'static str) -> Option<Vec<Table>> {
        let read = |value: &Value| value.as_array()?.iter().map(|item| item.as_table().cloned()).collect();
        self.typed(key, "a list of tables", read)
    }

    pub fn table(&mut self, key: &'static str) -> Table {
        self.typed(key, "a table", |value| value.as_table().cloned()).unwrap_or_default()
    }

    /// Ends the reading: what is left is unknown.
    pub fn finish(self) {
        for key in self.table.keys() {
            let known = self.known.join(", ");
            self.problem(key, &format!("there is no such key here; remove it, or use one of {known}"));
        }
    }
}

pub(super) fn as_number(value: &Value) -> Option<f64> {
    value.as_float().or_else(|| value.as_integer().map(|number| number as f64)).filter(|number| number.is_finite())
}

/// Reads `30s`, `5m`, `6h`, `3d`.
pub(super) fn duration_ms(text: &str) -> Option<i64> {
    let text = text.trim();
    let unit = match text.chars().last()? {
        's' => SECOND_MS,
        'm' => MINUTE_MS,
        'h' => HOUR_MS,
        'd' => DAY_MS,
        _ => return None,
    };
    let digits = &text[..text.len() - 1];
    let count: i64 = digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| digits.parse().ok())??;
    count.checked_mul(unit)
}

/// As [`duration_ms`] reads it: `90s`, `5m`, `3d`.
pub(crate) fn length(ms: i64) -> String {
    for (unit_ms, unit) in [(DAY_MS, 'd'), (HOUR_MS, 'h'), (MINUTE_MS, 'm')] {
        if ms > 0 && ms % unit_ms == 0 {
            return format!("{}{unit}", ms / unit_ms);
        }
    }
    format!("{}s", ms / SECOND_MS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_are_read_as_they_are_shown() {
        for (text, ms) in [("0s", 0), ("90s", 90_000), ("5m", 300_000), ("6h", 21_600_000), ("3d", 259_200_000)] {
            assert_eq!((duration_ms(text), length(ms).as_str()), (Some(ms), text));
        }
        for text in ["", "5", "m", "-5m", "+5m", "5 m", "1.5h", "5w", "99999999999999999d", "é"] {
            assert_eq!(duration_ms(text), None, "{text}");
        }
    }
}
