//! What the tables need from time to time.

use std::time::Duration;

use super::{Store, StoreError, insert::within, rows::week_of};

/// One partition of the index is a few gigabytes at most (11 bytes an event): minutes on a slow disk.
const MERGE_TIMEOUT: Duration = Duration::from_secs(1800);

const LIST_TIMEOUT: Duration = Duration::from_secs(60);

impl Store {
    /// Merges each closed week of the lookup index into one part and returns the weeks (their Mondays).
    ///
    /// A lookup opens every part of the index, so the number of parts is what it costs (docs/decisions/0001-lookup-index.md).
    /// The week of `now_ms` and the one before are left alone: late batches may still come.
    ///
    /// # Errors
    /// When ClickHouse refuses or does not answer; a week that was not merged is taken up again the next time.
    pub async fn merge_closed_weeks(&self, now_ms: i64) -> Result<Vec<String>, StoreError> {
        let open_since = week_of(now_ms) - 7;
        let list = self
            .admin
            .query(
                "SELECT partition FROM system.parts WHERE active AND database = {database:String} \
                 AND table = 'request_index' AND toDate(partition) < toDate({open:Int32}) \
                 GROUP BY partition HAVING count() > 1 ORDER BY partition",
            )
            .param("database", self.database.as_str())
            .param("open", open_since);
        let weeks: Vec<String> = within(LIST_TIMEOUT, "listing closed weeks", list.fetch_all()).await?;
        for week in &weeks {
            let merge = self
                .admin
                .query(&format!("OPTIMIZE TABLE {}.request_index PARTITION {{week:String}} FINAL", self.database))
                .param("week", week);
            within(MERGE_TIMEOUT, "merging a closed week", merge.execute()).await?;
        }
        Ok(weeks)
    }
}
