//! What the writer, its thread and the reader know together.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError},
    time::Duration,
};

use tokio::sync::watch;

use super::{
    Options, Recovery, Stats, Tuning,
    files::{Dir, PlaceError},
    filter::Filter,
    format::{SEGMENT_HEADER_BYTES, SegmentHeader},
    quarantine::Quarantine,
    sidecar::{self, Runs, Summary},
};

pub type SyncObserver = Box<dyn Fn(Duration) + Send + Sync>;

pub struct Shared {
    pub options: Options,
    pub tuning: Tuning,
    pub dir: Arc<dyn Dir>,
    pub quarantine: Quarantine,
    pub recovery: Recovery,
    state: Mutex<State>,
    /// Items that were set aside before the spool could be read.
    damaged_before: u64,
    /// Held while sidecars are written, by whom ever: nobody writes one twice, and who needs them waits here.
    sealing: Mutex<()>,
    /// The position after the last durable item.
    pub end: watch::Sender<u64>,
    /// Why the log takes nothing any more.
    pub poison: watch::Sender<Option<String>>,
    pub sync_observer: OnceLock<SyncObserver>,
}

/// A segment that is kept.
#[derive(Debug)]
pub struct Segment {
    pub first: u64,
    /// Unknown when its header is damaged and it has no whole record.
    pub id: Option<u64>,
    /// Durable length of its file.
    pub bytes: u64,
    /// The position after its last item.
    pub end: u64,
    pub runs: Runs,
    pub tags: Tags,
    /// Keys of a sealed segment until its sidecar is durable.
    pub unsealed: Option<Arc<Vec<u128>>>,
}

/// The tags of a segment's items.
#[derive(Clone, Debug)]
pub enum Tags {
    /// In order; of a segment without a sidecar.
    Exact(Arc<Vec<u64>>),
    /// They are in the sidecar.
    Sealed(Arc<Filter>),
}

impl Segment {
    /// Made just now.
    pub fn empty(header: &SegmentHeader) -> Self {
        Self {
            first: header.first,
            id: Some(header.id),
            bytes: SEGMENT_HEADER_BYTES as u64,
            end: header.first,
            runs: Runs::default(),
            tags: Tags::Exact(Arc::default()),
            unsealed: None,
        }
    }
}

#[derive(Debug, Default)]
pub struct State {
    /// Oldest first; the last one is written to. Never empty.
    pub segments: VecDeque<Segment>,
    /// Everything before this position is forgotten.
    pub start: u64,
    /// Where the first record that is not forgotten is.
    pub oldest: Oldest,
    /// When the latest group was appended.
    pub latest_ms: Option<i64>,
    /// Items that were queued when the spool was opened, and those appended since.
    pub accepted: u64,
    /// Items by first position of the segments that have a sidecar.
    pub sidecars: BTreeMap<u64, u64>,
}

/// The place and age of the oldest record; its age is unknown while there is none.
#[derive(Clone, Copy, Debug, Default)]
pub struct Oldest {
    pub segment: u64,
    pub offset: u64,
    pub appended_ms: Option<i64>,
}

impl State {
    /// Moves the start. `oldest` was looked for without the lock.
    pub fn forget(&mut self, start: u64, oldest: Oldest) {
        self.start = start;
        self.oldest = oldest;
        if self.oldest.appended_ms.is_none() && self.queued() > 0 {
            // Appended after the look: a moment ago.
            self.oldest.appended_ms = self.latest_ms;
        }
    }

    /// Counts a group in. `records`: first position and number of items of each.
    pub fn add(&mut self, records: &[(u64, u64)], tags: &[u64], bytes: u64, appended_ms: i64) {
        if self.queued() == 0 {
            self.oldest.appended_ms = Some(appended_ms);
        }
        self.latest_ms = Some(appended_ms);
        self.accepted += tags.len() as u64;
        let Some(segment) = self.segments.back_mut() else { return };
        for &(first, count) in records {
            segment.runs.push(first, count);
            segment.end = first + count;
        }
        segment.bytes = bytes;
        if let Tags::Exact(kept) = &mut segment.tags {
            Arc::make_mut(kept).extend_from_slice(tags);
        }
    }

    /// Bytes of records that are not forgotten.
    fn queued_bytes(&self) -> u64 {
        if self.queued() == 0 {
            return 0;
        }
        let kept = self.segments.iter().filter(|segment| segment.end > self.start);
        kept.map(|segment| {
            let forgotten = if segment.first == self.oldest.segment { self.oldest.offset } else { 0 };
            segment.bytes.saturating_sub(forgotten.max(SEGMENT_HEADER_BYTES as u64))
        })
        .sum()
    }

    /// Bytes of all segment files: what [`Options::max_bytes`] bounds.
    pub fn used(&self) -> u64 {
        self.segments.iter().map(|segment| segment.bytes).sum()
    }

