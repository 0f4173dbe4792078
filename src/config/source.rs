//! Where settings come from, in rising order: defaults, the file, the environment, flags.

use std::path::{Path, PathBuf};

use serde::Deserialize;
use toml::{Table, Value};

use super::Config;
use crate::event::scrub::HashKey;

/// Variables that begin with `ERRATA_` and are no settings: the CLI's own, and the engine cache.
const NOT_SETTINGS: [&str; 6] =
    ["ERRATA_CONFIG", "ERRATA_TOKEN", "ERRATA_URL", "ERRATA_ENGINE_DIR", "ERRATA_LOG", "ERRATA_LOG_FORMAT"];

/// The file that is read when it exists and no other is named.
const DEFAULT_FILE: &str = "errata.toml";

/// Settings from the command line.
#[derive(Clone, Debug, Default)]
pub struct Flags {
    /// The configuration file; it must exist when named.
    pub file: Option<PathBuf>,
    /// Path of a setting and its value: `("spool.max_bytes", "1GiB")`.
    pub settings: Vec<(String, String)>,
}

/// Why the configuration cannot be used. Each text names where the setting came from.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    #[error("cannot read {path}: {source}", path = path.display())]
    Unreadable { path: PathBuf, source: std::io::Error },
    #[error("{path}: {message}", path = path.display())]
    BadFile { path: PathBuf, message: String },
    #[error("{origin}: there is no setting {setting:?}{hint}; `errata config example` lists all")]
    Unknown { origin: String, setting: String, hint: String },
    #[error("{origin}: {message}")]
    BadValue { origin: String, message: String },
    #[error("{}", .0.join("\n"))]
    Invalid(Vec<String>),
}

/// Loads and validates the configuration. `environment` is passed in, so that tests need not change the process's.
///
/// # Errors
/// When the file cannot be read or parsed, a setting does not exist, or a value does not fit.
pub fn load(flags: &Flags, environment: impl Iterator<Item = (String, String)>) -> Result<Config, ConfigError> {
    let mut settings = read_file(flags.file.as_deref())?;
    let known = Table::try_from(Config::default())
        .map_err(|error| ConfigError::BadValue { origin: "defaults".into(), message: error.to_string() })?;
    let variables = environment
        .filter(|(name, _)| {
            name.starts_with("ERRATA_") && !NOT_SETTINGS.contains(&name.as_str()) && !is_of_kubernetes(name)
        })
        .map(|(name, value)| {
            let path = name["ERRATA_".len()..].to_lowercase().replace("__", ".");
            (name, path, value)
        });
    let options = flags.settings.iter().map(|(path, value)| (format!("--set {path}"), path.clone(), value.clone()));
    for (origin, path, value) in variables.chain(options) {
        overlay(&mut settings, &known, &origin, &path, &value)?;
    }
    let mut config = Config::deserialize(settings)
        .map_err(|error| ConfigError::BadValue { origin: "configuration".into(), message: one_line(&error) })?;
    config.scrub.hash_key = config.scrub.hash_key.filter(|key| *key != HashKey::new(""));
    let problems = config.problems();
    if problems.is_empty() {
        return Ok(config);
    }
    let name = |setting: &str| format!("ERRATA_{}", setting.to_uppercase().replace('.', "__"));
    Err(ConfigError::Invalid(
        problems.iter().map(|(setting, message)| format!("{setting} ({}): {message}", name(setting))).collect(),
    ))
}

/// Variables that Kubernetes sets in every pod beside a service named `errata`.
fn is_of_kubernetes(name: &str) -> bool {
    let rest = &name["ERRATA_".len()..];
    rest == "PORT" || ["PORT_", "SERVICE_"].iter().any(|prefix| rest.starts_with(prefix))
}

fn read_file(named: Option<&Path>) -> Result<Table, ConfigError> {
    let path = named.unwrap_or(Path::new(DEFAULT_FILE));
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if named.is_none() && error.kind() == std::io::ErrorKind::NotFound => return Ok(Table::new()),
        Err(source) => return Err(ConfigError::Unreadable { path: path.to_owned(), source }),
    };
    let bad = |error: toml::de::Error| ConfigError::BadFile { path: path.to_owned(), message: error.to_string() };
    // Typed once on its own, so that an error shows the line of the file.
    toml::from_str::<Config>(&text).map_err(bad)?;
    toml::from_str(&text).map_err(bad)
}

