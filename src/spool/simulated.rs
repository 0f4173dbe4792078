//! A disk that can be cut from power, fill up, fail and be damaged.
//!
//! Written bytes are pending until a sync of the file, names until a sync of the directory. A crash keeps any subset of the
//! pending sectors of each file, whatever it keeps of the others, and of the pending names of each directory any prefix, as a
//! journaling file system does, or any subset, as POSIX allows.

#![allow(clippy::unwrap_used)] // Tests and fuzz targets run on it, nothing else does.

use std::{
    collections::BTreeMap,
    io,
    path::{Path, PathBuf},
    sync::{Arc, Condvar, Mutex, MutexGuard},
};

use super::files::{Dir, File};

const SECTOR: usize = 64;

/// The disk; clones are the same one.
#[derive(Clone, Default)]
pub struct Simulated {
    inner: Arc<(Mutex<Inner>, Condvar)>,
}

#[derive(Default)]
#[allow(clippy::struct_excessive_bools)] // Independent switches that tests turn.
struct Inner {
    inodes: Vec<Inode>,
    dirs: BTreeMap<String, Names>,
    /// Handles from before a crash are dead.
    epoch: u64,
    off: bool,
    /// Changes until the power goes.
    changes_left: Option<u64>,
    capacity: Option<u64>,
    fail_syncs: bool,
    fail_dir_syncs: bool,
    /// Reads that begin at or after this byte of a file fail.
    fail_reads_from: Option<u64>,
    /// Files whose name ends so cannot be made.
    fail_creates: Option<&'static str>,
    hold_syncs: bool,
    /// Syncs that are being held.
    held: usize,
    syncs: usize,
}

#[derive(Default)]
struct Inode {
    now: Vec<u8>,
    durable: Vec<u8>,
    pending: Vec<Change>,
}

enum Change {
    Write(usize, Vec<u8>),
    Length(usize),
}

#[derive(Default)]
struct Names {
    now: BTreeMap<String, usize>,
    durable: BTreeMap<String, usize>,
    pending: Vec<Naming>,
}

#[derive(Clone)]
enum Naming {
    Link(String, usize),
    Unlink(String),
    Rename(String, String),
}

impl Change {
    fn apply(&self, bytes: &mut Vec<u8>) {
        match self {
            Self::Write(offset, written) => {
                let end = offset + written.len();
                bytes.resize(bytes.len().max(end), 0);
                bytes[*offset..end].copy_from_slice(written);
            }
            Self::Length(length) => bytes.resize(*length, 0),
        }
    }

    /// The pieces that reach the disk each for itself.
    fn pieces(self) -> Vec<Self> {
        match self {
            Self::Write(offset, bytes) => {
                // Sectors are the disk's: the first and the last piece may be a part of one.
                let (first, rest) = bytes.split_at(bytes.len().min(SECTOR - offset % SECTOR));
                let rest_at = offset + first.len();
                let rest = rest.chunks(SECTOR).enumerate();
                let rest = rest.map(|(index, piece)| Self::Write(rest_at + index * SECTOR, piece.to_vec()));
                std::iter::once(Self::Write(offset, first.to_vec())).chain(rest).collect()
            }
            length @ Self::Length(_) => vec![length],
        }
    }
}

impl Naming {
    fn apply(&self, names: &mut BTreeMap<String, usize>) {
        match self {
            Self::Link(name, inode) => {
                names.insert(name.clone(), *inode);
            }
            Self::Unlink(name) => {
                names.remove(name);
            }
            Self::Rename(from, to) => {
                if let Some(inode) = names.remove(from) {
                    names.insert(to.clone(), inode);
                }
            }
        }
    }
}

/// A small generator: the seed is all there is to a crash.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % sides
    }
}

impl Simulated {
    pub fn root(&self) -> Arc<dyn Dir> {
        self.dir("spool")
    }

    fn dir(&self, name: &str) -> Arc<dyn Dir> {
        let mut inner = self.lock();
        inner.dirs.entry(name.to_owned()).or_default();
        Arc::new(SimulatedDir {
            disk: self.clone(),
            name: name.to_owned(),
            path: PathBuf::from(name),
            epoch: inner.epoch,
        })
    }

    /// Cuts the power, now, and gives it back: what was not synced is there in part.
    pub fn crash(&self, seed: u64) {
        let mut inner = self.lock();
        let mut dice = Dice(seed);
        for names in inner.dirs.values_mut() {
            let in_order = dice.roll(2) == 0;
            let kept = dice.roll(names.pending.len() as u64 + 1) as usize;
            for (index, naming) in names.pending.drain(..).enumerate() {
                if if in_order { index < kept } else { dice.roll(2) == 0 } {
                    naming.apply(&mut names.durable);
                }
            }
            names.now = names.durable.clone();
        }
        for inode in &mut inner.inodes {
            // All, none, or about one in two.
            let mood = dice.roll(4);
            for piece in inode.pending.drain(..).flat_map(Change::pieces) {
                if mood == 0 || (mood > 1 && dice.roll(2) == 0) {
                    piece.apply(&mut inode.durable);
                }
            }
            inode.now = inode.durable.clone();
        }
        drop(inner);
        self.kill();
    }

