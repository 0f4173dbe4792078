mod bodies;
mod capture;
mod fields;
mod keys;
mod ways;

use std::{collections::BTreeMap, sync::LazyLock};

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::event::{Marks, codec};

static SCRUBBER: LazyLock<Scrubber> = LazyLock::new(Scrubber::default);
static LIMITS: LazyLock<Limits> = LazyLock::new(Limits::default);

/// 2026-11-20T00:00:00Z: after the captured exchanges.
const NOW: i64 = 1_795_132_800_000;

pub(in crate::decode) fn context() -> Context<'static> {
    Context {
        project: "igny8",
        received_at_ms: NOW,
        oldest_ms: NOW - 90 * 86_400_000,
        catalog: Catalog::builtin(),
        scrubber: &SCRUBBER,
        limits: &LIMITS,
    }
}

fn ndjson(body: impl AsRef<[u8]>) -> Result<Decoded, Refusal> {
    events(Format::Ndjson, body.as_ref(), context())
}

pub(crate) fn array(body: impl AsRef<[u8]>) -> Result<Decoded, Refusal> {
    events(Format::Json, body.as_ref(), context())
}

#[allow(clippy::needless_pass_by_value)] // tables of `json!` read better
/// The event of `{"status": 500}` with more fields.
fn event(fields: Value) -> Event {
    let mut all = json!({"status": 500});
    all.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
    let mut decoded = array(all.to_string()).unwrap();
    assert_eq!(decoded.rejects, [], "{all}");
    decoded.events.remove(0).1
}

fn reject(item: &Value) -> Reject {
    let mut decoded = array(item.to_string()).unwrap();
    assert!(decoded.events.is_empty(), "{item} was taken");
    decoded.rejects.remove(0)
}

fn attribute<'e>(event: &'e Event, name: &str) -> &'e str {
    event.attributes.iter().find(|(taken, _)| taken == name).map_or("(none)", |(_, value)| value)
}

/// Exchanges captured from a live API; see `tests/data/README.md` for what is in them.
fn captured() -> Vec<u8> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/drf-exchanges.ndjson.gz");
    let body = std::fs::read(path).unwrap();
    decompress(Some("gzip"), &body, &LIMITS).unwrap().into_owned()
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        "(?s).{0,24}".prop_map(Value::from),
        "[a-z]{1,9}=[!-~]{0,30}@[a-z.]{3,9}".prop_map(Value::from),
    ];
    leaf.prop_recursive(5, 48, 6, |inner| {
        let key = prop_oneof!["errors|password|detail|loc|input|message|request_id", "(?s).{0,8}"];
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            prop::collection::vec((key, inner), 0..6).prop_map(|entries| Value::Object(entries.into_iter().collect())),
        ]
    })
}

fn any_item() -> impl Strategy<Value = Value> {
    let names = "account_id|attributes|client_ip|duration_ms|environment|error|errors|event_id|exception|host|method|path|\
                 rate_limit|release|request_headers|request_id|response|response_headers|route|service|span_id|status|\
                 timestamp|trace_id|user_agent|user_id|other|password";
    let fields = prop::collection::vec((names, any_json()), 0..12);
    (fields, any::<bool>()).prop_map(|(fields, with_status)| {
        let mut fields: serde_json::Map<_, _> = fields.into_iter().collect();
        if with_status {
            fields.insert("status".into(), json!(422));
        }
        Value::Object(fields)
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn arbitrary_bytes_never_panic(body in prop::collection::vec(any::<u8>(), 0..400)) {
        let _ = ndjson(&body);
        let _ = array(&body);
        for encoding in ["gzip", "zstd", "deflate"] {
            let _ = decompress(Some(encoding), &body, &LIMITS);
        }
    }

    #[test]
    fn arbitrary_text_is_scrubbed_without_panic_and_once_is_enough(text in "(?s)(.{0,9}(@|token=|Bearer |eyJ|%40|4111 ?|\"|: ?)){0,9}") {
        let once = SCRUBBER.text(&text).into_owned();
        let _ = SCRUBBER.text(&once);
    }

    #[test]
    fn every_item_ends_in_exactly_one_list(items in prop::collection::vec(prop_oneof![any_item(), any_json()], 1..6)) {
        let lines = items.iter().map(Value::to_string).collect::<Vec<_>>().join("\n");
        for decoded in [ndjson(lines), array(Value::from(items.clone()).to_string())] {
            let decoded = decoded.unwrap();
            let mut indexes: Vec<_> = decoded.events.iter().map(|(index, _)| *index).collect();
            indexes.extend(decoded.rejects.iter().map(|reject| reject.index));
            indexes.sort_unstable();
            prop_assert_eq!(indexes, (0..items.len()).collect::<Vec<_>>());
            for (_, event) in &decoded.events {
                let back = codec::decode(&codec::encode(event)).unwrap();
                prop_assert_eq!(back.key, event.key);
            }
            for reject in &decoded.rejects {
                prop_assert!(!reject.errors.is_empty());
            }
        }
    }
}
