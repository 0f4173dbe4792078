//! Lookup by request id, with no time range: the index names the seconds and weeks, the event table has the rest.
//!
//! One id in one second, which nearly every lookup is about, is asked for in the plainest way; the few rows are sorted and told
//! apart here. Sorting, limiting by key and the newer analyzer take ClickHouse half as long again as reading the row
//! (`docs/decisions/0001-lookup-index.md`).

use std::collections::{BTreeSet, HashMap, HashSet};

use clickhouse::Row;
use serde::Deserialize;

use super::{Sql, Store, StoreError, Value, event_row::EventRow};
use crate::{
    event::{Event, RequestId},
    store::rows::{index_key, request_columns},
};

/// Events of one request that a lookup returns at most, the oldest. An event takes up to some 100 KB.
pub const MAX_EVENTS: usize = 100;

/// Events of each request that [`Store::requests`] returns at most, the latest.
pub const MAX_EVENTS_OF_EACH: usize = 5;

/// Ids that [`Store::requests`] takes at most (HTTP contract).
pub const MAX_REQUESTS: usize = 100;

/// What is stored of a request.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Found {
    /// Oldest first; at most [`MAX_EVENTS`], or [`MAX_EVENTS_OF_EACH`].
    pub events: Vec<Event>,
    /// There are more events.
    pub more: bool,
    /// When the request's first error was, milliseconds since the Unix epoch, if there are no events any more because their
    /// retention is over.
    pub expired_first_seen_ms: Option<i64>,
}

/// Which events of a request with too many are returned.
#[derive(Clone, Copy)]
enum Keep {
    Oldest,
    Latest,
}

impl Keep {
    const fn order(self) -> &'static str {
        match self {
            Self::Oldest => "",
            Self::Latest => " DESC",
        }
    }
}

/// Where an event of a request is.
#[derive(Debug, Row, Deserialize)]
struct Place {
    k: u64,
    /// Unix time.
    second: u32,
    /// Days since the Unix epoch.
    week: u16,
}

impl Store {
    /// What is stored of a request, the oldest events first.
    ///
    /// # Errors
    /// When ClickHouse does not answer or cannot be understood.
    pub async fn request(&self, project: &str, id: &RequestId) -> Result<Found, StoreError> {
        let mut found = self.find(project, std::slice::from_ref(id), MAX_EVENTS, Keep::Oldest).await?;
        Ok(found.pop().unwrap_or_default())
    }

    /// The latest events of each request, in the order of the ids, in two round trips.
    ///
    /// Ids past [`MAX_REQUESTS`] are not looked up: their result is empty.
    pub async fn requests(&self, project: &str, ids: &[RequestId]) -> Result<Vec<Found>, StoreError> {
        self.find(project, ids, MAX_EVENTS_OF_EACH, Keep::Latest).await
    }

    async fn find(&self, project: &str, ids: &[RequestId], limit: usize, keep: Keep) -> Result<Vec<Found>, StoreError> {
        let asked = &ids[..ids.len().min(MAX_REQUESTS)];
        // One more than is shown, to know that there are more; a row may be there twice.
        let most = 2 * (limit + 1);
        let places = self.places(project, asked, most, keep).await?;
        let mut events: HashMap<RequestId, Vec<Event>> = HashMap::new();
        for event in self.events_at(project, asked, &places, most, keep).await? {
            events.entry(event.request_id.clone()).or_default().push(event);
        }
        let now_ms = self.clock.now_ms();
        Ok(ids.iter().map(|id| self.found(project, id, events.remove(id), &places, (limit, keep), now_ms)).collect())
    }

    /// Where the requests' events are, `most` places of each.
    async fn places(
        &self,
        project: &str,
        ids: &[RequestId],
        most: usize,
        keep: Keep,
    ) -> Result<Vec<Place>, StoreError> {
        if let [id] = ids
            && let Some(places) = self.few_places(project, id, most).await?
        {
            return Ok(places);
        }
        let keys: BTreeSet<u64> = ids.iter().map(|id| index_key(id.lookup_key(project))).collect();
        // A batch that was refused for a while is in the index as often as it was tried.
        let mut sql = Sql::new("SELECT DISTINCT ?fields FROM ");
        sql.push(&self.table("request_index"));
        sql.push_value(" WHERE k IN {}", Value::UInts(keys.into_iter().collect()));
        sql.push(&format!(" ORDER BY k, second{} LIMIT {most} BY k", keep.order()));
        self.rows("finding a request", &sql).await
    }

    /// Where the events of one request are; `None` when there are more places than `most`.
    async fn few_places(&self, project: &str, id: &RequestId, most: usize) -> Result<Option<Vec<Place>>, StoreError> {
        let mut sql = Sql::new("SELECT DISTINCT ?fields FROM ");
        sql.push(&self.table("request_index"));
        sql.push_value(" WHERE k = {}", Value::UInt(index_key(id.lookup_key(project))));
        sql.push(&format!(" LIMIT {}", most + 1));
        let places: Vec<Place> = self.rows_of("finding a request", self.ask_plainly(&sql)).await?;
        Ok((places.len() <= most).then_some(places))
    }

