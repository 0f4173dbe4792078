//! Idempotency keys.
//!
//! Part of the stored format: a client that sends a batch again after an upgrade must meet the same keys. The key is the
//! XXH3-128 of the project, a zero byte, and
//! - `id`, a zero byte and the `event_id`, where the client sent one; else
//! - `content`, a zero byte and the parsed JSON object in canonical form, before anything is scrubbed, cut or made. The
//!   order of keys, white space, escapes, and top-level nulls make no difference; the time of receipt has no part in it.
//!
//! An event that has neither an `event_id` nor a `timestamp` nor a request id of its own (a gateway's 502 page) has nothing
//! that tells a retry from the same error happening again. Its key is the XXH3-128 of the project, a zero byte,
//! `occurrence`, a zero byte, and four numbers, little-endian: the content key above (16 bytes), how many events of that
//! content stand before it in its body (8), the XXH3-128 of the body without its content encoding (16), and the time of
//! receipt in whole [`RETRY_WINDOW_MS`] since the Unix epoch (8). So
//! - N equal events of one body count N times;
//! - the same bytes sent again within the window are duplicates, all of them;
//! - the same bytes sent in a later window are new errors.
//!
//! The price: a retry across the edge of a window counts twice, and so does a retry whose body is cut differently, while
//! equal errors that are sent one a request count once a window. An `event_id` (or a timestamp, or a request id) has none
//! of this, and is what clients should send.
//!
//! Canonical form: `n`, `t`, `f` for null, true, false; `#`, the number's text and a zero byte; `"`, the length as 8
//! bytes (little-endian) and the bytes of a string; `[` items `]`; `{` (key as a string, value) … `}` with the keys
//! sorted by their bytes.

use std::collections::HashMap;

use serde_json::{Map, Number, Value};
use xxhash_rust::xxh3::xxh3_128;

use crate::event::EventKey;

/// How long the same bytes are taken for a retry, milliseconds. Part of the stored format.
const RETRY_WINDOW_MS: i64 = 300_000;

/// The events of one body that nothing tells apart.
pub(super) struct Occurrences<'b> {
    body: &'b [u8],
    /// Made when the first such event comes.
    body_hash: Option<u128>,
    seen: HashMap<u128, u64>,
}

impl<'b> Occurrences<'b> {
    /// Of a body whose content encoding is undone.
    pub(super) fn in_body(body: &'b [u8]) -> Self {
        Self { body, body_hash: None, seen: HashMap::new() }
    }

    /// The key of the next event of this content.
    pub(super) fn next(&mut self, project: &str, content: EventKey, received_at_ms: i64) -> EventKey {
        let body_hash = *self.body_hash.get_or_insert_with(|| xxh3_128(self.body));
        let before = self.seen.entry(content.0).or_default();
        let mut form = start(project, "occurrence", 48);
        form.extend_from_slice(&content.0.to_le_bytes());
        form.extend_from_slice(&before.to_le_bytes());
        form.extend_from_slice(&body_hash.to_le_bytes());
        form.extend_from_slice(&received_at_ms.div_euclid(RETRY_WINDOW_MS).to_le_bytes());
        *before += 1;
        EventKey(xxh3_128(&form))
    }
}

pub(super) fn of_event_id(project: &str, event_id: &str) -> EventKey {
    let mut form = start(project, "id", event_id.len());
    form.extend_from_slice(event_id.as_bytes());
    EventKey(xxh3_128(&form))
}

pub(super) fn of_content(project: &str, fields: &Map<String, Value>) -> EventKey {
    let mut form = start(project, "content", 2048);
    object(fields.iter().filter(|(_, value)| !value.is_null()), &mut form);
    EventKey(xxh3_128(&form))
}

/// Begins the form of [`of_content`] by hand: keys (as [`string`]) and values follow, sorted, then [`end_content`].
pub(super) fn begin_content(project: &str, form: &mut Vec<u8>) {
    form.clear();
    push_start(project, "content", form);
    form.push(b'{');
}

pub(super) fn end_content(form: &mut Vec<u8>) -> EventKey {
    form.push(b'}');
    EventKey(xxh3_128(form))
}

