//! Alerts: where they stand, what became of them, who looks after them, who is not to be told.

mod shown;
mod test;

use axum::{
    Extension,
    body::Body,
    extract::{Path, State as AxumState, rejection::PathRejection},
    http::{HeaderMap, StatusCode},
};
use serde::de::DeserializeOwned;

use super::{
    Shared,
    answer::{ApiError, Data},
    audit::{Subject, about},
    body, page_of,
    params::Params,
    part_of_path,
};
use crate::{
    alerts::{
        alert::{is_silenced_by, labels_json},
        rule::DAY_MS,
    },
    clock::{
        rfc3339,
        when::{Edge, calendar, duration_ms},
    },
    state::{Acknowledged, AlertRow, Silence, State, StateError, TokenInfo},
};
use shown::labels_of;
pub use shown::{
    Acknowledgement, Alert, AlertChange, AlertHistory, AlertSilence, Alerts, EndedSilence, NewAcknowledgement,
    NewSilence,
};
pub use test::{__path_test, test};

/// The longest body these endpoints take: a file of rules, in JSON.
const BODY: usize = 256 << 10;

/// Entries of the history on a page unless `limit` says otherwise, and at most.
const PAGE: (usize, usize) = (100, 1000);

/// The longest silence.
const LONGEST_SILENCE_MS: i64 = 31 * DAY_MS;

/// The longest comment, characters.
const COMMENT: usize = 500;

/// Alerts and silences.
///
/// Those of the token's project, with the evidence they fired with.
#[utoipa::path(
    get, path = "/api/v1/alerts", tag = "watch", operation_id = "alerts",
    responses((status = 200, description = "where alerts stand", body = Alerts))
)]
pub async fn list(
    AxumState(shared): AxumState<Shared>,
    Extension(token): Extension<TokenInfo>,
) -> Result<Data<Alerts>, ApiError> {
    Ok(Data::ok(standing(&shared, token.project).await?))
}

/// Where the alerts of a project stand.
pub(crate) async fn standing(shared: &Shared, project: String) -> Result<Alerts, ApiError> {
    let now_ms = shared.clock.now_ms();
    let (rows, silences) =
        in_state(shared, move |state| Ok((state.alerts(Some(&project))?, state.silences(Some(&project), now_ms)?)))
            .await?;
    let evaluation = shared.alerts.get();
    Ok(Alerts {
        evaluated_at: evaluation.evaluated_ms.map(rfc3339),
        frozen: evaluation.frozen,
        alerts: rows.into_iter().map(|row| alert(shared, row, &silences, now_ms)).collect(),
        silences: silences.into_iter().map(AlertSilence::from).collect(),
    })
}

/// What became of alerts.
///
/// Every change of state and every acknowledgement; a hundred thousand are kept over all projects.
#[utoipa::path(
    get, path = "/api/v1/alerts/history", tag = "watch", operation_id = "alert_history",
    params(("rule" = Option<String>, Query, description = "name of one rule"),
        ("limit" = Option<u32>, Query, description = "1 to 1000, default 100"),
        ("cursor" = Option<String>, Query, description = "`next_cursor` of the page before")),
    responses((status = 200, description = "changes, newest first", body = AlertHistory), (status = 400, description = "a parameter is wrong"))
)]
pub async fn history(
    AxumState(shared): AxumState<Shared>,
    Extension(token): Extension<TokenInfo>,
    mut params: Params,
) -> Result<Data<AlertHistory>, ApiError> {
    let rule = params.one("rule");
    let limit = params.limit(PAGE.0, PAGE.1);
    let before = params.parsed("cursor", "the next_cursor of a page", |text| text.parse::<i64>().ok());
    params.finish()?;
    Ok(Data::ok(changes(&shared, token.project, rule, before, limit).await?))
}

/// What became of a project's alerts, from before an entry on.
pub(crate) async fn changes(
    shared: &Shared,
    project: String,
    rule: Option<String>,
    before: Option<i64>,
    limit: usize,
) -> Result<AlertHistory, ApiError> {
    let events =
        in_state(shared, move |state| state.alert_history(&project, rule.as_deref(), before, limit + 1)).await?;
    let (events, next_cursor) = page_of(events, limit, |event| event.id);
    Ok(AlertHistory { changes: events.into_iter().map(AlertChange::from).collect(), next_cursor })
}

