//! A part of the log, in memory as it stands there, and cut into batches.

use std::{collections::HashSet, ops::Range};

use uuid::Uuid;
use xxhash_rust::xxh3::Xxh3;

use super::plan::Batch;
use crate::{
    event::{
        EventKey, EventRef,
        codec::{self, DecodeError},
    },
    spool::Position,
    store::rows::week_of,
};

/// A part of the log. Events are kept as their payloads, and decoded again, borrowed, by
/// whoever looks at them: that costs less than their texts as texts of their own.
pub struct Decoded {
    pub start: Position,
    pub end: Position,
    /// Items of the part, also those that do not decode.
    pub items: u64,
    /// Items of the part that are stored already, under a batch of an earlier plan; they are not among the events.
    pub stored: u64,
    payloads: Vec<u8>,
    /// In order.
    events: Vec<Kept>,
}

/// An event.
struct Kept {
    position: Position,
    key: EventKey,
    received_at_ms: i64,
    /// Where its payload ends.
    end: usize,
}

impl Decoded {
    /// With room for so many bytes of payloads: growing would need up to three times as much.
    pub fn with_capacity(start: Position, bytes: usize) -> Self {
        Self { start, end: start, items: 0, stored: 0, payloads: Vec::with_capacity(bytes), events: Vec::new() }
    }

    pub fn new(start: Position) -> Self {
        Self::with_capacity(start, 0)
    }

    /// Takes an item in, unless it is stored already. Of one whose payload is not even begun rightly, says why; one that is
    /// wrong further on is found when the batch is encoded, as any other row that cannot be stored.
    pub fn take(
        &mut self,
        position: Position,
        payload: &[u8],
        is_stored: impl FnOnce(EventKey) -> bool,
    ) -> Result<(), DecodeError> {
        let (key, received_at_ms) = codec::peek(payload)?;
        if is_stored(key) {
            self.stored += 1;
            return Ok(());
        }
        self.payloads.extend_from_slice(payload);
        self.events.push(Kept { position, key, received_at_ms, end: self.payloads.len() });
        Ok(())
    }

    /// Number of events.
    pub fn len(&self) -> usize {
        self.events.len()
    }

    /// Bytes of memory.
    pub fn memory(&self) -> usize {
        self.payloads.capacity() + self.events.capacity() * size_of::<Kept>()
    }

    /// A batch's events.
    pub fn of(&self, batch: &Batch) -> Rows<'_> {
        let index = |at: Position| self.events.partition_point(|event| event.position < at);
        let start = index(batch.from);
        self.rows(start..index(batch.to).max(start))
    }

    fn rows(&self, indexes: Range<usize>) -> Rows<'_> {
        Rows { decoded: self, indexes: Indexes::Range(indexes) }
    }

    fn payload(&self, index: usize) -> &[u8] {
        let start = if index == 0 { 0 } else { self.events[index - 1].end };
        &self.payloads[start..self.events[index].end]
    }
}

/// Some events of a part, in order.
#[derive(Clone)]
pub struct Rows<'a> {
    decoded: &'a Decoded,
    indexes: Indexes,
}

#[derive(Clone)]
enum Indexes {
    Range(Range<usize>),
    These(Vec<usize>),
}

impl<'a> Rows<'a> {
    #[must_use]
    pub fn len(&self) -> usize {
        match &self.indexes {
            Indexes::Range(range) => range.len(),
            Indexes::These(indexes) => indexes.len(),
        }
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub fn keys(&self) -> impl Iterator<Item = EventKey> {
        self.indexes().map(|index| self.decoded.events[index].key)
    }

    /// Decodes them one after the other.
    pub fn events(&self) -> impl Iterator<Item = Result<EventRef<'a>, DecodeError>> {
        let decoded = self.decoded;
        self.indexes().map(move |index| codec::decode_ref(decoded.payload(index)))
    }

    /// Those that are not among `stored`.
    pub(super) fn without(&self, stored: &HashSet<EventKey>) -> Self {
        let is_missing = |index: &usize| !is_among(stored, self.decoded.events[*index].key);
        Self { decoded: self.decoded, indexes: Indexes::These(self.indexes().filter(is_missing).collect()) }
    }

    fn indexes(&self) -> impl Iterator<Item = usize> {
        let (range, these) = match &self.indexes {
            Indexes::Range(range) => (range.clone(), &[][..]),
            Indexes::These(indexes) => (0..0, indexes.as_slice()),
        };
        range.chain(these.iter().copied())
    }
}

/// Whether a key is among those that the destination says it has: it stores the lower half of each.
pub fn is_among(stored: &HashSet<EventKey>, key: EventKey) -> bool {
    stored.contains(&EventKey(key.stored().into()))
}

/// One batch over all events, cut where the week of receipt changes: the tables are partitioned by it, and an insert is
/// atomic within one partition only.
pub fn batches(decoded: &Decoded) -> Vec<Batch> {
    let week = |event: &Kept| week_of(event.received_at_ms);
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
    let Indexes::Range(rows) = decoded.of(whole).indexes else { return Vec::new() };
    let middle = rows.start + rows.len() / 2;
    [rows.start..middle, middle..rows.end].into_iter().filter_map(|part| batch(decoded, part)).collect()
}

/// A batch of these events, under a new id; none of no events.
fn batch(decoded: &Decoded, rows: Range<usize>) -> Option<Batch> {
    let events = &decoded.events[rows.clone()];
    let received = events.iter().map(|event| event.received_at_ms);
    Some(Batch {
        id: Uuid::now_v7(),
        from: events.first()?.position,
        to: Position(events.last()?.position.0 + 1),
        rows: events.len(),
        received_ms: (received.clone().min()?, received.max()?),
        digest: digest(&decoded.rows(rows)),
    })
}

/// Digest of the events' keys in order.
pub fn digest(rows: &Rows<'_>) -> u64 {
    let mut hasher = Xxh3::new();
    for key in rows.keys() {
        hasher.update(&key.0.to_le_bytes());
    }
    hasher.digest()
}
