//! `errata.toml` with every setting, its documentation and its variable, made from one table and the defaults.

use std::fmt::Write;

use toml::{Table, Value};

use super::Config;

/// One setting in the example.
struct Setting {
    path: &'static str,
    doc: &'static str,
    /// Shown where the default is absent.
    sample: Option<&'static str>,
}

const fn setting(path: &'static str, doc: &'static str) -> Setting {
    Setting { path, doc, sample: None }
}

/// Every setting in the order of the file: first those of no section. A test holds it against [`Config`].
const SETTINGS: &[Setting] = &[
    setting("listen", "Address of the HTTP listener: API, its documentation (/docs), /metrics."),
    setting("grpc_listen", "Address reserved for OTLP over gRPC; nothing listens there yet."),
    setting("data_dir", "Directory of the spool, the embedded ClickHouse, tokens and other state."),
    setting(
        "retention_days",
        "Days an event is kept from its receipt, 1 to 3650. Deletion is by whole weeks, so it may live up to\nseven days longer.",
    ),
    setting("catalog", "Error catalog file; empty: the built-in IGNY8 catalog. `errata catalog check FILE` reads one."),
    setting(
        "alerts",
        "File of alert rules; empty: the built-in rules. `errata alerts check FILE` reads one, docs/alerts.md explains it.",
    ),
    setting(
        "public_url",
        "Base of links in answers, as people reach the collector: https://errata.example.\nEmpty: the listener's address.",
    ),
    setting(
        "clickhouse.url",
        "\"embedded\", or http://user:password@host:8123 (several, separated by commas, for a cluster).",
    ),
    setting("clickhouse.database", "Database that holds Errata's tables; letters, digits and _."),
    setting("clickhouse.memory_limit", "Memory the embedded ClickHouse may use, at least 512MiB."),
    setting("clickhouse.slow_query_ms", "Milliseconds from which on a query is logged as slow; 0: never."),
    setting("spool.max_bytes", "Size past which events are refused with 503 until ClickHouse has caught up."),
    setting("spool.reserve_bytes", "Free disk space below which events are refused with 503."),
    setting("spool.segment_bytes", "Size of one segment file."),
    setting(
        "spool.remembered_keys",
        "How many of the latest events are remembered to recognise a client's retry, also across\nrestarts (24 bytes of disk and about 40 of memory each).",
    ),
    setting("ingest.max_body", "Largest body of a request as received."),
    setting("ingest.max_decompressed", "Largest body after its content encoding is undone."),
    setting("ingest.max_event", "Largest event."),
    setting(
        "ingest.max_in_flight",
        "Bytes of request bodies held in memory at once: past it, arriving ones are refused with 503, received ones wait.",
    ),
    setting("ingest.body_timeout_seconds", "Seconds a client may take to send a body, 1 to 3600; then it gets 408."),
    setting("scrub.emails", "Replace e-mail addresses. (Secrets are always replaced.)"),
    setting("scrub.card_numbers", "Replace payment card numbers (13 to 19 digits that pass the Luhn check)."),
    setting(
        "scrub.secret_names",
        "More names whose values are secrets; case, - and _ do not matter, and \"x\" also matches \"my_x\".",
    ),
    setting(
        "scrub.patterns",
        "More texts to replace: [{ pattern = \"KD-[0-9]{6}\", label = \"customer_no\" }] makes [customer_no] of them.",
    ),
    Setting {
        path: "scrub.hash_key",
        doc: "With a key of at least 16 bytes, scrubbed addresses become stable tokens ([email:3f9a2c51d0be])\ninstead of labels, so that they stay comparable. Make one with `openssl rand -hex 32`.\nEmpty: labels.",
        sample: Some("\"\""),
    },
    setting(
        "console.trace_url",
        "Address of a trace in your tracing system: https://traces.example/trace/{trace_id}. {timestamp_ms} may stand in it too.\nEmpty: traces are named and not linked.",
    ),
];

