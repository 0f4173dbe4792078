//! `GET /api/v1/events/tail`: events as they become visible, as server-sent events.
//!
//! Twice a second ClickHouse is asked for what was received since, so a tail has the events that other collectors took, and the same
//! filters as the search. Events are told in the order of their receipt, `SETTLED_MS` after it: by then those received before are
//! visible too, save in an outage, whose end the tail of this collector's own events waits for. Nothing is kept for a client: one that is
//! slow is asked for less often, and is told how many events it missed.

use std::time::Duration;

use axum::{
    Extension,
    body::Body as AnswerBody,
    extract::State as AxumState,
    http::{HeaderMap, HeaderName, HeaderValue, header},
    response::Response,
};
use http_body_util::channel::Channel;
use tokio::time::{Instant, MissedTickBehavior, interval};

use super::{Broken, Viewer, Written, one_line, places::Place, write};
use crate::{
    clock::rfc3339,
    event::{Event, EventKey},
    http::{Shared, answer::ApiError, params::Params, unavailable},
    state::TokenInfo,
    store::query::{Cursor, Filter},
};

/// How often it is asked for new events.
const INTERVAL: Duration = Duration::from_millis(500);

/// How long after its receipt an event is told, milliseconds. Nearly all are visible within one second; what another collector makes visible
/// later is not told.
const SETTLED_MS: i64 = 2000;

/// Events told at once, at most.
const EVENTS: usize = 200;

/// How often a client is told that the tail is there: also how it is noticed that nobody listens any more.
const HEARTBEAT: Duration = Duration::from_secs(15);

/// How far back `Last-Event-ID` is followed.
const RESUMED_MS: i64 = 3_600_000;

const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");
const X_ACCEL_BUFFERING: HeaderName = HeaderName::from_static("x-accel-buffering");

/// A tail under way.
struct Tail {
    shared: Shared,
    viewer: Viewer,
    filter: Filter,
    show: Show,
    /// What was told last, by time of receipt.
    told: Cursor,
    /// Whether the last question was answered; the client is told of a change.
    is_well: bool,
    _place: Place,
}

/// Follow events live.
///
/// Server-sent events with the filters of the search, from now on. Each event is a message: `id` and the event as JSON in `data`. It comes
/// some two seconds after the collector took it, in the order of receipt. `event: missed` has in `data` how many events were left out
/// before the next one (`{"count": 42}`): more than 200 came at once, or the client was slow. `event: waiting` says that
/// ClickHouse does not answer; what comes in meanwhile follows. A comment every 15 seconds shows that the connection lives. With
/// `Last-Event-ID` (browsers send it by themselves) a tail goes on after that event, up to an hour back. At most 4 tails a token and 32
/// a collector.
#[utoipa::path(
    get, path = "/api/v1/events/tail", tag = "look up", operation_id = "tail_events",
    params(("Last-Event-ID" = Option<String>, Header, description = "`id` of the last message that was read: go on after it")),
    responses((status = 200, description = "messages without end", content_type = "text/event-stream", body = String),
        (status = 400, description = "a parameter is wrong"), (status = 429, description = "too many tails are open"),
        (status = 503, description = "ClickHouse does not answer"))
)]
pub async fn tail(
    AxumState(shared): AxumState<Shared>,
    Extension(token): Extension<TokenInfo>,
    headers: HeaderMap,
    mut params: Params,
) -> Result<Response, ApiError> {
    let filter = params.conditions();
    let last = last_event(&headers, &mut params);
    params.finish()?;
    let viewer = Viewer::of(token, &shared);
    open(&shared, viewer, filter, last, |event, viewer, shared| one_line(&viewer.show(event, shared))).await
}

/// `Last-Event-ID`; a wrong one is among the problems of the parameters.
pub fn last_event(headers: &HeaderMap, params: &mut Params) -> Option<Cursor> {
    let id = headers.get(LAST_EVENT_ID)?;
    let last = id.to_str().ok().and_then(|id| id.trim().parse().ok());
    if last.is_none() {
        params.problem("Last-Event-ID", "is no id of a message of this tail; leave it out to begin now");
    }
    last
}

/// How an event is told: on one line.
type Show = Box<dyn Fn(Event, &Viewer, &Shared) -> Vec<u8> + Send + Sync>;

