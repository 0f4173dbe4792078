//! A decoded part of the log, cut into batches.

use std::ops::Range;

use uuid::Uuid;

use super::plan::Batch;
use crate::{event::Event, spool::Position};

/// A part of the log and what could be decoded of it.
pub struct Decoded {
    pub start: Position,
    pub end: Position,
    /// Items of the part, also those that do not decode.
    pub items: u64,
    /// Where each event is; in order.
    pub positions: Vec<Position>,
    pub events: Vec<Event>,
    /// Memory of the events, bytes, about.
    pub bytes: usize,
}

impl Decoded {
    pub fn new(start: Position) -> Self {
        Self { start, end: start, items: 0, positions: Vec::new(), events: Vec::new(), bytes: 0 }
    }

    /// Indexes of a batch's events.
    pub fn of(&self, batch: &Batch) -> Range<usize> {
        let index = |at: Position| self.positions.partition_point(|position| *position < at);
        index(batch.from)..index(batch.to)
    }
}

/// One batch over all events, cut where the week of receipt changes: the tables are partitioned by it, and an insert is
/// atomic within one partition only.
pub fn batches(decoded: &Decoded) -> Vec<Batch> {
    let mut batches: Vec<Batch> = Vec::new();
    for (position, event) in decoded.positions.iter().zip(&decoded.events) {
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

/// Two batches of half the rows each, under new ids: the rows of the old id were refused, so none is stored.
pub fn bisect(decoded: &Decoded, batch: &Batch) -> Vec<Batch> {
    let rows = decoded.of(batch);
    let middle = rows.start + rows.len() / 2;
    let half = |part: Range<usize>| {
        let received = decoded.events[part.clone()].iter().map(|event| event.received_at_ms);
        let (min, max) = (received.clone().min()?, received.max()?);
        let positions = &decoded.positions[part];
        let (from, to) = (*positions.first()?, Position(positions.last()?.0 + 1));
        Some(Batch { id: Uuid::now_v7(), from, to, rows: positions.len(), received_ms: (min, max) })
    };
    [rows.start..middle, middle..rows.end].into_iter().filter_map(half).collect()
}
