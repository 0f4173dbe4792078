//! What is shown of the issues on a page: accounts, environments, and some of their events.

use clickhouse::Row;
use serde::Deserialize;

use super::{Counted, IssueFilter, IssueSamples, NamedCount, last};
use crate::store::{
    Store, StoreError,
    query::{Sql, Value},
};

/// Request ids shown of each issue, each of another hour.
const SAMPLES: usize = 5;

#[derive(Row, Deserialize)]
struct Accounts {
    fingerprint: u64,
    accounts: u64,
}

const ENVIRONMENTS: Counted =
    Counted { cells: ", toString(environment) AS name", events: ", toString(environment) AS name", group_by: ", name" };
const HOURLY: Counted = Counted {
    cells: concat!(last!(cells), ", toInt64(intDiv(toUnixTimestamp(at), 3600)) AS hour"),
    events: concat!(last!(events), ", intDiv(toUnixTimestamp64Milli(timestamp), 3600000) AS hour"),
    group_by: ", hour",
};

impl Store {
    /// How many accounts had each of the filter's issues in its range: fingerprint and accounts.
    pub async fn issue_accounts(&self, project: &str, filter: &IssueFilter) -> Result<Vec<(u64, u64)>, StoreError> {
        let mut sql = Sql::new("SELECT fingerprint, uniqExactIf(account_id, account_id != '') AS accounts FROM ");
        sql.push(&self.table("events")).push_filter(project, &filter.events((filter.from_ms, filter.to_ms)));
        sql.push(" GROUP BY fingerprint");
        let rows: Vec<Accounts> = self.rows_of("counting an issue's accounts", self.ask_wide(&sql)).await?;
        Ok(rows.into_iter().map(|row| (row.fingerprint, row.accounts)).collect())
    }

    /// The accounts with most events of the filter's issues in its range.
    pub async fn issue_top_accounts(
        &self,
        project: &str,
        filter: &IssueFilter,
        limit: usize,
    ) -> Result<Vec<NamedCount>, StoreError> {
        let mut sql = Sql::new("SELECT account_id AS name, uniqExact(key) AS events FROM ");
        sql.push(&self.table("events")).push_filter(project, &filter.events((filter.from_ms, filter.to_ms)));
        sql.push(&format!(" AND account_id != '' GROUP BY name ORDER BY events DESC, name LIMIT {limit}"));
        self.rows_of("reading an issue's accounts", self.ask_wide(&sql)).await
    }

    /// The environments with events of the filter's issues in its range.
    pub async fn issue_environments(&self, project: &str, filter: &IssueFilter) -> Result<Vec<NamedCount>, StoreError> {
        let mut sql = Sql::new("SELECT name, sum(counted) AS events FROM (");
        self.push_pieces(&mut sql, project, filter, &ENVIRONMENTS).await?;
        sql.push(") GROUP BY name ORDER BY events DESC, name LIMIT 100");
        self.rows_of("reading an issue's environments", self.ask_wide(&sql)).await
    }

    /// Some events of each of the filter's issues: the last ones of the latest hours that it was seen in, within the filter's range.
    ///
    /// The hours say when; so only those moments are read from the events, however long the range is.
    pub async fn issue_samples(&self, project: &str, filter: &IssueFilter) -> Result<Vec<IssueSamples>, StoreError> {
        let mut sql = Sql::new("SELECT arrayJoin(arraySlice(arrayReverseSort(groupUniqArray(last)), 1, ");
        sql.push(&format!("{SAMPLES})) AS moment FROM ("));
        self.push_pieces(&mut sql, project, filter, &HOURLY).await?;
        sql.push(") GROUP BY fingerprint");
        let moments: Vec<i64> = self.rows_of("finding an issue's last events", self.ask_wide(&sql)).await?;
        let (Some(from), Some(to)) = (moments.iter().min().copied(), moments.iter().max().copied()) else {
            return Ok(Vec::new());
        };
        let mut sql = Sql::new(
            "SELECT fingerprint, arrayMap(one -> one.2, arraySlice(arrayReverseSort(groupUniqArray((at, id))), 1, ",
        );
        sql.push(&format!(
            "{SAMPLES})) AS request_ids, argMax(of_method, at) AS method, argMax(of_error, at) AS error, \
             argMax(of_fields, at) AS fields, argMax(of_messages, at) AS messages, argMax(of_rules, at) AS rules FROM (SELECT fingerprint, \
             toUnixTimestamp64Milli(timestamp) AS at, request_id AS id, toString(method) AS of_method, toString(error) AS of_error, \
             `errors.field` AS of_fields, `errors.message` AS of_messages, `errors.rule` AS of_rules FROM "
        ));
        sql.push(&self.table("events")).push_filter(project, &filter.events((from, to + 1)));
        sql.push_value(
            " AND timestamp IN (SELECT fromUnixTimestamp64Milli(arrayJoin({}), 'UTC')) LIMIT 1 BY key) GROUP BY fingerprint",
            Value::Ints(moments),
        );
        self.rows_of("reading an issue's last events", self.ask_wide(&sql)).await
    }
}
