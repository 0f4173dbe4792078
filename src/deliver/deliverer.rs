//! The loop that delivers, and what it does about each class of failure.

use std::{path::PathBuf, sync::Arc, time::Duration};

use tokio::{sync::watch, time::Instant};
use uuid::Uuid;

use super::{
    BatchRef, Books, Class, Destination, Failure, Stored,
    plan::{Batch, Plan, PlanError},
    quarantine::{Quarantine, QuarantineError},
};
use crate::{
    clock::Clock,
    event::{Event, codec},
    metrics::Metrics,
    spool::{Chunk, Item, Position, Reader, SpoolError, Writer},
};

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
    /// First and longest pause between attempts.
    pub retry: (Duration, Duration),
}

impl Options {
    /// The values that serve: visible within a second, batches large enough that merges keep up.
    #[must_use]
    pub fn new(dir: PathBuf) -> Self {
        Self {
            dir,
            max_rows: 100_000,
            max_bytes: 32 << 20,
            linger: Duration::from_millis(250),
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
    pub clock: Clock,
}

/// A chunk of the log and what could be decoded of it.
struct Decoded {
    chunk: Chunk,
    events: Vec<(Position, Event)>,
}

/// What became of one batch.
#[derive(Debug, PartialEq, Eq)]
enum Outcome {
    Stored,
    /// The destination will not take these rows.
    Refused(String),
    /// The shutdown came first; the plan stays.
    Interrupted,
}

/// What was known of a batch before an attempt.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Before {
    /// Never sent, in this run or another.
    Untried,
    /// Perhaps sent.
    Unknown,
}

impl<D: Destination> Deliverer<D> {
    /// Delivers until `stop` turns true and the spool is empty, or `stop`'s sender is gone.
    ///
    /// # Errors
    /// On an I/O error of the spool, the plan or the quarantine.
    pub async fn run(mut self, mut stop: watch::Receiver<bool>) -> Result<(), DeliverError> {
        let dir = self.options.dir.clone();
        std::fs::create_dir_all(&dir).map_err(|source| DeliverError::Directory { path: dir.clone(), source })?;
        if let Some(plan) = Plan::load(&dir)?.filter(|plan| plan.end > self.reader.start()) {
            tracing::info!(from = plan.start.0, to = plan.end.0, "resuming the delivery that was under way");
            let chunk = self.reader.read_range(plan.start, plan.end)?;
            let decoded = self.decode(chunk)?;
            if !self.execute(plan, &decoded, Before::Unknown, &mut stop).await? {
                return Ok(());
            }
        }
        loop {
            let from = self.reader.start();
            if !self.gather(from, &mut stop).await {
                return Ok(());
            }
            let chunk = self.reader.read(from, self.options.max_rows, self.options.max_bytes)?;
            if chunk.end == from {
                continue;
            }
            let (start, end) = (chunk.start, chunk.end);
            let decoded = self.decode(chunk)?;
            let plan = Plan::new(start, end, batches(&decoded.events));
            plan.save(&dir)?;
            if !self.execute(plan, &decoded, Before::Untried, &mut stop).await? {
                return Ok(());
            }
        }
    }

    /// Waits until there is something worth a batch; `false` when it is time to end.
    async fn gather(&mut self, from: Position, stop: &mut watch::Receiver<bool>) -> bool {
        loop {
            let stopping = *stop.borrow_and_update();
            tokio::select! {
                biased;
                there = self.reader.wait(from, Duration::from_secs(if stopping { 0 } else { 3600 })) => {
                    if there { break } else if stopping { return false }
                }
                changed = stop.changed() => if changed.is_err() { return false },
            }
        }
        let deadline = Instant::now() + self.options.linger;
        while !*stop.borrow_and_update() && self.writer.stats().items < self.options.max_rows as u64 {
            tokio::select! {
                () = tokio::time::sleep_until(deadline) => break,
                changed = stop.changed() => if changed.is_err() { break },
            }
        }
        true
    }

