//! The quick way from an event's text to an event, for what nearly all events are.
//!
//! An event is *plain* when its top level is ([`scan`]), its texts are within their limits and hold nothing that scrubbing
//! replaces. A plain event is never parsed into a tree: its texts are borrowed, and what must be read, scrubbed or
//! classified is remembered by its text ([`memo`]), because error traffic repeats itself. Whatever is not plain, or
//! looks wrong in any way, goes the full way ([`super::event`]), which alone says what is wrong. Both ways give the same event to
//! the last bit; `super::tests::ways` holds them against each other.

mod answer;
mod masked;
mod memo;
mod parts;
mod scan;

use std::{net::Ipv4Addr, ops::ControlFlow, sync::Arc};

use serde_json::Number;

pub use self::memo::Memo;
use self::{
    answer::{Answer, Sent},
    masked::Masked,
    parts::{HeaderList, Thrown},
    scan::{Field, Fields, Raw},
};
use super::{Context, event, headers::Side, key, timestamp};
use crate::{
    event::{EventKey, Marks, RequestId, fingerprint, rate_limit, view::EventView},
    recall::MAX_TEXT,
};

/// Longest texts that are plain, bytes: the limits of the full way, or less.
const MAX_NAME: usize = 256;
const MAX_METHOD: usize = 32;
const MAX_PATH: usize = 1024;
const MAX_USER_AGENT: usize = 512;
const MAX_ID: usize = 128;
/// Digits that no scrubbing rule of ours takes for a card number.
const FEW_DIGITS: usize = 12;

/// Makes the event of a plain text and hands it over; `None` where the text is not plain.
pub(super) fn each(
    text: &str,
    context: &Context<'_>,
    memo: &mut Memo,
    take: impl FnOnce(EventView<'_>) -> ControlFlow<()>,
) -> Option<ControlFlow<()>> {
    let fields = Fields::scan(text)?;
    let reading = Reading { fields, context };
    let read = reading.read(memo)?;
    let mut form = std::mem::take(&mut memo.form);
    let mut body = std::mem::take(&mut memo.text);
    let key = reading.key(&read, &mut form);
    let taken = reading.hand_over(&read, key, &mut form, &mut body, take);
    (memo.form, memo.text) = (form, body);
    Some(taken)
}

/// A plain event being read.
struct Reading<'t, 'c> {
    fields: Fields<'t>,
    context: &'c Context<'c>,
}

/// What was read of it.
struct Read<'t> {
    status: u16,
    timestamp_ms: i64,
    event_id: &'t str,
    request_id: &'t str,
    path: &'t str,
    route: Arc<str>,
    duration_ms: Option<Number>,
    answer: Arc<Answer>,
    request_headers: Option<Arc<HeaderList>>,
    response_headers: Option<Arc<HeaderList>>,
    exception: Option<Arc<Thrown>>,
    marks: Marks,
}

