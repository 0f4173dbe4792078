//! Names that stand for people, for those who may see what happened and not to whom.
//!
//! A pseudonym is a keyed hash (HMAC-SHA-256, RFC 2104) of a value within a project: the same in every answer and after every
//! restart, another one in another project, and without the installation's secret nobody can tell it from a guess.

use std::{borrow::Cow, sync::LazyLock};

use regex::Regex;
use ring::hmac;

/// Bytes of an installation's secret.
pub const SECRET_BYTES: usize = 32;

/// Hex digits of a pseudonym: of a million accounts, two share one with odds of one in 560.
const DIGITS: usize = 12; // `{:012x}` below too

/// What in a message may be somebody's: quoted values, e-mail and IP addresses, UUIDs, telephone numbers and long numbers.
/// In the syntax that the `regex` crate and ClickHouse's RE2 share.
pub const PERSONAL: &str = concat!(
    r#""[^"]*"|“[^”]*”|„[^“”]*[“”]|«[^»]*»|‘[^’]*’|`[^`]*`|\B'[^']*'\B"#,
    r"|[A-Za-z0-9_.+%-]+@[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)+",
    r"|[0-9A-Fa-f]{8}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{12}",
    r"|\b[0-9]{1,3}(?:\.[0-9]{1,3}){3}\b|(?:[0-9A-Fa-f]{0,4}:){3,7}[0-9A-Fa-f]{0,4}",
    r"|\+[0-9][0-9 ()/-]{6,}[0-9]|[0-9]{6,}",
);

/// Stands in a message for what may be somebody's.
pub const MASK: &str = "…";

/// Shortest id that is looked for in texts: a shorter one is any number.
pub const SHORTEST_IN_TEXT: usize = 3;

static PERSONAL_REGEX: LazyLock<Option<Regex>> = LazyLock::new(|| Regex::new(PERSONAL).ok());

/// Whom a value names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Person {
    Account,
    User,
}

impl Person {
    const fn prefix(self) -> &'static str {
        match self {
            Self::Account => "acct_",
            Self::User => "user_",
        }
    }
}

/// Makes the pseudonyms of an installation.
#[derive(Clone)]
pub struct Pseudonyms {
    key: hmac::Key,
}

impl std::fmt::Debug for Pseudonyms {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Pseudonyms")
    }
}

impl Pseudonyms {
    #[must_use]
    pub fn new(secret: &[u8; SECRET_BYTES]) -> Self {
        Self { key: hmac::Key::new(hmac::HMAC_SHA256, secret) }
    }

    /// The name that stands for a value in a project: `acct_7f3a09c1d2e4`. Nobody has none.
    #[must_use]
    pub fn of(&self, project: &str, person: Person, value: &str) -> String {
        if value.is_empty() {
            return String::new();
        }
        let mac = self.mac(&[person.prefix(), project, value]);
        let number = mac.iter().take(8).fold(0_u64, |number, byte| number << 8 | u64::from(*byte));
        format!("{}{:012x}", person.prefix(), number >> (64 - 4 * DIGITS))
    }

    /// What is kept of a request id after its events were erased: 16 bytes that say nothing to others.
    #[must_use]
    pub fn of_erased(&self, project: &str, request_id: &str) -> [u8; 16] {
        let mac = self.mac(&["erased", project, request_id]);
        std::array::from_fn(|index| mac[index])
    }

    fn mac(&self, parts: &[&str]) -> [u8; 32] {
        let mut context = hmac::Context::with_key(&self.key);
        for part in parts {
            context.update(part.as_bytes());
            // Ends a part; neither prefixes nor projects hold it.
            context.update(&[0]);
        }
        let tag = context.sign();
        std::array::from_fn(|index| tag.as_ref()[index])
    }
}

/// Whether a text has the form of a pseudonym.
#[must_use]
pub fn is_pseudonym(person: Person, text: &str) -> bool {
    let digits = text.strip_prefix(person.prefix());
    digits.is_some_and(|digits| {
        digits.len() == DIGITS && digits.bytes().all(|digit| matches!(digit, b'0'..=b'9' | b'a'..=b'f'))
    })
}

/// A message without what may be somebody's.
#[must_use]
pub fn masked(message: &str) -> Cow<'_, str> {
    match &*PERSONAL_REGEX {
        Some(regex) => regex.replace_all(message, MASK),
        // A test compiles it. Were it wrong, nothing would be shown.
        None => Cow::Borrowed(MASK),
    }
}

/// A text in which an id, where it stands as a word, is replaced.
#[must_use]
pub fn without_word(text: &str, id: &str, instead: &str) -> String {
    if id.len() < SHORTEST_IN_TEXT || !text.contains(id) {
        return text.to_owned();
    }
    let is_part = |c: char| c.is_alphanumeric() || c == '_';
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find(id) {
        let (before, after) = (&rest[..at], &rest[at + id.len()..]);
        let is_word = !before.chars().next_back().or(out.chars().next_back()).is_some_and(is_part)
            && !after.chars().next().is_some_and(is_part);
        out.push_str(before);
        out.push_str(if is_word { instead } else { id });
        rest = after;
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pseudonym_is_stable_by_secret_project_and_kind() {
        let ours = Pseudonyms::new(&[7; SECRET_BYTES]);
        let name = ours.of("shop", Person::Account, "17");
        assert!(is_pseudonym(Person::Account, &name), "{name}");
        assert_eq!(name, Pseudonyms::new(&[7; SECRET_BYTES]).of("shop", Person::Account, "17"));
        let others = [
            Pseudonyms::new(&[8; SECRET_BYTES]).of("shop", Person::Account, "17"),
            ours.of("other", Person::Account, "17"),
            ours.of("shop", Person::Account, "18"),
            ours.of("shop", Person::User, "17").replace("user_", "acct_"),
        ];
        assert!(!others.contains(&name), "{others:?}");
        assert_eq!(ours.of("shop", Person::Account, ""), "");
        for text in ["acct_", "acct_7F3A09C1D2E4", "acct_7f3a", "user_7f3a09c1d2e4", "17"] {
            assert!(!is_pseudonym(Person::Account, text), "{text}");
        }
    }

    #[test]
    fn messages_keep_their_words_and_lose_what_may_be_somebodys() {
        for (message, expected) in [
            ("Password must be at least 8 characters", "Password must be at least 8 characters"),
            ("\"watercolor\" is not a valid choice.", "… is not a valid choice."),
            ("KeyError: 'endpoint'", "KeyError: …"),
            ("Don't send what you can't name", "Don't send what you can't name"),
            ("User with email anna@shop.example already exists", "User with email … already exists"),
            ("from 192.0.2.7, not 2001:db8::7:1", "from …, not …"),
            ("Call +49 170 1234567 or 0301234567", "Call … or …"),
            ("site 550e8400-e29b-41d4-a716-446655440000 is gone", "site … is gone"),
        ] {
            assert_eq!(masked(message), expected);
        }
    }

    #[test]
    fn an_id_is_replaced_where_it_is_a_word() {
        assert_eq!(without_word("account acme1 (acme12) of acme1", "acme1", "x"), "account x (acme12) of x");
        assert_eq!(without_word("at least 17 characters", "17", "x"), "at least 17 characters");
    }
}
