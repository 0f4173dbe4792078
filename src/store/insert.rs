//! Inserting a batch so that it is atomic, durable and repeatable, and finding out afterwards whether it is there.

use std::{collections::HashSet, time::Duration};

use bytes::Bytes;
use clickhouse::{insert_formatted::InsertFormatted, query::Query};
use uuid::Uuid;

use super::{EncodedBatch, Store, StoreError, traced};
use crate::event::EventKey;

/// A chunk of this size may wait this long for the connection to take it.
const SEND_TIMEOUT: Duration = Duration::from_secs(30);
/// ClickHouse's time for a whole insert after its last byte. (500,000 rows take 2 s on two busy cores.)
const END_TIMEOUT: Duration = Duration::from_secs(120);
/// Time to kill what still runs of a batch; also to count it.
pub(super) const SETTLE_TIMEOUT: Duration = Duration::from_secs(60);
/// Bytes handed to the connection at once; slices, not copies.
const CHUNK: usize = 1 << 20;
/// More rows than any batch: a batch is never split into blocks.
const BLOCK_ROWS: &str = "100000000";

/// One insert is one block, so that it is taken as a whole or not at all.
pub(super) const SETTINGS: [(&str, &str); 9] = [
    ("async_insert", "0"),
    ("max_insert_threads", "1"),
    ("input_format_parallel_parsing", "0"),
    ("max_insert_block_size", BLOCK_ROWS),
    ("min_insert_block_size_rows", BLOCK_ROWS),
    ("min_insert_block_size_bytes", "0"),
    // A null where the column takes none, or a column that is missing, is an error and never a default.
    ("input_format_null_as_default", "0"),
    ("input_format_arrow_allow_missing_columns", "0"),
    // A rollup's block has each cell once: to sum it on arrival costs as much again (docs/decisions/0007-rollups.md).
    ("optimize_on_insert", "0"),
];

/// A table that batches go to.
#[derive(Clone, Copy)]
enum Table {
    Events,
    Index,
}

impl Table {
    const fn name(self) -> &'static str {
        match self {
            Self::Events => "events",
            Self::Index => "request_index",
        }
    }
}

impl Store {
    /// Inserts the rows of a batch into the lookup index. It goes before the events, so that an event that can be searched can be
    /// looked up. Its token is a new one each time: a row too many in it does no harm, one too few would.
    ///
    /// # Errors
    /// [`StoreError`], whose class says what to do next. The index may have been written then: that does no harm.
    pub async fn insert_index(&self, batch_id: Uuid, attempt: u32, index: Vec<Bytes>) -> Result<(), StoreError> {
        // Without a token, plain MergeTree compares contents (`insert_deduplicate` is for replicated tables).
        let token = Uuid::new_v4().to_string();
        let mut insert = self.begin(Table::Index, super::rows::INDEX_COLUMNS, batch_id, attempt, &token);
        insert.send(index).await?;
        insert.end().await
    }

    /// Begins to insert the events of a batch: what [`super::rows::EventStream`] makes is to be sent.
    ///
    /// The deduplication token is the batch and the attempt, so that ClickHouse drops what a proxy sends twice. It is
    /// no more than that: a cancelled insert can leave its token behind without its rows (ClickHouse#111196), so a repetition never
    /// reuses one. What decides is that before every repetition [`Store::settle`] and then [`Store::count_batch`] have
    /// shown what of the batch is stored (not needed after [`super::RetryClass::Resend`]). `attempt` counts from 1.
    #[must_use]
    pub fn insert_events(&self, batch_id: Uuid, attempt: u32) -> Insert {
        self.begin(Table::Events, super::rows::EVENT_COLUMNS, batch_id, attempt, &format!("{batch_id}-{attempt}"))
    }

    /// Inserts a whole batch: its index, then its events.
    ///
    /// # Errors
    /// As [`Store::insert_index`] and [`Insert::end`].
    pub async fn insert(&self, batch: &EncodedBatch, attempt: u32) -> Result<(), StoreError> {
        self.insert_index(batch.batch_id, attempt, batch.index.clone()).await?;
        let mut insert = self.insert_events(batch.batch_id, attempt);
        insert.send(batch.events.clone()).await?;
        insert.end().await
    }

    fn begin(&self, table: Table, columns: &str, batch_id: Uuid, attempt: u32, token: &str) -> Insert {
        let sql = format!("INSERT INTO {}.{} ({columns}) FORMAT ArrowStream", self.database, table.name());
        self.insert_stream(&sql, &query_id(batch_id, table, attempt), token)
    }

