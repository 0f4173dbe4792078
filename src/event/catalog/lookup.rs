//! Finding entries: hash maps over normal forms, patterns after them.

use std::{
    borrow::Cow,
    collections::{BTreeSet, HashMap},
};

use super::{
    Catalog, FieldEntry, MessageEntry, Module, RuleEntry, ScenarioEntry, StatusEntry,
    message::{Text, normalise},
    template::split_rule,
};

/// Positions of entries by what they are looked up by.
#[derive(Debug, Default)]
pub(super) struct Index {
    statuses: HashMap<u16, usize>,
    /// Normal forms of the general messages a status lists.
    errors: HashMap<u16, Vec<String>>,
    rules: HashMap<String, usize>,
    /// By field name, then by message.
    fields: HashMap<String, Messages>,
    /// By field name; the empty name is for any field.
    messages: HashMap<String, Messages>,
    /// Prefix without its trailing slash and the module's position, longest first.
    prefixes: Vec<(String, usize)>,
}

/// Positions by message.
#[derive(Debug, Default)]
struct Messages {
    exact: HashMap<String, Vec<usize>>,
    /// In the order of the catalog.
    patterns: Vec<(Text, usize)>,
}

impl Messages {
    fn add(&mut self, text: &Text, position: usize) {
        match text {
            Text::Exact(normal) => self.exact.entry(normal.clone()).or_default().push(position),
            Text::Pattern(_) => self.patterns.push((text.clone(), position)),
        }
    }

    /// Exact entries, then patterns.
    fn find<'a>(&'a self, normal: &'a str) -> impl Iterator<Item = usize> + 'a {
        let patterns = self.patterns.iter().filter(move |(text, _)| text.matches(normal)).map(|(_, at)| *at);
        self.exact.get(normal).into_iter().flatten().copied().chain(patterns)
    }
}

impl Index {
    pub(super) fn of(catalog: &Catalog) -> Self {
        let mut index = Self::default();
        for (at, status) in catalog.statuses.iter().enumerate() {
            index.statuses.insert(status.code, at);
            let errors = status.errors.iter().map(|error| normalise(error).into_owned()).collect();
            index.errors.insert(status.code, errors);
        }
        for (at, rule) in catalog.rules.iter().enumerate() {
            index.rules.insert(rule.name.clone(), at);
        }
        for (at, field) in catalog.fields.iter().enumerate() {
            for name in &field.fields {
                index.fields.entry(name.clone()).or_default().add(&field.matcher, at);
            }
        }
        for (at, message) in catalog.messages.iter().enumerate() {
            index.messages.entry(message.field.clone()).or_default().add(&message.matcher, at);
        }
        for (at, module) in catalog.modules.iter().enumerate() {
            index.prefixes.extend(module.routes.iter().map(|route| (route.trim_end_matches('/').to_owned(), at)));
        }
        index.prefixes.sort_by_key(|(prefix, _)| std::cmp::Reverse(prefix.len()));
        index
    }
}

impl Catalog {
    /// The documented entry of a status code.
    #[must_use]
    pub fn status(&self, code: u16) -> Option<&StatusEntry> {
        self.index.statuses.get(&code).map(|&at| &self.statuses[at])
    }

    /// The module a route belongs to: the one with the longest prefix that ends at a segment of the route.
    #[must_use]
    pub fn module_of(&self, route: &str) -> Option<&Module> {
        let fits =
            |prefix: &str| route.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
        self.index.prefixes.iter().find(|(prefix, _)| fits(prefix)).map(|&(_, at)| &self.modules[at])
    }

