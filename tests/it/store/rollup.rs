//! Rollups in a real ClickHouse: two ways of counting, one answer, and what reads make of it.

use errata::{
    event::{Exception, fingerprint},
    store::query::{FailureKey, FailureRow, FailureRule, RateKey, StatusFilter},
};

use super::*;

const HOUR: i64 = 60 * MINUTE;

/// xorshift64: the same events in each run.
pub(super) struct Random(pub u64);

impl Random {
    pub(super) fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % bound
    }

    fn pick(&mut self, from: &[&str]) -> String {
        from[self.below(from.len() as u64) as usize].to_owned()
    }

    /// Of two projects, late by up to two days; with up to four field errors, of few kinds, so that they repeat.
    fn event(&mut self, number: u128) -> Event {
        let errors = (0..self.below(5)).map(|_| {
            let (field, rule) = (self.pick(&["email", "items[].sku", ""]), self.pick(&["required", "other"]));
            failure(&field, "m", &rule)
        });
        let event = Event {
            errors: errors.collect(),
            project: self.pick(&["shop", "shop", "other"]),
            timestamp_ms: noon() - self.below(2 * DAY as u64) as i64,
            status: [400, 422, 429, 500][self.below(4) as usize],
            service: self.pick(&["api", "billing"]),
            environment: self.pick(&["production", "staging"]),
            release: self.pick(&["1", "2"]),
            route: self.pick(&["/a/", "/b/{id}/", "/c/"]),
            method: self.pick(&["GET", "POST"]),
            account_id: self.pick(&["", "7", "8", "9"]),
            exception: (self.below(4) == 0).then(|| Exception {
                r#type: self.pick(&["KeyError", "TypeError"]),
                message: "m".to_owned(),
                stacktrace: String::new(),
            }),
            error_template: self.pick(&["Validation failed", "Item {n} is gone"]),
            ..event(number)
        };
        Event { fingerprint: fingerprint::of(&event), ..event }
    }
}

/// Random events in three batches, the second of them stored twice.
pub(super) async fn filled(store: &Store) -> Vec<(EncodedBatch, Vec<Event>)> {
    let mut random = Random(0x5EED);
    let events: Vec<Event> = (0..3000).map(|number| random.event(number)).collect();
    let mut batches = Vec::new();
    for part in events.chunks(1000) {
        batches.push((insert(store, part).await, part.to_vec()));
    }
    store.insert(&batches[1].0, 2).await.unwrap();
    batches
}

#[tokio::test(flavor = "multi_thread")]
async fn what_memory_counts_and_what_clickhouse_counts_are_the_same_cells_and_one_part() {
    let started = started().await;
    let store = &started.store;
    let batches = filled(store).await;
    let group = roll_up(store, &batches).await;
    crate::rollups::agree(&started.clients.read).await;
    // The marker is the group's: another knows nothing of it.
    let again = Group { id: Uuid::now_v7(), ..group };
    for table in RollupTable::ALL {
        let parts =
            format!("SELECT count() FROM system.parts WHERE database = 'errata_it' AND table = '{}'", table.name());
        let parts: u64 = started.clients.admin.query(&parts).fetch_one().await.unwrap();
        assert_eq!(parts, 1, "{table:?}");
        started.run(&format!("TRUNCATE TABLE {{}}.{}", table.name())).await;
        if table == RollupTable::Issues {
            started.run("TRUNCATE TABLE {}.issues").await;
        }
        store.roll_up_stored(&again, table, 1).await.unwrap();
        assert!(store.rolled_up(&again, table).await.unwrap());
        let parts = format!(
            "SELECT count() FROM system.parts WHERE active AND database = 'errata_it' AND table = '{}'",
            table.name()
        );
        let parts: u64 = started.clients.admin.query(&parts).fetch_one().await.unwrap();
        assert_eq!(parts, 1, "{table:?}, counted by ClickHouse");
    }
    crate::rollups::agree(&started.clients.read).await;
    // Merged cells are the same sums, and the marker stays.
    deliver(store, &[event(9000)]).await;
    for table in RollupTable::ALL {
        started.run(&format!("OPTIMIZE TABLE {{}}.{} FINAL", table.name())).await;
        assert!(store.rolled_up(&again, table).await.unwrap());
    }
    crate::rollups::agree(&started.clients.read).await;
}