    pub fn queued(&self) -> u64 {
        self.segments.iter().map(|segment| segment.runs.count() - segment.runs.before(self.start)).sum()
    }
}

impl Shared {
    pub fn new(
        options: Options,
        tuning: Tuning,
        dir: Arc<dyn Dir>,
        quarantine: Quarantine,
        recovery: Recovery,
        mut state: State,
    ) -> Self {
        state.accepted = state.queued();
        let damaged_before = quarantine.items();
        let end = state.segments.back().map_or(0, |segment| segment.end).max(state.start);
        Self {
            options,
            tuning,
            dir,
            quarantine,
            recovery,
            state: Mutex::new(state),
            damaged_before,
            sealing: Mutex::new(()),
            end: watch::Sender::new(end),
            poison: watch::Sender::new(None),
            sync_observer: OnceLock::new(),
        }
    }

    pub fn state(&self) -> MutexGuard<'_, State> {
        // Nothing that is done under the lock can stop half-way.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn stats(&self) -> Stats {
        let quarantined = self.quarantine.items();
        let state = self.state();
        let items = state.queued();
        let oldest_ms = state.oldest.appended_ms.filter(|_| items > 0);
        Stats {
            bytes: state.queued_bytes(),
            items,
            oldest_ms,
            quarantined,
            accepted: state.accepted,
            damaged: quarantined - self.damaged_before,
            damaged_at_open: self.damaged_before - self.quarantine.items_at_open(),
        }
    }

    /// Whether an item of this tag is not yet forgotten. Of sealed segments a filter is asked, and the sidecar where that says
    /// perhaps; one that cannot be read counts as having it.
    pub fn holds(&self, tag: u64) -> bool {
        let queued: Vec<(u64, Tags, usize)> = {
            let state = self.state();
            let queued = state.segments.iter().filter(|segment| segment.end > state.start);
            queued
                .filter(|segment| !matches!(&segment.tags, Tags::Sealed(filter) if !filter.may_have(tag)))
                .map(|segment| (segment.first, segment.tags.clone(), segment.runs.before(state.start) as usize))
                .collect()
        };
        queued.into_iter().any(|(first, tags, forgotten)| match tags {
            Tags::Exact(tags) => tags.iter().skip(forgotten).any(|&kept| kept == tag),
            Tags::Sealed(_) => match sidecar::read_summary(&*self.dir, first) {
                Ok(summary) => summary.tags.iter().skip(forgotten).any(|&kept| kept == tag),
                // Forgotten in the meantime, and its sidecar with it.
                Err(_) if !self.is_queued(first) => false,
                Err(reason) => {
                    let file = sidecar::name(first);
                    tracing::warn!(file, %reason, "the tags of a spool segment cannot be read; taking an item for queued");
                    true
                }
            },
        })
    }

    fn is_queued(&self, first: u64) -> bool {
        let state = self.state();
        state.segments.iter().any(|segment| segment.first == first && segment.end > state.start)
    }

    /// Writes the sidecars that sealed segments still lack. What fails is tried again at the next call: a segment is not
    /// unlinked before its sidecar is durable.
    pub fn seal(&self) {
        let _one_at_a_time = self.sealing.lock().unwrap_or_else(PoisonError::into_inner);
        for (summary, keys) in self.unsealed() {
            match sidecar::write(&*self.dir, &summary, &keys) {
                Ok(()) => self.note_sealed(&summary),
                Err(PlaceError::Unchanged(error) | PlaceError::InDoubt(error)) => {
                    let file = sidecar::name(summary.first);
                    tracing::warn!(%error, file, "the keys of a spool segment could not be written; trying again later");
                }
            }
        }
    }

    fn unsealed(&self) -> Vec<(Summary, Arc<Vec<u128>>)> {
        let state = self.state();
        let lacking = state.segments.iter().filter_map(|segment| match &segment.tags {
            Tags::Exact(tags) => Some((segment, segment.unsealed.as_ref()?, tags)),
            Tags::Sealed(_) => None,
        });
        lacking
            .map(|(segment, keys, tags)| {
                let summary = Summary {
                    id: segment.id.unwrap_or_default(),
                    first: segment.first,
                    end: segment.end,
                    bytes: segment.bytes,
                    runs: segment.runs.clone(),
                    tags: Arc::clone(tags),
                };
                (summary, Arc::clone(keys))
            })
            .collect()
    }

    fn note_sealed(&self, summary: &Summary) {
        let filter = Arc::new(Filter::of(&summary.tags));
        let mut state = self.state();
        state.sidecars.insert(summary.first, summary.tags.len() as u64);
        if let Some(segment) = state.segments.iter_mut().find(|segment| segment.first == summary.first) {
            segment.unsealed = None;
            segment.tags = Tags::Sealed(filter);
        }
    }
}
