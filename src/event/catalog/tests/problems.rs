//! Every kind of problem is named with its line.

use super::Catalog;

/// A valid catalog that the cases extend; its last line is line 12.
const BASE: &str = r#"[api]
name = "x"
version = "1"
[[module]]
name = "m"
title = "M"
routes = ["/m/"]
[[status]]
code = 200
title = "OK"
meaning = "fine"
# line 12
"#;
/// A valid field entry without its header, module and message.
const FIELD: &str = "description = 'd'\nrule = 'required'\ncause = 'c'\nsolution = 's'\ncustomer = 'c'\n";

fn problems(text: &str) -> Vec<(usize, String)> {
    let problems = Catalog::parse(text).err().unwrap_or_default();
    problems.into_iter().map(|problem| (problem.line, problem.message)).collect()
}

#[track_caller]
fn one(added: &str, line: usize, part: &str) {
    let found = problems(&format!("{BASE}{added}"));
    assert_eq!(found.len(), 1, "{added}: {found:?}");
    assert_eq!(found[0].0, line, "{found:?}");
    assert!(found[0].1.contains(part), "{found:?} lacks {part:?}");
}

#[test]
fn the_base_of_the_cases_is_valid() {
    assert_eq!(problems(BASE), []);
    let field = format!("{BASE}[[field]]\nmodule = 'm'\nfields = ['f']\nmessage = 'no {{n}}'\n{FIELD}");
    assert_eq!(problems(&field), []);
}

#[test]
fn keys_and_types_are_checked() {
    one("[[statuses]]\n", 13, "unknown key `statuses`");
    one("[rule]\nname = 'required'\n", 13, "write [[rule]]");
    one("[[message]]\nexact = 'a'\nrule = 'other'\ncolour = 'red'\n", 16, "unknown key `colour`");
    one("[[message]]\nexact = 'a'\n", 13, "[[message]] misses `rule`");
    one("[[message]]\nrule = 'other'\n", 13, "misses `exact` or `pattern`");
    one("[[message]]\nexact = 'a'\npattern = 'a {n}'\nrule = 'other'\n", 13, "both");
    one("[[message]]\nexact = 3\nrule = 'other'\n", 14, "`exact` must be a text, not an integer");
    one("[[message]]\nexact = ' '\nrule = 'other'\n", 14, "`exact` is empty");
    one("[[message]]\nexact = 'a'\nrule = 'other'\ncustomer = ''\n", 16, "`customer` is empty");
    one("[[module]]\nname = 'n'\ntitle = 'N'\nroutes = []\n", 16, "`routes` is empty");
    one("[[module]]\nname = 'n'\ntitle = 'N'\nroutes = '/n/'\n", 16, "`routes` must be a list, not a text");
    one("[[module]]\nname = 'n'\ntitle = 'N'\nroutes = [\n'/n/',\n7]\n", 18, "an item of `routes` must be a text");
    one("[[module]]\nname = 'n'\ntitle = 'N'\nroutes = ['n']\n", 16, "slash");
    one("[[practice]]\nkind = 'joke'\ntext = 't'\n", 14, "unknown kind \"joke\"");
    one(&format!("[[message]]\nexact = '{}'\nrule = 'other'\n", "a".repeat(4001)), 14, "more than 4000 characters");
    assert_eq!(problems(""), [(1, "the catalog misses [api] with `name` and `version`".to_owned())]);
}

#[test]
fn statuses_are_in_range_and_errors_are_complete() {
    one("[[status]]\ncode = 777\ntitle = 't'\nmeaning = 'm'\n", 14, "out of range: it must be 100 to 599");
    one("[[status]]\ncode = -1\ntitle = 't'\nmeaning = 'm'\n", 14, "out of range");
    one("[[status]]\ncode = 'x'\ntitle = 't'\nmeaning = 'm'\n", 14, "must be an integer, not a text");
    one(
        "[[status]]\ncode = 400\ntitle = 't'\nmeaning = 'm'\ncauses = ['c']\nsolution = 's'\n",
        13,
        "misses `customer`",
    );
    one("[[scenario]]\ntitle = 't'\nstatus = 200\nsolution = 's'\n", 15, "400 to 599");
    one("[[practice]]\nkind = 'tip'\ntext = 't'\nstatuses = [99]\n", 16, "out of range");
}

