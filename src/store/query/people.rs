//! Whom a range of time has events of.

use super::{
    Sql, Store, StoreError, Value,
    rollup::{HOUR_MS, Range},
};
use crate::event::pseudonym::Person;

/// Ids read at most: as many are hashed in half a second.
const MOST: usize = 500_000;

impl Store {
    /// The ids of accounts or users with events in a range, at most `MOST`, those with the most events first. Accounts come from the
    /// rollup, in whole hours.
    pub async fn people_seen(
        &self,
        project: &str,
        person: Person,
        (from_ms, to_ms): Range,
    ) -> Result<Vec<String>, StoreError> {
        let mut sql = Sql::default();
        match person {
            Person::Account => {
                let hours = (from_ms.div_euclid(HOUR_MS) * HOUR_MS, to_ms.saturating_add(HOUR_MS));
                sql.push("SELECT account FROM ").push(&self.table("rollup_accounts"));
                sql.push_cells_by_day(project, &[hours]).push(" GROUP BY account ORDER BY sum(count) DESC, account");
            }
            Person::User => {
                sql.push("SELECT user_id FROM ").push(&self.table("events")).push_range(project, from_ms, to_ms);
                sql.push(" AND user_id != '' GROUP BY user_id ORDER BY count() DESC, user_id");
            }
        }
        sql.push_value(" LIMIT {}", Value::UInt(MOST as u64));
        self.rows_of("reading whom a range has events of", self.ask_wide(&sql)).await
    }
}
