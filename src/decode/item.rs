//! One item of a body: JSON text → its top-level fields.

use serde_json::{Map, Value};

/// Deepest nesting that is read, in levels, the event itself included: the parser's own bound.
pub const MAX_DEPTH: usize = 127;

/// The top-level fields of an event as sent. Of keys that repeat in one object, the last wins, at any depth.
#[derive(Debug)]
pub(super) struct Item {
    pub fields: Map<String, Value>,
    /// Whether characters that no text can hold were replaced.
    pub replaced: bool,
}

/// Why a text is no item.
#[derive(Debug)]
pub(super) enum Flaw {
    NotJson {
        /// From 1, within the text.
        line: usize,
        /// From 1.
        column: usize,
        message: String,
    },
    TooDeep,
    /// What it is instead.
    NotAnObject(&'static str),
}

impl Item {
    pub(super) fn parse(text: &str) -> Result<Self, Flaw> {
        let (value, replaced) = parse(text)?;
        match value {
            Value::Object(fields) => Ok(Self { fields, replaced }),
            other => Err(Flaw::NotAnObject(kind(&other))),
        }
    }
}

/// Parses JSON text; also tells whether characters were replaced.
///
/// Lone surrogates (`\ud800`, which JavaScript clients do send) and NUL characters have no place in what is stored: both
/// become U+FFFD. Only texts that hold such an escape are rewritten and pay for it.
pub(super) fn parse(text: &str) -> Result<(Value, bool), Flaw> {
    if text.contains(r"\u0000") {
        return rewritten(text).ok_or(()).or_else(|()| parsed(text).map(|value| (value, false)));
    }
    match parsed(text) {
        Ok(value) => Ok((value, false)),
        Err(flaw) => rewritten(text).ok_or(flaw),
    }
}

/// The text parsed with its bad escapes replaced; `None` when there were none or it is no JSON even so.
fn rewritten(text: &str) -> Option<(Value, bool)> {
    let text = replace_escapes(text)?;
    parsed(&text).ok().map(|value| (value, true))
}

fn parsed(text: &str) -> Result<Value, Flaw> {
    serde_json::from_str(text).map_err(|error| {
        let shown = error.to_string();
        if shown.starts_with("recursion limit exceeded") {
            return Flaw::TooDeep;
        }
        // serde_json ends its messages with the position, which is given apart here.
        let message = shown.rsplit_once(" at line ").map_or(shown.as_str(), |(message, _)| message).to_owned();
        Flaw::NotJson { line: error.line().max(1), column: error.column().max(1), message }
    })
}

/// Replaces `\u0000` and `\u` escapes of lone surrogates by `\ufffd`; `None` when there are none.
fn replace_escapes(text: &str) -> Option<String> {
    let bytes = text.as_bytes();
    let mut out = String::new();
    let (mut copied, mut at) = (0, 0);
    while let Some(found) = text[at..].find('\\') {
        at += found;
        let next = match escape(bytes, at) {
            Some(0xd800..=0xdbff) if matches!(escape(bytes, at + 6), Some(0xdc00..=0xdfff)) => at + 12,
            Some(0 | 0xd800..=0xdfff) => {
                out.push_str(&text[copied..at]);
                out.push_str(r"\ufffd");
                copied = at + 6;
                at + 6
            }
            Some(_) => at + 6,
            None => at + 2,
        };
        // The byte after a backslash may begin a longer character; JSON allows none there.
        at = next;
        if !text.is_char_boundary(at) {
            return None;
        }
    }
    (copied > 0).then(|| out + &text[copied..])
}

/// The code unit of a `\uXXXX` escape that begins at `at`.
fn escape(bytes: &[u8], at: usize) -> Option<u16> {
    match bytes.get(at..at + 6)? {
        [b'\\', b'u', digits @ ..] if digits.iter().all(u8::is_ascii_hexdigit) => {
            u16::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
        }
        _ => None,
    }
}

/// What a value is, as a message names it.
pub(super) fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    }
}

/// The request id of an item too large to be read as a whole.
pub(super) fn request_id_only(text: &str) -> Option<crate::event::RequestId> {
    #[derive(serde::Deserialize)]
    struct OnlyId<'a> {
        #[serde(borrow)]
        request_id: Option<&'a serde_json::value::RawValue>,
    }
    let raw = serde_json::from_str::<OnlyId<'_>>(text).ok()?.request_id?.get();
    let long = raw.len() > 6 * crate::event::request_id::MAX_LEN + 2;
    if long {
        return None;
    }
    crate::event::RequestId::parse(&serde_json::from_str::<String>(raw).ok()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn field(text: &str) -> (Value, bool) {
        let item = Item::parse(text).unwrap();
        (item.fields["a"].clone(), item.replaced)
    }

    #[test]
    fn lone_surrogates_and_nul_are_replaced() {
        let cases = [
            (r#"{"a":"x\ud800y"}"#, "x\u{fffd}y"),
            (r#"{"a":"\udc00\ud800"}"#, "\u{fffd}\u{fffd}"),
            (r#"{"a":"\ud83d\ud83d\ude00"}"#, "\u{fffd}😀"),
            (r#"{"a":"\ud800\u0041"}"#, "\u{fffd}A"),
            (r#"{"a":"x\u0000y"}"#, "x\u{fffd}y"),
            (r#"{"a":"\\\u0000\ud83d\ude00"}"#, "\\\u{fffd}😀"),
        ];
        for (text, expected) in cases {
            assert_eq!(field(text), (Value::from(expected), true), "{text}");
        }
    }

    #[test]
    fn sound_escapes_are_left_alone() {
        for (text, expected) in [
            (r#"{"a":"\ud83d\ude00"}"#, "😀"),
            (r#"{"a":"\\u0000 \\ud800"}"#, r"\u0000 \ud800"),
            (r#"{"a":"\\\\u0000"}"#, r"\\u0000"),
        ] {
            assert_eq!(field(text), (Value::from(expected), false), "{text}");
        }
    }

    #[test]
    fn the_last_of_repeated_keys_wins() {
        assert_eq!(field(r#"{"a":1,"a":{"b":1,"b":2}}"#).0, serde_json::json!({"b": 2}));
    }

    #[test]
    fn nesting_is_read_to_the_bound_and_no_deeper() {
        let nested = |levels: usize| format!("{}{}", "[".repeat(levels), "]".repeat(levels));
        let event = |levels: usize| format!("{{\"a\":{}}}", nested(levels - 1));
        assert!(Item::parse(&event(MAX_DEPTH)).is_ok());
        assert!(matches!(Item::parse(&event(MAX_DEPTH + 1)), Err(Flaw::TooDeep)));
        assert!(matches!(Item::parse(&nested(1_000_000)), Err(Flaw::TooDeep)));
    }

    #[test]
    fn the_id_of_an_item_too_large_is_still_found() {
        let long = format!(
            r#"{{"x":"{}","request_id":"req_1","y":{}}}"#,
            "x".repeat(9000),
            "[".repeat(500) + &"]".repeat(500)
        );
        assert_eq!(request_id_only(&long).unwrap().as_str(), "req_1");
        assert_eq!(request_id_only(r#"{"request_id":7}"#), None);
    }
}
