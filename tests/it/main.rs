//! The integration tests: one binary, a module a subject.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "in a test, they are the verdict")]

mod engine;
mod migrate;
mod store;
