//! Deleting the events of somebody for good, and what the other tables keep of them.
//!
//! * Deletion is by mutations: ClickHouse writes the parts concerned anew without the rows. (A lightweight delete would hide
//!   them until a merge.) A mutation is asked for only while there is something to delete, so repeating a step is harmless.
//! * Order, so that a crash leaves nothing that the next attempt does not find: the lookup index while the events still say what is
//!   in it, the events, the rollups.
//! * Values stand in a mutation as hex (`unhex('…')`): its text is kept and run later, without parameters.
//! * Sums stay: they say how many, and not who.

use std::{collections::HashSet, fmt::Write as _, time::Duration};

use clickhouse::Row;
use serde::Deserialize;

use super::{
    Store, StoreError,
    engine::hex,
    insert::within,
    rollup::RollupTable,
    rows::{index_key, request_columns},
};
use crate::event::{erasure::Erasable, request_id::lookup_key};

/// Reading what is to go, and asking for a mutation.
const TIMEOUT: Duration = Duration::from_secs(300);

/// How long the mutations of a table may take: parts of many gigabytes on a slow disk.
const MUTATION_TIMEOUT: Duration = Duration::from_secs(6 * 3600);

/// How often it is looked whether a mutation is done.
const MUTATION_INTERVAL: Duration = Duration::from_millis(50);

/// Rows of the lookup index, or request ids, of one mutation.
const CHUNK: usize = 20_000;

/// Longest text of a statement, bytes: a chunk of request ids in hex.
const STATEMENT_BYTES: &str = "16777216";

const HOUR_MS: i64 = 3_600_000;

/// What is to be erased: whose events of a project, received up to a time.
#[derive(Clone, Debug)]
pub struct Scope<'a> {
    pub project: &'a str,
    pub what: &'a Erasable,
    /// Milliseconds since the Unix epoch.
    pub until_ms: i64,
}

/// An event that is to go, as the lookup index knows it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Row, Deserialize)]
struct Doomed {
    request_id: String,
    /// Unix time.
    second: u32,
    /// Days since the Unix epoch.
    week: u16,
}

/// Events that are to go.
#[derive(Debug, Default)]
pub struct Found {
    /// Events.
    pub events: u64,
    /// Their request ids, each once.
    pub request_ids: Vec<String>,
    places: Vec<Doomed>,
}

impl Scope<'_> {
    /// The condition on `events`.
    fn condition(&self) -> String {
        let mut sql = format!("project = {} AND received_at <= {}", text(self.project), time(self.until_ms));
        let value = text(self.what.value());
        // Writing to a String does not fail.
        let _ = match self.what {
            Erasable::Account(_) => write!(sql, " AND account_id = {value}"),
            Erasable::User(_) => write!(sql, " AND user_id = {value}"),
            Erasable::Request(id) => {
                let (uuid, rest) = request_columns(id.as_str());
                write!(sql, " AND request_uuid = toUUID('{uuid}') AND request_text = {}", text(rest))
            }
        };
        sql
    }
}

/// A text as it stands in SQL, whatever is in it.
fn text(value: &str) -> String {
    format!("unhex('{}')", hex(value.as_bytes()))
}

fn time(ms: i64) -> String {
    format!("fromUnixTimestamp64Milli(toInt64({ms}), 'UTC')")
}

impl Store {
    /// The events that are to go.
    ///
    /// # Errors
    /// When ClickHouse does not answer.
    pub async fn find_doomed(&self, scope: &Scope<'_>) -> Result<Found, StoreError> {
        let condition = scope.condition();
        let events = format!("SELECT uniqExact(key) FROM {}.events WHERE {condition}", self.database);
        let events: u64 = within(TIMEOUT, "counting events to erase", self.admin.query(&events).fetch_one()).await?;
        let places = format!(
            "SELECT DISTINCT request_id, toUInt32(toDateTime(timestamp, 'UTC')) AS second, \
             toUInt16(toMonday(received_at)) AS week FROM {}.events WHERE {condition}",
            self.database
        );
        let places: Vec<Doomed> =
            within(TIMEOUT, "reading events to erase", self.admin.query(&places).fetch_all()).await?;
        let ids: HashSet<&str> = places.iter().map(|place| place.request_id.as_str()).collect();
        let request_ids = ids.into_iter().map(str::to_owned).collect();
        Ok(Found { events, request_ids, places })
    }

