//! The collector under load, beside two ways of doing without it: `make bench`, or
//! `cargo run --release -p errata-load -- --help`.

mod apart;
mod baseline;
mod collector;
mod drive;
mod engine;
mod events;
mod ingest;
mod process;
mod relay;
mod report;
mod spool_files;
mod wire;

use std::{
    io::Write,
    path::PathBuf,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use clap::Parser;

use apart::Outage;
use events::{Body, Events};
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
    /// Put the figures into this Markdown file, too
    #[arg(long, value_name = "FILE", global = true)]
    readme: Option<PathBuf>,
    /// The binary to measure
    #[arg(long, env = "BENCH_ERRATA", default_value = "target/release/errata", global = true)]
    errata: PathBuf,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Everything that `make bench` reports
    All(Compared),
    /// Full load and the baselines in turn
    Run(Compared),
    /// Acknowledgements at half of the highest load
    Half {
        #[arg(long, default_value_t = 64)]
        connections: usize,
    },
    /// From acknowledged to found, at a set rate
    Visible {
        /// Events a second
        #[arg(long, default_value_t = 10_000.0)]
        rate: f64,
    },
    /// Memory and bytes written while ClickHouse is down
    Down {
        #[arg(long, default_value_t = 8)]
        connections: usize,
    },
    /// An outage of ClickHouse, and how fast its backlog drains
    Outage {
        #[arg(long, env = "BENCH_OUTAGE_SECONDS", default_value_t = 60)]
        seconds: u64,
        /// Events a second, all the while
        #[arg(long, env = "BENCH_OUTAGE_RATE", default_value_t = 20_000.0)]
        rate: f64,
    },
    /// From the start to the first acknowledgement with a large spool
    Recovery {
        #[arg(long, env = "BENCH_RECOVERY_GIB", default_value_t = 1.0)]
        gib: f64,
    },
    /// Print the events as NDJSON
    Events,
}

impl Command {
    const fn name(&self) -> &'static str {
        match self {
            Self::All(_) => "all",
            Self::Run(_) => "run",
            Self::Half { .. } => "half",
            Self::Visible { .. } => "visible",
            Self::Down { .. } => "down",
            Self::Outage { .. } => "outage",
            Self::Recovery { .. } => "recovery",
            Self::Events => "events",
        }
    }
}

#[derive(Clone, Copy, Debug, clap::Args)]
struct Compared {
    /// How often each is measured
    #[arg(long, env = "BENCH_ROUNDS", default_value_t = 2)]
    rounds: usize,
    /// Connections that ship at once
    #[arg(long, env = "BENCH_CONNECTIONS", default_value_t = 8)]
    connections: usize,
}

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let events = || -> anyhow::Result<Events> {
        let now_ms = SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis() as u64;
        Ok(Events::generate(arguments.seed, now_ms, arguments.events, arguments.body_events))
    };
    if let Command::Events = arguments.command {
        for body in &events()?.bodies {
            std::io::stdout().write_all(&body.ndjson)?;
        }
        return Ok(());
    }
    let bench = Bench { errata: std::path::absolute(&arguments.errata)?, scratch: Scratch::new(arguments.dir)? };
    let mut report = Report::new(arguments.seed, arguments.body_events);
    match arguments.command {
        Command::Events => {}
        Command::All(compared) => bench.all(&mut report, &events()?, compared)?,
        Command::Run(compared) => bench.compare(&mut report, &events()?, compared)?,
        Command::Half { connections } => bench.half(&mut report, &events()?, connections)?,
        Command::Visible { rate } => bench.visible(&mut report, &events()?.bodies, rate)?,
        Command::Down { connections } => bench.down(&mut report, &events()?, connections)?,
        Command::Outage { seconds, rate } => {
            let outage = Outage { rate, before: Duration::from_secs(5), away: Duration::from_secs(seconds) };
            let directory = bench.scratch.directory("outage")?;
            apart::outage(&mut report, &bench.errata, &directory, arguments.body_events, &outage)?;
        }
        Command::Recovery { gib } => {
            let directory = bench.scratch.directory("recovery")?;
            apart::recovery(&mut report, &bench.errata, &directory, gib, arguments.body_events)?;
        }
    }
    print!("{}", report.table());
    if let Some(path) = arguments.readme {
        report.write_into(&path, arguments.command.name())?;
    }
    if let Some(path) = arguments.json {
        std::fs::write(path, report.json())?;
    }
    Ok(())
}

/// What every measurement needs.
struct Bench {
    errata: PathBuf,
    scratch: Scratch,
}

/// Events a second at which `make bench` measures how soon they are visible, and for how long.
const VISIBLE_RATE: f64 = 10_000.0;
const VISIBLE_SECONDS: u64 = 30;

impl Bench {
    fn all(&self, report: &mut Report, events: &Events, compared: Compared) -> anyhow::Result<()> {
        self.compare(report, events, compared)?;
        self.half(report, events, 64)?;
        self.down(report, events, compared.connections)?;
        let few = (VISIBLE_RATE as u64 * VISIBLE_SECONDS / events.each()) as usize;
        self.visible(report, &events.bodies[..few.min(events.bodies.len())], VISIBLE_RATE)
    }

    fn compare(&self, report: &mut Report, events: &Events, compared: Compared) -> anyhow::Result<()> {
        report.of(events);
        for round in 0..compared.rounds {
            let directory = self.scratch.directory(&format!("errata-{round}"))?;
            report.errata(&ingest::run(&self.errata, &directory, events, compared.connections)?);
            for baseline in [baseline::BARE, baseline::EQUAL] {
                let directory = self.scratch.directory(&format!("{}-{round}", baseline.name))?;
                report.baseline(&baseline, &baseline.run(&self.errata, &directory, events)?);
            }
        }
        Ok(())
    }

    fn half(&self, report: &mut Report, events: &Events, connections: usize) -> anyhow::Result<()> {
        report.of(events);
        apart::half_load(report, &self.errata, &self.scratch.directory("half")?, events, connections)
    }

    fn visible(&self, report: &mut Report, bodies: &[Body], rate: f64) -> anyhow::Result<()> {
        apart::visible(report, &self.errata, &self.scratch.directory("visible")?, bodies, rate)
    }

    fn down(&self, report: &mut Report, events: &Events, connections: usize) -> anyhow::Result<()> {
        report.of(events);
        apart::without_clickhouse(report, &self.errata, &self.scratch.directory("down")?, events, connections)
    }
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
