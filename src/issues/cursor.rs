//! In which order issues are listed, and where a page of them ended.

use std::{fmt, str::FromStr};

/// What comes first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Sort {
    /// Those seen last.
    #[default]
    LastSeen,
    /// Those with most events in the range.
    Count,
    /// The newest.
    FirstSeen,
}

impl Sort {
    pub const ALL: [Self; 3] = [Self::LastSeen, Self::Count, Self::FirstSeen];

    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::LastSeen => "last_seen",
            Self::Count => "count",
            Self::FirstSeen => "first_seen",
        }
    }
}

/// The last issue of a page, and the range of the first page: the next one is of the same moment, whatever has come in since.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IssueCursor {
    pub from_ms: i64,
    pub to_ms: i64,
    /// What it was sorted by.
    pub key: i64,
    pub fingerprint: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("is not a cursor: use the one of the page before, unchanged")]
pub struct IssueCursorError;

impl fmt::Display for IssueCursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:x}.{:x}.{:x}.{:016x}", self.from_ms, self.to_ms, self.key, self.fingerprint)
    }
}

impl FromStr for IssueCursor {
    type Err = IssueCursorError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let numbers = text.split('.').map(|part| u64::from_str_radix(part, 16).map_err(|_| IssueCursorError));
        let [from, to, key, fingerprint] =
            numbers.collect::<Result<Vec<_>, _>>()?.try_into().map_err(|_| IssueCursorError)?;
        let cursor = Self { from_ms: from.cast_signed(), to_ms: to.cast_signed(), key: key.cast_signed(), fingerprint };
        // As `from` and `to` are read: from 1970 to 2299.
        let is_time = |ms: i64| (0..=10_413_791_999_999).contains(&ms);
        let is_range = is_time(cursor.from_ms) && is_time(cursor.to_ms) && cursor.from_ms < cursor.to_ms;
        is_range.then_some(cursor).ok_or(IssueCursorError)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_survives_as_text_and_anything_else_is_refused() {
        for key in [1_794_787_200_000, 0, -5] {
            let cursor = IssueCursor { from_ms: 0, to_ms: 1_794_787_200_000, key, fingerprint: u64::MAX - 7 };
            assert_eq!(cursor.to_string().parse(), Ok(cursor));
        }
        for text in
            ["", "...", "1.2.3", "1.2.3.4.5", "x.2.3.4", "2.1.3.4", "ffffffffffffffff.1.1.1", "0.7fffffffffffffff.1.1"]
        {
            assert_eq!(text.parse::<IssueCursor>(), Err(IssueCursorError), "{text}");
        }
    }
}
