//! The time, passed in so that tests can set it, and how it is written.

pub mod when;

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::{SystemTime, UNIX_EPOCH},
};

/// A source of the current time.
#[derive(Clone)]
pub struct Clock(Source);

#[derive(Clone)]
enum Source {
    System,
    Manual(Arc<AtomicI64>),
}

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Clock({})", self.now_ms())
    }
}

impl Clock {
    /// The system's clock.
    #[must_use]
    pub const fn system() -> Self {
        Self(Source::System)
    }

    /// A clock that stands still until it is set.
    #[must_use]
    pub fn manual(now_ms: Arc<AtomicI64>) -> Self {
        Self(Source::Manual(now_ms))
    }

    /// Milliseconds since the Unix epoch; 0 for a system clock set before it.
    #[must_use]
    pub fn now_ms(&self) -> i64 {
        match &self.0 {
            Source::System => SystemTime::now()
                .duration_since(UNIX_EPOCH)
                .map_or(0, |elapsed| i64::try_from(elapsed.as_millis()).unwrap_or(i64::MAX)),
            Source::Manual(now_ms) => now_ms.load(Ordering::Relaxed),
        }
    }
}

/// A time as it stands in a sentence, to the minute: `26 Nov 2026 18:24 UTC`.
#[must_use]
pub fn spoken(ms: i64) -> String {
    chrono::DateTime::from_timestamp_millis(ms)
        .map_or_else(|| format!("{ms} ms since 1970"), |time| time.format("%-d %b %Y %H:%M UTC").to_string())
}

/// A time as people and programs read it: RFC 3339 in UTC, to the millisecond.
#[must_use]
pub fn rfc3339(ms: i64) -> String {
    chrono::DateTime::from_timestamp_millis(ms)
        .map_or_else(|| format!("{ms} ms since 1970"), |time| time.to_rfc3339_opts(chrono::SecondsFormat::Millis, true))
}
