#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| errata::fuzzing::run("totals", input));
