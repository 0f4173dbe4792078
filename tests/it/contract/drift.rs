//! The catalog with live numbers, and where the API and its reference differ.

use std::{collections::BTreeMap, process::Command};

use errata::{config::Config, event::scrub::HashKey, state::Role};
use serde_json::{Value, json};

use super::token;
use crate::{
    collector::{Collector, config, event},
    console::Browser,
};

fn failing(request_id: &str, field: &str, message: &str) -> Value {
    let mut event = event(request_id, 400);
    event["response"]["errors"] = json!({field: [message]});
    event
}

#[tokio::test(flavor = "multi_thread")]
async fn numbers_stand_at_their_entries_and_drift_is_both_ways() {
    let dir = tempfile::tempdir().unwrap();
    let collector = Collector::start(dir.path()).await;
    let mut teapot = event("req_4", 418);
    teapot["response"] = json!({"success": false, "error": "I am a teapot"});
    let mut limited = event("req_5", 429);
    limited["response"] = json!({"success": false, "error": "Rate limit exceeded"});
    collector
        .ship(&[
            failing("req_1", "site_id", "Site must belong to your account"),
            failing("req_2", "site_id", "site must belong to your account."),
            failing("req_3", "colour", "No such colour"),
            teapot,
            limited,
        ])
        .await;
    collector.delivered().await;

    let (status, body) = collector.get("/api/v1/catalog").await;
    assert_eq!(status, 200, "{body}");
    let data = &body["data"];
    let field = |message: &str| {
        let fields = data["fields"].as_array().unwrap();
        fields.iter().find(|entry| entry["message"] == message && entry["module"] == "planner").unwrap().clone()
    };
    let entry = field("Site must belong to your account");
    assert_eq!((&entry["count"], &entry["last_seen"]), (&json!(2), &json!("2026-11-22T11:59:00.000Z")), "{entry}");
    assert_eq!(entry["samples"].as_array().unwrap().len(), 2);
    let events = |code: u16| {
        data["statuses"].as_array().unwrap().iter().find(|entry| entry["code"] == code).unwrap()["events"].clone()
    };
    assert_eq!([events(400), events(429), events(500), events(200)], [json!(3), json!(1), json!(0), json!(0)]);

    let (_, body) = collector.get("/api/v1/catalog/drift").await;
    let (undocumented, unobserved) = (&body["data"]["undocumented"], &body["data"]["unobserved"]);
    assert_eq!(undocumented["statuses"], json!([{"status": 418, "events": 1}]));
    let fields = undocumented["fields"].as_array().unwrap();
    assert_eq!(fields.len(), 1, "{body:#}");
    assert_eq!(
        (&fields[0]["field"], &fields[0]["module"], &fields[0]["count"], &fields[0]["samples"]),
        (&json!("colour"), &json!("planner"), &json!(1), &json!(["req_3"]))
    );
    let errors: Vec<_> =
        undocumented["errors"].as_array().unwrap().iter().map(|error| error["error"].as_str().unwrap()).collect();
    assert_eq!(errors, ["I am a teapot"]);
    let missing: Vec<_> =
        unobserved["statuses"].as_array().unwrap().iter().map(|status| status["status"].as_u64().unwrap()).collect();
    assert!(missing.contains(&500) && !missing.contains(&400) && !missing.contains(&200), "{missing:?}");
    let all = data["fields"].as_array().unwrap().len();
    assert_eq!(unobserved["fields"].as_array().unwrap().len(), all - 1);

    // The command line says the same, and its exit code is for CI.
    let run = |args: &'static [&'static str], from: &'static str| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_errata"));
        command
            .args(["catalog", "drift", "--from", from, "--url", &collector.url, "--token", &collector.token])
            .args(args);
        tokio::task::spawn_blocking(move || command.output().unwrap())
    };
    let output = run(&["--fail-on", "undocumented"], "2026-11-22T00:00:00Z").await.unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(text.contains("No such colour") && text.contains("418"), "{text}");
    let output = run(&["--fail-on", "undocumented", "--service", "other"], "2026-11-22T00:00:00Z").await.unwrap();
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let output = run(&["--json"], "2026-11-22").await.unwrap();
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(serde_json::from_slice::<Value>(&output.stdout).unwrap()["undocumented"], *undocumented);
    let output = run(&["--csv"], "2026-11-22").await.unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let lines = |begin: &str| text.split_terminator("\r\n").filter(|line| line.starts_with(begin)).collect::<Vec<_>>();
    assert_eq!(lines("undocumented,status,"), ["undocumented,status,1,418,,,,,,,,,"]);
    let [colour] = lines("undocumented,field,")[..] else { panic!("{text}") };
    assert!(
        colour.contains(",colour,") && colour.contains(",No such colour,") && colour.ends_with(",req_3"),
        "{colour}"
    );
    let [teapot] = lines("undocumented,error,")[..] else { panic!("{text}") };
    assert!(teapot.starts_with("undocumented,error,1,418,,,,,I am a teapot,,2026-11-22T11:59"), "{teapot}");
    assert_eq!((lines("unobserved,status,").len(), lines("unobserved,field,").len()), (missing.len(), all - 1));
    let output = run(&[], "2026-11-31").await.unwrap();
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.code() == Some(2) && text.contains("there is no 2026-11-31 in the calendar"), "{text}");
    collector.stop().await.unwrap();
}

