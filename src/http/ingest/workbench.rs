//! What a thread that takes bodies keeps from one to the next.

use std::{
    num::NonZero,
    sync::{Arc, Mutex, PoisonError},
};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::{
    decode::Memo,
    event::view::EventView,
    metrics::{EventCounters, Metrics},
    recall::Recall,
};

/// What is remembered of earlier events; see [`Memo`] and [`Recall`] for its bounds.
#[derive(Default)]
pub struct Workbench {
    pub memo: Memo,
    pub counters: Counters,
}

/// The counters of events, by what tells them apart.
#[derive(Default)]
pub struct Counters {
    known: Recall<Arc<EventCounters>>,
    key: Vec<u8>,
}

impl Counters {
    pub fn of(&mut self, event: &EventView<'_>, metrics: &Metrics) -> Arc<EventCounters> {
        self.key.clear();
        self.key.extend_from_slice(&event.status.to_le_bytes());
        self.key.extend_from_slice(&event.marks.0.to_le_bytes());
        let errors = event.errors.iter().filter(|error| !error.field.is_empty());
        let fields = errors.flat_map(|error| [error.field.as_str(), error.rule.as_str()]);
        for text in [event.service, event.environment, event.route, event.method].into_iter().chain(fields) {
            self.key.extend_from_slice(&(text.len() as u32).to_le_bytes());
            self.key.extend_from_slice(text.as_bytes());
        }
        let make = || Some(Arc::new(metrics.counters_of(event)));
        self.known.get_or_make(&self.key, make).unwrap_or_else(|| Arc::new(metrics.counters_of(event)))
    }
}

/// The workbenches of one collector. As many bodies are decoded at once: more would share the same cores, each with a
/// memory that is still empty.
pub struct Workbenches {
    free: Mutex<Vec<Workbench>>,
    room: Arc<Semaphore>,
}

impl Default for Workbenches {
    /// Two a core, so that small bodies get on beside large ones.
    fn default() -> Self {
        let cores = std::thread::available_parallelism().map_or(1, NonZero::get);
        Self { free: Mutex::default(), room: Arc::new(Semaphore::new(2 * cores)) }
    }
}

impl Workbenches {
    /// Room for a body to be decoded; waits for it. `None` never happens: the semaphore is not closed.
    pub async fn room(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.room).acquire_owned().await.ok()
    }

    pub fn take(&self) -> Workbench {
        self.free.lock().unwrap_or_else(PoisonError::into_inner).pop().unwrap_or_default()
    }

    pub fn give_back(&self, bench: Workbench) {
        self.free.lock().unwrap_or_else(PoisonError::into_inner).push(bench);
    }
}
