//! What is read out of single texts: field paths, route and message templates, rules, request ids.

use super::draw::{Draw, halves, text};
use crate::event::{
    RequestId,
    catalog::{Arguments, RULES},
    path::{self, FieldPath},
    request_id, route, rule,
};

/// Texts are read again and again here.
const MAX_TEXT: usize = 4096;

/// Any text is a path within its bounds; of steps written in any notation the path is the same.
pub fn field_paths(input: &[u8]) {
    let text = text(input);
    let path = FieldPath::parse(&text);
    assert!(path.as_str().len() <= path::MAX_LEN);
    assert_eq!(path.field(), path::collapse(path.as_str()));
    assert_eq!(path::collapse(&path.field()), path.field(), "a field is its own field");
    let (first, second) = halves(&text);
    let mut pushed = FieldPath::parse(first);
    let (before, mark) = (pushed.clone(), pushed.mark());
    pushed.push(second);
    pushed.push_position(u64::from(input.len() as u32));
    pushed.push_any_position();
    assert!(pushed.as_str().len() <= path::MAX_LEN);
    pushed.restore(mark);
    assert_eq!(pushed.as_str(), before.as_str(), "steps are taken back");
    notations(&mut Draw::new(input));
}

fn notations(draw: &mut Draw<'_>) {
    const NAMES: [&str; 6] = ["items", "sku", "user_id", "a", "größe", "x-y"];
    let steps: Vec<String> = (0..=draw.below(6))
        .map(|_| if draw.below(2) == 0 { (*draw.pick(&NAMES)).to_owned() } else { draw.below(65_536).to_string() })
        .collect();
    let (dotted, pointer) = (steps.join("."), format!("#/{}", steps.join("/")));
    let in_brackets = |step: &String| if is_number(step) { format!("[{step}]") } else { format!(".{step}") };
    let bracketed: String = steps.iter().map(in_brackets).collect();
    let bracketed = bracketed.strip_prefix('.').unwrap_or(&bracketed);
    let steps: Vec<serde_json::Value> = steps.into_iter().map(serde_json::Value::from).collect();
    let paths = [
        FieldPath::parse(&dotted),
        FieldPath::parse(bracketed),
        FieldPath::parse(&pointer),
        FieldPath::parse(&format!("$.{bracketed}").replace("$.[", "$[")),
        FieldPath::from_array(&steps),
    ];
    for path in &paths {
        assert_eq!(path.as_str(), bracketed, "{dotted} in another notation");
    }
}

/// A template is its own; numbers, queries and hosts are not in it.
pub fn route_templates(input: &[u8]) {
    let text = text(input);
    if text.len() > MAX_TEXT {
        return;
    }
    let template = route::template(&text);
    assert!(template.len() <= route::MAX_LEN, "{} bytes", template.len());
    assert_eq!(route::template(&template), template, "a template is its own");
    assert!(!template.contains(['?', '#']) && !template.contains(char::is_control), "{template:?}");
    let path = format!("/{}", text.trim().replace(['?', '#'], ""));
    let plain = route::template(&path);
    assert_eq!(route::template(&format!("{path}?page=2#top")), plain, "a query is not in it");
    assert_eq!(route::template(&format!("https://api.example:8443{path}")), plain, "a host is not in it");
    let renumbered: Vec<&str> =
        path.split('/').map(|segment| if is_number(segment) { "7042" } else { segment }).collect();
    assert_eq!(route::template(&renumbered.join("/")), plain, "which number is not in it");
}

fn is_number(text: &str) -> bool {
    (1..=18).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// A message has a template that no number splits, and a rule of the vocabulary that no capital letter changes.
pub fn rule_templates(input: &[u8]) {
    let text = text(input);
    if text.len() > MAX_TEXT {
        return;
    }
    let template = rule::template(&text);
    assert!(template.len() <= 512, "{} bytes", template.len());
    let (message, code) = halves(&text);
    let stated = rule::of(message, code);
    assert_known(&stated);
    if message.is_ascii() && message.len() < 500 {
        assert_eq!(rule::of(&message.to_ascii_uppercase(), code), stated, "capitals mean nothing");
        assert_eq!(rule::of(&format!(" \t{message}\r\n"), code), stated, "white space around it means nothing");
    }
    if message.len() + code.len() < 1000 {
        let with = |number: &str| rule::template(&format!("{message} {number} {code}"));
        assert_eq!(with("4711"), with("15"), "a number is not in a template");
        assert_eq!(with("89.5"), with("1,000,000"), "a number is not in a template");
    }
}

/// Asserts that a rule is one of the vocabulary, with the arguments it may have.
pub fn assert_known(rule: &str) {
    let (name, argument) = rule.split_once('(').map_or((rule, None), |(name, rest)| (name, rest.strip_suffix(')')));
    let known = RULES.into_iter().find(|(known, _)| *known == name);
    let (_, arguments) = known.unwrap_or_else(|| panic!("{rule} is no rule"));
    assert!(rule.contains('(') == argument.is_some(), "{rule} is not closed");
    match (arguments, argument) {
        (_, None) => {}
        (Arguments::None, Some(_)) => panic!("{rule} takes no argument"),
        (Arguments::Type, Some(name)) => assert!(!name.is_empty() && name.len() <= 512, "{rule}"),
        (Arguments::Numbers(count), Some(numbers)) => {
            let is_number = |text: &str| text.parse::<f64>().is_ok();
            assert!(numbers.split(',').count() == count && numbers.split(',').all(is_number), "{rule}");
        }
    }
}

/// An id is read back as itself; every id in a text is found, whatever stands around it.
pub fn request_ids(input: &[u8]) {
    const PLANTED: &str = "550e8400-e29b-41d4-a716-446655440000";
    let text = text(input);
    if let Ok(id) = RequestId::parse(&text) {
        assert!(id.as_str().len() <= request_id::MAX_LEN && id.as_str().bytes().all(|byte| byte.is_ascii_graphic()));
        assert_eq!(RequestId::parse(id.as_str()).as_ref(), Ok(&id), "an id is its own canonical form");
        assert_eq!(RequestId::parse(&format!("  {text}\n")).as_ref(), Ok(&id), "white space around it means nothing");
        let _ = (id.made_at_ms(), id.lookup_key("igny8"));
    }
    if text.len() > 64 << 10 {
        return;
    }
    let all = request_id::find_all(&text, usize::MAX);
    for (index, candidate) in all.iter().enumerate() {
        let id = candidate.id.as_str();
        assert!(text.to_ascii_lowercase().contains(&id.to_ascii_lowercase()), "{id} is not in the text");
        assert!(all[..index].iter().all(|other| other.id != candidate.id), "{id} twice");
    }
    for limit in [0, 1, 3] {
        let some = request_id::find_all(&text, limit);
        assert_eq!(some.len(), limit.min(all.len()));
        let mut rest = all.iter();
        assert!(some.iter().all(|one| rest.any(|other| other == one)), "out of order, or from nowhere");
        let certain = |of: &[request_id::Candidate]| of.iter().filter(|candidate| candidate.is_certain).count();
        assert_eq!(certain(&some), certain(&all).min(limit), "certain ones come first");
    }
    let (first, second) = halves(&text);
    for around in [format!("{first}\n{PLANTED}\n{second}"), format!("{first} ({}) {second}", PLANTED.to_uppercase())] {
        let found = request_id::find_all(&around, usize::MAX);
        assert!(found.iter().any(|candidate| candidate.id.as_str() == PLANTED && candidate.is_certain), "{around:?}");
    }
}
