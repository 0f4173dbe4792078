use chrono::DateTime;

use super::*;

fn times() -> Times {
    Times::utc(DateTime::parse_from_rfc3339("2026-11-22T14:05:00Z").unwrap().to_utc())
}

fn found() -> Value {
    let buckets = [1, 1, 2, 1, 1, 5, 7, 2, 1].map(|events| json!({"events": events}));
    json!({
        "request_id": "550e8400-e29b-41d4-a716-446655440000",
        "state": "found",
        "first_seen": "2026-11-17T14:02:07.120Z",
        "last_seen": "2026-11-17T14:02:07.120Z",
        "events": [{
            "request_id": "550e8400-e29b-41d4-a716-446655440000",
            "timestamp": "2026-11-17T14:02:07.120Z",
            "status": 422, "service": "igny8-api", "environment": "production", "release": "2026.11.2",
            "method": "POST", "route": "/api/v1/planner/keywords/", "error": "Validation failed",
            "account_id": "17", "user_id": "89", "fingerprint": "9",
            "errors": [{"field": "site_id", "path": "site_id", "message": "Site must belong to your account"}],
        }],
        "explanation": [{
            "headline": "The site sent does not belong to this account",
            "status": {"code": 422, "title": "Unprocessable Entity", "meaning": "Validation failed", "causes": [], "solution": ""},
            "fields": [{
                "field": "site_id", "path": "site_id", "message": "Site must belong to your account", "rule": "not_owned",
                "documented": true, "description": "Site access denied", "module": "planner",
                "cause": "The request names a site of another account, or one that was deleted since the page was loaded.",
                "solution": "Send the id of a site that GET /api/v1/auth/sites/ lists for this account.",
            }],
            "scenario": {"title": "Validation Error", "solution": "Provide all required fields with valid values."},
            "documented": true,
        }],
        "impact": {
            "events": 1749, "accounts": 12, "account_events": 1067, "account_share": 0.61,
            "first_seen": "2026-11-17T09:12:00Z", "last_seen": "2026-11-17T14:31:00Z",
            "buckets": buckets, "releases": ["2026.11.1", "2026.11.2"],
        },
        "rate_limit": null,
        "related": [
            {"timestamp": "2026-11-17T14:01:58Z", "request_id": "a", "status": 429, "method": "POST",
             "route": "/api/v1/planner/clusters/auto_cluster/", "error": "Rate limit exceeded"},
            {"timestamp": "2026-11-17T14:02:31Z", "request_id": "b", "status": 422, "method": "POST",
             "route": "/api/v1/planner/keywords/", "error": "Validation failed"},
        ],
        "customer_reply": "Your request named a site that is not in your account. Choose one of your own sites and send it again.\nYour reference: 550e8400.",
        "links": {"console": "http://127.0.0.1:8080/requests/550e8400-e29b-41d4-a716-446655440000"},
    })
}

fn plain(data: &Value) -> String {
    page::render(Node::of(data), Colour::Off, &times(), false)
}

const PAGE: &str = "\
The site sent does not belong to this account              422 Validation failed
550e8400-e29b-41d4-a716-446655440000
POST /api/v1/planner/keywords/ · igny8-api 2026.11.2
Tue 17 Nov 2026 14:02:07 UTC (5 d ago) · account 17 · user 89

What went wrong
  site_id           Site must belong to your account
                    documented · rule: not_owned · planner
                    Cause: The request names a site of another account, or one
                    that was deleted since the page was loaded.
                    Solution: Send the id of a site that GET /api/v1/auth/sites/
                    lists for this account.
  Scenario: Validation Error: Provide all required fields with valid values.

How widespread
  ▂▂▃▂▂▆█▃▂ 1,749 events, 12 accounts in the hour around
  this account: 61 % of them (1,067)
  the first of them 17 Nov 09:12:00, last 17 Nov 14:31:00
  in releases 2026.11.1, 2026.11.2

Reply to the customer
  Your request named a site that is not in your account. Choose one of your own
  sites and send it again.
  Your reference: 550e8400.

Timeline of this request and of the account around it
  14:01:58 429 POST /api/v1/planner/clusters/auto_… Rate limit exceeded
▸ 14:02:07 422 POST /api/v1/planner/keywords/       this request
  14:02:31 422 POST /api/v1/planner/keywords/       Validation failed

