//! Every target as a plain test: its corpus as it is, then so many inputs made from it.
//!
//! The default is short and the same every time. `ERRATA_FUZZ_SECONDS=60` runs each target for so long instead, from a seed of
//! its own (`make fuzz`). A failure prints the input, made as short as possible, and its seed: `ERRATA_FUZZ_SEED=…` makes that one input again.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    path::Path,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use super::{
    TARGETS, Target,
    mutate::{Dice, mutated, shrunk},
};

/// Inputs made for each target when no time is given.
const INPUTS: u64 = 1000;

/// How long a target may take them, so that a slow machine is not kept waiting.
const MOST: Duration = Duration::from_millis(900);

/// Runs to shorten an input that fails.
const TRIES: usize = 2000;

/// A test of the target's name.
macro_rules! seeded {
    ($($name:ident),* $(,)?) => {
        $(#[test]
        fn $name() {
            hold(stringify!($name));
        })*

        #[test]
        fn every_target_is_a_test() {
            assert_eq!(TARGETS.map(|target| target.name), [$(stringify!($name)),*]);
        }
    };
}

seeded!(
    events,
    totals,
    encodings,
    timestamps,
    rate_limits,
    stack_frames,
    field_paths,
    route_templates,
    rule_templates,
    request_ids,
    bodies,
    scrub,
    catalog,
    payloads,
    plans,
    quarantine_files,
    configuration,
    query_parameters,
    spool_recovery,
);

fn hold(name: &str) {
    let target = TARGETS.into_iter().find(|target| target.name == name).unwrap();
    let corpus = corpus(name);
    if let Some(seed) = number("ERRATA_FUZZ_SEED") {
        return try_one(target, &corpus, seed);
    }
    for entry in &corpus {
        try_input(target, "corpus", entry);
    }
    let began = Instant::now();
    match number("ERRATA_FUZZ_SECONDS").map(Duration::from_secs) {
        Some(time) => {
            let start = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos() as u64;
            let tried = (0..).take_while(|_| began.elapsed() < time);
            let tried = tried.map(|index| try_one(target, &corpus, start.wrapping_add(index))).count();
            println!("{name}: {tried} inputs from seed {start} on");
        }
        None => (0..INPUTS).take_while(|_| began.elapsed() < MOST).for_each(|seed| try_one(target, &corpus, seed)),
    }
}

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{variable} must be a number")))
}

/// The entries of `fuzz/corpus/NAME/`, in the order of their names.
fn corpus(name: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(name);
    let mut paths: Vec<_> = std::fs::read_dir(&folder)
        .unwrap_or_else(|error| panic!("{}: {error}", folder.display()))
        .map(|entry| entry.unwrap().path())
        .collect();
    paths.sort();
    assert!(!paths.is_empty(), "{} is empty", folder.display());
    paths.iter().map(|path| std::fs::read(path).unwrap()).collect()
}

fn try_one(target: Target, corpus: &[Vec<u8>], seed: u64) {
    try_input(target, &format!("ERRATA_FUZZ_SEED={seed}"), &mutated(corpus, &mut Dice::new(seed)));
}

fn try_input(target: Target, origin: &str, input: &[u8]) {
    let fails = |input: &[u8]| catch_unwind(AssertUnwindSafe(|| (target.run)(input))).is_err();
    if !fails(input) {
        return;
    }
    // Hundreds of messages would hide the one that counts. The process ends after this.
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| {}));
    let input = shrunk(input.to_vec(), TRIES, fails);
    std::panic::set_hook(hook);
    println!("target {}, {origin}, {} bytes:\n{}", target.name, input.len(), input.escape_ascii());
    (target.run)(&input);
    unreachable!("it failed before");
}
