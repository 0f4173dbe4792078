//! Talking to a collector: where it is, who we are, and the unified envelope of its answers.

use std::{
    collections::BTreeMap,
    net::{IpAddr, SocketAddr},
    path::PathBuf,
    time::Duration,
};

use reqwest::{Method, RequestBuilder, StatusCode, Url, header};
use serde::Deserialize;
use serde_json::Value;

use super::settings::Settings;
use crate::{
    app::ADMIN_TOKEN_FILE,
    config::{Config, ConfigError},
};

/// How long a connection may take to open.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// How long an answer may take. The collector's own limit on receiving a body is 60 s.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(90);

/// Silence after which a stream is given up: a tail is told each 15 s that it is open, and a page of an export takes less.
const SILENCE: Duration = Duration::from_secs(60);

const NO_ANSWER: &str = "it does not answer in time";

/// Where the collector is and who asks.
#[derive(Clone, Debug, Default, clap::Args)]
#[command(next_help_heading = "Collector")]
pub struct ClientArgs {
    /// Address of the collector; default: the configured listener, http://127.0.0.1:8080
    #[arg(long, value_name = "URL", env = "ERRATA_URL")]
    url: Option<String>,
    /// Token to authenticate with; default: the content of <DATA_DIR>/admin.token
    #[arg(long, value_name = "TOKEN", env = "ERRATA_TOKEN", hide_env_values = true)]
    token: Option<String>,
}

/// Why a collector gave no good answer.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error("--url {url:?} is no http(s) address: {reason}; write for example http://127.0.0.1:8080")]
    BadUrl { url: String, reason: String },
    #[error(
        "no token: {path} cannot be read ({source}); give --token or ERRATA_TOKEN, or name the collector's --data-dir \
         (`errata token create` makes tokens)",
        path = path.display()
    )]
    NoToken { path: PathBuf, source: std::io::Error },
    #[error("the token has characters that no token has; check --token and ERRATA_TOKEN")]
    BadToken,
    #[error("cannot make an HTTP client: {0}")]
    Build(reqwest::Error),
    #[error("cannot reach the collector at {origin}: {reason}; is it running? (`errata serve`, or another --url)")]
    Unreachable { origin: String, reason: String },
    #[error("{origin} does not answer like an errata collector ({what}); check --url")]
    Foreign { origin: String, status: StatusCode, what: String },
    #[error("{0}")]
    Refused(Box<Refused>),
}

/// An error of the API, from its envelope.
#[derive(Debug)]
pub struct Refused {
    pub status: StatusCode,
    pub error: String,
    pub errors: BTreeMap<String, Vec<String>>,
    pub data: Value,
    pub request_id: String,
    pub retry_after: Option<Duration>,
    /// `X-Throttle-Limit`: events that fit a window of the token's quota.
    pub throttle_limit: Option<u64>,
}

impl std::fmt::Display for Refused {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", self.status.as_u16(), self.error)?;
        for (field, message) in self.errors.iter().flat_map(|(field, list)| list.iter().map(move |text| (field, text)))
        {
            write!(f, "; {field}: {message}")?;
        }
        if let Some(delay) = self.retry_after {
            write!(f, ", again in {} s", delay.as_secs())?;
        }
        match self.status {
            StatusCode::UNAUTHORIZED => f.write_str("; check --token and ERRATA_TOKEN, `errata token list` shows all"),
            StatusCode::FORBIDDEN => f.write_str("; make one with the role by `errata token create --role`"),
            status if status.is_server_error() => {
                write!(f, " (the collector's log tells more under request_id {})", self.request_id)
            }
            _ => Ok(()),
        }
    }
}

/// The envelope of every answer.
#[derive(Deserialize)]
struct Envelope {
    success: bool,
    #[serde(default)]
    data: Value,
    #[serde(default)]
    error: String,
    #[serde(default)]
    errors: BTreeMap<String, Vec<String>>,
    #[serde(default)]
    request_id: String,
}

/// A collector and a token. Cheap to clone; clones share connections.
#[derive(Clone)]
pub struct Client {
    http: reqwest::Client,
    base: Url,
    token: String,
}

impl Client {
    /// Finds address and token: flags, else the environment, else the configuration.
    pub fn new(args: &ClientArgs, settings: &Settings) -> Result<Self, ClientError> {
        let url = args.url.as_deref().filter(|url| !url.is_empty());
        let token = args.token.as_deref().map(str::trim).filter(|token| !token.is_empty());
        // The configuration is read only where it is needed: a client elsewhere may have none that fits.
        let (url, token) = match (url, token) {
            (Some(url), Some(token)) => (url.to_owned(), token.to_owned()),
            (url, token) => {
                let config = settings.load()?;
                let url = url.map_or_else(|| local_url(config.listen), str::to_owned);
                let token = token.map_or_else(|| admin_token(&config), |token| Ok(token.to_owned()))?;
                (url, token)
            }
        };
        Self::connect(&url, &token)
    }

