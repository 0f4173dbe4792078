//! Which names hold secrets.
//!
//! A name is cut into words at everything that is no letter or digit and at camelCase humps; digits at a word's end are
//! dropped (`password2`). It is secret when
//! - its last word is one of [`LAST_WORDS`] (`access_token`, but not `token_count`; `auth`, but not `author`),
//! - any word is one of [`ANY_WORDS`] and the last is none of [`HARMLESS`] (`password_confirm`, not `password_policy`),
//! - it ends with one of [`RUN_TOGETHER`], words not told apart (`accesstoken`, `x-api-key`), or
//! - it ends with a configured name at a word's beginning.

const LAST_WORDS: [&str; 24] = [
    "auth",
    "authorization",
    "bearer",
    "cookie",
    "cookies",
    "credential",
    "credentials",
    "csrf",
    "cvc",
    "cvv",
    "jwt",
    "otp",
    "pin",
    "session",
    "sessionid",
    "sid",
    "signature",
    "ssn",
    "token",
    "tokens",
    "totp",
    "xsrf",
    "passcode",
    "nonce",
];

const ANY_WORDS: [&str; 8] =
    ["passphrase", "passwd", "password", "passwords", "pwd", "secret", "secrets", "credentials"];

const HARMLESS: [&str; 27] = [
    "at", "changed", "class", "count", "date", "enabled", "error", "errors", "expired", "expires", "expiry", "hint",
    "id", "len", "length", "limit", "max", "message", "min", "name", "policy", "required", "status", "strength",
    "type", "updated", "valid",
];

const RUN_TOGETHER: [&str; 18] = [
    "accesskey",
    "accountkey",
    "apikey",
    "apikeys",
    "authkey",
    "cardnumber",
    "ccnumber",
    "clientsecret",
    "creditcard",
    "encryptionkey",
    "masterkey",
    "passwd",
    "password",
    "privatekey",
    "secretkey",
    "sessionid",
    "signingkey",
    "token",
];

/// Longest part of a name that is looked at, bytes from its end.
const MAX_NAME: usize = 96;

/// The built-in names and those of the configuration.
#[derive(Debug)]
pub(super) struct SecretNames {
    extra: Vec<String>,
}

impl SecretNames {
    pub(super) fn new(extra: &[String]) -> Self {
        Self { extra: extra.iter().map(|name| Words::of(name).joined().to_owned()).collect() }
    }

    pub(super) fn is_secret(&self, name: &str) -> bool {
        let words = Words::of(name);
        let joined = words.joined();
        let last = words.last();
        LAST_WORDS.contains(&last)
            || RUN_TOGETHER.iter().any(|tail| joined.ends_with(tail))
            || (!HARMLESS.contains(&last) && words.iter().any(|word| ANY_WORDS.contains(&word)))
            || self.extra.iter().any(|tail| words.ends_with_words(tail))
    }

    /// A cheap regular expression that is found wherever text may assign a value to a secret name.
    pub(super) fn assignment_trigger(&self) -> String {
        let built_in = "auth|bearer|card|cookie|credential|csrf|cvc|cvv|jwt|key|nonce|otp|pass|pin|pwd|secret|session|\
                        sid|signature|ssn|token|xsrf";
        let mut names = built_in.to_owned();
        for name in &self.extra {
            names.push('|');
            // The configured form has no separators; the text's may.
            let spread: Vec<String> = name.chars().map(|letter| regex::escape(&letter.to_string())).collect();
            names.push_str(&spread.join("[_.-]?"));
        }
        format!(r#"(?i-u)(?:{names})[a-z0-9_.\[\]-]*\\?["']?[ \t]{{0,2}}[=:]"#)
    }
}

/// The words of a name in lower case, without allocation.
struct Words {
    letters: [u8; MAX_NAME],
    len: usize,
    /// Bit i is set where a word begins at letter i.
    starts: u128,
}

impl Words {
    fn of(name: &str) -> Self {
        let bytes = name.as_bytes();
        let bytes = &bytes[bytes.len().saturating_sub(MAX_NAME)..];
        let mut words = Self { letters: [0; MAX_NAME], len: 0, starts: 0 };
        let mut begin = true;
        for (at, &byte) in bytes.iter().enumerate() {
            if !byte.is_ascii_alphanumeric() {
                words.drop_trailing_digits();
                begin = true;
                continue;
            }
            let after_lower = at > 0 && (bytes[at - 1].is_ascii_lowercase() || bytes[at - 1].is_ascii_digit());
            let before_lower = bytes.get(at + 1).is_some_and(u8::is_ascii_lowercase);
            let after_upper = at > 0 && bytes[at - 1].is_ascii_uppercase();
            let hump = byte.is_ascii_uppercase() && (after_lower || (after_upper && before_lower));
            if begin || hump {
                words.drop_trailing_digits();
                words.starts |= 1 << words.len;
                begin = false;
            }
            words.letters[words.len] = byte.to_ascii_lowercase();
            words.len += 1;
        }
        words.drop_trailing_digits();
        words
    }

