//! A decoded part of the log, cut into batches.

use std::ops::Range;

use uuid::Uuid;
use xxhash_rust::xxh3::Xxh3;

use super::plan::Batch;
use crate::{event::Event, spool::Position, store::rows::week_of};

/// A part of the log and what could be decoded of it.
pub struct Decoded {
    pub start: Position,
    pub end: Position,
    /// Items of the part, also those that do not decode.
    pub items: u64,
    /// Items of the part that are stored already, under a batch of an earlier plan; they are not among the events.
    pub stored: u64,
    /// Where each event is; in order.
    pub positions: Vec<Position>,
    pub events: Vec<Event>,
    /// Memory of the events, bytes, about.
    pub bytes: usize,
}

impl Decoded {
    pub fn new(start: Position) -> Self {
        Self { start, end: start, items: 0, stored: 0, positions: Vec::new(), events: Vec::new(), bytes: 0 }
    }

    /// Indexes of a batch's events.
    pub fn of(&self, batch: &Batch) -> Range<usize> {
        let index = |at: Position| self.positions.partition_point(|position| *position < at);
        let start = index(batch.from);
        start..index(batch.to).max(start)
    }
}

/// One batch over all events, cut where the week of receipt changes: the tables are partitioned by it, and an insert is
/// atomic within one partition only.
pub fn batches(decoded: &Decoded) -> Vec<Batch> {
    let week = |event: &Event| week_of(event.received_at_ms);
    let mut batches = Vec::new();
    let mut start = 0;
    for part in decoded.events.chunk_by(|left, right| week(left) == week(right)) {
        batches.extend(batch(decoded, start..start + part.len()));
        start += part.len();
    }
    batches
}

/// Two batches of half the rows each, under new ids: the rows of the old id were refused, so none is stored.
pub fn bisect(decoded: &Decoded, whole: &Batch) -> Vec<Batch> {
    let rows = decoded.of(whole);
    let middle = rows.start + rows.len() / 2;
    [rows.start..middle, middle..rows.end].into_iter().filter_map(|part| batch(decoded, part)).collect()
}

/// A batch of these events, under a new id; none of no events.
fn batch(decoded: &Decoded, rows: Range<usize>) -> Option<Batch> {
    let (events, positions) = (&decoded.events[rows.clone()], &decoded.positions[rows]);
    let received = events.iter().map(|event| event.received_at_ms);
    Some(Batch {
        id: Uuid::now_v7(),
        from: *positions.first()?,
        to: Position(positions.last()?.0 + 1),
        rows: events.len(),
        received_ms: (received.clone().min()?, received.max()?),
        digest: digest(events),
    })
}

/// Digest of the events' keys in order.
pub fn digest(events: &[Event]) -> u64 {
    let mut hasher = Xxh3::new();
    for event in events {
        hasher.update(&event.key.0.to_le_bytes());
    }
    hasher.digest()
}
