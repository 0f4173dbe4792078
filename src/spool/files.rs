//! The few file operations the log needs, as traits, so that tests can run it on a disk that loses, tears and refuses.
//!
//! What an implementation must give is what POSIX gives and no more: written bytes and changed lengths are durable after
//! [`File::sync_data`], created, renamed and removed names after [`Dir::sync`]; [`Dir::rename`] is atomic.

use std::{
    ffi::CString,
    fs, io,
    os::unix::{ffi::OsStrExt as _, fs::FileExt as _},
    path::{Path, PathBuf},
    sync::Arc,
};

use super::SpoolError;

/// One open file. Offsets and lengths in bytes.
pub trait File: Send {
    fn size(&self) -> io::Result<u64>;
    /// Reads at `offset`; fewer bytes than asked for only at the end of the file.
    fn read_at(&self, into: &mut [u8], offset: u64) -> io::Result<usize>;
    /// Writes everything or fails, in which case any part may have been written.
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()>;
    fn set_len(&self, len: u64) -> io::Result<()>;
    /// Makes content and length durable (`fdatasync`, and the file system asked whether it meant it). After an error the file must not be
    /// trusted any more.
    fn sync_data(&self) -> io::Result<()>;
}

/// One directory.
pub trait Dir: Send + Sync {
    /// For messages.
    fn path(&self) -> &Path;
    fn list(&self) -> io::Result<Vec<String>>;
    /// An empty file of this name, whatever was there; readable and writable.
    fn create(&self, name: &str) -> io::Result<Box<dyn File>>;
    fn open(&self, name: &str) -> io::Result<Box<dyn File>>;
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;
    fn remove(&self, name: &str) -> io::Result<()>;
    /// Makes names durable.
    fn sync(&self) -> io::Result<()>;
    /// A directory in this one, made durably if it is not there.
    fn subdir(&self, name: &str) -> io::Result<Arc<dyn Dir>>;
    /// Bytes an unprivileged process may still write to the file system.
    fn free_bytes(&self) -> io::Result<u64>;
}

/// Where the write of a whole file failed: before a sync was asked for, nothing is in doubt.
#[derive(Debug)]
pub enum PlaceError {
    Unchanged(io::Error),
    InDoubt(io::Error),
}

impl PlaceError {
    pub fn into_io(self) -> io::Error {
        match self {
            Self::Unchanged(error) | Self::InDoubt(error) => error,
        }
    }
}

/// Puts a file of this content under this name, durably and as a whole: readers see the old one or the new one.
pub fn place(dir: &dyn Dir, name: &str, parts: &[&[u8]]) -> Result<Box<dyn File>, PlaceError> {
    let temporary = format!("{name}{TEMPORARY}");
    let file = dir.create(&temporary).map_err(PlaceError::Unchanged)?;
    let mut offset = 0;
    for part in parts {
        if let Err(error) = file.write_at(part, offset) {
            // What cannot be removed now is removed at the next open.
            let _ = dir.remove(&temporary);
            return Err(PlaceError::Unchanged(error));
        }
        offset += part.len() as u64;
    }
    file.sync_data().map_err(PlaceError::InDoubt)?;
    dir.rename(&temporary, name).map_err(PlaceError::Unchanged)?;
    dir.sync().map_err(PlaceError::InDoubt)?;
    Ok(file)
}

/// Suffix of files that are not yet placed.
pub const TEMPORARY: &str = ".tmp";

/// Reads the whole file.
pub fn read_whole(dir: &dyn Dir, name: &str) -> io::Result<Vec<u8>> {
    let file = dir.open(name)?;
    read_region(&*file, 0, file.size()?)
}

/// Reads `[offset, end)`; an error if the file ends before.
pub fn read_region(file: &dyn File, offset: u64, end: u64) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; usize::try_from(end.saturating_sub(offset)).map_err(io::Error::other)?];
    if file.read_at(&mut bytes, offset)? < bytes.len() {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(bytes)
}

/// Names the file and what was being done to it.
pub fn failed<'a>(
    action: &'static str,
    dir: &'a dyn Dir,
    name: &'a str,
) -> impl FnOnce(io::Error) -> SpoolError + use<'a> {
    move |source| SpoolError::Io { action, path: dir.path().join(name), source }
}

