//! Errata: observability for API errors.
//!
//! # The path of one event
//!
//! 1. An API server posts a body to `POST /api/v1/events`. [`http`] authenticates the token (the project comes from
//!    it), checks the quota and the size limits and hands the bytes on.
//! 2. [`decode`] undoes the content encoding within limits and turns the bytes into normalised [`event::Event`]s and
//!    rejects, each with a counted reason. [`event`] is the pure domain: request ids, field paths, route templates, message →
//!    rule, scrubbing, fingerprints, the error catalog.
//! 3. Each event is encoded once ([`event::codec`]) and appended to the [`spool`], a segment log. The answer `202`
//!    leaves only after the log's `fdatasync`.
//! 4. [`deliver`] reads the spool in batches, writes a plan to disk, inserts the batch into ClickHouse, verifies by
//!    count that it is there, and only then lets the spool forget it.
//! 5. [`store`] owns ClickHouse: the embedded engine's supervisor, the migrations, the columnar rows and every `SELECT`.
//! 6. [`erase`] takes somebody's events out of all these places again.
//! 7. [`http`] answers lookups and metrics from the store's query functions, explained by the catalog; [`console`] shows the same as pages.
//!
//! [`app`] is the only module that knows every room. `ARCHITECTURE.md` names the rooms and what each must never do.

pub mod alerts;
pub mod app;
pub mod cli;
pub mod clock;
pub mod config;
pub mod console;
pub mod decode;
pub mod deliver;
pub mod erase;
pub mod event;
#[cfg(any(test, feature = "fuzzing"))]
#[doc(hidden)]
pub mod fuzzing;
pub mod http;
pub mod inert;
pub mod issues;
pub mod memory;
pub mod metrics;
pub mod recall;
pub mod spool;
pub mod state;
pub mod store;
pub mod telemetry;
