//! `alerts.toml` → [`RuleSet`], once. `docs/alerts.md` documents every key; its example is parsed by a test.

mod receivers;

use std::{cell::RefCell, fmt};

use toml::Table;

use super::{
    keys::{Keys, as_number, length},
    receiver::Receiver,
    rule::{
        BurnRate, BurnWindow, DAY_MS, ErrorCount, GroupKey, HOUR_MS, Kind, Labels, MINUTE_MS, NewError, Objectives,
        Only, RateLimited, Rule, RuleSet, SECOND_MS, Severity, Silence, ValidationSpike,
    },
};
use crate::store::query::StatusFilter;

/// The rules that are on without a file.
const DEFAULTS: &str = include_str!("defaults.toml");

/// Everything that is wrong with a file; one problem a line.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct Problems(pub Vec<String>);

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join("\n"))
    }
}

const KINDS: &str = "server_errors, server_error_count, rate_limited, new_error, validation_spike, silence";

impl RuleSet {
    /// The built-in rules.
    ///
    /// # Errors
    /// Never: a test parses them.
    pub fn builtin() -> Result<Self, Problems> {
        Self::parse("")
    }

    /// Reads a file: its rules take the place of built-in ones of the same name, and the others stay unless `defaults = false`.
    ///
    /// # Errors
    /// Every problem of the file.
    pub fn parse(text: &str) -> Result<Self, Problems> {
        let problems = RefCell::default();
        let (own, with_defaults) = Self::read(text, &problems)?;
        let (defaults, _) = if with_defaults { Self::read(DEFAULTS, &problems)? } else { (Self::default(), false) };
        let problems = problems.into_inner();
        if !problems.is_empty() {
            return Err(Problems(problems));
        }
        let others = defaults.rules.into_iter().filter(|rule| own.rules.iter().all(|other| other.name != rule.name));
        let mut rules: Vec<_> = others.collect();
        rules.extend(own.rules);
        // Only now: a rule that is off has the name of the one it switches off.
        rules.retain(|rule| rule.enabled);
        Ok(Self { rules, ..own })
    }

    /// What one file holds, and whether the built-in rules stay.
    fn read(text: &str, problems: &RefCell<Vec<String>>) -> Result<(Self, bool), Problems> {
        // Not the error's own text, which shows the line: it may hold a secret.
        let broken = |error: toml::de::Error| {
            let before = error.span().and_then(|span| text.get(..span.start)).unwrap_or_default();
            Problems(vec![format!("line {}: {}", before.matches('\n').count() + 1, error.message())])
        };
        let table: Table = text.parse().map_err(broken)?;
        let mut keys = Keys::new("alerts.toml", table, problems);
        let with_defaults = keys.flag("defaults", true);
        let objectives = objectives(keys.table("objectives"), problems);
        let mut rules: Vec<Rule> = Vec::new();
        for (index, table) in keys.tables("rule").unwrap_or_default().into_iter().enumerate() {
            let Some(rule) = rule(index, table, problems) else { continue };
            if rules.iter().any(|other| other.name == rule.name) {
                let message = format!("rule {:?}: name: is used twice; give each rule a name of its own", rule.name);
                problems.borrow_mut().push(message);
            }
            rules.push(rule);
        }
        let mut known: Vec<Receiver> = Vec::new();
        for (index, table) in keys.tables("receiver").unwrap_or_default().into_iter().enumerate() {
            let Some(receiver) = receivers::receiver(index, table, problems) else { continue };
            if known.iter().any(|other| other.name == receiver.name) {
                let name = &receiver.name;
                problems
                    .borrow_mut()
                    .push(format!("receiver {name:?}: name: is used twice; give each a name of its own"));
            }
            known.push(receiver);
        }
        for rule in &rules {
            for name in rule.receivers.iter().filter(|name| known.iter().all(|known| known.name != **name)) {
                let message =
                    format!("rule {:?}: receivers: there is no receiver {name:?}; add a [[receiver]]", rule.name);
                problems.borrow_mut().push(message);
            }
        }
        keys.finish();
        Ok((Self { rules, objectives, receivers: known }, with_defaults))
    }

    /// The receiver of a name.
    #[must_use]
    pub fn receiver(&self, name: &str) -> Option<&Receiver> {
        self.receivers.iter().find(|receiver| receiver.name == name)
    }

    /// Who is told of a rule's alerts.
    pub fn receivers_of<'a>(&'a self, rule: &'a Rule) -> impl Iterator<Item = &'a Receiver> {
        self.receivers.iter().filter(|receiver| rule.receivers.is_empty() || rule.receivers.contains(&receiver.name))
    }

