//! `errata engine`.

use std::path::PathBuf;

use super::{Exit, terminal};
use crate::store::engine::{
    self, Status,
    install::{self, InstallOptions},
};

/// Install the embedded ClickHouse, or see whether it is there
#[derive(Debug, clap::Subcommand)]
pub enum Command {
    Install(Install),
    Status(ShowStatus),
}

/// Fetch the embedded ClickHouse by npm, check it and put it into the user's cache directory
///
/// Once for a user and version; it does nothing when the engine is there. It takes some 570 MB of disk. A collector with
/// a ClickHouse of its own (ERRATA_CLICKHOUSE__URL) does not need it.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  errata engine install
  errata engine install --from chdb-lib-linux-x64-gnu-26.7.3-stable.1.tgz    fetched elsewhere by `npm pack`
  ERRATA_ENGINE_DIR=/opt/errata/engine errata engine install

Environment:
  ERRATA_ENGINE_DIR    where it is installed, and where `errata serve` looks for it; default: errata/engine in the
                       cache directory ($XDG_CACHE_HOME, or ~/.cache)")]
pub struct Install {
    /// A tarball that was fetched by other means; it is checked all the same
    #[arg(long, value_name = "FILE")]
    from: Option<PathBuf>,
}

/// Say where the engine is and whether it is whole; exit code 1 when it is not installed
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  errata engine status || errata engine install")]
pub struct ShowStatus {}

pub fn run(command: Command) -> anyhow::Result<Exit> {
    match command {
        Command::Install(args) => {
            let library = install::install(&InstallOptions { from: args.from, ..InstallOptions::default() })?;
            terminal::print(&format!("{}\n", library.display()))?;
            Ok(Exit::Done)
        }
        Command::Status(_) => {
            let status = engine::status()?;
            terminal::print(&describe(&status))?;
            Ok(if status.installed { Exit::Done } else { Exit::Negative })
        }
    }
}

fn describe(status: &Status) -> String {
    let (version, library) = (status.version, status.library.display());
    match (status.installed, status.bytes) {
        (true, bytes) => format!("engine {version}: installed, {} MB\n{library}\n", bytes / 1_000_000),
        (false, 0) => format!("engine {version}: not installed; run `errata engine install`\n{library}\n"),
        (false, _) => format!("engine {version}: not whole; run `errata engine install`\n{library}\n"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_says_what_to_do() {
        let status = |installed, bytes| Status { installed, library: "/c/libchdb.so".into(), version: "1", bytes };
        assert_eq!(describe(&status(true, 566_330_096)), "engine 1: installed, 566 MB\n/c/libchdb.so\n");
        assert!(describe(&status(false, 0)).contains("not installed; run `errata engine install`"));
        assert!(describe(&status(false, 7)).contains("not whole"));
    }
}
