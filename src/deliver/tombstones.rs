//! Events that were erased while they wait in the spool: delivery leaves them out.
//!
//! - While there is no erasure under way, delivery loads one flag a read, and that is all.
//! - What is left out is noted durably before the plan of the rest is written, so that a plan that is taken up again after a crash
//!   leaves out the same events: they are known by their keys then, whatever tombstones came since.
//! - A plan that was made before a tombstone is delivered as it was made. The erasure deletes from ClickHouse after everything that
//!   was received before it has been delivered (`crate::erase`), so it finds those.

use std::{
    collections::HashSet,
    sync::{
        Arc, PoisonError, RwLock,
        atomic::{AtomicBool, Ordering},
    },
};

use crate::event::{EventKey, codec, erasure::Erasable};

/// Events that are not to be delivered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tombstone {
    /// Id of the erasure.
    pub erasure: String,
    pub project: String,
    pub what: Erasable,
    /// Only events received up to this time, milliseconds since the Unix epoch: what comes later is new.
    pub until_ms: i64,
}

/// An event that was left out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Withheld {
    pub erasure: String,
    pub project: String,
    pub key: EventKey,
    pub request_id: String,
}

/// Notes what is left out, durably; the text says why it could not.
pub type Note = Box<dyn Fn(&[Withheld]) -> Result<(), String> + Send + Sync>;

/// The tombstones of a collector.
pub struct Tombstones {
    any: AtomicBool,
    set: RwLock<Set>,
    note: Note,
}

#[derive(Default)]
struct Set {
    tombstones: Arc<[Tombstone]>,
    /// Keys of what was left out of the plan under way; after a start, of all plans since the erasures began.
    withheld: Arc<HashSet<EventKey>>,
}

impl std::fmt::Debug for Tombstones {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Tombstones")
    }
}

impl Tombstones {
    /// Those of erasures under way, with the keys that were left out for them.
    #[must_use]
    pub fn new(tombstones: Vec<Tombstone>, withheld: HashSet<EventKey>, note: Note) -> Self {
        let any = AtomicBool::new(!tombstones.is_empty());
        let set = Set { tombstones: tombstones.into(), withheld: Arc::new(withheld) };
        Self { any, set: RwLock::new(set), note }
    }

    pub fn add(&self, tombstone: Tombstone) {
        let mut set = self.set.write().unwrap_or_else(PoisonError::into_inner);
        set.tombstones = set.tombstones.iter().cloned().chain([tombstone]).collect();
        self.any.store(true, Ordering::Release);
    }

    /// Ends the tombstones of an erasure.
    pub fn remove(&self, erasure: &str) {
        let mut set = self.set.write().unwrap_or_else(PoisonError::into_inner);
        set.tombstones = set.tombstones.iter().filter(|tombstone| tombstone.erasure != erasure).cloned().collect();
        if set.tombstones.is_empty() {
            set.withheld = Arc::default();
        }
        self.any.store(!set.tombstones.is_empty(), Ordering::Release);
    }

    /// Those that hold now; none costs next to nothing.
    pub(super) fn active(&self) -> Option<Arc<[Tombstone]>> {
        self.any.load(Ordering::Acquire).then(|| {
            let set = self.set.read().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(&set.tombstones)
        })
    }

    /// Keys of what was left out of the plan under way, and perhaps of earlier ones.
    pub(super) fn withheld(&self) -> Arc<HashSet<EventKey>> {
        Arc::clone(&self.set.read().unwrap_or_else(PoisonError::into_inner).withheld)
    }

    /// Notes what is left out of a plan, before the plan is written.
    pub(super) fn leave_out(&self, events: &[Withheld]) -> Result<(), String> {
        if events.is_empty() {
            return Ok(());
        }
        (self.note)(events)?;
        let mut set = self.set.write().unwrap_or_else(PoisonError::into_inner);
        // What was left out of plans before is done with.
        set.withheld = Arc::new(events.iter().map(|event| event.key).collect());
        Ok(())
    }
}

/// The tombstone of an event, if it has one. A payload that does not decode has none: nobody can tell whose it is.
pub(super) fn tombstone_of(tombstones: &[Tombstone], payload: &[u8]) -> Option<Withheld> {
    let event = codec::decode_ref(payload).ok()?;
    let fits = |tombstone: &&Tombstone| {
        tombstone.project == event.project
            && event.received_at_ms <= tombstone.until_ms
            && tombstone.what.holds(event.account_id, event.user_id, event.request_id)
    };
    tombstones.iter().find(fits).map(|tombstone| Withheld {
        erasure: tombstone.erasure.clone(),
        project: tombstone.project.clone(),
        key: event.key,
        request_id: event.request_id.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_kept_of_the_plan_under_way_alone() {
        let noted = Arc::new(std::sync::Mutex::new(0));
        let count = Arc::clone(&noted);
        let note = move |events: &[Withheld]| {
            *count.lock().unwrap() += events.len();
            Ok(())
        };
        let tombstones = Tombstones::new(vec![], HashSet::from([EventKey(0)]), Box::new(note));
        let event =
            |key| Withheld { erasure: "e".into(), project: "p".into(), key: EventKey(key), request_id: "r".into() };
        tombstones.leave_out(&[]).unwrap();
        assert!(tombstones.withheld().contains(&EventKey(0)), "the plan that a start takes up");
        tombstones.leave_out(&[event(1), event(2)]).unwrap();
        tombstones.leave_out(&[event(3)]).unwrap();
        tombstones.leave_out(&[]).unwrap();
        assert_eq!(*tombstones.withheld(), HashSet::from([EventKey(3)]), "memory does not grow with an erasure");
        assert_eq!(*noted.lock().unwrap(), 3);
    }
}
