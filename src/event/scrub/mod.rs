//! Scrubbing: secrets and personal values are replaced before anything is stored.
//!
//! Two things tell a secret: the *name* of what holds it (`password`, `X-Api-Key`; see `names.rs`) and its *look* in running
//! text (a bearer token, an e-mail address; see `text.rs`). A value under a secret name becomes `[redacted]`, whatever its
//! type. What looks like a secret becomes its label (`[email]`), or a keyed token (`[email:3f9a2c51d0be]`) where a key is
//! configured, so that equal values stay comparable without being readable.
//!
//! Error bodies are the exception that needs care: `{"errors": {"password": ["This field is required"]}}` holds a message
//! *about* a password and none. `json.rs` states the rule,
//! and `quoted.rs` how values are told that such a message quotes back.

mod cards;
mod config;
mod json;
mod names;
mod quoted;
mod text;

use std::borrow::Cow;

use serde_json::Value;

pub use self::{
    config::{HashKey, Pattern, ScrubConfig, ScrubError},
    json::Shape,
};
use self::{names::SecretNames, text::TextRules};

/// Longest word in which no rule finds anything, bytes: a card number has 13 digits at least, a token more.
const PLAIN_WORD: usize = 12;

/// What stands in for a value under a secret name.
pub const REDACTED: &str = "[redacted]";

/// What to replace. Made once from configuration; every call only reads it.
#[derive(Debug)]
pub struct Scrubber {
    names: SecretNames,
    texts: TextRules,
}

impl Scrubber {
    /// Compiles the rules.
    ///
    /// # Errors
    /// When a configured pattern is no regular expression, a label is not plain, a name is empty, or the key is too short.
    pub fn new(config: &ScrubConfig) -> Result<Self, ScrubError> {
        config.check()?;
        let names = SecretNames::new(&config.secret_names);
        let texts = TextRules::new(config)?;
        Ok(Self { names, texts })
    }

    /// Replaces what looks like a secret or a personal value in running text; borrowed when nothing did.
    #[must_use]
    pub fn text<'t>(&self, text: &'t str) -> Cow<'t, str> {
        let text = self.texts.apply(text, &self.names, text::Cards::Replace);
        match quoted::redact_in_sentences(&text, &self.names) {
            Some(redacted) => Cow::Owned(redacted),
            None => text,
        }
    }

    /// As [`Scrubber::text`], for a value that identifies something: a long number is an id here and no card number.
    #[must_use]
    pub fn identifier<'t>(&self, text: &'t str) -> Cow<'t, str> {
        self.texts.apply(text, &self.names, text::Cards::Keep)
    }

    /// Scrubs a JSON value in place; whether anything was replaced.
    pub fn json(&self, value: &mut Value, shape: Shape) -> bool {
        json::scrub(self, value, shape)
    }

    /// Scrubs a path or URL and drops its query string and fragment.
    #[must_use]
    pub fn path<'t>(&self, target: &'t str) -> Cow<'t, str> {
        let end = target.find(['?', '#']).unwrap_or(target.len());
        self.text(&target[..end])
    }

    /// Whether a text is surely left as it is, told without the rules: a short word of letters, digits and `._-`. Every rule looks
    /// for a longer one, or for a sign that is not among these.
    #[must_use]
    pub fn leaves(&self, text: &str) -> bool {
        let is_part = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
        text.len() <= PLAIN_WORD && text.bytes().all(is_part) && !self.has_own_patterns()
    }

    /// Whether the configuration has patterns of its own, which may find anything anywhere.
    #[must_use]
    pub fn has_own_patterns(&self) -> bool {
        self.texts.has_extra()
    }

    /// Whether a value of this name is a secret whatever it looks like: a JSON key, a header, a query parameter.
    #[must_use]
    pub fn is_secret_name(&self, name: &str) -> bool {
        self.names.is_secret(name)
    }
}

/// A scrubbed text with its keyed tokens as plain labels (`[email:3f9a2c51d0be]` → `[email]`), so that what is grouped by
/// it does not split by person.
#[must_use]
pub fn without_tokens(text: &str) -> Cow<'_, str> {
    text::without_tokens(text)
}

impl Default for Scrubber {
    fn default() -> Self {
        Self::new(&ScrubConfig::default())
            .unwrap_or_else(|error| unreachable!("the built-in rules always compile: {error}"))
    }
}

#[cfg(test)]
mod tests;
