//! Events as Arrow streams: one record batch for `events`, one for `request_index`.
//!
//! The types here and the tables in `migrations/` belong together. Traps, each met in ClickHouse 26.7: `Int64` →
//! `DateTime64` is silently read as seconds, so times are `Timestamp(ms, "UTC")`; nulls become defaults unless
//! `input_format_null_as_default=0`; `FixedSizeBinary(16)` is read in text order by `UUID` and little-endian by `UInt128`;
//! a dictionary with a value twice is refused.

use std::{borrow::Cow, sync::Arc};

use arrow_array::{
    ArrayRef, BooleanArray, Date32Array, DictionaryArray, FixedSizeBinaryArray, Float64Array, Int64Array, RecordBatch,
    StringArray, TimestampMillisecondArray, UInt16Array, UInt32Array, UInt64Array,
    builder::{ArrayBuilder, ListBuilder, MapBuilder, StringBuilder, StringDictionaryBuilder},
    types::Int32Type,
};
use arrow_ipc::writer::StreamWriter;
use arrow_schema::ArrowError;
use bytes::Bytes;
use uuid::Uuid;

use super::fold;
use crate::event::{Event, FieldError};

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
pub(super) const INDEX_COLUMNS: &str = "k, timestamp, week";

/// The columns that [`EncodedBatch::events`] fills, as they stand in an INSERT. (Named, so that a column a later migration adds
/// takes its default in inserts of an older collector.)
pub(super) const EVENT_COLUMNS: &str = "project, key, batch_id, event_id, request_id, timestamp, received_at, status, service, \
    environment, release, host, method, path, route, error, error_template, code, `errors.field`, `errors.path`, \
    `errors.message`, `errors.rule`, fingerprint, marks, account_id, user_id, duration_ms, rate_limit_reported, rate_limit, \
    rate_limit_remaining, rate_limit_reset, client_ip, user_agent, trace_id, span_id, folded, response_folded, \
    request_headers, response_headers, has_exception, exception_type, exception_message, exception_stacktrace, attributes";

/// Arrow's texts of one column are addressed by 31 bits.
const MAX_TEXT_BYTES: usize = 1 << 30;

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

/// Encodes a batch.
///
/// # Errors
/// When there is no event, the events were received in different weeks, or their texts are too large together.
pub fn encode(batch_id: Uuid, events: &[Event]) -> Result<EncodedBatch, EncodeError> {
    let received = || events.iter().map(|event| event.received_at_ms);
    let (Some(first), Some(last)) = (received().min(), received().max()) else { return Err(EncodeError::Empty) };
    if week_of(first) != week_of(last) {
        return Err(EncodeError::SpansWeeks);
    }
    let text_bytes = events.iter().map(text_len).sum();
    if text_bytes > MAX_TEXT_BYTES {
        return Err(EncodeError::TooLarge(text_bytes));
    }
    Ok(EncodedBatch {
        batch_id,
        events: stream(&event_columns(batch_id, events)?, text_bytes)?,
        index: stream(&index_columns(events)?, events.len() * 24)?,
        rows: events.len(),
        received_ms: (first, last),
    })
}

/// A batch of no rows, to see whether the tables take the columns.
pub fn encode_empty() -> Result<EncodedBatch, EncodeError> {
    let batch_id = Uuid::new_v4();
    Ok(EncodedBatch {
        batch_id,
        events: stream(&event_columns(batch_id, &[])?, 0)?,
        index: stream(&index_columns(&[])?, 0)?,
        rows: 0,
        received_ms: (0, 0),
    })
}