impl<'t> Reading<'t, '_> {
    fn read(&self, memo: &mut Memo) -> Option<Read<'t>> {
        let fields = &self.fields;
        let status = match fields.get(Field::Status) {
            Raw::Number(digits) => digits.parse().ok().filter(|status| (400..600).contains(status))?,
            _ => return None,
        };
        self.check_texts(memo)?;
        let mut marks = Marks::default();
        let timestamp_ms = self.timestamp_ms(&mut marks)?;
        let request_id = self.request_id()?;
        let event_id = fields.text(Field::EventId, MAX_ID)?;
        let (path, route) = self.path_and_route(memo)?;
        let answer = self.answer(memo, status, request_id)?;
        let request_headers = self.headers(memo, Side::Request, request_id)?;
        let response_headers = self.headers(memo, Side::Response, request_id)?;
        let exception = self.exception(memo)?;
        let duration_ms = match fields.get(Field::DurationMs) {
            Raw::Absent => None,
            Raw::Number(digits) => Some(serde_json::from_str(digits).ok()?),
            _ => return None,
        };
        let of_parts = [
            Some(answer.marks),
            request_headers.as_ref().map(|it| it.marks),
            response_headers.as_ref().map(|it| it.marks),
            exception.as_ref().map(|it| it.marks),
        ];
        of_parts.into_iter().flatten().for_each(|more| marks.insert(more));
        Some(Read {
            status,
            timestamp_ms,
            event_id,
            request_id,
            path,
            route,
            duration_ms,
            answer,
            request_headers,
            response_headers,
            exception,
            marks,
        })
    }

    /// Whether all texts are within their limits, and scrubbing leaves them as they are.
    fn check_texts(&self, memo: &mut Memo) -> Option<()> {
        for (field, max) in [
            (Field::Service, MAX_NAME),
            (Field::Environment, MAX_NAME),
            (Field::Release, MAX_NAME),
            (Field::Host, MAX_NAME),
            (Field::Method, MAX_METHOD),
            (Field::Route, MAX_PATH),
            (Field::UserAgent, MAX_USER_AGENT),
        ] {
            let text = self.fields.text(field, max)?;
            if !self.context.scrubber.leaves(text) {
                memo.clean.get_or_make(text.as_bytes(), || is_same(text, &self.context.scrubber.text(text)))?;
            }
        }
        let method = self.fields.text(Field::Method, MAX_METHOD)?;
        method.bytes().all(|byte| byte.is_ascii_uppercase()).then_some(())?;
        for (field, max) in [
            (Field::AccountId, MAX_NAME),
            (Field::UserId, MAX_NAME),
            (Field::EventId, MAX_ID),
            (Field::TraceId, MAX_ID),
            (Field::SpanId, MAX_ID),
        ] {
            let text = match self.fields.get(field) {
                Raw::Number(digits) if !digits.contains('.') && field != Field::EventId => digits,
                _ => self.fields.text(field, max)?,
            };
            self.check_identifier(memo, text)?;
        }
        match self.fields.get(Field::ClientIp) {
            Raw::Absent | Raw::Text("") => Some(()),
            // An address of version 4 has one form only.
            Raw::Text(text) => text.parse::<Ipv4Addr>().is_ok().then_some(()),
            _ => None,
        }
    }

    fn check_identifier(&self, memo: &mut Memo, text: &str) -> Option<()> {
        let scrubber = self.context.scrubber;
        if scrubber.leaves(text) {
            return Some(());
        }
        memo.clean_ids.get_or_make(text.as_bytes(), || is_same(text, &scrubber.identifier(text)))
    }

    fn timestamp_ms(&self, marks: &mut Marks) -> Option<i64> {
        let context = self.context;
        let time = match self.fields.get(Field::Timestamp) {
            Raw::Absent => {
                marks.insert(Marks::NO_TIMESTAMP);
                return Some(context.received_at_ms);
            }
            // As the full way parses it, to the last bit.
            Raw::Number(digits) => timestamp::of_number(serde_json::from_str::<Number>(digits).ok()?.as_f64()?)?,
            Raw::Text(text) => timestamp::of_text(text).ok()?,
            Raw::Nested(_) => return None,
        };
        timestamp::check(time, context.oldest_ms, context.received_at_ms).is_ok().then_some(time)
    }

    /// The id as sent, else that of the body; the second where [`Self::answer`] finds it to be one.
    fn request_id(&self) -> Option<&'t str> {
        let id = match (self.fields.get(Field::RequestId), self.fields.get(Field::Response)) {
            (Raw::Text(id), _) => id,
            (Raw::Absent, Raw::Nested(body)) => {
                let (_, rest) = body.split_once(concat!('"', "request_id", '"'))?;
                let text = rest.trim_ascii_start().strip_prefix(':')?.trim_ascii_start().strip_prefix('"')?;
                text.split_once('"')?.0
            }
            _ => return None,
        };
        // What was read of the body may hold an escape, and then end elsewhere.
        (RequestId::is_canonical(id) && !id.contains('\\')).then_some(id)
    }

    /// The path without its query, and the route as sent or made from it.
    fn path_and_route(&self, memo: &mut Memo) -> Option<(&'t str, Arc<str>)> {
        let target = self.fields.text(Field::Path, MAX_PATH)?;
        let sent = self.fields.text(Field::Route, MAX_PATH)?;
        if !target.is_empty() && !target.starts_with('/') {
            return None;
        }
        let path = &target[..target.find(['?', '#']).unwrap_or(target.len())];
        let scrubber = self.context.scrubber;
        let mut key = std::mem::take(&mut memo.key);
        key.clear();
        // Where a rule may look over a slash (`token:/1`), the number matters.
        let is_simple = path.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"/_.-".contains(&byte));
        if is_simple && !scrubber.has_own_patterns() {
            push_with_numbers_alike(path, &mut key);
        } else {
            key.extend_from_slice(path.as_bytes());
        }
        let made = memo.routes.get_or_make(&key, || {
            is_same(path, &scrubber.text(path))?;
            Some(if path.is_empty() { "".into() } else { event::route_of(path).into() })
        });
        memo.key = key;
        let made = made?;
        let route = if sent.is_empty() { made } else { sent.into() };
        Some((path, route))
    }

    fn answer(&self, memo: &mut Memo, status: u16, id: &str) -> Option<Arc<Answer>> {
        let nested = |field| match self.fields.get(field) {
            Raw::Absent => Some(None),
            Raw::Nested(text) => Some(Some(text)),
            _ => None,
        };
        let error = self.fields.text(Field::Error, MAX_TEXT)?;
        let (errors, response) = (nested(Field::Errors)?, nested(Field::Response)?);
        let masked = Masked::of(response.unwrap_or_default(), id, self.context)?;
        let mut key = std::mem::take(&mut memo.key);
        key.clear();
        key.extend_from_slice(&status.to_le_bytes());
        for text in [error, errors.unwrap_or_default()] {
            key.extend_from_slice(&(text.len() as u32).to_le_bytes());
            key.extend_from_slice(text.as_bytes());
        }
        masked.push_key(&mut key);
        let sent = Sent { status, error, errors, response, id: masked.id };
        let answer = memo.answers.get_or_make(&key, || Answer::read(self.context, sent).map(Arc::new));
        memo.key = key;
        let is_stated = masked.id.is_some() || self.fields.get(Field::RequestId) != Raw::Absent;
        answer.filter(|_| is_stated)
    }

    /// Headers; `Some(None)` where none were sent.
    #[allow(
        clippy::option_option,
        reason = "the outer one says whether it is plain, the inner one whether it was sent"
    )]
    fn headers(&self, memo: &mut Memo, side: Side, id: &str) -> Option<Option<Arc<HeaderList>>> {
        let field = match side {
            Side::Request => Field::RequestHeaders,
            Side::Response => Field::ResponseHeaders,
        };
        let text = match self.fields.get(field) {
            Raw::Absent => return Some(None),
            Raw::Nested(text) if text.len() <= MAX_TEXT => text,
            _ => return None,
        };
        let masked = Masked::of(text, id, self.context)?;
        let mut key = std::mem::take(&mut memo.key);
        key.clear();
        key.push(side as u8);
        masked.push_key(&mut key);
        let make = || HeaderList::read(self.context, side, text, masked.id).map(Arc::new);
        let list = memo.headers.get_or_make(&key, make);
        memo.key = key;
        list.map(Some)
    }

    #[allow(
        clippy::option_option,
        reason = "the outer one says whether it is plain, the inner one whether it was sent"
    )]
    fn exception(&self, memo: &mut Memo) -> Option<Option<Arc<Thrown>>> {
        match self.fields.get(Field::Exception) {
            Raw::Absent => Some(None),
            Raw::Nested(text) if text.len() <= MAX_TEXT => {
                let make = || Thrown::read(self.context, text).map(Arc::new);
                memo.exceptions.get_or_make(text.as_bytes(), make).map(Some)
            }
            _ => None,
        }
    }

    /// The idempotency key.
    fn key(&self, read: &Read<'_>, form: &mut Vec<u8>) -> EventKey {
        let project = self.context.project;
        if !read.event_id.is_empty() {
            return key::of_event_id(project, read.event_id);
        }
        key::begin_content(project, form);
        for (field, name, raw) in self.fields.sent() {
            key::string(name, form);
            let masked = match field {
                Field::Response => read.answer.forms.response.as_ref(),
                Field::Errors => read.answer.forms.errors.as_ref(),
                Field::RequestHeaders => read.request_headers.as_ref().map(|it| &it.form),
                Field::ResponseHeaders => read.response_headers.as_ref().map(|it| &it.form),
                Field::Exception => read.exception.as_ref().map(|it| &it.form),
                _ => None,
            };
            match (masked, raw) {
                (Some(masked), _) => masked.push(read.request_id, form),
                (None, Raw::Text(text)) => key::string(text, form),
                (None, Raw::Number(digits)) => match &read.duration_ms {
                    Some(number) if field == Field::DurationMs => key::number(number, form),
                    _ => push_number(digits, form),
                },
                (None, Raw::Nested(_) | Raw::Absent) => {}
            }
        }
        key::end_content(form)
    }

    fn hand_over(
        &self,
        read: &Read<'_>,
        key: EventKey,
        form: &mut Vec<u8>,
        body: &mut String,
        take: impl FnOnce(EventView<'_>) -> ControlFlow<()>,
    ) -> ControlFlow<()> {
        let text = |field| match self.fields.get(field) {
            Raw::Text(text) | Raw::Number(text) => text,
            Raw::Absent | Raw::Nested(_) => "",
        };
        let headers = |list: &Option<Arc<HeaderList>>| list.clone();
        let (sent, received) = (headers(&read.request_headers), headers(&read.response_headers));
        let request_headers = sent.as_deref().map(|list| list.of(read.request_id)).unwrap_or_default();
        let response_headers = received.as_deref().map(|list| list.of(read.request_id)).unwrap_or_default();
        let client_ip = text(Field::ClientIp);
        let thrown = read.exception.as_deref();
        let service = text(Field::Service);
        let fingerprint = fingerprint::of_parts(
            &fingerprint::Parts {
                service,
                route: &read.route,
                status: read.status,
                error_template: &read.answer.error_template,
                rules: &read.answer.rules,
                thrown: thrown.map(|it| &*it.fingerprint),
            },
            form,
        );
        take(EventView {
            project: self.context.project,
            key,
            event_id: read.event_id,
            request_id: read.request_id,
            timestamp_ms: read.timestamp_ms,
            received_at_ms: self.context.received_at_ms,
            status: read.status,
            service,
            environment: text(Field::Environment),
            release: text(Field::Release),
            host: text(Field::Host),
            method: text(Field::Method),
            path: read.path,
            route: &read.route,
            error: &read.answer.error,
            error_template: &read.answer.error_template,
            code: &read.answer.code,
            errors: &read.answer.errors,
            response: read.answer.response(read.request_id, body),
            account_id: text(Field::AccountId),
            user_id: text(Field::UserId),
            duration_ms: read.duration_ms.as_ref().and_then(Number::as_f64),
            rate_limit: rate_limit::from_headers(&response_headers, read.timestamp_ms),
            client_ip,
            user_agent: text(Field::UserAgent),
            trace_id: text(Field::TraceId),
            span_id: text(Field::SpanId),
            request_headers: &request_headers,
            response_headers: &response_headers,
            exception: thrown.and_then(|it| it.exception.as_ref()),
            attributes: &[],
            fingerprint,
            marks: read.marks,
        })
    }
}

/// Whether scrubbing left a text as it is.
fn is_same(text: &str, scrubbed: &str) -> Option<()> {
    (text.len() == scrubbed.len() && text == scrubbed).then_some(())
}

/// A path of letters, digits and `/_.-` in which segments of a few digits are all the same: they all become `{id}`, and no
/// scrubbing rule of ours finds anything in such a path because of them.
fn push_with_numbers_alike(path: &str, key: &mut Vec<u8>) {
    for (n, segment) in path.split('/').enumerate() {
        if n > 0 {
            key.push(b'/');
        }
        let is_number =
            !segment.is_empty() && segment.len() <= FEW_DIGITS && segment.bytes().all(|byte| byte.is_ascii_digit());
        key.extend_from_slice(if is_number { b"0" } else { segment.as_bytes() });
    }
}

/// A plain number's canonical form: that of whole ones is their text.
fn push_number(digits: &str, form: &mut Vec<u8>) {
    if digits.contains('.')
        && let Ok(number) = serde_json::from_str::<Number>(digits)
    {
        return key::number(&number, form);
    }
    key::digits(digits, form);
}
