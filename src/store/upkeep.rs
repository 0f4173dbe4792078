//! What the tables need from time to time.

use std::time::Duration;

use super::{Store, StoreError, insert::within, rollup::RollupTable, rows::week_of};

/// Tables by week (of receipt; request totals: of their minutes) whose reads open every part.
const WEEKLY: [&str; 9] = [
    "request_index",
    RollupTable::Counts.name(),
    RollupTable::Failures.name(),
    RollupTable::FailureDays.name(),
    RollupTable::FailureCounts.name(),
    RollupTable::Accounts.name(),
    RollupTable::Issues.name(),
    "request_totals",
    "request_totals_hours",
];

/// One partition of the index is a few gigabytes at most (11 bytes an event): minutes on a slow disk.
const MERGE_TIMEOUT: Duration = Duration::from_secs(1800);

const LIST_TIMEOUT: Duration = Duration::from_secs(60);

impl Store {
    /// Merges each closed week of the lookup index, the rollups and the request totals into one part; returns table and week (its Monday).
    ///
    /// A read opens every part, so the number of parts is what a lookup costs (docs/decisions/0001-lookup-index.md); a rollup's
    /// cells are fewest when they are merged.
    /// The week of `now_ms` and the one before are left alone: late batches may still come.
    ///
    /// # Errors
    /// When ClickHouse refuses or does not answer; a week that was not merged is taken up again the next time.
    pub async fn merge_closed_weeks(&self, now_ms: i64) -> Result<Vec<(String, String)>, StoreError> {
        let open_since = week_of(now_ms) - 7;
        let list = self
            .admin
            .query(
                "SELECT table, partition FROM system.parts WHERE active AND database = {database:String} \
                 AND has({tables:Array(String)}, table) AND toDate(partition) < toDate({open:Int32}) \
                 GROUP BY table, partition HAVING count() > 1 ORDER BY table, partition",
            )
            .param("database", self.database.as_str())
            .param("tables", WEEKLY.as_slice())
            .param("open", open_since);
        let weeks: Vec<(String, String)> = within(LIST_TIMEOUT, "listing closed weeks", list.fetch_all()).await?;
        for (table, week) in &weeks {
            let merge = self
                .admin
                .query(&format!("OPTIMIZE TABLE {}.{table} PARTITION {{week:String}} FINAL", self.database))
                .param("week", week);
            within(MERGE_TIMEOUT, "merging a closed week", merge.execute()).await?;
        }
        Ok(weeks)
    }
}
