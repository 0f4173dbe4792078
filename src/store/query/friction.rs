//! Who cannot get on: accounts that fail at a field of a route again and again.
//!
//! An *attempt* is an hour in which an account failed at it: the rollup knows the accounts of each hour, and a client that repeats
//! at once has not tried anew. An account *still fails* when its last attempt is in the range's last `quiet_ms`; else it was not seen
//! again. It is *stuck* when it still fails and has attempted more than once.
//!
//! Of an account as a whole, an attempt is an hour in which it failed at any of the fields that fit; it still fails, or is stuck, if it does so
//! at one of them.

use clickhouse::Row;
use serde::Deserialize;

use super::{
    FailureKey, Filter, Sql, Store, StoreError, Value,
    rollup::{HOUR_MS, Range, take_whole},
    validation::events_in_rollup,
};

const KEYS: [FailureKey; 2] = [FailureKey::Route, FailureKey::Field];

/// Accounts named of a row at most.
const WORST: usize = 5;

/// What accounts meet at one field of one route.
#[derive(Clone, Debug, PartialEq, Row, Deserialize)]
pub struct FrictionRow {
    pub route: String,
    pub field: String,
    /// Events with an error of the field, those without an account too.
    pub events: u64,
    /// Accounts that failed at it.
    pub accounts: u64,
    /// Attempts of all accounts.
    pub attempts: u64,
    pub still_failing: u64,
    pub stuck: u64,
    /// Begin of the first and of the last hour with an attempt, Unix seconds.
    pub first_hour: u32,
    pub last_hour: u32,
    /// Accounts to look at first: whether it is not stuck, minus the number of its attempts, the account, the last attempt's hour.
    pub worst: Vec<(bool, i64, String, u32)>,
    /// Accounts that are stuck at any field of any route that fits the filter.
    pub stuck_in_all: u64,
}

/// An account with everything it failed at.
#[derive(Clone, Debug, PartialEq, Eq, Row, Deserialize)]
pub struct FailingAccount {
    pub account: String,
    pub attempts: u64,
    pub still_failing: bool,
    pub stuck: bool,
    /// Begin of the first and of the last hour with an attempt, Unix seconds.
    pub first_hour: u32,
    pub last_hour: u32,
    /// Accounts that fit, with those beyond the limit.
    pub in_all: u64,
}

/// How an account gets on; who is stuck still fails too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FrictionState {
    Stuck,
    StillFailing,
    NotSeenAgain,
}

impl FrictionState {
    pub const ALL: [Self; 3] = [Self::Stuck, Self::StillFailing, Self::NotSeenAgain];

    /// Name in answers and in `state`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Stuck => "stuck",
            Self::StillFailing => "still_failing",
            Self::NotSeenAgain => "not_seen_again",
        }
    }

    /// Of an account as the select of accounts names it.
    const fn condition(self) -> &'static str {
        match self {
            Self::Stuck => " WHERE stuck",
            Self::StillFailing => " WHERE still_failing",
            Self::NotSeenAgain => " WHERE NOT still_failing",
        }
    }
}

/// Field errors that are gone through at most: an account is looked for in every hour, and of more they would not fit ClickHouse's memory.
pub const MAX_FAILURES: u64 = 3_000_000;

impl Store {
    /// From when on a range has so many field errors at most, roughly, by whole hours; its begin where it has no more. Filters that the rollup does
    /// not know leave no more than it counts. Of one person, there are not too many.
    pub async fn friction_from_ms(&self, project: &str, filter: &Filter, most: u64) -> Result<i64, StoreError> {
        let Filter { from_ms, to_ms, services, environments, routes, fields, rules, .. } = filter.clone();
        let known = Filter { from_ms, to_ms, services, environments, routes, fields, rules, ..Filter::default() };
        let since_ms = self.rollups_since_ms().await?;
        let whole = take_whole(&mut vec![(from_ms, to_ms)], HOUR_MS, since_ms);
        if whole.is_empty() || !filter.account_ids.is_empty() || !filter.user_ids.is_empty() {
            return Ok(from_ms);
        }
        let cells: Vec<_> = whole.into_iter().map(|range| (None, range)).collect();
        let mut sql = Sql::new("SELECT toInt64(toUnixTimestamp(at)) * 1000 AS hour, sum(count) AS failures FROM ");
        sql.push(&self.table("rollup_failures")).push_cells(project, &cells).push_conditions(&known);
        sql.push_errors_conditions(&known, "field", "rule").push(" GROUP BY at ORDER BY at DESC");
        let hours: Vec<(i64, u64)> = self.rows_of("counting field errors by the hour", self.ask_wide(&sql)).await?;
        let mut failures = 0_u64;
        let too_many = hours.into_iter().find(|(_, of_hour)| {
            failures = failures.saturating_add(*of_hour);
            failures > most
        });
        // An hour that has more than that alone is gone through all the same.
        let last_hour = (to_ms - 1).div_euclid(HOUR_MS) * HOUR_MS;
        Ok(too_many.map_or(from_ms, |(hour, _)| (hour + HOUR_MS).min(last_hour).max(from_ms)))
    }

    /// Fields of routes where accounts fail, those with the most stuck accounts first.
    pub async fn friction(
        &self,
        project: &str,
        filter: &Filter,
        quiet_ms: i64,
        limit: usize,
    ) -> Result<Vec<FrictionRow>, StoreError> {
        let mut sql = Sql::default();
        push_outer(&mut sql, filter.to_ms, quiet_ms);
        self.push_failing_hours(&mut sql, project, filter).await?;
        sql.push(
            ") ARRAY JOIN arrayConcat([''], ids) AS id GROUP BY r, f, id) GROUP BY r, f) \
             ORDER BY stuck DESC, still_failing DESC, accounts DESC, route, field",
        );
        sql.push(&format!(" LIMIT {limit}"));
        self.rows_of("reading friction", self.ask_wide(&sql)).await
    }

