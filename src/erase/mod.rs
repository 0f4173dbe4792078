//! Erasing: somebody's events go from everywhere, whatever is interrupted in between.
//!
//! 1. `begin` writes the erasure to the state database and puts up a tombstone: from then on delivery leaves out what is in the
//!    spool and was received up to now ([`crate::deliver::tombstones`]).
//! 2. [`Eraser::advance`] waits until everything that was received up to then is in the spool ([`Arrivals`]), has left it, and is in
//!    the rollups: what a plan under way brings into ClickHouse is there then.
//! 3. They go from the quarantine, before a retry could bring them back. What was retried until then is waited for once more: from
//!    then on nothing of it comes any more.
//! 4. In rounds, the request ids are remembered as keyed hashes, so that a lookup can say "erased", and go from the lookup index and
//!    the samples ([`crate::store::erase`]); then what else the other tables keep. Then the events: they alone say which requests they
//!    were. The evidence of alerts and the notes of rejections go last, by the hashes, between two steps of the alert rules: nobody can
//!    read it from the events again, and nobody who has read it writes it down any more.
//! 5. It is done: whose events they were is forgotten.
//!
//! Every step can be repeated; after a start, unfinished erasures go on from what the state database says.

pub mod arrivals;

use std::{collections::HashSet, sync::Arc};

use tokio::sync::{Mutex, Notify};

use arrivals::Arrivals;

use crate::{
    clock::Clock,
    deliver::{
        quarantine::{Quarantine, QuarantineError},
        tombstones::{Tombstone, Tombstones, Withheld},
    },
    event::{EventKey, erasure::Erasable, pseudonym::Pseudonyms},
    metrics::Metrics,
    state::{Erasure, State, StateError},
    store::{
        Store, StoreError,
        erase::{Doomed, Scope},
    },
};

/// Events that are noted as left out in one transaction: others write to the state database in between.
const NOTED_AT_ONCE: usize = 5000;

/// Why an erasure does not go on.
#[derive(Debug, thiserror::Error)]
pub enum EraseError {
    #[error(transparent)]
    State(#[from] StateError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Quarantine(#[from] QuarantineError),
    #[error("a step ended early: {0}")]
    Panicked(#[from] tokio::task::JoinError),
}

/// What became of an attempt to go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// It must wait: for delivery, or for a retry from the quarantine.
    Waits,
    Done,
}

/// Since when nothing comes any more of what an erasure takes. Forgotten at a start: then it is waited for anew.
#[derive(Clone, Copy, Debug, Default)]
pub struct Course {
    /// From bodies that were arriving, milliseconds since the Unix epoch.
    arrived_ms: Option<i64>,
    /// Neither from the quarantine.
    retried_ms: Option<i64>,
}

/// The rooms that hold events.
#[derive(Clone)]
pub struct Eraser {
    pub state: State,
    pub store: Store,
    pub quarantine: Quarantine,
    pub tombstones: Arc<Tombstones>,
    /// What is on its way into the spool.
    pub arrivals: Arc<Arrivals>,
    /// Held during a step of the alert rules: what it has read of events as evidence is written down when it ends.
    pub evaluation: Arc<Mutex<()>>,
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
        events.chunks(NOTED_AT_ONCE).try_for_each(|events| {
            let events = events.iter().map(|event| {
                let hash = pseudonyms.of_erased(&event.project, &event.request_id);
                (event.erasure.clone(), event.key.0, event.project.clone(), hash)
            });
            state.withhold(events, clock.now_ms()).map_err(|error| error.to_string())
        })
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
    /// Erasures that are not done, the oldest first.
    ///
    /// # Errors
    /// When the state database cannot be read.
    pub async fn unfinished(&self) -> Result<Vec<Erasure>, EraseError> {
        self.blocking(|eraser| Ok(eraser.state.unfinished_erasures()?)).await
    }

    /// Notes why the last step of an erasure failed, or that it did not.
    ///
    /// # Errors
    /// When the state database cannot be written.
    pub async fn note(&self, erasure: &Erasure, problem: Option<String>) -> Result<(), EraseError> {
        if erasure.problem == problem {
            return Ok(());
        }
        let id = erasure.id.clone();
        self.blocking(move |eraser| Ok(eraser.state.erasure_problem(&id, problem.as_deref())?)).await
    }

