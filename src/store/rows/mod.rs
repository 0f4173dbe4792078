//! Events as Arrow streams: one for `events`, one for `request_index`.
//!
//! The types here and the tables in `migrations/` belong together. Traps, each met in ClickHouse 26.7: `Int64` →
//! `DateTime64` is silently read as seconds, so times are `Timestamp(ms, "UTC")`; nulls become defaults unless
//! `input_format_null_as_default=0`; `FixedSizeBinary(16)` is read in text order by `UUID`;
//! a dictionary with a value twice is refused.

mod columns;
mod events;

use std::sync::Arc;

use arrow_array::{ArrayRef, Date32Array, RecordBatch, UInt32Array, UInt64Array};
use arrow_buffer::Buffer;
use arrow_ipc::writer::StreamEncoder;
use arrow_schema::ArrowError;
use bytes::{Bytes, BytesMut};
use uuid::Uuid;

use self::events::EventColumns;
use crate::event::{Event, EventRef, borrowed::FieldErrorRef, request_id::lookup_key};

/// A whole batch, encoded at once: delivery sends its own in pieces. The same events give the same bytes.
#[derive(Clone, Debug)]
pub struct EncodedBatch {
    pub batch_id: Uuid,
    /// ArrowStream for `events`, in pieces.
    pub events: Vec<Bytes>,
    /// ArrowStream for `request_index`, in pieces.
    pub index: Vec<Bytes>,
    pub rows: usize,
    /// First and last time of receipt, milliseconds since the Unix epoch: where [`super::Store::count_batch`] looks.
    pub received_ms: (i64, i64),
}

#[derive(Debug, thiserror::Error)]
pub enum EncodeError {
    #[error("a batch needs at least one event")]
    Empty,
    #[error("the batch spans two weeks of receipt and would not be inserted as one block: cut it at the week's start")]
    SpansWeeks,
    #[error("a piece of the batch holds {0} bytes of text, more than {MAX_TEXT_BYTES}: make smaller pieces")]
    TooLarge(usize),
    #[error("the batch does not encode: {0}")]
    Arrow(#[from] ArrowError),
}

/// The columns that [`EncodedBatch::index`] fills, as they stand in an INSERT.
pub(super) const INDEX_COLUMNS: &str = "k, second, week";

/// The columns that [`EncodedBatch::events`] fills, as they stand in an INSERT. (Named, so that a column a later migration adds
/// takes its default in inserts of an older collector.)
pub(super) const EVENT_COLUMNS: &str = "project, timestamp, received_at, key, batch_id, request_uuid, request_text, status, \
    origin, host, path_values, error, `errors.field`, `errors.message`, `errors.rule`, body, account_id, user_id, duration_ms, \
    client_ip4, user_agent, fingerprint, details";

/// What stands between the words of `origin`.
pub(super) const ORIGIN_SEPARATOR: char = '\u{1f}';

/// What stands in `origin`, and in the rollups, for a word that holds the separator: such a word itself is in `details`.
const ODD_WORD: &str = "\u{fffd}";

/// Arrow's texts of one column are addressed by 31 bits, and a character takes up to six bytes of JSON.
const MAX_TEXT_BYTES: usize = 1 << 28;

pub(super) const DAY_MS: i64 = 86_400_000;

/// The partition of an event: the Monday (UTC) of the week it was received in, as days since the Unix epoch.
///
/// One insert is atomic only within one partition, so a batch holds events of one week.
#[must_use]
pub fn week_of(received_at_ms: i64) -> i32 {
    let day = received_at_ms.div_euclid(DAY_MS);
    // 1970-01-01 was a Thursday.
    (day - (day + 3).rem_euclid(7)) as i32
}

/// The key of a request in the lookup index: the upper 40 bits of its [`RequestId::lookup_key`](crate::event::RequestId::lookup_key).
#[must_use]
pub(super) const fn index_key(lookup_key: u64) -> u64 {
    lookup_key >> 24
}

/// A request id as the two columns hold it: a UUID in its canonical form, or any other text.
#[must_use]
pub(super) fn request_columns(request_id: &str) -> (Uuid, &str) {
    let is_canonical = request_id.len() == 36 && !request_id.bytes().any(|byte| byte.is_ascii_uppercase());
    match Uuid::try_parse(request_id) {
        Ok(uuid) if is_canonical => (uuid, ""),
        _ => (Uuid::nil(), request_id),
    }
}

/// Encodes a whole batch.
///
/// # Errors
/// When there is no event, the events were received in different weeks, or their texts are too large together.
pub fn encode(batch_id: Uuid, events: &[Event]) -> Result<EncodedBatch, EncodeError> {
    let received = events.iter().map(|event| event.received_at_ms);
    let bounds = received.clone().min().zip(received.max()).ok_or(EncodeError::Empty)?;
    let mut stream = EventStream::new(batch_id);
    let refs = events.iter().map(|event| Ok::<_, EncodeError>(EventRef::from(event)));
    let mut pieces = stream.encode(refs, events.len())?;
    pieces.extend(stream.finish()?);
    let index = encode_index(events.iter().map(|event| IndexRow {
        lookup_key: lookup_key(event.request_id.as_str(), &event.project),
        timestamp_ms: event.timestamp_ms,
        received_at_ms: event.received_at_ms,
    }))?;
    Ok(EncodedBatch { batch_id, events: pieces, index, rows: events.len(), received_ms: bounds })
}

/// A batch of no rows, to see whether the tables take the columns.
pub fn encode_empty() -> Result<EncodedBatch, EncodeError> {
    let batch_id = Uuid::new_v4();
    let mut stream = EventStream::new(batch_id);
    let mut events = stream.encode(std::iter::empty::<Result<_, EncodeError>>(), 0)?;
    events.extend(stream.finish()?);
    Ok(EncodedBatch { batch_id, events, index: encode_index([].into_iter())?, rows: 0, received_ms: (0, 0) })
}

/// The ArrowStream of the events of one batch, made piece by piece so that it is never in memory as a whole. ClickHouse
/// makes one block of all pieces.
pub struct EventStream {
    batch_id: Uuid,
    encoder: Option<StreamEncoder>,
    week: Option<i32>,
    /// Where details are put together.
    json: Vec<u8>,
}

impl EventStream {
    #[must_use]
    pub fn new(batch_id: Uuid) -> Self {
        Self { batch_id, encoder: None, week: None, json: Vec::new() }
    }

