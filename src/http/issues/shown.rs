//! Issues as answers show them.

use std::collections::BTreeMap;

use serde::Serialize;
use utoipa::ToSchema;

use crate::{
    clock::rfc3339,
    event::{
        FieldError,
        catalog::{Catalog, Explanation},
        fingerprint::frame::Frame,
    },
    http::{privacy::Sight, stored::StoredEvent},
    issues::{Escalation, Issue},
    state::Resolution,
    store::query::{IssueRelease, NamedCount},
};

/// A page of issues.
#[derive(Debug, Serialize, ToSchema)]
pub struct Issues {
    pub from: String,
    /// The moment of the states.
    pub to: String,
    /// Issues that fit, on all pages. Of more than 200,000 seen in the range, the 200,000 seen last are looked at.
    pub issues_in_all: usize,
    /// How many there are of each state, whatever `state` was asked for.
    #[schema(value_type = BTreeMap<String, usize>)]
    pub by_state: BTreeMap<&'static str, usize>,
    pub issues: Vec<IssueRow>,
    /// `cursor` of the next page; absent on the last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_cursor: Option<String>,
}

/// A kind of error.
#[derive(Debug, Serialize, ToSchema)]
pub struct IssueRow {
    /// 16 hex digits: the filter `fingerprint` of `GET /api/v1/events` finds its events.
    pub fingerprint: String,
    /// `regressed`, `escalating`, `new`, `ongoing`, `resolved`.
    pub state: &'static str,
    /// In plain words.
    pub title: String,
    pub service: String,
    /// Of its newest event in the range; empty without one, or where none was shipped.
    pub method: String,
    pub route: String,
    pub status: u16,
    /// The error, with `{n}`, `{value}` … for what varies.
    pub error_template: String,
    /// The fields and the rules they broke.
    pub fields: Vec<IssueField>,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub exception_type: String,
    /// The first event ever, whether it is still stored or not.
    pub first_seen: String,
    /// The last event before the end of the range.
    pub last_seen: String,
    /// Events in the range.
    pub count: u64,
    /// Accounts that had it in the range; events without an account count as none.
    pub accounts: u64,
    pub trend: IssueTrend,
    /// The release of the first event that named one, and of the last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub first_release: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_release: Option<String>,
    /// Request ids of the range: of the last event in each of the five latest hours that had one, the newest first.
    pub samples: Vec<String>,
    /// Why it escalates; absent where it does not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub escalation: Option<IssueEscalation>,
    /// Absent where nobody has resolved it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resolved: Option<IssueResolution>,
}

/// A field and the rule it broke.
#[derive(Debug, Serialize, ToSchema)]
pub struct IssueField {
    /// `items[].sku`; empty for an error of no field.
    pub field: String,
    pub rule: String,
}

/// Events over the range.
#[derive(Debug, Serialize, ToSchema)]
pub struct IssueTrend {
    /// Begin of the first step.
    pub from: String,
    /// Seconds.
    pub step: i64,
    /// Of each step, zeros included.
    pub events: Vec<u64>,
}

/// The last hour against the hours of the week before.
#[derive(Debug, Serialize, ToSchema)]
pub struct IssueEscalation {
    pub last_hour: u64,
    /// More than this is an escalation: 8 deviations over the median, and twice the 95th percentile.
    pub threshold: f64,
    /// Events an hour usually.
    pub median: f64,
    /// 95 of 100 hours have no more.
    pub high: f64,
}

/// That somebody has resolved it.
#[derive(Debug, Serialize, ToSchema)]
pub struct IssueResolution {
    pub at: String,
    /// Name of the token.
    pub by: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub comment: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub in_release: String,
}

/// One issue, with more.
#[derive(Debug, Serialize, ToSchema)]
pub struct IssueDetail {
    pub issue: IssueRow,
    /// Our own code's topmost frame, by the newest event's stack trace: `save in billing/views.py`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub top_frame: Option<String>,
    /// Since it was first seen, as far as hours are stored; the one seen last first.
    pub releases: Vec<SeenRelease>,
    /// In the range, the one with most events first.
    pub environments: Vec<EventsOf>,
    /// The ten with most events in the range; absent for tokens that see no accounts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub top_accounts: Option<Vec<EventsOf>>,
    /// The newest event; absent when it has expired.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub newest: Option<StoredEvent>,
    /// What the error catalog says of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub explanation: Option<Explanation>,
}

/// When a release had it.
#[derive(Debug, Serialize, ToSchema)]
pub struct SeenRelease {
    /// Empty: events that name none.
    pub release: String,
    pub count: u64,
    /// To the hour.
    pub first_seen: String,
    pub last_seen: String,
}

/// Events by a name.
#[derive(Debug, Serialize, ToSchema)]
pub struct EventsOf {
    pub name: String,
    pub count: u64,
}

