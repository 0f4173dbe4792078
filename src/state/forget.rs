//! What the state database keeps of people beside their erasures is forgotten with them.

use rusqlite::{Connection, Transaction, params};
use serde_json::Value;

use super::{State, StateError};

impl State {
    /// Forgets what is kept of somebody beside the events: the evidence of alerts that names them or one of the requests that are
    /// remembered as erased, in the alerts and in messages that wait for their receivers, and what was rejected of such requests.
    /// `hash` makes of a request id what is remembered of it.
    ///
    /// # Errors
    /// When the database cannot be written.
    pub fn forget_erased(&self, project: &str, value: &str, hash: impl Fn(&str) -> [u8; 16]) -> Result<(), StateError> {
        let erased = Erased { project, value, hash };
        let rejected = erased.rejected(&self.lists())?;
        let mut connection = self.write();
        let transaction = connection.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
        for id in &rejected {
            transaction
                .prepare_cached("DELETE FROM rejections WHERE project = ? AND request_id = ?")?
                .execute(params![project, id])?;
        }
        erased.forget_evidence(&transaction)?;
        transaction.commit()?;
        Ok(())
    }
}

/// Who was erased.
struct Erased<'a, H> {
    project: &'a str,
    value: &'a str,
    hash: H,
}

impl<H: Fn(&str) -> [u8; 16]> Erased<'_, H> {
    /// Erased requests of which something was rejected.
    fn rejected(&self, connection: &Connection) -> Result<Vec<String>, StateError> {
        let mut statement =
            connection.prepare_cached("SELECT DISTINCT request_id FROM rejections WHERE project = ?")?;
        let mut rows = statement.query([self.project])?;
        let mut erased = Vec::new();
        while let Some(row) = rows.next()? {
            let id: String = row.get(0)?;
            if self.is_erased(&id, connection)? {
                erased.push(id);
            }
        }
        Ok(erased)
    }

    fn is_erased(&self, request_id: &str, connection: &Connection) -> Result<bool, StateError> {
        let mut statement =
            connection.prepare_cached("SELECT 1 FROM erased_requests WHERE project = ? AND hash = ?")?;
        Ok(statement.exists(params![self.project, (self.hash)(request_id).as_slice()])?)
    }

    fn forget_evidence(&self, transaction: &Transaction<'_>) -> Result<(), StateError> {
        let alerts = "SELECT rowid, evidence FROM alerts WHERE project = ? AND evidence IS NOT NULL";
        for id in self.naming(transaction, alerts)? {
            transaction.execute("UPDATE alerts SET evidence = NULL WHERE rowid = ?", [id])?;
        }
        let messages = "SELECT id, json_extract(body, '$.evidence') FROM outbox
            WHERE project = ? AND json_valid(body) AND json_type(body, '$.evidence') = 'object'";
        for id in self.naming(transaction, messages)? {
            // A message without its evidence still says that the alert fires.
            transaction.execute("UPDATE outbox SET body = json_remove(body, '$.evidence') WHERE id = ?", [id])?;
        }
        Ok(())
    }

    /// Those of the rows (their id, JSON) of which a text names somebody who was erased.
    fn naming(&self, transaction: &Transaction<'_>, rows: &str) -> Result<Vec<i64>, StateError> {
        let mut statement = transaction.prepare_cached(rows)?;
        let mut rows = statement.query([self.project])?;
        let mut found = Vec::new();
        while let Some(row) = rows.next()? {
            let json: Value = serde_json::from_str(&row.get::<_, String>(1)?).unwrap_or_default();
            let mut texts = Vec::new();
            collect(&json, &mut texts);
            for text in texts {
                if text == self.value || self.is_erased(text, transaction)? {
                    found.push(row.get(0)?);
                    break;
                }
            }
        }
        Ok(found)
    }
}

/// All texts in a JSON value.
fn collect<'a>(value: &'a Value, texts: &mut Vec<&'a str>) {
    match value {
        Value::String(text) => texts.push(text),
        Value::Array(values) => values.iter().for_each(|value| collect(value, texts)),
        Value::Object(fields) => fields.values().for_each(|value| collect(value, texts)),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use crate::state::{AlertChanges, AlertRow, OutboxRow, Rejection, State};

    #[test]
    fn erased_evidence_goes_from_alerts_and_messages_and_no_evaluation_brings_it_back() {
        let dir = tempfile::tempdir().unwrap();
        let state = State::open(dir.path()).unwrap();
        let row = |active_ms: i64, fired_ms: Option<i64>, evidence: Option<&str>| AlertRow {
            phase: if fired_ms.is_some() { "firing" } else { "pending" }.into(),
            fired_ms,
            evidence: evidence.map(str::to_owned),
            ..AlertRow::firing(active_ms)
        };
        let named = r#"{"accounts":[{"account":"17"}],"samples":["req_1"]}"#;
        let message = |project: &str| OutboxRow {
            id: 0,
            receiver: project.into(),
            project: project.into(),
            fingerprint: "f".into(),
            body: format!(r#"{{"summary":"s","evidence":{named}}}"#),
            created_ms: 1,
            due_ms: 1,
            attempts: 0,
        };
        let put = |row, outbox| {
            state.apply_alerts(&AlertChanges { put: vec![row], outbox, ..AlertChanges::default() }).unwrap();
        };
        let evidence = || state.alerts(None).unwrap().remove(0).evidence;
        put(row(5, None, None), vec![]);
        put(row(5, Some(6), Some(named)), vec![message("p"), message("q")]);
        let hash = |id: &str| std::array::from_fn(|index| id.as_bytes().get(index).copied().unwrap_or(0));
        let rejection =
            |id: &str| Rejection { request_id: id.into(), at_ms: 1, reason: "r".into(), message: "m".into() };
        state.remember_rejections("p", &[rejection("req_1"), rejection("req_2")], 2).unwrap();
        state.remember_erased("q", &[hash("req_1")], 1).unwrap();
        state.forget_erased("p", "1", hash).unwrap();
        assert_eq!(evidence().as_deref(), Some(named));
        assert!(state.find_rejection("p", "req_1").unwrap().is_some());
        state.remember_erased("p", &[hash("req_1")], 1).unwrap();
        state.forget_erased("p", "1", hash).unwrap();
        let rejected = |id| state.find_rejection("p", id).unwrap().is_some();
        assert_eq!((rejected("req_1"), rejected("req_2")), (false, true));
        assert_eq!(evidence(), None);
        let bodies: Vec<_> = state.due_messages(1, 10).unwrap().into_iter().map(|row| row.body).collect();
        assert_eq!(bodies, [r#"{"summary":"s"}"#.to_owned(), message("q").body], "another project keeps its own");
        // As the evaluator remembers it.
        put(row(5, Some(6), Some(named)), vec![]);
        assert_eq!(evidence(), None);
        put(row(9, Some(9), Some(named)), vec![]);
        assert_eq!(evidence().as_deref(), Some(named), "it fires anew, with evidence of its own");
        state.forget_erased("p", "17", |_| [0; 16]).unwrap();
        assert_eq!(evidence(), None, "an account by its name");
    }
}