    /// Deletes what was found, from the index and the events, and who it was from the rollups. Repeated after a crash, it deletes what
    /// is left.
    ///
    /// # Errors
    /// When ClickHouse does not answer, or cannot delete: the reason of its mutation.
    pub async fn erase(&self, scope: &Scope<'_>, found: &Found) -> Result<(), StoreError> {
        self.erase_from_index(scope, found).await?;
        self.erase_events(scope).await?;
        self.erase_from_rollups(scope, found).await
    }

    async fn erase_events(&self, scope: &Scope<'_>) -> Result<(), StoreError> {
        self.delete("events", &scope.condition()).await
    }

    /// Rows of the index that only events which are to go have.
    async fn erase_from_index(&self, scope: &Scope<'_>, found: &Found) -> Result<(), StoreError> {
        for places in found.places.chunks(CHUNK) {
            let kept = self.places_of_others(scope, places).await?;
            let rows =
                places.iter().filter(|place| !kept.contains(place)).map(|Doomed { request_id, second, week }| {
                    format!("({},{second},{week})", index_key(lookup_key(request_id, scope.project)))
                });
            let rows: Vec<_> = rows.collect();
            if !rows.is_empty() {
                let condition = format!("(k, toUInt32(second), toUInt16(week)) IN ({})", rows.join(","));
                self.delete("request_index", &condition).await?;
            }
        }
        Ok(())
    }

    /// Of these places, those at which an event stays: the same request id in the same second, of somebody else.
    async fn places_of_others(&self, scope: &Scope<'_>, places: &[Doomed]) -> Result<HashSet<Doomed>, StoreError> {
        let seconds: HashSet<u32> = places.iter().map(|place| place.second).collect();
        let seconds: Vec<_> = seconds.into_iter().map(|second| second.to_string()).collect();
        let (first, last) = (seconds_of(places).min().unwrap_or(0), seconds_of(places).max().unwrap_or(0));
        let sql = format!(
            "SELECT DISTINCT request_id, toUInt32(toDateTime(timestamp, 'UTC')) AS second, \
             toUInt16(toMonday(received_at)) AS week FROM {}.events WHERE project = {} AND timestamp >= {} AND timestamp < {} \
             AND toUInt32(toDateTime(timestamp, 'UTC')) IN ({}) AND NOT ({})",
            self.database,
            text(scope.project),
            time(first * 1000),
            time((last + 1) * 1000),
            seconds.join(","),
            scope.condition()
        );
        let query = self.admin.query(&sql).with_setting("max_query_size", STATEMENT_BYTES);
        let kept: Vec<Doomed> = within(TIMEOUT, "reading events beside those to erase", query.fetch_all()).await?;
        let doomed: HashSet<&Doomed> = places.iter().collect();
        Ok(kept.into_iter().filter(|place| doomed.contains(place)).collect())
    }

