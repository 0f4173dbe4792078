//! Issues: the kinds of errors of a project, where each stands, and that somebody has resolved one.

mod shown;

use axum::{
    Extension,
    body::Body,
    extract::{Path, State as AxumState, rejection::PathRejection},
    http::HeaderMap,
};
use serde::Deserialize;
use utoipa::ToSchema;

use super::{
    Shared,
    alerts::{in_state, read},
    answer::{ApiError, Data},
    params::Params,
    part_of_path, unavailable,
};
use crate::{
    clock::{rfc3339, when::duration_ms},
    event::fingerprint::frame,
    issues::{self, Issue, IssueCursor, IssueState, NEW_MS, Question, Resolving, Sort},
    state::{Resolution, TokenInfo},
    store::query::{Filter, IssueFilter, StatusFilter},
};
pub use shown::{EventsOf, IssueDetail, IssueRow, Issues, SeenRelease};
use shown::{More, detail, row};

/// Issues on a page unless `limit` says otherwise, and at most.
const PAGE: (usize, usize) = (50, 200);

/// Accounts of one issue that are named.
const TOP_ACCOUNTS: usize = 10;

/// The longest comment and the longest name of a release, characters.
const COMMENT: usize = 500;
const RELEASE: usize = 200;

/// That an issue is resolved.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct NewResolution {
    /// The release that holds the remedy: then events of releases that came before it do not make the issue a regression.
    pub in_release: Option<String>,
    pub comment: String,
}

fn new_within(params: &mut Params) -> i64 {
    params.parsed("new_within", "a length such as 6h, 24h, 7d", duration_ms).unwrap_or(NEW_MS)
}

/// Issues.
///
/// The kinds of errors that were seen in the range, or resolved in it, each with its state at the end of the range. A kind is a
/// *fingerprint*: service, route, status, error without its numbers and values, the fields with the rules they broke, type and place of an
/// exception. `new`: first seen within 24 hours (`new_within`). `regressed`: seen again after it was resolved. `escalating`: at least 20 events
/// in the last hour, and far more than in its hours of the week before. `resolved`: not seen since. Else `ongoing`.
#[utoipa::path(
    get, path = "/api/v1/issues", tag = "watch", operation_id = "issues",
    params(
        ("state" = Option<String>, Query, description = "regressed, escalating, new, ongoing, resolved; several; default: all"),
        ("service" = Option<String>, Query, description = "service that answered, as shipped; several"),
        ("environment" = Option<String>, Query, description = "where it was seen in the range; several; first seen and state are of all environments"),
        ("route" = Option<String>, Query, description = "template of the path: `/api/orders/{id}`; repeat it for several"),
        ("status" = Option<String>, Query, description = "`422`, `5xx`, several"),
        ("q" = Option<String>, Query, description = "text in the error's template (for the role product, in one that the reference documents), the exception's type, the route or a field"),
        ("sort" = Option<String>, Query, description = "what comes first: `last_seen` (default), `count`, `first_seen` (the newest)"),
        ("new_within" = Option<String>, Query, description = "how long an issue is new: `6h`, `24h` (default), `7d`"),
        ("from" = Option<String>, Query, description = "start of the range: RFC 3339, a date of UTC (`2026-11-17`: its begin), a time before now (`-30m`, `-7d`), or `now`; default: 24 hours before `to`"),
        ("to" = Option<String>, Query, description = "end of the range, not included, and the moment of the states; as `from`, but of a date its end; default: now"),
        ("limit" = Option<u32>, Query, description = "1 to 200, default 50"),
        ("cursor" = Option<String>, Query, description = "`next_cursor` of the page before; the range is that of the first page, other parameters stay as they were")),
    responses((status = 200, description = "a page of issues", body = Issues), (status = 400, description = "a parameter is wrong"),
        (status = 503, description = "ClickHouse does not answer"))
)]
pub async fn list(
    AxumState(shared): AxumState<Shared>,
    Extension(token): Extension<TokenInfo>,
    mut params: Params,
) -> Result<Data<Issues>, ApiError> {
    let range = params.range(shared.clock.now_ms());
    let question = question(&mut params, range);
    params.finish()?;
    Ok(Data::ok(page(&shared, &token, &question).await?))
}