    /// The rule of a name.
    #[must_use]
    pub fn rule(&self, name: &str) -> Option<&Rule> {
        self.rules.iter().find(|rule| rule.name == name)
    }
}

fn objectives(table: Table, problems: &RefCell<Vec<String>>) -> Objectives {
    let mut objectives = Objectives::default();
    for (service, value) in table {
        match as_number(&value).filter(|percent| (0.0..100.0).contains(percent) && *percent > 0.0) {
            Some(percent) => objectives.set(&service, percent / 100.0),
            None => problems.borrow_mut().push(format!(
                "objectives: {service}: expected the percentage of requests that succeed, above 0 and below 100, such as 99.9, got {value}"
            )),
        }
    }
    objectives
}

/// Reads one `[[rule]]`; none where it has no kind, which is a problem.
fn rule(index: usize, table: Table, problems: &RefCell<Vec<String>>) -> Option<Rule> {
    let named = table.get("name").and_then(toml::Value::as_str).map(|name| format!("rule {name:?}"));
    let mut keys = Keys::new(named.unwrap_or_else(|| format!("rule {} (without a name)", index + 1)), table, problems);
    let name = keys.required("name", "\"checkout-errors\"");
    if !name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte)) || name.len() > 64 {
        keys.problem("name", "use 1 to 64 letters, digits, -, _ or .");
    }
    let kind = keys.required("kind", "\"server_error_count\"");
    let kind = match kind.as_str() {
        "server_errors" => Kind::ServerErrors(burn_rate(&mut keys)),
        "server_error_count" => Kind::ServerErrorCount(error_count(&mut keys)),
        "rate_limited" => Kind::RateLimited(rate_limited(&mut keys)),
        "new_error" => Kind::NewError(new_error(&mut keys)),
        "validation_spike" => Kind::ValidationSpike(validation_spike(&mut keys)),
        "silence" => Kind::Silence(silence(&mut keys)),
        other => {
            if !other.is_empty() {
                keys.problem("kind", &format!("expected one of {KINDS}, got {other:?}"));
            }
            return None;
        }
    };
    let severity = keys.required("severity", "\"page\" or \"ticket\"");
    let severity = match severity.as_str() {
        "page" => Severity::Page,
        "ticket" | "" => Severity::Ticket,
        other => {
            keys.problem("severity", &format!("expected page or ticket, got {other:?}"));
            Severity::Ticket
        }
    };
    let rule = Rule {
        name,
        kind,
        severity,
        enabled: keys.flag("enabled", true),
        for_ms: keys.duration("for", 0, 0),
        keep_firing_ms: keys.duration("keep_firing_for", 0, 0),
        labels: labels(&mut keys),
        runbook: runbook(&mut keys),
        receivers: keys.texts("receivers"),
        only: Only {
            projects: keys.texts("projects"),
            services: keys.texts("services"),
            environments: keys.texts("environments"),
            routes: keys.texts("routes"),
        },
    };
    keys.finish();
    Some(rule)
}

/// What every receiver shows as names of its own, or what makes an alert the alert it is.
const TAKEN: [&str; 10] =
    ["alertname", "project", "severity", "service", "environment", "route", "method", "account", "field", "rule"];

fn labels(keys: &mut Keys<'_>) -> Labels {
    let labels = keys.pairs("labels");
    for name in labels.keys() {
        let well_formed = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
            && name.starts_with(|first: char| first.is_ascii_alphabetic());
        if !well_formed || TAKEN.contains(&name.as_str()) {
            let taken = TAKEN.join(", ");
            keys.problem(
                "labels",
                &format!("{name:?} is no name for a label: use letters, digits and _, and none of {taken}"),
            );
        }
    }
    labels
}

fn runbook(keys: &mut Keys<'_>) -> String {
    let text = keys.text("runbook").unwrap_or_default();
    if !text.is_empty() && !text.starts_with("http://") && !text.starts_with("https://") {
        keys.problem("runbook", &format!("expected a link that begins with https://, got {text:?}"));
    }
    text
}

fn group_by(keys: &mut Keys<'_>, default: Vec<GroupKey>, may: &[GroupKey]) -> Vec<GroupKey> {
    let names: Vec<_> = may.iter().map(|key| key.as_str()).collect();
    let parse = |text: &str| may.iter().copied().find(|key| key.as_str() == text);
    let mut chosen = keys.list("group_by", &names.join(", "), default, parse);
    // The order is of no matter, and a name twice adds nothing.
    chosen.sort_by_key(|key| key.as_str());
    chosen.dedup();
    chosen
}

