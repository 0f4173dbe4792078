//! The command line: parse, call the room that does the work, print, exit. One file a subcommand.
//!
//! Results go to standard output, everything else (progress, hints, errors) to standard error. Exit codes: 0 done, 1 the
//! answer is "no" (an id that is not found, a line that was rejected), 2 wrong usage or a failure.

mod alerts;
mod audit;
mod catalog;
mod client;
mod completions;
mod config;
mod demo;
pub(crate) mod duration;
mod engine;
mod erase;
mod filters;
mod import;
mod issues;
mod lookup;
mod migrate;
mod newest;
mod node;
mod patience;
mod quarantine;
mod search;
mod serve;
mod settings;
#[cfg(test)]
mod stub;
mod tail;
mod terminal;
mod times;
mod token;
mod top;

use std::{future::Future, process::ExitCode};

use anyhow::Context;
use clap::{Parser, Subcommand};

use settings::Settings;

/// Errata: observability for API errors.
///
/// API servers ship one event for every error response; support looks a request id up, product sees which validations
/// fail, SREs watch the rates. `errata serve` is the collector, all other commands talk to one.
#[derive(Debug, Parser)]
#[command(version, propagate_version = true, max_term_width = 100, after_help = EXAMPLES)]
pub struct Cli {
    #[command(flatten)]
    settings: Settings,
    #[command(subcommand)]
    command: Command,
}

const EXAMPLES: &str = "\
Examples:
  errata serve                                    start a collector on 127.0.0.1:8080
  errata demo                                     send it realistic traffic
  errata lookup 550e8400-e29b-41d4-a716-446655440000
  errata search --status 5xx --from -7d           the newest errors that fit
  errata import errors.ndjson.gz                  send it what was captured elsewhere
  errata token create --name shop-api --project shop --role ingest

`errata help COMMAND` shows the options and examples of each.";

#[derive(Debug, Subcommand)]
enum Command {
    Serve(serve::Args),
    Lookup(lookup::Args),
    Search(search::Args),
    Tail(tail::Args),
    Top(top::Args),
    Import(import::Args),
    Demo(demo::Args),
    #[command(subcommand)]
    Token(token::Command),
    Migrate(migrate::Args),
    #[command(subcommand)]
    Engine(engine::Command),
    #[command(subcommand)]
    Catalog(catalog::Command),
    #[command(subcommand)]
    Alerts(alerts::Command),
    Audit(audit::Args),
    Erase(erase::Args),
    #[command(subcommand)]
    Issues(issues::Command),
    #[command(subcommand)]
    Quarantine(quarantine::Command),
    #[command(subcommand)]
    Config(config::Command),
    Completions(completions::Args),
}

/// How a command that did not fail ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Exit {
    Done,
    /// The answer is "no": not found, rejected.
    Negative,
}

/// Exit code of wrong usage (clap's own) and of failures.
const FAILED: u8 = 2;

impl Cli {
    /// Runs the command and reports a failure on standard error.
    pub fn main(self) -> ExitCode {
        match self.run() {
            Ok(Exit::Done) => ExitCode::SUCCESS,
            Ok(Exit::Negative) => ExitCode::from(1),
            Err(error) => {
                terminal::note(&describe(&error));
                ExitCode::from(FAILED)
            }
        }
    }

    fn run(self) -> anyhow::Result<Exit> {
        let settings = &self.settings;
        match self.command {
            Command::Serve(args) => serve::run(&args, settings),
            Command::Lookup(args) => block_on(lookup::run(&args, settings)),
            Command::Search(args) => block_on(search::run(&args, settings)),
            Command::Tail(args) => block_on(tail::run(&args, settings)),
            Command::Top(args) => block_on(top::run(&args, settings)),
            Command::Import(args) => block_on(import::run(&args, settings)),
            Command::Demo(args) => block_on(demo::run(&args, settings)),
            Command::Token(command) => token::run(&command, settings),
            Command::Migrate(args) => migrate::run(&args, settings),
            Command::Engine(command) => engine::run(command),
            Command::Catalog(command) => catalog::run(&command, settings),
            Command::Alerts(command) => block_on(alerts::run(&command, settings)),
            Command::Erase(args) => block_on(erase::run(&args, settings)),
            Command::Audit(args) => block_on(audit::run(&args, settings)),
            Command::Issues(command) => block_on(issues::run(&command, settings)),
            Command::Quarantine(command) => block_on(quarantine::run(&command, settings)),
            Command::Config(command) => config::run(&command, settings),
            Command::Completions(args) => completions::run(&args),
        }
    }
}

/// Runs a client command: one thread is enough to wait on a collector.
fn block_on<T>(command: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().context("the system gives no event loop")?;
    runtime.block_on(command)
}

/// `error: …` and the causes below it, each once: many of our errors repeat their cause in their own text.
fn describe(error: &anyhow::Error) -> String {
    let mut text = format!("error: {error}");
    for cause in error.chain().skip(1).map(ToString::to_string) {
        if !text.contains(&cause) {
            text.push_str("\n  because: ");
            text.push_str(&cause);
        }
    }
    terminal::clean_text(&text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_command_teaches_by_examples() {
        fn check(command: &clap::Command) {
            if command.get_subcommands().next().is_none() {
                let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
                assert!(help.contains("Example"), "{} has no examples", command.get_name());
            }
            assert!(command.get_about().is_some(), "{} has no description", command.get_name());
            command.get_subcommands().for_each(check);
        }
        check(&Cli::command());
    }

    #[test]
    fn each_cause_is_told_once() {
        let cause = std::io::Error::other("disk on fire");
        let repeated = anyhow::Error::new(cause).context("cannot write: disk on fire");
        assert_eq!(describe(&repeated), "error: cannot write: disk on fire");
        let silent = anyhow::anyhow!("disk on fire").context("cannot write");
        assert_eq!(describe(&silent), "error: cannot write\n  because: disk on fire");
    }
}
