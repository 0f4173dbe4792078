//! `docs/events.md` is true: what it shows is taken and read as it says, what it lists is all there is.

use std::fmt::Write as _;

use errata::{decode::Reason, event::Marks};
use serde_json::{Value, json};

use crate::collector::Collector;

const EVENTS: &str = include_str!("../../../docs/events.md");

/// The fenced blocks of a language with what is fenced right after each as text.
fn examples() -> Vec<(&'static str, &'static str)> {
    let blocks = EVENTS.split("```json\n").skip(1);
    let pair = |block: &'static str| {
        let (example, rest) = block.split_once("```\n").unwrap();
        let text = rest.strip_prefix("```text\n").expect("an example says what is read of it");
        (example, text.split_once("```").unwrap().0)
    };
    blocks.map(pair).collect()
}

/// A stored event in the words of the page; attributes and marks where the page speaks of them.
fn in_words(event: &Value, page: &str) -> String {
    let mut words = String::new();
    for name in ["error", "code"] {
        if let Some(text) = event[name].as_str() {
            writeln!(words, "{name} = {text}").unwrap();
        }
    }
    for error in event["errors"].as_array().unwrap() {
        let text = |name: &str| error[name].as_str().unwrap();
        writeln!(words, "{}: {} ({})", text("path"), text("message"), text("rule")).unwrap();
    }
    if page.contains("marks = ") {
        for (name, value) in event["attributes"].as_object().into_iter().flatten() {
            writeln!(words, "{name} = {}", value.as_str().unwrap()).unwrap();
        }
        let marks: Vec<_> = event["marks"].as_array().unwrap().iter().map(|mark| mark.as_str().unwrap()).collect();
        writeln!(words, "marks = {}", marks.join(", ")).unwrap();
    }
    words
}

#[tokio::test(flavor = "multi_thread")]
async fn every_event_of_the_page_is_taken_and_read_as_the_page_says() {
    let dir = tempfile::tempdir().unwrap();
    let collector = Collector::start(dir.path()).await;
    let examples = examples();
    assert!(examples.len() >= 12, "{}", examples.len());
    for (example, words) in examples {
        let (status, body) = collector.ship_body("application/json", example).await;
        assert_eq!((status.as_u16(), &body["data"]["accepted"]), (202, &json!(1)), "{example}: {body}");
        let sent: Value = serde_json::from_str(example).unwrap();
        let found = collector.found(sent["request_id"].as_str().unwrap()).await;
        let event = &found["events"][0];
        assert_eq!(in_words(event, words), words, "{example}");
        assert_eq!(event["response"].is_null(), sent["response"].is_null(), "{example}");
        assert!(!event.to_string().contains("k-123") && event["request_headers"].is_null(), "{event}");
    }
    collector.stop().await.unwrap();
}

#[test]
fn the_page_lists_every_reason_and_every_mark() {
    let names = Reason::ALL.map(Reason::as_str).into_iter().chain(Marks::NAMES.map(|(_, name)| name));
    for name in names {
        assert!(EVENTS.contains(&format!("\n| `{name}` | ")), "{name} is not in docs/events.md");
    }
}
