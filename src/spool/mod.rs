//! The durable log: what was appended is on disk when the call returns, and is read back in order until it is forgotten.
//!
//! Items are opaque. Each has a key (an item whose key was seen before is not kept again, also across restarts) and a tag
//! ([`Writer::holds`]). This page is the specification of the files; all numbers are little-endian, every CRC is CRC32C.
//!
//! # Files
//!
//! | name | what |
//! |---|---|
//! | `NNNNNNNNNNNNNNNNNNNN.seg` | a segment; the 20 digits are the position of its first item |
//! | `NNNNNNNNNNNNNNNNNNNN.keys` | sidecar of a sealed segment, which it outlives |
//! | `checkpoint` | the position before which everything is forgotten |
//! | `quarantine/SEGMENT-OFFSET-ITEMS.bad` | a damaged region of a segment, byte for byte; `ITEMS` were lost with it |
//! | `….tmp` | a file not yet placed; removed at the next open |
//!
//! **Segment**: a header, then records until the end of the file.
//!
//! | bytes | segment header (32) | | bytes | record header (52) |
//! |---|---|---|---|---|
//! | 0..8 | `ERRATASG` | | 0..4 | `E5 72 65 63` |
//! | 8..12 | format version, 1 | | 4..8 | length of the payload |
//! | 12..20 | id: random | | 8..16 | the segment's id |
//! | 20..28 | position of the first item | | 16..24 | position of the first item |
//! | 28..32 | CRC of 0..28 | | 24..32 | length of the file that was durable before |
//! | | | | 32..40 | when it was appended, ms since the Unix epoch |
//! | | | | 40..44 | number of items |
//! | | | | 44..48 | CRC of the payload |
//! | | | | 48..52 | CRC of 0..48 |
//!
//! A record's payload is its items: key (16), tag (8), length (4), bytes. It holds the new items of one call, or some of
//! them: it stays below 1 MiB unless a single item is larger. The first 32 bytes of a segment keep this layout in every version,
//! so that an older program can tell a newer file. The random id keeps bytes that a client made up, or that a former file left
//! on the disk, from being taken for a record when a damaged region is searched for the next one.
//!
//! **Checkpoint** (24): `ERRATACP`, version 1 (4), position (8), CRC of 0..20.
//!
//! **Sidecar**: `ERRATAKY`, version 1 (4), number of runs (4), then 8 bytes each: the segment's id, its first position, the
//! position after its last item, the length of its file, its number of items *n*; CRC of the tags (4), CRC of the keys (4); the runs
//! (first position and count, 8 bytes each); CRC of all before (4); *n* tags (8); *n* keys (16).
//!
//! # Invariants
//!
//! 1. A call is answered `Ok` after an `fdatasync` that covers every item of it: those kept now and those it repeats. Only
//!    durable items are readable.
//! 2. Segments but the last are sealed: the next one is made after the last record of the former is durable. So only the last one
//!    can end in a torn record.
//! 3. Files other than segments are placed: written under another name, synced, renamed, the directory synced. So is a
//!    segment's header.
//! 4. A failed write or sync *poisons* the log: no later call is answered `Ok`, nothing is synced again; the next open
//!    recovers. A write that found no space is cut off again (poisoning if that fails) and refused as
//!    [`AppendError::DiskFull`]; the next one may succeed.
//! 5. Positions grow, with gaps where a torn record was cut off; none is given to another item once it could be read.
//! 6. A segment is unlinked when it is sealed, the durable checkpoint is past its end, and its sidecar is durable. Sidecars of
//!    unlinked segments are kept while they are needed to cover [`Options::remembered_keys`].
//! 7. What is no whole record, and is followed by one or is in a sealed segment, is set aside in `quarantine/`, counted
//!    and stepped over, once; the segment is not changed. At the end of the last segment it is cut off.
//! 8. Opening reads sidecars instead of sealed segments; it scans the last segment, and those whose sidecar is missing or
//!    damaged. What of the last segment was not surely synced before a crash is written and synced again first; so are the
//!    directory's names: a process may have ended between a rename and its sync.
//! 9. A lost or damaged checkpoint, sidecar or quarantine loses no item: a checkpoint costs repeated reading, a sidecar a
//!    scan (or, its segment gone, the memory of its keys).
//!
//! Segments are not preallocated: on ext4 it made groups of 640 KiB faster by 0 to 15 % (median 3 %), and would leave a tail of
//! zeroes to tell from damage.
//!
//! One process at a time may open a directory; locking it is the caller's business.

mod batch;
mod commit;
pub mod files;
mod filter;
mod format;
mod group;
mod keys;
mod quarantine;
mod reader;
mod recover;
mod scan;
mod shared;
mod sidecar;
mod writer;

#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod fuzzing;
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod simulated;
#[cfg(test)]
mod tests;

pub use batch::Batch;
pub use format::ItemRef;
pub use reader::Reader;
pub use writer::Writer;

use std::{path::PathBuf, sync::Arc};

use files::{Dir, Disk};

