//! The state of an issue, from what is known of it.

use crate::{
    state::Resolution,
    store::query::{IssueRelease, IssueStep},
};

const HOUR_MS: i64 = 3_600_000;

/// What is usual is read off so many hours before the last one.
pub const USUAL_HOURS: i64 = 7 * 24;

/// Fewer hours since the first event say nothing of what is usual.
pub const LEAST_HOURS: i64 = 24;

/// Events of an hour that can be an escalation at all.
pub const LEAST_EVENTS: u64 = 20;

/// Deviations over the median that are out of the ordinary: as `validation_spike` has it.
const DEVIATIONS: f64 = 8.0;

/// Times the 95th percentile of the hours: what comes each day at the same time is no escalation.
const TIMES_HIGH: f64 = 2.0;

/// Where an issue stands. Exactly one; where several fit, the first of this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum IssueState {
    /// Somebody has called it resolved, and it was not seen since.
    Resolved,
    /// Seen again after it was resolved; until it is resolved anew, or reopened.
    Regressed,
    /// First seen a short while ago.
    New,
    /// Far more in the last hour than usual.
    Escalating,
    Ongoing,
}

impl IssueState {
    /// As people want to see them: what needs somebody first.
    pub const ALL: [Self; 5] = [Self::Regressed, Self::Escalating, Self::New, Self::Ongoing, Self::Resolved];

    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Resolved => "resolved",
            Self::Regressed => "regressed",
            Self::New => "new",
            Self::Escalating => "escalating",
            Self::Ongoing => "ongoing",
        }
    }
}

/// What an issue has in an hour usually, by the hours before the last one in which nothing happened too.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Usual {
    /// Events an hour.
    pub median: f64,
    /// Median of the distances from the median.
    pub deviation: f64,
    /// The 95th percentile.
    pub high: f64,
}

/// Why an issue escalates.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Escalation {
    /// Events of the last 60 minutes.
    pub last_hour: u64,
    pub usual: Usual,
    /// More than this is an escalation.
    pub threshold: f64,
}

impl Usual {
    /// Of `hours` hours, of which all that are not in `counts` had no event; none of fewer than [`LEAST_HOURS`].
    #[must_use]
    pub fn of(counts: &[u64], hours: i64) -> Option<Self> {
        if hours < LEAST_HOURS {
            return None;
        }
        let mut all: Vec<f64> = counts.iter().map(|count| *count as f64).collect();
        all.resize((hours as usize).max(all.len()), 0.0);
        all.sort_by(f64::total_cmp);
        let median = middle(&all);
        let high = all[(all.len() * 95).div_ceil(100) - 1];
        let mut distances: Vec<f64> = all.iter().map(|count| (count - median).abs()).collect();
        distances.sort_by(f64::total_cmp);
        Some(Self { median, deviation: middle(&distances), high })
    }

    /// More events in an hour than this are out of the ordinary. A deviation is at least the root of the median, because counts scatter
    /// by as much by chance, and at least one event.
    #[must_use]
    pub fn threshold(&self) -> f64 {
        let deviation = self.deviation.max(self.median.sqrt()).max(1.0);
        (self.median + DEVIATIONS * deviation).max(TIMES_HIGH * self.high)
    }
}

fn middle(sorted: &[f64]) -> f64 {
    let half = sorted.len() / 2;
    if sorted.len() % 2 == 1 { sorted[half] } else { f64::midpoint(sorted[half - 1], sorted[half]) }
}

/// The whole hours that say what is usual at a moment: from, and up to but without.
#[must_use]
pub fn usual_range(moment_ms: i64) -> (i64, i64) {
    let end = (moment_ms - HOUR_MS).div_euclid(HOUR_MS) * HOUR_MS;
    (end - USUAL_HOURS * HOUR_MS, end)
}

/// Whether an issue with so many events in the last hour escalates, by its hours of [`usual_range`].
#[must_use]
pub fn escalation(moment_ms: i64, first_ms: i64, last_hour: u64, hours: &[IssueStep]) -> Option<Escalation> {
    let (from, to) = usual_range(moment_ms);
    // The hour that it first came in is not a whole one of its own.
    let began = from.max(first_ms.div_euclid(HOUR_MS) * HOUR_MS + HOUR_MS);
    let counts: Vec<u64> = hours.iter().filter(|step| step.at >= began).map(|step| step.events).collect();
    let usual = Usual::of(&counts, (to - began) / HOUR_MS)?;
    let threshold = usual.threshold();
    (last_hour >= LEAST_EVENTS && last_hour as f64 > threshold).then_some(Escalation { last_hour, usual, threshold })
}

/// Whether an issue was seen after it was resolved. `seen` are its releases with the times of their last events.
#[must_use]
pub fn has_regressed<'a>(resolution: &Resolution, mut seen: impl Iterator<Item = &'a IssueRelease>) -> bool {
    seen.any(|seen| seen.last_ms > resolution.after_ms && !resolution.older_releases.contains(&seen.release))
}

