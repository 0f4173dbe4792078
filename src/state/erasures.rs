//! Erasures: what was asked for, how far it is, and which request ids were erased, as keyed hashes.

use rusqlite::{OptionalExtension, Row, Transaction, params};

use super::{State, StateError};

pub(super) const SCHEMA: &str = "
    CREATE TABLE erasures (
        id TEXT PRIMARY KEY,
        project TEXT NOT NULL,
        kind TEXT NOT NULL,
        -- Forgotten when the erasure is done.
        value TEXT,
        requested_ms INTEGER NOT NULL,
        by TEXT NOT NULL,
        state TEXT NOT NULL,
        stored INTEGER,
        quarantined INTEGER NOT NULL DEFAULT 0,
        withheld INTEGER NOT NULL DEFAULT 0,
        done_ms INTEGER,
        problem TEXT
    ) STRICT;
    CREATE TABLE erased_requests (
        project TEXT NOT NULL,
        hash BLOB NOT NULL,
        at_ms INTEGER NOT NULL,
        PRIMARY KEY (project, hash)
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE withheld (
        erasure TEXT NOT NULL,
        key BLOB NOT NULL,
        PRIMARY KEY (erasure, key)
    ) STRICT, WITHOUT ROWID;
";

/// Days it is known that a request was erased.
pub const KEPT_DAYS: i64 = 400;

/// How far an erasure is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErasureState {
    /// Until nothing of it comes any more: from bodies that were arriving, the spool, or the quarantine.
    Waiting,
    /// From ClickHouse, then from the evidence of alerts and the notes of rejections. The queue and the quarantine have nothing any more.
    Deleting,
    Done,
}

impl ErasureState {
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Deleting => "deleting",
            Self::Done => "done",
        }
    }

    fn parse(text: &str) -> Self {
        match text {
            "done" => Self::Done,
            "deleting" => Self::Deleting,
            _ => Self::Waiting,
        }
    }
}

/// One erasure.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Erasure {
    pub id: String,
    pub project: String,
    /// `account_id`, `user_id` or `request_id`.
    pub kind: String,
    /// Whose events; none when it is done.
    pub value: Option<String>,
    /// Events received up to this time are erased, milliseconds since the Unix epoch.
    pub requested_ms: i64,
    /// Name of the token.
    pub by: String,
    pub state: ErasureState,
    /// Events that ClickHouse had; none until they were counted.
    pub stored: Option<u64>,
    /// Events that were in the quarantine.
    pub quarantined: u64,
    /// Events that were in the spool and were not delivered.
    pub withheld: u64,
    pub done_ms: Option<i64>,
    /// Why the last step failed.
    pub problem: Option<String>,
}

impl Erasure {
    /// One that is asked for, of nobody yet.
    #[must_use]
    pub fn new(project: &str, kind: &str, value: &str, requested_ms: i64) -> Self {
        Self {
            id: uuid::Uuid::now_v7().to_string(),
            project: project.to_owned(),
            kind: kind.to_owned(),
            value: Some(value.to_owned()),
            requested_ms,
            by: String::new(),
            state: ErasureState::Waiting,
            stored: None,
            quarantined: 0,
            withheld: 0,
            done_ms: None,
            problem: None,
        }
    }
}

const COLUMNS: &str =
    "id, project, kind, value, requested_ms, by, state, stored, quarantined, withheld, done_ms, problem";

impl State {
    /// Enters an erasure, unless there is one of the same up to the same time, which is returned then. One of an earlier time is another:
    /// something may have come since.
    ///
    /// # Errors
    /// When the database cannot be written.
    pub fn begin_erasure(&self, new: &Erasure) -> Result<Erasure, StateError> {
        let mut connection = self.write();
        let transaction = connection.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
        let same = transaction
            .query_row(
                &format!(
                    "SELECT {COLUMNS} FROM erasures WHERE project = ? AND kind = ? AND value = ? AND state != 'done'
                     AND requested_ms = ?"
                ),
                params![new.project, new.kind, new.value, new.requested_ms],
                erasure,
            )
            .optional()?;
        if let Some(same) = same {
            return Ok(same);
        }
        transaction.execute(
            "INSERT INTO erasures (id, project, kind, value, requested_ms, by, state) VALUES (?, ?, ?, ?, ?, ?, 'waiting')",
            params![new.id, new.project, new.kind, new.value, new.requested_ms, new.by],
        )?;
        transaction.commit()?;
        Ok(new.clone())
    }

