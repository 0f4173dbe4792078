//! Catalogs: any text is read or refused with what is wrong where; one that is read explains every event.

use std::sync::LazyLock;

use super::{draw::text, events::context, texts::assert_known};
use crate::{
    decode::{self, Format, Limits},
    event::{Event, catalog::Catalog},
};

const MAX_INPUT: usize = 64 << 10;

/// Events that a catalog has something to say of, or nothing.
static EVENTS: LazyLock<Vec<Event>> = LazyLock::new(|| {
    let body = br#"
{"status":400,"request_id":"r-1","route":"/api/orders/","error":"Validation failed","errors":{"sku":["This field is required."],"items":[{"n":"must be at least 8"}]}}
{"status":404,"request_id":"r-2","route":"/api/orders/{id}/","error":"Order 17 not found"}
{"status":429,"request_id":"r-3","error":"Too many requests","response_headers":{"Retry-After":"30"}}
{"status":503,"request_id":"r-4"}"#;
    let limits = Limits::default();
    let decoded = decode::events(Format::Ndjson, body, context(&limits)).unwrap();
    decoded.events.into_iter().map(|(_, event)| event).collect()
});

pub fn run(input: &[u8]) {
    let text = text(input);
    if text.len() > MAX_INPUT {
        return;
    }
    let catalog = match Catalog::parse(&text) {
        Ok(catalog) => catalog,
        Err(problems) => {
            assert!(!problems.is_empty(), "refused without a reason");
            let lines = text.split('\n').count();
            for problem in problems {
                assert!((1..=lines).contains(&problem.line) && !problem.message.is_empty(), "{problem:?}");
            }
            return;
        }
    };
    let again = Catalog::parse(&text).unwrap();
    assert_eq!(again.summary(), catalog.summary());
    for field in catalog.fields() {
        assert_known(&field.rule.replace("{n}", "1"));
    }
    for event in EVENTS.iter() {
        let explanation = catalog.explain(event);
        assert!(!explanation.headline.is_empty(), "every event has a headline");
        assert_eq!(explanation.fields.len(), event.errors.len(), "every field is explained");
        assert_eq!(catalog.explain(event), explanation, "explaining again gives the same");
        let reply = catalog.customer_reply(event, &explanation);
        assert!(reply.contains(event.request_id.as_str()), "{reply}");
    }
}