    /// Ends the process, not the machine: what was written is there, and still not durable.
    pub fn kill(&self) {
        let mut inner = self.lock();
        inner.epoch += 1;
        inner.off = false;
        inner.changes_left = None;
        inner.fail_syncs = false;
        inner.fail_dir_syncs = false;
        inner.fail_reads_from = None;
    }

    pub fn cut_power_after(&self, changes: u64) {
        self.lock().changes_left = Some(changes);
    }

    /// Bytes that all files together may have.
    pub fn set_capacity(&self, bytes: Option<u64>) {
        self.lock().capacity = bytes;
    }

    pub fn fail_syncs(&self, fail: bool) {
        self.lock().fail_syncs = fail;
    }

    pub fn fail_dir_syncs(&self, fail: bool) {
        self.lock().fail_dir_syncs = fail;
    }

    /// Makes what begins at or after this byte of any file unreadable.
    pub fn fail_reads_from(&self, offset: Option<u64>) {
        self.lock().fail_reads_from = offset;
    }

    /// Makes files whose name ends so (`""`: all) impossible to make.
    pub fn fail_creates(&self, suffix: Option<&'static str>) {
        self.lock().fail_creates = suffix;
    }

    /// Keeps syncs of files waiting, or lets them go.
    pub fn hold_syncs(&self, hold: bool) {
        self.lock().hold_syncs = hold;
        self.inner.1.notify_all();
    }

    /// Waits until a sync is being held.
    pub fn wait_for_held_sync(&self) {
        let inner = self.lock();
        drop(self.inner.1.wait_while(inner, |inner| inner.held == 0).unwrap());
    }

    /// How many syncs of files there were.
    pub fn syncs(&self) -> usize {
        self.lock().syncs
    }

    pub fn names(&self, dir: &str) -> Vec<String> {
        self.lock().dirs.get(dir).map(|names| names.now.keys().cloned().collect()).unwrap_or_default()
    }

    pub fn used(&self) -> u64 {
        self.lock().used()
    }

    pub fn content(&self, name: &str) -> Vec<u8> {
        let inner = self.lock();
        inner.inodes[inner.dirs["spool"].now[name]].now.clone()
    }

    /// Puts a durable file of this content there, whatever it was before.
    pub fn set_content(&self, name: &str, content: &[u8]) {
        let mut inner = self.lock();
        let inode = inner.inodes.len();
        inner.inodes.push(Inode { now: content.to_vec(), durable: content.to_vec(), pending: Vec::new() });
        let names = inner.dirs.entry("spool".to_owned()).or_default();
        names.now.insert(name.to_owned(), inode);
        names.durable.insert(name.to_owned(), inode);
    }

    pub fn remove(&self, name: &str) {
        let mut inner = self.lock();
        let names = inner.dirs.entry("spool".to_owned()).or_default();
        names.now.remove(name);
        names.durable.remove(name);
    }

    /// An independent disk with the same files, all durable.
    pub fn duplicate(&self) -> Self {
        let copy = Self::default();
        for name in self.names("spool") {
            copy.set_content(&name, &self.content(&name));
        }
        copy
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.0.lock().unwrap()
    }
}

impl Inner {
    fn used(&self) -> u64 {
        self.dirs.values().flat_map(|names| names.now.values()).map(|&inode| self.inodes[inode].now.len() as u64).sum()
    }

    fn alive(&self, epoch: u64) -> io::Result<()> {
        if self.off || epoch != self.epoch { Err(io::Error::from_raw_os_error(libc::EIO)) } else { Ok(()) }
    }

    /// Counts a change; fails when the power goes with it. The change may have happened all the same.
    fn change(&mut self) -> io::Result<()> {
        match &mut self.changes_left {
            Some(0) => {
                self.off = true;
                Err(io::Error::from_raw_os_error(libc::EIO))
            }
            Some(left) => {
                *left -= 1;
                Ok(())
            }
            None => Ok(()),
        }
    }
}

struct SimulatedDir {
    disk: Simulated,
    name: String,
    path: PathBuf,
    epoch: u64,
}

impl SimulatedDir {
    fn inner(&self) -> io::Result<MutexGuard<'_, Inner>> {
        let inner = self.disk.lock();
        inner.alive(self.epoch)?;
        Ok(inner)
    }

    fn name(&self, naming: &Naming) -> io::Result<()> {
        let mut inner = self.inner()?;
        let names = inner.dirs.get_mut(&self.name).unwrap();
        naming.apply(&mut names.now);
        names.pending.push(naming.clone());
        inner.change()
    }

    fn handle(&self, inode: usize) -> Box<dyn File> {
        Box::new(SimulatedFile { disk: self.disk.clone(), inode, epoch: self.epoch })
    }
}

