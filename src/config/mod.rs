//! Configuration: flags over environment over `errata.toml`, validated once.
//!
//! Every setting has a default, so an empty file is a good one. The environment variable of a setting is `ERRATA_` and its
//! path in upper case with `__` between the levels: `spool.max_bytes` is `ERRATA_SPOOL__MAX_BYTES`. A value that does not
//! fit, and a setting that does not exist, stop the start with an error that names where it came from.

mod address;
mod console;
mod example;
mod size;
mod source;

use std::{net::SocketAddr, path::PathBuf};

use serde::{Deserialize, Serialize};

pub use console::Console;
pub use example::example;
pub use size::ByteSize;
pub use source::{ConfigError, Flags, load};

use crate::event::scrub::ScrubConfig;

/// The whole configuration. [`example()`] holds each setting's documentation for `errata config example`; a test keeps the
/// two sets of settings equal.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Address of the HTTP listener: API, its documentation (`/docs`), `/metrics`. `ERRATA_LISTEN`
    #[serde(deserialize_with = "address::deserialize")]
    pub listen: SocketAddr,
    /// Address reserved for OTLP over gRPC; nothing listens there yet. `ERRATA_GRPC_LISTEN`
    #[serde(deserialize_with = "address::deserialize")]
    pub grpc_listen: SocketAddr,
    /// Directory of the spool, the embedded ClickHouse, tokens and other state. `ERRATA_DATA_DIR`
    pub data_dir: PathBuf,
    /// Days an event is kept from its receipt, 1–3650. Deletion is by whole weeks, so it may live up to seven days longer.
    /// `ERRATA_RETENTION_DAYS`
    pub retention_days: u32,
    /// Error catalog file; empty: the built-in IGNY8 catalog. `ERRATA_CATALOG`
    pub catalog: String,
    /// File of alert rules; empty: the built-in rules. `ERRATA_ALERTS`
    pub alerts: String,
    /// Base of links in answers, as people reach the collector: `https://errata.example`. Empty: the listener's
    /// address. `ERRATA_PUBLIC_URL`
    pub public_url: String,
    pub clickhouse: ClickHouse,
    pub spool: Spool,
    pub ingest: Ingest,
    pub scrub: ScrubConfig,
    pub console: Console,
}

/// Where events are stored.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ClickHouse {
    /// `embedded`, or `http://user:password@host:8123` (several, separated by commas, for a cluster).
    /// `ERRATA_CLICKHOUSE__URL`
    pub url: String,
    /// Database that holds Errata's tables; letters, digits and `_`. `ERRATA_CLICKHOUSE__DATABASE`
    pub database: String,
    /// Memory the embedded ClickHouse may use, at least 512 MiB. `ERRATA_CLICKHOUSE__MEMORY_LIMIT`
    pub memory_limit: ByteSize,
    /// Milliseconds from which on a query is logged as slow; 0: never. `ERRATA_CLICKHOUSE__SLOW_QUERY_MS`
    pub slow_query_ms: u64,
}

/// The durable log in front of ClickHouse.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Spool {
    /// Size past which events are refused with 503 until ClickHouse has caught up. `ERRATA_SPOOL__MAX_BYTES`
    pub max_bytes: ByteSize,
    /// Free disk space below which events are refused with 503. `ERRATA_SPOOL__RESERVE_BYTES`
    pub reserve_bytes: ByteSize,
    /// Size of one segment file. `ERRATA_SPOOL__SEGMENT_BYTES`
    pub segment_bytes: ByteSize,
    /// How many of the latest events are remembered to recognise a client's retry, also across restarts (24 bytes of
    /// disk and about 40 of memory each; the default is just under what a hash table of 2^20 slots takes).
    /// `ERRATA_SPOOL__REMEMBERED_KEYS`
    pub remembered_keys: usize,
}

/// Limits on one request.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Ingest {
    /// Body as received. `ERRATA_INGEST__MAX_BODY`
    pub max_body: ByteSize,
    /// Body after its content encoding is undone. `ERRATA_INGEST__MAX_DECOMPRESSED`
    pub max_decompressed: ByteSize,
    /// One event. `ERRATA_INGEST__MAX_EVENT`
    pub max_event: ByteSize,
    /// Bytes of request bodies held in memory at once: past it, arriving ones are refused with 503, received ones wait. `ERRATA_INGEST__MAX_IN_FLIGHT`
    pub max_in_flight: ByteSize,
    /// Seconds a client may take to send a body, 1–3600. `ERRATA_INGEST__BODY_TIMEOUT_SECONDS`
    pub body_timeout_seconds: u32,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 8080)),
            grpc_listen: SocketAddr::from(([127, 0, 0, 1], 4317)),
            data_dir: PathBuf::from("errata-data"),
            retention_days: 90,
            catalog: String::new(),
            alerts: String::new(),
            public_url: String::new(),
            clickhouse: ClickHouse::default(),
            spool: Spool::default(),
            ingest: Ingest::default(),
            scrub: ScrubConfig::default(),
            console: Console::default(),
        }
    }
}

