//! Fetching the engine: the pinned npm package, once per user and version.
//!
//! Stages, each of which is not repeated once it is done: the tarball is fetched by the user's own npm (which knows the
//! registry, the proxy and the certificates), its SHA-512 is verified by us, it is unpacked beside its destination, and
//! the directory is renamed into place. A half-done install is never mistaken for a whole one: the marker file is written
//! last.

mod npm;
mod progress;
mod unpack;

use std::{
    fs,
    io::Read,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha512};

use self::progress::Progress;
pub use self::progress::Show;

/// The package and version this binary is built and tested against.
pub const PACKAGE: &str = "@chdb/lib-linux-x64-gnu";
pub const VERSION: &str = "26.7.3-stable.1";
/// SHA-512 of the package's tarball: npm's `dist.integrity` of the version, in hex.
const TARBALL_SHA512: &str = "5cff7b98caa7739b59a4a432c11f0dedc2d3b073624e61ebdf4a42e66ce8de35\
                              a6ba48ca9f62016bad1cd81fe059435cb858ce3235a8a2b408082a81563e70a7";
/// Sizes of the version's tarball and library, bytes.
const TARBALL_BYTES: u64 = 177_817_999;
const LIBRARY_BYTES: u64 = 566_330_096;
/// Free space that an install needs at its peak, bytes: tarball and library, and some room.
const NEEDED_BYTES: u64 = 800_000_000;

const LIBRARY: &str = "libchdb.so";
const MARKER: &str = "installed.json";

#[derive(Debug, thiserror::Error)]
pub enum InstallError {
    #[error(
        "there is no embedded engine for {os}/{arch} (only for linux/x86_64 with glibc): set ERRATA_CLICKHOUSE__URL to a \
         ClickHouse of your own, http://user:password@host:8123"
    )]
    Platform { os: &'static str, arch: &'static str },
    #[error("neither ERRATA_ENGINE_DIR nor XDG_CACHE_HOME nor HOME is set: set ERRATA_ENGINE_DIR to a directory")]
    NoCacheDirectory,
    #[error(
        "npm is not installed, and it fetches the engine: install it (Debian, Ubuntu: sudo apt install npm), or fetch \
         {PACKAGE}@{VERSION} elsewhere with `npm pack` and run `errata engine install --from FILE`, or set \
         ERRATA_CLICKHOUSE__URL to a ClickHouse of your own"
    )]
    NpmMissing,
    #[error(
        "npm cannot reach its registry: check the network and `npm config get registry` (and `proxy`), then try again. \
         npm said: {0}"
    )]
    Offline(String),
    #[error("npm's registry has no {PACKAGE}@{VERSION}: check `npm config get registry`. npm said: {0}")]
    NotInRegistry(String),
    #[error("npm failed: {0}")]
    Npm(String),
    #[error(
        "{path} is not the package it should be (SHA-512 {found}, expected {expected}): nothing of it was used; try again, \
         and if it stays so, do not trust the registry or the proxy in between"
    )]
    Integrity { path: PathBuf, found: String, expected: String },
    #[error(
        "{path} has {free} MB free, and installing the engine takes {needed} MB: make room or set ERRATA_ENGINE_DIR"
    )]
    DiskSpace { path: PathBuf, free: u64, needed: u64 },
    #[error("the package holds no {LIBRARY} of {LIBRARY_BYTES} bytes: {0}")]
    Package(String),
    #[error("{action} {path}: {source}")]
    Io { action: &'static str, path: PathBuf, source: std::io::Error },
}

/// How to install.
#[derive(Clone, Debug, Default)]
pub struct InstallOptions {
    /// Where the versions are; [`directory`] if `None`.
    pub directory: Option<PathBuf>,
    /// A tarball that was fetched by other means, for hosts without a registry.
    pub from: Option<PathBuf>,
    pub show: Show,
}

