//! Items on their way into the log, in the bytes they have there.

use std::ops::Range;

use super::{Item, format::ITEM_OVERHEAD};

/// Items to append, encoded as they are in a record: nothing is encoded or allocated for a single item after this.
#[derive(Clone, Debug, Default)]
pub struct Batch {
    bytes: Vec<u8>,
    items: Vec<Placed>,
}

/// An item of a batch.
#[derive(Clone, Copy, Debug)]
pub(super) struct Placed {
    pub key: u128,
    pub tag: u64,
    /// Where its bytes end.
    end: usize,
}

impl Batch {
    /// Room for so many bytes of items.
    #[must_use]
    pub fn with_capacity(bytes: usize) -> Self {
        Self { bytes: Vec::with_capacity(bytes), items: Vec::new() }
    }

    /// Adds an item whose payload `write` appends to the buffer it is given. A payload is shorter than 4 GiB.
    pub fn push(&mut self, key: u128, tag: u64, write: impl FnOnce(&mut Vec<u8>)) {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(&key.to_le_bytes());
        self.bytes.extend_from_slice(&tag.to_le_bytes());
        self.bytes.extend_from_slice(&[0; 4]);
        write(&mut self.bytes);
        let end = self.bytes.len();
        let length = (end - start - ITEM_OVERHEAD) as u32;
        self.bytes[start + ITEM_OVERHEAD - 4..start + ITEM_OVERHEAD].copy_from_slice(&length.to_le_bytes());
        self.items.push(Placed { key, tag, end });
    }

    #[must_use]
    pub fn len(&self) -> usize {
        self.items.len()
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// What its items take in records, bytes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes.len()
    }

    pub(super) fn items(&self) -> &[Placed] {
        &self.items
    }

    /// What an item takes in a record.
    pub(super) fn size(&self, index: usize) -> usize {
        self.items[index].end - self.start(index)
    }

    /// The bytes of neighbouring items.
    pub(super) fn encoded(&self, indexes: Range<usize>) -> &[u8] {
        &self.bytes[self.start(indexes.start)..self.start(indexes.end)]
    }

    fn start(&self, index: usize) -> usize {
        if index == 0 { 0 } else { self.items[index - 1].end }
    }
}

impl From<Vec<Item>> for Batch {
    fn from(items: Vec<Item>) -> Self {
        let mut batch = Self::default();
        for Item { key, tag, payload } in items {
            batch.push(key, tag, |bytes| bytes.extend_from_slice(&payload));
        }
        batch
    }
}
