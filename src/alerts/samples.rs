//! Reading what a rule is evaluated on: the one place of this room that asks the store.
//!
//! A running collector evaluates at one time, the newest; it first asks the rollups whether any group can be over its threshold at all,
//! and reads events only of those that can. A replay reads the whole range once.

mod news;

use std::collections::{BTreeMap, HashMap, HashSet};

use super::{
    counted::{Counts, Series},
    rule::{
        BY_THE_MINUTE_MS, ErrorCount, GroupKey, HOUR_MS, Kind, Labels, MINUTE_MS, RateLimited, Rule, TOTALS_LAG_MS,
        ValidationSpike,
    },
};
use crate::store::{
    Store, StoreError,
    query::{AlertCell, AlertColumn, FieldHour, Filter, RateKey, Series as Rate, TotalCell},
};
pub use news::Familiar;

/// The times a rule is to be evaluated at, the first and the last; milliseconds since the Unix epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ends {
    pub first: i64,
    pub last: i64,
}

impl Ends {
    /// One time: what cannot fire then need not be read.
    #[must_use]
    pub const fn only(end: i64) -> Self {
        Self { first: end, last: end }
    }

    const fn is_one(self) -> bool {
        self.first == self.last
    }
}

/// Reads the series of a rule.
///
/// # Errors
/// When the store does not answer, or the range holds too much.
pub async fn load(
    store: &Store,
    project: &str,
    rule: &Rule,
    ends: Ends,
    familiar: &mut Familiar,
) -> Result<Vec<Series>, StoreError> {
    let reader = Reader { store, project, rule, ends };
    match &rule.kind {
        Kind::ServerErrors(_) => reader.burn_rates().await,
        Kind::ServerErrorCount(kind) => reader.error_counts(kind).await,
        Kind::RateLimited(kind) => reader.rate_limited(kind).await,
        Kind::NewError(kind) => reader.new_errors(kind, familiar).await,
        Kind::ValidationSpike(kind) => reader.field_errors(kind).await,
        Kind::Silence(_) => reader.presence().await,
    }
}

struct Reader<'a> {
    store: &'a Store,
    project: &'a str,
    rule: &'a Rule,
    ends: Ends,
}

