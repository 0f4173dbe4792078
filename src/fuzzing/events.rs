//! Bodies of events: NDJSON and JSON are two ways to write the same thing, and neither drops anything without saying so.

use std::{ops::ControlFlow, sync::LazyLock};

use serde_json::{Value, value::RawValue};

use super::{
    json_text::{is_json, members, object, respell, reversed},
    sound::{assert_event, attribute, attributes_are_full},
};
use crate::{
    decode::{self, Context, Format, Limits, Memo, Reason, Refusal, Reject},
    event::{Event, EventKey, Marks, RequestId, catalog::Catalog, scrub::Scrubber},
};

/// 2026-11-20T00:00:00Z.
pub const NOW_MS: i64 = 1_795_132_800_000;

/// Longest input that is looked at: each is decoded many times.
const MAX_INPUT: usize = 16 << 10;

/// Items of an input that are looked at one by one.
const MAX_LINES: usize = 12;

const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

static SCRUBBER: LazyLock<Scrubber> = LazyLock::new(Scrubber::default);

/// What became of one item.
#[derive(Clone, Debug, PartialEq)]
enum Outcome {
    Event(Box<Event>),
    Reject(Reject),
}

impl Outcome {
    /// Without what no two decodings of an item in different bodies have in common: a made-up request id, the key of an event
    /// that nothing tells apart, the place in the body.
    fn alone(mut self) -> Self {
        match &mut self {
            Self::Event(event) => {
                if is_occurrence(event) {
                    event.key = EventKey(0);
                }
            }
            Self::Reject(reject) => reject.index = 0,
        }
        self
    }

    fn event(&self) -> Option<&Event> {
        match self {
            Self::Event(event) => Some(event),
            Self::Reject(_) => None,
        }
    }
}

/// Whether an event's key counts equal ones of a body.
fn is_occurrence(event: &Event) -> bool {
    let marks = [Marks::GENERATED_REQUEST_ID, Marks::NO_TIMESTAMP];
    event.event_id.is_empty() && marks.into_iter().all(|mark| event.marks.contains(mark))
}

pub fn run(input: &[u8]) {
    if input.len() > MAX_INPUT {
        return;
    }
    ndjson(input);
    json(input);
}

pub fn context(limits: &Limits) -> Context<'_> {
    let catalog = Catalog::builtin();
    Context {
        project: "igny8",
        received_at_ms: NOW_MS,
        oldest_ms: NOW_MS - 90 * 86_400_000,
        catalog,
        scrubber: &SCRUBBER,
        limits,
    }
}

/// Every item's outcome in the order of the body; asserts that each has exactly one.
fn outcomes(format: Format, body: &[u8]) -> Result<Vec<Outcome>, Refusal> {
    let limits = Limits::default();
    let decoded = decode::events(format, body, context(&limits))?;
    let rejects = decoded.rejects.into_iter().map(|reject| {
        assert!(!reject.errors.is_empty() && Reason::ALL.contains(&reject.reason), "{reject:?}");
        (reject.index, Outcome::Reject(reject))
    });
    let events = decoded.events.into_iter().map(|(index, mut event)| {
        assert_event(&event);
        if event.marks.contains(Marks::GENERATED_REQUEST_ID) {
            event.request_id = RequestId::parse("generated").unwrap();
        }
        (index, Outcome::Event(Box::new(event)))
    });
    let mut all: Vec<(usize, Outcome)> = rejects.chain(events).collect();
    all.sort_by_key(|(index, _)| *index);
    let indexes: Vec<usize> = all.iter().map(|(index, _)| *index).collect();
    assert_eq!(indexes, (0..all.len()).collect::<Vec<_>>(), "accepted and rejected are the items of the body");
    Ok(all.into_iter().map(|(_, outcome)| outcome).collect())
}

fn alone(format: Format, body: &[u8]) -> Result<Vec<Outcome>, Refusal> {
    Ok(outcomes(format, body)?.into_iter().map(Outcome::alone).collect())
}

