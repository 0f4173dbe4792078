//! The `errata` command: everything is in the library's `cli`.

use std::process::ExitCode;

use clap::Parser;
use errata::{cli::Cli, store::engine};

fn main() -> ExitCode {
    // The embedded engine is this binary, started again; its arguments are none of a person's.
    let mut args = std::env::args_os().skip(1);
    if args.next().is_some_and(|first| first == engine::SUBCOMMAND) {
        engine::child_main(args);
    }
    Cli::parse().main()
}
