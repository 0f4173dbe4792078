//! Objects that say in one of their keys what is wrong, and in another where: the items of `errors` lists.
//!
//! An object is an item only if its message is a text (a mapping of fields has lists) and whatever it names as its place
//! can be a path: `{"name": "is required"}` is a row with a field `name`.

use std::borrow::Cow;

use serde_json::{Map, Value};

use super::{Collector, general, sentences};
use crate::event::path::{self, FieldPath};

/// Names that lists or mappings of field errors go by, beside `errors` at the top and `detail`.
pub(super) const LIST_NAMES: [&str; 14] = [
    "issues",
    "errors",
    "invalid-params",
    "invalid_params",
    "invalidParams",
    "violations",
    "fieldViolations",
    "fieldErrors",
    "field_errors",
    "validationErrors",
    "validation_errors",
    "validation",
    "details",
    "error",
];

/// Keys whose text is a message whatever stands beside them.
const MESSAGE_KEYS: [&str; 6] = ["message", "msg", "detail", "defaultMessage", "errorMessage", "error_message"];

/// Keys whose text is a message only beside a place or a code.
const WEAK_MESSAGE_KEYS: [&str; 5] = ["description", "reason", "title", "error", "code"];

/// Keys whose text is a place, most telling first.
const PLACE_KEYS: [&str; 16] = [
    "pointer",
    "field",
    "param",
    "property",
    "propertyPath",
    "property_path",
    "fieldName",
    "field_name",
    "attr",
    "attribute",
    "parameter",
    "argument",
    "dataPath",
    "key",
    "name",
    "target",
];

const CODE_KEYS: [&str; 6] = ["code", "type", "keyword", "kind", "rule", "reason"];

/// Keys that may stand beside `message` in an object that is one message (Django's `as_json`, Mongoose, Rails' details).
const LEAF_KEYS: [&str; 15] = [
    "message",
    "msg",
    "error",
    "code",
    "kind",
    "type",
    "name",
    "path",
    "value",
    "properties",
    "reason",
    "params",
    "rule",
    "count",
    "context",
];

/// A message without a place of its own.
pub(super) struct Leaf<'a> {
    pub message: &'a str,
    pub code: Cow<'a, str>,
}

/// Reads `{"message": …, "code": …}`: an object that is one message about the field it stands under.
pub(super) fn leaf(object: &Map<String, Value>) -> Option<Leaf<'_>> {
    let message = ["message", "msg", "error"].iter().find_map(|key| object.get(*key)?.as_str())?;
    object.keys().all(|key| LEAF_KEYS.contains(&key.as_str())).then(|| Leaf { message, code: code(object) })
}

/// Whether an object is an item, and no row of fields.
pub(super) fn is_item(object: &Map<String, Value>) -> bool {
    if message_list(object).is_some() {
        return true;
    }
    let place = textual_place(object);
    if place.is_some_and(|(_, place)| !place.is_empty() && !path::is_plausible(place)) {
        return false;
    }
    let has = |keys: &[&str]| keys.iter().any(|key| object.get(*key).is_some_and(Value::is_string));
    let is_anchored = || {
        place.is_some()
            || ["path", "loc", "source", "instancePath"].iter().any(|key| object.contains_key(*key))
            || ["status", "code", "type", "id"]
                .iter()
                .any(|key| object.get(*key).is_some_and(|value| !value.is_array()))
                && has(&WEAK_MESSAGE_KEYS[..4])
    };
    has(&MESSAGE_KEYS) || (has(&WEAK_MESSAGE_KEYS) && is_anchored())
}

/// Reads an item; its place is below `base`.
pub(super) fn read_item(
    object: &Map<String, Value>,
    base: &FieldPath,
    loc_has_location: bool,
    collector: &mut Collector,
) {
    if let Some(Value::Object(extensions)) = object.get("extensions")
        && let Some(Value::Object(fields)) =
            ["validation", "validationErrors"].iter().find_map(|key| extensions.get(*key))
    {
        return super::fields::read_mapping(fields, collector);
    }
    let place = place(object, loc_has_location);
    let path = if base.is_empty() {
        place
    } else {
        let mut path = base.clone();
        path.push(place.as_str());
        path
    };
    let code = code(object);
    match message_list(object) {
        Some(messages) => {
            for message in messages.iter().filter_map(Value::as_str) {
                collector.push(&path, message, &code);
            }
        }
        None => collector.push(&path, message(object).unwrap_or_default(), &code),
    }
}

/// Reads class-validator's own error objects: `{"property": …, "constraints": {rule: message}, "children": […]}`.
/// Returns whether the object was one.
pub(super) fn read_constraints(
    object: &Map<String, Value>,
    path: &mut FieldPath,
    depth: usize,
    collector: &mut Collector,
) -> bool {
    let Some(property) = object.get("property").and_then(Value::as_str) else {
        return false;
    };
    let constraints = object.get("constraints").and_then(Value::as_object);
    let children = object.get("children").and_then(Value::as_array);
    if (constraints.is_none() && children.is_none()) || !collector.may_descend(depth) {
        return false;
    }
    let mark = path.mark();
    path.push(property);
    for (rule, message) in constraints.into_iter().flatten() {
        collector.push(path, message.as_str().unwrap_or_default(), rule);
    }
    for child in children.into_iter().flatten().filter_map(Value::as_object) {
        read_constraints(child, path, depth + 1, collector);
    }
    path.restore(mark);
    true
}

