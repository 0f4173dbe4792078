//! Secrets and personal values in running text, told by their look.
//!
//! Most texts hold none, so every text is first put to one combined set of cheap triggers; only the rules whose trigger
//! is found run. Rules run in the order of [`BUILT_IN`], each on what the one before left.

use std::{borrow::Cow, sync::LazyLock};

use regex::{Captures, Regex, RegexSet};
use sha2::{Digest, Sha256};

use super::{HashKey, REDACTED, ScrubConfig, ScrubError, cards, names::SecretNames};

/// What a rule finds, its trigger, and its regular expression.
const BUILT_IN: [(Kind, &str, &str); 7] = [
    (
        Kind::Label("private_key"),
        "-----BEGIN ",
        r"-----BEGIN [A-Z0-9 ]*PRIVATE KEY[A-Z ]*-----(?s:.*?)(?:-----END [A-Z0-9 ]*PRIVATE KEY[A-Z ]*-----|\z)",
    ),
    (
        Kind::Scheme,
        r"(?i-u)(?:bearer|basic|digest|token|apikey) +[a-z0-9._~+/-]",
        r"(?i)\b(?:bearer|basic|digest|token|apikey) +([A-Za-z0-9._~+/-]{8,}=*)",
    ),
    (Kind::Keyed("jwt"), "eyJ", r"\beyJ[A-Za-z0-9_-]{5,}\.[A-Za-z0-9_-]{5,}(?:\.[A-Za-z0-9_-]*)*"),
    (
        Kind::KeyedIfRandom("api_key"),
        "_(?:live|test|prod|sandbox)_",
        r"\b[a-z]{2,8}_(?:live|test|prod|sandbox)_([A-Za-z0-9]{8,})",
    ),
    (
        Kind::Keyed("api_key"),
        r"(?-u)AKIA|ASIA|gh[opsur]_|github_pat_|xox[a-z]-|glpat-|AIza|sk-|SG\.|npm_|hf_|shpat_|whsec_|ig[tk]_",
        r"(?x)\b(?: (?:AKIA|ASIA)[A-Z0-9]{16}
            | gh[opsur]_[A-Za-z0-9]{20,} | github_pat_[A-Za-z0-9_]{20,} | xox[a-z]-[A-Za-z0-9-]{10,}
            | glpat-[A-Za-z0-9_-]{16,} | AIza[A-Za-z0-9_-]{30,} | sk-[A-Za-z0-9_-]{20,}
            | SG\.[A-Za-z0-9_-]{16,}\.[A-Za-z0-9_-]{16,} | (?:npm|hf|shpat|whsec|igt|igk)_[A-Za-z0-9]{20,} )",
    ),
    (Kind::UserInfo, "://[^ /@]*:[^ /@]*@", r"://[^\s/@]*:([^\s/@]+)@"),
    (Kind::Keyed("email"), "(?-u)@|%40", r"[\p{L}\p{N}._%+'-]+(?:@|%40)[\p{L}\p{N}-]+(?:\.[\p{L}\p{N}-]+)*\.\p{L}{2,}"),
];

/// Digits of a keyed token.
const TOKEN_DIGITS: usize = 12;

/// A name, a sign, and the quote that opens the value, if any. The value itself is read by hand and only for secret
/// names, so that a text full of signs costs no more than its length.
const ASSIGNMENT: &str =
    r#"(?x)([A-Za-z][A-Za-z0-9_.\[\]-]*) ( \\?["']? [\ \t]{0,2} [=:] [\ \t]{0,2} ) (?:\\?(["']))?"#;

/// A number with at least as many digits as the shortest card's.
const DIGITS: &str = "(?-u)[0-9](?:[ -]?[0-9]){12}";

/// Whether long numbers may be card numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cards {
    Replace,
    Keep,
}

