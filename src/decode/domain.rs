//! Seam to the domain's readers until they are merged; every function here is to become a call of theirs.

use crate::event::{Event, RateLimit};

pub(super) fn rate_limit(_headers: &[(String, String)], _timestamp_ms: i64) -> Option<RateLimit> {
    None
}

pub(super) fn fingerprint(_event: &Event) -> u64 {
    0
}
