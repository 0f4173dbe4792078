//! The plan: what is being delivered, on disk before the first attempt.
//!
//! One JSON file, replaced as a whole (write, fsync, rename, fsync of the directory). It covers one range of the log, cut
//! into batches: one at first, more after a bisection. A plan whose range the spool has forgotten is done. A plan whose digests
//! do not fit what the log holds (its files were moved, or damaged) is not followed: see [`super::deliverer`].

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
const VERSION: u32 = 1;

/// A range of the log and the batches it is delivered in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    version: u32,
    /// The range, at record boundaries of the log.
    pub start: Position,
    pub end: Position,
    /// In order and without gaps.
    pub batches: Vec<Batch>,
    /// What was not in the rollups when this was written, and the groups that the plan's own batches will be in: see
    /// [`super::rollup`].
    #[serde(default)]
    pub groups: Vec<Group>,
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
        Self { version: VERSION, start, end, batches, groups }
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
        match serde_json::from_slice::<Self>(&text) {
            Ok(plan) if plan.version > VERSION => Err(PlanError::Newer { path, version: plan.version }),
            Ok(plan) => Ok(Some(plan)),
            Err(error) => Err(PlanError::Damaged { path, message: error.to_string() }),
        }
    }

    /// Replaces the plan of a directory, durably.
    pub fn save(&self, dir: &Path) -> Result<(), PlanError> {
        let text = serde_json::to_vec(self)
            .map_err(|error| PlanError::Damaged { path: dir.join(FILE), message: error.to_string() })?;
        replace(dir, FILE, &text)
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
        Plan { version: 2, ..plan }.save(dir.path()).unwrap();
        assert!(matches!(Plan::load(dir.path()), Err(PlanError::Newer { version: 2, .. })));
        fs::write(dir.path().join(FILE), b"{").unwrap();
        assert!(matches!(Plan::load(dir.path()), Err(PlanError::Damaged { .. })));
    }
}
