//! Alerts and silences as a page shows them.

use crate::{
    alerts::{alert::labels_json, evidence::Evidence, rule::Labels},
    console::view::{
        self, Explore, Markup, escape, number, percent, state_tag,
        time::{self, Format, ago_of, duration, moment, moment_of},
    },
    http::alerts::{Alert, AlertSilence},
    inert,
    state::TokenInfo,
};

/// Labels that the events' filters know, by the names of the filters.
const FILTERS: [(&str, &str); 9] = [
    ("service", "service"),
    ("environment", "environment"),
    ("route", "route"),
    ("method", "method"),
    ("account", "account_id"),
    ("status", "status"),
    ("field", "field"),
    ("rule", "rule"),
    ("fingerprint", "fingerprint"),
];

pub(super) struct AlertView {
    pub(super) rule: String,
    pub(super) state: Markup,
    pub(super) severity: String,
    pub(super) summary: Markup,
    pub(super) labels: Markup,
    /// For the forms.
    pub(super) labels_json: String,
    /// `fires since …`
    pub(super) since: Markup,
    pub(super) since_words: &'static str,
    pub(super) frozen: String,
    /// `by anna, 5 min ago: on it`
    pub(super) acknowledged: Option<(Markup, Markup, Markup)>,
    pub(super) is_silenced: bool,
    /// Whether it can be acknowledged.
    pub(super) is_open: bool,
    pub(super) runbook: String,
    /// The issue it is about.
    pub(super) issue: String,
    pub(super) evidence: Option<EvidenceView>,
}

pub(super) struct EvidenceView {
    pub(super) events: Markup,
    /// Where most of them are: name and how many.
    pub(super) groups: Vec<(Markup, Markup)>,
    pub(super) accounts: Vec<(Markup, Markup, String)>,
    pub(super) samples: Vec<Markup>,
    pub(super) first_seen: Option<Markup>,
    /// `2026.11.2 took the place of 2026.11.1`
    pub(super) release: Option<(Markup, Markup, Markup)>,
}

pub(super) struct SilenceView {
    pub(super) id: String,
    pub(super) rule: Markup,
    pub(super) labels: Markup,
    pub(super) until: Markup,
    pub(super) left: String,
    pub(super) by: Markup,
    pub(super) comment: Markup,
}

impl AlertView {
    pub(super) fn new(alert: Alert, token: &TokenInfo, now_ms: i64) -> Self {
        let (words, since) = match (&alert.resolved_at, &alert.fired_at) {
            (Some(at), _) => ("resolved", at),
            (None, Some(at)) => ("fires since", at),
            (None, None) => ("pending since", &alert.active_since),
        };
        let events = of_labels(&alert.labels, &alert);
        let fingerprint =
            alert.labels.get("fingerprint").filter(|text| text.bytes().all(|byte| byte.is_ascii_hexdigit()));
        Self {
            state: state_tag(alert.state),
            labels: labels(&alert.labels),
            // Escaped the JSON way, it is the same when it comes back.
            labels_json: inert::clean_json(&labels_json(&alert.labels)),
            since: ago_of(since, now_ms),
            since_words: words,
            frozen: alert.frozen.clone().unwrap_or_default(),
            acknowledged: alert
                .acknowledged
                .as_ref()
                .map(|by| (by.by.as_str().into(), ago_of(&by.at, now_ms), by.comment.as_str().into())),
            is_silenced: alert.silenced_by.is_some(),
            is_open: matches!(alert.state, "firing" | "silenced") && alert.acknowledged.is_none(),
            issue: fingerprint.map(|fingerprint| format!("/issues/{fingerprint}?from=-7d")).unwrap_or_default(),
            evidence: alert.evidence.as_ref().map(|evidence| EvidenceView::new(evidence, &events, token, now_ms)),
            // A link of a file that only the operator writes; a browser follows none but these.
            runbook: if alert.runbook.starts_with("https://") || alert.runbook.starts_with("http://") {
                alert.runbook
            } else {
                String::new()
            },
            rule: alert.rule,
            severity: alert.severity,
            summary: alert.summary.into(),
        }
    }
}

/// The events that an alert is about: of its labels, since its condition held.
fn of_labels(labels: &Labels, alert: &Alert) -> Explore {
    let begin = time::parse(&alert.active_since).unwrap_or_default() - 3_600_000;
    let end = alert.resolved_at.as_deref().and_then(time::parse);
    let range = match end {
        Some(end) => Explore::between(begin, end),
        None => Explore::default().with("from", crate::clock::rfc3339(begin)),
    };
    FILTERS.iter().fold(range, |link, (label, filter)| match labels.get(*label) {
        Some(value) => link.with(filter, value),
        None => link,
    })
}

impl EvidenceView {
    fn new(evidence: &Evidence, events: &Explore, token: &TokenInfo, now_ms: i64) -> Self {
        let groups = evidence.groups.iter().map(|group| {
            let link = events.clone().with("service", &group.service).with("route", &group.route);
            let link = link.with("status", group.status.to_string());
            let name = format!(
                "{} <code>{}</code> {}",
                view::badge(group.status),
                escape(&group.route),
                escape(&group.service)
            );
            (Markup::new(name), link.number(group.events))
        });
        let accounts = evidence.accounts.iter().map(|one| {
            let link = events.clone().with("account_id", &one.account);
            (one.account.as_str().into(), link.number(one.events), percent(one.share))
        });
        Self {
            events: events.text(&format!("{} events", number(evidence.events))),
            groups: groups.collect(),
            accounts: accounts.collect(),
            samples: evidence.samples.iter().map(|id| view::request_for(id, token)).collect(),
            first_seen: evidence.first_seen.as_deref().and_then(time::parse).map(|at| moment(at, Format::Minute)),
            release: evidence.release.as_ref().map(|change| {
                (change.to.as_str().into(), change.from.as_str().into(), ago_of(&change.seen_at, now_ms))
            }),
        }
    }
}

impl SilenceView {
    pub(super) fn new(silence: AlertSilence, now_ms: i64) -> Self {
        let until = time::parse(&silence.until);
        Self {
            rule: silence.rule.into(),
            labels: labels(&silence.labels),
            until: moment_of(&silence.until, Format::Minute),
            left: until.map(|at| duration(at - now_ms)).unwrap_or_default(),
            by: silence.by.into(),
            comment: silence.comment.into(),
            id: silence.id,
        }
    }
}

pub(super) fn link(path: &str, text: &str) -> Markup {
    Markup::new(format!("<a href=\"{}\">{}</a>", escape(path), escape(text)))
}

pub(super) fn labels(labels: &Labels) -> Markup {
    let label = |(name, value): (&String, &String)| {
        format!("<span class=\"tag\">{} <b>{}</b></span>", escape(name), escape(value))
    };
    Markup::new(format!("<span class=\"tags\">{}</span>", labels.iter().map(label).collect::<Vec<_>>().concat()))
}
