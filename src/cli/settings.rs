//! The configuration flags that every command takes.

use std::path::PathBuf;

use clap::Args;

use crate::config::{self, Config, ConfigError, Flags};

#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Configuration")]
pub struct Settings {
    /// Configuration file; default: ./errata.toml if it exists
    #[arg(long, global = true, value_name = "FILE", env = "ERRATA_CONFIG")]
    config: Option<PathBuf>,
    /// Override any setting, for example --set spool.max_bytes=20GiB (repeatable; `errata config example` lists all)
    #[arg(long, global = true, value_name = "KEY=VALUE", value_parser = key_and_value)]
    set: Vec<(String, String)>,
    /// Address of the HTTP listener [env: ERRATA_LISTEN]
    #[arg(long, global = true, value_name = "ADDRESS")]
    listen: Option<String>,
    /// Directory of all state [env: ERRATA_DATA_DIR]
    #[arg(long, global = true, value_name = "DIR")]
    data_dir: Option<String>,
    /// `embedded`, or http://user:password@host:8123 [env: ERRATA_CLICKHOUSE__URL]
    #[arg(long, global = true, value_name = "URL")]
    clickhouse_url: Option<String>,
}

impl Settings {
    /// The effective configuration: flags over the environment over the file.
    pub fn load(&self) -> Result<Config, ConfigError> {
        // A variable that is no Unicode is none of ours.
        let environment =
            std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
        config::load(&self.flags(), environment)
    }

    /// The special flags are settings under another name; they win over `--set`, as the more explicit ones.
    fn flags(&self) -> Flags {
        let named = [("listen", &self.listen), ("data_dir", &self.data_dir), ("clickhouse.url", &self.clickhouse_url)];
        let named = named.into_iter().filter_map(|(key, value)| Some((key.to_owned(), value.clone()?)));
        Flags { file: self.config.clone(), settings: self.set.iter().cloned().chain(named).collect() }
    }
}

fn key_and_value(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.trim().is_empty() => Ok((key.trim().to_owned(), value.to_owned())),
        _ => Err("expected KEY=VALUE such as spool.max_bytes=20GiB".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn special_flags_win_over_set() {
        let settings = Settings {
            set: vec![key_and_value("listen=127.0.0.1:1").unwrap(), key_and_value("scrub.hash_key=a=b").unwrap()],
            listen: Some("127.0.0.1:2".into()),
            ..Settings::default()
        };
        let config = config::load(&settings.flags(), std::iter::empty()).unwrap();
        assert_eq!(config.listen.port(), 2);
        assert_eq!(settings.flags().settings[1].1, "a=b");
    }

    #[test]
    fn what_is_no_pair_is_refused() {
        assert!(key_and_value("listen").is_err());
        assert!(key_and_value("=1").is_err());
    }
}
