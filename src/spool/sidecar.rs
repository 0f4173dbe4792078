//! The summary of a sealed segment, `….keys`: it spares a scan at the next start and outlives the segment itself, so that
//! the keys of items that were delivered long ago are known after a restart.

use std::{fmt, io, sync::Arc};

use super::{
    files::{Dir, File, PlaceError, place, read_region},
    format::{u32_at, u64_at, u128_at},
};

const MAGIC: [u8; 8] = *b"ERRATAKY";
const VERSION: u32 = 1;
const HEAD_BYTES: usize = 64;
const RUN_BYTES: usize = 16;
const SUFFIX: &str = ".keys";

/// Which positions a segment has: runs without a gap. Nearly always one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Runs(Vec<Run>);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Run {
    first: u64,
    count: u64,
}

impl Runs {
    /// Adds positions, which must come after those that are there.
    pub fn push(&mut self, first: u64, count: u64) {
        match self.0.last_mut() {
            Some(run) if run.first + run.count == first => run.count += count,
            _ => self.0.push(Run { first, count }),
        }
    }

    /// How many positions there are.
    pub fn count(&self) -> u64 {
        self.0.iter().map(|run| run.count).sum()
    }

    /// How many of them are before this one.
    pub fn before(&self, position: u64) -> u64 {
        self.0.iter().map(|run| position.saturating_sub(run.first).min(run.count)).sum()
    }
}

/// What a sidecar says, without the keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Summary {
    /// Random id of the segment.
    pub id: u64,
    pub first: u64,
    /// The position after its last item.
    pub end: u64,
    /// Length of the segment file.
    pub bytes: u64,
    pub runs: Runs,
    /// One an item, in order.
    pub tags: Arc<Vec<u64>>,
}

/// Why a sidecar cannot be used. It is never needed for correctness of what is stored: the segment is scanned instead, or
/// its keys are forgotten.
#[derive(Debug)]
pub enum Unusable {
    Missing,
    Damaged,
    Io(io::Error),
}

impl fmt::Display for Unusable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing => f.write_str("it is missing"),
            Self::Damaged => f.write_str("it is damaged, or of another version"),
            Self::Io(error) => write!(f, "it cannot be read: {error}"),
        }
    }
}

impl From<io::Error> for Unusable {
    fn from(error: io::Error) -> Self {
        if error.kind() == io::ErrorKind::NotFound { Self::Missing } else { Self::Io(error) }
    }
}

pub fn name(first: u64) -> String {
    format!("{first:020}{SUFFIX}")
}

/// The segment a file of this name is about.
pub fn parse_name(name: &str) -> Option<u64> {
    let digits = name.strip_suffix(SUFFIX).filter(|digits| digits.len() == 20)?;
    digits.parse().ok()
}

/// Writes it durably. `keys` are as many as there are tags.
pub fn write(dir: &dyn Dir, summary: &Summary, keys: &[u128]) -> Result<(), PlaceError> {
    let tags: Vec<u8> = summary.tags.iter().flat_map(|tag| tag.to_le_bytes()).collect();
    let keys: Vec<u8> = keys.iter().flat_map(|key| key.to_le_bytes()).collect();
    let mut head = Vec::with_capacity(HEAD_BYTES + RUN_BYTES * summary.runs.0.len() + 4);
    head.extend_from_slice(&MAGIC);
    head.extend_from_slice(&VERSION.to_le_bytes());
    head.extend_from_slice(&(summary.runs.0.len() as u32).to_le_bytes());
    for number in [summary.id, summary.first, summary.end, summary.bytes, summary.tags.len() as u64] {
        head.extend_from_slice(&number.to_le_bytes());
    }
    head.extend_from_slice(&crc32c::crc32c(&tags).to_le_bytes());
    head.extend_from_slice(&crc32c::crc32c(&keys).to_le_bytes());
    for run in &summary.runs.0 {
        head.extend_from_slice(&run.first.to_le_bytes());
        head.extend_from_slice(&run.count.to_le_bytes());
    }
    let crc = crc32c::crc32c(&head);
    head.extend_from_slice(&crc.to_le_bytes());
    place(dir, &name(summary.first), &[&head, &tags, &keys]).map(drop)
}

