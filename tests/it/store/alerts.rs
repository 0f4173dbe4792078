//! What alert rules are evaluated on, in a real ClickHouse: a replay reads the same as a running collector.

use errata::{
    alerts::{
        Rule, RuleSet,
        evaluate::{Condition, Finding, Known, evaluate},
        evidence,
        replay::{Firing, replay},
        samples::{self, Ends, Familiar},
    },
    event::RequestTotal,
    state::Resolution,
    store::totals::Hours,
};

use super::*;

const RULES: &str = include_str!("../../data/alerts.toml");

/// The captured request totals, as one reporter ships them.
fn captured_totals() -> Vec<RequestTotal> {
    let file = std::fs::File::open(crate::captured::data("drf-request-totals.ndjson.gz")).unwrap();
    let text = std::io::read_to_string(flate2::read::GzDecoder::new(file)).unwrap();
    let totals = text.lines().enumerate().map(|(index, line)| {
        let total: serde_json::Value = serde_json::from_str(line).unwrap();
        let text = |name: &str| total[name].as_str().unwrap_or_default().to_owned();
        let minute = chrono::DateTime::parse_from_rfc3339(&text("minute")).unwrap().timestamp();
        RequestTotal {
            project: "shop".to_owned(),
            minute: u32::try_from(minute).unwrap(),
            service: text("service"),
            environment: text("environment"),
            release: text("release"),
            route: text("route"),
            method: text("method"),
            status: u16::try_from(total["status"].as_u64().unwrap()).unwrap(),
            reporter: "capture".to_owned(),
            count: total["count"].as_u64().unwrap(),
            received_us: noon() * 1000 + index as i64,
        }
    });
    totals.collect()
}

impl Started {
    async fn series(&self, rule: &Rule, first: i64, last: i64) -> Vec<errata::alerts::counted::Series> {
        let ends = Ends { first, last };
        samples::load(&self.store, "shop", rule, ends, &mut Familiar::default()).await.unwrap()
    }
}

fn ms(text: &str) -> i64 {
    chrono::DateTime::parse_from_rfc3339(text).unwrap().timestamp_millis()
}

#[tokio::test(flavor = "multi_thread")]
async fn burn_rates_of_the_captured_totals_name_the_incident_alone() {
    let started = started().await;
    let totals = captured_totals();
    started.store.insert_totals(&totals).await.unwrap();
    started.store.count_hours(&Hours::of(&totals)).await.unwrap();
    let set = RuleSet::parse(RULES).unwrap();
    let (from, to) = (ms("2026-11-17T00:00:00Z"), ms("2026-11-19T00:00:00Z"));
    let known = Known { first_ms: Some(from), listening_since_ms: 0 };
    let rule = set.rule("server-errors").unwrap();
    let series = started.series(rule, from, to).await;
    let firings = replay(rule, &set.objectives, &series, known, (from, to));
    let [Firing { labels, fired_ms, resolved_ms, finding, .. }] = firings.as_slice() else { panic!("{firings:?}") };
    assert_eq!((labels["service"].as_str(), labels["environment"].as_str()), ("igny8-api", "production"));
    // 14:00 to 14:12; the half hour of the slower pair forgets it last.
    let fired = ms("2026-11-18T14:00:00Z")..=ms("2026-11-18T14:10:00Z");
    let resolved = ms("2026-11-18T14:12:00Z")..=ms("2026-11-18T14:45:00Z");
    assert!(fired.contains(fired_ms) && resolved.contains(&resolved_ms.unwrap()), "{firings:?}");
    assert!(finding.summary.contains("objective 98.3 %"), "{finding:?}");

    // A running collector reads less, and judges the same.
    for rule in set.rules.iter().filter(|rule| rule.kind.as_str() == "server_errors") {
        let all = started.series(rule, from, to).await;
        for end in
            ["2026-11-17T12:00:00Z", "2026-11-18T14:04:00Z", "2026-11-18T14:09:00Z", "2026-11-18T19:30:00Z"].map(ms)
        {
            let judge = |series: &[errata::alerts::counted::Series]| {
                let judged = series.iter().map(|series| {
                    let condition = evaluate(rule, &set.objectives, series, known, end);
                    (series.labels.clone(), condition)
                });
                judged
                    .collect::<std::collections::BTreeMap<_, _>>()
                    .into_iter()
                    .map(|pair| format!("{pair:?}"))
                    .collect()
            };
            let (whole, alone): (Vec<_>, Vec<_>) = (judge(&all), judge(&started.series(rule, end, end).await));
            assert_eq!(whole, alone, "{} at {end}", rule.name);
        }
    }
}