/// A rough size of an event's texts, for the limit and for the buffer.
fn text_len(event: &Event) -> usize {
    let pairs = |pairs: &[(String, String)]| pairs.iter().map(|(name, value)| name.len() + value.len()).sum::<usize>();
    let field = |error: &FieldError| error.field.len() + error.path.len() + error.message.len() + error.rule.len();
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

fn index_columns(events: &[Event]) -> Result<RecordBatch, ArrowError> {
    let keys = events.iter().map(|event| event.request_id.lookup_key(&event.project));
    let weeks = events.iter().map(|event| week_of(event.received_at_ms));
    let columns: [(&str, ArrayRef); 3] = [
        ("k", Arc::new(UInt64Array::from_iter_values(keys))),
        ("timestamp", times(events.iter().map(|event| event.timestamp_ms))),
        ("week", Arc::new(Date32Array::from_iter_values(weeks))),
    ];
    RecordBatch::try_from_iter_with_nullable(columns.map(|(name, column)| (name, column, false)))
}

fn event_columns(batch_id: Uuid, events: &[Event]) -> Result<RecordBatch, ArrowError> {
    let columns = identity_columns(batch_id, events)?
        .into_iter()
        .chain(error_columns(events))
        .chain(client_columns(events))
        .chain(detail_columns(events)?);
    RecordBatch::try_from_iter_with_nullable(columns.map(|(name, column)| {
        let nullable = column.null_count() > 0;
        (name, column, nullable)
    }))
}

type Columns = Vec<(&'static str, ArrayRef)>;

fn identity_columns(batch_id: Uuid, events: &[Event]) -> Result<Columns, ArrowError> {
    let keys = events.iter().map(|event| event.key.0.to_le_bytes());
    let batches = std::iter::repeat_n(batch_id.into_bytes(), events.len());
    Ok(vec![
        ("project", words(events, |event| &event.project)),
        ("key", sixteen_bytes(keys)?),
        ("batch_id", sixteen_bytes(batches)?),
        ("event_id", texts(events, |event| &event.event_id)),
        ("request_id", texts(events, |event| event.request_id.as_str())),
        ("timestamp", times(events.iter().map(|event| event.timestamp_ms))),
        ("received_at", times(events.iter().map(|event| event.received_at_ms))),
        ("status", Arc::new(UInt16Array::from_iter_values(events.iter().map(|event| event.status)))),
        ("service", words(events, |event| &event.service)),
        ("environment", words(events, |event| &event.environment)),
        ("release", words(events, |event| &event.release)),
        ("host", words(events, |event| &event.host)),
        ("method", words(events, |event| &event.method)),
        ("path", texts(events, |event| &event.path)),
        ("route", words(events, |event| &event.route)),
    ])
}

fn error_columns(events: &[Event]) -> Columns {
    vec![
        ("error", texts(events, |event| &event.error)),
        ("error_template", words(events, |event| &event.error_template)),
        ("code", words(events, |event| &event.code)),
        ("errors.field", word_lists(events, |error| &error.field)),
        ("errors.path", text_lists(events, |error| &error.path)),
        ("errors.message", text_lists(events, |error| &error.message)),
        ("errors.rule", word_lists(events, |error| &error.rule)),
        ("fingerprint", Arc::new(UInt64Array::from_iter_values(events.iter().map(|event| event.fingerprint)))),
        ("marks", Arc::new(UInt32Array::from_iter_values(events.iter().map(|event| event.marks.0)))),
    ]
}

fn client_columns(events: &[Event]) -> Columns {
    let limits = || events.iter().map(|event| event.rate_limit.unwrap_or_default());
    vec![
        ("account_id", texts(events, |event| &event.account_id)),
        ("user_id", texts(events, |event| &event.user_id)),
        ("duration_ms", Arc::new(events.iter().map(|event| event.duration_ms).collect::<Float64Array>())),
        ("rate_limit_reported", flags(events, |event| event.rate_limit.is_some())),
        ("rate_limit", Arc::new(limits().map(|limit| limit.limit).collect::<UInt64Array>())),
        ("rate_limit_remaining", Arc::new(limits().map(|limit| limit.remaining).collect::<UInt64Array>())),
        ("rate_limit_reset", Arc::new(limits().map(|limit| limit.reset).collect::<Int64Array>())),
        ("client_ip", texts(events, |event| &event.client_ip)),
        ("user_agent", words(events, |event| &event.user_agent)),
        ("trace_id", texts(events, |event| &event.trace_id)),
        ("span_id", texts(events, |event| &event.span_id)),
    ]
}

fn detail_columns(events: &[Event]) -> Result<Columns, ArrowError> {
    let folded: Vec<bool> = events.iter().map(fold::applies).collect();
    let responses = events
        .iter()
        .zip(&folded)
        .map(|(event, &folded)| fold::fold(&event.response, event.request_id.as_str(), folded));
    let exception = |event: &'_ Event| event.exception.is_some();
    Ok(vec![
        ("folded", Arc::new(BooleanArray::from(folded.clone()))),
        ("response_folded", Arc::new(StringArray::from_iter_values(responses))),
        ("request_headers", maps(events, &folded, |event| &event.request_headers)?),
        ("response_headers", maps(events, &folded, |event| &event.response_headers)?),
        ("has_exception", flags(events, exception)),
        ("exception_type", words(events, |event| event.exception.as_ref().map_or("", |e| &e.r#type))),
        ("exception_message", texts(events, |event| event.exception.as_ref().map_or("", |e| &e.message))),
        ("exception_stacktrace", texts(events, |event| event.exception.as_ref().map_or("", |e| &e.stacktrace))),
        ("attributes", maps(events, &vec![false; events.len()], |event| &event.attributes)?),
    ])
}

/// Also of no values, which `FixedSizeBinaryArray::try_from_iter` refuses.
fn sixteen_bytes(values: impl Iterator<Item = [u8; 16]>) -> Result<ArrayRef, ArrowError> {
    let bytes: Vec<u8> = values.flatten().collect();
    Ok(Arc::new(FixedSizeBinaryArray::try_new(16, bytes.into(), None)?))
}

/// Texts of high cardinality.
fn texts(events: &[Event], of: impl Fn(&Event) -> &str) -> ArrayRef {
    Arc::new(StringArray::from_iter_values(events.iter().map(of)))
}

/// Texts that repeat: a dictionary, which `LowCardinality` takes over without hashing each row.
fn words(events: &[Event], of: impl Fn(&Event) -> &str) -> ArrayRef {
    Arc::new(events.iter().map(|event| Some(of(event))).collect::<DictionaryArray<Int32Type>>())
}

fn flags(events: &[Event], of: impl Fn(&Event) -> bool) -> ArrayRef {
    Arc::new(events.iter().map(|event| Some(of(event))).collect::<BooleanArray>())
}

fn times(milliseconds: impl Iterator<Item = i64>) -> ArrayRef {
    Arc::new(TimestampMillisecondArray::from_iter_values(milliseconds).with_timezone("UTC"))
}

fn text_lists(events: &[Event], of: impl Fn(&FieldError) -> &str) -> ArrayRef {
    lists(events, StringBuilder::new(), |values, error| values.append_value(of(error)))
}

fn word_lists(events: &[Event], of: impl Fn(&FieldError) -> &str) -> ArrayRef {
    lists(events, StringDictionaryBuilder::<Int32Type>::new(), |values, error| values.append_value(of(error)))
}

fn lists<B: ArrayBuilder>(events: &[Event], values: B, append: impl Fn(&mut B, &FieldError)) -> ArrayRef {
    let mut lists = ListBuilder::with_capacity(values, events.len());
    for event in events {
        for error in &event.errors {
            append(lists.values(), error);
        }
        lists.append(true);
    }
    Arc::new(lists.finish())
}

fn maps(events: &[Event], folded: &[bool], of: impl Fn(&Event) -> &[(String, String)]) -> Result<ArrayRef, ArrowError> {
    let mut maps = MapBuilder::with_capacity(
        None,
        StringDictionaryBuilder::<Int32Type>::new(),
        StringBuilder::new(),
        events.len(),
    );
    for (event, &folded) in events.iter().zip(folded) {
        for (name, value) in of(event) {
            maps.keys().append_value(name);
            let value: Cow<'_, str> = fold::fold(value, event.request_id.as_str(), folded);
            maps.values().append_value(value);
        }
        maps.append(true)?;
    }
    Ok(Arc::new(maps.finish()))
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
