//! The `errata` command: everything is in the library's `cli`.

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    errata::cli::Cli::parse().main()
}