/// Of many accounts that meet a limit now and then, ClickHouse gives those alone that can fire.
#[tokio::test(flavor = "multi_thread")]
async fn accounts_below_the_threshold_are_left_in_the_store() {
    let started = started().await;
    let refused = |number: u128, account: &str| Event { status: 429, account_id: account.to_owned(), ..event(number) };
    let mut events: Vec<_> = (1..=30).map(|number| refused(number, &format!("other{}", number % 15))).collect();
    events.extend((31..=33).map(|number| refused(number, "17")));
    let batch = insert(&started.store, &events).await;
    roll_up(&started.store, &[(batch, events)]).await;
    let text = "defaults = false\n[[rule]]\nname = 'r'\nkind = 'rate_limited'\nseverity = 'page'\nthreshold = 3\n";
    let set = RuleSet::parse(text).unwrap();
    let read = async |first, last| -> Vec<String> {
        let series = started.series(&set.rules[0], first, last).await;
        series
            .iter()
            .map(|series| format!("{} {}", series.labels["account"], series.counted.between(0, i64::MAX)))
            .collect()
    };
    let end = noon() + MINUTE;
    assert_eq!(read(end, end).await, ["17 3"]);
    assert_eq!(read(end, end + MINUTE).await, ["17 3"], "a replay");
}

/// What an hour is compared with is read for the fields that had enough in it, and for these it is all there.
#[tokio::test(flavor = "multi_thread")]
async fn fields_with_few_errors_are_left_in_the_store() {
    let started = started().await;
    let failed = |number: u128, days_ago: i64, field: &str| Event {
        timestamp_ms: noon() - days_ago * DAY - MINUTE,
        received_at_ms: noon(),
        errors: vec![failure(field, "m", "required")],
        ..event(number)
    };
    let mut events: Vec<_> = (1..=4).map(|number| failed(number, 0, "email")).collect();
    events.extend((5..=6).map(|number| failed(number, 0, "title")));
    events.extend((7..=12).map(|number| failed(number, 1, "title")));
    events.push(failed(13, 1, "email"));
    let batch = insert(&started.store, &events).await;
    roll_up(&started.store, &[(batch, events)]).await;
    let text = "defaults = false\n[[rule]]\nname = 'r'\nkind = 'validation_spike'\nseverity = 'page'\nmin_events = 4\n";
    let set = RuleSet::parse(text).unwrap();
    let series = started.series(&set.rules[0], noon(), noon()).await;
    let told: Vec<_> =
        series.iter().map(|series| (series.labels["field"].as_str(), series.hours.between(0, i64::MAX))).collect();
    assert_eq!(told, [("email", 5)]);
}

/// Two releases that run side by side are usual; one that came today after another may be what has changed.
#[tokio::test(flavor = "multi_thread")]
async fn a_release_change_is_one_of_the_last_day() {
    let started = started().await;
    let shipped = |number, days_ago: i64, release: &str| Event {
        timestamp_ms: noon() - days_ago * DAY - MINUTE,
        release: release.to_owned(),
        status: 500,
        ..event(number)
    };
    let text = "defaults = false\n[[rule]]\nname = 'r'\nkind = 'server_error_count'\nseverity = 'page'\n";
    let set = RuleSet::parse(text).unwrap();
    let labels = [("service".to_owned(), "api".to_owned())].into();
    let change = async || {
        let finding = Finding { value: 1.0, threshold: 1.0, summary: String::new(), window: (noon() - MINUTE, noon()) };
        let evidence =
            evidence::gather(&started.store, "shop", &set.rules[0], &labels, &finding, "http://e").await.unwrap();
        evidence.release.map(|change| (change.from, change.to))
    };
    insert(&started.store, &[shipped(1, 1, "2"), shipped(2, 0, "1"), shipped(3, 0, "2")]).await;
    insert(&started.store, &[Event { timestamp_ms: noon() - DAY - 2 * MINUTE, ..shipped(4, 1, "1") }]).await;
    assert_eq!(change().await, None, "both were there yesterday");
    insert(&started.store, &[shipped(5, 0, "3")]).await;
    assert_eq!(change().await, Some(("2".to_owned(), "3".to_owned())));
}

