//! Adding a group to a rollup, and asking whether it is in.

use std::{collections::BTreeSet, time::Duration};

use bytes::Bytes;
use uuid::Uuid;

use super::{
    Group, ISSUE_COLUMNS, RELEASE_COLUMNS, RollupTable, Rollups,
    encode::{encode, encode_issues, encode_releases},
    issues::Seen,
    sql,
};
use crate::store::{
    Store, StoreError,
    insert::{SETTINGS, SETTLE_TIMEOUT, within},
    rows::EncodeError,
};

/// Counting a group from its stored events: at most some hundred thousand of them, in parts that hold others too.
const COUNT_TIMEOUT: Duration = Duration::from_secs(300);

impl Store {
    /// Adds a group's rollups and its marker to one table, as one block. The caller has made sure that it is not in.
    ///
    /// # Errors
    /// [`StoreError`], whose class says what to do next.
    pub async fn roll_up(
        &self,
        group: &Group,
        table: RollupTable,
        rollups: &Rollups,
        attempt: u32,
    ) -> Result<(), StoreError> {
        if table == RollupTable::Issues {
            self.insert_issues(group, rollups, attempt).await?;
            self.insert_releases(group, rollups, attempt).await?;
        }
        let data = encode(group, table, rollups).map_err(EncodeError::from)?;
        let sql = format!("INSERT INTO {}.{} ({}) FORMAT ArrowStream", self.database, table.name(), table.columns());
        let query_id = query_id(group, table, attempt);
        // A new token each time: it is for a proxy that sends the same twice. What decides is the marker.
        let mut insert = self.insert_stream(&sql, &query_id, &Uuid::new_v4().to_string());
        insert.send(data).await?;
        insert.end().await
    }

    /// Writes what the issues of a group are, those that the table does not have as they are: before their cells, so that none is counted that
    /// cannot be named. To write one again changes nothing.
    async fn insert_issues(&self, group: &Group, rollups: &Rollups, attempt: u32) -> Result<(), StoreError> {
        let names = rollups.names();
        let is_news =
            |(issue, times): &Seen<'_>| self.known_issues.is_news(names.text(issue.project), issue.fingerprint, *times);
        let news: Vec<Seen<'_>> = rollups.issues().filter(is_news).collect();
        if news.is_empty() {
            return Ok(());
        }
        let data = encode_issues(names, &news).map_err(EncodeError::from)?;
        self.insert_unmarked(group, attempt, ("issues", ISSUE_COLUMNS), data).await?;
        self.known_issues
            .note(news.iter().map(|(issue, times)| (names.text(issue.project), issue.fingerprint, *times)));
        Ok(())
    }

    /// Writes in which hours there were errors of releases, those that the table does not have, as what issues are is written.
    async fn insert_releases(&self, group: &Group, rollups: &Rollups, attempt: u32) -> Result<(), StoreError> {
        let news = self.known_releases.news(rollups.release_hours().into_iter());
        if news.is_empty() {
            return Ok(());
        }
        let data = encode_releases(&news).map_err(EncodeError::from)?;
        self.insert_unmarked(group, attempt, ("release_hours", RELEASE_COLUMNS), data).await?;
        self.known_releases.note(news);
        Ok(())
    }

    /// Inserts a block of which a row too many changes nothing.
    async fn insert_unmarked(
        &self,
        group: &Group,
        attempt: u32,
        (table, columns): (&str, &str),
        data: Vec<Bytes>,
    ) -> Result<(), StoreError> {
        let sql = format!("INSERT INTO {}.{table} ({columns}) FORMAT ArrowStream", self.database);
        let query_id = format!("{}-{attempt}-{table}", group.id);
        let mut insert = self.insert_stream(&sql, &query_id, &Uuid::new_v4().to_string());
        insert.send(data).await?;
        insert.end().await
    }

    /// As [`Store::roll_up`], of what is stored of the group's batches, counted by ClickHouse.
    ///
    /// # Errors
    /// As [`Store::roll_up`].
    pub async fn roll_up_stored(&self, group: &Group, table: RollupTable, attempt: u32) -> Result<(), StoreError> {
        let events = format!("{}.events", self.database);
        if table == RollupTable::Issues {
            for (table, columns, select) in [
                ("issues", ISSUE_COLUMNS, sql::select_issues(&events)),
                ("release_hours", RELEASE_COLUMNS, sql::select_releases(&events)),
            ] {
                let sql = format!("INSERT INTO {}.{table} ({columns}) {select}", self.database);
                self.count_stored(group, &sql, format!("{}-{attempt}-{table}", group.id)).await?;
            }
        }
        let (name, columns, select) = (table.name(), table.columns(), sql::select(table, &events));
        let sql = format!("INSERT INTO {}.{name} ({columns}) {select}", self.database);
        self.count_stored(group, &sql, query_id(group, table, attempt)).await
    }

    async fn count_stored(&self, group: &Group, sql: &str, query_id: String) -> Result<(), StoreError> {
        let batches: BTreeSet<String> = group.batches.iter().map(Uuid::to_string).collect();
        let mut query = self
            .write
            .query(sql)
            .param("batches", batches)
            .param("first", group.received_ms.0)
            .param("last", group.received_ms.1)
            .param("week", group.week)
            .param("group", group.id.to_string())
            .with_setting("query_id", query_id)
            .with_setting("insert_deduplication_token", Uuid::new_v4().to_string());
        for (name, value) in SETTINGS {
            query = query.with_setting(name, value);
        }
        within(COUNT_TIMEOUT, "counting a group of batches", query.execute()).await
    }

    /// Whether a group is in a table. Final only after [`Store::settle`], if an attempt may still run.
    ///
    /// # Errors
    /// When ClickHouse does not answer.
    pub async fn rolled_up(&self, group: &Group, table: RollupTable) -> Result<bool, StoreError> {
        let sql = format!(
            "SELECT toUInt64(sum(count)) FROM {}.{} WHERE week = toDate({{week:Int32}}) AND batch = {{group:UUID}}",
            self.database,
            table.name()
        );
        let query = self.write.query(&sql).param("week", group.week).param("group", group.id.to_string());
        let markers: u64 = within(
            SETTLE_TIMEOUT,
            "looking for a group in a rollup",
            query.with_setting("max_threads", "1").fetch_one(),
        )
        .await?;
        if markers > 1 {
            tracing::error!(group = %group.id, table = table.name(), markers, "a group is in a rollup more than once");
        }
        Ok(markers > 0)
    }
}

fn query_id(group: &Group, table: RollupTable, attempt: u32) -> String {
    format!("{}-{attempt}-{}", group.id, table.name())
}
