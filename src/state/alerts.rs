//! Where alerts stand, what became of them, and who is not to be told.
//!
//! Only the evaluator moves an alert; acknowledging writes columns of its own, so that neither overwrites the other.

use rusqlite::{OptionalExtension, Row, Transaction, TransactionBehavior, params};

use super::{OutboxRow, State, StateError, outbox};

/// Entries of the history kept over all projects; the oldest go first.
const KEPT_HISTORY: i64 = 100_000;

/// One series of a rule that is not inactive. Times are milliseconds since the Unix epoch.
#[derive(Clone, Debug, PartialEq)]
pub struct AlertRow {
    pub project: String,
    pub rule: String,
    /// Of project, rule and labels: the same in every collector.
    pub fingerprint: String,
    /// JSON object of texts.
    pub labels: String,
    pub severity: String,
    /// pending, firing or resolved.
    pub phase: String,
    pub active_ms: i64,
    pub fired_ms: Option<i64>,
    pub resolved_ms: Option<i64>,
    pub held_ms: i64,
    pub value: f64,
    pub threshold: f64,
    pub summary: String,
    pub window: (i64, i64),
    /// JSON; none until it has fired.
    pub evidence: Option<String>,
    /// Why it does not move; empty while it does.
    pub frozen: String,
    /// When receivers were last told that it fires.
    pub told_ms: Option<i64>,
    /// Written by [`State::acknowledge_alerts`] alone.
    pub acknowledged: Option<Acknowledged>,
}

#[cfg(test)]
impl AlertRow {
    /// One that fires since it is active, with no evidence.
    pub(crate) fn firing(active_ms: i64) -> Self {
        Self {
            project: "p".into(),
            rule: "r".into(),
            fingerprint: "f".into(),
            labels: "{}".into(),
            severity: "page".into(),
            phase: "firing".into(),
            active_ms,
            fired_ms: Some(active_ms),
            resolved_ms: None,
            held_ms: active_ms,
            value: 1.5,
            threshold: 1.0,
            summary: "s".into(),
            window: (0, active_ms),
            evidence: None,
            frozen: String::new(),
            told_ms: None,
            acknowledged: None,
        }
    }
}

/// Who looks after an alert.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Acknowledged {
    /// Name of the token.
    pub by: String,
    pub at_ms: i64,
    pub comment: String,
}

/// A change of an alert.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AlertEvent {
    pub id: i64,
    pub project: String,
    pub rule: String,
    pub fingerprint: String,
    pub labels: String,
    /// pending, firing, resolved, inactive, acknowledged.
    pub change: String,
    pub at_ms: i64,
    pub summary: String,
}

/// Nobody is told of the alerts that fit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Silence {
    pub id: String,
    pub project: String,
    /// Empty: of any rule.
    pub rule: String,
    /// JSON object of texts; an alert fits when it has all of them.
    pub labels: String,
    pub from_ms: i64,
    pub until_ms: i64,
    /// Name of the token.
    pub by: String,
    pub comment: String,
}

/// What one evaluation changes, all or nothing.
#[derive(Clone, Debug, Default)]
pub struct AlertChanges {
    pub put: Vec<AlertRow>,
    /// Project and fingerprint of what is inactive again.
    pub remove: Vec<(String, String)>,
    pub history: Vec<AlertEvent>,
    pub outbox: Vec<OutboxRow>,
}

const COLUMNS: &str = "project, rule, fingerprint, labels, severity, phase, active_ms, fired_ms, resolved_ms, held_ms, value, threshold, \
    summary, from_ms, to_ms, evidence, frozen, told_ms, acknowledged_by, acknowledged_ms, acknowledged_comment";

