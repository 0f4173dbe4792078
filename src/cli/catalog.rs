//! `errata catalog`.

use std::path::PathBuf;

use anyhow::Context;

use super::{Exit, terminal};
use crate::event::catalog::Catalog;

/// Check an error catalog
#[derive(Debug, clap::Subcommand)]
pub enum Command {
    Check(Check),
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

pub fn run(command: &Command) -> anyhow::Result<Exit> {
    let Command::Check(Check { file }) = command;
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
        let (text, exit) = report("igny8.toml", include_str!("../../catalog/igny8.toml"));
        assert_eq!(exit, Exit::Done, "{text}");
        assert!(text.contains("field messages"), "{text}");
    }
}
