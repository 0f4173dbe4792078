//! The page of a request: what happened, what it means, whether it is only this customer, what to answer.

use askama::Template;

use super::{impact::ImpactView, limit::LimitView, timeline::Timeline};
use crate::{
    console::{
        Layout, Visit,
        view::{
            self, Explore, Markup,
            time::{Format, ago, moment},
        },
    },
    event::{
        Event,
        catalog::{Explanation, FieldExplanation},
        start_of,
    },
    http::{Shared, lookup::Request, privacy::Sight},
};

/// How much of the general error stands beside the status, bytes.
const SHORT_ERROR: usize = 60;

/// How far the link to an account's events looks to both sides, milliseconds.
const ACCOUNT_WINDOW_MS: i64 = 24 * 3_600_000;

#[derive(Template)]
#[template(path = "lookup/request.html")]
pub(super) struct RequestPage {
    layout: Layout,
    headline: String,
    badge: Markup,
    id: Markup,
    when: Markup,
    ago: Markup,
    /// `POST /api/v1/planner/keywords/`
    place: String,
    /// `igny8-api 2026.11.2 (staging)`
    service: String,
    /// Label and link.
    people: Vec<(&'static str, Markup)>,
    general: Option<General>,
    fields: Vec<FieldView>,
    scenario: Option<(String, String)>,
    impact: ImpactView,
    limit: Option<LimitView>,
    reply: String,
    /// This page's address, for others.
    link: String,
    trace: Option<String>,
    timeline: Timeline,
    exception: Option<ExceptionView>,
    headers: Vec<(&'static str, Vec<(String, String)>)>,
    raw: Vec<String>,
}

/// What the status and the general message mean, where no field says more.
struct General {
    message: String,
    rule: String,
    documented: bool,
    meaning: String,
    causes: Vec<String>,
    solution: String,
}

struct FieldView {
    name: String,
    message: String,
    rule: String,
    documented: bool,
    module: String,
    cause: String,
    solution: String,
    /// The events with the same field and rule on the same route.
    same: String,
}

struct ExceptionView {
    title: String,
    stacktrace: String,
}

pub(super) fn page(
    shared: &Shared,
    visit: &Visit,
    layout: Layout,
    found: &Request,
    (event, explanation): (&Event, &Explanation),
) -> RequestPage {
    let id = &event.request_id;
    let has_fields = !explanation.fields.is_empty();
    RequestPage {
        headline: explanation.headline.clone(),
        badge: view::badge_with(event.status, &short_error(event, explanation)),
        id: view::request(id.as_str()),
        when: moment(event.timestamp_ms, Format::Full),
        ago: ago(event.timestamp_ms, visit.now_ms),
        place: joined(" ", &[&event.method, if event.route.is_empty() { &event.path } else { &event.route }]),
        service: joined(" ", &[&event.service, &event.release, &environment(event)]),
        people: people(event),
        general: (!has_fields || event.status >= 500).then(|| general(event, explanation)),
        fields: explanation.fields.iter().map(|field| field_view(event, field)).collect(),
        scenario: explanation.scenario.as_ref().map(|it| (it.title.clone(), it.solution.clone())),
        impact: ImpactView::new(event, &found.impact, found.days.as_ref(), visit.now_ms),
        // A client with requests left has no limit to speak of.
        limit: found
            .rate_limit
            .as_ref()
            .filter(|limited| limited.is_closed)
            .map(|limited| LimitView::new(limited, visit.now_ms)),
        reply: found.customer_reply.clone(),
        link: format!("{}{}", shared.config.base_url(), view::lookup_path(id.as_str())),
        trace: shared.config.console.trace_link(&event.trace_id, event.timestamp_ms),
        timeline: Timeline::new(found),
        exception: event.exception.as_ref().map(|it| ExceptionView {
            title: joined(": ", &[&it.r#type, &it.message]),
            stacktrace: it.stacktrace.clone(),
        }),
        headers: [("Request", &event.request_headers), ("Response", &event.response_headers)]
            .into_iter()
            .filter(|(_, headers)| !headers.is_empty())
            .map(|(title, headers)| (title, headers.clone()))
            .collect(),
        raw: visit.session.iter().flat_map(|session| raw(shared, &shared.sight(&session.token), found)).collect(),
        layout,
    }
}

/// The general error, if it says more than the headline.
fn short_error(event: &Event, explanation: &Explanation) -> String {
    let line = event.error.lines().map(str::trim).find(|line| !line.is_empty()).unwrap_or_default();
    let says_more = line != explanation.headline && !line.starts_with("Traceback") && line != event.status.to_string();
    let text = if says_more { line } else { explanation.status.title.as_str() };
    let cut = start_of(text, SHORT_ERROR);
    if cut.len() < text.len() { format!("{cut} …") } else { cut.to_owned() }
}

/// Production goes without saying.
fn environment(event: &Event) -> String {
    match event.environment.as_str() {
        "" | "production" => String::new(),
        other => format!("({other})"),
    }
}

fn people(event: &Event) -> Vec<(&'static str, Markup)> {
    let around = || {
        Explore::between(
            event.timestamp_ms.saturating_sub(ACCOUNT_WINDOW_MS),
            event.timestamp_ms.saturating_add(ACCOUNT_WINDOW_MS),
        )
    };
    [("account", "account_id", &event.account_id), ("user", "user_id", &event.user_id)]
        .into_iter()
        .filter(|(_, _, value)| !value.is_empty())
        .map(|(label, filter, value)| (label, around().with(filter, value).text(value)))
        .collect()
}

fn general(event: &Event, explanation: &Explanation) -> General {
    let error = explanation.error.as_ref();
    let own = error.and_then(|error| error.solution.clone());
    General {
        message: event.error.clone(),
        rule: error.and_then(|error| error.rule.clone()).unwrap_or_default(),
        documented: error.map_or(explanation.status.documented, |error| error.documented),
        meaning: explanation.status.meaning.clone(),
        causes: explanation.status.causes.clone(),
        solution: own.unwrap_or_else(|| explanation.status.solution.clone()),
    }
}

fn field_view(event: &Event, field: &FieldExplanation) -> FieldView {
    let same = Explore::between(
        event.timestamp_ms.saturating_sub(7 * 86_400_000),
        event.timestamp_ms.saturating_add(3_600_000),
    );
    let same = same.with("route", &event.route).with("field", &field.field).with("rule", &field.rule);
    FieldView {
        name: view::field_name(&field.path).to_owned(),
        message: field.message.clone(),
        rule: field.rule.clone(),
        documented: field.documented,
        module: field.module.clone().unwrap_or_default(),
        cause: field.cause.clone().or_else(|| field.description.clone()).unwrap_or_default(),
        solution: field.solution.clone().unwrap_or_default(),
        same: same.path(),
    }
}

/// Everything that is stored of each event, as the API shows it.
fn raw(shared: &Shared, sight: &Sight, found: &Request) -> Vec<String> {
    let text = |event: &Event| {
        let stored = sight.event(event.clone(), shared.catalog);
        serde_json::to_string_pretty(&stored).unwrap_or_else(|error| format!("this event does not serialise: {error}"))
    };
    found.events.iter().map(text).collect()
}

/// The parts that are not empty.
fn joined(separator: &str, parts: &[&str]) -> String {
    let parts: Vec<_> = parts.iter().copied().filter(|part| !part.is_empty()).collect();
    parts.join(separator)
}
