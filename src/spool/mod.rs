//! The durable log. (File-format specification and invariants go here.)

use std::{path::PathBuf, time::Duration};

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
    pub accepted_items: u64,
    pub damaged_items: u64,
}

/// Opens or makes the spool and recovers what a crash left.
///
/// # Errors
/// On an I/O error, or when a segment was written by a newer format.
pub fn open(_options: Options) -> Result<(Writer, Reader), SpoolError> {
    todo!()
}

/// The appending side; cheap to clone.
#[derive(Clone)]
pub struct Writer {}

impl Writer {
    /// Appends items; returns after they are durable (`fdatasync`), in the order of the calls.
    ///
    /// # Errors
    /// [`AppendError`]; nothing of the call is kept then (it may still be found after a crash).
    pub async fn append(&self, _items: Vec<Item>) -> Result<Appended, AppendError> {
        todo!()
    }

    /// Whether an item of this tag is kept and not yet forgotten.
    #[must_use]
    pub fn holds(&self, _tag: u64) -> bool {
        todo!()
    }

    #[must_use]
    pub fn stats(&self) -> Stats {
        todo!()
    }

    /// Why the spool takes nothing at the moment, if so.
    #[must_use]
    pub fn refusal(&self) -> Option<AppendError> {
        todo!()
    }
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

/// The reading side: one.
pub struct Reader {}

impl Reader {
    /// Where the first item that is not forgotten is.
    #[must_use]
    pub fn start(&self) -> Position {
        todo!()
    }

    /// Reads whole records from `from` until one of the bounds is reached; at least one record if there is any.
    ///
    /// # Errors
    /// On an I/O error. Damaged records are set aside, counted and stepped over.
    pub fn read(&mut self, _from: Position, _max_items: usize, _max_bytes: usize) -> Result<Chunk, SpoolError> {
        todo!()
    }

    /// Reads exactly the records of `[start, end)`: the same items as before, minus what was damaged since.
    ///
    /// # Errors
    /// On an I/O error.
    pub fn read_range(&mut self, _start: Position, _end: Position) -> Result<Chunk, SpoolError> {
        todo!()
    }

    /// Waits until there is something at or after `from`, or the time is over; `false` when it is over.
    pub async fn wait(&mut self, _from: Position, _timeout: Duration) -> bool {
        todo!()
    }

    /// Forgets everything before `end`, durably; whole segments are unlinked.
    ///
    /// # Errors
    /// On an I/O error.
    pub fn forget(&mut self, _end: Position) -> Result<(), SpoolError> {
        todo!()
    }
}
