//! Counting events by issue: the fingerprints of a group, what each is, and how often it was seen in each hour.

use std::collections::{HashMap, hash_map::Entry};

use super::names::{Name, Seeded};
use crate::event::EventRef;

/// The issues of a group of events, growing.
#[derive(Default)]
pub(super) struct Issues {
    by_key: HashMap<CellKey, u32, Seeded>,
    cells: Vec<IssueCell>,
    /// By project and fingerprint.
    kinds: HashMap<(Name, u64), Issue, Seeded>,
    /// Of the texts in `kinds`.
    bytes: usize,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct CellKey {
    fingerprint: u64,
    project: Name,
    environment: Name,
    release: Name,
    at: u32,
}

/// Events of one issue, environment, release and hour.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct IssueCell {
    pub project: Name,
    pub fingerprint: u64,
    pub environment: Name,
    pub release: Name,
    /// Begin of the hour, Unix seconds.
    pub at: u32,
    pub count: u64,
    pub first_ms: i64,
    pub last_ms: i64,
}

/// What a fingerprint stands for.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Issue {
    pub project: Name,
    pub fingerprint: u64,
    pub service: Name,
    pub route: Name,
    pub status: u16,
    pub error_template: Box<str>,
    /// Distinct fields and rules, in order.
    pub errors: Vec<(Box<str>, Box<str>)>,
    pub exception_type: Box<str>,
}

/// An issue, and when its first and its last event was, milliseconds since the Unix epoch.
pub(super) type Seen<'a> = (&'a Issue, (i64, i64));

impl IssueCell {
    /// When the last event was, milliseconds after the hour began.
    pub(super) fn last_in_hour(&self) -> u32 {
        u32::try_from(self.last_ms - i64::from(self.at) * 1000).unwrap_or_default()
    }
}

impl Issues {
    /// Counts an event of an hour (Unix seconds); `texts` are its project, service, environment and route.
    pub(super) fn add(&mut self, event: &EventRef<'_>, at: u32, texts: [Name; 4], release: Name) {
        let ([project, _, environment, _], fingerprint) = (texts, event.fingerprint);
        let next = self.cells.len() as u32;
        let number = *self.by_key.entry(CellKey { fingerprint, project, environment, release, at }).or_insert(next);
        if number == next {
            let (first_ms, last_ms) = (event.timestamp_ms, event.timestamp_ms);
            let cell = IssueCell { project, fingerprint, environment, release, at, count: 0, first_ms, last_ms };
            self.cells.push(cell);
            self.learn(event, texts);
        }
        let cell = &mut self.cells[number as usize];
        cell.count += 1;
        cell.first_ms = cell.first_ms.min(event.timestamp_ms);
        cell.last_ms = cell.last_ms.max(event.timestamp_ms);
    }

    fn learn(&mut self, event: &EventRef<'_>, [project, service, _, route]: [Name; 4]) {
        let Entry::Vacant(entry) = self.kinds.entry((project, event.fingerprint)) else { return };
        let mut errors: Vec<_> = event.errors.iter().map(|error| (error.field, error.rule)).collect();
        errors.sort_unstable();
        errors.dedup();
        let exception_type = event.exception.map_or("", |exception| exception.r#type);
        self.bytes += event.error_template.len() + exception_type.len();
        self.bytes += errors.iter().map(|(field, rule)| field.len() + rule.len() + 32).sum::<usize>();
        entry.insert(Issue {
            project,
            fingerprint: event.fingerprint,
            service,
            route,
            status: event.status,
            error_template: event.error_template.into(),
            errors: errors.into_iter().map(|(field, rule)| (field.into(), rule.into())).collect(),
            exception_type: exception_type.into(),
        });
    }

    pub(super) fn cells(&self) -> &[IssueCell] {
        &self.cells
    }

    /// Each issue, with the times of its events.
    pub(super) fn issues(&self) -> impl Iterator<Item = Seen<'_>> {
        let mut times: HashMap<(Name, u64), (i64, i64), Seeded> = HashMap::default();
        for cell in &self.cells {
            let seen = times.entry((cell.project, cell.fingerprint)).or_insert((i64::MAX, i64::MIN));
            *seen = (seen.0.min(cell.first_ms), seen.1.max(cell.last_ms));
        }
        self.kinds.iter().map(move |(key, issue)| (issue, times.get(key).copied().unwrap_or_default()))
    }

    /// Bytes of memory, about.
    pub(super) fn memory(&self) -> usize {
        self.cells.len() * (size_of::<IssueCell>() + size_of::<CellKey>() + 8)
            + self.kinds.len() * (size_of::<Issue>() + 24)
            + self.bytes
    }
}
