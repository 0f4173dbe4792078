//! Opening: what a crash left becomes a log again. Doing it twice, or half and then whole, gives the same set.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    sync::Arc,
};

use super::{
    Options, Recovery, SpoolError, Tuning,
    commit::{Active, Committer, begin_segment},
    files::{Dir, File, PlaceError, TEMPORARY, failed, read_region, read_whole},
    filter::Filter,
    format::{ITEM_OVERHEAD, Items, Opening, SEGMENT_HEADER_BYTES, SegmentHeader, decode_checkpoint},
    keys::Remembered,
    quarantine::Quarantine,
    scan::{Damage, Found, Scan},
    shared::{Segment, Shared, State, Tags},
    sidecar::{self, Runs, Summary, Unusable},
};

pub const CHECKPOINT: &str = "checkpoint";
const SEGMENT_SUFFIX: &str = ".seg";

pub fn segment_name(first: u64) -> String {
    format!("{first:020}{SEGMENT_SUFFIX}")
}

fn parse_segment_name(name: &str) -> Option<u64> {
    let digits = name.strip_suffix(SEGMENT_SUFFIX).filter(|digits| digits.len() == 20)?;
    digits.parse().ok()
}

/// Recovers the log in this directory.
pub fn recover(
    mut options: Options,
    tuning: Tuning,
    dir: &Arc<dyn Dir>,
) -> Result<(Arc<Shared>, Committer), SpoolError> {
    // All but one segment of four can be freed then, whatever was configured.
    options.segment_bytes = options.segment_bytes.min(options.max_bytes / 4);
    let listing = Listing::read(&**dir)?;
    let quarantine = Quarantine::open(&**dir)?;
    let mut recovering =
        Recovering { dir: &**dir, quarantine: &quarantine, checkpoint: 0, recovery: Recovery::default() };
    let checkpoint = recovering.read_checkpoint()?;
    recovering.checkpoint = checkpoint.unwrap_or(0);
    let mut state = State::default();
    let mut tail = None;
    for (index, &first) in listing.segments.iter().enumerate() {
        match listing.segments.get(index + 1) {
            Some(&next) => state.segments.push_back(recovering.sealed(first, next)?),
            None => tail = Some(recovering.last(first)?),
        }
    }
    let tail = tail.unwrap_or_default();
    let active_first = tail.active.as_ref().map(|(active, _)| active.header.first);
    let sidecar_end = recovering.read_extents(&listing, active_first, &mut state);
    let next = tail.next.max(recovering.checkpoint).max(sidecar_end);
    let (active, segment) = match tail.active {
        Some(active) => active,
        None => recovering.begin(next)?,
    };
    state.segments.push_back(segment);
    state.start = checkpoint.unwrap_or_else(|| state.segments.front().map_or(0, |segment| segment.first));
    let remembered = recovering.remember(&active.keys, &state, options.remembered_keys)?;
    let recovery = recovering.recovery;
    let shared = Arc::new(Shared::new(options, tuning, Arc::clone(dir), quarantine, recovery, state));
    let committer = Committer::new(Arc::clone(&shared), active, next, remembered);
    Ok((shared, committer))
}

/// The files that are there, in order.
struct Listing {
    segments: Vec<u64>,
    sidecars: Vec<u64>,
}

impl Listing {
    /// Removes what was never placed, and makes the names of the rest durable.
    fn read(dir: &dyn Dir) -> Result<Self, SpoolError> {
        let names = dir.list().map_err(failed("list", dir, ""))?;
        for name in names.iter().filter(|name| name.ends_with(TEMPORARY)) {
            dir.remove(name).map_err(failed("remove", dir, name))?;
        }
        // A process that ended between a rename and its sync left names that are here, and perhaps on no disk.
        dir.sync().map_err(failed("sync", dir, ""))?;
        let mut segments: Vec<u64> = names.iter().filter_map(|name| parse_segment_name(name)).collect();
        let mut sidecars: Vec<u64> = names.iter().filter_map(|name| sidecar::parse_name(name)).collect();
        segments.sort_unstable();
        sidecars.sort_unstable();
        Ok(Self { segments, sidecars })
    }
}

/// A segment file; its random id unless its header is damaged.
struct Opened {
    file: Box<dyn File>,
    size: u64,
    id: Option<u64>,
}

