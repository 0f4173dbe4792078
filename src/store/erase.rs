//! Deleting the events of somebody for good, and what the other tables keep of them.
//!
//! * Deletion is by mutations: ClickHouse writes the parts concerned anew without the rows. (A lightweight delete would hide
//!   them until a merge.) A mutation is asked for only while there is something to delete, so repeating a step is harmless.
//! * Order, so that a crash leaves nothing that the next attempt does not find: the lookup index, the rollups and the issues while the
//!   events still say what is in them ([`Store::erase_places`], [`Store::erase_around`]), and the events last ([`Store::erase_events`]).
//! * Where the events are is read in rounds, so that memory does not grow with what somebody had.
//! * A mutation is waited for once: of what goes on arriving, rows may fit again. One that an attempt before has asked for is waited for
//!   first: ClickHouse goes on with it.
//! * Values stand in a mutation as texts with every byte escaped (`'\x41…'`): its text is kept and run later, without parameters. A
//!   call such as `unhex('…')` for each would be too much syntax for ClickHouse (`max_ast_elements`).
//! * Sums stay: they say how many, and not who.

use std::{collections::HashSet, fmt::Write as _, time::Duration};

use clickhouse::Row;
use serde::Deserialize;

use super::{
    Store, StoreError,
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

/// Places of one round, and issues of one mutation.
const CHUNK: usize = 20_000;

/// Longest text of a statement, bytes: a round of the longest request ids, each byte escaped.
const STATEMENT_BYTES: &str = "16777216";

/// Bytes of keys that ClickHouse counts in memory.
const COUNTED_IN_MEMORY: &str = "268435456";

const HOUR_MS: i64 = 3_600_000;

/// How far a timestamp may lie after the receipt, milliseconds.
const AHEAD_MS: i64 = HOUR_MS;

/// What is to be erased: whose events of a project, received up to a time.
#[derive(Clone, Debug)]
pub struct Scope<'a> {
    pub project: &'a str,
    pub what: &'a Erasable,
    /// Milliseconds since the Unix epoch.
    pub until_ms: i64,
}

/// Where an event that is to go is, as the lookup index knows it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Row, Deserialize)]
pub struct Doomed {
    pub request_id: String,
    /// Unix time.
    second: u32,
    /// Days since the Unix epoch.
    week: u16,
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
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut sql = String::with_capacity(4 * value.len() + 2);
    sql.push('\'');
    // A round has millions of bytes: by hand, where `write!` would hold up others.
    for byte in value.bytes() {
        sql.push_str("\\x");
        sql.extend([byte >> 4, byte & 15].map(|digit| char::from(DIGITS[usize::from(digit)])));
    }
    sql.push('\'');
    sql
}

/// The request ids of places, each once, as a list in SQL.
fn request_ids(places: &[Doomed]) -> String {
    let ids: HashSet<&str> = places.iter().map(|place| place.request_id.as_str()).collect();
    ids.into_iter().map(text).collect::<Vec<_>>().join(",")
}

fn time(ms: i64) -> String {
    format!("fromUnixTimestamp64Milli(toInt64({ms}), 'UTC')")
}

impl Store {
    /// How many events are to go.
    ///
    /// # Errors
    /// When ClickHouse does not answer.
    pub async fn count_doomed(&self, scope: &Scope<'_>) -> Result<u64, StoreError> {
        let sql = format!(
            "SELECT count() FROM (SELECT key FROM {}.events WHERE {} GROUP BY key)",
            self.database,
            scope.condition()
        );
        // Of a hundred million, the keys take gigabytes: what is too much goes to disk.
        let query = self.admin.query(&sql).with_setting("max_bytes_before_external_group_by", COUNTED_IN_MEMORY);
        within(TIMEOUT, "counting events to erase", query.fetch_one()).await
    }

