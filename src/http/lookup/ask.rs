//! Looking a request up, for whoever shows it: the API as JSON, the console as a page.

use std::{
    fmt,
    time::{Duration, Instant},
};

use super::{Shared, unavailable};
use crate::{
    clock::rfc3339,
    event::{Event, RateLimit, RequestId, catalog::Explanation},
    http::answer::ApiError,
    state::{Rejection, TokenInfo},
    store::{
        StoreError,
        query::{Episode, EventSummary, Found, Impact, IssueHours, ProjectSpan},
    },
};

/// How long "related" looks to each side of a request.
const RELATED_WINDOW_MS: i64 = 10 * 60_000;

/// How far the days around a request look back and ahead.
const DAYS_BEFORE_MS: i64 = 5 * DAY_MS;
const DAYS_AFTER_MS: i64 = 2 * DAY_MS;

/// How long a lookup waits for an id that is durable and not yet queryable, and how often it looks.
const PENDING_WAIT: Duration = Duration::from_secs(1);
const PENDING_STEP: Duration = Duration::from_millis(50);

/// How much is told of why an event is in the quarantine, bytes; an admin reads all of it there.
const QUARANTINE_REASON_BYTES: usize = 300;

/// Related errors in an answer.
pub const RELATED: usize = 50;

const DAY_MS: i64 = 86_400_000;

/// What is known of an id.
#[derive(Debug)]
pub enum Known {
    Request(Box<Request>),
    /// Durable, and not yet queryable.
    Pending {
        /// Whether ClickHouse answers; if not, it takes until it does.
        store_answers: bool,
    },
    Nothing(Unknown),
}

/// How much is asked of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Depth {
    /// What an answer of the API has.
    Answer,
    /// Also how its error has gone in the days around it, and since when there is such an error at all: what a page shows.
    Days,
}

/// A request and what is around it.
#[derive(Debug)]
pub struct Request {
    /// Oldest first, at least one.
    pub events: Vec<Event>,
    /// There are more events than these.
    pub more: bool,
    /// One for each event.
    pub explanation: Vec<Explanation>,
    /// How widespread the latest event's error is.
    pub impact: Impact,
    /// How that error has gone in the days around; none where it was not asked for.
    pub days: Option<IssueHours>,
    /// The rate limit of the latest event that reported one.
    pub rate_limit: Option<Limited>,
    /// The account's other errors around the request, oldest first.
    pub related: Vec<EventSummary>,
    /// Holds nothing internal.
    pub customer_reply: String,
}

impl Request {
    /// The event that the customer saw last, and what it means.
    #[must_use]
    pub fn latest(&self) -> Option<(&Event, &Explanation)> {
        self.events.last().zip(self.explanation.last())
    }
}

/// A client's quota as an event reported it.
#[derive(Clone, Debug)]
pub struct Limited {
    pub limit: RateLimit,
    /// When the event was, milliseconds since the Unix epoch.
    pub at_ms: i64,
    /// Whether requests were refused: a client that has some left need not wait.
    pub is_closed: bool,
    /// The run of 429s the event belongs to.
    pub episode: Option<Episode>,
}

impl Limited {
    /// Whole seconds after a moment at which the reset has passed; none if requests were left, 0 if it has.
    #[must_use]
    pub fn wait_s(&self, from_ms: i64) -> Option<i64> {
        let reset_ms = self.limit.reset.filter(|_| self.is_closed)?.saturating_mul(1000);
        Some(reset_ms.saturating_sub(from_ms).max(0).saturating_add(999) / 1000)
    }
}

/// Why nothing is known of an id.
#[derive(Clone, Debug)]
pub enum Unknown {
    Rejected(Rejection),
    /// ClickHouse refused it; it can be retried.
    Quarantined {
        at_ms: i64,
        reason: String,
        entry: String,
    },
    /// By an admin's request.
    Erased {
        at_ms: i64,
    },
    Expired {
        first_seen_ms: i64,
        kept_days: u32,
    },
    /// The id says when it was made, which is before everything that is kept.
    TooOld {
        made_ms: i64,
        kept_days: u32,
    },
    NeverReceived {
        project: String,
        /// What there is of the project.
        span: Option<ProjectSpan>,
    },
}

