//! The integration tests: one binary, a module a subject.
// Functions around the tests may unwrap as tests do.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod engine;
mod migrate;
mod store;
