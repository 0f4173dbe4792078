//! How long events are kept. ClickHouse drops whole parts when everything in them is past its time, so an event lives up to a week
//! longer than asked for and nothing is ever rewritten.

use std::{sync::atomic::Ordering, time::Duration};

use super::{Store, StoreError, insert::within};

/// What the migrations set.
pub const DEFAULT_DAYS: u32 = 90;

/// The lookup index outlives the events by this, so that a lookup can tell "expired" from "never received".
pub const INDEX_EXTRA_DAYS: u32 = 30;

/// An event's part is dropped at the latest this long after the event's own time.
const PART_DAYS: u32 = 7;

const ALTER_TIMEOUT: Duration = Duration::from_secs(60);

impl Store {
    /// Keeps events for `days` from their receipt; alters the tables only when they say otherwise.
    ///
    /// # Errors
    /// When ClickHouse refuses or does not answer.
    pub async fn apply_retention(&self, days: u32) -> Result<(), StoreError> {
        self.alter_ttl("events", "toDateTime(received_at)", days).await?;
        self.alter_ttl("request_index", "week", days + PART_DAYS + INDEX_EXTRA_DAYS).await?;
        self.retention_days.store(days, Ordering::Relaxed);
        Ok(())
    }

    async fn alter_ttl(&self, table: &str, since: &str, days: u32) -> Result<(), StoreError> {
        let current = self
            .admin
            .query("SELECT engine_full FROM system.tables WHERE database = {database:String} AND name = {table:String}")
            .param("database", &self.database)
            .param("table", table);
        let current: String = within(ALTER_TIMEOUT, "reading a table's definition", current.fetch_one()).await?;
        if current.contains(&format!("TTL {since} + toIntervalDay({days})")) {
            return Ok(());
        }
        let alter = format!("ALTER TABLE {}.{table} MODIFY TTL {since} + toIntervalDay({days})", self.database);
        within(ALTER_TIMEOUT, "altering a table's retention", self.admin.query(&alter).execute()).await
    }

    /// Whether everything received in the week that begins on `week` (days since the Unix epoch) is past its retention.
    pub(super) fn is_expired(&self, week: i32, now_ms: i64) -> bool {
        let last_kept = i64::from(week) + i64::from(self.retention_days.load(Ordering::Relaxed));
        now_ms.div_euclid(86_400_000) >= last_kept
    }
}
