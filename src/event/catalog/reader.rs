//! Typed reading of a TOML document that keeps every problem with its place.

use std::{cell::RefCell, fmt, ops::RangeInclusive};

use toml::de::{DeTable, DeValue};

use super::MAX_TEXT;

/// Something wrong in a catalog's text.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Problem {
    /// From 1.
    pub line: usize,
    /// In characters, from 1.
    pub column: usize,
    pub message: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}, column {}: {}", self.line, self.column, self.message)
    }
}

/// The text being read and what was found wrong in it.
pub(super) struct Reader<'t> {
    text: &'t str,
    problems: RefCell<Vec<Problem>>,
}

/// A value and where it stands, as an offset in bytes.
#[derive(Clone, Debug, Default)]
pub(super) struct At<T> {
    pub(super) value: T,
    pub(super) at: usize,
}

/// Whether a key may be left out.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Need {
    Required,
    Optional,
}

/// One table of the document.
pub(super) struct Entry<'r, 't> {
    reader: &'r Reader<'t>,
    /// As written in the text: `[[status]]`.
    kind: &'static str,
    table: &'r DeTable<'t>,
    /// Offset of the header.
    pub(super) at: usize,
}

impl<'t> Reader<'t> {
    pub(super) fn new(text: &'t str) -> Self {
        Self { text, problems: RefCell::default() }
    }

    pub(super) fn problem(&self, at: usize, message: impl Into<String>) {
        let before = self.text.get(..at).unwrap_or(self.text);
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        let problem = Problem {
            line: before.matches('\n').count() + 1,
            column: before[line_start..].chars().count() + 1,
            message: message.into(),
        };
        self.problems.borrow_mut().push(problem);
    }

    /// The line an offset is on, from 1.
    pub(super) fn line(&self, at: usize) -> usize {
        self.text.get(..at).unwrap_or(self.text).matches('\n').count() + 1
    }

    /// The problems in the order of the text.
    pub(super) fn into_problems(self) -> Vec<Problem> {
        let mut problems = self.problems.into_inner();
        problems.sort();
        problems.dedup();
        problems
    }

    /// The tables of `[[name]]`, empty when there are none.
    pub(super) fn entries<'r>(
        &'r self,
        document: &'r DeTable<'t>,
        name: &str,
        kind: &'static str,
    ) -> Vec<Entry<'r, 't>> {
        let Some(value) = document.get(name) else { return Vec::new() };
        let Some(items) = value.get_ref().as_array() else {
            self.problem(value.span().start, format!("write {kind}: {name} is a list of entries"));
            return Vec::new();
        };
        let mut entries = Vec::new();
        for item in items {
            match item.get_ref().as_table() {
                Some(table) => entries.push(Entry { reader: self, kind, table, at: item.span().start }),
                None => self.problem(item.span().start, format!("an entry of {kind} must be a table")),
            }
        }
        entries
    }

    /// The table `[name]`, if it is there.
    pub(super) fn entry<'r>(
        &'r self,
        document: &'r DeTable<'t>,
        name: &str,
        kind: &'static str,
    ) -> Option<Entry<'r, 't>> {
        let value = document.get(name)?;
        let table = value.get_ref().as_table();
        if table.is_none() {
            self.problem(value.span().start, format!("write {kind}: {name} is one table"));
        }
        table.map(|table| Entry { reader: self, kind, table, at: value.span().start })
    }

    /// Names every key that is not one of `known`.
    pub(super) fn only(&self, table: &DeTable<'_>, place: &str, known: &[&str]) {
        for key in table.keys().filter(|key| !known.contains(&key.get_ref().as_ref())) {
            let message = format!("unknown key `{}` in {place}; known keys: {}", key.get_ref(), known.join(", "));
            self.problem(key.span().start, message);
        }
    }

    /// A text that is neither empty nor too long.
    fn text(&self, value: &DeValue<'_>, at: usize, name: &str) -> At<String> {
        match value.as_str() {
            None => self.problem(at, format!("{name} must be a text, not {}", type_name(value))),
            Some(text) if text.trim().is_empty() => self.problem(at, format!("{name} is empty")),
            Some(text) if text.chars().count() > MAX_TEXT => {
                self.problem(at, format!("{name} has more than {MAX_TEXT} characters"));
            }
            Some(text) => return At { value: text.to_owned(), at },
        }
        At { value: String::new(), at }
    }

    fn integer(&self, value: &DeValue<'_>, at: usize, name: &str, range: &RangeInclusive<u16>) -> At<u16> {
        let number = value.as_integer().map(|number| i64::from_str_radix(number.as_str(), number.radix()));
        match number {
            None => self.problem(at, format!("{name} must be an integer, not {}", type_name(value))),
            Some(number) => {
                let fits = number.ok().and_then(|number| u16::try_from(number).ok()).filter(|n| range.contains(n));
                if let Some(value) = fits {
                    return At { value, at };
                }
                self.problem(at, format!("{name} is out of range: it must be {} to {}", range.start(), range.end()));
            }
        }
        At { value: 0, at }
    }
}

