//! Walking the records of one segment, over damage.

use std::io;

use super::{
    files::File,
    format::{Items, RECORD_HEADER_BYTES, RECORD_MAGIC, RecordHeader},
};

/// Bytes read at once.
const READ_AHEAD: usize = 256 * 1024;

/// The next thing in a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found {
    /// A whole record; its payload is [`Scan::payload`] until the next step.
    Record {
        header: RecordHeader,
        offset: u64,
    },
    Damaged(Damage),
}

/// A region of a segment that is no whole record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Damage {
    pub offset: u64,
    pub end: u64,
    /// No item at or after this position was before the region …
    pub from: u64,
    /// … and none before this one is after it; unknown when nothing whole follows in the segment.
    pub to: Option<u64>,
}

/// A walk over `[offset, end)` of a segment.
pub struct Scan<'a> {
    file: &'a dyn File,
    /// Unknown when the segment's header is damaged: the first whole record tells.
    id: Option<u64>,
    offset: u64,
    end: u64,
    /// Where the record at `offset` begins at the earliest.
    position: u64,
    buffer: Vec<u8>,
    buffer_offset: u64,
    payload: std::ops::Range<usize>,
}

impl<'a> Scan<'a> {
    pub fn new(file: &'a dyn File, id: Option<u64>, offset: u64, end: u64, position: u64) -> Self {
        Self { file, id, offset, end, position, buffer: Vec::new(), buffer_offset: 0, payload: 0..0 }
    }

    pub fn id(&self) -> Option<u64> {
        self.id
    }

    /// The payload of the record found last.
    pub fn payload(&self) -> &[u8] {
        &self.buffer[self.payload.clone()]
    }

    /// The next record or damaged region, `None` at the end.
    pub fn step(&mut self) -> io::Result<Option<Found>> {
        if self.offset >= self.end {
            return Ok(None);
        }
        let offset = self.offset;
        let Some(header) = self.header_at(offset)? else { return self.step_over_unreadable(offset).map(Some) };
        self.fill(offset, header.bytes())?;
        let start = (offset - self.buffer_offset) as usize + RECORD_HEADER_BYTES;
        self.payload = start..start + header.payload_bytes as usize;
        self.offset = offset + header.bytes();
        self.position = header.end();
        let payload = &self.buffer[self.payload.clone()];
        if crc32c::crc32c(payload) == header.payload_crc && Items::are_whole(payload, header.items) {
            self.id = Some(header.segment);
            return Ok(Some(Found::Record { header, offset }));
        }
        let damage = Damage { offset, end: self.offset, from: header.first, to: Some(header.end()) };
        Ok(Some(Found::Damaged(damage)))
    }

    /// Goes on at the next header that holds.
    fn step_over_unreadable(&mut self, offset: u64) -> io::Result<Found> {
        let from = self.position;
        let next = self.find_header(offset + 1)?;
        self.offset = next.map_or(self.end, |(offset, _)| offset);
        Ok(Found::Damaged(Damage { offset, end: self.offset, from, to: next.map(|(_, header)| header.first) }))
    }

    fn find_header(&mut self, from: u64) -> io::Result<Option<(u64, RecordHeader)>> {
        let mut offset = from;
        while offset + RECORD_HEADER_BYTES as u64 <= self.end {
            self.fill(offset, RECORD_HEADER_BYTES as u64)?;
            let bytes = &self.buffer[(offset - self.buffer_offset) as usize..];
            let Some(at) = bytes.windows(RECORD_MAGIC.len()).position(|window| window == RECORD_MAGIC) else {
                offset += (bytes.len() - (RECORD_MAGIC.len() - 1)) as u64;
                continue;
            };
            offset += at as u64;
            if let Some(header) = self.header_at(offset)? {
                return Ok(Some((offset, header)));
            }
            offset += 1;
        }
        Ok(None)
    }

    /// The header at `offset`, if one is there that can be of this segment and at this place.
    fn header_at(&mut self, offset: u64) -> io::Result<Option<RecordHeader>> {
        if offset + RECORD_HEADER_BYTES as u64 > self.end {
            return Ok(None);
        }
        self.fill(offset, RECORD_HEADER_BYTES as u64)?;
        let header = RecordHeader::decode(&self.buffer[(offset - self.buffer_offset) as usize..]);
        Ok(header.filter(|header| {
            offset + header.bytes() <= self.end
                && self.id.is_none_or(|id| id == header.segment)
                && header.first >= self.position
        }))
    }

    /// Has `[offset, offset + len)` in the buffer.
    fn fill(&mut self, offset: u64, len: u64) -> io::Result<()> {
        if offset >= self.buffer_offset && offset + len <= self.buffer_offset + self.buffer.len() as u64 {
            return Ok(());
        }
        let wanted = len.max(READ_AHEAD as u64).min(self.end - offset) as usize;
        self.buffer.resize(wanted, 0);
        self.buffer_offset = offset;
        let read = self.file.read_at(&mut self.buffer, offset)?;
        self.buffer.truncate(read);
        if (read as u64) < len { Err(io::ErrorKind::UnexpectedEof.into()) } else { Ok(()) }
    }
}