fn burn_rate(keys: &mut Keys<'_>) -> BurnRate {
    let window = |long_ms, short_ms, burn| BurnWindow { long_ms, short_ms, burn };
    let default = vec![window(HOUR_MS, 5 * MINUTE_MS, 14.4), window(6 * HOUR_MS, 30 * MINUTE_MS, 6.0)];
    let windows = keys.tables("windows").map(|tables| {
        let read = |table| {
            let mut keys = keys.within("windows", table);
            let long_ms = keys.duration("long", HOUR_MS, 2 * MINUTE_MS);
            let short_ms = keys.duration("short", 5 * MINUTE_MS, MINUTE_MS);
            if long_ms % MINUTE_MS != 0 || short_ms % MINUTE_MS != 0 || short_ms >= long_ms {
                keys.problem("long", "long and short are whole minutes, and long is the longer one, such as 1h and 5m");
            }
            let burn = keys.number("burn", 14.4);
            keys.finish();
            window(long_ms, short_ms, burn)
        };
        tables.into_iter().map(read).collect()
    });
    BurnRate { windows: windows.unwrap_or(default), min_errors: keys.count("min_errors", 10, 1) }
}

fn error_count(keys: &mut Keys<'_>) -> ErrorCount {
    let may = &GroupKey::ALL[..4];
    ErrorCount {
        window_ms: keys.duration("window", 5 * MINUTE_MS, SECOND_MS),
        floor: keys.number("floor", 10.0),
        factor: keys.number("factor", 5.0),
        baseline_ms: keys.duration("baseline", DAY_MS, HOUR_MS),
        min_accounts: keys.count("min_accounts", 2, 0),
        with_totals: keys.flag("with_totals", false),
        group_by: group_by(keys, vec![GroupKey::Environment, GroupKey::Route, GroupKey::Service], may),
    }
}

fn rate_limited(keys: &mut Keys<'_>) -> RateLimited {
    let default = vec![GroupKey::Account, GroupKey::Environment, GroupKey::Service];
    RateLimited {
        window_ms: keys.duration("window", 5 * MINUTE_MS, SECOND_MS),
        threshold: keys.count("threshold", 60, 1),
        lasting_ms: keys.duration("lasting", 30 * MINUTE_MS, 0),
        group_by: group_by(keys, default, &GroupKey::ALL),
    }
}

fn new_error(keys: &mut Keys<'_>) -> NewError {
    let window_ms = keys.duration("window", HOUR_MS, MINUTE_MS);
    let look_back_ms = keys.duration("look_back", 14 * DAY_MS, HOUR_MS);
    if look_back_ms <= window_ms {
        let message = format!("must be longer than the window, which is {}", length(window_ms));
        keys.problem("look_back", &message);
    }
    NewError {
        window_ms,
        look_back_ms,
        learning_ms: keys.duration("learning", DAY_MS, 0),
        min_events: keys.count("min_events", 5, 1),
        min_accounts: keys.count("min_accounts", 2, 0),
        statuses: keys.list(
            "statuses",
            "a status from 400 to 599, 4xx, 5xx",
            vec![StatusFilter::Class(5)],
            StatusFilter::parse,
        ),
    }
}

fn validation_spike(keys: &mut Keys<'_>) -> ValidationSpike {
    ValidationSpike {
        deviations: keys.number("deviations", 8.0),
        peak_factor: keys.number("peak_factor", 10.0),
        min_events: keys.count("min_events", 20, 1),
        history_ms: keys.duration("history", 14 * DAY_MS, DAY_MS),
        learning_ms: keys.duration("learning", DAY_MS, 0),
    }
}