    /// The events of the ids at the places, oldest first, `most` of each id.
    async fn events_at(
        &self,
        project: &str,
        ids: &[RequestId],
        places: &[Place],
        most: usize,
        keep: Keep,
    ) -> Result<Vec<Event>, StoreError> {
        let seconds: BTreeSet<u32> = places.iter().map(|place| place.second).collect();
        let weeks: BTreeSet<u16> = places.iter().map(|place| place.week).collect();
        if places.is_empty() {
            return Ok(Vec::new());
        }
        let mut from = Sql::new(" FROM ");
        from.push(&self.table("events"));
        from.push_value(" WHERE project = {}", Value::Text(project.to_owned()));
        if let ([id], 1, 1, Some(place)) = (ids, seconds.len(), weeks.len(), places.first())
            && let Some(events) = self.few_events(from.clone(), project, id, place, most).await?
        {
            return Ok(events);
        }
        push_places(&mut from, seconds, weeks);
        push_ids(&mut from, ids);
        let mut sql = from.clone();
        sql.text = format!(
            "SELECT ?fields{from} AND (timestamp, key) IN (SELECT timestamp, key FROM (SELECT timestamp, key, request_uuid, \
             request_text{from} ORDER BY timestamp, key LIMIT 1 BY key) ORDER BY timestamp{order}, key LIMIT {most} BY request_uuid, \
             request_text) ORDER BY timestamp, key LIMIT 1 BY key",
            from = from.text,
            order = keep.order()
        );
        let rows: Vec<EventRow> = self.rows("reading a request's events", &sql).await?;
        rows.into_iter().map(|row| row.into_event(project)).collect()
    }

    /// The events of one request in one second, oldest first; `None` when there are more than `most`. `sql` comes from its table to its
    /// project.
    async fn few_events(
        &self,
        mut sql: Sql,
        project: &str,
        id: &RequestId,
        place: &Place,
        most: usize,
    ) -> Result<Option<Vec<Event>>, StoreError> {
        sql.text.insert_str(0, "SELECT ?fields");
        let first_ms = i64::from(place.second) * 1000;
        sql.push_value(" AND timestamp >= fromUnixTimestamp64Milli({}, 'UTC')", Value::Int(first_ms));
        sql.push_value(" AND timestamp < fromUnixTimestamp64Milli({}, 'UTC')", Value::Int(first_ms + 1000));
        sql.push_value(" AND toMonday(received_at) = toDate({})", Value::Int(place.week.into()));
        let (uuid, text) = request_columns(id.as_str());
        sql.push_value(" AND request_text = {}", Value::Text(text.to_owned()));
        sql.push_value(" AND request_uuid = toUUID({})", Value::Text(uuid.to_string()));
        sql.push(&format!(" LIMIT {}", most + 1));
        let mut rows: Vec<EventRow> = self.rows_of("reading a request's events", self.ask_plainly(&sql)).await?;
        if rows.len() > most {
            return Ok(None);
        }
        rows.sort_by_key(|row| (row.timestamp, row.key));
        let mut seen = HashSet::new();
        rows.retain(|row| seen.insert(row.key));
        rows.into_iter().map(|row| row.into_event(project)).collect::<Result<_, _>>().map(Some)
    }

    fn found(
        &self,
        project: &str,
        id: &RequestId,
        events: Option<Vec<Event>>,
        places: &[Place],
        (limit, keep): (usize, Keep),
        now_ms: i64,
    ) -> Found {
        if let Some(mut events) = events {
            let more = events.len() > limit;
            match keep {
                Keep::Oldest => events.truncate(limit),
                Keep::Latest => drop(events.drain(..events.len().saturating_sub(limit))),
            }
            return Found { events, more, expired_first_seen_ms: None };
        }
        let key = index_key(id.lookup_key(project));
        let expired = places.iter().filter(|place| place.k == key && self.is_expired(place.week.into(), now_ms));
        Found {
            events: Vec::new(),
            more: false,
            expired_first_seen_ms: expired.map(|place| i64::from(place.second) * 1000).min(),
        }
    }
}

/// Where the events are.
fn push_places(sql: &mut Sql, seconds: BTreeSet<u32>, weeks: BTreeSet<u16>) {
    let seconds = Value::UInts(seconds.into_iter().map(u64::from).collect());
    sql.push_value(" AND toDateTime(timestamp) IN arrayMap(at -> toDateTime(at), {})", seconds);
    let weeks = Value::Ints(weeks.into_iter().map(i64::from).collect());
    sql.push_value(" AND toMonday(received_at) IN arrayMap(day -> toDate(day), {})", weeks);
}

/// ` AND …` for the ids themselves: two may share a key of the index.
fn push_ids(sql: &mut Sql, ids: &[RequestId]) {
    let columns = ids.iter().map(|id| request_columns(id.as_str()));
    let (uuids, texts): (Vec<_>, Vec<_>) = columns.partition(|(_, text)| text.is_empty());
    sql.push(" AND (0");
    if !uuids.is_empty() {
        let uuids = uuids.into_iter().map(|(uuid, _)| uuid.to_string()).collect();
        sql.push_value(
            " OR (request_text = '' AND request_uuid IN arrayMap(id -> toUUID(id), {}))",
            Value::Texts(uuids),
        );
    }
    if !texts.is_empty() {
        let texts = texts.into_iter().map(|(_, text)| text.to_owned()).collect();
        sql.push_value(" OR request_text IN {}", Value::Texts(texts));
    }
    sql.push(")");
}
