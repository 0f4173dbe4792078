//! From the verified tarball to a directory with the library, what names its licence, and the marker.

use std::{
    fs,
    io::{BufReader, Read, Write},
    path::{Path, PathBuf},
};

use flate2::read::GzDecoder;
use sha2::{Digest, Sha256};

use super::{
    InstallError, LIBRARY, LIBRARY_BYTES, MARKER, Marker, Progress, TARBALL_SHA512, VERSION, io_error, remove_tree,
};

/// Small files of the package that are kept: each at most so long, bytes.
const SMALL_FILE_BYTES: u64 = 1 << 20;

/// Unpacks into `directory`, which is emptied first, and syncs everything to disk.
pub(super) fn unpack(tarball: &Path, directory: &Path, progress: &Progress) -> Result<PathBuf, InstallError> {
    remove_tree(directory)?;
    fs::create_dir_all(directory).map_err(io_error("make the directory", directory))?;
    let file = fs::File::open(tarball).map_err(io_error("open", tarball))?;
    let mut archive = tar::Archive::new(GzDecoder::new(BufReader::with_capacity(1 << 20, file)));
    let read = || io_error("read", tarball);
    let mut library = None;
    for entry in archive.entries().map_err(read())? {
        let mut entry = entry.map_err(read())?;
        let path = entry.path().map_err(read())?.into_owned();
        // The names are ours to choose: nothing of the archive's paths reaches the file system.
        match path.to_str() {
            Some("package/libchdb.so") => {
                library = Some(write_library(&mut entry, &directory.join(LIBRARY), progress)?);
            }
            Some("package/package.json") => write_small(&mut entry, &directory.join("package.json"))?,
            Some("package/LICENSE") => write_small(&mut entry, &directory.join("LICENSE"))?,
            _ => {}
        }
    }
    let (library_bytes, library_sha256) =
        library.ok_or_else(|| InstallError::Package("there is no such file".to_owned()))?;
    if library_bytes != LIBRARY_BYTES {
        return Err(InstallError::Package(format!("it has {library_bytes}")));
    }
    let marker = Marker {
        version: VERSION.to_owned(),
        library_bytes,
        library_sha256,
        tarball_sha512: TARBALL_SHA512.to_owned(),
    };
    let path = directory.join(MARKER);
    let text = serde_json::to_vec_pretty(&marker).map_err(|error| io_error("write", &path)(error.into()))?;
    write_small(&mut text.as_slice(), &path)?;
    fs::File::open(directory).and_then(|directory| directory.sync_all()).map_err(io_error("sync", directory))?;
    Ok(directory.to_owned())
}

/// Returns size and SHA-256.
fn write_library(source: &mut impl Read, path: &Path, progress: &Progress) -> Result<(u64, String), InstallError> {
    let stage = progress.stage("unpacking", LIBRARY_BYTES);
    let mut file = fs::File::create(path).map_err(io_error("make", path))?;
    let mut hash = Sha256::new();
    let mut buffer = vec![0_u8; 1 << 20];
    let mut total = 0;
    loop {
        let read = source.read(&mut buffer).map_err(io_error("unpack", path))?;
        if read == 0 {
            break;
        }
        file.write_all(&buffer[..read]).map_err(io_error("write", path))?;
        hash.update(&buffer[..read]);
        total += read as u64;
        stage.at(total);
    }
    file.sync_all().map_err(io_error("sync", path))?;
    stage.finish();
    Ok((total, super::super::hex(&hash.finalize())))
}

fn write_small(source: &mut impl Read, path: &Path) -> Result<(), InstallError> {
    let mut text = Vec::new();
    source.take(SMALL_FILE_BYTES).read_to_end(&mut text).map_err(io_error("read", path))?;
    fs::File::create(path)
        .and_then(|mut file| file.write_all(&text).and_then(|()| file.sync_all()))
        .map_err(io_error("write", path))
}
