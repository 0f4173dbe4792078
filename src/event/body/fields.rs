//! Mappings and lists of field errors, nested as Django REST Framework nests them.
//!
//! - The value of a key is a message, a list, a message object (`{"message": …, "code": …}`) or a mapping one level down.
//! - In a list, texts are messages of the field itself; objects are items that name their place ([`super::items`]) or else
//!   rows at their position, where `{}` is a good row; lists are rows too.
//! - A key of digits only is a position (Django REST Framework 3.18 writes `{"1": {"volume": […]}}`); `_errors` (zod's
//!   `format()`) holds the messages of the level it is on.

use serde_json::{Map, Value};

use super::{Collector, items, sentences};
use crate::event::path::{self, FieldPath};

/// Keys a bare Django body may have beside its fields, where their value is a scalar.
const BARE_METADATA: [&str; 3] = ["request_id", "status_code", "code"];

/// What a level of the body is read with.
struct Level<'a> {
    collector: &'a mut Collector,
    path: FieldPath,
    depth: usize,
    /// Whether a `loc` begins with the value's location (FastAPI's `detail`).
    loc_has_location: bool,
}

/// Reads a value that is known to hold errors.
pub(super) fn read_errors(value: &Value, loc_has_location: bool, collector: &mut Collector) {
    let mut level = Level { collector, path: FieldPath::default(), depth: 0, loc_has_location };
    match value {
        Value::String(message) => level.sentence(message),
        Value::Array(list) => level.list(list),
        // FastAPI's `HTTPException(detail={"message": …})` is no mapping of fields.
        Value::Object(object) if loc_has_location && !is_strict_mapping(object, 0) => {}
        Value::Object(object) => level.flattened_or_mapping(object),
        _ => {}
    }
}

/// Reads a value that holds errors only if it looks like it: `details` may as well be a record of something else.
pub(super) fn read_listed(value: &Value, collector: &mut Collector) {
    match value {
        Value::Array(list) => {
            // Google: each object of `details` is of a kind of its own, one of them with a list of violations.
            let mut inner = list.iter().filter_map(Value::as_object).flat_map(inner_lists).peekable();
            if inner.peek().is_some() {
                inner.for_each(|list| read_errors(list, false, collector));
            } else if list.iter().any(|item| item.is_string() || is_item(item) || is_error_shaped(item, 0)) {
                read_errors(value, false, collector);
            }
        }
        Value::Object(object) => match object.get("errors") {
            Some(errors) => read_errors(errors, false, collector),
            None if object.contains_key("fieldErrors") || is_strict_mapping(object, 0) => {
                read_errors(value, false, collector);
            }
            None => {}
        },
        _ => {}
    }
}

/// Reads a whole body as a mapping of fields.
pub(super) fn read_mapping(object: &Map<String, Value>, collector: &mut Collector) {
    let mut level = Level { collector, path: FieldPath::default(), depth: 0, loc_has_location: false };
    for (key, value) in object.iter().filter(|(key, value)| !is_metadata(key, value)) {
        level.entry(key, value);
    }
}

/// Whether a body is nothing but a mapping of fields, as Django REST Framework answers without an envelope.
pub(super) fn is_bare_mapping(status: u16, object: &Map<String, Value>) -> bool {
    let validates = (400..500).contains(&status) && !matches!(status, 404 | 405 | 406 | 410 | 413 | 415 | 429);
    let mut fields = object.iter().filter(|(key, value)| !is_metadata(key, value)).peekable();
    validates && fields.peek().is_some() && fields.all(|(_, value)| is_error_shaped(value, 0))
}

fn is_metadata(key: &str, value: &Value) -> bool {
    BARE_METADATA.contains(&key) && (value.is_string() || value.is_number())
}

fn inner_lists(object: &Map<String, Value>) -> impl Iterator<Item = &Value> {
    let lists = items::LIST_NAMES.iter().filter_map(|name| object.get(*name));
    lists.filter(|value| value.as_array().is_some_and(|list| list.iter().any(is_item)))
}

