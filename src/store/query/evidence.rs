//! What stands beside an alert: which events it is about.

use clickhouse::Row;
use serde::Deserialize;

use super::{Filter, Sql, Store, StoreError};

/// Groups and accounts named.
const TOP: usize = 3;

/// Events that fit a filter, in short.
#[derive(Clone, Debug, Default, PartialEq, Eq, Row, Deserialize)]
pub struct EventsInShort {
    pub events: u64,
    /// Milliseconds since the Unix epoch; 0 where there are none.
    pub first_seen: i64,
    pub last_seen: i64,
    /// Request ids, at most five.
    pub samples: Vec<String>,
}

/// A value and how many events have it.
#[derive(Clone, Debug, PartialEq, Eq, Row, Deserialize)]
pub struct TopGroup {
    pub service: String,
    pub route: String,
    pub status: u16,
    pub events: u64,
}

#[derive(Clone, Debug, PartialEq, Eq, Row, Deserialize)]
pub struct TopAccount {
    pub account: String,
    pub events: u64,
}

/// A release and when its first event of the range came.
#[derive(Clone, Debug, PartialEq, Eq, Row, Deserialize)]
pub struct ReleaseSeen {
    pub release: String,
    /// Milliseconds since the Unix epoch.
    pub first_seen: i64,
}

impl Store {
    /// How many events fit a filter, when the first came, and some of them.
    pub async fn in_short(&self, project: &str, filter: &Filter) -> Result<EventsInShort, StoreError> {
        let mut sql = Sql::new(
            "SELECT uniqExact(key) AS events, toUnixTimestamp64Milli(min(timestamp)) AS first_seen, \
             toUnixTimestamp64Milli(max(timestamp)) AS last_seen, groupUniqArray(5)(request_id) AS samples FROM ",
        );
        sql.push(&self.table("events")).push_filter(project, filter);
        let rows: Vec<EventsInShort> = self.rows_of("reading evidence", self.ask_wide(&sql)).await?;
        Ok(rows.into_iter().next().unwrap_or_default())
    }

    /// The routes and statuses with most of the events that fit a filter.
    pub async fn top_groups(&self, project: &str, filter: &Filter) -> Result<Vec<TopGroup>, StoreError> {
        let mut sql = Sql::new(
            "SELECT toString(service) AS service, toString(route) AS route, status, uniqExact(key) AS events FROM ",
        );
        sql.push(&self.table("events")).push_filter(project, filter);
        sql.push(&format!(" GROUP BY service, route, status ORDER BY events DESC, route, status LIMIT {TOP}"));
        self.rows_of("reading evidence", self.ask_wide(&sql)).await
    }

    /// The accounts with most of the events that fit a filter.
    pub async fn top_accounts(&self, project: &str, filter: &Filter) -> Result<Vec<TopAccount>, StoreError> {
        let mut sql = Sql::new("SELECT account_id AS account, uniqExact(key) AS events FROM ");
        sql.push(&self.table("events")).push_filter(project, filter);
        sql.push(&format!(" AND account_id != '' GROUP BY account ORDER BY events DESC, account LIMIT {TOP}"));
        self.rows_of("reading evidence", self.ask_wide(&sql)).await
    }

    /// The releases that shipped events of a filter's range, the newest first.
    pub async fn releases_seen(&self, project: &str, filter: &Filter) -> Result<Vec<ReleaseSeen>, StoreError> {
        let mut sql =
            Sql::new("SELECT toString(release) AS release, toUnixTimestamp64Milli(min(timestamp)) AS first_seen FROM ");
        sql.push(&self.table("events")).push_filter(project, filter);
        sql.push(" AND release != '' GROUP BY release ORDER BY first_seen DESC, release LIMIT 5");
        self.rows_of("reading evidence", self.ask_wide(&sql)).await
    }
}
