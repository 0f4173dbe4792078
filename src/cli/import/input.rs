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

/// How much is read to tell what is in an input, bytes: no request total is longer.
const PEEK_BYTES: u64 = 64 << 10;

/// What an input holds, by its first line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Events,
    /// Request totals.
    Totals,
}

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
    pub kind: Kind,
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
        let (kind, reader) = tell(decompress(Counted { inner: io::stdin(), read: Arc::clone(&position) })?);
        return Ok(Input { name: "standard input".into(), identity: None, size: None, position, kind, reader });
    }
    let file = File::open(path)?;
    let metadata = file.metadata()?;
    if metadata.is_dir() {
        return Err(io::Error::new(io::ErrorKind::IsADirectory, "it is a directory; name the files in it"));
    }
    let is_file = metadata.is_file();
    let identity = if is_file { Some(identity(path, &metadata)?) } else { None };
    let (kind, reader) = tell(decompress(Counted { inner: file, read: Arc::clone(&position) })?);
    let size = is_file.then_some(metadata.len());
    Ok(Input { name: path.display().to_string(), identity, size, position, kind, reader })
}

/// Tells what a reader gives, and gives it all the same. An event has no `minute` and `count` of its own; a file whose first event
/// has both as attributes is taken for totals, and rejected line by line. (The other way round, a total with a field too many would be stored
/// as an event.)
fn tell(mut reader: Box<dyn BufRead + Send>) -> (Kind, Box<dyn BufRead + Send>) {
    let mut head = Vec::new();
    let mut kind = Kind::Events;
    loop {
        let start = head.len();
        let room = PEEK_BYTES - start as u64;
        match reader.by_ref().take(room).read_until(b'\n', &mut head) {
            Ok(0) => break,
            Ok(_) => {}
            Err(error) => return (kind, Box::new(Cursor::new(head).chain(Broken(Some(error))))),
        }
        let line = head[start..].trim_ascii();
        if !line.is_empty() {
            let line = line.strip_prefix(b"\xef\xbb\xbf").unwrap_or(line);
            let item: serde_json::Value = serde_json::from_slice(line).unwrap_or_default();
            if item.get("minute").is_some() && item.get("count").is_some() {
                kind = Kind::Totals;
            }
            break;
        }
    }
    (kind, Box::new(Cursor::new(head).chain(reader)))
}

/// A reader that failed before it was its turn: it says so when it is.
struct Broken(Option<io::Error>);

impl Read for Broken {
    fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
        self.fill_buf().map(|_| 0)
    }
}

impl BufRead for Broken {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        Err(self.0.take().unwrap_or_else(|| io::ErrorKind::UnexpectedEof.into()))
    }

    fn consume(&mut self, _: usize) {}
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
    fn the_first_line_tells_events_from_totals_and_nothing_of_it_is_lost() {
        let long = format!("{{\"minute\": 1, \"x\": \"{}\", \"count\": 1}}\n{{}}\n", "x".repeat(70_000));
        let blank = "\n".repeat(70_000) + "{\"minute\": 1, \"count\": 2}\n";
        for (text, kind) in [
            ("", Kind::Events),
            ("\n\n", Kind::Events),
            ("{\"status\": 400}\n{\"minute\": 1, \"count\": 2}\n", Kind::Events),
            ("nonsense", Kind::Events),
            ("\u{feff}\n \n{\"minute\": 1, \"count\": 2}\nrest", Kind::Events),
            ("\u{feff}{\"minute\": 1, \"count\": 2}\nrest", Kind::Totals),
            ("\n \r\n{\"minute\": 1, \"count\": 2}", Kind::Totals),
            (&long, Kind::Events),
            (&blank, Kind::Events),
        ] {
            let (found, mut reader) = tell(Box::new(Cursor::new(text.to_owned().into_bytes())));
            let mut read = String::new();
            reader.read_to_string(&mut read).unwrap();
            assert_eq!((found, read.as_str()), (kind, text));
        }
    }

    #[test]
    fn a_file_that_breaks_off_in_its_first_line_is_no_empty_one() {
        let whole = gzip(&format!("{{\"minute\": 1, \"x\": \"{:?}\"}}\n", (0..9999).collect::<Vec<_>>()));
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), &whole[..whole.len() / 2]).unwrap();
        let mut text = String::new();
        let error = open(file.path()).unwrap().reader.read_to_string(&mut text).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
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
