//! Alerts as a page: what fires with its evidence, acknowledged and silenced by forms, and what became of earlier ones.

use errata::state::{AlertChanges, AlertEvent, AlertRow, Role, State};
use serde_json::json;

use super::Browser;
use crate::{
    collector::{Collector, NOW_MS},
    contract::{token, without_clickhouse},
};

const HOSTILE: &str = "\"><script>alert(1)</script>\u{202e}";

fn firing(rule: &str, account: &str) -> AlertRow {
    let evidence = json!({
        "events": 77, "samples": ["req_1"],
        "link": format!("http://127.0.0.1/explore?service=api&account_id={account}&status=4xx&from=2026-11-22T11:40:00Z&to=2026-11-22T11:55:00Z"),
        "groups": [{"service": "api", "route": format!("/a/{HOSTILE}"), "status": 429, "events": 70}],
        "accounts": [{"account": account, "events": 71, "share": 0.92}],
        "first_seen": "2026-11-22T11:50:00Z", "release": {"from": "1", "to": "2", "seen_at": "2026-11-22T11:00:00Z"}
    });
    AlertRow {
        project: "default".into(),
        rule: rule.into(),
        fingerprint: format!("{rule} {account}"),
        labels: json!({"account": account, "service": "api"}).to_string(),
        severity: "page".into(),
        phase: "firing".into(),
        active_ms: NOW_MS - 600_000,
        fired_ms: Some(NOW_MS - 300_000),
        resolved_ms: None,
        held_ms: NOW_MS,
        value: 77.0,
        threshold: 60.0,
        summary: format!("77 × 429 within 5m (threshold 60) {HOSTILE}"),
        window: (NOW_MS - 300_000, NOW_MS),
        evidence: Some(evidence.to_string()),
        frozen: String::new(),
        told_ms: None,
        acknowledged: None,
    }
}