/// A page of issues, as the token may see them.
pub(crate) async fn page(shared: &Shared, token: &TokenInfo, question: &Question) -> Result<Issues, ApiError> {
    let project = token.project.clone();
    let resolutions = in_state(shared, move |state| state.resolutions(&project)).await?;
    let sight = shared.sight(token);
    let mut question = question.clone();
    if let Some(text) = question.filter.text.as_ref().filter(|_| !sight.sees_people()) {
        // What is not shown is not found either: else it could be guessed.
        question.filter.templates = Some(shared.catalog.stated_with(text));
    }
    let asked = issues::list(&shared.store, &token.project, &question, resolutions);
    let page = shared.timed("issues", asked).await.map_err(|error| unavailable(&error))?;
    let by_state =
        IssueState::ALL.map(|state| (state.as_str(), page.by_state.get(&state).copied().unwrap_or_default()));
    Ok(Issues {
        from: rfc3339(question.filter.from_ms),
        to: rfc3339(question.filter.to_ms),
        issues_in_all: page.in_all,
        by_state: by_state.into(),
        issues: page.issues.into_iter().map(|issue| sight.issue(row(issue, shared.catalog), shared.catalog)).collect(),
        next_cursor: page.next.map(|cursor| cursor.to_string()),
    })
}

/// Reads what `GET /api/v1/issues` takes but for its range.
pub(crate) fn question(params: &mut Params, range: (i64, i64)) -> Question {
    let cursor = params.parsed("cursor", "the next_cursor of a page", |text| text.parse::<IssueCursor>().ok());
    let (from_ms, to_ms) = cursor.map_or(range, |cursor| (cursor.from_ms, cursor.to_ms));
    Question {
        filter: IssueFilter {
            from_ms,
            to_ms,
            environments: params.list("environment"),
            services: params.list("service"),
            routes: params.texts("route"),
            statuses: params.parsed_list("status", "a status from 400 to 599, or 4xx, 5xx", StatusFilter::parse),
            text: params.one("q"),
            templates: None,
            fingerprints: Vec::new(),
        },
        states: params.choices("state", &IssueState::ALL, IssueState::as_str),
        sort: params.choice("sort", &Sort::ALL, Sort::as_str).unwrap_or_default(),
        limit: params.limit(PAGE.0, PAGE.1),
        after: cursor.map(|cursor| (cursor.key, cursor.fingerprint)),
        new_ms: new_within(params),
    }
}

/// One issue.
///
/// Whenever it was seen last; counts, trend and samples are of the range. With its releases and environments, its newest event and what the
/// error catalog says of that, and, for the roles support and sre, the accounts that had most of it.
#[utoipa::path(
    get, path = "/api/v1/issues/{fingerprint}", tag = "watch", operation_id = "issue",
    params(("fingerprint" = String, Path, description = "16 hex digits, as issues and events state it"),
        ("new_within" = Option<String>, Query, description = "how long an issue is new: `6h`, `24h` (default), `7d`"),
        ("from" = Option<String>, Query, description = "start of the range: RFC 3339, a date of UTC (`2026-11-17`: its begin), a time before now (`-30m`, `-7d`), or `now`; default: 24 hours before `to`"),
        ("to" = Option<String>, Query, description = "end of the range, not included, and the moment of the state; as `from`, but of a date its end; default: now")),
    responses((status = 200, description = "the issue", body = IssueDetail), (status = 400, description = "a parameter is wrong"),
        (status = 404, description = "the project has no such issue"), (status = 503, description = "ClickHouse does not answer"))
)]
pub async fn show(
    AxumState(shared): AxumState<Shared>,
    Extension(token): Extension<TokenInfo>,
    fingerprint: Result<Path<String>, PathRejection>,
    mut params: Params,
) -> Result<Data<IssueDetail>, ApiError> {
    let fingerprint = parse(fingerprint)?;
    let (range, new_ms) = (params.range(shared.clock.now_ms()), new_within(&mut params));
    params.finish()?;
    Ok(Data::ok(whole(&shared, &token, fingerprint, range, new_ms).await?))
}

