//! Counting events in memory.
//!
//! Made for the delivery thread: no text is copied unless it is new, and what would be a map of very many small entries
//! is a list that is sorted when it is read.

mod cells;

use std::{collections::HashMap, mem, sync::OnceLock};

pub(super) use cells::{FailureCell, FailureCount, FailurePer, Per};
use cells::{FailureOrder, Order};

use super::{
    issues::Issues,
    names::{Name, Names, Seeded},
};
use crate::{event::EventRef, store::rows::origin_word};

const MINUTE_S: u32 = 60;
pub(super) const HOUR_S: u32 = 3600;
pub(super) const DAY_S: u32 = 86_400;

/// The longest request id, bytes: what a failure keeps of its last event.
const MAX_ID: usize = 128;

/// No further series has the same hash.
const END: u32 = u32::MAX;

/// The sums over a group of events, growing.
#[derive(Default)]
pub struct Rollups {
    events: u64,
    names: Names,
    seeded: Seeded,
    /// Number of the latest series of a hash; the others follow by [`Series::next`].
    by_hash: HashMap<u64, u32, Seeded>,
    series: Vec<Series>,
    /// Project, service, environment, route.
    places: HashMap<[Name; 4], u32, Seeded>,
    /// By series and minute.
    minutes: HashMap<(u32, u32), u32, Seeded>,
    counts: Vec<Minute>,
    /// Series, account and hour of each event that has an account.
    accounts: Vec<(u32, Name, u32)>,
    by_failure: HashMap<FailureKey, u32, Seeded>,
    failures: Vec<Failure>,
    /// Failure and account of each occurrence.
    failure_accounts: Vec<(u32, Name)>,
    issues: Issues,
    /// The pairs of one event: kept for its memory.
    pairs: Vec<Pair>,
    /// Of what is counted so far, once it was asked for: every table is written in it.
    order: OnceLock<Order>,
    /// The same of the field errors, which two tables are written of.
    failure_order: OnceLock<FailureOrder>,
}

/// What a rate is asked by.
struct Series {
    /// Project, service, environment, route, method.
    texts: [Name; 5],
    status: u16,
    place: u32,
    /// The series of the same status and no route and method.
    coarse: u32,
    next: u32,
    /// The latest minute and its entry in [`Rollups::counts`]: events come about in order.
    latest: (u32, u32),
}

struct Minute {
    series: u32,
    /// Unix seconds.
    at: u32,
    count: u64,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct FailureKey {
    place: u32,
    hour: u32,
    field: Name,
    rule: Name,
}

struct Failure {
    key: FailureKey,
    sums: FailureSums,
    first_ms: i64,
    last_ms: i64,
    last_id: String,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct FailureSums {
    pub count: u64,
    pub events: u64,
    pub field_repeats: u64,
    pub rule_repeats: u64,
    pub any_repeats: u64,
}

#[derive(Clone, Copy)]
struct Pair {
    field: Name,
    rule: Name,
    count: u64,
}

impl Rollups {
    /// Events counted.
    #[must_use]
    pub fn events(&self) -> u64 {
        self.events
    }

    /// Bytes of memory, about.
    #[must_use]
    pub fn memory(&self) -> usize {
        self.names.memory()
            + self.series.len() * (size_of::<Series>() + 24)
            + self.counts.len() * (size_of::<Minute>() + 24)
            + self.accounts.len() * 12
            + self.failures.len() * (size_of::<Failure>() + 64 + MAX_ID)
            + self.failure_accounts.len() * 8
            + self.issues.memory()
            + self.order.get().map_or(0, |order| (order.names.len() + order.series.len()) * size_of::<u32>())
            + self.failure_order.get().map_or(0, |order| {
                order.accounts.len() * 8 + order.cells.len() * size_of::<u32>() + order.places.len() * 16
            })
    }

    /// Counts one event.
    pub fn add(&mut self, event: &EventRef<'_>) {
        self.events += 1;
        self.order.take();
        self.failure_order.take();

        let at = seconds(event.timestamp_ms);
        let (minute, hour) = (at - at % MINUTE_S, at - at % HOUR_S);
        let [service, environment, route, method] =
            [event.service, event.environment, event.route, event.method].map(origin_word);
        let texts = [event.project, service, environment, route, method];
        let series = self.series(texts, event.status);
        self.count(series, minute);
        let release = self.names.number(origin_word(event.release));
        let Series { texts: [project, service, environment, route, _], .. } = self.series[series as usize];
        self.issues.add(event, hour, [project, service, environment, route], release);
        let account = (!event.account_id.is_empty()).then(|| self.names.number(event.account_id));
        if let Some(account) = account {
            self.accounts.push((series, account, hour));
        }
        if !event.errors.is_empty() {
            let place = self.series[series as usize].place;
            self.add_failures(place, hour, event, account);
        }
    }

