//! Alerts and silences as a page shows them.

use url::form_urlencoded;

use crate::{
    alerts::{alert::labels_json, evidence::Evidence, rule::Labels},
    clock::rfc3339,
    console::view::{
        self, Explore, Markup, escape, percent, plural, state_tag,
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
    /// When the number of the summary was counted.
    pub(super) held: Markup,
    pub(super) frozen: String,
    /// `by anna, 5 min ago: on it`
    pub(super) acknowledged: Option<(Markup, Markup, Markup)>,
    pub(super) is_silenced: bool,
    /// Whether it can be acknowledged.
    pub(super) is_open: bool,
    /// What the forms do; empty where there is none.
    pub(super) forms: &'static str,
    pub(super) runbook: String,
    /// The issue it is about.
    pub(super) issue: String,
    pub(super) evidence: Option<EvidenceView>,
}

/// Everything of it was counted when the alert fired.
pub(super) struct EvidenceView {
    pub(super) events: Markup,
    /// The window that was counted.
    pub(super) window: Option<(Markup, Markup)>,
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
        let (is_silenced, is_open) =
            (alert.silenced_by.is_some(), matches!(alert.state, "firing" | "silenced") && alert.acknowledged.is_none());
        let evidence = alert.evidence.as_ref().map(|evidence| EvidenceView::new(evidence, &alert, token, now_ms));
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
            is_silenced,
            is_open,
            forms: match (is_open, is_silenced) {
                (true, false) => "Look after it, or silence it",
                (true, true) => "Look after it",
                (false, false) => "Silence it",
                (false, true) => "",
            },
            held: ago_of(&alert.held_at, now_ms),
            issue: fingerprint.map(|fingerprint| format!("/issues/{fingerprint}?from=-7d")).unwrap_or_default(),
            evidence,
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

/// Filters of events, as a page of the console takes them.
type Filters = Vec<(String, String)>;

/// The events that the evidence counts, as its link says; `None` of an alert that was kept before it had one.
fn of_evidence(evidence: &Evidence) -> Option<Filters> {
    let (_, query) = evidence.link.split_once("/explore?")?;
    Some(form_urlencoded::parse(query.as_bytes()).into_owned().collect())
}

/// The events that an alert is about: of its labels, since its condition held.
fn of_labels(alert: &Alert) -> Filters {
    let begin = time::parse(&alert.active_since).unwrap_or_default() - 3_600_000;
    let range = [("from", Some(rfc3339(begin))), ("to", alert.resolved_at.clone())];
    let range = range.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?)));
    let labels =
        FILTERS.iter().filter_map(|(label, filter)| Some(((*filter).to_owned(), alert.labels.get(*label)?.clone())));
    range.chain(labels).collect()
}

/// Those events, or some of them: with these values of their own.
fn explore(filters: &Filters, values: &[(&str, &str)]) -> Explore {
    let kept = filters.iter().filter(|(name, _)| values.iter().all(|(other, _)| other != name));
    let kept = kept.map(|(name, value)| (name.as_str(), value.as_str()));
    kept.chain(values.iter().copied()).fold(Explore::default(), |link, (name, value)| link.with(name, value))
}

/// The range of filters, if both ends are told.
fn window(filters: &Filters) -> Option<(Markup, Markup)> {
    let end = |name| filters.iter().find(|(filter, _)| filter == name).and_then(|(_, text)| time::parse(text));
    let at = |ms| moment(ms, Format::Minute);
    Some((at(end("from")?), at(end("to")?)))
}

impl EvidenceView {
    fn new(evidence: &Evidence, alert: &Alert, token: &TokenInfo, now_ms: i64) -> Self {
        let counted = of_evidence(evidence);
        let window = counted.as_ref().and_then(window);
        let events = counted.unwrap_or_else(|| of_labels(alert));
        let groups = evidence.groups.iter().map(|group| {
            let status = group.status.to_string();
            let link = explore(
                &events,
                &[("service", group.service.as_str()), ("route", group.route.as_str()), ("status", status.as_str())],
            );
            let name = format!(
                "{} <code>{}</code> {}",
                view::badge(group.status),
                escape(&group.route),
                escape(&group.service)
            );
            (Markup::new(name), link.number(group.events))
        });
        let accounts = evidence.accounts.iter().map(|one| {
            let link = explore(&events, &[("account_id", one.account.as_str())]);
            (one.account.as_str().into(), link.number(one.events), percent(one.share))
        });
        Self {
            events: explore(&events, &[]).text(&plural(evidence.events, "event", "events")),
            window,
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
