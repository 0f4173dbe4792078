//! Pages of issues: which there are, where each stands, and what is shown of those on the page.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, HashMap, HashSet},
};

use super::{
    IssueCursor, Sort,
    state::{self, Escalation, IssueState, LEAST_EVENTS},
};
use crate::{
    state::Resolution,
    store::{
        Store, StoreError,
        query::{IssueFilter, IssueKind, IssueRelease, IssueSamples, IssueStep, SeenIssue},
    },
};

const HOUR_MS: i64 = 3_600_000;

/// Steps of a trend at most.
const TREND_STEPS: i64 = 30;

/// What is asked for.
#[derive(Clone, Debug)]
pub struct Question {
    /// The end of its range is the moment whose states are meant.
    pub filter: IssueFilter,
    /// Any, if empty.
    pub states: Vec<IssueState>,
    pub sort: Sort,
    pub limit: usize,
    /// The last issue of the page before: its key and fingerprint.
    pub after: Option<(i64, u64)>,
    /// How long an issue is new.
    pub new_ms: i64,
}

/// A page of issues.
#[derive(Clone, Debug, PartialEq)]
pub struct IssuePage {
    pub issues: Vec<Issue>,
    /// Issues that fit, on all pages.
    pub in_all: usize,
    /// How many there are of each state, whatever states were asked for.
    pub by_state: BTreeMap<IssueState, usize>,
    pub next: Option<IssueCursor>,
}

/// An issue, as it stands at the end of the range asked for.
#[derive(Clone, Debug, PartialEq)]
pub struct Issue {
    pub kind: IssueKind,
    pub state: IssueState,
    /// Events in the range.
    pub events: u64,
    /// Accounts with any of them; events without an account count as none.
    pub accounts: u64,
    /// First and last event, milliseconds since the Unix epoch: the first ever, the last before the end of the range.
    pub first_ms: i64,
    pub last_ms: i64,
    pub trend: Trend,
    /// The releases that had it, the one seen last first; events that name none are of the release "".
    pub releases: Vec<IssueRelease>,
    /// The newest events of the range; none when there are none.
    pub samples: IssueSamples,
    pub escalation: Option<Escalation>,
    pub resolution: Option<Resolution>,
}

/// Events over the range.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trend {
    /// Begin of the first step, milliseconds since the Unix epoch.
    pub from_ms: i64,
    pub step_ms: i64,
    pub events: Vec<u64>,
}

/// An issue and its state, before anything else is read of it.
struct Judged {
    seen: SeenIssue,
    state: IssueState,
    escalation: Option<Escalation>,
    resolution: Option<Resolution>,
}

impl Judged {
    fn key(&self, sort: Sort) -> (i64, u64) {
        let key = match sort {
            Sort::LastSeen => self.seen.last_ms,
            Sort::Count => self.seen.events.cast_signed(),
            Sort::FirstSeen => self.seen.first_ms,
        };
        (key, self.seen.fingerprint)
    }
}

/// The issues that were seen in a range, or resolved in it.
///
/// # Errors
/// When ClickHouse does not answer.
pub async fn list(
    store: &Store,
    project: &str,
    question: &Question,
    resolutions: Vec<Resolution>,
) -> Result<IssuePage, StoreError> {
    let Question { filter, states, sort, .. } = question;
    let mut seen = store.seen_issues(project, filter).await?;
    let known: HashSet<u64> = seen.iter().map(|issue| issue.fingerprint).collect();
    let in_range = |resolution: &&Resolution| (filter.from_ms..filter.to_ms).contains(&resolution.at_ms);
    let unseen: Vec<u64> = resolutions.iter().filter(in_range).map(|resolution| resolution.fingerprint).collect();
    let named = |fingerprint: &u64| filter.fingerprints.is_empty() || filter.fingerprints.contains(fingerprint);
    let unseen: Vec<u64> = unseen.into_iter().filter(|one| !known.contains(one) && named(one)).collect();
    if !unseen.is_empty() && filter.environments.is_empty() {
        seen.extend(not_in_range(store, project, &IssueFilter { fingerprints: unseen, ..filter.clone() }).await?);
    }
    let mut judged = Box::pin(judge(store, project, question, seen, resolutions)).await?;
    let mut by_state = BTreeMap::new();
    for issue in &judged {
        *by_state.entry(issue.state).or_insert(0) += 1;
    }
    judged.retain(|issue| states.is_empty() || states.contains(&issue.state));
    let in_all = judged.len();
    judged.sort_by_key(|issue| Reverse(issue.key(*sort)));
    judged.retain(|issue| question.after.is_none_or(|after| issue.key(*sort) < after));
    let is_last = judged.len() <= question.limit;
    judged.truncate(question.limit);
    let next = judged.last().filter(|_| !is_last).map(|issue| {
        let (key, fingerprint) = issue.key(*sort);
        IssueCursor { from_ms: filter.from_ms, to_ms: filter.to_ms, key, fingerprint }
    });
    let issues = Box::pin(describe(store, project, filter, judged)).await?;
    Ok(IssuePage { issues, in_all, by_state, next })
}

