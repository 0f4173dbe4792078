//! The rule vocabulary as the catalog uses it, and texts with `{field}` and `{argument}`.

/// What a rule may have in parentheses; it may always stand without.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arguments {
    None,
    /// So many numbers: `between(1,5)`.
    Numbers(usize),
    /// The name of a type: `invalid_type(integer)`.
    Type,
}

/// Every rule a catalog may name: the vocabulary of [`crate::event::rule`].
pub const RULES: [(&str, Arguments); 36] = [
    ("required", Arguments::None),
    ("blank", Arguments::None),
    ("null", Arguments::None),
    ("invalid_format", Arguments::None),
    ("invalid_type", Arguments::Type),
    ("min_length", Arguments::Numbers(1)),
    ("max_length", Arguments::Numbers(1)),
    ("length", Arguments::Numbers(1)),
    ("length_between", Arguments::Numbers(2)),
    ("min_value", Arguments::Numbers(1)),
    ("max_value", Arguments::Numbers(1)),
    ("greater_than", Arguments::Numbers(1)),
    ("less_than", Arguments::Numbers(1)),
    ("between", Arguments::Numbers(2)),
    ("multiple_of", Arguments::Numbers(1)),
    ("min_items", Arguments::Numbers(1)),
    ("max_items", Arguments::Numbers(1)),
    ("max_digits", Arguments::Numbers(1)),
    ("max_decimals", Arguments::Numbers(1)),
    ("invalid_choice", Arguments::None),
    ("unique", Arguments::None),
    ("not_found", Arguments::None),
    ("not_owned", Arguments::None),
    ("permission", Arguments::None),
    ("credentials", Arguments::None),
    ("expired", Arguments::None),
    ("read_only", Arguments::None),
    ("unknown_field", Arguments::None),
    ("mismatch", Arguments::None),
    ("conflict", Arguments::None),
    ("positive", Arguments::None),
    ("insufficient", Arguments::None),
    ("rate_limited", Arguments::None),
    ("weak", Arguments::None),
    ("invalid", Arguments::None),
    ("other", Arguments::None),
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

/// What a rule of the vocabulary may have in parentheses.
pub(super) fn arguments_of(name: &str) -> Result<Arguments, String> {
    RULES.into_iter().find(|(known, _)| *known == name).map(|(_, arguments)| arguments).ok_or_else(|| {
        let known = RULES.map(|(known, _)| known).join(", ");
        format!("unknown rule {name:?}; the rules are {known}")
    })
}

/// Whether a rule is one of the vocabulary, written as it should be; `numbers` is how many `{n}` its message has.
pub(super) fn check_rule(rule: &str, numbers: usize) -> Result<(), String> {
    let (name, argument) = split_rule(rule);
    let arguments = arguments_of(name)?;
    let Some(argument) = argument else { return Ok(()) };
    if !rule.ends_with(')') {
        return Err(format!("rule {rule:?} misses its closing parenthesis"));
    }
    let is_number = |part: &str| part.parse::<f64>().is_ok_and(f64::is_finite);
    match arguments {
        Arguments::None => Err(format!("rule {name} takes no argument; write \"{name}\"")),
        Arguments::Type if argument.is_empty() || !argument.bytes().all(|byte| byte.is_ascii_lowercase()) => {
            Err(format!("the argument of {name} is the name of a type, as in {name}(integer)"))
        }
        Arguments::Type => Ok(()),
        Arguments::Numbers(1) if argument == "{n}" && numbers == 1 => Ok(()),
        Arguments::Numbers(1) if argument == "{n}" => {
            Err("a rule with {n} needs exactly one {n} in its message; write {value} for others".to_owned())
        }
        Arguments::Numbers(count) if argument.split(',').count() == count && argument.split(',').all(is_number) => {
            Ok(())
        }
        Arguments::Numbers(1) => Err(format!("the argument of {name} must be a number or {{n}}")),
        Arguments::Numbers(count) => Err(format!("{name} takes {count} numbers with a comma between")),
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
        || missing_argument(name).to_owned(),
        |argument| clean(argument, MAX_ARGUMENT).replace(',', " and "),
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

/// What stands for the argument of a rule that was stated without one, as in "too short".
fn missing_argument(name: &str) -> &'static str {
    match name {
        "between" => "the limits",
        "invalid_type" => "expected",
        "length_between" => "the allowed minimum and maximum of",
        _ if name.contains("length")
            || name.contains("items")
            || name.contains("digits")
            || name.contains("decimals") =>
        {
            "the allowed number of"
        }
        _ => "the limit",
    }
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
        assert!(check_rule("between(1,2.5)", 0).is_ok());
        assert!(check_rule("invalid_type(integer)", 0).is_ok());
        assert!(check_rule("invalid_type(3)", 0).is_err());
        for (rule, numbers) in
            [("requird", 0), ("required(1)", 0), ("min_length(8", 0), ("min_length(x)", 0), ("between(1)", 0)]
        {
            assert!(check_rule(rule, numbers).is_err(), "{rule}");
        }
        assert!(check_rule("min_length({n})", 0).is_err());
        assert!(check_rule("min_length({n})", 2).is_err());
    }
}