    /// Drops digits at the end of the word just read; a word of digits alone goes altogether (`tokens[0]`).
    fn drop_trailing_digits(&mut self) {
        while self.len > 0 && self.letters[self.len - 1].is_ascii_digit() {
            self.len -= 1;
            let begins_here = self.starts & (1 << self.len) != 0;
            self.starts &= !(1 << self.len);
            if begins_here {
                break;
            }
        }
    }

    fn joined(&self) -> &str {
        // Only ASCII letters and digits were written.
        std::str::from_utf8(&self.letters[..self.len]).unwrap_or_default()
    }

    fn iter(&self) -> impl Iterator<Item = &str> {
        let joined = self.joined();
        let starts = (0..joined.len()).filter(|&at| self.starts & (1 << at) != 0);
        starts.map(move |start| {
            let rest = &joined[start..];
            let len = (1..rest.len()).find(|&more| self.starts & (1 << (start + more)) != 0).unwrap_or(rest.len());
            &rest[..len]
        })
    }

    fn last(&self) -> &str {
        let start = (0..self.len).rev().find(|&at| self.starts & (1 << at) != 0).unwrap_or(0);
        &self.joined()[start..]
    }

    fn ends_with_words(&self, tail: &str) -> bool {
        let joined = self.joined();
        joined.ends_with(tail) && self.starts & (1 << (joined.len() - tail.len())) != 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_secrets_are_told_from_names_that_only_mention_them() {
        let names = SecretNames::new(&["license_no".to_owned()]);
        let secret = [
            "password",
            "Password",
            "password2",
            "new_password1",
            "passwordConfirm",
            "user[password]",
            "pwd",
            "access_token",
            "accessToken",
            "accesstoken",
            "ACCESS-TOKEN",
            "csrfmiddlewaretoken",
            "id_token",
            "tokens[0]",
            "api_key",
            "apiKey",
            "APIKey",
            "X-Api-Key",
            "apikey",
            "client_secret",
            "clientSecret",
            "secret",
            "auth",
            "Authorization",
            "Proxy-Authorization",
            "Cookie",
            "Set-Cookie",
            "sessionid",
            "session_id",
            "jsessionid",
            "AWS_SECRET_ACCESS_KEY",
            "private_key",
            "card_number",
            "cvv",
            "otp",
            "licenseNo",
            "my-license-no",
        ];
        for name in secret {
            assert!(names.is_secret(name), "{name} should be secret");
        }
        let plain = [
            "",
            "author",
            "authors",
            "authority",
            "token_count",
            "token_type",
            "tokenization",
            "password_policy",
            "password_min_length",
            "secretary",
            "key",
            "keyword",
            "seed_keyword_id",
            "api_key_id",
            "cookies_enabled",
            "spin",
            "pinned",
            "passenger",
            "compass",
            "session_count",
            "keys",
            "monkey",
            "idempotency_key",
            "email",
            "sublicense_no",
        ];
        for name in plain {
            assert!(!names.is_secret(name), "{name} should not be secret");
        }
    }

    #[test]
    fn very_long_names_are_judged_by_their_end() {
        let names = SecretNames::new(&[]);
        assert!(names.is_secret(&format!("{}_password", "x".repeat(5000))));
        assert!(!names.is_secret(&"é".repeat(5000)));
    }
}