    /// An erasure of a project.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn erasure(&self, project: &str, id: &str) -> Result<Option<Erasure>, StateError> {
        let connection = self.read();
        let mut statement =
            connection.prepare_cached(&format!("SELECT {COLUMNS} FROM erasures WHERE project = ? AND id = ?"))?;
        Ok(statement.query_row(params![project, id], erasure).optional()?)
    }

    /// The latest erasures of a project.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn erasures(&self, project: &str, limit: usize) -> Result<Vec<Erasure>, StateError> {
        let connection = self.lists();
        let mut statement = connection
            .prepare_cached(&format!("SELECT {COLUMNS} FROM erasures WHERE project = ? ORDER BY id DESC LIMIT ?"))?;
        let rows = statement.query_map(params![project, i64::try_from(limit).unwrap_or(i64::MAX)], erasure)?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// Erasures that are not done, the oldest first.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn unfinished_erasures(&self) -> Result<Vec<Erasure>, StateError> {
        let connection = self.read();
        let mut statement = connection.prepare_cached(&format!(
            "SELECT {COLUMNS} FROM erasures WHERE state != 'done' ORDER BY requested_ms, id"
        ))?;
        let rows = statement.query_map([], erasure)?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// Notes that deletion begins, and how many events ClickHouse had when it first did.
    ///
    /// # Errors
    /// When the database cannot be written.
    pub fn erasure_deletes(&self, id: &str, stored: u64) -> Result<(), StateError> {
        self.write().execute(
            "UPDATE erasures SET state = 'deleting', stored = coalesce(stored, ?2) WHERE id = ?1",
            params![id, stored as i64],
        )?;
        Ok(())
    }

    /// Adds quarantined events that were removed.
    ///
    /// # Errors
    /// When the database cannot be written.
    pub fn erasure_removed(&self, id: &str, quarantined: u64) -> Result<(), StateError> {
        self.write().execute(
            "UPDATE erasures SET quarantined = quarantined + ?2 WHERE id = ?1",
            params![id, quarantined as i64],
        )?;
        Ok(())
    }

    /// Notes why a step failed, or that it did not.
    ///
    /// # Errors
    /// When the database cannot be written.
    pub fn erasure_problem(&self, id: &str, problem: Option<&str>) -> Result<(), StateError> {
        self.write()
            .execute("UPDATE erasures SET problem = ?2 WHERE id = ?1 AND problem IS NOT ?2", params![id, problem])?;
        Ok(())
    }

    /// Ends an erasure: whose it was is forgotten.
    ///
    /// # Errors
    /// When the database cannot be written.
    pub fn finish_erasure(&self, id: &str, now_ms: i64) -> Result<(), StateError> {
        let mut connection = self.write();
        let transaction = connection.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
        transaction.execute(
            "UPDATE erasures SET state = 'done', value = NULL, problem = NULL, done_ms = ?2,
                 withheld = (SELECT count(*) FROM withheld WHERE erasure = ?1) WHERE id = ?1",
            params![id, now_ms],
        )?;
        transaction.execute("DELETE FROM withheld WHERE erasure = ?", [id])?;
        transaction.execute("DELETE FROM erased_requests WHERE at_ms < ?", [now_ms - KEPT_DAYS * 86_400_000])?;
        transaction.commit()?;
        Ok(())
    }

    /// Notes events that are left out of delivery, each once: erasure, key, project, hash of the request id.
    ///
    /// # Errors
    /// When the database cannot be written.
    pub fn withhold(
        &self,
        events: impl Iterator<Item = (String, u128, String, [u8; 16])>,
        now_ms: i64,
    ) -> Result<(), StateError> {
        let mut connection = self.write();
        let transaction = connection.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
        for (erasure, key, project, hash) in events {
            transaction
                .prepare_cached("INSERT OR IGNORE INTO withheld (erasure, key) VALUES (?, ?)")?
                .execute(params![erasure, key.to_be_bytes().as_slice()])?;
            note_erased(&transaction, &project, &hash, now_ms)?;
        }
        transaction.commit()?;
        Ok(())
    }

    /// Keys of events that were left out for erasures that are not done.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn withheld_keys(&self) -> Result<Vec<u128>, StateError> {
        let connection = self.read();
        let mut statement = connection.prepare("SELECT key FROM withheld")?;
        let keys = statement.query_map([], |row| row.get::<_, [u8; 16]>(0).map(u128::from_be_bytes))?;
        Ok(keys.collect::<Result<_, _>>()?)
    }

    /// Remembers that requests were erased.
    ///
    /// # Errors
    /// When the database cannot be written.
    pub fn remember_erased<'a>(
        &self,
        project: &str,
        hashes: impl IntoIterator<Item = &'a [u8; 16]>,
        now_ms: i64,
    ) -> Result<(), StateError> {
        let mut connection = self.write();
        let transaction = connection.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
        for hash in hashes {
            note_erased(&transaction, project, hash, now_ms)?;
        }
        transaction.commit()?;
        Ok(())
    }

    /// When a request was erased, milliseconds since the Unix epoch.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn erased_ms(&self, project: &str, hash: &[u8; 16]) -> Result<Option<i64>, StateError> {
        let connection = self.read();
        let mut statement =
            connection.prepare_cached("SELECT at_ms FROM erased_requests WHERE project = ? AND hash = ?")?;
        Ok(statement.query_row(params![project, hash.as_slice()], |row| row.get(0)).optional()?)
    }
}

