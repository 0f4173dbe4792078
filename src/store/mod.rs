//! ClickHouse: the client, migrations, columnar rows, every `SELECT`, and the embedded engine's supervisor.
//!
//! Does not know the spool. There is one code path to ClickHouse: HTTP through the official crate; the embedded engine
//! is only somebody who starts a server for us.

pub mod client;
pub mod engine;
pub mod error;
pub mod fold;
pub mod insert;
pub mod migrate;
pub mod query;
pub mod retention;
pub mod rows;

use std::sync::{Arc, atomic::AtomicU32};

pub use error::{RetryClass, StoreError};
pub use rows::{EncodedBatch, encode};

/// Events in ClickHouse. Cheap to clone.
#[derive(Clone)]
pub struct Store {
    /// May alter our tables.
    admin: clickhouse::Client,
    /// May insert into our tables, count, and kill its own queries.
    write: clickhouse::Client,
    /// May select from our tables, and change settings of its queries (`readonly = 2`).
    read: clickhouse::Client,
    /// A plain identifier: it stands in SQL unquoted.
    database: String,
    /// How long events are kept, days: what [`Store::apply_retention`] was last told.
    retention_days: Arc<AtomicU32>,
}

impl Store {
    /// A store over a database that is, or will be, migrated.
    #[must_use]
    pub fn new(clients: client::Clients) -> Self {
        let retention_days = Arc::new(AtomicU32::new(retention::DEFAULT_DAYS));
        let client::Clients { admin, write, read, database, .. } = clients;
        Self { admin, write, read, database: database.as_str().to_owned(), retention_days }
    }
}
