//! Events as Arrow streams: one for `events`, one for `request_index`.
//!
//! The types here and the tables in `migrations/` belong together. Traps, each met in ClickHouse 26.7: `Int64` →
//! `DateTime64` is silently read as seconds, so times are `Timestamp(ms, "UTC")`; nulls become defaults unless
//! `input_format_null_as_default=0`; `FixedSizeBinary(16)` is read in text order by `UUID`;
//! a dictionary with a value twice is refused.

mod columns;

use std::sync::Arc;

use arrow_array::{ArrayRef, Date32Array, Float64Array, RecordBatch, UInt16Array, UInt32Array, UInt64Array};
use arrow_ipc::writer::StreamWriter;
use arrow_schema::ArrowError;
use bytes::Bytes;
use uuid::Uuid;

use self::columns::{Ends, Texts, Words, sixteens, times};
use super::{
    details::{self, Elsewhere},
    fold::{self, Fold},
};
use crate::event::{Event, EventRef, borrowed::FieldErrorRef, request_id::lookup_key};

/// A batch as it goes to ClickHouse. The same events give the same bytes: a retry is byte-identical.
#[derive(Clone, Debug)]
pub struct EncodedBatch {
    pub batch_id: Uuid,
    /// ArrowStream for `events`.
    pub events: Bytes,
    /// ArrowStream for `request_index`.
    pub index: Bytes,
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
    #[error("the batch holds {0} bytes of text, more than {MAX_TEXT_BYTES}: make smaller batches")]
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

/// Encodes a batch.
///
/// # Errors
/// When there is no event, the events were received in different weeks, or their texts are too large together.
pub fn encode(batch_id: Uuid, events: &[Event]) -> Result<EncodedBatch, EncodeError> {
    let mut encoder = Encoder::new(batch_id, events.len());
    for event in events {
        encoder.push(&EventRef::from(event))?;
    }
    encoder.finish()
}

/// A batch of no rows, to see whether the tables take the columns.
pub fn encode_empty() -> Result<EncodedBatch, EncodeError> {
    Encoder::new(Uuid::new_v4(), 0).into_batch()
}

/// Turns events into columns, one pass over each event.
pub struct Encoder<'a> {
    batch_id: Uuid,
    /// First and last time of receipt.
    received_ms: Option<(i64, i64)>,
    text_bytes: usize,
    events: EventColumns<'a>,
    index: IndexColumns,
    /// Where details are put together.
    json: Vec<u8>,
}

impl<'a> Encoder<'a> {
    #[must_use]
    pub fn new(batch_id: Uuid, rows: usize) -> Self {
        Self {
            batch_id,
            received_ms: None,
            text_bytes: 0,
            events: EventColumns::with_capacity(rows),
            index: IndexColumns::with_capacity(rows),
            json: Vec::new(),
        }
    }

    /// Adds an event.
    ///
    /// # Errors
    /// When it was received in another week than those before, or the texts are too large together.
    pub fn push(&mut self, event: &EventRef<'a>) -> Result<(), EncodeError> {
        let (first, last) = self.received_ms.unwrap_or((event.received_at_ms, event.received_at_ms));
        if week_of(first) != week_of(event.received_at_ms) {
            return Err(EncodeError::SpansWeeks);
        }
        self.received_ms = Some((first.min(event.received_at_ms), last.max(event.received_at_ms)));
        self.text_bytes += text_len(event);
        if self.text_bytes > MAX_TEXT_BYTES {
            return Err(EncodeError::TooLarge(self.text_bytes));
        }
        self.events.push(event, &mut self.json);
        self.index.push(event);
        Ok(())
    }

    /// The batch of what was added.
    ///
    /// # Errors
    /// When nothing was.
    pub fn finish(self) -> Result<EncodedBatch, EncodeError> {
        if self.received_ms.is_none() { Err(EncodeError::Empty) } else { self.into_batch() }
    }

    fn into_batch(self) -> Result<EncodedBatch, EncodeError> {
        let rows = self.index.keys.len();
        Ok(EncodedBatch {
            batch_id: self.batch_id,
            events: stream(&self.events.finish(self.batch_id)?, self.text_bytes + rows * 100)?,
            index: stream(&self.index.finish()?, rows * 16)?,
            rows,
            received_ms: self.received_ms.unwrap_or_default(),
        })
    }
}

/// A rough size of an event's texts, for the limit and for the buffer.
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