/// How the spool is laid out and bounded.
#[derive(Clone, Debug)]
pub struct Options {
    pub dir: PathBuf,
    /// Size of a segment file at which a new one is begun, bytes.
    pub segment_bytes: u64,
    /// Size of all segments past which appends are refused, bytes.
    pub max_bytes: u64,
    /// Free space of the file system below which appends are refused, bytes.
    pub reserve_bytes: u64,
    /// How many of the latest item keys are remembered to tell a repeated item.
    pub remembered_keys: usize,
}

/// One opaque item to keep.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Item {
    /// Identity: an item whose key was seen before is not kept again.
    pub key: u128,
    /// What [`Writer::holds`] asks for: not unique.
    pub tag: u64,
    pub payload: Vec<u8>,
}

/// A position in the log: the number of the item that comes next. Grows by one an item, never reused.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
pub struct Position(pub u64);

/// What became of an append. Every item is durable when this is returned, now or from before.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Appended {
    /// Indexes of the items that were known already.
    pub duplicates: Vec<usize>,
    /// The position after the last item that was kept of it.
    pub end: Position,
}

#[derive(Debug, thiserror::Error)]
pub enum AppendError {
    #[error("the spool is full ({used} of {limit} bytes): ClickHouse takes events slower than they come")]
    Full { used: u64, limit: u64 },
    #[error("the disk is nearly full ({free} bytes free, {reserve} are kept in reserve)")]
    DiskFull { free: u64, reserve: u64 },
    #[error("the spool failed and takes nothing until the collector is started anew: {0}")]
    Poisoned(String),
    #[error("the collector is shutting down")]
    Closed,
}

impl AppendError {
    /// Whether the items may be found at the next start all the same.
    #[must_use]
    pub const fn leaves_doubt(&self) -> bool {
        match self {
            Self::Full { .. } | Self::DiskFull { .. } => false,
            Self::Poisoned(_) | Self::Closed => true,
        }
    }
}

#[derive(Debug, thiserror::Error)]
pub enum SpoolError {
    #[error("{action} {path}: {source}")]
    Io { action: &'static str, path: PathBuf, source: std::io::Error },
    #[error("{path} is written by a newer errata (format {version}): start that version, or move the file away")]
    NewerFormat { path: PathBuf, version: u32 },
}

/// Size and age of what is not yet forgotten.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    pub bytes: u64,
    /// Items queued: readable and not yet forgotten.
    pub items: u64,
    /// When the oldest queued item was appended, milliseconds since the Unix epoch.
    pub oldest_ms: Option<i64>,
    /// Items or regions set aside because they were damaged, since the spool was first made.
    pub quarantined: u64,
    /// Items queued when the spool was opened, and those appended since.
    pub accepted: u64,
    /// Items set aside because they were damaged, since the spool was opened.
    pub damaged: u64,
    /// Items set aside for the same reason while it was being opened; they are not among those accepted.
    pub damaged_at_open: u64,
}

/// Items read back, in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Chunk {
    pub start: Position,
    /// Where the next read goes on; records are never split.
    pub end: Position,
    /// Position, and the item.
    pub items: Vec<(Position, Item)>,
}

/// What opening found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recovery {
    /// Segments that were read from beginning to end; the last one always is.
    pub segments_scanned: usize,
    /// Bytes cut off the end of the last segment: an append that was under way, and not acknowledged.
    pub torn_bytes: u64,
    pub checkpoint_damaged: bool,
    /// Sidecars lost or damaged.
    pub sidecars_unusable: usize,
    /// Keys of former items that are remembered, at most.
    pub keys: usize,
}

/// Sizes that tests shrink.
#[derive(Clone, Copy, Debug)]
struct Tuning {
    /// Payload of a record of more than one item, bytes.
    record_bytes: usize,
    /// Bytes after which no further call is gathered into a group.
    group_bytes: usize,
    /// Bytes of calls that wait for the log's thread; further ones wait before.
    queue_bytes: usize,
    /// Whether sidecars are written by the log's thread itself.
    seal_inline: bool,
}

impl Default for Tuning {
    fn default() -> Self {
        Self { record_bytes: 1 << 20, group_bytes: 4 << 20, queue_bytes: 32 << 20, seal_inline: false }
    }
}

/// Opens or makes the spool and recovers what a crash left.
///
/// # Errors
/// On an I/O error, or when a segment was written by a newer format.
pub fn open(options: Options) -> Result<(Writer, Reader), SpoolError> {
    let action = "open the spool in";
    let dir =
        Disk::open(&options.dir).map_err(|source| SpoolError::Io { action, path: options.dir.clone(), source })?;
    open_tuned(options, Tuning::default(), &(Arc::new(dir) as Arc<dyn Dir>))
}

/// [`open`] on a file system of one's own.
///
/// # Errors
/// As [`open`].
pub fn open_in(options: Options, dir: &Arc<dyn Dir>) -> Result<(Writer, Reader), SpoolError> {
    open_tuned(options, Tuning::default(), dir)
}

fn open_tuned(options: Options, tuning: Tuning, dir: &Arc<dyn Dir>) -> Result<(Writer, Reader), SpoolError> {
    let (shared, committer) = recover::recover(options, tuning, dir)?;
    let mut reader = Reader::new(Arc::clone(&shared));
    reader.settle()?;
    let (writer, messages) = Writer::new(shared);
    commit::start(committer, messages)?;
    Ok((writer, reader))
}