    /// The rule the catalog gives a message of a field (`field` empty: the general message, or an error of no field).
    ///
    /// Asked in this order, this catalog before the generic one: mappings for this field, documented messages of this
    /// field, mappings for any field; in each, exact texts before patterns. `None`: nothing is said of the message.
    #[must_use]
    pub fn rule_for(&self, field: &str, message: &str) -> Option<Cow<'_, str>> {
        let normal = normalise(message);
        self.own_rule(field, &normal).or_else(|| Self::generic().own_rule(field, &normal))
    }

    /// The documented entry of a field's message, as documented for the module of the route. A route of no module
    /// matches the entries of any module, the first in the catalog's order.
    #[must_use]
    pub fn field_entry(&self, route: &str, field: &str, message: &str) -> Option<&FieldEntry> {
        let module = self.module_of(route);
        let normal = normalise(message);
        let mut entries = self.field_positions(field, &normal).map(|at| &self.fields[at]);
        entries.find(|entry| module.is_none_or(|it| it.name == entry.module))
    }

    /// Whether the reference documents, for the module of the route, a message of this field that states this rule.
    #[must_use]
    pub fn documents_rule(&self, route: &str, field: &str, rule: &str) -> bool {
        let module = self.module_of(route);
        let (name, _) = split_rule(rule);
        self.fields.iter().any(|entry| {
            candidates(field).into_iter().flatten().any(|field| entry.fields.iter().any(|known| known == field))
                && split_rule(&entry.rule).0 == name
                && module.is_none_or(|module| module.name == entry.module)
        })
    }

    /// Whether the reference documents this message of this field on this route with this status. With an empty
    /// `field`, `message` is the general one.
    #[must_use]
    pub fn is_documented(&self, route: &str, field: &str, message: &str, status: u16) -> bool {
        if self.status(status).is_none() {
            return false;
        }
        self.field_entry(route, field, message).is_some()
            || (field_name(field).is_empty() && self.lists_error(status, message))
    }

    /// Whether the reference says this general message itself: a status lists it word for word, or it is documented of no field. A status
    /// that lists no messages takes any, and says none.
    #[must_use]
    pub fn states(&self, message: &str, status: u16) -> bool {
        let normal = normalise(message);
        let listed = self.index.errors.get(&status).is_some_and(|errors| errors.iter().any(|it| *it == normal));
        listed || (self.status(status).is_some() && self.field_entry("", "", message).is_some())
    }

    /// The general messages that the reference states word for word and that hold a text, in normal form.
    #[must_use]
    pub fn stated_with(&self, text: &str) -> Vec<String> {
        let wanted = normalise(text);
        let of_no_field = self.index.fields.get("").into_iter().flat_map(|messages| messages.exact.keys());
        let stated = self.index.errors.values().flatten().chain(of_no_field);
        stated.filter(|message| message.contains(&*wanted)).cloned().collect::<BTreeSet<_>>().into_iter().collect()
    }

    /// The scenario of a status and general message whose headers, if it names any, are all there; the first in the
    /// catalog's order. Header names are in lower case, as in [`crate::event::Event::response_headers`].
    #[must_use]
    pub fn scenario(&self, status: u16, error: &str, headers: &[(String, String)]) -> Option<&ScenarioEntry> {
        let normal = normalise(error);
        self.scenarios.iter().filter(|scenario| scenario.status == status).find(|scenario| {
            (scenario.matchers.is_empty() || scenario.matchers.iter().any(|text| text.matches(&normal)))
                && scenario.headers.iter().all(|wanted| headers.iter().any(|(name, _)| name == wanted))
        })
    }

    /// Whether a status lists a general message; a status that lists none takes any.
    pub(super) fn lists_error(&self, status: u16, error: &str) -> bool {
        let normal = normalise(error);
        self.index.errors.get(&status).is_some_and(|errors| errors.is_empty() || errors.iter().any(|it| *it == normal))
    }

    /// The documented entry of a field's message, whatever its module.
    pub(super) fn field_entry_of_any_module(&self, field: &str, message: &str) -> Option<&FieldEntry> {
        self.field_positions(field, &normalise(message)).next().map(|at| &self.fields[at])
    }

    /// The mapping of a message, of this catalog or the generic one.
    pub(super) fn message_entry(&self, field: &str, message: &str) -> Option<&MessageEntry> {
        let normal = normalise(message);
        let own = |catalog: &Self| {
            candidates(field).into_iter().flatten().chain([""]).find_map(|name| catalog.mapping(name, &normal))
        };
        match own(self) {
            Some(at) => Some(&self.messages[at]),
            None => own(Self::generic()).map(|at| &Self::generic().messages[at]),
        }
    }

    /// The wording of a rule, of this catalog or the generic one; a rule that neither knows is worded as `other`.
    pub(super) fn rule_entry(&self, rule: &str) -> Option<&RuleEntry> {
        let (name, _) = split_rule(rule);
        let own = |catalog: &Self, name: &str| catalog.index.rules.get(name).copied();
        let find = |name: &str| match own(self, name) {
            Some(at) => Some(&self.rules[at]),
            None => own(Self::generic(), name).map(|at| &Self::generic().rules[at]),
        };
        find(name).or_else(|| find("other"))
    }

    fn own_rule(&self, field: &str, normal: &str) -> Option<Cow<'_, str>> {
        for name in candidates(field).into_iter().flatten() {
            if let Some(at) = self.mapping(name, normal) {
                let entry = &self.messages[at];
                return Some(with_number(&entry.rule, &entry.matcher, normal));
            }
        }
        if let Some(at) = self.field_positions(field, normal).next() {
            let entry = &self.fields[at];
            return Some(with_number(&entry.rule, &entry.matcher, normal));
        }
        let entry = self.mapping("", normal).map(|at| &self.messages[at])?;
        Some(with_number(&entry.rule, &entry.matcher, normal))
    }

    fn mapping(&self, field: &str, normal: &str) -> Option<usize> {
        self.index.messages.get(field).and_then(|messages| messages.find(normal).next())
    }

    /// Positions of the entries of a message of a field, in all modules.
    fn field_positions<'a>(&'a self, field: &'a str, normal: &'a str) -> impl Iterator<Item = usize> + 'a {
        let names = candidates(field).into_iter().flatten();
        names.filter_map(|name| self.index.fields.get(name)).flat_map(move |messages| messages.find(normal))
    }
}

/// The name under which a field is kept: frameworks' names for "no field" are the empty one.
pub(super) fn field_name(field: &str) -> &str {
    match field {
        "non_field_errors" | "__all__" => "",
        field => field,
    }
}

/// The names a field is looked up by: itself, and for a field of rows (`items[].sku`) its last segment.
fn candidates(field: &str) -> [Option<&str>; 2] {
    let field = field_name(field);
    let of_rows = field.rsplit_once('.').filter(|(rows, _)| rows.split('.').all(|segment| segment.ends_with("[]")));
    [Some(field), of_rows.map(|(_, last)| field_name(last))]
}

/// A rule with the number its message states in place of `{n}`.
fn with_number<'e>(rule: &'e str, matcher: &Text, normal: &str) -> Cow<'e, str> {
    match matcher.number(normal).filter(|_| rule.contains("{n}")) {
        Some(number) => Cow::Owned(rule.replace("{n}", number)),
        None => Cow::Borrowed(rule),
    }
}
