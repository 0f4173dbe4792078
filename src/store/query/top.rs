//! Of what a filter's events have most: by any of their labels, accounts and users among them.

use clickhouse::Row;
use serde::Deserialize;

use super::{Filter, NO_STEPS_S, RateKey, Sql, Store, StoreError};

/// The largest groups of a filter's events.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Top {
    /// Most events first.
    pub rows: Vec<TopRow>,
    /// Events that fit the filter, those of no group among them.
    pub events: u64,
}

/// Events of one group.
#[derive(Clone, Debug, PartialEq, Eq, Row, Deserialize)]
pub struct TopRow {
    /// In the order of the keys.
    pub labels: Vec<String>,
    pub events: u64,
}

impl Store {
    /// The groups with most events. By account or user: events without one are in no group.
    pub async fn top(
        &self,
        project: &str,
        filter: &Filter,
        group_by: &[RateKey],
        limit: usize,
    ) -> Result<Top, StoreError> {
        let since_ms = self.rollups_since_ms().await?;
        let step_ms = i64::from(NO_STEPS_S) * 1000;
        let mut sql = Sql::new("SELECT labels, sum(counted) AS events FROM (");
        self.push_counts(&mut sql, project, filter, group_by, step_ms, since_ms);
        sql.push(&format!(") GROUP BY labels ORDER BY events DESC, labels LIMIT {limit}"));
        let rows = self.rows_of("counting the largest groups", self.ask_wide(&sql));
        let all = self.rates(project, filter, &[], NO_STEPS_S);
        let (rows, all) = tokio::try_join!(rows, all)?;
        Ok(Top { rows, events: all.iter().map(|series| series.total).sum() })
    }
}
