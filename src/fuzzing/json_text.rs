//! The same JSON document, written otherwise.

use std::fmt::Write as _;

use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, Visitor},
};
use serde_json::value::RawValue;

/// Whether a text is one JSON document, without looking at what its numbers and escapes stand for.
pub fn is_json(text: &str) -> bool {
    serde_json::from_str::<&RawValue>(text).is_ok()
}

/// White space around every token, and every letter of a text written as an escape. The text must be JSON.
pub fn respell(text: &str) -> String {
    let mut out = String::with_capacity(text.len() * 2);
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match c {
            '"' => {
                out.push('"');
                string(&mut chars, &mut out);
            }
            '{' | '}' | '[' | ']' | ',' | ':' => {
                out.push_str(" \t");
                out.push(c);
                out.push_str("  ");
            }
            c => out.push(c),
        }
    }
    out
}

fn string(chars: &mut std::str::Chars<'_>, out: &mut String) {
    while let Some(c) = chars.next() {
        match c {
            '"' => {
                out.push('"');
                return;
            }
            '\\' => {
                let escaped = chars.next();
                out.push('\\');
                out.extend(escaped);
                if escaped == Some('u') {
                    out.extend(chars.by_ref().take(4));
                }
            }
            c if c.is_ascii_alphabetic() => {
                let _ = write!(out, "\\u{:04x}", u32::from(c));
            }
            c => out.push(c),
        }
    }
}

/// The members of an object in their order, unless the text is no object or has a key twice.
pub fn members(text: &str) -> Option<Vec<(String, &RawValue)>> {
    let Members(members) = serde_json::from_str(text).ok()?;
    let mut names: Vec<&String> = members.iter().map(|(name, _)| name).collect();
    names.sort_unstable();
    names.windows(2).all(|pair| pair[0] != pair[1]).then_some(members)
}

/// An object of these members.
pub fn object<'m>(members: impl IntoIterator<Item = (&'m str, &'m str)>) -> String {
    let members: Vec<String> =
        members.into_iter().map(|(name, value)| format!("{}:{value}", serde_json::Value::from(name))).collect();
    format!("{{{}}}", members.join(","))
}

/// The document with the members of every object in reverse, unless one has a key twice or a key that no text can be.
pub fn reversed(text: &str) -> Option<String> {
    let trimmed = text.trim();
    if trimmed.starts_with('{') {
        let mut turned = Vec::new();
        for (name, value) in members(trimmed)?.iter().rev() {
            turned.push((name.clone(), reversed(value.get())?));
        }
        return Some(object(turned.iter().map(|(name, value)| (name.as_str(), value.as_str()))));
    }
    if trimmed.starts_with('[') {
        let items: Vec<&RawValue> = serde_json::from_str(trimmed).ok()?;
        let items: Option<Vec<String>> = items.iter().map(|item| reversed(item.get())).collect();
        return Some(format!("[{}]", items?.join(",")));
    }
    Some(trimmed.to_owned())
}

struct Members<'a>(Vec<(String, &'a RawValue)>);

impl<'de: 'a, 'a> Deserialize<'de> for Members<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Collect;
        impl<'de> Visitor<'de> for Collect {
            type Value = Vec<(String, &'de RawValue)>;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(members)
            }
        }
        deserializer.deserialize_map(Collect).map(Members)
    }
}