/// Asks everything; the samples apart.
async fn answers(store: &Store, filters: &[Filter]) -> (Vec<String>, Vec<FailureRow>) {
    use FailureKey::{Field, Message, Route, Rule};
    let (mut all, mut rows) = (Vec::new(), Vec::new());
    let by = [
        &[][..],
        &[RateKey::Status],
        &[RateKey::Service, RateKey::Environment],
        &[RateKey::Status, RateKey::Route, RateKey::Method],
        // Of releases the rollups know nothing.
        &RateKey::ALL,
    ];
    for filter in filters {
        // Only field errors are counted by the week; of one, there are very many short steps.
        let is_week = filter.to_ms - filter.from_ms >= 7 * DAY;
        for keys in if is_week { &[][..] } else { &by } {
            for step in [10, 60, 900, 3600, 86_400] {
                let mut series = store.rates("shop", filter, keys, step).await.unwrap();
                series.sort_by(|left, right| left.labels.cmp(&right.labels));
                all.push(format!("{filter:?} {keys:?} {step}: {series:?}"));
            }
        }
        for step in [10 * MINUTE, HOUR, 5 * HOUR, DAY] {
            let mut trends = store.failure_trends("shop", filter, step, 100).await.unwrap();
            for trend in &mut trends {
                trend.steps.sort_unstable();
            }
            all.push(format!("{filter:?} {step}: {trends:?}"));
        }
        let before = (filter.from_ms - (filter.to_ms - filter.from_ms), filter.from_ms);
        for keys in [&[Field, Rule][..], &[Field], &[Rule], &[Route], &[], &[Rule, Route, Field], &[Field, Message]] {
            for previous in [None, Some(before)] {
                let found = store.validation_failures("shop", filter, keys, previous, 100).await.unwrap();
                let without_samples = found.iter().map(|row| FailureRow { sample_request_ids: vec![], ..row.clone() });
                all.push(format!("{filter:?} {keys:?}: {:?}", without_samples.collect::<Vec<_>>()));
                rows.extend(found);
            }
        }
    }
    (all, rows)
}

fn filters() -> Vec<Filter> {
    let (first, texts) = (noon() - DAY, |texts: &[&str]| texts.iter().map(|&text| text.to_owned()).collect());
    let ranges = [
        (noon() - 2 * DAY, noon()),
        (first, first + 6 * HOUR),
        (first + 123_456, noon() - 7_654_321),
        (first + 10 * MINUTE, first + 25 * MINUTE),
        (first + 1, first + 59_999),
        // A day, after half of one; and a day with edges of hours and events.
        (first - 12 * HOUR, first + 12 * HOUR),
        (first - 12 * HOUR - 123_456, first + 12 * HOUR + 9_876_543),
        // The week of all of these, and one with edges of days, hours and events.
        (first - 36 * HOUR, first - 36 * HOUR + 7 * DAY),
        (first - 39 * HOUR - 2 * DAY - 123_456, first - 36 * HOUR + 8 * DAY + 9_876_543),
    ];
    let all = |range: (i64, i64)| Filter { from_ms: range.0, to_ms: range.1, ..Filter::default() };
    let mut filters = ranges.map(all).to_vec();
    let whole = all(ranges[2]);
    let two_days = all(ranges[0]);
    let one_failure =
        Filter { fields: texts(&["email"]), rules: texts(&["required"]), routes: texts(&["/c/"]), ..two_days.clone() };
    filters.extend([
        one_failure,
        Filter { fields: texts(&["email", ""]), rules: texts(&["required"]), services: texts(&["api"]), ..two_days },
        Filter { services: texts(&["api"]), environments: texts(&["staging"]), ..whole.clone() },
        Filter { statuses: vec![StatusFilter::Class(4), StatusFilter::Code(500)], ..whole.clone() },
        Filter { methods: texts(&["POST"]), routes: texts(&["/a/", "/c/"]), ..whole.clone() },
        Filter { account_ids: texts(&["7", "9"]), ..whole.clone() },
        Filter { account_ids: texts(&["7", ""]), ..whole.clone() },
        Filter { fields: texts(&["email"]), ..whole.clone() },
        Filter { fields: texts(&["email", ""]), ..whole.clone() },
        Filter { rules: texts(&["required"]), ..whole.clone() },
        Filter { fields: texts(&["email", ""]), rules: texts(&["required"]), ..whole.clone() },
        Filter { releases: texts(&["2"]), ..whole.clone() },
        Filter { text: Some("validation".to_owned()), ..whole },
    ]);
    filters
}

