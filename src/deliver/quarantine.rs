//! The quarantine: events that could not be delivered, one file each, with the reason.
//!
//! A file holds a line of JSON (when, why, which request), then the spool's payload as it was. `errata quarantine retry` posts
//! them to delivery again: whoever does so first [claims](Quarantine::claim) the event by renaming its file, so that nobody else
//! does, and removes the file when the event is in the spool. A claim left by a crash ends with the next start.

use std::{
    collections::{BTreeSet, HashMap},
    fs, io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use serde::{Deserialize, Serialize};

use super::plan::{PlanError, replace};
use crate::{
    event::{Event, codec},
    spool::{Item, Position},
};

const EXTENSION: &str = "event";

/// Extension of a claimed event's file.
const CLAIMED: &str = "retrying";

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
    #[error("the event {0:?} is being handed to delivery already")]
    Claimed(String),
    #[error(transparent)]
    Write(#[from] PlanError),
}

/// The directory of quarantined events.
#[derive(Clone, Debug)]
pub struct Quarantine {
    dir: PathBuf,
    requests: Arc<Mutex<Requests>>,
}

/// Ids of the entries, by project and request id.
type Requests = HashMap<(String, String), BTreeSet<u64>>;

impl Quarantine {
    /// Opens or makes the directory. Ends claims that a crash left.
    ///
    /// # Errors
    /// When it cannot be made or read.
    pub fn open(dir: PathBuf) -> Result<Self, QuarantineError> {
        fs::create_dir_all(&dir).map_err(|source| QuarantineError::Read { path: dir.clone(), source })?;
        let quarantine = Self { dir, requests: Arc::default() };
        for path in quarantine.files(CLAIMED)? {
            fs::rename(&path, path.with_extension(EXTENSION))
                .map_err(|source| QuarantineError::Read { path, source })?;
        }
        for path in quarantine.files(EXTENSION)? {
            match read_file(&path) {
                Ok((entry, ..)) => quarantine.enter(&entry),
                // Listing names it too; a damaged file is no reason to take no events.
                Err(error) => tracing::warn!("{error}"),
            }
        }
        Ok(quarantine)
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
        replace(&self.dir, &format!("{}.{EXTENSION}", entry.id), &content)?;
        self.enter(&entry);
        Ok(())
    }

    /// All entries, oldest position first.
    ///
    /// # Errors
    /// When the directory or a file in it cannot be read.
    pub fn list(&self) -> Result<Vec<Entry>, QuarantineError> {
        let mut entries = Vec::new();
        for path in self.files(EXTENSION)? {
            match read_file(&path) {
                Ok((entry, ..)) => entries.push(entry),
                Err(error) if error.is_of_absence() => {} // claimed since
                Err(error) => return Err(error),
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
        let (entry, payload, event) = read_file(&path)?;
        let key = u128::from_str_radix(&entry.key, 16)
            .map_err(|error| QuarantineError::Malformed { path, message: error.to_string() })?;
        let item = Item { key, tag: entry.tag, payload };
        Ok((entry, item, event))
    }

    /// The latest entry of a request, and its event if the payload can be decoded. Asks memory first: for most requests there is
    /// none.
    ///
    /// # Errors
    /// When its file cannot be read.
    pub fn find(&self, project: &str, request_id: &str) -> Result<Option<(Entry, Option<Event>)>, QuarantineError> {
        let key = (project.to_owned(), request_id.to_owned());
        let ids = self.requests().get(&key).cloned().unwrap_or_default();
        for id in ids.iter().rev() {
            match read_file(&self.path(&id.to_string())) {
                Ok((entry, _, event)) => return Ok(Some((entry, event))),
                Err(error) if error.is_of_absence() => {} // claimed since
                Err(error) => return Err(error),
            }
        }
        Ok(None)
    }

    /// Removes the events that fit; returns how many, and whether one more is claimed: being handed to delivery again.
    ///
    /// # Errors
    /// When the directory or a file cannot be read or removed.
    pub fn erase(&self, fits: impl Fn(&Event) -> bool) -> Result<(u64, bool), QuarantineError> {
        let mut removed = 0;
        for path in self.files(EXTENSION)? {
            match read_file(&path) {
                Ok((entry, _, Some(event))) if fits(&event) => match self.remove(&entry.id) {
                    Ok(()) => removed += 1,
                    Err(QuarantineError::Claimed(_) | QuarantineError::Unknown(_)) => {} // since
                    Err(error) if error.is_of_absence() => {}
                    Err(error) => return Err(error),
                },
                Ok(_) => {}
                Err(error) if error.is_of_absence() => {}
                Err(error @ QuarantineError::Malformed { .. }) => tracing::warn!("{error}"),
                Err(error) => return Err(error),
            }
        }
        let claimed = self
            .files(CLAIMED)?
            .iter()
            .any(|path| read_file(path).is_ok_and(|(_, _, event)| event.is_some_and(|event| fits(&event))));
        Ok((removed, claimed))
    }

    /// Claims an entry: until it is [removed](Self::remove) or [released](Self::release) nobody else sees it.
    ///
    /// # Errors
    /// When there is none of this id, or somebody has claimed it.
    pub fn claim(&self, id: &str) -> Result<(), QuarantineError> {
        let path = self.known_path(id)?;
        fs::rename(&path, path.with_extension(CLAIMED)).map_err(|source| match source.kind() {
            io::ErrorKind::NotFound => self.absence(id),
            _ => QuarantineError::Read { path, source },
        })
    }

    /// Ends a claim; the entry is as it was.
    ///
    /// # Errors
    /// When the file cannot be renamed.
    pub fn release(&self, id: &str) -> Result<(), QuarantineError> {
        let path = self.path(id);
        fs::rename(path.with_extension(CLAIMED), &path).map_err(|source| QuarantineError::Read { path, source })
    }

    /// Removes an entry, claimed or not, after it was delivered or for good.
    ///
    /// # Errors
    /// When there is none of this id, or the file cannot be removed.
    pub fn remove(&self, id: &str) -> Result<(), QuarantineError> {
        let path = match self.known_path(id) {
            Err(QuarantineError::Claimed(_)) => self.path(id).with_extension(CLAIMED),
            path => path?,
        };
        let known = read_file(&path).ok(); // one that cannot be read is in no index
        let removed = fs::remove_file(&path).and_then(|()| fs::File::open(&self.dir)?.sync_all());
        removed.map_err(|source| QuarantineError::Read { path, source })?;
        if let (Some((Entry { project: Some(project), request_id: Some(request_id), .. }, ..)), Ok(id)) =
            (known, id.parse())
        {
            let mut requests = self.requests();
            let key = (project, request_id);
            if requests.get_mut(&key).is_some_and(|ids| ids.remove(&id) && ids.is_empty()) {
                requests.remove(&key);
            }
        }
        Ok(())
    }

    fn requests(&self) -> MutexGuard<'_, Requests> {
        self.requests.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn enter(&self, entry: &Entry) {
        if let (Some(project), Some(request_id), Ok(id)) = (&entry.project, &entry.request_id, entry.id.parse()) {
            let key = (project.clone(), request_id.clone());
            self.requests().entry(key).or_default().insert(id);
        }
    }

    fn files(&self, extension: &str) -> Result<Vec<PathBuf>, QuarantineError> {
        let read = |source| QuarantineError::Read { path: self.dir.clone(), source };
        let mut files = Vec::new();
        for file in fs::read_dir(&self.dir).map_err(read)? {
            let path = file.map_err(read)?.path();
            if path.extension().is_some_and(|found| found == extension) {
                files.push(path);
            }
        }
        Ok(files)
    }

    fn path(&self, id: &str) -> PathBuf {
        self.dir.join(format!("{id}.{EXTENSION}"))
    }

    /// The file of an id, which is digits only, so that no other path can be named.
    fn known_path(&self, id: &str) -> Result<PathBuf, QuarantineError> {
        let path = self.path(id);
        let is_id = !id.is_empty() && id.bytes().all(|byte| byte.is_ascii_digit());
        match is_id {
            true if path.is_file() => Ok(path),
            true => Err(self.absence(id)),
            false => Err(QuarantineError::Unknown(id.to_owned())),
        }
    }

    /// Why an id that is well-formed has no entry.
    fn absence(&self, id: &str) -> QuarantineError {
        if self.path(id).with_extension(CLAIMED).is_file() {
            QuarantineError::Claimed(id.to_owned())
        } else {
            QuarantineError::Unknown(id.to_owned())
        }
    }
}

impl QuarantineError {
    fn is_of_absence(&self) -> bool {
        matches!(self, Self::Read { source, .. } if source.kind() == io::ErrorKind::NotFound)
    }
}

/// An entry, its payload, and the event if the payload can be decoded. Whose it is may have been unknown when it was set aside, by
/// an errata that could not decode it.
fn read_file(path: &Path) -> Result<(Entry, Vec<u8>, Option<Event>), QuarantineError> {
    let content = fs::read(path).map_err(|source| QuarantineError::Read { path: path.to_owned(), source })?;
    parse(path, &content)
}

/// What [`read_file`] does with a file's content; the path is for messages.
pub(crate) fn parse(path: &Path, content: &[u8]) -> Result<(Entry, Vec<u8>, Option<Event>), QuarantineError> {
    let malformed = |message: String| QuarantineError::Malformed { path: path.to_owned(), message };
    let end = content.iter().position(|byte| *byte == b'\n').ok_or_else(|| malformed("no header line".into()))?;
    let mut entry: Entry = serde_json::from_slice(&content[..end]).map_err(|error| malformed(error.to_string()))?;
    let payload = content[end + 1..].to_vec();
    let event = codec::decode(&payload).ok();
    if let Some(event) = &event {
        entry.project = Some(event.project.clone());
        entry.request_id = Some(event.request_id.to_string());
    }
    Ok((entry, payload, event))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        decode::{self, Context, Format, Limits},
        event::{
            catalog::Catalog,
            scrub::{ScrubConfig, Scrubber},
        },
    };

    fn item(project: &str, request_id: &str) -> Item {
        let body = format!(r#"{{"status": 400, "request_id": "{request_id}"}}"#);
        let context = Context {
            project,
            received_at_ms: 5,
            oldest_ms: 0,
            catalog: Catalog::builtin(),
            scrubber: &Scrubber::new(&ScrubConfig::default()).unwrap(),
            limits: &Limits::default(),
        };
        let event = decode::events(Format::Json, body.as_bytes(), context).unwrap().events.remove(0).1;
        Item { key: event.key.0, tag: 0, payload: codec::encode(&event) }
    }

    fn ids(quarantine: &Quarantine) -> Vec<String> {
        quarantine.list().unwrap().into_iter().map(|entry| entry.id).collect()
    }

    #[test]
    fn an_entry_is_claimed_once_and_is_there_again_after_a_crash() {
        let dir = tempfile::tempdir().unwrap();
        let quarantine = Quarantine::open(dir.path().to_owned()).unwrap();
        quarantine.put(Position(7), &item("p", "req_1"), "poison", 9).unwrap();
        quarantine.claim("7").unwrap();
        assert!(matches!(quarantine.claim("7"), Err(QuarantineError::Claimed(_))));
        assert!(matches!(quarantine.get("7"), Err(QuarantineError::Claimed(_))));
        assert!(matches!(quarantine.claim("8"), Err(QuarantineError::Unknown(_))));
        quarantine.release("7").unwrap();
        quarantine.claim("7").unwrap();
        assert!(ids(&quarantine).is_empty());
        let quarantine = Quarantine::open(dir.path().to_owned()).unwrap();
        assert_eq!(ids(&quarantine), ["7"]);
        quarantine.claim("7").unwrap();
        quarantine.remove("7").unwrap();
        assert_eq!(ids(&Quarantine::open(dir.path().to_owned()).unwrap()), [""; 0]);
    }

    #[test]
    fn an_entry_is_found_by_its_request_until_it_is_removed_also_after_a_restart() {
        let dir = tempfile::tempdir().unwrap();
        let open = || Quarantine::open(dir.path().to_owned()).unwrap();
        let quarantine = open();
        for (position, project) in [(7, "p"), (8, "q"), (10, "p")] {
            quarantine.put(Position(position), &item(project, "req_1"), "poison", 9).unwrap();
        }
        fs::write(dir.path().join("11.event"), "damaged").unwrap();
        for quarantine in [quarantine.clone(), open()] {
            let (entry, event) = quarantine.find("p", "req_1").unwrap().unwrap();
            assert_eq!((entry.id.as_str(), event.unwrap().received_at_ms), ("10", 5));
            assert!(quarantine.find("p", "req_2").unwrap().is_none());
        }
        quarantine.remove("10").unwrap();
        assert_eq!(quarantine.find("p", "req_1").unwrap().unwrap().0.id, "7");
        quarantine.remove("7").unwrap();
        assert!(quarantine.find("p", "req_1").unwrap().is_none());
        quarantine.remove("8").unwrap();
        assert!(quarantine.requests().is_empty());
    }

    #[test]
    fn whose_an_entry_is_is_told_as_soon_as_its_payload_can_be_read() {
        let dir = tempfile::tempdir().unwrap();
        let quarantine = Quarantine::open(dir.path().to_owned()).unwrap();
        quarantine.put(Position(7), &item("p", "req_1"), "poison", 9).unwrap();
        let path = dir.path().join("7.event");
        let content = fs::read(&path).unwrap();
        let end = content.iter().position(|byte| *byte == b'\n').unwrap();
        let head = String::from_utf8(content[..end].to_vec()).unwrap().replace(r#""project":"p""#, r#""project":null"#);
        fs::write(&path, [head.as_bytes(), &content[end..]].concat()).unwrap();
        assert_eq!(quarantine.list().unwrap()[0].project.as_deref(), Some("p"));
    }
}
