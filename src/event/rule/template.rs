//! Messages with their variable parts replaced, so that numbers and quoted values do not split history.

use crate::event::{route, start_of};

/// Longest template, in bytes; the rest of the message is cut.
pub const MAX_TEMPLATE: usize = 512;

/// Most bytes of a message that are read.
const MAX_READ: usize = 2048;

/// Replaces the variable parts of a message: quoted values → `{value}`, e-mail addresses → `{email}`, URLs → `{url}`,
/// UUIDs → `{uuid}`, other hexadecimal → `{hex}`, prefixed and random ids → `{id}`, numbers → `{n}`; ids in request paths
/// as [`route::template`] does. White space becomes single spaces. Part of the stored format: statistics group by it.
#[must_use]
pub fn template(message: &str) -> String {
    let message = start_of(message, MAX_READ);
    let mut out = String::with_capacity(message.len().min(MAX_TEMPLATE));
    let mut rest = message.trim();
    while !rest.is_empty() && out.len() < MAX_TEMPLATE {
        if let Some((inside, after)) = quoted(rest, out.chars().next_back()) {
            out.push_str(if inside.is_empty() { "{empty}" } else { "{value}" });
            rest = after;
            continue;
        }
        let first = rest.chars().next().unwrap_or_default();
        if first.is_whitespace() {
            out.push(' ');
            rest = rest.trim_start();
        } else if is_word_start(first) {
            let (word, after) = split_word(rest);
            push_word(word, &mut out);
            rest = after;
        } else {
            out.push(first);
            rest = &rest[first.len_utf8()..];
        }
    }
    out.truncate(start_of(&out, MAX_TEMPLATE).len());
    out
}

/// The template of a message with the two placeholders that a catalog's messages take: `{n}` for a number, `{value}` for every other
/// variable part, whatever it looks like. Ids that are hexadecimal by chance, or a value that is empty once, do not tell two messages apart.
#[must_use]
pub fn pattern(message: &str) -> String {
    const VALUES: [&str; 6] = ["{empty}", "{email}", "{url}", "{uuid}", "{hex}", "{id}"];
    VALUES.iter().fold(template(message), |text, value| text.replace(value, "{value}"))
}

/// A quoted value at the start of `text`: its inside, and what comes after the closing quote.
///
/// A single quote only opens after something that is no letter (`can't`) and closes before something that is none.
fn quoted(text: &str, before: Option<char>) -> Option<(&str, &str)> {
    let open = text.chars().next()?;
    let close = match open {
        '"' | '\'' | '`' => open,
        '“' | '„' => return quoted_by(text, open, &['”', '“']),
        '«' => '»',
        '‘' => '’',
        _ => return None,
    };
    if open != '\'' {
        return quoted_by(text, open, &[close]);
    }
    if before.is_some_and(char::is_alphanumeric) {
        return None;
    }
    let inside = &text[1..];
    let mut from = 0;
    while let Some(offset) = inside[from..].find('\'') {
        let end = from + offset;
        let after = &inside[end + 1..];
        if !after.starts_with(char::is_alphanumeric) {
            return Some((&inside[..end], after));
        }
        from = end + 1;
    }
    None
}

fn quoted_by<'a>(text: &'a str, open: char, close: &[char]) -> Option<(&'a str, &'a str)> {
    let inside = &text[open.len_utf8()..];
    let end = inside.find(close)?;
    let closing = inside[end..].chars().next().map_or(0, char::len_utf8);
    Some((&inside[..end], &inside[end + closing..]))
}

fn is_word_start(c: char) -> bool {
    c.is_alphanumeric() || matches!(c, '/' | '-' | '+' | '_' | '#' | '<' | '{')
}

/// A word with what belongs to an address, path, number or id; punctuation that ends a sentence stays outside.
fn split_word(text: &str) -> (&str, &str) {
    if let Some(end) = text.strip_prefix('{').and_then(|inside| inside.find('}')) {
        return text.split_at(end + 2);
    }
    let belongs = |c: char| c.is_alphanumeric() || "/-+_#@.:%&=?,~$<>{}".contains(c);
    let end = text.find(|c: char| !belongs(c)).unwrap_or(text.len());
    let word = text[..end].trim_end_matches(['.', ',', ':', '?', '>', '=', '-']);
    let word = if word.is_empty() { &text[..end] } else { word };
    text.split_at(word.len())
}

fn push_word(word: &str, out: &mut String) {
    if !word.bytes().any(|byte| byte.is_ascii_digit() || matches!(byte, b'@' | b'/')) {
        return out.push_str(word);
    }
    if word.contains("://") {
        out.push_str("{url}");
    } else if is_email(word) {
        out.push_str("{email}");
    } else if word.starts_with('/') && word.len() > 1 {
        out.push_str(&route::template(word));
    } else if uuid::Uuid::try_parse(word).is_ok_and(|_| word.len() == 36) {
        out.push_str("{uuid}");
    } else if is_hex(word) {
        out.push_str("{hex}");
    } else if route::is_token(word) {
        out.push_str("{id}");
    } else {
        push_with_numbers(word, out);
    }
}

/// Whether a text has the form of an e-mail address.
fn is_email(word: &str) -> bool {
    word.split_once('@').is_some_and(|(user, host)| !user.is_empty() && host.contains('.') && !host.contains('@'))
}

/// `0x1f`, or at least eight hexadecimal digits of both kinds.
fn is_hex(word: &str) -> bool {
    let is_hexadecimal = |text: &str| text.bytes().all(|byte| byte.is_ascii_hexdigit());
    if let Some(digits) = word.strip_prefix("0x").or_else(|| word.strip_prefix("0X")) {
        return !digits.is_empty() && is_hexadecimal(digits);
    }
    word.len() >= 8
        && is_hexadecimal(word)
        && word.bytes().any(|byte| byte.is_ascii_digit())
        && word.bytes().any(|byte| byte.is_ascii_alphabetic())
}

/// Replaces the numbers in a word. One or two digits after a letter belong to the word (`OAuth2`, `utf8`, `v1`); dots,
/// commas and colons between digits belong to the number (`1,000.5`, `10:30`).
fn push_with_numbers(word: &str, out: &mut String) {
    let mut rest = word;
    let mut before = out.chars().next_back();
    while let Some(start) = rest.find(|c: char| c.is_ascii_digit()) {
        let (text, number) = rest.split_at(start);
        before = text.chars().next_back().or(before.filter(|_| text.is_empty()));
        let end = number_end(number);
        let is_part = before.is_some_and(char::is_alphabetic) && end <= 2;
        let is_negative = text == "-" && !before_is_word(out);
        out.push_str(if is_negative { "" } else { text });
        out.push_str(if is_part { &number[..end] } else { "{n}" });
        before = number[..end].chars().next_back();
        rest = &number[end..];
    }
    out.push_str(rest);
}

fn before_is_word(out: &str) -> bool {
    out.chars().next_back().is_some_and(|c| c.is_alphanumeric() || c == '}')
}

/// Where a number ends: after its digits, and over single separators between digits.
fn number_end(number: &str) -> usize {
    let bytes = number.as_bytes();
    let mut end = 0;
    while end < bytes.len() {
        let is_separator =
            matches!(bytes[end], b'.' | b',' | b':') && bytes.get(end + 1).is_some_and(u8::is_ascii_digit);
        if !bytes[end].is_ascii_digit() && !is_separator {
            break;
        }
        end += 1;
    }
    end
}