    fn series(&mut self, texts: [&str; 5], status: u16) -> u32 {
        let hash = self.seeded.of_all(texts, status);
        let first = self.by_hash.get(&hash).copied().unwrap_or(END);
        let mut number = first;
        while number != END {
            let series = &self.series[number as usize];
            let equal = |(name, text): (&Name, &str)| self.names.text(*name) == text;
            if series.status == status && series.texts.iter().zip(texts).all(equal) {
                return number;
            }
            number = series.next;
        }
        let [project, service, environment, route, method] = texts;
        let is_coarse = route.is_empty() && method.is_empty();
        let coarse = (!is_coarse).then(|| self.series([project, service, environment, "", ""], status));
        // It may have the same hash, and be the first of it now.
        let first = self.by_hash.get(&hash).copied().unwrap_or(END);
        let number = self.series.len() as u32;
        let texts = texts.map(|text| self.names.number(text));
        let places = self.places.len() as u32;
        let [project, service, environment, route, _] = texts;
        let place = *self.places.entry([project, service, environment, route]).or_insert(places);
        let coarse = coarse.unwrap_or(number);
        self.series.push(Series { texts, status, place, coarse, next: first, latest: (END, 0) });
        self.by_hash.insert(hash, number);
        number
    }

    fn count(&mut self, number: u32, minute: u32) {
        let series = &mut self.series[number as usize];
        if series.latest.0 != minute {
            let next = self.counts.len() as u32;
            let entry = *self.minutes.entry((number, minute)).or_insert(next);
            if entry == next {
                self.counts.push(Minute { series: number, at: minute, count: 0 });
            }
            series.latest = (minute, entry);
        }
        self.counts[series.latest.1 as usize].count += 1;
    }

    fn add_failures(&mut self, place: u32, hour: u32, event: &EventRef<'_>, account: Option<Name>) {
        let mut pairs = mem::take(&mut self.pairs);
        for error in &event.errors {
            let (field, rule) = (self.names.number(error.field), self.names.number(error.rule));
            match pairs.iter_mut().find(|pair| pair.field == field && pair.rule == rule) {
                Some(pair) => pair.count += 1,
                None => pairs.push(Pair { field, rule, count: 1 }),
            }
        }
        for (index, pair) in pairs.iter().enumerate() {
            let earlier = &pairs[..index];
            let key = FailureKey { place, hour, field: pair.field, rule: pair.rule };
            let next = self.failures.len() as u32;
            let number = *self.by_failure.entry(key).or_insert(next);
            if number == next {
                let (first_ms, last_ms) = (i64::MAX, i64::MIN);
                let last_id = String::new();
                self.failures.push(Failure { key, sums: FailureSums::default(), first_ms, last_ms, last_id });
            }
            let failure = &mut self.failures[number as usize];
            failure.sums.count += pair.count;
            failure.sums.events += 1;
            failure.sums.field_repeats += u64::from(earlier.iter().any(|other| other.field == pair.field));
            failure.sums.rule_repeats += u64::from(earlier.iter().any(|other| other.rule == pair.rule));
            failure.sums.any_repeats += u64::from(index > 0);
            failure.see(event.timestamp_ms, event.request_id);
            if let Some(account) = account {
                self.failure_accounts.push((number, account));
            }
        }
        pairs.clear();
        self.pairs = pairs;
    }

    /// Events per minute, by Unix seconds; a minute comes once a series.
    pub fn per_minute(&self) -> impl Iterator<Item = (u32, u64)> {
        self.counts.iter().map(|minute| (minute.at, minute.count))
    }

    pub(super) fn names(&self) -> &Names {
        &self.names
    }

    /// Project, service, environment, route, method; and the status.
    pub(super) fn labels(&self, series: u32) -> ([Name; 5], u16) {
        let series = &self.series[series as usize];
        (series.texts, series.status)
    }
}

impl Failure {
    fn see(&mut self, at_ms: i64, request_id: &str) {
        self.first_ms = self.first_ms.min(at_ms);
        // As ClickHouse's max of (time, id) has it.
        if (at_ms, request_id) > (self.last_ms, self.last_id.as_str()) {
            self.last_ms = at_ms;
            self.last_id.clear();
            self.last_id.push_str(request_id);
        }
    }
}

/// Unix seconds of a time that was accepted; others, which never are, count at the nearest end.
fn seconds(at_ms: i64) -> u32 {
    u32::try_from(at_ms.max(0) / 1000).unwrap_or(u32::MAX)
}