fn note_erased(transaction: &Transaction<'_>, project: &str, hash: &[u8; 16], now_ms: i64) -> Result<(), StateError> {
    transaction
        .prepare_cached("INSERT OR REPLACE INTO erased_requests (project, hash, at_ms) VALUES (?, ?, ?)")?
        .execute(params![project, hash.as_slice(), now_ms])?;
    Ok(())
}

fn erasure(row: &Row<'_>) -> rusqlite::Result<Erasure> {
    let number = |name: &str| row.get::<_, i64>(name).map(|number| number as u64);
    Ok(Erasure {
        id: row.get("id")?,
        project: row.get("project")?,
        kind: row.get("kind")?,
        value: row.get("value")?,
        requested_ms: row.get("requested_ms")?,
        by: row.get("by")?,
        state: ErasureState::parse(&row.get::<_, String>("state")?),
        stored: row.get::<_, Option<i64>>("stored")?.map(|number| number as u64),
        quarantined: number("quarantined")?,
        withheld: number("withheld")?,
        done_ms: row.get("done_ms")?,
        problem: row.get("problem")?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn new(id: &str, requested_ms: i64) -> Erasure {
        Erasure { id: id.into(), ..Erasure::new("p", "account_id", "17", requested_ms) }
    }

    #[test]
    fn an_erasure_goes_on_where_it_was_and_forgets_whose_it_was() {
        let dir = tempfile::tempdir().unwrap();
        let state = State::open(dir.path()).unwrap();
        assert_eq!(state.begin_erasure(&new("a", 5)).unwrap().id, "a");
        assert_eq!(state.begin_erasure(&new("b", 5)).unwrap().id, "a", "the same is asked for once");
        assert_eq!(state.begin_erasure(&new("c", 6)).unwrap().id, "c", "events may have come in between");
        let withheld = |key| ("a".to_owned(), key, "p".to_owned(), [7; 16]);
        for _ in 0..2 {
            state.withhold([withheld(1), withheld(u128::MAX)].into_iter(), 8).unwrap();
        }
        assert_eq!(state.withheld_keys().unwrap(), [1, u128::MAX]);
        assert_eq!((state.erased_ms("p", &[7; 16]).unwrap(), state.erased_ms("q", &[7; 16]).unwrap()), (Some(8), None));
        state.erasure_deletes("a", 10).unwrap();
        drop(state);
        let state = State::open(dir.path()).unwrap();
        state.erasure_deletes("a", 3).unwrap();
        state.erasure_problem("a", Some("away")).unwrap();
        let found = state.unfinished_erasures().unwrap().remove(0);
        assert_eq!(
            (found.stored, found.state, found.problem.as_deref()),
            (Some(10), ErasureState::Deleting, Some("away"))
        );
        state.finish_erasure("a", 9).unwrap();
        let found = state.erasure("p", "a").unwrap().unwrap();
        assert_eq!((found.value, found.withheld, found.done_ms, found.problem), (None, 2, Some(9), None));
        assert!(state.withheld_keys().unwrap().is_empty() && state.erasure("q", "a").unwrap().is_none());
        assert_eq!(state.unfinished_erasures().unwrap().len(), 1);
    }
}