    /// A client of a collector at `url`.
    pub fn connect(url: &str, token: &str) -> Result<Self, ClientError> {
        let bad = |reason: String| ClientError::BadUrl { url: url.to_owned(), reason };
        let mut base = Url::parse(url).map_err(|error| bad(error.to_string()))?;
        if !matches!(base.scheme(), "http" | "https") {
            return Err(bad(format!("the scheme {:?} is not spoken", base.scheme())));
        }
        if !token.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(ClientError::BadToken);
        }
        base.set_query(None);
        base.set_fragment(None);
        // The provider of the process; a second install changes nothing.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let http = reqwest::Client::builder()
            .user_agent(concat!("errata/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(CONNECT_TIMEOUT)
            .timeout(ANSWER_TIMEOUT)
            // A token is for the address it was given for.
            .redirect(reqwest::redirect::Policy::none())
            .build()
            .map_err(ClientError::Build)?;
        Ok(Self { http, base, token: token.to_owned() })
    }

    /// Scheme, host and port, for messages.
    pub fn origin(&self) -> String {
        self.base.origin().ascii_serialization()
    }

    /// What tells this collector and token from others, without the token.
    pub fn identity(&self) -> u64 {
        xxhash_rust::xxh3::xxh3_64(format!("{} {}", self.base, self.token).as_bytes())
    }

    /// A request to `/api/v1/` and the segments, each escaped.
    pub fn request(&self, method: Method, segments: &[&str]) -> RequestBuilder {
        let mut url = self.base.clone();
        // An http(s) URL always has a path.
        if let Ok(mut path) = url.path_segments_mut() {
            path.pop_if_empty().extend(["api", "v1"]).extend(segments);
        }
        self.http.request(method, url).bearer_auth(&self.token)
    }

    /// `GET`: the envelope's data.
    pub async fn get(&self, segments: &[&str]) -> Result<Value, ClientError> {
        self.send(self.request(Method::GET, segments)).await
    }

    /// `POST` of a JSON body: the envelope's data.
    pub async fn post(&self, segments: &[&str], body: &Value) -> Result<Value, ClientError> {
        self.send(self.request(Method::POST, segments).json(body)).await
    }

    /// Sends a request and opens the envelope of its answer.
    pub async fn send(&self, request: RequestBuilder) -> Result<Value, ClientError> {
        let response = request.send().await.map_err(|error| self.unreachable(&error))?;
        self.open(response).await
    }

    /// Sends a request whose answer goes on for as long as it likes; an error is in an envelope.
    pub async fn stream(&self, request: RequestBuilder) -> Result<Stream<'_>, ClientError> {
        let request = request.timeout(Duration::MAX);
        let response = tokio::time::timeout(ANSWER_TIMEOUT, request.send()).await;
        let late = || ClientError::Unreachable { origin: self.origin(), reason: NO_ANSWER.to_owned() };
        let response = response.map_err(|_| late())?.map_err(|error| self.unreachable(&error))?;
        let kind = response.headers().get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
        if response.status().is_success() && !kind.starts_with("application/json") {
            return Ok(Stream { client: self, response, rest: Vec::new() });
        }
        let what = format!("status {}, {kind:?} in the place of a stream", response.status().as_u16());
        let status = response.status();
        self.open(response).await?;
        Err(ClientError::Foreign { origin: self.origin(), status, what })
    }

    /// Opens the envelope of an answer.
    async fn open(&self, response: reqwest::Response) -> Result<Value, ClientError> {
        let status = response.status();
        let number = |name: &str| response.headers().get(name)?.to_str().ok()?.trim().parse::<u64>().ok();
        let retry_after = number(header::RETRY_AFTER.as_str()).map(Duration::from_secs);
        let throttle_limit = number("x-throttle-limit");
        let bytes = response.bytes().await.map_err(|error| self.unreachable(&error))?;
        let foreign = |what: String| ClientError::Foreign { origin: self.origin(), status, what };
        let envelope: Envelope = serde_json::from_slice(&bytes)
            .map_err(|_| foreign(format!("status {}, no JSON envelope", status.as_u16())))?;
        let Envelope { success, data, error, errors, request_id } = envelope;
        match (success, status.is_success()) {
            (true, true) => Ok(data),
            (false, false) => {
                let refused = Refused { status, error, errors, data, request_id, retry_after, throttle_limit };
                Err(ClientError::Refused(Box::new(refused)))
            }
            _ => Err(foreign(format!("status {} and success {success}", status.as_u16()))),
        }
    }