impl Dir for SimulatedDir {
    fn path(&self) -> &Path {
        &self.path
    }

    fn list(&self) -> io::Result<Vec<String>> {
        Ok(self.inner()?.dirs[&self.name].now.keys().cloned().collect())
    }

    fn create(&self, name: &str) -> io::Result<Box<dyn File>> {
        let inode = {
            let mut inner = self.inner()?;
            if inner.fail_creates.is_some_and(|suffix| name.ends_with(suffix)) {
                return Err(io::Error::from_raw_os_error(libc::EMFILE));
            }
            inner.inodes.push(Inode::default());
            inner.inodes.len() - 1
        };
        self.name(&Naming::Link(name.to_owned(), inode))?;
        Ok(self.handle(inode))
    }

    fn open(&self, name: &str) -> io::Result<Box<dyn File>> {
        let inode = self.inner()?.dirs[&self.name].now.get(name).copied();
        inode.map(|inode| self.handle(inode)).ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.name(&Naming::Rename(from.to_owned(), to.to_owned()))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        if !self.inner()?.dirs[&self.name].now.contains_key(name) {
            return Err(io::ErrorKind::NotFound.into());
        }
        self.name(&Naming::Unlink(name.to_owned()))
    }

    fn sync(&self) -> io::Result<()> {
        let mut inner = self.inner()?;
        inner.change()?;
        if inner.fail_dir_syncs {
            return Err(io::Error::from_raw_os_error(libc::EIO));
        }
        let names = inner.dirs.get_mut(&self.name).unwrap();
        names.pending.clear();
        names.durable = names.now.clone();
        Ok(())
    }

    fn subdir(&self, name: &str) -> io::Result<Arc<dyn Dir>> {
        drop(self.inner()?);
        Ok(self.disk.dir(name))
    }

    fn free_bytes(&self) -> io::Result<u64> {
        let inner = self.inner()?;
        Ok(inner.capacity.map_or(u64::MAX, |capacity| capacity.saturating_sub(inner.used())))
    }
}

struct SimulatedFile {
    disk: Simulated,
    inode: usize,
    epoch: u64,
}

impl SimulatedFile {
    fn inner(&self) -> io::Result<MutexGuard<'_, Inner>> {
        let inner = self.disk.lock();
        inner.alive(self.epoch)?;
        Ok(inner)
    }

    fn change(&self, change: Change) -> io::Result<()> {
        let mut inner = self.inner()?;
        let inode = &mut inner.inodes[self.inode];
        change.apply(&mut inode.now);
        inode.pending.push(change);
        inner.change()
    }
}

impl File for SimulatedFile {
    fn size(&self) -> io::Result<u64> {
        Ok(self.inner()?.inodes[self.inode].now.len() as u64)
    }

    fn read_at(&self, into: &mut [u8], offset: u64) -> io::Result<usize> {
        let inner = self.inner()?;
        if inner.fail_reads_from.is_some_and(|from| offset >= from) {
            return Err(io::Error::from_raw_os_error(libc::EIO));
        }
        let bytes = inner.inodes[self.inode].now.get(offset as usize..).unwrap_or_default();
        let read = bytes.len().min(into.len());
        into[..read].copy_from_slice(&bytes[..read]);
        Ok(read)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let room = {
            let inner = self.inner()?;
            let kept = (inner.inodes[self.inode].now.len() as u64).saturating_sub(offset);
            inner.capacity.map_or(u64::MAX, |capacity| capacity.saturating_sub(inner.used()) + kept)
        };
        let written = bytes.len().min(usize::try_from(room).unwrap_or(usize::MAX));
        self.change(Change::Write(offset as usize, bytes[..written].to_vec()))?;
        if written < bytes.len() { Err(io::ErrorKind::StorageFull.into()) } else { Ok(()) }
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.change(Change::Length(len as usize))
    }

    fn sync_data(&self) -> io::Result<()> {
        let mut inner = self.inner()?;
        inner.held += 1;
        self.disk.inner.1.notify_all();
        inner = self.disk.inner.1.wait_while(inner, |inner| inner.hold_syncs).unwrap();
        inner.held -= 1;
        inner.alive(self.epoch)?;
        inner.change()?;
        inner.syncs += 1;
        let failing = inner.fail_syncs;
        let inode = &mut inner.inodes[self.inode];
        let pending = std::mem::take(&mut inode.pending);
        if failing {
            // What Linux does: the pages count as clean, and the next sync succeeds without them.
            return Err(io::Error::from_raw_os_error(libc::EIO));
        }
        for change in pending {
            change.apply(&mut inode.durable);
        }
        Ok(())
    }
}