    /// Delivers a plan and lets the spool forget its range; `false` when interrupted.
    async fn execute(
        &mut self,
        mut plan: Plan,
        decoded: &Decoded,
        before: Before,
        stop: &mut watch::Receiver<bool>,
    ) -> Result<bool, DeliverError> {
        let events = &decoded.events;
        let total = decoded.chunk.items.len() as u64;
        let mut quarantined = total - events.len() as u64;
        let mut next = 0;
        let mut before = vec![before; plan.batches.len()];
        while let Some(batch) = plan.batches.get(next).cloned() {
            let rows: Vec<Event> = in_batch(events, &batch).map(|(_, event)| event.clone()).collect();
            match self.deliver(&batch, &rows, before[next], stop).await {
                Outcome::Interrupted => return Ok(false),
                Outcome::Stored => next += 1,
                Outcome::Refused(reason) if rows.len() == 1 => {
                    self.set_aside(&decoded.chunk, &batch, &reason)?;
                    quarantined += 1;
                    next += 1;
                }
                Outcome::Refused(reason) => {
                    tracing::warn!(rows = rows.len(), reason, "the destination refuses a batch; looking for the rows");
                    let halves = bisect(events, &batch);
                    before.splice(next..=next, halves.iter().map(|_| Before::Untried));
                    plan.batches.splice(next..=next, halves);
                    plan.save(&self.options.dir)?;
                }
            }
        }
        let (reader, end) = (&mut self.reader, plan.end);
        self.books.settle(total - quarantined, quarantined, || reader.forget(end))?;
        self.metrics.insert_events.inc_by(total - quarantined);
        if let Some(oldest) = plan.batches.iter().map(|batch| batch.received_ms.0).min() {
            self.metrics.visible_lag.set((self.clock.now_ms() - oldest).max(0) as f64 / 1000.0);
        }
        Ok(true)
    }

    /// Decodes a chunk; what does not decode is set aside.
    fn decode(&self, chunk: Chunk) -> Result<Decoded, DeliverError> {
        let mut events = Vec::with_capacity(chunk.items.len());
        for (position, item) in &chunk.items {
            match codec::decode(&item.payload) {
                Ok(event) => events.push((*position, event)),
                Err(error) => self.quarantine_item(*position, item, &error.to_string())?,
            }
        }
        Ok(Decoded { chunk, events })
    }