    /// Encodes the next events; `rows` is how many there are, about. Returns the bytes that come next in the stream.
    ///
    /// # Errors
    /// The events' own, and [`EncodeError`] when one was received in another week than those before, or the texts of this
    /// piece are too large together.
    pub fn encode<'a, E: From<EncodeError>>(
        &mut self,
        events: impl Iterator<Item = Result<EventRef<'a>, E>>,
        rows: usize,
    ) -> Result<Vec<Bytes>, E> {
        let mut columns = EventColumns::with_capacity(rows);
        let mut text_bytes = 0;
        for event in events {
            let event = event?;
            let week = week_of(event.received_at_ms);
            if *self.week.get_or_insert(week) != week {
                return Err(EncodeError::SpansWeeks.into());
            }
            text_bytes += text_len(&event);
            if text_bytes > MAX_TEXT_BYTES {
                return Err(EncodeError::TooLarge(text_bytes).into());
            }
            columns.push(&event, &mut self.json);
        }
        Ok(self.write(columns).map_err(EncodeError::Arrow)?)
    }

    fn write(&mut self, columns: EventColumns<'_>) -> Result<Vec<Bytes>, ArrowError> {
        let batch = columns.finish(self.batch_id)?;
        let encoder = match &mut self.encoder {
            Some(encoder) => encoder,
            none => none.insert(StreamEncoder::try_new(&batch.schema())?),
        };
        Ok(joined(encoder.encode(&batch)?))
    }

    /// The end of the stream; nothing if nothing was encoded.
    ///
    /// # Errors
    /// None that could be named: what Arrow has to say.
    pub fn finish(self) -> Result<Vec<Bytes>, EncodeError> {
        let Some(encoder) = self.encoder else { return Ok(Vec::new()) };
        Ok(joined(encoder.finish()?))
    }
}

/// What the lookup index knows of an event.
#[derive(Clone, Copy, Debug)]
pub struct IndexRow {
    /// [`RequestId::lookup_key`](crate::event::RequestId::lookup_key).
    pub lookup_key: u64,
    pub timestamp_ms: i64,
    pub received_at_ms: i64,
}