/// What is installed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    /// Whether the library is there and whole: its marker was written and its size is right.
    pub installed: bool,
    /// Where the library is, or would be.
    pub library: PathBuf,
    pub version: &'static str,
    /// Size of the library as found, bytes; 0 if it is not there.
    pub bytes: u64,
}

/// Written when everything else is on disk.
#[derive(Serialize, Deserialize)]
struct Marker {
    version: String,
    library_bytes: u64,
    library_sha256: String,
    tarball_sha512: String,
}

/// Where engines are kept: `$ERRATA_ENGINE_DIR`, else `errata/engine` in the user's cache directory.
pub fn directory() -> Result<PathBuf, InstallError> {
    let variable = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    variable("ERRATA_ENGINE_DIR")
        .or_else(|| variable("XDG_CACHE_HOME").map(|cache| cache.join("errata/engine")))
        .or_else(|| variable("HOME").map(|home| home.join(".cache/errata/engine")))
        .ok_or(InstallError::NoCacheDirectory)
}

/// What is installed in [`directory`]. Quick: it compares sizes, and hashes nothing.
pub fn status() -> Result<Status, InstallError> {
    Ok(status_in(&directory()?))
}

fn status_in(directory: &Path) -> Status {
    let home = directory.join(VERSION);
    let library = home.join(LIBRARY);
    let bytes = fs::metadata(&library).map_or(0, |metadata| metadata.len());
    let marker: Option<Marker> = fs::read(home.join(MARKER)).ok().and_then(|text| serde_json::from_slice(&text).ok());
    let installed = marker.is_some_and(|marker| {
        marker.version == VERSION && marker.tarball_sha512 == TARBALL_SHA512 && marker.library_bytes == bytes
    });
    Status { installed, library, version: VERSION, bytes }
}

/// Installs the engine unless it is, and returns the library's path. Blocks, for a minute or so on a usual line. Several
/// processes may do this at once: one works, the others wait for it.
pub fn install(options: &InstallOptions) -> Result<PathBuf, InstallError> {
    let directory = match &options.directory {
        Some(directory) => directory.clone(),
        None => directory()?,
    };
    let found = status_in(&directory);
    if found.installed {
        return Ok(found.library);
    }
    check_platform()?;
    fs::create_dir_all(&directory).map_err(io_error("make the directory", &directory))?;
    let progress = Progress::new(options.show);
    let _lock = lock(&directory, &progress)?;
    // Another process may have installed it while we waited.
    let found = status_in(&directory);
    if found.installed {
        return Ok(found.library);
    }

    let staging = directory.join(format!(".staging-{VERSION}"));
    fs::create_dir_all(&staging).map_err(io_error("make the directory", &staging))?;
    check_space(&staging)?;
    let tarball = fetch(&staging, options.from.as_deref(), &progress)?;
    let unpacked = unpack::unpack(&tarball, &staging.join("unpacked"), &progress)?;
    place(&unpacked, &directory.join(VERSION))?;
    remove_tree(&staging)?;
    progress.done(&format!("the engine {VERSION} is installed in {}", directory.join(VERSION).display()));
    Ok(found.library)
}

fn check_platform() -> Result<(), InstallError> {
    if cfg!(all(target_os = "linux", target_arch = "x86_64", target_env = "gnu")) {
        Ok(())
    } else {
        Err(InstallError::Platform { os: std::env::consts::OS, arch: std::env::consts::ARCH })
    }
}

/// The lock goes with the process, however it ends.
fn lock(directory: &Path, progress: &Progress) -> Result<fs::File, InstallError> {
    let path = directory.join(".lock");
    let file = fs::OpenOptions::new().write(true).create(true).truncate(false).open(&path);
    let file = file.map_err(io_error("open", &path))?;
    match file.try_lock() {
        Ok(()) => return Ok(file),
        Err(fs::TryLockError::WouldBlock) => progress.note("another errata is installing the engine: waiting for it"),
        Err(fs::TryLockError::Error(error)) => return Err(io_error("lock", &path)(error)),
    }
    file.lock().map_err(io_error("lock", &path))?;
    Ok(file)
}

