//! What the overview and the lookup page ask beside the API's questions: counted in plain Rust, and by ClickHouse.

use std::collections::{BTreeMap, BTreeSet};

use errata::store::query::{IssueFilter, NO_STEPS_S, RateKey};

use super::{rollup::filled, *};

const HOUR: i64 = 60 * MINUTE;

/// Events of the project in a range, each once.
fn within(batches: &[(EncodedBatch, Vec<Event>)], (from_ms, to_ms): (i64, i64)) -> Vec<&Event> {
    let all = batches.iter().flat_map(|(_, events)| events);
    all.filter(|event| event.project == "shop" && (from_ms..to_ms).contains(&event.timestamp_ms)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn new_issues_and_hours_are_those_of_the_events() {
    let started = started().await;
    let store = &started.store;
    let batches = filled(store).await;
    roll_up(store, &batches).await;
    let first = noon() - 2 * DAY;
    let all = within(&batches, (0, i64::MAX));
    let fingerprint = all[0].fingerprint;
    let hours = store.issue_hours("shop", fingerprint, (first + 1, noon())).await.unwrap();
    assert_eq!((hours.from_ms, hours.counts.len()), (first, 48));
    for (hour, count) in hours.counts.iter().enumerate() {
        let from = first + hour as i64 * HOUR;
        let expected =
            within(&batches, (from, from + HOUR)).iter().filter(|event| event.fingerprint == fingerprint).count();
        assert_eq!(*count, expected as u64, "hour {hour}");
    }
    assert!(hours.counts.iter().sum::<u64>() > 0);
    let of_kind = all.iter().filter(|event| event.fingerprint == fingerprint).map(|event| event.timestamp_ms);
    let (of_kind, first_ever) =
        (all.iter().find(|event| event.fingerprint == fingerprint).unwrap(), of_kind.min().unwrap());
    // The day before an event does not reach that far back.
    let late = Event { timestamp_ms: first_ever + 30 * HOUR, ..(*of_kind).clone() };
    assert_eq!(store.impact_ever("shop", &late).await.unwrap().first_seen_ms, first_ever);
    assert!(store.impact("shop", &late).await.unwrap().first_seen_ms > first_ever);
    let unknown = Event { fingerprint: 17, ..late };
    assert_eq!(store.impact_ever("shop", &unknown).await.unwrap().first_seen_ms, unknown.timestamp_ms);
    new_ones(&started, &all, first).await;
    // As far as a time can be asked for.
    let end_of_2299 = 10_413_791_999_999;
    let ever = store.seen_issues("shop", &IssueFilter::of(vec![fingerprint], (first, end_of_2299))).await.unwrap();
    let counted = all.iter().filter(|event| event.fingerprint == fingerprint && event.timestamp_ms >= first).count();
    assert_eq!(ever.iter().map(|issue| issue.events).collect::<Vec<_>>(), [counted as u64]);
    // Services are counted with their routes.
    let filter = Filter { from_ms: first + 1, to_ms: noon(), ..Filter::default() };
    let keys = [RateKey::Service, RateKey::Route];
    for step_s in [3600, NO_STEPS_S] {
        let (by_route, by_service) = store.rates_and_first("shop", &filter, &keys, step_s).await.unwrap();
        assert_eq!(by_route, store.rates("shop", &filter, &keys, step_s).await.unwrap());
        assert_eq!(by_service, store.rates("shop", &filter, &keys[..1], step_s).await.unwrap());
        assert!(by_service.len() > 1 && by_route.len() > by_service.len());
    }
    // Both releases had errors in the first hours of both environments, one a little before the other at most.
    let before = store.release_starts("shop", (first, noon()), 9).await.unwrap();
    assert!(before.iter().all(|start| start.at_ms < first + 3 * HOUR), "{before:?}");
    let later = Event { release: "3".into(), timestamp_ms: first + 7 * HOUR + 5, ..event(9999) };
    deliver(store, &[later]).await;
    let starts = store.release_starts("shop", (first, noon()), 9).await.unwrap();
    let told: Vec<_> = starts[before.len()..].iter().map(|start| (start.release.as_str(), start.at_ms)).collect();
    assert_eq!(told, [("3", first + 7 * HOUR)]);
    // What has had errors in the day before a range does not come in it, and of many the latest are told.
    deliver(store, &[Event { release: "3".into(), timestamp_ms: first + 10 * HOUR + 5, ..event(9998) }]).await;
    deliver(store, &[Event { release: "4".into(), timestamp_ms: first + 11 * HOUR, ..event(9997) }]).await;
    let starts = store.release_starts("shop", (first + 8 * HOUR, noon()), 9).await.unwrap();
    assert_eq!(starts.iter().map(|start| start.release.as_str()).collect::<Vec<_>>(), ["4"]);
    let latest = store.release_starts("shop", (first, noon()), 2).await.unwrap();
    assert_eq!(latest.iter().map(|start| start.release.as_str()).collect::<Vec<_>>(), ["3", "4"]);
    // What an older version has counted tells the same.
    started.run("DROP TABLE {}.release_hours").await;
    started.run("ALTER TABLE {}.schema_migrations DELETE WHERE version = 6 SETTINGS mutations_sync = 2").await;
    let store = &Store::new(started.clients.clone());
    assert_eq!(store.migrate().await.unwrap(), ["0006_release_hours"]);
    assert_eq!(store.release_starts("shop", (first, noon()), 9).await.unwrap().len(), before.len() + 2);
}

/// New in a range is what was first seen in it.
async fn new_ones(started: &Started, all: &[&Event], first: i64) {
    let store = &started.store;
    let mut firsts: BTreeMap<u64, i64> = BTreeMap::new();
    for event in all {
        let seen = firsts.entry(event.fingerprint).or_insert(i64::MAX);
        *seen = (*seen).min(event.timestamp_ms);
    }
    let range = (first + HOUR, first + 9 * HOUR);
    let mut expected: Vec<_> = firsts.into_iter().filter(|(_, at)| (range.0..range.1).contains(at)).collect();
    expected.sort_by_key(|(fingerprint, at)| (std::cmp::Reverse(*at), *fingerprint));
    assert!(expected.len() > 3, "{expected:?}");
    let found = store.new_issues("shop", range, 3).await.unwrap();
    let told: Vec<_> = found.iter().map(|issue| (issue.fingerprint, issue.first_ms)).collect();
    assert_eq!(told, expected[..3]);
    let of_three: Vec<_> = expected[..3].iter().map(|(fingerprint, _)| *fingerprint).collect();
    let counts = store.issue_counts("shop", &found, range).await.unwrap();
    let in_range = all.iter().filter(|event| (range.0..range.1).contains(&event.timestamp_ms));
    let mut by_hand = BTreeMap::new();
    for event in in_range.filter(|event| of_three.contains(&event.fingerprint)) {
        *by_hand.entry(event.fingerprint).or_insert(0) += 1;
    }
    assert_eq!(counts.into_iter().collect::<BTreeMap<_, u64>>(), by_hand);
    let routes: BTreeSet<_> = found.iter().map(|issue| issue.route.as_str()).collect();
    assert!(routes.iter().all(|route| ["/a/", "/b/{id}/", "/c/"].contains(route)), "{routes:?}");
    // Issues that are long known, and were written again later than all of those, are not new.
    for at in [first - DAY, range.1 - 1] {
        let kind =
            format!("concat('service-', toString(number)), '/a/', 422, 'e', [], [], '', {}, {}", time(at), time(at));
        started.run(&format!("INSERT INTO {{}}.issues SELECT 'shop', number, {kind} FROM numbers(400)")).await;
    }
    let again = store.new_issues("shop", range, 3).await.unwrap();
    assert_eq!(again, found);
}

fn time(at_ms: i64) -> String {
    format!("fromUnixTimestamp64Milli({at_ms}, 'UTC')")
}
