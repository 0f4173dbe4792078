//! By filter: pages, rates, validation failures.

use errata::store::query::{Cursor, FailureKey, Page, RateKey, StatusFilter};

use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn a_search_finds_what_fits_newest_first_and_pages_stay_stable() {
    let Started { store, .. } = &started().await;
    let events: Vec<_> =
        (1..=5).map(|n| Event { timestamp_ms: noon() + (n as i64 / 2) * MINUTE, ..event(n) }).collect();
    insert(store, &events).await;
    let keys = |page: &Page| page.events.iter().map(|event| event.key.0).collect::<Vec<_>>();
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

#[tokio::test(flavor = "multi_thread")]
async fn every_filter_of_a_search_selects() {
    let Started { store, .. } = &started().await;
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

#[tokio::test(flavor = "multi_thread")]
async fn rates_count_errors_per_step_and_labels() {
    let Started { store, .. } = &started().await;
    let at = |number: u128, seconds: i64, status: u16| Event {
        timestamp_ms: noon() + seconds * 1000,
        status,
        ..event(number)
    };
    deliver(store, &[at(1, 0, 422), at(2, 59, 422), at(3, 60, 422), at(4, 61, 500)]).await;
    let series = store.rates("shop", &whole_time(), &[RateKey::Status, RateKey::Service], 60).await.unwrap();
    let label = |index: usize, name: &str| series[index].labels[name].clone();
    assert_eq!(
        (series.len(), label(0, "status"), label(0, "service"), label(1, "status")),
        (2, "422".into(), "api".into(), "500".into())
    );
    assert_eq!((series[0].total, &series[0].points[..]), (3, &[(noon(), 2), (noon() + MINUTE, 1)][..]));
    let all = store.rates("shop", &whole_time(), &[], 3600).await.unwrap();
    assert_eq!((all.len(), all[0].total, &all[0].points[..]), (1, 4, &[(noon(), 4)][..]));
}

#[tokio::test(flavor = "multi_thread")]
async fn validation_failures_are_counted_by_any_key_and_compared() {
    let Started { store, .. } = &started().await;
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
    deliver(store, &events).await;
    let filter = Filter { from_ms: noon(), ..whole_time() };
    let previous = Some((noon() - MINUTE, noon()));
    let by = [FailureKey::Field, FailureKey::Rule];
    let rows = store.validation_failures("shop", &filter, &by, previous, 10).await.unwrap();
    assert_eq!(rows.len(), 2);
    let [first, second] = &rows[..] else { unreachable!() };
    assert_eq!((first.keys["field"].as_str(), first.keys["rule"].as_str()), ("email", "required"));
    assert_eq!((first.count, first.events, first.accounts, first.previous_count), (3, 3, 2, Some(1)));
    assert_eq!((first.first_seen_ms, first.last_seen_ms), (noon(), noon() + 20));
    assert_eq!((second.keys["field"].as_str(), second.count, second.events), ("items[].sku", 2, 1));
    assert_eq!((second.accounts, second.previous_count), (1, Some(0)));
    assert!((first.share - 0.6).abs() < 1e-9 && (second.share - 0.4).abs() < 1e-9);
    assert_eq!(second.sample_request_ids, [event(1).request_id.as_str()]);
    // Of a whole hour, which comes from the rollup, the last of each service, environment and route.
    assert_eq!(first.sample_request_ids, [event(3).request_id.as_str()]);
    let half = Filter { to_ms: noon() + 30 * MINUTE, ..filter.clone() };
    let from_events = store.validation_failures("shop", &half, &by, None, 10).await.unwrap();
    let mut samples = from_events[0].sample_request_ids.clone();
    samples.sort();
    assert_eq!(samples, [1, 2, 3].map(|number| event(number).request_id.to_string()));

    let one_field = Filter { fields: vec!["items[].sku".to_owned()], ..filter };
    for (key, value) in [
        (FailureKey::Path, "items[3].sku"),
        (FailureKey::Message, "Must be unique"),
        (FailureKey::Account, "a"),
        (FailureKey::Route, "/api/v1/items/{id}/"),
    ] {
        let rows = store.validation_failures("shop", &one_field, &[key], None, 10).await.unwrap();
        assert_eq!((rows.len(), rows[0].keys[key.as_str()].as_str(), rows[0].count), (1, value, 2));
        assert_eq!((rows[0].share, rows[0].previous_count), (1.0, None));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn failures_of_more_rules_than_are_told_by_themselves_are_listed() {
    let Started { store, .. } = &started().await;
    let failed = |number: u128| Event {
        status: 422,
        errors: vec![failure(&format!("field_{}", number % 14), "m", "required")],
        ..event(number)
    };
    // The fields with the lower numbers once more.
    let events: Vec<_> = (0..20).map(failed).collect();
    deliver(store, &events).await;
    let by = [FailureKey::Field, FailureKey::Rule, FailureKey::Route];
    for limit in [3, 50] {
        let rows = store.validation_failures("shop", &whole_time(), &by, None, limit).await.unwrap();
        let counts: Vec<_> = rows.iter().map(|row| row.count).collect();
        let all = [vec![2; 6], vec![1; 8]].concat();
        assert_eq!(counts, all[..limit.min(all.len())]);
    }
}
