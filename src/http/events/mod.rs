//! What is asked about events beside a page of them: exports, the live tail, histograms, the largest groups.

pub mod counts;
mod csv;
pub mod export;
mod places;
pub mod tail;

use std::sync::Arc;

use http_body_util::channel::{Channel, Sender};
use tokio::sync::watch;

use self::places::Places;
use super::{Shared, privacy::Sight, stored::StoredEvent};
use crate::{event::Event, state::TokenInfo};

/// How long a client may take nothing of an answer that goes on, before it is given up.
const STALLED: std::time::Duration = std::time::Duration::from_secs(60);

/// Answers that go on: how many there may be, and the end of all of them.
#[derive(Debug)]
pub struct Streams {
    exports: Arc<Places>,
    tails: Arc<Places>,
    closing: watch::Sender<bool>,
}

impl Default for Streams {
    /// Of exports 2 a token and 8 in all, each with some pages in memory; of tails 4 and 32, each with a question to ClickHouse twice
    /// a second.
    fn default() -> Self {
        Self {
            exports: Arc::new(Places::new("exports", 2, 8)),
            tails: Arc::new(Places::new("live tails", 4, 32)),
            closing: watch::Sender::new(false),
        }
    }
}

impl Streams {
    /// Ends all of them: the collector is shutting down.
    pub fn close(&self) {
        self.closing.send_replace(true);
    }

    /// Completes when the collector is shutting down.
    async fn closed(&self) {
        let mut closing = self.closing.subscribe();
        let _ = closing.wait_for(|closing| *closing).await; // the sender lives as long as we do
    }
}

/// The body of an answer that goes on, and where it is written.
type Written = Sender<bytes::Bytes, Broken>;
type Body = Channel<bytes::Bytes, Broken>;

/// Why an answer ended before its end.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{0}")]
pub struct Broken(String);

/// Who asks about events, and what they see.
#[derive(Clone, Debug)]
pub struct Viewer {
    pub token: TokenInfo,
    sight: Sight,
}

impl Viewer {
    #[must_use]
    pub fn of(token: TokenInfo, shared: &Shared) -> Self {
        let sight = shared.sight(&token);
        Self { token, sight }
    }

    #[must_use]
    pub fn project(&self) -> &str {
        &self.token.project
    }

    #[must_use]
    pub const fn sight(&self) -> &Sight {
        &self.sight
    }

    /// An event as it may be shown.
    #[must_use]
    pub fn show(&self, event: Event, shared: &Shared) -> StoredEvent {
        self.sight.event(event, shared.catalog)
    }

    /// Whether the token is one still: an answer that goes on for hours ends with it.
    fn is_still_valid(&self, shared: &Shared) -> bool {
        shared.state.is_valid_token(&self.token.id, shared.clock.now_ms()).unwrap_or(false)
    }
}

/// JSON of an event on one line: bodies are shown as they were sent, line breaks between their parts included.
fn one_line(event: &StoredEvent) -> Vec<u8> {
    // Texts and raw JSON always serialise.
    let mut json = serde_json::to_vec(event).unwrap_or_default();
    // Within strings JSON has no raw line breaks.
    json.iter_mut().filter(|byte| matches!(byte, b'\n' | b'\r')).for_each(|byte| *byte = b' ');
    json
}

/// Writes to an answer that goes on.
///
/// # Errors
/// When the client is gone or takes nothing, or the collector is shutting down.
async fn write(shared: &Shared, to: &mut Written, bytes: Vec<u8>) -> Result<(), Broken> {
    tokio::select! {
        sent = tokio::time::timeout(STALLED, to.send_data(bytes.into())) => match sent {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) => Err(Broken("the client is gone".to_owned())),
            Err(_) => Err(Broken("the client takes nothing".to_owned())),
        },
        () = shared.streams.closed() => Err(Broken("the collector is shutting down".to_owned())),
    }
}
