//! Field paths: one notation for what every framework writes in its own.
//!
//! A path is names joined by dots, with positions in brackets: `items[3].sku`, or `[3].sku` where the body itself is a
//! list. Statistics group by the *field*, the path with its positions collapsed: `items[].sku`. The empty path is the
//! body as a whole.

use std::fmt::Write as _;

use serde_json::Value;

use super::start_of;

/// Longest path, in bytes; what is longer is cut.
pub const MAX_LEN: usize = 256;

/// Longest run of digits that is read as a position; a longer one is a name.
const MAX_POSITION_DIGITS: usize = 10;

/// Where FastAPI says a value came from: the first item of a `loc`.
const LOCATIONS: [&str; 5] = ["body", "query", "path", "header", "cookie"];

/// Words that begin a sentence and are no property names.
const NO_PROPERTY: [&str; 9] = ["this", "that", "it", "you", "they", "value", "values", "request", "there"];

/// A path under construction. Steps are pushed while a body is descended and taken back on the way up.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FieldPath {
    text: String,
    cut: bool,
}

/// A place to go back to with [`FieldPath::restore`].
#[derive(Clone, Copy, Debug)]
pub struct Mark(usize);

impl FieldPath {
    /// Reads a path of any notation: dotted (`items.3.sku`), bracketed (`items[3].sku`, `items[3][sku]`), a JSON pointer
    /// (`/items/3/sku`, `#/items/3/sku`) or a JSON path (`$.items[3].sku`).
    #[must_use]
    pub fn parse(text: &str) -> Self {
        let mut path = Self::default();
        path.push(text);
        path
    }

    /// Reads an array of names and positions, as zod's `path` and GraphQL's `path` are. Other items are stepped over.
    #[must_use]
    pub fn from_array(steps: &[Value]) -> Self {
        let mut path = Self::default();
        for step in steps {
            match step {
                Value::String(name) if is_position(name) => path.push_digits(name),
                Value::String(name) => path.push_name(name),
                Value::Number(position) => position.as_u64().map_or((), |position| path.push_position(position)),
                // zod 4 and valibot may write a step as an object with its key.
                Value::Object(step) => step.get("key").and_then(Value::as_str).map_or((), |key| path.push_name(key)),
                _ => {}
            }
        }
        path
    }

    /// Reads pydantic's `loc`. Where `with_location` says that the framework puts the value's origin first (`body`, `query`,
    /// `path`, `header`, `cookie`, as FastAPI does), that one is dropped.
    #[must_use]
    pub fn from_loc(steps: &[Value], with_location: bool) -> Self {
        match steps.split_first() {
            Some((Value::String(first), rest)) if with_location && LOCATIONS.contains(&first.as_str()) => {
                Self::from_array(rest)
            }
            _ => Self::from_array(steps),
        }
    }

    /// Appends a key or a path of any notation, as [`Self::parse`] reads it.
    pub fn push(&mut self, text: &str) {
        let text = text.trim();
        if let Some(pointer) = text.strip_prefix("#/").or_else(|| text.strip_prefix('/')) {
            self.push_pointer(pointer);
        } else if text.contains(char::is_whitespace) {
            self.push_name(text);
        } else if text != "#" {
            let root = text.strip_prefix('$').filter(|rest| rest.is_empty() || rest.starts_with(['.', '[']));
            self.push_dotted(root.unwrap_or(text));
        }
    }

    /// Appends a name as it is.
    pub fn push_name(&mut self, name: &str) {
        if name.is_empty() {
            return;
        }
        if !self.text.is_empty() {
            self.text.push('.');
        }
        self.text.push_str(name);
        self.bound();
    }

    /// Appends a position in a list.
    pub fn push_position(&mut self, position: u64) {
        // Writing to a String does not fail.
        let _ = write!(self.text, "[{position}]");
        self.bound();
    }

    /// Appends a position that is not known: `tags[]`.
    pub fn push_any_position(&mut self) {
        self.text.push_str("[]");
        self.bound();
    }

    #[must_use]
    pub fn mark(&self) -> Mark {
        Mark(self.text.len())
    }

    /// Takes back every step since the mark.
    pub fn restore(&mut self, mark: Mark) {
        self.text.truncate(mark.0);
    }

    /// The path with its positions: `items[3].sku`.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The path with its positions collapsed: `items[].sku`.
    #[must_use]
    pub fn field(&self) -> String {
        collapse(&self.text)
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.text.is_empty()
    }

    /// Whether a step was ever cut at [`MAX_LEN`].
    #[must_use]
    pub fn is_cut(&self) -> bool {
        self.cut
    }

    fn push_digits(&mut self, digits: &str) {
        self.text.push('[');
        self.text.push_str(digits);
        self.text.push(']');
        self.bound();
    }

