//! Rollups: sums over the stored events that dashboards and alerts read in their place.
//!
//! [`Rollups`] counts the events of a *group* of delivered batches in memory; `encode` makes one block a table of it; and
//! `insert` adds it, once: the block brings a marker row of the group, by which [`super::Store::rolled_up`] knows it again.
//! What memory has lost is counted anew from the stored events (`sql`). Who calls what, and when, is `deliver`'s;
//! `docs/decisions/0007-rollups.md` says why it is done so.

mod aggregate;
mod encode;
mod insert;
mod issues;
mod known;
mod names;
mod sql;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

pub use aggregate::Rollups;
pub use encode::encode;
pub(super) use known::{KnownIssues, KnownReleases};

/// A table of rollups.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum RollupTable {
    /// Events per minute and per hour.
    Counts,
    /// Field errors per hour.
    Failures,
    /// Field errors per day.
    FailureDays,
    /// How often they were, per day and per week.
    FailureCounts,
    /// Events per hour and account.
    Accounts,
    /// Events per hour and issue; before them goes what the issues are, into `issues`, and which releases there were, into `release_hours`.
    Issues,
}

impl RollupTable {
    pub const ALL: [Self; 6] =
        [Self::Counts, Self::Failures, Self::FailureDays, Self::FailureCounts, Self::Accounts, Self::Issues];

    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Counts => "rollup_counts",
            Self::Failures => "rollup_failures",
            Self::FailureDays => "rollup_failure_days",
            Self::FailureCounts => "rollup_failure_counts",
            Self::Accounts => "rollup_accounts",
            Self::Issues => "rollup_issues",
        }
    }

    /// The columns that are filled, as they stand in an INSERT.
    const fn columns(self) -> &'static str {
        match self {
            Self::Counts => "week, batch, project, per, at, service, environment, route, method, status, count",
            Self::Failures | Self::FailureDays => {
                "week, batch, project, at, service, environment, route, field, rule, count, events, field_repeats, \
                 rule_repeats, any_repeats, accounts, first_seen, last_seen"
            }
            Self::FailureCounts => "week, batch, project, per, at, service, environment, route, field, rule, count",
            Self::Accounts => "week, batch, project, account, at, service, environment, route, method, status, count",
            Self::Issues => "week, batch, project, at, fingerprint, environment, release, count, last_ms",
        }
    }
}

/// The columns of `issues` that are filled.
const ISSUE_COLUMNS: &str = "project, fingerprint, service, route, status, error_template, fields, rules, exception_type, first_seen, \
    last_seen";

/// The columns of `release_hours`.
const RELEASE_COLUMNS: &str = "project, at, environment, release";

/// Delivered batches that are entered into the rollups together.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Group {
    /// What its markers are known by.
    pub id: Uuid,
    /// The partition: the Monday of the week its events were received in, as days since the Unix epoch.
    pub week: i32,
    pub batches: Vec<Uuid>,
    /// Bounds of its events' `received_at_ms`, both included.
    pub received_ms: (i64, i64),
}

impl Group {
    /// A new one, of no batches.
    #[must_use]
    pub fn new(week: i32) -> Self {
        Self { id: Uuid::now_v7(), week, batches: Vec::new(), received_ms: (i64::MAX, i64::MIN) }
    }

    pub fn add(&mut self, batch: Uuid, received_ms: (i64, i64)) {
        self.batches.push(batch);
        self.received_ms = (self.received_ms.0.min(received_ms.0), self.received_ms.1.max(received_ms.1));
    }
}
