//! One batch to the collector, whatever it takes: retry, resend smaller, account for every line.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use reqwest::{Method, StatusCode, header};
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::Value;

use super::{batches::Batch, input::Kind};
use crate::cli::{
    client::{Client, ClientError, Refused},
    duration,
    patience::Patience,
};

/// What became of the lines of a batch.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    pub accepted: u64,
    pub duplicates: u64,
    pub rejected: Vec<Rejection>,
    /// Rejected lines beyond those the collector lists.
    pub unlisted: u64,
}

/// A line that was not taken.
#[derive(Debug, PartialEq, Eq)]
pub struct Rejection {
    /// Number of the line in its input.
    pub line: u64,
    pub message: String,
}

/// Why the rest of an import cannot go out.
#[derive(Debug, thiserror::Error)]
pub enum ShipError {
    #[error("{0}")]
    Client(#[from] ClientError),
    #[error(
        "gave up after {patience} of retries (raise --patience, or run the same command again: it goes on here): {source}"
    )]
    GaveUp { patience: String, source: ClientError },
    #[error("cannot compress a batch: {0}")]
    Compress(#[from] std::io::Error),
}

/// Sends batches. Clones share connections.
#[derive(Clone)]
pub struct Shipper {
    pub client: Client,
    patience: Patience,
    notify: fn(&str),
    /// Why it waits, as it was told last; empty while all is well.
    told: Arc<Mutex<String>>,
}

/// Lines of a batch that go out in one request.
struct Part {
    /// Indexes of the lines.
    lines: Vec<usize>,
    encoding: Encoding,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Encoding {
    Zstd,
    Plain,
}

/// `data` of the collector's answer.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Taken {
    accepted: u64,
    duplicates: u64,
    rejected: u64,
    rejections: Vec<ListedRejection>,
}

#[derive(Debug, Deserialize)]
struct ListedRejection {
    /// Position among the lines of the request, from 0.
    index: usize,
    #[serde(default)]
    errors: BTreeMap<String, Vec<String>>,
}

/// What to do after a request failed.
enum Next {
    /// The request was answered after all: every line was rejected.
    AllRejected(Taken),
    Retry(Option<Duration>),
    /// The same lines without compression.
    Plain,
    /// In requests of at most so many lines.
    Split(usize),
    /// No line of it is JSON.
    NotJson(String),
    /// The line is larger than anything the collector takes.
    TooLarge(String),
    GiveUp,
}

impl Shipper {
    /// A shipper that says by `notify` why it waits, once for each reason.
    pub fn new(client: Client, patience: Patience, notify: fn(&str)) -> Self {
        Self { client, patience, notify, told: Arc::default() }
    }

    fn waits(&self, error: &ClientError) {
        let text = format!("{error}; trying again for up to {}", duration::rough(self.patience.limit.as_secs()));
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        if *told != text {
            (self.notify)(&text);
            *told = text;
        }
    }

    fn goes_on(&self) {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        if !told.is_empty() {
            (self.notify)("the collector goes on");
            told.clear();
        }
    }

    /// Sends a batch until every line of it is answered for.
    ///
    /// # Errors
    /// When the collector refuses in a way that no retry mends, or patience is at its end. What was sent before is
    /// taken; sending the batch again is harmless.
    pub async fn ship_as(&self, kind: Kind, batch: &Batch) -> Result<Outcome, ShipError> {
        let too_long = "the line is longer than 8 MiB; it was not sent";
        let too_long = batch.too_long.iter().map(|line| Rejection { line: *line, message: too_long.to_owned() });
        let mut outcome = Outcome { rejected: too_long.collect(), ..Outcome::default() };
        let mut parts = vec![Part { lines: (0..batch.lines.len()).collect(), encoding: Encoding::Zstd }];
        let mut row = self.patience.row();
        while let Some(part) = parts.pop() {
            if part.lines.is_empty() {
                continue;
            }
            let error = match self.attempt(kind, batch, &part).await? {
                Ok(taken) => {
                    self.goes_on();
                    outcome.add(batch, &part, taken);
                    row = self.patience.row();
                    continue;
                }
                Err(error) => error,
            };
            match next(&error, &part) {
                Next::AllRejected(taken) => outcome.add(batch, &part, taken),
                Next::Retry(asked) => {
                    self.waits(&error);
                    if !row.pause(asked).await {
                        let patience = duration::rough(self.patience.limit.as_secs());
                        return Err(ShipError::GaveUp { patience, source: error });
                    }
                    parts.push(part);
                }
                Next::Plain => parts.push(Part { encoding: Encoding::Plain, ..part }),
                Next::Split(size) => {
                    let pieces = part.lines.chunks(size.max(1)).rev();
                    parts.extend(pieces.map(|lines| Part { lines: lines.to_vec(), encoding: part.encoding }));
                }
                Next::NotJson(message) => match set_aside(batch, part, &message, &mut outcome) {
                    Some(rest) => parts.push(rest),
                    None => return Err(error.into()),
                },
                Next::TooLarge(message) => outcome.reject(batch, &part.lines, &message),
                Next::GiveUp => return Err(error.into()),
            }
        }
        outcome.rejected.sort_by_key(|rejection| rejection.line);
        Ok(outcome)
    }