/// What an interrupted install left counts as free: it is used or replaced.
fn check_space(staging: &Path) -> Result<(), InstallError> {
    let stats = rustix::fs::statvfs(staging).map_err(|error| io_error("look at", staging)(error.into()))?;
    let free = stats.f_bavail.saturating_mul(stats.f_frsize) + size_of_tree(staging);
    if free < NEEDED_BYTES {
        let megabytes = |bytes: u64| bytes / 1_000_000;
        let (free, needed) = (megabytes(free), megabytes(NEEDED_BYTES));
        return Err(InstallError::DiskSpace { path: staging.to_owned(), free, needed });
    }
    Ok(())
}

/// The verified tarball: the one of an earlier try, a given one, or npm's.
fn fetch(staging: &Path, from: Option<&Path>, progress: &Progress) -> Result<PathBuf, InstallError> {
    if let Some(given) = from {
        verify(given, progress)?;
        return Ok(given.to_owned());
    }
    let tarball = staging.join("package.tgz");
    if tarball.is_file() {
        match verify(&tarball, progress) {
            Ok(()) => return Ok(tarball),
            Err(InstallError::Integrity { .. }) => {
                fs::remove_file(&tarball).map_err(io_error("remove", &tarball))?;
            }
            Err(error) => return Err(error),
        }
    }
    let download = staging.join("download");
    let fetched = npm::pack(&download, progress)?;
    if let Err(error) = verify(&fetched, progress) {
        // Not to be taken from npm's cache again.
        remove_tree(&download)?;
        return Err(error);
    }
    fs::rename(&fetched, &tarball).map_err(io_error("rename", &fetched))?;
    remove_tree(&download)?;
    Ok(tarball)
}

/// Compares the file's SHA-512, read in pieces, with the pinned one.
fn verify(path: &Path, progress: &Progress) -> Result<(), InstallError> {
    let mut file = fs::File::open(path).map_err(io_error("open", path))?;
    let stage = progress.stage("verifying", TARBALL_BYTES);
    let mut hash = Sha512::new();
    let mut buffer = vec![0_u8; 1 << 20];
    let mut total = 0;
    loop {
        let read = file.read(&mut buffer).map_err(io_error("read", path))?;
        if read == 0 {
            break;
        }
        hash.update(&buffer[..read]);
        total += read as u64;
        stage.at(total);
    }
    stage.finish();
    let found = super::hex(&hash.finalize());
    if found == TARBALL_SHA512 {
        Ok(())
    } else {
        Err(InstallError::Integrity { path: path.to_owned(), found, expected: TARBALL_SHA512.to_owned() })
    }
}

/// Renames the whole, synced directory into place.
fn place(unpacked: &Path, home: &Path) -> Result<(), InstallError> {
    // What is there did not pass `status`.
    remove_tree(home)?;
    fs::rename(unpacked, home).map_err(io_error("rename", unpacked))?;
    let parent = home.parent().unwrap_or(home);
    fs::File::open(parent).and_then(|directory| directory.sync_all()).map_err(io_error("sync", parent))
}

fn remove_tree(path: &Path) -> Result<(), InstallError> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(io_error("remove", path)(error)),
        _ => Ok(()),
    }
}

/// Size of all files under `path`, bytes; what cannot be read counts nothing.
fn size_of_tree(path: &Path) -> u64 {
    let Ok(entries) = fs::read_dir(path) else { return 0 };
    entries
        .flatten()
        .map(|entry| match entry.metadata() {
            Ok(metadata) if metadata.is_dir() => size_of_tree(&entry.path()),
            Ok(metadata) => metadata.len(),
            Err(_) => 0,
        })
        .sum()
}

fn io_error(action: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> InstallError {
    move |source| InstallError::Io { action, path: path.to_owned(), source }
}

#[cfg(test)]
mod tests;
