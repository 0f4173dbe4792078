//! Attempts to sign in that failed, by where they come from: past a few, one has to wait. A good token passes
//! always: behind a proxy on another machine everybody has one address, and nobody there can lock the others out.
//!
//! Tokens have 256 random bits, so this does not keep anybody from guessing one; it keeps a broken script, or somebody who tries, from
//! being noise in the log and work for the database.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Mutex, PoisonError},
    time::Duration,
};

/// Failures without a success in between that are answered, and the time after which they are forgotten.
const ALLOWED: u32 = 10;
const WINDOW_MS: i64 = 5 * 60_000;

/// Peers remembered at most; past it, those whose time is over are forgotten, then all.
const REMEMBERED: usize = 10_000;

/// The attempts of each peer. Kept in memory: a restart forgets them.
#[derive(Debug, Default)]
pub struct Attempts(Mutex<HashMap<IpAddr, Window>>);

#[derive(Clone, Copy, Debug)]
struct Window {
    ends_ms: i64,
    attempts: u32,
}

impl Attempts {
    /// Counts a failure of a peer.
    ///
    /// # Errors
    /// When it has had all that are allowed: how long it has to wait.
    pub fn failed(&self, peer: IpAddr, now_ms: i64) -> Result<(), Duration> {
        let mut windows = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let is_open = |window: &Window| (now_ms + 1..=now_ms + WINDOW_MS).contains(&window.ends_ms);
        if windows.len() >= REMEMBERED {
            windows.retain(|_, window| is_open(window));
            if windows.len() >= REMEMBERED {
                windows.clear();
            }
        }
        let window = windows.entry(whole(peer)).or_insert(Window { ends_ms: 0, attempts: 0 });
        if !is_open(window) {
            *window = Window { ends_ms: now_ms + WINDOW_MS, attempts: 0 };
        }
        if window.attempts >= ALLOWED {
            return Err(Duration::from_millis((window.ends_ms - now_ms) as u64));
        }
        window.attempts += 1;
        Ok(())
    }

    /// Forgets the attempts of a peer that has signed in.
    pub fn succeeded(&self, peer: IpAddr) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&whole(peer));
    }
}

/// Who has one address of version 6 has 2^64 of them.
fn whole(peer: IpAddr) -> IpAddr {
    match peer.to_canonical() {
        IpAddr::V6(address) => IpAddr::V6((address.to_bits() & !u128::from(u64::MAX)).into()),
        address @ IpAddr::V4(_) => address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn past_ten_failures_a_peer_waits_and_others_do_not() {
        let attempts = Attempts::default();
        for _ in 0..ALLOWED {
            assert_eq!(attempts.failed(peer("192.0.2.1"), 1000), Ok(()));
        }
        let wait = Duration::from_millis(WINDOW_MS as u64 - 500);
        assert_eq!(attempts.failed(peer("192.0.2.1"), 1500), Err(wait));
        assert_eq!(attempts.failed(peer("::ffff:192.0.2.1"), 1500), Err(wait));
        assert_eq!(attempts.failed(peer("192.0.2.2"), 1500), Ok(()));
        assert_eq!(attempts.failed(peer("192.0.2.1"), 1000 + WINDOW_MS), Ok(()));
    }

    #[test]
    fn a_success_forgets_what_was_before() {
        let attempts = Attempts::default();
        for _ in 0..50 {
            assert_eq!(attempts.failed(peer("192.0.2.1"), 1000), Ok(()));
            attempts.succeeded(peer("192.0.2.1"));
        }
    }

    #[test]
    fn the_addresses_of_one_network_of_version_6_are_one_peer() {
        let attempts = Attempts::default();
        for host in 0..ALLOWED {
            assert_eq!(attempts.failed(peer(&format!("2001:db8::{host:x}")), 1), Ok(()));
        }
        assert!(attempts.failed(peer("2001:db8::ffff"), 1).is_err());
        assert!(attempts.failed(peer("2001:db8:0:1::1"), 1).is_ok());
    }

    #[test]
    fn memory_is_bounded() {
        let attempts = Attempts::default();
        for number in 0..3 * REMEMBERED as u32 {
            attempts.failed(IpAddr::V4(number.into()), i64::from(number)).unwrap();
        }
        assert!(attempts.0.lock().unwrap().len() <= REMEMBERED);
    }
}
