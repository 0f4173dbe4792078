//! Telling receivers: from the outbox, each message at least once, failures again with back-off.
//!
//! A message is written down with the change of state it is about, in one transaction, and leaves the outbox when its receiver has
//! taken it. So a crash between sending and forgetting sends it again: with the same fingerprint and id, by which receivers know it.

mod alertmanager;
mod email;
mod http;
mod message;
pub mod policy;
mod slack;
mod webhook;

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::task::{self, JoinSet};

use super::{
    RuleSet,
    receiver::{Receiver, ReceiverKind},
    rule::{DAY_MS, MINUTE_MS},
};
use crate::{
    clock::Clock,
    metrics::Metrics,
    state::{OutboxRow, State, StateError},
};

pub use message::{Notification, Status};
pub use webhook::signature;

/// How long one attempt may take.
const TIMEOUT: Duration = Duration::from_secs(10);

/// How long a round of messages to one receiver lasts.
const ROUND: Duration = Duration::from_secs(20);

/// Pauses after a failure: the first, doubled each time up to the last.
const PAUSES_MS: (i64, i64) = (1000, 5 * MINUTE_MS);

/// A message that nobody has taken for so long is given up, and counted.
const GIVEN_UP_AFTER_MS: i64 = 3 * DAY_MS;

/// How often Alertmanager is told again of what fires: it takes an alert that it does not hear of for resolved.
const REFRESH_MS: i64 = MINUTE_MS;

/// How long Alertmanager believes in an alert that is not refreshed: some missed refreshes.
pub(super) const BELIEVED_MS: i64 = 5 * MINUTE_MS;

/// Messages read from the outbox at once.
const AT_ONCE: usize = 200;

/// Why a receiver has not taken a message.
#[derive(Debug, thiserror::Error)]
pub enum SendError {
    #[error("its address or secret cannot be read: {0}")]
    Unreadable(std::io::Error),
    #[error("its address {0}")]
    BadAddress(String),
    #[error(transparent)]
    Policy(#[from] policy::PolicyError),
    #[error("it cannot be reached: {0}")]
    Unreachable(String),
    #[error("it answered {status}: {text}")]
    Refused { status: u16, text: String },
    #[error("it did not answer within {} seconds", TIMEOUT.as_secs())]
    TimedOut,
    #[error("the message cannot be made: {0}")]
    Unmade(String),
}

/// Sends one message.
///
/// # Errors
/// When the receiver has not taken it, or it is unknown whether it has.
pub async fn send(receiver: &Receiver, notification: &Notification, now_ms: i64) -> Result<(), SendError> {
    let sending = async {
        match &receiver.kind {
            ReceiverKind::Alertmanager { url } => {
                alertmanager::send(url, &receiver.allow, std::slice::from_ref(notification), now_ms).await
            }
            ReceiverKind::Webhook { url, secret } => {
                webhook::send(url, secret.as_ref(), &receiver.allow, notification, now_ms).await
            }
            ReceiverKind::Slack { url } => slack::send(url, &receiver.allow, notification).await,
            ReceiverKind::Email(email) => email::send(email, &receiver.allow, notification).await,
        }
    };
    tokio::time::timeout(TIMEOUT, sending).await.unwrap_or(Err(SendError::TimedOut))
}

/// Delivers what the outbox holds.
#[derive(Clone)]
pub struct Notifier {
    pub state: State,
    pub rules: Arc<RuleSet>,
    pub metrics: Arc<Metrics>,
    pub clock: Clock,
    /// Base of links.
    pub base_url: String,
}

/// Outcomes of attempts, as `errata_notifications_total` counts them.
pub const OUTCOMES: [&str; 3] = ["sent", "failed", "given_up"];

impl Notifier {
    /// Begins a round for each receiver that has something due and none under way; each is told in order, and waits for no other. Call it
    /// again and again.
    ///
    /// # Errors
    /// When the state database failed, also in a round that has ended; nothing is forgotten then.
    pub fn deliver(&self, rounds: &mut Rounds) -> Result<(), StateError> {
        let ended = rounds.ended();
        let now_ms = self.clock.now_ms();
        let mut by_receiver: BTreeMap<String, Vec<OutboxRow>> = BTreeMap::new();
        for row in self.state.due_messages(now_ms, AT_ONCE)? {
            by_receiver.entry(row.receiver.clone()).or_default().push(row);
        }
        for receiver in &self.rules.receivers {
            if matches!(receiver.kind, ReceiverKind::Alertmanager { .. })
                && rounds.is_refresh_due(&receiver.name, now_ms)
            {
                by_receiver.entry(receiver.name.clone()).or_default();
            }
        }
        by_receiver.retain(|name, _| !rounds.is_under_way(name));
        for (name, rows) in by_receiver {
            let is_refresh_due = rounds.is_refresh_due(&name, now_ms);
            if is_refresh_due {
                rounds.refreshed.insert(name.clone(), now_ms);
            }
            let notifier = self.clone();
            let round_of = name.clone();
            let task = rounds.tasks.spawn(async move {
                notifier.deliver_to(&round_of, rows).await?;
                if is_refresh_due { notifier.refresh(&round_of).await } else { Ok(()) }
            });
            rounds.under_way.insert(task.id(), name);
        }
        ended
    }

