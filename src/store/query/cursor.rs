//! Where a page of search results ended.

use std::{fmt, str::FromStr};

use crate::event::EventKey;

/// The last event of a page: the next page holds what is older. As text: opaque to clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cursor {
    pub timestamp_ms: i64,
    pub key: EventKey,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("is not a cursor: use the one of the page before, unchanged")]
pub struct CursorError;

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:x}.{:032x}", self.timestamp_ms, self.key.0)
    }
}

impl FromStr for Cursor {
    type Err = CursorError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (timestamp, key) = text.split_once('.').ok_or(CursorError)?;
        let timestamp = u64::from_str_radix(timestamp, 16).map_err(|_| CursorError)?;
        let key = u128::from_str_radix(key, 16).map_err(|_| CursorError)?;
        Ok(Self { timestamp_ms: timestamp.cast_signed(), key: EventKey(key) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_survives_as_text_and_anything_else_is_refused() {
        for timestamp_ms in [1_794_787_200_000, 0, -5] {
            let cursor = Cursor { timestamp_ms, key: EventKey(u128::MAX - 7) };
            assert_eq!(cursor.to_string().parse(), Ok(cursor));
        }
        for text in ["", ".", "1", "x.1", "1.x", "1.1.1"] {
            assert_eq!(text.parse::<Cursor>(), Err(CursorError), "{text}");
        }
    }
}
