//! A collector for tests: a real socket whose answers are scripted, failures included.

use std::sync::{Arc, Mutex};

use serde_json::{Value, json};
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::{TcpListener, TcpStream},
};

use super::client::Client;

/// What arrived.
#[derive(Clone, Debug, Default)]
pub struct Received {
    /// `POST /api/v1/events`.
    pub target: String,
    pub encoding: Option<String>,
    /// The body, decompressed, by lines.
    pub lines: Vec<String>,
}

/// What to answer.
pub enum Reply {
    Answer {
        status: u16,
        headers: &'static str,
        body: String,
    },
    /// A body of a media type that says it is so long, and the end of the connection after it.
    Cutting {
        kind: &'static str,
        length: usize,
        body: &'static str,
    },
    /// Close the connection without an answer.
    Cut,
}

impl Reply {
    pub fn data(status: u16, data: &Value) -> Self {
        let body = json!({ "success": true, "data": data, "request_id": "r" }).to_string();
        Self::Answer { status, headers: "", body }
    }

    pub fn taken(accepted: usize) -> Self {
        Self::data(202, &json!({ "accepted": accepted, "duplicates": 0, "rejected": 0, "rejections": [] }))
    }

    pub fn error(status: u16, headers: &'static str, errors: &Value, data: &Value) -> Self {
        let body = json!({ "success": false, "error": "no", "errors": errors, "data": data, "request_id": "r" });
        Self::Answer { status, headers, body: body.to_string() }
    }
}

type Script = dyn FnMut(&Received) -> Reply + Send;

/// A running stub; it ends with the test's runtime.
pub struct Stub {
    pub url: String,
    log: Arc<Mutex<Vec<Received>>>,
}

impl Stub {
    pub async fn start(script: impl FnMut(&Received) -> Reply + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let log = Arc::new(Mutex::new(Vec::new()));
        let script: Arc<Mutex<Box<Script>>> = Arc::new(Mutex::new(Box::new(script)));
        let shared = Arc::clone(&log);
        tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                tokio::spawn(serve(socket, Arc::clone(&script), Arc::clone(&shared)));
            }
        });
        Self { url, log }
    }

    pub fn client(&self) -> Client {
        Client::connect(&self.url, "errata_test").unwrap()
    }

    /// Everything that arrived so far.
    pub fn received(&self) -> Vec<Received> {
        self.log.lock().unwrap().clone()
    }
}

async fn serve(socket: TcpStream, script: Arc<Mutex<Box<Script>>>, log: Arc<Mutex<Vec<Received>>>) {
    let mut socket = BufReader::new(socket);
    while let Some(received) = receive(&mut socket).await {
        log.lock().unwrap().push(received.clone());
        let reply = (script.lock().unwrap())(&received);
        let (status, headers, body) = match reply {
            Reply::Answer { status, headers, body } => (status, headers, body),
            Reply::Cutting { kind, length, body } => {
                let head = format!("HTTP/1.1 200 OK\r\ncontent-type: {kind}\r\ncontent-length: {length}\r\n\r\n");
                let _ = socket.write_all((head + body).as_bytes()).await; // a client that is gone is served
                return;
            }
            Reply::Cut => return,
        };
        let head = format!("HTTP/1.1 {status} X\r\ncontent-length: {}\r\n{headers}\r\n", body.len());
        if socket.write_all((head + &body).as_bytes()).await.is_err() {
            return;
        }
    }
}

async fn receive(socket: &mut BufReader<TcpStream>) -> Option<Received> {
    let mut received = Received::default();
    let mut length = 0;
    let mut line = String::new();
    while socket.read_line(&mut line).await.ok()? > 2 {
        let text = std::mem::take(&mut line).trim().to_owned();
        match text.split_once(": ") {
            None => received.target = text.trim_end_matches(" HTTP/1.1").to_owned(),
            Some((name, value)) if name.eq_ignore_ascii_case("content-length") => length = value.parse().ok()?,
            Some((name, value)) if name.eq_ignore_ascii_case("content-encoding") => {
                received.encoding = Some(value.to_owned());
            }
            Some(_) => {}
        }
    }
    if received.target.is_empty() {
        return None;
    }
    let mut body = vec![0; length];
    socket.read_exact(&mut body).await.ok()?;
    if received.encoding.is_some() {
        body = zstd::decode_all(&body[..]).ok()?;
    }
    received.lines = String::from_utf8_lossy(&body).lines().map(str::to_owned).collect();
    Some(received)
}
