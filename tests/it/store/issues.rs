//! Issues in a real ClickHouse: hours and events give one answer, the first day outlives the events, and many are no burden.

use std::collections::BTreeMap;

use errata::{
    issues::{Issue, IssueState, NEW_MS, Question, Sort, list, one},
    state::Resolution,
    store::query::{IssueFilter, StatusFilter},
};

use super::{rollup::filled, *};

const HOUR: i64 = 60 * MINUTE;

fn question(filter: IssueFilter) -> Question {
    Question { filter, states: Vec::new(), sort: Sort::Count, limit: 2000, after: None, new_ms: NEW_MS }
}

fn within(from_ms: i64, to_ms: i64) -> IssueFilter {
    IssueFilter { from_ms, to_ms, ..IssueFilter::default() }
}

async fn ask(store: &Store, question: &Question, resolutions: &[Resolution]) -> Vec<Issue> {
    let page = list(store, "shop", question, resolutions.to_vec()).await.unwrap();
    assert_eq!((page.in_all, page.next), (page.issues.len(), None));
    page.issues
}

fn questions() -> Vec<Question> {
    let first = noon() - 2 * DAY;
    let ranges = [
        (first, noon()),
        (first + 6 * HOUR, first + 12 * HOUR),
        (first + 123_456, noon() - 7_654_321),
        (first + 10 * MINUTE, first + 25 * MINUTE),
    ];
    let whole = within(ranges[2].0, ranges[2].1);
    let texts = |texts: &[&str]| texts.iter().map(|&text| text.to_owned()).collect::<Vec<_>>();
    let mut filters: Vec<_> = ranges.map(|(from, to)| within(from, to)).to_vec();
    filters.extend([
        IssueFilter { services: texts(&["api"]), environments: texts(&["staging"]), ..whole.clone() },
        IssueFilter { routes: texts(&["/a/", "/c/"]), statuses: vec![StatusFilter::Class(4)], ..whole.clone() },
        IssueFilter { text: Some("KEYerror".to_owned()), ..whole.clone() },
        IssueFilter { text: Some("items[]".to_owned()), ..whole },
    ]);
    filters.into_iter().map(question).collect()
}

fn resolved(fingerprint: u64, at_ms: i64) -> Resolution {
    Resolution {
        project: "shop".into(),
        fingerprint,
        at_ms,
        after_ms: at_ms,
        by: "anna".into(),
        comment: String::new(),
        in_release: String::new(),
        older_releases: Vec::new(),
    }
}