    async fn attempt(&self, kind: Kind, batch: &Batch, part: &Part) -> Result<Result<Taken, ClientError>, ShipError> {
        let body: Vec<u8> = part.lines.iter().flat_map(|index| batch.line(*index)).copied().collect();
        let path = match kind {
            Kind::Events => "events",
            Kind::Totals => "request-totals",
        };
        let mut request = self.client.request(Method::POST, &[path]);
        request = request.header(header::CONTENT_TYPE, "application/x-ndjson");
        request = match part.encoding {
            Encoding::Zstd => request.header(header::CONTENT_ENCODING, "zstd").body(zstd::encode_all(&body[..], 1)?),
            Encoding::Plain => request.body(body),
        };
        Ok(self.client.send(request).await.map(|data| taken(&data)))
    }
}

fn taken(data: &Value) -> Taken {
    Taken::deserialize(data).unwrap_or_default()
}

fn next(error: &ClientError, part: &Part) -> Next {
    match error {
        ClientError::Unreachable { .. } => Next::Retry(None),
        // A proxy in between, while the collector starts again.
        ClientError::Foreign { status, .. } if status.is_server_error() => Next::Retry(None),
        ClientError::Refused(refused) => next_of_refusal(refused, part),
        _ => Next::GiveUp,
    }
}

fn next_of_refusal(refused: &Refused, part: &Part) -> Next {
    match refused.status {
        StatusCode::UNPROCESSABLE_ENTITY => match taken(&refused.data) {
            taken if taken.rejected > 0 => Next::AllRejected(taken),
            _ => Next::GiveUp,
        },
        StatusCode::TOO_MANY_REQUESTS => match refused.throttle_limit {
            Some(limit) if limit > 0 && limit < part.lines.len() as u64 => Next::Split(limit as usize),
            _ => Next::Retry(refused.retry_after),
        },
        // Compressed, it may look like a bomb.
        StatusCode::PAYLOAD_TOO_LARGE if part.encoding == Encoding::Zstd => Next::Plain,
        _ if part.encoding == Encoding::Zstd && refused.errors.contains_key("Content-Encoding") => Next::Plain,
        StatusCode::PAYLOAD_TOO_LARGE if part.lines.len() > 1 => Next::Split(part.lines.len().div_ceil(2)),
        StatusCode::PAYLOAD_TOO_LARGE => Next::TooLarge(refused.error.clone()),
        StatusCode::BAD_REQUEST => match refused.errors.get("body").and_then(|messages| messages.first()) {
            Some(message) => Next::NotJson(message.clone()),
            // The connection broke while the collector read the body.
            None => Next::Retry(None),
        },
        StatusCode::REQUEST_TIMEOUT => Next::Retry(None),
        status if status.is_server_error() => Next::Retry(refused.retry_after),
        _ => Next::GiveUp,
    }
}

/// Rejects the lines of a part that are no JSON and gives back the others; `None` when that would change nothing, so
/// that the collector's refusal must have another reason.
fn set_aside(batch: &Batch, part: Part, message: &str, outcome: &mut Outcome) -> Option<Part> {
    let is_json = |index: &usize| serde_json::from_slice::<IgnoredAny>(batch.line(*index)).is_ok();
    let (good, bad): (Vec<_>, Vec<_>) = part.lines.into_iter().partition(is_json);
    if bad.is_empty() {
        return None;
    }
    // The message names a line of the request, which says nothing to the reader of a file.
    let reason = message.split_once(": ").map_or(message, |(_, reason)| reason);
    outcome.reject(batch, &bad, &format!("not JSON: {reason}"));
    Some(Part { lines: good, encoding: part.encoding })
}

impl Outcome {
    fn add(&mut self, batch: &Batch, part: &Part, taken: Taken) {
        self.accepted += taken.accepted;
        self.duplicates += taken.duplicates;
        self.unlisted += taken.rejected.saturating_sub(taken.rejections.len() as u64);
        self.rejected.extend(taken.rejections.into_iter().map(|rejection| {
            let line = part.lines.get(rejection.index).map_or(0, |index| batch.lines[*index].number);
            let messages: Vec<_> = rejection
                .errors
                .iter()
                .flat_map(|(field, list)| list.iter().map(move |message| format!("{field}: {message}")))
                .collect();
            Rejection { line, message: messages.join("; ") }
        }));
    }

    fn reject(&mut self, batch: &Batch, lines: &[usize], message: &str) {
        let reject = |index: &usize| Rejection { line: batch.lines[*index].number, message: message.to_owned() };
        self.rejected.extend(lines.iter().map(reject));
    }
}

#[cfg(test)]
#[path = "ship_tests.rs"]
mod tests;
