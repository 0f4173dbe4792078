//! inactive → pending → firing → resolved, for one series of a rule. Pure.
//!
//! Acknowledging and silencing do not move this machine: they say who is told of it (`docs/alerts.md`).

use super::{
    evaluate::{Condition, Finding},
    rule::Rule,
};

/// How far it has come. Inactive is to have no [`Progress`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// The condition holds, not yet for the rule's `for`.
    Pending,
    Firing,
    /// It was firing, and the condition is gone.
    Resolved,
}

impl Phase {
    pub const ALL: [Self; 3] = [Self::Pending, Self::Firing, Self::Resolved];

    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Firing => "firing",
            Self::Resolved => "resolved",
        }
    }

    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|phase| phase.as_str() == text)
    }
}

/// Where one series stands. Times are milliseconds since the Unix epoch.
#[derive(Clone, Debug, PartialEq)]
pub struct Progress {
    pub phase: Phase,
    /// Since when the condition holds, or held: with the series, the identity of this occurrence.
    pub active_ms: i64,
    pub fired_ms: Option<i64>,
    pub resolved_ms: Option<i64>,
    /// When the condition last held.
    pub held_ms: i64,
    /// The latest that held.
    pub finding: Finding,
}

/// What a step has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// The condition began to hold, for shorter than `for` as yet.
    Pending,
    Fired,
    Resolved,
    /// It was pending, and passed.
    Passed,
}

impl Change {
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Fired => "firing",
            Self::Resolved => "resolved",
            Self::Passed => "inactive",
        }
    }
}

/// Moves a series on by the condition at `end`. An unknown one moves nothing.
#[must_use]
pub fn step(
    rule: &Rule,
    before: Option<Progress>,
    condition: Condition,
    end: i64,
) -> (Option<Progress>, Option<Change>) {
    // What has resolved is over: the condition begins anew.
    let running = before.clone().filter(|progress| progress.phase != Phase::Resolved);
    match (running, condition) {
        (None, Condition::Clear) | (_, Condition::Unknown(_)) => (before, None),
        (None, Condition::Holds(finding)) => {
            let (phase, active_ms) = (Phase::Pending, end);
            let begun = Progress { phase, active_ms, fired_ms: None, resolved_ms: None, held_ms: end, finding };
            if rule.for_ms == 0 { fired(begun, end) } else { (Some(begun), Some(Change::Pending)) }
        }
        (Some(progress), Condition::Holds(finding)) => {
            let progress = Progress { held_ms: end, finding, ..progress };
            let due = progress.phase == Phase::Pending && end - progress.active_ms >= rule.for_ms;
            if due { fired(progress, end) } else { (Some(progress), None) }
        }
        (Some(progress), Condition::Clear) if progress.phase == Phase::Pending => (None, Some(Change::Passed)),
        (Some(progress), Condition::Clear) if end - progress.held_ms <= rule.keep_firing_ms => (Some(progress), None),
        (Some(progress), Condition::Clear) => {
            let resolved = Progress { phase: Phase::Resolved, resolved_ms: Some(end), ..progress };
            (Some(resolved), Some(Change::Resolved))
        }
    }
}

fn fired(progress: Progress, end: i64) -> (Option<Progress>, Option<Change>) {
    (Some(Progress { phase: Phase::Firing, fired_ms: Some(end), ..progress }), Some(Change::Fired))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::alerts::RuleSet;

    fn rule(extra: &str) -> Rule {
        let text = format!("defaults = false\n[[rule]]\nname = 'r'\nkind = 'silence'\nseverity = 'page'\n{extra}");
        RuleSet::parse(&text).unwrap().rules.remove(0)
    }

    /// The changes of a run of conditions, a minute apart, with their minutes.
    fn changes(rule: &Rule, conditions: &str) -> Vec<(usize, Change)> {
        let finding = Finding { value: 1.0, threshold: 1.0, summary: String::new(), window: (0, 0) };
        let mut progress = None;
        let mut changes = Vec::new();
        for (minute, condition) in conditions.chars().enumerate() {
            let condition = match condition {
                '#' => Condition::Holds(finding.clone()),
                '?' => Condition::Unknown(String::new()),
                _ => Condition::Clear,
            };
            let (after, change) = step(rule, progress, condition, minute as i64 * 60_000);
            progress = after;
            changes.extend(change.map(|change| (minute, change)));
        }
        changes
    }

    #[test]
    fn without_for_it_fires_at_once_and_resolves_once() {
        use Change::{Fired, Resolved};
        assert_eq!(changes(&rule(""), ".##..#."), [(1, Fired), (3, Resolved), (5, Fired), (6, Resolved)]);
    }

    #[test]
    fn a_condition_that_passes_sooner_than_for_never_fires() {
        use Change::{Fired, Passed, Pending, Resolved};
        let run = changes(&rule("for = '2m'"), "##.####.");
        assert_eq!(run, [(0, Pending), (2, Passed), (3, Pending), (5, Fired), (7, Resolved)]);
    }

    #[test]
    fn without_data_nothing_moves() {
        use Change::{Fired, Pending, Resolved};
        assert_eq!(changes(&rule("for = '2m'"), "??##????#???.?"), [(2, Pending), (8, Fired), (12, Resolved)]);
    }

    #[test]
    fn it_keeps_firing_through_a_short_gap() {
        use Change::{Fired, Resolved};
        assert_eq!(changes(&rule("keep_firing_for = '2m'"), "#..#...#"), [(0, Fired), (6, Resolved), (7, Fired)]);
    }
}
