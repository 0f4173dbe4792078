//! What came in lately: the events of a live tail, in the order of their receipt.

use super::{Cursor, Filter, Sql, Store, StoreError, Value, event_row::EventRow};
use crate::event::Event;

/// Bytes of the events of one answer, roughly.
const BYTES: usize = 2 << 20;

/// What was received in a span.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Received {
    /// The latest, in the order of receipt.
    pub events: Vec<Event>,
    /// How many earlier ones fit too.
    pub earlier: u64,
}

impl Store {
    /// Events received after a place (its time is one of receipt) and before a time (milliseconds since the Unix epoch) that fit
    /// the filter, whatever its range: the latest `limit`, fewer if they are large, and how many came before those.
    pub async fn received(
        &self,
        project: &str,
        filter: &Filter,
        after: Cursor,
        before_ms: i64,
        limit: usize,
    ) -> Result<Received, StoreError> {
        let latest = format!(" ORDER BY received_at DESC, key DESC LIMIT 1 BY key LIMIT {}", limit + 1);
        // As in a search: whole events are read only of what is shown.
        let mut sql = Sql::new("SELECT ?fields FROM ");
        sql.push(&self.table("events")).push_receipt(project, after, before_ms);
        sql.push(" AND (received_at, key) IN (SELECT received_at, key FROM ").push(&self.table("events"));
        sql.push_receipt(project, after, before_ms).push_matching(filter).push(&latest).push(")").push(&latest);
        let query = self.ask(&sql);
        let (rows, is_cut) = self.rows_within("reading what was received", query, BYTES, EventRow::size).await?;
        let mut events = rows.into_iter().map(|row| row.into_event(project)).collect::<Result<Vec<_>, _>>()?;
        let is_all = events.len() <= limit && !is_cut;
        events.truncate(limit);
        events.reverse();
        let earlier = match events.first().filter(|_| !is_all) {
            Some(first) => self.count_received(project, filter, after, first).await?,
            None => 0,
        };
        Ok(Received { events, earlier })
    }

    /// Events that fit, received after a place and before an event.
    async fn count_received(
        &self,
        project: &str,
        filter: &Filter,
        after: Cursor,
        first: &Event,
    ) -> Result<u64, StoreError> {
        let mut sql = Sql::new("SELECT uniqExact(key) FROM ");
        sql.push(&self.table("events")).push_receipt(project, after, first.received_at_ms.saturating_add(1));
        sql.push_value(" AND (received_at < fromUnixTimestamp64Milli({}, 'UTC')", Value::Int(first.received_at_ms));
        sql.push_value(" OR key < {})", Value::UInt(first.key.stored())).push_matching(filter);
        let count = self.ask_wide(&sql).fetch_one();
        self.answered("counting what was received", count).await
    }
}

impl Sql {
    /// ` WHERE …` for what a project received after a place and before a time. Parts know their first and last time of receipt, so
    /// that of the table only the latest are read.
    fn push_receipt(&mut self, project: &str, after: Cursor, before_ms: i64) -> &mut Self {
        self.push_value(" WHERE project = {}", Value::Text(project.to_owned()))
            .push_value(" AND received_at >= fromUnixTimestamp64Milli({}, 'UTC')", Value::Int(after.timestamp_ms))
            .push_value(" AND received_at < fromUnixTimestamp64Milli({}, 'UTC')", Value::Int(before_ms))
            .push_value(" AND (received_at > fromUnixTimestamp64Milli({}, 'UTC')", Value::Int(after.timestamp_ms))
            .push_value(" OR key > {})", Value::UInt(after.key.stored()))
    }
}
