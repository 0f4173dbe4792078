//! What this collector has written of issues and releases beside their cells, so that an issue is written once a day and a release once an hour, and
//! not with each group.

use std::{
    collections::{HashMap, HashSet},
    sync::{Mutex, PoisonError},
};

use crate::store::rows::DAY_MS;

/// Issues remembered over all projects; past it, all are forgotten, and written once more.
const MOST: usize = 200_000;

/// Memory of what is in the table. To have forgotten something costs a row, which changes nothing.
#[derive(Debug, Default)]
pub(in crate::store) struct KnownIssues(Mutex<Memory>);

#[derive(Debug, Default)]
struct Memory {
    projects: HashMap<String, HashMap<u64, Written>>,
    issues: usize,
}

#[derive(Clone, Copy, Debug)]
struct Written {
    first_ms: i64,
    /// The last day that was written, days since the Unix epoch.
    day: i64,
}

impl KnownIssues {
    /// Whether the table would change by a row with these times.
    pub(super) fn is_news(&self, project: &str, fingerprint: u64, (first_ms, last_ms): (i64, i64)) -> bool {
        let memory = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let written = memory.projects.get(project).and_then(|issues| issues.get(&fingerprint));
        written.is_none_or(|written| first_ms < written.first_ms || last_ms.div_euclid(DAY_MS) > written.day)
    }

    /// Notes rows that are in the table.
    pub(super) fn note<'a>(&self, rows: impl Iterator<Item = (&'a str, u64, (i64, i64))>) {
        let mut memory = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for (project, fingerprint, (first_ms, last_ms)) in rows {
            memory.note(project, fingerprint, first_ms, last_ms.div_euclid(DAY_MS));
        }
    }

    /// Forgets rows that were deleted from the table.
    pub(in crate::store) fn forget(&self, project: &str, fingerprints: &[u64]) {
        let mut memory = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(issues) = memory.projects.get_mut(project) else { return };
        let forgotten = fingerprints.iter().filter(|one| issues.remove(one).is_some()).count();
        memory.issues -= forgotten;
    }
}

impl Memory {
    fn note(&mut self, project: &str, fingerprint: u64, first_ms: i64, day: i64) {
        if self.issues >= MOST {
            *self = Self::default();
        }
        if !self.projects.contains_key(project) {
            self.projects.insert(project.to_owned(), HashMap::new());
        }
        let Some(issues) = self.projects.get_mut(project) else { return };
        let before = issues.len();
        let written = issues.entry(fingerprint).or_insert(Written { first_ms, day });
        *written = Written { first_ms: written.first_ms.min(first_ms), day: written.day.max(day) };
        self.issues += issues.len() - before;
    }
}

/// Hours of releases remembered over all projects; past it, all are forgotten, and written once more.
const MOST_HOURS: usize = 50_000;

/// An hour in which an environment had errors of a release.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct ReleaseHour {
    pub project: String,
    /// Begin of the hour, Unix seconds.
    pub at: u32,
    pub environment: String,
    pub release: String,
}

/// Which hours of releases are in the table `release_hours`. To have forgotten one costs a row, which changes nothing.
#[derive(Debug, Default)]
pub(in crate::store) struct KnownReleases(Mutex<HashSet<ReleaseHour>>);

impl KnownReleases {
    /// Those that are not known to be in the table.
    pub(super) fn news(&self, hours: impl Iterator<Item = ReleaseHour>) -> Vec<ReleaseHour> {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        hours.filter(|hour| !known.contains(hour)).collect()
    }

    /// Notes rows that are in the table.
    pub(super) fn note(&self, hours: Vec<ReleaseHour>) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() + hours.len() > MOST_HOURS {
            known.clear();
        }
        known.extend(hours.into_iter().take(MOST_HOURS));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_hour_of_a_release_is_news_once() {
        let known = KnownReleases::default();
        let hour = |at| ReleaseHour {
            project: "p".to_owned(),
            at,
            environment: "production".to_owned(),
            release: "1.4".to_owned(),
        };
        assert_eq!(known.news([hour(0), hour(3600)].into_iter()), [hour(0), hour(3600)]);
        known.note(vec![hour(0)]);
        assert_eq!(known.news([hour(0), hour(3600)].into_iter()), [hour(3600)]);
        known.note((0..MOST_HOURS as u32).map(|at| hour(at + 1)).collect());
        assert_eq!(known.0.lock().unwrap().len(), MOST_HOURS, "what is remembered is bounded");
        assert_eq!(known.news([hour(0)].into_iter()), [hour(0)]);
    }

    #[test]
    fn an_issue_is_news_once_a_day_and_when_it_is_older_than_was_known() {
        let known = KnownIssues::default();
        let noon = 20_000 * DAY_MS + DAY_MS / 2;
        assert!(known.is_news("p", 1, (noon, noon)));
        known.note([("p", 1, (noon, noon + 5))].into_iter());
        assert!(!known.is_news("p", 1, (noon, noon + 9)));
        assert!(known.is_news("p", 1, (noon - 1, noon)), "a late event is the first now");
        assert!(known.is_news("p", 1, (noon, noon + DAY_MS)), "the next day");
        assert!(known.is_news("q", 1, (noon, noon)) && known.is_news("p", 2, (noon, noon)));
        known.forget("p", &[1, 2]);
        assert!(known.is_news("p", 1, (noon, noon)), "its row was deleted");
        assert_eq!(known.0.lock().unwrap().issues, 0);
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let known = KnownIssues::default();
        known.note((0..MOST as u64 + 10).map(|fingerprint| ("p", fingerprint, (5, 5))));
        assert_eq!(known.0.lock().unwrap().issues, 10);
        assert!(known.is_news("p", 0, (5, 5)) && !known.is_news("p", MOST as u64 + 1, (5, 5)));
    }
}
