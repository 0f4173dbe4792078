//! Access to ClickHouse: where it is, who we are there, and the clients made of that.
//!
//! An [`Access`] is known from the configuration or from the embedded engine; [`Clients`] are made of it. Nothing else
//! in the program knows which of the two it was.

use std::{fmt, future::Future, time::Duration};

use clickhouse::error::Error as ClickHouseError;
use hyper_util::{client::legacy, client::legacy::connect::HttpConnector, rt::TokioExecutor};
use url::Url;

/// How long one connection attempt may take.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// How long an endpoint may take to answer `SELECT 1` before the next one is tried.
const PROBE_TIMEOUT: Duration = Duration::from_secs(5);
/// Idle connections are closed before the server does so: ClickHouse closes them after 10 s (before 23.11: 3 s), the
/// embedded engine, whose configuration is ours, after 60 s.
const IDLE_EXTERNAL: Duration = Duration::from_secs(2);
const IDLE_EMBEDDED: Duration = Duration::from_secs(45);

#[derive(Debug, thiserror::Error)]
pub enum AccessError {
    #[error(
        "clickhouse.url: {reason}; write http://user:password@host:8123, several separated by commas, or \"embedded\""
    )]
    Url { reason: String },
    #[error(
        "clickhouse.database {0:?} is no name: use 1 to 64 ASCII letters, digits and underscores, and no digit first"
    )]
    Database(String),
    #[error("no ClickHouse answers: {0}")]
    Unreachable(String),
    #[error("cannot read the system's TLS certificates: {0}")]
    Certificates(std::io::Error),
}

/// A value that must not be printed: its `Debug` shows nothing of it, and it has no `Display`.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    #[must_use]
    pub fn new(value: impl Into<String>) -> Self {
        Self(value.into())
    }

    /// The value itself; for headers and hashes, never for a log.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// Name of our database: safe to stand in SQL and XML unquoted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Database(String);

impl Database {
    pub fn parse(name: &str) -> Result<Self, AccessError> {
        let starts_well = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
        let is_plain = name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
        if starts_well && is_plain && name.len() <= 64 {
            Ok(Self(name.to_owned()))
        } else {
            Err(AccessError::Database(name.to_owned()))
        }
    }

    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Database {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A ClickHouse user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Login {
    pub user: String,
    pub password: Secret,
}

/// One HTTP address of ClickHouse and the users for our three duties there.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Endpoint {
    /// Scheme, host and port; never credentials.
    origin: String,
    admin: Login,
    write: Login,
    read: Login,
}

/// Where ClickHouse is and who we are there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Access {
    /// Never empty.
    endpoints: Vec<Endpoint>,
    database: Database,
    idle: Duration,
}

/// Clients of one endpoint, by duty. Each is cheap to clone; clones share connections, duties do not.
#[derive(Clone)]
pub struct Clients {
    /// Migrations and upkeep. Has no default database (it makes ours): qualify table names.
    pub admin: clickhouse::Client,
    /// Inserts and the counts that verify them.
    pub write: clickhouse::Client,
    /// Every `SELECT` of a person or a dashboard.
    pub read: clickhouse::Client,
    pub database: Database,
    /// Scheme, host and port, for messages.
    pub origin: String,
}

impl Access {
    /// Access to servers somebody else runs: `http(s)://user:password@host:port`, several separated by commas. The same
    /// user serves all duties. A missing user is `default`, a missing port 8123 (https: 8443).
    pub fn external(urls: &str, database: Database) -> Result<Self, AccessError> {
        let endpoints = urls
            .split(',')
            .map(str::trim)
            .filter(|url| !url.is_empty())
            .map(parse_endpoint)
            .collect::<Result<Vec<_>, _>>()?;
        if endpoints.is_empty() {
            return Err(AccessError::Url { reason: "it is empty".to_owned() });
        }
        Ok(Self { endpoints, database, idle: IDLE_EXTERNAL })
    }

    /// Access to the embedded engine.
    pub(super) fn embedded(port: u16, admin: Login, write: Login, read: Login, database: Database) -> Self {
        let origin = format!("http://127.0.0.1:{port}");
        Self { endpoints: vec![Endpoint { origin, admin, write, read }], database, idle: IDLE_EMBEDDED }
    }