impl State {
    /// Writes what an evaluation has changed.
    ///
    /// An alert that begins anew (another `active_ms`) is no longer acknowledged. Evidence is written when it fires and left alone from
    /// then on: what was erased meanwhile stays erased, whatever the evaluator remembers.
    ///
    /// # Errors
    /// When the database cannot be written: then nothing of it is.
    pub fn apply_alerts(&self, changes: &AlertChanges) -> Result<(), StateError> {
        let mut connection = self.write();
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        for row in &changes.put {
            put(&transaction, row)?;
        }
        for (project, fingerprint) in &changes.remove {
            transaction.execute("DELETE FROM alerts WHERE project = ? AND fingerprint = ?", [project, fingerprint])?;
        }
        for event in &changes.history {
            remember(&transaction, event)?;
        }
        outbox::put(&transaction, &changes.outbox)?;
        if !changes.history.is_empty() {
            transaction.execute(
                "DELETE FROM alert_history WHERE id <= (SELECT max(id) FROM alert_history) - ?",
                [KEPT_HISTORY],
            )?;
        }
        transaction.commit()?;
        Ok(())
    }

    /// The alerts of a project, or of all; those that fire first, then by time.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn alerts(&self, project: Option<&str>) -> Result<Vec<AlertRow>, StateError> {
        let connection = self.read();
        let mut statement = connection.prepare_cached(&format!(
            "SELECT {COLUMNS} FROM alerts WHERE ?1 IS NULL OR project = ?1
             ORDER BY phase = 'firing' DESC, phase = 'pending' DESC, active_ms DESC, fingerprint"
        ))?;
        let rows = statement.query_map([project], alert)?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// Marks the firing alerts of a rule as looked after; returns those that were marked.
    ///
    /// # Errors
    /// When the database cannot be written.
    pub fn acknowledge_alerts(
        &self,
        project: &str,
        fingerprints: &[String],
        by: &Acknowledged,
    ) -> Result<Vec<AlertRow>, StateError> {
        let mut connection = self.write();
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let mut marked = Vec::new();
        for fingerprint in fingerprints {
            let found = transaction
                .query_row(
                    &format!(
                        "UPDATE alerts SET acknowledged_by = ?1, acknowledged_ms = ?2, acknowledged_comment = ?3
                         WHERE project = ?4 AND fingerprint = ?5 AND phase = 'firing' RETURNING {COLUMNS}"
                    ),
                    params![by.by, by.at_ms, by.comment, project, fingerprint],
                    alert,
                )
                .optional()?;
            let Some(row) = found else { continue };
            let summary =
                if by.comment.is_empty() { format!("by {}", by.by) } else { format!("by {}: {}", by.by, by.comment) };
            let event = AlertEvent {
                id: 0,
                project: row.project.clone(),
                rule: row.rule.clone(),
                fingerprint: row.fingerprint.clone(),
                labels: row.labels.clone(),
                change: "acknowledged".to_owned(),
                at_ms: by.at_ms,
                summary,
            };
            remember(&transaction, &event)?;
            marked.push(row);
        }
        transaction.commit()?;
        Ok(marked)
    }

