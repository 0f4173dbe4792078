//! The quarantine: events that could not be delivered, one file each, with the reason.
//!
//! A file holds a line of JSON (when, why, which request), then the spool's payload as it was. `errata quarantine retry` posts
//! them to delivery again.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use super::plan::{PlanError, replace};
use crate::{
    event::{Event, codec},
    spool::{Item, Position},
};

const EXTENSION: &str = "event";

/// Longest reason that is kept, bytes.
const REASON_BYTES: usize = 2000;

/// The first line of a file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Name for the command line: the event's position in the log.
    pub id: String,
    /// When it was set aside, milliseconds since the Unix epoch.
    pub at_ms: i64,
    pub reason: String,
    /// Request id, if the payload could be decoded.
    pub request_id: Option<String>,
    pub project: Option<String>,
    /// The item's identity in the spool, in hex.
    key: String,
    tag: u64,
}

#[derive(Debug, thiserror::Error)]
pub enum QuarantineError {
    #[error("cannot read {path}: {source}", path = path.display())]
    Read { path: PathBuf, source: io::Error },
    #[error("{path} is no quarantined event: {message}", path = path.display())]
    Malformed { path: PathBuf, message: String },
    #[error("there is no quarantined event {0:?}; `errata quarantine list` shows all")]
    Unknown(String),
    #[error(transparent)]
    Write(#[from] PlanError),
}

/// The directory of quarantined events.
#[derive(Clone, Debug)]
pub struct Quarantine {
    dir: PathBuf,
}

impl Quarantine {
    /// Opens or makes the directory.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn open(dir: PathBuf) -> Result<Self, QuarantineError> {
        fs::create_dir_all(&dir).map_err(|source| QuarantineError::Read { path: dir.clone(), source })?;
        Ok(Self { dir })
    }

    /// Sets an item aside, durably. Doing it again replaces the file.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn put(&self, position: Position, item: &Item, reason: &str, at_ms: i64) -> Result<(), QuarantineError> {
        let event = codec::decode(&item.payload).ok();
        let entry = Entry {
            id: position.0.to_string(),
            at_ms,
            reason: reason[..reason.floor_char_boundary(REASON_BYTES)].to_owned(),
            request_id: event.as_ref().map(|event| event.request_id.to_string()),
            project: event.map(|event| event.project),
            key: format!("{:032x}", item.key),
            tag: item.tag,
        };
        let path = self.path(&entry.id);
        let mut content = serde_json::to_vec(&entry)
            .map_err(|error| QuarantineError::Malformed { path, message: error.to_string() })?;
        content.push(b'\n');
        content.extend_from_slice(&item.payload);
        Ok(replace(&self.dir, &format!("{}.{EXTENSION}", entry.id), &content)?)
    }

    /// All entries, oldest position first.
    ///
    /// # Errors
    /// When the directory or a file in it cannot be read.
    pub fn list(&self) -> Result<Vec<Entry>, QuarantineError> {
        let read = |source| QuarantineError::Read { path: self.dir.clone(), source };
        let mut entries = Vec::new();
        for file in fs::read_dir(&self.dir).map_err(read)? {
            let path = file.map_err(read)?.path();
            if path.extension().is_some_and(|extension| extension == EXTENSION) {
                entries.push(read_file(&path)?.0);
            }
        }
        entries.sort_by_key(|entry| entry.id.parse::<u64>().unwrap_or(u64::MAX));
        Ok(entries)
    }

    /// One entry with its item, and the event if the payload can be decoded.
    ///
    /// # Errors
    /// When there is none of this id, or it cannot be read.
    pub fn get(&self, id: &str) -> Result<(Entry, Item, Option<Event>), QuarantineError> {
        let path = self.known_path(id)?;
        let (entry, payload) = read_file(&path)?;
        let key = u128::from_str_radix(&entry.key, 16)
            .map_err(|error| QuarantineError::Malformed { path, message: error.to_string() })?;
        let event = codec::decode(&payload).ok();
        let item = Item { key, tag: entry.tag, payload };
        Ok((entry, item, event))
    }

    /// Removes an entry, after it was delivered or for good.
    ///
    /// # Errors
    /// When there is none of this id, or the file cannot be removed.
    pub fn remove(&self, id: &str) -> Result<(), QuarantineError> {
        let path = self.known_path(id)?;
        fs::remove_file(&path).map_err(|source| QuarantineError::Read { path, source })
    }

    fn path(&self, id: &str) -> PathBuf {
        self.dir.join(format!("{id}.{EXTENSION}"))
    }

    /// The file of an id, which is digits only, so that no other path can be named.
    fn known_path(&self, id: &str) -> Result<PathBuf, QuarantineError> {
        let path = self.path(id);
        let is_id = !id.is_empty() && id.bytes().all(|byte| byte.is_ascii_digit());
        if is_id && path.is_file() { Ok(path) } else { Err(QuarantineError::Unknown(id.to_owned())) }
    }
}

fn read_file(path: &Path) -> Result<(Entry, Vec<u8>), QuarantineError> {
    let malformed = |message: String| QuarantineError::Malformed { path: path.to_owned(), message };
    let content = fs::read(path).map_err(|source| QuarantineError::Read { path: path.to_owned(), source })?;
    let end = content.iter().position(|byte| *byte == b'\n').ok_or_else(|| malformed("no header line".into()))?;
    let entry = serde_json::from_slice(&content[..end]).map_err(|error| malformed(error.to_string()))?;
    Ok((entry, content[end + 1..].to_vec()))
}