/// Reads an object that is the whole error and names one parameter (Stripe, OpenAI, Azure).
pub(super) fn read_parameter(error: &Map<String, Value>, collector: &mut Collector) {
    let place = ["param", "field", "parameter", "target"].iter().find_map(|key| error.get(*key)?.as_str());
    if let Some(place) = place.filter(|place| path::is_plausible(place))
        && let Some(message) = message(error)
    {
        collector.push(&FieldPath::parse(place), message, &code(error));
    }
}

/// The item's message.
pub(super) fn message(object: &Map<String, Value>) -> Option<&str> {
    let text = |key: &&str| object.get(*key)?.as_str().filter(|text| !text.trim().is_empty());
    MESSAGE_KEYS.iter().chain(&WEAK_MESSAGE_KEYS).find_map(text)
}

/// The item's code; empty when it has none.
pub(super) fn code(object: &Map<String, Value>) -> Cow<'_, str> {
    let extensions = object.get("extensions").and_then(Value::as_object);
    CODE_KEYS
        .iter()
        .filter_map(|key| object.get(*key))
        .chain(extensions.and_then(|extensions| extensions.get("code")))
        .find_map(|value| match value {
            // express-validator says "field" of every item.
            Value::String(code) if !code.is_empty() && code != "field" => Some(Cow::Borrowed(code.as_str())),
            Value::Number(_) => general::text_of(Some(value)).map(Cow::Owned),
            _ => None,
        })
        .unwrap_or_default()
}

/// `{"field": "email", "errors": ["…", "…"]}`.
fn message_list(object: &Map<String, Value>) -> Option<&Vec<Value>> {
    let (key, place) = textual_place(object)?;
    let list = ["messages", "errors", "message"].iter().find_map(|key| object.get(*key)?.as_array())?;
    let is_list_of_texts = !list.is_empty() && list.iter().all(Value::is_string);
    (key != "target" && path::is_plausible(place) && is_list_of_texts).then_some(list)
}

fn textual_place(object: &Map<String, Value>) -> Option<(&'static str, &str)> {
    PLACE_KEYS.iter().find_map(|key| Some((*key, object.get(*key)?.as_str()?)))
}

/// Where the item says the error is.
fn place(object: &Map<String, Value>, loc_has_location: bool) -> FieldPath {
    if let Some(Value::Object(extensions)) = object.get("extensions") {
        let argument =
            ["argumentName", "argument", "field", "fieldName"].iter().find_map(|key| extensions.get(*key)?.as_str());
        if let Some(argument) = argument {
            return FieldPath::parse(argument);
        }
    }
    if sentences::is_graphql(object) {
        return sentences::graphql_field(message(object).unwrap_or_default());
    }
    if let Some(Value::Array(loc)) = object.get("loc") {
        // The step after the location is then an offset into text that is no JSON.
        let is_offset = matches!(&*code(object), "json_invalid" | "value_error.jsondecode");
        let has_location = loc_has_location || loc.len() > 1;
        return if is_offset { FieldPath::default() } else { FieldPath::from_loc(loc, has_location) };
    }
    match object.get("path") {
        Some(Value::Array(steps)) => return FieldPath::from_array(steps),
        Some(Value::String(path)) if path::is_plausible(path) => return FieldPath::parse(path),
        _ => {}
    }
    if let Some(Value::Object(source)) = object.get("source") {
        return of_source(source);
    }
    if let Some(pointer) = object.get("instancePath").and_then(Value::as_str) {
        return of_schema_error(pointer, object);
    }
    let place = textual_place(object).map_or("", |(_, place)| place);
    FieldPath::parse(place)
}

/// JSON:API: the pointer goes into the request document, whose fields lie under `data`.
fn of_source(source: &Map<String, Value>) -> FieldPath {
    if let Some(pointer) = source.get("pointer").and_then(Value::as_str) {
        let field = ["/data/attributes", "/data/relationships", "/data"]
            .iter()
            .find_map(|prefix| pointer.strip_prefix(prefix).filter(|rest| rest.is_empty() || rest.starts_with('/')));
        return FieldPath::parse(field.unwrap_or(pointer));
    }
    let name = ["parameter", "header"].iter().find_map(|key| source.get(*key)?.as_str());
    FieldPath::parse(name.unwrap_or_default())
}

/// Ajv: a missing or surplus property is named in `params`, the pointer is that of the object around it.
fn of_schema_error(pointer: &str, object: &Map<String, Value>) -> FieldPath {
    let mut path = FieldPath::parse(pointer);
    let params = object.get("params").and_then(Value::as_object);
    let property = params
        .and_then(|params| ["missingProperty", "additionalProperty"].iter().find_map(|key| params.get(*key)?.as_str()));
    path.push_name(property.unwrap_or_default());
    path
}
