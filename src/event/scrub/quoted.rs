//! Values that messages quote back: `'hunter22' is too short`, `"password" with value "abc" fails …`.
//!
//! Where a message is known to be about a secret field, every quoted part of it may be the secret and is replaced, but for
//! the field's own name and the words of [`RULE_WORDS`]. In text of no known field, a sentence that quotes a secret name is
//! taken to be about that field.

use super::{REDACTED, names::SecretNames};

/// Words that validators quote to name the rule or the type; compared without case, `-` and `_`.
const RULE_WORDS: [&str; 34] = [
    "required",
    "min",
    "max",
    "minlength",
    "maxlength",
    "minimum",
    "maximum",
    "len",
    "length",
    "gte",
    "lte",
    "gt",
    "lt",
    "eqfield",
    "nefield",
    "format",
    "pattern",
    "type",
    "string",
    "number",
    "integer",
    "boolean",
    "array",
    "object",
    "null",
    "undefined",
    "none",
    "alphanum",
    "enum",
    "unique",
    "blank",
    "empty",
    "confirmed",
    "regex",
];

/// Longest quoted text that is looked at as a field's name, bytes.
const MAX_FIELD: usize = 128;

/// A quoted part of a text, byte offsets without the quotes. One that is never closed ends with the text.
struct Quoted {
    start: usize,
    end: usize,
    /// Of what comes after the closing quote.
    next: usize,
}

/// The text with its quoted parts replaced, but for the name of `field` (a key or a path) and plain words of rules; `None`
/// when nothing was.
pub(super) fn redact_about(field: &str, text: &str) -> Option<String> {
    redacted(text, parts(text, 0).into_iter().filter(|part| may_be_value(text, part, field)))
}

/// The text with the quoted parts replaced of every sentence that quotes a secret name; `None` when nothing was.
///
/// A name that is a key or an attribute of markup (`"password": …`, `name="password"`) says nothing of its neighbours.
pub(super) fn redact_in_sentences(text: &str, names: &SecretNames) -> Option<String> {
    if !text.contains(['"', '\'', '`', '“', '‘', '«']) {
        return None;
    }
    let mut values = Vec::new();
    let mut end = 0;
    for line in text.split_inclusive('\n') {
        let start = end;
        end += line.len();
        let parts = parts(&text[..end], start);
        for sentence in sentences(text, &parts) {
            let Some(name) = sentence.iter().find(|part| is_name_in_prose(&text[start..end], start, part, names))
            else {
                continue;
            };
            let name = &text[name.start..name.end];
            let of_sentence = sentence.iter().filter(|part| may_be_value(text, part, name));
            values.extend(of_sentence.map(|part| Quoted { ..*part }));
        }
    }
    redacted(text, values.into_iter())
}

/// The parts in runs without the end of a sentence between them.
fn sentences<'p>(text: &str, parts: &'p [Quoted]) -> impl Iterator<Item = &'p [Quoted]> {
    parts.chunk_by(move |one, other| {
        let between = &text[one.next..other.start];
        !between.contains(". ") && !between.contains(';')
    })
}

/// Whether a part of the line that begins at `line_start` is a secret name that the line speaks about.
fn is_name_in_prose(line: &str, line_start: usize, part: &Quoted, names: &SecretNames) -> bool {
    let inside = &line[part.start - line_start..part.end - line_start];
    let is_identifier = inside.len() <= MAX_FIELD
        && inside.starts_with(|first: char| first.is_ascii_alphabetic())
        && inside.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-.[]".contains(&byte));
    let before = line[..part.start - line_start].chars().rev().nth(1);
    is_identifier
        && !before.is_some_and(|sign| matches!(sign, '=' | ':' | '[' | '{' | ',' | '\\'))
        && !line[part.next - line_start..].trim_start_matches(' ').starts_with([':', '=', ']', '}'])
        && names.is_secret(inside)
}

/// Whether a quoted part may be the value sent for `field`.
fn may_be_value(text: &str, part: &Quoted, field: &str) -> bool {
    let inside = &text[part.start..part.end];
    // Go's validator.
    let is_tag = text[..part.start].ends_with("failed on the '") && text[part.next..].starts_with(" tag");
    !(is_tag || inside.trim().is_empty() || inside == REDACTED || is_rule_word(inside) || names_field(inside, field))
}

fn redacted(text: &str, values: impl Iterator<Item = Quoted>) -> Option<String> {
    let mut out = String::new();
    let mut copied = 0;
    for value in values {
        out.push_str(&text[copied..value.start]);
        out.push_str(REDACTED);
        copied = value.end;
    }
    (copied > 0).then(|| out + &text[copied..])
}

/// The quoted parts from byte `at` on, in their order. A straight single quote only opens after something that is no letter (`can't`) and
/// closes before something that is none; a backslash keeps the sign after it from closing.
fn parts(text: &str, mut at: usize) -> Vec<Quoted> {
    let mut parts = Vec::new();
    let mut before = None;
    while let Some(open) = text[at..].chars().next() {
        let start = at + open.len_utf8();
        let close: &[char] = match open {
            '"' => &['"'],
            '`' => &['`', '\''],
            '\'' if !before.is_some_and(char::is_alphanumeric) => &['\''],
            '“' | '„' => &['”', '“'],
            '‘' => &['’'],
            '«' => &['»'],
            _ => &[],
        };
        before = Some(open);
        at = start;
        if !close.is_empty() {
            let (end, next) = closing(text, start, close);
            parts.push(Quoted { start, end, next });
            at = next;
        }
    }
    parts
}

/// Where the quote is closed, and what comes after; the end of the text where it is not.
fn closing(text: &str, start: usize, close: &[char]) -> (usize, usize) {
    let mut escaped = false;
    for (offset, sign) in text[start..].char_indices() {
        let next = start + offset + sign.len_utf8();
        let within_word = matches!(sign, '\'' | '’') && text[next..].starts_with(char::is_alphanumeric);
        if close.contains(&sign) && !escaped && !within_word {
            return (start + offset, next);
        }
        escaped = sign == '\\' && !escaped;
    }
    (text.len(), text.len())
}

/// Whether the text is the path or the last name of it.
fn names_field(text: &str, field: &str) -> bool {
    let last = field.rsplit(['/', '.']).find(|step| step.bytes().any(|byte| byte.is_ascii_alphabetic()));
    same_letters(text, field) || last.is_some_and(|last| same_letters(text, last))
}

fn is_rule_word(text: &str) -> bool {
    RULE_WORDS.iter().any(|word| same_letters(text, word))
}

/// Equal without case, separators and positions.
fn same_letters(one: &str, other: &str) -> bool {
    fn letters(text: &str) -> impl Iterator<Item = char> {
        text.chars()
            .filter(|sign| !matches!(sign, '-' | '_' | ' ' | '#' | '$' | '/' | '.' | '[' | ']'))
            .flat_map(char::to_lowercase)
    }
    letters(one).eq(letters(other))
}