impl Reader<'_> {
    /// What the rule is about, from `reach_ms` before the first evaluation on.
    fn filter(&self, reach_ms: i64) -> Filter {
        Filter { statuses: self.rule.kind.statuses(), ..self.rule.filter(self.ends.first - reach_ms, self.ends.last) }
    }

    async fn rates(&self, filter: &Filter, by: &[GroupKey], step_ms: i64) -> Result<Vec<Rate>, StoreError> {
        let keys: Vec<_> = by.iter().filter_map(|key| rate_key(*key)).collect();
        let step = u32::try_from(step_ms / 1000).unwrap_or(u32::MAX);
        self.store.rates(self.project, filter, &keys, step).await
    }

    /// The filter, narrowed to the groups with at least `least` events in it; none if there are none. A replay reads everything.
    async fn narrowed(&self, filter: Filter, by: &[GroupKey], least: f64) -> Result<Option<Filter>, StoreError> {
        if !self.ends.is_one() {
            return Ok(Some(filter));
        }
        let mut groups = self.rates(&filter, by, self.rule.step_ms()).await?;
        groups.retain(|group| group.total as f64 >= least);
        if groups.is_empty() {
            return Ok(None);
        }
        let values = |key: GroupKey, own: Vec<String>| {
            if !by.contains(&key) {
                return own;
            }
            let values: HashSet<_> =
                groups.iter().filter_map(|group| group.labels.get(key.as_str()).cloned()).collect();
            values.into_iter().collect()
        };
        Ok(Some(Filter {
            services: values(GroupKey::Service, filter.services),
            environments: values(GroupKey::Environment, filter.environments),
            routes: values(GroupKey::Route, filter.routes),
            ..filter
        }))
    }

    /// Requests and 5xx of each service.
    async fn burn_rates(&self) -> Result<Vec<Series>, StoreError> {
        let filter = self.rule.filter(self.ends.first - self.rule.kind.reach_ms(), self.ends.last);
        let by_the_minute = self.ends.first - BY_THE_MINUTE_MS - TOTALS_LAG_MS;
        let totals = self.totals(&filter, by_the_minute.div_euclid(HOUR_MS) * HOUR_MS).await?;
        let series = totals.into_iter().map(|(labels, totals)| Series {
            labels,
            counted: Counts::new(totals.errors),
            requests: Counts::new(totals.requests),
            reports: Counts::new(totals.reports),
            ..Series::default()
        });
        Ok(series.collect())
    }

    async fn totals(&self, filter: &Filter, minutes_from_ms: i64) -> Result<BTreeMap<Labels, Totals>, StoreError> {
        let cells = self.store.total_cells(self.project, filter, minutes_from_ms).await?;
        let mut by_service: BTreeMap<Labels, Totals> = BTreeMap::new();
        for TotalCell { service, environment, at, requests, errors, reports } in cells {
            let totals = by_service.entry(of_service(service, environment)).or_default();
            totals.requests.push((at, requests));
            totals.errors.push((at, errors));
            if at >= minutes_from_ms {
                totals.reports.push((at, reports));
            }
        }
        Ok(by_service)
    }

    async fn error_counts(&self, kind: &ErrorCount) -> Result<Vec<Series>, StoreError> {
        let least = kind.floor * kind.window_ms as f64 / MINUTE_MS as f64;
        let Some(filter) = self.narrowed(self.filter(kind.window_ms), &kind.group_by, least).await? else {
            return Ok(Vec::new());
        };
        let mut series = self.cells(&filter, &kind.group_by, 1).await?;
        let hours = Filter { from_ms: self.ends.first - self.rule.kind.reach_ms(), ..filter };
        let hours = self.rates(&hours, &kind.group_by, HOUR_MS).await?;
        let mut hours: HashMap<Labels, Counts> =
            hours.into_iter().map(|rate| (owned(rate.labels), Counts::new(rate.points))).collect();
        let mut reports = BTreeMap::new();
        if !kind.with_totals {
            let reported = self.rule.filter(self.ends.first - HOUR_MS, self.ends.last);
            reports = self.totals(&reported, 0).await?;
        }
        for series in &mut series {
            series.hours = hours.remove(&series.labels).unwrap_or_default();
            let of = |name| series.labels.get(name).cloned();
            let own = reports.iter().filter(|(labels, _)| {
                // Where the rule does not tell services apart, one with totals speaks for all.
                labels.iter().all(|(name, value)| of(name).is_none_or(|own| own == *value))
            });
            series.reports = Counts::new(own.flat_map(|(_, totals)| totals.reports.iter().copied()).collect());
        }
        Ok(series)
    }

    async fn rate_limited(&self, kind: &RateLimited) -> Result<Vec<Series>, StoreError> {
        let filter = self.filter(self.rule.kind.reach_ms());
        let Some(filter) = self.narrowed(filter, &kind.group_by, kind.threshold as f64).await? else {
            return Ok(Vec::new());
        };
        if kind.group_by.contains(&GroupKey::Account) {
            // Neither a window nor an episode can have enough of what has too few in all.
            return self.cells(&filter, &kind.group_by, kind.threshold).await;
        }
        let rates = self.rates(&filter, &kind.group_by, self.rule.step_ms()).await?;
        Ok(rates.into_iter().map(from_rate).collect())
    }

    /// Counts with accounts, of the groups with at least so many.
    async fn cells(&self, filter: &Filter, by: &[GroupKey], least: u64) -> Result<Vec<Series>, StoreError> {
        let columns: Vec<_> = by.iter().map(|key| column(*key)).collect();
        let names: Vec<_> = by.iter().map(|key| key.as_str()).collect();
        let cells = self.store.alert_cells(self.project, filter, &columns, self.rule.step_ms(), least).await?;
        Ok(from_cells(&names, cells))
    }

    /// In a running collector the running hour is as far as the rollup has come; a replay needs it by the minute.
    async fn field_errors(&self, kind: &ValidationSpike) -> Result<Vec<Series>, StoreError> {
        let filter = self.filter(kind.history_ms + 2 * HOUR_MS);
        // A spike is in the running hour or in the one before, and has so many events at least.
        let recent_ms = self.ends.first - 2 * HOUR_MS;
        let hours = self.store.field_error_hours(self.project, &filter, recent_ms, kind.min_events).await?;
        let steps = if self.ends.is_one() {
            hours.clone()
        } else {
            self.store.field_error_steps(self.project, &self.filter(2 * HOUR_MS), self.rule.step_ms()).await?
        };
        let mut hours = by_labels(hours);
        let series = by_labels(steps).into_iter().map(|(labels, steps)| {
            let hours = Counts::new(hours.remove(&labels).unwrap_or_default());
            Series { labels, counted: Counts::new(steps), hours, ..Series::default() }
        });
        Ok(series.collect())
    }

    /// What each service has shipped, whatever it was.
    async fn presence(&self) -> Result<Vec<Series>, StoreError> {
        let by = [GroupKey::Service, GroupKey::Environment];
        let filter = self.filter(self.rule.kind.reach_ms());
        let mut seen: BTreeMap<Labels, Vec<(i64, u64)>> = BTreeMap::new();
        for rate in self.rates(&filter, &by, self.rule.step_ms()).await? {
            seen.entry(owned(rate.labels)).or_default().extend(rate.points);
        }
        for (labels, totals) in self.totals(&filter, 0).await? {
            seen.entry(labels).or_default().extend(totals.reports);
        }
        let series =
            seen.into_iter().map(|(labels, steps)| Series { labels, counted: Counts::new(steps), ..Series::default() });
        Ok(series.collect())
    }
}

