//! The event as clients send it, for the API's description alone: [`crate::decode`] is what reads it, and takes more
//! forms than are promised here. The test `the_described_event_is_what_the_decoder_takes` holds the two together.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use utoipa::ToSchema;

/// What a body of `application/json` holds.
#[derive(ToSchema)]
#[schema(as = Shipment)]
#[serde(untagged)]
#[expect(dead_code, reason = "only described")]
pub(super) enum Shipment {
    One(Box<IngestEvent>),
    Many(Vec<IngestEvent>),
}

/// One error response of your API, as you report it. At most 256 KiB.
///
/// Only `status` is required; `null` is absent. A field that is not named here is kept under `attributes`, nothing is silently dropped.
/// A text that is too long is cut and the event is marked `cut`; only what would change the event's identity or time
/// (`status`, `request_id`, `event_id`, `timestamp`) rejects it. Secrets and e-mail addresses are replaced before the event is
/// written to disk.
#[derive(ToSchema)]
#[schema(as = IngestEvent, example = json!(example()))]
#[expect(dead_code, reason = "only described")]
pub(super) struct IngestEvent {
    /// HTTP status of the response. Only error responses are taken.
    #[schema(minimum = 400, maximum = 599, example = 422)]
    status: u16,
    /// The id the customer saw: a UUID, a ULID, `req_…`, any form of visible ASCII. It is matched exactly, UUIDs in either case. Default:
    /// that of `response`, then of the response and request headers (`X-Request-ID`, `Request-Id`, `X-Correlation-ID`); if there
    /// is none, one is made (`gen_…`).
    #[schema(min_length = 1, max_length = 128, pattern = "^[!-~]+$", example = "550e8400-e29b-41d4-a716-446655440000")]
    request_id: Option<String>,
    /// When the error happened: RFC 3339, or Unix seconds or milliseconds. Default: now. At most one hour ahead, and not
    /// older than events are kept.
    timestamp: Option<Timestamp>,
    /// Idempotency key: an event sent again with it is a duplicate, and is not stored again. Default: a hash of the content, so that
    /// two equal events are one. At most 128 bytes.
    #[schema(max_length = 128, example = "igny8-api-7:1795348740123:42")]
    event_id: Option<String>,
    /// Which of your services answered. At most 256 bytes, as `environment`, `release` and `host`.
    #[schema(max_length = 256, example = "igny8-api")]
    service: Option<String>,
    #[schema(max_length = 256, example = "production")]
    environment: Option<String>,
    /// Version of the service.
    #[schema(max_length = 256, example = "2026.11.2")]
    release: Option<String>,
    #[schema(max_length = 256, example = "igny8-api-7")]
    host: Option<String>,
    /// HTTP method, in either case.
    #[schema(max_length = 32, example = "POST")]
    method: Option<String>,
    /// Path or URL of the request. Its query string and origin are dropped. At most 2048 bytes.
    #[schema(max_length = 2048, example = "/api/v1/planner/clusters/1042/")]
    path: Option<String>,
    /// Template of the path, as your router knows it: what errors are grouped by. Default: `path` with its ids replaced by `{id}`.
    #[schema(max_length = 2048, example = "/api/v1/planner/clusters/{id}/")]
    route: Option<String>,
    /// The general message. Default: that of `response`. At most 2048 bytes.
    #[schema(max_length = 2048, example = "Validation failed")]
    error: Option<String>,
    /// Messages by field. Default: those of `response`, whatever framework wrote it. At most 200 messages of 2048 bytes.
    #[schema(value_type = Option<BTreeMap<String, Messages>>,
        example = json!({"site_id": ["Site must belong to your account"]}))]
    errors: Option<BTreeMap<String, Messages>>,
    /// The body you sent: JSON, or text or HTML as a string. It is read for `error`, `errors`, `request_id` and its code; the first
    /// 32 KiB of it are kept.
    response: Option<AnyBody>,
    /// The customer's account. At most 256 bytes.
    account_id: Option<Identifier>,
    /// At most 256 bytes. Any other id (`site_id`, `sector_id` …) goes to `attributes`.
    user_id: Option<Identifier>,
    /// How long the request took, milliseconds.
    #[schema(minimum = 0, example = 38.5)]
    duration_ms: Option<f64>,
    /// The client's quota. Default: read from `response_headers` (`X-Throttle-*`, `X-RateLimit-*`, `RateLimit`, `Retry-After`).
    rate_limit: Option<IngestRateLimit>,
    /// IP address, with a port or without.
    #[schema(example = "203.0.113.7")]
    client_ip: Option<String>,
    #[schema(max_length = 512, example = "igny8-js/3.2")]
    user_agent: Option<String>,
    #[schema(max_length = 128, example = "4bf92f3577b34da6a3ce929d0e0e4736")]
    trace_id: Option<String>,
    #[schema(max_length = 128, example = "00f067aa0ba902b7")]
    span_id: Option<String>,
    /// Names and values. An allow-list is kept (`Accept`, `Content-Type`, `Referer`, ids …); `Authorization`, `Cookie` and their like
    /// never are.
    #[schema(example = json!({"Content-Type": "application/json"}))]
    request_headers: Option<BTreeMap<String, String>>,
    /// Names and values. An allow-list is kept (`Content-Type`, `Retry-After`, quotas, ids …); `Set-Cookie` never is.
    #[schema(example = json!({"Content-Type": "application/json"}))]
    response_headers: Option<BTreeMap<String, String>>,
    /// What a 5xx was caused by.
    exception: Option<IngestException>,
    /// Anything else you want to find with the event: at most 64 names of 128 bytes; values of 2048 bytes, kept as text.
    #[schema(value_type = Option<BTreeMap<String, Scalar>>, example = json!({"site_id": 12, "plan": "pro"}))]
    attributes: Option<BTreeMap<String, Scalar>>,
}