/// What a rule does with what it found.
#[derive(Clone, Debug)]
enum Kind {
    /// The whole match becomes `[label]`.
    Label(&'static str),
    /// The whole match becomes `[label]`, or a keyed token.
    Keyed(&'static str),
    /// As `Keyed`, where the first group is no word: tables are called `my_test_articles` too.
    KeyedIfRandom(&'static str),
    /// As `Keyed`, for a configured pattern.
    Extra(String),
    /// Credentials after the name of an authentication scheme.
    Scheme,
    /// The password of `://user:password@`.
    UserInfo,
    /// The value given to a secret name.
    Assignment,
    /// A payment card number; found by [`cards`], not by a regular expression.
    Card,
}

/// All rules, compiled.
#[derive(Debug)]
pub(super) struct TextRules {
    triggers: RegexSet,
    /// In the order of the triggers.
    rules: Vec<(Kind, Regex)>,
    has_extra: bool,
    hash_key: Option<HashKey>,
}

impl TextRules {
    pub(super) fn new(config: &ScrubConfig) -> Result<Self, ScrubError> {
        let assignment = SecretNames::new(&config.secret_names).assignment_trigger();
        let mut sources: Vec<(Kind, String, &str)> = Vec::new();
        for (kind, trigger, pattern) in BUILT_IN {
            if config.emails || !matches!(kind, Kind::Keyed("email")) {
                sources.push((kind, trigger.to_owned(), pattern));
            }
        }
        // Before e-mail addresses: a value that holds one goes as a whole.
        sources.insert(6, (Kind::Assignment, assignment, ASSIGNMENT));
        if config.card_numbers {
            sources.push((Kind::Card, DIGITS.to_owned(), DIGITS));
        }
        for extra in &config.patterns {
            sources.push((Kind::Extra(extra.label.clone()), extra.pattern.clone(), &extra.pattern));
        }
        let bad = |pattern: &str, source| ScrubError::Pattern { pattern: pattern.to_owned(), source: Box::new(source) };
        let mut rules = Vec::with_capacity(sources.len());
        for (kind, _, pattern) in &sources {
            rules.push((kind.clone(), Regex::new(pattern).map_err(|error| bad(pattern, error))?));
        }
        let triggers = RegexSet::new(sources.iter().map(|(_, trigger, _)| trigger))
            .map_err(|error| bad("all patterns together", error))?;
        Ok(Self { triggers, rules, has_extra: !config.patterns.is_empty(), hash_key: config.hash_key.clone() })
    }

    pub(super) fn has_extra(&self) -> bool {
        self.has_extra
    }

    pub(super) fn apply<'t>(&self, text: &'t str, names: &SecretNames, cards: Cards) -> Cow<'t, str> {
        if !self.triggers.is_match(text) {
            return Cow::Borrowed(text);
        }
        let mut text = Cow::Borrowed(text);
        for index in &self.triggers.matches(&text) {
            let (kind, find) = &self.rules[index];
            let replaced = match kind {
                Kind::Card if cards == Cards::Keep => None,
                Kind::Card => self.replace_cards(&text),
                _ => self.replace(&text, kind, find, names),
            };
            if let Some(replaced) = replaced {
                text = Cow::Owned(replaced);
            }
        }
        text
    }

    /// The text with all finds of one rule replaced; `None` when there were none.
    fn replace(&self, text: &str, kind: &Kind, find: &Regex, names: &SecretNames) -> Option<String> {
        let mut out = String::new();
        let (mut copied, mut at) = (0, 0);
        while let Some(found) = find.captures_at(text, at) {
            let whole = found.get_match();
            match self.verdict(text, kind, &found, names) {
                Verdict::Replace(range, with) => {
                    out.push_str(&text[copied..range.start]);
                    out.push_str(&with);
                    copied = range.end;
                    at = range.end;
                }
                Verdict::ResumeAt(next) => at = next,
            }
            if whole.is_empty() {
                // Only a configured pattern can match nothing; step over one character.
                let Some(next) = text[at..].chars().next() else { break };
                at += next.len_utf8();
            }
        }
        (copied > 0).then(|| out + &text[copied..])
    }

    fn verdict(&self, text: &str, kind: &Kind, found: &Captures<'_>, names: &SecretNames) -> Verdict {
        let whole = found.get_match();
        match kind {
            Kind::Label(label) => Verdict::Replace(whole.range(), format!("[{label}]")),
            Kind::Keyed(label) => Verdict::Replace(whole.range(), self.token(label, whole.as_str())),
            Kind::KeyedIfRandom(label) if found.get(1).is_some_and(|tail| is_random(tail.as_str(), 8)) => {
                Verdict::Replace(whole.range(), self.token(label, whole.as_str()))
            }
            Kind::Extra(_) if whole.is_empty() => Verdict::ResumeAt(whole.end()),
            Kind::Extra(label) => Verdict::Replace(whole.range(), self.token(label, whole.as_str())),
            Kind::Scheme | Kind::UserInfo => match found.get(1) {
                Some(value) if value.as_str() == REDACTED => Verdict::ResumeAt(whole.end()),
                Some(value) if matches!(kind, Kind::UserInfo) || is_random(value.as_str(), 8) => {
                    Verdict::Replace(value.range(), REDACTED.to_owned())
                }
                _ => Verdict::ResumeAt(whole.end()),
            },
            Kind::Assignment => assignment(text, found, names, self.hash_key.is_some()),
            Kind::KeyedIfRandom(_) | Kind::Card => Verdict::ResumeAt(whole.end()),
        }
    }

    fn replace_cards(&self, text: &str) -> Option<String> {
        let mut out = String::new();
        let mut copied = 0;
        while let Some(card) = cards::find(text, copied) {
            out.push_str(&text[copied..card.start]);
            let digits: String = text[card.clone()].chars().filter(char::is_ascii_digit).collect();
            out.push_str(&self.token("card", &digits));
            copied = card.end;
        }
        (copied > 0).then(|| out + &text[copied..])
    }

    /// `[label]`, or `[label:…]` with 48 bits of HMAC-SHA-256 over the label and the value in lower case.
    fn token(&self, label: &str, value: &str) -> String {
        let Some(HashKey(key)) = &self.hash_key else { return format!("[{label}]") };
        let value = value.replace("%40", "@").to_lowercase();
        let mac = hmac_sha256(key.as_bytes(), &[label.as_bytes(), &[0], value.as_bytes()]);
        let digits = mac[..6].iter().fold(0_u64, |digits, &byte| digits << 8 | u64::from(byte));
        format!("[{label}:{digits:012x}]")
    }
}

enum Verdict {
    Replace(std::ops::Range<usize>, String),
    /// No secret here; look on from this byte.
    ResumeAt(usize),
}

/// A value given to a secret name is one, except in prose (`token: expired`, `if token == None`): with a colon or spaces
/// around the sign, a bare word counts only if it looks made by a machine. A keyed token is left alone where there are such.
fn assignment(text: &str, found: &Captures<'_>, names: &SecretNames, has_tokens: bool) -> Verdict {
    let start = found.get_match().end();
    let (Some(name), Some(sign)) = (found.get(1), found.get(2)) else { return Verdict::ResumeAt(start) };
    if !names.is_secret(name.as_str()) {
        // What follows may itself be an assignment: `Cookie: sessionid=…`.
        return Verdict::ResumeAt(start);
    }
    let quote = found.get(3).and_then(|quote| quote.as_str().chars().next());
    let ends = |letter: char| match quote {
        Some(quote) => letter == quote || letter == '\\',
        None => letter.is_whitespace() || "\"'&,;<>(){}\\".contains(letter),
    };
    let rest = &text[start..];
    let value = &rest[..rest.find(ends).unwrap_or(rest.len())];
    let is_value = sign.as_str() == "=" || quote.is_some() || is_random(value, 4);
    let is_token = has_tokens
        && sign.as_str() == ":"
        && text[..name.start()].ends_with('[')
        && value.strip_suffix(']').is_some_and(|digits| digits.len() == TOKEN_DIGITS && is_lower_hex(digits));
    if value.is_empty() || value == REDACTED || is_token || !is_value {
        return Verdict::ResumeAt(start);
    }
    Verdict::Replace(start..start + value.len(), REDACTED.to_owned())
}

fn is_lower_hex(text: &str) -> bool {
    text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

/// Whether a word is no word of a language: it has a digit, or is very long.
fn is_random(word: &str, min: usize) -> bool {
    word.len() >= min && (word.bytes().any(|byte| byte.is_ascii_digit()) || word.len() >= 32)
}

/// A scrubbed text with its keyed tokens as plain labels (`[email:3f9a2c51d0be]` → `[email]`): what statistics group by.
pub(super) fn without_tokens(text: &str) -> Cow<'_, str> {
    static TOKEN: LazyLock<Option<Regex>> = LazyLock::new(|| Regex::new(r"\[([A-Za-z0-9_ -]+):[0-9a-f]{12}\]").ok());
    match &*TOKEN {
        Some(token) if text.contains('[') => token.replace_all(text, "[$1]"),
        _ => Cow::Borrowed(text),
    }
}

/// RFC 2104 over SHA-256.
fn hmac_sha256(key: &[u8], parts: &[&[u8]]) -> [u8; 32] {
    const BLOCK: usize = 64;
    let mut block = [0_u8; BLOCK];
    if key.len() > BLOCK {
        block[..32].copy_from_slice(&Sha256::digest(key));
    } else {
        block[..key.len()].copy_from_slice(key);
    }
    let mut inner = Sha256::new_with_prefix(block.map(|byte| byte ^ 0x36));
    for part in parts {
        inner.update(part);
    }
    let outer = Sha256::new_with_prefix(block.map(|byte| byte ^ 0x5c)).chain_update(inner.finalize());
    outer.finalize().into()
}

#[cfg(test)]
mod tests {
    #[test]
    fn hmac_agrees_with_rfc_4231() {
        let mac = super::hmac_sha256(b"Jefe", &[b"what do ya want ", b"for nothing?"]);
        assert_eq!(mac[..6], [0x5b, 0xdc, 0xc1, 0x46, 0xbf, 0x60]);
        let mac = super::hmac_sha256(&[0xaa; 131], &[b"Test Using Larger Than Block-Size Key - Hash Key First"]);
        assert_eq!(mac[..6], [0x60, 0xe4, 0x31, 0x59, 0x1e, 0xe0]);
    }
}
