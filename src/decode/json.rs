//! `application/json`: one event, or an array of them.

use std::ops::ControlFlow;

use serde::de::{DeserializeSeed, SeqAccess, Visitor};
use serde_json::value::RawValue;

use super::{
    Context, Memo, Refusal, Reject, event,
    item::{Flaw, Item},
    key::Occurrences,
    plain, reject_of_flaw, reject_too_large,
};
use crate::event::view::EventView;

/// The syntax of an array is checked whole before any item is looked at: half a document is no document.
pub(super) fn decode(
    body: &[u8],
    context: &Context<'_>,
    memo: &mut Memo,
    mut take: impl FnMut(usize, EventView<'_>) -> ControlFlow<()>,
) -> Result<Vec<Reject>, Refusal> {
    let (items, is_array) = items(body, context.limits.items)?;
    let mut rejects = Vec::new();
    let mut occurrences = Occurrences::in_body(body);
    for (index, item) in items.into_iter().enumerate() {
        if item.len() > context.limits.event {
            rejects.push(reject_too_large(index, item, context.limits));
            continue;
        }
        if let Some(taken) = plain::each(item, context, memo, |event| take(index, event)) {
            if taken.is_break() {
                break;
            }
            continue;
        }
        match Item::parse(item) {
            Ok(item) => match event::build(item, context, &mut occurrences) {
                Ok(event) => {
                    if take(index, (&event).into()).is_break() {
                        break;
                    }
                }
                Err(rejection) => rejects.push(rejection.at(index)),
            },
            // The body is this one item.
            Err(Flaw::NotJson { line, column, message }) if !is_array => {
                return Err(Refusal::NotJson { line, column, message });
            }
            Err(flaw) => rejects.push(reject_of_flaw(index, flaw)),
        }
    }
    Ok(rejects)
}

/// The texts of a document's items, at least one, and whether the document is an array of them.
pub(super) fn items(body: &[u8], limit: usize) -> Result<(Vec<&str>, bool), Refusal> {
    let text = std::str::from_utf8(body).map_err(|error| {
        let (line, column) = position(&body[..error.valid_up_to()]);
        Refusal::NotJson { line, column, message: "the body is not valid UTF-8".to_owned() }
    })?;
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let (items, is_array) = match text.trim_ascii_start().as_bytes().first() {
        None => return Err(Refusal::Empty),
        Some(b'[') => (array_items(text, limit)?, true),
        Some(_) => (vec![text], false),
    };
    if items.is_empty() { Err(Refusal::Empty) } else { Ok((items, is_array)) }
}

/// Line and column, from 1, of the byte that follows `before`.
fn position(before: &[u8]) -> (usize, usize) {
    let line_start = before.iter().rposition(|&byte| byte == b'\n').map_or(0, |at| at + 1);
    let line = before.split(|&byte| byte == b'\n').count();
    (line, before.len() - line_start + 1)
}

/// The texts of an array's items.
fn array_items(text: &str, limit: usize) -> Result<Vec<&str>, Refusal> {
    let mut items = Vec::new();
    let mut deserializer = serde_json::Deserializer::from_str(text);
    Items { items: &mut items, limit }.deserialize(&mut deserializer).and_then(|()| deserializer.end()).map_err(
        |error| {
            let shown = error.to_string();
            let message = shown.rsplit_once(" at line ").map_or(shown.as_str(), |(message, _)| message).to_owned();
            Refusal::NotJson { line: error.line().max(1), column: error.column().max(1), message }
        },
    )?;
    if items.len() > limit { Err(Refusal::TooMany { limit }) } else { Ok(items) }
}

/// Collects at most one item more than the limit and only checks the rest, so that memory stays bounded.
struct Items<'i, 'de> {
    items: &'i mut Vec<&'de str>,
    limit: usize,
}

impl<'de> DeserializeSeed<'de> for Items<'_, 'de> {
    type Value = ();

    fn deserialize<D: serde::Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for Items<'_, 'de> {
    type Value = ();

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("an array of events")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut array: A) -> Result<(), A::Error> {
        while let Some(item) = array.next_element::<&'de RawValue>()? {
            if self.items.len() <= self.limit {
                self.items.push(item.get());
            }
        }
        Ok(())
    }
}
