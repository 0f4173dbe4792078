//! Whole parts of the collector against real files, sockets and a real ClickHouse: one binary, a module a subject.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "in a test, they are the verdict")]
#![allow(clippy::float_cmp, reason = "counters are whole numbers")]
#![allow(clippy::format_collect, reason = "bodies of a test are built once")]

mod alerts;
mod captured;
mod collector;
mod console;
mod contract;
mod crash;
mod engine;
mod faults;
mod hostile;
mod leaks;
mod lookup;
mod migrate;
mod monitoring;
mod reference;
mod rollups;
mod rooms;
mod store;
mod traces;
