//! What a receiver is told, and how people read it.

use std::fmt::Write as _;

use serde::{Deserialize, Serialize};

use crate::{
    alerts::{
        alert::{Alert, common_labels},
        evidence::Evidence,
        rule::{Labels, Rule, Severity},
    },
    clock::rfc3339,
};

/// Whether an alert fires or has resolved.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    Firing,
    Resolved,
}

/// A message to any receiver; as JSON, what a webhook gets.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Notification {
    /// The same whenever this message is sent again: fingerprint, begin and status.
    pub id: String,
    pub status: Status,
    /// The same for all messages of this series.
    pub fingerprint: String,
    pub rule: String,
    pub project: String,
    pub severity: Severity,
    /// Those of the series, those of the rule, and `alertname`, `project`, `severity`.
    pub labels: Labels,
    /// The number and its threshold, in words.
    pub summary: String,
    pub value: f64,
    pub threshold: f64,
    /// Since when the condition holds, or held. RFC 3339, as the other times.
    pub active_since: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fired_at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resolved_at: Option<String>,
    /// The events behind it; absent where the store could not be asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub evidence: Option<Evidence>,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub runbook: String,
    /// All alerts, as a page of the console.
    pub link: String,
}

impl Notification {
    /// The message about an alert. `rule` is none when the rule is no more.
    #[must_use]
    pub fn of(alert: &Alert, rule: Option<&Rule>, status: Status, base_url: &str) -> Self {
        let severity = if alert.severity == Severity::Page.as_str() { Severity::Page } else { Severity::Ticket };
        let mut labels = alert.labels.clone();
        labels.extend(rule.map(|rule| rule.labels.clone()).unwrap_or_default());
        labels.extend(common_labels(&alert.project, &alert.rule, severity));
        let progress = &alert.progress;
        let word = if status == Status::Firing { "firing" } else { "resolved" };
        Self {
            id: format!("{}-{}-{word}", alert.fingerprint, progress.active_ms),
            status,
            fingerprint: alert.fingerprint.clone(),
            rule: alert.rule.clone(),
            project: alert.project.clone(),
            severity,
            labels,
            summary: progress.finding.summary.clone(),
            value: progress.finding.value,
            threshold: progress.finding.threshold,
            active_since: rfc3339(progress.active_ms),
            fired_at: progress.fired_ms.map(rfc3339),
            resolved_at: progress.resolved_ms.filter(|_| status == Status::Resolved).map(rfc3339),
            evidence: alert.evidence.as_ref().and_then(|json| serde_json::from_str(json).ok()),
            runbook: rule.map(|rule| rule.runbook.clone()).unwrap_or_default(),
            link: format!("{base_url}/alerts"),
        }
    }

    /// One that says that it is a test.
    #[must_use]
    pub fn test(now_ms: i64, base_url: &str) -> Self {
        let (project, rule) = ("default", "errata-test");
        Self {
            id: format!("test-{now_ms}"),
            status: Status::Firing,
            fingerprint: crate::alerts::alert::fingerprint(project, rule, &Labels::new()),
            rule: rule.to_owned(),
            project: project.to_owned(),
            severity: Severity::Ticket,
            labels: common_labels(project, rule, Severity::Ticket),
            summary: "this is a test of `errata alerts send-test`: nothing has happened".to_owned(),
            value: 1.0,
            threshold: 1.0,
            active_since: rfc3339(now_ms),
            fired_at: Some(rfc3339(now_ms)),
            resolved_at: None,
            evidence: None,
            runbook: String::new(),
            link: format!("{base_url}/alerts"),
        }
    }

    /// The message in a line: status, rule and what it is about.
    #[must_use]
    pub fn title(&self) -> String {
        let word = if self.status == Status::Firing { "FIRING" } else { "RESOLVED" };
        let own = ["alertname", "project", "severity"];
        let about: Vec<_> = self
            .labels
            .iter()
            .filter(|(name, value)| !own.contains(&name.as_str()) && !value.is_empty())
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        one_line(&format!("[{word}] {} · {} · {}", self.severity.as_str(), self.rule, about.join(" ")))
    }

