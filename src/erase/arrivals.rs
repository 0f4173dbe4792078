//! Bodies that were received and are not in the spool yet: their events bear the time of receipt already.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

use crate::clock::Clock;

/// The times of receipt of what is on its way into the spool, milliseconds since the Unix epoch, with how many bodies have each.
#[derive(Debug, Default)]
pub struct Arrivals(Mutex<BTreeMap<i64, usize>>);

/// A body on its way into the spool, until it is dropped.
#[derive(Debug)]
pub struct Arrival {
    arrivals: Arc<Arrivals>,
    received_at_ms: i64,
}

impl Arrivals {
    /// Enters a body that is received now.
    pub fn enter(self: &Arc<Self>, clock: &Clock) -> Arrival {
        let mut times = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // Under the lock: whoever looks at a later time sees it.
        let received_at_ms = clock.now_ms();
        *times.entry(received_at_ms).or_default() += 1;
        Arrival { arrivals: Arc::clone(self), received_at_ms }
    }

    /// Whether everything that was received up to a time in the past is in the spool, or was refused.
    pub(super) fn have_arrived(&self, until_ms: i64) -> bool {
        let times = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        times.first_key_value().is_none_or(|(&oldest_ms, _)| oldest_ms > until_ms)
    }
}

impl Arrival {
    pub const fn received_at_ms(&self) -> i64 {
        self.received_at_ms
    }
}

impl Drop for Arrival {
    fn drop(&mut self) {
        let mut times = self.arrivals.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(bodies) = times.get_mut(&self.received_at_ms) {
            *bodies -= 1;
            if *bodies == 0 {
                times.remove(&self.received_at_ms);
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
}
