//! The catalog with live numbers, and where the API and its reference differ.

use std::process::Command;

use serde_json::{Value, json};

use crate::collector::{Collector, event};

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
    assert_eq!(lines("undocumented,status,"), ["undocumented,status,1,418,,,,,,,,"]);
    let [colour] = lines("undocumented,field,")[..] else { panic!("{text}") };
    assert!(
        colour.contains(",colour,") && colour.contains(",No such colour,") && colour.ends_with(",req_3"),
        "{colour}"
    );
    let [teapot] = lines("undocumented,error,")[..] else { panic!("{text}") };
    assert!(teapot.starts_with("undocumented,error,1,418,,,,,I am a teapot,2026-11-22T11:59"), "{teapot}");
    assert_eq!((lines("unobserved,status,").len(), lines("unobserved,field,").len()), (missing.len(), all - 1));
    let output = run(&[], "2026-11-31").await.unwrap();
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.code() == Some(2) && text.contains("there is no 2026-11-31 in the calendar"), "{text}");
    collector.stop().await.unwrap();
}
