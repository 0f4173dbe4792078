//! What must hold across a catalog's entries: nothing twice, nothing contradictory, every module known.

use std::collections::{HashMap, HashSet, hash_map::Entry as Slot};
use std::hash::Hash;

use super::{
    FieldEntry, MessageEntry, Module, Practice, RuleEntry, ScenarioEntry, StatusEntry,
    message::{Text, normalise},
    reader::{At, Reader},
};

pub(super) fn modules(reader: &Reader<'_>, modules: &[At<Module>], fields: &[At<FieldEntry>]) {
    let mut names = Seen::new(reader);
    let mut prefixes = Seen::new(reader);
    for module in modules {
        names.add(&module.value.name, module.at, || format!("module {:?}", module.value.name));
        for route in &module.value.routes {
            prefixes.add(route.trim_end_matches('/'), module.at, || format!("route prefix {route:?}"));
        }
    }
    let known: HashSet<_> = modules.iter().map(|module| module.value.name.as_str()).collect();
    for field in fields.iter().filter(|field| !field.value.module.is_empty()) {
        if !known.contains(field.value.module.as_str()) {
            reader.problem(field.at, format!("unknown module {:?}: add a [[module]] of this name", field.value.module));
        }
    }
}

pub(super) fn statuses(reader: &Reader<'_>, statuses: &[At<StatusEntry>]) {
    let mut codes = Seen::new(reader);
    for status in statuses.iter().filter(|status| status.value.code != 0) {
        codes.add(status.value.code, status.at, || format!("status {}", status.value.code));
    }
}

/// The same message of the same field is there once a module, and states the same rule in all of them: a message is
/// mapped to its rule without looking at the route.
pub(super) fn fields(reader: &Reader<'_>, fields: &[At<FieldEntry>]) {
    let mut entries = Seen::new(reader);
    let mut rules: HashMap<(&str, &str), (&str, usize)> = HashMap::new();
    for field in fields {
        let entry = &field.value;
        let message = entry.matcher.identity();
        for name in entry.fields.iter().map(String::as_str) {
            if message.is_empty() {
                continue;
            }
            let what = || format!("message {:?} of field {name:?} in module {:?}", entry.message, entry.module);
            entries.add((entry.module.as_str(), name, message), field.at, what);
            let &mut (rule, at) = rules.entry((name, message)).or_insert((&entry.rule, field.at));
            if rule != entry.rule {
                let line = reader.line(at);
                reader.problem(field.at, format!(
                    "message {:?} of field {name:?} states {:?}, but {rule:?} on line {line}: a message states one rule",
                    entry.message, entry.rule,
                ));
            }
        }
    }
}

pub(super) fn scenarios(reader: &Reader<'_>, scenarios: &[At<ScenarioEntry>]) {
    let mut titles = Seen::new(reader);
    let mut matches = Seen::new(reader);
    for scenario in scenarios {
        let entry = &scenario.value;
        titles.add(&entry.title, scenario.at, || format!("scenario {:?}", entry.title));
        let errors: Vec<_> = entry.matchers.iter().map(Text::identity).collect();
        matches.add((entry.status, errors, &entry.headers), scenario.at, || {
            format!("scenario with status {} and the same errors and headers", entry.status)
        });
    }
}

pub(super) fn rules(reader: &Reader<'_>, rules: &[At<RuleEntry>]) {
    let mut names = Seen::new(reader);
    for rule in rules {
        names.add(&rule.value.name, rule.at, || format!("rule {:?}", rule.value.name));
    }
}

pub(super) fn messages(reader: &Reader<'_>, messages: &[At<MessageEntry>]) {
    let mut texts = Seen::new(reader);
    for message in messages.iter().filter(|message| !message.value.message.is_empty()) {
        let entry = &message.value;
        texts.add((&entry.field, entry.matcher.identity()), message.at, || format!("message {:?}", entry.message));
    }
}

pub(super) fn practices(reader: &Reader<'_>, practices: &[At<Practice>]) {
    let mut texts = Seen::new(reader);
    for practice in practices.iter().filter(|practice| !practice.value.text.is_empty()) {
        texts.add(normalise(&practice.value.text), practice.at, || format!("practice {:?}", practice.value.text));
    }
}

/// What was seen, and where first.
struct Seen<'r, 't, K> {
    reader: &'r Reader<'t>,
    places: HashMap<K, usize>,
}

impl<'r, 't, K: Eq + Hash> Seen<'r, 't, K> {
    fn new(reader: &'r Reader<'t>) -> Self {
        Self { reader, places: HashMap::new() }
    }

    fn add(&mut self, key: K, at: usize, what: impl Fn() -> String) {
        match self.places.entry(key) {
            Slot::Vacant(slot) => {
                slot.insert(at);
            }
            Slot::Occupied(slot) => {
                let line = self.reader.line(*slot.get());
                self.reader.problem(at, format!("duplicate {}: it is on line {line} already", what()));
            }
        }
    }
}
