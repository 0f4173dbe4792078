//! `errata migrate`: on the configured ClickHouse, or on the embedded one of a collector that is not running.

use std::fmt::Write;

use super::{Exit, block_on, settings::Settings, terminal};
use crate::{
    app::{self, AppError},
    clock::rfc3339,
    store::{
        client::Clients,
        engine::EngineError,
        migrate::{self, MIGRATIONS, State, Step},
    },
};

/// Bring the database's tables up to date (`errata serve` does so by itself at its start)
///
/// Files are numbered, recorded with a checksum and applied once. A changed file and a newer database are refused. With
/// the embedded ClickHouse the collector must not be running.
#[derive(Debug, clap::Args)]
#[command(
    args_conflicts_with_subcommands = true,
    after_help = "\
Examples:
  errata migrate --dry-run      print the statements that would be sent
  errata migrate
  errata migrate status"
)]
pub struct Args {
    /// Print what would be done and change nothing
    #[arg(long)]
    dry_run: bool,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// List the migrations, applied and pending
    #[command(after_help = "Example:\n  errata migrate status --clickhouse-url http://errata:secret@db:8123")]
    Status,
}

pub fn run(args: &Args, settings: &Settings) -> anyhow::Result<Exit> {
    let config = settings.load()?;
    let text = block_on(async {
        // Held to the end: dropping it ends the embedded engine.
        let (access, _engine) = app::reach_clickhouse(&config, None).await.map_err(explain)?;
        report(args, &access.first_reachable().await?).await
    })?;
    terminal::print(&terminal::clean_text(&text))?;
    Ok(Exit::Done)
}

/// A directory that is in use means that a collector runs, which is no failure of its migrations.
fn explain(error: AppError) -> anyhow::Error {
    match error {
        AppError::Engine(EngineError::InUse { path, pid }) => anyhow::anyhow!(
            "a collector runs on {} (process {pid}) and applied all migrations at its start; to look at the tables stop \
             it first, or name a ClickHouse of your own by --clickhouse-url",
            path.parent().unwrap_or(&path).display()
        ),
        other => other.into(),
    }
}

async fn report(args: &Args, clients: &Clients) -> anyhow::Result<String> {
    let (admin, database) = (&clients.admin, &clients.database);
    if args.command.is_some() {
        return Ok(status(&migrate::status(admin, database, MIGRATIONS).await?));
    }
    if args.dry_run {
        return Ok(plan(&migrate::plan(admin, database, MIGRATIONS).await?));
    }
    let applied = migrate::apply(admin, database, MIGRATIONS).await?;
    let lines: String = applied.iter().fold(String::new(), |mut text, migration| {
        let _ = writeln!(text, "applied {}", migration.name); // writing to a String cannot fail
        text
    });
    Ok(if lines.is_empty() { "nothing to do: the database is up to date\n".to_owned() } else { lines })
}

fn status(states: &[State]) -> String {
    let header = ["MIGRATION", "APPLIED", "BY"].map(str::to_owned);
    let rows = states.iter().map(|state| match &state.applied {
        Some(applied) => [
            state.name.clone(),
            format!("{} ({} ms)", rfc3339(applied.at_ms), applied.duration.as_millis()),
            format!("errata {}", applied.errata),
        ],
        None => [state.name.clone(), "pending".to_owned(), String::new()],
    });
    terminal::table(std::iter::once(header).chain(rows))
}

fn plan(steps: &[Step]) -> String {
    if steps.is_empty() {
        return "-- nothing to do: the database is up to date\n".to_owned();
    }
    steps.iter().fold(String::new(), |mut text, step| {
        let _ = writeln!(text, "-- {}", step.migration.name); // writing to a String cannot fail
        for statement in &step.statements {
            let _ = writeln!(text, "{};\n", statement.trim().trim_end_matches(';'));
        }
        text
    })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::store::migrate::Applied;

    #[test]
    fn pending_and_applied_migrations_are_told_apart() {
        let applied = Applied { at_ms: 0, duration: Duration::from_millis(12), errata: "0.1.0".into() };
        let states = [
            State { version: 1, name: "0001_events".into(), applied: Some(applied) },
            State { version: 2, name: "0002_more".into(), applied: None },
        ];
        let text = status(&states);
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(lines[1], "0001_events  1970-01-01T00:00:00.000Z (12 ms)  errata 0.1.0");
        assert_eq!(lines[2], "0002_more    pending");
    }

    #[test]
    fn a_running_collector_is_told_as_such() {
        let in_use = EngineError::InUse { path: "/d/clickhouse".into(), pid: "7".into() };
        let text = explain(in_use.into()).to_string();
        assert!(text.starts_with("a collector runs on /d (process 7) and applied all migrations"), "{text}");
    }

    #[test]
    fn a_plan_is_sql_that_can_be_run() {
        let step = Step { migration: MIGRATIONS[0], statements: vec!["CREATE TABLE a (x UInt8)".into()] };
        assert_eq!(plan(&[step]), format!("-- {}\nCREATE TABLE a (x UInt8);\n\n", MIGRATIONS[0].name));
        assert!(plan(&[]).starts_with("-- nothing"));
    }
}