http://127.0.0.1:8080/requests/550e8400-e29b-41d4-a716-446655440000
";

#[test]
fn a_found_request_reads_like_the_console() {
    assert_eq!(plain(&found()), PAGE);
}

#[test]
fn colour_changes_nothing_but_colour() {
    let coloured = page::render(Node::of(&found()), Colour::On, &times(), false);
    assert!(coloured.contains("\x1b[1m\x1b[33m422 Validation failed\x1b[0m"), "{coloured:?}");
    assert!(coloured.contains("\x1b[1m\x1b[34m429\x1b[0m"), "{coloured:?}");
    let stripped = regex::Regex::new("\x1b\\[[0-9;]*m").unwrap().replace_all(&coloured, "").into_owned();
    assert_eq!(stripped, PAGE);
}

#[test]
fn hostile_payloads_stay_inert_and_within_80_columns() {
    let evil = "\x1b]0;owned\x07\x1b[2J\u{202e}gpj.exe\u{9b}31m ".repeat(8);
    let mut data = found();
    for pointer in [
        "/request_id",
        "/events/0/service",
        "/events/0/route",
        "/events/0/error",
        "/events/0/account_id",
        "/explanation/0/headline",
        "/explanation/0/fields/0/path",
        "/explanation/0/fields/0/message",
        "/explanation/0/fields/0/cause",
        "/explanation/0/fields/0/rule",
        "/related/0/error",
        "/related/0/route",
        "/customer_reply",
        "/events/0/method",
    ] {
        *data.pointer_mut(pointer).unwrap() = json!(evil);
    }
    data["events"][0]["exception"] = json!({"type": evil, "message": evil, "stacktrace": format!("File \"{evil}")});
    let page = plain(&data);
    let is_harmful = |character: char| character.is_control() && character != '\n' || character == '\u{202e}';
    assert!(!page.chars().any(is_harmful), "{page:?}");
    for line in page.lines() {
        assert!(terminal::columns(line) <= terminal::WIDTH, "{line}");
    }
}

#[test]
fn an_error_without_fields_is_explained_by_its_status_and_exception() {
    let mut data = found();
    data["events"][0]["status"] = json!(500);
    data["events"][0]["errors"] = json!([]);
    data["events"][0]["exception"] = json!({
        "type": "OperationalError", "message": "no such column",
        "stacktrace": "Traceback (most recent call last):\n  File \"/a.py\", line 1, in x\n    y()\n  File \"/b.py\", line 2, in y\n  File \"/v/site-packages/z.py\", line 3, in z\nOperationalError: no",
    });
    data["explanation"][0]["fields"] = json!([]);
    data["explanation"][0]["status"] = json!({
        "meaning": "Server error", "causes": ["Unexpected server error", "Database error"],
        "solution": "Retry request. If persistent, contact support with request_id.",
    });
    let page = plain(&data);
    for expected in [
        "  Server error\n  Causes: Unexpected server error; Database error\n  Solution: Retry request.",
        "  Exception: OperationalError: no such column\n  at: File \"/b.py\", line 2, in y\n",
    ] {
        assert!(page.contains(expected), "{expected}\n{page}");
    }
}

#[test]
fn a_rate_limit_says_how_long_to_wait() {
    let mut data = found();
    data["rate_limit"] = json!({
        "limit": 10, "remaining": 0, "reset": 1_794_924_139, "wait_seconds_then": 11.4, "wait_seconds_now": 0,
        "episode": {"start": "2026-11-17T13:58:01Z", "end": "2026-11-17T14:02:19Z", "events": 28, "retries_before_reset": 14},
    });
    let page = plain(&data);
    let expected = "\
Rate limit
  limit 10, 0 left, reset at 14:02:19
  had to wait 12 s then; the limit is open again now
  episode 17 Nov 13:58:01 to 14:02:19: 28 refusals, 14 retries before the reset
";
    assert!(page.contains(expected), "{page}");
}

