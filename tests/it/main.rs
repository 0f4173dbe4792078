//! Whole parts of the collector against real files, sockets and a real ClickHouse.
// Helpers outside test functions may unwrap as tests do.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod store;
mod store_engine;