/// Reads what is needed of every segment that is kept.
pub fn read_summary(dir: &dyn Dir, first: u64) -> Result<Summary, Unusable> {
    let (file, head) = Head::read(dir, first)?;
    let tags = read_region(&*file, head.tags_at(), head.keys_at())?;
    if crc32c::crc32c(&tags) != head.tags_crc {
        return Err(Unusable::Damaged);
    }
    let tags = Arc::new(tags.chunks_exact(8).map(|tag| u64_at(tag, 0)).collect());
    Ok(Summary { id: head.id, first, end: head.end, bytes: head.bytes, runs: head.runs, tags })
}

/// Reads the keys, in order.
pub fn read_keys(dir: &dyn Dir, first: u64) -> Result<Vec<u128>, Unusable> {
    let (file, head) = Head::read(dir, first)?;
    let keys = read_region(&*file, head.keys_at(), head.file_end())?;
    if crc32c::crc32c(&keys) != head.keys_crc {
        return Err(Unusable::Damaged);
    }
    Ok(keys.chunks_exact(16).map(|key| u128_at(key, 0)).collect())
}

/// Where the segment ended and how many items it had.
pub fn read_extent(dir: &dyn Dir, first: u64) -> Result<(u64, u64), Unusable> {
    Head::read(dir, first).map(|(_, head)| (head.end, head.items))
}

struct Head {
    id: u64,
    end: u64,
    bytes: u64,
    items: u64,
    tags_crc: u32,
    keys_crc: u32,
    runs: Runs,
}

impl Head {
    fn read(dir: &dyn Dir, first: u64) -> Result<(Box<dyn File>, Self), Unusable> {
        let file = dir.open(&name(first))?;
        let size = file.size()?;
        let mut fixed = [0; HEAD_BYTES];
        if file.read_at(&mut fixed, 0)? < HEAD_BYTES || fixed[..8] != MAGIC || u32_at(&fixed, 8) != VERSION {
            return Err(Unusable::Damaged);
        }
        let runs_end = HEAD_BYTES as u64 + u64::from(u32_at(&fixed, 12)) * RUN_BYTES as u64;
        if runs_end + 4 > size {
            return Err(Unusable::Damaged);
        }
        let bytes = read_region(&*file, 0, runs_end + 4)?;
        let (covered, crc) = bytes.split_at(runs_end as usize);
        if crc32c::crc32c(covered) != u32_at(crc, 0) || u64_at(covered, 24) != first {
            return Err(Unusable::Damaged);
        }
        let runs = covered[HEAD_BYTES..].chunks_exact(RUN_BYTES);
        let head = Self {
            id: u64_at(covered, 16),
            end: u64_at(covered, 32),
            bytes: u64_at(covered, 40),
            items: u64_at(covered, 48),
            tags_crc: u32_at(covered, 56),
            keys_crc: u32_at(covered, 60),
            runs: Runs(runs.map(|run| Run { first: u64_at(run, 0), count: u64_at(run, 8) }).collect()),
        };
        if head.runs.count() != head.items || head.file_end() != size {
            return Err(Unusable::Damaged);
        }
        Ok((file, head))
    }

    fn tags_at(&self) -> u64 {
        (HEAD_BYTES + RUN_BYTES * self.runs.0.len() + 4) as u64
    }

    fn keys_at(&self) -> u64 {
        self.tags_at() + 8 * self.items
    }

    fn file_end(&self) -> u64 {
        self.keys_at() + 16 * self.items
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_count_positions_over_gaps() {
        let mut runs = Runs::default();
        runs.push(10, 5);
        runs.push(15, 5);
        runs.push(100, 2);
        assert_eq!(runs.count(), 12);
        assert_eq!([0, 10, 12, 50, 101, 900].map(|position| runs.before(position)), [0, 0, 2, 10, 11, 12]);
    }
}