impl fmt::Display for Unknown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Rejected(Rejection { at_ms, reason, message, .. }) => {
                write!(f, "rejected on arrival at {} ({reason}): {message}", rfc3339(*at_ms))
            }
            Self::Quarantined { at_ms, reason, entry } => write!(
                f,
                "received at {}, but ClickHouse refused it ({reason}): it is kept in the quarantine; an admin can retry it with `errata \
                 quarantine retry {entry}`",
                rfc3339(*at_ms)
            ),
            Self::Erased { at_ms } => write!(
                f,
                "erased at {}, by an admin's request: what was stored of it is gone for good",
                rfc3339(*at_ms)
            ),
            Self::Expired { first_seen_ms, kept_days } => write!(
                f,
                "expired by retention: its event of {} is gone, events are kept {kept_days} days",
                rfc3339(*first_seen_ms)
            ),
            Self::TooOld { made_ms, kept_days } => write!(
                f,
                "never received, or expired: the id was made at {}, events are kept {kept_days} days",
                rfc3339(*made_ms)
            ),
            Self::NeverReceived { project, span } => {
                f.write_str("never received: ")?;
                match span {
                    Some(span) => write!(
                        f,
                        "events of the project {project:?} are here from {} to {}",
                        rfc3339(span.first_ms),
                        rfc3339(span.last_ms)
                    )?,
                    None => write!(f, "no event of the project {project:?} has arrived yet")?,
                }
                f.write_str(
                    "; check the id with the customer, and that the API ships its events with a token of this project",
                )
            }
        }
    }
}

/// Looks a request up, with all that is around it.
///
/// # Errors
/// 503 when ClickHouse does not answer, 500 when the state cannot be read.
pub async fn ask(shared: &Shared, token: &TokenInfo, id: &RequestId, depth: Depth) -> Result<Known, ApiError> {
    let deadline = Instant::now() + PENDING_WAIT;
    loop {
        // Asked before ClickHouse: an event that becomes visible in between is found, never missed.
        let queued = shared.spool.holds(id.lookup_key(&token.project));
        let pending = || Ok(Known::Pending { store_answers: shared.health.get().is_ok() });
        let found = match shared.timed("request", shared.store.request(&token.project, id)).await {
            Ok(found) => found,
            Err(_) if queued => return pending(),
            Err(error) => return Err(unavailable(&error)),
        };
        if !found.events.is_empty() {
            return Ok(Known::Request(Box::new(Box::pin(around(shared, token, id, found, depth)).await?)));
        }
        if !queued {
            return Ok(Known::Nothing(why_unknown(shared, &token.project, id, &found).await?));
        }
        // Most ids that are asked for so soon are visible a moment later.
        if Instant::now() >= deadline || shared.health.get().is_err() {
            return pending();
        }
        tokio::time::sleep(PENDING_STEP).await;
    }
}

async fn around(
    shared: &Shared,
    token: &TokenInfo,
    id: &RequestId,
    found: Found,
    depth: Depth,
) -> Result<Request, ApiError> {
    let Found { events, more, .. } = found;
    let Some(last) = events.last() else { return Err(ApiError::internal("looking up", &"a request without an event")) };
    let project = &token.project;
    let explanation: Vec<_> = events.iter().map(|event| shared.catalog.explain(event)).collect();
    let (impact, days, mut related, rate_limit) = tokio::try_join!(
        impact(shared, project, last, depth),
        days(shared, project, last, depth),
        related(shared, project, last),
        rate_limit(shared, project, &events),
    )
    .map_err(|error| unavailable(&error))?;
    related.retain(|other| other.request_id != id.as_str());
    let customer_reply = explanation.last().map(|explanation| shared.catalog.customer_reply(last, explanation));
    let customer_reply = customer_reply.unwrap_or_default();
    Ok(Request { events, more, explanation, impact, days, rate_limit, related, customer_reply })
}

async fn impact(shared: &Shared, project: &str, event: &Event, depth: Depth) -> Result<Impact, StoreError> {
    match depth {
        Depth::Answer => shared.timed("impact", shared.store.impact(project, event)).await,
        Depth::Days => shared.timed("impact", shared.store.impact_ever(project, event)).await,
    }
}

