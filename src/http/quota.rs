//! Quotas: events per window and token. Windows are fixed: one begins with the first event after the last one ended.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use axum::http::{HeaderMap, HeaderName, HeaderValue};

use crate::state::{Limit, TokenInfo};

const X_THROTTLE_LIMIT: HeaderName = HeaderName::from_static("x-throttle-limit");
const X_THROTTLE_REMAINING: HeaderName = HeaderName::from_static("x-throttle-remaining");
const X_THROTTLE_RESET: HeaderName = HeaderName::from_static("x-throttle-reset");

/// Windows of all tokens that have a limit. Kept in memory: a restart begins new windows.
#[derive(Debug, Default)]
pub struct Quota {
    windows: Mutex<HashMap<String, Window>>,
}

#[derive(Clone, Copy, Debug)]
struct Window {
    ends_ms: i64,
    used: u64,
}

/// State of a token's window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Allowance {
    pub limit: u64,
    pub remaining: u64,
    /// When the window ends, milliseconds since the Unix epoch.
    pub reset_ms: i64,
}

/// Events taken out of a window: to be given back if they are not kept after all.
#[must_use = "events that are not kept are given back"]
#[derive(Debug)]
pub struct Charge {
    token_id: String,
    ends_ms: i64,
    events: u64,
}

impl Charge {
    /// Events that were charged.
    #[must_use]
    pub const fn events(&self) -> u64 {
        self.events
    }
}

/// The events do not fit the token's window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Exceeded {
    pub allowance: Allowance,
    /// Until the window ends, at least a second.
    pub retry_after: Duration,
}

impl Quota {
    /// The state of a token's window; `None` for a token without a limit.
    #[must_use]
    pub fn allowance(&self, token: &TokenInfo, now_ms: i64) -> Option<Allowance> {
        let limit = token.limit?;
        let windows = self.windows.lock().unwrap_or_else(PoisonError::into_inner);
        Some(allowance(limit, current(windows.get(&token.id), limit, now_ms)))
    }

    /// Takes a number of events out of the token's window, all or none; `None` for a token without a limit.
    ///
    /// # Errors
    /// When they do not fit; nothing is taken then.
    pub fn take(&self, token: &TokenInfo, events: u64, now_ms: i64) -> Result<Option<Charge>, Exceeded> {
        let Some(limit) = token.limit else { return Ok(None) };
        let mut windows = self.windows.lock().unwrap_or_else(PoisonError::into_inner);
        let mut window = current(windows.get(&token.id), limit, now_ms);
        if events > limit.events.saturating_sub(window.used) {
            let left = (window.ends_ms - now_ms).max(1000) as u64;
            return Err(Exceeded {
                allowance: allowance(limit, window),
                retry_after: Duration::from_secs(left.div_ceil(1000)),
            });
        }
        window.used += events;
        windows.insert(token.id.clone(), window);
        Ok(Some(Charge { token_id: token.id.clone(), ends_ms: window.ends_ms, events }))
    }

    /// Gives back so many events of a charge, which were not kept. A window that has ended since is not touched.
    pub fn give_back(&self, charge: &Charge, events: u64) {
        let mut windows = self.windows.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(window) = windows.get_mut(&charge.token_id).filter(|window| window.ends_ms == charge.ends_ms) {
            window.used = window.used.saturating_sub(events.min(charge.events));
        }
    }
}

/// The window that is open at `now_ms`: the known one, or a new one.
fn current(known: Option<&Window>, limit: Limit, now_ms: i64) -> Window {
    let length_ms = limit.seconds as i64 * 1000;
    known
        // A clock that was set back must not leave a window open for long.
        .filter(|window| (now_ms..=now_ms + length_ms).contains(&window.ends_ms) && window.ends_ms > now_ms)
        .copied()
        .unwrap_or(Window { ends_ms: now_ms + length_ms, used: 0 })
}

fn allowance(limit: Limit, window: Window) -> Allowance {
    Allowance { limit: limit.events, remaining: limit.events.saturating_sub(window.used), reset_ms: window.ends_ms }
}

impl Allowance {
    /// Writes the three `X-Throttle-*` headers; the reset is rounded up to whole Unix seconds.
    pub fn write(self, headers: &mut HeaderMap) {
        headers.insert(X_THROTTLE_LIMIT, HeaderValue::from(self.limit));
        headers.insert(X_THROTTLE_REMAINING, HeaderValue::from(self.remaining));
        headers.insert(X_THROTTLE_RESET, HeaderValue::from((self.reset_ms + 999).div_euclid(1000)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(limit: Option<Limit>) -> TokenInfo {
        TokenInfo {
            id: "t".into(),
            name: "t".into(),
            project: "p".into(),
            roles: vec![],
            created_ms: 0,
            expires_ms: None,
            limit,
        }
    }

    const TEN_A_MINUTE: Option<Limit> = Some(Limit { events: 10, seconds: 60 });

    #[test]
    fn a_window_gives_its_events_once_and_opens_anew() {
        let (quota, token) = (Quota::default(), token(TEN_A_MINUTE));
        assert!(quota.take(&token, 6, 1_000).is_ok());
        let exceeded = quota.take(&token, 5, 2_000).unwrap_err();
        assert_eq!((exceeded.allowance.remaining, exceeded.allowance.reset_ms), (4, 61_000));
        assert_eq!(exceeded.retry_after, Duration::from_secs(59));
        assert!(quota.take(&token, 4, 60_999).is_ok());
        assert!(quota.take(&token, 1, 60_999).is_err());
        assert!(quota.take(&token, 10, 61_000).is_ok());
    }

    #[test]
    fn what_is_given_back_goes_to_its_own_window() {
        let (quota, token) = (Quota::default(), token(TEN_A_MINUTE));
        let charge = quota.take(&token, 8, 1_000).unwrap().unwrap();
        quota.give_back(&charge, charge.events());
        let late = quota.take(&token, 10, 2_000).unwrap().unwrap();
        assert_eq!(quota.allowance(&token, 2_000).unwrap().remaining, 0);
        assert!(quota.take(&token, 10, 70_000).is_ok());
        quota.give_back(&late, late.events());
        assert_eq!(quota.allowance(&token, 70_000).unwrap().remaining, 0);
    }

    #[test]
    fn a_clock_set_back_opens_a_new_window() {
        let (quota, token) = (Quota::default(), token(TEN_A_MINUTE));
        assert!(quota.take(&token, 10, 3_600_000).is_ok());
        assert!(quota.take(&token, 10, 0).is_ok());
    }

    #[test]
    fn without_a_limit_nothing_is_counted() {
        let (quota, token) = (Quota::default(), token(None));
        assert!(quota.take(&token, u64::MAX, 0).is_ok());
        assert_eq!(quota.allowance(&token, 0), None);
    }
}
