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
    of_events: Recall<Arc<EventCounters>>,
    of_fields: Recall<Arc<EventCounters>>,
    key: Vec<u8>,
}

impl Counters {
    /// Adds the counters of an event to a list.
    pub fn push(&mut self, event: &EventView<'_>, metrics: &Metrics, list: &mut Vec<Arc<EventCounters>>) {
        let words = [event.service, event.environment, event.route, event.method];
        self.begin_key(event.status, event.marks.0, words);
        let make = || Some(Arc::new(metrics.counters_of(event)));
        list.extend(self.of_events.get_or_make(&self.key, make));
        for error in event.errors.iter().filter(|error| !error.field.is_empty()) {
            self.begin_key(0, 0, [event.service, &error.field, &error.rule]);
            let make = || Some(Arc::new(metrics.counters_of_field(event.service, error)));
            list.extend(self.of_fields.get_or_make(&self.key, make));
        }
    }

    fn begin_key<const N: usize>(&mut self, status: u16, marks: u32, words: [&str; N]) {
        self.key.clear();
        self.key.extend_from_slice(&status.to_le_bytes());
        self.key.extend_from_slice(&marks.to_le_bytes());
        for word in words {
            self.key.extend_from_slice(&(word.len() as u32).to_le_bytes());
            self.key.extend_from_slice(word.as_bytes());
        }
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