/// Silence alerts.
///
/// Their states go on; nobody is told of them until the silence ends.
#[utoipa::path(
    post, path = "/api/v1/alerts/silences", tag = "watch", operation_id = "silence_alerts",
    request_body = NewSilence,
    responses((status = 201, description = "the silence", body = AlertSilence), (status = 400, description = "what is to be silent, or until when, is wrong"),
        (status = 408, description = "the body did not arrive in time"), (status = 413, description = "the body is too long"),
        (status = 415, description = "not application/json"))
)]
pub async fn silence(
    AxumState(shared): AxumState<Shared>,
    Extension(token): Extension<TokenInfo>,
    subject: Option<Extension<Subject>>,
    headers: HeaderMap,
    body: Body,
) -> Result<Data<AlertSilence>, ApiError> {
    let asked: NewSilence = read(&shared, &headers, body, "{\"rule\": …, \"labels\": {…}, \"for\": \"2h\"}").await?;
    Ok(Data(StatusCode::CREATED, begin_silence(&shared, token, subject, asked).await?.into()))
}

/// Makes a silence.
pub(crate) async fn begin_silence(
    shared: &Shared,
    token: TokenInfo,
    subject: Option<Extension<Subject>>,
    asked: NewSilence,
) -> Result<Silence, ApiError> {
    let now_ms = shared.clock.now_ms();
    if asked.rule.is_none() && asked.labels.is_empty() {
        return Err(ApiError::invalid("rule", "name a rule, or labels, or both: what is to be silent?"));
    }
    let until_ms = match (&asked.until, &asked.lasts) {
        (Some(text), None) => Some(calendar(text, Edge::To).map_err(|problem| ApiError::invalid("until", problem))?),
        (None, Some(text)) => duration_ms(text).and_then(|ms| now_ms.checked_add(ms)),
        _ => None,
    };
    let until_ms = until_ms.filter(|until| (1..=LONGEST_SILENCE_MS).contains(&(until - now_ms))).ok_or_else(|| {
        ApiError::invalid(
            "until",
            "give either until (RFC 3339, or the last day) or for (such as 2h), at most 31 days ahead",
        )
    })?;
    let silence = Silence {
        id: uuid::Uuid::now_v7().to_string(),
        project: token.project,
        rule: asked.rule.unwrap_or_default(),
        labels: labels_json(&asked.labels),
        from_ms: now_ms,
        until_ms,
        by: token.name,
        comment: asked.comment.chars().take(COMMENT).collect(),
    };
    about(subject, || format!("{} {} {}", silence.id, silence.rule, silence.labels));
    let added = silence.clone();
    in_state(shared, move |state| state.add_silence(&added)).await?;
    Ok(silence)
}

/// End a silence.
#[utoipa::path(
    delete, path = "/api/v1/alerts/silences/{id}", tag = "watch", operation_id = "end_silence",
    params(("id" = String, Path, description = "as the alerts list it")),
    responses((status = 200, description = "it has ended", body = EndedSilence), (status = 404, description = "there is none of this id"))
)]
pub async fn end_silence(
    AxumState(shared): AxumState<Shared>,
    Extension(token): Extension<TokenInfo>,
    id: Result<Path<String>, PathRejection>,
) -> Result<Data<EndedSilence>, ApiError> {
    let id = part_of_path("id", id)?;
    stop_silence(&shared, token.project, id.clone()).await?;
    Ok(Data::ok(EndedSilence { id }))
}

/// Ends a silence of a project.
pub(crate) async fn stop_silence(shared: &Shared, project: String, id: String) -> Result<(), ApiError> {
    let asked = id.clone();
    if in_state(shared, move |state| state.remove_silence(&project, &asked)).await? {
        return Ok(());
    }
    Err(ApiError::not_found().field("id", format!("there is no silence {id:?}; GET /api/v1/alerts lists them")))
}

