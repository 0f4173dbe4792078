//! Texts and canonical forms with the request's id cut out, so that what repeats but for its id is known again.

use serde_json::Value;

use super::{super::Context, is_same, parts};

/// A JSON text with the request's id cut out, if it stands there once.
pub(super) struct Masked<'t> {
    before: &'t str,
    after: &'t str,
    pub id: Option<&'t str>,
}

impl<'t> Masked<'t> {
    /// The id is looked for as a whole value, the last one first. (Where it stands a second time, what is made of the
    /// text is not remembered for other ids: see `answer` and `parts`.) `None` where scrubbing would change it.
    pub fn of(text: &'t str, id: &str, context: &Context<'_>) -> Option<Self> {
        let scrubber = context.scrubber;
        let Some(at) = find_value(text, id) else { return Some(Self { before: text, after: "", id: None }) };
        let (before, rest) = text.split_at(at);
        let (id, after) = rest.split_at(id.len());
        let is_kept = (is_uuid(id) && !scrubber.has_own_patterns()) || is_same(id, &scrubber.identifier(id)).is_some();
        is_kept.then_some(Self { before, after, id: Some(id) })
    }

    pub fn push_key(&self, key: &mut Vec<u8>) {
        // The length of the id is part of the canonical form.
        key.extend_from_slice(&(self.id.map_or(0, str::len) as u32).to_le_bytes());
        key.extend_from_slice(self.before.as_bytes());
        // In no UTF-8 text.
        key.push(0xff);
        key.extend_from_slice(self.after.as_bytes());
    }
}

/// Where the last text that is all `id` stands in a JSON text, between its quotes.
fn find_value(text: &str, id: &str) -> Option<usize> {
    memchr::memrchr_iter(b'"', text.as_bytes()).find_map(|end| {
        let before = text[..end].strip_suffix(id)?;
        before.ends_with('"').then_some(before.len())
    })
}

/// Whether the id that [`find_value`] finds in a text is one whole string of the text's value and nothing else: not a name, not
/// what a later member of the same name replaces. Seen by putting another one in its place.
pub(super) fn is_one_string(text: &str, id: &str, value: &Value) -> bool {
    let Some(at) = find_value(text, id) else { return false };
    let probe = if id.starts_with('~') { "-" } else { "~" }.repeat(id.len());
    let probed = [&text[..at], &probe, &text[at + id.len()..]].concat();
    let Ok(mut probed) = serde_json::from_str::<Value>(&probed) else { return false };
    put_back(&mut probed, &probe, id) == 1 && probed == *value
}

/// Puts the id in the place of every string that is the probe; how many there were. Recursion is bounded by the parser.
fn put_back(value: &mut Value, probe: &str, id: &str) -> usize {
    match value {
        Value::String(text) if text == probe => {
            id.clone_into(text);
            1
        }
        Value::Array(items) => items.iter_mut().map(|item| put_back(item, probe, id)).sum(),
        Value::Object(fields) => fields.values_mut().map(|field| put_back(field, probe, id)).sum(),
        _ => 0,
    }
}

/// A canonical form with the request's id cut out of it.
#[derive(Debug)]
pub struct MaskedForm {
    before: Box<[u8]>,
    after: Option<Box<[u8]>>,
}

impl MaskedForm {
    /// Of a value in which the id, if any, stands once.
    pub(super) fn of(value: &Value, id: Option<&str>) -> Option<Self> {
        let form = parts::form_of(value);
        let Some(id) = id else { return Some(Self { before: form.into(), after: None }) };
        let at = memchr::memmem::find(&form, id.as_bytes())?;
        let after = &form[at + id.len()..];
        let is_once = memchr::memmem::find(after, id.as_bytes()).is_none();
        is_once.then(|| Self { before: form[..at].into(), after: Some(after.into()) })
    }

    pub(super) fn push(&self, id: &str, form: &mut Vec<u8>) {
        form.extend_from_slice(&self.before);
        if let Some(after) = &self.after {
            form.extend_from_slice(id.as_bytes());
            form.extend_from_slice(after);
        }
    }
}

/// A UUID in lower case with hyphens: nothing in it can look like a secret.
fn is_uuid(id: &str) -> bool {
    id.len() == 36
        && id.bytes().enumerate().all(|(at, byte)| match at {
            8 | 13 | 18 | 23 => byte == b'-',
            _ => matches!(byte, b'0'..=b'9' | b'a'..=b'f'),
        })
}