#[tokio::test(flavor = "multi_thread")]
async fn rollups_and_events_give_the_same_answer() {
    let started = started().await;
    let store = &started.store;
    let batches = filled(store).await;
    for part in [&batches[..2], &batches[2..]] {
        roll_up(store, part).await;
    }
    let (from_rollups, rows) = answers(store, &filters()).await;
    assert!(rows.iter().all(|row| (1..=5).contains(&row.sample_request_ids.len()) && row.count >= row.events));
    let of = |row: &FailureRow, event: &Event| {
        let is = |name: &str, value: &str| row.keys.get(name).is_none_or(|key| key == value);
        let fits = |error: &FieldError| is("field", &error.field) && is("rule", &error.rule);
        is("route", &event.route) && event.errors.iter().any(fits)
    };
    for row in &rows {
        for sample in &row.sample_request_ids {
            let mut events = batches.iter().flat_map(|(_, events)| events);
            let event = events.find(|event| event.request_id.as_str() == sample).unwrap();
            assert!(of(row, event) && event.project == "shop", "{row:?}");
        }
    }
    // Told that no event is in them, a store reads the events alone.
    for table in ["rollup_start", "issue_start"] {
        started.run(&format!("INSERT INTO {{}}.{table} VALUES ('2100-01-01')")).await;
    }
    let without = Store::new(started.clients.clone());
    let (from_events, _) = answers(&without, &filters()).await;
    for (rollups, events) in from_rollups.iter().zip(&from_events) {
        assert_eq!(rollups, events);
    }
    for event in batches.iter().flat_map(|(_, events)| events).step_by(97) {
        let impact = without.impact("shop", event).await.unwrap();
        assert_eq!(store.impact("shop", event).await.unwrap(), impact, "{event:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whole_hours_and_minutes_are_read_from_the_rollups_alone() {
    let started = started().await;
    let store = &started.store;
    let batches = filled(store).await;
    roll_up(store, &batches).await;
    let hours = Filter { from_ms: noon() - 70 * HOUR, to_ms: noon() - 3 * HOUR, ..Filter::default() };
    let minutes = Filter { to_ms: hours.to_ms + 7 * MINUTE, ..hours.clone() };
    let account = Filter { account_ids: vec!["7".to_owned()], ..hours.clone() };
    let ask = async || {
        let by = [RateKey::Status, RateKey::Route];
        let mut rates = Vec::new();
        for (filter, step) in [(&hours, 3600), (&minutes, 60), (&account, 3600), (&hours, 86_400)] {
            rates.push(store.rates("shop", filter, &by, step).await.unwrap());
        }
        let failures = store.validation_failures("shop", &hours, &[FailureKey::Field], None, 10).await.unwrap();
        assert!(rates.iter().all(|series| !series.is_empty()) && !failures.is_empty());
        format!("{rates:?} {failures:?}").len()
    };
    let before = ask().await;
    started.run("TRUNCATE TABLE {}.events").await;
    assert_eq!(ask().await, before);
}

fn without_samples(rows: &[FailureRow]) -> Vec<FailureRow> {
    rows.iter().map(|row| FailureRow { sample_request_ids: vec![], ..row.clone() }).collect()
}

/// An older version has counted no days.
#[tokio::test(flavor = "multi_thread")]
async fn whole_days_are_read_from_their_rollup_alone_once_there_is_one() {
    use FailureKey::{Field, Route, Rule};
    let started = started().await;
    let batches = filled(&started.store).await;
    roll_up(&started.store, &batches).await;
    let midnight = noon() - 12 * HOUR;
    let days = Filter { from_ms: midnight - DAY, to_ms: midnight, ..Filter::default() };
    let ask = async |store: &Store| {
        let by = [Field, Rule, Route];
        let counted = store.failures_and_trends("shop", &days, &by, None, 5, Some(DAY)).await.unwrap();
        let trends = store.failure_trends("shop", &days, DAY, 5).await.unwrap();
        assert!(counted.rows.len() == 5 && counted.trends.iter().all(|trend| trend.steps.len() == 1), "{counted:?}");
        let rows = without_samples(&counted.rows);
        format!("{rows:?} {:?} {trends:?} {:?}", counted.trends, counted.rules)
    };
    let before = ask(&started.store).await;
    // Before the migration, there were hours alone.
    started.run("DROP TABLE {}.rollup_failure_days").await;
    started.run("DROP TABLE {}.rollup_failure_counts").await;
    started.run("DROP TABLE {}.failure_day_start").await;
    started.run("ALTER TABLE {}.schema_migrations DELETE WHERE version = 7 SETTINGS mutations_sync = 2").await;
    let upgraded = Store::new(started.clients.clone());
    assert_eq!(upgraded.migrate().await.unwrap(), ["0007_failure_days"]);
    assert_eq!(ask(&upgraded).await, before);
    // A store that began with days reads nothing else.
    started.run("TRUNCATE TABLE {}.failure_day_start").await;
    let store = Store::new(started.clients.clone());
    let rules = async || store.validation_failures("shop", &days, &[Field], None, 5).await.unwrap().len();
    assert_eq!(rules().await, 0, "there are none yet");
    // What it was told is kept once it knows that the migrations are through: a page that is asked for meanwhile must not settle it.
    started.run("INSERT INTO {}.failure_day_start VALUES ('2100-01-01')").await;
    assert!(rules().await > 0, "by hours");
    started.run("TRUNCATE TABLE {}.failure_day_start").await;
    assert!(store.migrate().await.unwrap().is_empty());
    assert_eq!(rules().await, 0);
    started.run("INSERT INTO {}.failure_day_start VALUES ('2100-01-01')").await;
    assert_eq!(rules().await, 0, "it is asked for once");
    roll_up_in(&store, &batches, &[RollupTable::FailureDays, RollupTable::FailureCounts]).await;
    started.run("TRUNCATE TABLE {}.rollup_failures").await;
    started.run("TRUNCATE TABLE {}.events").await;
    assert_eq!(ask(&store).await, before);
}

/// The rules that cause most are counted over all routes, also of a list that shows one row.
#[tokio::test(flavor = "multi_thread")]
async fn a_short_list_of_failures_knows_all_rules_and_how_its_rows_went() {
    use FailureKey::{Field, Route, Rule};
    let started = started().await;
    let store = &started.store;
    let batches = filled(store).await;
    roll_up(store, &batches).await;
    let hours = Filter { from_ms: noon() - 48 * HOUR, to_ms: noon() + 7 * MINUTE, ..Filter::default() };
    let by_rule = store.validation_failures("shop", &hours, &[Field, Rule], None, 100).await.unwrap();
    let expected: Vec<_> = by_rule
        .iter()
        .map(|row| FailureRule { field: row.keys["field"].clone(), rule: row.keys["rule"].clone(), count: row.count })
        .collect();
    assert_eq!(expected.len(), 6);
    let short = store.failures_and_trends("shop", &hours, &[Field, Rule, Route], None, 1, Some(HOUR)).await.unwrap();
    let rules = short.rules.unwrap();
    assert_eq!(rules.total, expected.iter().map(|rule| rule.count).sum::<u64>());
    assert_eq!(rules.rules, expected[..3]);
    assert_eq!(store.failure_rules("shop", &hours).await.unwrap(), rules);
    let all = store.validation_failures("shop", &hours, &[Field, Rule, Route], None, 100).await.unwrap();
    // Their samples apart: one is counted by hours, for its steps, and one by days.
    assert_eq!(without_samples(&short.rows), without_samples(&all[..1]));
    let whole = store.validation_failures("shop", &hours, &[], None, 10).await.unwrap();
    assert_eq!(whole.iter().map(|row| row.count).collect::<Vec<_>>(), [rules.total], "without a key, all is one row");
    let trend = &short.trends[0];
    assert_eq!([&trend.field, &trend.rule, &trend.route], ["field", "rule", "route"].map(|key| &all[0].keys[key]));
    assert_eq!(trend.steps.iter().map(|(_, count)| count).sum::<u64>(), all[0].count);
    assert!(trend.steps.len() > 20, "{trend:?}");
    // Friction goes through all of a range that has no more than it may, and through its last whole hours of one that has.
    let from_ms = async |filter: &Filter, most| store.friction_from_ms("shop", filter, most).await.unwrap();
    assert_eq!(from_ms(&hours, rules.total).await, hours.from_ms);
    let cut = from_ms(&hours, rules.total / 2).await;
    assert!(cut > hours.from_ms && cut % HOUR == 0, "{cut}");
    let within = Filter { from_ms: cut, to_ms: noon(), ..hours.clone() };
    assert!(store.failure_rules("shop", &within).await.unwrap().total <= rules.total / 2);
    let before = Filter { from_ms: cut - HOUR, ..within };
    assert!(store.failure_rules("shop", &before).await.unwrap().total > rules.total / 2);
    let others = Filter { methods: vec!["GET".to_owned()], ..hours.clone() };
    assert_eq!(from_ms(&others, rules.total / 2).await, cut, "the rollup does not know methods");
    let one = Filter { account_ids: vec!["7".to_owned()], ..hours.clone() };
    assert_eq!(from_ms(&one, 1).await, hours.from_ms);
    assert_eq!(from_ms(&hours, 1).await, noon(), "an hour at least");
}

#[tokio::test(flavor = "multi_thread")]
async fn events_of_before_the_rollups_are_counted_all_the_same() {
    let started = started().await;
    let store = &started.store;
    // As an older version left it: events, no rollups, and then the migration.
    let old = Event { received_at_ms: noon() - 3 * DAY, timestamp_ms: noon() - 3 * DAY, ..event(1) };
    let started_at = old.received_at_ms;
    insert(store, &[old]).await;
    started.run(&format!("INSERT INTO {{}}.rollup_start VALUES (fromUnixTimestamp64Milli({started_at}))")).await;
    let new = event(2);
    deliver(store, &[new]).await;
    let filter = Filter { from_ms: noon() - 4 * DAY, to_ms: noon() + DAY, ..Filter::default() };
    let series = store.rates("shop", &filter, &[], 3600).await.unwrap();
    assert_eq!((series[0].total, series[0].points.len()), (2, 2));
}