/// Acknowledge alerts.
///
/// Says that somebody looks after the firing alerts of a rule: they are not repeated to receivers until they fire anew.
#[utoipa::path(
    post, path = "/api/v1/alerts/{rule}/acknowledge", tag = "watch", operation_id = "acknowledge_alerts",
    params(("rule" = String, Path, description = "name of the rule")),
    request_body = NewAcknowledgement,
    responses((status = 200, description = "the alerts that were acknowledged", body = Vec<Alert>), (status = 400, description = "the body is wrong"),
        (status = 404, description = "no alert of this rule fires"),
        (status = 408, description = "the body did not arrive in time"), (status = 413, description = "the body is too long"),
        (status = 415, description = "not application/json"))
)]
pub async fn acknowledge(
    AxumState(shared): AxumState<Shared>,
    Extension(token): Extension<TokenInfo>,
    rule: Result<Path<String>, PathRejection>,
    headers: HeaderMap,
    body: Body,
) -> Result<Data<Vec<Alert>>, ApiError> {
    let rule = part_of_path("rule", rule)?;
    let asked: NewAcknowledgement = read(&shared, &headers, body, "{\"labels\": {…}, \"comment\": …}").await?;
    Ok(Data::ok(look_after(&shared, token, rule, asked).await?))
}

/// Acknowledges the firing alerts of a rule.
pub(crate) async fn look_after(
    shared: &Shared,
    token: TokenInfo,
    rule: String,
    asked: NewAcknowledgement,
) -> Result<Vec<Alert>, ApiError> {
    let now_ms = shared.clock.now_ms();
    let comment = asked.comment.chars().take(COMMENT).collect();
    let by = Acknowledged { by: token.name, at_ms: now_ms, comment };
    let (project, name) = (token.project, rule.clone());
    let (rows, silences) = in_state(shared, move |state| {
        let fits = |row: &AlertRow| {
            let labels = labels_of(&row.labels);
            row.rule == name && asked.labels.iter().all(|(name, value)| labels.get(name) == Some(value))
        };
        let found = state.alerts(Some(&project))?.into_iter().filter(fits).map(|row| row.fingerprint);
        let fingerprints: Vec<_> = found.collect();
        Ok((state.acknowledge_alerts(&project, &fingerprints, &by)?, state.silences(Some(&project), now_ms)?))
    })
    .await?;
    if rows.is_empty() {
        return Err(ApiError::not_found()
            .field("rule", format!("no alert of {rule:?} fires; GET /api/v1/alerts lists those that do")));
    }
    Ok(rows.into_iter().map(|row| alert(shared, row, &silences, now_ms)).collect())
}

fn alert(shared: &Shared, row: AlertRow, silences: &[Silence], now_ms: i64) -> Alert {
    let labels = labels_of(&row.labels);
    let silence = silences.iter().find(|silence| is_silenced_by(silence, &row.project, &row.rule, &labels, now_ms));
    let state = match row.phase.as_str() {
        "firing" if silence.is_some() => "silenced",
        "firing" if row.acknowledged.is_some() => "acknowledged",
        "firing" => "firing",
        "resolved" => "resolved",
        _ => "pending",
    };
    Alert {
        state,
        runbook: shared.rules.rule(&row.rule).map(|rule| rule.runbook.clone()).unwrap_or_default(),
        rule: row.rule,
        severity: row.severity,
        fingerprint: row.fingerprint,
        labels,
        active_since: rfc3339(row.active_ms),
        held_at: rfc3339(row.held_ms),
        fired_at: row.fired_ms.map(rfc3339),
        resolved_at: row.resolved_ms.map(rfc3339),
        summary: row.summary,
        value: row.value,
        threshold: row.threshold,
        evidence: row.evidence.and_then(|json| serde_json::from_str(&json).ok()),
        frozen: Some(row.frozen).filter(|frozen| !frozen.is_empty()),
        acknowledged: row.acknowledged.map(|Acknowledged { by, at_ms, comment }| Acknowledgement {
            by,
            at: rfc3339(at_ms),
            comment,
        }),
        silenced_by: silence.map(|silence| silence.id.clone()),
    }
}

/// Asks the state database, off the threads that serve.
pub(super) async fn in_state<T: Send + 'static>(
    shared: &Shared,
    work: impl FnOnce(&State) -> Result<T, StateError> + Send + 'static,
) -> Result<T, ApiError> {
    super::in_state(shared, "asking the state database", work).await
}

/// A JSON body; an empty one is an empty object.
pub(super) async fn read<T: DeserializeOwned>(
    shared: &Shared,
    headers: &HeaderMap,
    body: Body,
    expected: &str,
) -> Result<T, ApiError> {
    body::json(shared, headers, body, BODY, expected).await
}
