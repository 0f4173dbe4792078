//! From a catalog's text to its entries. What concerns one entry is checked here, what concerns several in `check`.

use std::ops::RangeInclusive;

use toml::de::DeTable;

use super::{
    Api, Catalog, FieldEntry, HeaderEntry, MessageEntry, Module, Practice, PracticeKind, Problem, RuleEntry,
    ScenarioEntry, StatusEntry, check,
    lookup::{Index, field_name},
    message::Text,
    reader::{
        At, Entry,
        Need::{Optional, Required},
        Reader,
    },
    template::{Arguments, arguments_of, check_rule, unknown_placeholder},
};

const TABLES: [&str; 8] = ["api", "module", "status", "field", "scenario", "rule", "message", "practice"];
const STATUSES: RangeInclusive<u16> = 100..=599;
const ERROR_STATUSES: RangeInclusive<u16> = 400..=599;

pub(super) fn parse(text: &str) -> Result<Catalog, Vec<Problem>> {
    let reader = Reader::new(text);
    let (document, errors) = DeTable::parse_recoverable(text);
    for error in &errors {
        reader.problem(error.span().map_or(0, |span| span.start), format!("syntax error: {}", error.message()));
    }
    if !errors.is_empty() {
        return Err(reader.into_problems());
    }
    let catalog = read(&reader, document.get_ref());
    let problems = reader.into_problems();
    if problems.is_empty() { Ok(catalog) } else { Err(problems) }
}

fn read(reader: &Reader<'_>, document: &DeTable<'_>) -> Catalog {
    reader.only(document, "the catalog", &TABLES);
    let api = reader.entry(document, "api", "[api]").map(|entry| api(&entry));
    if api.is_none() && !document.contains_key("api") {
        reader.problem(0, "the catalog misses [api] with `name` and `version`");
    }
    let modules = each(reader, document, "module", "[[module]]", module);
    let statuses = each(reader, document, "status", "[[status]]", |_, entry| status(reader, entry));
    let fields = each(reader, document, "field", "[[field]]", field);
    let scenarios = each(reader, document, "scenario", "[[scenario]]", scenario);
    let rules = each(reader, document, "rule", "[[rule]]", rule);
    let messages = each(reader, document, "message", "[[message]]", message);
    let practices = each(reader, document, "practice", "[[practice]]", practice);
    check::modules(reader, &modules, &fields);
    check::statuses(reader, &statuses);
    check::fields(reader, &fields);
    check::scenarios(reader, &scenarios);
    check::rules(reader, &rules);
    check::messages(reader, &messages);
    check::practices(reader, &practices);
    let mut catalog = Catalog {
        api: api.unwrap_or_default(),
        modules: values(modules),
        statuses: values(statuses),
        fields: values(fields),
        scenarios: values(scenarios),
        rules: values(rules),
        messages: values(messages),
        practices: values(practices),
        index: Index::default(),
    };
    catalog.index = Index::of(&catalog);
    catalog
}

/// Reads every entry of a kind; one with a problem still takes part in the checks across entries.
fn each<'t, T>(
    reader: &Reader<'t>,
    document: &DeTable<'t>,
    name: &str,
    kind: &'static str,
    read: impl Fn(&Reader<'t>, &Entry<'_, 't>) -> T,
) -> Vec<At<T>> {
    let entries = reader.entries(document, name, kind);
    entries.iter().map(|entry| At { value: read(reader, entry), at: entry.at }).collect()
}

fn values<T>(items: Vec<At<T>>) -> Vec<T> {
    items.into_iter().map(|item| item.value).collect()
}

fn api(entry: &Entry<'_, '_>) -> Api {
    entry.only(&["name", "version", "source"]);
    Api {
        name: entry.text("name", Required).value,
        version: entry.text("version", Required).value,
        source: entry.text("source", Optional).value,
    }
}

fn module(reader: &Reader<'_>, entry: &Entry<'_, '_>) -> Module {
    entry.only(&["name", "title", "routes"]);
    let routes = entry.texts("routes", Required);
    for route in routes.iter().filter(|route| !route.value.is_empty() && !route.value.starts_with('/')) {
        reader.problem(route.at, format!("route {:?} must begin with a slash", route.value));
    }
    Module {
        name: entry.text("name", Required).value,
        title: entry.text("title", Required).value,
        routes: values(routes),
    }
}

fn status(reader: &Reader<'_>, entry: &Entry<'_, '_>) -> StatusEntry {
    entry.only(&[
        "code", "title", "meaning", "response", "errors", "causes", "headers", "headline", "solution", "customer",
    ]);
    let code = entry.integer("code", &STATUSES);
    let of_errors = if ERROR_STATUSES.contains(&code.value) { Required } else { Optional };
    let meaning = entry.text("meaning", Required).value;
    let headline = template(reader, entry.text("headline", Optional), &[]);
    let headers = entry.tables("headers", "a header");
    StatusEntry {
        code: code.value,
        title: entry.text("title", Required).value,
        response: entry.text("response", Optional).value,
        errors: values(entry.texts("errors", Optional)),
        causes: values(entry.texts("causes", of_errors)),
        headers: headers.iter().map(header).collect(),
        headline: if headline.is_empty() { meaning.clone() } else { headline },
        meaning,
        solution: template(reader, entry.text("solution", of_errors), &[]),
        customer: template(reader, entry.text("customer", of_errors), &[]),
    }
}

fn header(entry: &Entry<'_, '_>) -> HeaderEntry {
    entry.only(&["name", "meaning"]);
    HeaderEntry { name: entry.text("name", Required).value, meaning: entry.text("meaning", Required).value }
}

