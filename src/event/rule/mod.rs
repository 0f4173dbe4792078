//! Message → rule: the small vocabulary statistics speak, whatever the wording.
//!
//! | rule | the value … |
//! |---|---|
//! | `required` | is missing |
//! | `blank`, `null` | is there but empty, or null |
//! | `invalid_type(T)` | is of another type than `T`: `string`, `integer`, `number`, `boolean`, `list`, `object`, `key`, … |
//! | `invalid_format` | is of the right type but not written as demanded (e-mail, URL, date, pattern, key format) |
//! | `invalid_choice` | is none of the allowed ones |
//! | `min_length(N)`, `max_length(N)`, `length(N)`, `length_between(N,M)` | has too few or too many characters |
//! | `min_value(N)`, `max_value(N)`, `greater_than(N)`, `less_than(N)`, `between(N,M)`, `positive`, `multiple_of(N)` | is a number out of range |
//! | `min_items(N)`, `max_items(N)` | is a list that is too short or too long |
//! | `max_digits(N)`, `max_decimals(N)` | is a number with too many digits |
//! | `unique` | is taken, or repeats |
//! | `not_found` | names something that does not exist |
//! | `not_owned` | names something of another account |
//! | `mismatch` | does not agree with another value |
//! | `conflict` | does not fit the state the resource is in |
//! | `insufficient` | asks for more than there is |
//! | `credentials`, `expired`, `permission`, `rate_limited` | cannot sign in, is too old, may not, too often |
//! | `read_only`, `unknown_field` | must not be sent |
//! | `weak` | is a password too easily guessed |
//! | `invalid` | is refused without saying why |
//! | `other` | message not understood |
//!
//! The wordings known are those of Django and Django REST Framework (English and German), pydantic, zod, Joi, Ajv and
//! other JSON Schema validators, class-validator, Rails, Laravel and Bean Validation, and of plain speech in between. A
//! catalog may map any message to another rule. The names are stored with events: add, never rename.

mod codes;
mod template;
mod wordings;

use std::{borrow::Cow, sync::LazyLock};

use regex::{Regex, RegexSet};

pub use template::{pattern, template};
use wordings::WORDINGS;

use super::start_of;

/// Most bytes of a message that are looked at: validators say it at the beginning.
const MAX_LOOKED_AT: usize = 512;

/// All wordings at once: one pass over the message tells which occur.
static ANY: LazyLock<RegexSet> = LazyLock::new(|| {
    RegexSet::new(WORDINGS.iter().map(|(pattern, _)| *pattern)).unwrap_or_else(|error| unreachable!("{error}"))
});

/// The wordings whose rule has parameters, to read these from the message.
static EACH: LazyLock<Vec<Option<Regex>>> = LazyLock::new(|| {
    let compile = |(pattern, rule): &(&str, &str)| rule.contains('(').then(|| Regex::new(pattern).ok()).flatten();
    WORDINGS.iter().map(compile).collect()
});

/// The rule a message states. `code` is a second opinion (pydantic's `type`, zod's `code` …), asked where the message alone
/// says nothing definite; it may be empty. Never fails: what is not understood is `other`.
#[must_use]
pub fn of(message: &str, code: &str) -> Cow<'static, str> {
    let stated = of_message(message);
    if !matches!(&*stated, "other" | "invalid") {
        return stated;
    }
    codes::rule(code).map_or(stated, Cow::Borrowed)
}

fn of_message(message: &str) -> Cow<'static, str> {
    let looked_at = start_of(message, MAX_LOOKED_AT).trim();
    let text = looked_at.to_lowercase().replace('’', "'");
    // Patterns are in order of precedence, and so are the matches.
    let Some(first) = ANY.matches(&text).iter().next() else {
        return Cow::Borrowed("other");
    };
    let rule = WORDINGS[first].1;
    match &EACH[first] {
        None => Cow::Borrowed(rule),
        Some(wording) => Cow::Owned(with_parameters(rule, wording, &text)),
    }
}

/// Fills a rule's `$1`, `$2` from the message.
fn with_parameters(rule: &str, wording: &Regex, text: &str) -> String {
    let Some(captures) = wording.captures(text) else {
        return rule.split('(').next().unwrap_or(rule).to_owned();
    };
    let group = |n| captures.get(n).map_or("", |found| found.as_str());
    if rule == "invalid_type($1)" {
        return format!("invalid_type({})", type_name(group(1)));
    }
    rule.replace("$1", &number(group(1))).replace("$2", &number(group(2)))
}

/// A number as messages write it, without separators of thousands and a decimal part of zeros.
fn number(text: &str) -> String {
    let plain = text.replace(',', "");
    match plain.split_once('.') {
        Some((whole, zeros)) if zeros.bytes().all(|digit| digit == b'0') => whole.to_owned(),
        _ => plain,
    }
}

/// One name for each type, whatever the language calls it.
fn type_name(text: &str) -> &str {
    match text {
        "str" | "text" | "zeichenkette" => "string",
        "int" | "ganzzahl" | "bigint" => "integer",
        "float" | "decimal" | "double" | "numeric" | "zahl" | "numeric string" => "number",
        "bool" | "wahrheitswert" => "boolean",
        "array" | "tuple" | "set" | "liste" => "list",
        "dict" | "dictionary" | "record" | "hash" | "map" | "mapping" => "object",
        "pk" => "key",
        known => known,
    }
}

#[cfg(test)]
mod tests;