#[test]
fn duplicates_name_the_line_of_the_first() {
    one("[[status]]\ncode = 200\ntitle = 't'\nmeaning = 'm'\n", 13, "duplicate status 200: it is on line 8 already");
    one(
        "[[module]]\nname = 'm'\ntitle = 'M'\nroutes = ['/n']\n",
        13,
        "duplicate module \"m\": it is on line 4 already",
    );
    one("[[module]]\nname = 'n'\ntitle = 'M'\nroutes = ['/m']\n", 13, "duplicate route prefix");
    let message = "[[message]]\nexact = 'A b'\nrule = 'other'\n";
    one(&format!("{message}{}", message.replace("A b", " a B. ")), 16, "duplicate message");
    let field = format!("[[field]]\nmodule = 'm'\nfields = ['f', 'g']\nmessage = 'No'\n{FIELD}");
    one(
        &format!("{field}{}", field.replace("'f', 'g'", "'g'").replace("No", "no.")),
        22,
        "duplicate message \"no.\" of field \"g\"",
    );
    let rule = "[[rule]]\nname = 'blank'\nheadline = 'h'\nexplanation = 'e'\nsolution = 's'\ncustomer = 'c'\n";
    one(&format!("{rule}{rule}"), 19, "duplicate rule");
    let scenario = "[[scenario]]\ntitle = 't'\nstatus = 400\nerrors = ['e']\nsolution = 's'\n";
    one(&format!("{scenario}{}", scenario.replace("'t'", "'u'").replace("'e'", "'E.'")), 18, "same errors and headers");
}

#[test]
fn rules_placeholders_and_patterns_are_checked() {
    let field = |replaced: &str, by: &str| {
        format!("[[field]]\nmodule = 'm'\nfields = ['f']\nmessage = 'No'\n{FIELD}").replace(replaced, by)
    };
    one(&field("'m'", "'q'"), 13, "unknown module \"q\"");
    one(&field("'required'", "'requird'"), 18, "unknown rule \"requird\"");
    one(&field("'required'", "'required(3)'"), 18, "takes no argument");
    one(
        &field("solution = 's'", "solution = 'use {fild}'"),
        20,
        "unknown placeholder {fild}; known: {field}, {argument}",
    );
    one(&field("'No'", "'No {x}'"), 16, "unknown placeholder {x}");
    one("[[message]]\npattern = '{value}'\nrule = 'other'\n", 14, "any message");
    one("[[message]]\npattern = 'no place'\nrule = 'other'\n", 14, "write `exact`");
    one("[[message]]\npattern = 'a {n'\nrule = 'other'\n", 14, "bad pattern");
    one("[[message]]\npattern = 'a {value}'\nrule = 'min_length({n})'\n", 15, "exactly one {n}");
    one(
        "[[rule]]\nname = 'nope'\nheadline = 'h'\nexplanation = 'e'\nsolution = 's'\ncustomer = 'c'\n",
        14,
        "unknown rule",
    );
    let rule = "[[rule]]\nname = 'blank'\nheadline = '{argument}'\nexplanation = 'e'\nsolution = 's'\ncustomer = 'c'\n";
    one(rule, 15, "unknown placeholder {argument}; known: {field}");
    let status = "[[status]]\ncode = 200\ntitle = 't'\nmeaning = 'm'\nsolution = '{field}'\n";
    one(&status.replace("200", "201"), 17, "takes none");
}

#[test]
fn one_message_of_a_field_states_one_rule_in_all_modules() {
    let module = "[[module]]\nname = 'n'\ntitle = 'N'\nroutes = ['/n/']\n";
    let field = format!("[[field]]\nmodule = 'm'\nfields = ['f']\nmessage = 'No'\n{FIELD}");
    let other = field.replace("'m'", "'n'").replace("required", "blank");
    one(&format!("{module}{field}{other}"), 26, "\"required\" on line 17: a message states one rule");
}

#[test]
fn all_problems_are_told_at_once_in_the_order_of_the_text() {
    let found = problems("[api]\nname = ''\n[[status]]\ncode = 1000\n[[message]]\nexact = 'a'\nrule = 'x'\n");
    let lines: Vec<_> = found.iter().map(|(line, _)| *line).collect();
    assert_eq!(lines, [1, 2, 3, 3, 4, 7], "{found:?}");
}

#[test]
fn syntax_errors_are_all_told_with_line_and_column() {
    let found = Catalog::parse("[api]\nname = \"x\"\nversion = 1 2\n[[status]\n").unwrap_err();
    let places: Vec<_> = found.iter().map(|problem| problem.line).collect();
    assert!(places.contains(&3) && places.contains(&4), "{found:?}");
    assert!(found.iter().all(|problem| problem.message.starts_with("syntax error: ")), "{found:?}");
    let found = Catalog::parse("äö = é").unwrap_err();
    assert_eq!(found[0].line, 1);
    assert!(found.iter().all(|problem| problem.to_string().starts_with("line 1, column ")), "{found:?}");
}
