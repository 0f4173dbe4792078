//! ClickHouse as a destination.

use std::collections::HashSet;

use uuid::Uuid;

use super::{BatchRef, Destination, Failure, Index, InsertError, RetryClass, Rows, Stored, rollup::Counts};
use crate::{
    event::{EventKey, codec::DecodeError},
    store::{
        Store, StoreError,
        rollup::{Group, RollupTable},
        rows::{EncodeError, EventStream, encode_index},
    },
};

impl Destination for Store {
    async fn insert(&self, batch: Uuid, attempt: u32, rows: &mut Rows<'_>) -> Result<(), InsertError> {
        if *rows.index == Index::Missing {
            let index = encode_index(rows.index_rows()).map_err(Failure::from)?;
            self.insert_index(batch, attempt, index).await.map_err(Failure::from)?;
            *rows.index = Index::Stored;
        }
        let mut insert = self.insert_events(batch, attempt);
        let mut stream = EventStream::new(batch);
        while let Some(piece) = rows.next_piece()? {
            let rows = piece.rows();
            let events = piece.events().map(|event| event.map_err(Failure::from));
            let bytes = stream.encode(events, rows)?;
            insert.send(bytes).await.map_err(Failure::from)?;
        }
        insert.send(stream.finish().map_err(Failure::from)?).await.map_err(Failure::from)?;
        Ok(insert.end().await.map_err(Failure::from)?)
    }

    async fn takes_empty(&self) -> Result<(), Failure> {
        Ok(self.probe().await?)
    }

    async fn stored_keys(&self, batch: &BatchRef) -> Result<HashSet<EventKey>, Failure> {
        self.settle(batch.id).await?;
        Ok(self.batch_keys(batch.id, batch.received_ms).await?)
    }

    async fn stored(&self, batch: &BatchRef, may_run: bool) -> Result<Stored, Failure> {
        if may_run {
            self.settle(batch.id).await?;
        }
        let count = self.count_batch(batch.id, batch.received_ms).await?;
        if count == 0 {
            return Ok(Stored::Nothing);
        }
        if count == batch.rows as u64 {
            return Ok(Stored::All);
        }
        let keys = self.batch_keys(batch.id, batch.received_ms).await?;
        if keys.len() >= batch.rows {
            // Stored more than once: reads deduplicate by key.
            tracing::warn!(batch = %batch.id, count, rows = batch.rows, "a batch is stored more than once");
            return Ok(Stored::All);
        }
        Ok(Stored::Some(keys))
    }

    async fn roll_up(
        &self,
        group: &Group,
        table: RollupTable,
        counts: Counts<'_>,
        attempt: u32,
    ) -> Result<(), Failure> {
        match counts {
            Counts::Counted(rollups) => Store::roll_up(self, group, table, rollups, attempt).await?,
            Counts::Stored => self.roll_up_stored(group, table, attempt).await?,
        }
        Ok(())
    }

    async fn rolled_up(&self, group: &Group, table: RollupTable, may_run: bool) -> Result<bool, Failure> {
        if may_run {
            self.settle(group.id).await?;
        }
        Ok(Store::rolled_up(self, group, table).await?)
    }
}

impl From<EncodeError> for Failure {
    fn from(error: EncodeError) -> Self {
        StoreError::from(error).into()
    }
}

/// A payload that goes wrong after its head: no attempt at it will succeed.
impl From<DecodeError> for Failure {
    fn from(error: DecodeError) -> Self {
        Self { class: RetryClass::Poison, message: error.to_string() }
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        let class = error.class();
        Self { class, message: error.to_string() }
    }
}
