//! Fuzz targets: what must hold for any input whatever, for every decoder and for the files we read back.
//!
//! A target is a function of bytes that panics when a promise is broken. Each is run in two ways: by libFuzzer (`fuzz/`, for as
//! long as one likes), and as a plain seeded test (`seeded`), which needs nothing but `cargo test` and starts from the corpus in
//! `fuzz/corpus/NAME/`. Compiled for tests and under the feature `fuzzing` alone; the collector has none of it.
//!
//! "Does not panic" is the least of it: targets compare two ways to the same answer, which holds for any implementation of what
//! they test.

// A target tells what it found by panicking.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::missing_panics_doc)]

mod bodies;
mod catalog;
pub(crate) mod draw;
mod encodings;
mod events;
mod files;
mod json_text;
mod reports;
mod scrub;
mod settings;
mod sound;
mod texts;
mod totals;

#[cfg(test)]
mod mutate;
#[cfg(test)]
mod seeded;

/// A named promise about any bytes.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    /// Also the directory of its corpus, and the name of its binary in `fuzz/`.
    pub name: &'static str,
    /// Panics when the promise is broken.
    pub run: fn(&[u8]),
}

const fn target(name: &'static str, run: fn(&[u8])) -> Target {
    Target { name, run }
}

/// Every target.
pub const TARGETS: [Target; 19] = [
    target("events", events::run),
    target("totals", totals::run),
    target("encodings", encodings::run),
    target("timestamps", reports::timestamps),
    target("rate_limits", reports::rate_limits),
    target("stack_frames", reports::stack_frames),
    target("field_paths", texts::field_paths),
    target("route_templates", texts::route_templates),
    target("rule_templates", texts::rule_templates),
    target("request_ids", texts::request_ids),
    target("bodies", bodies::run),
    target("scrub", scrub::run),
    target("catalog", catalog::run),
    target("payloads", files::payloads),
    target("plans", files::plans),
    target("quarantine_files", files::quarantine_files),
    target("configuration", settings::configuration),
    target("query_parameters", settings::query_parameters),
    target("spool_recovery", crate::spool::fuzzing::run),
];

/// Runs the target of this name on an input.
///
/// # Panics
/// When the input breaks its promise, or when there is no such target.
pub fn run(name: &str, input: &[u8]) {
    let target = TARGETS.iter().find(|target| target.name == name).expect("a target of this name");
    (target.run)(input);
}
