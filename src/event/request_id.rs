//! Request ids: 1–128 visible ASCII characters, any form; UUIDs are matched case-insensitively.

use std::collections::HashSet;

use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::{Xxh3, xxh3_64};

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

    /// Whether [`Self::parse`] takes a text and leaves it as it is.
    #[must_use]
    pub fn is_canonical(text: &str) -> bool {
        let is_id = (1..=MAX_LEN).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic());
        let is_lower = || !text.bytes().any(|byte| byte.is_ascii_uppercase());
        is_id && (text.len() != 36 || is_lower() || uuid::Uuid::try_parse(text).is_err())
    }

    /// An id whose text was found to be canonical before.
    pub(super) fn of_canonical(text: &str) -> Self {
        Self(text.to_owned())
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

    /// When the id was made, milliseconds since the Unix epoch, if its form says so (ULID, UUID of version 1, 6 or 7).
    #[must_use]
    pub fn made_at_ms(&self) -> Option<i64> {
        if let Some(ms) = ulid_ms(&self.0) {
            return Some(ms);
        }
        let (seconds, nanoseconds) = uuid::Uuid::try_parse(&self.0).ok()?.get_timestamp()?.to_unix();
        i64::try_from(seconds).ok()?.checked_mul(1000)?.checked_add(i64::from(nanoseconds / 1_000_000))
    }

    /// The 64-bit lookup key of this id within a project: what the lookup index is ordered by.
    ///
    /// Part of the stored format: it never changes.
    #[must_use]
    pub fn lookup_key(&self, project: &str) -> u64 {
        lookup_key(&self.0, project)
    }
}

/// [`RequestId::lookup_key`] of an id in its canonical form.
#[must_use]
pub fn lookup_key(id: &str, project: &str) -> u64 {
    const ON_STACK: usize = 240;
    let length = project.len() + 1 + id.len();
    if length > ON_STACK {
        let mut hasher = Xxh3::new();
        hasher.update(project.as_bytes());
        hasher.update(&[0]);
        hasher.update(id.as_bytes());
        return hasher.digest();
    }
    let mut text = [0; ON_STACK];
    text[..project.len()].copy_from_slice(project.as_bytes());
    text[project.len() + 1..length].copy_from_slice(id.as_bytes());
    xxh3_64(&text[..length])
}

/// A word of a text that is, or may be, a request id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    pub id: RequestId,
    /// It has the form of an id (UUID, ULID, `req_…`, 32 hex digits), or the text calls it one (`Request ID: fa-1`); else it is only a word with a digit in it, such as a
    /// gateway's own kind of id, and an unknown one is no news.
    pub is_certain: bool,
}

/// Shortest word that may be an id without having a known form.
const SHORTEST_WORD: usize = 8;

/// Every request id in a free text, in its order, each once; at most `limit`, certain ones first when there are more.
#[must_use]
pub fn find_all(text: &str, limit: usize) -> Vec<Candidate> {
    let mut seen = HashSet::new();
    let mut found = Vec::new();
    let mut label = Label::default();
    for word in text.split(|c: char| !(c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | '~' | ':'))) {
        let labelled = label.read(word);
        for part in [Some(word), word.rsplit_once(':').map(|(_, value)| value)].into_iter().flatten() {
            let candidate = candidate(part.trim_matches(['.', ':', '-', '~']), labelled);
            found.extend(candidate.filter(|candidate| seen.insert(candidate.id.clone())));
        }
    }
    if found.len() > limit {
        let mut certain_left = found.iter().filter(|candidate| candidate.is_certain).count().min(limit);
        let mut others_left = limit - certain_left;
        found.retain(|candidate| {
            let left = if candidate.is_certain { &mut certain_left } else { &mut others_left };
            let keep = *left > 0;
            *left -= usize::from(keep);
            keep
        });
    }
    found
}

/// Whether the words before said that an id comes: `Request ID: fa-1`, `"request_id":"fa-1"`, `x-correlation-id=fa-1`.
#[derive(Default)]
struct Label {
    /// The word before was `request` or the like, so that `id` completes it.
    began: bool,
    complete: bool,
}

impl Label {
    /// Takes the next word and says whether it stands where an id is announced.
    fn read(&mut self, word: &str) -> bool {
        if word.trim_matches([':', '.', '-', '~', '_']).is_empty() {
            return false;
        }
        let plain: String = word.chars().filter(char::is_ascii_alphanumeric).collect::<String>().to_ascii_lowercase();
        let was_complete = std::mem::take(&mut self.complete);
        let had_begun = std::mem::take(&mut self.began);
        let is_name = ["requestid", "xrequestid", "correlationid", "xcorrelationid", "reqid"].contains(&plain.as_str());
        self.complete = is_name || (had_begun && plain == "id");
        self.began = matches!(plain.as_str(), "request" | "correlation" | "req");
        // "the request id is fa-1"
        if was_complete && plain == "is" {
            self.complete = true;
            return false;
        }
        was_complete && !self.complete
    }
}

