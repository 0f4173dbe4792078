//! Where the API and its reference differ, as tables.

use crate::{
    console::view::{
        Column, Explore, Markup, badge, code, escape, field_name, lookup_path, route_code, scroll,
        time::{Format, moment_of},
    },
    event::pseudonym::MASK,
    http::catalog::Drift,
};

pub(super) struct DriftView {
    pub(super) is_undocumented: bool,
    /// Title, table; those that are not empty.
    pub(super) sections: Vec<(&'static str, Markup)>,
}

pub(super) fn undocumented(drift: &Drift) -> usize {
    drift.undocumented.statuses.len() + drift.undocumented.fields.len() + drift.undocumented.errors.len()
}

pub(super) fn unobserved(drift: &Drift) -> usize {
    drift.unobserved.statuses.len() + drift.unobserved.fields.len()
}

impl DriftView {
    pub(super) fn new(drift: &Drift, is_undocumented: bool, explore: &Explore, looks_up: bool) -> Self {
        let sections = if is_undocumented { observed_only(drift, explore, looks_up) } else { documented_only(drift) };
        let sections = sections.into_iter().filter(|(.., rows)| !rows.is_empty());
        Self {
            is_undocumented,
            sections: sections.map(|(title, columns, rows)| (title, scroll(title, columns, &rows))).collect(),
        }
    }
}

type Section = (&'static str, &'static [Column], Vec<Vec<Markup>>);

fn seen(text: &str) -> Markup {
    moment_of(text, Format::Minute)
}

/// A request, by the first characters of its id: a page of its own for those who may open it.
fn one_request(id: &str, looks_up: bool) -> Markup {
    const SHOWN: usize = 8;
    let short = escape(&id.chars().take(SHOWN).collect::<String>());
    if !looks_up {
        return Markup::new(format!("<code title=\"{}\">{short}…</code>", escape(id)));
    }
    Markup::new(format!("<a href=\"{}\" title=\"{}\"><code>{short}…</code></a>", escape(&lookup_path(id)), escape(id)))
}

/// A message as a filter, unless parts of it are masked.
fn searched(explore: Explore, message: &str) -> Explore {
    if message.contains(MASK) { explore } else { explore.with("q", message) }
}

fn observed_only(drift: &Drift, explore: &Explore, looks_up: bool) -> Vec<Section> {
    let sample = |samples: &[String]| samples.first().map(|id| one_request(id, looks_up)).unwrap_or_default();
    let undocumented = &drift.undocumented;
    let fields = undocumented.fields.iter().map(|field| {
        let events = explore.clone().with("field", &field.field).with("route", &field.route).with("rule", &field.rule);
        let events = searched(events, field.message.as_str());
        vec![
            code(field_name(&field.field)),
            Markup::new(format!(
                "{} <span class=\"tag\">{}</span>",
                escape(field.message.as_str()),
                escape(&field.rule)
            )),
            route_code(&field.route),
            events.number(field.count),
            seen(&field.last_seen),
            sample(&field.samples),
        ]
    });
    let errors = undocumented.errors.iter().map(|error| {
        let events = searched(explore.clone().with("status", error.status.to_string()), error.error.as_str());
        let words = if error.error.is_empty() { "no message" } else { error.error.as_str() };
        vec![
            badge(error.status),
            words.into(),
            events.number(error.events),
            seen(&error.last_seen),
            sample(&error.samples),
        ]
    });
    let statuses = undocumented.statuses.iter().map(|status| {
        vec![badge(status.status), explore.clone().with("status", status.status.to_string()).number(status.events)]
    });
    vec![
        (
            "Statuses that the reference does not name",
            &[Column::Row("Status"), Column::Number("Events")],
            statuses.collect(),
        ),
        (
            "Messages of fields that the reference does not have",
            &[
                Column::Row("Field"),
                Column::Text("Message"),
                Column::Text("Route"),
                Column::Number("Failures"),
                Column::Text("Last seen"),
                Column::Text("A request"),
            ],
            fields.collect(),
        ),
        (
            "General messages that their status does not list",
            &[
                Column::Row("Status"),
                Column::Text("Message"),
                Column::Number("Events"),
                Column::Text("Last seen"),
                Column::Text("A request"),
            ],
            errors.collect(),
        ),
    ]
}

fn documented_only(drift: &Drift) -> Vec<Section> {
    let statuses = drift.unobserved.statuses.iter();
    let statuses = statuses.map(|status| vec![badge(status.status), status.title.as_str().into()]);
    let fields = drift.unobserved.fields.iter().map(|field| {
        vec![
            code(&field.field),
            Markup::new(format!("{} <span class=\"tag\">{}</span>", escape(&field.message), escape(&field.rule))),
            field.module.as_str().into(),
            field.description.as_str().into(),
        ]
    });
    vec![
        ("Statuses that no event had", &[Column::Row("Status"), Column::Text("Title")], statuses.collect()),
        (
            "Messages that no event had",
            &[Column::Row("Field"), Column::Text("Message"), Column::Text("Module"), Column::Text("What it means")],
            fields.collect(),
        ),
    ]
}
