//! What a lookup answers.

use serde::Serialize;
use utoipa::ToSchema;

use super::ask::{Limited, Request};
use crate::{
    clock::rfc3339,
    event::{Event, RequestId, catalog::Explanation},
    http::{Shared, privacy::Sight, stored::StoredEvent},
    store::query::{Episode, EventSummary, Impact},
};

/// Whether a request's events can be shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum LookupState {
    /// Its events are in this answer.
    Found,
    /// Its events are durable and not yet queryable; ask again in a second.
    Pending,
    /// It is not known (bulk lookup only; the single lookup answers 404).
    NotFound,
}

/// Everything about one request.
#[derive(Debug, Serialize, ToSchema)]
pub struct Lookup {
    pub request_id: String,
    pub state: LookupState,
    /// What `pending` means for the asker.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    pub first_seen: Option<String>,
    pub last_seen: Option<String>,
    /// Oldest first, at most 100.
    pub events: Vec<StoredEvent>,
    /// Whether the request has more events than are shown.
    pub more_events: bool,
    /// One for each event, in the same order.
    pub explanation: Vec<Explanation>,
    /// How widespread the latest event's error is.
    pub impact: Option<ImpactAnswer>,
    /// The rate limit of the latest event that reported one.
    pub rate_limit: Option<RateLimitAnswer>,
    /// The account's other errors around the request, oldest first.
    pub related: Vec<RelatedEvent>,
    /// A text for the customer; it holds nothing internal.
    pub customer_reply: Option<String>,
    pub links: Links,
}

/// Where to go on from a lookup.
#[derive(Debug, Serialize, ToSchema)]
pub struct Links {
    /// This answer.
    #[serde(rename = "self")]
    pub this: String,
    /// Events of the same kind of error.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub same_error: Option<String>,
    /// The account's events.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub account: Option<String>,
}

/// The same error in the hour around.
#[derive(Debug, Serialize, ToSchema)]
pub struct ImpactAnswer {
    pub from: String,
    pub to: String,
    pub events: u64,
    pub accounts: u64,
    pub account_events: u64,
    /// This account's part of the events, 0 to 1.
    pub account_share: f64,
    /// First event of this error in the day before.
    pub first_seen: String,
    pub releases: Vec<String>,
    /// Events per minute from `from` on.
    pub buckets: Vec<Bucket>,
}

/// Events of one minute.
#[derive(Debug, Serialize, ToSchema)]
pub struct Bucket {
    pub at: String,
    pub events: u64,
}

/// A client's quota, then and now.
#[derive(Debug, Serialize, ToSchema)]
pub struct RateLimitAnswer {
    pub limit: Option<u64>,
    pub remaining: Option<u64>,
    /// When the window resets.
    pub reset: Option<String>,
    /// Seconds from the event to the reset; absent if requests were left.
    pub wait_seconds_then: Option<i64>,
    /// Seconds from now to the reset; 0 if it has passed.
    pub wait_seconds_now: Option<i64>,
    /// The run of 429s this one belongs to.
    pub episode: Option<EpisodeAnswer>,
}

/// Consecutive 429s of an account on a route.
#[derive(Debug, Serialize, ToSchema)]
pub struct EpisodeAnswer {
    pub start: String,
    pub end: String,
    pub events: u64,
    pub limit: Option<u64>,
    /// Requests the client sent before the reset it had been told.
    pub retries_before_reset: u64,
}

/// Another error of the account.
#[derive(Debug, Serialize, ToSchema)]
pub struct RelatedEvent {
    pub timestamp: String,
    pub request_id: String,
    pub status: u16,
    pub service: String,
    pub method: String,
    pub route: String,
    pub error: String,
    pub fields: Vec<String>,
}

/// The answer about a request that is durable and not yet queryable.
pub(super) fn pending(shared: &Shared, id: &RequestId, store_answers: bool) -> Lookup {
    let message = if store_answers {
        "received and durable, not yet queryable: ask again in a second"
    } else {
        "received and durable; it becomes queryable when ClickHouse, which does not answer now, is back"
    };
    Lookup {
        request_id: id.to_string(),
        state: LookupState::Pending,
        message: Some(message.to_owned()),
        first_seen: None,
        last_seen: None,
        events: vec![],
        more_events: false,
        explanation: vec![],
        impact: None,
        rate_limit: None,
        related: vec![],
        customer_reply: None,
        links: links(shared, id, None),
    }
}

