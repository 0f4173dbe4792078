//! By request id, and what is shown around it.

use errata::{
    event::{RateLimit, erasure::Erasable},
    store::{
        erase::Scope,
        query::{Episode, FailureKey, RateKey},
    },
};

use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn a_request_has_all_its_events_oldest_first_across_weeks() {
    let Started { store, .. } = &started().await;
    let shared = id("0B8B8A6E-0000-4000-8000-000000000001");
    let at = |number: u128, after: i64| Event {
        request_id: shared.clone(),
        timestamp_ms: noon() + after,
        received_at_ms: noon() + after + 1,
        ..event(number)
    };
    insert(store, &[at(1, 5), at(2, 0), event(3)]).await;
    insert(store, &[at(4, -9 * DAY)]).await;
    let found = store.requests("shop", &[event(9).request_id, shared, event(3).request_id]).await.unwrap();
    let keys: Vec<Vec<u128>> = found.iter().map(|f| f.events.iter().map(|event| event.key.0).collect()).collect();
    assert_eq!(keys, [vec![], vec![4, 2, 1], vec![3]]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_of_one_second_has_its_events_in_order_each_once_and_the_oldest_when_they_are_many() {
    let Started { store, .. } = &started().await;
    for id in [id("req_busy"), id("0b8b8a6e-0000-4000-8000-000000000002")] {
        let at = |number: u128, ms: i64| Event {
            request_id: id.clone(),
            timestamp_ms: noon() + ms,
            received_at_ms: noon() + 2000,
            ..event(number)
        };
        // A repetition under the same key, also with another time; in parts of their own.
        insert(store, &[at(1, 5), at(2, 7), at(3, 5)]).await;
        insert(store, &[at(1, 5), at(2, 0)]).await;
        let found = store.request("shop", &id).await.unwrap();
        let order: Vec<_> = found.events.iter().map(|event| (event.key.0, event.timestamp_ms - noon())).collect();
        assert_eq!((order, found.more), (vec![(2, 0), (1, 5), (3, 5)], false));

        let many: Vec<Event> = (10..400).rev().map(|number| at(number, number as i64)).collect();
        insert(store, &many).await;
        let found = store.request("shop", &id).await.unwrap();
        let keys: Vec<u128> = found.events.iter().map(|event| event.key.0).collect();
        assert_eq!((keys.len(), &keys[..4], keys[99], found.more), (100, &[2, 1, 3, 10][..], 106, true));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_busy_request_hides_no_quiet_one_and_shows_its_latest_events() {
    let Started { store, .. } = &started().await;
    let at = |id: &RequestId, number: u128, ms: i64| Event {
        request_id: id.clone(),
        timestamp_ms: noon() + ms,
        received_at_ms: noon() + 5000,
        ..event(number)
    };
    let (busy, quiet) = (id("req_busy"), id("req_quiet"));
    let mut events: Vec<Event> = (0..40).map(|number| at(&busy, number, number as i64)).collect();
    events.push(at(&quiet, 99, 3000));
    insert(store, &events).await;
    let found = store.requests("shop", &[busy, quiet]).await.unwrap();
    let keys: Vec<Vec<u128>> = found.iter().map(|f| f.events.iter().map(|event| event.key.0).collect()).collect();
    assert_eq!((keys, found[0].more), (vec![vec![35, 36, 37, 38, 39], vec![99]], true));
}

/// As after an hour in which ClickHouse took the index and refused the events.
#[tokio::test(flavor = "multi_thread")]
async fn copies_of_an_index_row_hide_no_other() {
    let started = started().await;
    let store = &started.store;
    let shared = id("req_tried_often");
    let at = |number: u128, ms: i64| Event {
        request_id: shared.clone(),
        timestamp_ms: noon() + ms,
        received_at_ms: noon() + 5000,
        ..event(number)
    };
    insert(store, &[at(1, 0), at(2, 3000)]).await;
    let first = noon() / 1000;
    let copy = format!(
        "INSERT INTO {{}}.request_index SELECT k, second, week FROM {{}}.request_index ARRAY JOIN range(300) AS copy WHERE second = {first}"
    );
    started.run(&copy).await;
    for found in [
        store.request("shop", &shared).await.unwrap(),
        store.requests("shop", &[shared.clone(), id("req_none")]).await.unwrap().remove(0),
    ] {
        let keys: Vec<u128> = found.events.iter().map(|event| event.key.0).collect();
        assert_eq!((keys, found.more), (vec![1, 2], false));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_ids_with_one_lookup_key_are_told_apart() {
    let started = started().await;
    let store = &started.store;
    insert(store, &[event(1)]).await;
    let stranger = id("req_of_the_same_hash");
    let key = stranger.lookup_key("shop") >> 24;
    started.run(&format!("INSERT INTO {{}}.request_index SELECT {key}, second, week FROM {{}}.request_index")).await;
    assert!(store.request("shop", &stranger).await.unwrap().events.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_past_its_retention_is_said_to_be_expired() {
    let started = started().await;
    let store = &started.store;
    let old = noon() - 100 * DAY;
    let gone = Event { timestamp_ms: old, received_at_ms: old, ..event(1) };
    insert(store, std::slice::from_ref(&gone)).await;
    started.run("OPTIMIZE TABLE {}.events FINAL").await;
    let found = store.request("shop", &gone.request_id).await.unwrap();
    assert_eq!((found.events.len(), found.expired_first_seen_ms), (0, Some(old)));
    // Its events are gone as well, but for another reason: their insert is still to come.
    let batch = EncodedBatch { events: encode(&[event(3)]).events, ..encode(&[event(2)]) };
    store.insert(&batch, 1).await.unwrap();
    let found = store.request("shop", &event(2).request_id).await.unwrap();
    assert_eq!((found.events.len(), found.expired_first_seen_ms), (0, None));
}

#[tokio::test(flavor = "multi_thread")]
async fn projects_never_see_each_other() {
    let Started { store, .. } = &started().await;
    let mine =
        Event { account_id: "17".to_owned(), status: 429, errors: vec![failure("email", "m", "required")], ..event(1) };
    insert(store, std::slice::from_ref(&mine)).await;
    let other = "other";
    assert!(store.request(other, &mine.request_id).await.unwrap().events.is_empty());
    assert!(store.search(other, &whole_time(), 10, None).await.unwrap().events.is_empty());
    assert_eq!(store.impact(other, &mine).await.unwrap().events, 0);
    assert!(store.account_around(other, "17", noon(), DAY, 10).await.unwrap().is_empty());
    assert_eq!(store.episode(other, &mine).await.unwrap(), None);
    assert!(store.rate_limit_episodes(other, &whole_time()).await.unwrap().is_empty());
    assert!(store.rates(other, &whole_time(), &[RateKey::Status], 60).await.unwrap().is_empty());
    let failures = store.validation_failures(other, &whole_time(), &[FailureKey::Field], None, 10).await.unwrap();
    assert!(failures.is_empty());
    assert_eq!(store.project_span(other).await.unwrap(), None);
    assert_eq!(store.project_span("shop").await.unwrap().unwrap().events, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn impact_is_the_same_error_in_the_hour_around() {
    let Started { store, .. } = &started().await;
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
    deliver(store, &events).await;
    let impact = store.impact("shop", &events[0]).await.unwrap();
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
    // An event that is stored twice counts once, and one that is the first of its kind is the first.
    insert(store, &events[..3]).await;
    assert_eq!(store.impact("shop", &events[0]).await.unwrap(), impact);
    let alone = store.impact("shop", &events[6]).await.unwrap();
    assert_eq!((alone.events, alone.first_seen_ms), (1, noon()));
    let unheard = Event { fingerprint: 79, ..events[0].clone() };
    let none = store.impact("shop", &unheard).await.unwrap();
    assert_eq!((none.events, none.first_seen_ms, none.per_minute), (0, noon(), vec![0; 60]));
    // What is more than a day before is too far to be looked for.
    deliver(store, &[at(8, -24 * 60 - 1, "f", "0"), at(9, -24 * 60, "f", "0")]).await;
    assert_eq!(store.impact("shop", &events[0]).await.unwrap().first_seen_ms, noon() - 24 * 60 * MINUTE);
}

/// The rollup of issues still counts what was erased: the first event is the first of those that are there.
#[tokio::test(flavor = "multi_thread")]
async fn an_hour_whose_events_are_erased_has_no_first_event() {
    let started = started().await;
    let store = &started.store;
    let at = |number: u128, minutes: i64, account: &str| Event {
        timestamp_ms: noon() + minutes * MINUTE,
        account_id: account.to_owned(),
        fingerprint: 77,
        ..event(number)
    };
    let events = [at(1, 0, "a"), at(2, -170, "b"), at(3, -290, "gone"), at(4, -350, "gone")];
    deliver(store, &events).await;
    assert_eq!(store.impact("shop", &events[0]).await.unwrap().first_seen_ms, noon() - 350 * MINUTE);
    started.run("DELETE FROM {}.events WHERE account_id = 'gone'").await;
    assert_eq!(store.impact("shop", &events[0]).await.unwrap().first_seen_ms, noon() - 170 * MINUTE);
    started.run("DELETE FROM {}.events WHERE account_id = 'b'").await;
    assert_eq!(store.impact("shop", &events[0]).await.unwrap().first_seen_ms, noon());
}

/// An attempt that gives up leaves its mutation to ClickHouse: the next one waits for it and asks for no other.
#[tokio::test(flavor = "multi_thread")]
async fn a_deletion_that_waits_is_asked_for_once() {
    let started = started().await;
    let store = &started.store;
    insert(store, &[Event { account_id: "17".into(), ..event(1) }, Event { account_id: "18".into(), ..event(2) }])
        .await;
    let what = Erasable::Account("17".into());
    let scope = Scope { project: "shop", what: &what, until_ms: i64::from(u32::MAX) * 1000 };
    started.run("SYSTEM STOP MERGES {}.events").await;
    let asked = async || -> u64 {
        let sql = "SELECT count() FROM system.mutations WHERE database = 'errata_it' AND table = 'events'";
        started.clients.admin.query(sql).fetch_one().await.unwrap()
    };
    let first = store.erase_events(&scope);
    tokio::pin!(first);
    while asked().await == 0 {
        let _ = tokio::time::timeout(std::time::Duration::from_millis(50), &mut first).await; // it goes on meanwhile
    }
    let again = store.erase_events(&scope);
    tokio::pin!(again);
    assert!(tokio::time::timeout(std::time::Duration::from_secs(1), &mut again).await.is_err(), "nothing merges");
    assert_eq!(asked().await, 1);
    started.run("SYSTEM START MERGES {}.events").await;
    again.await.unwrap();
    assert_eq!((asked().await, store.count_doomed(&scope).await.unwrap()), (1, 0));
    assert_eq!(store.project_span("shop").await.unwrap().unwrap().events, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_accounts_errors_nearest_to_a_moment_come_oldest_first() {
    let Started { store, .. } = &started().await;
    let at = |number: u128, minutes: i64, account: &str| Event {
        timestamp_ms: noon() + minutes * MINUTE,
        account_id: account.to_owned(),
        errors: vec![failure("email", "m", "required")],
        ..event(number)
    };
    insert(store, &[at(1, -5, "a"), at(2, 5, "a"), at(3, 20, "a"), at(4, 0, "b"), at(5, 0, "")]).await;
    let around = store.account_around("shop", "a", noon(), 10 * MINUTE, 10).await.unwrap();
    let ids: Vec<_> = around.iter().map(|summary| summary.request_id.as_str()).collect();
    assert_eq!(ids, [event(1).request_id.as_str(), event(2).request_id.as_str()]);
    assert_eq!((around[1].timestamp_ms, &around[1].fields[..]), (noon() + 5 * MINUTE, &["email".to_owned()][..]));
    insert(store, &[at(6, -1, "a"), at(7, 2, "a"), at(8, 9, "a")]).await;
    let nearest = store.account_around("shop", "a", noon(), 10 * MINUTE, 3).await.unwrap();
    let minutes: Vec<_> = nearest.iter().map(|summary| (summary.timestamp_ms - noon()) / MINUTE).collect();
    assert_eq!(minutes, [-5, -1, 2]);
    assert!(store.account_around("shop", "", noon(), DAY, 10).await.unwrap().is_empty(), "nobody is no account");
}

/// Of too many to be looked at one by one, ClickHouse tells the episode.
#[tokio::test(flavor = "multi_thread")]
async fn a_storm_of_429s_is_one_episode() {
    let Started { store, .. } = &started().await;
    let in_storm = |number: u128| Event {
        timestamp_ms: noon() + 100 * i64::try_from(number).unwrap(),
        status: 429,
        account_id: "22".to_owned(),
        ..event(number)
    };
    let storm: Vec<_> = (0..5_100).map(in_storm).collect();
    deliver(store, &storm).await;
    for event in [&storm[0], &storm[5_099]] {
        let episode = store.episode("shop", event).await.unwrap().unwrap();
        assert_eq!((episode.events, episode.start_ms, episode.end_ms), (5_100, noon(), noon() + 509_900));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_episode_is_an_unbroken_run_of_429s() {
    let Started { store, .. } = &started().await;
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
        // In the hour before; and in the one before that, too long ago to belong to it.
        at(10, -200),
        at(11, -3700),
    ];
    deliver(store, &events).await;
    let episode = store.episode("shop", &events[1]).await.unwrap().unwrap();
    assert_eq!(
        (episode.start_ms, episode.end_ms),
        (noon() - 200_000, noon() + 59_000),
        "359 s after 59 s is exactly 301 s later"
    );
    assert_eq!((episode.events, episode.limit, episode.retries_before_reset), (4, Some(60), 2));
    let later = store.episode("shop", &events[3]).await.unwrap().unwrap();
    assert_eq!((later.start_ms, later.events, later.limit), (noon() + 360_000, 2, Some(60)));
    let not_stored = Event { timestamp_ms: noon() + 100_000, ..events[0].clone() };
    let nearest = store.episode("shop", &not_stored).await.unwrap().unwrap();
    assert_eq!((nearest.start_ms, nearest.end_ms), (episode.start_ms, episode.end_ms));
    let elsewhere = Event { timestamp_ms: noon() + 60 * MINUTE, ..events[0].clone() };
    assert_eq!(store.episode("shop", &elsewhere).await.unwrap(), None);
    let nobody = Event { account_id: String::new(), ..events[0].clone() };
    assert_eq!(store.episode("shop", &nobody).await.unwrap(), None);
    assert_eq!(store.episode("shop", &Event { status: 400, ..events[0].clone() }).await.unwrap(), None);
    let alone = store.episode("shop", &events[6]).await.unwrap().unwrap();
    assert_eq!((alone.account_id.as_str(), alone.events, alone.start_ms), ("18", 1, events[6].timestamp_ms));
    assert_eq!(
        [&alone.service, &alone.environment, &alone.route],
        [&events[6].service, &events[6].environment, &events[6].route]
    );
    // A long one; and one who came back later, shortly before the reset that was announced: alone near it, but not in its hour.
    let of_nineteen =
        |number: u128| Event { account_id: "19".to_owned(), ..at(20 + number, 240 * i64::try_from(number).unwrap()) };
    let long: Vec<_> = (0..11).map(of_nineteen).collect();
    let reset = Some(noon() / 1000 + 3600);
    let patience = |number: u128, seconds: i64| Event {
        account_id: "20".to_owned(),
        rate_limit: Some(RateLimit { limit: Some(60), remaining: Some(0), reset }),
        ..at(number, seconds)
    };
    let back = [patience(40, 0), patience(41, 3480)];
    deliver(store, &[long.as_slice(), &back].concat()).await;
    for event in [&long[0], &long[5], &long[10]] {
        let episode = store.episode("shop", event).await.unwrap().unwrap();
        assert_eq!((episode.events, episode.start_ms, episode.end_ms), (11, noon(), noon() + 2_400_000));
    }
    let again = store.episode("shop", &back[1]).await.unwrap().unwrap();
    assert_eq!((again.events, again.retries_before_reset), (1, 1));
    // Who has no account is known by the address; and a word that the table cannot hold is another one there, and in its rollups.
    let nobody = |number: u128, address: &str| Event {
        account_id: String::new(),
        client_ip: address.to_owned(),
        ..at(50 + number, 30 * i64::try_from(number).unwrap())
    };
    let odd = |number: u128| Event {
        route: "/a\u{1f}b".to_owned(),
        account_id: "21".to_owned(),
        ..at(100 + number, 240 * i64::try_from(number).unwrap() - 9600)
    };
    let nobodies = [nobody(0, "192.0.2.7"), nobody(1, "192.0.2.8"), nobody(2, "192.0.2.7")];
    let odds: Vec<_> = (0..40).map(odd).collect();
    deliver(store, &[nobodies.as_slice(), &odds].concat()).await;
    let stranger = store.episode("shop", &nobodies[2]).await.unwrap().unwrap();
    assert_eq!((stranger.client_ip.as_str(), stranger.events, stranger.start_ms), ("192.0.2.7", 2, noon()));
    for event in [&odds[0], &odds[30], &odds[39]] {
        let episode = store.episode("shop", event).await.unwrap().unwrap();
        assert_eq!((episode.events, episode.start_ms), (40, odds[0].timestamp_ms));
    }
    // The list has the same of them all.
    let listed = store.rate_limit_episodes("shop", &whole_time()).await.unwrap();
    for event in events.iter().filter(|event| event.status == 429).chain(&long).chain(&back) {
        let one = store.episode("shop", event).await.unwrap().unwrap();
        let same = listed.iter().find(|episode| {
            (&episode.account_id, &episode.route, episode.start_ms) == (&one.account_id, &one.route, one.start_ms)
        });
        assert_eq!(same.map(|episode| Episode { in_all: 1, ..episode.clone() }), Some(one), "{event:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_projects_span_is_its_first_and_last_event() {
    let Started { store, .. } = &started().await;
    let at = |number: u128, after: i64| Event { timestamp_ms: noon() + after, ..event(number) };
    insert(store, &[at(1, 7), at(2, -7), Event { project: "other".to_owned(), ..at(3, 99) }]).await;
    let span = store.project_span("shop").await.unwrap().unwrap();
    assert_eq!((span.first_ms, span.last_ms, span.events), (noon() - 7, noon() + 7, 2));
    for (project, at_ms, has) in [("shop", noon() - 8, false), ("shop", noon() - 7, true), ("none", noon() + 99, false)]
    {
        assert_eq!(store.has_events_by(project, at_ms).await.unwrap(), has, "{project} {at_ms}");
    }
    store.ping().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_with_very_many_events_is_shown_in_part() {
    let Started { store, .. } = &started().await;
    let id = event(1).request_id;
    let at =
        |number: u128| Event { request_id: id.clone(), timestamp_ms: noon() + number as i64 * MINUTE, ..event(number) };
    let events: Vec<_> = (0..103).map(at).collect();
    insert(store, &events).await;
    insert(store, &[Event { request_id: RequestId::parse("req_other").unwrap(), ..event(500) }]).await;
    let found = store.request("shop", &id).await.unwrap();
    assert_eq!((found.events.len(), found.more), (100, true));
    assert_eq!(found.events[0], events[0], "the oldest first");
    let ids = [RequestId::parse("req_other").unwrap(), id.clone(), RequestId::parse("req_none").unwrap()];
    let found = store.requests("shop", &ids).await.unwrap();
    assert_eq!(found[1].events, events[98..], "the latest of each");
    assert_eq!((found[0].events.len(), found[0].more, found[1].more), (1, false, true));
    assert_eq!(found[2], errata::store::query::Found::default());
}
