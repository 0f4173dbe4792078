//! What was observed and is not in the catalog: what differs in a value alone is one row.
//!
//! Each message is looked for in the catalog by itself, as it was sent, so an entry matches what it always matched. What is left is folded here:
//! messages of one route, field and rule, or general errors of one status, that have the same [pattern](rule::pattern) are one row with
//! their sum, the most frequent of them as an example, and the pattern, which can be put into a catalog.
//!
//! Nothing before this folds them. ClickHouse counts by whole messages, since exact entries are compared with those; what may be somebody's is masked
//! for who sees no people, and for nobody else, and numbers of fewer than six digits never are. Of general errors, templates are stored for
//! issues, but these are counted by their text for the same reason. What stays apart: a value that neither a quotation mark nor its form gives away
//! (`anna is taken`), and other words or punctuation. Of long messages only the first 512 bytes are compared.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet},
    sync::LazyLock,
};

use regex::Regex;
use serde::Serialize;
use utoipa::ToSchema;

use super::{Observed, Sum, entry_of, text};
use crate::{
    clock::rfc3339,
    event::{catalog::Catalog, pseudonym::MASK, rule, scrub::without_tokens},
    http::privacy::{Shown, Sight},
};

/// Observed, and not in the catalog.
#[derive(Debug, Default, Serialize, ToSchema)]
pub struct Undocumented {
    pub statuses: Vec<UndocumentedStatus>,
    /// Messages of fields, the most frequent first.
    pub fields: Vec<UndocumentedField>,
    /// General errors of events without field errors, the most frequent first.
    pub errors: Vec<UndocumentedError>,
}

/// A status that the catalog lacks.
#[derive(Debug, Serialize, ToSchema)]
pub struct UndocumentedStatus {
    pub status: u16,
    pub events: u64,
}

/// A message of a field that the catalog lacks, or several that differ in a value alone.
#[derive(Debug, Serialize, ToSchema)]
pub struct UndocumentedField {
    /// Of the route; absent where the route belongs to none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub module: Option<String>,
    pub route: String,
    pub field: String,
    /// With `{n}` where the messages state different numbers: `max_length({n})`.
    pub rule: String,
    /// Of several, the most frequent.
    pub message: Shown,
    /// What several messages have in common, as a catalog's messages have it: `{n}` for a number, `{value}` for another value. Absent where there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pattern: Option<Shown>,
    /// Different messages.
    pub messages: usize,
    /// Of all of them, as the other numbers.
    pub count: u64,
    pub first_seen: String,
    pub last_seen: String,
    pub samples: Vec<String>,
}

/// A general error that its status does not list, or several that differ in a value alone.
#[derive(Debug, Serialize, ToSchema)]
pub struct UndocumentedError {
    pub status: u16,
    /// Of several, the most frequent.
    pub error: Shown,
    /// What several errors have in common: `{n}` for a number, `{value}` for another value. Absent where there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pattern: Option<Shown>,
    /// Different errors.
    pub errors: usize,
    /// Of all of them, as the other numbers.
    pub events: u64,
    pub first_seen: String,
    pub last_seen: String,
    pub samples: Vec<String>,
}

impl Undocumented {
    pub(super) fn of(observed: &Observed, entries: &Catalog, sight: &Sight) -> Self {
        let statuses = observed.statuses.iter().filter(|(status, _)| entries.status(**status).is_none());
        let mut fields: BTreeMap<[String; 4], Fold> = BTreeMap::new();
        for row in observed.messages.iter().filter(|row| entry_of(row, entries).is_none()) {
            let message = sight.message(text(row, "message").to_owned()).to_string();
            let own_rule = text(row, "rule");
            let key = [
                text(row, "route").to_owned(),
                text(row, "field").to_owned(),
                rule::pattern(own_rule),
                pattern(&message),
            ];
            let fold = fields.entry(key).or_default();
            fold.sum.add(row);
            fold.add(row.count, message, own_rule);
        }
        let mut errors: BTreeMap<(u16, String), Fold> = BTreeMap::new();
        let undocumented = |status, error: &str| !entries.is_documented("", "", error, status);
        for error in observed.errors.iter().filter(|error| undocumented(error.status, &error.error)) {
            let message = sight.message(error.error.clone()).to_string();
            let fold = errors.entry((error.status, pattern(&message))).or_default();
            fold.sum.add_error(error);
            fold.add(error.events, message, "");
        }
        let mut undocumented = Self {
            statuses: statuses
                .map(|(status, events)| UndocumentedStatus { status: *status, events: *events })
                .collect(),
            fields: fields.into_iter().map(|(key, fold)| fold.field(key, entries, sight)).collect(),
            errors: errors.into_iter().map(|((status, pattern), fold)| fold.error(status, pattern, sight)).collect(),
        };
        undocumented.fields.sort_by_key(|field| Reverse(field.count));
        undocumented.errors.sort_by_key(|error| Reverse(error.events));
        undocumented
    }
}