fn candidate(word: &str, labelled: bool) -> Option<Candidate> {
    let has_digit = word.bytes().any(|byte| byte.is_ascii_digit());
    let is_certain = has_known_form(word) || (labelled && has_digit);
    let may_be = word.len() >= SHORTEST_WORD && has_digit;
    (is_certain || may_be).then(|| RequestId::parse(word).ok()).flatten().map(|id| Candidate { id, is_certain })
}

fn has_known_form(word: &str) -> bool {
    let is_uuid = word.len() == 36 && uuid::Uuid::try_parse(word).is_ok();
    let is_hex = word.len() == 32 && word.bytes().all(|byte| byte.is_ascii_hexdigit());
    let is_prefixed = ["req_", "req-", GENERATED_PREFIX]
        .iter()
        .any(|prefix| word.len() >= prefix.len() + 4 && word.starts_with(prefix));
    is_uuid || is_hex || is_prefixed || ulid_ms(word).is_some()
}

/// The time in a ULID, milliseconds since the Unix epoch: its first ten characters in Crockford's base 32.
fn ulid_ms(text: &str) -> Option<i64> {
    const ALPHABET: &[u8] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";
    if text.len() != 26 || !text.starts_with(|first| matches!(first, '0'..='7')) {
        return None;
    }
    let digits: Option<Vec<i64>> = text
        .bytes()
        .map(|byte| ALPHABET.iter().position(|letter| *letter == byte.to_ascii_uppercase()).map(|digit| digit as i64))
        .collect();
    Some(digits?.iter().take(10).fold(0, |ms, digit| ms * 32 + digit))
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
    fn a_ticket_gives_up_its_ids_once_each_and_in_order() {
        let text = "Hi, I get errors!\nRequest ID: 550E8400-e29b-41d4-a716-446655440000 (twice: \
            550e8400-e29b-41d4-a716-446655440000), also req_Ab12cd, `01M7KE1BA6MR36ZXJN6Q6ZD31W`.\n\
            {\"request_id\":\"gen_0011\"} x-request-id=abc-123-def on 2026-11-22";
        let found: Vec<_> =
            find_all(text, 100).into_iter().map(|found| (found.id.to_string(), found.is_certain)).collect();
        let expected = [
            ("550e8400-e29b-41d4-a716-446655440000", true),
            ("req_Ab12cd", true),
            ("01M7KE1BA6MR36ZXJN6Q6ZD31W", true),
            ("gen_0011", true),
            ("abc-123-def", true),
            ("2026-11-22", false),
        ];
        assert_eq!(found, expected.map(|(id, certain)| (id.to_owned(), certain)));
    }

    #[test]
    fn what_the_text_calls_an_id_is_one_however_short() {
        let text = "x-request-id: fa-1; Request ID zod-1, the request id is lar-1 (request no. 12), request_id=a1b2, Request ID please 7up";
        let found: Vec<_> =
            find_all(text, 100).into_iter().map(|found| (found.id.to_string(), found.is_certain)).collect();
        let expected = [("fa-1", true), ("zod-1", true), ("lar-1", true), ("a1b2", true)];
        assert_eq!(found, expected.map(|(id, certain)| (id.to_owned(), certain)));
    }

    #[test]
    fn certain_ids_are_kept_before_mere_words() {
        let text = "word-0001 word-0002 req_0001 word-0003 req_0002";
        let found: Vec<_> = find_all(text, 3).into_iter().map(|found| found.id.to_string()).collect();
        assert_eq!(found, ["word-0001", "req_0001", "req_0002"]);
    }

    #[test]
    fn ids_that_hold_a_time_give_it() {
        let made = |text| RequestId::parse(text).unwrap().made_at_ms();
        // The ULID specification's own example.
        assert_eq!(made("01ARZ3NDEKTSV4RRFFQ69G5FAV"), Some(1_469_922_850_259));
        // RFC 9562, appendix A.6: version 7, 2022-02-22T19:22:22Z.
        assert_eq!(made("017f22e2-79b0-7cc3-98c4-dc0c0c07398f"), Some(1_645_557_742_000));
        assert_eq!(made("550e8400-e29b-41d4-a716-446655440000"), None);
        assert_eq!(made("req_1"), None);
    }

    #[test]
    fn projects_do_not_share_lookup_keys() {
        let id = RequestId::parse("req_1").unwrap();
        assert_ne!(id.lookup_key("a"), id.lookup_key("b"));
    }
}
