//! The running evaluation: at each step of each rule, read, judge, move, write down.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
};

use super::{
    RuleSet,
    alert::{Alert, is_silenced_by},
    evaluate::{Condition, Known, evaluate},
    evidence,
    machine::{Change, Phase, step},
    notify::{Notification, Status as ToldStatus},
    receiver::Receiver,
    rule::{DAY_MS, Kind, Labels, MINUTE_MS, Rule},
    samples::{self, Ends, Familiar},
    status::Status,
};
use crate::{
    clock::Clock,
    metrics::Metrics,
    state::{AlertChanges, AlertRow, OutboxRow, Silence, State, StateError},
    store::{Store, StoreError},
};

/// A horizon that is further behind than this is an outage.
const BEHIND_MS: i64 = 2 * MINUTE_MS;

/// How long a resolved alert is shown.
const SHOWN_MS: i64 = DAY_MS;

/// Alerts of one rule that may begin to fire at once with evidence read for them, the worst ones; each reads its window four times.
/// Past it, they have their number and a link: in a storm ClickHouse has other work.
const MOST_WITH_EVIDENCE: usize = 10;

/// What an evaluator works with.
#[derive(Clone)]
pub struct Parts {
    pub store: Store,
    pub state: State,
    pub rules: Arc<RuleSet>,
    pub metrics: Arc<Metrics>,
    pub clock: Clock,
    pub status: Status,
    /// Base of links.
    pub base_url: String,
}

/// Evaluates the rules of one collector.
pub struct Evaluator {
    parts: Parts,
    /// By project and fingerprint.
    alerts: BTreeMap<(String, String), Alert>,
    /// End of the last evaluation of each rule, also where it failed.
    evaluated: HashMap<String, i64>,
    /// Rules whose last evaluation failed.
    failing: BTreeSet<String>,
    /// The first event of each project that has one.
    first_ms: HashMap<String, i64>,
    familiar: Familiar,
    listening_since_ms: i64,
}

/// Conditions by how far they are over their threshold, then by labels.
fn worst_first(judged: BTreeMap<Labels, Condition>) -> Vec<(Labels, Condition)> {
    let excess = |condition: &Condition| match condition {
        Condition::Holds(finding) => finding.value / finding.threshold.max(f64::MIN_POSITIVE),
        Condition::Clear | Condition::Unknown(_) => 0.0,
    };
    let mut judged: Vec<_> = judged.into_iter().collect();
    judged.sort_by(|(_, one), (_, other)| excess(other).total_cmp(&excess(one)));
    judged
}

/// What decides who is told of an alert.
struct Telling {
    /// Alerts whose evidence may still be read.
    with_evidence: usize,
    now_ms: i64,
    silences: Vec<Silence>,
    /// Project, fingerprint and begin of what somebody looks after.
    acknowledged: BTreeSet<(String, String, i64)>,
}

/// Why an evaluation could not be finished; it is tried again.
#[derive(Debug, thiserror::Error)]
pub enum EvaluateError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    State(#[from] StateError),
}

impl Evaluator {
    /// Takes up the alerts where the last run has left them.
    ///
    /// # Errors
    /// When the state database cannot be read.
    pub fn open(parts: Parts) -> Result<Self, StateError> {
        let rows = parts.state.alerts(None)?;
        let alerts = rows.into_iter().filter_map(Alert::from_row);
        let alerts = alerts.map(|alert| ((alert.project.clone(), alert.fingerprint.clone()), alert)).collect();
        let listening_since_ms = parts.clock.now_ms();
        let evaluator = Self {
            parts,
            alerts,
            evaluated: HashMap::new(),
            failing: BTreeSet::new(),
            first_ms: HashMap::new(),
            familiar: Familiar::default(),
            listening_since_ms,
        };
        evaluator.count();
        Ok(evaluator)
    }

    /// Evaluates every rule whose next step lies before `horizon_ms`: the time up to which everything that was received is stored and
    /// rolled up. Call it again and again. What fails is told by [`Status`] and freezes every state; then it returns false.
    #[must_use]
    pub async fn tick(&mut self, horizon_ms: i64) -> bool {
        let now_ms = self.parts.clock.now_ms();
        // Before the first delivery since the start, nothing is known of what came before it.
        let since_ms = horizon_ms.max(self.listening_since_ms);
        if now_ms - since_ms > BEHIND_MS {
            self.freeze(since_ms, "what was received is not stored yet");
            return false;
        }
        if now_ms - horizon_ms <= BEHIND_MS
            && let Err(error) = self.evaluate_due(horizon_ms).await
        {
            self.freeze(horizon_ms, &error.to_string());
            return false;
        }
        true
    }

