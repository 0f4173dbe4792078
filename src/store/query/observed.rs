//! General errors that were observed: events without field errors, by what they say.

use clickhouse::Row;
use serde::Deserialize;

use super::{Filter, Sql, Store, StoreError, validation::SHORTEST_COUNTED};

/// Events of one status that say the same and name no field.
#[derive(Clone, Debug, PartialEq, Eq, Row, Deserialize)]
pub struct GeneralError {
    pub status: u16,
    pub error: String,
    pub events: u64,
    /// Milliseconds since the Unix epoch.
    pub first_seen: i64,
    pub last_seen: i64,
    /// Request ids, at most five.
    pub samples: Vec<String>,
}

impl Store {
    /// General errors that fit a filter, the most frequent first; `masked`: without what may be somebody's.
    pub async fn general_errors(
        &self,
        project: &str,
        filter: &Filter,
        masked: bool,
        limit: usize,
    ) -> Result<Vec<GeneralError>, StoreError> {
        let mut sql = Sql::new("SELECT status, ");
        if masked {
            sql.push_masked("events.error", SHORTEST_COUNTED);
        } else {
            sql.push("toString(events.error)");
        }
        sql.push(
            " AS error, uniqExact(key) AS events, toUnixTimestamp64Milli(min(timestamp)) AS first_seen, \
             toUnixTimestamp64Milli(max(timestamp)) AS last_seen, groupUniqArray(5)(request_id) AS samples FROM ",
        );
        sql.push(&self.table("events")).push_filter(project, filter);
        sql.push(" AND empty(`errors.field`) GROUP BY status, error ORDER BY events DESC, status, error");
        sql.push(&format!(" LIMIT {limit}"));
        self.rows_of("reading general errors", self.ask_wide(&sql)).await
    }
}
