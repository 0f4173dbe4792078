//! How long rows are kept: the tables' TTL, altered at start where the configuration says otherwise.

use clickhouse::Client;

use super::{Database, MigrateError, STATEMENT_TIMEOUT, bounded, run};

/// A table whose rows expire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ttl {
    pub table: &'static str,
    /// The time a row goes by, a `Date` or `DateTime`: `toDateTime(received_at)`.
    pub time: &'static str,
    /// Days beyond the configured retention.
    pub extra_days: u32,
}

/// Makes the tables keep rows for `days`; returns the tables that were altered.
///
/// The new rule is noted in the existing parts too, in the background (else a part that is merged no more would keep
/// its rows by the old one for ever). A table with `materialize_ttl_recalculate_only = 1` is not rewritten by that.
pub async fn apply_retention(
    admin: &Client,
    database: &Database,
    list: &[Ttl],
    days: u32,
) -> Result<Vec<&'static str>, MigrateError> {
    let failed = |source| MigrateError::ClickHouse { action: "set the retention of a table", source };
    let mut altered = Vec::new();
    for ttl in list {
        let select = admin
            .query_raw(
                "SELECT engine_full FROM system.tables WHERE database = {database:String} AND name = {table:String}",
            )
            .param("database", database.as_str())
            .param("table", ttl.table);
        let engine: String = bounded(STATEMENT_TIMEOUT, select.fetch_one()).await.map_err(failed)?;
        let days = days.saturating_add(ttl.extra_days);
        if days_in(&engine) == Some(days) {
            continue;
        }
        let alter = format!(
            "ALTER TABLE {database}.{} MODIFY TTL {} + toIntervalDay({days}) SETTINGS materialize_ttl_after_modify = 1",
            ttl.table, ttl.time
        );
        run(admin, &alter).await.map_err(failed)?;
        altered.push(ttl.table);
    }
    Ok(altered)
}

/// The days of the TTL in a table's definition as ClickHouse writes it: `… TTL x + toIntervalDay(90) SETTINGS …`.
fn days_in(engine: &str) -> Option<u32> {
    let (_, ttl) = engine.split_once(" TTL ")?;
    let (_, days) = ttl.split_once("toIntervalDay(")?;
    days.split_once(')')?.0.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_days_of_a_ttl_are_read_from_the_definition() {
        let engine = "MergeTree ORDER BY a TTL toDateTime(b) + toIntervalDay(90) SETTINGS index_granularity = 8192";
        assert_eq!(days_in(engine), Some(90));
        assert_eq!(days_in("MergeTree ORDER BY a SETTINGS index_granularity = 8192"), None);
    }
}
