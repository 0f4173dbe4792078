//! Values that are well formed and mean harm: they come back as they were sent.

use serde_json::{Value, json};

use crate::collector::{Collector, event};

/// Texts that break out of what they are put into, if anything does.
pub const TEXTS: [&str; 16] = [
    "<script>alert(1)</script>",
    "'; DROP TABLE events; --",
    "x') OR 1=1 --",
    "{p0:String}",
    "\\' \\\\ \\n %00 %s %n",
    "${jndi:ldap://127.0.0.1/x}",
    "{{7*7}}",
    "=cmd|' /C calc'!A0",
    "../../../../etc/passwd",
    "\u{202e}txt.exe",
    "line\r\nX-Injected: 1\r\n\r\nbody",
    "\u{1b}[2J\u{7}",
    "a\tb\u{b}c\u{7f}",
    "\u{feff}\u{200b}z\u{0301}\u{0301}\u{0301}",
    "😀𝕏ﷺ\u{10ffff}",
    "\"}]},\"status\":200,{",
];

#[tokio::test(flavor = "multi_thread")]
async fn hostile_values_come_back_as_they_were_sent() {
    const FIELDS: [&str; 7] = ["service", "environment", "release", "host", "user_agent", "account_id", "user_id"];
    let dir = tempfile::tempdir().unwrap();
    let collector = Collector::start(dir.path()).await;
    let sent = |number: usize| {
        let text = TEXTS[number];
        let mut event = event(&format!("req_hostile_{number}"), 422);
        for field in FIELDS {
            event[field] = json!(text);
        }
        event["error"] = json!(text);
        event["client_ip"] = json!(text);
        event["errors"] = json!({"field": [text]});
        event["attributes"] = json!({"note": text});
        event["response"] = json!({"said": text});
        event
    };
    let events: Vec<Value> = (0..TEXTS.len()).map(sent).collect();
    let (status, body) = collector.ship(&events).await;
    assert_eq!((status.as_u16(), &body["data"]["accepted"]), (202, &json!(TEXTS.len())), "{body}");
    collector.delivered().await;
    for (number, text) in TEXTS.iter().enumerate() {
        let data = collector.found(&format!("req_hostile_{number}")).await;
        let stored = &data["events"][0];
        for field in FIELDS {
            assert_eq!(stored[field], *text, "{field}");
        }
        assert_eq!((&stored["error"], &stored["errors"][0]["message"]), (&json!(text), &json!(text)));
        assert_eq!((&stored["attributes"]["note"], &stored["response"]["said"]), (&json!(text), &json!(text)));
        assert_eq!(
            (&stored["client_ip"], &stored["attributes"]["client_ip"]),
            (&Value::Null, &json!(text)),
            "no address"
        );
        let query = [("service", *text), ("q", *text), ("from", "-1h")];
        let request = collector.request(reqwest::Method::GET, "/api/v1/events").query(&query);
        let (status, body) = crate::collector::answer(request).await;
        assert_eq!(status, 200, "{body}");
        let found = body["data"]["events"].as_array().unwrap();
        // Commas part several values of a filter.
        if !text.contains(',') {
            assert_eq!(found.len(), 1, "{text:?}: {body}");
        }
    }
    let metrics = collector.metrics().await;
    assert!(metrics.lines().all(|line| line.starts_with("errata_") || line.starts_with("# ")), "{metrics}");
    for (sent, kept) in [
        ("192.0.2.7:443", "192.0.2.7"),
        ("[2001:db8::1]:80", "2001:db8::1"),
        ("::ffff:192.0.2.9", "192.0.2.9"),
        ("fe80::1", "fe80::1"),
        ("0.0.0.0", "0.0.0.0"),
    ] {
        let mut event = event(&format!("req_ip_{kept}"), 422);
        event["client_ip"] = json!(sent);
        collector.ship(&[event]).await;
        assert_eq!(collector.found(&format!("req_ip_{kept}")).await["events"][0]["client_ip"], kept);
    }
    collector.stop().await.unwrap();
}