/// What a message has in common with those that differ from it in a value alone. Where scrubbing leaves a keyed token in the place of an address or a
/// secret (`[email:3f9a2c51d0be]`), that is such a value too; and so is what is masked for who sees no people, in such a token as well.
fn pattern(message: &str) -> String {
    static MASKED_TOKEN: LazyLock<Option<Regex>> =
        LazyLock::new(|| Regex::new(r"\[([A-Za-z0-9_ -]+):[0-9a-f]*…[0-9a-f…]*\]").ok());
    let plain = without_tokens(message);
    let plain = match &*MASKED_TOKEN {
        Some(token) if plain.contains(MASK) => token.replace_all(&plain, "[$1]"),
        _ => plain.as_ref().into(),
    };
    rule::pattern(&plain).replace(MASK, "{value}")
}

/// Messages that differ in a value alone.
#[derive(Default)]
struct Fold {
    sum: Sum,
    /// How often each was observed. What is masked may be the same then.
    messages: BTreeMap<String, u64>,
    rules: BTreeSet<String>,
}

impl Fold {
    fn add(&mut self, count: u64, message: String, rule: &str) {
        *self.messages.entry(message).or_default() += count;
        self.rules.insert(rule.to_owned());
    }

    /// The most frequent message; of several, the first in order.
    fn example(&self) -> String {
        let most = self.messages.iter().max_by_key(|(message, count)| (**count, Reverse(*message)));
        most.map(|(message, _)| message.clone()).unwrap_or_default()
    }

    /// What the messages have in common, where there are several. They are masked already.
    fn pattern(&self, pattern: String, sight: &Sight) -> Option<Shown> {
        (self.messages.len() > 1).then(|| sight.plain(pattern))
    }

    fn field(self, [route, field, rules, pattern]: [String; 4], entries: &Catalog, sight: &Sight) -> UndocumentedField {
        let (first_ms, last_ms) = self.sum.seen_ms.unwrap_or_default();
        let rule = if self.rules.len() > 1 { rules } else { self.rules.first().cloned().unwrap_or_default() };
        UndocumentedField {
            module: entries.module_of(&route).map(|module| module.name.clone()),
            route,
            field,
            rule,
            message: sight.plain(self.example()),
            pattern: self.pattern(pattern, sight),
            messages: self.messages.len(),
            count: self.sum.count,
            first_seen: rfc3339(first_ms),
            last_seen: rfc3339(last_ms),
            samples: self.sum.samples,
        }
    }

    fn error(self, status: u16, pattern: String, sight: &Sight) -> UndocumentedError {
        let (first_ms, last_ms) = self.sum.seen_ms.unwrap_or_default();
        UndocumentedError {
            status,
            error: sight.plain(self.example()),
            pattern: self.pattern(pattern, sight),
            errors: self.messages.len(),
            events: self.sum.count,
            first_seen: rfc3339(first_ms),
            last_seen: rfc3339(last_ms),
            samples: self.sum.samples,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_scrubbing_and_masking_leave_is_a_value() {
        for message in
            ["[email:3f9a2c51d0be] is taken", "[email:3f9…e] is taken", "[email:…] is taken", "[email] is taken"]
        {
            assert_eq!(pattern(message), "[email] is taken", "{message}");
        }
        assert_eq!(pattern("\u{2026} is no choice"), pattern("\"a\" is no choice"));
        assert_eq!(pattern("[row:1] is empty"), "[row:{n}] is empty");
    }
}
