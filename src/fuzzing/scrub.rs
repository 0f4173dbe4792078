//! Secrets: what is planted is gone, whatever stands around it, and scrubbing again finds nothing.

use std::sync::LazyLock;

use serde_json::{Map, Value, json};

use super::{
    draw::{Draw, halves, text},
    events::context,
    sound::texts,
};
use crate::{
    decode::{self, Format, Limits},
    event::scrub::{ScrubConfig, Scrubber, Shape},
};

const MAX_INPUT: usize = 8 << 10;

/// What must never come out. It has digits, as secrets do, and looks like nothing else.
const SECRET: &str = "zq7Xw9plantedK3v";

static SCRUBBERS: LazyLock<[Scrubber; 2]> = LazyLock::new(|| {
    let keyed = ScrubConfig {
        hash_key: Some(crate::event::scrub::HashKey::new("0123456789abcdef")),
        secret_names: vec!["internalRef".to_owned()],
        ..ScrubConfig::default()
    };
    [Scrubber::default(), Scrubber::new(&keyed).unwrap()]
});

/// Names that hold secrets whatever their value.
const NAMES: [&str; 8] =
    ["password", "access_token", "apiKey", "X-Api-Key", "client_secret", "Authorization", "sessionid", "cvv2"];

pub fn run(input: &[u8]) {
    if input.len() > MAX_INPUT {
        return;
    }
    let text = text(input);
    once_is_enough(&SCRUBBERS[0], &text);
    for scrubber in &*SCRUBBERS {
        texts_with_a_secret(scrubber, &text, &mut Draw::new(input));
        if let Ok(value) = serde_json::from_str::<Value>(&text) {
            documents(scrubber, &value, &mut Draw::new(input));
        }
    }
    event_with_a_secret(&text, &mut Draw::new(input));
}

/// What was scrubbed is clean. Not so for prose: which parts of a sentence are quoted is a guess, and another one once some are
/// replaced.
fn once_is_enough(scrubber: &Scrubber, text: &str) {
    let once = scrubber.identifier(text).into_owned();
    assert!(names_a_secret(&once) || scrubber.identifier(&once) == once, "scrubbing again replaces more of {once:?}");
}

/// Whether a label stands in it that is a secret name itself: what follows `[api_key]: ` is taken for its value the second time.
fn names_a_secret(scrubbed: &str) -> bool {
    ["[api_key]", "[jwt]", "[private_key]"].iter().any(|label| scrubbed.contains(label))
}

/// A secret of a known form, after one text and before another.
fn texts_with_a_secret(scrubber: &Scrubber, text: &str, draw: &mut Draw<'_>) {
    let (before, after) = halves(text);
    let planted = match draw.below(7) {
        0 => format!("Bearer {SECRET}"),
        1 => format!("password={SECRET}"),
        2 => format!("\"api_key\": \"{SECRET}\""),
        3 => format!("{SECRET}@planted.example"),
        4 => format!("https://user:{SECRET}@host.example/"),
        5 => format!("sk_live_{SECRET}"),
        _ => format!("eyJhbGciOi{SECRET}.eyJzdWIi.c2lnbg"),
    };
    for around in [format!("{before}\n{planted}\n{after}"), format!("{before} {planted} {after}")] {
        let scrubbed = scrubber.text(&around);
        assert!(!scrubbed.contains(SECRET), "{around:?} became {scrubbed:?}");
    }
}

/// A secret under a secret name, somewhere in a document.
fn documents(scrubber: &Scrubber, value: &Value, draw: &mut Draw<'_>) {
    for shape in [Shape::Body, Shape::Messages, Shape::Data] {
        let mut once = value.clone();
        let replaced = scrubber.json(&mut once, shape);
        assert!(replaced || once == *value, "{shape:?}: it does not say that something was replaced");
        let mut with_secret = value.clone();
        plant(&mut with_secret, draw, 0);
        scrubber.json(&mut with_secret, shape);
        assert!(!with_secret.to_string().contains(SECRET), "{shape:?}: {with_secret}");
    }
}

/// Puts the secret into an object of the document, or makes one of it.
fn plant(value: &mut Value, draw: &mut Draw<'_>, depth: usize) {
    let descend = depth < 8 && draw.below(3) > 0;
    match value {
        Value::Object(members) if descend && !members.is_empty() => {
            let at = draw.below(members.len());
            plant(members.values_mut().nth(at).unwrap(), draw, depth + 1);
        }
        Value::Array(items) if descend && !items.is_empty() => {
            let at = draw.below(items.len());
            plant(&mut items[at], draw, depth + 1);
        }
        Value::Object(members) => put(members, draw),
        other => {
            let mut members = Map::new();
            put(&mut members, draw);
            *other = Value::Object(members);
        }
    }
}

fn put(members: &mut Map<String, Value>, draw: &mut Draw<'_>) {
    let value = match draw.below(4) {
        0 => json!({"value": SECRET, "type": "x"}),
        1 => json!([SECRET, {"n": SECRET}]),
        _ => json!(SECRET),
    };
    members.insert((*draw.pick(&NAMES)).to_owned(), value);
}

/// A secret in an event as it is sent, in any field that keeps what it is given.
fn event_with_a_secret(text: &str, draw: &mut Draw<'_>) {
    const FIELDS: [&str; 7] = ["response", "attributes", "errors", "error", "exception", "other", "host"];
    let mut item = match serde_json::from_str::<Value>(text) {
        Ok(Value::Object(members)) => members,
        Ok(other) => Map::from_iter([("response".to_owned(), other)]),
        Err(_) => Map::from_iter([("response".to_owned(), json!(text))]),
    };
    item.insert("status".to_owned(), json!(422));
    for name in ["timestamp", "request_id", "event_id", "request_headers", "response_headers"] {
        item.shift_remove(name);
    }
    let field = *draw.pick(&FIELDS);
    plant(item.entry(field).or_insert(Value::Null), draw, 0);
    let body = Value::Object(item).to_string();
    let limits = Limits::default();
    let decoded = decode::events(Format::Json, body.as_bytes(), context(&limits)).unwrap();
    for (_, event) in &decoded.events {
        for kept in texts(event) {
            assert!(!kept.contains(SECRET), "{body} keeps {kept:?}");
        }
    }
}
