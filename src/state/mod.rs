//! Small state beside the events: tokens, sessions of the console, what was rejected on arrival, where alerts stand, which issues are
//! resolved. SQLite in the data directory.
//!
//! Several processes may have it open (the CLI makes tokens while the collector runs); a change is seen by the next read.

mod alerts;
mod audit;
mod erasures;
mod forget;
mod issues;
mod outbox;
mod rejections;
mod secrets;
mod sessions;
mod tokens;

use std::{
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use rusqlite::Connection;

pub use alerts::{Acknowledged, AlertChanges, AlertEvent, AlertRow, Silence};
pub use audit::{AuditEntry, AuditFilter, KEPT_DAYS as AUDIT_KEPT_DAYS};
pub use erasures::{Erasure, ErasureState};
pub use issues::Resolution;
pub use outbox::OutboxRow;
pub use rejections::{KEPT_DAYS as REJECTIONS_KEPT_DAYS, Rejection};
pub use sessions::Session;
pub use tokens::{Limit, NewToken, Role, TokenInfo};

/// Name of the database file in the data directory.
pub const FILE: &str = "state.db";

/// How long a statement waits for another process's transaction.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// Steps of the schema; `PRAGMA user_version` counts those that are applied. Append only.
const SCHEMA: [&str; 8] = [
    "
    CREATE TABLE tokens (
        id TEXT PRIMARY KEY,
        hash BLOB NOT NULL UNIQUE,
        name TEXT NOT NULL,
        project TEXT NOT NULL,
        roles TEXT NOT NULL,
        created_ms INTEGER NOT NULL,
        expires_ms INTEGER,
        limit_events INTEGER,
        limit_seconds INTEGER
    ) STRICT;
    CREATE TABLE rejections (
        id INTEGER PRIMARY KEY,
        project TEXT NOT NULL,
        request_id TEXT NOT NULL,
        at_ms INTEGER NOT NULL,
        reason TEXT NOT NULL,
        message TEXT NOT NULL
    ) STRICT;
    CREATE INDEX rejections_by_request ON rejections (project, request_id);
",
    "
    CREATE TABLE alerts (
        project TEXT NOT NULL,
        rule TEXT NOT NULL,
        fingerprint TEXT NOT NULL,
        labels TEXT NOT NULL,
        severity TEXT NOT NULL,
        phase TEXT NOT NULL,
        active_ms INTEGER NOT NULL,
        fired_ms INTEGER,
        resolved_ms INTEGER,
        held_ms INTEGER NOT NULL,
        value REAL NOT NULL,
        threshold REAL NOT NULL,
        summary TEXT NOT NULL,
        from_ms INTEGER NOT NULL,
        to_ms INTEGER NOT NULL,
        evidence TEXT,
        frozen TEXT NOT NULL,
        told_ms INTEGER,
        acknowledged_by TEXT,
        acknowledged_ms INTEGER,
        acknowledged_comment TEXT,
        PRIMARY KEY (project, fingerprint)
    ) STRICT;
    CREATE TABLE alert_history (
        id INTEGER PRIMARY KEY,
        project TEXT NOT NULL,
        rule TEXT NOT NULL,
        fingerprint TEXT NOT NULL,
        labels TEXT NOT NULL,
        change TEXT NOT NULL,
        at_ms INTEGER NOT NULL,
        summary TEXT NOT NULL
    ) STRICT;
    CREATE INDEX alert_history_by_project ON alert_history (project, id);
    CREATE TABLE silences (
        id TEXT PRIMARY KEY,
        project TEXT NOT NULL,
        rule TEXT NOT NULL,
        labels TEXT NOT NULL,
        from_ms INTEGER NOT NULL,
        until_ms INTEGER NOT NULL,
        by TEXT NOT NULL,
        comment TEXT NOT NULL
    ) STRICT;
    CREATE TABLE outbox (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        receiver TEXT NOT NULL,
        project TEXT NOT NULL,
        fingerprint TEXT NOT NULL,
        body TEXT NOT NULL,
        created_ms INTEGER NOT NULL,
        due_ms INTEGER NOT NULL,
        attempts INTEGER NOT NULL
    ) STRICT;
    CREATE INDEX outbox_by_alert ON outbox (receiver, project, fingerprint, id);
",
    "
    CREATE TABLE sessions (
        hash BLOB NOT NULL,
        token_id TEXT NOT NULL,
        current INTEGER NOT NULL,
        expires_ms INTEGER NOT NULL,
        PRIMARY KEY (hash, token_id)
    ) STRICT;
",
    "
    CREATE TABLE issue_resolutions (
        project TEXT NOT NULL,
        fingerprint INTEGER NOT NULL,
        at_ms INTEGER NOT NULL,
        after_ms INTEGER NOT NULL,
        by TEXT NOT NULL,
        comment TEXT NOT NULL,
        in_release TEXT NOT NULL,
        older_releases TEXT NOT NULL,
        PRIMARY KEY (project, fingerprint)
    ) STRICT;
",
    secrets::SCHEMA,
    audit::SCHEMA,
    erasures::SCHEMA,
    audit::BY_TIME,
];

#[derive(Debug, thiserror::Error)]
pub enum StateError {
    #[error("the state database {path}: {source}", path = path.display())]
    Open { path: PathBuf, source: rusqlite::Error },
    #[error("the state database: {0}")]
    Sqlite(#[from] rusqlite::Error),
    #[error("cannot make {path}: {source}; name a directory that this user may write by --data-dir or ERRATA_DATA_DIR", path = path.display())]
    Directory { path: PathBuf, source: std::io::Error },
    #[error("the state database {path} was made by a newer errata (schema {found}, this build knows {known}); start that version", path = path.display())]
    Newer { path: PathBuf, found: u32, known: u32 },
    #[error("the system gives no random numbers: {0}")]
    Random(getrandom::Error),
    #[error("a token named {0:?} exists already; revoke it first or choose another name")]
    TokenExists(String),
    #[error("there is no token {0:?}; `errata token list` shows all")]
    NoToken(String),
}

/// The open database; cheap to clone.
#[derive(Clone)]
pub struct State {
    write: Arc<Mutex<Connection>>,
    /// A connection of its own: with a write-ahead log, finding a token never waits for another thread's `fsync`.
    read: Arc<Mutex<Connection>>,
    /// One for what may take long, the audit log and lists: nobody's token waits for it.
    lists: Arc<Mutex<Connection>>,
}

impl std::fmt::Debug for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("State")
    }
}