    async fn deliver_to(&self, name: &str, rows: Vec<OutboxRow>) -> Result<(), StateError> {
        let begun = Instant::now();
        for row in rows {
            // One that answers slowly keeps its refreshing waiting no longer than this.
            if begun.elapsed() >= ROUND {
                break;
            }
            let now_ms = self.clock.now_ms();
            // As it is now: the round may have waited for others, and an erasure have come.
            let Some(body) = self.state.message_body(row.id)? else { continue };
            let sent = match (self.rules.receiver(name), serde_json::from_str::<Notification>(&body)) {
                (Some(receiver), Ok(notification)) => send(receiver, &notification, now_ms).await,
                (None, _) => {
                    Err(SendError::BadAddress("is gone: alerts.toml has no such receiver any more".to_owned()))
                }
                (_, Err(error)) => Err(SendError::Unmade(error.to_string())),
            };
            match sent {
                Ok(()) => {
                    self.state.remove_message(row.id)?;
                    self.count(name, "sent");
                }
                Err(error) if now_ms - row.created_ms > GIVEN_UP_AFTER_MS => {
                    tracing::error!(receiver = name, "a notification is given up after three days: {error}");
                    self.state.remove_message(row.id)?;
                    self.count(name, "given_up");
                }
                Err(error) => {
                    let pause_ms = pause_ms(row.attempts);
                    tracing::warn!(
                        receiver = name,
                        attempt = row.attempts + 1,
                        "a notification: {error}; again in {pause_ms} ms"
                    );
                    self.state.put_message_off(row.id, now_ms + pause_ms)?;
                    self.count(name, "failed");
                    // Whoever does not answer is not asked for each message.
                    if matches!(error, SendError::TimedOut | SendError::Unreachable(_)) {
                        self.state.put_receiver_off(name, now_ms + pause_ms)?;
                        break;
                    }
                }
            }
        }
        Ok(())
    }