/// One issue, whether it was seen in the range or not; none if the project has none of this fingerprint.
///
/// # Errors
/// When ClickHouse does not answer.
pub async fn one(
    store: &Store,
    project: &str,
    fingerprint: u64,
    range: (i64, i64),
    new_ms: i64,
    resolution: Option<Resolution>,
) -> Result<Option<Issue>, StoreError> {
    let filter = IssueFilter::of(vec![fingerprint], range);
    let mut seen = store.seen_issues(project, &filter).await?;
    if seen.is_empty() {
        seen = not_in_range(store, project, &filter).await?;
    }
    let question = Question { filter, states: Vec::new(), sort: Sort::default(), limit: 1, after: None, new_ms };
    let judged = Box::pin(judge(store, project, &question, seen, resolution.into_iter().collect())).await?;
    Ok(Box::pin(describe(store, project, &question.filter, judged)).await?.pop())
}

/// Issues of the filter's fingerprints that have no event in its range, with the last one before its end.
async fn not_in_range(store: &Store, project: &str, filter: &IssueFilter) -> Result<Vec<SeenIssue>, StoreError> {
    let kinds = store.issue_kinds(project, filter).await?;
    let fingerprints: Vec<u64> = kinds.iter().map(|kind| kind.fingerprint).collect();
    if fingerprints.is_empty() {
        return Ok(Vec::new());
    }
    let before = IssueFilter::of(fingerprints, (0, filter.to_ms));
    let mut last = HashMap::new();
    for release in store.issue_releases(project, &before).await? {
        let latest = last.entry(release.fingerprint).or_insert(release.last_ms);
        *latest = release.last_ms.max(*latest);
    }
    let seen = kinds.into_iter().map(|kind| SeenIssue {
        fingerprint: kind.fingerprint,
        events: 0,
        first_ms: kind.first_ms,
        last_ms: last.get(&kind.fingerprint).copied().unwrap_or(kind.last_ms),
    });
    Ok(seen.collect())
}

/// Where each issue stands at the end of the question's range.
async fn judge(
    store: &Store,
    project: &str,
    question: &Question,
    seen: Vec<SeenIssue>,
    resolutions: Vec<Resolution>,
) -> Result<Vec<Judged>, StoreError> {
    let moment_ms = question.filter.to_ms;
    let known: HashSet<u64> = seen.iter().map(|issue| issue.fingerprint).collect();
    let mut resolutions: HashMap<u64, Resolution> = resolutions
        .into_iter()
        .filter(|resolution| resolution.at_ms < moment_ms && known.contains(&resolution.fingerprint))
        .map(|resolution| (resolution.fingerprint, resolution))
        .collect();
    let (since, hours) = tokio::try_join!(
        seen_since(store, project, &resolutions, moment_ms),
        busy_hours(store, project, &question.filter)
    )?;
    let judged = seen.into_iter().map(|issue| {
        let resolution = resolutions.remove(&issue.fingerprint);
        let later = since.get(&issue.fingerprint).map_or(&[][..], Vec::as_slice);
        let regressed = resolution.as_ref().map(|resolution| state::has_regressed(resolution, later.iter()));
        let busy = hours.get(&issue.fingerprint);
        let escalation =
            busy.and_then(|busy| state::escalation(moment_ms, issue.first_ms, busy.last_hour, &busy.hours));
        let state = state::state(moment_ms, issue.first_ms, question.new_ms, regressed, escalation.is_some());
        Judged { seen: issue, state, escalation, resolution }
    });
    Ok(judged.collect())
}

/// Which releases had the resolved issues after they were resolved.
async fn seen_since(
    store: &Store,
    project: &str,
    resolutions: &HashMap<u64, Resolution>,
    moment_ms: i64,
) -> Result<HashMap<u64, Vec<IssueRelease>>, StoreError> {
    let first = resolutions.values().map(|resolution| resolution.after_ms.saturating_add(1)).min();
    let Some(from_ms) = first.filter(|first| *first < moment_ms) else { return Ok(HashMap::new()) };
    let filter = IssueFilter::of(resolutions.keys().copied().collect(), (from_ms, moment_ms));
    let mut since: HashMap<u64, Vec<IssueRelease>> = HashMap::new();
    for release in store.issue_releases(project, &filter).await? {
        since.entry(release.fingerprint).or_default().push(release);
    }
    Ok(since)
}

/// An issue with enough events in the last hour to escalate.
struct Busy {
    last_hour: u64,
    hours: Vec<IssueStep>,
}

async fn busy_hours(store: &Store, project: &str, filter: &IssueFilter) -> Result<HashMap<u64, Busy>, StoreError> {
    let moment_ms = filter.to_ms;
    let last_hour = (moment_ms - HOUR_MS, moment_ms);
    let busy = store.busy_issues(project, last_hour, &filter.fingerprints, LEAST_EVENTS).await?;
    let mut by_issue: HashMap<u64, Busy> =
        busy.iter().map(|step| (step.fingerprint, Busy { last_hour: step.events, hours: Vec::new() })).collect();
    if by_issue.is_empty() {
        return Ok(by_issue);
    }
    let hours = IssueFilter::of(by_issue.keys().copied().collect(), state::usual_range(moment_ms));
    for step in store.issue_steps(project, &hours, HOUR_MS).await? {
        if let Some(busy) = by_issue.get_mut(&step.fingerprint) {
            busy.hours.push(step);
        }
    }
    Ok(by_issue)
}

