//! The audit log: who looked what up, and who changed what.

use rusqlite::{Transaction, params, params_from_iter, types::Value};

use super::{State, StateError};

pub(super) const SCHEMA: &str = "
    CREATE TABLE audit (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        at_ms INTEGER NOT NULL,
        project TEXT NOT NULL,
        token TEXT NOT NULL,
        roles TEXT NOT NULL,
        action TEXT NOT NULL,
        subject TEXT NOT NULL,
        outcome TEXT NOT NULL,
        peer TEXT NOT NULL,
        request_id TEXT NOT NULL
    ) STRICT;
    CREATE INDEX audit_by_project ON audit (project, id);
";

/// The index by which a range is read, newest first, without the rest.
pub(super) const BY_TIME: &str = "
    DROP INDEX audit_by_project;
    CREATE INDEX audit_by_time ON audit (project, at_ms);
";

/// Days an entry is kept.
pub const KEPT_DAYS: i64 = 400;

/// How many entries are kept over all projects; the oldest go first. Some 300 MB.
pub const KEPT_ENTRIES: i64 = 1_000_000;

/// Characters of a subject that are kept.
const SUBJECT: usize = 4000;

/// Who stands in the log for whoever has the data directory.
pub const COMMAND_LINE: &str = "(command line)";

/// One thing that somebody did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AuditEntry {
    /// 0 until it is written; grows.
    pub id: i64,
    /// Milliseconds since the Unix epoch.
    pub at_ms: i64,
    pub project: String,
    /// Name of the token.
    pub token: String,
    /// Its roles, separated by commas.
    pub roles: String,
    /// `lookup`, `search` …
    pub action: String,
    /// What it was about: a request id, filters, a name.
    pub subject: String,
    /// `ok`, `not found`, `denied`, `refused`, `failed`.
    pub outcome: String,
    /// Address of the client's connection.
    pub peer: String,
    /// Id of the API's own request.
    pub request_id: String,
}

/// Which entries are read.
#[derive(Clone, Debug, Default)]
pub struct AuditFilter {
    pub from_ms: i64,
    pub to_ms: i64,
    pub token: Option<String>,
    pub action: Option<String>,
    pub outcome: Option<String>,
    /// A part of the subject.
    pub subject: Option<String>,
    /// Only entries before the one of this id.
    pub before: Option<i64>,
}

impl State {
    /// Writes entries, all or none, and forgets the oldest past the bounds.
    ///
    /// # Errors
    /// When the database cannot be written.
    pub fn record_audit(&self, entries: &[AuditEntry], now_ms: i64) -> Result<(), StateError> {
        let mut connection = self.write();
        let transaction = connection.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
        for entry in entries {
            enter(&transaction, entry)?;
        }
        transaction.execute(
            "DELETE FROM audit WHERE id <= (SELECT max(id) FROM audit) - ?1
             OR id IN (SELECT id FROM (SELECT id, at_ms FROM audit ORDER BY id LIMIT 1000) WHERE at_ms < ?2)",
            params![KEPT_ENTRIES, now_ms - KEPT_DAYS * 86_400_000],
        )?;
        transaction.commit()?;
        Ok(())
    }

    /// Entries of a project, newest first.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn audit(&self, project: &str, filter: &AuditFilter, limit: usize) -> Result<Vec<AuditEntry>, StateError> {
        let mut sql = "SELECT id, at_ms, project, token, roles, action, subject, outcome, peer, request_id FROM audit \
             WHERE project = ? AND at_ms >= ? AND at_ms < ?"
            .to_owned();
        let mut values: Vec<Value> = vec![project.to_owned().into(), filter.from_ms.into(), filter.to_ms.into()];
        for (condition, text) in [
            (" AND token = ?", &filter.token),
            (" AND action = ?", &filter.action),
            (" AND outcome = ?", &filter.outcome),
            (" AND instr(subject, ?) > 0", &filter.subject),
        ] {
            if let Some(text) = text {
                sql.push_str(condition);
                values.push(text.clone().into());
            }
        }
        if let Some(before) = filter.before {
            sql.push_str(" AND (at_ms, id) < (SELECT at_ms, id FROM audit WHERE id = ?)");
            values.push(before.into());
        }
        sql.push_str(" ORDER BY at_ms DESC, id DESC LIMIT ?");
        values.push(i64::try_from(limit).unwrap_or(i64::MAX).into());
        let connection = self.lists();
        let mut statement = connection.prepare_cached(&sql)?;
        let rows = statement.query_map(params_from_iter(values), |row| {
            Ok(AuditEntry {
                id: row.get(0)?,
                at_ms: row.get(1)?,
                project: row.get(2)?,
                token: row.get(3)?,
                roles: row.get(4)?,
                action: row.get(5)?,
                subject: row.get(6)?,
                outcome: row.get(7)?,
                peer: row.get(8)?,
                request_id: row.get(9)?,
            })
        })?;
        Ok(rows.collect::<Result<_, _>>()?)
    }
}

