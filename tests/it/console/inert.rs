//! What customers sent is shown as what it is, on every page, and does nothing.

use reqwest::header::HeaderValue;
use serde_json::{Value, json};

use super::{Browser, Page};
use crate::collector::{Collector, event};

/// Markup that would run or show itself if it left its place, and what would make a page read what it does not say.
const HOSTILE: [&str; 6] = [
    "<script>alert(1)</script>",
    "\"><img src=x onerror=alert(2)>",
    "' autofocus onfocus='alert(3)",
    "</textarea></pre></details><h1>fine</h1>",
    "{{ 7 * 7 }}{% raw %}",
    "\u{202e}gnp.exe\u{2066}\u{1b}[31m",
];

/// An event with a hostile text in every field that takes one.
fn hostile(number: usize, text: &str) -> Value {
    let mut event = event(&format!("req_hostile_{number}"), [400, 422, 429, 500][number % 4]);
    for field in [
        "service",
        "environment",
        "release",
        "host",
        "path",
        "route",
        "account_id",
        "user_id",
        "user_agent",
        "trace_id",
    ] {
        event[field] = json!(format!("{field}{text}"));
    }
    event["response"] =
        json!({"success": false, "error": text, "errors": {text: [text], "b": [format!("{text} {text}")]}});
    event["exception"] = json!({"type": text, "message": text, "stacktrace": format!("at {text}\n{text}")});
    event["request_headers"] = json!({"Accept-Language": text});
    event["attributes"] = json!({text: text});
    event
}

fn check_inert(page: &Page, about: &str) {
    page.check(about);
    for live in ["<script>alert", "<img src=x", "onfocus='alert", "<h1>fine", "</textarea></pre>"] {
        assert!(!page.text.contains(live), "{about} has {live}: {}", page.text);
    }
    let turns = |c: char| matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    assert!(!page.text.contains(turns), "{about} turns the direction of text");
    assert!(page.text.ends_with("</html>\n") || page.text.ends_with("</html>"), "{about} is cut");
}

#[tokio::test(flavor = "multi_thread")]
async fn hostile_texts_are_inert_on_every_page() {
    let dir = tempfile::tempdir().unwrap();
    let collector = Collector::start(dir.path()).await;
    let mut events: Vec<Value> = HOSTILE.iter().enumerate().map(|(number, text)| hostile(number, text)).collect();
    // An id is visible ASCII, and that may be markup too; and a message may be long.
    let id = "\"><script>alert(4)</script>";
    events.push(event(id, 422));
    let mut long = event("req_long", 422);
    long["response"]["errors"]["site_id"] = json!(["<b>x</b> ".repeat(11_000)]);
    events.push(long);
    let (status, body) = collector.ship(&events).await;
    assert_eq!((status.as_u16(), &body["data"]["rejected"]), (202, &json!(0)), "{body}");
    collector.delivered().await;
    let mut browser = Browser::signed_in(&collector, &collector.token).await;
    browser.headers.insert("accept-language", HeaderValue::from_static("de"));
    let encoded: String = url::form_urlencoded::byte_serialize(id.as_bytes()).collect();
    let mut paths: Vec<String> = (0..HOSTILE.len()).map(|number| format!("/requests/req_hostile_{number}")).collect();
    paths.extend([
        format!("/requests/{}", encoded.replace('+', "%20")),
        "/requests/req_long".to_owned(),
        "/?from=-1h".to_owned(),
        format!("/lookup?id={encoded}+req_hostile_0+req_hostile_1"),
        format!("/lookup?id={encoded}%20%20x"),
    ]);
    for path in &paths {
        let page = browser.follow(path).await;
        assert_eq!(page.status, 200, "{path}: {}", page.text);
        check_inert(&page, path);
    }
    // What is not found, refused, or not there repeats what was asked for.
    for path in [
        format!("/requests/unknown{}", encoded.replace('+', "%20")),
        format!("/{encoded}"),
        format!("/?from={encoded}"),
        format!("/sign-in?next=/{encoded}"),
        format!("/?{encoded}=1"),
    ] {
        check_inert(&browser.get(&path).await, &path);
    }
    let words = browser.get("/requests/req_hostile_0").await.words();
    assert!(words.contains("<script>alert(1)</script>"), "it is shown as it was sent: {words}");
    let words = browser.get("/requests/req_hostile_5").await.words();
    assert!(words.contains("\\u{202e}gnp.exe\\u{2066}\\u{1b}[31m"), "what turns text is shown as an escape: {words}");
    collector.stop().await.unwrap();
}
