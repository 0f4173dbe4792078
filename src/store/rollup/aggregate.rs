//! Counting events in memory.
//!
//! Made for the delivery thread: no text is copied unless it is new, and what would be a map of very many small entries
//! is a list that is sorted when it is read.

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    mem,
    sync::OnceLock,
};

use super::{
    issues::{IssueCell, Issues, Seen},
    known::ReleaseHour,
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

/// Events of one minute, hour or day.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct CountCell {
    pub series: u32,
    pub per: Per,
    /// Begin of the minute, hour or day (UTC), Unix seconds.
    pub at: u32,
    pub count: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Per {
    Minute = 1,
    Hour = 2,
    /// Without route and method, as the next: a long range has far fewer of these cells.
    CoarseMinute = 3,
    CoarseHour = 4,
    /// With route and method: what a table of routes over a month reads.
    Day = 5,
}

/// Events of one hour and account.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct AccountCell {
    pub series: u32,
    pub account: Name,
    /// Begin of the hour, Unix seconds.
    pub at: u32,
    pub count: u64,
}

/// Field errors of one hour.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct FailureCell<'a> {
    /// Project, service, environment, route.
    pub place: [Name; 4],
    /// Begin of the hour, Unix seconds.
    pub at: u32,
    pub field: Name,
    pub rule: Name,
    pub sums: FailureSums,
    /// Distinct, in the order of their numbers.
    pub accounts: Vec<Name>,
    pub first_ms: i64,
    pub last_ms: i64,
    /// Request id of the last event.
    pub last_id: &'a str,
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

    /// The cells of [`super::RollupTable::Counts`], in the order of the table: ClickHouse need not sort them.
    pub(super) fn counts(&self) -> Vec<CountCell> {
        let order = self.order();
        let mut keys: Vec<_> = Vec::with_capacity(5 * self.counts.len());
        for Minute { series, at, count } in &self.counts {
            let (at, hour, day) = (*at, at - at % HOUR_S, at - at % DAY_S);
            let Series { texts, coarse, .. } = &self.series[*series as usize];
            let project = order.names[texts[0] as usize];
            for (per, at, series) in [
                (Per::Minute, at, *series),
                (Per::Hour, hour, *series),
                (Per::CoarseMinute, at, *coarse),
                (Per::CoarseHour, hour, *coarse),
                (Per::Day, day, *series),
            ] {
                keys.push((project, per, at - at % HOUR_S, order.series[series as usize], at, series, *count));
            }
        }
        keys.sort_unstable();
        let mut cells: Vec<CountCell> = Vec::with_capacity(keys.len());
        for (_, per, _, _, at, series, count) in keys {
            match cells.last_mut().filter(|cell| (cell.per, cell.at, cell.series) == (per, at, series)) {
                Some(cell) => cell.count += count,
                None => cells.push(CountCell { series, per, at, count }),
            }
        }
        cells
    }

    /// The cells of [`super::RollupTable::Accounts`], in the order of the table.
    pub(super) fn accounts(&self) -> Vec<AccountCell> {
        let order = self.order();
        let key = |&(series, account, at): &(u32, Name, u32)| {
            let project = order.names[self.series[series as usize].texts[0] as usize];
            [project, at / DAY_S, order.names[account as usize], at, order.series[series as usize], series, account]
        };
        let mut keys: Vec<[u32; 7]> = self.accounts.iter().map(key).collect();
        keys.sort_unstable();
        let same = keys.chunk_by(|left, right| left == right);
        same.map(|same| {
            let [.., at, _, series, account] = same[0];
            AccountCell { series, account, at, count: same.len() as u64 }
        })
        .collect()
    }

    /// The cells of [`super::RollupTable::Failures`], in the order of the table; those of [`super::RollupTable::FailureDays`] are made of them.
    pub(super) fn failures(&self) -> Vec<FailureCell<'_>> {
        let FailureOrder { places, accounts, cells } = self.failure_order.get_or_init(|| self.order_failures());
        let cell = |number: &u32| {
            let failure = &self.failures[*number as usize];
            let own = accounts.partition_point(|(of, _)| of < number)..accounts.partition_point(|(of, _)| of <= number);
            FailureCell {
                place: places[failure.key.place as usize],
                at: failure.key.hour,
                field: failure.key.field,
                rule: failure.key.rule,
                sums: failure.sums,
                accounts: accounts[own].iter().map(|(_, account)| *account).collect(),
                first_ms: failure.first_ms,
                last_ms: failure.last_ms,
                last_id: &failure.last_id,
            }
        };
        cells.iter().map(cell).collect()
    }

    fn order_failures(&self) -> FailureOrder {
        let mut places = vec![[0; 4]; self.places.len()];
        for (texts, place) in &self.places {
            places[*place as usize] = *texts;
        }
        let mut accounts = self.failure_accounts.clone();
        accounts.sort_unstable();
        accounts.dedup();
        let rank = &self.order().names;
        let mut cells: Vec<u32> = (0..self.failures.len() as u32).collect();
        cells.sort_by_cached_key(|number| {
            let FailureKey { place, hour, field, rule } = self.failures[*number as usize].key;
            let [project, place @ ..] = places[place as usize].map(|name| rank[name as usize]);
            (project, hour, place, rank[field as usize], rank[rule as usize])
        });
        FailureOrder { places, accounts, cells }
    }

    /// The cells of [`super::RollupTable::Issues`], in the order of the table.
    pub(super) fn issue_cells(&self) -> Vec<&IssueCell> {
        let rank = &self.order().names;
        let mut cells: Vec<_> = self.issues.cells().iter().collect();
        cells.sort_by_cached_key(|cell| {
            let [project, environment, release] =
                [cell.project, cell.environment, cell.release].map(|name| rank[name as usize]);
            (project, cell.at / DAY_S, cell.fingerprint, environment, release, cell.at)
        });
        cells
    }

    /// In which hours environments had errors of releases, in order.
    pub(super) fn release_hours(&self) -> BTreeSet<ReleaseHour> {
        let text = |name| self.names.text(name).to_owned();
        let named = self.issues.cells().iter().filter(|cell| !self.names.text(cell.release).is_empty());
        // The same few again and again: as names first.
        let hours: HashSet<_, Seeded> =
            named.map(|cell| (cell.project, cell.at, cell.environment, cell.release)).collect();
        let hour = |(project, at, environment, release)| ReleaseHour {
            project: text(project),
            at,
            environment: text(environment),
            release: text(release),
        };
        hours.into_iter().map(hour).collect()
    }

    /// What the issues are of which events were counted.
    pub(super) fn issues(&self) -> impl Iterator<Item = Seen<'_>> {
        self.issues.issues()
    }

    /// Where each text and each series comes when they are sorted as ClickHouse sorts them.
    fn order(&self) -> &Order {
        self.order.get_or_init(|| {
            let names = ranks(self.names.len(), |name| self.names.text(name));
            let series = ranks(self.series.len(), |number| {
                let (texts, status) = self.labels(number);
                (texts.map(|name| names[name as usize]), status)
            });
            Order { names, series }
        })
    }
}

#[derive(Debug)]
struct FailureOrder {
    /// Project, service, environment, route of each place.
    places: Vec<[Name; 4]>,
    /// Failure and account, each pair once.
    accounts: Vec<(u32, Name)>,
    /// Numbers of the failures.
    cells: Vec<u32>,
}

#[derive(Debug)]
struct Order {
    names: Vec<u32>,
    series: Vec<u32>,
}

fn ranks<K: Ord>(count: usize, key: impl Fn(u32) -> K) -> Vec<u32> {
    let mut sorted: Vec<u32> = (0..count as u32).collect();
    sorted.sort_unstable_by_key(|number| key(*number));
    let mut ranks = vec![0; count];
    for (rank, number) in (0..).zip(sorted) {
        ranks[number as usize] = rank;
    }
    ranks
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