    /// Begins to erase what was received of somebody up to now. Blocks on the state database.
    ///
    /// # Errors
    /// When the state database cannot be written: nothing is erased then.
    pub fn begin(&self, project: &str, what: &Erasable, by: &str) -> Result<Erasure, StateError> {
        let begun = self.state.begin_erasure(&Erasure {
            by: by.to_owned(),
            ..Erasure::new(project, what.kind(), what.value(), self.arrivals.erased_ms(&self.clock))
        })?;
        if let Some(tombstone) = tombstone(&begun) {
            self.tombstones.add(tombstone);
        }
        self.begun.notify_one();
        Ok(begun)
    }

    /// Goes on with an erasure as far as it can. `delivered` says whether everything that was in the spool at a time has left it and is
    /// in the rollups.
    ///
    /// # Errors
    /// When a room does not answer: to be tried again later.
    pub async fn advance(
        &self,
        erasure: &Erasure,
        course: &mut Course,
        delivered: impl Fn(i64) -> bool,
    ) -> Result<Progress, EraseError> {
        let Some(Tombstone { project, what, until_ms, .. }) = tombstone(erasure) else { return Ok(Progress::Done) };
        if course.arrived_ms.is_none() && self.arrivals.have_arrived(until_ms) {
            course.arrived_ms = Some(self.clock.now_ms());
        }
        if !course.arrived_ms.is_some_and(&delivered) {
            return Ok(Progress::Waits);
        }
        if course.retried_ms.is_none() && !self.erase_from_quarantine(erasure, &project, &what, until_ms).await? {
            course.retried_ms = Some(self.clock.now_ms());
        }
        if !course.retried_ms.is_some_and(delivered) {
            return Ok(Progress::Waits);
        }
        let scope = Scope { project: &project, what: &what, until_ms };
        let events = self.erase_from_store(&erasure.id, &scope).await?;
        self.finish(erasure, project.clone(), what.clone()).await?;
        self.metrics.erased_events.inc_by(events);
        self.tombstones.remove(&erasure.id);
        tracing::info!(erasure = erasure.id, kind = what.kind(), events, "erased");
        Ok(Progress::Done)
    }

    /// Returns how many events there were.
    async fn erase_from_store(&self, id: &str, scope: &Scope<'_>) -> Result<u64, EraseError> {
        let events = self.store.count_doomed(scope).await?;
        let erasure = id.to_owned();
        self.blocking(move |eraser| Ok(eraser.state.erasure_deletes(&erasure, events)?)).await?;
        let mut after: Option<Doomed> = None;
        loop {
            let places = self.store.doomed_after(scope, after.as_ref()).await?;
            let Some(last) = places.last().cloned() else { break };
            let ids = places.iter().map(|place| place.request_id.clone()).collect();
            self.remember(scope.project, ids).await?;
            self.store.erase_places(scope, &places).await?;
            after = Some(last);
        }
        self.store.erase_around(scope).await?;
        self.store.erase_events(scope).await?;
        Ok(events)
    }

    /// Remembers that requests were erased.
    async fn remember(&self, project: &str, request_ids: Vec<String>) -> Result<(), EraseError> {
        let project = project.to_owned();
        self.blocking(move |Self { state, pseudonyms, clock, .. }| {
            let hashes: HashSet<_> = request_ids.iter().map(|id| pseudonyms.of_erased(&project, id)).collect();
            Ok(state.remember_erased(&project, hashes.iter(), clock.now_ms())?)
        })
        .await
    }

    async fn finish(&self, erasure: &Erasure, project: String, what: Erasable) -> Result<(), EraseError> {
        if let Erasable::Request(id) = &what {
            // Asked for by its id, whether there was an event or not.
            self.remember(&project, vec![id.as_str().to_owned()]).await?;
        }
        let id = erasure.id.clone();
        let _between_steps = self.evaluation.lock().await;
        self.blocking(move |eraser| {
            eraser.state.forget_erased(&project, what.value(), |id| eraser.pseudonyms.of_erased(&project, id))?;
            Ok(eraser.state.finish_erasure(&id, eraser.clock.now_ms())?)
        })
        .await
    }