/// The answer about a request that was found.
pub(super) fn found(shared: &Shared, sight: &Sight, id: &RequestId, request: Request) -> Lookup {
    let now_ms = shared.clock.now_ms();
    Lookup {
        state: LookupState::Found,
        message: None,
        more_events: request.more,
        first_seen: request.events.first().map(|event| rfc3339(event.timestamp_ms)),
        last_seen: request.events.last().map(|event| rfc3339(event.timestamp_ms)),
        explanation: request.explanation,
        impact: Some(request.impact.into()),
        rate_limit: request.rate_limit.map(|limited| RateLimitAnswer::new(limited, now_ms)),
        related: request.related.into_iter().map(RelatedEvent::from).collect(),
        customer_reply: Some(request.customer_reply),
        links: links(shared, id, request.events.last()),
        request_id: id.to_string(),
        events: request.events.into_iter().map(|event| sight.event(event, shared.catalog)).collect(),
    }
}

impl RateLimitAnswer {
    fn new(limited: Limited, now_ms: i64) -> Self {
        let (wait_then, wait_now) = (limited.wait_s(limited.at_ms), limited.wait_s(now_ms));
        Self {
            limit: limited.limit.limit,
            remaining: limited.limit.remaining,
            reset: limited.limit.reset.map(|reset| rfc3339(reset.saturating_mul(1000))),
            wait_seconds_then: wait_then,
            wait_seconds_now: wait_now,
            episode: limited.episode.map(EpisodeAnswer::from),
        }
    }
}

pub(super) fn links(shared: &Shared, id: &RequestId, event: Option<&Event>) -> Links {
    let base = shared.config.base_url();
    let search = |filter: String| format!("{base}/api/v1/events?from=-7d&{filter}");
    Links {
        this: format!("{base}/api/v1/requests/{}", percent(id.as_str())),
        same_error: event.map(|event| search(format!("fingerprint={:016x}", event.fingerprint))),
        account: event
            .filter(|event| !event.account_id.is_empty())
            .map(|event| search(format!("account_id={}", percent(&event.account_id)))),
    }
}

/// Escapes what is not an unreserved character of RFC 3986.
pub(crate) fn percent(text: &str) -> String {
    use std::fmt::Write;
    text.bytes().fold(String::with_capacity(text.len()), |mut url, byte| {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            url.push(byte as char);
        } else {
            let _ = write!(url, "%{byte:02X}"); // writing to a String cannot fail
        }
        url
    })
}

impl From<Impact> for ImpactAnswer {
    fn from(impact: Impact) -> Self {
        let minute = |index: usize| rfc3339(impact.from_ms + index as i64 * 60_000);
        Self {
            from: rfc3339(impact.from_ms),
            to: rfc3339(impact.to_ms),
            events: impact.events,
            accounts: impact.accounts,
            account_events: impact.account_events,
            account_share: impact.account_share,
            first_seen: rfc3339(impact.first_seen_ms),
            buckets: impact
                .per_minute
                .iter()
                .enumerate()
                .map(|(i, events)| Bucket { at: minute(i), events: *events })
                .collect(),
            releases: impact.releases,
        }
    }
}

impl From<Episode> for EpisodeAnswer {
    fn from(episode: Episode) -> Self {
        Self {
            start: rfc3339(episode.start_ms),
            end: rfc3339(episode.end_ms),
            events: episode.events,
            limit: episode.limit,
            retries_before_reset: episode.retries_before_reset,
        }
    }
}

impl From<EventSummary> for RelatedEvent {
    fn from(event: EventSummary) -> Self {
        Self {
            timestamp: rfc3339(event.timestamp_ms),
            request_id: event.request_id,
            status: event.status,
            service: event.service,
            method: event.method,
            route: event.route,
            error: event.error,
            fields: event.fields,
        }
    }
}
