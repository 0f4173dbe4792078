//! The store against a real ClickHouse: what is written is read back, once, and only by its project.

use errata::{
    event::{Event, EventKey, Exception, FieldError, Marks, RateLimit, RequestId},
    store::{
        RetryClass, Store, StoreError,
        query::{Cursor, FailureKey, Filter, RateKey, StatusFilter},
        rows::{self, EncodedBatch},
    },
};
use uuid::Uuid;

use crate::store_engine::engine;

const MINUTE: i64 = 60_000;
const DAY: i64 = 86_400_000;

fn id(text: &str) -> RequestId {
    RequestId::parse(text).unwrap()
}

/// Noon, UTC, of the Wednesday before last: whole weeks apart from now, so that a batch never spans two weeks.
fn noon() -> i64 {
    let today = chrono::Utc::now().timestamp_millis() / DAY * DAY;
    i64::from(rows::week_of(today)) * DAY - 7 * DAY + 2 * DAY + DAY / 2
}

/// A plain event; `number` makes its key and its request id.
fn event(number: u128) -> Event {
    Event {
        project: "shop".to_owned(),
        key: EventKey(number),
        event_id: String::new(),
        request_id: id(&format!("req_0000000000{number}")),
        timestamp_ms: noon(),
        received_at_ms: noon() + 500,
        status: 422,
        service: "api".to_owned(),
        environment: "production".to_owned(),
        release: "1".to_owned(),
        host: String::new(),
        method: "POST".to_owned(),
        path: "/api/v1/items/7/".to_owned(),
        route: "/api/v1/items/{id}/".to_owned(),
        error: "Validation failed".to_owned(),
        error_template: "Validation failed".to_owned(),
        code: String::new(),
        errors: Vec::new(),
        response: String::new(),
        account_id: String::new(),
        user_id: String::new(),
        duration_ms: None,
        rate_limit: None,
        client_ip: String::new(),
        user_agent: String::new(),
        trace_id: String::new(),
        span_id: String::new(),
        request_headers: Vec::new(),
        response_headers: Vec::new(),
        exception: None,
        attributes: Vec::new(),
        fingerprint: 1,
        marks: Marks(0),
    }
}

fn failure(field: &str, message: &str, rule: &str) -> FieldError {
    let [path, message, rule] = [field.replace("[]", "[3]"), message.to_owned(), rule.to_owned()];
    FieldError { field: field.to_owned(), path, message, rule }
}

fn whole_time() -> Filter {
    Filter { from_ms: noon() - DAY, to_ms: noon() + DAY, ..Filter::default() }
}

fn encode(events: &[Event]) -> EncodedBatch {
    rows::encode(Uuid::now_v7(), events).unwrap()
}

async fn insert(store: &Store, events: &[Event]) -> EncodedBatch {
    let batch = encode(events);
    store.insert(&batch, 1).await.unwrap();
    batch
}

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

#[tokio::test]
async fn an_event_comes_back_byte_for_byte() {
    let engine = engine().await;
    let hostile = "\0\u{1}\u{1a}\t\r\n\\'\"`{p0:String}?? ??fields \\N NULL é 日本 \u{1F600} \u{FFFD} \u{202E}";
    let request_id = event(5).request_id;
    let body = format!("{{\"request_id\":\"{request_id}\"}}");
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
        Event { request_id: id("1"), response: "11 1\u{1a}".to_owned(), ..event(9) },
    ];
    insert(&engine.store, &events).await;
    for event in &events {
        let found = engine.store.request("shop", &event.request_id).await.unwrap();
        assert_eq!(found.events.as_slice(), std::slice::from_ref(event));
    }
    let shown: String = engine
        .client
        .query("SELECT response FROM events WHERE request_id = {id:String}")
        .param("id", request_id.as_str())
        .fetch_one()
        .await
        .unwrap();
    assert_eq!(shown, body, "the column for people is unfolded");
}