/// What a body of request totals holds.
#[derive(ToSchema)]
#[schema(as = TotalsShipment)]
#[serde(untagged)]
#[expect(dead_code, reason = "only described")]
pub(super) enum TotalsShipment {
    One(IngestTotal),
    Many(Vec<IngestTotal>),
}

/// Requests served in one minute with one outcome. A field that is not named here rejects the total, as does a text that is too long.
#[derive(ToSchema)]
#[schema(as = IngestTotal, example = json!(total_example()))]
#[expect(dead_code, reason = "only described")]
pub(super) struct IngestTotal {
    /// Begin of the minute: RFC 3339, or Unix seconds or milliseconds. At most one hour ahead, and not older than events are kept.
    minute: Timestamp,
    /// HTTP status of the responses.
    #[schema(minimum = 100, maximum = 599, example = 200)]
    status: u16,
    /// Requests served, 0 included.
    #[schema(minimum = 0, maximum = 1_000_000_000_000_i64, example = 1287)]
    count: u64,
    /// Labels, written as in your events. At most 256 bytes, as `environment` and `release`.
    #[schema(max_length = 256, example = "igny8-api")]
    service: Option<String>,
    #[schema(max_length = 256, example = "production")]
    environment: Option<String>,
    #[schema(max_length = 256, example = "2026.11.2")]
    release: Option<String>,
    /// Template of the path; absent where no route matched.
    #[schema(max_length = 2048, example = "/api/v1/planner/clusters/{id}/")]
    route: Option<String>,
    #[schema(max_length = 32, example = "POST")]
    method: Option<String>,
    /// The process that counted: needed as soon as two count the same, whose totals would replace each other.
    #[schema(max_length = 256, example = "igny8-api-7")]
    reporter: Option<String>,
}

/// State of the client's quota.
#[derive(ToSchema)]
#[schema(as = IngestRateLimit)]
#[expect(dead_code, reason = "only described")]
pub(super) struct IngestRateLimit {
    /// Requests allowed per window.
    #[schema(example = 100)]
    limit: Option<u64>,
    /// Requests left in the window.
    #[schema(example = 61)]
    remaining: Option<u64>,
    /// When the window resets, Unix seconds.
    #[schema(example = 1_795_348_800_i64)]
    reset: Option<i64>,
}