    /// Leaves every state as it is, and says so.
    pub fn freeze(&self, since_ms: i64, why: &str) {
        if self.parts.status.frozen(since_ms, why) {
            tracing::warn!(why, "alerts are frozen: no state changes until there are data again");
        }
    }

    async fn evaluate_due(&mut self, horizon_ms: i64) -> Result<(), EvaluateError> {
        let rules = Arc::clone(&self.parts.rules);
        let end_of = |rule: &Rule| horizon_ms.div_euclid(rule.step_ms()) * rule.step_ms();
        let due: Vec<_> = rules
            .rules
            .iter()
            .filter(|rule| self.evaluated.get(&rule.name).is_none_or(|last| *last < end_of(rule)))
            .collect();
        if due.is_empty() {
            return Ok(());
        }
        let projects: BTreeSet<_> = self.parts.state.tokens()?.into_iter().map(|token| token.project).collect();
        let mut telling = self.telling()?;
        for rule in due {
            let end = end_of(rule);
            let mut is_failing = false;
            for project in &projects {
                let only = &rule.only.projects;
                if !only.is_empty() && !only.contains(project) {
                    continue;
                }
                match self.evaluate_rule(rule, project, end, &mut telling).await {
                    Ok(()) => {}
                    // The others can be evaluated; the states of this one stay.
                    Err(EvaluateError::Store(error)) if !error.is_outage() => {
                        is_failing = true;
                        self.parts.metrics.alert_failures.with_label_values(&[&rule.name]).inc();
                        tracing::error!(
                            rule = rule.name,
                            project,
                            "a rule cannot be evaluated, its states stay: {error}"
                        );
                    }
                    Err(error) => return Err(error),
                }
            }
            self.evaluated.insert(rule.name.clone(), end);
            if is_failing {
                self.failing.insert(rule.name.clone());
            } else {
                self.failing.remove(&rule.name);
            }
        }
        self.clear_away(horizon_ms, &projects, &telling)?;
        self.count();
        let ends = self.evaluated.iter().filter(|(rule, _)| !self.failing.contains(*rule)).map(|(_, end)| *end);
        self.parts.status.evaluated(ends.max(), &self.failing);
        Ok(())
    }

    async fn evaluate_rule(
        &mut self,
        rule: &Rule,
        project: &str,
        end: i64,
        telling: &mut Telling,
    ) -> Result<(), EvaluateError> {
        let known = Known { first_ms: self.first_ms(project).await?, listening_since_ms: self.listening_since_ms };
        if matches!(rule.kind, Kind::NewError(_)) {
            self.familiar.set_resolved(self.parts.state.resolutions(project)?);
        }
        let series = samples::load(&self.parts.store, project, rule, Ends::only(end), &mut self.familiar).await?;
        let objectives = &self.parts.rules.objectives;
        let judged = series.into_iter().map(|series| {
            let condition = evaluate(rule, objectives, &series, known, end);
            (series.labels, condition)
        });
        let mut judged: BTreeMap<Labels, Condition> = judged.collect();
        // What has no series any more has no condition that could hold.
        for alert in self.alerts.values().filter(|alert| alert.project == project && alert.rule == rule.name) {
            judged.entry(alert.labels.clone()).or_insert(Condition::Clear);
        }
        let mut changes = AlertChanges::default();
        telling.with_evidence = MOST_WITH_EVIDENCE;
        for (labels, condition) in worst_first(judged) {
            self.move_on(rule, project, labels, condition, end, telling, &mut changes).await;
        }
        self.write(changes)
    }

