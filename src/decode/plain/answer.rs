//! What an event says is wrong (`status`, `error`, `errors`, `response`), remembered with the request's id left out.
//!
//! An error body repeats little but for the id of its request. So the id is cut out of the text before it is looked up, and
//! put back into the results. That is right where the id can have no influence on how the rest is read: it stands in
//! the body once, as the value of a key at the top that is an id by its name, whose value no rule looks into, and scrubbing
//! leaves it as it is. [`Answer::read`] checks this when it makes an answer; an answer that is found has the same text around
//! an id, so the id stands in the same place.

use serde_json::Value;

use super::{
    super::{Context, event, fields::Making, item},
    masked::{MaskedForm, is_one_string},
};
use crate::event::{FieldError, Marks, fingerprint, rule, scrub::without_tokens};

/// The key of a body whose value is the id of the request and nothing else.
const ID_KEY: &str = "request_id";

/// Field errors of an answer that is remembered at most: what is remembered is bounded by the text it was made of, and
/// of little text many errors can be made.
const MAX_ERRORS: usize = 32;

/// What stays the same for all events that say the same.
#[derive(Debug)]
pub struct Answer {
    pub error: String,
    pub error_template: String,
    pub code: String,
    pub errors: Vec<FieldError>,
    /// Their part of the fingerprint.
    pub rules: Box<[u8]>,
    /// The body as stored, the id cut out of it.
    response: (Box<str>, Option<Box<str>>),
    pub forms: Forms,
    pub marks: Marks,
}

/// Canonical forms of what was sent.
#[derive(Debug, Default)]
pub struct Forms {
    pub errors: Option<MaskedForm>,
    pub response: Option<MaskedForm>,
}

/// What was sent, as JSON text (`response`, `errors`) or plain text (`error`).
#[derive(Clone, Copy, Default)]
pub struct Sent<'t> {
    pub status: u16,
    pub error: &'t str,
    pub errors: Option<&'t str>,
    pub response: Option<&'t str>,
    /// The id that stands once in `response`.
    pub id: Option<&'t str>,
}

impl Answer {
    /// Reads what was sent the full way; `None` where the result cannot stand for other events.
    pub fn read(context: &Context<'_>, sent: Sent<'_>) -> Option<Self> {
        let response_sent = value_of(sent.response)?;
        let errors_sent = value_of(sent.errors)?;
        if let Some(id) = sent.id {
            let is_named = response_sent.get(ID_KEY).and_then(Value::as_str) == Some(id);
            if !is_named || !is_one_string(sent.response?, id, &response_sent) {
                return None;
            }
        }
        let forms = Forms {
            errors: sent.errors.and_then(|_| MaskedForm::of(&errors_sent, None)),
            response: sent.response.and_then(|_| MaskedForm::of(&response_sent, sent.id)),
        };
        if forms.response.is_none() && sent.response.is_some() {
            return None;
        }
        let mut making = Making::new(context, false);
        let (response, body) = event::response(&mut making, sent.status, response_sent);
        let (error, code) = event::error(&mut making, Value::String(sent.error.to_owned()), &body);
        let errors = event::errors(&mut making, errors_sent, body.errors);
        let response = match sent.id {
            None => (response.into(), None),
            Some(id) => {
                let (before, after) = response.split_once(id)?;
                (before.into(), Some(after.into()))
            }
        };
        let marks = making.plain_marks().filter(|_| errors.len() <= MAX_ERRORS)?;
        let holds_id = |text: &str| sent.id.is_some_and(|id| text.contains(id));
        let is_elsewhere = holds_id(&error)
            || holds_id(&code)
            || response.1.as_deref().is_some_and(holds_id)
            || errors.iter().any(|it| holds_id(&it.message) || holds_id(&it.path) || holds_id(&it.rule));
        if is_elsewhere {
            return None;
        }
        let error_template = rule::template(&without_tokens(&error));
        let rules = fingerprint::rules(&errors);
        Some(Self { error, error_template, code, errors, rules, response, forms, marks })
    }

    /// The body as stored of an event with this id; `buffer` is where it may be put together.
    pub fn response<'a>(&'a self, id: &str, buffer: &'a mut String) -> &'a str {
        let (before, Some(after)) = &self.response else { return &self.response.0 };
        buffer.clear();
        buffer.push_str(before);
        buffer.push_str(id);
        buffer.push_str(after);
        buffer
    }
}

/// The value of a JSON text as the full way reads it; null for none. `None` when it is no JSON, or not without replacing characters.
pub(super) fn value_of(text: Option<&str>) -> Option<Value> {
    let Some(text) = text else { return Some(Value::Null) };
    let (value, replaced) = item::parse(text).ok()?;
    (!replaced).then_some(value)
}
