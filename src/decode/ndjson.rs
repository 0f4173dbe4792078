//! `application/x-ndjson`: one event a line.

use std::ops::ControlFlow;

use super::{
    Context, Memo, Reason, Refusal, Reject, event,
    item::{Flaw, Item},
    key::Occurrences,
    plain, reject_of_flaw, reject_too_large,
};
use crate::event::view::EventView;

pub(super) const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// How many lines of a body with too many are tried to tell whether it is JSON at all.
const TRIED_LINES: usize = 16;

/// Lines end with LF or CRLF; blank ones are skipped and not counted; a byte order mark at the start is dropped.
pub(super) fn decode(
    body: &[u8],
    context: &Context<'_>,
    memo: &mut Memo,
    mut take: impl FnMut(usize, EventView<'_>) -> ControlFlow<()>,
) -> Result<Vec<Reject>, Refusal> {
    let body = body.strip_prefix(BYTE_ORDER_MARK).unwrap_or(body);
    let count = lines(body).count();
    if count == 0 {
        return Err(Refusal::Empty);
    }
    let limit = context.limits.items;
    let mut rejects = Vec::new();
    let mut occurrences = Occurrences::in_body(body);
    let mut first_bad = None;
    let mut any_json = false;
    for (index, (number, line)) in lines(body).enumerate() {
        if count > limit && (any_json || index == TRIED_LINES) {
            break;
        }
        // Of a body with too many, nothing is taken.
        let take = |event: EventView<'_>| if count > limit { ControlFlow::Continue(()) } else { take(index, event) };
        match decode_line(index, line, context, (memo, &mut occurrences), take) {
            Line::Event(ControlFlow::Continue(())) => {}
            Line::Event(ControlFlow::Break(())) => return Ok(rejects),
            Line::Reject(reject) => rejects.push(reject),
            Line::NotJson { column, message, reject } => {
                first_bad.get_or_insert_with(|| (number, column, hint(line, message)));
                rejects.push(reject);
                continue;
            }
        }
        any_json = true;
    }
    match first_bad {
        Some((line, column, message)) if !any_json => Err(Refusal::NotJson { line, column, message }),
        _ if count > limit => Err(Refusal::TooMany { limit }),
        _ => Ok(rejects),
    }
}

/// The lines that are not blank, with their numbers from 1, without white space around them.
pub(super) fn lines(body: &[u8]) -> impl Iterator<Item = (usize, &[u8])> {
    let mut start = 0;
    let ends = memchr::memchr_iter(b'\n', body).chain([body.len()]);
    let lines = ends.map(move |end| {
        let line = &body[start..end];
        start = end + 1;
        line.trim_ascii()
    });
    (1..).zip(lines).filter(|(_, line)| !line.is_empty())
}

enum Line {
    /// It was handed over; whether to go on.
    Event(ControlFlow<()>),
    Reject(Reject),
    NotJson {
        column: usize,
        message: String,
        reject: Reject,
    },
}

fn decode_line(
    index: usize,
    line: &[u8],
    context: &Context<'_>,
    (memo, occurrences): (&mut Memo, &mut Occurrences<'_>),
    mut take: impl FnMut(EventView<'_>) -> ControlFlow<()>,
) -> Line {
    let not_json = |column, message: String| Line::NotJson {
        column,
        reject: Reject::of_item(index, Reason::InvalidJson, format!("is no JSON: column {column}: {message}")),
        message,
    };
    let text = match std::str::from_utf8(line) {
        Ok(text) => text,
        Err(error) => return not_json(error.valid_up_to() + 1, "the line is not valid UTF-8".to_owned()),
    };
    if line.len() > context.limits.event {
        return Line::Reject(reject_too_large(index, text, context.limits));
    }
    if let Some(taken) = plain::each(text, context, memo, &mut take) {
        return Line::Event(taken);
    }
    match Item::parse(text) {
        Ok(item) => match event::build(item, context, occurrences) {
            Ok(event) => Line::Event(take((&event).into())),
            Err(rejection) => Line::Reject(rejection.at(index)),
        },
        Err(Flaw::NotJson { column, message, .. }) => not_json(column, message),
        Err(flaw) => Line::Reject(reject_of_flaw(index, flaw)),
    }
}

/// Adds what a sender of one pretty-printed document most likely did wrong.
pub(super) fn hint(line: &[u8], message: String) -> String {
    if matches!(line, b"[" | b"{") {
        return format!("{message}; one JSON document over several lines is sent as application/json");
    }
    message
}