/// The lines of a body as the contract says: split at LF, trimmed, blank ones not counted, a byte order mark dropped.
fn lines(body: &[u8]) -> Vec<&[u8]> {
    let body = body.strip_prefix(BYTE_ORDER_MARK).unwrap_or(body);
    body.split(|&byte| byte == b'\n').map(<[u8]>::trim_ascii).filter(|line| !line.is_empty()).collect()
}

fn ndjson(body: &[u8]) {
    let lines = lines(body);
    let whole = outcomes(Format::Ndjson, body);
    let Ok(whole) = whole else {
        let refusal = whole.unwrap_err();
        match refusal {
            Refusal::Empty => assert!(lines.is_empty()),
            Refusal::NotJson { .. } => {
                for line in lines.iter().filter(|line| !line.starts_with(BYTE_ORDER_MARK)) {
                    assert!(outcomes(Format::Ndjson, line).is_err(), "a body that has JSON in it is no JSON");
                }
            }
            other => panic!("{other}"),
        }
        return;
    };
    assert_eq!(whole.len(), lines.len(), "an outcome a line");
    assert_eq!(outcomes(Format::Ndjson, body).unwrap(), whole, "decoding again gives the same");
    let whole: Vec<Outcome> = whole.into_iter().map(Outcome::alone).collect();
    let spaced = [BYTE_ORDER_MARK, b"\n \r\n", &lines.join(&b"\t\r\n\n"[..]), b" \n\n"].concat();
    if !lines[0].starts_with(BYTE_ORDER_MARK) {
        assert_eq!(alone(Format::Ndjson, &spaced).unwrap(), whole, "blank lines and line ends mean nothing");
    }
    for (line, outcome) in lines.iter().zip(&whole).take(MAX_LINES) {
        if !line.starts_with(BYTE_ORDER_MARK) {
            item(line, outcome);
        }
    }
    let sound: Vec<(&[u8], Outcome)> =
        lines.into_iter().zip(whole).filter(|(line, outcome)| is_sound(line, outcome)).collect();
    if !sound.is_empty() {
        bodies_of(&sound);
    }
}

/// Whether a line can be an item of an array, and would not be refused as a body of its own.
fn is_sound(line: &[u8], outcome: &Outcome) -> bool {
    let is_refused = matches!(outcome, Outcome::Reject(Reject { reason: Reason::InvalidJson, .. }));
    !is_refused && std::str::from_utf8(line).is_ok_and(is_json)
}

/// Items that are JSON, in every kind of body.
fn bodies_of(items: &[(&[u8], Outcome)]) {
    let (lines, expected): (Vec<&[u8]>, Vec<Outcome>) = items.iter().cloned().unzip();
    let array = [b"[", &lines.join(&b" ,\n"[..])[..], b"]"].concat();
    assert_eq!(alone(Format::Json, &array).unwrap(), expected, "an array holds what the same lines hold");
    let body = lines.join(&b'\n');
    assert_eq!(alone(Format::Ndjson, &body).unwrap(), expected, "lines do not depend on one another");
    for (format, body) in [(Format::Ndjson, &body), (Format::Json, &array)] {
        stopped(format, body, &expected);
        limited(format, body, &lines, &expected);
    }
}