    /// What decides who is told, as it is now: read once a step, and with it whose evidence was erased since.
    fn telling(&mut self) -> Result<Telling, StateError> {
        let now_ms = self.parts.clock.now_ms();
        let rows = self.parts.state.alerts(None)?;
        self.forget_erased(&rows);
        let acknowledged = rows.into_iter().filter(|row| row.acknowledged.is_some());
        Ok(Telling {
            now_ms,
            with_evidence: MOST_WITH_EVIDENCE,
            silences: self.parts.state.silences(None, now_ms)?,
            acknowledged: acknowledged.map(|row| (row.project, row.fingerprint, row.active_ms)).collect(),
        })
    }

    /// Takes over the evidence as the rows have it: an erasure deletes it there.
    fn forget_erased(&mut self, rows: &[AlertRow]) {
        for row in rows.iter().filter(|row| row.evidence.is_none()) {
            let alert = self.alerts.get_mut(&(row.project.clone(), row.fingerprint.clone()));
            if let Some(alert) = alert.filter(|alert| alert.progress.active_ms == row.active_ms) {
                alert.evidence = None;
            }
        }
    }

    /// Puts into the outbox what receivers are to be told of an alert, and notes that they are.
    fn tell(&self, alert: &mut Alert, telling: &Telling, outbox: &mut Vec<OutboxRow>) {
        let rule = self.parts.rules.rule(&alert.rule);
        let status = match (alert.progress.phase, alert.told_ms) {
            (Phase::Firing, told_ms) => {
                let silences = &mut telling.silences.iter();
                if silences.any(|one| is_silenced_by(one, &alert.project, &alert.rule, &alert.labels, telling.now_ms)) {
                    return;
                }
                let key = (alert.project.clone(), alert.fingerprint.clone(), alert.progress.active_ms);
                if told_ms.is_some() && telling.acknowledged.contains(&key) {
                    return;
                }
                ToldStatus::Firing
            }
            // Also where it is silenced meanwhile: who was told that it fires is told that it does no more.
            (Phase::Resolved, Some(_)) => ToldStatus::Resolved,
            _ => return,
        };
        let receivers: Vec<_> = match rule {
            Some(rule) => self.parts.rules.receivers_of(rule).collect(),
            None => self.parts.rules.receivers.iter().collect(),
        };
        let fired_ms = alert.progress.fired_ms.unwrap_or(alert.progress.active_ms);
        // Each receiver has a pace of its own, counted from when it fired; when anybody was told last is enough to know.
        let is_due = |receiver: &&Receiver| match (status, alert.told_ms) {
            (ToldStatus::Firing, Some(told_ms)) => {
                let beats = |at_ms: i64| (at_ms - fired_ms).max(0) / receiver.repeat_ms.max(1);
                receiver.repeat_ms > 0 && beats(telling.now_ms) > beats(told_ms)
            }
            _ => true,
        };
        let due: Vec<_> = receivers.into_iter().filter(is_due).collect();
        if due.is_empty() && alert.told_ms.is_some() && status == ToldStatus::Firing {
            return;
        }
        let notification = Notification::of(alert, rule, status, &self.parts.base_url);
        let Ok(body) = serde_json::to_string(&notification) else { return };
        outbox.extend(due.into_iter().map(|receiver| OutboxRow {
            id: 0,
            receiver: receiver.name.clone(),
            project: alert.project.clone(),
            fingerprint: alert.fingerprint.clone(),
            body: body.clone(),
            created_ms: telling.now_ms,
            due_ms: telling.now_ms,
            attempts: 0,
        }));
        alert.told_ms = (status == ToldStatus::Firing).then_some(telling.now_ms);
    }