    /// Says whether one more is being retried.
    async fn erase_from_quarantine(
        &self,
        erasure: &Erasure,
        project: &str,
        what: &Erasable,
        until_ms: i64,
    ) -> Result<bool, EraseError> {
        let (id, project, what) = (erasure.id.clone(), project.to_owned(), what.clone());
        self.blocking(move |Self { quarantine, pseudonyms, state, clock, .. }| {
            let failed = std::cell::RefCell::new(None);
            let (removed, claimed) = quarantine.erase(|event| {
                let fits = event.project == project
                    && event.received_at_ms <= until_ms
                    && what.holds(&event.account_id, &event.user_id, event.request_id.as_str());
                // Before it goes: then nobody would know its request id any more.
                let hash = || pseudonyms.of_erased(&project, event.request_id.as_str());
                match fits.then(|| state.remember_erased(&project, [&hash()], clock.now_ms())) {
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
                None => Ok(claimed),
            }
        })
        .await
    }

    /// Does what blocks on files where that holds nobody up.
    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Self) -> Result<T, EraseError> + Send + 'static,
    ) -> Result<T, EraseError> {
        let eraser = self.clone();
        tokio::task::spawn_blocking(move || work(&eraser)).await?
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicI64, Ordering};

    use super::*;
    use crate::{
        state::{AlertChanges, AlertRow},
        store::client::{Access, Database},
    };

    fn eraser(dir: &std::path::Path, now: &Arc<AtomicI64>) -> Eraser {
        let _ = rustls::crypto::ring::default_provider().install_default(); // another test may have been first
        let database = Database::parse("errata").unwrap();
        let state = State::open(dir).unwrap();
        let (pseudonyms, clock) = (Pseudonyms::new(&[0; 32]), Clock::manual(Arc::clone(now)));
        Eraser {
            store: Store::new(Access::external("http://127.0.0.1:1", database).unwrap().clients().unwrap()),
            quarantine: Quarantine::open(dir.join("quarantine")).unwrap(),
            tombstones: Arc::new(tombstones(&state, &pseudonyms, &clock).unwrap()),
            arrivals: Arc::default(),
            evaluation: Arc::default(),
            metrics: Arc::new(Metrics::new().unwrap()),
            begun: Arc::default(),
            state,
            pseudonyms,
            clock,
        }
    }

    #[tokio::test]
    async fn an_erasure_waits_for_what_was_received_and_is_not_in_the_spool_yet() {
        let dir = tempfile::tempdir().unwrap();
        let now = Arc::new(AtomicI64::new(100));
        let eraser = eraser(dir.path(), &now);
        let before = eraser.arrivals.enter(&eraser.clock);
        now.store(101, Ordering::Relaxed);
        let erasure = eraser.begin("p", &Erasable::Account("17".into()), "anna").unwrap();
        let _later = eraser.arrivals.enter(&eraser.clock);
        now.store(105, Ordering::Relaxed);
        let mut course = Course::default();
        let waits = eraser.advance(&erasure, &mut course, |_| true).await;
        assert_eq!(waits.unwrap(), Progress::Waits, "the spool is empty, and something is on its way into it");
        drop(before);
        // In the spool since then at the latest: it is not enough that what was there at the erasure has left.
        let waits = eraser.advance(&erasure, &mut course, |at_ms| at_ms < 105).await;
        assert_eq!(waits.unwrap(), Progress::Waits);
        // What was retried from the quarantine is in the spool since then.
        now.store(110, Ordering::Relaxed);
        let waits = eraser.advance(&erasure, &mut course, |at_ms| at_ms < 110).await;
        assert_eq!(waits.unwrap(), Progress::Waits);
        let deletes = eraser.advance(&erasure, &mut course, |at_ms| at_ms <= 110).await;
        assert!(matches!(deletes, Err(EraseError::Store(_))), "{deletes:?}");
    }

    /// A step of the alert rules that has read its evidence before the events were deleted writes it down when it ends.
    #[tokio::test]
    async fn evidence_is_forgotten_when_the_step_that_reads_it_has_ended() {
        let dir = tempfile::tempdir().unwrap();
        let eraser = eraser(dir.path(), &Arc::new(AtomicI64::new(100)));
        let account = Erasable::Account("17".into());
        let erasure = eraser.begin("p", &account, "anna").unwrap();
        let step = eraser.evaluation.lock().await;
        let mut finishing = Box::pin(eraser.finish(&erasure, "p".into(), account));
        let too_early = tokio::time::timeout(std::time::Duration::from_millis(200), &mut finishing).await;
        assert!(too_early.is_err(), "it has forgotten what the step goes on to write");
        let evidence = Some(r#"{"accounts":[{"account":"17"}]}"#.to_owned());
        let put = vec![AlertRow { evidence, ..AlertRow::firing(5) }];
        eraser.state.apply_alerts(&AlertChanges { put, ..AlertChanges::default() }).unwrap();
        drop(step);
        finishing.await.unwrap();
        assert_eq!(eraser.state.alerts(None).unwrap()[0].evidence, None);
    }
}
