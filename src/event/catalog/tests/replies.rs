//! What customers are told, and what they are never told.

use super::{REQUEST_ID, event, reply};
use crate::event::{Event, Exception, RateLimit};

const PLANNER: &str = "/api/v1/planner/keywords/";

fn server_error() -> Event {
    let mut event = event(500, PLANNER, "OperationalError: table igny8_writer has no column", &[]);
    event.exception = Some(Exception {
        r#type: "django.db.utils.OperationalError".to_owned(),
        message: "no such column model_tier".to_owned(),
        stacktrace: "Traceback (most recent call last):\n File \"/srv/app.py\"".to_owned(),
    });
    event.response =
        r#"{"error": "OperationalError: table igny8_writer has no column", "detail": "secret"}"#.to_owned();
    event
}

#[test]
fn a_reply_says_what_happened_what_to_do_and_the_request_id() {
    let text = reply(&event(422, PLANNER, "Validation failed", &[("site_id", "Site must belong to your account")]));
    assert_eq!(
        text,
        format!(
            "Hello,\n\nthank you for getting in touch about your request of 14 November 2023, 22:13:20 UTC.\n\nYour request was \
             not carried out. Your request named a site that is not in your account. Please choose one of your own sites; \
             if the site is yours, check that you are signed in to the right account. (The field is “site_id”.)\n\nIf you need \
             more help with this, please mention the request ID {REQUEST_ID}.\n"
        )
    );
}

#[test]
fn a_server_error_tells_nothing_of_the_server() {
    let mut with_fields = server_error();
    with_fields.errors = event(400, "", "", &[("db_column", "IntegrityError in igny8_writer")]).errors;
    for event in [server_error(), with_fields] {
        let text = reply(&event);
        let told = [
            "Operational",
            "igny8",
            "column",
            "Traceback",
            "app.py",
            "secret",
            "django",
            "planner",
            "web-17",
            "4711",
            "815",
            "Integrity",
            "192.0",
        ];
        for internal in told {
            assert!(!text.contains(internal), "{internal:?} in {text}");
        }
        assert!(text.contains("on our side") && text.contains(REQUEST_ID), "{text}");
    }
}

#[test]
fn no_reply_names_route_host_account_or_user() {
    for status in 400..=599 {
        let text = reply(&event(status, PLANNER, "Validation failed", &[("x", "strange message")]));
        for internal in ["/api/", "planner", "web-17", "igny8", "acct-4711", "user-815", "192.0.2.1", "production"] {
            assert!(!text.contains(internal), "{status}: {internal:?} in {text}");
        }
    }
}

#[test]
fn several_field_errors_are_a_list_with_an_end() {
    let text = reply(&event(
        400,
        PLANNER,
        "Validation failed",
        &[("site_id", "This field is required"), ("keywords[3].volume", "Must be odd.")],
    ));
    assert!(text.contains("\n- site_id: Your request did not name a site."), "{text}");
    assert!(text.contains("\n- keywords[3].volume: “keywords[3].volume” was not accepted."), "{text}");
    assert!(text.contains("The answer said: “Must be odd.”"), "{text}");
    let many: Vec<_> = (0..5000).map(|_| ("f", "bad")).collect();
    let text = reply(&event(400, PLANNER, "", &many));
    assert_eq!(text.matches("\n- ").count(), 11, "{text}");
    assert!(text.contains("4990 more") && text.len() < 4000, "{text}");
}

#[test]
fn messages_with_words_of_their_own_are_not_quoted() {
    let event = event(
        409,
        "/api/v1/system/integrations/",
        "Conflict",
        &[("api_key", "API key igk_live_9c14f0f63ab01eff0e10ff08 is already connected by someone@other.example")],
    );
    let text = reply(&event);
    assert!(!text.contains("igk_live") && !text.contains('@'), "{text}");
    assert!(text.contains("already in use for another connection"), "{text}");
}

#[test]
fn quotations_mask_addresses_and_keys_and_leave_out_program_output() {
    let quoted = |message| reply(&event(400, PLANNER, "", &[("f", message)]));
    let text = quoted("taken by jo@other.example with key sk_live_0123456789abcdef01234");
    assert!(text.contains("“taken by […] with key […]”"), "{text}");
    let text = quoted("taken by [email:3f9a2c51d0be].");
    assert!(text.contains("“taken by […]”"), "{text}");
    for internal in ["Traceback (most recent call last)", "KeyError: 'x'", "line one\nline two", "  "] {
        assert!(!quoted(internal).contains("The answer said"), "{internal}");
    }
}

#[test]
fn the_general_message_is_quoted_only_when_the_customer_saw_it() {
    let mut event = event(403, PLANNER, "Robots may not pass", &[]);
    assert!(reply(&event).contains("The answer to it read: “Robots may not pass”"));
    for unseen in ["", "Robots may not pass", r#"{"error": "no"}"#] {
        event.response = unseen.to_owned();
        assert!(!reply(&event).contains("Robots"), "{unseen}");
    }
    let documented = super::event(403, PLANNER, "Permission denied", &[]);
    assert!(!reply(&documented).contains("“Permission denied”"));
}

#[test]
fn a_rate_limit_says_when_to_retry() {
    let mut event = event(429, PLANNER, "Rate limit exceeded", &[]);
    event.rate_limit = Some(RateLimit { limit: Some(60), remaining: Some(0), reset: Some(1_700_000_042) });
    let text = reply(&event);
    assert!(text.contains("The limit is 60 requests."), "{text}");
    assert!(text.contains("taken again from 14 November 2023, 22:14:02 UTC (42 seconds after it)."), "{text}");
    for nonsense in [i64::MAX, i64::MIN, 0, 1_800_000_000] {
        event.rate_limit = Some(RateLimit { limit: None, remaining: None, reset: Some(nonsense) });
        assert!(!reply(&event).contains("taken again from"), "{nonsense}");
    }
    event.timestamp_ms = i64::MAX;
    assert!(reply(&event).contains("please wait for the limit to reset"));
}

#[test]
fn hostile_texts_are_stripped_and_bounded() {
    let path = format!("a\u{1b}[2J\u{202e}\0{}", "b".repeat(100_000));
    let message = format!("\u{7}<script>\u{200b}{}", "word ".repeat(100_000));
    let event = event(400, PLANNER, "x", &[(&path, &message), (&path, &message)]);
    let text = reply(&event);
    let allowed = |character: char| character == '\n' || !character.is_control();
    assert!(text.chars().all(allowed) && !text.contains('\u{202e}') && !text.contains('\u{200b}'), "{text}");
    assert!(text.chars().count() < 2000, "{}", text.len());
}
