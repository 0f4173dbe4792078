//! Explaining an event in the catalog's words.

use serde::Serialize;
use utoipa::ToSchema;

use super::{
    Catalog, MessageEntry,
    lookup::field_name,
    template::{clean, fill},
};
use crate::event::{Event, FieldError, rule};

/// Most fields named in a headline.
const MAX_NAMED: usize = 3;
/// Longest field name in a headline, in characters.
const MAX_FIELD: usize = 80;

/// What an event means: the part of a lookup's answer that is read first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct Explanation {
    /// One plain sentence without a full stop.
    pub headline: String,
    pub status: StatusExplanation,
    /// The general message; absent when the event has none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<ErrorExplanation>,
    /// One for each field error of the event, in its order.
    pub fields: Vec<FieldExplanation>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scenario: Option<ScenarioExplanation>,
    /// Whether the reference documents the whole: status and field errors, or status and general message.
    pub documented: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct StatusExplanation {
    pub code: u16,
    pub title: String,
    pub meaning: String,
    pub causes: Vec<String>,
    pub solution: String,
    /// Whether the reference has the status; else the text is Errata's own.
    pub documented: bool,
}

/// What the general message (`error`) says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct ErrorExplanation {
    pub message: String,
    /// Absent when the message states no known rule.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rule: Option<String>,
    pub documented: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub solution: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct FieldExplanation {
    /// Empty for an error of no field; the same for `path`.
    pub field: String,
    pub path: String,
    pub message: String,
    pub rule: String,
    /// Whether the reference documents the message for the module of the route.
    pub documented: bool,
    /// The reference's words, absent when no module documents the message.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cause: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub solution: Option<String>,
    /// The module whose entry the words are from; not the route's own when `documented` is false.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub module: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct ScenarioExplanation {
    pub title: String,
    pub solution: String,
}

/// A field error as explained, and the sentences that are used elsewhere.
pub(super) struct Worded {
    pub(super) explanation: FieldExplanation,
    pub(super) headline: String,
    pub(super) customer: String,
    /// The catalog has words for this very message, not only for its rule.
    pub(super) own_words: bool,
}

impl Catalog {
    /// Explains an event; there is an explanation for every event, documented or not.
    #[must_use]
    pub fn explain(&self, event: &Event) -> Explanation {
        let (status, status_headline) = self.explain_status(event.status);
        let worded: Vec<_> = event.errors.iter().map(|error| self.word(&event.route, error)).collect();
        let message = self.message_of(&event.error);
        let headline = headline(event.status, status_headline, message, &worded);
        let scenario = self.scenario(event.status, &event.error, &event.response_headers);
        let fields: Vec<_> = worded.into_iter().map(|worded| worded.explanation).collect();
        let error = self.explain_error(event, message);
        let documented = status.documented
            && match (&error, fields.is_empty()) {
                (_, false) => fields.iter().all(|field| field.documented),
                (Some(error), true) => error.documented,
                (None, true) => true,
            };
        Explanation {
            headline,
            status,
            error,
            fields,
            scenario: scenario.map(|it| ScenarioExplanation { title: it.title.clone(), solution: it.solution.clone() }),
            documented,
        }
    }

    /// What [`Catalog::explain`] says first of an event with these parts.
    #[must_use]
    pub fn headline(&self, route: &str, status: u16, error: &str, errors: &[FieldError]) -> String {
        let worded: Vec<_> = errors.iter().map(|error| self.word(route, error)).collect();
        headline(status, self.explain_status(status).1, self.message_of(error), &worded)
    }

    fn message_of(&self, error: &str) -> Option<&MessageEntry> {
        self.message_entry("", error).filter(|_| !error.is_empty())
    }

    /// The status in the reference's words, else in Errata's own, and its headline.
    fn explain_status(&self, code: u16) -> (StatusExplanation, String) {
        let documented = self.status(code);
        if let Some(entry) = documented.or_else(|| Self::generic().status(code)) {
            let status = StatusExplanation {
                code,
                title: entry.title.clone(),
                meaning: entry.meaning.clone(),
                causes: entry.causes.clone(),
                solution: entry.solution.clone(),
                documented: documented.is_some(),
            };
            return (status, entry.headline.clone());
        }
        let (title, meaning, solution) = if code >= 500 {
            ("Server Error", "The server failed (a status of its own kind)", "Look at the service at that time.")
        } else {
            (
                "Client Error",
                "The server refused the request (a status of its own kind)",
                "Read the message in the answer; the API's own documentation says what this status means.",
            )
        };
        let status = StatusExplanation {
            code,
            title: title.to_owned(),
            meaning: meaning.to_owned(),
            causes: Vec::new(),
            solution: solution.to_owned(),
            documented: false,
        };
        let headline = if code >= 500 { "The server failed" } else { "The server refused the request" };
        (status, format!("{headline} with status {code}"))
    }