    /// The changes of a project's alerts, newest first, from before the entry `before` on.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn alert_history(
        &self,
        project: &str,
        rule: Option<&str>,
        before: Option<i64>,
        limit: usize,
    ) -> Result<Vec<AlertEvent>, StateError> {
        let connection = self.lists();
        let mut statement = connection.prepare_cached(
            "SELECT id, project, rule, fingerprint, labels, change, at_ms, summary FROM alert_history
             WHERE project = ?1 AND (?2 IS NULL OR rule = ?2) AND (?3 IS NULL OR id < ?3) ORDER BY id DESC LIMIT ?4",
        )?;
        let rows = statement.query_map(params![project, rule, before, limit as i64], |row| {
            Ok(AlertEvent {
                id: row.get(0)?,
                project: row.get(1)?,
                rule: row.get(2)?,
                fingerprint: row.get(3)?,
                labels: row.get(4)?,
                change: row.get(5)?,
                at_ms: row.get(6)?,
                summary: row.get(7)?,
            })
        })?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// Adds a silence.
    ///
    /// # Errors
    /// When the database cannot be written.
    pub fn add_silence(&self, silence: &Silence) -> Result<(), StateError> {
        self.write().execute(
            "INSERT INTO silences (id, project, rule, labels, from_ms, until_ms, by, comment) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            params![
                silence.id,
                silence.project,
                silence.rule,
                silence.labels,
                silence.from_ms,
                silence.until_ms,
                silence.by,
                silence.comment
            ],
        )?;
        Ok(())
    }

    /// Ends a silence of a project now; whether there was one.
    ///
    /// # Errors
    /// When the database cannot be written.
    pub fn remove_silence(&self, project: &str, id: &str) -> Result<bool, StateError> {
        Ok(self.write().execute("DELETE FROM silences WHERE project = ? AND id = ?", [project, id])? > 0)
    }

    /// The silences of a project, or of all, that have not ended; the one that ends first comes first.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn silences(&self, project: Option<&str>, now_ms: i64) -> Result<Vec<Silence>, StateError> {
        let connection = self.read();
        let mut statement = connection.prepare_cached(
            "SELECT id, project, rule, labels, from_ms, until_ms, by, comment FROM silences
             WHERE (?1 IS NULL OR project = ?1) AND until_ms > ?2 ORDER BY until_ms, id",
        )?;
        let rows = statement.query_map(params![project, now_ms], |row| {
            Ok(Silence {
                id: row.get(0)?,
                project: row.get(1)?,
                rule: row.get(2)?,
                labels: row.get(3)?,
                from_ms: row.get(4)?,
                until_ms: row.get(5)?,
                by: row.get(6)?,
                comment: row.get(7)?,
            })
        })?;
        Ok(rows.collect::<Result<_, _>>()?)
    }
}

fn put(transaction: &Transaction<'_>, row: &AlertRow) -> Result<(), StateError> {
    transaction.execute(
        "INSERT INTO alerts (project, rule, fingerprint, labels, severity, phase, active_ms, fired_ms, resolved_ms, held_ms, value,
             threshold, summary, from_ms, to_ms, evidence, frozen, told_ms)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18)
         ON CONFLICT (project, fingerprint) DO UPDATE SET severity = ?5, phase = ?6,
             acknowledged_by = CASE WHEN active_ms = ?7 THEN acknowledged_by END,
             acknowledged_ms = CASE WHEN active_ms = ?7 THEN acknowledged_ms END,
             acknowledged_comment = CASE WHEN active_ms = ?7 THEN acknowledged_comment END,
             evidence = CASE WHEN active_ms = ?7 AND fired_ms IS NOT NULL THEN evidence ELSE ?16 END,
             active_ms = ?7, fired_ms = ?8, resolved_ms = ?9, held_ms = ?10, value = ?11, threshold = ?12, summary = ?13,
             from_ms = ?14, to_ms = ?15, frozen = ?17, told_ms = ?18",
        params![
            row.project,
            row.rule,
            row.fingerprint,
            row.labels,
            row.severity,
            row.phase,
            row.active_ms,
            row.fired_ms,
            row.resolved_ms,
            row.held_ms,
            row.value,
            row.threshold,
            row.summary,
            row.window.0,
            row.window.1,
            row.evidence,
            row.frozen,
            row.told_ms,
        ],
    )?;
    Ok(())
}

fn remember(transaction: &Transaction<'_>, event: &AlertEvent) -> Result<(), StateError> {
    transaction.execute(
        "INSERT INTO alert_history (project, rule, fingerprint, labels, change, at_ms, summary) VALUES (?, ?, ?, ?, ?, ?, ?)",
        params![event.project, event.rule, event.fingerprint, event.labels, event.change, event.at_ms, event.summary],
    )?;
    Ok(())
}