/// Request totals of one service, by minutes and hours.
#[derive(Default)]
struct Totals {
    requests: Vec<(i64, u64)>,
    errors: Vec<(i64, u64)>,
    reports: Vec<(i64, u64)>,
}

fn of_service(service: String, environment: String) -> Labels {
    [("service".to_owned(), service), ("environment".to_owned(), environment)].into()
}

/// Accounts are not in the rates.
fn rate_key(key: GroupKey) -> Option<RateKey> {
    match key {
        GroupKey::Service => Some(RateKey::Service),
        GroupKey::Environment => Some(RateKey::Environment),
        GroupKey::Route => Some(RateKey::Route),
        GroupKey::Method => Some(RateKey::Method),
        GroupKey::Account => None,
    }
}

fn column(key: GroupKey) -> AlertColumn {
    match key {
        GroupKey::Service => AlertColumn::Service,
        GroupKey::Environment => AlertColumn::Environment,
        GroupKey::Route => AlertColumn::Route,
        GroupKey::Method => AlertColumn::Method,
        GroupKey::Account => AlertColumn::Account,
    }
}

fn owned(labels: BTreeMap<&'static str, String>) -> Labels {
    labels.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

fn from_rate(rate: Rate) -> Series {
    Series { labels: owned(rate.labels), counted: Counts::new(rate.points), ..Series::default() }
}

/// Series of cells whose labels are called `names`.
fn from_cells(names: &[&str], cells: Vec<AlertCell>) -> Vec<Series> {
    let mut by_labels: HashMap<Vec<String>, Vec<(i64, String, u64)>> = HashMap::new();
    for AlertCell { labels, at, account, count } in cells {
        by_labels.entry(labels).or_default().push((at, account, count));
    }
    let series = by_labels.into_iter().map(|(labels, cells)| {
        let mut numbers: HashMap<&str, u32> = HashMap::new();
        let mut accounts = Vec::new();
        for (at, account, _) in cells.iter().filter(|(_, account, _)| !account.is_empty()) {
            let next = numbers.len() as u32;
            accounts.push((*at, *numbers.entry(account).or_insert(next)));
        }
        accounts.sort_unstable();
        let counted = Counts::new(cells.iter().map(|(at, _, count)| (*at, *count)).collect());
        let labels = names.iter().map(|name| (*name).to_owned()).zip(labels).collect();
        Series { labels, counted, accounts, ..Series::default() }
    });
    series.collect()
}

fn by_labels(cells: Vec<FieldHour>) -> BTreeMap<Labels, Vec<(i64, u64)>> {
    let mut by_labels: BTreeMap<Labels, Vec<(i64, u64)>> = BTreeMap::new();
    for FieldHour { service, environment, route, field, rule, begin, count } in cells {
        let named =
            [("service", service), ("environment", environment), ("route", route), ("field", field), ("rule", rule)];
        let labels = named.map(|(name, value)| (name.to_owned(), value)).into_iter().collect();
        by_labels.entry(labels).or_default().push((begin, count));
    }
    by_labels
}