#[test]
fn several_events_of_one_id_show_each_kind_once() {
    let mut data = found();
    let mut other = data["events"][0].clone();
    other["fingerprint"] = json!("10");
    other["error"] = json!("Rate limit exceeded");
    let same = data["events"][0].clone();
    data["events"].as_array_mut().unwrap().extend([other, same]);
    let page = plain(&data);
    assert_eq!(page.matches("What went wrong").count(), 2);
    assert!(page.contains("3 events carry this id"), "{page}");
    assert_eq!(page.matches("this request").count(), 3 + 1, "three rows and the title: {page}");
}

#[test]
fn an_answer_with_nothing_in_it_is_still_a_page() {
    for data in [json!({}), json!(null), json!({"events": [{}], "explanation": {}, "impact": [], "related": 7})] {
        assert!(plain(&data).contains("Timeline"));
    }
}

#[test]
fn pending_says_what_the_collector_says() {
    let page = plain(&json!({"request_id": "r1", "state": "pending", "message": "safe in the spool; 3 s behind"}));
    assert_eq!(page, "pending: r1\n  safe in the spool; 3 s behind\n");
    let page = plain(&json!({"request_id": "r1", "state": "pending"}));
    assert!(page.contains("not queryable yet"), "{page}");
}

#[test]
fn an_event_without_an_account_says_nothing_of_accounts() {
    let mut data = found();
    data["events"][0].as_object_mut().unwrap().remove("account_id");
    for (key, value) in [("events", 1), ("accounts", 0), ("account_events", 0), ("account_share", 0)] {
        data["impact"][key] = json!(value);
    }
    let page = plain(&data);
    assert!(page.contains("1 event in the hour around\n"), "{page}");
    assert!(!page.contains("account:") && !page.contains("0 accounts"), "{page}");
    assert!(page.contains("\nTimeline of this request\n"), "{page}");
}

/// A page of an event with this status and general error, below the headline "Headline".
fn page_of_error(status: u16, error: &str, response: &Value) -> String {
    let mut data = found();
    data["explanation"][0]["headline"] = json!("Headline");
    data["events"][0]["status"] = json!(status);
    data["events"][0]["error"] = json!(error);
    data["events"][0]["response"] = response.clone();
    plain(&data)
}

#[test]
fn an_error_that_begins_with_its_status_says_it_once() {
    for (error, badge) in [("502 Bad Gateway", "502 Bad Gateway"), ("502", "502"), ("5023 x", "502 5023 x")] {
        let page = page_of_error(502, error, &Value::Null);
        let first: Vec<_> = page.lines().next().unwrap().split_whitespace().collect();
        assert_eq!(first[1..].join(" "), badge);
    }
}

#[test]
fn a_traceback_as_error_is_told_by_its_last_line() {
    let traceback = "Traceback (most recent call last):\n  File \"/a.py\", line 1, in x\n    y()\nKeyError: 'seats'\n";
    // The event's own text may have been cut in the middle.
    for error in [traceback, &traceback[..50]] {
        let page = page_of_error(500, error, &json!(traceback));
        assert!(page.lines().next().unwrap().ends_with(" 500 KeyError: 'seats'"), "{page}");
        assert!(page.contains("  at: File \"/a.py\", line 1, in x\n") && !page.contains("Traceback"), "{page}");
    }
}

#[test]
fn an_error_too_long_for_the_headline_is_shown_whole() {
    let long = "the upstream connection pool of the billing service is exhausted";
    let page = page_of_error(503, long, &Value::Null);
    assert!(page.contains(&format!("What went wrong\n  Error: {long}\n")), "{page}");
    assert!(page_of_error(503, "first\nsecond", &Value::Null).contains("  Error: first\n  second\n"));
    assert!(!page_of_error(503, "short", &Value::Null).contains("Error: short"));
}

#[test]
fn a_missing_method_leaves_no_gap() {
    let mut data = found();
    data["events"][0].as_object_mut().unwrap().remove("method");
    let page = plain(&data);
    assert!(page.contains("\n/api/v1/planner/keywords/ · igny8-api") && page.contains("422 /api/v1/pl"), "{page}");
}

#[test]
fn the_body_is_shown_when_asked_for_and_inert() {
    let with = |response: Value| {
        let mut data = found();
        data["events"][0]["response"] = response;
        page::render(Node::of(&data), Colour::Off, &times(), true)
    };
    let page = with(json!({"error": "\u{9b}2J"}));
    assert!(page.contains("\nResponse body\n  {\n    \"error\": \"\\u009b2J\"\n  }\n"), "{page}");
    assert!(with(json!("<h1>\x1b[2J\n</h1>")).contains("  <h1>\\u{1b}[2J\n  </h1>\n"));
    assert!(with(Value::Null).contains("Response body\n  (none stored)\n"));
    assert!(!plain(&found()).contains("Response body"));
}

