//! Who is told: each receiver by its own protocol, at least once whatever fails, over real sockets.

use std::{
    path::Path,
    sync::{Arc, Mutex, atomic::Ordering},
    time::{Duration, Instant},
};

use errata::{
    alerts::notify::{Notification, signature},
    clock::rfc3339,
    state::{AlertChanges, OutboxRow, State},
};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::{TcpListener, TcpStream},
};

use super::running::{MINUTE, RULE, limit, with_rules};
use crate::{collector::Collector, faults::collector::Setup};

/// What a receiver of HTTP got.
#[derive(Clone, Debug)]
pub struct Got {
    pub path: String,
    pub headers: Vec<(String, String)>,
    pub text: String,
}

impl Got {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    pub fn body(&self) -> Value {
        serde_json::from_str(&self.text).unwrap()
    }
}

/// A receiver that answers as it is told, and keeps what it got.
#[derive(Clone)]
pub struct Receiver {
    pub url: String,
    got: Arc<Mutex<Vec<Got>>>,
    answer: Arc<Mutex<&'static str>>,
}

pub const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
/// It takes a message, and never says so.
pub const NOTHING: &str = "";
const BROKEN: &str = "HTTP/1.1 500 Oops\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";

impl Receiver {
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let receiver = Self { url, got: Arc::default(), answer: Arc::new(Mutex::new(OK)) };
        let serving = receiver.clone();
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                tokio::spawn(serving.clone().take(stream));
            }
        });
        receiver
    }

    async fn take(self, stream: TcpStream) -> std::io::Result<()> {
        let mut stream = BufReader::new(stream);
        let mut head = Vec::new();
        loop {
            let mut line = String::new();
            stream.read_line(&mut line).await?;
            if line.trim().is_empty() {
                break;
            }
            head.push(line.trim().to_owned());
        }
        let path = head[0].split(' ').nth(1).unwrap().to_owned();
        let headers: Vec<_> = head[1..]
            .iter()
            .filter_map(|line| line.split_once(": "))
            .map(|(name, value)| (name.to_lowercase(), value.to_owned()))
            .collect();
        let mut got = Got { path, headers, text: String::new() };
        let mut body = vec![0; got.header("content-length").unwrap().parse().unwrap()];
        stream.read_exact(&mut body).await?;
        got.text = String::from_utf8(body).unwrap();
        self.got.lock().unwrap().push(got);
        let answer = *self.answer.lock().unwrap();
        if answer == NOTHING {
            return std::future::pending().await;
        }
        stream.write_all(answer.as_bytes()).await
    }

    pub fn got(&self) -> Vec<Got> {
        self.got.lock().unwrap().clone()
    }

    pub fn answers(&self, answer: &'static str) {
        *self.answer.lock().unwrap() = answer;
    }

    /// Waits until it has got so many.
    pub async fn wait(&self, count: usize) -> Vec<Got> {
        eventually(&format!("{count} messages"), || self.got().len() >= count).await;
        self.got()
    }
}

