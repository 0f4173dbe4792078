//! From delivered batches into the rollups: count → insert → verify → forget.
//!
//! # Exactly once
//!
//! - Each delivered batch belongs to one [`Group`], and each group is added to each table of rollups once.
//! - Before a batch is first sent, the plan on disk names the groups under way: their ids and the batches in them. A group is
//!   added between two plans only, so what the last plan names is what any attempt to add it was made of.
//! - A group's insert is one block and brings a marker of the group: it is in as a whole, with its marker, or not at all.
//!   After an attempt whose outcome is unknown, running ones are ended and the marker is asked for.
//! - Counts are in memory until a group is added. After a crash the groups of the last plan are added by ClickHouse itself,
//!   from the events stored under their batches: under the same ids, unless their markers are there.
//!
//! So the rollups count each event as often as it was delivered: once, but for a repetition that the spool no longer
//! recognises, which is stored twice (`docs/decisions/0004-idempotency.md`).

use std::time::Duration;

use tokio::{sync::watch, time::Instant};

use super::{
    Deliverer, Destination, Failure, RetryClass,
    deliverer::{Before, wait},
    part::Decoded,
    plan::Batch,
};
use crate::store::{
    rollup::{Group, RollupTable, Rollups},
    rows::week_of,
};

/// Batches of one group at most: they stand in the plan.
const MAX_BATCHES: usize = 256;

/// Bytes that counts may take in memory, about.
const MAX_MEMORY: usize = 32 << 20;

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
    groups: Vec<(Group, Rollups)>,
    since: Option<Instant>,
}

/// Where the counts of a group come from.
#[derive(Clone, Copy)]
pub enum Counts<'a> {
    Counted(&'a Rollups),
    /// What is stored under the group's batches.
    Stored,
}

impl Pending {
    /// Events that were counted.
    pub fn events(&self) -> u64 {
        self.groups.iter().map(|(_, rollups)| rollups.events()).sum()
    }

    /// The groups that these batches will be in, with the batches that are in them so far.
    pub(super) fn groups_for(&mut self, batches: &[Batch]) -> Vec<Group> {
        for batch in batches {
            self.of_week(week_of(batch.received_ms.0));
        }
        self.groups.iter().map(|(group, _)| group.clone()).collect()
    }

    /// Counts a delivered batch.
    pub(super) fn add(&mut self, batch: &Batch, decoded: &Decoded) {
        let (group, rollups) = self.of_week(week_of(batch.received_ms.0));
        group.add(batch.id, batch.received_ms);
        // What does not decode was not stored either.
        for event in decoded.of(batch).events().flatten() {
            rollups.add(&event);
        }
        self.since.get_or_insert_with(Instant::now);
    }

    fn of_week(&mut self, week: i32) -> &mut (Group, Rollups) {
        let at = self.groups.iter().position(|(group, _)| group.week == week).unwrap_or_else(|| {
            self.groups.push((Group::new(week), Rollups::default()));
            self.groups.len() - 1
        });
        &mut self.groups[at]
    }

    /// When it is to be added: in the past where there is enough of it, never where there is nothing.
    pub(super) fn due(&self, at: RollUpAt) -> Option<Instant> {
        let since = self.since?;
        let full = self.events() >= at.events
            || self.groups.iter().any(|(group, _)| group.batches.len() >= MAX_BATCHES)
            || self.groups.iter().map(|(_, rollups)| rollups.memory()).sum::<usize>() >= MAX_MEMORY;
        Some(if full { since } else { since + at.age })
    }
}

impl<D: Destination> Deliverer<D> {
    /// Adds what is pending; `false` when interrupted: then the next start does it.
    pub(super) async fn roll_up_pending(&mut self, stop: &mut watch::Receiver<bool>) -> bool {
        while let Some((group, rollups)) = self.pending.groups.last() {
            if rollups.events() > 0 && !self.roll_up(group, Counts::Counted(rollups), Before::Untried, stop).await {
                return false;
            }
            self.pending.groups.pop();
        }
        self.pending.since = None;
        self.metrics.rollup_pending.set(0);
        self.note_rolled_up();
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
            let table = table.name();
            tracing::warn!(class = failure.class.as_str(), attempt, "adding to {table}: {failure}; again in {pause:?}");
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
        if self.destination.rolled_up(group, table, false).await? {
            return Ok(());
        }
        let message = "the insert was answered, but its marker is not there".to_owned();
        Err(Failure { class: RetryClass::Ambiguous, message })
    }
}
