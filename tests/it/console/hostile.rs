//! Hostile texts in every field of events and totals: inert in every page, in the files and on the terminal.

use std::process::Command;

use errata::{
    http::{Access, routes},
    inert,
};
use flate2::{Compression, write::GzEncoder};
use reqwest::Method;
use serde_json::{Value, json};

use super::Browser;
use crate::collector::Collector;

/// Markup, a script, the end of an attribute; an override of direction; escapes for a terminal; the beginning of a formula.
const HOSTILE: &str = "=cmd|'/c calc'!A1\"><img src=x onerror=alert(1)><script>alert('hostile')</script>\u{202e}gnp.exe\u{2066}\u{1b}[2J\u{1b}]0;title\u{7}\u{9b}31m\r\n\t{{7*7}}";

/// As much of it as a request id may have.
const HOSTILE_ID: &str = "=1\"><script>alert('id')</script>";

/// An event with hostile texts wherever one can be, and a very long one in a part of it; `number` tells its kind from others.
fn hostile(number: usize, status: u16) -> Value {
    let text = |field: &str| format!("{HOSTILE} {field} {number}");
    let long =
        |part: usize| if number % 4 == part { format!("{HOSTILE}{}", "x".repeat(100_000)) } else { HOSTILE.to_owned() };
    json!({
        "request_id": format!("{HOSTILE_ID}{number}"),
        "event_id": format!("{}{number}", &HOSTILE[..60]),
        "timestamp": "2026-11-22T11:59:00Z",
        "status": status,
        "service": text("service"), "environment": text("environment"), "release": text("release"), "host": text("host"),
        "method": text("method"), "path": text("path"), "route": text("route"),
        "account_id": text("account"), "user_id": text("user"), "client_ip": text("ip"), "user_agent": text("agent"),
        "trace_id": text("trace"), "span_id": text("span"),
        "request_headers": {"Accept": text("header"), "Accept-Language": long(0)},
        "response_headers": {"Content-Type": text("header"), "X-RateLimit-Limit": HOSTILE},
        "exception": {"type": text("type"), "message": long(1), "stacktrace": format!("{HOSTILE}\n  at {}", long(1))},
        "attributes": {HOSTILE: text("attribute"), "long": long(2)},
        HOSTILE: HOSTILE,
        "response": {"error": text("error"), "code": text("code"), "errors": {
            "site_id": [text("message"), long(3)], format!("{HOSTILE} {number}"): [HOSTILE], "items": [{HOSTILE: [long(3)]}]
        }},
    })
}

/// What must not be in what a person is shown, whatever is around it.
fn check(about: &str, text: &str, line_breaks: &[char]) {
    let steers = |c: char| inert::is_unsafe(c) && !line_breaks.contains(&c);
    let bad = text.char_indices().find(|(_, c)| steers(*c));
    if let Some((at, c)) = bad {
        let start = text.floor_char_boundary(at.saturating_sub(120));
        panic!("{about} has {c:?} after {:?}", &text[start..at]);
    }
}

/// A collector with hostile events and totals in it.
async fn fed(dir: &std::path::Path) -> Collector {
    let collector = Collector::start(dir).await;
    for (number, status) in [400, 401, 404, 409, 422, 429, 500, 503].into_iter().enumerate() {
        let (status, body) = collector.ship(&[hostile(number, status)]).await;
        assert_eq!(status, 202, "{body}");
    }
    let total = |status: u16| {
        json!({"minute": "2026-11-22T11:59:00Z", "service": HOSTILE, "environment": HOSTILE, "release": HOSTILE, "route": HOSTILE,
            "method": HOSTILE, "status": status, "reporter": HOSTILE, "count": 50})
    };
    let totals = json!([total(200), total(422), total(500)]);
    let answer = collector.request(Method::POST, "/api/v1/request-totals").json(&totals).send().await.unwrap();
    assert!(answer.status() == 202 || answer.status() == 422, "{}", answer.status());
    collector.delivered().await;
    collector
}