fn is_item(value: &Value) -> bool {
    value.as_object().is_some_and(items::is_item)
}

/// Whether every value of a mapping can be nothing but field errors.
fn is_strict_mapping(object: &Map<String, Value>, depth: usize) -> bool {
    depth < super::MAX_DEPTH && !object.is_empty() && object.values().all(|value| is_error_shaped(value, depth + 1))
}

fn is_error_shaped(value: &Value, depth: usize) -> bool {
    match value {
        Value::Array(list) => {
            !list.is_empty()
                && list.iter().all(|item| match item {
                    Value::String(_) => true,
                    Value::Object(row) => row.is_empty() || items::leaf(row).is_some() || is_strict_mapping(row, depth),
                    _ => false,
                })
        }
        Value::Object(object) => is_strict_mapping(object, depth),
        _ => false,
    }
}

impl Level<'_> {
    fn list(&mut self, list: &[Value]) {
        if !self.collector.may_descend(self.depth) {
            return;
        }
        for (position, item) in list.iter().enumerate() {
            if item.as_object().is_some_and(Map::is_empty) {
                continue;
            }
            if !self.collector.may_visit() {
                return;
            }
            match item {
                Value::String(message) => self.sentence(message),
                Value::Object(object) => self.list_object(position, object),
                Value::Array(rows) => self.below(|path| path.push_position(position as u64), |level| level.list(rows)),
                _ => {}
            }
        }
    }

    fn list_object(&mut self, position: usize, object: &Map<String, Value>) {
        if items::read_constraints(object, &mut self.path, self.depth, self.collector) {
            return;
        }
        if items::is_item(object) {
            items::read_item(object, &self.path, self.loc_has_location, self.collector);
        } else if let Some(leaf) = items::leaf(object).filter(|_| !self.path.is_empty()) {
            self.collector.push(&self.path, leaf.message, &leaf.code);
        } else {
            self.below(|path| path.push_position(position as u64), |level| level.mapping(object));
        }
    }

    fn mapping(&mut self, object: &Map<String, Value>) {
        if self.collector.may_descend(self.depth) {
            for (key, value) in object {
                self.entry(key, value);
            }
        }
    }

    /// A mapping, or zod's `flatten()`: messages of the form beside messages of fields.
    fn flattened_or_mapping(&mut self, object: &Map<String, Value>) {
        let Some(Value::Object(fields)) = object.get("fieldErrors") else {
            return self.mapping(object);
        };
        if let Some(Value::Array(form)) = object.get("formErrors") {
            self.list(form);
        }
        self.mapping(fields);
    }

    fn entry(&mut self, key: &str, value: &Value) {
        if !self.collector.may_visit() {
            return;
        }
        if key == "_errors" {
            if let Value::Array(messages) = value {
                self.list(messages);
            }
            return;
        }
        self.below(|path| path.push(key), |level| level.value(value));
    }

    fn value(&mut self, value: &Value) {
        match value {
            Value::String(message) => self.collector.push(&self.path, message, ""),
            Value::Array(list) => self.list(list),
            Value::Object(object) => match items::leaf(object) {
                Some(leaf) => self.collector.push(&self.path, leaf.message, &leaf.code),
                None => self.mapping(object),
            },
            _ => {}
        }
    }

    /// A text in a list: about the field the list belongs to, or about what it names itself where it belongs to none.
    fn sentence(&mut self, message: &str) {
        if !self.path.is_empty() {
            return self.collector.push(&self.path, message, "");
        }
        if !sentences::read_go(message, self.collector) {
            let path = path::of_sentence(message).or_else(|| sentences::rails_field(message));
            self.collector.push(&path.unwrap_or_default(), message, "");
        }
    }

    /// Reads something one step down and comes back.
    fn below(&mut self, step: impl FnOnce(&mut FieldPath), read: impl FnOnce(&mut Self)) {
        let mark = self.path.mark();
        step(&mut self.path);
        self.depth += 1;
        read(self);
        self.depth -= 1;
        self.path.restore(mark);
    }
}
