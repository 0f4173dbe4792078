//! The integration tests: one binary, a module a subject.
// Functions around the tests may unwrap as tests do.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "in a test, they are the verdict")]

mod engine;
mod migrate;
mod store;
