//! The plan: what is being delivered, on disk before the first attempt.
//!
//! One JSON file, replaced as a whole (write, fsync, rename, fsync of the directory). It covers one range of the log, cut
//! into batches: one at first, more after a bisection. A plan whose range the spool has forgotten is done. A plan that does
//! not fit what the log holds (its files were moved, or damaged) is not followed: see [`super::deliverer`].
//!
//! `crc` is the CRC32C of the same JSON with a `crc` of 0. Nothing but it tells that a batch's id or range is not the one that
//! was written: followed so, a stored batch would be stored again, and events outside the range forgotten. Version 1 had none.

use std::{
    fs::{self, File},
    io::{self, Write},
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::BatchRef;
use crate::{
    spool::Position,
    store::{rollup::Group, rows::week_of},
};

const FILE: &str = "plan.json";
const VERSION: u32 = 2;

/// The version without a checksum.
const UNCHECKED: u32 = 1;

/// A range of the log and the batches it is delivered in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    version: u32,
    /// The range, at record boundaries of the log.
    pub start: Position,
    pub end: Position,
    /// In order; between them lies nothing but what could not be decoded, or is stored under an earlier batch.
    pub batches: Vec<Batch>,
    /// What was not in the rollups when this was written, and the groups that the plan's own batches will be in: see
    /// [`super::rollup`].
    #[serde(default)]
    pub groups: Vec<Group>,
    /// Batches of plans that could not be followed: what is stored under them is in no batch of this one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub earlier: Vec<Batch>,
    /// 0 in memory.
    #[serde(default)]
    crc: u32,
}

/// Events of consecutive positions that are inserted together.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Batch {
    pub id: Uuid,
    pub from: Position,
    pub to: Position,
    /// Events in it; the destination must count as many.
    pub rows: usize,
    /// Bounds of the events' `received_at_ms`, both included.
    pub received_ms: (i64, i64),
    /// Digest of the events' keys in order: tells whether the log still holds what the plan is about.
    pub digest: u64,
}

impl Batch {
    pub fn reference(&self) -> BatchRef {
        BatchRef { id: self.id, rows: self.rows, received_ms: self.received_ms }
    }
}

#[derive(Debug, thiserror::Error)]
pub enum PlanError {
    #[error("cannot {action} {path}: {source}", path = path.display())]
    Io { action: &'static str, path: PathBuf, source: io::Error },
    #[error("{path} cannot be read ({message}); if it is damaged, move it away: its events are delivered under new ids, and a batch that was under way may then be stored twice", path = path.display())]
    Damaged { path: PathBuf, message: String },
    #[error("{path} is of version {version}, written by a newer errata; start that version", path = path.display())]
    Newer { path: PathBuf, version: u32 },
}

impl Plan {
    pub fn new(start: Position, end: Position, batches: Vec<Batch>, groups: Vec<Group>) -> Self {
        Self { version: VERSION, start, end, batches, groups, earlier: Vec::new(), crc: 0 }
    }

    /// The groups, each with the plan's own batches in it.
    pub fn complete_groups(mut self) -> Vec<Group> {
        for group in &mut self.groups {
            let week = group.week;
            let own = self.batches.iter().filter(|batch| week_of(batch.received_ms.0) == week);
            own.for_each(|batch| group.add(batch.id, batch.received_ms));
        }
        self.groups
    }

    /// Reads the plan of a directory, if there is one.
    pub fn load(dir: &Path) -> Result<Option<Self>, PlanError> {
        let path = dir.join(FILE);
        let text = match fs::read(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(PlanError::Io { action: "read", path, source }),
        };
        Self::parse(&path, &text).map(Some)
    }