impl<'t> Entry<'_, 't> {
    /// Names every key of the entry that is not one of `known`.
    pub(super) fn only(&self, known: &[&str]) {
        self.reader.only(self.table, self.kind, known);
    }

    pub(super) fn has(&self, key: &str) -> bool {
        self.table.contains_key(key)
    }

    pub(super) fn missing(&self, key: &str) {
        self.reader.problem(self.at, format!("{} misses `{key}`", self.kind));
    }

    /// A text; empty when it is absent or wrong, which is then a problem unless absence is allowed.
    pub(super) fn text(&self, key: &str, need: Need) -> At<String> {
        if let Some(value) = self.table.get(key) {
            return self.reader.text(value.get_ref(), value.span().start, &format!("`{key}`"));
        }
        if need == Need::Required {
            self.missing(key);
        }
        At { value: String::new(), at: self.at }
    }

    pub(super) fn integer(&self, key: &str, range: &RangeInclusive<u16>) -> At<u16> {
        if let Some(value) = self.table.get(key) {
            return self.reader.integer(value.get_ref(), value.span().start, &format!("`{key}`"), range);
        }
        self.missing(key);
        At { value: 0, at: self.at }
    }

    /// A list of texts; if it is there it has at least one.
    pub(super) fn texts(&self, key: &str, need: Need) -> Vec<At<String>> {
        let name = format!("an item of `{key}`");
        self.items(key, need, |value, at| self.reader.text(value, at, &name))
    }

    pub(super) fn integers(&self, key: &str, range: &RangeInclusive<u16>) -> Vec<At<u16>> {
        let name = format!("an item of `{key}`");
        self.items(key, Need::Optional, |value, at| self.reader.integer(value, at, &name, range))
    }

    /// A list of tables such as `{ name = "…", meaning = "…" }`.
    pub(super) fn tables(&self, key: &str, kind: &'static str) -> Vec<Entry<'_, 't>> {
        let tables = self.items(key, Need::Optional, |value, at| {
            let table = value.as_table();
            if table.is_none() {
                self.reader.problem(at, format!("an item of `{key}` must be a table, not {}", type_name(value)));
            }
            table.map(|table| Entry { reader: self.reader, kind, table, at })
        });
        tables.into_iter().flatten().collect()
    }

    fn items<'e, T>(&'e self, key: &str, need: Need, read: impl Fn(&'e DeValue<'t>, usize) -> T) -> Vec<T> {
        let Some(value) = self.table.get(key) else {
            if need == Need::Required {
                self.missing(key);
            }
            return Vec::new();
        };
        match value.get_ref().as_array() {
            None => {
                let message = format!("`{key}` must be a list, not {}", type_name(value.get_ref()));
                self.reader.problem(value.span().start, message);
                Vec::new()
            }
            Some(items) if items.is_empty() => {
                self.reader.problem(value.span().start, format!("`{key}` is empty"));
                Vec::new()
            }
            Some(items) => items.iter().map(|item| read(item.get_ref(), item.span().start)).collect(),
        }
    }
}

fn type_name(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a text",
        DeValue::Integer(_) => "an integer",
        DeValue::Float(_) => "a decimal number",
        DeValue::Boolean(_) => "true or false",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    }
}