/// What a page must say of an issue, by the events themselves.
fn expected(events: &[&Event], filter: &IssueFilter) -> BTreeMap<u64, (u64, u64, i64, i64)> {
    let fits = |event: &&&Event| {
        let any = |list: &[String], value: &str| list.is_empty() || list.iter().any(|one| one == value);
        let text = filter.text.as_ref().is_none_or(|text| {
            let thrown = event.exception.as_ref().map_or("", |exception| &exception.r#type);
            let fields = event.errors.iter().map(|error| error.field.as_str());
            let mut parts = [event.error_template.as_str(), thrown, &event.route].into_iter().chain(fields);
            parts.any(|part| part.to_lowercase().contains(&text.to_lowercase()))
        });
        (filter.from_ms..filter.to_ms).contains(&event.timestamp_ms)
            && any(&filter.services, &event.service)
            && any(&filter.environments, &event.environment)
            && any(&filter.routes, &event.route)
            && (filter.statuses.is_empty() || event.status < 500)
            && text
    };
    let mut expected = BTreeMap::new();
    for event in events.iter().filter(fits) {
        let own = || events.iter().filter(|other| other.fingerprint == event.fingerprint);
        let first_ms = own().map(|event| event.timestamp_ms).min().unwrap();
        let mut accounts: Vec<_> =
            own().filter(fits).map(|event| event.account_id.as_str()).filter(|account| !account.is_empty()).collect();
        accounts.sort_unstable();
        accounts.dedup();
        let entry = expected.entry(event.fingerprint).or_insert((0, accounts.len() as u64, first_ms, i64::MIN));
        *entry = (entry.0 + 1, entry.1, entry.2, entry.3.max(event.timestamp_ms));
    }
    expected
}

#[tokio::test(flavor = "multi_thread")]
async fn hours_and_events_say_the_same_of_issues() {
    let started = started().await;
    let store = &started.store;
    let batches = filled(store).await;
    for part in [&batches[..2], &batches[2..]] {
        roll_up(store, part).await;
    }
    let events: Vec<&Event> = batches.iter().flat_map(|(_, events)| events).filter(|e| e.project == "shop").collect();
    let some: Vec<u64> = events.iter().take(40).map(|event| event.fingerprint).collect();
    let resolutions: Vec<_> = some.iter().map(|one| resolved(*one, noon() - 12 * HOUR)).collect();
    let mut answers = Vec::new();
    for question in questions() {
        let issues = ask(store, &question, &resolutions).await;
        let counted = issues.iter().filter(|issue| issue.events > 0).map(|issue| {
            assert_eq!(issue.trend.events.iter().sum::<u64>(), issue.events, "{issue:?}");
            assert!(!issue.samples.request_ids.is_empty() && issue.samples.request_ids.len() <= 5, "{issue:?}");
            for sample in &issue.samples.request_ids {
                let event = events.iter().find(|event| event.request_id.as_str() == sample).unwrap();
                assert_eq!(event.fingerprint, issue.kind.fingerprint);
                assert!((question.filter.from_ms..question.filter.to_ms).contains(&event.timestamp_ms));
            }
            (issue.kind.fingerprint, (issue.events, issue.accounts, issue.first_ms, issue.last_ms))
        });
        assert_eq!(counted.collect::<BTreeMap<_, _>>(), expected(&events, &question.filter), "{question:?}");
        answers.push(issues);
    }
    let states = |state| answers.iter().flatten().filter(|issue| issue.state == state).count();
    assert!(states(IssueState::Resolved) > 0 && states(IssueState::Regressed) > 0, "the question is a good one");
    // Told that no event is in the hours, a store reads the events alone.
    started.run("INSERT INTO {}.issue_start VALUES ('2100-01-01')").await;
    let without = Store::new(started.clients.clone());
    for (question, before) in questions().iter().zip(answers) {
        assert_eq!(ask(&without, question, &resolutions).await, before, "{question:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_day_of_an_issue_outlives_its_events() {
    let started = started().await;
    let store = &started.store;
    let old = Event { timestamp_ms: noon() - 6 * DAY, received_at_ms: noon() - 6 * DAY, ..event(1) };
    deliver(store, std::slice::from_ref(&old)).await;
    for table in ["events", "rollup_issues"] {
        started.run(&format!("TRUNCATE TABLE {{}}.{table}")).await;
    }
    let day = (noon() - DAY + 1, noon() + 1);
    let gone = one(store, "shop", 1, day, NEW_MS, None).await.unwrap().unwrap();
    assert_eq!((gone.events, gone.first_ms, gone.last_ms), (0, old.timestamp_ms, old.timestamp_ms));
    assert!(ask(store, &question(within(day.0, day.1)), &[]).await.is_empty(), "not seen in the range");
    // Another collector, which knows nothing of it, meets it again.
    let other = Store::new(started.clients.clone());
    deliver(&other, &[event(2)]).await;
    let issues = ask(store, &question(within(day.0, day.1)), &[]).await;
    assert_eq!((issues.len(), issues[0].first_ms, issues[0].state), (1, old.timestamp_ms, IssueState::Ongoing));
    // An event that is late by weeks makes it older.
    let late = Event { timestamp_ms: noon() - 20 * DAY, ..event(3) };
    deliver(&other, std::slice::from_ref(&late)).await;
    started.run("OPTIMIZE TABLE {}.issues FINAL").await;
    assert_eq!(one(store, "shop", 1, day, NEW_MS, None).await.unwrap().unwrap().first_ms, late.timestamp_ms);
    assert_eq!(one(store, "other", 1, day, NEW_MS, None).await.unwrap(), None, "of another project");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_issue_is_written_once_a_day_and_not_with_each_group() {
    let started = started().await;
    let store = &started.store;
    let rows = async || -> u64 {
        let sql = "SELECT count() FROM issues";
        started.clients.read.query(sql).fetch_one().await.unwrap()
    };
    started.run("SYSTEM STOP MERGES {}.issues").await;
    for number in 0..5 {
        deliver(store, &[Event { timestamp_ms: noon() + i64::from(number), ..event(number as u128) }]).await;
    }
    assert_eq!(rows().await, 1);
    deliver(store, &[Event { timestamp_ms: noon() + DAY, ..event(9) }]).await;
    assert_eq!(rows().await, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_stored_before_there_were_issues_is_known_all_the_same() {
    let started = started().await;
    let batches = filled(&started.store).await;
    // As an older version left it: events, and then the migration.
    for table in ["issues", "rollup_issues", "issue_start"] {
        started.run(&format!("DROP TABLE {{}}.{table}")).await;
    }
    started.run("ALTER TABLE {}.schema_migrations DELETE WHERE version = 5 SETTINGS mutations_sync = 2").await;
    let store = &Store::new(started.clients.clone());
    assert_eq!(store.migrate().await.unwrap(), ["0005_issues"]);
    let events: Vec<&Event> = batches.iter().flat_map(|(_, events)| events).filter(|e| e.project == "shop").collect();
    for question in questions() {
        let issues = ask(store, &question, &[]).await;
        let counted = issues
            .iter()
            .map(|issue| (issue.kind.fingerprint, (issue.events, issue.accounts, issue.first_ms, issue.last_ms)));
        assert_eq!(counted.collect::<BTreeMap<_, _>>(), expected(&events, &question.filter), "{question:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_thousand_issues_are_paged_through() {
    const ISSUES: usize = 100_000;
    let started = started().await;
    let week = "toMonday(fromUnixTimestamp64Milli({at}))";
    let at = noon() - 90 * MINUTE;
    started
        .run(&format!(
            "INSERT INTO {{}}.issues SELECT 'shop', cityHash64(number), concat('service-', toString(number % 20)), \
             concat('/route/', toString(number)), 422, 'Validation failed', ['email'], ['required'], '', \
             fromUnixTimestamp64Milli({at} - number), fromUnixTimestamp64Milli({at}) FROM numbers({ISSUES})"
        ))
        .await;
    let week = week.replace("{at}", &at.to_string());
    started
        .run(&format!(
            "INSERT INTO {{}}.rollup_issues SELECT {week}, toUUID('00000000-0000-0000-0000-000000000000'), 'shop', \
             toStartOfHour(toDateTime(fromUnixTimestamp64Milli({at} - number))), cityHash64(number), 'production', '1', \
             1 + number % 100, ({at} - number) % 3600000 FROM numbers({ISSUES})"
        ))
        .await;
    let filter = within(noon() - DAY, noon());
    let mut seen = Vec::new();
    let mut asked = Question { limit: 200, ..question(filter) };
    for _ in 0..4 {
        let page = list(&started.store, "shop", &asked, Vec::new()).await.unwrap();
        assert_eq!((page.in_all, page.by_state[&IssueState::New]), (ISSUES, ISSUES));
        seen.extend(page.issues.iter().map(|issue| (issue.events, issue.kind.fingerprint)));
        asked.after = page.next.map(|cursor| (cursor.key, cursor.fingerprint));
    }
    // The largest first, none twice, and none left out between two pages.
    assert!(seen.len() == 800 && seen.windows(2).all(|pair| pair[0] > pair[1]));
    assert!(seen.iter().all(|(events, _)| *events == 100));
    let one = IssueFilter { routes: vec!["/route/99999".to_owned()], ..asked.filter.clone() };
    assert_eq!(ask(&started.store, &question(one), &[]).await.len(), 1);
}
