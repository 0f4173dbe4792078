//! What is written and synced at once: the new items of some calls, as records.

use super::{
    AppendError, Batch,
    format::{RECORD_HEADER_BYTES, RecordHeader},
    keys::{KeySet, Remembered},
    shared::Shared,
};

/// What all records of a group have in common.
#[derive(Clone, Copy, Debug, Default)]
pub struct Stamp {
    /// Random id of the segment.
    pub segment: u64,
    /// Bytes of the segment that are durable.
    pub synced: u64,
    /// Milliseconds since the Unix epoch.
    pub appended_ms: i64,
}

/// What is written and synced at once. Its buffers are kept.
#[derive(Default)]
pub struct Group {
    /// Whole records.
    pub bytes: Vec<u8>,
    /// In order; known for good only after the sync.
    pub keys: Vec<u128>,
    pub fresh: KeySet,
    pub tags: Vec<u64>,
    /// First position and number of items of each record.
    pub records: Vec<(u64, u64)>,
    /// Position of the next item.
    pub next: u64,
    pub stamp: Stamp,
}

impl Group {
    /// Buffers that a rare large group needed are given back.
    const KEPT_BYTES: usize = 8 * 1024 * 1024;

    /// Empties it, for items from this position on.
    pub fn begin(&mut self, next: u64, stamp: Stamp) {
        self.next = next;
        self.stamp = stamp;
        self.bytes.clear();
        self.bytes.shrink_to(Self::KEPT_BYTES);
        self.keys.clear();
        self.fresh.clear();
        self.tags.clear();
        self.records.clear();
    }

    /// Adds records of these items of a call, each of at most so many bytes if it has more than one item.
    pub fn add(&mut self, batch: &Batch, fresh: &[usize], record_bytes: usize) {
        let mut rest = fresh;
        while let Some(&index) = rest.first() {
            let mut payload = batch.size(index);
            let mut taken = 1;
            while let Some(&index) = rest.get(taken) {
                payload += batch.size(index);
                if payload > record_bytes {
                    break;
                }
                taken += 1;
            }
            let (record, left) = rest.split_at(taken);
            self.add_record(batch, record);
            rest = left;
        }
    }

    fn add_record(&mut self, batch: &Batch, record: &[usize]) {
        let start = self.bytes.len();
        self.bytes.resize(start + RECORD_HEADER_BYTES, 0);
        for run in record.chunk_by(|one, next| one + 1 == *next) {
            let run = run[0]..run[0] + run.len();
            self.bytes.extend_from_slice(batch.encoded(run.clone()));
            for item in &batch.items()[run] {
                self.keys.push(item.key);
                self.tags.push(item.tag);
            }
        }
        let payload = &self.bytes[start + RECORD_HEADER_BYTES..];
        let header = RecordHeader {
            payload_bytes: payload.len() as u32,
            segment: self.stamp.segment,
            first: self.next,
            synced: self.stamp.synced,
            appended_ms: self.stamp.appended_ms,
            items: record.len() as u32,
            payload_crc: crc32c::crc32c(payload),
        };
        self.bytes[start..start + RECORD_HEADER_BYTES].copy_from_slice(&header.encode());
        self.records.push((self.next, record.len() as u64));
        self.next += record.len() as u64;
    }
}

/// One call, held against what is known.
pub struct Call {
    /// Indexes of the items to keep.
    pub fresh: Vec<usize>,
    pub duplicates: Vec<usize>,
    /// What keeping them takes at most.
    pub bytes: u64,
    /// Whether an item of it is durable only with the group.
    pub needs_sync: bool,
}

impl Call {
    /// Keeps every item, whatever is known.
    pub fn of_all(batch: &Batch) -> Self {
        let bytes = most_bytes(batch);
        Self { fresh: (0..batch.len()).collect(), duplicates: Vec::new(), bytes, needs_sync: true }
    }

    /// Tells what is new of a call. The keys of new items are put into `group`; [`Call::withdraw`] takes them out again.
    pub fn of(batch: &Batch, remembered: &Remembered, group: &mut KeySet) -> Self {
        let mut call =
            Self { fresh: Vec::with_capacity(batch.len()), duplicates: Vec::new(), bytes: 0, needs_sync: false };
        for (index, item) in batch.items().iter().enumerate() {
            if remembered.contains(item.key) {
                call.duplicates.push(index);
                continue;
            }
            call.needs_sync = true;
            if group.insert(item.key) {
                call.fresh.push(index);
                call.bytes += (RECORD_HEADER_BYTES + batch.size(index)) as u64;
            } else {
                call.duplicates.push(index);
            }
        }
        call
    }

    /// Takes the keys of a refused call out of the group.
    pub fn withdraw(&self, batch: &Batch, group: &mut KeySet) {
        for &index in &self.fresh {
            group.remove(&batch.items()[index].key);
        }
    }
}

fn most_bytes(batch: &Batch) -> u64 {
    (batch.len() * RECORD_HEADER_BYTES + batch.bytes()) as u64
}

/// What there is room for, as of the beginning of a group.
pub struct Limits {
    used: u64,
    max: u64,
    free: u64,
    reserve: u64,
}

impl Limits {
    pub fn now(shared: &Shared) -> Self {
        Self {
            used: shared.state().used(),
            max: shared.options.max_bytes,
            // A file system that does not tell its free space still tells when there is none.
            free: shared.dir.free_bytes().unwrap_or(u64::MAX),
            reserve: shared.options.reserve_bytes,
        }
    }

    /// Whether a call of this size fits after what the group has already.
    pub fn check(&self, bytes: u64, gathered: u64) -> Result<(), AppendError> {
        if bytes == 0 {
            return Ok(());
        }
        let limit = self.max.min(u64::from(u32::MAX));
        if bytes > limit {
            return Err(AppendError::Full { used: bytes, limit });
        }
        if self.used + gathered + bytes > self.max {
            return Err(AppendError::Full { used: self.used + gathered, limit: self.max });
        }
        let free = self.free.saturating_sub(gathered);
        if free.saturating_sub(bytes) < self.reserve {
            return Err(AppendError::DiskFull { free, reserve: self.reserve });
        }
        Ok(())
    }
}
