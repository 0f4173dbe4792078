//! Headings of error pages: a reader for markup that only looks for the few elements error pages speak through.

use crate::event::start_of;

/// Most bytes of a page that are looked at; error pages say what they are at the top.
const MAX_SCANNED: usize = 64 << 10;

/// Longest tag whose quotes are heeded, in bytes: bounds the work on a page made of tags that never end.
const MAX_TAG: usize = 1024;

/// Elements an error page speaks through, most telling first; the last ones are those of XML errors (S3, SOAP).
const SPEAKING: [&str; 8] = ["h1", "title", "h2", "pre", "message", "faultstring", "code", "requestid"];

/// Titles that say nothing.
const EMPTY_TITLES: [&str; 4] = ["error", "error page", "oops", "untitled"];

/// What a page says.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Page {
    pub heading: String,
    pub code: String,
    pub request_id: Option<String>,
}

/// Whether a text is markup, and not a text that begins with an angle bracket.
pub(super) fn is_markup(text: &str) -> bool {
    let mut start = text.chars();
    start.next() == Some('<')
        && start.next().is_some_and(|c| c == '!' || c == '?' || c.is_ascii_alphabetic())
        && text.contains('>')
}

/// Reads the heading (`h1`, else `title`, `h2`, `pre`, else the first text), or an XML error's message, code and request id.
pub(super) fn read(text: &str) -> Page {
    let text = start_of(text, MAX_SCANNED);
    let mut found: [String; SPEAKING.len()] = Default::default();
    let mut first = String::new();
    let mut open: Option<usize> = None;
    let mut rest = text;
    while !rest.is_empty() {
        let (words, tag, after) = next_tag(rest);
        if let Some(element) = open {
            append(&mut found[element], words);
        } else if first.is_empty() {
            append(&mut first, words);
        }
        rest = after;
        let (name, closes) = tag_name(tag);
        if closes {
            open = open.filter(|element| !name.eq_ignore_ascii_case(SPEAKING[*element]));
        } else if ["script", "style", "noscript", "template", "svg"]
            .iter()
            .any(|hidden| name.eq_ignore_ascii_case(hidden))
        {
            rest = after_element(rest, name);
        } else if open.is_none() {
            // The first of its kind speaks; later ones are let go.
            open = SPEAKING.iter().position(|element| name.eq_ignore_ascii_case(element));
            open = open.filter(|element| found[*element].is_empty());
        }
    }
    let [h1, title, h2, pre, message, fault, code, request_id] = found;
    let is_telling = |text: &String| !text.is_empty() && !EMPTY_TITLES.contains(&text.to_lowercase().as_str());
    let is_xml = !message.is_empty();
    let heading = [h1, title.clone(), h2, pre, message, fault, title, first].into_iter().find(is_telling);
    Page {
        heading: heading.unwrap_or_default(),
        code: if is_xml { code } else { String::new() },
        request_id: (is_xml && !request_id.is_empty()).then_some(request_id),
    }
}

/// Splits at the next tag: the words before it, the inside of the tag, and what comes after it. A `<` that begins no tag is
/// part of the words; comments are tags without a name.
fn next_tag(text: &str) -> (&str, &str, &str) {
    let mut from = 0;
    while let Some(offset) = text[from..].find('<') {
        let start = from + offset;
        let inside = &text[start + 1..];
        if let Some(comment) = inside.strip_prefix("!--") {
            let after = comment.find("-->").map_or("", |end| &comment[end + 3..]);
            return (&text[..start], "", after);
        }
        if inside.starts_with(|c: char| c.is_ascii_alphabetic() || c == '/' || c == '!' || c == '?') {
            let end = tag_end(inside);
            return (&text[..start], &inside[..end], inside.get(end + 1..).unwrap_or_default());
        }
        from = start + 1;
    }
    (text, "", "")
}

/// Where a tag ends: at the first `>` outside of quotes, or at the first of all where the quotes do not close.
fn tag_end(inside: &str) -> usize {
    let mut quote = None;
    for (at, byte) in inside.bytes().take(MAX_TAG).enumerate() {
        match (quote, byte) {
            (None, b'>') => return at,
            (None, b'"' | b'\'') => quote = Some(byte),
            (Some(open), _) if open == byte => quote = None,
            _ => {}
        }
    }
    inside.find('>').unwrap_or(inside.len())
}

fn tag_name(tag: &str) -> (&str, bool) {
    let closes = tag.starts_with('/');
    let tag = tag.trim_start_matches('/');
    let end = tag.find(|c: char| !c.is_ascii_alphanumeric()).unwrap_or(tag.len());
    (&tag[..end], closes)
}

/// What comes after the end tag of an element whose inside is not for readers.
fn after_element<'a>(text: &'a str, name: &str) -> &'a str {
    let mut rest = text;
    while let Some(start) = rest.find("</") {
        rest = &rest[start + 2..];
        if rest.get(..name.len()).is_some_and(|found| found.eq_ignore_ascii_case(name)) {
            return rest.find('>').map_or("", |end| &rest[end + 1..]);
        }
    }
    ""
}

/// Appends words with single spaces between them and entities decoded.
fn append(text: &mut String, words: &str) {
    if text.len() > super::MAX_MESSAGE {
        return;
    }
    for word in words.split_whitespace() {
        if !text.is_empty() {
            text.push(' ');
        }
        decode_entities(word, text);
    }
}

fn decode_entities(word: &str, out: &mut String) {
    let mut rest = word;
    while let Some(start) = rest.find('&') {
        out.push_str(&rest[..start]);
        rest = &rest[start..];
        let entity = rest[1..].find(';').filter(|length| *length <= 10).map(|length| &rest[1..=length]);
        if let Some((entity, c)) = entity.and_then(|entity| Some((entity, character(entity)?))) {
            out.push(c);
            rest = &rest[entity.len() + 2..];
        } else {
            out.push('&');
            rest = &rest[1..];
        }
    }
    out.push_str(rest);
}

fn character(entity: &str) -> Option<char> {
    if let Some(number) = entity.strip_prefix('#') {
        let code = match number.strip_prefix(['x', 'X']) {
            Some(hex) => u32::from_str_radix(hex, 16).ok()?,
            None => number.parse().ok()?,
        };
        return char::from_u32(code).filter(|c| !c.is_control());
    }
    Some(match entity {
        "amp" => '&',
        "lt" => '<',
        "gt" => '>',
        "quot" => '"',
        "apos" => '\'',
        "nbsp" => ' ',
        "mdash" => '—',
        "ndash" => '–',
        "hellip" => '…',
        "rsquo" => '’',
        "lsquo" => '‘',
        "ldquo" => '“',
        "rdquo" => '”',
        "auml" => 'ä',
        "ouml" => 'ö',
        "uuml" => 'ü',
        "Auml" => 'Ä',
        "Ouml" => 'Ö',
        "Uuml" => 'Ü',
        "szlig" => 'ß',
        "eacute" => 'é',
        "copy" => '©',
        _ => return None,
    })
}
