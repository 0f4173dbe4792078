//! Reading what a rule is evaluated on: the one place of this room that asks the store.
//!
//! A running collector evaluates at one time, the newest; it first asks the rollups whether any group can be over its threshold at all,
//! and reads events only of those that can. A replay reads the whole range once.

use std::collections::{BTreeMap, HashMap, HashSet};

use super::{
    counted::{Counts, Series},
    rule::{
        BY_THE_MINUTE_MS, ErrorCount, GroupKey, HOUR_MS, Kind, Labels, MINUTE_MS, NewError, RateLimited, Rule,
        TOTALS_LAG_MS, ValidationSpike,
    },
};
use crate::{
    issues::state::has_regressed,
    state::Resolution,
    store::{
        Store, StoreError,
        query::{
            AlertCell, AlertColumn, FieldHour, Filter, IssueFilter, RateKey, Series as Rate, TotalCell,
            alerts::Frequent,
        },
    },
};

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

/// Fingerprints that are known to be no news by a rule and project, so that history is asked once about each; and the issues that somebody
/// has resolved: history begins anew for them then.
#[derive(Debug, Default)]
pub struct Familiar {
    known: HashMap<(String, String, u64), Acquaintance>,
    resolved: HashMap<u64, Resolution>,
}

#[derive(Clone, Copy, Debug)]
struct Acquaintance {
    since: i64,
    met: i64,
}

/// Fingerprints remembered at most; past it, all are asked about anew.
const MAX_FAMILIAR: usize = 100_000;

impl Familiar {
    /// Takes the resolutions of the project that is evaluated next.
    pub fn set_resolved(&mut self, resolutions: Vec<Resolution>) {
        self.resolved = resolutions.into_iter().map(|one| (one.fingerprint, one)).collect();
    }

    /// Whether it was met within `look_back_ms` before `end`; meets it then. One that was away for longer is news until history
    /// knows it again.
    fn meet(&mut self, (rule, project): (&str, &str), fingerprint: u64, end: i64, look_back_ms: i64) -> bool {
        let key = (rule.to_owned(), project.to_owned(), fingerprint);
        let Some(known) = self.known.get_mut(&key) else { return false };
        let is_resolved = self.resolved.get(&fingerprint).is_some_and(|resolved| resolved.after_ms >= known.since);
        let is_fresh = !is_resolved && end - known.met < look_back_ms;
        if is_fresh {
            known.met = end;
        }
        is_fresh
    }

