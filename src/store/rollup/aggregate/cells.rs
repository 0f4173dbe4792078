//! What was counted, as cells in the order of each table: ClickHouse need not sort them.

use std::collections::{BTreeSet, HashSet};

use super::{DAY_S, Failure, FailureKey, FailureSums, HOUR_S, Minute, Rollups, Series};
use crate::store::{
    rollup::{
        issues::{IssueCell, Seen},
        known::ReleaseHour,
        names::{Name, Seeded},
    },
    rows::week_of,
};

/// Events of one minute, hour or day.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::store::rollup) struct CountCell {
    pub series: u32,
    pub per: Per,
    /// Begin of the minute, hour or day (UTC), Unix seconds.
    pub at: u32,
    pub count: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::store::rollup) enum Per {
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
pub(in crate::store::rollup) struct AccountCell {
    pub series: u32,
    pub account: Name,
    /// Begin of the hour, Unix seconds.
    pub at: u32,
    pub count: u64,
}

/// Field errors of one hour.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::store::rollup) struct FailureCell<'a> {
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

/// How often a field error was, in a day or week.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::store::rollup) struct FailureCount {
    pub per: FailurePer,
    /// Begin of the day or week (UTC), Unix seconds.
    pub at: u32,
    /// Project, service, environment, route.
    pub place: [Name; 4],
    pub field: Name,
    pub rule: Name,
    pub count: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::store::rollup) enum FailurePer {
    Day = 1,
    /// From Monday.
    Week = 2,
}

impl FailurePer {
    /// Begin of the day or week of a time, Unix seconds; of the days before the first Monday, the epoch.
    fn begin(self, at: u32) -> u32 {
        match self {
            Self::Day => at - at % DAY_S,
            Self::Week => u32::try_from(week_of(i64::from(at) * 1000)).unwrap_or(0) * DAY_S,
        }
    }
}

impl Rollups {
    /// The cells of [`crate::store::rollup::RollupTable::Counts`], in the order of the table: ClickHouse need not sort them.
    pub(in crate::store::rollup) fn counts(&self) -> Vec<CountCell> {
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

    /// The cells of [`crate::store::rollup::RollupTable::Accounts`], in the order of the table.
    pub(in crate::store::rollup) fn accounts(&self) -> Vec<AccountCell> {
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

    /// The cells of [`crate::store::rollup::RollupTable::Failures`], in the order of the table; those of [`crate::store::rollup::RollupTable::FailureDays`] are made of them.
    pub(in crate::store::rollup) fn failures(&self) -> Vec<FailureCell<'_>> {
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

    /// The cells of [`crate::store::rollup::RollupTable::FailureCounts`], one an hour of each.
    pub(in crate::store::rollup) fn failure_counts(&self) -> Vec<FailureCount> {
        let FailureOrder { places, cells, .. } = self.failure_order.get_or_init(|| self.order_failures());
        let counts = [FailurePer::Day, FailurePer::Week].into_iter().flat_map(|per| {
            cells.iter().map(move |number| {
                let Failure { key, sums, .. } = &self.failures[*number as usize];
                let place = places[key.place as usize];
                FailureCount {
                    per,
                    at: per.begin(key.hour),
                    place,
                    field: key.field,
                    rule: key.rule,
                    count: sums.count,
                }
            })
        });
        counts.collect()
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

    /// The cells of [`crate::store::rollup::RollupTable::Issues`], in the order of the table.
    pub(in crate::store::rollup) fn issue_cells(&self) -> Vec<&IssueCell> {
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
    pub(in crate::store::rollup) fn release_hours(&self) -> BTreeSet<ReleaseHour> {
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
    pub(in crate::store::rollup) fn issues(&self) -> impl Iterator<Item = Seen<'_>> {
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
pub(super) struct FailureOrder {
    /// Project, service, environment, route of each place.
    pub(super) places: Vec<[Name; 4]>,
    /// Failure and account, each pair once.
    pub(super) accounts: Vec<(u32, Name)>,
    /// Numbers of the failures.
    pub(super) cells: Vec<u32>,
}

#[derive(Debug)]
pub(super) struct Order {
    pub(super) names: Vec<u32>,
    pub(super) series: Vec<u32>,
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
