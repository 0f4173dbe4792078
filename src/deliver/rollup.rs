//! From delivered batches into the rollups: count → insert → verify → forget.
//!
//! # Exactly once
//!
//! - Each delivered batch belongs to one [`Group`], and each group is added to each table of rollups once.
//! - Before a batch is first sent, the plan on disk names the groups under way: their ids and the batches in them. A group is
//!   added between two plans only, so what the last plan names is what any attempt to add it was made of.
//! - A group's insert is one block and brings a marker of the group: it is in as a whole, with its marker, or not at all.
//!   After an attempt whose outcome is unknown, running ones are ended and the marker is asked for.
//! - Counts are in memory until a group is added, made while its events are encoded. When an attempt at a batch fails, the counts
//!   of its group are given up: ClickHouse itself makes them, from the events stored under the group's batches. So it does
//!   after a crash with the groups of the last plan: under the same ids, unless their markers are there.
//!
//! So the rollups count each event as often as it was delivered: once, but for a repetition that the spool no longer
//! recognises, which is stored twice (`docs/decisions/0004-idempotency.md`).

use std::time::Duration;

use tokio::{sync::watch, time::Instant};

use super::{
    Deliverer, Destination, Failure, RetryClass,
    attempt::{Before, after_an_answer, wait},
    plan::Batch,
};
use crate::{
    event::EventRef,
    memory,
    store::{
        rollup::{Group, RollupTable, Rollups},
        rows::week_of,
    },
};

/// Batches of one group at most: they stand in the plan.
const MAX_BATCHES: usize = 256;

/// Bytes that counts may take in memory, about, before they are added.
const MAX_MEMORY: usize = 32 << 20;

/// Bytes at which the counts of a group are given up within a batch, to be made again from what is stored.
const TOO_MUCH_MEMORY: usize = 2 * MAX_MEMORY;

/// When what was counted is added to the rollups: whichever comes first.
#[derive(Clone, Copy, Debug)]
pub struct RollUpAt {
    /// Events counted. A group of more costs the merges less (docs/decisions/0007-rollups.md).
    pub events: u64,
    /// Time since the first of them was delivered: by so much rollups are behind the events.
    pub age: Duration,
}

/// What is delivered and not in the rollups yet.
#[derive(Default)]
pub struct Pending {
    /// One a week of receipt: a group is added to one partition.
    groups: Vec<Waiting>,
    since: Option<Instant>,
}

/// A group that waits to be added.
struct Waiting {
    group: Group,
    /// Events of its batches.
    events: u64,
    tally: Tally,
}

/// What memory knows of a group.
pub(super) enum Tally {
    /// Its batches, and as much as was read of the one under way.
    Counted(Box<Rollups>),
    /// An attempt failed, and what was counted of it is not what is stored; or it became too much. ClickHouse counts.
    Lost,
}

/// Where the counts of a group come from.
#[derive(Clone, Copy)]
pub enum Counts<'a> {
    Counted(&'a Rollups),
    /// What is stored under the group's batches.
    Stored,
}

impl Tally {
    pub(super) fn count(&mut self, event: &EventRef<'_>) {
        if let Self::Counted(rollups) = self {
            rollups.add(event);
        }
    }

    /// Gives the counts up when they take too much memory.
    pub(super) fn bound(&mut self) {
        if self.memory() > TOO_MUCH_MEMORY {
            *self = Self::Lost;
        }
    }

    fn memory(&self) -> usize {
        match self {
            Self::Counted(rollups) => rollups.memory(),
            Self::Lost => 0,
        }
    }

    fn counts(&self) -> Counts<'_> {
        match self {
            Self::Counted(rollups) => Counts::Counted(rollups),
            Self::Lost => Counts::Stored,
        }
    }
}

impl Pending {
    /// Events of delivered batches.
    pub fn events(&self) -> u64 {
        self.groups.iter().map(|waiting| waiting.events).sum()
    }

    /// The groups that these batches will be in, with the batches that are in them so far.
    pub(super) fn groups_for(&mut self, batches: &[Batch]) -> Vec<Group> {
        for batch in batches {
            if self.of(batch).is_none() {
                let group = Group::new(week_of(batch.received_ms.0));
                self.groups.push(Waiting { group, events: 0, tally: Tally::Counted(Box::default()) });
            }
        }
        self.groups.iter().map(|waiting| waiting.group.clone()).collect()
    }

