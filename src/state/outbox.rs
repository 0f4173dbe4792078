//! What receivers of alerts are still to be told. A message leaves the outbox when its receiver has taken it, so each is delivered at
//! least once; of one alert in the order in which it happened.

use rusqlite::{OptionalExtension, Row, Transaction, TransactionBehavior, params};

use super::{State, StateError};

/// A message to one receiver. Times are milliseconds since the Unix epoch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutboxRow {
    /// 0 before it is stored.
    pub id: i64,
    pub receiver: String,
    pub project: String,
    pub fingerprint: String,
    /// JSON.
    pub body: String,
    pub created_ms: i64,
    /// Not to be tried before.
    pub due_ms: i64,
    /// Those that failed.
    pub attempts: u32,
}

const COLUMNS: &str = "id, receiver, project, fingerprint, body, created_ms, due_ms, attempts";

/// Puts messages into the outbox within a transaction.
pub(super) fn put(transaction: &Transaction<'_>, rows: &[OutboxRow]) -> Result<(), StateError> {
    for row in rows {
        transaction.execute(
            "INSERT INTO outbox (receiver, project, fingerprint, body, created_ms, due_ms, attempts) VALUES (?, ?, ?, ?, ?, ?, ?)",
            params![row.receiver, row.project, row.fingerprint, row.body, row.created_ms, row.due_ms, row.attempts],
        )?;
    }
    Ok(())
}

impl State {
    /// The messages that are due, oldest first, at most `limit` of each receiver. Of one alert and receiver only the oldest, due or
    /// not: the next one waits until that has been delivered.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn due_messages(&self, now_ms: i64, limit: usize) -> Result<Vec<OutboxRow>, StateError> {
        let connection = self.read();
        let mut statement = connection.prepare_cached(&format!(
            "SELECT {COLUMNS} FROM (SELECT *, row_number() OVER (PARTITION BY receiver ORDER BY id) AS place FROM outbox
             WHERE id IN (SELECT min(id) FROM outbox GROUP BY receiver, project, fingerprint) AND due_ms <= ?)
             WHERE place <= ? ORDER BY id"
        ))?;
        let rows = statement.query_map(params![now_ms, limit as i64], message)?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// What a message says now, if it is there still: an erasure takes the evidence out of it.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn message_body(&self, id: i64) -> Result<Option<String>, StateError> {
        let connection = self.read();
        let mut statement = connection.prepare_cached("SELECT body FROM outbox WHERE id = ?")?;
        Ok(statement.query_row([id], |row| row.get(0)).optional()?)
    }

    /// Forgets a message.
    ///
    /// # Errors
    /// When the database cannot be written.
    pub fn remove_message(&self, id: i64) -> Result<(), StateError> {
        self.write().execute("DELETE FROM outbox WHERE id = ?", [id])?;
        Ok(())
    }

    /// Notes a failed attempt at a message, and when to try again.
    ///
    /// # Errors
    /// When the database cannot be written.
    pub fn put_message_off(&self, id: i64, due_ms: i64) -> Result<(), StateError> {
        let mut connection = self.write();
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        transaction.execute("UPDATE outbox SET attempts = attempts + 1, due_ms = ? WHERE id = ?", [due_ms, id])?;
        transaction.commit()?;
        Ok(())
    }

    /// Has all messages to a receiver wait, which does not answer now.
    ///
    /// # Errors
    /// When the database cannot be written.
    pub fn put_receiver_off(&self, receiver: &str, due_ms: i64) -> Result<(), StateError> {
        self.write()
            .execute("UPDATE outbox SET due_ms = max(due_ms, ?) WHERE receiver = ?", params![due_ms, receiver])?;
        Ok(())
    }
}

fn message(row: &Row<'_>) -> rusqlite::Result<OutboxRow> {
    Ok(OutboxRow {
        id: row.get(0)?,
        receiver: row.get(1)?,
        project: row.get(2)?,
        fingerprint: row.get(3)?,
        body: row.get(4)?,
        created_ms: row.get(5)?,
        due_ms: row.get(6)?,
        attempts: row.get(7)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::AlertChanges;

    fn row(receiver: &str, fingerprint: &str, body: &str) -> OutboxRow {
        let [receiver, fingerprint, body] = [receiver, fingerprint, body].map(str::to_owned);
        OutboxRow { id: 0, receiver, project: "p".into(), fingerprint, body, created_ms: 1, due_ms: 1, attempts: 0 }
    }

    #[test]
    fn messages_of_one_alert_are_delivered_in_order_and_none_is_forgotten_by_a_failure() {
        let dir = tempfile::tempdir().unwrap();
        let state = State::open(dir.path()).unwrap();
        let outbox =
            vec![row("a", "1", "firing"), row("a", "1", "resolved"), row("a", "2", "firing"), row("b", "1", "firing")];
        state.apply_alerts(&AlertChanges { outbox, ..AlertChanges::default() }).unwrap();
        let due = |now_ms| state.due_messages(now_ms, 10).unwrap();
        let shown = |rows: &[OutboxRow]| {
            rows.iter().map(|row| format!("{} {} {}", row.receiver, row.fingerprint, row.body)).collect::<Vec<_>>()
        };
        assert_eq!(shown(&due(1)), ["a 1 firing", "a 2 firing", "b 1 firing"]);
        state.put_message_off(due(1)[0].id, 50).unwrap();
        assert_eq!(shown(&due(1)), ["a 2 firing", "b 1 firing"], "what comes after it waits with it");
        assert_eq!(due(50)[0].attempts, 1);
        state.remove_message(due(50)[0].id).unwrap();
        assert_eq!(shown(&due(1)), ["a 1 resolved", "a 2 firing", "b 1 firing"]);
        assert_eq!(
            shown(&state.due_messages(1, 1).unwrap()),
            ["a 1 resolved", "b 1 firing"],
            "no receiver's crowd out another's"
        );
        state.put_receiver_off("a", 70).unwrap();
        assert_eq!((shown(&due(69)), due(70).len()), (vec!["b 1 firing".to_owned()], 3));
    }
}
