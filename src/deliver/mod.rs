//! From the spool into ClickHouse: read → batch → plan on disk → insert → verify → forget.
//!
//! # Exactly once
//!
//! - A batch's id, its range of the log and its number of rows are on disk (`plan.json`) before the first attempt, so a
//!   retry, also after a crash, sends the same rows under the same id.
//! - After an attempt whose outcome is unknown, the destination is first asked how many rows of the batch it has; only
//!   what is missing is sent again.
//! - The spool forgets a range only after the count of every batch in it was right.
//! - An event that the destination will never take (a poison row) is found by bisection and set aside in the
//!   [`quarantine`], durably, before it is forgotten. If even an empty batch is refused, the tables are wrong and not the
//!   rows: delivery waits instead.
//! - An event that was erased while it waited is left out of the plans, and noted before: see [`tombstones`].
//! - The rollups are counted from delivered batches and added in groups, each once: see [`rollup`].
//!
//! Retries are by class ([`RetryClass`]) and without end: an event leaves the spool stored or quarantined, never dropped.

mod attempt;
mod books;
mod clickhouse;
mod deliverer;
mod part;
pub(crate) mod plan;
pub mod quarantine;
pub mod rollup;
mod rows;
mod shortage;
#[cfg(test)]
mod tests;
pub mod tombstones;
pub mod totals;

use std::{collections::HashSet, future::Future};

use uuid::Uuid;

pub use books::Books;
pub use deliverer::{DeliverError, Deliverer, Earlier, Options};
pub use rows::{Index, LogError, Piece, Rows};

pub use crate::store::RetryClass;

use crate::{
    event::EventKey,
    store::rollup::{Group, RollupTable},
};
use rollup::Counts;

/// Where events go. Implemented by [`crate::store::Store`]; tests put faults in between.
pub trait Destination {
    /// Inserts the events under a batch id, all or none as far as the destination can; `attempt` counts from 1.
    fn insert(
        &self,
        batch: Uuid,
        attempt: u32,
        rows: &mut Rows<'_>,
    ) -> impl Future<Output = Result<(), InsertError>> + Send;

    /// Whether the tables take a batch of no rows: then a refusal is about rows, not about tables.
    fn takes_empty(&self) -> impl Future<Output = Result<(), Failure>> + Send;

    /// The keys of the rows that are stored under a batch id, after any attempt at it was ended.
    fn stored_keys(&self, batch: &BatchRef) -> impl Future<Output = Result<HashSet<EventKey>, Failure>> + Send;

    /// Says which events of a batch are stored. If an attempt `may_run` still, it is ended first, so that the answer is final.
    fn stored(&self, batch: &BatchRef, may_run: bool) -> impl Future<Output = Result<Stored, Failure>> + Send;

    /// Adds a group of stored batches to a table of rollups, with its marker, all or nothing.
    fn roll_up(
        &self,
        group: &Group,
        table: RollupTable,
        counts: Counts<'_>,
        attempt: u32,
    ) -> impl Future<Output = Result<(), Failure>> + Send;

    /// Whether a group is in a table of rollups. If an attempt `may_run` still, it is ended first, so that the answer is final.
    fn rolled_up(
        &self,
        group: &Group,
        table: RollupTable,
        may_run: bool,
    ) -> impl Future<Output = Result<bool, Failure>> + Send;
}

/// What identifies a batch to the destination.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BatchRef {
    pub id: Uuid,
    pub rows: usize,
    /// Bounds of its events' `received_at_ms`, both included.
    pub received_ms: (i64, i64),
}

/// How much of a batch is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stored {
    Nothing,
    All,
    /// Some, by key; inserts are atomic in the usual case, so this is rare.
    Some(HashSet<EventKey>),
}

/// A failed call to the destination.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{message}")]
pub struct Failure {
    pub class: RetryClass,
    pub message: String,
}

/// Why an insert did not succeed.
#[derive(Debug, thiserror::Error)]
pub enum InsertError {
    #[error(transparent)]
    Destination(#[from] Failure),
    /// The events could not be read; the destination has none of them, or not all.
    #[error(transparent)]
    Log(#[from] LogError),
}