/// What the last segment was, if there was one.
#[derive(Default)]
struct Tail {
    /// `None` when nothing of it can be used.
    active: Option<(Active, Segment)>,
    /// No item was ever readable at or after this position.
    next: u64,
}

struct Recovering<'a> {
    dir: &'a dyn Dir,
    quarantine: &'a Quarantine,
    checkpoint: u64,
    recovery: Recovery,
}

impl Recovering<'_> {
    /// Lost or damaged: everything that is there is delivered again, and nothing is lost.
    fn read_checkpoint(&mut self) -> Result<Option<u64>, SpoolError> {
        let bytes = match read_whole(self.dir, CHECKPOINT) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(failed("read", self.dir, CHECKPOINT)(error)),
        };
        let position = decode_checkpoint(&bytes);
        if position.is_none() {
            self.recovery.checkpoint_damaged = true;
            tracing::warn!("the spool's checkpoint is damaged; delivering again what is in the spool");
        }
        Ok(position)
    }

    /// A segment that is followed by another: all of it was durable.
    fn sealed(&mut self, first: u64, next: u64) -> Result<Segment, SpoolError> {
        let name = segment_name(first);
        let Opened { file, size, id } = self.open_segment(first)?;
        let unusable = match sidecar::read_summary(self.dir, first) {
            Ok(summary) if summary.bytes == size && id.is_none_or(|id| id == summary.id) => {
                self.set_header_aside(first, &*file, size, id, summary.end)?;
                return Ok(Segment::summarised(summary, None));
            }
            Ok(_) => Unusable::Damaged,
            Err(unusable) => unusable,
        };
        if !matches!(unusable, Unusable::Missing) {
            self.recovery.sidecars_unusable += 1;
            tracing::warn!(segment = name, reason = %unusable, "the keys of a spool segment are read from itself");
        }
        let scanned = self.scan(first, &*file, id, size)?;
        self.set_header_aside(first, &*file, size, id, next)?;
        for damage in &scanned.damaged {
            self.set_aside(first, &*file, damage, next)?;
        }
        let ends_whole = scanned.whole_bytes == size;
        let summary = Summary {
            id: scanned.id.unwrap_or_default(),
            first,
            end: if ends_whole { scanned.end } else { next },
            bytes: size,
            runs: scanned.runs,
            tags: Arc::new(scanned.tags),
        };
        let unsealed = sidecar::write(self.dir, &summary, &scanned.keys).err().map(|error| {
            tracing::warn!(segment = name, error = %error.into_io(), "the keys of a spool segment could not be written");
            Arc::new(scanned.keys)
        });
        Ok(Segment::summarised(summary, unsealed))
    }

    /// The segment that was written to: may end in a torn group, which is cut off.
    fn last(&mut self, first: u64) -> Result<Tail, SpoolError> {
        let name = segment_name(first);
        let Opened { file, size, id } = self.open_segment(first)?;
        let scanned = self.scan(first, &*file, id, size)?;
        let Some(id) = scanned.id else {
            self.quarantine.set_aside(first, &*file, 0, size, 1)?;
            drop(file);
            self.dir.remove(&name).map_err(failed("remove", self.dir, &name))?;
            self.dir.sync().map_err(failed("sync", self.dir, ""))?;
            return Ok(Tail { active: None, next: first + most_items(size) });
        };
        self.set_header_aside(first, &*file, size, scanned.header_id, u64::MAX)?;
        let whole = scanned.whole_bytes;
        for damage in scanned.damaged.iter().filter(|damage| damage.offset < whole) {
            self.set_aside(first, &*file, damage, scanned.end)?;
        }
        let mut next = scanned.end;
        if size > whole {
            // Should it have been readable once and rotten since, its positions must not become other items'.
            next += most_items(size - whole);
            self.recovery.torn_bytes += size - whole;
            tracing::warn!(segment = name, bytes = size - whole, "a torn record at the end of the spool was cut off");
            file.set_len(whole).map_err(failed("cut", self.dir, &name))?;
        }
        // Read from the page cache it may be, and after a failed sync not on its way to the disk.
        let synced = scanned.synced.clamp(SEGMENT_HEADER_BYTES as u64, whole);
        let tail = read_region(&*file, synced, whole).map_err(failed("read", self.dir, &name))?;
        file.write_at(&tail, synced).map_err(failed("write", self.dir, &name))?;
        file.sync_data().map_err(failed("sync", self.dir, &name))?;
        let active = Active { header: SegmentHeader { id, first }, file, bytes: whole, keys: scanned.keys };
        let segment = Segment {
            first,
            id: Some(id),
            bytes: whole,
            end: scanned.end,
            runs: scanned.runs,
            tags: Tags::Exact(Arc::new(scanned.tags)),
            unsealed: None,
        };
        Ok(Tail { active: Some((active, segment)), next })
    }

    fn begin(&self, next: u64) -> Result<(Active, Segment), SpoolError> {
        let active = begin_segment(self.dir, next).map_err(PlaceError::into_io).map_err(failed(
            "write",
            self.dir,
            &segment_name(next),
        ))?;
        let segment = Segment::empty(&active.header);
        Ok((active, segment))
    }

    fn open_segment(&self, first: u64) -> Result<Opened, SpoolError> {
        let name = segment_name(first);
        let file = self.dir.open(&name).map_err(failed("open", self.dir, &name))?;
        let size = file.size().map_err(failed("read", self.dir, &name))?;
        let mut header = [0; SEGMENT_HEADER_BYTES];
        let read = file.read_at(&mut header, 0).map_err(failed("read", self.dir, &name))?;
        match SegmentHeader::decode(&header[..read]) {
            Opening::Known(header) if header.first == first => Ok(Opened { file, size, id: Some(header.id) }),
            Opening::Newer(version) => Err(SpoolError::NewerFormat { path: self.dir.path().join(name), version }),
            Opening::Known(_) | Opening::Damaged => Ok(Opened { file, size, id: None }),
        }
    }

    fn scan(&mut self, first: u64, file: &dyn File, id: Option<u64>, size: u64) -> Result<Scanned, SpoolError> {
        self.recovery.segments_scanned += 1;
        Scanned::read(first, file, id, size).map_err(failed("read", self.dir, &segment_name(first)))
    }

    fn set_header_aside(
        &self,
        first: u64,
        file: &dyn File,
        size: u64,
        id: Option<u64>,
        end: u64,
    ) -> Result<(), SpoolError> {
        if id.is_some() || end <= self.checkpoint {
            return Ok(());
        }
        self.quarantine.set_aside(first, file, 0, size.min(SEGMENT_HEADER_BYTES as u64), 1)
    }

    /// Sets a damaged region aside unless all of it is forgotten. `end`: where its items end if it does not tell.
    fn set_aside(&self, first: u64, file: &dyn File, damage: &Damage, end: u64) -> Result<(), SpoolError> {
        let to = damage.to.unwrap_or(end);
        if to <= self.checkpoint {
            return Ok(());
        }
        self.quarantine.set_aside(first, file, damage.offset, damage.end, to.saturating_sub(damage.from))
    }

    /// Notes which sidecars there are; returns where the last of their segments ended.
    fn read_extents(&mut self, listing: &Listing, active: Option<u64>, state: &mut State) -> u64 {
        let mut last_end = 0;
        // Segments that were sealed just now have theirs already.
        let sealed = state.segments.iter().filter(|segment| segment.unsealed.is_none()).map(|segment| segment.first);
        let firsts: BTreeSet<u64> = listing.sidecars.iter().copied().chain(sealed).collect();
        for first in firsts.into_iter().filter(|first| Some(*first) != active) {
            match sidecar::read_extent(self.dir, first) {
                Ok((end, items)) => {
                    last_end = last_end.max(end);
                    state.sidecars.insert(first, items);
                }
                Err(reason) => self.note_lost_keys(first, &reason),
            }
        }
        last_end
    }

    /// Loads the latest keys: newest first until there are enough, remembered in the order they came.
    fn remember(&mut self, active: &[u128], state: &State, limit: usize) -> Result<Remembered, SpoolError> {
        let mut found = active.len();
        let mut older = Vec::new();
        let kept: BTreeMap<u64, &Segment> = state.segments.iter().map(|segment| (segment.first, segment)).collect();
        let sealed = kept.values().filter(|segment| segment.unsealed.is_some()).map(|segment| segment.first);
        let firsts: BTreeSet<u64> = state.sidecars.keys().copied().chain(sealed).collect();
        for first in firsts.into_iter().rev() {
            if found >= limit {
                break;
            }
            let keys = self.keys_of(first, kept.get(&first).copied())?;
            found += keys.len();
            older.push(keys);
        }
        self.recovery.keys = found;
        let mut remembered = Remembered::new(limit);
        for &key in older.iter().rev().flat_map(|keys| keys.iter()).chain(active) {
            remembered.insert(key);
        }
        Ok(remembered)
    }

    /// The keys of a former or sealed segment: from its sidecar, else from itself if it is still there.
    fn keys_of(&mut self, first: u64, kept: Option<&Segment>) -> Result<Arc<Vec<u128>>, SpoolError> {
        if let Some(keys) = kept.and_then(|segment| segment.unsealed.as_ref()) {
            return Ok(Arc::clone(keys));
        }
        let reason = match sidecar::read_keys(self.dir, first) {
            Ok(keys) => return Ok(Arc::new(keys)),
            Err(reason) => reason,
        };
        let Some(segment) = kept else {
            self.note_lost_keys(first, &reason);
            return Ok(Arc::default());
        };
        self.recovery.sidecars_unusable += 1;
        let Opened { file, size, id } = self.open_segment(first)?;
        let scanned = self.scan(first, &*file, id.or(segment.id), size)?;
        let (runs, tags) = (scanned.runs, Arc::new(scanned.tags));
        let id = segment.id.unwrap_or_default();
        let summary = Summary { id, first, end: segment.end, bytes: size, runs, tags };
        if let Err(error) = sidecar::write(self.dir, &summary, &scanned.keys) {
            let file = sidecar::name(first);
            tracing::warn!(error = %error.into_io(), file, "the damaged keys of a spool segment could not be written anew");
        }
        Ok(Arc::new(scanned.keys))
    }

    fn note_lost_keys(&mut self, first: u64, reason: &Unusable) {
        self.recovery.sidecars_unusable += 1;
        let file = sidecar::name(first);
        tracing::warn!(file, %reason, "keys of former items are lost; such items would be kept again if they are sent again");
    }
}