/// What is shown of issues, in their order.
async fn describe(
    store: &Store,
    project: &str,
    filter: &IssueFilter,
    judged: Vec<Judged>,
) -> Result<Vec<Issue>, StoreError> {
    if judged.is_empty() {
        return Ok(Vec::new());
    }
    let fingerprints: Vec<u64> = judged.iter().map(|issue| issue.seen.fingerprint).collect();
    let ever = IssueFilter::of(fingerprints.clone(), (0, filter.to_ms));
    let here = IssueFilter { fingerprints, ..filter.clone() };
    let step_ms = trend_step(filter.to_ms - filter.from_ms);
    let (kinds, steps, releases, samples, accounts) = tokio::try_join!(
        store.issue_kinds(project, &ever),
        store.issue_steps(project, &here, step_ms),
        store.issue_releases(project, &ever),
        store.issue_samples(project, &here),
        store.issue_accounts(project, &here),
    )?;
    let mut kinds: HashMap<u64, IssueKind> = kinds.into_iter().map(|kind| (kind.fingerprint, kind)).collect();
    let mut samples: HashMap<u64, IssueSamples> = samples.into_iter().map(|one| (one.fingerprint, one)).collect();
    let accounts: HashMap<u64, u64> = accounts.into_iter().collect();
    let mut trends: HashMap<u64, Trend> = HashMap::new();
    for step in steps {
        let trend = trends.entry(step.fingerprint).or_insert_with(|| Trend::empty(filter, step_ms));
        trend.add(step);
    }
    let mut by_issue: HashMap<u64, Vec<IssueRelease>> = HashMap::new();
    for release in releases {
        by_issue.entry(release.fingerprint).or_default().push(release);
    }
    let issue = |Judged { seen, state, escalation, resolution }: Judged| {
        let fingerprint = seen.fingerprint;
        // It was there a moment ago; the table forgets an issue long after its last event.
        let kind = kinds.remove(&fingerprint)?;
        Some(Issue {
            kind,
            state,
            events: seen.events,
            accounts: accounts.get(&fingerprint).copied().unwrap_or_default(),
            first_ms: seen.first_ms,
            last_ms: seen.last_ms,
            trend: trends.remove(&fingerprint).unwrap_or_else(|| Trend::empty(filter, step_ms)),
            releases: by_issue.remove(&fingerprint).unwrap_or_default(),
            samples: samples.remove(&fingerprint).unwrap_or_default(),
            escalation,
            resolution,
        })
    };
    Ok(judged.into_iter().filter_map(issue).collect())
}

/// The first round length that cuts a range into at most [`TREND_STEPS`].
fn trend_step(range_ms: i64) -> i64 {
    const ROUND_S: [i64; 11] = [10, 60, 300, 900, 3600, 3 * 3600, 6 * 3600, 12 * 3600, 86_400, 2 * 86_400, 7 * 86_400];
    let fits = |step: &&i64| range_ms / (**step * 1000) <= TREND_STEPS;
    ROUND_S.iter().find(fits).map_or_else(|| (range_ms / TREND_STEPS / 86_400_000 + 1) * 86_400_000, |step| step * 1000)
}

impl Trend {
    fn empty(filter: &IssueFilter, step_ms: i64) -> Self {
        let (first, last) = (filter.from_ms.div_euclid(step_ms), (filter.to_ms - 1).div_euclid(step_ms));
        Self { from_ms: first * step_ms, step_ms, events: vec![0; (last - first + 1).max(1) as usize] }
    }

    fn add(&mut self, step: IssueStep) {
        let number = usize::try_from((step.at - self.from_ms) / self.step_ms).ok();
        if let Some(slot) = number.and_then(|number| self.events.get_mut(number)) {
            *slot += step.events;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trend_has_few_round_steps_that_cover_its_range() {
        for (range, step) in [
            (HOUR_MS, 300_000),
            (24 * HOUR_MS, HOUR_MS),
            (7 * 24 * HOUR_MS, 6 * HOUR_MS),
            (30 * 24 * HOUR_MS, 24 * HOUR_MS),
            (210 * 24 * HOUR_MS, 7 * 24 * HOUR_MS),
        ] {
            assert_eq!(trend_step(range), step, "{range}");
        }
        for range in [1, 1000, HOUR_MS + 1, i64::from(i32::MAX), 10_413_791_999_999] {
            let filter = IssueFilter { from_ms: 12_345, to_ms: 12_345 + range, ..IssueFilter::default() };
            let trend = Trend::empty(&filter, trend_step(range));
            assert!(trend.events.len() <= 32, "{range}: {}", trend.events.len());
            let end = trend.from_ms + trend.step_ms * trend.events.len() as i64;
            assert!(trend.from_ms <= filter.from_ms && end >= filter.to_ms, "{range}");
        }
    }
}
