//! A whole collector for a test: real engine, real files, real sockets, in this process.

use std::{
    path::Path,
    sync::{Arc, atomic::AtomicI64},
    time::{Duration, Instant},
};

use errata::{
    app::{ADMIN_TOKEN_FILE, App, AppError, Outside},
    clock::Clock,
    config::{ByteSize, Config, EMBEDDED},
};
use reqwest::{Method, RequestBuilder, StatusCode};
use serde_json::{Value, json};
use tokio::{sync::oneshot, task::JoinHandle};

/// When tests take place unless they say otherwise: some days after the captured traffic.
pub const NOW_MS: i64 = 1_795_348_800_000; // 2026-11-22T12:00:00Z

/// A running collector. Dropping it without [`Collector::stop`] is like a crash of its tasks.
pub struct Collector {
    pub url: String,
    pub token: String,
    pub client: reqwest::Client,
    pub now_ms: Arc<AtomicI64>,
    stop: Option<oneshot::Sender<()>>,
    running: Option<JoinHandle<Result<(), AppError>>>,
}

/// A configuration for a directory: a free port, and limits that suit a test machine.
pub fn config(data_dir: &Path) -> Config {
    let mut config = Config { data_dir: data_dir.to_owned(), retention_days: 3650, ..Config::default() };
    config.listen = "127.0.0.1:0".parse().unwrap();
    config.spool.reserve_bytes = ByteSize::mib(1);
    config
}

impl Collector {
    /// Starts with the default test configuration on a clock that stands at [`NOW_MS`].
    pub async fn start(data_dir: &Path) -> Self {
        Self::with(config(data_dir)).await
    }

    pub async fn with(config: Config) -> Self {
        Self::with_clock(config, NOW_MS).await
    }

    /// One whose clock stands at this time.
    pub async fn with_clock(config: Config, now_ms: i64) -> Self {
        if config.clickhouse.url == EMBEDDED {
            super::engine::library();
        }
        rustls_provider();
        let now_ms = Arc::new(AtomicI64::new(now_ms));
        let outside = Outside {
            clock: Clock::manual(Arc::clone(&now_ms)),
            executable: Some(env!("CARGO_BIN_EXE_errata").into()),
        };
        let data_dir = config.data_dir.clone();
        let app = App::build(config, outside).await.unwrap();
        let url = format!("http://{}", app.address().unwrap());
        let (stop, stopped) = oneshot::channel::<()>();
        let running = tokio::spawn(app.run(async {
            let _ = stopped.await;
        }));
        let token = std::fs::read_to_string(data_dir.join(ADMIN_TOKEN_FILE)).unwrap().trim().to_owned();
        let client = reqwest::Client::new();
        Self { url, token, client, now_ms, stop: Some(stop), running: Some(running) }
    }

    /// One that runs in another process.
    pub fn at(url: &str, token: &str) -> Self {
        let _ = rustls::crypto::ring::default_provider().install_default(); // another test may have been first
        Self {
            url: url.to_owned(),
            token: token.to_owned(),
            client: reqwest::Client::new(),
            now_ms: Arc::default(),
            stop: None,
            running: None,
        }
    }

    /// Ends the collector as SIGTERM does and returns what it ended with.
    pub async fn stop(mut self) -> Result<(), AppError> {
        drop(self.stop.take());
        self.running.take().unwrap().await.unwrap()
    }

    pub fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.client.request(method, format!("{}{path}", self.url)).bearer_auth(&self.token)
    }

    /// GETs a path and returns status and body.
    pub async fn get(&self, path: &str) -> (StatusCode, Value) {
        answer(self.request(Method::GET, path)).await
    }

    /// Ships events as one NDJSON body.
    pub async fn ship(&self, events: &[Value]) -> (StatusCode, Value) {
        self.ship_body("application/x-ndjson", ndjson(events)).await
    }

    pub async fn ship_body(&self, content_type: &str, body: impl Into<reqwest::Body>) -> (StatusCode, Value) {
        answer(self.request(Method::POST, "/api/v1/events").header("Content-Type", content_type).body(body)).await
    }

    /// Waits until a lookup of the id answers `found`; returns its data.
    pub async fn found(&self, id: &str) -> Value {
        let began = Instant::now();
        loop {
            let (status, body) = self.get(&format!("/api/v1/requests/{id}")).await;
            assert_eq!(status, 200, "an acknowledged event is found or pending: {body}");
            if body["data"]["state"] == "found" {
                return body["data"].clone();
            }
            assert!(began.elapsed() < Duration::from_secs(20), "{id} stays pending");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Waits until the spool is empty and everything is in the rollups.
    pub async fn delivered(&self) {
        let began = Instant::now();
        while self.metric("errata_spool_events").await + self.metric("errata_rollup_pending_events").await > 0.0 {
            assert!(began.elapsed() < Duration::from_mins(1), "the spool does not empty");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    pub async fn metrics(&self) -> String {
        self.client.get(format!("{}/metrics", self.url)).send().await.unwrap().text().await.unwrap()
    }

    /// The value of one series, by its text up to the value.
    pub async fn metric(&self, series: &str) -> f64 {
        let text = self.metrics().await;
        let value = text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
        value.unwrap_or_else(|| panic!("no series {series}")).parse().unwrap()
    }
}

/// Chooses the TLS implementation that the HTTP client asks for, also where it speaks plain HTTP.
pub fn rustls_provider() {
    let _ = rustls::crypto::ring::default_provider().install_default(); // another test may have been first
}

/// Sends a request and reads the JSON of the answer.
pub async fn answer(request: RequestBuilder) -> (StatusCode, Value) {
    let response = request.send().await.unwrap();
    let status = response.status();
    let text = response.text().await.unwrap();
    (status, serde_json::from_str(&text).unwrap_or_else(|error| panic!("{status} is no JSON ({error}): {text}")))
}

/// One event a line.
pub fn ndjson(events: &[Value]) -> String {
    events.iter().fold(String::new(), |body, event| body + &event.to_string() + "\n")
}

/// A small event of the reference's kind.
pub fn event(request_id: &str, status: u16) -> Value {
    json!({
        "request_id": request_id,
        "timestamp": "2026-11-22T11:59:00Z",
        "status": status,
        "service": "igny8-api",
        "environment": "production",
        "release": "2026.11.2",
        "method": "POST",
        "path": "/api/v1/planner/keywords/",
        "route": "/api/v1/planner/keywords/",
        "account_id": 7,
        "response": {
            "success": false,
            "error": "Validation failed",
            "errors": {"site_id": ["Site must belong to your account"]},
            "request_id": request_id
        }
    })
}
