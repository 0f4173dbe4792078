//! Inserting, counting, and what a failure means.

use errata::{
    event::{Exception, RateLimit},
    store::{
        RetryClass, StoreError,
        query::{FailureKey, RateKey},
        rows::{EncodeError, EventStream},
    },
};

use super::*;

/// Every text field holds `text`, every option a value.
fn full_of(number: u128, text: &str) -> Event {
    let pair = |name: &str| (format!("{name}{text}"), text.to_owned());
    let failure = FieldError { field: text.into(), path: text.into(), message: text.into(), rule: text.into() };
    Event {
        key: EventKey(number | 1 << 127),
        event_id: text.into(),
        timestamp_ms: noon() + 123,
        status: 599,
        service: text.into(),
        environment: text.into(),
        release: text.into(),
        host: text.into(),
        method: text.into(),
        path: text.into(),
        route: text.into(),
        error: text.into(),
        error_template: text.into(),
        code: text.into(),
        errors: vec![failure.clone(), failure],
        response: text.into(),
        account_id: text.into(),
        user_id: text.into(),
        duration_ms: Some(0.1 + 0.2),
        rate_limit: Some(RateLimit { limit: Some(u64::MAX), remaining: Some(0), reset: Some(i64::MIN) }),
        client_ip: text.into(),
        user_agent: text.into(),
        trace_id: text.into(),
        span_id: text.into(),
        request_headers: vec![pair("a"), pair("a"), pair("b")],
        response_headers: vec![pair("")],
        exception: Some(Exception { r#type: text.into(), message: text.into(), stacktrace: text.into() }),
        attributes: vec![pair("x"), pair("x")],
        fingerprint: u64::MAX,
        marks: Marks(u32::MAX),
        ..event(number)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_comes_back_byte_for_byte() {
    let Started { store, .. } = &started().await;
    let hostile = "\0\u{1}\u{1a}\t\r\n\\'\"`{p0:String}?? ??fields \\N NULL é 日本 \u{1F600} \u{FFFD} \u{202E}";
    let body = format!("{{\"request_id\":\"{}\"}}", event(5).request_id);
    let empty_parts = Event {
        rate_limit: Some(RateLimit::default()),
        exception: Some(Exception::default()),
        duration_ms: Some(0.0),
        ..event(2)
    };
    let events = [
        event(1),
        empty_parts,
        full_of(3, hostile),
        full_of(4, &"long ".repeat(50_000)),
        full_of(5, &body),
        full_of(6, "\u{1a}"),
        full_of(7, &format!("\u{1a}{}", event(7).request_id)),
        Event { request_id: id(&"~".repeat(128)), ..event(8) },
        Event { response: format!("\u{10}{}", event(10).request_id), ..event(10) },
        Event { response_headers: vec![("x".to_owned(), "\u{1b}".to_owned())], ..event(11) },
        Event { request_id: id("1"), response: "11 1\u{11}".to_owned(), ..event(9) },
        Event { request_id: id("00000000-0000-0000-0000-000000000000"), ..event(12) },
        Event {
            request_id: id("0B8B8A6E-0000-7000-8000-000000000001"),
            client_ip: "203.0.113.7".to_owned(),
            ..event(13)
        },
        Event { client_ip: "0.0.0.0".to_owned(), ..event(14) },
        Event { client_ip: "2001:db8::1".to_owned(), path: String::new(), ..event(15) },
        Event { release: "a\u{1f}b\u{1f}".to_owned(), route: "\u{1f}".to_owned(), ..event(16) },
        Event {
            errors: (0..12).map(|n| failure("f", &format!("message {n} of many"), "other")).collect(),
            ..event(17)
        },
    ];
    insert(store, &events).await;
    for event in &events {
        let found = store.request("shop", &event.request_id).await.unwrap();
        let stored = Event { key: EventKey(event.key.stored().into()), ..event.clone() };
        assert_eq!(found.events, [stored]);
    }
}

/// Promise: people and dashboards read every field of an event by the name the API gives it, whatever form it is stored in.
#[tokio::test(flavor = "multi_thread")]
async fn every_field_can_be_queried_by_its_name() {
    let Started { store, clients, .. } = &started().await;
    let text = "it's 'x' {id} \u{1f600}";
    let uuid = id("0b8b8a6e-0000-4000-8000-000000000001");
    let errors: Vec<_> = (0..12).map(|n| failure("items[].sku", &format!("message {n} of many"), "other")).collect();
    let said: Vec<_> = errors.iter().map(|error| error.message.as_str()).collect();
    let body = format!("{uuid}: Validation failed. {} {uuid}", said.join(" "));
    let events = [
        Event {
            request_id: uuid.clone(),
            client_ip: "203.0.113.7".to_owned(),
            errors,
            response: body,
            response_headers: vec![("x-request-id".to_owned(), uuid.to_string())],
            duration_ms: None,
            ..full_of(1, text)
        },
        Event { response: format!("\u{10}{text}"), ..full_of(2, text) },
        Event { path: "/api/v1/items/7/".to_owned(), route: "/api/v1/items/{id}/".to_owned(), ..full_of(3, text) },
        event(4),
    ];
    insert(store, &events).await;
    let columns = [
        "request_id",
        "service",
        "environment",
        "release",
        "method",
        "route",
        "path",
        "response",
        "event_id",
        "error_template",
        "code",
        "client_ip",
        "trace_id",
        "span_id",
        "exception_type",
        "exception_message",
        "exception_stacktrace",
        "toString(duration_ms)",
        "toString(rate_limit)",
        "toString(rate_limit_reset)",
        "toString(rate_limit_reported)",
        "toString(marks)",
        "toString(has_exception)",
        "arrayStringConcat(`errors.path`, '|')",
        "toString(request_headers)",
        "toString(response_headers)",
        "toString(attributes)",
    ];
    let columns: Vec<_> = columns.iter().map(|column| format!("ifNull(toString({column}), 'NULL')")).collect();
    let sql = format!("SELECT [{}] FROM events ORDER BY key", columns.join(", "));
    let rows: Vec<Vec<String>> = clients.read.query(&sql).fetch_all().await.unwrap();
    for (event, row) in events.iter().zip(&rows) {
        let exception = event.exception.clone().unwrap_or_default();
        let option = |number: Option<String>| number.unwrap_or_else(|| "NULL".to_owned());
        let limit = event.rate_limit.unwrap_or_default();
        let paths: Vec<_> = event.errors.iter().map(|error| error.path.as_str()).collect();
        let map = |pairs: &[(String, String)]| {
            let quoted = |text: &str| format!("'{}'", text.replace('\\', "\\\\").replace('\'', "\\'"));
            let pairs: Vec<_> =
                pairs.iter().map(|(name, value)| format!("{}:{}", quoted(name), quoted(value))).collect();
            format!("{{{}}}", pairs.join(","))
        };
        let expected = [
            event.request_id.to_string(),
            event.service.clone(),
            event.environment.clone(),
            event.release.clone(),
            event.method.clone(),
            event.route.clone(),
            event.path.clone(),
            event.response.clone(),
            event.event_id.clone(),
            event.error_template.clone(),
            event.code.clone(),
            event.client_ip.clone(),
            event.trace_id.clone(),
            event.span_id.clone(),
            exception.r#type,
            exception.message,
            exception.stacktrace,
            option(event.duration_ms.map(|ms| ms.to_string())),
            option(limit.limit.map(|limit| limit.to_string())),
            option(limit.reset.map(|reset| reset.to_string())),
            event.rate_limit.is_some().to_string(),
            event.marks.0.to_string(),
            event.exception.is_some().to_string(),
            paths.join("|"),
            map(&event.request_headers),
            map(&event.response_headers),
            map(&event.attributes),
        ];
        assert_eq!(row, &expected);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_attempt_that_a_proxy_repeats_is_stored_once_and_counted() {
    let Started { store, .. } = &started().await;
    let batch = insert(store, &[event(1), event(2), event(3)]).await;
    store.insert(&batch, 1).await.unwrap();
    insert(store, &[event(4)]).await;
    assert_eq!(store.count_batch(batch.batch_id, batch.received_ms).await.unwrap(), 3);
    assert_eq!(store.count_batch(Uuid::now_v7(), batch.received_ms).await.unwrap(), 0);
    store.settle(batch.batch_id).await.unwrap();
    let parts = store.parts().await.unwrap();
    let ours = parts.iter().filter(|part| part.table != "schema_migrations");
    let sizes: Vec<_> = ours.map(|part| (part.table.as_str(), part.rows)).collect();
    // The index takes every repetition: a row too many does no harm.
    assert_eq!(sizes, [("events", 4), ("request_index", 7)]);
    assert_eq!(store.request("shop", &event(1).request_id).await.unwrap().events.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_batch_is_one_block_of_one_part() {
    let started = started().await;
    // More than a block has by default (65,409 rows).
    let events: Vec<_> = (0..70_000).map(event).collect();
    let batch = insert(&started.store, &events).await;
    let query = "SELECT count() AS parts, sum(rows) AS rows FROM (SELECT name, max(rows) AS rows FROM system.parts WHERE \
                 database = 'errata_it' AND table = 'events' AND level = 0 GROUP BY name)";
    let written: (u64, u64) = started.clients.admin.query(query).fetch_one().await.unwrap();
    assert_eq!(written, (1, 70_000));
    assert_eq!(started.store.count_batch(batch.batch_id, batch.received_ms).await.unwrap(), 70_000);
}

/// Promise: a batch of many record batches, each with dictionaries of its own, is one block, or nothing.
#[tokio::test(flavor = "multi_thread")]
async fn a_batch_in_pieces_is_one_block_of_one_part_and_nothing_when_it_is_broken_off() {
    let started = started().await;
    let store = &started.store;
    let of_piece = |piece: u128| -> Vec<Event> {
        // The key as it is stored: its lower half.
        let of = |number: u128| Event { key: EventKey(number), ..full_of(number, &format!("p{piece}")) };
        (piece * 100..(piece + 1) * 100).map(of).collect()
    };
    let events: Vec<Vec<Event>> = (0..4).map(of_piece).collect();
    let send = async |batch_id: Uuid, pieces: usize| {
        let mut stream = EventStream::new(batch_id);
        let mut insert = store.insert_events(batch_id, 1);
        for piece in &events[..pieces] {
            let refs = piece.iter().map(|event| Ok::<_, EncodeError>(event.into()));
            insert.send(stream.encode(refs, piece.len()).unwrap()).await.unwrap();
        }
        (insert, stream)
    };
    let whole = events.concat();
    let bounds = encode(&whole).received_ms;
    for pieces in 1..4 {
        let broken = Uuid::now_v7();
        drop(send(broken, pieces).await);
        store.settle(broken).await.unwrap();
        assert_eq!(store.count_batch(broken, bounds).await.unwrap(), 0, "broken off after {pieces} pieces");
    }
    store.insert_index(Uuid::now_v7(), 1, encode(&whole).index).await.unwrap();
    let batch = Uuid::now_v7();
    let (mut insert, stream) = send(batch, 4).await;
    insert.send(stream.finish().unwrap()).await.unwrap();
    insert.end().await.unwrap();
    assert_eq!(store.count_batch(batch, bounds).await.unwrap(), 400);
    let parts = "SELECT count() FROM (SELECT name FROM system.parts WHERE database = 'errata_it' AND table = 'events' AND level = 0 GROUP BY name)";
    assert_eq!(started.clients.admin.query(parts).fetch_one::<u64>().await.unwrap(), 1);
    for event in &whole {
        let found = store.request("shop", &event.request_id).await.unwrap();
        assert!(found.events.contains(event), "{event:?}\n{found:?}");
    }
}

#[test]
fn a_batch_that_cannot_be_one_block_is_refused_and_any_other_encodes_alike_each_time() {
    let sunday_night = noon() + 4 * DAY + DAY / 2 - 1;
    let two_weeks = [sunday_night, sunday_night + 1].map(|received_at_ms| Event { received_at_ms, ..event(1) });
    assert!(matches!(rows::encode(Uuid::nil(), &two_weeks), Err(EncodeError::SpansWeeks)));
    assert!(matches!(rows::encode(Uuid::nil(), &[]), Err(EncodeError::Empty)));
    let huge = Event { response: "x".repeat(1 << 30), ..event(1) };
    assert!(matches!(rows::encode(Uuid::nil(), &[huge]), Err(EncodeError::TooLarge(_))));
    let events = [full_of(1, "a"), event(2), full_of(3, "b")];
    let (one, two) = (rows::encode(Uuid::nil(), &events).unwrap(), rows::encode(Uuid::nil(), &events).unwrap());
    assert!(one.events == two.events && one.index == two.index);
}

#[tokio::test(flavor = "multi_thread")]
async fn settling_a_batch_ends_its_running_inserts_and_no_others() {
    let started = started().await;
    let batch_id = Uuid::now_v7();
    let slow = |query_id: String| {
        let sql = "INSERT INTO request_index SELECT number, now(), today() FROM numbers(100) WHERE sleepEachRow(1) = 0";
        let query =
            started.clients.write.query(sql).with_setting("max_block_size", "1").with_setting("query_id", query_id);
        tokio::spawn(query.execute())
    };
    let ours = slow(format!("{batch_id}-1-request_index"));
    let other = slow(format!("{}-1-request_index", Uuid::now_v7()));
    let running = async || -> u64 {
        let sql = "SELECT count() FROM system.processes WHERE query LIKE '%sleepEachRow(1)%' AND user LIKE '%writer'";
        started.clients.admin.query(sql).fetch_one().await.unwrap()
    };
    while running().await < 2 {}
    started.store.settle(batch_id).await.unwrap();
    assert_eq!(running().await, 1);
    assert!(ours.await.unwrap().is_err());
    assert!(!other.is_finished());
    started.store.settle(batch_id).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_stored_twice_is_seen_once() {
    let Started { store, .. } = &started().await;
    let event =
        Event { account_id: "17".to_owned(), status: 429, errors: vec![failure("email", "m", "required")], ..event(1) };
    insert(store, std::slice::from_ref(&event)).await;
    insert(store, std::slice::from_ref(&event)).await;
    assert_eq!(store.search("shop", &whole_time(), 10, None).await.unwrap().events.len(), 1);
    let impact = store.impact("shop", &event).await.unwrap();
    assert_eq!((impact.events, impact.per_minute.iter().sum::<u64>()), (1, 1));
    assert_eq!(store.account_around("shop", "17", noon(), MINUTE, 10).await.unwrap().len(), 1);
    assert_eq!(store.episode("shop", &event).await.unwrap().unwrap().events, 1);
    // What goes by the release is read from the events; the rollups count what delivery has counted.
    let of_release = Filter { releases: vec![event.release.clone()], ..whole_time() };
    assert_eq!(store.rates("shop", &of_release, &[RateKey::Status], 60).await.unwrap()[0].total, 1);
    let failures = store.validation_failures("shop", &of_release, &[FailureKey::Field], None, 10).await.unwrap();
    assert_eq!((failures[0].count, failures[0].events), (1, 1));
}

/// Of an event that tells no time, whichever collector it came to says when: sent to two of them, it has two times.
#[tokio::test(flavor = "multi_thread")]
async fn an_event_stored_with_two_times_is_one_around_a_request() {
    let Started { store, .. } = &started().await;
    let at = |number: u128, after_ms: i64| Event {
        account_id: "17".to_owned(),
        status: 429,
        timestamp_ms: noon() + after_ms,
        ..event(number)
    };
    insert(store, &[at(1, 0)]).await;
    insert(store, &[at(1, 61_000), at(2, 30_000)]).await;
    let impact = store.impact("shop", &at(1, 0)).await.unwrap();
    assert_eq!((impact.events, impact.account_events, impact.account_share), (2, 2, 1.0));
    let around = store.account_around("shop", "17", noon(), 2 * MINUTE, 10).await.unwrap();
    assert_eq!(around.iter().map(|one| one.timestamp_ms - noon()).collect::<Vec<_>>(), [0, 30_000]);
    let episode = store.episode("shop", &at(1, 0)).await.unwrap().unwrap();
    assert_eq!((episode.events, episode.end_ms), (2, noon() + 30_000));
    let listed = store.rate_limit_episodes("shop", &whole_time()).await.unwrap();
    assert_eq!(listed.iter().map(|episode| episode.events).collect::<Vec<_>>(), [2]);
}

#[tokio::test(flavor = "multi_thread")]
async fn failures_are_classed_by_what_really_happened() {
    let started = started().await;
    let store = &started.store;
    let batch = encode(&[event(1)]);
    let whole = batch.events.concat();
    let half = bytes::Bytes::copy_from_slice(&whole[..whole.len() / 2]);
    let torn = EncodedBatch { events: vec![half], ..batch.clone() };
    let error = store.insert(&torn, 1).await.unwrap_err();
    assert_eq!(error.class(), RetryClass::Ambiguous, "{error}");
    assert_eq!(store.count_batch(batch.batch_id, batch.received_ms).await.unwrap(), 0, "nothing of a torn body");
    let other_columns = EncodedBatch { events: batch.index.clone(), ..encode(&[event(1)]) };
    assert_eq!(store.insert(&other_columns, 1).await.unwrap_err().class(), RetryClass::Denied, "no row is to blame");
    let garbage =
        EncodedBatch { events: vec![bytes::Bytes::from_static(b"no Arrow stream at all")], ..encode(&[event(1)]) };
    let error = store.insert(&garbage, 1).await.unwrap_err();
    assert_eq!(error.class(), RetryClass::Poison, "{error}");

    let with_each = |change: fn(clickhouse::Client) -> clickhouse::Client| {
        let Clients { admin, write, read, database, origin } = started.clients.clone();
        Store::new(Clients { admin: change(admin), write: change(write), read: change(read), database, origin })
    };
    let away = with_each(|client| client.with_url("http://127.0.0.1:1"));
    let error = away.insert(&batch, 1).await.unwrap_err();
    assert_eq!(error.class(), RetryClass::Resend, "{error}");
    assert!(matches!(away.ping().await, Err(StoreError::Unreachable(_))));

    let denied = with_each(|client| client.with_user("nobody"));
    assert_eq!(denied.insert(&batch, 1).await.unwrap_err().class(), RetryClass::Denied);
    let only_reads = Store::new(Clients { write: started.clients.read.clone(), ..started.clients.clone() });
    assert_eq!(only_reads.insert(&batch, 1).await.unwrap_err().class(), RetryClass::Denied);
    started.run("DROP TABLE {}.events").await;
    assert_eq!(store.insert(&batch, 1).await.unwrap_err().class(), RetryClass::Denied, "not migrated");
}

#[tokio::test(flavor = "multi_thread")]
async fn retention_is_altered_when_it_differs_only() {
    let started = started().await;
    let store = &started.store;
    let definition = async || -> Vec<String> {
        let sql = "SELECT engine_full FROM system.tables WHERE database = 'errata_it' AND name IN ('events', 'request_index') ORDER BY name";
        started.clients.admin.query(sql).fetch_all().await.unwrap()
    };
    let before = definition().await;
    store.apply_retention(90).await.unwrap();
    assert_eq!(definition().await, before, "the migrations' own retention");
    let old = Event { received_at_ms: noon() - 70 * DAY, timestamp_ms: noon() - 70 * DAY, ..event(1) };
    insert(store, std::slice::from_ref(&old)).await;
    store.apply_retention(60).await.unwrap();
    let after = definition().await;
    assert!(after[0].contains("toIntervalDay(60)") && after[1].contains("toIntervalDay(97)"), "{after:?}");
    let noted = async || -> u64 {
        let sql = "SELECT count() FROM system.mutations WHERE NOT is_done";
        started.clients.admin.query(sql).fetch_one().await.unwrap()
    };
    while noted().await > 0 {}
    started.run("OPTIMIZE TABLE {}.events FINAL").await;
    let found = store.request("shop", &old.request_id).await.unwrap();
    assert_eq!((found.events.len(), found.expired_first_seen_ms), (0, Some(old.timestamp_ms)));
}

#[tokio::test(flavor = "multi_thread")]
async fn closed_weeks_are_merged_to_one_part_and_open_ones_left_alone() {
    let Started { store, .. } = &started().await;
    let received =
        |number: u128, weeks_ago: i64| Event { received_at_ms: noon() - weeks_ago * 7 * DAY, ..event(number) };
    for (number, weeks_ago) in [(1, 0), (2, 0), (3, 1), (4, 1), (5, 2), (6, 2), (7, 3)] {
        deliver(store, &[received(number, weeks_ago)]).await;
    }
    let merged = store.merge_closed_weeks(noon()).await.unwrap();
    let tables: Vec<_> = merged.iter().map(|(table, _)| table.as_str()).collect();
    // Only one closed week has two parts.
    assert_eq!(
        tables,
        [
            "request_index",
            "rollup_accounts",
            "rollup_counts",
            "rollup_failure_counts",
            "rollup_failure_days",
            "rollup_failures",
            "rollup_issues"
        ]
    );
    assert!(store.merge_closed_weeks(noon()).await.unwrap().is_empty(), "what is merged stays merged");
    let found = store.request("shop", &event(5).request_id).await.unwrap();
    assert_eq!(found.events, [received(5, 2)]);
}