    /// Places of events that are to go, in order, those after one: as many as go at once. None after the last.
    ///
    /// # Errors
    /// When ClickHouse does not answer.
    pub async fn doomed_after(&self, scope: &Scope<'_>, after: Option<&Doomed>) -> Result<Vec<Doomed>, StoreError> {
        let after = after.map_or_else(String::new, |Doomed { request_id, second, week }| {
            format!(" AND (week, request_id, second) > (toUInt16({week}), {}, toUInt32({second}))", text(request_id))
        });
        // Week by week, as the index has its partitions: a round's mutation writes few of them anew. Not DISTINCT, which would hold all
        // that there are; so many in order are held at most.
        let sql = format!(
            "SELECT request_id, toUInt32(toDateTime(timestamp, 'UTC')) AS second, \
             toUInt16(toMonday(received_at)) AS week FROM {}.events WHERE {}{after} \
             ORDER BY week, request_id, second LIMIT {CHUNK}",
            self.database,
            scope.condition()
        );
        let query = self.admin.query(&sql).fetch_all();
        let mut places: Vec<Doomed> = within(TIMEOUT, "reading events to erase", query).await?;
        places.dedup();
        Ok(places)
    }

    /// Deletes what other tables keep of these places (at most one round of them): from the index, and sample request ids from the
    /// rollups. Repeated after a crash, it deletes what is left.
    ///
    /// # Errors
    /// When ClickHouse does not answer, or cannot delete: the reason of its mutation.
    pub async fn erase_places(&self, scope: &Scope<'_>, places: &[Doomed]) -> Result<(), StoreError> {
        self.erase_from_index(scope, places).await?;
        match scope.what {
            // With the account, as a whole.
            Erasable::Account(_) => Ok(()),
            Erasable::User(_) | Erasable::Request(_) => self.erase_samples(scope, places).await,
        }
    }

    /// Deletes what other tables keep of all of them together: an account from the rollups, and issues that nobody else has. Repeated
    /// after a crash, it deletes what is left.
    ///
    /// # Errors
    /// When ClickHouse does not answer, or cannot delete: the reason of its mutation.
    pub async fn erase_around(&self, scope: &Scope<'_>) -> Result<(), StoreError> {
        if let Erasable::Account(account) = scope.what {
            self.erase_account(scope, account).await?;
        }
        self.erase_issues(scope).await
    }

    /// Deletes the events: from then on nothing says what else there was of them.
    ///
    /// # Errors
    /// When ClickHouse does not answer, or cannot delete: the reason of its mutation.
    pub async fn erase_events(&self, scope: &Scope<'_>) -> Result<(), StoreError> {
        self.delete("events", &scope.condition()).await
    }

    /// Rows of the index that only events which are to go have.
    async fn erase_from_index(&self, scope: &Scope<'_>, places: &[Doomed]) -> Result<(), StoreError> {
        let kept = self.places_of_others(scope, places).await?;
        let rows = places.iter().filter(|place| !kept.contains(place)).map(|Doomed { request_id, second, week }| {
            format!("({},{second},{week})", index_key(lookup_key(request_id, scope.project)))
        });
        let rows: Vec<_> = rows.collect();
        if rows.is_empty() {
            return Ok(());
        }
        let condition = format!("(k, toUInt32(second), toUInt16(week)) IN ({})", rows.join(","));
        self.delete("request_index", &condition).await
    }

    /// Of these places, those at which an event stays: the same request id in the same second, of somebody else.
    async fn places_of_others(&self, scope: &Scope<'_>, places: &[Doomed]) -> Result<HashSet<Doomed>, StoreError> {
        let seconds: HashSet<u32> = places.iter().map(|place| place.second).collect();
        let seconds: Vec<_> = seconds.into_iter().map(|second| second.to_string()).collect();
        let (first, last) = (seconds_of(places).min().unwrap_or(0), seconds_of(places).max().unwrap_or(0));
        let sql = format!(
            "SELECT DISTINCT request_id, toUInt32(toDateTime(timestamp, 'UTC')) AS second, \
             toUInt16(toMonday(received_at)) AS week FROM {}.events WHERE project = {} AND timestamp >= {} AND timestamp < {} \
             AND toUInt32(toDateTime(timestamp, 'UTC')) IN ({}) AND request_id IN ({}) AND NOT ({})",
            self.database,
            text(scope.project),
            time(first * 1000),
            time((last + 1) * 1000),
            seconds.join(","),
            request_ids(places),
            scope.condition()
        );
        let query = self.admin.query(&sql).with_setting("max_query_size", STATEMENT_BYTES);
        let kept: Vec<Doomed> = within(TIMEOUT, "reading events beside those to erase", query.fetch_all()).await?;
        let doomed: HashSet<&Doomed> = places.iter().collect();
        Ok(kept.into_iter().filter(|place| doomed.contains(place)).collect())
    }