#[tokio::test]
async fn a_repeated_batch_is_stored_once_and_counted() {
    let engine = engine().await;
    let batch = insert(&engine.store, &[event(1), event(2), event(3)]).await;
    engine.store.insert(&batch, 2).await.unwrap();
    insert(&engine.store, &[event(4)]).await;
    assert_eq!(engine.store.count_batch(batch.batch_id, batch.received_ms).await.unwrap(), 3);
    assert_eq!(engine.store.count_batch(Uuid::now_v7(), batch.received_ms).await.unwrap(), 0);
    engine.store.settle(batch.batch_id).await.unwrap();
    let parts = engine.store.parts().await.unwrap();
    let sizes: Vec<_> = parts.iter().map(|part| (part.table.as_str(), part.rows)).collect();
    assert_eq!(sizes, [("events", 4), ("request_index", 4)]);
}

#[tokio::test]
async fn an_event_stored_twice_is_seen_once() {
    let engine = engine().await;
    let event =
        Event { account_id: "17".to_owned(), status: 429, errors: vec![failure("email", "m", "required")], ..event(1) };
    insert(&engine.store, std::slice::from_ref(&event)).await;
    insert(&engine.store, std::slice::from_ref(&event)).await;
    let store = &engine.store;
    assert_eq!(store.request("shop", &event.request_id).await.unwrap().events.len(), 1);
    assert_eq!(store.search("shop", &whole_time(), 10, None).await.unwrap().events.len(), 1);
    let impact = store.impact("shop", &event).await.unwrap();
    assert_eq!((impact.events, impact.per_minute.iter().sum::<u64>()), (1, 1));
    assert_eq!(store.account_around("shop", "17", noon(), MINUTE, 10).await.unwrap().len(), 1);
    assert_eq!(store.episode("shop", "17", &event.route, noon()).await.unwrap().unwrap().events, 1);
    assert_eq!(store.rates("shop", &whole_time(), &[RateKey::Status], 60).await.unwrap()[0].total, 1);
    let failures = store.validation_failures("shop", &whole_time(), &[FailureKey::Field], None, 10).await.unwrap();
    assert_eq!((failures[0].count, failures[0].events), (1, 1));
}

#[tokio::test]
async fn projects_never_see_each_other() {
    let engine = engine().await;
    let mine =
        Event { account_id: "17".to_owned(), status: 429, errors: vec![failure("email", "m", "required")], ..event(1) };
    insert(&engine.store, std::slice::from_ref(&mine)).await;
    let store = &engine.store;
    let other = "other";
    assert!(store.request(other, &mine.request_id).await.unwrap().events.is_empty());
    assert!(store.search(other, &whole_time(), 10, None).await.unwrap().events.is_empty());
    assert_eq!(store.impact(other, &mine).await.unwrap().events, 0);
    assert!(store.account_around(other, "17", noon(), DAY, 10).await.unwrap().is_empty());
    assert_eq!(store.episode(other, "17", &mine.route, noon()).await.unwrap(), None);
    assert!(store.rates(other, &whole_time(), &[RateKey::Status], 60).await.unwrap().is_empty());
    let failures = store.validation_failures(other, &whole_time(), &[FailureKey::Field], None, 10).await.unwrap();
    assert!(failures.is_empty());
    assert_eq!(store.project_span(other).await.unwrap(), None);
    assert_eq!(store.project_span("shop").await.unwrap().unwrap().events, 1);
}

#[tokio::test]
async fn a_request_has_all_its_events_oldest_first_across_weeks() {
    let engine = engine().await;
    let shared = id("0B8B8A6E-0000-4000-8000-000000000001");
    let at = |number: u128, after: i64| Event {
        request_id: shared.clone(),
        timestamp_ms: noon() + after,
        received_at_ms: noon() + after + 1,
        ..event(number)
    };
    insert(&engine.store, &[at(1, 5), at(2, 0), event(3)]).await;
    insert(&engine.store, &[at(4, -9 * DAY)]).await;
    let found = engine.store.requests("shop", &[event(9).request_id, shared, event(3).request_id]).await.unwrap();
    let keys: Vec<Vec<u128>> = found.iter().map(|f| f.events.iter().map(|event| event.key.0).collect()).collect();
    assert_eq!(keys, [vec![], vec![4, 2, 1], vec![3]]);
}