/// Puts one value from outside the file over the settings, read as the type its default has.
fn overlay(settings: &mut Table, known: &Table, origin: &str, path: &str, text: &str) -> Result<(), ConfigError> {
    let (parents, leaf) = match path.rsplit_once('.') {
        Some((parents, leaf)) => (parents.split('.').collect::<Vec<_>>(), leaf),
        None => (Vec::new(), path),
    };
    let mut target = settings;
    let mut shape = Some(known);
    for parent in &parents {
        shape = shape.and_then(|table| table.get(*parent)).and_then(Value::as_table);
        let Some(table) = target.entry(*parent).or_insert_with(|| Value::Table(Table::new())).as_table_mut() else {
            return Err(unknown(origin, path, known));
        };
        target = table;
    }
    let Some(default) = shape.and_then(|table| table.get(leaf)).filter(|value| !value.is_table()) else {
        // Optional settings have no default to show their type; they are texts.
        if shape.is_some() && OPTIONAL.contains(&path) {
            target.insert(leaf.to_owned(), Value::String(text.to_owned()));
            return Ok(());
        }
        return Err(unknown(origin, path, known));
    };
    let value = typed(default, text)
        .map_err(|message| ConfigError::BadValue { origin: format!("{origin}={text:?}"), message })?;
    target.insert(leaf.to_owned(), value);
    check_alone(path, target, leaf, origin, text)
}

/// Settings whose default is absent.
const OPTIONAL: [&str; 1] = ["scrub.hash_key"];

/// Reads a text as the type of a default value.
fn typed(default: &Value, text: &str) -> Result<Value, String> {
    let parsed = || format!("value = {text}").parse::<Table>().ok().and_then(|mut table| table.remove("value"));
    match default {
        Value::String(_) => Ok(Value::String(text.to_owned())),
        Value::Integer(_) => {
            text.trim().parse().map(Value::Integer).map_err(|_| format!("expected a whole number, got {text:?}"))
        }
        Value::Boolean(_) => {
            text.trim().parse().map(Value::Boolean).map_err(|_| format!("expected true or false, got {text:?}"))
        }
        Value::Array(_) => parsed()
            .filter(Value::is_array)
            .ok_or_else(|| format!("expected a list such as [\"a\", \"b\"], got {text:?}")),
        other => {
            parsed().filter(|value| value.same_type(other)).ok_or_else(|| format!("expected {}", other.type_str()))
        }
    }
}

/// Deserialises a configuration of this one setting, so that an error can name its origin.
fn check_alone(path: &str, target: &Table, leaf: &str, origin: &str, text: &str) -> Result<(), ConfigError> {
    let mut alone = Table::from_iter([(leaf.to_owned(), target[leaf].clone())]);
    for parent in path.rsplit('.').skip(1) {
        alone = Table::from_iter([(parent.to_owned(), Value::Table(alone))]);
    }
    match Config::deserialize(alone) {
        Ok(_) => Ok(()),
        Err(error) => Err(ConfigError::BadValue { origin: format!("{origin}={text:?}"), message: one_line(&error) }),
    }
}

fn one_line(error: &toml::de::Error) -> String {
    error.to_string().trim().replace('\n', " ")
}

fn unknown(origin: &str, path: &str, known: &Table) -> ConfigError {
    let mut paths = Vec::new();
    leaves(known, "", &mut paths);
    // The same word in another table, or one underscore in the place of two.
    let near = |candidate: &&String| {
        candidate.rsplit('.').next() == path.rsplit('.').next() || candidate.replace('.', "_") == path.replace('.', "_")
    };
    let hint = paths.iter().find(near).map(|path| format!(", did you mean {path:?}?")).unwrap_or_default();
    ConfigError::Unknown { origin: origin.to_owned(), setting: path.to_owned(), hint }
}

