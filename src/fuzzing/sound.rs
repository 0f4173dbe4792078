//! What holds for every event, whatever it was made of.

use crate::event::{Event, Marks, codec, fingerprint};

/// Asserts it.
pub fn assert_event(event: &Event) {
    assert!((400..=599).contains(&event.status), "status {}", event.status);
    assert!(event.duration_ms.is_none_or(|duration| duration >= 0.0), "duration {:?}", event.duration_ms);
    assert_lengths(event);
    for text in texts(event) {
        assert!(!text.contains('\0'), "a NUL character in {text:?}");
    }
    assert_eq!(fingerprint::of(event), event.fingerprint);
    let payload = codec::encode(event);
    assert_eq!(codec::decode(&payload).unwrap(), *event, "an event is read back as it was written");
}

fn assert_lengths(event: &Event) {
    let short = [&event.service, &event.environment, &event.release, &event.host, &event.account_id, &event.user_id];
    for text in short {
        assert!(text.len() <= 256, "{text:?}");
    }
    let limits = [
        (&event.method, 32),
        (&event.path, 2048),
        (&event.route, 2048),
        (&event.error, 2048),
        (&event.error_template, 512),
        (&event.code, 128),
        (&event.response, 32 << 10),
        (&event.user_agent, 512),
        (&event.trace_id, 128),
        (&event.span_id, 128),
    ];
    for (text, limit) in limits {
        assert!(text.len() <= limit, "{} bytes of at most {limit}: {text:?}", text.len());
    }
    assert!(event.errors.len() <= 200);
    for error in &event.errors {
        assert!(error.field.len() <= 512 && error.path.len() <= 512 && error.message.len() <= 2048, "{error:?}");
        assert!(!error.rule.is_empty(), "{error:?}");
    }
    for (name, value) in event.request_headers.iter().chain(&event.response_headers) {
        assert!(name.len() <= 64 && value.len() <= 512, "{name:?}: {value:?}");
    }
    assert!(event.request_headers.len() <= 48 && event.response_headers.len() <= 48);
    assert!(event.attributes.len() <= 64);
    for (name, value) in &event.attributes {
        assert!(name.trim_end_matches('_').len() <= 128 && value.len() <= 2048, "{name:?}: {value:?}");
    }
    if let Some(exception) = &event.exception {
        let (kind, message, trace) = (&exception.r#type, &exception.message, &exception.stacktrace);
        assert!(kind.len() <= 256 && message.len() <= 4096 && trace.len() <= 32 << 10, "{exception:?}");
    }
}

/// Every text of an event that came from a client.
pub fn texts(event: &Event) -> Vec<&str> {
    let mut texts: Vec<&str> = vec![
        event.request_id.as_str(),
        &event.event_id,
        &event.service,
        &event.environment,
        &event.release,
        &event.host,
        &event.method,
        &event.path,
        &event.route,
        &event.error,
        &event.error_template,
        &event.code,
        &event.response,
        &event.account_id,
        &event.user_id,
        &event.client_ip,
        &event.user_agent,
        &event.trace_id,
        &event.span_id,
    ];
    for error in &event.errors {
        texts.extend([error.field.as_str(), &error.path, &error.message, &error.rule]);
    }
    for (name, value) in event.request_headers.iter().chain(&event.response_headers).chain(&event.attributes) {
        texts.extend([name.as_str(), value]);
    }
    if let Some(exception) = &event.exception {
        texts.extend([exception.r#type.as_str(), &exception.message, &exception.stacktrace]);
    }
    texts
}

/// Whether there was no room for another attribute.
pub fn attributes_are_full(event: &Event) -> bool {
    event.marks.contains(Marks::CUT) && event.attributes.len() == 64
}

/// The value of an attribute, also of one that had to be called `NAME_` because others had its name.
pub fn attribute<'e>(event: &'e Event, name: &str) -> Option<&'e str> {
    let mut named = event.attributes.iter().filter(|(taken, _)| taken.trim_end_matches('_') == name);
    named.next().map(|(_, value)| value.as_str())
}
