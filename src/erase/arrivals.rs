//! Bodies that were received and are not in the spool yet: their events bear the time of receipt already.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use crate::clock::Clock;

/// How far a clock may go back, or stand still, without an event being taken for one that came before or after an erasure, milliseconds.
const STEP_MS: i64 = 1000;

/// What is on its way into the spool. It gives bodies and erasures their times, so that they say which came first.
#[derive(Debug, Default)]
pub struct Arrivals(Mutex<Times>);

/// Milliseconds since the Unix epoch.
#[derive(Debug, Default)]
struct Times {
    /// Times of receipt of bodies that are not in the spool yet, with how many bodies have each.
    bodies: BTreeMap<i64, usize>,
    /// The latest that a body was given.
    latest_ms: i64,
    /// The latest that an erasure was given.
    erased_ms: i64,
}

/// A body on its way into the spool, until it is dropped.
#[derive(Debug)]
pub struct Arrival {
    arrivals: Arc<Arrivals>,
    received_at_ms: i64,
}

impl Arrivals {
    /// Enters a body that is received now: after the last erasure.
    pub fn enter(self: &Arc<Self>, clock: &Clock) -> Arrival {
        let mut times = self.times();
        // Under the lock, as the times of erasures.
        let received_at_ms = not_before(clock.now_ms(), times.erased_ms + 1);
        times.latest_ms = not_before(received_at_ms, times.latest_ms);
        *times.bodies.entry(received_at_ms).or_default() += 1;
        Arrival { arrivals: Arc::clone(self), received_at_ms }
    }

    /// The time of an erasure that is asked for now: not before that of anything received up to now.
    pub(super) fn erased_ms(&self, clock: &Clock) -> i64 {
        let mut times = self.times();
        times.erased_ms = not_before(clock.now_ms(), times.latest_ms);
        times.erased_ms
    }

    /// Whether everything that was received up to the time of an erasure is in the spool, or was refused and is not there.
    pub(crate) fn have_arrived(&self, until_ms: i64) -> bool {
        self.times().bodies.first_key_value().is_none_or(|(&oldest_ms, _)| oldest_ms > until_ms)
    }

    fn times(&self) -> MutexGuard<'_, Times> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The time, put off a little where it is before another one. A clock that was set back by more goes its way.
fn not_before(now_ms: i64, least_ms: i64) -> i64 {
    if (now_ms + 1..=now_ms + STEP_MS).contains(&least_ms) { least_ms } else { now_ms }
}

impl Arrival {
    pub const fn received_at_ms(&self) -> i64 {
        self.received_at_ms
    }

    /// It does not end: the next start may find it in the spool, or not.
    pub fn stays(self) {
        std::mem::forget(self);
    }
}

impl Drop for Arrival {
    fn drop(&mut self) {
        let bodies = &mut self.arrivals.times().bodies;
        if let Some(count) = bodies.get_mut(&self.received_at_ms) {
            *count -= 1;
            if *count == 0 {
                bodies.remove(&self.received_at_ms);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicI64, Ordering};

    use super::*;

    #[test]
    fn what_was_received_has_arrived_when_the_last_body_of_its_time_has() {
        let now = Arc::new(AtomicI64::new(5));
        let (arrivals, clock) = (Arc::<Arrivals>::default(), Clock::manual(Arc::clone(&now)));
        let (first, second) = (arrivals.enter(&clock), arrivals.enter(&clock));
        now.store(7, Ordering::Relaxed);
        let later = arrivals.enter(&clock);
        let arrived = || [4, 5, 6, 7].map(|until_ms| arrivals.have_arrived(until_ms));
        assert_eq!((first.received_at_ms(), arrived()), (5, [true, false, false, false]));
        drop(first);
        assert_eq!(arrived(), [true, false, false, false]);
        drop(second);
        assert_eq!(arrived(), [true, true, true, false]);
        drop(later);
        assert_eq!(arrived(), [true; 4]);
    }

    #[test]
    fn an_erasure_has_what_was_received_before_it_and_not_what_came_after_whatever_the_clock_does() {
        let now = Arc::new(AtomicI64::new(0));
        let (arrivals, clock) = (Arc::<Arrivals>::default(), Clock::manual(Arc::clone(&now)));
        let at = |now_ms, what: &str| {
            now.store(now_ms, Ordering::Relaxed);
            if what == "erased" { arrivals.erased_ms(&clock) } else { arrivals.enter(&clock).received_at_ms() }
        };
        for (now_ms, what, expected) in [
            (5000, "received", 5000),
            (5000, "erased", 5000),
            (5000, "received", 5001),
            (5000, "erased", 5001),
            (5000, "erased", 5001),
            (5000, "received", 5002),
            (5010, "received", 5010),
            // Back a little.
            (5005, "received", 5005),
            (5004, "erased", 5010),
            (5004, "received", 5011),
            // It was far ahead.
            (1000, "received", 1000),
            (1000, "erased", 1000),
            (1000, "received", 1001),
        ] {
            assert_eq!(at(now_ms, what), expected, "{what} at {now_ms}");
        }
    }
}