    fn add(&mut self, (rule, project): (&str, &str), fingerprint: u64, end: i64) {
        if self.known.len() >= MAX_FAMILIAR {
            self.known.clear();
        }
        let known = Acquaintance { since: end, met: end };
        self.known.insert((rule.to_owned(), project.to_owned(), fingerprint), known);
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

    async fn new_errors(&self, kind: &NewError, familiar: &mut Familiar) -> Result<Vec<Series>, StoreError> {
        let recent = self.filter(kind.window_ms);
        let mut frequent = self.store.frequent_fingerprints(self.project, &recent, kind.min_events).await?;
        let mut from_ms = self.ends.first - kind.look_back_ms;
        let mut returned = Vec::new();
        if self.ends.is_one() {
            let end = self.ends.last;
            let by = (self.rule.name.as_str(), self.project);
            frequent.retain(|found| !familiar.meet(by, found.fingerprint, end, kind.look_back_ms));
            let resolved = |found: &Frequent| {
                familiar.resolved.get(&found.fingerprint).filter(|one| one.after_ms >= from_ms).cloned()
            };
            let (came_back, others) = frequent.into_iter().partition(|found| resolved(found).is_some());
            frequent = others;
            let came_back: Vec<Frequent> = came_back;
            let resolutions: Vec<_> = came_back.iter().filter_map(resolved).collect();
            returned = self.returned(&recent, &came_back, &resolutions).await?;
            for series in &returned {
                let is_old = series.counted.first(i64::MIN, recent.from_ms).is_some();
                let fingerprint = series.labels.get("fingerprint").and_then(|hex| u64::from_str_radix(hex, 16).ok());
                if let Some(fingerprint) = fingerprint.filter(|_| is_old) {
                    familiar.add(by, fingerprint, end);
                }
            }
            let fingerprints: Vec<_> = frequent.iter().map(|found| found.fingerprint).collect();
            if fingerprints.is_empty() {
                return Ok(returned);
            }
            let before = Filter { from_ms, to_ms: recent.from_ms, fingerprints, ..recent.clone() };
            let seen = self.store.seen_fingerprints(self.project, &before).await?;
            for fingerprint in &seen {
                familiar.add(by, *fingerprint, end);
            }
            frequent.retain(|found| !seen.contains(&found.fingerprint));
            from_ms = recent.from_ms;
        }
        if frequent.is_empty() {
            return Ok(returned);
        }
        let fingerprints = frequent.iter().map(|found| found.fingerprint).collect();
        let cells = self.issue_cells(&Filter { from_ms, fingerprints, ..recent }).await?;
        returned.extend(titled(from_cells(&ISSUE_LABELS, cells), &frequent));
        Ok(returned)
    }

    async fn issue_cells(&self, filter: &Filter) -> Result<Vec<AlertCell>, StoreError> {
        let by = [AlertColumn::Service, AlertColumn::Route, AlertColumn::Status, AlertColumn::Fingerprint];
        self.store.alert_cells(self.project, filter, &by, self.rule.step_ms(), 1).await
    }

    /// What came of issues after they were resolved, from the first whole step after that on; of those alone that have regressed.
    async fn returned(
        &self,
        recent: &Filter,
        frequent: &[Frequent],
        resolutions: &[Resolution],
    ) -> Result<Vec<Series>, StoreError> {
        let Some(first) = resolutions.iter().map(|one| one.after_ms + 1).min() else { return Ok(Vec::new()) };
        let fingerprints: Vec<_> = resolutions.iter().map(|one| one.fingerprint).collect();
        let since = IssueFilter::of(fingerprints.clone(), (first.min(recent.to_ms - 1), recent.to_ms));
        let seen = self.store.issue_releases(self.project, &since).await?;
        let of = |one: &Resolution| seen.iter().filter(|seen| seen.fingerprint == one.fingerprint).collect::<Vec<_>>();
        let regressed: HashMap<String, i64> = resolutions
            .iter()
            .filter(|one| has_regressed(one, of(one).into_iter()))
            .map(|one| (format!("{:016x}", one.fingerprint), one.after_ms))
            .collect();
        if regressed.is_empty() {
            return Ok(Vec::new());
        }
        let mut cells = self.issue_cells(&Filter { from_ms: first, fingerprints, ..recent.clone() }).await?;
        cells
            .retain(|cell| cell.labels.last().and_then(|one| regressed.get(one)).is_some_and(|after| cell.at > *after));
        let mut series = titled(from_cells(&ISSUE_LABELS, cells), frequent);
        for series in &mut series {
            series.resolved_ms = series.labels.get("fingerprint").and_then(|one| regressed.get(one)).copied();
        }
        Ok(series)
    }

    /// In a running collector the running hour is as far as the rollup has come; a replay needs it by the minute.
    async fn field_errors(&self, kind: &ValidationSpike) -> Result<Vec<Series>, StoreError> {
        let hours = self.store.field_error_hours(self.project, &self.filter(kind.history_ms + 2 * HOUR_MS)).await?;
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

const ISSUE_LABELS: [&str; 4] = ["service", "route", "status", "fingerprint"];

/// The series with their errors' texts.
fn titled(mut series: Vec<Series>, frequent: &[Frequent]) -> Vec<Series> {
    let errors: HashMap<String, &str> =
        frequent.iter().map(|found| (format!("{:016x}", found.fingerprint), found.error.as_str())).collect();
    for series in &mut series {
        let error = series.labels.get("fingerprint").and_then(|fingerprint| errors.get(fingerprint));
        series.title = error.map_or_else(String::new, |&error| error.to_owned());
    }
    series
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_one_rule_knows_no_other_does_and_what_was_away_is_news_again() {
        let mut familiar = Familiar::default();
        let (one, other) = (("one", "shop"), ("other", "shop"));
        familiar.add(one, 7, 0);
        assert!(familiar.meet(one, 7, 5, 10) && familiar.meet(one, 7, 14, 10), "each meeting counts from then on");
        assert!(!familiar.meet(other, 7, 5, 10) && !familiar.meet(("one", "other shop"), 7, 5, 10));
        for end in [24, 25, 26] {
            assert!(!familiar.meet(one, 7, end, 10), "news until history knows it: {end}");
        }
    }
}