#[tokio::test]
async fn two_ids_with_one_lookup_key_are_told_apart() {
    let engine = engine().await;
    insert(&engine.store, &[event(1)]).await;
    let stranger = id("req_of_the_same_hash");
    let place = "INSERT INTO request_index SELECT {k:UInt64}, timestamp, week FROM request_index";
    engine.client.query(place).param("k", stranger.lookup_key("shop")).execute().await.unwrap();
    assert!(engine.store.request("shop", &stranger).await.unwrap().events.is_empty());
}

#[tokio::test]
async fn what_is_past_its_retention_is_said_to_be_expired() {
    let engine = engine().await;
    let old = noon() - 100 * DAY;
    let gone = Event { timestamp_ms: old, received_at_ms: old, ..event(1) };
    insert(&engine.store, std::slice::from_ref(&gone)).await;
    engine.client.query("OPTIMIZE TABLE events FINAL").execute().await.unwrap();
    let found = engine.store.request("shop", &gone.request_id).await.unwrap();
    assert_eq!((found.events.len(), found.expired_first_seen_ms), (0, Some(old)));
    // Its events are gone as well, but for another reason: their insert is still to come.
    let batch = EncodedBatch { events: encode(&[event(3)]).events, ..encode(&[event(2)]) };
    engine.store.insert(&batch, 1).await.unwrap();
    let found = engine.store.request("shop", &event(2).request_id).await.unwrap();
    assert_eq!((found.events.len(), found.expired_first_seen_ms), (0, None));
}

#[tokio::test]
async fn retention_is_altered_when_it_differs_only() {
    let engine = engine().await;
    let definition = async || -> Vec<String> {
        let query =
            engine.client.query("SELECT engine_full FROM system.tables WHERE database = 'errata' ORDER BY name");
        query.fetch_all().await.unwrap()
    };
    let before = definition().await;
    engine.store.apply_retention(90).await.unwrap();
    assert_eq!(definition().await, before, "the migrations' own retention");
    engine.store.apply_retention(7).await.unwrap();
    let after = definition().await;
    assert!(after[0].contains("toIntervalDay(7)") && after[1].contains("toIntervalDay(44)"), "{after:?}");
}

#[tokio::test]
async fn a_search_finds_what_fits_newest_first_and_pages_stay_stable() {
    let engine = engine().await;
    let store = &engine.store;
    let events: Vec<_> =
        (1..=5).map(|n| Event { timestamp_ms: noon() + (n as i64 / 2) * MINUTE, ..event(n) }).collect();
    insert(store, &events).await;
    let keys = |page: &errata::store::query::Page| page.events.iter().map(|event| event.key.0).collect::<Vec<_>>();
    let first = store.search("shop", &whole_time(), 2, None).await.unwrap();
    assert_eq!(keys(&first), [5, 4]);
    insert(store, &[Event { timestamp_ms: noon() + 5 * MINUTE, ..event(6) }]).await;
    let second = store.search("shop", &whole_time(), 2, first.next).await.unwrap();
    assert_eq!(keys(&second), [3, 2]);
    let last = store.search("shop", &whole_time(), 2, second.next).await.unwrap();
    assert_eq!((keys(&last), last.next), (vec![1], None));
    let cursor = Cursor { timestamp_ms: noon() + MINUTE, key: EventKey(3) };
    assert_eq!(second.next, Some(Cursor { key: EventKey(2), ..cursor }));
}

