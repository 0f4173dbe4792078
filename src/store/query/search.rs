//! Search: the newest events that fit a filter, page by page.

use super::{Cursor, Filter, Sql, Store, StoreError, Value, event_row::EventRow};
use crate::event::Event;

/// Reading newest first stops when the page is full; with the default buffers it first reads millions of rows. Smaller blocks would read
/// hardly fewer, and cost a filter that few events fit twice the time. (Measured: `docs/decisions/0003-search.md`.)
const IN_ORDER: [(&str, &str); 2] = [("max_block_size", "65536"), ("read_in_order_use_buffering", "0")];

/// Bytes of the events of a page, roughly, past which it ends early.
pub const PAGE_BYTES: usize = 8 << 20;

/// One page of a search.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Page {
    /// Newest first.
    pub events: Vec<Event>,
    /// Where the next page begins; none after the last page.
    pub next: Option<Cursor>,
}

impl Store {
    /// The newest events that fit, older than the cursor if there is one.
    ///
    /// Pages are stable: an event that comes in between two pages never shifts the second one. A page of large events ends
    /// before its limit, at [`PAGE_BYTES`]; there is a next one as long as [`Page::next`] says so.
    pub async fn search(
        &self,
        project: &str,
        filter: &Filter,
        limit: usize,
        after: Option<Cursor>,
    ) -> Result<Page, StoreError> {
        let table = self.table("events");
        let newest = format!(" ORDER BY timestamp DESC, key DESC LIMIT 1 BY key LIMIT {}", limit + 1);
        // The filter runs over the few columns it names; only what is shown is read whole.
        let mut sql = Sql::new("SELECT ?fields FROM ");
        sql.push(&table).push_range(project, filter.from_ms, filter.to_ms);
        sql.push(" AND (timestamp, key) IN (SELECT timestamp, key FROM ").push(&table).push_filter(project, filter);
        if let Some(cursor) = after {
            // The first condition lets the primary key skip what the page before has read.
            sql.push_value(" AND timestamp <= fromUnixTimestamp64Milli({}, 'UTC')", Value::Int(cursor.timestamp_ms));
            sql.push_value(" AND (timestamp < fromUnixTimestamp64Milli({}, 'UTC')", Value::Int(cursor.timestamp_ms));
            sql.push_value(" OR key < {})", Value::UInt(cursor.key.stored()));
        }
        sql.push(&newest).push(")").push(&newest);
        let query = IN_ORDER.iter().fold(self.ask(&sql), |query, (name, value)| query.with_setting(*name, *value));
        let (rows, is_cut) = self.rows_within("searching", query, PAGE_BYTES, EventRow::size).await?;
        let mut events = rows.into_iter().map(|row| row.into_event(project)).collect::<Result<Vec<_>, _>>()?;
        let is_last = events.len() <= limit && !is_cut;
        events.truncate(limit);
        let next = events.last().filter(|_| !is_last);
        let next = next.map(|event| Cursor { timestamp_ms: event.timestamp_ms, key: event.key });
        Ok(Page { events, next })
    }
}
