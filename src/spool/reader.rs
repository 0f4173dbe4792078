//! The reading side: whole records, in order, over damage, up to what is durable.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use super::{
    Chunk, ItemRef, Position, SpoolError,
    files::{File, PlaceError, failed, place},
    format::{Items, RecordHeader, SEGMENT_HEADER_BYTES, encode_checkpoint},
    recover::{CHECKPOINT, segment_name},
    scan::{Found, Scan},
    shared::{Oldest, Shared},
    sidecar,
};

/// Ends of reads whose place in their segment is remembered.
const MARKS: usize = 64;

/// The reading side: one.
pub struct Reader {
    shared: Arc<Shared>,
    /// The segment that was read last.
    open: Option<(u64, Box<dyn File>)>,
    marks: VecDeque<Place>,
}

/// A position, and where in which segment the record that has it begins.
#[derive(Clone, Copy, Debug)]
struct Place {
    position: u64,
    segment: u64,
    offset: u64,
}

/// What to do after a record was looked at.
enum Step {
    On,
    /// Stop after it.
    Done,
    /// Stop before it.
    Before,
}

/// What is readable of a segment.
#[derive(Clone, Copy, Debug)]
struct View {
    first: u64,
    id: Option<u64>,
    bytes: u64,
    end: u64,
}