/// What reading a whole segment found.
struct Scanned {
    header_id: Option<u64>,
    id: Option<u64>,
    runs: Runs,
    tags: Vec<u64>,
    keys: Vec<u128>,
    /// The position after the last item.
    end: u64,
    /// Where the last whole record ends in the file.
    whole_bytes: u64,
    /// How much of the file was surely durable.
    synced: u64,
    damaged: Vec<Damage>,
}

impl Scanned {
    fn read(first: u64, file: &dyn File, header_id: Option<u64>, size: u64) -> io::Result<Self> {
        let begin = SEGMENT_HEADER_BYTES as u64;
        let mut scanned = Self {
            header_id,
            id: None,
            runs: Runs::default(),
            tags: Vec::new(),
            keys: Vec::new(),
            end: first,
            whole_bytes: begin.min(size),
            synced: begin,
            damaged: Vec::new(),
        };
        let mut scan = Scan::new(file, header_id, begin, size, first);
        while let Some(found) = scan.step()? {
            match found {
                Found::Damaged(damage) => scanned.damaged.push(damage),
                Found::Record { header, offset } => {
                    scanned.runs.push(header.first, u64::from(header.items));
                    for item in Items::of(scan.payload()) {
                        scanned.keys.push(item.key);
                        scanned.tags.push(item.tag);
                    }
                    scanned.end = header.end();
                    scanned.whole_bytes = offset + header.bytes();
                    scanned.synced = scanned.synced.max(header.synced);
                }
            }
        }
        scanned.id = scan.id();
        Ok(scanned)
    }
}

impl Segment {
    fn summarised(summary: Summary, unsealed: Option<Arc<Vec<u128>>>) -> Self {
        let Summary { id, first, end, bytes, runs, tags } = summary;
        let tags = if unsealed.is_some() { Tags::Exact(tags) } else { Tags::Sealed(Arc::new(Filter::of(&tags))) };
        Self { first, id: Some(id), bytes, end, runs, tags, unsealed }
    }
}

/// More items than so many bytes can be.
fn most_items(bytes: u64) -> u64 {
    bytes / ITEM_OVERHEAD as u64 + 1
}
