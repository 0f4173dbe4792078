//! Reading an answer leniently: an older or newer collector may lack a field or have more.

use serde_json::Value;

use crate::cli::terminal;

/// A place in an answer, which may be absent.
#[derive(Clone, Copy, Debug)]
pub struct Node<'a>(Option<&'a Value>);

impl<'a> Node<'a> {
    pub const fn of(value: &'a Value) -> Self {
        Self(Some(value))
    }

    pub fn get(self, key: &str) -> Self {
        Self(self.0.and_then(|value| value.get(key)))
    }

    /// Whether something is there.
    pub fn is_some(self) -> bool {
        self.0.is_some_and(|value| !value.is_null())
    }

    /// The text or number at a key, on one line and harmless; empty when there is none.
    pub fn text(self, key: &str) -> String {
        terminal::clean(&self.raw(key))
    }

    /// As [`Self::text`], with its line breaks.
    pub fn long_text(self, key: &str) -> String {
        terminal::clean_text(&self.raw(key))
    }

    /// The text at a key as sent: for parsing, not for showing.
    pub fn raw(self, key: &str) -> String {
        self.get(key).raw_self()
    }

    fn raw_self(self) -> String {
        match self.0 {
            Some(Value::String(text)) => text.clone(),
            Some(Value::Number(number)) => number.to_string(),
            _ => String::new(),
        }
    }

    /// A stored body: JSON indented, else the text as it was sent; harmless either way.
    pub fn body(self) -> String {
        match self.0 {
            None | Some(Value::Null) => "(none stored)".to_owned(),
            Some(Value::String(text)) => terminal::clean_text(text),
            Some(json) => terminal::clean_json(&serde_json::to_string_pretty(json).unwrap_or_default()),
        }
    }

    /// The number at a key; also one that is written as a text.
    pub fn number(self, key: &str) -> Option<f64> {
        match self.get(key).0? {
            Value::Number(number) => number.as_f64(),
            Value::String(text) => text.parse().ok(),
            _ => None,
        }
    }

    /// The count at a key.
    pub fn count(self, key: &str) -> Option<u64> {
        self.number(key).filter(|number| *number >= 0.0).map(|number| number as u64)
    }

    pub fn flag(self, key: &str) -> Option<bool> {
        self.get(key).0?.as_bool()
    }

    /// The items of the list at a key, none when it is no list.
    pub fn list(self, key: &str) -> impl ExactSizeIterator<Item = Self> + DoubleEndedIterator {
        let items = self.get(key).0.and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
        items.iter().map(Self::of)
    }

    /// The texts of the list at a key; a single text is a list of one.
    pub fn texts(self, key: &str) -> Vec<String> {
        let texts: Vec<_> = match self.get(key) {
            Self(Some(Value::Array(items))) => items.iter().map(|item| Node::of(item).raw_self()).collect(),
            other => vec![other.raw_self()],
        };
        texts.iter().map(|text| terminal::clean(text)).filter(|text| !text.is_empty()).collect()
    }
}