#[tokio::test]
async fn every_filter_of_a_search_selects() {
    let engine = engine().await;
    let store = &engine.store;
    let hostile = "it's \\ \"x\"\t]') OR 1=1 --".to_owned();
    let special = Event {
        status: 503,
        service: hostile.clone(),
        environment: hostile.clone(),
        route: hostile.clone(),
        method: hostile.clone(),
        account_id: hostile.clone(),
        user_id: hostile.clone(),
        release: hostile.clone(),
        fingerprint: u64::MAX,
        error: "Straße ist 100 % GESPERRT".to_owned(),
        errors: vec![failure("email", "Wrong É", "required"), failure("items[].sku", "x", "unique")],
        ..event(2)
    };
    insert(store, &[event(1), special, Event { status: 400, ..event(3) }]).await;
    let some = || vec![hostile.clone()];
    let all = whole_time();
    let filters = [
        Filter { statuses: vec![StatusFilter::Class(5)], ..all.clone() },
        Filter { statuses: vec![StatusFilter::Code(503), StatusFilter::Code(404)], ..all.clone() },
        Filter { services: some(), ..all.clone() },
        Filter { environments: some(), ..all.clone() },
        Filter { routes: some(), ..all.clone() },
        Filter { methods: some(), ..all.clone() },
        Filter { account_ids: some(), ..all.clone() },
        Filter { user_ids: some(), ..all.clone() },
        Filter { releases: some(), ..all.clone() },
        Filter { fingerprints: vec![u64::MAX], ..all.clone() },
        Filter { fields: vec!["items[].sku".to_owned()], ..all.clone() },
        Filter { rules: vec!["unique".to_owned(), "nothing".to_owned()], ..all.clone() },
        Filter { fields: vec!["email".to_owned()], rules: vec!["required".to_owned()], ..all.clone() },
        Filter { text: Some("gesperrt".to_owned()), ..all.clone() },
        Filter { text: Some("wrong é".to_owned()), ..all.clone() },
    ];
    for filter in filters {
        let page = store.search("shop", &filter, 10, None).await.unwrap();
        let keys: Vec<_> = page.events.iter().map(|event| event.key.0).collect();
        assert_eq!(keys, [2], "{filter:?}");
    }
    for filter in [
        Filter { fields: vec!["email".to_owned()], rules: vec!["unique".to_owned()], ..all.clone() },
        Filter { from_ms: noon() + 1, ..all.clone() },
        Filter { to_ms: noon(), ..all.clone() },
        Filter { text: Some("%".repeat(2)), ..all.clone() },
    ] {
        assert!(store.search("shop", &filter, 10, None).await.unwrap().events.is_empty(), "{filter:?}");
    }
}

#[tokio::test]
async fn impact_is_the_same_error_in_the_hour_around() {
    let engine = engine().await;
    let at = |number: u128, minutes: i64, account: &str, release: &str| Event {
        timestamp_ms: noon() + minutes * MINUTE,
        account_id: account.to_owned(),
        release: release.to_owned(),
        fingerprint: 77,
        ..event(number)
    };
    let events = [
        at(1, 0, "a", "2"),
        at(2, -30, "a", "1"),
        at(3, 29, "b", "2"),
        at(4, 10, "", ""),
        at(5, 30, "c", "3"),
        at(6, -31, "d", "0"),
        Event { fingerprint: 78, ..at(7, 0, "e", "4") },
    ];
    insert(&engine.store, &events).await;
    let impact = engine.store.impact("shop", &events[0]).await.unwrap();
    assert_eq!((impact.from_ms, impact.to_ms), (noon() - 30 * MINUTE, noon() + 30 * MINUTE));
    assert_eq!((impact.events, impact.accounts, impact.account_events), (4, 2, 2));
    assert!((impact.account_share - 0.5).abs() < 1e-9);
    assert_eq!(impact.first_seen_ms, noon() - 31 * MINUTE);
    assert_eq!(impact.releases, ["1", "2"]);
    assert_eq!(impact.per_minute.len(), 60);
    assert_eq!(
        (impact.per_minute[0], impact.per_minute[30], impact.per_minute[40], impact.per_minute[59]),
        (1, 1, 1, 1)
    );
}

#[tokio::test]
async fn an_accounts_errors_around_a_moment_come_newest_first() {
    let engine = engine().await;
    let at = |number: u128, minutes: i64, account: &str| Event {
        timestamp_ms: noon() + minutes * MINUTE,
        account_id: account.to_owned(),
        errors: vec![failure("email", "m", "required")],
        ..event(number)
    };
    insert(&engine.store, &[at(1, -5, "a"), at(2, 5, "a"), at(3, 20, "a"), at(4, 0, "b"), at(5, 0, "")]).await;
    let around = engine.store.account_around("shop", "a", noon(), 10 * MINUTE, 10).await.unwrap();
    let ids: Vec<_> = around.iter().map(|summary| summary.request_id.as_str()).collect();
    assert_eq!(ids, [event(2).request_id.as_str(), event(1).request_id.as_str()]);
    assert_eq!((around[0].timestamp_ms, &around[0].fields[..]), (noon() + 5 * MINUTE, &["email".to_owned()][..]));
    assert!(engine.store.account_around("shop", "", noon(), DAY, 10).await.unwrap().is_empty(), "nobody is no account");
}