fn stream(batch: &RecordBatch, size_hint: usize) -> Result<Bytes, ArrowError> {
    let mut writer = StreamWriter::try_new(Vec::with_capacity(size_hint), &batch.schema())?;
    writer.write(batch)?;
    Ok(writer.into_inner()?.into())
}

/// The rows of `request_index`.
struct IndexColumns {
    keys: Vec<u64>,
    seconds: Vec<u32>,
    weeks: Vec<i32>,
}

impl IndexColumns {
    fn with_capacity(rows: usize) -> Self {
        let (keys, seconds, weeks) = (Vec::with_capacity(rows), Vec::with_capacity(rows), Vec::with_capacity(rows));
        Self { keys, seconds, weeks }
    }

    fn push(&mut self, event: &EventRef<'_>) {
        self.keys.push(index_key(lookup_key(event.request_id, event.project)));
        self.seconds.push(second_of(event.timestamp_ms));
        self.weeks.push(week_of(event.received_at_ms));
    }

    fn finish(self) -> Result<RecordBatch, ArrowError> {
        let columns: [(&str, ArrayRef); 3] = [
            ("k", Arc::new(UInt64Array::new(self.keys.into(), None))),
            ("second", Arc::new(UInt32Array::new(self.seconds.into(), None))),
            ("week", Arc::new(Date32Array::new(self.weeks.into(), None))),
        ];
        RecordBatch::try_from_iter_with_nullable(columns.map(|(name, column)| (name, column, false)))
    }
}

/// The second of a timestamp, as ClickHouse's `toDateTime(timestamp)` has it.
pub(super) const fn second_of(timestamp_ms: i64) -> u32 {
    timestamp_ms.div_euclid(1000) as u32
}

/// The rows of `events`.
struct EventColumns<'a> {
    projects: Words<&'a str>,
    timestamps: Vec<i64>,
    received: Vec<i64>,
    keys: Vec<u64>,
    request_uuids: Vec<u8>,
    request_texts: Texts,
    statuses: Vec<u16>,
    origins: Words<[&'a str; 5]>,
    hosts: Words<&'a str>,
    path_values: Texts,
    errors: Words<&'a str>,
    field_ends: Ends,
    fields: Words<&'a str>,
    messages: Words<&'a str>,
    rules: Words<&'a str>,
    bodies: Texts,
    account_ids: Texts,
    user_ids: Texts,
    durations: Vec<Option<f64>>,
    client_ips: Vec<u32>,
    user_agents: Words<&'a str>,
    fingerprints: Vec<u64>,
    details: Texts,
}

impl<'a> EventColumns<'a> {
    fn with_capacity(rows: usize) -> Self {
        Self {
            projects: Words::with_capacity(rows),
            timestamps: Vec::with_capacity(rows),
            received: Vec::with_capacity(rows),
            keys: Vec::with_capacity(rows),
            request_uuids: Vec::with_capacity(rows * 16),
            request_texts: Texts::with_capacity(rows),
            statuses: Vec::with_capacity(rows),
            origins: Words::with_capacity(rows),
            hosts: Words::with_capacity(rows),
            path_values: Texts::with_capacity(rows),
            errors: Words::with_capacity(rows),
            field_ends: Ends::with_capacity(rows),
            fields: Words::with_capacity(rows),
            messages: Words::with_capacity(rows),
            rules: Words::with_capacity(rows),
            bodies: Texts::with_capacity(rows),
            account_ids: Texts::with_capacity(rows),
            user_ids: Texts::with_capacity(rows),
            durations: Vec::with_capacity(rows),
            client_ips: Vec::with_capacity(rows),
            user_agents: Words::with_capacity(rows),
            fingerprints: Vec::with_capacity(rows),
            details: Texts::with_capacity(rows),
        }
    }

    fn push(&mut self, event: &EventRef<'a>, json: &mut Vec<u8>) {
        self.projects.push(event.project);
        self.timestamps.push(event.timestamp_ms);
        self.received.push(event.received_at_ms);
        self.keys.push(event.key.stored());
        let (uuid, text) = request_columns(event.request_id);
        self.request_uuids.extend_from_slice(uuid.as_bytes());
        self.request_texts.push(text);
        self.statuses.push(event.status);
        let origin = [event.service, event.environment, event.release, event.method, event.route];
        let words = origin.map(origin_word);
        self.origins.push_with(words, |texts| texts.push(&origin_text(words)));
        self.hosts.push(event.host);
        self.errors.push(event.error);
        self.field_ends.push(event.errors.len());
        for error in &event.errors {
            self.fields.push(error.field);
            self.messages.push(error.message);
            self.rules.push(error.rule);
        }
        self.account_ids.push(event.account_id);
        self.user_ids.push(event.user_id);
        self.durations.push(event.duration_ms);
        self.user_agents.push(event.user_agent);
        self.fingerprints.push(event.fingerprint);
        self.push_folded(event, origin, json);
    }

