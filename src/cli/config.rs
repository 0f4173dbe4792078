//! `errata config`.

use std::path::Path;

use super::{Exit, settings::Settings, terminal};
use crate::{
    app,
    config::{self, Config, EMBEDDED},
    event::scrub::Scrubber,
};

/// Check the configuration, or print an example of it
#[derive(Debug, clap::Subcommand)]
pub enum Command {
    Check(Check),
    Example(Example),
}

/// Validate the configuration and print what is in effect, secrets masked
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  errata config check
  errata config check --config /etc/errata.toml
  ERRATA_RETENTION_DAYS=30 errata config check")]
pub struct Check {}

/// Print a commented errata.toml with every setting, its default and its environment variable
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  errata config example > errata.toml")]
pub struct Example {}

pub fn run(command: &Command, settings: &Settings) -> anyhow::Result<Exit> {
    match command {
        Command::Check(_) => {
            let config = settings.load()?;
            terminal::print(&format!("{}\n{}", config.masked()?, places(&config)?))?;
            // What only its own room can check.
            app::load_catalog(&config)?;
            app::load_rules(&config)?;
            Scrubber::new(&config.scrub)?;
        }
        Command::Example(_) => terminal::print(&config::example()?)?,
    }
    Ok(Exit::Done)
}

/// Where names in the configuration lead, as comments, so that the whole output is still TOML.
fn places(config: &Config) -> std::io::Result<String> {
    let data_dir = std::path::absolute(&config.data_dir)?;
    let state = if data_dir.is_dir() { "" } else { " (made at the first start)" };
    let file = |name: &str, otherwise: &str| {
        if name.is_empty() {
            return Ok(otherwise.to_owned());
        }
        let path = std::path::absolute(Path::new(name))?;
        let state = if path.is_file() { "" } else { " (missing)" };
        std::io::Result::Ok(format!("{}{state}", path.display()))
    };
    let catalog = file(&config.catalog, "built-in (igny8)")?;
    let alerts = file(&config.alerts, "built-in")?;
    let clickhouse = if config.clickhouse.url == EMBEDDED { "embedded, in the data directory" } else { "external" };
    Ok(terminal::clean_text(&format!(
        "# data directory: {}{state}\n# catalog: {catalog}\n# alert rules: {alerts}\n# clickhouse: {clickhouse}\n# links begin with: {}\n",
        data_dir.display(),
        config.base_url(),
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_say_what_is_missing() {
        let dir = tempfile::tempdir().unwrap();
        let catalog = dir.path().join("catalog.toml");
        let config = Config {
            data_dir: dir.path().join("data"),
            catalog: catalog.to_string_lossy().into_owned(),
            ..Config::default()
        };
        let text = places(&config).unwrap();
        assert!(text.contains("data (made at the first start)") && text.contains("catalog.toml (missing)"), "{text}");
        std::fs::write(&catalog, "").unwrap();
        assert!(places(&config).unwrap().contains("catalog.toml\n"));
    }
}