fn field(reader: &Reader<'_>, entry: &Entry<'_, '_>) -> FieldEntry {
    const PLACES: &[&str] = &["field", "argument"];
    entry.only(&["module", "fields", "message", "description", "rule", "headline", "cause", "solution", "customer"]);
    let message = entry.text("message", Required);
    let matcher = matcher(reader, &message);
    let names = entry.texts("fields", Required).into_iter().map(|name| field_name(&name.value).to_owned());
    FieldEntry {
        module: entry.text("module", Required).value,
        fields: names.collect(),
        description: entry.text("description", Required).value,
        rule: rule_of(reader, entry, &matcher),
        headline: template(reader, entry.text("headline", Optional), PLACES),
        cause: template(reader, entry.text("cause", Required), PLACES),
        solution: template(reader, entry.text("solution", Required), PLACES),
        customer: template(reader, entry.text("customer", Required), PLACES),
        message: message.value,
        matcher,
    }
}

fn scenario(reader: &Reader<'_>, entry: &Entry<'_, '_>) -> ScenarioEntry {
    entry.only(&["title", "status", "errors", "headers", "solution", "customer"]);
    let errors = entry.texts("errors", Optional);
    ScenarioEntry {
        title: entry.text("title", Required).value,
        status: entry.integer("status", &ERROR_STATUSES).value,
        matchers: errors.iter().map(|error| matcher(reader, error)).collect(),
        errors: values(errors),
        headers: entry.texts("headers", Optional).into_iter().map(|name| name.value.to_ascii_lowercase()).collect(),
        solution: template(reader, entry.text("solution", Required), &[]),
        customer: template(reader, entry.text("customer", Optional), &[]),
    }
}

fn rule(reader: &Reader<'_>, entry: &Entry<'_, '_>) -> RuleEntry {
    entry.only(&["name", "headline", "explanation", "solution", "customer"]);
    let name = entry.text("name", Required);
    let arguments = arguments_of(&name.value);
    if let Err(problem) = &arguments
        && !name.value.is_empty()
    {
        reader.problem(name.at, problem);
    }
    let places: &[&str] = if arguments == Ok(Arguments::None) { &["field"] } else { &["field", "argument"] };
    RuleEntry {
        name: name.value,
        headline: template(reader, entry.text("headline", Required), places),
        explanation: template(reader, entry.text("explanation", Required), places),
        solution: template(reader, entry.text("solution", Required), places),
        customer: template(reader, entry.text("customer", Required), places),
    }
}

fn message(reader: &Reader<'_>, entry: &Entry<'_, '_>) -> MessageEntry {
    const PLACES: &[&str] = &["field", "argument"];
    entry.only(&["exact", "pattern", "field", "rule", "headline", "solution", "customer"]);
    let (text, matcher) = match (entry.has("exact"), entry.has("pattern")) {
        (true, false) => {
            let text = entry.text("exact", Required);
            let matcher = Text::exact(&text.value);
            (text, matcher)
        }
        (false, true) => {
            let text = entry.text("pattern", Required);
            let matcher = matcher(reader, &text);
            if !text.value.is_empty() && !text.value.contains(['{', '}']) {
                reader.problem(text.at, "bad pattern: it has no placeholder; write `exact` for `pattern`");
            }
            (text, matcher)
        }
        (both, _) => {
            let message = if both {
                "[[message]] has both `exact` and `pattern`"
            } else {
                "[[message]] misses `exact` or `pattern`"
            };
            reader.problem(entry.at, message);
            (At { value: String::new(), at: entry.at }, Text::exact(""))
        }
    };
    MessageEntry {
        message: text.value,
        field: field_name(&entry.text("field", Optional).value).to_owned(),
        rule: rule_of(reader, entry, &matcher),
        headline: template(reader, entry.text("headline", Optional), PLACES),
        solution: template(reader, entry.text("solution", Optional), PLACES),
        customer: template(reader, entry.text("customer", Optional), PLACES),
        matcher,
    }
}

fn practice(reader: &Reader<'_>, entry: &Entry<'_, '_>) -> Practice {
    entry.only(&["kind", "title", "text", "code", "statuses"]);
    let kind = entry.text("kind", Required);
    let (kind, of_title) = match kind.value.as_str() {
        "practice" => (PracticeKind::Practice, Required),
        "tip" => (PracticeKind::Tip, Optional),
        other => {
            if !other.is_empty() {
                reader.problem(kind.at, format!("unknown kind {other:?}; it is \"practice\" or \"tip\""));
            }
            (PracticeKind::Tip, Optional)
        }
    };
    Practice {
        kind,
        title: entry.text("title", of_title).value,
        text: entry.text("text", Required).value,
        code: entry.text("code", Optional).value,
        statuses: values(entry.integers("statuses", &STATUSES)),
    }
}

fn rule_of(reader: &Reader<'_>, entry: &Entry<'_, '_>, matcher: &Text) -> String {
    let rule = entry.text("rule", Required);
    if !rule.value.is_empty()
        && let Err(problem) = check_rule(&rule.value, matcher.numbers())
    {
        reader.problem(rule.at, problem);
    }
    rule.value
}

fn matcher(reader: &Reader<'_>, message: &At<String>) -> Text {
    Text::new(&message.value).unwrap_or_else(|problem| {
        reader.problem(message.at, problem);
        Text::exact(&message.value)
    })
}

fn template(reader: &Reader<'_>, text: At<String>, places: &[&str]) -> String {
    if let Some(name) = unknown_placeholder(&text.value, places) {
        let known = if places.is_empty() {
            "this text takes none".to_owned()
        } else {
            places.iter().map(|place| format!("{{{place}}}")).collect::<Vec<_>>().join(", ")
        };
        reader.problem(text.at, format!("unknown placeholder {{{name}}}; known: {known}"));
    }
    text.value
}