/// The ArrowStream for `request_index`.
///
/// # Errors
/// None that could be named: what Arrow has to say.
pub fn encode_index(rows: impl ExactSizeIterator<Item = IndexRow>) -> Result<Vec<Bytes>, EncodeError> {
    let mut keys = Vec::with_capacity(rows.len());
    let (mut seconds, mut weeks) = (Vec::with_capacity(rows.len()), Vec::with_capacity(rows.len()));
    for row in rows {
        keys.push(index_key(row.lookup_key));
        seconds.push(second_of(row.timestamp_ms));
        weeks.push(week_of(row.received_at_ms));
    }
    let columns: [(&str, ArrayRef); 3] = [
        ("k", Arc::new(UInt64Array::new(keys.into(), None))),
        ("second", Arc::new(UInt32Array::new(seconds.into(), None))),
        ("week", Arc::new(Date32Array::new(weeks.into(), None))),
    ];
    let batch = RecordBatch::try_from_iter_with_nullable(columns.map(|(name, column)| (name, column, false)))?;
    Ok(whole(&batch)?)
}

/// The ArrowStream of one record batch.
pub(super) fn whole(batch: &RecordBatch) -> Result<Vec<Bytes>, ArrowError> {
    let mut encoder = StreamEncoder::try_new(&batch.schema())?;
    let mut buffers = encoder.encode(batch)?;
    buffers.extend(encoder.finish()?);
    Ok(joined(buffers))
}

/// A rough size of an event's texts, for the limit.
fn text_len(event: &EventRef<'_>) -> usize {
    let pairs = |pairs: &[(&str, &str)]| pairs.iter().map(|(name, value)| name.len() + value.len()).sum::<usize>();
    let field =
        |error: &FieldErrorRef<'_>| error.field.len() + error.path.len() + error.message.len() + error.rule.len();
    let exception = event.exception.as_ref();
    200 + event.path.len()
        + event.error.len()
        + event.response.len()
        + event.errors.iter().map(field).sum::<usize>()
        + pairs(&event.request_headers)
        + pairs(&event.response_headers)
        + pairs(&event.attributes)
        + exception.map_or(0, |exception| exception.message.len() + exception.stacktrace.len())
}

/// Shorter buffers are copied together: each chunk costs the connection something.
const SHARED_BYTES: usize = 16 << 10;

/// Bytes to send, in order: large buffers as they are, without copying them.
fn joined(buffers: Vec<Buffer>) -> Vec<Bytes> {
    let mut joined = Vec::new();
    let mut short = BytesMut::new();
    for buffer in buffers {
        if buffer.len() < SHARED_BYTES {
            short.extend_from_slice(&buffer);
            continue;
        }
        if !short.is_empty() {
            joined.push(short.split().freeze());
        }
        joined.push(Bytes::from_owner(Shared(buffer)));
    }
    if !short.is_empty() {
        joined.push(short.freeze());
    }
    joined
}

/// A buffer of Arrow's as the owner of bytes.
struct Shared(Buffer);

impl AsRef<[u8]> for Shared {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

/// The second of a timestamp, as ClickHouse's `toDateTime(timestamp)` has it.
pub(super) const fn second_of(timestamp_ms: i64) -> u32 {
    timestamp_ms.div_euclid(1000) as u32
}

/// A word as `origin` and the rollups have it.
pub(super) fn origin_word(word: &str) -> &str {
    if word.contains(ORIGIN_SEPARATOR) { ODD_WORD } else { word }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_of_no_rows_encodes() {
        assert_eq!(encode_empty().unwrap().rows, 0);
    }

    #[test]
    fn a_week_begins_on_monday_at_midnight_utc() {
        let monday = 1_794_787_200_000; // 2026-11-16T00:00:00Z
        let days = |ms: i64| i32::try_from(ms / DAY_MS).unwrap();
        assert_eq!(week_of(monday), days(monday));
        assert_eq!(week_of(monday + 7 * DAY_MS - 1), days(monday));
        assert_eq!(week_of(monday - 1), days(monday) - 7);
        assert_eq!(week_of(-1), -3, "1969-12-31 belongs to the week of Monday, 1969-12-29");
    }
}