    fn explain_error(&self, event: &Event, message: Option<&MessageEntry>) -> Option<ErrorExplanation> {
        (!event.error.is_empty()).then(|| ErrorExplanation {
            message: event.error.clone(),
            rule: Some(self.rule_now("", &event.error, &event.code)).filter(|rule| rule != "other"),
            documented: self.is_documented(&event.route, "", &event.error, event.status),
            solution: message.map(|entry| fill(&entry.solution, "", &entry.rule)).filter(|text| !text.is_empty()),
        })
    }

    /// Words a field error: by its documented entry, that of another module, a mapping's own words, or its rule.
    pub(super) fn word(&self, route: &str, error: &FieldError) -> Worded {
        let rule = self.rule_of(error);
        let field = field_name(&error.field);
        let path = if error.path.is_empty() { field } else { field_name(&error.path) };
        let generic = self.rule_entry(&rule);
        let generic_words = |pick: fn(&super::RuleEntry) -> &String| generic.map_or("", |entry| pick(entry).as_str());
        let or_generic =
            |own: &str, other: &str, name: &str| fill(if own.is_empty() { other } else { own }, name, &rule);
        let entry = self.field_entry(route, field, &error.message);
        let documented = entry.is_some();
        let mut explanation = FieldExplanation {
            field: error.field.clone(),
            path: path.to_owned(),
            message: error.message.clone(),
            documented,
            description: None,
            cause: None,
            solution: None,
            module: None,
            rule: rule.clone(),
        };
        if let Some(entry) = entry.or_else(|| self.field_entry_of_any_module(field, &error.message)) {
            explanation.description = Some(entry.description.clone());
            explanation.cause = Some(fill(&entry.cause, field, &rule));
            explanation.solution = Some(fill(&entry.solution, field, &rule));
            explanation.module = Some(entry.module.clone());
            let headline = or_generic(&entry.headline, generic_words(|it| &it.headline), field);
            return Worded { explanation, headline, customer: fill(&entry.customer, path, &rule), own_words: true };
        }
        let (headline, solution, customer) = self
            .message_entry(field, &error.message)
            .map_or(("", "", ""), |it| (it.headline.as_str(), it.solution.as_str(), it.customer.as_str()));
        explanation.cause =
            Some(or_generic("", generic_words(|it| &it.explanation), field)).filter(|it| !it.is_empty());
        explanation.solution =
            Some(or_generic(solution, generic_words(|it| &it.solution), field)).filter(|it| !it.is_empty());
        Worded {
            explanation,
            headline: or_generic(headline, generic_words(|it| &it.headline), field),
            customer: or_generic(customer, generic_words(|it| &it.customer), path),
            own_words: !customer.is_empty(),
        }
    }

    /// The rule stored with the event; where none was understood then, the one that is understood now.
    fn rule_of(&self, error: &FieldError) -> String {
        match error.rule.as_str() {
            "" | "other" => self.rule_now(&error.field, &error.message, ""),
            rule => rule.to_owned(),
        }
    }

    fn rule_now(&self, field: &str, message: &str, code: &str) -> String {
        self.rule_for(field, message).unwrap_or_else(|| rule::of(message, code)).into_owned()
    }
}

/// Of a server's failure, that of its status; else of its field errors, else of its general message.
fn headline(status: u16, of_status: String, message: Option<&MessageEntry>, worded: &[Worded]) -> String {
    if status >= 500 {
        of_status
    } else if worded.is_empty() {
        message.map(headline_of).filter(|headline| !headline.is_empty()).unwrap_or(of_status)
    } else {
        headline_of_fields(worded)
    }
}

fn headline_of(message: &MessageEntry) -> String {
    fill(&message.headline, "", &message.rule)
}

/// One failure: its own headline. Only missing fields: their names. Else the first and how many more.
fn headline_of_fields(worded: &[Worded]) -> String {
    let [first, others @ ..] = worded else { return String::new() };
    if others.is_empty() {
        return first.headline.clone();
    }
    let all_missing = worded.iter().all(|it| it.explanation.rule == "required" && !it.explanation.field.is_empty());
    let mut names: Vec<_> = worded.iter().map(|it| it.explanation.field.as_str()).collect();
    names.dedup();
    if all_missing && names.len() > 1 {
        let listed = names.iter().take(MAX_NAMED).map(|name| clean(name, MAX_FIELD)).collect::<Vec<_>>().join(", ");
        let more = names.len().saturating_sub(MAX_NAMED);
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        return format!("Required values are missing: {listed}{more}");
    }
    let problems = if others.len() == 1 { "problem" } else { "problems" };
    format!("{} (and {} more {problems})", first.headline, others.len())
}