/// The state of an issue at a moment. `regressed` says what became of its resolution, if it has one.
#[must_use]
pub fn state(moment_ms: i64, first_ms: i64, new_ms: i64, regressed: Option<bool>, escalates: bool) -> IssueState {
    match regressed {
        Some(false) => IssueState::Resolved,
        Some(true) => IssueState::Regressed,
        None if moment_ms - first_ms <= new_ms => IssueState::New,
        None if escalates => IssueState::Escalating,
        None => IssueState::Ongoing,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOON: i64 = 500_000 * HOUR_MS + 12 * 60_000;

    fn steps(events: impl Iterator<Item = (i64, u64)>) -> Vec<IssueStep> {
        let (from, _) = usual_range(NOON);
        events.map(|(hour, events)| IssueStep { fingerprint: 1, at: from + hour * HOUR_MS, events }).collect()
    }

    fn escalates(last_hour: u64, hours: &[IssueStep]) -> bool {
        escalation(NOON, 0, last_hour, hours).is_some()
    }

    #[test]
    fn what_is_usual_is_robust_and_counts_quiet_hours() {
        assert_eq!(Usual::of(&[], 168), Some(Usual { median: 0.0, deviation: 0.0, high: 0.0 }));
        assert_eq!(Usual::of(&[5], 23), None);
        let usual = Usual::of(&[[10; 100].as_slice(), &[12; 60], &[5000; 8]].concat(), 168).unwrap();
        assert_eq!(usual, Usual { median: 10.0, deviation: 0.0, high: 12.0 }, "eight wild hours change nothing");
        let half = Usual { median: 2.0, deviation: 2.0, high: 4.0 };
        assert_eq!(Usual::of(&[4; 84], 168), Some(half));
    }

    #[test]
    fn an_hour_escalates_from_twenty_events_on_and_far_over_the_usual() {
        assert!(escalates(20, &[]) && !escalates(19, &[]));
        let steady = steps((0..168).map(|hour| (hour, 100)));
        // 100 + 8 × 10 = 180, and twice the high hours are 200.
        assert!(!escalates(200, &steady) && escalates(201, &steady));
        // Each day 8 hours with 50: as much at that time of day is usual.
        let daily = steps((0..168).filter(|hour| hour % 24 < 8).map(|hour| (hour, 50)));
        assert!(!escalates(50, &daily) && !escalates(100, &daily) && escalates(101, &daily));
    }

    #[test]
    fn a_young_issue_has_no_usual() {
        let (_, to) = usual_range(NOON);
        assert!(escalation(NOON, to - 24 * HOUR_MS, 1000, &[]).is_none(), "23 whole hours of its own");
        assert!(escalation(NOON, to - 24 * HOUR_MS - 1, 1000, &[]).is_some());
        // Hours of before its first event do not count as quiet ones.
        let found = escalation(NOON, to - 30 * HOUR_MS - 1, 1000, &steps((138..168).map(|hour| (hour, 40)))).unwrap();
        assert_eq!((found.usual.median, found.threshold), (40.0, 40.0 + 8.0 * 40f64.sqrt()));
    }

    #[test]
    fn the_last_hour_is_no_part_of_the_usual() {
        let (from, to) = usual_range(NOON);
        assert_eq!((from, to), ((500_000 - 1 - 168) * HOUR_MS, (500_000 - 1) * HOUR_MS));
        assert!(to <= NOON - HOUR_MS);
    }

    fn resolved(after_ms: i64, older: &[&str]) -> Resolution {
        Resolution {
            project: "p".into(),
            fingerprint: 1,
            at_ms: after_ms,
            after_ms,
            by: String::new(),
            comment: String::new(),
            in_release: String::new(),
            older_releases: older.iter().map(|&release| release.to_owned()).collect(),
        }
    }

    #[test]
    fn only_later_events_of_no_older_release_are_a_regression() {
        let seen = |release: &str, last_ms| IssueRelease {
            fingerprint: 1,
            release: release.into(),
            events: 1,
            first_ms: 0,
            last_ms,
        };
        let regressed = |resolution: &Resolution, seen: &[IssueRelease]| has_regressed(resolution, seen.iter());
        assert!(!regressed(&resolved(10, &[]), &[]));
        assert!(!regressed(&resolved(10, &[]), &[seen("1", 10)]), "a late event of before");
        assert!(regressed(&resolved(10, &[]), &[seen("1", 11)]));
        let in_two = resolved(10, &["1", "0.9"]);
        assert!(!regressed(&in_two, &[seen("1", 99), seen("0.9", 99), seen("2", 9)]));
        assert!(regressed(&in_two, &[seen("1", 99), seen("2", 11)]), "the release of the remedy");
        assert!(regressed(&in_two, &[seen("3", 11)]) && regressed(&in_two, &[seen("", 11)]));
    }

    #[test]
    fn an_issue_has_one_state_by_order() {
        let day = 24 * HOUR_MS;
        let at = |first_ms, regressed, escalates| state(NOON, first_ms, day, regressed, escalates);
        assert_eq!(at(NOON - day, Some(false), true), IssueState::Resolved);
        assert_eq!(at(NOON - day, Some(true), true), IssueState::Regressed);
        assert_eq!(at(NOON - day, None, true), IssueState::New);
        assert_eq!(at(NOON - day - 1, None, true), IssueState::Escalating);
        assert_eq!(at(NOON - day - 1, None, false), IssueState::Ongoing);
        // A client's clock may run ahead.
        assert_eq!(at(NOON + 5, None, false), IssueState::New);
    }
}