    /// Begins one insert of an Arrow stream.
    pub(super) fn insert_stream(&self, sql: &str, query_id: &str, token: &str) -> Insert {
        let mut insert = traced(&self.write)
            .insert_formatted_with(sql)
            .with_timeouts(Some(SEND_TIMEOUT), Some(END_TIMEOUT))
            .with_setting("query_id", query_id)
            .with_setting("insert_deduplication_token", token);
        for (name, value) in SETTINGS {
            insert = insert.with_setting(name, value);
        }
        Insert(insert)
    }

    /// Inserts a batch of no rows into both tables: fails where the tables do not fit the rows this build writes.
    ///
    /// # Errors
    /// As [`Store::insert`].
    pub async fn probe(&self) -> Result<(), StoreError> {
        let batch = super::rows::encode_empty()?;
        self.insert(&batch, 1).await
    }

    /// The keys of a batch's stored rows, as far as they are [stored](EventKey::stored).
    pub async fn batch_keys(&self, batch_id: Uuid, received_ms: (i64, i64)) -> Result<HashSet<EventKey>, StoreError> {
        let query = self.of_batch("DISTINCT key", batch_id, received_ms);
        let keys: Vec<u64> = within(SETTLE_TIMEOUT, "reading a batch's keys", query.fetch_all()).await?;
        Ok(keys.into_iter().map(|key| EventKey(key.into())).collect())
    }

    /// How many rows of a batch are stored. `received_ms` is [`EncodedBatch::received_ms`]: only parts of that time are read.
    ///
    /// More than the batch has means that it was stored twice; reads deduplicate.
    pub async fn count_batch(&self, batch_id: Uuid, received_ms: (i64, i64)) -> Result<u64, StoreError> {
        let query = self.of_batch("count()", batch_id, received_ms);
        within(SETTLE_TIMEOUT, "counting a batch", query.fetch_one()).await
    }

    fn of_batch(&self, what: &str, batch_id: Uuid, received_ms: (i64, i64)) -> Query {
        let sql = format!(
            "SELECT {what} FROM {}.events WHERE batch_id = {{batch:UUID}} AND received_at >= \
             fromUnixTimestamp64Milli({{first:Int64}}, 'UTC') AND received_at <= fromUnixTimestamp64Milli({{last:Int64}}, 'UTC')",
            self.database
        );
        let query = traced(&self.write).query(&sql).param("batch", batch_id.to_string());
        query.param("first", received_ms.0).param("last", received_ms.1).with_setting("max_threads", "1")
    }

    /// Makes sure that no insert of the batch runs any more: kills those that do and waits for their end.
    ///
    /// Afterwards [`Store::count_batch`] is final.
    ///
    /// # Errors
    /// [`StoreError::Unsettled`] when one goes on all the same; settle again later.
    pub async fn settle(&self, batch_id: Uuid) -> Result<(), StoreError> {
        let prefix = format!("{batch_id}-");
        let kill = self
            .write
            .query("KILL QUERY WHERE startsWith(query_id, {prefix:String}) AND user = currentUser() SYNC FORMAT Null")
            .param("prefix", &prefix);
        within(SETTLE_TIMEOUT, "killing inserts of a batch", kill.execute()).await?;
        let running = self
            .write
            .query("SELECT count() FROM system.processes WHERE startsWith(query_id, {prefix:String})")
            .param("prefix", &prefix);
        let running: u64 = within(SETTLE_TIMEOUT, "looking for inserts of a batch", running.fetch_one()).await?;
        if running == 0 { Ok(()) } else { Err(StoreError::Unsettled(batch_id)) }
    }
}

/// An insert under way. Dropped before its end, it stores nothing.
pub struct Insert(InsertFormatted);

impl Insert {
    /// Sends the next bytes of the stream.
    ///
    /// # Errors
    /// [`StoreError`], whose class says what to do next; the insert is over then.
    pub async fn send(&mut self, pieces: Vec<Bytes>) -> Result<(), StoreError> {
        for mut bytes in pieces {
            while !bytes.is_empty() {
                let chunk = bytes.split_to(CHUNK.min(bytes.len()));
                self.0.send(chunk).await?;
            }
        }
        Ok(())
    }

    /// Ends the stream and waits until all of it is stored.
    ///
    /// # Errors
    /// [`StoreError`], whose class says what to do next.
    pub async fn end(self) -> Result<(), StoreError> {
        Ok(self.0.end().await?)
    }
}

fn query_id(batch_id: Uuid, table: Table, attempt: u32) -> String {
    format!("{batch_id}-{attempt}-{}", table.name())
}

/// The crate's queries have no time-out of their own.
pub(super) async fn within<T>(
    limit: Duration,
    what: &'static str,
    answer: impl Future<Output = clickhouse::error::Result<T>>,
) -> Result<T, StoreError> {
    match tokio::time::timeout(limit, answer).await {
        Ok(answer) => Ok(answer?),
        Err(_) => Err(StoreError::TimedOut(what)),
    }
}