impl Reader {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self { shared, open: None, marks: VecDeque::new() }
    }

    /// Where the first item that is not forgotten is.
    #[must_use]
    pub fn start(&self) -> Position {
        Position(self.shared.state().start)
    }

    /// Shows the items of whole records from `from` on until one of the bounds is reached; of at least one record if there is any.
    /// `max_bytes` bounds the sum of the payloads. Returns where to go on.
    ///
    /// # Errors
    /// On an I/O error. Damaged records are set aside, counted and stepped over; nothing may be shown then.
    pub fn read_with(
        &mut self,
        from: Position,
        max_items: usize,
        max_bytes: usize,
        mut visit: impl FnMut(Position, ItemRef<'_>),
    ) -> Result<Position, SpoolError> {
        let from = from.max(self.start());
        let (mut items, mut bytes) = (0, 0);
        let end = self.walk(from.0, u64::MAX, |header, _, payload| {
            let fits = items + header.items as usize <= max_items && bytes + header.payload_bytes as usize <= max_bytes;
            if !fits && items > 0 {
                return Step::Before;
            }
            bytes += header.payload_bytes as usize;
            for (position, item) in positioned(header, payload).filter(|(position, _)| *position >= from) {
                items += 1;
                visit(position, item);
            }
            if items >= max_items || bytes >= max_bytes { Step::Done } else { Step::On }
        })?;
        Ok(Position(end.position))
    }

    /// [`Reader::read_with`], with items of one's own.
    ///
    /// # Errors
    /// As [`Reader::read_with`]; the chunk may be empty then, and its end is where to go on.
    pub fn read(&mut self, from: Position, max_items: usize, max_bytes: usize) -> Result<Chunk, SpoolError> {
        let from = from.max(self.start());
        let mut items = Vec::new();
        let end =
            self.read_with(from, max_items, max_bytes, |position, item| items.push((position, item.to_item())))?;
        Ok(Chunk { start: from, end, items })
    }

    /// Shows exactly the items of `[start, end)`: the same as before, minus what was damaged since.
    ///
    /// # Errors
    /// On an I/O error.
    pub fn read_range_with(
        &mut self,
        start: Position,
        end: Position,
        mut visit: impl FnMut(Position, ItemRef<'_>),
    ) -> Result<(), SpoolError> {
        self.walk(start.0, end.0, |header, _, payload| {
            for (position, item) in positioned(header, payload).filter(|(position, _)| (start..end).contains(position))
            {
                visit(position, item);
            }
            Step::On
        })?;
        Ok(())
    }

    /// [`Reader::read_range_with`], with items of one's own.
    ///
    /// # Errors
    /// On an I/O error.
    pub fn read_range(&mut self, start: Position, end: Position) -> Result<Chunk, SpoolError> {
        let mut items = Vec::new();
        self.read_range_with(start, end, |position, item| items.push((position, item.to_item())))?;
        Ok(Chunk { start, end, items })
    }

    /// How many items there are from the start to this position.
    #[must_use]
    pub fn items_before(&self, end: Position) -> u64 {
        let state = self.shared.state();
        let before = |position| state.segments.iter().map(|segment| segment.runs.before(position)).sum::<u64>();
        before(end.0).saturating_sub(before(state.start))
    }

    /// Waits until there is something at or after `from`, or the time is over; `false` when it is over.
    pub async fn wait(&mut self, from: Position, timeout: Duration) -> bool {
        let mut end = self.shared.end.subscribe();
        // The sender is in `shared`: it cannot close while we wait.
        matches!(tokio::time::timeout(timeout, end.wait_for(|end| *end > from.0)).await, Ok(Ok(_)))
    }

    /// Forgets everything before `end`, durably; whole segments are unlinked.
    ///
    /// # Errors
    /// On an I/O error. What was forgotten may be read again after a restart then, and nothing else is lost; the next call
    /// does what this one could not.
    pub fn forget(&mut self, end: Position) -> Result<(), SpoolError> {
        let end = end.0.min(*self.shared.end.borrow());
        if end > self.start().0 {
            self.move_start(end)?;
        }
        self.unlink_forgotten()?;
        self.prune_sidecars()
    }

    fn move_start(&mut self, end: u64) -> Result<(), SpoolError> {
        let oldest = self.find_oldest(end)?;
        let dir = &*self.shared.dir;
        place(dir, CHECKPOINT, &[&encode_checkpoint(end)])
            .map_err(PlaceError::into_io)
            .map_err(failed("write", dir, CHECKPOINT))?;
        self.marks.retain(|mark| mark.position >= end);
        self.shared.state().forget(end, oldest);
        Ok(())
    }

    /// The first record that is not wholly before `start`.
    fn find_oldest(&mut self, start: u64) -> Result<Oldest, SpoolError> {
        let mut oldest = None;
        let end = self.walk(start, u64::MAX, |header, place, _| {
            oldest =
                Some(Oldest { segment: place.segment, offset: place.offset, appended_ms: Some(header.appended_ms) });
            Step::Done
        })?;
        Ok(oldest.unwrap_or(Oldest { segment: end.segment, offset: end.offset, appended_ms: None }))
    }

    /// What an open does once: finds the oldest item's age, and finishes what a crash kept [`Self::forget`] from doing.
    pub(super) fn settle(&mut self) -> Result<(), SpoolError> {
        let start = self.start().0;
        let oldest = self.find_oldest(start)?;
        self.shared.state().forget(start, oldest);
        self.unlink_forgotten()?;
        self.prune_sidecars()
    }

    /// Unlinks segments that are forgotten as a whole and whose keys are in a durable sidecar. Never the one written to.
    fn unlink_forgotten(&mut self) -> Result<(), SpoolError> {
        if !self.has_forgotten_segment() {
            return Ok(());
        }
        self.shared.seal();
        let dir = Arc::clone(&self.shared.dir);
        loop {
            let first = {
                let state = self.shared.state();
                let Some(segment) = state.segments.front() else { break };
                if state.segments.len() < 2 || segment.end > state.start || segment.unsealed.is_some() {
                    break;
                }
                segment.first
            };
            if self.open.as_ref().is_some_and(|(open, _)| *open == first) {
                self.open = None;
            }
            let name = segment_name(first);
            match dir.remove(&name) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    return Err(failed("remove", &*dir, &name)(error));
                }
                _ => {}
            }
            self.shared.state().segments.pop_front();
        }
        dir.sync().map_err(failed("sync", &*dir, ""))
    }

    fn has_forgotten_segment(&self) -> bool {
        let state = self.shared.state();
        state.segments.len() > 1 && state.segments.front().is_some_and(|segment| segment.end <= state.start)
    }

    /// Removes the oldest sidecars of unlinked segments that the others do without to cover the keys to remember.
    fn prune_sidecars(&self) -> Result<(), SpoolError> {
        for first in self.superfluous_sidecars() {
            let name = sidecar::name(first);
            match self.shared.dir.remove(&name) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    return Err(failed("remove", &*self.shared.dir, &name)(error));
                }
                _ => {}
            }
            self.shared.state().sidecars.remove(&first);
        }
        Ok(())
    }

    fn superfluous_sidecars(&self) -> Vec<u64> {
        let state = self.shared.state();
        let kept_from = state.segments.front().map_or(u64::MAX, |segment| segment.first);
        let mut covered = 0;
        let mut superfluous = Vec::new();
        for (&first, &items) in state.sidecars.iter().rev() {
            if first < kept_from && covered >= self.shared.options.remembered_keys as u64 {
                superfluous.push(first);
            }
            covered += items;
        }
        superfluous
    }

    /// Shows the whole records that have positions in `[from, to)`, in order, until told to stop; returns where it got to.
    fn walk(
        &mut self,
        from: u64,
        to: u64,
        mut visit: impl FnMut(&RecordHeader, Place, &[u8]) -> Step,
    ) -> Result<Place, SpoolError> {
        let mut reached = Place { position: from, segment: 0, offset: 0 };
        for view in self.views(from, to) {
            reached = self.nearest(&view, from);
            let (done, place) = self.walk_segment(&view, reached, from, to, &mut visit)?;
            reached = Place { position: place.position.max(from), ..place };
            if done {
                break;
            }
        }
        if self.marks.len() == MARKS {
            self.marks.pop_front();
        }
        self.marks.push_back(reached);
        Ok(reached)
    }

    /// [`Self::walk`] in one segment; whether it is over, and where it got to.
    fn walk_segment(
        &mut self,
        view: &View,
        begin: Place,
        from: u64,
        to: u64,
        visit: &mut impl FnMut(&RecordHeader, Place, &[u8]) -> Step,
    ) -> Result<(bool, Place), SpoolError> {
        let shared = &self.shared;
        let name = segment_name(view.first);
        let fail = |action| failed(action, &*shared.dir, &name);
        let file = opened(&mut self.open, shared, view.first)?;
        let readable = view.bytes.min(file.size().map_err(fail("read"))?);
        let mut reached = begin;
        let mut scan = Scan::new(file, view.id, begin.offset, readable, begin.position);
        while let Some(found) = scan.step().map_err(fail("read"))? {
            let (position, end) = match found {
                Found::Record { header, offset } => {
                    let place = Place { position: header.first, segment: view.first, offset };
                    if header.first >= to {
                        return Ok((true, reached));
                    }
                    let step = if header.end() > from { visit(&header, place, scan.payload()) } else { Step::On };
                    let after = Place { position: header.end(), segment: view.first, offset: offset + header.bytes() };
                    match step {
                        Step::Before => return Ok((true, reached)),
                        Step::Done => return Ok((true, after)),
                        Step::On => (after.position, after.offset),
                    }
                }
                Found::Damaged(damage) => {
                    let next = damage.to.unwrap_or(view.end);
                    if damage.from >= to {
                        return Ok((true, reached));
                    }
                    if next > from {
                        let lost = next.saturating_sub(damage.from);
                        shared.quarantine.set_aside(view.first, file, damage.offset, damage.end, lost)?;
                    }
                    (next, damage.end)
                }
            };
            reached = Place { position, segment: view.first, offset: end };
        }
        if readable < view.bytes && view.end > from.max(reached.position) {
            let lost = view.end - reached.position;
            shared.quarantine.set_aside(view.first, file, readable, readable, lost)?;
        }
        Ok((false, Place { position: view.end, segment: view.first, offset: readable }))
    }

    /// The segments that have positions in `[from, to)`, as far as they are durable now.
    fn views(&self, from: u64, to: u64) -> Vec<View> {
        let state = self.shared.state();
        let views = state.segments.iter().filter(|segment| segment.end > from && segment.first < to);
        views
            .map(|segment| View { first: segment.first, id: segment.id, bytes: segment.bytes, end: segment.end })
            .collect()
    }

    /// The place nearest before `from` that is known in this segment.
    fn nearest(&self, view: &View, from: u64) -> Place {
        let marks = self.marks.iter().filter(|mark| mark.segment == view.first && mark.position <= from);
        let beginning = Place { position: view.first, segment: view.first, offset: SEGMENT_HEADER_BYTES as u64 };
        marks.max_by_key(|mark| mark.offset).copied().unwrap_or(beginning)
    }
}

/// The file of a segment; kept open until another one is asked for.
fn opened<'a>(
    open: &'a mut Option<(u64, Box<dyn File>)>,
    shared: &Shared,
    first: u64,
) -> Result<&'a dyn File, SpoolError> {
    let entry = if let Some(entry) = open.take().filter(|(kept, _)| *kept == first) {
        entry
    } else {
        let name = segment_name(first);
        (first, shared.dir.open(&name).map_err(failed("open", &*shared.dir, &name))?)
    };
    Ok(&*open.insert(entry).1)
}

fn positioned<'a>(header: &RecordHeader, payload: &'a [u8]) -> impl Iterator<Item = (Position, ItemRef<'a>)> {
    (header.first..).map(Position).zip(Items::of(payload))
}