    /// Takes an account out of the rollups; the sums stay.
    async fn erase_account(&self, scope: &Scope<'_>, account: &str) -> Result<(), StoreError> {
        let (project, account) = (text(scope.project), text(account));
        let last_ms = (scope.until_ms + AHEAD_MS).div_euclid(HOUR_MS) * HOUR_MS;
        let hour = format!("at <= toDateTime({}, 'UTC')", last_ms / 1000);
        let condition = format!("project = {project} AND account = {account} AND {hour}");
        self.delete(RollupTable::Accounts.name(), &condition).await?;
        // The cell's sample may be the account's.
        let change =
            format!("accounts = arrayFilter(account -> account != {account}, accounts), last_seen = (last_seen.1, '')");
        let condition = format!("project = {project} AND has(accounts, {account}) AND {hour}");
        self.change_failures(&change, &condition).await
    }

    /// Changes cells of field errors, which days have as hours do; a condition on `at` that an hour fits, its day fits too.
    async fn change_failures(&self, change: &str, condition: &str) -> Result<(), StoreError> {
        for table in [RollupTable::Failures, RollupTable::FailureDays] {
            self.change(table.name(), change, condition).await?;
        }
        Ok(())
    }

    /// Takes request ids out of the rollups' samples.
    async fn erase_samples(&self, scope: &Scope<'_>, places: &[Doomed]) -> Result<(), StoreError> {
        let condition = format!("project = {} AND last_seen.2 IN ({})", text(scope.project), request_ids(places));
        self.change_failures("last_seen = (last_seen.1, '')", &condition).await
    }

    /// Issues that only events which are to go have: their texts may name somebody.
    async fn erase_issues(&self, scope: &Scope<'_>) -> Result<(), StoreError> {
        let project = text(scope.project);
        let sql = format!("SELECT DISTINCT fingerprint FROM {}.events WHERE {}", self.database, scope.condition());
        let found: Vec<u64> = within(TIMEOUT, "reading issues to erase", self.admin.query(&sql).fetch_all()).await?;
        let list = |fingerprints: &[u64]| fingerprints.iter().map(u64::to_string).collect::<Vec<_>>().join(",");
        for fingerprints in found.chunks(CHUNK) {
            let sql = format!(
                "SELECT DISTINCT fingerprint FROM {}.events WHERE project = {project} AND fingerprint IN ({}) AND NOT ({})",
                self.database,
                list(fingerprints),
                scope.condition()
            );
            let query = self.admin.query(&sql).with_setting("max_query_size", STATEMENT_BYTES);
            let kept: Vec<u64> = within(TIMEOUT, "reading issues beside those to erase", query.fetch_all()).await?;
            let kept: HashSet<u64> = kept.into_iter().collect();
            let gone: Vec<u64> = fingerprints.iter().copied().filter(|one| !kept.contains(one)).collect();
            if !gone.is_empty() {
                let condition = format!("project = {project} AND fingerprint IN ({})", list(&gone));
                self.delete("issues", &condition).await?;
                // Whoever has such an error next has it written anew.
                self.known_issues.forget(scope.project, &gone);
            }
        }
        Ok(())
    }

    async fn delete(&self, table: &str, condition: &str) -> Result<(), StoreError> {
        self.mutate(table, "DELETE", condition).await
    }

    async fn change(&self, table: &str, change: &str, condition: &str) -> Result<(), StoreError> {
        self.mutate(table, &format!("UPDATE {change}"), condition).await
    }

    /// Mutates a table, once, if there is a row that fits, and waits until that is done.
    async fn mutate(&self, table: &str, command: &str, condition: &str) -> Result<(), StoreError> {
        let table_name = format!("{}.{table}", self.database);
        // One that was asked for by an attempt before goes on by itself, as long as nobody kills it: another would come on top of it.
        self.finished(table, None).await?;
        let count = format!("SELECT count() FROM {table_name} WHERE {condition}");
        let query = self.admin.query(&count).with_setting("max_query_size", STATEMENT_BYTES);
        let rows: u64 = within(TIMEOUT, "counting rows to erase", query.fetch_one()).await?;
        if rows == 0 {
            return Ok(());
        }
        let before: HashSet<String> = self.mutations(table).await?.into_iter().map(|one| one.id).collect();
        let mutation = format!("ALTER TABLE {table_name} {command} WHERE {condition}");
        let query = self.admin.query(&mutation).with_setting("max_query_size", STATEMENT_BYTES);
        within(TIMEOUT, "asking for a deletion", query.execute()).await?;
        self.finished(table, Some(&before)).await
    }

