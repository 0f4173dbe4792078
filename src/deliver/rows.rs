//! The events of a batch on their way to the destination, read from the log piece by piece.

use super::{part::Part, rollup::Tally};
use crate::{
    event::{
        EventKey, EventRef,
        codec::{self, DecodeError},
    },
    spool::{Position, Reader, SpoolError},
    store::rows::IndexRow,
};

/// Bytes of payloads in memory at once, about.
pub const PIECE_BYTES: usize = 4 << 20;

/// Why the events of a batch cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    #[error(transparent)]
    Spool(#[from] SpoolError),
    /// What was there when the batch was made is damaged now.
    #[error("the log has lost events of a batch under way")]
    Lost,
}

/// Events of a batch, in order. They are counted for the rollups as they are decoded.
pub struct Rows<'a> {
    part: &'a Part,
    /// Indexes into the part, ascending.
    indexes: &'a [usize],
    log: &'a mut Reader,
    tally: &'a mut Tally,
    /// How many of them were read.
    read: usize,
    /// Where the next piece begins.
    at: Position,
    payloads: Vec<u8>,
    /// Where each payload ends.
    ends: Vec<usize>,
}

impl<'a> Rows<'a> {
    pub(super) fn new(part: &'a Part, indexes: &'a [usize], log: &'a mut Reader, tally: &'a mut Tally) -> Self {
        Self { part, indexes, log, tally, read: 0, at: Position(0), payloads: Vec::new(), ends: Vec::new() }
    }

    #[must_use]
    pub fn len(&self) -> usize {
        self.indexes.len()
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.indexes.is_empty()
    }

    pub fn keys(&self) -> impl Iterator<Item = EventKey> {
        self.indexes.iter().map(|index| self.part.key(*index))
    }

    /// What the lookup index knows of each.
    pub fn index_rows(&self) -> impl ExactSizeIterator<Item = IndexRow> {
        self.indexes.iter().map(|index| self.part.index_row(*index))
    }

    /// Whether all of them were handed out.
    pub(super) fn are_read(&self) -> bool {
        self.read == self.indexes.len()
    }

    /// Reads the next events; `None` when there are no more.
    ///
    /// # Errors
    /// When the log cannot be read, or no longer has what the batch is made of.
    pub fn next_piece(&mut self) -> Result<Option<Piece<'_>>, LogError> {
        self.payloads.clear();
        self.ends.clear();
        while self.ends.is_empty() {
            let Some(next) = self.next_position() else { return Ok(None) };
            self.read_on(self.at.max(next))?;
        }
        self.tally.bound();
        Ok(Some(Piece { payloads: &self.payloads, ends: &self.ends, tally: self.tally }))
    }

    fn next_position(&self) -> Option<Position> {
        Some(self.part.position(*self.indexes.get(self.read)?))
    }

    fn read_on(&mut self, from: Position) -> Result<(), LogError> {
        let (part, indexes, read) = (self.part, self.indexes, &mut self.read);
        let (payloads, ends) = (&mut self.payloads, &mut self.ends);
        let mut is_lost = false;
        let end = self.log.read_with(from, usize::MAX, PIECE_BYTES, |position, item| {
            let Some(expected) = indexes.get(*read).map(|index| part.position(*index)) else { return };
            // Without this the rest of the log would be read in search of it.
            is_lost |= expected < position;
            if expected == position {
                payloads.extend_from_slice(item.payload);
                ends.push(payloads.len());
                *read += 1;
            }
        })?;
        if is_lost || end == from {
            return Err(LogError::Lost);
        }
        self.at = end;
        Ok(())
    }
}

/// Some events of a batch, as many as are in memory at once.
pub struct Piece<'p> {
    payloads: &'p [u8],
    ends: &'p [usize],
    tally: &'p mut Tally,
}

impl<'p> Piece<'p> {
    #[must_use]
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// Decodes them one after the other, each once.
    pub fn events(self) -> impl Iterator<Item = Result<EventRef<'p>, DecodeError>> {
        let mut start = 0;
        self.ends.iter().map(move |&end| {
            let payload = &self.payloads[start..end];
            start = end;
            let event = codec::decode_ref(payload)?;
            self.tally.count(&event);
            Ok(event)
        })
    }
}
