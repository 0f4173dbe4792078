//! The bytes of segments and of the checkpoint, as the module's specification lays them out. Little-endian throughout.

use super::Item;

/// The version of segment files that this code writes.
pub const VERSION: u32 = 1;
pub const SEGMENT_HEADER_BYTES: usize = 32;
pub const RECORD_HEADER_BYTES: usize = 52;
/// What an item takes besides its payload.
pub const ITEM_OVERHEAD: usize = 28;
pub const RECORD_MAGIC: [u8; 4] = *b"\xE5rec";

const SEGMENT_MAGIC: [u8; 8] = *b"ERRATASG";
const CHECKPOINT_MAGIC: [u8; 8] = *b"ERRATACP";
const CHECKPOINT_VERSION: u32 = 1;
const CHECKPOINT_BYTES: usize = 24;

/// Who a segment is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SegmentHeader {
    /// Random, and in each of its records: bytes of another segment, or made up by a client, are no record of this one.
    pub id: u64,
    /// Position of its first item; also its name.
    pub first: u64,
}

/// What the first bytes of a segment file are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Opening {
    Known(SegmentHeader),
    Newer(u32),
    Damaged,
}

impl SegmentHeader {
    pub fn encode(self) -> [u8; SEGMENT_HEADER_BYTES] {
        let mut bytes = [0; SEGMENT_HEADER_BYTES];
        bytes[0..8].copy_from_slice(&SEGMENT_MAGIC);
        bytes[8..12].copy_from_slice(&VERSION.to_le_bytes());
        bytes[12..20].copy_from_slice(&self.id.to_le_bytes());
        bytes[20..28].copy_from_slice(&self.first.to_le_bytes());
        let crc = crc32c::crc32c(&bytes[..28]);
        bytes[28..32].copy_from_slice(&crc.to_le_bytes());
        bytes
    }

    pub fn decode(bytes: &[u8]) -> Opening {
        if bytes.len() < SEGMENT_HEADER_BYTES
            || bytes[..8] != SEGMENT_MAGIC
            || u32_at(bytes, 28) != crc32c::crc32c(&bytes[..28])
        {
            return Opening::Damaged;
        }
        match u32_at(bytes, 8) {
            0 => Opening::Damaged,
            VERSION => Opening::Known(Self { id: u64_at(bytes, 12), first: u64_at(bytes, 20) }),
            newer => Opening::Newer(newer),
        }
    }
}

/// What a record says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecordHeader {
    pub payload_bytes: u32,
    /// [`SegmentHeader::id`] of the segment it belongs to.
    pub segment: u64,
    /// Position of its first item.
    pub first: u64,
    /// Bytes of the segment that were durable before this record was written.
    pub synced: u64,
    /// Milliseconds since the Unix epoch.
    pub appended_ms: i64,
    pub items: u32,
    pub payload_crc: u32,
}

impl RecordHeader {
    /// The position after its last item.
    pub fn end(&self) -> u64 {
        self.first + u64::from(self.items)
    }

    /// Header and payload.
    pub fn bytes(&self) -> u64 {
        RECORD_HEADER_BYTES as u64 + u64::from(self.payload_bytes)
    }

    pub fn encode(&self) -> [u8; RECORD_HEADER_BYTES] {
        let mut bytes = [0; RECORD_HEADER_BYTES];
        bytes[0..4].copy_from_slice(&RECORD_MAGIC);
        bytes[4..8].copy_from_slice(&self.payload_bytes.to_le_bytes());
        bytes[8..16].copy_from_slice(&self.segment.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.first.to_le_bytes());
        bytes[24..32].copy_from_slice(&self.synced.to_le_bytes());
        bytes[32..40].copy_from_slice(&self.appended_ms.to_le_bytes());
        bytes[40..44].copy_from_slice(&self.items.to_le_bytes());
        bytes[44..48].copy_from_slice(&self.payload_crc.to_le_bytes());
        let crc = crc32c::crc32c(&bytes[..48]);
        bytes[48..52].copy_from_slice(&crc.to_le_bytes());
        bytes
    }

    pub fn decode(bytes: &[u8]) -> Option<Self> {
        if bytes.len() < RECORD_HEADER_BYTES
            || bytes[..4] != RECORD_MAGIC
            || u32_at(bytes, 48) != crc32c::crc32c(&bytes[..48])
        {
            return None;
        }
        let header = Self {
            payload_bytes: u32_at(bytes, 4),
            segment: u64_at(bytes, 8),
            first: u64_at(bytes, 16),
            synced: u64_at(bytes, 24),
            appended_ms: u64_at(bytes, 32).cast_signed(),
            items: u32_at(bytes, 40),
            payload_crc: u32_at(bytes, 44),
        };
        header.first.checked_add(u64::from(header.items)).map(|_| header)
    }
}

/// An item still in the bytes of its record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ItemRef<'a> {
    pub key: u128,
    pub tag: u64,
    pub payload: &'a [u8],
}

impl ItemRef<'_> {
    /// An item of one's own.
    #[must_use]
    pub fn to_item(&self) -> Item {
        Item { key: self.key, tag: self.tag, payload: self.payload.to_vec() }
    }
}

/// The items of a record's payload; ends early where the bytes are no items.
pub struct Items<'a> {
    rest: &'a [u8],
}

impl<'a> Items<'a> {
    pub fn of(payload: &'a [u8]) -> Self {
        Self { rest: payload }
    }

    /// Whether the payload is exactly this many items.
    pub fn are_whole(payload: &'a [u8], count: u32) -> bool {
        let mut items = Self::of(payload);
        items.by_ref().count() == count as usize && items.rest.is_empty()
    }
}

impl<'a> Iterator for Items<'a> {
    type Item = ItemRef<'a>;

    fn next(&mut self) -> Option<ItemRef<'a>> {
        let (head, rest) = self.rest.split_at_checked(ITEM_OVERHEAD)?;
        let (payload, rest) = rest.split_at_checked(u32_at(head, 24) as usize)?;
        self.rest = rest;
        Some(ItemRef { key: u128_at(head, 0), tag: u64_at(head, 16), payload })
    }
}

pub fn encode_checkpoint(position: u64) -> [u8; CHECKPOINT_BYTES] {
    let mut bytes = [0; CHECKPOINT_BYTES];
    bytes[0..8].copy_from_slice(&CHECKPOINT_MAGIC);
    bytes[8..12].copy_from_slice(&CHECKPOINT_VERSION.to_le_bytes());
    bytes[12..20].copy_from_slice(&position.to_le_bytes());
    let crc = crc32c::crc32c(&bytes[..20]);
    bytes[20..24].copy_from_slice(&crc.to_le_bytes());
    bytes
}

/// The position, unless the bytes are damaged or of another version.
pub fn decode_checkpoint(bytes: &[u8]) -> Option<u64> {
    (bytes.len() == CHECKPOINT_BYTES
        && bytes[..8] == CHECKPOINT_MAGIC
        && u32_at(bytes, 8) == CHECKPOINT_VERSION
        && u32_at(bytes, 20) == crc32c::crc32c(&bytes[..20]))
    .then(|| u64_at(bytes, 12))
}

pub fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(array_at(bytes, at))
}

pub fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(array_at(bytes, at))
}

pub fn u128_at(bytes: &[u8], at: usize) -> u128 {
    u128::from_le_bytes(array_at(bytes, at))
}

fn array_at<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    let mut array = [0; N];
    array.copy_from_slice(&bytes[at..at + N]);
    array
}