/// Writes an entry within a transaction of what it tells.
pub(super) fn enter(transaction: &Transaction<'_>, entry: &AuditEntry) -> Result<(), StateError> {
    let subject: String = entry.subject.chars().take(SUBJECT).collect();
    transaction
        .prepare_cached(
            "INSERT INTO audit (at_ms, project, token, roles, action, subject, outcome, peer, request_id)
         VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
        )?
        .execute(params![
            entry.at_ms,
            entry.project,
            entry.token,
            entry.roles,
            entry.action,
            subject,
            entry.outcome,
            entry.peer,
            entry.request_id,
        ])?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(at_ms: i64, token: &str, subject: &str) -> AuditEntry {
        AuditEntry {
            at_ms,
            project: "p".into(),
            token: token.into(),
            action: "lookup".into(),
            subject: subject.into(),
            outcome: "ok".into(),
            ..AuditEntry::default()
        }
    }

    fn subjects(state: &State, filter: &AuditFilter) -> Vec<String> {
        state.audit("p", filter, 10).unwrap().into_iter().map(|entry| entry.subject).collect()
    }

    #[test]
    fn entries_are_found_by_what_they_say_and_page_by_page() {
        let dir = tempfile::tempdir().unwrap();
        let state = State::open(dir.path()).unwrap();
        let entries = [entry(1, "anna", "req_1"), entry(2, "ben", "req_2"), entry(3, "anna", "req_23")];
        state.record_audit(&entries, 3).unwrap();
        let all = AuditFilter { to_ms: 10, ..AuditFilter::default() };
        assert_eq!(subjects(&state, &all), ["req_23", "req_2", "req_1"]);
        assert_eq!(subjects(&state, &AuditFilter { token: Some("anna".into()), ..all.clone() }), ["req_23", "req_1"]);
        assert_eq!(subjects(&state, &AuditFilter { subject: Some("q_2".into()), ..all.clone() }), ["req_23", "req_2"]);
        assert_eq!(subjects(&state, &AuditFilter { from_ms: 2, to_ms: 3, ..AuditFilter::default() }), ["req_2"]);
        let last = state.audit("p", &all, 1).unwrap().remove(0);
        assert_eq!(subjects(&state, &AuditFilter { before: Some(last.id), ..all.clone() }), ["req_2", "req_1"]);
        assert!(state.audit("other", &all, 10).unwrap().is_empty());
    }

    #[test]
    fn a_range_is_read_by_its_index_in_order() {
        let dir = tempfile::tempdir().unwrap();
        let state = State::open(dir.path()).unwrap();
        let sql = "EXPLAIN QUERY PLAN SELECT subject FROM audit WHERE project = 'p' AND at_ms >= 1 AND at_ms < 2 \
            AND (at_ms, id) < (SELECT at_ms, id FROM audit WHERE id = 7) ORDER BY at_ms DESC, id DESC LIMIT 10";
        let connection = state.lists();
        let mut plan = connection.prepare(sql).unwrap();
        let steps: Vec<String> = plan.query_map([], |row| row.get(3)).unwrap().map(Result::unwrap).collect();
        assert!(steps[0].contains("audit_by_time (project=? AND at_ms>"), "{steps:?}");
        assert!(!steps.iter().any(|step| step.contains("TEMP B-TREE")), "{steps:?}");
    }

    #[test]
    fn old_entries_go_and_long_subjects_are_cut() {
        let dir = tempfile::tempdir().unwrap();
        let state = State::open(dir.path()).unwrap();
        let now_ms = (KEPT_DAYS + 1) * 86_400_000;
        state.record_audit(&[entry(1, "anna", "old")], 1).unwrap();
        state.record_audit(&[entry(now_ms, "anna", &"é".repeat(5000))], now_ms).unwrap();
        let found = subjects(&state, &AuditFilter { to_ms: i64::MAX, ..AuditFilter::default() });
        assert_eq!(found, ["é".repeat(SUBJECT)]);
    }
}