    fn push_pointer(&mut self, pointer: &str) {
        for step in pointer.split('/') {
            if is_position(step) {
                self.push_digits(step);
            } else if step == "-" {
                self.push_any_position();
            } else if step.contains('~') {
                self.push_name(&step.replace("~1", "/").replace("~0", "~"));
            } else {
                self.push_name(step);
            }
        }
    }

    fn push_dotted(&mut self, text: &str) {
        for part in text.split('.') {
            let name_end = part.find('[').unwrap_or(part.len());
            let (name, brackets) = part.split_at(name_end);
            match steps_in_brackets(brackets) {
                Some(steps) => {
                    self.push_step(name);
                    for step in steps {
                        if step.is_empty() { self.push_any_position() } else { self.push_step(step) }
                    }
                }
                // Not a notation we know: the part is a name as it stands.
                None => self.push_name(part),
            }
        }
    }

    fn push_step(&mut self, step: &str) {
        if is_position(step) {
            self.push_digits(step);
        } else if step == "*" {
            self.push_any_position();
        } else {
            self.push_name(step);
        }
    }

    fn bound(&mut self) {
        if self.text.len() > MAX_LEN {
            self.text.truncate(start_of(&self.text, MAX_LEN).len());
            self.cut = true;
        }
    }
}

/// Replaces every position of a path: `items[3].sku` → `items[].sku`.
#[must_use]
pub fn collapse(path: &str) -> String {
    let mut field = String::with_capacity(path.len());
    let mut rest = path;
    while let Some(open) = rest.find('[') {
        let (before, bracket) = rest.split_at(open + 1);
        field.push_str(before);
        let digits = bracket.len() - bracket.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        rest = if bracket[digits..].starts_with(']') { &bracket[digits..] } else { bracket };
    }
    field.push_str(rest);
    field
}

/// Whether a key is a position in a list: digits only, at most ten.
#[must_use]
pub fn is_position(key: &str) -> bool {
    !key.is_empty() && key.len() <= MAX_POSITION_DIGITS && key.bytes().all(|byte| byte.is_ascii_digit())
}

/// Whether a text can be a path: no white space, no longer than [`MAX_LEN`]. Tells `"email"` from `"is required"`.
#[must_use]
pub fn is_plausible(text: &str) -> bool {
    !text.is_empty() && text.len() <= MAX_LEN && !text.contains(char::is_whitespace)
}

/// The property a validator's sentence begins with, for bodies that name it nowhere else: class-validator's
/// `items.0.sku must be a string`, `each value in tags must be …`, `property foo should not exist`, Ajv's
/// `body/items/0/sku must be string` (Fastify) and Joi's `"email" is required`.
///
/// `None` where the sentence begins with anything else: no field is better than a wrong one.
#[must_use]
pub fn of_sentence(sentence: &str) -> Option<FieldPath> {
    if let Some(rest) = sentence.strip_prefix("each value in ") {
        let mut path = FieldPath::parse(property_before_verb(rest.strip_prefix("nested property ").unwrap_or(rest))?);
        path.push_any_position();
        return Some(path);
    }
    if let Some(rest) = sentence.strip_prefix("nested property ").or_else(|| sentence.strip_prefix("property ")) {
        return property_before_verb(rest).map(FieldPath::parse);
    }
    if let Some((name, rest)) = sentence.strip_prefix('"').and_then(|rest| rest.split_once('"')) {
        return (is_plausible(name) && begins_with_verb(rest)).then(|| FieldPath::parse(name));
    }
    let property = property_before_verb(sentence)?;
    let mut path = FieldPath::default();
    match property.split_once('/') {
        Some(("body" | "querystring" | "params" | "headers", pointer)) => {
            path.push_pointer(pointer);
        }
        Some(_) => return None,
        None if NO_PROPERTY.contains(&property) => return None,
        None => path.push(property),
    }
    Some(path)
}

fn property_before_verb(sentence: &str) -> Option<&str> {
    let end = sentence.find(' ')?;
    let (property, rest) = sentence.split_at(end);
    let first = property.chars().next()?;
    let is_name = (first.is_ascii_lowercase() || first == '_')
        && property.chars().all(|c| c.is_ascii_alphanumeric() || "_-.[]/$".contains(c));
    (is_name && begins_with_verb(rest)).then_some(property)
}

fn begins_with_verb(rest: &str) -> bool {
    let verb = rest.split_whitespace().next().unwrap_or_default();
    match verb {
        "must" | "should" | "length" => true,
        // "email is required" is about a field; "user is suspended" may be about anything.
        "is" => ["required", "invalid", "not allowed", "not valid"].iter().any(|verdict| rest.contains(verdict)),
        _ => false,
    }
}

