//! The events of a batch on their way to the destination, read from the log piece by piece.

use super::{part::Part, rollup::Tally};
#[cfg(test)]
use crate::event::EventKey;
use crate::{
    event::{
        EventRef,
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

/// Whether the lookup index has the rows of a batch, as far as this run knows. Every further copy would be a row more that
/// lookups read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Index {
    Missing,
    Stored,
}

/// Events of a batch, in order. They are counted for the rollups as they are decoded.
pub struct Rows<'a> {
    part: &'a Part,
    /// Indexes into the part, ascending.
    indexes: &'a [usize],
    log: &'a mut Reader,
    tally: &'a mut Tally,
    /// Of the whole batch; the destination says when it is stored.
    pub index: &'a mut Index,
    /// How many of them were read.
    read: usize,
    /// Where the next piece begins.
    at: Position,
    payloads: Vec<u8>,
    /// Where each payload ends.
    ends: Vec<usize>,
}

impl<'a> Rows<'a> {
    pub(super) fn new(
        part: &'a Part,
        indexes: &'a [usize],
        log: &'a mut Reader,
        tally: &'a mut Tally,
        index: &'a mut Index,
    ) -> Self {
        let (payloads, ends) = (Vec::new(), Vec::new());
        Self { part, indexes, log, tally, index, read: 0, at: Position(0), payloads, ends }
    }

    #[cfg(test)]
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
    /// How many events it has.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.ends.len()
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
