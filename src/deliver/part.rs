//! What a part of the log holds, and the batches it is cut into.

use std::{collections::HashSet, ops::Range};

use uuid::Uuid;
use xxhash_rust::xxh3::Xxh3;

use super::plan::Batch;
use crate::{
    event::{
        EventKey,
        codec::{self, DecodeError, Head},
    },
    spool::{ItemRef, Position},
    store::rows::{IndexRow, week_of},
};

/// A part of the log. What is needed of each event before it is sent is kept; its payload stays in the log and is read again
/// piece by piece ([`super::Rows`]), so that the size of a batch is not a matter of memory.
pub struct Part {
    pub start: Position,
    pub end: Position,
    /// Items of the part, also those that do not decode.
    pub items: u64,
    /// Items of the part that are stored already, under a batch of an earlier plan; they are not among the events.
    pub stored: u64,
    /// Items of the part that were erased; they are not among the events.
    pub withheld: u64,
    /// In order.
    events: Vec<Kept>,
}

/// An event.
struct Kept {
    position: Position,
    /// [`RequestId::lookup_key`](crate::event::RequestId::lookup_key): the log's items are tagged with it.
    lookup_key: u64,
    head: Head,
}

impl Part {
    /// An empty one.
    pub fn new(start: Position) -> Self {
        Self { start, end: start, items: 0, stored: 0, withheld: 0, events: Vec::new() }
    }

    /// Takes an item in, unless it is stored already. Of one whose payload is not even begun rightly, says why; one that is
    /// wrong further on is found when the batch is encoded, as any other row that cannot be stored.
    pub fn take(
        &mut self,
        position: Position,
        item: ItemRef<'_>,
        stored: &HashSet<EventKey>,
    ) -> Result<(), DecodeError> {
        self.items += 1;
        let head = codec::peek(item.payload)?;
        if is_among(stored, head.key) {
            self.stored += 1;
        } else {
            self.events.push(Kept { position, lookup_key: item.tag, head });
        }
        Ok(())
    }

    /// Leaves out an item that was erased.
    pub fn withhold(&mut self) {
        self.items += 1;
        self.withheld += 1;
    }

    /// Number of events.
    pub fn len(&self) -> usize {
        self.events.len()
    }

    /// A batch's events.
    pub fn of(&self, batch: &Batch) -> Range<usize> {
        let index = |at: Position| self.events.partition_point(|event| event.position < at);
        let start = index(batch.from);
        start..index(batch.to).max(start)
    }

    pub fn key(&self, index: usize) -> EventKey {
        self.events[index].head.key
    }

    pub fn position(&self, index: usize) -> Position {
        self.events[index].position
    }

    pub fn index_row(&self, index: usize) -> IndexRow {
        let Kept { lookup_key, head: Head { timestamp_ms, received_at_ms, .. }, .. } = self.events[index];
        IndexRow { lookup_key, timestamp_ms, received_at_ms }
    }
}

/// Whether a key is among those that the destination says it has: it stores the lower half of each.
pub fn is_among(stored: &HashSet<EventKey>, key: EventKey) -> bool {
    !stored.is_empty() && stored.contains(&EventKey(key.stored().into()))
}

/// The events of a range whose keys are not among `stored`.
pub fn missing(part: &Part, range: Range<usize>, stored: &HashSet<EventKey>) -> Vec<usize> {
    range.filter(|index| !is_among(stored, part.key(*index))).collect()
}

/// One batch over all events, cut where the week of receipt changes: the tables are partitioned by it, and an insert is
/// atomic within one partition only.
pub fn batches(part: &Part) -> Vec<Batch> {
    let week = |event: &Kept| week_of(event.head.received_at_ms);
    let mut batches = Vec::new();
    let mut start = 0;
    for events in part.events.chunk_by(|left, right| week(left) == week(right)) {
        batches.extend(batch(part, start..start + events.len()));
        start += events.len();
    }
    batches
}

/// Two batches of half the rows each, under new ids: the rows of the old id were refused, so none is stored.
pub fn bisect(part: &Part, whole: &Batch) -> Vec<Batch> {
    let rows = part.of(whole);
    let middle = rows.start + rows.len() / 2;
    [rows.start..middle, middle..rows.end].into_iter().filter_map(|half| batch(part, half)).collect()
}

/// A batch of these events, under a new id; none of no events.
fn batch(part: &Part, rows: Range<usize>) -> Option<Batch> {
    let events = &part.events[rows.clone()];
    let received = events.iter().map(|event| event.head.received_at_ms);
    Some(Batch {
        id: Uuid::now_v7(),
        from: events.first()?.position,
        to: Position(events.last()?.position.0 + 1),
        rows: events.len(),
        received_ms: (received.clone().min()?, received.max()?),
        digest: digest(part, rows),
    })
}

/// Digest of the events' keys in order.
pub fn digest(part: &Part, rows: Range<usize>) -> u64 {
    let mut hasher = Xxh3::new();
    for event in &part.events[rows] {
        hasher.update(&event.head.key.0.to_le_bytes());
    }
    hasher.digest()
}