fn silence(keys: &mut Keys<'_>) -> Silence {
    let regular = keys.number("regular", 0.9);
    if regular > 1.0 {
        keys.problem("regular", &format!("expected a part of the day before, above 0 and up to 1, got {regular}"));
    }
    Silence { window_ms: keys.duration("window", 15 * MINUTE_MS, SECOND_MS), regular }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problems(text: &str) -> Vec<String> {
        RuleSet::parse(text).unwrap_err().0
    }

    #[test]
    fn without_a_file_every_kind_is_watched() {
        let set = RuleSet::builtin().unwrap();
        let mut kinds: Vec<_> = set.rules.iter().map(|rule| rule.kind.as_str()).collect();
        let mut all: Vec<_> = KINDS.split(", ").collect();
        kinds.sort_unstable();
        kinds.dedup();
        all.sort_unstable();
        assert_eq!(kinds, all);
    }

    #[test]
    fn a_rule_takes_the_place_of_a_built_in_one_and_may_switch_it_off() {
        let text = "[[rule]]\nname = 'rate-limited'\nkind = 'rate_limited'\nseverity = 'page'\nthreshold = 7\n\
                    [[rule]]\nname = 'silence'\nkind = 'silence'\nseverity = 'page'\nenabled = false";
        let set = RuleSet::parse(text).unwrap();
        assert!(set.rule("silence").is_none() && set.rule("new-error").is_some());
        let Kind::RateLimited(kind) = &set.rule("rate-limited").unwrap().kind else { panic!() };
        assert_eq!((kind.threshold, kind.window_ms), (7, 5 * MINUTE_MS));
        assert!(RuleSet::parse("defaults = false").unwrap().rules.is_empty());
    }

    #[test]
    fn a_problem_names_the_rule_the_key_and_what_to_write() {
        let rule = |rest: &str| {
            problems(&format!("[[rule]]\nname = 'r'\nkind = 'rate_limited'\nseverity = 'page'\n{rest}")).join("\n")
        };
        for (rest, expected) in [
            (
                "window = '5 minutes'",
                "rule \"r\": window: expected a length of time such as \"5m\" from 1s to 31d, got \"5 minutes\"",
            ),
            ("for = '90d'", "rule \"r\": for: expected a length of time"),
            ("threshold = 0", "rule \"r\": threshold: expected a whole number of at least 1, got 0"),
            (
                "treshold = 5",
                "rule \"r\": treshold: there is no such key here; remove it, or use one of name, kind, window",
            ),
            (
                "group_by = 'user'",
                "rule \"r\": group_by: expected one or more of service, environment, route, method, account, got \"user\"",
            ),
            ("labels = { severity = 'x' }", "rule \"r\": labels: \"severity\" is no name for a label"),
            ("runbook = 'wiki'", "rule \"r\": runbook: expected a link that begins with https://, got \"wiki\""),
            ("kind2 = 1", "rule \"r\": kind2: there is no such key"),
            ("services = [1]", "rule \"r\": services: expected a list of texts"),
        ] {
            assert!(rule(rest).contains(expected), "{rest}: {}", rule(rest));
        }
        assert!(problems("[[rule]]\nname = 'r'\nseverity = 'page'")[0].contains("rule \"r\": kind: is missing"));
        assert!(
            problems("[[rule]]\nname = 'r'\nkind = 'x'\nseverity = 'page'")[0].contains("expected one of server_error")
        );
        assert!(problems("[objectives]\na = 100")[0].contains("objectives: a: expected the percentage"));
        assert!(problems("[[rules]]")[0].contains("alerts.toml: rules: there is no such key"));
        assert!(problems("x = ")[0].contains("line 1"));
        let windows = "[[rule]]\nname = 'r'\nkind = 'server_errors'\nseverity = 'page'\nwindows = [{ long = '5m', short = '5m', burnt = 2 }]";
        let found = problems(windows);
        assert!(found[0].contains("rule \"r\": windows: long: long and short are whole minutes"), "{found:?}");
        assert!(found[1].contains("rule \"r\": windows: burnt: there is no such key"), "{found:?}");
        let twice = "[[rule]]\nname = 'r'\nkind = 'silence'\nseverity = 'page'\n";
        assert!(problems(&twice.repeat(2))[0].contains("rule \"r\": name: is used twice"));
        let both =
            "[[rule]]\nname = 'r'\nkind = 'new_error'\nseverity = 'page'\nwindow = '2h'\nlook_back = '1h'\nfloor = 1";
        assert_eq!(problems(both).len(), 2, "every problem is told");
    }

    #[test]
    fn the_page_shows_a_good_file_and_every_kind() {
        let page = include_str!("../../docs/alerts.md");
        let example = page.split("```toml\n").nth(1).unwrap().split("```").next().unwrap();
        let set = RuleSet::parse(example).unwrap();
        assert_eq!(set.receivers.len(), 4);
        assert!(set.rule("silence").is_none() && set.rule("rate-limited").unwrap().severity == Severity::Page);
        for kind in KINDS.split(", ") {
            assert!(page.contains(&format!("\n| `{kind}` | ")), "{kind} is not in docs/alerts.md");
        }
        for rule in RuleSet::builtin().unwrap().rules {
            assert!(page.contains(&format!("`{}`", rule.name)), "{} is not in docs/alerts.md", rule.name);
        }
    }

    #[test]
    fn the_most_exact_objective_counts() {
        let set = RuleSet::parse("[objectives]\n'*' = 99\na = 98\n'a/staging' = 50").unwrap();
        let of = |service, environment| set.objectives.of(service, environment);
        let percent = [of("b", "p"), of("a", "p"), of("a", "staging")].map(|part| (part * 100.0).round() as u8);
        assert_eq!(percent, [99, 98, 50]);
    }
}
