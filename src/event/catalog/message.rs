//! Comparing messages: the normal form, and patterns with `{n}` and `{value}`.

use std::borrow::Cow;

use regex::Regex;

/// The normal form in which messages are compared: lower case, no white space around, no trailing periods.
#[must_use]
pub fn normalise(message: &str) -> Cow<'_, str> {
    let trimmed = message.trim().trim_end_matches('.').trim_end();
    if trimmed.chars().any(char::is_uppercase) { Cow::Owned(trimmed.to_lowercase()) } else { Cow::Borrowed(trimmed) }
}

/// A catalog's message, ready to be compared with normal forms.
#[derive(Clone, Debug)]
pub(super) enum Text {
    /// In normal form.
    Exact(String),
    Pattern(Pattern),
}

/// A message with variable parts.
#[derive(Clone, Debug)]
pub(super) struct Pattern {
    /// What every match begins with; skips most patterns without a search.
    prefix: String,
    regex: Regex,
    /// The pattern in normal form: its identity.
    source: String,
    numbers: usize,
}

impl Text {
    /// A message in which `{n}` and `{value}` stand for variable parts, if it has any.
    pub(super) fn new(message: &str) -> Result<Self, String> {
        let pieces = split(message)?;
        if pieces.iter().all(|piece| matches!(piece, Piece::Literal(_))) {
            return Ok(Self::exact(message));
        }
        Pattern::new(&pieces).map(Self::Pattern)
    }

    /// A message taken literally.
    pub(super) fn exact(message: &str) -> Self {
        Self::Exact(normalise(message).into_owned())
    }

    /// What tells two texts apart.
    pub(super) fn identity(&self) -> &str {
        match self {
            Self::Exact(text) => text,
            Self::Pattern(pattern) => &pattern.source,
        }
    }

    pub(super) fn matches(&self, normal: &str) -> bool {
        match self {
            Self::Exact(text) => text == normal,
            Self::Pattern(pattern) => pattern.matches(normal),
        }
    }

    /// How many `{n}` the text has.
    pub(super) fn numbers(&self) -> usize {
        match self {
            Self::Exact(_) => 0,
            Self::Pattern(pattern) => pattern.numbers,
        }
    }

    /// The number that the first `{n}` stands for in a message that matches.
    pub(super) fn number<'m>(&self, normal: &'m str) -> Option<&'m str> {
        match self {
            Self::Exact(_) => None,
            Self::Pattern(pattern) => {
                pattern.regex.captures(normal).and_then(|found| found.get(1)).map(|number| number.as_str())
            }
        }
    }
}

impl Pattern {
    fn new(pieces: &[Piece<'_>]) -> Result<Self, String> {
        let adjacent = pieces.windows(2).any(|pair| pair.iter().all(|piece| !matches!(piece, Piece::Literal(_))));
        if adjacent {
            return Err("bad pattern: two placeholders need text between them".to_owned());
        }
        if !pieces.iter().any(|piece| matches!(piece, Piece::Literal(text) if text.chars().any(char::is_alphanumeric)))
        {
            return Err("bad pattern: it would match any message; add words around the placeholder".to_owned());
        }
        let (mut expression, mut source) = ("(?s)^".to_owned(), String::new());
        for (index, piece) in pieces.iter().enumerate() {
            let (expected, written) = match piece {
                Piece::Number => (r"([-+]?\d+(?:[.,]\d+)*)".to_owned(), "{n}".to_owned()),
                Piece::Value => ("(?:.+?)".to_owned(), "{value}".to_owned()),
                Piece::Literal(text) => {
                    let mut text = text.to_lowercase();
                    if index == 0 {
                        text = text.trim_start().to_owned();
                    }
                    if index + 1 == pieces.len() {
                        text = text.trim_end().trim_end_matches('.').trim_end().to_owned();
                    }
                    (regex::escape(&text), text)
                }
            };
            expression.push_str(&expected);
            source.push_str(&written);
        }
        expression.push('$');
        let regex = Regex::new(&expression).map_err(|error| format!("bad pattern: {error}"))?;
        let prefix = source.split('{').next().unwrap_or_default().to_owned();
        let numbers = pieces.iter().filter(|piece| matches!(piece, Piece::Number)).count();
        Ok(Self { prefix, regex, source, numbers })
    }

    fn matches(&self, normal: &str) -> bool {
        normal.starts_with(&self.prefix) && self.regex.is_match(normal)
    }
}

enum Piece<'a> {
    Literal(&'a str),
    Number,
    Value,
}

fn split(message: &str) -> Result<Vec<Piece<'_>>, String> {
    let mut pieces = Vec::new();
    let mut rest = message.trim();
    while let Some(open) = rest.find(['{', '}']) {
        let (literal, from) = rest.split_at(open);
        let Some(close) = from.find('}').filter(|_| from.starts_with('{')) else {
            return Err("bad pattern: a brace without its counterpart".to_owned());
        };
        if !literal.is_empty() {
            pieces.push(Piece::Literal(literal));
        }
        pieces.push(match &from[..=close] {
            "{n}" => Piece::Number,
            "{value}" => Piece::Value,
            other => return Err(format!("unknown placeholder {other}: a message takes {{n}} and {{value}}")),
        });
        rest = &from[close + 1..];
    }
    if !rest.is_empty() {
        pieces.push(Piece::Literal(rest));
    }
    Ok(pieces)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn case_white_space_and_trailing_periods_do_not_tell_messages_apart() {
        for message in ["This field is required", " this Field is required. ", "THIS FIELD IS REQUIRED.."] {
            assert_eq!(normalise(message), "this field is required", "{message}");
        }
        assert_eq!(normalise("..."), "");
        assert_eq!(normalise("EINE GÜLTIGE ZAHL"), "eine gültige zahl");
    }

    #[test]
    fn a_pattern_matches_the_whole_message_and_yields_its_number() {
        let text = Text::new("Ensure this has at least {n} characters.").unwrap();
        let normal = normalise("ensure THIS has at least 1,000 characters");
        assert!(text.matches(&normal));
        assert_eq!(text.number(&normal), Some("1,000"));
        assert!(!text.matches("ensure this has at least 8 characters or more"));
        assert!(!text.matches("please ensure this has at least 8 characters"));
        assert!(!text.matches("ensure this has at least eight characters"));
        assert!(Text::new("Task {value} is (running)").unwrap().matches("task a.b\nc is (running)"));
    }

    #[test]
    fn bad_patterns_say_what_is_wrong() {
        let error = |text| Text::new(text).err().unwrap();
        assert!(error("{value}").contains("any message"));
        assert!(error("a {n}{value}").contains("between"));
        assert!(error("a {n").contains("brace"));
        assert!(error("a } b {n}").contains("brace"));
        assert!(error("a {count} b").contains("{count}"));
    }
}