/// One issue with more, as the token may see it.
pub(crate) async fn whole(
    shared: &Shared,
    token: &TokenInfo,
    fingerprint: u64,
    range: (i64, i64),
    new_ms: i64,
) -> Result<IssueDetail, ApiError> {
    let sight = shared.sight(token);
    let filter = IssueFilter::of(vec![fingerprint], range);
    let accounts = async {
        if sight.sees_people() {
            shared.store.issue_top_accounts(&token.project, &filter, TOP_ACCOUNTS).await.map(Some)
        } else {
            Ok(None)
        }
    };
    let environments = shared.store.issue_environments(&token.project, &filter);
    let counts = async {
        let asked = shared.timed("issue_counts", async { tokio::try_join!(accounts, environments) });
        Box::pin(asked).await.map_err(|error| unavailable(&error))
    };
    let issue = async {
        let issue = one(shared, &token.project, fingerprint, range, new_ms).await?;
        let at = Filter {
            from_ms: issue.last_ms,
            to_ms: issue.last_ms.saturating_add(1),
            fingerprints: vec![fingerprint],
            ..Filter::default()
        };
        let newest = shared.timed("issue_newest", shared.store.search(&token.project, &at, 1, None)).await;
        let newest = newest.map_err(|error| unavailable(&error))?.events.into_iter().next();
        Ok((issue, newest))
    };
    let ((accounts, environments), (issue, newest)) = tokio::try_join!(Box::pin(counts), Box::pin(issue))?;
    let explanation = newest.as_ref().map(|event| sight.explanation(shared.catalog.explain(event), event));
    let thrown = newest.as_ref().and_then(|event| event.exception.as_ref());
    let frame = thrown.and_then(|exception| frame::top(&exception.stacktrace));
    let newest = newest.map(|event| sight.event(event, shared.catalog));
    let detail = detail(issue, shared.catalog, More { frame, environments, accounts, newest, explanation });
    Ok(IssueDetail { issue: sight.issue(detail.issue, shared.catalog), ..detail })
}

/// Resolve an issue.
///
/// It is `resolved` until an event with a later timestamp makes it `regressed`. Resolving it again replaces who did and when.
#[utoipa::path(
    post, path = "/api/v1/issues/{fingerprint}/resolve", tag = "watch", operation_id = "resolve_issue",
    params(("fingerprint" = String, Path, description = "16 hex digits, as issues and events state it")),
    request_body = NewResolution,
    responses((status = 200, description = "the issue, as it stands now", body = IssueRow), (status = 400, description = "the body is wrong"),
        (status = 404, description = "the project has no such issue"),
        (status = 408, description = "the body did not arrive in time"), (status = 413, description = "the body is too long"),
        (status = 415, description = "not application/json"), (status = 503, description = "ClickHouse does not answer"))
)]
pub async fn resolve(
    AxumState(shared): AxumState<Shared>,
    Extension(token): Extension<TokenInfo>,
    fingerprint: Result<Path<String>, PathRejection>,
    headers: HeaderMap,
    body: Body,
) -> Result<Data<IssueRow>, ApiError> {
    let fingerprint = parse(fingerprint)?;
    let asked: NewResolution = read(&shared, &headers, body, "{\"in_release\": …, \"comment\": …}").await?;
    note(&shared, &token, fingerprint, asked).await?;
    now(&shared, &token.project, fingerprint).await
}