/// The exception behind a 5xx.
#[derive(ToSchema)]
#[schema(as = IngestException)]
#[expect(dead_code, reason = "only described")]
pub(super) struct IngestException {
    #[schema(max_length = 256, example = "OperationalError")]
    r#type: Option<String>,
    #[schema(max_length = 4096, example = "connection to the database timed out")]
    message: Option<String>,
    /// At most 32 KiB; of a longer one the beginning and the end are kept.
    #[schema(
        example = "Traceback (most recent call last):\n  File \"planner/views.py\", line 88, in create\nOperationalError"
    )]
    stacktrace: Option<String>,
}

#[derive(ToSchema)]
#[schema(as = IngestResponse, example = json!({
    "success": false, "error": "Validation failed",
    "errors": {"site_id": ["Site must belong to your account"]},
    "request_id": "550e8400-e29b-41d4-a716-446655440000"}))]
#[serde(untagged)]
#[expect(dead_code, reason = "only described")]
pub(super) enum AnyBody {
    Object(BTreeMap<String, Value>),
    List(Vec<Value>),
    /// Text, or HTML; JSON within it is read as JSON.
    Text(String),
}

#[derive(ToSchema)]
#[schema(as = IngestTimestamp, example = "2026-11-22T11:59:00.123Z")]
#[serde(untagged)]
#[expect(dead_code, reason = "only described")]
pub(super) enum Timestamp {
    /// RFC 3339.
    #[schema(format = DateTime)]
    Text(String),
    /// Unix seconds; from 100000000000 on, milliseconds.
    Unix(f64),
}

#[derive(ToSchema)]
#[schema(as = IngestIdentifier, example = 15)]
#[serde(untagged)]
#[expect(dead_code, reason = "only described")]
pub(super) enum Identifier {
    Text(String),
    Number(i64),
}

#[derive(ToSchema)]
#[schema(as = IngestMessages)]
#[serde(untagged)]
#[expect(dead_code, reason = "only described")]
pub(super) enum Messages {
    One(String),
    Many(Vec<String>),
}

#[derive(ToSchema)]
#[schema(as = IngestScalar)]
#[serde(untagged)]
#[expect(dead_code, reason = "only described")]
pub(super) enum Scalar {
    Text(String),
    Number(f64),
    Bool(bool),
}

/// A realistic event: a 422 of the IGNY8 API.
pub(super) fn example() -> Value {
    json!({
        "request_id": "550e8400-e29b-41d4-a716-446655440000",
        "event_id": "igny8-api-7:1795348740123:42",
        "timestamp": "2026-11-22T11:59:00.123Z",
        "status": 422,
        "service": "igny8-api",
        "environment": "production",
        "release": "2026.11.2",
        "method": "POST",
        "path": "/api/v1/planner/keywords/",
        "account_id": 15,
        "user_id": 82,
        "duration_ms": 38.5,
        "response": {
            "success": false,
            "error": "Validation failed",
            "errors": {"site_id": ["Site must belong to your account"], "volume": ["A valid integer is required."]},
            "request_id": "550e8400-e29b-41d4-a716-446655440000"
        },
        "attributes": {"site_id": 12}
    })
}

/// A realistic total.
pub(super) fn total_example() -> Value {
    json!({
        "minute": "2026-11-22T11:58:00Z",
        "service": "igny8-api",
        "environment": "production",
        "release": "2026.11.2",
        "route": "/api/v1/planner/keywords/",
        "method": "POST",
        "status": 201,
        "count": 1287,
        "reporter": "igny8-api-7"
    })
}

/// Two events, one a line.
pub(super) fn ndjson_example() -> String {
    let other = json!({
        "request_id": "req_8f14e45f", "status": 429, "service": "igny8-api", "method": "GET", "path": "/api/v1/planner/keywords/",
        "response": {"success": false, "error": "Rate limit exceeded"},
        "response_headers": {"X-Throttle-Limit": "100", "X-Throttle-Remaining": "0", "Retry-After": "30"}
    });
    format!("{}\n{other}\n", example())
}