/// Rows of one side of the undocumented, each by what was asked for.
fn undocumented(body: &Value, side: &str, names: &[&str]) -> Vec<Vec<Value>> {
    let rows = body["data"]["undocumented"][side].as_array().unwrap().iter();
    rows.map(|row| names.iter().map(|name| row[name].clone()).collect()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_that_differ_in_a_value_alone_are_one_row_and_exact_entries_still_match() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("catalog.toml");
    std::fs::write(&file, CATALOG).unwrap();
    let catalog = file.to_str().unwrap().to_owned();
    let mut config = Config { catalog, ..config(dir.path()) };
    config.scrub.hash_key = Some(HashKey::new("0123456789abcdef"));
    let collector = Collector::with(config).await;
    let product = token(dir.path(), "default", &[Role::Product], None, None);
    let general = |id: &str, error: &str| {
        let mut event = event(id, 400);
        event["response"] = json!({"success": false, "error": error});
        event
    };
    let messages = [
        ("kind", "\"abc\" is not a valid choice."),
        ("kind", "\"abc\" is not a valid choice."),
        ("kind", "\"d ef\" is not a valid choice."),
        ("age", "Ensure this value is less than 5."),
        ("age", "Ensure this value is less than 18."),
        // The one that the catalog has.
        ("age", "Ensure this value is less than 21."),
        ("owner", "req_8f14e45fceea is no member."),
        ("owner", "550e8400-e29b-41d4-a716-446655440000 is no member."),
        ("owner", "Nobody is no member."),
        // Stored as tokens, one for each address.
        ("owner", "anna@example.com is no friend."),
        ("owner", "ben@example.com is no friend."),
    ];
    let mut events: Vec<_> =
        (0..).zip(messages).map(|(n, (field, text))| failing(&format!("req_{n}"), field, text)).collect();
    events.extend(
        ["No task 17", "No task 18", "No such task"]
            .iter()
            .enumerate()
            .map(|(n, error)| general(&format!("gen_{n}"), error)),
    );
    collector.ship(&events).await;
    collector.delivered().await;

    let (_, body) = collector.get("/api/v1/catalog/drift").await;
    let mut fields = undocumented(&body, "fields", &["field", "rule", "message", "pattern", "messages", "count"]);
    let friend = fields.iter_mut().find(|row| row[3] == "[email] is no friend.").unwrap();
    assert!(friend[2].take().as_str().unwrap().starts_with("[email:"), "{body:#}");
    let expected = [
        json!(["kind", "invalid_choice", "\"abc\" is not a valid choice.", "{value} is not a valid choice.", 2, 3]),
        json!([
            "age",
            "less_than({n})",
            "Ensure this value is less than 18.",
            "Ensure this value is less than {n}.",
            2,
            2
        ]),
        json!(["owner", "other", "550e8400-e29b-41d4-a716-446655440000 is no member.", "{value} is no member.", 2, 2]),
        json!(["owner", "other", "Nobody is no member.", null, 1, 1]),
        json!(["owner", "other", null, "[email] is no friend.", 2, 2]),
    ];
    let sorted = |rows: Vec<Value>| rows.into_iter().map(|row| (row.to_string(), row)).collect::<BTreeMap<_, _>>();
    assert_eq!(sorted(fields.into_iter().map(Value::Array).collect()), sorted(expected.into()), "{body:#}");
    let errors = undocumented(&body, "errors", &["error", "pattern", "errors", "events"]);
    assert_eq!(json!(errors), json!([["No task 17", "No task {n}", 2, 2], ["No such task", null, 1, 1]]), "{body:#}");
    let (_, catalog) = collector.get("/api/v1/catalog").await;
    assert_eq!(catalog["data"]["fields"][0]["count"], 1, "{catalog:#}");

    // Who sees no people sees the same rows, without what may be somebody's.
    let (_, masked) = collector.read(&product, "/api/v1/catalog/drift").await;
    let text = masked["data"]["undocumented"].to_string();
    assert!(!text.contains("abc") && !text.contains("550e8400"), "{masked:#}");
    let fields = undocumented(&masked, "fields", &["message", "messages", "count"]);
    assert!(fields.contains(&vec![json!("… is not a valid choice."), json!(1), json!(3)]), "{masked:#}");
    assert_eq!(fields.len(), 5, "{masked:#}");

    // The page leads from a row to all its events.
    let mut browser = Browser::signed_in(&collector, &collector.token).await;
    let page = browser.get("/reference?show=undocumented").await;
    page.check("folded");
    assert!(
        page.words().contains("{value} is not a valid choice. invalid_choice 2 different, such as: \"abc\""),
        "{}",
        page.words()
    );
    let links: Vec<_> =
        page.text.split("href=\"").skip(1).map(|part| part.split('"').next().unwrap().replace("&amp;", "&")).collect();
    // What is documented has the words too, and no filter tells it apart.
    for (part, count) in [("is+not+a+valid+choice", 3), ("Ensure+this+value+is+less+than", 3), ("q=No+task", 2)] {
        let link = links
            .iter()
            .find(|link| link.starts_with("/explore") && link.contains(part))
            .unwrap_or_else(|| panic!("{part}: {links:?}"));
        let listed = browser.get(link).await;
        assert_eq!(listed.text.matches("<td class=\"which\">").count(), count, "{link}");
    }
    collector.stop().await.unwrap();
}

/// One message, whose number is said.
const CATALOG: &str = r#"
    api = { name = "x", version = "1" }
    [[status]]
    code = 400
    title = "Bad request"
    meaning = "It does not fit"
    causes = ["c"]
    solution = "s"
    customer = "c"
    errors = ["Validation failed"]
    [[module]]
    name = "all"
    title = "All"
    routes = ["/api/"]
    [[field]]
    module = "all"
    fields = ["age"]
    message = "Ensure this value is less than 21"
    rule = "less_than(21)"
    description = "Too old"
    headline = "Too old"
    cause = "c"
    solution = "s"
    customer = "c"
"#;