fn alert(row: &Row<'_>) -> rusqlite::Result<AlertRow> {
    let by: Option<String> = row.get("acknowledged_by")?;
    let acknowledged = match by {
        Some(by) => Some(Acknowledged {
            by,
            at_ms: row.get("acknowledged_ms")?,
            comment: row.get::<_, Option<String>>("acknowledged_comment")?.unwrap_or_default(),
        }),
        None => None,
    };
    Ok(AlertRow {
        project: row.get("project")?,
        rule: row.get("rule")?,
        fingerprint: row.get("fingerprint")?,
        labels: row.get("labels")?,
        severity: row.get("severity")?,
        phase: row.get("phase")?,
        active_ms: row.get("active_ms")?,
        fired_ms: row.get("fired_ms")?,
        resolved_ms: row.get("resolved_ms")?,
        held_ms: row.get("held_ms")?,
        value: row.get("value")?,
        threshold: row.get("threshold")?,
        summary: row.get("summary")?,
        window: (row.get("from_ms")?, row.get("to_ms")?),
        evidence: row.get("evidence")?,
        frozen: row.get("frozen")?,
        told_ms: row.get("told_ms")?,
        acknowledged,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(phase: &str, active_ms: i64) -> AlertRow {
        AlertRow { phase: phase.into(), told_ms: Some(5), ..AlertRow::firing(active_ms) }
    }

    fn put(state: &State, row: AlertRow) {
        state.apply_alerts(&AlertChanges { put: vec![row], ..AlertChanges::default() }).unwrap();
    }

    #[test]
    fn an_alert_is_acknowledged_while_it_fires_and_until_it_begins_anew() {
        let dir = tempfile::tempdir().unwrap();
        let state = State::open(dir.path()).unwrap();
        let by = Acknowledged { by: "anna".into(), at_ms: 7, comment: String::new() };
        let mark = || state.acknowledge_alerts("p", &["f".to_owned(), "unknown".to_owned()], &by).unwrap().len();
        put(&state, row("pending", 5));
        assert_eq!(mark(), 0);
        put(&state, row("firing", 5));
        assert_eq!(mark(), 1);
        put(&state, AlertRow { value: 2.0, ..row("firing", 5) });
        let read = || state.alerts(Some("p")).unwrap().remove(0);
        assert_eq!((read().acknowledged, read().value), (Some(by.clone()), 2.0), "an evaluation leaves it");
        put(&state, row("firing", 9));
        assert_eq!(read(), row("firing", 9), "another occurrence");
        assert!(state.alerts(Some("other")).unwrap().is_empty());
        let history = state.alert_history("p", None, None, 10).unwrap();
        assert_eq!(history.iter().map(|event| event.change.as_str()).collect::<Vec<_>>(), ["acknowledged"]);
        state
            .apply_alerts(&AlertChanges { remove: vec![("p".into(), "f".into())], ..AlertChanges::default() })
            .unwrap();
        assert!(state.alerts(None).unwrap().is_empty());
    }

    #[test]
    fn a_silence_ends_by_time_or_by_hand() {
        let dir = tempfile::tempdir().unwrap();
        let state = State::open(dir.path()).unwrap();
        let silence = |id: &str, until_ms| Silence {
            id: id.into(),
            project: "p".into(),
            rule: "r".into(),
            labels: "{}".into(),
            from_ms: 0,
            until_ms,
            by: "anna".into(),
            comment: String::new(),
        };
        state.add_silence(&silence("a", 10)).unwrap();
        state.add_silence(&silence("b", 20)).unwrap();
        let ids = |now_ms| state.silences(Some("p"), now_ms).unwrap().into_iter().map(|s| s.id).collect::<Vec<_>>();
        assert_eq!((ids(9), ids(10)), (vec!["a".to_owned(), "b".to_owned()], vec!["b".to_owned()]));
        assert!(!state.remove_silence("other", "b").unwrap() && state.remove_silence("p", "b").unwrap());
        assert!(ids(0) == ["a"]);
    }
}
