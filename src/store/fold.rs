//! Folding: what an event says twice is stored once.
//!
//! An error body repeats the request id, the general message and the field messages, and headers repeat the id. In what is
//! stored of them one control character stands for each. A path repeats its route template: stored is what stands in it
//! for the placeholders. Together some 30 of 100 bytes an event on disk, and twice as many less to sort and compress.
//!
//! Part of the stored format: the table's columns `response` and `path` undo the same.

use std::borrow::Cow;

use memchr::memmem;

use crate::event::EventRef;

/// Stands for the request id; the next one for the error; the ten after for the first messages.
const FIRST: u8 = 0x10;
const MESSAGES: usize = 10;
const MARKERS: u8 = 2 + MESSAGES as u8;

/// Shorter texts are not worth it.
const MIN_LEN: usize = 8;

/// The texts of an event that stand in its others, in the order of their markers.
#[derive(Clone, Debug, Default)]
pub struct Fold<'a> {
    parts: Vec<&'a str>,
}

impl<'a> Fold<'a> {
    /// None for an event that is stored plain: one of its texts has a marker itself, so that folding could not be undone.
    #[must_use]
    pub fn of(event: &EventRef<'a>) -> Option<Self> {
        let messages = event.errors.iter().take(MESSAGES).map(|error| error.message);
        let parts: Vec<&str> = [event.request_id, event.error].into_iter().chain(messages).collect();
        let headers = event.request_headers.iter().chain(&event.response_headers).map(|(_, value)| *value);
        let is_marked = headers.chain(parts.iter().copied()).chain([event.response]).any(has_marker);
        (!is_marked).then_some(Self { parts })
    }

    /// For undoing what [`Fold::of`] did.
    #[must_use]
    pub fn from_parts(request_id: &'a str, error: &'a str, messages: impl Iterator<Item = &'a str>) -> Self {
        Self { parts: [request_id, error].into_iter().chain(messages.take(MESSAGES)).collect() }
    }

    /// The text with markers in the place of the parts, where they stand between quotes or are the whole text: so one pass
    /// finds them all.
    #[must_use]
    pub fn fold<'t>(&self, text: &'t str) -> Cow<'t, str> {
        let mut folded = String::new();
        let (mut start, mut copied) = (0, 0);
        for end in memchr::memchr_iter(b'"', text.as_bytes()).chain([text.len()]) {
            if let Some(marker) = self.marker_of(&text[start..end]) {
                folded.push_str(&text[copied..start]);
                folded.push(char::from(marker));
                copied = end;
            }
            start = end + 1;
        }
        if copied == 0 { Cow::Borrowed(text) } else { Cow::Owned(folded + &text[copied..]) }
    }

    /// The marker of a text that is a part.
    fn marker_of(&self, text: &str) -> Option<u8> {
        if text.len() < MIN_LEN {
            return None;
        }
        let at = self.parts.iter().position(|part| part.len() == text.len() && *part == text)?;
        Some(FIRST + at as u8)
    }

    /// The text of a header with a marker in the place of the request id.
    #[must_use]
    pub fn fold_header<'t>(&self, text: &'t str) -> Cow<'t, str> {
        let id = self.parts.first().filter(|id| id.len() >= MIN_LEN && text.len() >= id.len());
        id.and_then(|id| replace(text, id, FIRST)).map_or(Cow::Borrowed(text), Cow::Owned)
    }

    /// Undoes [`Fold::fold`] and [`Fold::fold_header`].
    #[must_use]
    pub fn unfold(&self, text: String) -> String {
        if !has_marker(&text) {
            return text;
        }
        let mut whole = String::with_capacity(text.len() * 2);
        let mut rest = text.as_str();
        while let Some(at) = rest.bytes().position(is_marker) {
            whole.push_str(&rest[..at]);
            let part = usize::from(rest.as_bytes()[at] - FIRST);
            match self.parts.get(part) {
                Some(part) => whole.push_str(part),
                None => whole.push_str(&rest[at..=at]),
            }
            rest = &rest[at + 1..];
        }
        whole.push_str(rest);
        whole
    }
}

fn is_marker(byte: u8) -> bool {
    byte.wrapping_sub(FIRST) < MARKERS
}

/// Goes over the whole text, in steps of a vector.
fn has_marker(text: &str) -> bool {
    text.bytes().fold(false, |found, byte| found | is_marker(byte))
}