    /// Everything that is known, in lines: a name and what it is.
    #[must_use]
    pub fn facts(&self) -> Vec<(&'static str, String)> {
        let mut facts = vec![("what", self.summary.clone()), ("since", self.active_since.clone())];
        facts.extend(self.resolved_at.clone().map(|at| ("resolved", at)));
        if let Some(evidence) = &self.evidence {
            let groups = evidence.groups.iter();
            let groups: Vec<_> = groups
                .map(|group| format!("{} × {} {} {}", group.events, group.status, group.service, group.route))
                .collect();
            let accounts = evidence.accounts.iter();
            let accounts: Vec<_> = accounts
                .map(|top| format!("{} ({} events, {} %)", top.account, top.events, (top.share * 100.0).round()))
                .collect();
            facts.push(("routes", groups.join("; ")));
            facts.push(("accounts", accounts.join("; ")));
            facts.push(("requests", evidence.samples.join(" ")));
            facts.extend(evidence.first_seen.clone().map(|at| ("first seen", at)));
            facts.extend(
                evidence
                    .release
                    .as_ref()
                    .map(|new| ("release", format!("{} → {} at {}", new.from, new.to, new.seen_at))),
            );
            facts.push(("events", evidence.link.clone()));
        }
        facts.push(("runbook", self.runbook.clone()));
        facts.push(("alerts", self.link.clone()));
        facts.push(("fingerprint", self.fingerprint.clone()));
        facts.retain(|(_, text)| !text.is_empty());
        facts.into_iter().map(|(name, text)| (name, one_line(&text))).collect()
    }

    /// As a mail says it.
    #[must_use]
    pub fn text(&self) -> String {
        self.facts().into_iter().fold(String::new(), |mut text, (name, fact)| {
            let _ = writeln!(text, "{name:<12}{fact}"); // writing to a String cannot fail
            text
        })
    }
}

/// Texts of clients are hostile: none of their control characters, and no line of their own.
fn one_line(text: &str) -> String {
    text.chars().map(|character| if character.is_control() { ' ' } else { character }).collect()
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::alerts::{
        evaluate::Finding,
        evidence::{AccountShare, Group, ReleaseChange},
        machine::{Phase, Progress},
    };

    /// One with everything.
    pub fn notification(status: Status) -> Notification {
        let evidence = Evidence {
            events: 536,
            groups: vec![Group { service: "api".into(), route: "/a/<int:pk>/".into(), status: 500, events: 536 }],
            accounts: vec![AccountShare { account: "7\u{1b}".into(), events: 134, share: 0.25 }],
            samples: vec!["req_1".into(), "req_2".into()],
            first_seen: Some("2026-11-18T14:00:02.734Z".into()),
            release: Some(ReleaseChange {
                from: "1".into(),
                to: "2".into(),
                seen_at: "2026-11-18T14:00:02.734Z".into(),
            }),
            link: "http://e/explore?status=5xx".into(),
        };
        let alert = Alert {
            project: "shop".into(),
            rule: "errors".into(),
            fingerprint: "0123456789abcdef".into(),
            labels: [("service".to_owned(), "api".to_owned()), ("route".to_owned(), "/a/<int:pk>/".to_owned())].into(),
            severity: "page".into(),
            progress: Progress {
                phase: Phase::Firing,
                active_ms: 60_000,
                fired_ms: Some(120_000),
                resolved_ms: Some(240_000),
                held_ms: 180_000,
                finding: Finding { value: 50.0, threshold: 10.0, summary: "50 over 10\nX".into(), window: (0, 60_000) },
            },
            evidence: serde_json::to_string(&evidence).ok(),
            frozen: String::new(),
            told_ms: None,
        };
        Notification::of(&alert, None, status, "http://e")
    }

    #[test]
    fn a_message_has_all_evidence_and_no_line_of_a_client() {
        let text = notification(Status::Resolved).text();
        for fact in [
            "50 over 10 X",
            "1970-01-01T00:01:00.000Z",
            "resolved    1970-01-01T00:04:00.000Z",
            "536 × 500 api /a/<int:pk>/",
            "7  (134 events, 25 %)",
            "req_1 req_2",
            "first seen  2026-11-18T14:00:02.734Z",
            "1 → 2 at",
            "status=5xx",
            "0123456789abcdef",
        ] {
            assert!(text.contains(fact), "{fact}: {text}");
        }
        assert!(!text.contains('\u{1b}'), "{text}");
        let title = notification(Status::Firing).title();
        assert_eq!(title, "[FIRING] page · errors · route=/a/<int:pk>/ service=api");
    }

    #[test]
    fn the_id_tells_occurrences_and_statuses_apart() {
        assert_eq!(notification(Status::Firing).id, "0123456789abcdef-60000-firing");
        assert_eq!(notification(Status::Resolved).id, "0123456789abcdef-60000-resolved");
        assert_eq!(notification(Status::Firing).resolved_at, None);
    }
}
