//! Where the API and its reference differ, as tables.

use crate::{
    console::view::{
        Column, Explore, Markup, badge, code, escape, field_name, lookup_path, number, route_code, scroll,
        time::{Format, moment_of},
    },
    event::pseudonym::MASK,
    http::{catalog::Drift, privacy::Shown},
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

/// Events with a message: with the longest part of it that no value stands in and nothing is masked in, which is all of it where there are none.
fn searched(explore: Explore, message: &str, pattern: Option<&str>) -> Explore {
    let part = common_part(pattern.unwrap_or(message), message);
    if part.is_empty() { explore } else { explore.with("q", part) }
}

/// The longest part of a message that is in all messages of its pattern.
fn common_part<'m>(pattern: &'m str, message: &str) -> &'m str {
    let mut parts = vec![pattern];
    for variable in ["{n}", "{value}", MASK] {
        parts = parts.into_iter().flat_map(|part| part.split(variable)).collect();
    }
    // A masked value such as `[email]` has another form where it can be told from others: `[email:3f9a2c51d0be]`.
    let parts = parts
        .into_iter()
        .flat_map(|part| if message.contains(part) { vec![part] } else { part.split(['[', ']']).collect() });
    let parts = parts.map(str::trim).filter(|part| message.contains(part));
    parts.max_by_key(|part| part.len()).unwrap_or_default()
}

/// A message; of several that differ in a value alone, what they have in common, with one of them.
fn told(message: &str, pattern: Option<&str>, messages: usize, tag: &str) -> Markup {
    let tag = if tag.is_empty() { String::new() } else { format!(" <span class=\"tag\">{}</span>", escape(tag)) };
    match pattern {
        None => Markup::new(format!("{}{tag}", escape(message))),
        Some(pattern) => Markup::new(format!(
            "{}{tag}<span class=\"under\">{} different, such as: {}</span>",
            escape(pattern),
            number(messages as u64),
            escape(message)
        )),
    }
}

fn observed_only(drift: &Drift, explore: &Explore, looks_up: bool) -> Vec<Section> {
    let sample = |samples: &[String]| samples.first().map(|id| one_request(id, looks_up)).unwrap_or_default();
    let undocumented = &drift.undocumented;
    let fields = undocumented.fields.iter().map(|field| {
        let (message, pattern) = (field.message.as_str(), field.pattern.as_ref().map(Shown::as_str));
        let events = explore.clone().with("field", &field.field).with("route", &field.route);
        // Where several numbers or values are stated, there are several rules.
        let is_one = !["{n}", "{value}"].iter().any(|variable| field.rule.contains(variable));
        let events = if is_one { events.with("rule", &field.rule) } else { events };
        let events = searched(events, message, pattern);
        vec![
            code(field_name(&field.field)),
            told(message, pattern, field.messages, &field.rule),
            route_code(&field.route),
            events.number(field.count),
            seen(&field.last_seen),
            sample(&field.samples),
        ]
    });
    let errors = undocumented.errors.iter().map(|error| {
        let (message, pattern) = (error.error.as_str(), error.pattern.as_ref().map(Shown::as_str));
        let events = searched(explore.clone().with("status", error.status.to_string()), message, pattern);
        let words = if message.is_empty() { "no message" } else { message };
        vec![
            badge(error.status),
            told(words, pattern, error.errors, ""),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_masked_in_two_ways_is_left_out() {
        let message = "[email:3f9a2c51d0be] is no friend.";
        assert_eq!(common_part("[email] is no friend.", message), "is no friend.");
        assert_eq!(common_part(message, message), message);
        assert_eq!(common_part("{value} [a] b", "\"x\" [a] b"), "[a] b");
    }

    #[test]
    fn events_are_found_by_what_all_messages_have_in_common() {
        let told = |pattern, message| common_part(pattern, message);
        assert_eq!(told("{value} is not a valid choice.", "\"abc\" is not a valid choice."), "is not a valid choice.");
        assert_eq!(told("At {n} or more than {n}: no", "At 1 or more than 2: no"), "or more than");
        assert_eq!(told("… of 1512 sites", "… of 1512 sites"), "of 1512 sites");
        assert_eq!(told("{value}", "\"abc\""), "");
        assert_eq!(told("Two  lines {n}", "Two\nlines 5"), "", "white space is not as it was sent");
        assert_eq!(told("This field is required", "This field is required"), "This field is required");
    }
}
