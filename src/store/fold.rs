//! Folding: an error body and its headers repeat the request id, the most random text of an event. It is stored once;
//! the other texts hold [`MARKER`] in its place. Saves some 18 bytes an event on disk.

use std::borrow::Cow;

use crate::event::Event;

/// U+001A SUBSTITUTE. The table's column `response` unfolds with the same character: part of the stored format.
pub const MARKER: &str = "\u{1a}";

/// Shorter ids are not worth it, and stand in a body by chance.
const MIN_LEN: usize = 16;

/// Whether the event is stored folded: not when one of its texts has the marker itself, else it could not be undone.
#[must_use]
pub fn applies(event: &Event) -> bool {
    event.request_id.as_str().len() >= MIN_LEN
        && !event.response.contains(MARKER)
        && !headers(event).any(|value| value.contains(MARKER))
}

/// The text with the marker in the place of the request id, when `folded`.
#[must_use]
pub fn fold<'a>(text: &'a str, request_id: &str, folded: bool) -> Cow<'a, str> {
    if folded && text.contains(request_id) { Cow::Owned(text.replace(request_id, MARKER)) } else { Cow::Borrowed(text) }
}

/// Undoes [`fold`].
#[must_use]
pub fn unfold(text: String, request_id: &str, folded: bool) -> String {
    if folded && text.contains(MARKER) { text.replace(MARKER, request_id) } else { text }
}

fn headers(event: &Event) -> impl Iterator<Item = &str> {
    event.request_headers.iter().chain(&event.response_headers).map(|(_, value)| value.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_folded_unfolds_to_the_same_text() {
        let id = "046671ad-f8a0-4741-b114-c5fe97cfcde6";
        let body = format!("{{\"request_id\":\"{id}\",\"again\":\"{id}{id}\"}}");
        let folded = fold(&body, id, true);
        assert!(!folded.contains(id));
        assert_eq!(unfold(folded.into_owned(), id, true), body);
        assert_eq!(fold(&body, id, false), body);
    }
}
