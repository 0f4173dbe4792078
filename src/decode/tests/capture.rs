use super::*;

#[test]
fn every_captured_exchange_is_decoded() {
    let decoded = ndjson(captured()).unwrap();
    assert_eq!(decoded.rejects, []);
    let mut statuses = BTreeMap::new();
    for (_, event) in &decoded.events {
        *statuses.entry(event.status).or_insert(0) += 1;
    }
    let expected = [
        (400, 4780),
        (401, 648),
        (403, 138),
        (404, 531),
        (405, 35),
        (406, 21),
        (409, 1091),
        (415, 33),
        (422, 1042),
        (429, 2110),
        (500, 831),
    ];
    assert_eq!(statuses, BTreeMap::from(expected));
    let ids: std::collections::HashSet<_> = decoded.events.iter().map(|(_, event)| &event.request_id).collect();
    assert_eq!(ids.len(), 10_867);
    let keys: std::collections::HashSet<_> = decoded.events.iter().map(|(_, event)| event.key).collect();
    assert_eq!(keys.len(), 11_260);
}

#[test]
fn no_secret_of_the_capture_is_in_any_event() {
    let body = captured();
    let decoded = ndjson(&body).unwrap();
    let find = |pattern: &str| regex::Regex::new(pattern).unwrap();
    let address = find(r"[A-Za-z0-9._+-]+(?:@|%40)[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)+");
    let token = find(r"ig[kt]_[A-Za-z0-9_]+|[?&](?:token|api_key)=[^&\s]+");
    let lines = body.split(|&byte| byte == b'\n').filter(|line| !line.is_empty());
    let mut seen = [0; 4];
    for (line, (_, event)) in lines.zip(&decoded.events) {
        let sent: Value = serde_json::from_slice(line).unwrap();
        let encoded = codec::encode(event);
        let stored = String::from_utf8_lossy(&encoded);
        let headers = &sent["request_headers"];
        for (kind, name) in ["Authorization", "Cookie"].into_iter().enumerate() {
            if let Some(value) = headers[name].as_str() {
                seen[kind] += 1;
                let secret = value.rsplit([' ', '=']).next().unwrap();
                assert!(!stored.contains(secret), "{name} in {event:?}");
            }
        }
        let line = std::str::from_utf8(line).unwrap();
        seen[2] += usize::from(address.is_match(line));
        seen[3] += usize::from(token.find_iter(line).any(|found| !found.as_str().starts_with("igt_")));
        let found = address.find(&stored).or_else(|| token.find(&stored));
        assert!(found.is_none(), "{found:?} in {event:?}");
    }
    assert_eq!(seen[..2], [1430, 195]);
    assert!(seen[2] >= 336 && seen[3] >= 22 + 37, "{seen:?}");
}

#[test]
fn field_errors_of_the_capture_keep_their_words_and_counts() {
    let decoded = ndjson(captured()).unwrap();
    let count = |field: &str, message: &str, rule: &str| {
        let all = decoded.events.iter().flat_map(|(_, event)| &event.errors);
        all.filter(|error| (&*error.field, &*error.message, &*error.rule) == (field, message, rule)).count()
    };
    // From the table of tests/data/README.md, those about secrets among them.
    assert_eq!(count("seed_keyword_id", "This field is required", "required"), 2123);
    assert_eq!(count("title", "This field is required.", "required"), 398);
    assert_eq!(count("email", "User with this email already exists", "unique"), 301);
    assert_eq!(count("password", "Invalid credentials", "credentials"), 144);
    assert_eq!(count("password", "Password must be at least 8 characters", "min_length(8)"), 74);
    assert_eq!(count("api_key", "Invalid API key format", "invalid_format"), 58);
    assert_eq!(
        count(
            "due_date",
            "Datum hat das falsche Format. Nutze stattdessen eines dieser Formate: YYYY-MM-DD.",
            "invalid_format"
        ),
        66
    );
    assert!(count("email", "User with email [email] already exists", "unique") > 0);
}

#[test]
fn quotas_and_kinds_of_the_capture_are_read() {
    let decoded = ndjson(captured()).unwrap();
    let of = |status: u16| decoded.events.iter().map(|(_, event)| event).filter(move |event| event.status == status);
    let spent = of(429).filter_map(|event| event.rate_limit).filter(|quota| quota.remaining == Some(0));
    assert_eq!(spent.filter(|quota| quota.limit.is_some() && quota.reset.is_some()).count(), 2110);
    // The README's table of exceptions has seven rows; three of them are a KeyError of one function.
    let kinds: std::collections::HashSet<_> = of(500).map(|event| event.fingerprint).collect();
    assert_eq!(kinds.len(), 5);
}