/// The steps of `[3][sku]['x']`; `None` when the brackets do not close.
fn steps_in_brackets(brackets: &str) -> Option<Vec<&str>> {
    let mut steps = Vec::new();
    let mut rest = brackets;
    while !rest.is_empty() {
        let (step, after) = rest.strip_prefix('[')?.split_once(']')?;
        steps.push(step.trim_matches(['\'', '"']));
        rest = after;
    }
    Some(steps)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn both(path: &FieldPath) -> (String, String) {
        (path.as_str().to_owned(), path.field())
    }

    #[test]
    fn every_notation_gives_the_same_path() {
        for text in [
            "items.3.sku",
            "items[3].sku",
            "items[3][sku]",
            "items[3]['sku']",
            "/items/3/sku",
            "#/items/3/sku",
            "$.items[3].sku",
            " items.3.sku ",
        ] {
            assert_eq!(both(&FieldPath::parse(text)), ("items[3].sku".into(), "items[].sku".into()), "{text}");
        }
    }

    #[test]
    fn the_body_as_a_whole_is_the_empty_path() {
        for text in ["", "$", "#", "/", "#/", ".", "  "] {
            assert!(FieldPath::parse(text).is_empty(), "{text:?}");
        }
    }

    #[test]
    fn a_list_at_the_top_begins_with_its_position() {
        for text in ["[3].sku", "3.sku", "/3/sku", "$[3].sku"] {
            let path = FieldPath::parse(text);
            assert_eq!(path.as_str(), "[3].sku", "{text}");
        }
        assert_eq!(FieldPath::parse("[3].sku").field(), "[].sku");
    }

    #[test]
    fn pointers_are_unescaped_and_an_unknown_position_stays_open() {
        assert_eq!(FieldPath::parse("/a~1b/m~0n/-").as_str(), "a/b.m~n[]");
        assert_eq!(FieldPath::parse("items.*.sku").as_str(), "items[].sku");
        assert_eq!(FieldPath::parse("items[*].sku").as_str(), "items[].sku");
    }

    #[test]
    fn what_is_no_notation_stays_a_name() {
        for text in ["items[3", "First name.", "a]b", "12345678901"] {
            assert_eq!(FieldPath::parse(text).as_str(), text);
        }
    }

    #[test]
    fn a_location_is_dropped_only_where_it_is_one() {
        let loc = |value: Value, with| FieldPath::from_loc(value.as_array().unwrap(), with).as_str().to_owned();
        assert_eq!(loc(json!(["body", "items", 3, "sku"]), true), "items[3].sku");
        assert_eq!(loc(json!(["query", "limit"]), true), "limit");
        assert_eq!(loc(json!(["query"]), true), "");
        assert_eq!(loc(json!(["query"]), false), "query");
        assert_eq!(loc(json!(["address", "path"]), true), "address.path");
    }

    #[test]
    fn an_array_may_write_positions_as_text_and_steps_as_objects() {
        let path = json!(["items", "3", {"key": "sku"}, null]);
        assert_eq!(FieldPath::from_array(path.as_array().unwrap()).as_str(), "items[3].sku");
    }

    #[test]
    fn a_validators_sentence_names_its_property() {
        let cases = [
            ("items.0.sku must be a string", Some("items[0].sku")),
            ("email should not be empty", Some("email")),
            ("each value in tags must be a string", Some("tags[]")),
            ("property foo should not exist", Some("foo")),
            ("nested property items must be either object or array", Some("items")),
            ("body/items/0/sku must be string", Some("items[0].sku")),
            ("\"email\" is required", Some("email")),
            ("email is required", Some("email")),
            ("user is suspended", None),
            ("this must be a string", None),
            ("You must sign in", None),
            ("Validation failed", None),
            ("", None),
        ];
        for (sentence, expected) in cases {
            assert_eq!(of_sentence(sentence).as_ref().map(FieldPath::as_str), expected, "{sentence}");
        }
    }

    #[test]
    fn steps_are_taken_back_and_a_cut_is_remembered() {
        let mut path = FieldPath::parse("items");
        let mark = path.mark();
        path.push_position(3);
        path.push_name(&"ü".repeat(200));
        assert!(path.is_cut() && path.as_str().len() <= MAX_LEN);
        path.restore(mark);
        assert_eq!(path.as_str(), "items");
    }

    proptest! {
        #[test]
        fn collapse_is_idempotent_and_any_text_parses(text in "\\PC{0,40}|[a-z0-9.\\[\\]/#$~*'-]{0,40}") {
            let path = FieldPath::parse(&text);
            prop_assert!(path.as_str().len() <= MAX_LEN);
            prop_assert_eq!(collapse(&path.field()), path.field());
            let again = collapse(&text);
            prop_assert_eq!(collapse(&again), again);
            let _ = of_sentence(&text);
        }

        #[test]
        fn a_path_reads_back_as_itself(steps in prop::collection::vec(("[a-z_]{1,8}", 0u32..1000), 1..6)) {
            let text = steps.iter().map(|(name, n)| format!("{name}[{n}]")).collect::<Vec<_>>().join(".");
            let path = FieldPath::parse(&text);
            prop_assert_eq!(path.as_str(), text);
        }
    }
}
