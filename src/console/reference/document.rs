//! The catalog's entries as sections and tables.

use crate::{
    console::view::{Column, Explore, Markup, badge, escape, number, plural, scroll},
    event::catalog::{Practice, PracticeKind},
    http::catalog::{CatalogAnswer, FieldSeen, StatusSeen},
};

pub(super) struct Document {
    pub(super) statuses: Vec<StatusView>,
    pub(super) modules: Vec<ModuleView>,
    pub(super) scenarios: Vec<ScenarioView>,
    pub(super) practices: Vec<PracticeView>,
    pub(super) tips: Vec<String>,
}

pub(super) struct StatusView {
    pub(super) anchor: String,
    pub(super) badge: Markup,
    pub(super) title: String,
    pub(super) meaning: String,
    pub(super) errors: Vec<String>,
    pub(super) causes: Vec<String>,
    pub(super) headers: Vec<(String, String)>,
    pub(super) solution: Markup,
    pub(super) count: Markup,
}

pub(super) struct ModuleView {
    pub(super) anchor: String,
    pub(super) title: String,
    pub(super) routes: Vec<String>,
    pub(super) table: Markup,
}

pub(super) struct ScenarioView {
    pub(super) badge: Markup,
    pub(super) title: String,
    pub(super) solution: Markup,
}

pub(super) struct PracticeView {
    pub(super) title: String,
    pub(super) text: Markup,
    pub(super) code: String,
}

impl Document {
    pub(super) fn new(answer: &CatalogAnswer, explore: &Explore) -> Self {
        let modules = answer.modules.iter().map(|module| {
            let fields = answer.fields.iter().filter(|field| field.entry.module == module.name);
            let rows: Vec<_> = fields.map(|field| cells(field, explore)).collect();
            ModuleView {
                anchor: anchor("module", &module.name),
                title: module.title.clone(),
                routes: module.routes.clone(),
                table: if rows.is_empty() { Markup::default() } else { table(&module.title, &rows) },
            }
        });
        let practices = |kind: PracticeKind| answer.practices.iter().filter(move |practice| practice.kind == kind);
        Self {
            statuses: answer.statuses.iter().map(|status| StatusView::new(status, explore)).collect(),
            modules: modules.filter(|module| !module.table.is_empty()).collect(),
            scenarios: answer
                .scenarios
                .iter()
                .map(|scenario| ScenarioView {
                    badge: badge(scenario.status),
                    title: scenario.title.clone(),
                    solution: prose(&scenario.solution),
                })
                .collect(),
            practices: practices(PracticeKind::Practice).map(PracticeView::new).collect(),
            tips: practices(PracticeKind::Tip).map(|tip| tip.text.clone()).collect(),
        }
    }
}

impl StatusView {
    fn new(StatusSeen { entry, events }: &StatusSeen, explore: &Explore) -> Self {
        let link = explore.clone().with("status", entry.code.to_string());
        let count = match (entry.code, events) {
            // Successes are no events.
            (..400, _) => Markup::default(),
            (_, 0) => seen_never(),
            (_, events) => link.text(&plural(*events, "event", "events")),
        };
        Self {
            anchor: format!("status-{}", entry.code),
            badge: status_badge(entry.code),
            title: entry.title.clone(),
            meaning: entry.meaning.clone(),
            errors: entry.errors.clone(),
            causes: entry.causes.clone(),
            headers: entry.headers.iter().map(|header| (header.name.clone(), header.meaning.clone())).collect(),
            solution: prose(&entry.solution),
            count,
        }
    }
}

impl PracticeView {
    fn new(practice: &Practice) -> Self {
        Self { title: practice.title.clone(), text: prose(&practice.text), code: practice.code.clone() }
    }
}

/// A status; a success has a colour of its own.
fn status_badge(code: u16) -> Markup {
    if code < 400 { Markup::new(format!("<span class=\"badge good\"><b>{code}</b></span>")) } else { badge(code) }
}

/// A text in which backticks mean what they do in Markdown.
fn prose(text: &str) -> Markup {
    let parts: Vec<String> = text.split('`').map(escape).collect();
    let mut html = String::with_capacity(text.len() * 2);
    for (index, part) in parts.iter().enumerate() {
        // An odd backtick at the end is itself.
        let (open, close) = match (index % 2 == 1, index + 1 < parts.len()) {
            (true, true) => ("<code>", "</code>"),
            (true, false) => ("`", ""),
            (false, _) => ("", ""),
        };
        html.extend([open, part.as_str(), close]);
    }
    Markup::new(html)
}

fn seen_never() -> Markup {
    Markup::new("<span class=\"faint\">not observed</span>".to_owned())
}

fn table(title: &str, rows: &[Vec<Markup>]) -> Markup {
    const COLUMNS: [Column; 5] = [
        Column::Row("Field"),
        Column::Text("Message"),
        Column::Text("What it means"),
        Column::Text("What to do"),
        Column::Number("Observed"),
    ];
    scroll(&format!("Messages of {title}"), &COLUMNS, rows)
}

fn cells(field: &FieldSeen, explore: &Explore) -> Vec<Markup> {
    let entry = field.entry;
    let names: Vec<_> = entry.fields.iter().map(|name| format!("<code>{}</code>", escape(name))).collect();
    let count = if field.seen.count == 0 { seen_never() } else { observed(field, explore) };
    vec![
        Markup::new(names.join(", ")),
        Markup::new(format!("{} <span class=\"tag\">{}</span>", escape(&entry.message), escape(&entry.rule))),
        entry.description.as_str().into(),
        prose(&entry.solution),
        count,
    ]
}

/// How often a message was observed, and where to look for it. No filter asks for a module's routes and a message as it is: the link, which has its fields
/// and its text, may find more.
fn observed(field: &FieldSeen, explore: &Explore) -> Markup {
    let entry = field.entry;
    let events = entry.fields.iter().fold(explore.clone(), |events, name| events.with("field", name));
    let events = if entry.message.contains('{') {
        events.with("rule", &entry.rule)
    } else {
        events.with("q", entry.message.trim_end_matches('.'))
    };
    Markup::new(format!("{} {}", escape(&number(field.seen.count)), events.text("look")))
}

fn anchor(kind: &str, name: &str) -> String {
    let plain: String = name.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect();
    format!("{kind}-{plain}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn backticks_are_code_and_nothing_breaks_out() {
        assert_eq!(prose("Send `a<b>` & `c`.").as_str(), "Send <code>a&lt;b&gt;</code> &amp; <code>c</code>.");
        assert_eq!(prose("one ` alone").as_str(), "one ` alone");
    }
}