/// Where totals come the burn rate tells: of that service, as long as they come, and of no other.
#[tokio::test(flavor = "multi_thread")]
async fn errors_are_counted_where_no_totals_come() {
    let started = started().await;
    let failed = |number: u128, service: &str| Event {
        timestamp_ms: noon() - MINUTE - 1,
        status: 500,
        service: service.to_owned(),
        account_id: (number / 3 % 3).to_string(),
        ..event(number)
    };
    let events: Vec<_> =
        (0..180).map(|number| failed(number, ["reports", "reported", "never"][number as usize % 3])).collect();
    deliver(&started.store, &events).await;
    let total = |service: &str, minute: i64| RequestTotal {
        project: "shop".to_owned(),
        minute: u32::try_from((noon() + minute * MINUTE) / 1000).unwrap(),
        service: service.to_owned(),
        environment: "production".to_owned(),
        release: "1".to_owned(),
        route: "/api/v1/items/{id}/".to_owned(),
        method: "POST".to_owned(),
        status: 200,
        reporter: "a".to_owned(),
        count: 1000,
        received_us: noon() * 1000,
    };
    let totals: Vec<_> = (-60..-8).flat_map(|minute| [total("reports", minute), total("reported", minute)]).collect();
    let totals: Vec<_> = totals.into_iter().chain((-8..-1).map(|minute| total("reports", minute))).collect();
    started.store.insert_totals(&totals).await.unwrap();
    started.store.count_hours(&Hours::of(&totals)).await.unwrap();
    let known = Known { first_ms: Some(noon() - 30 * DAY), listening_since_ms: 0 };
    for (more, expected) in
        [("", &["never", "reported"][..]), ("with_totals = true\n", &["never", "reported", "reports"])]
    {
        let rule = "defaults = false\n[[rule]]\nname = 'r'\nkind = 'server_error_count'\nseverity = 'page'\n";
        let set = RuleSet::parse(&format!("{rule}{more}")).unwrap();
        let series = started.series(&set.rules[0], noon(), noon()).await;
        let mut firing: Vec<_> = series
            .iter()
            .filter(|series| {
                let condition = evaluate(&set.rules[0], &set.objectives, series, known, noon());
                matches!(condition, Condition::Holds(_))
            })
            .map(|series| series.labels["service"].as_str())
            .collect();
        firing.sort_unstable();
        assert_eq!(firing, expected, "{more}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_error_that_comes_back_after_it_was_resolved_is_news() {
    let started = started().await;
    let at = |number: u128, at_ms: i64, release: &str| Event {
        status: 500,
        timestamp_ms: at_ms,
        account_id: (number % 3).to_string(),
        release: release.to_owned(),
        fingerprint: 7,
        ..event(number)
    };
    let mut events: Vec<_> = (0..9).map(|n| at(n, noon() - 3 * DAY + n as i64, "1")).collect();
    events.extend((10..19).map(|n| at(n, noon() - 30 * MINUTE + n as i64, "1")));
    deliver(&started.store, &events).await;
    let set = RuleSet::builtin().unwrap();
    let rule = set.rule("new-error").unwrap();
    let known = Known { first_ms: Some(noon() - 30 * DAY), listening_since_ms: 0 };
    let resolved = |after_ms, older: &[&str]| Resolution {
        project: "shop".into(),
        fingerprint: 7,
        at_ms: after_ms,
        after_ms,
        by: "anna".into(),
        comment: String::new(),
        in_release: String::new(),
        older_releases: older.iter().map(|&release| release.to_owned()).collect(),
    };
    let news = async |resolution: Option<Resolution>| -> Option<String> {
        let mut familiar = Familiar::default();
        familiar.set_resolved(resolution.into_iter().collect());
        let series = samples::load(&started.store, "shop", rule, Ends::only(noon()), &mut familiar).await.unwrap();
        let conditions = series.iter().map(|series| evaluate(rule, &set.objectives, series, known, noon()));
        conditions.into_iter().find_map(|condition| match condition {
            Condition::Holds(finding) => Some(finding.summary),
            _ => None,
        })
    };
    assert_eq!(news(None).await, None, "it was seen three days ago");
    let summary = news(Some(resolved(noon() - DAY, &[]))).await.unwrap();
    assert!(summary.contains("9 events of 3 accounts") && summary.contains("although it was resolved"), "{summary}");
    assert_eq!(news(Some(resolved(noon() - DAY, &["1"]))).await, None, "only an older release has it");
    assert_eq!(news(Some(resolved(noon() - 4 * DAY, &[]))).await, None, "it came back days ago");
    assert_eq!(news(Some(resolved(noon() - MINUTE, &[]))).await, None, "resolved since");
}
