//! Request ids: 1–128 visible ASCII characters, any form; UUIDs are matched case-insensitively.

use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::Xxh3;

/// Longest request id, in bytes (HTTP contract).
pub const MAX_LEN: usize = 128;

/// Prefix of ids the collector makes for events that carry none.
pub const GENERATED_PREFIX: &str = "gen_";

/// A valid request id in its canonical form: a UUID in lower case, anything else as sent.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct RequestId(String);

/// Why a text is no request id. The texts are shown to clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RequestIdError {
    #[error("must not be empty: send the id your API returned to its client")]
    Empty,
    #[error("must have at most {MAX_LEN} characters")]
    TooLong,
    #[error("must be visible ASCII characters only (no spaces, no control characters)")]
    NotVisibleAscii,
}

impl RequestId {
    /// Parses a text into its canonical form; white space around it is dropped.
    ///
    /// # Errors
    /// When it is empty, longer than [`MAX_LEN`], or has other than visible ASCII characters.
    pub fn parse(text: &str) -> Result<Self, RequestIdError> {
        let text = text.trim();
        if text.is_empty() {
            return Err(RequestIdError::Empty);
        }
        if text.len() > MAX_LEN {
            return Err(RequestIdError::TooLong);
        }
        if !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(RequestIdError::NotVisibleAscii);
        }
        let is_uuid = text.len() == 36 && uuid::Uuid::try_parse(text).is_ok();
        Ok(Self(if is_uuid { text.to_ascii_lowercase() } else { text.to_owned() }))
    }

    /// A new id for an event that carries none.
    #[must_use]
    pub fn generate() -> Self {
        Self(format!("{GENERATED_PREFIX}{}", uuid::Uuid::new_v4().simple()))
    }

    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The 64-bit lookup key of this id within a project: what the lookup index is ordered by.
    ///
    /// Part of the stored format: it never changes.
    #[must_use]
    pub fn lookup_key(&self, project: &str) -> u64 {
        let mut hasher = Xxh3::new();
        hasher.update(project.as_bytes());
        hasher.update(&[0]);
        hasher.update(self.0.as_bytes());
        hasher.digest()
    }
}

impl std::fmt::Display for RequestId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uuids_fold_case_and_other_ids_keep_it() {
        let id = |text| RequestId::parse(text).unwrap().as_str().to_owned();
        assert_eq!(id("550E8400-E29B-41D4-A716-446655440000"), "550e8400-e29b-41d4-a716-446655440000");
        assert_eq!(id("01M7KE1BA6MR36ZXJN6Q6ZD31W"), "01M7KE1BA6MR36ZXJN6Q6ZD31W");
        assert_eq!(id(" req_Ab3 "), "req_Ab3");
    }

    #[test]
    fn what_is_no_id_is_refused() {
        assert_eq!(RequestId::parse("  "), Err(RequestIdError::Empty));
        assert_eq!(RequestId::parse(&"a".repeat(129)), Err(RequestIdError::TooLong));
        assert_eq!(RequestId::parse("a b"), Err(RequestIdError::NotVisibleAscii));
        assert_eq!(RequestId::parse("é"), Err(RequestIdError::NotVisibleAscii));
        assert!(RequestId::parse(&"a".repeat(128)).is_ok());
    }

    #[test]
    fn projects_do_not_share_lookup_keys() {
        let id = RequestId::parse("req_1").unwrap();
        assert_ne!(id.lookup_key("a"), id.lookup_key("b"));
    }
}