#[tokio::test]
async fn an_episode_is_an_unbroken_run_of_429s() {
    let engine = engine().await;
    let at = |number: u128, seconds: i64| Event {
        timestamp_ms: noon() + seconds * 1000,
        status: 429,
        account_id: "17".to_owned(),
        // Announced by every 429: the reset at the end of its minute.
        rate_limit: Some(RateLimit {
            limit: Some(60),
            remaining: Some(0),
            reset: Some(noon() / 1000 + seconds.div_euclid(60) * 60 + 60),
        }),
        ..event(number)
    };
    let events = [
        at(1, 0),
        at(2, 10),
        at(3, 59),
        at(4, 60 + 300),
        Event { rate_limit: None, ..at(5, 2 * 60 + 300) },
        at(6, 2 * 60 + 601),
        Event { account_id: "18".to_owned(), ..at(7, 60) },
        Event { status: 400, ..at(8, 61) },
        Event { route: "/other".to_owned(), ..at(9, 62) },
    ];
    insert(&engine.store, &events).await;
    let route = &events[0].route;
    let episode = engine.store.episode("shop", "17", route, noon() + MINUTE).await.unwrap().unwrap();
    assert_eq!(
        (episode.start_ms, episode.end_ms),
        (noon(), noon() + 59_000),
        "359 s after 59 s is exactly 301 s later"
    );
    assert_eq!((episode.events, episode.limit, episode.retries_before_reset), (3, Some(60), 2));
    let later = engine.store.episode("shop", "17", route, noon() + 400_000).await.unwrap().unwrap();
    assert_eq!((later.start_ms, later.events, later.limit), (noon() + 360_000, 2, Some(60)));
    assert_eq!(engine.store.episode("shop", "17", route, noon() + 60 * MINUTE).await.unwrap(), None);
    assert_eq!(engine.store.episode("shop", "", route, noon()).await.unwrap(), None);
}

#[tokio::test]
async fn rates_count_errors_per_step_and_labels() {
    let engine = engine().await;
    let at = |number: u128, seconds: i64, status: u16| Event {
        timestamp_ms: noon() + seconds * 1000,
        status,
        ..event(number)
    };
    insert(&engine.store, &[at(1, 0, 422), at(2, 59, 422), at(3, 60, 422), at(4, 61, 500)]).await;
    let series = engine.store.rates("shop", &whole_time(), &[RateKey::Status, RateKey::Service], 60).await.unwrap();
    let label = |index: usize, name: &str| series[index].labels[name].clone();
    assert_eq!(
        (series.len(), label(0, "status"), label(0, "service"), label(1, "status")),
        (2, "422".into(), "api".into(), "500".into())
    );
    assert_eq!((series[0].total, &series[0].points[..]), (3, &[(noon(), 2), (noon() + MINUTE, 1)][..]));
    let all = engine.store.rates("shop", &whole_time(), &[], 3600).await.unwrap();
    assert_eq!((all.len(), all[0].total, &all[0].points[..]), (1, 4, &[(noon(), 4)][..]));
}