    #[must_use]
    pub fn database(&self) -> &Database {
        &self.database
    }

    /// Clients of the first endpoint, without asking whether it answers.
    pub fn clients(&self) -> Result<Clients, AccessError> {
        self.clients_of(&self.endpoints[0])
    }

    /// Clients of the first endpoint that answers an authenticated `SELECT 1`.
    ///
    /// # Errors
    /// When none does: the reasons of all of them.
    pub async fn first_reachable(&self) -> Result<Clients, AccessError> {
        let mut reasons = Vec::new();
        for endpoint in &self.endpoints {
            let clients = self.clients_of(endpoint)?;
            match bounded(PROBE_TIMEOUT, clients.admin.query("SELECT 1").fetch_one::<u8>()).await {
                Ok(_) => return Ok(clients),
                Err(error) => reasons.push(format!("{}: {error}", endpoint.origin)),
            }
        }
        Err(AccessError::Unreachable(reasons.join("; ")))
    }

    fn clients_of(&self, endpoint: &Endpoint) -> Result<Clients, AccessError> {
        // Connections of its own for each duty: one is driven by the thread that opened it, and delivery's is busy for some
        // milliseconds at a time, which a lookup on its connection would wait for.
        let client = |login: &Login| {
            let client = transport(self.idle)?.with_url(&endpoint.origin);
            Ok(client.with_user(&login.user).with_password(login.password.expose()))
        };
        Ok(Clients {
            admin: client(&endpoint.admin)?,
            write: client(&endpoint.write)?.with_database(self.database.as_str()),
            read: client(&endpoint.read)?.with_database(self.database.as_str()),
            database: self.database.clone(),
            origin: endpoint.origin.clone(),
        })
    }
}

/// Waits for `work` no longer than `limit`; past it, [`ClickHouseError::TimedOut`]. (A query of the crate has no
/// time-out of its own; inserts have, see [`super::Store::insert`].)
pub async fn bounded<T>(
    limit: Duration,
    work: impl Future<Output = Result<T, ClickHouseError>>,
) -> Result<T, ClickHouseError> {
    tokio::time::timeout(limit, work).await.unwrap_or(Err(ClickHouseError::TimedOut))
}

/// A client with a connection pool of its own; the crate's default has no connect time-out.
fn transport(idle: Duration) -> Result<clickhouse::Client, AccessError> {
    let mut tcp = HttpConnector::new();
    tcp.set_connect_timeout(Some(CONNECT_TIMEOUT));
    tcp.set_keepalive(Some(Duration::from_secs(60)));
    tcp.set_nodelay(true);
    tcp.enforce_http(false);
    let connector = hyper_rustls::HttpsConnectorBuilder::new()
        .with_provider_and_native_roots(rustls::crypto::ring::default_provider())
        .map_err(AccessError::Certificates)?
        .https_or_http()
        .enable_http1()
        .wrap_connector(tcp);
    let http = legacy::Client::builder(TokioExecutor::new())
        .pool_timer(hyper_util::rt::TokioTimer::new())
        .pool_idle_timeout(idle)
        .build(connector);
    Ok(clickhouse::Client::with_http_client(http).with_product_info("errata", env!("CARGO_PKG_VERSION")))
}

/// The texts never repeat the URL: it holds a password.
fn parse_endpoint(text: &str) -> Result<Endpoint, AccessError> {
    let refuse = |reason: String| AccessError::Url { reason };
    let url = Url::parse(text).map_err(|error| refuse(error.to_string()))?;
    let default_port = match url.scheme() {
        "http" => 8123,
        "https" => 8443,
        other => return Err(refuse(format!("the scheme {other:?} is not spoken (the HTTP port is needed)"))),
    };
    let host = url.host_str().ok_or_else(|| refuse("the host is missing".to_owned()))?;
    if url.path() != "/" || url.query().is_some() || url.fragment().is_some() {
        return Err(refuse(
            "a path, query or fragment is not taken (the database has a setting of its own)".to_owned(),
        ));
    }
    // `Url` drops a port that is the scheme's default (80, 443): those were written on purpose then.
    let authority = text.split_once("://").map_or(text, |(_, rest)| rest);
    let host_and_port = authority.rsplit_once('@').map_or(authority, |(_, rest)| rest).trim_end_matches('/');
    let has_port = host_and_port.rsplit_once(':').is_some_and(|(_, port)| port.bytes().all(|b| b.is_ascii_digit()));
    let port = if has_port { url.port_or_known_default().unwrap_or(default_port) } else { default_port };

    let user = if url.username().is_empty() { "default".to_owned() } else { percent_decode(url.username())? };
    let password = Secret::new(percent_decode(url.password().unwrap_or(""))?);
    let login = Login { user, password };
    let origin = format!("{}://{host}:{port}", url.scheme());
    Ok(Endpoint { origin, admin: login.clone(), write: login.clone(), read: login })
}

