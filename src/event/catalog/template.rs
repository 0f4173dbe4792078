//! The rule vocabulary as the catalog uses it, and texts with `{field}` and `{argument}`.

/// Every rule a catalog may name, and whether it takes an argument, as in `min_length(8)`.
pub const RULES: [(&str, bool); 24] = [
    ("required", false),
    ("blank", false),
    ("null", false),
    ("invalid_format", false),
    ("invalid_type", false),
    ("min_length", true),
    ("max_length", true),
    ("min_value", true),
    ("max_value", true),
    ("min_items", true),
    ("max_items", true),
    ("invalid_choice", false),
    ("unique", false),
    ("not_found", false),
    ("not_owned", false),
    ("permission", false),
    ("credentials", false),
    ("expired", false),
    ("read_only", false),
    ("mismatch", false),
    ("positive", false),
    ("insufficient", false),
    ("rate_limited", false),
    ("other", false),
];

/// Longest field name shown in a sentence, in characters.
const MAX_FIELD: usize = 80;
/// Longest rule argument shown in a sentence, in characters.
const MAX_ARGUMENT: usize = 40;

/// `min_length(8)` → (`min_length`, `8`).
pub(super) fn split_rule(rule: &str) -> (&str, Option<&str>) {
    match rule.split_once('(') {
        Some((name, rest)) => (name, Some(rest.strip_suffix(')').unwrap_or(rest))),
        None => (rule, None),
    }
}

/// Whether a rule is one of the vocabulary, written as it should be; `numbers` is how many `{n}` its message has.
pub(super) fn check_rule(rule: &str, numbers: usize) -> Result<(), String> {
    let (name, argument) = split_rule(rule);
    let Some((_, takes_argument)) = RULES.into_iter().find(|(known, _)| *known == name) else {
        let known = RULES.map(|(known, _)| known).join(", ");
        return Err(format!("unknown rule {name:?}; the rules are {known}"));
    };
    match argument {
        None => Ok(()),
        Some(_) if !takes_argument => Err(format!("rule {name} takes no argument; write \"{name}\"")),
        Some(_) if !rule.ends_with(')') => Err(format!("rule {rule:?} misses its closing parenthesis")),
        Some("{n}") if numbers == 1 => Ok(()),
        Some("{n}") => Err("a rule with {n} needs exactly one {n} in its message; write {value} for others".to_owned()),
        Some(number) if number.parse::<f64>().is_ok_and(f64::is_finite) => Ok(()),
        Some(_) => Err(format!("the argument of {name} must be a number or {{n}}")),
    }
}

/// The first placeholder in a text that is not one of `allowed`.
pub(super) fn unknown_placeholder<'t>(text: &'t str, allowed: &[&str]) -> Option<&'t str> {
    placeholders(text).find(|name| !allowed.contains(name))
}

/// Names in braces; a brace that does not enclose a name is a brace.
fn placeholders(text: &str) -> impl Iterator<Item = &str> {
    text.split('{').skip(1).filter_map(|rest| rest.split_once('}')).map(|(name, _)| name).filter(|name| {
        !name.is_empty() && name.chars().all(|character| character.is_ascii_alphanumeric() || character == '_')
    })
}

/// Fills `{field}` and `{argument}` in and capitalises the first letter.
pub(super) fn fill(template: &str, field: &str, rule: &str) -> String {
    let (name, argument) = split_rule(rule);
    let argument = argument.map_or_else(
        || if name.ends_with("_value") { "the limit".to_owned() } else { "the allowed number of".to_owned() },
        |argument| clean(argument, MAX_ARGUMENT),
    );
    let mut filled = String::with_capacity(template.len() + 32);
    let mut rest = template;
    // One pass: what is filled in is never searched for placeholders again.
    while let Some(open) = rest.find('{') {
        filled.push_str(&rest[..open]);
        rest = &rest[open..];
        if let Some(after) = rest.strip_prefix("{field}") {
            filled.push_str(&label(field));
            rest = after;
        } else if let Some(after) = rest.strip_prefix("{argument}") {
            filled.push_str(&argument);
            rest = after;
        } else {
            filled.push('{');
            rest = &rest[1..];
        }
    }
    filled.push_str(rest);
    capitalise(filled)
}

/// How a field is named within a sentence.
fn label(field: &str) -> String {
    let field = clean(field, MAX_FIELD);
    if field.is_empty() { "a value in the request".to_owned() } else { format!("“{field}”") }
}

fn capitalise(text: String) -> String {
    match text.chars().next().filter(|first| first.is_lowercase()) {
        Some(first) => first.to_uppercase().chain(text.chars().skip(1)).collect(),
        None => text,
    }
}

/// A text of a client, made fit for a sentence: white space collapsed, control and direction characters gone, and
/// cut with `…` after `max` characters.
pub(super) fn clean(text: &str, max: usize) -> String {
    let mut cleaned = String::new();
    let mut length = 0;
    let mut gap = false;
    for character in text.chars() {
        if character.is_whitespace() {
            gap = length > 0;
            continue;
        }
        if is_invisible(character) {
            continue;
        }
        if length + usize::from(gap) >= max {
            cleaned.push('…');
            break;
        }
        if std::mem::take(&mut gap) {
            cleaned.push(' ');
            length += 1;
        }
        cleaned.push(character);
        length += 1;
    }
    cleaned
}

/// Control characters, and those that hide or reorder text (zero-width, bidirectional, tags, byte-order mark).
fn is_invisible(character: char) -> bool {
    character.is_control()
        || matches!(character,
            '\u{00ad}' | '\u{061c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_filled_once_and_capitalised() {
        assert_eq!(fill("{field} has {argument}", "sku", "min_items(3)"), "“sku” has 3");
        assert_eq!(fill("{field} is missing", "", "required"), "A value in the request is missing");
        assert_eq!(fill("{field} {x} {", "{argument}", "min_length(8)"), "“{argument}” {x} {");
        assert_eq!(
            fill("at least {argument} characters", "", "min_length"),
            "At least the allowed number of characters"
        );
    }

    #[test]
    fn what_clients_sent_is_cleaned_and_bounded() {
        assert_eq!(clean(" a\n\tb\u{1b}[31m\u{202e}c\0 ", 50), "a b[31mc");
        assert_eq!(clean(&"ä".repeat(100), 10), format!("{}…", "ä".repeat(10)));
        assert_eq!(clean("0123456789", 10), "0123456789");
        assert_eq!(clean("012345678 9", 10), "012345678…");
    }

    #[test]
    fn rules_are_checked_against_the_vocabulary() {
        assert!(check_rule("required", 0).is_ok());
        assert!(check_rule("min_length(8)", 0).is_ok());
        assert!(check_rule("min_length", 0).is_ok());
        assert!(check_rule("min_length({n})", 1).is_ok());
        for (rule, numbers) in [("requird", 0), ("required(1)", 0), ("min_length(8", 0), ("min_length(x)", 0)] {
            assert!(check_rule(rule, numbers).is_err(), "{rule}");
        }
        assert!(check_rule("min_length({n})", 0).is_err());
        assert!(check_rule("min_length({n})", 2).is_err());
    }
}