pub(super) fn row(issue: Issue, catalog: &Catalog) -> IssueRow {
    let title = title(&issue, catalog);
    let named = || issue.releases.iter().filter(|release| !release.release.is_empty());
    let first_release =
        named().min_by_key(|release| (release.first_ms, release.last_ms)).map(|release| release.release.clone());
    let last_release = named().max_by_key(|release| release.last_ms).map(|release| release.release.clone());
    let fields = issue.kind.fields.into_iter().zip(issue.kind.rules);
    IssueRow {
        fingerprint: format!("{:016x}", issue.kind.fingerprint),
        state: issue.state.as_str(),
        title,
        service: issue.kind.service,
        method: issue.samples.method,
        route: issue.kind.route,
        status: issue.kind.status,
        error_template: issue.kind.error_template,
        fields: fields.map(|(field, rule)| IssueField { field, rule }).collect(),
        exception_type: issue.kind.exception_type,
        first_seen: rfc3339(issue.first_ms),
        last_seen: rfc3339(issue.last_ms),
        count: issue.events,
        accounts: issue.accounts,
        trend: IssueTrend {
            from: rfc3339(issue.trend.from_ms),
            step: issue.trend.step_ms / 1000,
            events: issue.trend.events,
        },
        first_release,
        last_release,
        samples: issue.samples.request_ids,
        escalation: issue.escalation.map(IssueEscalation::from),
        resolved: issue.resolution.map(IssueResolution::from),
    }
}

impl Sight {
    /// An issue as the asker sees it. Whose ids an error's text may hold is not known of a kind of error, so who may not see people gets the
    /// texts that the reference documents, and of others what kind they are.
    pub(super) fn issue(&self, issue: IssueRow, catalog: &Catalog) -> IssueRow {
        if self.sees_people() || catalog.states(&issue.error_template, issue.status) {
            return issue;
        }
        let title = issue.title.strip_suffix(&issue.error_template).unwrap_or(&issue.title);
        let title = self.message(title.trim_end_matches([':', ' ']).to_owned()).to_string();
        IssueRow { title, error_template: String::new(), ..issue }
    }
}

/// The headline that a lookup of its newest event has; of a server's failure, with what tells it from others.
fn title(issue: &Issue, catalog: &Catalog) -> String {
    let kind = &issue.kind;
    let error = |field: &str, message: &str, rule: &str| FieldError {
        field: field.to_owned(),
        path: field.to_owned(),
        message: message.to_owned(),
        rule: rule.to_owned(),
    };
    let samples = &issue.samples;
    let errors: Vec<_> = if samples.request_ids.is_empty() {
        kind.fields.iter().zip(&kind.rules).map(|(field, rule)| error(field, "", rule)).collect()
    } else {
        let rows = samples.fields.iter().zip(&samples.messages).zip(&samples.rules);
        rows.map(|((field, message), rule)| error(field, message, rule)).collect()
    };
    let message = if samples.error.is_empty() { &kind.error_template } else { &samples.error };
    let headline = catalog.headline(&kind.route, kind.status, message, &errors);
    let told = [&kind.exception_type, &kind.error_template].into_iter().find(|text| !text.is_empty());
    match told.filter(|_| kind.status >= 500) {
        Some(told) => format!("{headline}: {told}"),
        None => headline,
    }
}

pub(super) struct More {
    pub frame: Option<Frame>,
    pub environments: Vec<NamedCount>,
    pub accounts: Option<Vec<NamedCount>>,
    pub newest: Option<StoredEvent>,
    pub explanation: Option<Explanation>,
}

pub(super) fn detail(issue: Issue, catalog: &Catalog, more: More) -> IssueDetail {
    let releases = issue.releases.iter().map(SeenRelease::from).collect();
    let named = |counts: Vec<NamedCount>| counts.into_iter().map(EventsOf::from).collect();
    IssueDetail {
        issue: row(issue, catalog),
        top_frame: more.frame.map(|frame| format!("{} in {}", frame.function, frame.file)),
        releases,
        environments: named(more.environments),
        top_accounts: more.accounts.map(named),
        newest: more.newest,
        explanation: more.explanation,
    }
}

impl From<Escalation> for IssueEscalation {
    fn from(escalation: Escalation) -> Self {
        let Escalation { last_hour, usual, threshold } = escalation;
        Self { last_hour, threshold, median: usual.median, high: usual.high }
    }
}

impl From<Resolution> for IssueResolution {
    fn from(resolution: Resolution) -> Self {
        let Resolution { at_ms, by, comment, in_release, .. } = resolution;
        Self { at: rfc3339(at_ms), by, comment, in_release }
    }
}

impl From<&IssueRelease> for SeenRelease {
    fn from(seen: &IssueRelease) -> Self {
        Self {
            release: seen.release.clone(),
            count: seen.events,
            first_seen: rfc3339(seen.first_ms),
            last_seen: rfc3339(seen.last_ms),
        }
    }
}

impl From<NamedCount> for EventsOf {
    fn from(count: NamedCount) -> Self {
        Self { name: count.name, count: count.events }
    }
}
