//! What a deployment may add to the built-in rules.

use serde::{Deserialize, Serialize};

/// Shortest key for keyed tokens, bytes: a shorter one could be guessed from a few known addresses.
const MIN_KEY_LEN: usize = 16;

/// The `[scrub]` section of the configuration. Secrets are always replaced; only what is personal can be kept.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ScrubConfig {
    /// Replace e-mail addresses.
    pub emails: bool,
    /// Replace payment card numbers (13–19 digits that pass the Luhn check).
    pub card_numbers: bool,
    /// More names whose values are secrets; case, `-` and `_` do not matter, and `x` also matches `my_x`.
    pub secret_names: Vec<String>,
    /// More texts to replace.
    pub patterns: Vec<Pattern>,
    /// With a key, e-mail addresses and the like become stable tokens (`[email:3f9a2c51d0be]`) instead of labels.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hash_key: Option<HashKey>,
}

impl Default for ScrubConfig {
    fn default() -> Self {
        Self { emails: true, card_numbers: true, secret_names: Vec::new(), patterns: Vec::new(), hash_key: None }
    }
}

impl ScrubConfig {
    pub(super) fn check(&self) -> Result<(), ScrubError> {
        for name in &self.secret_names {
            if !name.bytes().any(|byte| byte.is_ascii_alphanumeric()) {
                return Err(ScrubError::Name(name.clone()));
            }
        }
        for Pattern { label, .. } in &self.patterns {
            let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b' ');
            if label.is_empty() || !label.bytes().all(plain) {
                return Err(ScrubError::Label(label.clone()));
            }
        }
        match &self.hash_key {
            Some(key) if key.0.len() < MIN_KEY_LEN => Err(ScrubError::ShortKey),
            _ => Ok(()),
        }
    }
}

/// A text to replace.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pattern {
    /// Regular expression; the whole match is replaced.
    pub pattern: String,
    /// What stands in its place, in brackets: `customer_no` becomes `[customer_no]`.
    pub label: String,
}

/// The secret of keyed tokens; never printed, and serialised as asterisks.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct HashKey(pub(super) String);

impl HashKey {
    #[must_use]
    pub fn new(key: impl Into<String>) -> Self {
        Self(key.into())
    }
}

impl Serialize for HashKey {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str("********")
    }
}

impl std::fmt::Debug for HashKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("HashKey(***)")
    }
}

/// Why a scrub configuration is not taken.
#[derive(Debug, thiserror::Error)]
pub enum ScrubError {
    #[error("scrub.patterns: {pattern:?} is no regular expression: {source}")]
    Pattern { pattern: String, source: Box<regex::Error> },
    #[error("scrub.patterns: label {0:?} must be letters, digits, spaces, '_' or '-'")]
    Label(String),
    #[error("scrub.secret_names: {0:?} has no letter or digit")]
    Name(String),
    #[error("scrub.hash_key must have at least {MIN_KEY_LEN} bytes: make one with `openssl rand -hex 32`")]
    ShortKey,
}
