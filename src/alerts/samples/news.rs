//! Errors that are news: never seen for a while, or back after they were resolved.

use std::collections::HashMap;

use super::{Reader, from_cells};
use crate::{
    alerts::{counted::Series, rule::NewError},
    issues::state::has_regressed,
    state::Resolution,
    store::{
        StoreError,
        query::{AlertCell, AlertColumn, Filter, IssueFilter, alerts::Frequent},
    },
};

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

impl Reader<'_> {
    pub(super) async fn new_errors(&self, kind: &NewError, familiar: &mut Familiar) -> Result<Vec<Series>, StoreError> {
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
