//! The items of a body, one after the other, for what is small and never as many as events: request totals.

use super::{
    Format, Limits, Reason, Refusal, Reject,
    item::{Flaw, Item},
    json, ndjson, reject_of_flaw,
};

/// Shows each item of a body, or why it is none. What `take` was shown is void when the body is refused.
///
/// # Errors
/// When the body as a whole is no JSON, empty, or holds too many items.
pub(super) fn each(
    format: Format,
    body: &[u8],
    limits: &Limits,
    take: impl FnMut(usize, Result<Item, Reject>),
) -> Result<(), Refusal> {
    match format {
        Format::Ndjson => of_lines(body, limits, take),
        Format::Json => of_document(body, limits, take),
    }
}

fn of_lines(body: &[u8], limits: &Limits, mut take: impl FnMut(usize, Result<Item, Reject>)) -> Result<(), Refusal> {
    let body = body.strip_prefix(ndjson::BYTE_ORDER_MARK).unwrap_or(body);
    let count = ndjson::lines(body).count();
    if count == 0 {
        return Err(Refusal::Empty);
    }
    if count > limits.items {
        return Err(Refusal::TooMany { limit: limits.items });
    }
    let (mut first_bad, mut any_json) = (None, false);
    for (index, (number, line)) in ndjson::lines(body).enumerate() {
        let parsed = match std::str::from_utf8(line) {
            Ok(text) => read(text, limits),
            Err(error) => {
                let message = "the line is not valid UTF-8".to_owned();
                Err(Unread::Flaw(Flaw::NotJson { line: 1, column: error.valid_up_to() + 1, message }))
            }
        };
        if let Err(Unread::Flaw(Flaw::NotJson { column, message, .. })) = &parsed {
            first_bad.get_or_insert_with(|| (number, *column, ndjson::hint(line, message.clone())));
        } else {
            any_json = true;
        }
        take(index, parsed.map_err(|unread| unread.at(index)));
    }
    match first_bad {
        Some((line, column, message)) if !any_json => Err(Refusal::NotJson { line, column, message }),
        _ => Ok(()),
    }
}

fn of_document(body: &[u8], limits: &Limits, mut take: impl FnMut(usize, Result<Item, Reject>)) -> Result<(), Refusal> {
    let (items, is_array) = json::items(body, limits.items)?;
    for (index, item) in items.into_iter().enumerate() {
        match read(item, limits) {
            // The body is this one item.
            Err(Unread::Flaw(Flaw::NotJson { line, column, message })) if !is_array => {
                return Err(Refusal::NotJson { line, column, message });
            }
            parsed => take(index, parsed.map_err(|unread| unread.at(index))),
        }
    }
    Ok(())
}

/// Why a text was not read.
enum Unread {
    TooLarge(usize),
    Flaw(Flaw),
}

impl Unread {
    fn at(self, index: usize) -> Reject {
        let mut reject = match self {
            Self::TooLarge(limit) => {
                Reject::of_item(index, Reason::TooLarge, format!("has more than {limit} bytes, which no total needs"))
            }
            Self::Flaw(flaw) => reject_of_flaw(index, flaw),
        };
        for (field, _) in &mut reject.errors {
            "total".clone_into(field);
        }
        reject
    }
}

fn read(text: &str, limits: &Limits) -> Result<Item, Unread> {
    if text.len() > limits.event {
        return Err(Unread::TooLarge(limits.event));
    }
    Item::parse(text).map_err(Unread::Flaw)
}
