//! `POST /api/v1/alerts/test`: what a set of rules would have done over stored history.

use axum::{
    Extension,
    body::Body,
    extract::State as AxumState,
    http::{HeaderMap, StatusCode},
};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::read;
use crate::{
    alerts::{
        RuleSet,
        evaluate::Known,
        replay::{self, Firing},
        rule::{DAY_MS, Labels},
        samples::{self, Ends, Familiar},
    },
    clock::{
        rfc3339,
        when::{Edge, when},
    },
    http::{
        Shared,
        answer::{ApiError, Data},
        unavailable,
    },
    state::TokenInfo,
};

/// The longest range of a replay.
const LONGEST_MS: i64 = 31 * DAY_MS;

/// What to replay.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct AlertTest {
    /// Text of an `alerts.toml`; absent: the rules in effect.
    pub rules: Option<String>,
    /// Name of one rule; absent: every rule.
    pub rule: Option<String>,
    /// RFC 3339, a date of UTC (`2026-11-17`: its begin), a time before now (`-24h`), or `now`; default: 24 hours before `to`.
    pub from: Option<String>,
    /// As `from`, but of a date its end; default: now.
    pub to: Option<String>,
}

/// What would have fired.
#[derive(Debug, Serialize, ToSchema)]
pub struct AlertTestResult {
    pub from: String,
    pub to: String,
    /// Names of the rules that were replayed.
    pub rules: Vec<String>,
    /// By time, oldest first.
    pub firings: Vec<TestFiring>,
}

/// One time that a rule would have fired.
#[derive(Debug, Serialize, ToSchema)]
pub struct TestFiring {
    pub rule: String,
    pub severity: &'static str,
    #[schema(value_type = std::collections::BTreeMap<String, String>)]
    pub labels: Labels,
    /// Since when the condition held.
    pub active_since: String,
    pub fired_at: String,
    /// Absent: it still fired at `to`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resolved_at: Option<String>,
    /// The highest value there was, in words.
    pub summary: String,
    pub value: f64,
    pub threshold: f64,
}

/// Replay alert rules over stored history.
///
/// Evaluates rules as a running collector would have, by the events' `timestamp`, at each minute of the range (at most 31 days), and
/// says when each would have fired and resolved. Nobody is notified and no state changes.
#[utoipa::path(
    post, path = "/api/v1/alerts/test", tag = "watch", operation_id = "test_alerts",
    request_body = AlertTest,
    responses((status = 200, description = "what would have fired", body = AlertTestResult),
        (status = 400, description = "the rules or the range are wrong; every problem is named"),
        (status = 408, description = "the body did not arrive in time"), (status = 413, description = "the body is too long"),
        (status = 415, description = "not application/json"), (status = 503, description = "ClickHouse does not answer"))
)]
pub async fn test(
    AxumState(shared): AxumState<Shared>,
    Extension(token): Extension<TokenInfo>,
    headers: HeaderMap,
    body: Body,
) -> Result<Data<AlertTestResult>, ApiError> {
    let asked: AlertTest = read(&shared, &headers, body, "{\"rule\": …, \"from\": …, \"to\": …}").await?;
    let now_ms = shared.clock.now_ms();
    let time = |name: &str, text: Option<String>, edge, default: i64| match text {
        None => Ok(default),
        Some(text) => when(&text, edge, now_ms).map_err(|problem| ApiError::invalid(name, problem)),
    };
    // Of what is to come nothing is known: as if it were empty, a rule that fires now would be told to be resolved then.
    let to_ms = time("to", asked.to, Edge::To, now_ms)?.min(now_ms);
    let from_ms = time("from", asked.from, Edge::From, to_ms - DAY_MS)?;
    if !(1..=LONGEST_MS).contains(&(to_ms - from_ms)) {
        return Err(ApiError::invalid("from", "must be before `to`, by 31 days at most"));
    }
    let given = asked.rules.map(|text| RuleSet::parse(&text)).transpose();
    let given = given.map_err(|problems| {
        let error = ApiError::new(StatusCode::BAD_REQUEST, "Validation failed");
        problems.0.into_iter().fold(error, |error, problem| error.field("rules", problem))
    })?;
    let set = given.as_ref().unwrap_or(&shared.rules);
    let of_project = |projects: &[String]| projects.is_empty() || projects.contains(&token.project);
    let rules = set.rules.iter().filter(|rule| of_project(&rule.only.projects));
    let rules: Vec<_> = rules.filter(|rule| asked.rule.as_ref().is_none_or(|name| *name == rule.name)).collect();
    if let (Some(name), true) = (&asked.rule, rules.is_empty()) {
        let known: Vec<_> = set.rules.iter().map(|rule| rule.name.as_str()).collect();
        let message = format!("there is no rule {name:?} for this project; there are {}", known.join(", "));
        return Err(ApiError::invalid("rule", message));
    }
    let store = shared.store.clone();
    let span = shared.timed("alerts_test", store.project_span(&token.project)).await;
    let first_ms = span.map_err(|error| unavailable(&error))?.map(|span| span.first_ms);
    let known = Known { first_ms, listening_since_ms: 0 };
    let mut firings = Vec::new();
    for rule in &rules {
        let ends = Ends { first: from_ms, last: to_ms };
        let mut familiar = Familiar::default();
        let loading = samples::load(&store, &token.project, rule, ends, &mut familiar);
        let series = shared.timed("alerts_test", loading).await.map_err(|error| unavailable(&error))?;
        let (rule, objectives) = ((*rule).clone(), set.objectives.clone());
        let severity = rule.severity.as_str();
        // Off the threads that serve: it is arithmetic over the whole range.
        let replayed =
            tokio::task::spawn_blocking(move || replay::replay(&rule, &objectives, &series, known, (from_ms, to_ms)));
        let replayed = replayed.await.map_err(|error| ApiError::internal("replaying a rule", &error))?;
        firings.extend(replayed.into_iter().map(|firing| (firing.fired_ms, shown(firing, severity))));
    }
    firings.sort_by_key(|(fired_ms, _)| *fired_ms);
    Ok(Data::ok(AlertTestResult {
        from: rfc3339(from_ms),
        to: rfc3339(to_ms),
        rules: rules.iter().map(|rule| rule.name.clone()).collect(),
        firings: firings.into_iter().map(|(_, firing)| firing).collect(),
    }))
}

fn shown(firing: Firing, severity: &'static str) -> TestFiring {
    TestFiring {
        rule: firing.rule,
        severity,
        labels: firing.labels,
        active_since: rfc3339(firing.active_ms),
        fired_at: rfc3339(firing.fired_ms),
        resolved_at: firing.resolved_ms.map(rfc3339),
        summary: firing.finding.summary,
        value: firing.finding.value,
        threshold: firing.finding.threshold,
    }
}