    /// Where the events of a batch are counted; `None` when it belongs to no group that is pending.
    pub(super) fn tally(&mut self, batch: &Batch) -> Option<&mut Tally> {
        Some(&mut self.of(batch)?.tally)
    }

    /// Adds a delivered batch to its group.
    pub(super) fn add(&mut self, batch: &Batch) {
        if let Some(waiting) = self.of(batch) {
            waiting.group.add(batch.id, batch.received_ms);
            waiting.events += batch.rows as u64;
            self.since.get_or_insert_with(Instant::now);
        }
    }

    fn of(&mut self, batch: &Batch) -> Option<&mut Waiting> {
        let week = week_of(batch.received_ms.0);
        self.groups.iter_mut().find(|waiting| waiting.group.week == week)
    }

    /// When it is to be added: in the past where there is enough of it, never where there is nothing.
    pub(super) fn due(&self, at: RollUpAt) -> Option<Instant> {
        let since = self.since?;
        let full = self.events() >= at.events
            || self.groups.iter().any(|waiting| waiting.group.batches.len() >= MAX_BATCHES)
            || self.memory() >= MAX_MEMORY;
        Some(if full { since } else { since + at.age })
    }

    /// Bytes that the counts take, about.
    fn memory(&self) -> usize {
        self.groups.iter().map(|waiting| waiting.tally.memory()).sum()
    }
}

impl<D: Destination> Deliverer<D> {
    /// Adds what is pending; `false` when interrupted: then the next start does it.
    pub(super) async fn roll_up_pending(&mut self, stop: &mut watch::Receiver<bool>) -> bool {
        let is_large = self.pending.memory() > memory::LARGE;
        while let Some(Waiting { group, events, tally }) = self.pending.groups.last() {
            if *events > 0 && !self.roll_up(group, tally.counts(), Before::Untried, stop).await {
                return false;
            }
            self.pending.groups.pop();
        }
        self.pending.since = None;
        self.metrics.rollup_pending.set(0);
        self.note_rolled_up();
        if is_large {
            memory::give_back();
        }
        true
    }

    /// Notes up to when everything is in the rollups: what is neither there nor in the spool was received later.
    fn note_rolled_up(&self) {
        let now_ms = self.clock.now_ms();
        self.books.rolled_up(self.writer.stats().oldest_ms.unwrap_or(now_ms).min(now_ms));
    }

    /// Adds a group to every table that does not have it; `false` when interrupted.
    pub(super) async fn roll_up(
        &self,
        group: &Group,
        counts: Counts<'_>,
        before: Before,
        stop: &mut watch::Receiver<bool>,
    ) -> bool {
        for table in RollupTable::ALL {
            if !self.roll_up_in(table, group, counts, before, stop).await {
                return false;
            }
        }
        true
    }

    async fn roll_up_in(
        &self,
        table: RollupTable,
        group: &Group,
        counts: Counts<'_>,
        mut before: Before,
        stop: &mut watch::Receiver<bool>,
    ) -> bool {
        let mut pause = self.options.retry.0;
        for attempt in 1.. {
            let Err(failure) = self.try_roll_up(table, group, counts, before, attempt).await else { return true };
            if failure.class != RetryClass::Resend {
                before = Before::Unknown;
            }
            self.metrics.insert_retries.with_label_values(&[failure.class.as_str()]).inc();
            let (table, class) = (table.name(), failure.class.as_str());
            match failure.class {
                RetryClass::Poison | RetryClass::Denied => tracing::error!(
                    class,
                    attempt,
                    "{table} refuses a group, and delivery waits; check it (`errata migrate status`): {failure}; again in {pause:?}"
                ),
                _ => tracing::warn!(class, attempt, "adding to {table}: {failure}; again in {pause:?}"),
            }
            if !wait(pause, stop).await {
                return false;
            }
            pause = (pause * 2).min(self.options.retry.1);
        }
        false
    }

    /// One attempt: ask if need be, send, verify.
    async fn try_roll_up(
        &self,
        table: RollupTable,
        group: &Group,
        counts: Counts<'_>,
        before: Before,
        attempt: u32,
    ) -> Result<(), Failure> {
        if before == Before::Unknown && self.destination.rolled_up(group, table, true).await? {
            return Ok(());
        }
        self.destination.roll_up(group, table, counts, attempt).await?;
        if self.destination.rolled_up(group, table, false).await.map_err(after_an_answer)? {
            return Ok(());
        }
        let message = "the insert was answered, but its marker is not there".to_owned();
        Err(Failure { class: RetryClass::Ambiguous, message })
    }
}
