//! One alert: a series of a rule that is not inactive, as memory has it and as it is stored.

use sha2::{Digest, Sha256};

use super::{
    evaluate::Finding,
    machine::{Change, Phase, Progress},
    rule::{Labels, Rule, Severity},
};
use crate::state::{AlertEvent, AlertRow, Silence};

/// A series that is not inactive.
#[derive(Clone, Debug, PartialEq)]
pub struct Alert {
    pub project: String,
    pub rule: String,
    pub fingerprint: String,
    pub labels: Labels,
    pub severity: String,
    pub progress: Progress,
    /// JSON of [`super::evidence::Evidence`].
    pub evidence: Option<String>,
    pub frozen: String,
    /// When receivers were last told that it fires, milliseconds since the Unix epoch.
    pub told_ms: Option<i64>,
}

/// What makes a series of a rule the same series everywhere: 16 hex digits.
#[must_use]
pub fn fingerprint(project: &str, rule: &str, labels: &Labels) -> String {
    let mut hash = Sha256::new();
    let parts = labels.iter().flat_map(|(name, value)| [name, value]).map(String::as_str);
    for part in [project, rule].into_iter().chain(parts) {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part.as_bytes());
    }
    let digest: [u8; 32] = hash.finalize().into();
    let mut first = [0; 8];
    first.copy_from_slice(&digest[..8]);
    format!("{:016x}", u64::from_be_bytes(first))
}

impl Alert {
    pub(super) fn new(project: &str, rule: &Rule, labels: Labels, progress: Progress) -> Self {
        Self {
            project: project.to_owned(),
            rule: rule.name.clone(),
            fingerprint: fingerprint(project, &rule.name, &labels),
            labels,
            severity: rule.severity.as_str().to_owned(),
            progress,
            evidence: None,
            frozen: String::new(),
            told_ms: None,
        }
    }

    /// None where the stored row has no sense, which only another program can have made.
    pub(super) fn from_row(row: AlertRow) -> Option<Self> {
        let finding = Finding { value: row.value, threshold: row.threshold, summary: row.summary, window: row.window };
        let progress = Progress {
            phase: Phase::parse(&row.phase)?,
            active_ms: row.active_ms,
            fired_ms: row.fired_ms,
            resolved_ms: row.resolved_ms,
            held_ms: row.held_ms,
            finding,
        };
        let labels = serde_json::from_str(&row.labels).ok()?;
        let (project, rule, fingerprint, severity) = (row.project, row.rule, row.fingerprint, row.severity);
        let (evidence, frozen, told_ms) = (row.evidence, row.frozen, row.told_ms);
        Some(Self { project, rule, fingerprint, labels, severity, progress, evidence, frozen, told_ms })
    }

    pub(super) fn to_row(&self) -> AlertRow {
        let progress = &self.progress;
        AlertRow {
            project: self.project.clone(),
            rule: self.rule.clone(),
            fingerprint: self.fingerprint.clone(),
            labels: labels_json(&self.labels),
            severity: self.severity.clone(),
            phase: progress.phase.as_str().to_owned(),
            active_ms: progress.active_ms,
            fired_ms: progress.fired_ms,
            resolved_ms: progress.resolved_ms,
            held_ms: progress.held_ms,
            value: progress.finding.value,
            threshold: progress.finding.threshold,
            summary: progress.finding.summary.clone(),
            window: progress.finding.window,
            evidence: self.evidence.clone(),
            frozen: self.frozen.clone(),
            told_ms: self.told_ms,
            acknowledged: None,
        }
    }

    pub(super) fn event(&self, change: Change, at_ms: i64) -> AlertEvent {
        AlertEvent {
            id: 0,
            project: self.project.clone(),
            rule: self.rule.clone(),
            fingerprint: self.fingerprint.clone(),
            labels: labels_json(&self.labels),
            change: change.as_str().to_owned(),
            at_ms,
            summary: self.progress.finding.summary.clone(),
        }
    }
}

/// Texts always have a JSON form.
#[must_use]
pub fn labels_json(labels: &Labels) -> String {
    serde_json::to_string(labels).unwrap_or_else(|_| "{}".to_owned())
}

/// Whether a silence is about an alert at a time.
#[must_use]
pub fn is_silenced_by(silence: &Silence, project: &str, rule: &str, labels: &Labels, now_ms: i64) -> bool {
    let wanted: Labels = serde_json::from_str(&silence.labels).unwrap_or_default();
    silence.project == project
        && (silence.from_ms..silence.until_ms).contains(&now_ms)
        && (silence.rule.is_empty() || silence.rule == rule)
        && wanted.iter().all(|(name, value)| labels.get(name) == Some(value))
}

/// Labels that every alert of a rule has beside those of its series.
#[must_use]
pub fn common_labels(project: &str, rule: &str, severity: Severity) -> Labels {
    [("alertname", rule), ("project", project), ("severity", severity.as_str())]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .into()
}
