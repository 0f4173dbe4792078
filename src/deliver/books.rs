//! The books: every accepted event is stored, queued or quarantined.

use std::sync::{
    Mutex, PoisonError,
    atomic::{AtomicI64, Ordering},
};

use crate::spool::{Stats, Writer};

/// Counts what left the spool, since the collector started.
#[derive(Debug, Default)]
pub struct Books {
    left: Mutex<Left>,
    rolled_up_ms: AtomicI64,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Left {
    stored: u64,
    quarantined: u64,
}

impl Books {
    /// Lets the spool forget and enters what became of the events as one step, so that a reader in between sees balance.
    ///
    /// `forget` says whether the events have left, which they may have although it failed afterwards.
    pub fn settle<E>(
        &self,
        stored: u64,
        quarantined: u64,
        forget: impl FnOnce() -> (bool, Result<(), E>),
    ) -> Result<(), E> {
        let mut left = self.left.lock().unwrap_or_else(PoisonError::into_inner);
        let (have_left, outcome) = forget();
        if have_left {
            left.stored += stored;
            left.quarantined += quarantined;
        }
        outcome
    }

    /// Notes that everything received before a time is stored and in the rollups.
    pub fn rolled_up(&self, before_ms: i64) {
        self.rolled_up_ms.fetch_max(before_ms, Ordering::Relaxed);
    }

    /// Everything received before this time is stored and in the rollups, as far as was noted; milliseconds since the Unix epoch.
    #[must_use]
    pub fn rolled_up_ms(&self) -> i64 {
        self.rolled_up_ms.load(Ordering::Relaxed)
    }

    /// Accepted minus stored, queued and quarantined; 0 when every event is accounted for. Also the spool's state.
    #[must_use]
    pub fn imbalance(&self, spool: &Writer) -> (i64, Stats) {
        let left = self.left.lock().unwrap_or_else(PoisonError::into_inner);
        let stats = spool.stats();
        let accounted = left.stored + left.quarantined + stats.items + stats.damaged;
        (stats.accepted as i64 - accounted as i64, stats)
    }
}
