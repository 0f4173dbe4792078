//! How far an import came, so that the next run of the same command goes on there.
//!
//! One small file per (collector and token, input) under the user's state directory. It is a convenience: a lost one costs
//! duplicates that the collector recognises, so it is replaced atomically but not synced.

use std::{
    ffi::OsString,
    fs, io,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use super::{input::Identity, tally::Rejections};

/// The record of one input.
#[derive(Debug)]
pub struct Resume {
    file: PathBuf,
    identity: Identity,
}

#[derive(Serialize, Deserialize)]
struct Record {
    identity: Identity,
    #[serde(flatten)]
    done: Done,
}

/// What is behind an input.
#[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Done {
    /// Lines that the collector has answered for.
    pub lines: u64,
    /// Those of them that it did not take: the run that comes to the end tells of all. Bounded, as [`Rejections`] is.
    #[serde(default)]
    pub rejections: Rejections,
}

/// `$XDG_STATE_HOME/errata/import`, else `~/.local/state/errata/import`; `None` without a home.
pub fn directory(variable: impl Fn(&str) -> Option<OsString>) -> Option<PathBuf> {
    let absolute = |name| variable(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let state = absolute("XDG_STATE_HOME").or_else(|| absolute("HOME").map(|home| home.join(".local/state")))?;
    Some(state.join("errata/import"))
}

impl Resume {
    /// The record of an input that goes to the collector and token of `destination`.
    pub fn of(directory: &Path, identity: Identity, destination: u64) -> Self {
        let path = identity.path.as_os_str().as_encoded_bytes();
        let name = xxhash_rust::xxh3::xxh3_64_with_seed(path, destination);
        Self { file: directory.join(format!("{name:016x}.json")), identity }
    }

    /// What is done; nothing when there is no record, or it is of another state of the file.
    pub fn done(&self) -> Done {
        let read = || serde_json::from_slice::<Record>(&fs::read(&self.file).ok()?).ok();
        read().filter(|record| record.identity == self.identity).map(|record| record.done).unwrap_or_default()
    }

    /// Records what is done.
    pub fn save(&self, done: Done) -> io::Result<()> {
        let record = Record { identity: self.identity.clone(), done };
        let parent = self.file.parent().unwrap_or(Path::new("."));
        fs::create_dir_all(parent)?;
        let temporary = self.file.with_extension(format!("{}.tmp", std::process::id()));
        fs::write(&temporary, serde_json::to_vec(&record)?)?;
        fs::rename(&temporary, &self.file)
    }

    /// Forgets the record.
    pub fn clear(&self) -> io::Result<()> {
        match fs::remove_file(&self.file) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::import::{input, ship::Rejection};

    #[test]
    fn a_record_holds_for_the_same_file_and_destination_only() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.ndjson");
        fs::write(&path, "{}\n").unwrap();
        let resume = |destination| Resume::of(dir.path(), input::open(&path).unwrap().identity.unwrap(), destination);
        assert_eq!(resume(1).done(), Done::default());
        let mut rejections = Rejections::default();
        rejections.add("a.ndjson", &[Rejection { line: 3, message: "no".into() }], 2);
        let done = || Done { lines: 7, rejections: rejections.clone() };
        resume(1).save(done()).unwrap();
        assert_eq!((resume(1).done(), resume(2).done()), (done(), Done::default()));
        fs::write(&path, "{} \n").unwrap();
        assert_eq!(resume(1).done(), Done::default());
        resume(1).clear().unwrap();
        resume(1).clear().unwrap();
    }

    #[test]
    fn the_directory_follows_the_xdg_rules() {
        let with = |xdg: Option<&str>, home: Option<&str>| {
            let (xdg, home) = (xdg.map(OsString::from), home.map(OsString::from));
            directory(move |name| if name == "HOME" { home.clone() } else { xdg.clone() })
        };
        assert_eq!(with(Some("/s"), Some("/h")).unwrap(), Path::new("/s/errata/import"));
        assert_eq!(with(Some("relative"), Some("/h")).unwrap(), Path::new("/h/.local/state/errata/import"));
        assert_eq!(with(None, None), None);
    }
}
