//! Alerts and silences as answers show them, and as they are asked for.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{
    alerts::{evidence::Evidence, rule::Labels},
    clock::rfc3339,
    state::{AlertEvent, Silence},
};

/// Where alerts stand.
#[derive(Debug, Serialize, ToSchema)]
pub struct Alerts {
    /// The end of the newest windows that were evaluated; absent before the first evaluation since the start.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub evaluated_at: Option<String>,
    /// Why states do not change at the moment: `frozen: no data since …`, or `frozen: rule … cannot be evaluated …` (the states of that rule).
    /// Absent while all is well.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub frozen: Option<String>,
    /// Those that fire first. What is inactive is not listed; what has resolved is, for a day.
    pub alerts: Vec<Alert>,
    /// Those that have not ended.
    pub silences: Vec<AlertSilence>,
}

/// One series of a rule.
#[derive(Debug, Serialize, ToSchema)]
pub struct Alert {
    pub rule: String,
    pub severity: String,
    /// `pending`, `firing`, `acknowledged` (it fires, and somebody looks after it), `silenced` (it fires, and nobody is told), `resolved`.
    pub state: &'static str,
    /// Of project, rule and labels: the same in every collector.
    pub fingerprint: String,
    #[schema(value_type = std::collections::BTreeMap<String, String>)]
    pub labels: Labels,
    /// Since when its condition holds, or held.
    pub active_since: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fired_at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resolved_at: Option<String>,
    /// When its condition held last, as far as was evaluated: `summary`, `value` and `threshold` are of that time.
    pub held_at: String,
    /// The number and its threshold, in words.
    pub summary: String,
    pub value: f64,
    pub threshold: f64,
    /// The events behind it, as they were when it fired; absent until it has.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub evidence: Option<Evidence>,
    /// Why it does not change: `frozen: no request totals since …`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub frozen: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub acknowledged: Option<Acknowledgement>,
    /// Id of the silence that keeps it quiet.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub silenced_by: Option<String>,
    /// Where people read what to do.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub runbook: String,
}

/// Who looks after an alert.
#[derive(Debug, Serialize, ToSchema)]
pub struct Acknowledgement {
    /// Name of the token.
    pub by: String,
    pub at: String,
    pub comment: String,
}

/// Nobody is told of the alerts that fit.
#[derive(Debug, Serialize, ToSchema)]
pub struct AlertSilence {
    pub id: String,
    /// Absent: of any rule.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub rule: String,
    /// An alert fits when it has all of them.
    #[schema(value_type = std::collections::BTreeMap<String, String>)]
    pub labels: Labels,
    pub from: String,
    pub until: String,
    /// Name of the token.
    pub by: String,
    pub comment: String,
}

/// A silence that has been ended.
#[derive(Debug, Serialize, ToSchema)]
pub struct EndedSilence {
    pub id: String,
}

/// A silence to make.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct NewSilence {
    /// Name of a rule; with labels, an alert must fit both. One of the two is needed.
    pub rule: Option<String>,
    #[schema(value_type = std::collections::BTreeMap<String, String>)]
    pub labels: Labels,
    /// RFC 3339, or the last day of it (`2026-11-17`, UTC); this or `for`, at most 31 days ahead.
    pub until: Option<String>,
    /// `30m`, `2h`, `1d`.
    #[serde(rename = "for")]
    pub lasts: Option<String>,
    pub comment: String,
}

/// What is looked after.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct NewAcknowledgement {
    /// Only the rule's alerts with all of these labels.
    #[schema(value_type = std::collections::BTreeMap<String, String>)]
    pub labels: Labels,
    pub comment: String,
}

/// What became of alerts.
#[derive(Debug, Serialize, ToSchema)]
pub struct AlertHistory {
    /// Newest first.
    pub changes: Vec<AlertChange>,
    /// `cursor` of the next page; absent on the last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_cursor: Option<String>,
}

/// One change of an alert.
#[derive(Debug, Serialize, ToSchema)]
pub struct AlertChange {
    pub at: String,
    pub rule: String,
    pub fingerprint: String,
    #[schema(value_type = std::collections::BTreeMap<String, String>)]
    pub labels: Labels,
    /// `pending`, `firing`, `resolved`, `inactive` (it was pending), `acknowledged`.
    pub change: String,
    /// The number and its threshold, in words, as they were then.
    pub summary: String,
}

pub(super) fn labels_of(json: &str) -> Labels {
    serde_json::from_str(json).unwrap_or_default()
}

impl From<Silence> for AlertSilence {
    fn from(silence: Silence) -> Self {
        Self {
            labels: labels_of(&silence.labels),
            id: silence.id,
            rule: silence.rule,
            from: rfc3339(silence.from_ms),
            until: rfc3339(silence.until_ms),
            by: silence.by,
            comment: silence.comment,
        }
    }
}

impl From<AlertEvent> for AlertChange {
    fn from(event: AlertEvent) -> Self {
        Self {
            at: rfc3339(event.at_ms),
            labels: labels_of(&event.labels),
            rule: event.rule,
            fingerprint: event.fingerprint,
            change: event.change,
            summary: event.summary,
        }
    }
}