fn percent_decode(text: &str) -> Result<String, AccessError> {
    let refuse =
        || AccessError::Url { reason: "a % in the user or password is no escape (write it as %25)".to_owned() };
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte == b'%' {
            let hex = [rest.next().ok_or_else(refuse)?, rest.next().ok_or_else(refuse)?];
            let digits = std::str::from_utf8(&hex).map_err(|_| refuse())?;
            bytes.push(u8::from_str_radix(digits, 16).map_err(|_| refuse())?);
        } else {
            bytes.push(byte);
        }
    }
    let decoded = String::from_utf8(bytes).map_err(|_| refuse())?;
    // They travel as header values.
    if decoded.chars().any(char::is_control) { Err(refuse()) } else { Ok(decoded) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn external(urls: &str) -> Result<Access, AccessError> {
        Access::external(urls, Database::parse("errata").unwrap())
    }

    #[test]
    fn an_external_url_yields_origin_user_and_password() {
        for (url, origin, user, password) in [
            ("http://u:p@db.example:8124", "http://db.example:8124", "u", "p"),
            ("https://u:p%40ss%25@db.example", "https://db.example:8443", "u", "p@ss%"),
            ("http://db.example/", "http://db.example:8123", "default", ""),
            ("http://u@[::1]:80", "http://[::1]:80", "u", ""),
            ("http://[::1]", "http://[::1]:8123", "default", ""),
        ] {
            let endpoint = &external(url).unwrap().endpoints[0];
            assert_eq!(endpoint.origin, origin);
            assert_eq!((endpoint.admin.user.as_str(), endpoint.read.password.expose()), (user, password), "{url}");
        }
        assert_eq!(external("http://a, http://b:1 ,").unwrap().endpoints.len(), 2);
    }

    #[test]
    fn a_bad_url_is_refused_without_repeating_its_password() {
        for url in [
            "",
            "tcp://u:hunter2@h:9000",
            "http://u:hunter2@h/db",
            "http://u:hunter2%zz@h",
            "http://u:hunter2@",
            "u:hunter2@h",
        ] {
            let message = external(url).unwrap_err().to_string();
            assert!(!message.contains("hunter2"), "{message}");
            assert!(message.contains("http://user:password@host:8123"), "{message}");
        }
    }

    #[test]
    fn passwords_are_not_in_debug_output() {
        let access = external("http://u:hunter2@h").unwrap();
        assert!(!format!("{access:?}").contains("hunter2"));
        assert!(!format!("{:?}", access.clients().unwrap().admin).contains("hunter2"));
    }

    #[test]
    fn a_database_name_that_would_need_quoting_is_refused() {
        for name in ["", "1a", "a-b", "a.b", "a`b", "ä", &"a".repeat(65)] {
            assert!(Database::parse(name).is_err(), "{name}");
        }
        assert!(Database::parse("errata_2").is_ok());
    }

    #[tokio::test]
    async fn endpoints_that_do_not_answer_are_all_named() {
        let access = external("http://u:hunter2@127.0.0.1:1,http://u:hunter2@127.0.0.1:2").unwrap();
        let message = access.first_reachable().await.err().unwrap().to_string();
        assert!(message.contains("127.0.0.1:1") && message.contains("127.0.0.1:2"), "{message}");
        assert!(!message.contains("hunter2"), "{message}");
    }
}