const INTRODUCTION: &str = "\
# Configuration of Errata. Every line that sets something is a comment with the default in it: this file changes
# nothing until you remove a '#'. Flags win over the environment, the environment over this file.
#
# errata serve --config errata.toml        (./errata.toml is read without being named)
# errata config check                      shows what is in effect
#
# These variables are no settings of this file:
# ERRATA_ENGINE_DIR       where the embedded ClickHouse is installed; default: errata/engine in the user's cache directory
# ERRATA_LOG              what is logged: info, debug, errata::deliver=debug …
# ERRATA_LOG_FORMAT       pretty or json
# OTEL_EXPORTER_OTLP_ENDPOINT  where traces are sent (http://127.0.0.1:4318); others of OpenTelemetry: docs/operations/traces.md
";

/// The commented example. It loads as it is, to the defaults.
///
/// # Errors
/// When a default has no TOML form, which none lacks.
pub fn example() -> Result<String, toml::ser::Error> {
    let defaults = Table::try_from(Config::default())?;
    let mut text = INTRODUCTION.to_owned();
    let mut section = "";
    for Setting { path, doc, sample } in SETTINGS {
        let (parent, key) = path.rsplit_once('.').unwrap_or(("", path));
        if parent != section {
            section = parent;
            let _ = writeln!(text, "\n[{section}]"); // writing to a String cannot fail
        }
        let value = match (value_at(&defaults, path), sample) {
            (Some(value), _) => value.to_string(),
            (None, sample) => sample.unwrap_or_default().to_owned(),
        };
        let doc = doc.replace('\n', "\n# ");
        let variable = format!("ERRATA_{}", path.to_uppercase().replace('.', "__"));
        let _ = writeln!(text, "\n# {doc}\n# {variable}\n#{key} = {value}");
    }
    Ok(text)
}

fn value_at<'a>(table: &'a Table, path: &str) -> Option<&'a Value> {
    let (first, rest) = path.split_once('.').map_or((path, None), |(first, rest)| (first, Some(rest)));
    let value = table.get(first)?;
    rest.map_or(Some(value), |rest| value_at(value.as_table()?, rest))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::config::{Flags, load};

    fn loaded(text: &str) -> String {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        let flags = Flags { file: Some(file.path().to_owned()), settings: Vec::new() };
        load(&flags, std::iter::empty()).unwrap().masked().unwrap()
    }

    fn leaves(table: &Table, prefix: &str, into: &mut BTreeSet<String>) {
        for (key, value) in table {
            match value {
                Value::Table(inner) => leaves(inner, &format!("{prefix}{key}."), into),
                _ => _ = into.insert(format!("{prefix}{key}")),
            }
        }
    }

    #[test]
    fn the_example_has_every_setting_and_no_other() {
        let mut known = BTreeSet::new();
        leaves(&Table::try_from(Config::default()).unwrap(), "", &mut known);
        let always = SETTINGS.iter().filter(|entry| entry.sample.is_none());
        let shown: BTreeSet<_> = always.map(|entry| entry.path.to_owned()).collect();
        assert_eq!(shown, known);
    }

    #[test]
    fn the_example_loads_as_it_is_and_with_every_setting_on_to_the_defaults() {
        let text = example().unwrap();
        let defaults = Config::default().masked().unwrap();
        assert_eq!(loaded(&text), defaults);
        let is_setting = |line: &str| line.starts_with('#') && !line.starts_with("# ") && line.contains(" = ");
        let on: Vec<_> = text.lines().map(|line| if is_setting(line) { &line[1..] } else { line }).collect();
        assert_eq!(on.iter().filter(|line| !line.starts_with(['#', '[']) && !line.is_empty()).count(), SETTINGS.len());
        assert_eq!(loaded(&on.join("\n")), defaults);
    }

    #[test]
    fn optional_settings_exist_too() {
        for entry in SETTINGS.iter().filter(|entry| entry.sample.is_some()) {
            let settings = vec![(entry.path.to_owned(), "0123456789abcdef".to_owned())];
            let flags = Flags { file: Some("/dev/null".into()), settings };
            assert!(load(&flags, std::iter::empty()).is_ok(), "{}", entry.path);
        }
    }
}