    /// The columns in which an event says nothing twice.
    fn push_folded(&mut self, event: &EventRef<'a>, origin: [&str; 5], json: &mut Vec<u8>) {
        let fold = Fold::of(event);
        match &fold {
            Some(fold) => self.bodies.push(&fold.fold(event.response)),
            None => self.bodies.push(event.response),
        }
        let path_values = fold::path_values(event.route, event.path);
        self.path_values.push(path_values.as_deref().unwrap_or_default());
        let client_ip = ip4(event.client_ip);
        self.client_ips.push(client_ip.unwrap_or_default());
        let elsewhere = Elsewhere {
            fold: fold.as_ref(),
            origin: !origin.iter().any(|word| word.contains(ORIGIN_SEPARATOR)),
            path: path_values.is_some(),
            client_ip: client_ip.is_some(),
        };
        details::write(event, elsewhere, json);
        self.details.push_bytes(json);
    }

    fn finish(self, batch_id: Uuid) -> Result<RecordBatch, ArrowError> {
        let rows = self.keys.len();
        let [fields, messages, rules] =
            self.field_ends.finish([self.fields.finish()?, self.messages.finish()?, self.rules.finish()?])?;
        let columns: [(&str, ArrayRef); 23] = [
            ("project", self.projects.finish()?),
            ("timestamp", times(self.timestamps)),
            ("received_at", times(self.received)),
            ("key", Arc::new(UInt64Array::new(self.keys.into(), None))),
            ("batch_id", sixteens(batch_id.as_bytes().repeat(rows))?),
            ("request_uuid", sixteens(self.request_uuids)?),
            ("request_text", self.request_texts.finish()?),
            ("status", Arc::new(UInt16Array::new(self.statuses.into(), None))),
            ("origin", self.origins.finish()?),
            ("host", self.hosts.finish()?),
            ("path_values", self.path_values.finish()?),
            ("error", self.errors.finish()?),
            ("errors.field", fields),
            ("errors.message", messages),
            ("errors.rule", rules),
            ("body", self.bodies.finish()?),
            ("account_id", self.account_ids.finish()?),
            ("user_id", self.user_ids.finish()?),
            (DURATION, Arc::new(Float64Array::from(self.durations))),
            ("client_ip4", Arc::new(UInt32Array::new(self.client_ips.into(), None))),
            ("user_agent", self.user_agents.finish()?),
            ("fingerprint", Arc::new(UInt64Array::new(self.fingerprints.into(), None))),
            ("details", self.details.finish()?),
        ];
        RecordBatch::try_from_iter_with_nullable(columns.map(|(name, column)| (name, column, name == DURATION)))
    }
}

/// The one column that has nulls.
const DURATION: &str = "duration_ms";

/// A word as `origin` and the rollups have it.
pub(super) fn origin_word(word: &str) -> &str {
    if word.contains(ORIGIN_SEPARATOR) { ODD_WORD } else { word }
}

/// The words of an origin as the column holds them.
fn origin_text(words: [&str; 5]) -> String {
    let mut text = String::with_capacity(words.iter().map(|word| word.len() + 1).sum());
    for (index, word) in words.into_iter().enumerate() {
        if index > 0 {
            text.push(ORIGIN_SEPARATOR);
        }
        text.push_str(word);
    }
    text
}

/// An IPv4 address as a number, if it reads back as the same text; 0 stands for none.
fn ip4(text: &str) -> Option<u32> {
    if text.is_empty() {
        return Some(0);
    }
    text.parse::<std::net::Ipv4Addr>().ok().map(u32::from).filter(|address| *address != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_of_no_rows_encodes() {
        assert_eq!(encode_empty().unwrap().rows, 0);
    }

    /// A dictionary with a text twice is refused.
    #[test]
    fn different_origins_are_different_words_of_the_dictionary() {
        let odd = ["a\u{1f}b", "a\u{fffd}b", "\u{fffd}", "a", "\u{1f}"];
        let words: Vec<_> = odd.map(|service| [service, "", "", "", ""].map(origin_word)).to_vec();
        for (one, other) in words.iter().flat_map(|one| words.iter().map(move |other| (one, other))) {
            assert_eq!(one == other, origin_text(*one) == origin_text(*other), "{one:?} {other:?}");
        }
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
