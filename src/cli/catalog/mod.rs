//! `errata catalog`.

mod drift;

use std::path::{Path, PathBuf};

use anyhow::Context;

use super::{Exit, block_on, settings::Settings, terminal};
use crate::{app, event::catalog::Catalog};

/// Check an error catalog, print it as a document, compare it with what was observed
#[derive(Debug, clap::Subcommand)]
pub enum Command {
    Check(Check),
    Export(Export),
    Drift(drift::Args),
}

/// Validate a catalog file; every problem is named with its line, exit code 1 when there is one
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  errata catalog check catalog/igny8.toml
  errata catalog check ours.toml && errata serve --set catalog=ours.toml")]
pub struct Check {
    file: PathBuf,
}

/// Print a catalog as a document
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  errata catalog export --format markdown > errors.md
  errata catalog export ours.toml")]
pub struct Export {
    /// Catalog file; default: the configured one, else the built-in one
    file: Option<PathBuf>,
    #[arg(long, default_value = "markdown")]
    format: Format,
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum Format {
    Markdown,
}

pub fn run(command: &Command, settings: &Settings) -> anyhow::Result<Exit> {
    match command {
        Command::Check(args) => check(&args.file),
        Command::Export(args) => export(args, settings),
        Command::Drift(args) => block_on(drift::run(args, settings)),
    }
}

fn export(Export { file, format: Format::Markdown }: &Export, settings: &Settings) -> anyhow::Result<Exit> {
    let mut config = settings.load()?;
    if let Some(file) = file {
        config.catalog = file.display().to_string();
    }
    terminal::print(&terminal::clean_text(&app::load_catalog(&config)?.to_markdown()))?;
    Ok(Exit::Done)
}

fn check(file: &Path) -> anyhow::Result<Exit> {
    let name = file.display().to_string();
    let text = std::fs::read_to_string(file).with_context(|| format!("cannot read {name}"))?;
    let (shown, exit) = report(&name, &text);
    terminal::print(&terminal::clean_text(&shown))?;
    Ok(exit)
}

fn report(name: &str, text: &str) -> (String, Exit) {
    match Catalog::parse(text) {
        Ok(catalog) => (format!("{}\n", catalog.summary()), Exit::Done),
        Err(problems) => {
            // Editors and CI link `file:line:column`.
            let lines = problems.iter().map(|at| format!("{name}:{}:{}: {}\n", at.line, at.column, at.message));
            let count = problems.len();
            let plural = if count == 1 { "" } else { "s" };
            (lines.chain([format!("{count} problem{plural}\n")]).collect(), Exit::Negative)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn problems_are_named_by_file_and_line() {
        let (text, exit) = report("c.toml", "\n[api]\nname = 3\n");
        assert_eq!(exit, Exit::Negative);
        assert!(text.starts_with("c.toml:") && text.contains("problem"), "{text}");
    }

    #[test]
    fn the_built_in_catalog_is_good() {
        let (text, exit) = report("igny8.toml", include_str!("../../../catalog/igny8.toml"));
        assert_eq!(exit, Exit::Done, "{text}");
        assert!(text.contains("field messages"), "{text}");
    }
}
