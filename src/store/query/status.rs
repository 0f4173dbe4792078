//! How ClickHouse and a project are: does it answer, what does it hold.

use clickhouse::Row;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{Sql, Store, StoreError, Value};

/// What is stored of a project.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema, Row)]
pub struct ProjectSpan {
    /// Oldest and newest timestamp, milliseconds since the Unix epoch.
    pub first_ms: i64,
    pub last_ms: i64,
    /// Stored rows: an event that was stored twice counts twice until it is merged away by retention.
    pub events: u64,
}

/// Size of a table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema, Row)]
pub struct TableParts {
    pub table: String,
    /// Active parts: many of them slow down reads and, past 1,000 in a partition, inserts.
    pub parts: u64,
    pub rows: u64,
    /// On disk.
    pub bytes: u64,
}

impl Store {
    /// Whether ClickHouse answers the reader.
    pub async fn ping(&self) -> Result<(), StoreError> {
        self.rows::<u8>("ping", &Sql::new("SELECT 1")).await.map(drop)
    }

    /// From when to when there are events of a project, and how many; none when there are none. Reads the primary key only.
    pub async fn project_span(&self, project: &str) -> Result<Option<ProjectSpan>, StoreError> {
        let table = self.table("events");
        let mut sql = Sql::new("SELECT ");
        for (name, order) in [("first_ms", "ASC"), ("last_ms", "DESC")] {
            sql.push("(SELECT toUnixTimestamp64Milli(timestamp) FROM ").push(&table);
            sql.push_value(" WHERE project = {}", Value::Text(project.to_owned()));
            sql.push(&format!(" ORDER BY timestamp {order} LIMIT 1) AS {name}, "));
        }
        sql.push("(SELECT count() FROM ").push(&table);
        sql.push_value(" WHERE project = {}) AS events", Value::Text(project.to_owned()));
        let mut outer = Sql::new("SELECT assumeNotNull(first_ms) AS first_ms, assumeNotNull(last_ms) AS last_ms, ");
        outer.push("assumeNotNull(events) AS events FROM (").push(&sql.text).push(") WHERE events > 0");
        outer.params = sql.params;
        // The exact count of a key range comes from the marks, by way of an implicit projection.
        let query = self.ask(&outer).with_setting("optimize_use_projections", "1");
        let query = query.with_setting("optimize_use_implicit_projections", "1");
        Ok(self.rows_of("reading a project's span", query).await?.pop())
    }

    /// Whether there is an event of a project by a moment (milliseconds since the Unix epoch), itself included: a part of [`Store::project_span`] that
    /// takes a fraction of it.
    pub async fn has_events_by(&self, project: &str, at_ms: i64) -> Result<bool, StoreError> {
        let mut sql = Sql::new("SELECT toUInt8(1) FROM ");
        sql.push(&self.table("events")).push_value(" WHERE project = {}", Value::Text(project.to_owned()));
        sql.push_value(" AND timestamp <= fromUnixTimestamp64Milli({}, 'UTC') LIMIT 1", Value::Int(at_ms));
        Ok(!self.rows_of::<u8>("looking for a project's first event", self.ask_plainly(&sql)).await?.is_empty())
    }

    /// Parts, rows and bytes of our tables.
    pub async fn parts(&self) -> Result<Vec<TableParts>, StoreError> {
        let query = self
            .admin
            .query(
                "SELECT table, count() AS parts, sum(rows) AS rows, sum(bytes_on_disk) AS bytes FROM system.parts \
                 WHERE active AND database = {database:String} GROUP BY table ORDER BY table SETTINGS prefer_column_name_to_alias = 1",
            )
            .param("database", self.database.as_str());
        self.answered("reading the parts", query.fetch_all()).await
    }
}
