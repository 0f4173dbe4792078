//! Clients that ship events and write down which of them were acknowledged.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
    path::PathBuf,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use serde_json::Value;
use tokio::task::JoinHandle;

use super::collector::Setup;

/// What was sent, and what of it a 202 was read for.
#[derive(Default)]
pub struct Ledger {
    sent: Mutex<BTreeSet<String>>,
    acknowledged: Mutex<BTreeSet<String>>,
    /// Answers by status; `none` where there was no answer.
    answers: Mutex<BTreeMap<String, u64>>,
    /// Of requests that were acknowledged.
    took: Mutex<Vec<Duration>>,
    next: AtomicU64,
}

impl Ledger {
    pub fn acknowledged(&self) -> BTreeSet<String> {
        self.acknowledged.lock().unwrap().clone()
    }

    pub fn acknowledged_count(&self) -> usize {
        self.acknowledged.lock().unwrap().len()
    }

    pub fn sent(&self) -> BTreeSet<String> {
        self.sent.lock().unwrap().clone()
    }

    /// Enters events that another run had acknowledged.
    pub fn know(&self, ids: impl Iterator<Item = String>) {
        let ids: Vec<String> = ids.collect();
        self.sent.lock().unwrap().extend(ids.iter().cloned());
        self.acknowledged.lock().unwrap().extend(ids);
    }

    fn acknowledge(&self, ids: &[String]) {
        self.acknowledged.lock().unwrap().extend(ids.iter().cloned());
    }

    /// How many answers had this status.
    pub fn answers(&self, status: &str) -> u64 {
        self.answers.lock().unwrap().get(status).copied().unwrap_or_default()
    }

    /// The longest that an acknowledged request took.
    pub fn slowest(&self) -> Duration {
        self.took.lock().unwrap().iter().max().copied().unwrap_or_default()
    }

    /// The number of a request that no other has.
    fn number(&self) -> u64 {
        self.next.fetch_add(1, Ordering::Relaxed)
    }
}

/// What the clients send, and where.
#[derive(Clone)]
pub struct Load {
    pub url: String,
    /// The file of the token, and what was read of it last: its disk may be without power.
    token: PathBuf,
    known_token: Arc<Mutex<String>>,
    pub clients: usize,
    /// Events in a request.
    pub batch: usize,
    /// Between two requests of a client.
    pub pause: Duration,
    /// Bytes of each event's response, beside some 300 of the rest.
    pub padding: usize,
    /// The events' own time, milliseconds since the Unix epoch; none: they have the time of their receipt.
    pub timestamp_ms: Option<i64>,
}

impl Load {
    pub fn on(setup: &Setup) -> Self {
        Self {
            url: setup.url.clone(),
            token: setup.data_dir.join("admin.token"),
            known_token: Arc::default(),
            clients: 4,
            batch: 5,
            pause: Duration::from_millis(5),
            padding: 0,
            timestamp_ms: Some(chrono::Utc::now().timestamp_millis()),
        }
    }

    fn token(&self) -> String {
        let mut known = self.known_token.lock().unwrap();
        if let Ok(text) = std::fs::read_to_string(&self.token)
            && !text.trim().is_empty()
        {
            text.trim().clone_into(&mut known);
        }
        known.clone()
    }

    /// Starts the clients. Each sends a request again until it is acknowledged, as a good client does.
    pub fn start(&self, ledger: &Arc<Ledger>) -> Running {
        let stop = Arc::new(AtomicBool::new(false));
        let client = reqwest::Client::builder().timeout(Duration::from_secs(20)).build().unwrap();
        let tasks = (0..self.clients).map(|_| {
            let client = Client {
                load: self.clone(),
                http: client.clone(),
                ledger: Arc::clone(ledger),
                stop: Arc::clone(&stop),
            };
            tokio::spawn(client.run())
        });
        Running { tasks: tasks.collect(), ledger: Arc::clone(ledger), stop }
    }