    fn unreachable(&self, error: &reqwest::Error) -> ClientError {
        let reason = if error.is_timeout() {
            NO_ANSWER.to_owned()
        } else {
            // The innermost cause says it: "Connection refused (os error 111)".
            let mut cause: &dyn std::error::Error = error;
            while let Some(source) = cause.source() {
                cause = source;
            }
            cause.to_string()
        };
        ClientError::Unreachable { origin: self.origin(), reason }
    }
}

/// An answer that goes on.
pub struct Stream<'a> {
    client: &'a Client,
    response: reqwest::Response,
    /// What came after the last whole line.
    rest: Vec<u8>,
}

impl Stream<'_> {
    /// The next bytes; none at the end.
    ///
    /// # Errors
    /// When the answer breaks off before its end, or nothing comes for a minute.
    pub async fn bytes(&mut self) -> Result<Option<Vec<u8>>, ClientError> {
        match tokio::time::timeout(SILENCE, self.response.chunk()).await {
            Ok(Ok(bytes)) => Ok(bytes.map(|bytes| bytes.to_vec())),
            Ok(Err(error)) => Err(self.client.unreachable(&error)),
            Err(_) => {
                let reason = "the answer stands still".to_owned();
                Err(ClientError::Unreachable { origin: self.client.origin(), reason })
            }
        }
    }

    /// The next line, without its end; none at the end of the answer.
    ///
    /// # Errors
    /// As [`Self::bytes`].
    pub async fn line(&mut self) -> Result<Option<String>, ClientError> {
        loop {
            if let Some(end) = self.rest.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.rest.drain(..=end).take(end).collect();
                return Ok(Some(String::from_utf8_lossy(&line).into_owned()));
            }
            match self.bytes().await? {
                Some(bytes) => self.rest.extend(bytes),
                None if self.rest.is_empty() => return Ok(None),
                None => return Ok(Some(String::from_utf8_lossy(&std::mem::take(&mut self.rest)).into_owned())),
            }
        }
    }
}

/// A listener's address as seen from this machine.
pub fn local_url(mut address: SocketAddr) -> String {
    if address.ip().is_unspecified() {
        let loopback = match address.ip() {
            IpAddr::V4(_) => IpAddr::from([127, 0, 0, 1]),
            IpAddr::V6(_) => IpAddr::V6(std::net::Ipv6Addr::LOCALHOST),
        };
        address.set_ip(loopback);
    }
    format!("http://{address}")
}

fn admin_token(config: &Config) -> Result<String, ClientError> {
    let path = config.data_dir.join(ADMIN_TOKEN_FILE);
    let text = std::fs::read_to_string(&path).map_err(|source| ClientError::NoToken { path, source })?;
    Ok(text.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(url: &str) -> Client {
        Client::connect(url, "errata_t").unwrap()
    }

    #[test]
    fn ids_of_any_characters_are_one_path_segment() {
        let request = client("http://h:1/base/").request(Method::GET, &["requests", "a/b?c#d%20e"]).build().unwrap();
        assert_eq!(request.url().as_str(), "http://h:1/base/api/v1/requests/a%2Fb%3Fc%23d%2520e");
        assert_eq!(request.headers()[header::AUTHORIZATION], "Bearer errata_t");
    }

    #[test]
    fn bad_addresses_and_tokens_are_explained() {
        for url in ["127.0.0.1:8080", "ftp://h", ""] {
            let error = Client::connect(url, "t").err().unwrap().to_string();
            assert!(error.contains("http://127.0.0.1:8080"), "{error}");
        }
        assert!(matches!(Client::connect("http://h", "a\nb"), Err(ClientError::BadToken)));
    }

    #[test]
    fn a_wildcard_listener_is_reached_by_loopback() {
        let with = |listen: &str| local_url(listen.parse().unwrap());
        assert_eq!(with("0.0.0.0:81"), "http://127.0.0.1:81");
        assert_eq!(with("[::]:81"), "http://[::1]:81");
        assert_eq!(with("10.0.0.1:81"), "http://10.0.0.1:81");
    }

    #[test]
    fn without_a_token_the_error_names_the_file_and_the_ways_out() {
        let dir = tempfile::tempdir().unwrap();
        let config = Config { data_dir: dir.path().to_owned(), ..Config::default() };
        let error = admin_token(&config).unwrap_err().to_string();
        assert!(error.contains("admin.token") && error.contains("ERRATA_TOKEN"), "{error}");
        std::fs::write(dir.path().join(ADMIN_TOKEN_FILE), "errata_abc\n").unwrap();
        assert_eq!(admin_token(&config).unwrap(), "errata_abc");
    }

    #[tokio::test]
    async fn a_closed_port_is_told_with_what_to_do() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        drop(listener);
        let error = client(&url).get(&["x"]).await.unwrap_err().to_string();
        assert!(error.contains("refused") && error.contains("errata serve"), "{error}");
    }
}