    /// Waits until a table's mutations are done: all that are under way, or the one that was asked for after those before.
    async fn finished(&self, table: &str, before: Option<&HashSet<String>>) -> Result<(), StoreError> {
        let deadline = tokio::time::Instant::now() + MUTATION_TIMEOUT;
        while !are_done(&self.mutations(table).await?, before)? {
            if tokio::time::Instant::now() > deadline {
                return Err(StoreError::TimedOut("a deletion"));
            }
            tokio::time::sleep(MUTATION_INTERVAL).await;
        }
        Ok(())
    }

    async fn mutations(&self, table: &str) -> Result<Vec<Mutation>, StoreError> {
        let query = self
            .admin
            .query(
                "SELECT mutation_id AS id, is_done, latest_fail_reason FROM system.mutations \
                 WHERE database = {database:String} AND table = {table:String}",
            )
            .param("database", self.database.as_str())
            .param("table", table);
        within(TIMEOUT, "looking for deletions under way", query.fetch_all()).await
    }
}

/// A mutation of a table, as ClickHouse lists it: those under way, and the latest that are done. One that is killed is not listed
/// any more.
#[derive(Debug, Row, Deserialize)]
struct Mutation {
    id: String,
    is_done: u8,
    /// Empty while nothing has failed.
    latest_fail_reason: String,
}

/// Whether the mutations are done: all of them, or those that were not there before, of which there must be one.
fn are_done(mutations: &[Mutation], before: Option<&HashSet<String>>) -> Result<bool, StoreError> {
    let is_ours = |one: &&Mutation| before.is_none_or(|before| !before.contains(&one.id));
    let ours: Vec<_> = mutations.iter().filter(is_ours).collect();
    if before.is_some() && ours.is_empty() {
        return Err(StoreError::Mutation("it was killed".to_owned()));
    }
    let mut unfinished = ours.into_iter().filter(|one| one.is_done == 0).peekable();
    let is_done = unfinished.peek().is_none();
    match unfinished.find(|one| !one.latest_fail_reason.is_empty()) {
        Some(failing) => Err(StoreError::Mutation(failing.latest_fail_reason.clone())),
        None => Ok(is_done),
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
    fn a_mutation_is_done_fails_or_was_killed() {
        let mutation = |id: &str, is_done, problem: &str| Mutation {
            id: id.to_owned(),
            is_done,
            latest_fail_reason: problem.to_owned(),
        };
        let before = HashSet::from(["old".to_owned()]);
        let of = |ours: Option<(u8, &str)>| {
            let ours = ours.map(|(is_done, problem)| mutation("new", is_done, problem));
            let listed: Vec<_> = [mutation("old", 0, "broken")].into_iter().chain(ours).collect();
            are_done(&listed, Some(&before)).map_err(|error| error.to_string())
        };
        assert_eq!((of(Some((0, ""))), of(Some((1, "")))), (Ok(false), Ok(true)));
        assert!(of(Some((0, "no space"))).unwrap_err().contains("no space"));
        assert!(of(None).unwrap_err().contains("killed"));
        // Before one is asked for: whatever is under way.
        let under_way = |listed: &[Mutation]| are_done(listed, None).map_err(|error| error.to_string());
        assert_eq!((under_way(&[]), under_way(&[mutation("old", 1, "it failed at first")])), (Ok(true), Ok(true)));
        assert_eq!(under_way(&[mutation("old", 0, "")]), Ok(false));
        assert!(under_way(&[mutation("old", 0, "broken")]).unwrap_err().contains("broken"));
    }

    #[test]
    fn a_text_stands_escaped_byte_for_byte() {
        assert_eq!(text("a'\\é\0"), r"'\x61\x27\x5c\xc3\xa9\x00'");
        assert_eq!(text(""), "''");
    }

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