/// Opens a tail of a filter, whatever its range, after an event if there is one, else from now on; `show` makes the data of a
/// message, on one line.
///
/// # Errors
/// 429 when too many are open, 503 when ClickHouse does not answer.
pub async fn open(
    shared: &Shared,
    viewer: Viewer,
    filter: Filter,
    last: Option<Cursor>,
    show: impl Fn(Event, &Viewer, &Shared) -> Vec<u8> + Send + Sync + 'static,
) -> Result<Response, ApiError> {
    shared.store.ping().await.map_err(|error| unavailable(&error))?;
    let place = shared.streams.tails.take(&viewer.token.id)?;
    let now_ms = shared.clock.now_ms();
    let oldest = Cursor { timestamp_ms: now_ms - RESUMED_MS, key: EventKey(0) };
    let told = match last {
        Some(last) if last.timestamp_ms < oldest.timestamp_ms => oldest,
        Some(last) if last.timestamp_ms <= now_ms => last,
        _ => Cursor { timestamp_ms: now_ms, key: EventKey(0) },
    };
    let (to, body) = Channel::new(1);
    let show = Box::new(show);
    let tail = Tail { shared: shared.clone(), viewer, filter, show, told, is_well: true, _place: place };
    shared.metrics.tails.inc();
    tokio::spawn(tail.run(to));
    let mut response = Response::new(AnswerBody::new(body));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(X_ACCEL_BUFFERING, HeaderValue::from_static("no"));
    Ok(response)
}

impl Drop for Tail {
    fn drop(&mut self) {
        self.shared.metrics.tails.dec();
    }
}

impl Tail {
    async fn run(mut self, mut to: Written) {
        if let Err(broken) = self.follow(&mut to).await {
            tracing::debug!("a live tail ended: {broken}");
        }
    }

    async fn follow(&mut self, to: &mut Written) -> Result<(), Broken> {
        let hello = format!("retry: 2000\n: errors received after {}\n\n", rfc3339(self.told.timestamp_ms));
        write(&self.shared, to, hello.into()).await?;
        let mut ticks = interval(INTERVAL);
        // A client that was slow is not asked for in quick succession.
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut beat = Instant::now();
        loop {
            tokio::select! {
                _ = ticks.tick() => {}
                () = self.shared.streams.closed() => return Err(Broken("the collector is shutting down".to_owned())),
            }
            if !self.viewer.is_still_valid(&self.shared) {
                return Err(Broken("the token is no longer valid".to_owned()));
            }
            if beat.elapsed() >= HEARTBEAT {
                beat = Instant::now();
                write(&self.shared, to, b": the tail is open\n\n".to_vec()).await?;
            }
            let text = self.news().await;
            if !text.is_empty() {
                write(&self.shared, to, text).await?;
            }
        }
    }

    /// The messages about what was received since.
    async fn news(&mut self) -> Vec<u8> {
        let before_ms = self.settled_ms();
        if before_ms <= self.told.timestamp_ms {
            return Vec::new();
        }
        let asked = self.shared.store.received(self.viewer.project(), &self.filter, self.told, before_ms, EVENTS);
        let received = match self.shared.timed("tail", asked).await {
            Ok(received) => received,
            Err(error) => {
                tracing::debug!("a live tail: {error}");
                let waiting: &[u8] =
                    b"event: waiting\ndata: {\"message\":\"the store does not answer at the moment\"}\n\n";
                return if std::mem::replace(&mut self.is_well, false) { waiting.to_vec() } else { Vec::new() };
            }
        };
        self.is_well = true;
        let mut text = Vec::new();
        let told = &self.shared.metrics.tail_events;
        if received.earlier > 0 {
            told.with_label_values(&["missed"]).inc_by(received.earlier);
            text.extend(format!("event: missed\ndata: {{\"count\":{}}}\n\n", received.earlier).into_bytes());
        }
        told.with_label_values(&["sent"]).inc_by(received.events.len() as u64);
        // Nothing that was received before is told any more, whether or not there was something.
        self.told = Cursor { timestamp_ms: before_ms - 1, key: EventKey(u64::MAX.into()) };
        for event in received.events {
            text.extend(self.message(event));
        }
        text
    }

    fn message(&self, event: Event) -> Vec<u8> {
        let id = Cursor { timestamp_ms: event.received_at_ms, key: event.key };
        let mut text = format!("id: {id}\ndata: ").into_bytes();
        text.extend((self.show)(event, &self.viewer, &self.shared));
        text.extend(b"\n\n");
        text
    }

    /// The time before which everything that was received is visible, milliseconds since the Unix epoch.
    fn settled_ms(&self) -> i64 {
        let now_ms = self.shared.clock.now_ms();
        let queued_ms = self.shared.spool.stats().oldest_ms;
        queued_ms.map_or(now_ms, |queued| queued.min(now_ms)) - SETTLED_MS
    }
}