    /// Takes an account, and the request ids, out of the rollups; the sums stay.
    async fn erase_from_rollups(&self, scope: &Scope<'_>, found: &Found) -> Result<(), StoreError> {
        let project = text(scope.project);
        let (accounts, failures) = (RollupTable::Accounts.name(), RollupTable::Failures.name());
        if let Erasable::Account(account) = scope.what {
            let account = text(account);
            let hour = format!("at <= toDateTime({}, 'UTC')", scope.until_ms.div_euclid(HOUR_MS) * HOUR_MS / 1000);
            let condition = format!("project = {project} AND account = {account} AND {hour}");
            self.delete(accounts, &condition).await?;
            // The cell's sample may be the account's.
            let change = format!(
                "accounts = arrayFilter(account -> account != {account}, accounts), last_seen = (last_seen.1, '')"
            );
            let condition = format!("project = {project} AND has(accounts, {account}) AND {hour}");
            return self.change(failures, &change, &condition).await;
        }
        for ids in found.request_ids.chunks(CHUNK) {
            let ids: Vec<_> = ids.iter().map(|id| text(id)).collect();
            let condition = format!("project = {project} AND last_seen.2 IN ({})", ids.join(","));
            self.change(failures, "last_seen = (last_seen.1, '')", &condition).await?;
        }
        Ok(())
    }

    async fn delete(&self, table: &str, condition: &str) -> Result<(), StoreError> {
        self.mutate(table, "DELETE", condition).await
    }

    async fn change(&self, table: &str, change: &str, condition: &str) -> Result<(), StoreError> {
        self.mutate(table, &format!("UPDATE {change}"), condition).await
    }

    /// Mutates a table if there is a row that fits, and waits until none does.
    async fn mutate(&self, table: &str, command: &str, condition: &str) -> Result<(), StoreError> {
        let table_name = format!("{}.{table}", self.database);
        let count = format!("SELECT count() FROM {table_name} WHERE {condition}");
        let deadline = tokio::time::Instant::now() + MUTATION_TIMEOUT;
        loop {
            let query = self.admin.query(&count).with_setting("max_query_size", STATEMENT_BYTES);
            let rows: u64 = within(TIMEOUT, "counting rows to erase", query.fetch_one()).await?;
            if rows == 0 {
                return Ok(());
            }
            let mutation = format!("ALTER TABLE {table_name} {command} WHERE {condition}");
            let query = self.admin.query(&mutation).with_setting("max_query_size", STATEMENT_BYTES);
            within(TIMEOUT, "asking for a deletion", query.execute()).await?;
            self.mutated(table, deadline).await?;
        }
    }

    /// Waits until a table has no mutation under way.
    async fn mutated(&self, table: &str, deadline: tokio::time::Instant) -> Result<(), StoreError> {
        loop {
            let query = self
                .admin
                .query(
                    "SELECT count(), any(latest_fail_reason) FROM system.mutations WHERE database = {database:String} \
                     AND table = {table:String} AND NOT is_done AND NOT is_killed",
                )
                .param("database", self.database.as_str())
                .param("table", table);
            let (running, problem): (u64, String) =
                within(TIMEOUT, "looking for deletions under way", query.fetch_one()).await?;
            if running == 0 {
                return Ok(());
            }
            if !problem.is_empty() {
                return Err(StoreError::Mutation(problem));
            }
            if tokio::time::Instant::now() > deadline {
                return Err(StoreError::TimedOut("a deletion"));
            }
            tokio::time::sleep(MUTATION_INTERVAL).await;
        }
    }
}

fn seconds_of(places: &[Doomed]) -> impl Iterator<Item = i64> {
    places.iter().map(|place| i64::from(place.second))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::RequestId;

    #[test]
    fn no_value_stands_in_a_condition_as_it_is() {
        for what in [
            Erasable::Account("x') OR 1 --".into()),
            Erasable::User("x') OR 1 --".into()),
            Erasable::Request(RequestId::parse("x')OR(1)--").unwrap()),
        ] {
            let condition = Scope { project: "p'", what: &what, until_ms: 5 }.condition();
            assert!(!condition.contains("OR"), "{condition}");
        }
        let id = uuid::Uuid::nil().to_string();
        let what = Erasable::Request(RequestId::parse(&id).unwrap());
        assert!(Scope { project: "p", what: &what, until_ms: 5 }.condition().contains(&id));
    }
}