    fn set_aside(&self, chunk: &Chunk, batch: &Batch, reason: &str) -> Result<(), DeliverError> {
        for (position, item) in
            chunk.items.iter().filter(|(position, _)| *position >= batch.from && *position < batch.to)
        {
            self.quarantine_item(*position, item, reason)?;
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

    /// Attempts one batch until its fate is known.
    async fn deliver(
        &self,
        batch: &Batch,
        events: &[Event],
        mut before: Before,
        stop: &mut watch::Receiver<bool>,
    ) -> Outcome {
        if events.is_empty() {
            return Outcome::Stored;
        }
        let mut pause = self.options.retry.0;
        for attempt in 1.. {
            let started = Instant::now();
            let failure = match self.attempt(batch, attempt, events, before).await {
                Ok(how) => {
                    self.metrics.insert_batches.with_label_values(&[how]).inc();
                    self.metrics.insert_duration.observe(started.elapsed().as_secs_f64());
                    return Outcome::Stored;
                }
                Err(failure) => failure,
            };
            self.metrics.insert_batches.with_label_values(&["failed"]).inc();
            if failure.class == Class::Poison && self.tables_are_right().await {
                return Outcome::Refused(failure.message);
            }
            if failure.class != Class::Resend {
                before = Before::Unknown;
            }
            self.metrics.insert_retries.with_label_values(&[failure.class.as_str()]).inc();
            tracing::warn!(
                class = failure.class.as_str(),
                attempt,
                rows = events.len(),
                "insert: {failure}; next attempt in {pause:?}"
            );
            let factor = if failure.class == Class::Overloaded { 4 } else { 1 };
            if !wait(pause * factor, stop).await {
                return Outcome::Interrupted;
            }
            pause = (pause * 2).min(self.options.retry.1);
        }
        Outcome::Interrupted
    }

    /// One attempt: ask if need be, send what is missing, verify. Returns the `outcome` label.
    async fn attempt(
        &self,
        batch: &Batch,
        attempt: u32,
        events: &[Event],
        before: Before,
    ) -> Result<&'static str, Failure> {
        let stored = match before {
            Before::Untried => Stored::Nothing,
            Before::Unknown => self.destination.stored(&batch.reference(), true).await?,
        };
        match stored {
            Stored::All => return Ok("found"),
            Stored::Nothing => self.destination.insert(batch.id, attempt, events).await?,
            Stored::Some(keys) => {
                let missing: Vec<Event> = events.iter().filter(|event| !keys.contains(&event.key)).cloned().collect();
                tracing::warn!(
                    missing = missing.len(),
                    rows = events.len(),
                    "a part of a batch is stored; sending the rest"
                );
                self.destination.insert(batch.id, attempt, &missing).await?;
            }
        }
        // An event of the plan that the log has lost since is no longer expected.
        let expected = BatchRef { rows: events.len(), ..batch.reference() };
        match self.destination.stored(&expected, false).await? {
            Stored::All => Ok("stored"),
            Stored::Nothing | Stored::Some(_) => Err(Failure {
                class: Class::Ambiguous,
                message: "the insert was answered, but the rows are not there".into(),
            }),
        }
    }

    /// Whether the destination takes an empty batch: then a refusal is about rows, not about the tables.
    async fn tables_are_right(&self) -> bool {
        let probe = self.destination.takes_empty().await;
        if let Err(failure) = &probe {
            tracing::error!(
                "ClickHouse refuses even an empty batch; check its tables (`errata migrate status`): {failure}"
            );
        }
        probe.is_ok()
    }
}

/// Sleeps unless delivery is to stop: then there is one pause at most before the end.
async fn wait(pause: Duration, stop: &mut watch::Receiver<bool>) -> bool {
    if *stop.borrow_and_update() {
        return false;
    }
    tokio::select! {
        () = tokio::time::sleep(pause) => true,
        changed = stop.changed() => changed.is_ok() && !*stop.borrow(),
    }
}

/// One batch over all events, cut where the week of receipt changes: the tables are partitioned by it, and an insert is
/// atomic within one partition only.
fn batches(events: &[(Position, Event)]) -> Vec<Batch> {
    let mut batches: Vec<Batch> = Vec::new();
    for (position, event) in events {
        let (ms, next) = (event.received_at_ms, Position(position.0 + 1));
        match batches.last_mut().filter(|batch| week(batch.received_ms.0) == week(ms)) {
            Some(batch) => {
                batch.to = next;
                batch.rows += 1;
                batch.received_ms = (batch.received_ms.0.min(ms), batch.received_ms.1.max(ms));
            }
            None => {
                batches.push(Batch { id: Uuid::now_v7(), from: *position, to: next, rows: 1, received_ms: (ms, ms) });
            }
        }
    }
    batches
}

/// Weeks since the Monday before the Unix epoch (a Thursday).
fn week(ms: i64) -> i64 {
    (ms.div_euclid(86_400_000) + 3).div_euclid(7)
}

fn in_batch<'a>(
    events: &'a [(Position, Event)],
    batch: &Batch,
) -> impl Iterator<Item = &'a (Position, Event)> + use<'a> {
    let start = events.partition_point(|(position, _)| *position < batch.from);
    let end = events.partition_point(|(position, _)| *position < batch.to);
    events[start..end].iter()
}

/// Two batches of half the rows each, under new ids: the rows of the old id were refused, so none is stored.
fn bisect(events: &[(Position, Event)], batch: &Batch) -> Vec<Batch> {
    let rows: Vec<_> = in_batch(events, batch).collect();
    let (left, right) = rows.split_at(rows.len() / 2);
    let half = |part: &[&(Position, Event)]| {
        let received = part.iter().map(|(_, event)| event.received_at_ms);
        let (min, max) = (received.clone().min()?, received.max()?);
        let (from, to) = (part.first()?.0, Position(part.last()?.0.0 + 1));
        Some(Batch { id: Uuid::now_v7(), from, to, rows: part.len(), received_ms: (min, max) })
    };
    [left, right].into_iter().filter_map(half).collect()
}