    /// Moves one series on, and notes what is to be written.
    #[allow(clippy::too_many_arguments, reason = "what a step takes, and where it goes")]
    async fn move_on(
        &self,
        rule: &Rule,
        project: &str,
        labels: Labels,
        condition: Condition,
        end: i64,
        telling: &mut Telling,
        changes: &mut AlertChanges,
    ) {
        let key = (project.to_owned(), super::alert::fingerprint(project, &rule.name, &labels));
        let before = self.alerts.get(&key);
        let frozen = match &condition {
            Condition::Unknown(why) => format!("frozen: {why}"),
            _ => String::new(),
        };
        let (after, change) = step(rule, before.map(|alert| alert.progress.clone()), condition, end);
        let Some(progress) = after else {
            if let Some(before) = before {
                changes.history.extend(change.map(|change| before.event(change, end)));
                changes.remove.push(key);
            }
            return;
        };
        let mut alert = match before.filter(|alert| alert.progress.active_ms == progress.active_ms) {
            Some(before) => Alert { progress, ..before.clone() },
            None => Alert::new(project, rule, labels, progress),
        };
        alert.frozen = frozen;
        if change == Some(Change::Fired) {
            let base_url = &self.parts.base_url;
            let finding = &alert.progress.finding;
            let evidence = if telling.with_evidence > 0 {
                telling.with_evidence -= 1;
                evidence::gather(&self.parts.store, project, rule, &alert.labels, finding, base_url).await
            } else {
                Ok(evidence::link_alone(rule, &alert.labels, finding, base_url))
            };
            match evidence {
                Ok(evidence) => alert.evidence = serde_json::to_string(&evidence).ok(),
                Err(error) => tracing::warn!(rule = rule.name, "reading the evidence of an alert: {error}"),
            }
        }
        self.tell(&mut alert, telling, &mut changes.outbox);
        if before == Some(&alert) {
            return;
        }
        changes.history.extend(change.map(|change| alert.event(change, end)));
        changes.put.push(alert.to_row());
    }

    /// Writes changes down, and only then believes them.
    fn write(&mut self, changes: AlertChanges) -> Result<(), EvaluateError> {
        if changes.put.is_empty() && changes.remove.is_empty() {
            return Ok(());
        }
        self.parts.state.apply_alerts(&changes)?;
        for event in &changes.history {
            let (rule, project, labels) = (&event.rule, &event.project, &event.labels);
            tracing::info!(rule, project, labels, summary = event.summary, "an alert is {}", event.change);
        }
        for key in &changes.remove {
            self.alerts.remove(key);
        }
        for alert in changes.put.into_iter().filter_map(Alert::from_row) {
            self.alerts.insert((alert.project.clone(), alert.fingerprint.clone()), alert);
        }
        Ok(())
    }

    /// Ends the alerts that no rule is evaluated for any more, and forgets what has long resolved.
    fn clear_away(&mut self, now_ms: i64, projects: &BTreeSet<String>, telling: &Telling) -> Result<(), EvaluateError> {
        let is_over = |alert: &Alert| {
            let Some(rule) = self.parts.rules.rule(&alert.rule) else { return true };
            let only = &rule.only.projects;
            !projects.contains(&alert.project) || (!only.is_empty() && !only.contains(&alert.project))
        };
        let mut changes = AlertChanges::default();
        for (key, alert) in &self.alerts {
            let progress = &alert.progress;
            match progress.phase {
                Phase::Resolved if now_ms - progress.resolved_ms.unwrap_or_default() > SHOWN_MS => {
                    changes.remove.push(key.clone());
                }
                Phase::Firing if is_over(alert) => {
                    let mut alert = alert.clone();
                    alert.progress.phase = Phase::Resolved;
                    alert.progress.resolved_ms = Some(now_ms);
                    changes.history.push(alert.event(Change::Resolved, now_ms));
                    self.tell(&mut alert, telling, &mut changes.outbox);
                    changes.put.push(alert.to_row());
                }
                Phase::Pending if is_over(alert) => {
                    changes.history.push(alert.event(Change::Passed, now_ms));
                    changes.remove.push(key.clone());
                }
                _ => {}
            }
        }
        self.write(changes)
    }

    async fn first_ms(&mut self, project: &str) -> Result<Option<i64>, StoreError> {
        if let Some(first_ms) = self.first_ms.get(project) {
            return Ok(Some(*first_ms));
        }
        let first_ms = self.parts.store.project_span(project).await?.map(|span| span.first_ms);
        if let Some(first_ms) = first_ms {
            self.first_ms.insert(project.to_owned(), first_ms);
        }
        Ok(first_ms)
    }

    /// Sets the gauge of firing alerts.
    fn count(&self) {
        let firing = |name: &str| {
            let of_rule = |alert: &&Alert| alert.rule == name && alert.progress.phase == Phase::Firing;
            self.alerts.values().filter(of_rule).count() as i64
        };
        for rule in &self.parts.rules.rules {
            self.parts.metrics.alerts_firing.with_label_values(&[&rule.name]).set(firing(&rule.name));
        }
    }
}

#[cfg(test)]
mod tests;
