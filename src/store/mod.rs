//! ClickHouse: the client, migrations, columnar rows, every `SELECT`, and the embedded engine's supervisor.
//!
//! Does not know the spool. There is one code path to ClickHouse: HTTP through the official crate; the embedded engine
//! is only somebody who starts a server for us.

pub mod client;
mod details;
pub mod engine;
pub mod erase;
pub mod error;
mod fold;
pub mod insert;
pub mod migrate;
pub mod query;
pub mod rollup;
pub mod rows;
pub mod totals;
pub mod upkeep;

use std::{
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    time::Duration,
};

use crate::{clock::Clock, telemetry};
use client::{Clients, Database};
pub use error::{RetryClass, StoreError};
pub use rows::{EncodedBatch, encode};

/// A client whose requests say which trace they belong to, if the current span is in one.
fn traced(client: &clickhouse::Client) -> clickhouse::Client {
    let headers = telemetry::of_current_span();
    headers.into_iter().fold(client.clone(), |client, (name, value)| client.with_header(name, value))
}

/// Events in ClickHouse. Cheap to clone.
#[derive(Clone)]
pub struct Store {
    /// May alter our tables and read `system`.
    admin: clickhouse::Client,
    /// May insert into our tables, count, and kill its own queries.
    write: clickhouse::Client,
    /// May select from our tables, and change settings of its queries (`readonly = 2`).
    read: clickhouse::Client,
    database: Database,
    /// How long events are kept, days: what [`Store::apply_retention`] was last told.
    retention_days: Arc<AtomicU32>,
    /// Whether [`Store::migrate`] has ended well, here.
    is_migrated: Arc<AtomicBool>,
    /// From which timestamp on the rollups are whole: asked once.
    rollups_since_ms: Arc<OnceLock<i64>>,
    /// The same of the issues' hours.
    issues_since_ms: Arc<OnceLock<i64>>,
    failure_days_since_ms: Arc<OnceLock<i64>>,
    /// What is in the table `issues`, as far as this collector has written it.
    known_issues: Arc<rollup::KnownIssues>,
    known_releases: Arc<rollup::KnownReleases>,
    /// From what duration on a question is logged as slow; none is when there is no such duration.
    slow: Option<Duration>,
    clock: Clock,
}

/// How long events are kept before [`Store::apply_retention`] says otherwise: what the migrations set.
pub const DEFAULT_RETENTION_DAYS: u32 = 90;

impl Store {
    /// A store over a migrated database.
    #[must_use]
    pub fn new(clients: Clients) -> Self {
        let Clients { admin, write, read, database, origin: _ } = clients;
        let retention_days = Arc::new(AtomicU32::new(DEFAULT_RETENTION_DAYS));
        Self {
            admin,
            write,
            read,
            database,
            retention_days,
            is_migrated: Arc::default(),
            rollups_since_ms: Arc::default(),
            issues_since_ms: Arc::default(),
            failure_days_since_ms: Arc::default(),
            known_issues: Arc::default(),
            known_releases: Arc::default(),
            slow: None,
            clock: Clock::system(),
        }
    }

    /// The same store by another clock: what it calls expired goes by it.
    #[must_use]
    pub fn with_clock(self, clock: Clock) -> Self {
        Self { clock, ..self }
    }

    /// The same store, knowing from the start how many days events are kept; [`Store::apply_retention`] tells the tables.
    #[must_use]
    pub fn with_retention(self, days: u32) -> Self {
        Self { retention_days: Arc::new(AtomicU32::new(days)), ..self }
    }

    /// The same store, logging each question that takes so many milliseconds or more; 0: none.
    #[must_use]
    pub fn with_slow_log(self, slow_ms: u64) -> Self {
        Self { slow: (slow_ms > 0).then(|| Duration::from_millis(slow_ms)), ..self }
    }

    /// Applies the migrations that are pending; returns their names.
    ///
    /// # Errors
    /// As [`migrate::apply`].
    pub async fn migrate(&self) -> Result<Vec<&'static str>, migrate::MigrateError> {
        let applied = migrate::apply(&self.admin, &self.database, migrate::MIGRATIONS).await?;
        self.is_migrated.store(true, Ordering::Release);
        Ok(applied.into_iter().map(|migration| migration.name).collect())
    }

    /// Keeps events for `days` from their receipt, altering the tables where they say otherwise.
    ///
    /// ClickHouse drops whole parts when everything in them is past its time, so an event lives up to a week longer.
    ///
    /// # Errors
    /// As [`migrate::apply_retention`].
    pub async fn apply_retention(&self, days: u32) -> Result<(), migrate::MigrateError> {
        migrate::apply_retention(&self.admin, &self.database, migrate::RETENTION, days).await?;
        self.retention_days.store(days, Ordering::Relaxed);
        Ok(())
    }

    /// Whether events received in the week that begins on `week` (days since the Unix epoch) may be gone by their age.
    fn is_expired(&self, week: i32, now_ms: i64) -> bool {
        let last_kept = i64::from(week) + i64::from(self.retention_days.load(Ordering::Relaxed));
        now_ms.div_euclid(rows::DAY_MS) >= last_kept
    }
}
