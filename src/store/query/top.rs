//! Who has most of the errors: accounts.

use clickhouse::Row;
use serde::Deserialize;

use super::{
    Filter, Sql, Store, StoreError,
    rollup::{HOUR_MS, take_whole},
};

/// An account and its errors.
#[derive(Clone, Debug, PartialEq, Eq, Row, Deserialize)]
pub struct AccountErrors {
    pub account: String,
    pub events: u64,
    /// Accounts that have any, those that are not returned included.
    pub accounts: u64,
}

impl Store {
    /// The accounts with the most errors of a time range, the most first; events without an account are nobody's.
    ///
    /// Whole hours come from the rollup of accounts, the edges from the events; the answer is the same.
    pub async fn accounts_by_errors(
        &self,
        project: &str,
        range_ms: (i64, i64),
        limit: usize,
    ) -> Result<Vec<AccountErrors>, StoreError> {
        let since_ms = self.rollups_since_ms().await?;
        let mut edges = vec![range_ms];
        let hours = take_whole(&mut edges, HOUR_MS, since_ms);
        let mut sql = Sql::new("SELECT account, sum(counted) AS events, count() OVER () AS accounts FROM (");
        let mut union = "";
        if !hours.is_empty() {
            let cells: Vec<_> = hours.into_iter().map(|range| (None, range)).collect();
            sql.push("SELECT account, sum(count) AS counted FROM ").push(&self.table("rollup_accounts"));
            sql.push_cells(project, &cells).push(" GROUP BY account");
            union = " UNION ALL ";
        }
        for range in edges {
            sql.push(union).push("SELECT account_id AS account, uniqExact(key) AS counted FROM ");
            sql.push(&self.table("events")).push_filter(project, &Filter::default().within(range));
            sql.push(" AND account_id != '' GROUP BY account");
            union = " UNION ALL ";
        }
        sql.push(&format!(") GROUP BY account ORDER BY events DESC, account LIMIT {limit}"));
        self.rows_of("counting errors of accounts", self.ask_wide(&sql)).await
    }
}
