//! Opening what is imported: a file or standard input, plain, gzip or zstd by its first bytes.

use std::{
    fs::File,
    io::{self, BufRead, BufReader, Cursor, Read},
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::UNIX_EPOCH,
};

use flate2::bufread::MultiGzDecoder;
use serde::{Deserialize, Serialize};

const GZIP: [u8; 2] = [0x1f, 0x8b];
const ZSTD: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];

/// How much of a file's beginning identifies it, bytes.
const HEAD_BYTES: u64 = 64 << 10;

/// An open input.
pub struct Input {
    /// For messages: the path as given, or `standard input`.
    pub name: String,
    /// `None` for what cannot be read twice.
    pub identity: Option<Identity>,
    /// Size as stored, if known.
    pub size: Option<u64>,
    /// Bytes read so far, as stored.
    pub position: Arc<AtomicU64>,
    /// The content, decompressed.
    pub reader: Box<dyn BufRead + Send>,
}

/// What tells whether a file is the one that was partly imported before.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    pub path: PathBuf,
    size: u64,
    /// Nanoseconds since the Unix epoch.
    modified_ns: u64,
    head_hash: u64,
}

/// Opens a path; `-` is standard input.
pub fn open(path: &Path) -> io::Result<Input> {
    let position = Arc::new(AtomicU64::new(0));
    if path == Path::new("-") {
        let reader = decompress(Counted { inner: io::stdin(), read: Arc::clone(&position) })?;
        return Ok(Input { name: "standard input".into(), identity: None, size: None, position, reader });
    }
    let file = File::open(path)?;
    let metadata = file.metadata()?;
    if metadata.is_dir() {
        return Err(io::Error::new(io::ErrorKind::IsADirectory, "it is a directory; name the files in it"));
    }
    let is_file = metadata.is_file();
    let identity = if is_file { Some(identity(path, &metadata)?) } else { None };
    let reader = decompress(Counted { inner: file, read: Arc::clone(&position) })?;
    Ok(Input { name: path.display().to_string(), identity, size: is_file.then_some(metadata.len()), position, reader })
}

fn identity(path: &Path, metadata: &std::fs::Metadata) -> io::Result<Identity> {
    let mut head = Vec::new();
    File::open(path)?.take(HEAD_BYTES).read_to_end(&mut head)?;
    let modified = metadata.modified()?.duration_since(UNIX_EPOCH).unwrap_or_default();
    Ok(Identity {
        path: path.canonicalize()?,
        size: metadata.len(),
        modified_ns: modified.as_nanos() as u64,
        head_hash: xxhash_rust::xxh3::xxh3_64(&head),
    })
}

fn decompress(mut stored: impl Read + Send + 'static) -> io::Result<Box<dyn BufRead + Send>> {
    let mut magic = Vec::with_capacity(ZSTD.len());
    stored.by_ref().take(ZSTD.len() as u64).read_to_end(&mut magic)?;
    let is = |known: &[u8]| magic.starts_with(known);
    let (is_gzip, is_zstd) = (is(&GZIP), is(&ZSTD));
    let whole = BufReader::with_capacity(256 << 10, Cursor::new(magic).chain(stored));
    Ok(if is_gzip {
        Box::new(BufReader::with_capacity(256 << 10, MultiGzDecoder::new(whole)))
    } else if is_zstd {
        Box::new(BufReader::with_capacity(256 << 10, zstd::stream::read::Decoder::with_buffer(whole)?))
    } else {
        Box::new(whole)
    })
}

/// A reader that says how far it is.
struct Counted<R> {
    inner: R,
    read: Arc<AtomicU64>,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.read.fetch_add(count as u64, Ordering::Relaxed);
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn content(bytes: &[u8]) -> io::Result<String> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), bytes).unwrap();
        let mut text = String::new();
        let mut input = open(file.path())?;
        input.reader.read_to_string(&mut text)?;
        assert_eq!(input.position.load(Ordering::Relaxed), bytes.len() as u64);
        Ok(text)
    }

    fn gzip(text: &str) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(text.as_bytes()).unwrap();
        encoder.finish().unwrap()
    }

    #[test]
    fn the_first_bytes_tell_the_compression() {
        for text in ["", "{", "{}\n{}\n"] {
            assert_eq!(content(text.as_bytes()).unwrap(), text);
            assert_eq!(content(&gzip(text)).unwrap(), text);
            assert_eq!(content(&zstd::encode_all(text.as_bytes(), 1).unwrap()).unwrap(), text);
        }
        assert_eq!(content(&[gzip("a\n"), gzip("b\n")].concat()).unwrap(), "a\nb\n");
    }

    #[test]
    fn a_changed_file_is_another_one() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "a").unwrap();
        let before = open(file.path()).unwrap().identity.unwrap();
        assert_eq!(open(file.path()).unwrap().identity.unwrap(), before);
        std::fs::write(file.path(), "b").unwrap();
        assert_ne!(open(file.path()).unwrap().identity.unwrap(), before);
    }

    #[test]
    fn a_directory_is_refused_by_name() {
        let dir = tempfile::tempdir().unwrap();
        assert!(open(dir.path()).err().unwrap().to_string().contains("directory"));
    }
}