/// How an error has gone around an event, by the hour.
async fn days(shared: &Shared, project: &str, event: &Event, depth: Depth) -> Result<Option<IssueHours>, StoreError> {
    if depth == Depth::Answer {
        return Ok(None);
    }
    let at_ms = event.timestamp_ms;
    let to_ms = at_ms.saturating_add(DAYS_AFTER_MS).min(shared.clock.now_ms().max(at_ms.saturating_add(1)));
    let range = (at_ms.saturating_sub(DAYS_BEFORE_MS), to_ms);
    let hours = shared.store.issue_hours(project, event.fingerprint, range);
    shared.timed("issue_hours", hours).await.map(Some)
}

async fn related(shared: &Shared, project: &str, event: &Event) -> Result<Vec<EventSummary>, StoreError> {
    if event.account_id.is_empty() {
        return Ok(vec![]);
    }
    let around =
        shared.store.account_around(project, &event.account_id, event.timestamp_ms, RELATED_WINDOW_MS, RELATED);
    shared.timed("account_around", around).await
}

/// What was told of a limit, and the run of 429s it belongs to.
async fn rate_limit(shared: &Shared, project: &str, events: &[Event]) -> Result<Option<Limited>, StoreError> {
    let reported = events.iter().rev().find(|event| event.status == 429 || event.rate_limit.is_some());
    let Some(event) = reported else { return Ok(None) };
    let episode =
        if event.status == 429 { shared.timed("episode", shared.store.episode(project, event)).await? } else { None };
    let limit = event.rate_limit.unwrap_or_default();
    let is_closed = event.status == 429 || limit.remaining == Some(0);
    Ok(Some(Limited { limit, at_ms: event.timestamp_ms, is_closed, episode }))
}

/// Why nothing is known of an id.
pub(super) async fn why_unknown(
    shared: &Shared,
    project: &str,
    id: &RequestId,
    found: &Found,
) -> Result<Unknown, ApiError> {
    let rejection = shared
        .state
        .find_rejection(project, id.as_str())
        .map_err(|error| ApiError::internal("reading rejections", &error))?;
    if let Some(rejection) = rejection {
        return Ok(Unknown::Rejected(rejection));
    }
    if let Some(quarantined) = quarantined(shared, project, id).await? {
        return Ok(quarantined);
    }
    let erased = shared.state.erased_ms(project, &shared.privacy.pseudonyms.of_erased(project, id.as_str()));
    if let Some(at_ms) = erased.map_err(|error| ApiError::internal("reading erasures", &error))? {
        return Ok(Unknown::Erased { at_ms });
    }
    let kept_days = shared.config.retention_days;
    if let Some(first_seen_ms) = found.expired_first_seen_ms {
        return Ok(Unknown::Expired { first_seen_ms, kept_days });
    }
    let oldest_ms = shared.clock.now_ms() - i64::from(kept_days) * DAY_MS;
    if let Some(made_ms) = id.made_at_ms().filter(|made| *made < oldest_ms) {
        return Ok(Unknown::TooOld { made_ms, kept_days });
    }
    let span = shared.timed("project_span", shared.store.project_span(project)).await;
    let span = span.map_err(|error| unavailable(&error))?;
    Ok(Unknown::NeverReceived { project: project.to_owned(), span })
}

/// What is said of an event that waits in the quarantine.
async fn quarantined(shared: &Shared, project: &str, id: &RequestId) -> Result<Option<Unknown>, ApiError> {
    let (quarantine, project, id) = (shared.quarantine.clone(), project.to_owned(), id.to_string());
    let found = tokio::task::spawn_blocking(move || quarantine.find(&project, &id))
        .await
        .map_err(|error| ApiError::internal("reading the quarantine", &error))?
        .map_err(|error| ApiError::internal("reading the quarantine", &error))?;
    Ok(found.map(|(entry, event)| Unknown::Quarantined {
        at_ms: event.map_or(entry.at_ms, |event| event.received_at_ms),
        reason: entry.reason[..entry.reason.floor_char_boundary(QUARANTINE_REASON_BYTES)].to_owned(),
        entry: entry.id,
    }))
}