fn replace(text: &str, part: &str, marker: u8) -> Option<String> {
    let finder = memmem::Finder::new(part);
    let first = finder.find(text.as_bytes())?;
    let mut replaced = String::with_capacity(text.len());
    let (mut done, mut next) = (0, Some(first));
    while let Some(at) = next {
        replaced.push_str(&text[done..at]);
        replaced.push(char::from(marker));
        done = at + part.len();
        next = finder.find(&text.as_bytes()[done..]).map(|found| done + found);
    }
    replaced.push_str(&text[done..]);
    Some(replaced)
}

/// What stands in `path` for the placeholders of `route`, joined by `/`; none when the path does not follow from the two.
///
/// A placeholder is a whole segment in braces.
#[must_use]
pub fn path_values<'p>(route: &str, path: &'p str) -> Option<Cow<'p, str>> {
    let mut values = Cow::Borrowed("");
    let mut is_first = true;
    let mut segments = path.split('/');
    for template in route.split('/') {
        let segment = segments.next()?;
        if is_placeholder(template) {
            match (is_first, segment) {
                (true, segment) => values = Cow::Borrowed(segment),
                (false, segment) => {
                    let values = values.to_mut();
                    values.push('/');
                    values.push_str(segment);
                }
            }
            is_first = false;
        } else if template != segment || template.contains(['{', '}']) {
            return None;
        }
    }
    segments.next().is_none().then_some(values)
}

/// Undoes [`path_values`].
#[must_use]
pub fn path_of(route: &str, values: &str) -> String {
    let mut values = values.split('/');
    let mut path = String::with_capacity(route.len() + 16);
    for (index, template) in route.split('/').enumerate() {
        if index > 0 {
            path.push('/');
        }
        path.push_str(if is_placeholder(template) { values.next().unwrap_or_default() } else { template });
    }
    path
}

fn is_placeholder(segment: &str) -> bool {
    let inner = segment.strip_prefix('{').and_then(|rest| rest.strip_suffix('}'));
    inner.is_some_and(|inner| !inner.contains(['{', '}']))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_folded_unfolds_to_the_same_text() {
        let id = "046671ad-f8a0-4741-b114-c5fe97cfcde6";
        let fold = Fold::from_parts(id, "Validation failed", ["too short", "short and more", "é é é é é"].into_iter());
        for (text, length) in [
            (format!("{{\"error\":\"Validation failed\",\"request_id\":\"{id}\",\"more\":\"{id}{id}\"}}"), 112),
            (r#"["too short","short and more","too short and","é é é é é"]"#.to_owned(), 29),
            ("Validation failed".to_owned(), 1),
            (r#""Validation failed"#.to_owned(), 2),
            (r#"Validation failed\""#.to_owned(), 19),
            ("nothing of it".to_owned(), 13),
            (String::new(), 0),
        ] {
            let folded = fold.fold(&text).into_owned();
            assert_eq!(folded.len(), length, "{folded:?}");
            assert_eq!(fold.unfold(folded), text);
        }
    }

    #[test]
    fn a_marker_that_stands_for_nothing_is_kept() {
        assert_eq!(Fold::from_parts("a", "b", std::iter::empty()).unfold("\u{12}x\u{1b}".to_owned()), "\u{12}x\u{1b}");
    }

    #[test]
    fn a_path_is_its_route_and_the_values_of_its_placeholders() {
        for (route, path, values) in [
            ("/api/{id}/items/{item}/", "/api/7/items/x%2Fy/", "7/x%2Fy"),
            ("/api/{id}/{id}", "/api//2", "/2"),
            ("/api/{id}/", "/api/{id}/", "{id}"),
            ("/api/health", "/api/health", ""),
            ("", "", ""),
            ("{a}", "", ""),
        ] {
            assert_eq!(path_values(route, path).as_deref(), Some(values), "{route} {path}");
            assert_eq!(path_of(route, values), path);
        }
        for (route, path) in [
            ("", "/api"),
            ("/api/{id}", "/api"),
            ("/api/{id}", "/api/1/2"),
            ("/api/v{n}", "/api/v{n}"),
            ("/api/{{n}}", "/api/1"),
            ("items.list", "/api/items"),
            ("/api/{id}", "/API/1"),
        ] {
            assert_eq!(path_values(route, path), None, "{route} {path}");
        }
    }
}
