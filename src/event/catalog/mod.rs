//! The error catalog: what the API's published reference says of each error, as data.
//!
//! A catalog is a TOML text (format: `docs/catalog.md`). [`Catalog::builtin`] is the IGNY8 reference; a user's own takes
//! its place. Behind whichever is loaded stands a second, generic one (`catalog/generic.toml`): standard status codes,
//! wording per rule and messages of frameworks. The generic one explains what the reference does not describe, and
//! nothing it explains counts as documented.
//!
//! What "documented" means, decided once for lookups, statistics and drift:
//!
//! - A field message is documented *for its module*. The module is found by the longest route prefix; a route of no
//!   module matches the entries of any module.
//! - Messages are compared without case, surrounding white space and trailing periods.
//! - A field of a list's rows (`items[].sku`) is first looked up by its whole path, then by its last segment, because a
//!   bulk request's rows are the same resource. A field of a nested object (`meta.title`) is only itself.
//! - An error of no field is documented when its status lists the message under `errors`.
//! - An event is documented when its status is, and its field errors are (or, without any, its general message is).

mod check;
mod explain;
mod lookup;
mod markdown;
mod message;
mod parse;
mod reader;
mod reply;
mod template;

#[cfg(test)]
mod tests;

use std::sync::LazyLock;

use serde::Serialize;
use utoipa::ToSchema;

pub use explain::{ErrorExplanation, Explanation, FieldExplanation, ScenarioExplanation, StatusExplanation};
pub use message::normalise;
pub use reader::Problem;
pub use template::{Arguments, RULES};

use lookup::Index;
use message::Text;

/// Longest text of a catalog entry, in characters.
pub const MAX_TEXT: usize = 4000;

static BUILTIN: LazyLock<Catalog> =
    LazyLock::new(|| shipped("catalog/igny8.toml", include_str!("../../../catalog/igny8.toml")));
static GENERIC: LazyLock<Catalog> =
    LazyLock::new(|| shipped("catalog/generic.toml", include_str!("../../../catalog/generic.toml")));

fn shipped(name: &str, text: &str) -> Catalog {
    // A test parses both; only a build that skipped its tests could get here.
    Catalog::parse(text).unwrap_or_else(|problems| unreachable!("{name} is valid: {problems:?}"))
}

/// A loaded and validated catalog. The default is empty: everything is then explained generically.
#[derive(Debug, Default)]
pub struct Catalog {
    api: Api,
    modules: Vec<Module>,
    statuses: Vec<StatusEntry>,
    fields: Vec<FieldEntry>,
    scenarios: Vec<ScenarioEntry>,
    rules: Vec<RuleEntry>,
    messages: Vec<MessageEntry>,
    practices: Vec<Practice>,
    index: Index,
}

/// Which API, and which edition of its reference, the catalog describes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, ToSchema)]
pub struct Api {
    pub name: String,
    pub version: String,
    /// Where the facts come from; may be empty.
    pub source: String,
}

/// A part of the API with documented field messages of its own.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct Module {
    pub name: String,
    pub title: String,
    /// Route prefixes; the longest that fits decides.
    pub routes: Vec<String>,
}

/// What the reference says of a status code.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct StatusEntry {
    pub code: u16,
    pub title: String,
    pub meaning: String,
    /// What a successful answer holds; empty for errors.
    pub response: String,
    /// General messages (`error`) the reference shows for the status.
    pub errors: Vec<String>,
    pub causes: Vec<String>,
    pub headers: Vec<HeaderEntry>,
    /// Plain-language headline; the meaning when the entry has none.
    pub headline: String,
    /// Empty for a success.
    pub solution: String,
    /// What a customer may be told; empty for a success.
    pub customer: String,
}

/// A response header that a status documents.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct HeaderEntry {
    pub name: String,
    pub meaning: String,
}

/// A documented message of a field.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct FieldEntry {
    pub module: String,
    /// The field's names, the documented one first.
    pub fields: Vec<String>,
    /// The message as documented; `{n}` and `{value}` stand for variable parts.
    pub message: String,
    pub description: String,
    pub rule: String,
    /// Empty when the rule's own headline is to be used.
    pub headline: String,
    pub cause: String,
    pub solution: String,
    pub customer: String,
    #[serde(skip)]
    matcher: Text,
}