    /// Tells an Alertmanager again of all that fires and was told.
    async fn refresh(&self, name: &str) -> Result<(), StateError> {
        let Some(receiver) = self.rules.receiver(name) else { return Ok(()) };
        let ReceiverKind::Alertmanager { url } = &receiver.kind else { return Ok(()) };
        let rows = self.state.alerts(None)?;
        let firing = rows.into_iter().filter(|row| row.phase == "firing" && row.told_ms.is_some());
        let own = firing.filter_map(super::alert::Alert::from_row).filter_map(|alert| {
            let rule = self.rules.rule(&alert.rule)?;
            let is_told = self.rules.receivers_of(rule).any(|one| one.name == name);
            is_told.then(|| Notification::of(&alert, Some(rule), Status::Firing, &self.base_url))
        });
        let own: Vec<_> = own.collect();
        if own.is_empty() {
            return Ok(());
        }
        let sending = alertmanager::send(url, &receiver.allow, &own, self.clock.now_ms());
        match tokio::time::timeout(TIMEOUT, sending).await.unwrap_or(Err(SendError::TimedOut)) {
            Ok(()) => self.count(name, "sent"),
            Err(error) => {
                tracing::warn!(receiver = name, "refreshing alerts: {error}; again in a minute");
                self.count(name, "failed");
            }
        }
        Ok(())
    }

    fn count(&self, receiver: &str, outcome: &str) {
        self.metrics.notifications.with_label_values(&[receiver, outcome]).inc();
    }
}

/// The rounds under way, one a receiver at most, and when each Alertmanager was last refreshed.
#[derive(Debug, Default)]
pub struct Rounds {
    tasks: JoinSet<Result<(), StateError>>,
    /// Receivers, by the task of their round.
    under_way: HashMap<task::Id, String>,
    refreshed: BTreeMap<String, i64>,
}

impl Rounds {
    /// Forgets what has ended; the first failure of them.
    fn ended(&mut self) -> Result<(), StateError> {
        let mut result = Ok(());
        while let Some(ended) = self.tasks.try_join_next_with_id() {
            // A panic is that round's: its messages stay.
            let (id, ended) = ended.unwrap_or_else(|error| (error.id(), Ok(())));
            self.under_way.remove(&id);
            result = result.and(ended);
        }
        result
    }

    fn is_under_way(&self, receiver: &str) -> bool {
        self.under_way.values().any(|name| name == receiver)
    }

    fn is_refresh_due(&self, receiver: &str, now_ms: i64) -> bool {
        self.refreshed.get(receiver).is_none_or(|last| now_ms - last >= REFRESH_MS)
    }
}

/// The pause after a failed attempt: doubled each time, and by chance a half to a whole of that, so that many do not return at once.
fn pause_ms(attempts: u32) -> i64 {
    let most = PAUSES_MS.0.saturating_mul(1 << attempts.min(20)).min(PAUSES_MS.1);
    let mut random = [0; 4];
    // Without randomness the pause is the whole of it.
    let part = getrandom::fill(&mut random).map_or(u32::MAX, |()| u32::from_le_bytes(random));
    most / 2 + most / 2 * i64::from(part) / i64::from(u32::MAX)
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;
    use crate::{
        alerts::{
            evidence::{AccountShare, Evidence},
            receiver::{Email, MailTls, SecretText},
        },
        state::AlertChanges,
    };

    #[test]
    fn pauses_double_up_to_five_minutes_with_jitter() {
        for (attempts, most) in [(0, 1000), (1, 2000), (5, 32_000), (9, 300_000), (4_000_000, 300_000)] {
            let pauses: Vec<_> = (0..50).map(|_| pause_ms(attempts)).collect();
            assert!(pauses.iter().all(|pause| (most / 2..=most).contains(pause)), "{attempts}: {pauses:?}");
            assert!(pauses.iter().any(|pause| *pause != pauses[0]), "no jitter: {pauses:?}");
        }
    }

    /// Promise: why a message was not taken goes to logs and terminals, and holds no secret.
    #[tokio::test]
    async fn no_secret_is_in_why_a_message_was_not_taken() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("url");
        std::fs::write(&file, "hunter2").unwrap();
        let here = |text: &str| SecretText::Here(text.to_owned());
        let webhook = |url| ReceiverKind::Webhook { url, secret: Some(here("hunter2\n")) };
        let mail = Email {
            host: "127.0.0.1".into(),
            port: 1,
            tls: MailTls::Tls,
            login: Some(("u".into(), here("hunter2"))),
            from: "a@b.example".into(),
            to: vec!["c@d.example".into()],
        };
        let kinds = [
            webhook(here("http://127.0.0.1:1/hunter2?key=hunter2")),
            webhook(here("http://user:hunter2@127.0.0.1:1/")),
            webhook(SecretText::File(file)),
            ReceiverKind::Slack { url: here("https://127.0.0.1:1/hunter2") },
            ReceiverKind::Slack { url: here("https://10.0.0.1/hunter2") },
            ReceiverKind::Alertmanager { url: here("http://127.0.0.1:1/hunter2") },
            ReceiverKind::Email(mail),
        ];
        for kind in kinds {
            let allow = vec!["127.0.0.1".parse().unwrap()];
            let receiver = Receiver { name: "r".into(), kind, allow, repeat_ms: 0 };
            let error = send(&receiver, &Notification::test(0, "http://e"), 0).await.unwrap_err();
            assert!(!format!("{error} {error:?}").contains("hunter2"), "{}: {error:?}", receiver.kind.as_str());
        }
    }

