//! What a rule would have done over stored history: the evaluation and the states of a running collector, step by step. Pure.

use super::{
    counted::Series,
    evaluate::{Condition, Finding, Known, evaluate},
    machine::{Change, step},
    rule::{Labels, Objectives, Rule},
};

/// One time that a rule would have fired. Times are milliseconds since the Unix epoch.
#[derive(Clone, Debug, PartialEq)]
pub struct Firing {
    pub rule: String,
    pub labels: Labels,
    /// Since when the condition held.
    pub active_ms: i64,
    pub fired_ms: i64,
    /// None: it still fired at the end of the range.
    pub resolved_ms: Option<i64>,
    /// The highest there was.
    pub finding: Finding,
}

/// Evaluates a rule's series at each of its steps in `from..=to`; what fired, by time.
#[must_use]
pub fn replay(
    rule: &Rule,
    objectives: &Objectives,
    series: &[Series],
    known: Known,
    (from, to): (i64, i64),
) -> Vec<Firing> {
    let step_ms = rule.step_ms();
    let first = from.div_euclid(step_ms) * step_ms;
    let one = |series| of_series(rule, series, first, to, |end| evaluate(rule, objectives, series, known, end));
    let mut firings: Vec<_> = series.iter().flat_map(one).collect();
    firings.sort_by(|left, right| (left.fired_ms, &left.labels).cmp(&(right.fired_ms, &right.labels)));
    firings
}

fn of_series(rule: &Rule, series: &Series, first: i64, to: i64, condition: impl Fn(i64) -> Condition) -> Vec<Firing> {
    let mut firings: Vec<Firing> = Vec::new();
    let mut progress = None;
    let mut end = first;
    while end <= to {
        let (after, change) = step(rule, progress, condition(end), end);
        progress = after;
        match (change, &progress) {
            (Some(Change::Fired), Some(progress)) => firings.push(Firing {
                rule: rule.name.clone(),
                labels: series.labels.clone(),
                active_ms: progress.active_ms,
                fired_ms: end,
                resolved_ms: None,
                finding: progress.finding.clone(),
            }),
            (Some(Change::Resolved), _) => {
                if let Some(firing) = firings.last_mut() {
                    firing.resolved_ms = Some(end);
                }
            }
            (None, Some(progress)) => {
                let running = firings.last_mut().filter(|firing| firing.resolved_ms.is_none());
                if let Some(firing) = running.filter(|firing| progress.finding.value > firing.finding.value) {
                    firing.finding = progress.finding.clone();
                }
            }
            _ => {}
        }
        end += rule.step_ms();
    }
    firings
}
