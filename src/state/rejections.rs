//! What was rejected on arrival, so that a lookup of such an id can say when and why.

use rusqlite::{OptionalExtension, params};
use serde::Serialize;

use super::{State, StateError};

/// Days a rejection is remembered.
pub const KEPT_DAYS: i64 = 30;

/// How many rejections are remembered over all projects; the oldest go first.
const KEPT_ROWS: i64 = 100_000;

/// One rejected event.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Rejection {
    pub request_id: String,
    /// When it arrived, milliseconds since the Unix epoch.
    pub at_ms: i64,
    /// The reason's name, as in `errata_ingest_rejected_total`.
    pub reason: String,
    /// What was wrong, in words; at most 500 characters are kept.
    pub message: String,
}

impl State {
    /// Remembers rejections of a project and forgets the oldest past the bounds.
    ///
    /// # Errors
    /// When the database cannot be written.
    pub fn remember_rejections(&self, project: &str, rejections: &[Rejection], now_ms: i64) -> Result<(), StateError> {
        let mut connection = self.write();
        let transaction = connection.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
        for rejection in rejections {
            let message: String = rejection.message.chars().take(500).collect();
            transaction.execute(
                "INSERT INTO rejections (project, request_id, at_ms, reason, message) VALUES (?, ?, ?, ?, ?)",
                params![project, rejection.request_id, rejection.at_ms, rejection.reason, message],
            )?;
        }
        let oldest_ms = now_ms - KEPT_DAYS * 86_400_000;
        transaction.execute(
            "DELETE FROM rejections WHERE id <= (SELECT max(id) FROM rejections) - ?1
             OR id IN (SELECT id FROM (SELECT id, at_ms FROM rejections ORDER BY id LIMIT 1000) WHERE at_ms < ?2)",
            params![KEPT_ROWS, oldest_ms],
        )?;
        transaction.commit()?;
        Ok(())
    }

    /// The latest rejection of an event with this request id.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn find_rejection(&self, project: &str, request_id: &str) -> Result<Option<Rejection>, StateError> {
        let connection = self.read();
        let mut statement = connection.prepare_cached(
            "SELECT request_id, at_ms, reason, message FROM rejections
             WHERE project = ? AND request_id = ? ORDER BY id DESC LIMIT 1",
        )?;
        let found = statement.query_row(params![project, request_id], |row| {
            Ok(Rejection { request_id: row.get(0)?, at_ms: row.get(1)?, reason: row.get(2)?, message: row.get(3)? })
        });
        Ok(found.optional()?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rejection(id: &str, at_ms: i64) -> Rejection {
        Rejection { request_id: id.into(), at_ms, reason: "too_old".into(), message: "é".repeat(600) }
    }

    #[test]
    fn the_latest_rejection_of_a_project_is_found_and_old_ones_are_forgotten() {
        let dir = tempfile::tempdir().unwrap();
        let state = State::open(dir.path()).unwrap();
        state.remember_rejections("p", &[rejection("a", 1), rejection("a", 2), rejection("b", 1)], 3).unwrap();
        let found = state.find_rejection("p", "a").unwrap().unwrap();
        assert_eq!((found.at_ms, found.message.chars().count()), (2, 500));
        assert_eq!(state.find_rejection("other", "a").unwrap(), None);
        state.remember_rejections("p", &[rejection("c", 40 * 86_400_000)], 40 * 86_400_000).unwrap();
        assert_eq!(state.find_rejection("p", "a").unwrap(), None);
        assert!(state.find_rejection("p", "c").unwrap().is_some());
    }
}