#[test]
fn a_blank_id_is_wrong_usage() {
    assert!(not_blank("req_1").is_ok());
    for text in ["", " \n"] {
        assert!(not_blank(text).unwrap_err().contains("expected a request id"));
    }
}

#[test]
fn a_ticket_is_a_list() {
    let data = json!({"results": [
        {"request_id": "550e8400-e29b-41d4-a716-446655440000", "state": "found", "status": 422,
         "headline": "The site sent does not belong to this account", "timestamp": "2026-11-17T14:02:07Z",
         "service": "igny8-api", "route": "/api/v1/planner/keywords/"},
        {"request_id": "req_1", "state": "pending"},
        {"request_id": "req_2", "state": "not_found", "reason": "never received"},
    ]});
    let expected = "\
550e8400-e29b-41d4-a716-446655440000  422  17 Nov 14:02:07
    The site sent does not belong to this account · igny8-api
    /api/v1/planner/keywords/
req_1                                 pending
    received and safe, not queryable yet
req_2                                 not found
    never received
";
    assert_eq!(bulk::render(Node::of(&data), Colour::Off, &times()), expected);
    assert_eq!(bulk::exit(Node::of(&data)), Exit::Negative);
    assert_eq!(bulk::exit(Node::of(&json!({"results": [data["results"][0], data["results"][1]]}))), Exit::Done);
    assert_eq!(bulk::exit(Node::of(&json!({"results": []}))), Exit::Negative);
}

#[test]
fn every_id_that_was_named_is_answered_for() {
    let uuid = "550E8400-E29B-41D4-A716-446655440000";
    let mut data = json!({"results": [{"request_id": uuid.to_lowercase(), "state": "found", "status": 422}]});
    bulk::add_missing(&mut data, &[uuid.to_owned(), "word".to_owned()]);
    assert_eq!(data["results"].as_array().unwrap().len(), 2);
    let text = bulk::render(Node::of(&data), Colour::Off, &times());
    assert!(
        text.contains("word                                  not found\n    among others this is taken for a word"),
        "{text}"
    );
}

#[test]
fn an_id_asked_for_alone_is_a_row_like_the_others() {
    let data = json!({"results": [bulk::row("tb-1", Node::of(&found()))]});
    let text = bulk::render(Node::of(&data), Colour::Off, &times());
    assert!(
        text.starts_with("tb-1                                  422  17 Nov 14:02:07\n    The site sent"),
        "{text}"
    );
    assert_eq!(bulk::exit(Node::of(&data)), Exit::Done);
}

#[test]
fn one_id_is_a_page_and_text_is_a_list() {
    let of = |ids: &[&str]| Question::of(&ids.iter().map(|id| (*id).to_owned()).collect::<Vec<_>>()).unwrap();
    assert_eq!(of(&[" req_1 "]), Question::One("req_1".into()));
    assert_eq!(of(&["req_1", "req_2"]), Question::Several(vec!["req_1".into(), "req_2".into()]));
    assert_eq!(of(&["see req_1", "req_2"]), Question::Text("see req_1 req_2".into()));
    assert_eq!(of(&["please see req_1"]), Question::Text("please see req_1".into()));
}

#[test]
fn a_404_of_an_id_tells_the_reasons() {
    let refused = |errors: &[(&str, &str)]| Refused {
        status: StatusCode::NOT_FOUND,
        error: "Resource not found".into(),
        errors: errors.iter().map(|(field, text)| ((*field).to_owned(), vec![(*text).to_owned()])).collect(),
        data: Value::Null,
        request_id: String::new(),
        retry_after: None,
        throttle_limit: None,
    };
    let known = refused(&[("request_id", "never received: the first event came at 09:12")]);
    assert!(is_not_found(&known));
    assert_eq!(not_found("a\x1b", &known), "not found: a\\u{1b}\n  never received: the first event came at 09:12\n");
    assert!(!is_not_found(&refused(&[])), "a 404 of the path is no answer about an id");
}
