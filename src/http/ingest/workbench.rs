//! What a thread that takes bodies keeps from one to the next.

use std::sync::{Arc, Mutex, PoisonError};

use crate::{
    decode::Memo,
    event::view::EventView,
    metrics::{EventCounters, Metrics},
    recall::Recall,
};

/// Workbenches that are kept while nobody works: a few more than there are cores is enough.
const KEPT: usize = 8;

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

/// Workbenches of one collector: taken for a body, and given back.
#[derive(Default)]
pub struct Workbenches(Mutex<Vec<Workbench>>);

impl Workbenches {
    pub fn take(&self) -> Workbench {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).pop().unwrap_or_default()
    }

    pub fn give_back(&self, bench: Workbench) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() < KEPT {
            kept.push(bench);
        }
    }
}