pub async fn eventually(what: &str, holds: impl Fn() -> bool) {
    let began = Instant::now();
    while !holds() {
        assert!(began.elapsed() < Duration::from_secs(30), "{what} do not come");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

pub fn receiver(kind: &str, url: &str) -> String {
    format!("[[receiver]]\nname = '{kind}'\ntype = '{kind}'\nurl = '{url}'\nallow = ['127.0.0.1']\n")
}

pub async fn collector(dir: &Path, receivers: &str) -> Collector {
    Collector::with(with_rules(dir, &format!("{RULE}{receivers}"))).await
}

/// An alert of account 17 that fires.
pub async fn fire(collector: &Collector) {
    limit(collector, 17, 6, MINUTE / 2).await;
    collector.delivered().await;
    collector.minutes(1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_receiver_is_told_once_that_it_fires_and_once_that_it_has_resolved() {
    let dir = tempfile::tempdir().unwrap();
    let [hook, chat] = [Receiver::start().await, Receiver::start().await];
    let (mails, port) = mail_server().await;
    let receivers = [
        receiver("webhook", &format!("{}/hook?key=1", hook.url)) + "secret = 's3cret'\n",
        receiver("slack", &chat.url),
        format!(
            "[[receiver]]\nname = 'mail'\ntype = 'email'\nserver = 'localhost:{port}'\ntls = 'none'\nallow = ['127.0.0.1', '::1']\n\
            from = 'Errata <errata@example.com>'\nto = ['a@example.com', 'b@example.com']\n"
        ),
    ];
    let collector = collector(dir.path(), &receivers.concat()).await;
    fire(&collector).await;
    let [firing] = hook.wait(1).await.try_into().unwrap();
    let body = firing.body();
    assert_eq!(firing.path, "/hook?key=1");
    let timestamp = firing.header("x-errata-timestamp").unwrap();
    let expected = signature("s3cret", timestamp, firing.text.as_bytes());
    assert_eq!(firing.header("x-errata-signature"), Some(expected.as_str()));
    assert_eq!(
        (&body["status"], &body["rule"], &body["severity"]),
        (&json!("firing"), &json!("limited"), &json!("page"))
    );
    assert_eq!(body["labels"]["account"], "17");
    assert_eq!((&body["labels"]["team"], &body["labels"]["alertname"]), (&json!("shop"), &json!("limited")));
    assert_eq!((&body["value"], &body["threshold"]), (&json!(6.0), &json!(5.0)));
    assert_eq!(body["evidence"]["accounts"][0], json!({"account": "17", "events": 6, "share": 1.0}));
    assert_eq!(
        (body["evidence"]["samples"].as_array().unwrap().len(), &body["runbook"]),
        (5, &json!("https://wiki.example/limited"))
    );
    let told = chat.wait(1).await[0].body()["text"].as_str().unwrap().to_owned();
    assert!(
        told.starts_with("*[FIRING] page · limited · account=17 ") && told.contains("• runbook: https://wiki"),
        "{told}"
    );
    eventually("mails", || mails.lock().unwrap().len() == 1).await;
    let mail = mails.lock().unwrap()[0].clone();
    assert!(mail.contains("To: a@example.com, b@example.com") && mail.contains("Message-ID: <"), "{mail}");
    assert!(mail.contains("wiki.example/limited"), "{mail}");

    collector.minutes(4).await;
    let [_, resolved] = hook.wait(2).await.try_into().unwrap();
    let resolved = resolved.body();
    assert_eq!((&resolved["status"], &resolved["fingerprint"]), (&json!("resolved"), &body["fingerprint"]));
    assert_eq!(resolved["resolved_at"], "2026-11-22T12:05:00.000Z");
    eventually("mails", || mails.lock().unwrap().len() == 2).await;
    collector.minutes(2).await;
    assert_eq!([hook.got().len(), chat.got().len(), mails.lock().unwrap().len()], [2, 2, 2]);
    for name in ["webhook", "slack", "mail"] {
        let series = format!("errata_notifications_total{{outcome=\"sent\",receiver=\"{name}\"}}");
        assert_eq!(collector.metric(&series).await, 2.0, "{name}");
    }
    collector.stop().await.unwrap();
}

/// Row 30 of the fault matrix.
#[tokio::test(flavor = "multi_thread")]
async fn row_30_what_a_receiver_does_not_take_is_delivered_later_also_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let manager = Receiver::start().await;
    manager.answers(BROKEN);
    let receivers = receiver("alertmanager", &manager.url);
    let collector = collector(dir.path(), &receivers).await;
    fire(&collector).await;
    manager.wait(1).await;
    let failed = "errata_notifications_total{outcome=\"failed\",receiver=\"alertmanager\"}";
    let began = Instant::now();
    while collector.metric(failed).await == 0.0 {
        assert!(began.elapsed() < Duration::from_secs(20), "no failure is counted");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    // It resolves while Alertmanager is away: both are still to be told, in order.
    collector.minutes(5).await;
    let now = collector.now_ms.load(Ordering::Relaxed);
    collector.stop().await.unwrap();

    manager.answers(OK);
    let before = manager.got().len();
    let collector = self::collector(dir.path(), &receivers).await;
    collector.now_ms.store(now + 10 * MINUTE, Ordering::Relaxed);
    let got = manager.wait(before + 2).await.split_off(before);
    let alerts: Vec<Value> = got.iter().map(|got| got.body()[0].clone()).collect();
    assert!(got.iter().all(|got| got.path == "/api/v2/alerts"), "{got:?}");
    assert_eq!(alerts[0]["endsAt"], *rfc3339(now + 15 * MINUTE), "firing");
    assert_eq!(alerts[1]["endsAt"], "2026-11-22T12:05:00.000Z", "resolved");
    assert_eq!(alerts[0]["labels"], alerts[1]["labels"]);
    collector.stop().await.unwrap();
}

/// Row 31 of the fault matrix. The collector is the real process; it needs no ClickHouse to tell what its outbox holds.
#[tokio::test(flavor = "multi_thread")]
async fn row_31_a_crash_between_sending_and_forgetting_sends_the_same_again() {
    let dir = tempfile::tempdir().unwrap();
    let hook = Receiver::start().await;
    hook.answers(NOTHING);
    let rules = with_rules(dir.path(), &format!("{RULE}{}", receiver("webhook", &hook.url))).alerts;
    let setup = Setup::new(dir.path(), "http://127.0.0.1:1").with("ERRATA_ALERTS", &rules);
    let now_ms = chrono::Utc::now().timestamp_millis();
    let message = Notification::test(now_ms, "http://e");
    let row = OutboxRow {
        id: 0,
        receiver: "webhook".into(),
        project: "default".into(),
        fingerprint: message.fingerprint.clone(),
        body: serde_json::to_string(&message).unwrap(),
        created_ms: now_ms,
        due_ms: now_ms,
        attempts: 0,
    };
    let state = State::open(&setup.data_dir).unwrap();
    state.apply_alerts(&AlertChanges { outbox: vec![row], ..AlertChanges::default() }).unwrap();

    let mut collector = setup.start().await;
    hook.wait(1).await;
    collector.kill();
    hook.answers(OK);
    let collector = setup.start().await;
    let [first, again] = hook.wait(2).await.try_into().unwrap();
    assert_eq!(first.text, again.text, "the same fingerprint and id");
    assert_eq!(again.body()["fingerprint"], *message.fingerprint);
    let began = Instant::now();
    while !state.due_messages(i64::MAX, 10).unwrap().is_empty() {
        assert!(began.elapsed() < Duration::from_secs(20), "it is never forgotten");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(hook.got().len(), 2, "nothing else");
    drop(collector);
}

#[tokio::test(flavor = "multi_thread")]
async fn alertmanager_is_told_again_of_what_fires_and_nobody_of_what_is_silenced() {
    let dir = tempfile::tempdir().unwrap();
    let [manager, hook] = [Receiver::start().await, Receiver::start().await];
    let receivers = receiver("alertmanager", &manager.url) + &receiver("webhook", &hook.url) + "repeat = '2m'\n";
    let collector = collector(dir.path(), &receivers).await;
    fire(&collector).await;
    manager.wait(1).await;
    collector.minutes(1).await;
    let believed = rfc3339(collector.now_ms.load(Ordering::Relaxed) + 5 * MINUTE);
    eventually("refreshes", || manager.got().last().unwrap().body()[0]["endsAt"] == *believed).await;
    // A refresh that fails is counted: nothing else tells that Alertmanager forgets what fires.
    manager.answers(BROKEN);
    // The webhook is told again after two minutes, and no more once somebody looks after it.
    collector.minutes(1).await;
    let count = |outcome| format!("errata_notifications_total{{outcome=\"{outcome}\",receiver=\"alertmanager\"}}");
    let began = Instant::now();
    while collector.metric(&count("failed")).await == 0.0 {
        assert!(began.elapsed() < Duration::from_secs(20), "no failure is counted");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(collector.metric(&count("sent")).await >= 2.0, "the message, and a refresh");
    manager.answers(OK);
    let again = hook.wait(2).await;
    assert_eq!(again[0].body()["id"], again[1].body()["id"]);
    let path = "/api/v1/alerts/limited/acknowledge";
    let acknowledged = collector.request(reqwest::Method::POST, path).json(&json!({})).send().await.unwrap();
    assert_eq!(acknowledged.status(), 200);
    limit(&collector, 17, 6, MINUTE / 2).await;
    collector.delivered().await;
    collector.minutes(3).await;
    assert_eq!(hook.got().len(), 2);

    let silence = json!({"labels": {"account": "18"}, "for": "1h"});
    let request = collector.request(reqwest::Method::POST, "/api/v1/alerts/silences").json(&silence);
    assert_eq!(request.send().await.unwrap().status(), 201);
    limit(&collector, 18, 6, MINUTE / 2).await;
    limit(&collector, 19, 6, MINUTE / 2).await;
    collector.delivered().await;
    collector.minutes(1).await;
    let told = hook.wait(3).await.pop().unwrap().body();
    assert_eq!(told["labels"]["account"], "19");
    assert_eq!(told["link"], format!("{}/alerts", collector.url), "a page, not the API");
    collector.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_that_is_not_allowed_is_never_spoken_to() {
    let dir = tempfile::tempdir().unwrap();
    let hook = Receiver::start().await;
    let elsewhere = Receiver::start().await;
    let redirect: &'static str = Box::leak(
        format!(
            "HTTP/1.1 307 Over there\r\nlocation: {}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n",
            elsewhere.url
        )
        .into_boxed_str(),
    );
    let rules = dir.path().join("alerts.toml");
    let send_test = |receivers: String| {
        std::fs::write(&rules, receivers).unwrap();
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_errata"));
        command.args([
            "--data-dir",
            dir.path().to_str().unwrap(),
            "alerts",
            "send-test",
            "--file",
            rules.to_str().unwrap(),
        ]);
        // A proxy would be an address that nobody has checked.
        command.env("http_proxy", &elsewhere.url).env("ALL_PROXY", &elsewhere.url);
        async move {
            let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
            (output.status.code(), String::from_utf8(output.stdout).unwrap())
        }
    };
    let by_name = hook.url.replace("127.0.0.1", "localhost");
    for url in [&hook.url, &by_name, "http://169.254.169.254/latest"] {
        let (code, text) = send_test(format!("[[receiver]]\nname = 'r'\ntype = 'webhook'\nurl = '{url}'\n")).await;
        assert_eq!(code, Some(1), "{text}");
        assert!(
            text.starts_with("r (webhook): not sent: ")
                && (text.contains("add allow = [") || text.contains("metadata")),
            "{text}"
        );
    }
    let (code, text) = send_test(receiver("webhook", &by_name).replace("['127.0.0.1']", "['127.0.0.1', '::1']")).await;
    assert_eq!((code, text.as_str()), (Some(0), "webhook (webhook): sent\n"));
    hook.answers(redirect);
    let (code, text) = send_test(receiver("webhook", &hook.url)).await;
    assert_eq!(code, Some(1), "{text}");
    assert!(text.contains("it answered 307"), "{text}");
    assert_eq!([hook.got().len(), elsewhere.got().len()], [2, 0]);
}

/// A mail server that takes everything; what it got, and its port.
async fn mail_server() -> (Arc<Mutex<Vec<String>>>, u16) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let mails: Arc<Mutex<Vec<String>>> = Arc::default();
    let kept = Arc::clone(&mails);
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            tokio::spawn(take_mail(stream, Arc::clone(&kept)));
        }
    });
    (mails, port)
}

async fn take_mail(stream: TcpStream, mails: Arc<Mutex<Vec<String>>>) -> std::io::Result<()> {
    let mut stream = BufReader::new(stream);
    stream.write_all(b"220 ready\r\n").await?;
    loop {
        let mut line = String::new();
        if stream.read_line(&mut line).await? == 0 {
            return Ok(());
        }
        match line.split([' ', '\r']).next().unwrap().to_ascii_uppercase().as_str() {
            "DATA" => {
                stream.write_all(b"354 go on\r\n").await?;
                let mut mail = String::new();
                while !mail.ends_with("\r\n.\r\n") {
                    stream.read_line(&mut mail).await?;
                }
                mails.lock().unwrap().push(mail);
                stream.write_all(b"250 taken\r\n").await?;
            }
            "QUIT" => return stream.write_all(b"221 bye\r\n").await,
            "EHLO" => stream.write_all(b"250 localhost\r\n").await?,
            _ => stream.write_all(b"250 ok\r\n").await?,
        }
    }
}