/// A common error scenario and its solution.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct ScenarioEntry {
    pub title: String,
    pub status: u16,
    /// General messages, one of which the event must have; any when empty.
    pub errors: Vec<String>,
    /// Response headers, all of which the event must have (lower case).
    pub headers: Vec<String>,
    pub solution: String,
    /// Empty when the status's own wording is to be used.
    pub customer: String,
    #[serde(skip)]
    matchers: Vec<Text>,
}

/// Generic wording of a rule, for fields without an entry; `{field}` and `{argument}` are filled in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct RuleEntry {
    pub name: String,
    pub headline: String,
    pub explanation: String,
    pub solution: String,
    pub customer: String,
}

/// Maps a message to a rule, so that rewording keeps history; may bring wording of its own.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct MessageEntry {
    /// As written: exact, or with `{n}` and `{value}` for variable parts.
    pub message: String,
    /// The only field the mapping is for; empty: any field, and errors of no field.
    pub field: String,
    /// A rule; `{n}` in it is the number matched.
    pub rule: String,
    /// Empty when the rule's own wording is to be used; the same for the next two.
    pub headline: String,
    pub solution: String,
    pub customer: String,
    #[serde(skip)]
    matcher: Text,
}

/// Advice to those who write clients of the API.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct Practice {
    pub kind: PracticeKind,
    /// Empty for a tip.
    pub title: String,
    pub text: String,
    /// Example code; may be empty.
    pub code: String,
    /// Statuses the advice belongs to; empty: all.
    pub statuses: Vec<u16>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum PracticeKind {
    Practice,
    Tip,
}

impl Catalog {
    /// Parses and validates a catalog.
    ///
    /// # Errors
    /// Every problem with its line, in the order of the text. Syntax errors are reported alone, because what they
    /// garble would be reported as problems that are none.
    pub fn parse(text: &str) -> Result<Self, Vec<Problem>> {
        parse::parse(text)
    }

    /// The catalog of the IGNY8 API reference.
    #[must_use]
    pub fn builtin() -> &'static Self {
        &BUILTIN
    }

    /// What stands behind every catalog: standard statuses, rules and messages of frameworks; never documented.
    #[must_use]
    pub fn generic() -> &'static Self {
        &GENERIC
    }

    #[must_use]
    pub fn api(&self) -> &Api {
        &self.api
    }

    #[must_use]
    pub fn modules(&self) -> &[Module] {
        &self.modules
    }

    #[must_use]
    pub fn statuses(&self) -> &[StatusEntry] {
        &self.statuses
    }

    /// The documented field messages, in the catalog's order: one side of the drift report.
    #[must_use]
    pub fn fields(&self) -> &[FieldEntry] {
        &self.fields
    }

    #[must_use]
    pub fn scenarios(&self) -> &[ScenarioEntry] {
        &self.scenarios
    }

    #[must_use]
    pub fn rules(&self) -> &[RuleEntry] {
        &self.rules
    }

    #[must_use]
    pub fn messages(&self) -> &[MessageEntry] {
        &self.messages
    }

    #[must_use]
    pub fn practices(&self) -> &[Practice] {
        &self.practices
    }

    /// One line that says what the catalog holds, for `errata catalog check`.
    #[must_use]
    pub fn summary(&self) -> String {
        let count = |n: usize, one: &str, many: &str| format!("{n} {}", if n == 1 { one } else { many });
        format!(
            "{} {}: {}, {}, {}, {}, {}, {}, {}",
            self.api.name,
            self.api.version,
            count(self.statuses.len(), "status", "statuses"),
            count(self.modules.len(), "module", "modules"),
            count(self.fields.len(), "field message", "field messages"),
            count(self.scenarios.len(), "scenario", "scenarios"),
            count(self.rules.len(), "rule", "rules"),
            count(self.messages.len(), "message mapping", "message mappings"),
            count(self.practices.len(), "practice", "practices"),
        )
    }
}
