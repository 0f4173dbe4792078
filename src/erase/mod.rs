//! Erasing: somebody's events go from everywhere, whatever is interrupted in between.
//!
//! 1. `begin` writes the erasure to the state database and puts up a tombstone: from then on delivery leaves out what is in the
//!    spool and was received up to now ([`crate::deliver::tombstones`]).
//! 2. [`Eraser::advance`] waits until everything that was received up to then has left the spool and is in the rollups: what a
//!    plan under way brings into ClickHouse is there then, and nothing more comes.
//! 3. They go from the quarantine, before a retry could bring them back.
//! 4. The request ids are remembered as keyed hashes, so that a lookup can say "erased"; then what else is kept of them goes: from
//!    ClickHouse's other tables ([`crate::store::erase`]) and from the evidence of alerts. The events go last: they alone say which
//!    requests they were.
//! 5. It is done: whose events they were is forgotten.
//!
//! Every step can be repeated; after a start, unfinished erasures go on from what the state database says.

use std::{collections::HashSet, sync::Arc};

use tokio::sync::Notify;

use crate::{
    clock::Clock,
    deliver::{
        quarantine::{Quarantine, QuarantineError},
        tombstones::{Tombstone, Tombstones, Withheld},
    },
    event::{EventKey, erasure::Erasable, pseudonym::Pseudonyms},
    metrics::Metrics,
    state::{Erasure, ErasureState, State, StateError},
    store::{
        Store, StoreError,
        erase::{Found, Scope},
    },
};

/// Hashes of request ids that are remembered in one transaction.
const HASHES: usize = 5000;

/// Why an erasure does not go on.
#[derive(Debug, thiserror::Error)]
pub enum EraseError {
    #[error(transparent)]
    State(#[from] StateError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Quarantine(#[from] QuarantineError),
    #[error("the quarantine cannot be read: {0}")]
    Panicked(#[from] tokio::task::JoinError),
}

/// What became of an attempt to go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// It must wait: for delivery, or for a retry from the quarantine.
    Waits,
    Done,
}

/// The rooms that hold events.
#[derive(Clone)]
pub struct Eraser {
    pub state: State,
    pub store: Store,
    pub quarantine: Quarantine,
    pub tombstones: Arc<Tombstones>,
    pub pseudonyms: Pseudonyms,
    pub metrics: Arc<Metrics>,
    pub clock: Clock,
    /// Told when there is a new erasure.
    pub begun: Arc<Notify>,
}

/// The tombstones of unfinished erasures, as a start finds them.
///
/// # Errors
/// When the state database cannot be read.
pub fn tombstones(state: &State, pseudonyms: &Pseudonyms, clock: &Clock) -> Result<Tombstones, StateError> {
    let unfinished = state.unfinished_erasures()?;
    let tombstones = unfinished.iter().filter_map(tombstone).collect();
    let withheld: HashSet<_> = state.withheld_keys()?.into_iter().map(EventKey).collect();
    let (state, pseudonyms, clock) = (state.clone(), pseudonyms.clone(), clock.clone());
    let note = move |events: &[Withheld]| {
        let events = events.iter().map(|event| {
            let hash = pseudonyms.of_erased(&event.project, &event.request_id);
            (event.erasure.clone(), event.key.0, event.project.clone(), hash)
        });
        state.withhold(events, clock.now_ms()).map_err(|error| error.to_string())
    };
    Ok(Tombstones::new(tombstones, withheld, Box::new(note)))
}

/// None of one that is done: whose it was is forgotten.
fn tombstone(erasure: &Erasure) -> Option<Tombstone> {
    Some(Tombstone {
        erasure: erasure.id.clone(),
        project: erasure.project.clone(),
        what: Erasable::parse(&erasure.kind, erasure.value.as_deref()?)?,
        until_ms: erasure.requested_ms,
    })
}

impl Eraser {
    /// Begins to erase what was received of somebody up to now. Blocks on the state database.
    ///
    /// # Errors
    /// When the state database cannot be written: nothing is erased then.
    pub fn begin(&self, project: &str, what: &Erasable, by: &str) -> Result<Erasure, StateError> {
        let begun = self.state.begin_erasure(&Erasure {
            id: uuid::Uuid::now_v7().to_string(),
            project: project.to_owned(),
            kind: what.kind().to_owned(),
            value: Some(what.value().to_owned()),
            requested_ms: self.clock.now_ms(),
            by: by.to_owned(),
            state: ErasureState::Waiting,
            stored: None,
            quarantined: 0,
            withheld: 0,
            done_ms: None,
            problem: None,
        })?;
        if let Some(tombstone) = tombstone(&begun) {
            self.tombstones.add(tombstone);
        }
        self.begun.notify_one();
        Ok(begun)
    }

