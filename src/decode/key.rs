//! Idempotency keys.
//!
//! Part of the stored format: a client that sends a batch again after an upgrade must meet the same keys. The key is the
//! XXH3-128 of the project, a zero byte, and
//! - `id`, a zero byte and the `event_id`, where the client sent one; else
//! - `content`, a zero byte and the parsed JSON object in canonical form, before anything is scrubbed, cut or made. The
//!   order of keys, white space, escapes, and top-level nulls make no difference; the time of receipt has no part in it.
//!
//! Canonical form: `n`, `t`, `f` for null, true, false; `#`, the number's text and a zero byte; `"`, the length as 8
//! bytes (little-endian) and the bytes of a string; `[` items `]`; `{` (key as a string, value) … `}` with the keys
//! sorted by their bytes.

use serde_json::{Map, Value};
use xxhash_rust::xxh3::xxh3_128;

use crate::event::EventKey;

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

fn start(project: &str, what: &str, more: usize) -> Vec<u8> {
    let mut form = Vec::with_capacity(project.len() + what.len() + 2 + more);
    for part in [project, what] {
        form.extend_from_slice(part.as_bytes());
        form.push(0);
    }
    form
}

/// Recursion is bounded by the parser's depth limit.
fn write(value: &Value, form: &mut Vec<u8>) {
    match value {
        Value::Null => form.push(b'n'),
        Value::Bool(true) => form.push(b't'),
        Value::Bool(false) => form.push(b'f'),
        Value::Number(number) => {
            form.push(b'#');
            form.extend_from_slice(number.to_string().as_bytes());
            form.push(0);
        }
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

fn string(text: &str, form: &mut Vec<u8>) {
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
    }
}