fn start(project: &str, what: &str, more: usize) -> Vec<u8> {
    let mut form = Vec::with_capacity(project.len() + what.len() + 2 + more);
    push_start(project, what, &mut form);
    form
}

fn push_start(project: &str, what: &str, form: &mut Vec<u8>) {
    for part in [project, what] {
        form.extend_from_slice(part.as_bytes());
        form.push(0);
    }
}

/// Recursion is bounded by the parser's depth limit.
pub(super) fn write(value: &Value, form: &mut Vec<u8>) {
    match value {
        Value::Null => form.push(b'n'),
        Value::Bool(true) => form.push(b't'),
        Value::Bool(false) => form.push(b'f'),
        Value::Number(number) => self::number(number, form),
        Value::String(text) => string(text, form),
        Value::Array(items) => {
            form.push(b'[');
            for item in items {
                write(item, form);
            }
            form.push(b']');
        }
        Value::Object(fields) => object(fields.iter(), form),
    }
}

pub(super) fn number(number: &Number, form: &mut Vec<u8>) {
    digits(&number.to_string(), form);
}

/// A number's text.
pub(super) fn digits(digits: &str, form: &mut Vec<u8>) {
    form.push(b'#');
    form.extend_from_slice(digits.as_bytes());
    form.push(0);
}

fn object<'a>(fields: impl Iterator<Item = (&'a String, &'a Value)>, form: &mut Vec<u8>) {
    let mut fields: Vec<_> = fields.collect();
    fields.sort_unstable_by_key(|(key, _)| *key);
    form.push(b'{');
    for (key, value) in fields {
        string(key, form);
        write(value, form);
    }
    form.push(b'}');
}

pub(super) fn string(text: &str, form: &mut Vec<u8>) {
    form.push(b'"');
    form.extend_from_slice(&(text.len() as u64).to_le_bytes());
    form.extend_from_slice(text.as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(text: &str) -> EventKey {
        of_content("p", &serde_json::from_str(text).unwrap())
    }

    #[test]
    fn form_makes_no_difference_and_content_does() {
        let one = key(r#"{"status":500,"a":{"x":1,"y":[1,2]},"host":null}"#);
        assert_eq!(one, key(" { \"a\" : {\"y\":[1, 2],\"\\u0078\":1},\r\n \"status\":500}"));
        let others = [
            r#"{"status":501,"a":{"x":1,"y":[1,2]}}"#,
            r#"{"status":500,"a":{"x":1,"y":[2,1]}}"#,
            r#"{"status":500,"a":{"x":1,"y":["1",2]}}"#,
            r#"{"status":500,"a":{"x":1,"y":[12]}}"#,
            r#"{"status":500,"a":{"x":null,"y":[1,2]}}"#,
            r#"{"status":500,"a":{"x":1},"y":[1,2]}"#,
        ];
        for other in others {
            assert_ne!(one, key(other), "{other}");
        }
    }

    #[test]
    fn projects_and_kinds_of_keys_are_apart() {
        assert_ne!(of_event_id("p", "a"), of_event_id("q", "a"));
        assert_ne!(of_content("p", &Map::new()), of_content("q", &Map::new()));
        assert_ne!(of_event_id("p", "{}"), of_content("p", &Map::new()));
    }

    #[test]
    fn keys_are_the_same_in_every_release() {
        assert_eq!(of_event_id("igny8", "evt_1"), EventKey(236_189_250_394_771_582_153_362_589_213_643_602_323));
        assert_eq!(
            key(r#"{"status":500,"d":1.5,"e":["é",true,null]}"#),
            EventKey(47_792_928_981_220_397_778_493_731_576_925_384_253)
        );
        let mut occurrences = Occurrences::in_body(b"[{}]");
        let content = key(r#"{"status":500}"#);
        let keys = [0, 1].map(|_| occurrences.next("igny8", content, 1_700_000_000_000));
        let expected = [
            EventKey(43_999_325_314_136_476_423_259_803_226_566_010_028),
            EventKey(72_663_625_834_471_137_750_075_809_404_098_558_230),
        ];
        assert_eq!(keys, expected);
    }
}