    /// A webhook that answers 200 once; what it was sent.
    async fn receive(listener: tokio::net::TcpListener) -> String {
        let (mut stream, _) = listener.accept().await.unwrap();
        let (mut received, mut buffer) = (Vec::new(), [0; 4096]);
        while !received.ends_with(b"}") {
            let read = stream.read(&mut buffer).await.unwrap();
            assert!(read > 0, "it ended early: {}", String::from_utf8_lossy(&received));
            received.extend_from_slice(&buffer[..read]);
        }
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n").await.unwrap();
        String::from_utf8(received).unwrap()
    }

    /// Promise: what a round has read and not sent yet goes without what was erased since.
    #[tokio::test]
    async fn a_message_that_waits_in_a_round_goes_without_what_was_erased_since() {
        let dir = tempfile::tempdir().unwrap();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = SecretText::Here(format!("http://{}/", listener.local_addr().unwrap()));
        let allow = vec!["127.0.0.1".parse().unwrap()];
        let kind = ReceiverKind::Webhook { url, secret: None };
        let receiver = Receiver { name: "r".into(), kind, allow, repeat_ms: 0 };
        let notifier = Notifier {
            state: State::open(dir.path()).unwrap(),
            rules: Arc::new(RuleSet { receivers: vec![receiver], ..RuleSet::default() }),
            metrics: Arc::new(Metrics::new().unwrap()),
            clock: Clock::manual(Arc::default()),
            base_url: String::new(),
        };
        let mut body = serde_json::to_value(Notification::test(0, "http://e")).unwrap();
        let account = AccountShare { account: "acme".into(), events: 5, share: 0.5 };
        body["evidence"] = serde_json::to_value(Evidence { accounts: vec![account], ..Evidence::default() }).unwrap();
        let row = OutboxRow {
            id: 0,
            receiver: "r".into(),
            project: "p".into(),
            fingerprint: "f".into(),
            body: body.to_string(),
            created_ms: 0,
            due_ms: 0,
            attempts: 0,
        };
        let outbox = vec![row];
        notifier.state.apply_alerts(&AlertChanges { outbox, ..AlertChanges::default() }).unwrap();
        let read = notifier.state.due_messages(0, 10).unwrap();
        assert!(read[0].body.contains("acme"), "{read:?}");
        notifier.state.forget_erased("p", "acme", |_| [0; 16]).unwrap();
        let (sent, received) = tokio::join!(notifier.deliver_to("r", read.clone()), receive(listener));
        sent.unwrap();
        assert!(received.contains("POST / ") && !received.contains("acme"), "{received}");
        // It has left the outbox, and who holds it still tells nobody.
        notifier.deliver_to("r", read).await.unwrap();
        assert_eq!(notifier.metrics.notifications.with_label_values(&["r", "failed"]).get(), 0);
    }
}