fn change(rule: &str, index: i64) -> AlertEvent {
    AlertEvent {
        id: 0,
        project: "default".into(),
        rule: rule.into(),
        fingerprint: "f".into(),
        labels: "{}".into(),
        change: "firing".into(),
        at_ms: NOW_MS - index * 1000,
        summary: format!("change {index} {HOSTILE}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_fires_is_looked_after_silenced_and_remembered() {
    let dir = tempfile::tempdir().unwrap();
    // Alerts of before, as the last run left them.
    let state = State::open(dir.path()).unwrap();
    let history =
        (0..60).rev().map(|index| change(if index % 2 == 0 { "rate-limited" } else { "silence" }, index)).collect();
    let put = vec![firing("rate-limited", "17"), firing("new-error", HOSTILE)];
    state.apply_alerts(&AlertChanges { put, history, ..AlertChanges::default() }).unwrap();
    let collector = Collector::with(without_clickhouse(dir.path())).await;
    let sre = token(dir.path(), "default", &[Role::Sre], None, None);
    let mut browser = Browser::signed_in(&collector, &sre).await;
    let page = browser.get("/alerts").await;
    page.check("alerts");
    let words = page.words();
    for expected in [
        "2 alerts fire.",
        "77 × 429 within 5m (threshold 60)",
        "rate-limited page fires since 5 min ago the headline was counted now",
        "The numbers of an alert are of different times.",
        "account 17 service api",
        "When it fired: 77 events Counted once, from 22 Nov 11:40 to 22 Nov 11:55 . The first was at 22 Nov 11:50",
        "Where most of them were 70 429",
        "with what its rule counted then",
        "Release 2 took the place of 1 1 h ago",
        "account 17 : 71 , 92\u{202f}% of them",
        "change 0",
    ] {
        assert!(words.contains(expected), "{expected}: {words}");
    }
    assert!(!page.text.contains("<script>") && !page.text.contains('\u{202e}'), "{}", page.text);
    // A number leads to what was counted: of the window when it fired, each filter once.
    let range = "from=2026-11-22T11%3A40%3A00Z&amp;to=2026-11-22T11%3A55%3A00Z";
    for link in [
        format!("/explore?service=api&amp;account_id=17&amp;status=4xx&amp;{range}\">77 events</a>"),
        format!("/explore?service=api&amp;status=4xx&amp;{range}&amp;account_id=17\">71</a>"),
    ] {
        assert!(page.text.contains(&link), "{link}: {}", page.text);
    }
    let card = page.text.split("aria-label=\"rate-limited\">").nth(1).unwrap();
    let group = card.split(">70</a>").next().unwrap().rsplit("href=\"").next().unwrap();
    assert!(
        group.contains("status=429") && !group.contains("status=4xx") && group.contains("account_id=17"),
        "{group}"
    );
    // The forms of an alert are in one part that opens without scripts, each field with a label.
    let cards: Vec<_> =
        page.text.split("<article").skip(1).map(|card| card.split("</article>").next().unwrap()).collect();
    for card in cards {
        let forms = card.split("<details class=\"act\"><summary>").nth(1).unwrap_or_else(|| panic!("{card}"));
        assert!(forms.starts_with("Look after it, or silence it"), "{forms}");
        assert_eq!(
            (card.matches("<details").count(), forms.matches("<form").count(), forms.matches("aria-label").count()),
            (1, 2, 2)
        );
    }
    assert!(!words.contains("change 50"), "{words}");
    let next = page.text.split("rel=\"next\" href=\"").nth(1).unwrap().split('"').next().unwrap().to_owned();
    let page = browser.get(&next.replace("&amp;", "&")).await;
    assert!(page.words().contains("change 59") && page.words().contains("First page"), "{}", page.words());
    let page = browser.get("/alerts?rule=silence").await;
    assert!(page.words().contains("Of the rule silence") && !page.words().contains("change 2 "), "{}", page.words());

    let labels = json!({"account": "17", "service": "api"}).to_string();
    let asked = [("rule", "rate-limited"), ("labels", labels.as_str()), ("comment", "on <it>")];
    assert_eq!(browser.send("/alerts/acknowledge", &asked).await.location(), Some("/alerts"));
    let words = browser.get("/alerts").await.words();
    assert!(words.contains("2 alerts fire, 1 of them acknowledged."), "{words}");
    assert!(words.contains("looks after it since now : on <it>"), "{words}");
    assert_eq!(words.matches("I look after it").count(), 1, "{words}");
    assert!(words.contains("Silence it : rate-limited"), "{words}");

    let asked = [("rule", "new-error"), ("for", "4h"), ("comment", HOSTILE)];
    assert_eq!(browser.send("/alerts/silence", &asked).await.status, 303);
    let page = browser.get("/alerts").await;
    page.check("a silence");
    let words = page.words();
    assert!(words.contains("1 of them silenced") && words.contains("(4 h left)"), "{words}");
    assert!(!page.text.contains("<script>"), "{}", page.text);
    let id = page.text.split("name=\"id\" value=\"").nth(1).unwrap().split('"').next().unwrap().to_owned();
    assert_eq!(browser.send("/alerts/end-silence", &[("id", id.as_str())]).await.status, 303);
    let words = browser.get("/alerts").await.words();
    assert!(words.contains("The silence has ended") && words.contains("None. While a silence lasts"), "{words}");

    // What is wrong is said; nothing of it is done.
    for (path, fields, status) in [
        ("/alerts/silence", vec![("for", "4h")], 400),
        ("/alerts/silence", vec![("rule", "r"), ("for", "soon")], 400),
        ("/alerts/silence", vec![("rule", "r"), ("for", "1h"), ("labels", "nonsense")], 400),
        ("/alerts/acknowledge", vec![("rule", "unknown")], 404),
        ("/alerts/end-silence", vec![("id", "unknown")], 404),
    ] {
        let page = browser.send(path, &fields).await;
        assert_eq!(page.status.as_u16(), status, "{path} {fields:?}: {}", page.text);
        page.check(path);
        browser.get("/alerts").await;
    }
    let foreign = token(dir.path(), "other", &[Role::Sre], None, None);
    let words = Browser::signed_in(&collector, &foreign).await.get("/alerts").await.words();
    assert!(words.contains("Nothing fires.") && words.contains("Nothing has fired yet"), "{words}");
    collector.stop().await.unwrap();
}
