//! ClickHouse: the client, migrations, columnar rows, every `SELECT`, and the embedded engine's supervisor.
//!
//! Does not know the spool. There is one code path to ClickHouse: HTTP through the official crate; the embedded engine
//! is only somebody who starts a server for us.

pub mod client;
pub mod engine;
pub mod migrate;