    /// The accounts that fail, or those of them in one state, those with most attempts first.
    pub async fn failing_accounts(
        &self,
        project: &str,
        filter: &Filter,
        quiet_ms: i64,
        state: Option<FrictionState>,
        limit: usize,
    ) -> Result<Vec<FailingAccount>, StoreError> {
        let mut sql = Sql::new(
            "SELECT *, count() OVER () AS in_all FROM (SELECT id AS account, uniqExactArray(hours) AS attempts, \
             toBool(max(is_failing)) AS still_failing, toBool(max(is_failing AND length(hours) > 1)) AS stuck, min(first) AS first_hour, \
             max(last) AS last_hour FROM (SELECT r, f, id, groupUniqArray(hour) AS hours, min(hour) AS first, max(hour) AS last, ",
        );
        sql.push_value("last >= {} AS is_failing FROM (", Value::Int(quiet_since(filter.to_ms, quiet_ms)));
        self.push_failing_hours(&mut sql, project, filter).await?;
        sql.push(") ARRAY JOIN ids AS id GROUP BY r, f, id) GROUP BY id)");
        sql.push(state.map_or("", FrictionState::condition));
        sql.push(&format!(" ORDER BY attempts DESC, last_hour DESC, account LIMIT {limit}"));
        self.rows_of("reading accounts that fail", self.ask_wide(&sql)).await
    }

    /// The hours with failures: route `r`, field `f`, `hour`, events `hits_`, accounts `ids`; whole ones from the rollup, if it knows the filter.
    async fn push_failing_hours(&self, sql: &mut Sql, project: &str, filter: &Filter) -> Result<(), StoreError> {
        let since_ms = self.rollups_since_ms().await?;
        let events = events_in_rollup(filter, &KEYS);
        let mut rest = vec![(filter.from_ms, filter.to_ms)];
        let whole = if events.is_some() { take_whole(&mut rest, HOUR_MS, since_ms) } else { Vec::new() };
        let pieces = whole.into_iter().map(|range| (range, true)).chain(rest.into_iter().map(|range| (range, false)));
        for (index, (range, in_rollup)) in pieces.enumerate() {
            sql.push(if index == 0 { "" } else { " UNION ALL " });
            match events.filter(|_| in_rollup) {
                Some(events) => self.push_hours_of_cells(sql, project, filter, range, events),
                None => self.push_hours_of_events(sql, project, filter, range),
            }
        }
        Ok(())
    }

    fn push_hours_of_cells(&self, sql: &mut Sql, project: &str, filter: &Filter, range: Range, events: &str) {
        sql.push("SELECT toString(route) AS r, toString(field) AS f, toUnixTimestamp(at) AS hour, toUInt64(");
        sql.push(events).push(") AS hits_, groupUniqArrayArray(accounts) AS ids FROM ");
        sql.push(&self.table("rollup_failures")).push_cells(project, &[(None, range)]).push_conditions(filter);
        sql.push_errors_conditions(filter, "field", "rule").push(" GROUP BY r, f, hour");
    }

    fn push_hours_of_events(&self, sql: &mut Sql, project: &str, filter: &Filter, (from_ms, to_ms): Range) {
        sql.push(
            "SELECT toString(route_) AS r, toString(error_field) AS f, toUnixTimestamp(toStartOfHour(at)) AS hour, \
             uniqExact(key) AS hits_, groupUniqArrayIf(account, account != '') AS ids FROM (SELECT key, account_id AS account, \
             route AS route_, toDateTime(timestamp, 'UTC') AS at, `errors.field` AS error_fields, `errors.rule` AS error_rules FROM ",
        );
        sql.push(&self.table("events")).push_range(project, from_ms, to_ms).push_conditions(filter);
        sql.push(
            " AND notEmpty(`errors.field`) LIMIT 1 BY key) ARRAY JOIN error_fields AS error_field, error_rules AS error_rule \
             WHERE 1",
        );
        sql.push_errors_conditions(filter, "error_field", "error_rule").push(" GROUP BY r, f, hour");
    }
}

/// Who fails in this hour or later still fails: its begin, Unix seconds.
fn quiet_since(to_ms: i64, quiet_ms: i64) -> i64 {
    to_ms.saturating_sub(quiet_ms).max(0).div_euclid(HOUR_MS) * (HOUR_MS / 1000)
}

/// The select around the pieces: one row an account first, then one a route and field.
fn push_outer(sql: &mut Sql, to_ms: i64, quiet_ms: i64) {
    sql.push(
        "SELECT r AS route, f AS field, events, accounts, attempts, still_failing, stuck, first_hour, last_hour, worst, \
         uniqExactMerge(stuck_ids) OVER () AS stuck_in_all FROM (SELECT r, f, sum(hits) AS events, countIf(id != '') AS accounts, \
         sumIf(hours, id != '') AS attempts, countIf(is_failing) AS still_failing, countIf(is_failing AND hours > 1) AS stuck, \
         uniqExactStateIf(id, is_failing AND hours > 1) AS stuck_ids, min(first) AS first_hour, max(last) AS last_hour, ",
    );
    sql.push(&format!("groupArraySortedIf({WORST})((NOT toBool(is_failing AND hours > 1), -toInt64(hours), id, last), id != '') AS worst "));
    sql.push(
        "FROM (SELECT r, f, id, count() AS hours, min(hour) AS first, max(hour) AS last, if(id = '', sum(hits_), 0) AS hits, ",
    );
    sql.push_value("id != '' AND max(hour) >= {} AS is_failing FROM (", Value::Int(quiet_since(to_ms, quiet_ms)));
}