fn leaves(table: &Table, prefix: &str, into: &mut Vec<String>) {
    for (key, value) in table {
        match value {
            Value::Table(inner) => leaves(inner, &format!("{prefix}{key}."), into),
            _ => into.push(format!("{prefix}{key}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::ByteSize;

    fn from(environment: &[(&str, &str)]) -> Result<Config, ConfigError> {
        let pairs = environment.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        load(&Flags { file: Some("/dev/null".into()), settings: Vec::new() }, pairs)
    }

    #[test]
    fn nothing_at_all_is_a_good_configuration() {
        assert_eq!(from(&[]).unwrap().retention_days, 90);
    }

    #[test]
    fn what_kubernetes_sets_for_a_service_of_our_name_is_no_setting() {
        from(&[("ERRATA_PORT", "tcp://10.0.0.1:80"), ("ERRATA_PORT_80_TCP", "x"), ("ERRATA_SERVICE_HOST", "10.0.0.1")])
            .unwrap();
        let error = from(&[("ERRATA_CLICKHOUSE_URL", "http://a")]).unwrap_err().to_string();
        assert!(error.contains("did you mean \"clickhouse.url\""), "{error}");
    }

    #[test]
    fn variables_reach_every_level() {
        let config = from(&[
            ("ERRATA_LISTEN", "127.0.0.1:9"),
            ("ERRATA_SPOOL__MAX_BYTES", "1GiB"),
            ("ERRATA_CLICKHOUSE__URL", "http://a:b@c:8123"),
            ("ERRATA_SCRUB__HASH_KEY", "0123456789abcdef"),
            ("PATH", "/bin"),
            ("ERRATA_TOKEN", "not a setting"),
        ])
        .unwrap();
        assert_eq!(config.listen.port(), 9);
        assert_eq!(config.spool.max_bytes, ByteSize::gib(1));
        assert_eq!(config.scrub.hash_key, Some(HashKey::new("0123456789abcdef")));
    }

    #[test]
    fn flags_win_over_the_environment_and_the_environment_over_the_file() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "retention_days = 1\n[spool]\nmax_bytes = 1073741824\n").unwrap();
        let flags = |settings| Flags { file: Some(file.path().to_owned()), settings };
        let environment = || [("ERRATA_RETENTION_DAYS".to_owned(), "2".to_owned())].into_iter();
        assert_eq!(load(&flags(vec![]), std::iter::empty()).unwrap().retention_days, 1);
        assert_eq!(load(&flags(vec![]), environment()).unwrap().retention_days, 2);
        let set = vec![("retention_days".to_owned(), "3".to_owned())];
        let config = load(&flags(set), environment()).unwrap();
        assert_eq!((config.retention_days, config.spool.max_bytes), (3, ByteSize::gib(1)));
    }

    #[test]
    fn a_bad_value_is_named_with_its_origin() {
        for (name, value, expected) in [
            ("ERRATA_LISTEN", "nowhere", "ERRATA_LISTEN=\"nowhere\""),
            ("ERRATA_LISTEN", "localhost:18401", "expected ADDRESS:PORT such as 127.0.0.1:8080"),
            ("ERRATA_LISTEN", "8080", "expected ADDRESS:PORT such as 127.0.0.1:8080"),
            ("ERRATA_GRPC_LISTEN", "", "expected ADDRESS:PORT such as 127.0.0.1:8080"),
            ("ERRATA_DATA_DIR", "", "data_dir (ERRATA_DATA_DIR): must name a directory"),
            ("ERRATA_RETENTION_DAYS", "many", "expected a whole number"),
            ("ERRATA_RETENTION_DAYS", "0", "retention_days (ERRATA_RETENTION_DAYS): must be 1 to 3650"),
            ("ERRATA_SPOOL__MAX_BYTES", "10GB", "expected a size"),
            ("ERRATA_MAX_BYTES", "1", "did you mean \"spool.max_bytes\"?"),
            ("ERRATA_CLICKHOUSE__URL", "tcp://x", "must be \"embedded\" or http(s)"),
            ("ERRATA_CLICKHOUSE__DATABASE", "a-b", "letters, digits or _"),
        ] {
            let error = from(&[(name, value)]).unwrap_err().to_string();
            assert!(error.contains(expected), "{name}={value}: {error}");
        }
    }

    #[test]
    fn a_bad_line_of_the_file_is_shown() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "listen = \"127.0.0.1:1\"\nretension_days = 3\n").unwrap();
        let error = load(&Flags { file: Some(file.path().to_owned()), settings: vec![] }, std::iter::empty());
        let text = error.unwrap_err().to_string();
        assert!(text.contains("line 2") && text.contains("retension_days"), "{text}");
    }

    #[test]
    fn a_bad_address_of_the_file_is_explained() {
        let file = tempfile::NamedTempFile::new().unwrap();
        for value in ["8080", "\"localhost:1\""] {
            std::fs::write(file.path(), format!("retention_days = 1\nlisten = {value}\n")).unwrap();
            let error = load(&Flags { file: Some(file.path().to_owned()), settings: vec![] }, std::iter::empty());
            let text = error.unwrap_err().to_string();
            assert!(text.contains("line 2") && text.contains("expected ADDRESS:PORT such as 127.0.0.1:8080"), "{text}");
        }
    }

    #[test]
    fn passwords_are_masked() {
        let config = from(&[("ERRATA_CLICKHOUSE__URL", "http://u:pa@ss@h:8123,https://v:x@i:1")]).unwrap();
        let shown = config.masked().unwrap();
        assert!(shown.contains("http://u:********@h:8123,https://v:********@i:1"), "{shown}");
    }
}
