//! Fields that only the text of a message names, in the grammar of one validator: zod 4's list of issues as text, Go's
//! `validator`, Rails' full messages and GraphQL's coercion of input. What is not exactly so is left alone.

use serde_json::{Map, Value};

use super::Collector;
use crate::event::path::{self, FieldPath};

/// What Rails says after a field's name, in messages as a whole.
const RAILS_PREDICATES: [&str; 22] = [
    "can't be blank",
    "can't be empty",
    "doesn't match ",
    "has already been taken",
    "is invalid",
    "is not a number",
    "is not a valid ",
    "is not included in the list",
    "is reserved",
    "is the wrong length (",
    "is too long (maximum ",
    "is too short (minimum ",
    "must be accepted",
    "must be an integer",
    "must be blank",
    "must be equal to ",
    "must be even",
    "must be greater than ",
    "must be less than ",
    "must be odd",
    "must be other than ",
    "must exist",
];

/// Words that begin such a sentence and are no fields.
const NO_FIELDS: [&str; 10] = ["base", "body", "it", "json", "payload", "request", "that", "there", "this", "value"];

/// The issues of a text that is a JSON list of them (zod 4 makes its `message` so).
pub(super) fn issues(text: &str) -> Option<Vec<Value>> {
    let text = text.trim();
    if !(text.starts_with('[') && text.ends_with(']')) {
        return None;
    }
    let list: Vec<Value> = serde_json::from_str(text).ok()?;
    let is_issue = |item: &Value| item["message"].is_string() && (item["path"].is_array() || item["code"].is_string());
    (!list.is_empty() && list.iter().all(is_issue)).then_some(list)
}

/// Reads what Go's `validator` writes, one line a field: `Key: 'User.Email' Error:Field validation for 'Email' failed on
/// the 'required' tag`. The struct's name is dropped, the rest is as sent. Returns whether any line was one.
pub(super) fn read_go(text: &str, collector: &mut Collector) -> bool {
    let mut any = false;
    for line in text.lines() {
        let Some((key, name, tag)) = go_line(line) else { continue };
        let field = key.split_once('.').map_or(name, |(_, rest)| rest);
        collector.push(&FieldPath::parse(field), line, tag);
        any = true;
    }
    any
}

fn go_line(line: &str) -> Option<(&str, &str, &str)> {
    let (_, rest) = line.split_once("Key: '")?;
    let (key, rest) = rest.split_once("' Error:Field validation for '")?;
    let (name, rest) = rest.split_once("' failed on the '")?;
    Some((key, name, rest.split_once("' tag")?.0))
}

/// The field of a Rails message that begins with one capitalised word: `Name can't be blank` → `name`. A name of several
/// words is not told from the sentence, and makes none.
pub(super) fn rails_field(message: &str) -> Option<FieldPath> {
    let (word, rest) = message.split_once(' ')?;
    let (first, others) = word.split_at_checked(1)?;
    let is_capitalised = first.bytes().all(|byte| byte.is_ascii_uppercase())
        && others.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit());
    let rest = rest.replace('’', "'");
    let field = word.to_ascii_lowercase();
    let is_field = is_capitalised
        && !NO_FIELDS.contains(&field.as_str())
        && RAILS_PREDICATES.iter().any(|predicate| rest.starts_with(predicate));
    is_field.then(|| FieldPath::parse(&field))
}

/// Whether an item is GraphQL's: its `path` is the resolver's, and not that of a field that was sent.
pub(super) fn is_graphql(item: &Map<String, Value>) -> bool {
    let extends = item.get("extensions").is_some_and(Value::is_object);
    item.get("locations").is_some_and(Value::is_array) || (extends && item.get("path").is_some_and(Value::is_array))
}

/// The field a GraphQL message names: `… at "input.age"`, `Field "x" of required type …`, or both; else none.
pub(super) fn graphql_field(message: &str) -> FieldPath {
    let named = |start: &str| {
        let (_, rest) = message.rsplit_once(start)?;
        rest.split_once('"').map(|(name, _)| name).filter(|name| path::is_plausible(name))
    };
    let mut field = FieldPath::parse(named(" at \"").unwrap_or_default());
    if let Some(name) = named("Field \"").or_else(|| named("Argument \"").filter(|_| field.is_empty())) {
        field.push(name);
    }
    field
}
