use super::*;

#[test]
fn lines_are_decoded_one_by_one() {
    let body = "\u{feff}{\"status\":500}\r\n\n  \t\r\nnope\n[]\n{\"status\":404}";
    let decoded = ndjson(body).unwrap();
    let statuses: Vec<_> = decoded.events.iter().map(|(index, event)| (*index, event.status)).collect();
    assert_eq!(statuses, [(0, 500), (3, 404)]);
    let rejects: Vec<_> = decoded.rejects.iter().map(|reject| (reject.index, reject.reason)).collect();
    assert_eq!(rejects, [(1, Reason::InvalidJson), (2, Reason::NotAnObject)]);
}

#[test]
fn a_body_without_any_json_line_is_refused_with_the_first_place() {
    let refusal = ndjson("\n{\"status\":50x}\nnope").unwrap_err();
    assert!(matches!(refusal, Refusal::NotJson { line: 2, column: 13, .. }), "{refusal:?}");
    let refusal = ndjson("[\n{\n\"status\":\n}\n]").unwrap_err().to_string();
    assert!(refusal.contains("application/json"), "{refusal}");
    let refusal = ndjson(b"{\"a\":\"\xff\"}").unwrap_err();
    assert!(matches!(&refusal, Refusal::NotJson { line: 1, column: 7, message } if message.contains("UTF-8")));
}

#[test]
fn a_line_that_is_not_utf8_is_rejected_alone() {
    let decoded = ndjson(b"{\"status\":500}\n{\"status\":500,\"host\":\"\xff\"}\n").unwrap();
    assert_eq!(decoded.events.len(), 1);
    let reject = &decoded.rejects[0];
    assert!(reject.reason == Reason::InvalidJson && reject.errors[0].1.contains("UTF-8"), "{reject:?}");
}