    /// Reads the content of a plan's file; the path is for messages.
    pub fn parse(path: &Path, text: &[u8]) -> Result<Self, PlanError> {
        let damaged = |message: String| PlanError::Damaged { path: path.to_owned(), message };
        let mut plan: Self = serde_json::from_slice(text).map_err(|error| damaged(error.to_string()))?;
        let crc = std::mem::take(&mut plan.crc);
        match plan.version {
            VERSION if crc == crc32c::crc32c(&plan.json(path)?) => Ok(plan),
            VERSION => Err(damaged("its checksum is wrong".to_owned())),
            UNCHECKED => Ok(Self { version: VERSION, ..plan }),
            0 => Err(damaged("there is no version 0".to_owned())),
            version => Err(PlanError::Newer { path: path.to_owned(), version }),
        }
    }

    /// The content of the plan's file.
    pub fn content(&self, path: &Path) -> Result<Vec<u8>, PlanError> {
        let crc = crc32c::crc32c(&self.json(path)?);
        Self { crc, ..self.clone() }.json(path)
    }

    fn json(&self, path: &Path) -> Result<Vec<u8>, PlanError> {
        let damaged =
            |error: serde_json::Error| PlanError::Damaged { path: path.to_owned(), message: error.to_string() };
        serde_json::to_vec(self).map_err(damaged)
    }

    /// Replaces the plan of a directory, durably.
    pub fn save(&self, dir: &Path) -> Result<(), PlanError> {
        replace(dir, FILE, &self.content(&dir.join(FILE))?)
    }
}

/// Writes a file durably under its name: a crash leaves the old content or the new, never a part.
pub fn replace(dir: &Path, name: &str, content: &[u8]) -> Result<(), PlanError> {
    let (path, temporary) = (dir.join(name), dir.join(format!("{name}.new")));
    let io = |action, path: &Path| {
        let path = path.to_owned();
        move |source| PlanError::Io { action, path, source }
    };
    let mut file = File::create(&temporary).map_err(io("create", &temporary))?;
    file.write_all(content).map_err(io("write", &temporary))?;
    file.sync_all().map_err(io("sync", &temporary))?;
    fs::rename(&temporary, &path).map_err(io("rename to", &path))?;
    File::open(dir).and_then(|dir| dir.sync_all()).map_err(io("sync", dir))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plan_reads_back_and_a_damaged_or_newer_one_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(Plan::load(dir.path()).unwrap(), None);
        let batch =
            Batch { id: Uuid::new_v4(), from: Position(1), to: Position(3), rows: 2, received_ms: (5, 6), digest: 7 };
        let plan = Plan::new(Position(1), Position(3), vec![batch], vec![Group::new(0)]);
        plan.save(dir.path()).unwrap();
        assert_eq!(Plan::load(dir.path()).unwrap(), Some(plan.clone()));
        Plan { version: 3, ..plan }.save(dir.path()).unwrap();
        assert!(matches!(Plan::load(dir.path()), Err(PlanError::Newer { version: 3, .. })));
        fs::write(dir.path().join(FILE), b"{").unwrap();
        assert!(matches!(Plan::load(dir.path()), Err(PlanError::Damaged { .. })));
    }

    /// The file that was written before there was a checksum.
    #[test]
    fn a_plan_of_version_1_is_read() {
        let text = br#"{"version":1,"start":1,"end":3,"batches":[{"id":"01890a5d-ac96-774b-bcce-b302099a8057","from":1,"to":3,"rows":2,"received_ms":[5,6],"digest":7}]}"#;
        let plan = Plan::parse(Path::new(FILE), text).unwrap();
        assert_eq!((plan.version, plan.end, plan.batches[0].rows), (VERSION, Position(3), 2));
    }

    #[test]
    fn a_flip_in_any_bit_is_told() {
        let batch =
            Batch { id: Uuid::nil(), from: Position(1), to: Position(30), rows: 2, received_ms: (5, 6), digest: 7 };
        let plan = Plan::new(Position(1), Position(30), vec![batch], vec![]);
        let content = plan.content(Path::new(FILE)).unwrap();
        for bit in 0..content.len() * 8 {
            let mut flipped = content.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            let read = Plan::parse(Path::new(FILE), &flipped);
            // A capital in the escape-free hex of an id is the same id.
            assert!(read.as_ref().is_err() || read.as_ref().is_ok_and(|read| *read == plan), "bit {bit}: {read:?}");
        }
    }
}