/// Whether an error says that there is no room: it passes when room is made.
pub fn is_out_of_space(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

/// A directory of the real file system.
pub struct Disk {
    path: PathBuf,
    handle: fs::File,
}

impl Disk {
    /// Opens the directory; makes it, and durably so, if it is not there.
    pub fn open(path: &Path) -> io::Result<Self> {
        make_durably(path)?;
        Ok(Self { path: path.to_owned(), handle: fs::File::open(path)? })
    }
}

/// Makes the directory and those above it that are not there.
fn make_durably(path: &Path) -> io::Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    make_durably(parent)?;
    match fs::create_dir(path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    fs::File::open(parent)?.sync_all()
}

impl Dir for Disk {
    fn path(&self) -> &Path {
        &self.path
    }

    fn list(&self) -> io::Result<Vec<String>> {
        // Names that are no UTF-8 are none of ours.
        fs::read_dir(&self.path)?
            .filter_map(|entry| entry.map(|entry| entry.file_name().into_string().ok()).transpose())
            .collect()
    }

    fn create(&self, name: &str) -> io::Result<Box<dyn File>> {
        let mut options = fs::OpenOptions::new();
        Ok(Box::new(options.read(true).write(true).create(true).truncate(true).open(self.path.join(name))?))
    }

    fn open(&self, name: &str) -> io::Result<Box<dyn File>> {
        Ok(Box::new(fs::OpenOptions::new().read(true).write(true).open(self.path.join(name))?))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        fs::rename(self.path.join(from), self.path.join(to))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        fs::remove_file(self.path.join(name))
    }

    fn sync(&self) -> io::Result<()> {
        self.handle.sync_all()
    }

    fn subdir(&self, name: &str) -> io::Result<Arc<dyn Dir>> {
        Ok(Arc::new(Self::open(&self.path.join(name))?))
    }

    fn free_bytes(&self) -> io::Result<u64> {
        let path = CString::new(self.path.as_os_str().as_bytes()).map_err(io::Error::other)?;
        let mut facts = std::mem::MaybeUninit::<libc::statvfs>::zeroed();
        // SAFETY: `path` is a NUL-terminated string and `facts` has room for the answer; both outlive the call.
        if unsafe { libc::statvfs(path.as_ptr(), facts.as_mut_ptr()) } != 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: every bit pattern is a valid `statvfs`, and it was zeroed.
        let facts = unsafe { facts.assume_init() };
        Ok(facts.f_bavail.saturating_mul(facts.f_frsize))
    }
}

impl File for fs::File {
    fn size(&self) -> io::Result<u64> {
        Ok(self.metadata()?.len())
    }

    fn read_at(&self, into: &mut [u8], offset: u64) -> io::Result<usize> {
        let mut done = 0;
        while done < into.len() {
            match std::os::unix::fs::FileExt::read_at(self, &mut into[done..], offset + done as u64) {
                Ok(0) => break,
                Ok(read) => done += read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(done)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.write_all_at(bytes, offset)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        fs::File::set_len(self, len)
    }

    fn sync_data(&self) -> io::Result<()> {
        fs::File::sync_data(self)?;
        ask_the_journal(self)
    }
}

/// Fails where an ext4 has ended its journal, although the `fdatasync` before said success.
///
/// Linux answers a `fdatasync` that is under way when the journal is aborted (by an error of the disk, `errors=remount-ro`, a shutdown) as
/// done: the transaction it waits for is over, and nobody tells it that it was thrown away with the file's new length
/// (`jbd2_complete_transaction`, seen on 6.18). An attribute of the file, set to what it is already, needs a handle of the same journal and
/// changes nothing: the file system refuses the handle once the journal has ended. When it gives one, the journal lived after the sync.
fn ask_the_journal(file: &fs::File) -> io::Result<()> {
    use rustix::{fs::XattrFlags, io::Errno};

    match rustix::fs::fsetxattr(file, "user.errata", b"log", XattrFlags::empty()) {
        // A file system that keeps no attributes, or has no room for one, has answered: it is not this one, or it lives.
        Ok(()) | Err(Errno::NOTSUP | Errno::NOSYS | Errno::NOSPC | Errno::DQUOT | Errno::PERM | Errno::ACCESS) => {
            Ok(())
        }
        Err(error) => Err(error.into()),
    }
}