/// Notes that an issue is resolved.
pub(crate) async fn note(
    shared: &Shared,
    token: &TokenInfo,
    fingerprint: u64,
    asked: NewResolution,
) -> Result<(), ApiError> {
    let in_release = asked.in_release.unwrap_or_default();
    if in_release.chars().count() > RELEASE {
        return Err(ApiError::invalid(
            "in_release",
            format!("is longer than {RELEASE} characters: name the release as it is shipped"),
        ));
    }
    let resolving = Resolving {
        project: token.project.clone(),
        fingerprint,
        now_ms: shared.clock.now_ms(),
        by: token.name.clone(),
        comment: asked.comment.chars().take(COMMENT).collect(),
        in_release,
    };
    let made = shared.timed("issue", issues::resolution(&shared.store, resolving)).await;
    let resolution = made.map_err(|error| unavailable(&error))?.ok_or_else(|| unknown(fingerprint))?;
    in_state(shared, move |state| state.resolve_issue(&resolution)).await
}

/// Reopen an issue.
///
/// Takes back that it was resolved: its state is again what its events say. One that is not resolved stays as it is.
#[utoipa::path(
    post, path = "/api/v1/issues/{fingerprint}/reopen", tag = "watch", operation_id = "reopen_issue",
    params(("fingerprint" = String, Path, description = "16 hex digits, as issues and events state it")),
    responses((status = 200, description = "the issue, as it stands now", body = IssueRow), (status = 400, description = "the fingerprint is none"),
        (status = 404, description = "the project has no such issue"), (status = 503, description = "ClickHouse does not answer"))
)]
pub async fn reopen(
    AxumState(shared): AxumState<Shared>,
    Extension(token): Extension<TokenInfo>,
    fingerprint: Result<Path<String>, PathRejection>,
) -> Result<Data<IssueRow>, ApiError> {
    let fingerprint = parse(fingerprint)?;
    forget(&shared, &token, fingerprint).await?;
    now(&shared, &token.project, fingerprint).await
}

/// Takes back that an issue is resolved; whether it was.
pub(crate) async fn forget(shared: &Shared, token: &TokenInfo, fingerprint: u64) -> Result<bool, ApiError> {
    let project = token.project.clone();
    in_state(shared, move |state| state.reopen_issue(&project, fingerprint)).await
}

/// An issue as it stands now, over the last day.
async fn now(shared: &Shared, project: &str, fingerprint: u64) -> Result<Data<IssueRow>, ApiError> {
    let to_ms = shared.clock.now_ms() + 1;
    let issue = one(shared, project, fingerprint, (to_ms - 24 * 3_600_000, to_ms), NEW_MS).await?;
    Ok(Data::ok(row(issue, shared.catalog)))
}

async fn one(
    shared: &Shared,
    project: &str,
    fingerprint: u64,
    range: (i64, i64),
    new_ms: i64,
) -> Result<Issue, ApiError> {
    let named = project.to_owned();
    let resolution: Option<Resolution> = in_state(shared, move |state| state.resolution(&named, fingerprint)).await?;
    let asked = issues::one(&shared.store, project, fingerprint, range, new_ms, resolution);
    let issue = shared.timed("issue", asked).await.map_err(|error| unavailable(&error))?;
    issue.ok_or_else(|| unknown(fingerprint))
}

pub(crate) fn parse(fingerprint: Result<Path<String>, PathRejection>) -> Result<u64, ApiError> {
    let text = part_of_path("fingerprint", fingerprint)?;
    let is_hex = text.len() == 16 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    let parsed = is_hex.then(|| u64::from_str_radix(&text, 16).ok()).flatten();
    parsed.ok_or_else(|| {
        ApiError::invalid(
            "fingerprint",
            format!("expected 16 hex digits, as GET /api/v1/issues lists them, got {text:?}"),
        )
    })
}

/// The same for another project's.
fn unknown(fingerprint: u64) -> ApiError {
    let message =
        format!("this project has no issue {fingerprint:016x}; GET /api/v1/issues lists those seen in a range");
    ApiError::not_found().field("fingerprint", message)
}
