//! Lookup by request id, with no time range: the index names the seconds and weeks, the event table has the rest.

use std::collections::{BTreeSet, HashMap};

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
        // One more than is shown, to know that there are more; an index row may be there twice.
        let places = self.places(project, asked, 2 * (limit + 1), keep).await?;
        let mut events: HashMap<RequestId, Vec<Event>> = HashMap::new();
        for event in self.events_at(project, asked, &places, limit).await? {
            events.entry(event.request_id.clone()).or_default().push(event);
        }
        let now_ms = self.clock.now_ms();
        Ok(ids.iter().map(|id| self.found(project, id, events.remove(id), &places, (limit, keep), now_ms)).collect())
    }

    async fn places(
        &self,
        project: &str,
        ids: &[RequestId],
        limit: usize,
        keep: Keep,
    ) -> Result<Vec<Place>, StoreError> {
        let order = match keep {
            Keep::Oldest => "",
            Keep::Latest => " DESC",
        };
        let keys: BTreeSet<u64> = ids.iter().map(|id| index_key(id.lookup_key(project))).collect();
        let mut sql = Sql::new("SELECT ?fields FROM ");
        sql.push(&self.table("request_index"));
        sql.push_value(" WHERE k IN {}", Value::UInts(keys.into_iter().collect()));
        sql.push(&format!(" ORDER BY k, second{order} LIMIT {limit} BY k"));
        self.rows("finding a request", &sql).await
    }

    /// The events of the ids at the places, oldest first.
    async fn events_at(
        &self,
        project: &str,
        ids: &[RequestId],
        places: &[Place],
        limit: usize,
    ) -> Result<Vec<Event>, StoreError> {
        if places.is_empty() {
            return Ok(Vec::new());
        }
        let mut sql = Sql::new("SELECT ?fields FROM ");
        sql.push(&self.table("events"));
        sql.push_value(" WHERE project = {}", Value::Text(project.to_owned()));
        push_places(&mut sql, places);
        push_ids(&mut sql, ids);
        sql.push(&format!(" ORDER BY timestamp, key LIMIT 1 BY key LIMIT {}", 2 * (limit + 1) * ids.len()));
        let rows: Vec<EventRow> = self.rows("reading a request's events", &sql).await?;
        rows.into_iter().map(Event::try_from).collect()
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

/// Where the events are. Nearly always that is one second of one week: a plain range is found soonest.
fn push_places(sql: &mut Sql, places: &[Place]) {
    let seconds: BTreeSet<u64> = places.iter().map(|place| place.second.into()).collect();
    let weeks: BTreeSet<i64> = places.iter().map(|place| place.week.into()).collect();
    match Vec::from_iter(seconds).as_slice() {
        [second] => {
            let first_ms = *second as i64 * 1000;
            sql.push_value(" AND timestamp >= fromUnixTimestamp64Milli({}, 'UTC')", Value::Int(first_ms));
            sql.push_value(" AND timestamp < fromUnixTimestamp64Milli({}, 'UTC')", Value::Int(first_ms + 1000));
        }
        seconds => {
            let seconds = Value::UInts(seconds.to_vec());
            sql.push_value(" AND toDateTime(timestamp) IN arrayMap(at -> toDateTime(at), {})", seconds);
        }
    }
    match Vec::from_iter(weeks).as_slice() {
        [week] => {
            sql.push_value(" AND toMonday(received_at) = toDate({})", Value::Int(*week));
        }
        weeks => {
            sql.push_value(
                " AND toMonday(received_at) IN arrayMap(day -> toDate(day), {})",
                Value::Ints(weeks.to_vec()),
            );
        }
    }
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