impl Default for ClickHouse {
    fn default() -> Self {
        Self { url: EMBEDDED.into(), database: "errata".into(), memory_limit: ByteSize::gib(2), slow_query_ms: 1000 }
    }
}

impl Default for Spool {
    fn default() -> Self {
        Self {
            max_bytes: ByteSize::gib(10),
            reserve_bytes: ByteSize::mib(512),
            segment_bytes: ByteSize::mib(64),
            remembered_keys: 900_000,
        }
    }
}

impl Default for Ingest {
    fn default() -> Self {
        Self {
            max_body: ByteSize::mib(16),
            max_decompressed: ByteSize::mib(64),
            max_event: ByteSize::kib(256),
            max_in_flight: ByteSize::mib(128),
            body_timeout_seconds: 60,
        }
    }
}

/// Value of `clickhouse.url` that starts the embedded engine.
pub const EMBEDDED: &str = "embedded";

impl Config {
    /// Base of links in answers, without a trailing slash.
    #[must_use]
    pub fn base_url(&self) -> String {
        if self.public_url.is_empty() {
            format!("http://{}", self.listen)
        } else {
            self.public_url.trim_end_matches('/').to_owned()
        }
    }

    /// The configuration as TOML with secrets masked.
    ///
    /// # Errors
    /// When a value has no TOML form, which none of the defaults lack.
    pub fn masked(&self) -> Result<String, toml::ser::Error> {
        let mut shown = self.clone();
        shown.clickhouse.url = mask_passwords(&shown.clickhouse.url);
        toml::to_string_pretty(&shown)
    }

    /// What is wrong with the values, each problem with its setting.
    fn problems(&self) -> Vec<(&'static str, String)> {
        let mut problems = Vec::new();
        let mut check = |setting, holds: bool, message: String| {
            if !holds {
                problems.push((setting, message));
            }
        };
        check(
            "data_dir",
            !self.data_dir.as_os_str().is_empty(),
            "must name a directory, such as errata-data or /var/lib/errata, got nothing".to_owned(),
        );
        check(
            "retention_days",
            (1..=3650).contains(&self.retention_days),
            format!("must be 1 to 3650 days, got {}", self.retention_days),
        );
        let patience = self.ingest.body_timeout_seconds;
        check(
            "ingest.body_timeout_seconds",
            (1..=3600).contains(&patience),
            format!("must be 1 to 3600 seconds, got {patience}"),
        );
        let database = &self.clickhouse.database;
        check(
            "clickhouse.database",
            !database.is_empty()
                && database.len() <= 64
                && !database.starts_with(|first: char| first.is_ascii_digit())
                && database.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_'),
            format!("must be 1 to 64 letters, digits or _, not starting with a digit, got {database:?}"),
        );
        for url in self.clickhouse.url.split(',') {
            let is_http = url.trim().starts_with("http://") || url.trim().starts_with("https://");
            check(
                "clickhouse.url",
                self.clickhouse.url == EMBEDDED || is_http,
                format!("must be \"embedded\" or http(s)://user:password@host:8123, got {:?}", mask_passwords(url)),
            );
        }
        let least = |setting, value: ByteSize, least: ByteSize| (setting, value, least);
        for (setting, value, least) in [
            least("clickhouse.memory_limit", self.clickhouse.memory_limit, ByteSize::mib(512)),
            least("spool.segment_bytes", self.spool.segment_bytes, ByteSize::mib(1)),
            least("ingest.max_event", self.ingest.max_event, ByteSize::kib(1)),
            least("ingest.max_body", self.ingest.max_body, self.ingest.max_event),
            least("ingest.max_decompressed", self.ingest.max_decompressed, self.ingest.max_body),
            least("ingest.max_in_flight", self.ingest.max_in_flight, self.ingest.max_decompressed),
            least("spool.max_bytes", self.spool.max_bytes, ByteSize(2 * self.spool.segment_bytes.0)),
        ] {
            check(setting, value >= least, format!("must be at least {least}, got {value}"));
        }
        let is_web = self.public_url.starts_with("http://") || self.public_url.starts_with("https://");
        check(
            "public_url",
            self.public_url.is_empty() || is_web,
            format!("must begin with http:// or https://, got {:?}", self.public_url),
        );
        check(
            "console.trace_url",
            self.console.is_good(),
            format!(
                "must be an http(s) address with {{trace_id}} in it, such as https://traces.example/trace/{{trace_id}}, got {:?}",
                self.console.trace_url
            ),
        );
        problems
    }
}

/// Replaces the password of each URL in a comma-separated list.
fn mask_passwords(urls: &str) -> String {
    let mask = |url: &str| match (url.find("://"), url.rfind('@')) {
        (Some(scheme), Some(at)) if scheme < at => {
            let user = url[scheme + 3..at].split(':').next().unwrap_or_default();
            format!("{}{user}:********{}", &url[..scheme + 3], &url[at..])
        }
        _ => url.to_owned(),
    };
    urls.split(',').map(mask).collect::<Vec<_>>().join(",")
}
