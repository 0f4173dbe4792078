//! ClickHouse as a destination.

use std::collections::HashSet;

use uuid::Uuid;

use super::{BatchRef, Destination, Failure, Stored, rollup::Counts};
use crate::{
    event::{Event, EventKey},
    store::{
        self, Store, StoreError,
        rollup::{Group, RollupTable},
    },
};

impl Destination for Store {
    async fn insert(&self, batch: Uuid, attempt: u32, events: &[Event]) -> Result<(), Failure> {
        let encoded = store::encode(batch, events).map_err(StoreError::from)?;
        Ok(Store::insert(self, &encoded, attempt).await?)
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
        let added = match counts {
            Counts::Counted(rollups) => Store::roll_up(self, group, table, rollups, attempt).await,
            Counts::Stored => self.roll_up_stored(group, table, attempt).await,
        };
        Ok(added?)
    }

    async fn rolled_up(&self, group: &Group, table: RollupTable, may_run: bool) -> Result<bool, Failure> {
        if may_run {
            self.settle(group.id).await?;
        }
        Ok(Store::rolled_up(self, group, table).await?)
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        let class = error.class();
        Self { class, message: error.to_string() }
    }
}