#[tokio::test]
async fn validation_failures_are_counted_by_any_key_and_compared() {
    let engine = engine().await;
    let at = |number: u128, account: &str, after: i64, errors: Vec<FieldError>| Event {
        account_id: account.to_owned(),
        timestamp_ms: noon() + after,
        errors,
        ..event(number)
    };
    let required = || failure("email", "This field is required", "required");
    let sku = || failure("items[].sku", "Must be unique", "unique");
    let events = [
        at(1, "a", 0, vec![required(), sku(), sku()]),
        at(2, "b", 10, vec![required()]),
        at(3, "", 20, vec![required()]),
        at(4, "a", -MINUTE, vec![required()]),
        at(5, "a", 5, Vec::new()),
    ];
    insert(&engine.store, &events).await;
    let filter = Filter { from_ms: noon(), ..whole_time() };
    let previous = Some((noon() - MINUTE, noon()));
    let by = [FailureKey::Field, FailureKey::Rule];
    let rows = engine.store.validation_failures("shop", &filter, &by, previous, 10).await.unwrap();
    assert_eq!(rows.len(), 2);
    let [first, second] = &rows[..] else { unreachable!() };
    assert_eq!((first.keys["field"].as_str(), first.keys["rule"].as_str()), ("email", "required"));
    assert_eq!((first.count, first.events, first.accounts, first.previous_count), (3, 3, 2, Some(1)));
    assert_eq!((first.first_seen_ms, first.last_seen_ms), (noon(), noon() + 20));
    assert_eq!((second.keys["field"].as_str(), second.count, second.events), ("items[].sku", 2, 1));
    assert_eq!((second.accounts, second.previous_count), (1, Some(0)));
    assert!((first.share - 0.6).abs() < 1e-9 && (second.share - 0.4).abs() < 1e-9);
    assert_eq!(second.sample_request_ids, [event(1).request_id.as_str()]);
    let mut samples = first.sample_request_ids.clone();
    samples.sort();
    assert_eq!(samples, [1, 2, 3].map(|number| event(number).request_id.to_string()));

    let one_field = Filter { fields: vec!["items[].sku".to_owned()], ..filter };
    for (key, value) in [
        (FailureKey::Path, "items[3].sku"),
        (FailureKey::Message, "Must be unique"),
        (FailureKey::Account, "a"),
        (FailureKey::Route, "/api/v1/items/{id}/"),
    ] {
        let rows = engine.store.validation_failures("shop", &one_field, &[key], None, 10).await.unwrap();
        assert_eq!((rows.len(), rows[0].keys[key.as_str()].as_str(), rows[0].count), (1, value, 2));
        assert_eq!((rows[0].share, rows[0].previous_count), (1.0, None));
    }
}

#[tokio::test]
async fn a_projects_span_is_its_first_and_last_event() {
    let engine = engine().await;
    let at = |number: u128, after: i64| Event { timestamp_ms: noon() + after, ..event(number) };
    insert(&engine.store, &[at(1, 7), at(2, -7), Event { project: "other".to_owned(), ..at(3, 99) }]).await;
    let span = engine.store.project_span("shop").await.unwrap().unwrap();
    assert_eq!((span.first_ms, span.last_ms, span.events), (noon() - 7, noon() + 7, 2));
    engine.store.ping().await.unwrap();
}

#[tokio::test]
async fn failures_are_classed_by_what_really_happened() {
    let engine = engine().await;
    let batch = encode(&[event(1)]);
    let torn = EncodedBatch { events: batch.events.slice(..batch.events.len() / 2), ..batch.clone() };
    let error = engine.store.insert(&torn, 1).await.unwrap_err();
    assert_ne!(error.class(), RetryClass::Resend, "{error}");
    assert_eq!(engine.store.count_batch(batch.batch_id, batch.received_ms).await.unwrap(), 0, "nothing of a torn body");
    let swapped = EncodedBatch { events: batch.index.clone(), ..encode(&[event(1)]) };
    assert_eq!(engine.store.insert(&swapped, 1).await.unwrap_err().class(), RetryClass::Poison);

    let elsewhere = engine.client.clone().with_url("http://127.0.0.1:1");
    let away = Store::new(elsewhere.clone(), elsewhere.clone(), elsewhere, "errata");
    let error = away.insert(&batch, 1).await.unwrap_err();
    assert_eq!(error.class(), RetryClass::Resend, "{error}");
    assert!(matches!(away.ping().await, Err(StoreError::Unreachable(_))));

    let stranger = engine.client.clone().with_user("nobody");
    let denied = Store::new(stranger.clone(), stranger.clone(), stranger, "errata");
    assert_eq!(denied.insert(&batch, 1).await.unwrap_err().class(), RetryClass::Denied);
    engine.client.query("DROP TABLE events").execute().await.unwrap();
    assert_eq!(engine.store.insert(&batch, 1).await.unwrap_err().class(), RetryClass::Denied, "not migrated");
}