/// Whoever takes events and has enough has got the first ones.
fn stopped(format: Format, body: &[u8], expected: &[Outcome]) {
    let events = expected.iter().filter(|outcome| outcome.event().is_some()).count();
    let enough = events.div_ceil(2);
    if enough == 0 {
        return;
    }
    let limits = Limits::default();
    let mut taken = Vec::new();
    let rejects = decode::each_event(format, body, context(&limits), &mut Memo::default(), |index, _| {
        taken.push(index);
        if taken.len() == enough { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    let of_events = expected.iter().enumerate().filter(|(_, outcome)| outcome.event().is_some());
    assert_eq!(taken, of_events.map(|(index, _)| index).take(enough).collect::<Vec<_>>());
    let last = taken[enough - 1];
    assert!(rejects.unwrap().iter().all(|reject| reject.index < last), "a reject of an item that was not looked at");
}

/// Of a body with too many items nothing is taken; an item that is too large is rejected, and no other.
fn limited(format: Format, body: &[u8], lines: &[&[u8]], expected: &[Outcome]) {
    let limits = Limits { items: lines.len() - 1, ..Limits::default() };
    let refused = decode::each_event(format, body, context(&limits), &mut Memo::default(), |_, _| {
        panic!("taken of a body with too many")
    });
    assert!(matches!(refused, Err(Refusal::TooMany { .. })), "{refused:?}");
    let longest = lines.iter().map(|line| line.len()).max().unwrap_or_default();
    let limits = Limits { event: longest - 1, ..Limits::default() };
    let decoded = decode::events(format, body, context(&limits)).unwrap();
    for (index, line) in lines.iter().enumerate() {
        let reject = decoded.rejects.iter().find(|reject| reject.index == index);
        if line.len() == longest {
            assert_eq!(reject.map(|reject| reject.reason), Some(Reason::TooLarge));
        } else {
            assert_eq!(reject.is_none(), expected[index].event().is_some());
        }
    }
}

/// One line: by itself, as a document, written otherwise.
fn item(line: &[u8], outcome: &Outcome) {
    let by_itself = alone(Format::Ndjson, line);
    if matches!(outcome, Outcome::Reject(Reject { reason: Reason::InvalidJson, .. })) {
        assert!(matches!(by_itself, Err(Refusal::NotJson { .. })), "{by_itself:?}");
        assert!(matches!(alone(Format::Json, line), Err(Refusal::NotJson { .. })) || line.starts_with(b"["));
        return;
    }
    assert_eq!(by_itself.unwrap(), std::slice::from_ref(outcome), "a line alone is what it is among others");
    let text = std::str::from_utf8(line).unwrap();
    if !text.starts_with('[') && is_json(text) {
        assert_eq!(alone(Format::Json, line).unwrap(), std::slice::from_ref(outcome), "one object is one line");
    }
    if let Outcome::Event(event) = outcome {
        written_otherwise(text, event);
        nothing_is_dropped(text, event);
    }
}

fn event_of(text: &str) -> Box<Event> {
    let mut outcomes = alone(Format::Json, text.as_bytes()).unwrap();
    match outcomes.pop() {
        Some(Outcome::Event(event)) => event,
        other => panic!("{text} is no event any more: {other:?}"),
    }
}

/// White space, escapes and the order of keys change nothing.
fn written_otherwise(text: &str, event: &Event) {
    assert_eq!(*event_of(&respell(text)), *event, "white space and escapes mean nothing");
    let Some(all) = members(text) else { return };
    let turned = object(all.iter().rev().map(|(name, value)| (name.as_str(), value.get())));
    assert_eq!(without_order(&event_of(&turned)), without_order(event), "the order of fields means nothing");
    if let Some(turned) = reversed(text) {
        assert_eq!(event_of(&turned).key, event.key, "the order of keys means nothing to the event's key");
    }
}

/// Attributes are in the order sent: sorted, and without the marks that tell equal names apart.
fn without_order(event: &Event) -> Event {
    let mut event = event.clone();
    if attributes_are_full(&event) {
        event.attributes.clear();
        return event;
    }
    for (name, _) in &mut event.attributes {
        name.truncate(name.trim_end_matches('_').len());
    }
    event.attributes.sort_unstable();
    event
}

/// What has no field of its own, or does not fit its field, is an attribute.
fn nothing_is_dropped(text: &str, event: &Event) {
    const PROBE: (&str, &str) = ("zz_probe", "\"grey 7\"");
    let Some(all) = members(text) else { return };
    if all.iter().all(|(name, _)| name != PROBE.0) {
        let probed = all.iter().map(|(name, value)| (name.as_str(), value.get())).chain([PROBE]);
        let with_probe = event_of(&object(probed));
        let kept = attribute(&with_probe, PROBE.0) == Some("grey 7");
        assert!(kept || attributes_are_full(&with_probe), "an unknown field is gone: {:?}", with_probe.attributes);
        let (attributes, key, marks) = (event.attributes.clone(), event.key, event.marks);
        assert_eq!(Event { key, attributes, marks, ..*with_probe }, *event, "an unknown field changed others");
    }
    if attributes_are_full(event) {
        return;
    }
    for (name, value) in all {
        assert!(is_kept(event, &name, value), "{name}: {value} is neither in its field nor an attribute: {event:?}");
    }
}

/// Whether a field that says something is in the event, there or as an attribute.
fn is_kept(event: &Event, name: &str, value: &RawValue) -> bool {
    let Ok(value) = serde_json::from_str::<Value>(value.get()) else { return true };
    let says_nothing = match &value {
        Value::Null => true,
        Value::String(text) => text.trim().is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(members) => members.is_empty(),
        _ => false,
    };
    let in_its_field = match name {
        "service" => !event.service.is_empty(),
        "environment" => !event.environment.is_empty(),
        "release" => !event.release.is_empty(),
        "host" => !event.host.is_empty(),
        "method" => !event.method.is_empty(),
        "user_agent" => !event.user_agent.is_empty(),
        "trace_id" => !event.trace_id.is_empty(),
        "span_id" => !event.span_id.is_empty(),
        "account_id" => !event.account_id.is_empty(),
        "user_id" => !event.user_id.is_empty(),
        "client_ip" => !event.client_ip.is_empty(),
        "duration_ms" => event.duration_ms.is_some(),
        "rate_limit" => event.rate_limit.is_some(),
        "error" => !event.error.is_empty(),
        "errors" => !event.errors.is_empty(),
        "event_id" => !event.event_id.is_empty(),
        "response" => !event.response.is_empty(),
        // These may keep a part (a list of headers, the parts of an exception), or stand elsewhere.
        "attributes" | "exception" | "path" | "route" | "request_headers" | "response_headers" | "request_id"
        | "status" | "timestamp" => true,
        _ => false,
    };
    says_nothing || in_its_field || is_attribute(event, name)
}

/// Names are scrubbed and cut as texts are; what is left of others is not looked for.
fn is_attribute(event: &Event, name: &str) -> bool {
    let plain = name.len() <= 128 && SCRUBBER.text(name) == name && !name.contains('\0');
    !plain || attribute(event, name.trim_end_matches('_')).is_some()
}

/// A body as one document.
fn json(body: &[u8]) {
    let Ok(whole) = alone(Format::Json, body) else { return };
    let text = std::str::from_utf8(body).unwrap();
    let text = text.strip_prefix('\u{feff}').unwrap_or(text).trim_ascii();
    let items = match serde_json::from_str::<Vec<&RawValue>>(text) {
        Ok(items) => items.into_iter().map(RawValue::get).collect(),
        Err(_) => vec![text],
    };
    assert_eq!(whole.len(), items.len(), "an outcome an item");
    for (item, outcome) in items.into_iter().zip(&whole).take(MAX_LINES) {
        // A list in a list is no event; by itself it would be a body.
        if item.starts_with('[') {
            assert!(matches!(outcome, Outcome::Reject(_)), "{outcome:?}");
        } else if let Ok(by_itself) = alone(Format::Json, item.as_bytes()) {
            assert_eq!(by_itself, std::slice::from_ref(outcome), "an item alone is what it is among others");
        } else {
            assert!(matches!(outcome, Outcome::Reject(Reject { reason: Reason::InvalidJson, .. })), "{outcome:?}");
        }
    }
}