    /// Goes on with an erasure as far as it can. `delivered` says whether everything received up to a time has left the spool and is in the rollups.
    ///
    /// # Errors
    /// When a room does not answer: to be tried again later.
    pub async fn advance(&self, erasure: &Erasure, delivered: impl Fn(i64) -> bool) -> Result<Progress, EraseError> {
        let Some(Tombstone { project, what, until_ms, .. }) = tombstone(erasure) else { return Ok(Progress::Done) };
        if !delivered(until_ms) {
            return Ok(Progress::Waits);
        }
        let ended = self.erase_from_quarantine(erasure, &project, &what, until_ms).await?;
        // What was retried until then is in the spool again.
        if ended == Progress::Waits || !delivered(until_ms) {
            return Ok(Progress::Waits);
        }
        let scope = Scope { project: &project, what: &what, until_ms };
        let found = self.store.find_doomed(&scope).await?;
        self.remember(&project, &what, &found.request_ids)?;
        self.state.erasure_deletes(&erasure.id, found.events)?;
        self.store.erase_around(&scope, &found).await?;
        self.forget_in_state(&project, &what, &found)?;
        self.store.erase_events(&scope).await?;
        self.metrics.erased_events.inc_by(found.events);
        // An alert that began to fire meanwhile may have read them as its evidence.
        self.forget_in_state(&project, &what, &found)?;
        self.state.finish_erasure(&erasure.id, self.clock.now_ms())?;
        self.tombstones.remove(&erasure.id);
        tracing::info!(erasure = erasure.id, kind = what.kind(), events = found.events, "erased");
        Ok(Progress::Done)
    }

    fn forget_in_state(&self, project: &str, what: &Erasable, found: &Found) -> Result<(), StateError> {
        for id in &found.request_ids {
            self.state.forget_in_state(project, "request_id", id)?;
        }
        self.state.forget_in_state(project, what.kind(), what.value())
    }

    fn remember(&self, project: &str, what: &Erasable, request_ids: &[String]) -> Result<(), StateError> {
        let now_ms = self.clock.now_ms();
        let hash = |id: &str| self.pseudonyms.of_erased(project, id);
        for ids in request_ids.chunks(HASHES) {
            let hashes: Vec<_> = ids.iter().map(|id| hash(id)).collect();
            self.state.remember_erased(project, &hashes, now_ms)?;
        }
        match what {
            // Asked for by its id, whether there was an event or not.
            Erasable::Request(id) => self.state.remember_erased(project, &[hash(id.as_str())], now_ms),
            Erasable::Account(_) | Erasable::User(_) => Ok(()),
        }
    }

    async fn erase_from_quarantine(
        &self,
        erasure: &Erasure,
        project: &str,
        what: &Erasable,
        until_ms: i64,
    ) -> Result<Progress, EraseError> {
        let (quarantine, project, what) = (self.quarantine.clone(), project.to_owned(), what.clone());
        let (pseudonyms, state, now_ms) = (self.pseudonyms.clone(), self.state.clone(), self.clock.now_ms());
        let id = erasure.id.clone();
        let ended = tokio::task::spawn_blocking(move || -> Result<Progress, EraseError> {
            let failed = std::cell::RefCell::new(None);
            let (removed, claimed) = quarantine.erase(|event| {
                let fits = event.project == project
                    && event.received_at_ms <= until_ms
                    && what.holds(&event.account_id, &event.user_id, event.request_id.as_str());
                // Before it goes: then nobody would know its request id any more.
                let hash = || pseudonyms.of_erased(&project, event.request_id.as_str());
                match fits.then(|| state.remember_erased(&project, &[hash()], now_ms)) {
                    Some(Err(error)) => {
                        failed.replace(Some(error));
                        false
                    }
                    remembered => remembered.is_some(),
                }
            })?;
            state.erasure_removed(&id, removed)?;
            match failed.into_inner() {
                Some(error) => Err(error.into()),
                None => Ok(if claimed { Progress::Waits } else { Progress::Done }),
            }
        });
        ended.await?
    }
}
