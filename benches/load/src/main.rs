//! The collector under load, beside two ways of doing without it: `make bench`, or
//! `cargo run --release -p errata-load -- --help`.

mod baseline;
mod collector;
mod drive;
mod engine;
mod events;
mod ingest;
mod process;
mod report;
mod wire;

use std::{
    io::Write,
    path::PathBuf,
    time::{SystemTime, UNIX_EPOCH},
};

use clap::Parser;

use events::Events;
use report::Report;

/// Load of our own making for the release binary
#[derive(Debug, Parser)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
    /// Events to make
    #[arg(long, env = "BENCH_EVENTS", default_value_t = 1_000_000, global = true)]
    events: u64,
    /// Events in one request
    #[arg(long, env = "BENCH_BODY_EVENTS", default_value_t = 500, global = true)]
    body_events: u64,
    /// Seed of the generator
    #[arg(long, env = "BENCH_SEED", default_value_t = 1, global = true)]
    seed: u64,
    /// Directory for the collectors' files; a new one in it is used and removed
    #[arg(long, env = "BENCH_DIR", global = true)]
    dir: Option<PathBuf>,
    /// Write the figures as JSON, too
    #[arg(long, value_name = "FILE", global = true)]
    json: Option<PathBuf>,
    /// The binary to measure
    #[arg(long, env = "BENCH_ERRATA", default_value = "target/release/errata", global = true)]
    errata: PathBuf,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Full load, the baselines in turn
    Run {
        /// How often each is measured
        #[arg(long, env = "BENCH_ROUNDS", default_value_t = 2)]
        rounds: usize,
        /// Connections that ship at once
        #[arg(long, env = "BENCH_CONNECTIONS", default_value_t = 8)]
        connections: usize,
    },
    /// Print the events as NDJSON
    Events,
}

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let now_ms = SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis() as u64;
    let events = Events::generate(arguments.seed, now_ms, arguments.events, arguments.body_events);
    if let Command::Events = arguments.command {
        for body in &events.bodies {
            std::io::stdout().write_all(&body.ndjson)?;
        }
        return Ok(());
    }
    let scratch = Scratch::new(arguments.dir)?;
    let errata = std::path::absolute(&arguments.errata)?;
    let mut report = Report::new(&events, arguments.seed);
    match arguments.command {
        Command::Events => {}
        Command::Run { rounds, connections } => {
            for round in 0..rounds {
                report.errata(&ingest::run(
                    &errata,
                    &scratch.directory(&format!("errata-{round}"))?,
                    &events,
                    connections,
                )?);
                report.baseline(
                    &baseline::BARE,
                    &baseline::BARE.run(&errata, &scratch.directory(&format!("bare-{round}"))?, &events)?,
                );
            }
        }
    }
    report.print();
    if let Some(path) = arguments.json {
        std::fs::write(path, report.json())?;
    }
    Ok(())
}

/// A directory that is removed in the end.
struct Scratch(PathBuf);

impl Scratch {
    fn new(parent: Option<PathBuf>) -> std::io::Result<Self> {
        let name = format!("errata-bench-{}", std::process::id());
        let path = std::path::absolute(parent.unwrap_or_else(std::env::temp_dir).join(name))?;
        std::fs::create_dir_all(&path).map(|()| Self(path))
    }

    fn directory(&self, name: &str) -> std::io::Result<PathBuf> {
        let path = self.0.join(name);
        std::fs::create_dir(&path).map(|()| path)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_dir_all(&self.0) {
            eprintln!("cannot remove {}: {error}", self.0.display());
        }
    }
}