fn escaped(text: &str) -> String {
    url::form_urlencoded::byte_serialize(text.as_bytes()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn no_page_runs_or_believes_what_an_event_says() {
    let dir = tempfile::tempdir().unwrap();
    let collector = fed(dir.path()).await;
    let mut browser = Browser::signed_in(&collector, &collector.token).await;
    let (_, body) = collector.get("/api/v1/events?limit=1").await;
    let fingerprint = body["data"]["events"][0]["fingerprint"].as_str().unwrap().to_owned();
    let id = percent(&format!("{HOSTILE_ID}4"));
    let mut paths: Vec<String> = routes()
        .into_iter()
        .filter(|route| matches!(route.access, Access::Page(_)) && route.method == Method::GET)
        .filter(|route| !is_file(route.path) && route.path != "/explore/tail")
        .map(|route| {
            route.path.replace("{request_id}", &id).replace("{fingerprint}", &fingerprint).replace("{id}", "1")
        })
        .collect();
    paths.extend(
        ["service", "route", "q", "account_id", "field"].map(|name| format!("/explore?{name}={}", escaped(HOSTILE))),
    );
    paths.push(format!("/lookup?text={}", escaped(HOSTILE)));
    paths.push("/validation/failure?field=site_id".to_owned());
    paths.push("/reference?show=undocumented".to_owned());
    paths.extend((0..8).map(|number| format!("/requests/{}", percent(&format!("{HOSTILE_ID}{number}")))));
    let mut shown = 0;
    for path in paths {
        let page = browser.follow(&path).await;
        assert!(page.status.is_success() || page.status.is_client_error(), "{path}: {} {}", page.status, page.text);
        page.check(&path);
        for live in ["<img", "<script>", "onerror=alert(1)>"] {
            assert!(!page.text.contains(live), "{path} has {live}");
        }
        check(&path, &page.text, &['\n', '\t']);
        let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
        std::io::Write::write_all(&mut encoder, page.text.as_bytes()).unwrap();
        let size = encoder.finish().unwrap().len();
        assert!(size < 100 << 10, "{path}: {size} bytes");
        shown += usize::from(page.text.contains("&lt;script&gt;") || page.text.contains("&#60;script&#62;"));
    }
    assert!(shown >= 8, "only {shown} pages show what was sent: the test looks at the wrong ones");
    collector.stop().await.unwrap();
}

/// Whether a path of the console leads to a file and to no page.
fn is_file(path: &str) -> bool {
    path.contains('.') || path == "/explore/export"
}

/// As a segment of a path.
fn percent(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02X}")).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn no_cell_is_a_formula_and_no_terminal_is_steered() {
    let dir = tempfile::tempdir().unwrap();
    let collector = fed(dir.path()).await;
    let mut browser = Browser::signed_in(&collector, &collector.token).await;
    let is_page = |access: &Access| matches!(access, Access::Page(_));
    let files = routes()
        .into_iter()
        .filter(|route| route.method == Method::GET && is_page(&route.access) && is_file(route.path));
    let mut files: Vec<(String, String)> = files.map(|route| (route.path.to_owned(), String::new())).collect();
    for (path, text) in &mut files {
        let file = browser.get(path).await;
        assert!(file.status == 200 && file.header("content-type").starts_with("text/csv"), "{path}: {}", file.status);
        *text = file.text;
    }
    let csv = collector.request(Method::GET, "/api/v1/events?format=csv").send().await.unwrap().text().await.unwrap();
    assert_eq!(csv.split_terminator("\r\n").count(), 9, "a record is a line");
    files.push(("/api/v1/events?format=csv".to_owned(), csv));
    for (path, text) in files {
        check(&path, &text, &['\r', '\n']);
        for cell in text.split("\r\n").flat_map(|record| record.split(',')) {
            let inner = cell.trim_start_matches('"');
            assert!(
                !inner.starts_with(['=', '+', '-', '@', '\t']) || inner.parse::<f64>().is_ok(),
                "{path}: {cell:.80}"
            );
        }
    }
    let id = format!("{HOSTILE_ID}4");
    let ticket = format!("it fails: {HOSTILE} {HOSTILE_ID}4 {HOSTILE_ID}6");
    let commands: [&[&str]; 14] = [
        &["search"],
        &["search", "--csv"],
        &["search", "--json"],
        &["search", "--all", "--json"],
        &["search", "--text", HOSTILE],
        &["top", "routes"],
        &["top", "routes", "--csv"],
        &["top", "accounts"],
        &["top", "accounts", "--json"],
        &["top", "validation"],
        &["top", "validation", "--csv"],
        &["lookup", &id],
        &["lookup", &id, "--body"],
        &["lookup", &ticket],
    ];
    for arguments in commands {
        let mut command = Command::new(env!("CARGO_BIN_EXE_errata"));
        command.args(arguments).args(["--url", &collector.url, "--token", &collector.token]);
        let output = tokio::task::spawn_blocking(move || command.output()).await.unwrap().unwrap();
        let about = format!("errata {arguments:?}");
        let line_breaks: &[char] = if arguments.contains(&"--csv") { &['\r', '\n'] } else { &['\n'] };
        for (stream, bytes) in [("output", &output.stdout), ("errors", &output.stderr)] {
            check(&format!("{about}: {stream}"), std::str::from_utf8(bytes).unwrap(), line_breaks);
        }
        assert_ne!(output.status.code(), Some(2), "{about}: {}", String::from_utf8_lossy(&output.stderr));
        assert!(output.stdout.len() > 20, "{about} shows nothing");
        let text = String::from_utf8(output.stdout).unwrap();
        let is_for_people = !arguments.iter().any(|flag| ["--csv", "--json", "--body"].contains(flag));
        let longest = text.lines().map(|line| line.chars().count()).max().unwrap_or_default();
        assert!(!is_for_people || longest <= 200, "{about}: a line of {longest}");
    }
    collector.stop().await.unwrap();
}