    /// Ships one request of so many events and returns the status and the answer; nothing is tried again.
    pub async fn ship(&self, ledger: &Arc<Ledger>, events: usize) -> (u16, Value) {
        let http = reqwest::Client::builder().timeout(Duration::from_secs(20)).build().unwrap();
        let load = Self { batch: events, ..self.clone() };
        let client = Client { load, http, ledger: Arc::clone(ledger), stop: Arc::default() };
        let request = client.request();
        client.attempt(&request).await
    }
}

/// Clients at work.
pub struct Running {
    tasks: Vec<JoinHandle<()>>,
    ledger: Arc<Ledger>,
    stop: Arc<AtomicBool>,
}

impl Running {
    /// Waits until so many more events are acknowledged.
    pub async fn acknowledged(&self, more: usize) {
        let wanted = self.ledger.acknowledged_count() + more;
        let count = async || self.ledger.acknowledged_count() >= wanted;
        super::machine::eventually("events are acknowledged", super::machine::PATIENCE, count).await;
    }

    /// Lets the clients end: a request that was not acknowledged is given up, and in doubt.
    pub async fn stop(self) {
        self.stop.store(true, Ordering::Relaxed);
        for task in self.tasks {
            task.await.unwrap();
        }
    }
}

struct Client {
    load: Load,
    http: reqwest::Client,
    ledger: Arc<Ledger>,
    stop: Arc<AtomicBool>,
}

/// A body and the ids in it.
struct Request {
    ids: Vec<String>,
    body: String,
}

impl Client {
    async fn run(self) {
        while !self.stops() {
            let request = self.request();
            while self.attempt(&request).await.0 != 202 && !self.stops() {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            tokio::time::sleep(self.load.pause).await;
        }
    }

    fn stops(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    fn request(&self) -> Request {
        let number = self.ledger.number();
        let (mut ids, mut body) = (Vec::new(), String::new());
        for index in 0..self.load.batch {
            let id = format!("req_{number:08x}{index:04x}");
            let (padding, status) = ("x".repeat(self.load.padding), 400 + number % 100);
            write!(
                body,
                r#"{{"request_id":"{id}","event_id":"{id}","status":{status},"service":"shop","method":"POST","#
            )
            .unwrap();
            write!(body, r#""path":"/api/v1/orders/{number}","account_id":{},"#, number % 50).unwrap();
            if let Some(ms) = self.load.timestamp_ms {
                write!(body, r#""timestamp":{ms},"#).unwrap();
            }
            let response = r#"{"detail":[{"loc":["body","sku"],"msg":"Field required","type":"missing"}],"note":""#;
            writeln!(body, r#""response":{response}{padding}"}}}}"#).unwrap();
            ids.push(id);
        }
        self.ledger.sent.lock().unwrap().extend(ids.iter().cloned());
        Request { ids, body }
    }

    async fn attempt(&self, request: &Request) -> (u16, Value) {
        let token = self.load.token();
        let began = Instant::now();
        let sent = self
            .http
            .post(format!("{}/api/v1/events", self.load.url))
            .bearer_auth(token)
            .header("Content-Type", "application/x-ndjson")
            .body(request.body.clone())
            .send()
            .await;
        let (status, body) = match sent {
            // Only a whole answer acknowledges.
            Ok(response) => (response.status().as_u16(), response.bytes().await.ok()),
            Err(_) => (0, None),
        };
        let Some(body) = body else {
            self.count("none");
            return (0, Value::Null);
        };
        let body: Value = serde_json::from_slice(&body).unwrap_or_default();
        self.count(&status.to_string());
        if status == 202 {
            let taken = |what: &str| body["data"][what].as_u64().unwrap() as usize;
            assert_eq!(taken("accepted") + taken("duplicates"), request.ids.len(), "{body}");
            self.ledger.acknowledge(&request.ids);
            self.ledger.took.lock().unwrap().push(began.elapsed());
        }
        (status, body)
    }

    fn count(&self, answer: &str) {
        *self.ledger.answers.lock().unwrap().entry(answer.to_owned()).or_default() += 1;
    }
}
