//! The loop that delivers, and what it does about each class of failure.

use std::{
    collections::HashSet,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use tokio::{sync::watch, time::Instant};
use tracing::Instrument;

use super::{
    Books, Destination,
    attempt::{Before, Outcome, wait},
    part::{Part, batches, bisect, digest},
    plan::{Batch, Plan, PlanError},
    quarantine::{Quarantine, QuarantineError},
    rollup::{Counts, Pending, RollUpAt},
    rows::PIECE_BYTES,
    shortage,
    tombstones::{Tombstones, tombstone_of},
};
use crate::{
    clock::Clock,
    event::{
        EventKey,
        codec::{self, DecodeError},
    },
    metrics::Metrics,
    spool::{Item, Position, Reader, SpoolError, Writer},
    telemetry::Origins,
};

/// Events in the queue from which on they come fast: a batch of fewer is a small one.
const MANY_QUEUED: u64 = 2000;

/// Bounds of a batch and of the wait for one.
#[derive(Clone, Debug)]
pub struct Options {
    /// Directory of the plan.
    pub dir: PathBuf,
    pub max_rows: usize,
    /// Bytes of payloads.
    pub max_bytes: usize,
    /// How long a short queue is left to grow before it is sent. Fresh lookups want it short, merges want it long.
    pub linger: Duration,
    pub roll_up: RollUpAt,
    /// First and longest pause between attempts.
    pub retry: (Duration, Duration),
}

impl Options {
    /// The values that serve: visible within a second, batches large enough that merges keep up.
    #[must_use]
    pub fn new(dir: PathBuf) -> Self {
        Self {
            dir,
            max_rows: 250_000,
            max_bytes: 256 << 20,
            linger: Duration::from_millis(250),
            roll_up: RollUpAt { events: 400_000, age: Duration::from_secs(2) },
            retry: (Duration::from_millis(100), Duration::from_secs(5)),
        }
    }
}

/// Why delivery ended. Nothing is lost: what is not delivered stays in the spool.
#[derive(Debug, thiserror::Error)]
pub enum DeliverError {
    #[error(transparent)]
    Spool(#[from] SpoolError),
    #[error(transparent)]
    Plan(#[from] PlanError),
    #[error(transparent)]
    Quarantine(#[from] QuarantineError),
    #[error("cannot make {path}: {source}", path = path.display())]
    Directory { path: PathBuf, source: std::io::Error },
    #[error("cannot note which events were erased: {0}")]
    Erasures(String),
    /// What of the batches is stored is asked for when their plan is taken up again.
    #[error("the log has lost events of a batch under way")]
    Lost,
}

/// Delivers a spool to a destination.
pub struct Deliverer<D> {
    pub options: Options,
    pub reader: Reader,
    pub writer: Writer,
    pub destination: D,
    pub quarantine: Quarantine,
    pub books: Arc<Books>,
    pub metrics: Arc<Metrics>,
    pub origins: Arc<Origins>,
    pub tombstones: Arc<Tombstones>,
    pub clock: Clock,
    /// What is stored of plans that could not be followed to their end; nothing to begin with.
    pub earlier: Earlier,
    /// What is not in the rollups yet; nothing to begin with.
    pub pending: Pending,
}

/// Batches of plans that could not be followed to their end, and the keys that are stored under them. Each further plan names
/// them, so that they are known after a crash too, until the log is empty.
#[derive(Default)]
pub struct Earlier {
    batches: Vec<Batch>,
    keys: HashSet<EventKey>,
}

/// What ended the wait for events.
enum Gathered {
    Events,
    /// What is pending has become due.
    RollUp,
    Stop,
}

impl<D: Destination> Deliverer<D> {
    /// Delivers until `stop` turns true and the spool is empty, or `stop`'s sender is gone.
    ///
    /// # Errors
    /// On an I/O error of the spool, the plan or the quarantine.
    pub async fn run(mut self, mut stop: watch::Receiver<bool>) -> Result<(), DeliverError> {
        loop {
            match self.run_until_failure(&mut stop).await {
                Err(error @ DeliverError::Lost) => {
                    tracing::error!("delivery: {error}; reading it anew");
                    if !wait(self.options.retry.0, &mut stop).await {
                        return Ok(());
                    }
                }
                Err(error) => {
                    let pause = self.options.retry.1;
                    match error {
                        DeliverError::Erasures(_) => {
                            tracing::warn!(
                                "delivery: {error}; what is erased must not go out: trying again in {pause:?}"
                            );
                        }
                        error if shortage::is_cause_of(&error) => {
                            tracing::warn!("delivery: {error}; going on in {pause:?}, when there may be room again");
                        }
                        error => return Err(error),
                    }
                    if !wait(pause, &mut stop).await {
                        return Ok(());
                    }
                }
                Ok(()) => return Ok(()),
            }
        }
    }

    /// Delivers from what is on disk, as after a start.
    async fn run_until_failure(&mut self, stop: &mut watch::Receiver<bool>) -> Result<(), DeliverError> {
        // The plan on disk names the groups that were pending: they are taken up from there.
        self.pending = Pending::default();
        let dir = self.options.dir.clone();
        std::fs::create_dir_all(&dir).map_err(|source| DeliverError::Directory { path: dir.clone(), source })?;
        if !self.take_up(&dir, stop).await? {
            return Ok(());
        }
        loop {
            if self.pending.due(self.options.roll_up).is_some_and(|due| due <= Instant::now())
                && !self.roll_up_pending(stop).await
            {
                return Ok(());
            }
            let from = self.reader.start();
            match self.gather(from, stop).await {
                Gathered::Events => {}
                Gathered::RollUp => continue,
                Gathered::Stop => {
                    self.roll_up_pending(stop).await;
                    return Ok(());
                }
            }
            let part = self.read(from)?;
            if part.end == from {
                continue;
            }
            let batches = batches(&part);
            let groups = self.pending.groups_for(&batches);
            let mut plan = Plan::new(part.start, part.end, batches, groups);
            plan.earlier.clone_from(&self.earlier.batches);
            plan.save(&dir)?;
            // Before the spool forgets them, so that an event is always in one of the two gauges.
            self.metrics.rollup_pending.set((self.pending.events() + part.len() as u64) as i64);
            let Some(stored) = self.execute(plan, &part, Before::Untried, stop).await? else { return Ok(()) };
            for batch in &stored {
                self.pending.add(batch);
            }
            self.metrics.rollup_pending.set(self.pending.events() as i64);
            if self.writer.stats().items == 0 {
                self.earlier = Earlier::default();
            }
        }
    }

    /// Finishes what an earlier run had under way; `false` when interrupted.
    async fn take_up(&mut self, dir: &Path, stop: &mut watch::Receiver<bool>) -> Result<bool, DeliverError> {
        if let Some(plan) = Plan::load(dir)? {
            self.earlier = Earlier::default();
            if self.writer.stats().items > 0 && !self.leave_out(plan.earlier.clone(), stop).await {
                return Ok(false);
            }
            if plan.end > self.reader.start() && !self.resume(plan, stop).await? {
                return Ok(false);
            }
        }
        // Read again: it has other batches when some had to be cut.
        let groups = Plan::load(dir)?.map(Plan::complete_groups).unwrap_or_default();
        for group in groups.into_iter().filter(|group| !group.batches.is_empty()) {
            if !self.roll_up(&group, Counts::Stored, Before::Unknown, stop).await {
                return Ok(false);
            }
        }
        self.metrics.rollup_pending.set(0);
        Ok(true)
    }

    /// Asks what is stored under these batches, so that it is not delivered again; `false` when interrupted.
    async fn leave_out(&mut self, batches: Vec<Batch>, stop: &mut watch::Receiver<bool>) -> bool {
        for batch in batches {
            let mut pause = self.options.retry.0;
            loop {
                match self.destination.stored_keys(&batch.reference()).await {
                    Ok(keys) => break self.earlier.keys.extend(keys),
                    Err(failure) => {
                        tracing::warn!("asking for a batch of an earlier run: {failure}; again in {pause:?}");
                    }
                }
                if !wait(pause, stop).await {
                    return false;
                }
                pause = (pause * 2).min(self.options.retry.1);
            }
            self.earlier.batches.push(batch);
        }
        true
    }

    /// Goes on with the plan of an earlier run; `false` when interrupted.
    ///
    /// If the log does not hold what the plan is about (its files were moved away, or damaged since), the plan is dropped. What
    /// is stored under its batches is asked for once, and left out when the log is delivered under new plans.
    async fn resume(&mut self, plan: Plan, stop: &mut watch::Receiver<bool>) -> Result<bool, DeliverError> {
        tracing::info!(from = plan.start.0, to = plan.end.0, "resuming the delivery that was under way");
        let mut part = Part::new(plan.start);
        let mut undecodable = Vec::new();
        let withheld = self.tombstones.withheld();
        self.reader.read_range_with(plan.start, plan.end, |position, item| {
            // As it was when the plan was made, whatever was erased since.
            if !withheld.is_empty() && codec::peek(item.payload).is_ok_and(|head| withheld.contains(&head.key)) {
                part.withhold();
            } else if let Err(error) = part.take(position, item, &self.earlier.keys) {
                undecodable.push((position, item.to_item(), error));
            }
        })?;
        part.end = plan.end;
        self.set_undecodable_aside(undecodable)?;
        let fits = |batch: &Batch| {
            let rows = part.of(batch);
            rows.len() == batch.rows && digest(&part, rows) == batch.digest
        };
        // What no batch holds would be forgotten with the rest.
        let rows: usize = plan.batches.iter().map(|batch| batch.rows).sum();
        if part.items > 0 && rows == part.len() && plan.batches.iter().all(fits) {
            // A checkpoint that was lost, or is an old one: what comes before a plan was delivered before it was written.
            let delivered = self.reader.items_before(plan.start);
            self.settle(delivered, 0, plan.start)?;
            return Ok(self.execute(plan, &part, Before::Unknown, stop).await?.is_some());
        }
        tracing::warn!("the spool does not hold what was under way; asking ClickHouse what of it is stored");
        Ok(self.leave_out(plan.batches, stop).await)
    }

    /// Waits until there is something worth a batch, or something to roll up, or it is time to end.
    async fn gather(&mut self, from: Position, stop: &mut watch::Receiver<bool>) -> Gathered {
        let due = self.pending.due(self.options.roll_up);
        loop {
            let stopping = *stop.borrow_and_update();
            tokio::select! {
                biased;
                there = self.reader.wait(from, Duration::from_secs(if stopping { 0 } else { 3600 })) => {
                    if there { break } else if stopping { return Gathered::Stop }
                }
                changed = stop.changed() => if changed.is_err() { return Gathered::Stop },
                () = tokio::time::sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() => {
                    return Gathered::RollUp;
                }
            }
        }
        let began = Instant::now();
        while !*stop.borrow_and_update() && self.writer.stats().items < self.options.max_rows as u64 {
            // Events that come fast make a large batch of the same wait, and large batches cost the merges less.
            let is_fast = self.writer.stats().items >= MANY_QUEUED;
            let linger = if is_fast { self.options.linger * 3 / 2 } else { self.options.linger };
            if began.elapsed() >= linger {
                break;
            }
            tokio::select! {
                () = tokio::time::sleep_until(began + linger) => {}
                changed = stop.changed() => if changed.is_err() { break },
            }
        }
        Gathered::Events
    }

    /// Delivers a plan and lets the spool forget its range; returns the batches that are stored, none when interrupted.
    async fn execute(
        &mut self,
        mut plan: Plan,
        part: &Part,
        before: Before,
        stop: &mut watch::Receiver<bool>,
    ) -> Result<Option<Vec<Batch>>, DeliverError> {
        let total = part.items;
        let mut quarantined = total - part.stored - part.withheld - part.len() as u64;
        let mut next = 0;
        let mut before = vec![before; plan.batches.len()];
        let mut stored = Vec::new();
        while let Some(batch) = plan.batches.get(next).cloned() {
            let rows = batch.rows;
            let span = self.origins.delivery(batch.from.0, batch.to.0, rows);
            match self.deliver(&batch, part, before[next], stop).instrument(span).await? {
                Outcome::Interrupted => return Ok(None),
                Outcome::Stored => {
                    stored.push(batch);
                    next += 1;
                }
                Outcome::TooLarge => {
                    tracing::warn!(rows, "ClickHouse has too little memory for a batch; sending it in halves");
                    self.split(&mut plan, &mut before, next, part)?;
                }
                Outcome::Refused(reason) if rows == 1 => {
                    self.set_aside(&batch, &reason)?;
                    quarantined += 1;
                    next += 1;
                }
                Outcome::Refused(reason) => {
                    tracing::warn!(rows, reason, "the destination refuses a batch; looking for the rows");
                    self.split(&mut plan, &mut before, next, part)?;
                }
            }
        }
        self.settle(total - quarantined, quarantined, plan.end)?;
        self.metrics.insert_events.inc_by(total - quarantined - part.withheld);
        self.metrics.erased_events.inc_by(part.withheld);
        if let Some(oldest) = plan.batches.iter().map(|batch| batch.received_ms.0).min() {
            self.metrics.visible_lag.set((self.clock.now_ms() - oldest).max(0) as f64 / 1000.0);
        }
        Ok(Some(stored))
    }

    /// Lets the spool forget everything before `end`, and enters in the books what became of it.
    fn settle(&mut self, stored: u64, quarantined: u64, end: Position) -> Result<(), DeliverError> {
        let reader = &mut self.reader;
        let forget = || {
            let outcome = reader.forget(end);
            (reader.start() >= end, outcome)
        };
        Ok(self.books.settle(stored, quarantined, forget)?)
    }

    /// Puts two halves in the place of a batch of which nothing is stored.
    fn split(&self, plan: &mut Plan, before: &mut Vec<Before>, at: usize, part: &Part) -> Result<(), DeliverError> {
        let halves = bisect(part, &plan.batches[at]);
        before.splice(at..=at, halves.iter().map(|_| Before::Untried));
        plan.batches.splice(at..=at, halves);
        Ok(plan.save(&self.options.dir)?)
    }

    /// Reads as much as one plan covers.
    fn read(&mut self, from: Position) -> Result<Part, DeliverError> {
        let (mut rows, mut bytes) = (self.options.max_rows, self.options.max_bytes);
        let mut part = Part::new(from.max(self.reader.start()));
        let mut undecodable = Vec::new();
        let (tombstones, mut withheld) = (self.tombstones.active(), Vec::new());
        while rows > 0 && bytes > 0 {
            let (mut items, mut payloads) = (0, 0);
            let end = self.reader.read_with(part.end, rows, bytes.min(PIECE_BYTES), |position, item| {
                items += 1;
                payloads += item.payload.len();
                if let Some(erased) = tombstones.as_ref().and_then(|all| tombstone_of(all, item.payload)) {
                    part.withhold();
                    withheld.push(erased);
                } else if let Err(error) = part.take(position, item, &self.earlier.keys) {
                    undecodable.push((position, item.to_item(), error));
                }
            })?;
            if end == part.end {
                break;
            }
            part.end = end;
            // A read goes past its bounds by one record at most, and only if that is its first.
            rows = rows.saturating_sub(items);
            bytes = bytes.saturating_sub(payloads);
        }
        self.tombstones.leave_out(&withheld).map_err(DeliverError::Erasures)?;
        self.set_undecodable_aside(undecodable)?;
        Ok(part)
    }

    fn set_undecodable_aside(&self, items: Vec<(Position, Item, DecodeError)>) -> Result<(), DeliverError> {
        for (position, item, error) in items {
            self.quarantine_item(position, &item, &error.to_string())?;
        }
        Ok(())
    }

    fn set_aside(&mut self, batch: &Batch, reason: &str) -> Result<(), DeliverError> {
        for (position, item) in self.reader.read_range(batch.from, batch.to)?.items {
            self.quarantine_item(position, &item, reason)?;
        }
        self.metrics.insert_batches.with_label_values(&["quarantined"]).inc();
        Ok(())
    }

    fn quarantine_item(&self, position: Position, item: &Item, reason: &str) -> Result<(), DeliverError> {
        tracing::error!(
            position = position.0,
            reason,
            "an event cannot be delivered and is set aside; see `errata quarantine list`"
        );
        self.metrics.spool_quarantined.inc();
        Ok(self.quarantine.put(position, item, reason, self.clock.now_ms())?)
    }
}