impl State {
    /// Opens or makes the database in a data directory (made too, for its owner only).
    ///
    /// # Errors
    /// When the directory or the file cannot be made or read, or a newer build made it.
    pub fn open(data_dir: &Path) -> Result<Self, StateError> {
        make_private_directory(data_dir)?;
        let path = data_dir.join(FILE);
        make_private_file(&path).map_err(|source| StateError::Directory { path: path.clone(), source })?;
        let write = Self::connect(&path)?;
        let read = Self::connect(&path)?;
        let lists = Self::connect(&path)?;
        for connection in [&read, &lists] {
            connection.pragma_update(None, "query_only", true)?;
        }
        let [write, read, lists] = [write, read, lists].map(|connection| Arc::new(Mutex::new(connection)));
        Ok(Self { write, read, lists })
    }

    fn connect(path: &Path) -> Result<Connection, StateError> {
        let open = |source| StateError::Open { path: path.to_owned(), source };
        let mut connection = Connection::open(path).map_err(open)?;
        connection.busy_timeout(BUSY_TIMEOUT).map_err(open)?;
        connection.pragma_update(None, "journal_mode", "WAL").map_err(open)?;
        connection.pragma_update(None, "synchronous", "FULL").map_err(open)?;
        let transaction = connection.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
        let found: u32 = transaction.pragma_query_value(None, "user_version", |row| row.get(0))?;
        let known = SCHEMA.len() as u32;
        if found > known {
            return Err(StateError::Newer { path: path.to_owned(), found, known });
        }
        for step in &SCHEMA[found as usize..] {
            transaction.execute_batch(step)?;
        }
        transaction.pragma_update(None, "user_version", known)?;
        transaction.commit()?;
        Ok(connection)
    }

    /// A statement that panicked left no transaction open (they roll back on drop), so a poisoned lock is usable.
    fn write(&self) -> MutexGuard<'_, Connection> {
        self.write.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn read(&self) -> MutexGuard<'_, Connection> {
        self.read.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lists(&self) -> MutexGuard<'_, Connection> {
        self.lists.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Makes a directory that only its owner can enter; an existing one is left as it is.
fn make_private_directory(path: &Path) -> Result<(), StateError> {
    use std::os::unix::fs::DirBuilderExt;
    let fail = |source| StateError::Directory { path: path.to_owned(), source };
    if path.is_dir() {
        return Ok(());
    }
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(fail)
}

/// Makes the database's file, or an existing one, its owner's alone: it holds the installation's secret. SQLite gives the files beside
/// it the same mode.
fn make_private_file(path: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
    let file = std::fs::OpenOptions::new().append(true).create(true).mode(0o600).open(path)?;
    let mode = file.metadata()?.permissions().mode();
    if mode & 0o077 != 0 {
        file.set_permissions(std::fs::Permissions::from_mode(mode & !0o077))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_newer_database_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        drop(State::open(dir.path()).unwrap());
        let connection = Connection::open(dir.path().join(FILE)).unwrap();
        connection.pragma_update(None, "user_version", 99).unwrap();
        let error = State::open(dir.path()).unwrap_err().to_string();
        assert!(error.contains("newer errata"), "{error}");
    }

    #[test]
    fn a_token_is_found_while_a_write_or_a_list_is_under_way() {
        let dir = tempfile::tempdir().unwrap();
        let state = State::open(dir.path()).unwrap();
        let new = NewToken {
            name: "a".into(),
            project: "p".into(),
            roles: vec![Role::Ingest],
            expires_ms: None,
            limit: None,
        };
        let token = state.create_token(&new, 1).unwrap();
        let writing = state.write();
        writing.execute_batch("BEGIN IMMEDIATE; DELETE FROM tokens").unwrap();
        let listing = state.lists();
        let (found, answer) = std::sync::mpsc::channel();
        let reader = state.clone();
        std::thread::spawn(move || found.send(reader.find_token(&token, 2).unwrap().unwrap().name).unwrap());
        let name = answer.recv_timeout(Duration::from_secs(10)).expect("the reader waits for the writer");
        assert_eq!(name, "a");
        let (listed, answer) = std::sync::mpsc::channel();
        let reader = state.clone();
        std::thread::spawn(move || {
            reader.audit("p", &AuditFilter::default(), 1).unwrap();
            listed.send(()).unwrap();
        });
        assert!(answer.recv_timeout(Duration::from_millis(200)).is_err(), "the audit log is read where tokens are");
        drop((writing, listing));
    }
}