#[test]
fn arrays_and_single_objects_are_taken() {
    assert_eq!(array(r#"{"status":500}"#).unwrap().events.len(), 1);
    let decoded = array("\u{feff} [ {\"status\":500}, 7, {\"status\":200} , {\"status\":404} ] ").unwrap();
    assert_eq!(decoded.events.iter().map(|(index, _)| *index).collect::<Vec<_>>(), [0, 3]);
    let rejects: Vec<_> = decoded.rejects.iter().map(|reject| (reject.index, reject.reason)).collect();
    assert_eq!(rejects, [(1, Reason::NotAnObject), (2, Reason::InvalidStatus)]);
    assert_eq!(array("42").unwrap().rejects[0].reason, Reason::NotAnObject);
}

#[test]
fn a_syntax_error_anywhere_in_a_document_refuses_all_of_it() {
    for body in
        ["[{\"status\":500},\n {\"status\":}]", "[{\"status\":500},\n {\"status\":500}x]", "{\n \"status\":50x}"]
    {
        assert!(matches!(array(body), Err(Refusal::NotJson { line: 2, .. })), "{body}: {:?}", array(body));
    }
    for body in ["[{\"status\":500}] x", "[{\"status\":500}", "{\"status\":500}{", "[,]"] {
        assert!(matches!(array(body), Err(Refusal::NotJson { line: 1, .. })), "{body}: {:?}", array(body));
    }
    let refusal = array(b"[\n\"\xff\"]").unwrap_err();
    assert!(matches!(refusal, Refusal::NotJson { line: 2, column: 2, .. }), "{refusal:?}");
}

#[test]
fn empty_bodies_are_refused() {
    for body in ["", " \r\n\n", "\u{feff}"] {
        assert!(matches!(ndjson(body), Err(Refusal::Empty)), "{body:?}");
        assert!(matches!(array(body), Err(Refusal::Empty)), "{body:?}");
    }
    assert!(matches!(array("[ ]"), Err(Refusal::Empty)));
}

#[test]
fn items_are_limited_in_number() {
    let limits = Limits { items: 3, ..Limits::default() };
    let context = Context { limits: &limits, ..context() };
    let lines = |count: usize| "{\"status\":500}\n".repeat(count);
    assert_eq!(events(Format::Ndjson, lines(3).as_bytes(), context).unwrap().events.len(), 3);
    let refusal = events(Format::Ndjson, lines(4).as_bytes(), context).unwrap_err();
    assert!(matches!(refusal, Refusal::TooMany { limit: 3 }), "{refusal:?}");
    let refusal = events(Format::Ndjson, "nope\n".repeat(100).as_bytes(), context).unwrap_err();
    assert!(matches!(refusal, Refusal::NotJson { line: 1, .. }), "{refusal:?}");
    assert!(matches!(events(Format::Json, b"[1,2,3,4,5,6]", context), Err(Refusal::TooMany { limit: 3 })));
    assert!(matches!(events(Format::Json, b"[1,2,3,4,5,x]", context), Err(Refusal::NotJson { .. })));
}

#[test]
fn items_are_limited_in_size_and_depth_and_their_id_is_kept() {
    let large = json!({"status": 500, "request_id": "req_big", "response": "x".repeat(300 << 10)});
    let deep = format!("{{\"status\":500,\"response\":{}{}}}", "[".repeat(200), "]".repeat(200));
    for decoded in [ndjson(format!("{large}\n{deep}\n")).unwrap(), array(format!("[{large},{deep}]")).unwrap()] {
        assert_eq!(decoded.rejects[0].reason, Reason::TooLarge);
        assert_eq!(decoded.rejects[0].request_id.as_ref().unwrap().as_str(), "req_big");
        assert_eq!(decoded.rejects[1].reason, Reason::TooDeep);
    }
    let nested = "[".repeat(100_000);
    assert!(matches!(array(&nested), Err(Refusal::NotJson { .. })));
    assert!(ndjson(&nested).is_ok_and(|decoded| decoded.rejects[0].reason == Reason::TooDeep));
}

#[test]
fn a_secret_that_a_message_repeats_reaches_no_part_of_the_event() {
    let text = "'PWSEVEN7' is too short";
    let joi = "\"password\" with value \"PWSEVEN7\" fails to match the required pattern";
    let issues = json!([{"code": "custom", "path": ["password"], "message": text, "input": "PWSEVEN7"}]).to_string();
    let bodies = [
        json!({"errors": {"password": [text]}}),
        json!({"password": [text]}),
        json!({"errors": [{"pointer": "#/password", "detail": text}]}),
        json!({"errors": [{"source": {"pointer": "/data/attributes/password"}, "detail": text, "meta": {"value": "PWSEVEN7"}}]}),
        json!({"message": joi, "details": [{"message": joi, "path": ["password"], "context": {"value": "PWSEVEN7", "key": "password"}}]}),
        json!({"error": {"message": text, "param": "password"}}),
        json!({"error": joi}),
        json!({"error": {"name": "ZodError", "message": issues}}),
        json!({"detail": [{"loc": ["body", "password"], "msg": text, "input": "PWSEVEN7", "ctx": {"given": "PWSEVEN7"}}]}),
    ];
    for body in bodies {
        let errors = body.get("errors").unwrap_or(&body["details"]);
        for sent in [
            json!({"status": 422, "response": body}),
            json!({"response": body.to_string()}),
            json!({"errors": errors, "error": body["error"]}),
        ] {
            let event = format!("{:?}", event(sent.clone()));
            assert!(!event.contains("PWSEVEN7"), "{sent}: {event}");
        }
        let event = event(json!({"status": 422, "response": body}));
        assert!(event.marks.contains(Marks::SCRUBBED), "{body}");
        assert!(body["error"].is_string() || event.errors[0].field == "password", "{body}: {:?}", event.errors);
    }
    for sent in [json!({"error": joi}), json!({"error": issues}), json!({"response": joi})] {
        assert!(!format!("{:?}", event(sent.clone())).contains("PWSEVEN7"), "{sent}");
    }
}
