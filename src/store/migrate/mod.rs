//! Migrations: numbered SQL files, compiled in, applied in order, recorded in ClickHouse.
//!
//! There is no lock: every statement is idempotent (`IF NOT EXISTS`), so two collectors may apply the same file at the
//! same time, and each records it. A file that was applied must never change: its checksum is recorded, and a
//! difference is refused, as is a database that a newer errata has migrated.
//!
//! How long rows are kept is configuration, not schema: [`apply_retention`] alters the tables' TTL where it differs.

mod list;
mod retention;
mod sql;

use std::time::{Duration, Instant};

use clickhouse::Client;
use clickhouse::error::Error as ClickHouseError;
use serde::Deserialize;

pub use self::{
    list::{MIGRATIONS, RETENTION},
    retention::{Ttl, apply_retention},
};
use super::{
    RetryClass,
    client::{AccessError, Database, bounded},
    error::{class_of, code_of},
};

/// How long one statement may take. All are DDL; a change of data over all rows belongs elsewhere.
const STATEMENT_TIMEOUT: Duration = Duration::from_secs(300);

/// A numbered file of `migrations/`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Migration {
    pub version: u32,
    /// The file's name without `.sql`: `0001_events`.
    pub name: &'static str,
    pub sql: &'static str,
}

#[derive(Debug, thiserror::Error)]
pub enum MigrateError {
    #[error(
        "the tables were made by another migrations/{name}.sql (checksum then {applied}, now {current}): if a version from \
         before the first release made them, start with a new database (the embedded one: move `clickhouse` out of the data \
         directory), or with that version; if you changed the file, restore it and put the change into a new, higher-numbered one"
    )]
    Changed { name: String, applied: String, current: String },
    #[error(
        "the database was migrated by a newer errata ({errata}, up to {name}; this one knows up to version {known}): \
         start that version or a later one"
    )]
    Newer { errata: String, name: String, known: u32 },
    #[error("migrations/{name}.sql, statement {number} ({statement}): {source}")]
    Statement {
        name: String,
        number: usize,
        /// Its beginning.
        statement: String,
        source: ClickHouseError,
    },
    #[error("{action}: {source}")]
    ClickHouse { action: &'static str, source: ClickHouseError },
    #[error(transparent)]
    Access(#[from] AccessError),
}

impl MigrateError {
    /// Whether the same may succeed later, without anybody mending anything here.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        let passes = |class| !matches!(class, RetryClass::Denied | RetryClass::Poison);
        match self {
            Self::Changed { .. } | Self::Newer { .. } => false,
            Self::Statement { source, .. } | Self::ClickHouse { source, .. } => {
                code_of(source).is_none_or(|code| passes(class_of(code)))
            }
            Self::Access(error) => matches!(error, AccessError::Unreachable(_)),
        }
    }
}

/// One migration as `errata migrate status` shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct State {
    pub version: u32,
    pub name: String,
    /// `None`: pending.
    pub applied: Option<Applied>,
}

/// When and by whom a migration was applied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Applied {
    /// Milliseconds since the Unix epoch.
    pub at_ms: i64,
    pub duration: Duration,
    /// The version of errata that did it.
    pub errata: String,
}

/// What is to be done: the pending files with their statements, as they would be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    pub migration: Migration,
    pub statements: Vec<String>,
}

/// A row of `schema_migrations`.
#[derive(Debug, clickhouse::Row, Deserialize)]
struct Record {
    version: u32,
    name: String,
    checksum: String,
    applied_at_ms: i64,
    duration_ms: u64,
    errata: String,
}

/// Makes the database if need be and applies what is pending; returns what was applied.
///
/// # Errors
/// Before anything is applied, when a file was changed or the database is newer. When a statement fails, the files
/// before it stay applied, and the next call goes on with the failed one.
pub async fn apply(admin: &Client, database: &Database, list: &[Migration]) -> Result<Vec<Migration>, MigrateError> {
    let steps = plan(admin, database, list).await?;
    prepare(admin, database).await?;
    let mut applied = Vec::with_capacity(steps.len());
    for step in steps {
        let began = Instant::now();
        for (index, statement) in step.statements.iter().enumerate() {
            run(admin, statement).await.map_err(|source| MigrateError::Statement {
                name: step.migration.name.to_owned(),
                number: index + 1,
                statement: beginning(statement),
                source,
            })?;
        }
        record(admin, database, &step.migration, began.elapsed()).await?;
        tracing::info!(migration = step.migration.name, took_ms = began.elapsed().as_millis() as u64, "applied");
        applied.push(step.migration);
    }
    Ok(applied)
}

/// What [`apply`] would do; changes nothing.
pub async fn plan(admin: &Client, database: &Database, list: &[Migration]) -> Result<Vec<Step>, MigrateError> {
    let records = records(admin, database).await?;
    check(&records, list)?;
    let is_pending = |migration: &&Migration| !records.iter().any(|record| record.version == migration.version);
    let step = |&migration: &Migration| Step { migration, statements: sql::statements(&migration, database) };
    Ok(list.iter().filter(is_pending).map(step).collect())
}

/// Every migration of this binary, applied or pending; changes nothing.
pub async fn status(admin: &Client, database: &Database, list: &[Migration]) -> Result<Vec<State>, MigrateError> {
    let records = records(admin, database).await?;
    check(&records, list)?;
    let applied = |version: u32| {
        // Ordered by time: the first, if two collectors applied it at once.
        records.iter().find(|record| record.version == version).map(|record| Applied {
            at_ms: record.applied_at_ms,
            duration: Duration::from_millis(record.duration_ms),
            errata: record.errata.clone(),
        })
    };
    let state = |migration: &Migration| State {
        version: migration.version,
        name: migration.name.to_owned(),
        applied: applied(migration.version),
    };
    Ok(list.iter().map(state).collect())
}

/// Refuses a database that is newer than `list`, or an applied file that was changed.
fn check(records: &[Record], list: &[Migration]) -> Result<(), MigrateError> {
    let known = list.iter().map(|migration| migration.version).max().unwrap_or(0);
    if let Some(newest) = records.iter().filter(|record| record.version > known).max_by_key(|record| record.version) {
        return Err(MigrateError::Newer { errata: newest.errata.clone(), name: newest.name.clone(), known });
    }
    for migration in list {
        let current = sql::checksum(migration);
        let is_other = |record: &&Record| record.version == migration.version && record.checksum != current;
        if let Some(other) = records.iter().find(is_other) {
            let (name, applied) = (migration.name.to_owned(), other.checksum.clone());
            return Err(MigrateError::Changed { name, applied, current });
        }
    }
    Ok(())
}

/// The database and the table of records.
async fn prepare(admin: &Client, database: &Database) -> Result<(), MigrateError> {
    let action = "make the database and its table schema_migrations";
    // The engine is named because clickhouse-local's own default is an overlay over files.
    for statement in [
        format!("CREATE DATABASE IF NOT EXISTS {database} ENGINE = Atomic"),
        format!(
            "CREATE TABLE IF NOT EXISTS {database}.schema_migrations (version UInt32, name String, checksum String, \
             applied_at DateTime64(3, 'UTC'), duration_ms UInt64, errata String) \
             ENGINE = ReplacingMergeTree ORDER BY (version, checksum) \
             SETTINGS fsync_after_insert = 1, fsync_part_directory = 1"
        ),
    ] {
        run(admin, &statement).await.map_err(|source| MigrateError::ClickHouse { action, source })?;
    }
    Ok(())
}

async fn record(
    admin: &Client,
    database: &Database,
    migration: &Migration,
    took: Duration,
) -> Result<(), MigrateError> {
    let insert = format!(
        "INSERT INTO {database}.schema_migrations SELECT {{version:UInt32}}, {{name:String}}, {{checksum:String}}, \
         now64(3, 'UTC'), {{duration:UInt64}}, {{errata:String}}"
    );
    let query = admin
        .query_raw(&insert)
        .param("version", migration.version)
        .param("name", migration.name)
        .param("checksum", sql::checksum(migration))
        .param("duration", took.as_millis() as u64)
        .param("errata", env!("CARGO_PKG_VERSION"));
    bounded(STATEMENT_TIMEOUT, query.execute())
        .await
        .map_err(|source| MigrateError::ClickHouse { action: "record the migration", source })
}

/// All records, oldest first; none if there is no such table yet.
async fn records(admin: &Client, database: &Database) -> Result<Vec<Record>, MigrateError> {
    let failed = |source| MigrateError::ClickHouse { action: "read schema_migrations", source };
    let exists = admin
        .query_raw(
            "SELECT count() FROM system.tables WHERE database = {database:String} AND name = 'schema_migrations'",
        )
        .param("database", database.as_str());
    if bounded(STATEMENT_TIMEOUT, exists.fetch_one::<u64>()).await.map_err(failed)? == 0 {
        return Ok(Vec::new());
    }
    let select = format!(
        "SELECT version, name, checksum, toUnixTimestamp64Milli(applied_at) AS applied_at_ms, duration_ms, errata \
         FROM {database}.schema_migrations ORDER BY applied_at"
    );
    bounded(STATEMENT_TIMEOUT, admin.query_raw(&select).fetch_all::<Record>()).await.map_err(failed)
}

async fn run(admin: &Client, statement: &str) -> Result<(), ClickHouseError> {
    // Raw: a `?` in a comment or a pattern is no placeholder.
    bounded(STATEMENT_TIMEOUT, admin.query_raw(statement).execute()).await
}

/// The first words of a statement, for a message.
fn beginning(statement: &str) -> String {
    let words: Vec<&str> = statement.split_whitespace().take(8).collect();
    format!("{} …", words.join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIRST: Migration = Migration { version: 1, name: "0001_first", sql: "SELECT 1;" };

    fn record(version: u32, checksum: String) -> Record {
        let (name, errata) = (format!("{version:04}_x"), "9.9.9".to_owned());
        Record { version, name, checksum, applied_at_ms: 0, duration_ms: 0, errata }
    }

    #[test]
    fn a_changed_file_is_named_with_both_checksums_and_the_way_out() {
        let current = sql::checksum(&FIRST);
        assert!(check(&[record(1, current.clone())], &[FIRST]).is_ok());
        let message =
            check(&[record(1, current.clone()), record(1, "beef".to_owned())], &[FIRST]).unwrap_err().to_string();
        for part in ["0001_first.sql", "beef", &current, "restore"] {
            assert!(message.contains(part), "{message}");
        }
    }

    #[test]
    fn a_newer_database_is_refused_and_the_newer_errata_named() {
        let message = check(&[record(2, "beef".to_owned())], &[FIRST]).unwrap_err().to_string();
        assert!(message.contains("9.9.9") && message.contains("0002_x"), "{message}");
    }

    #[test]
    fn the_list_holds_every_file_once_in_order() {
        let directory = concat!(env!("CARGO_MANIFEST_DIR"), "/migrations");
        // No such directory: no files.
        let mut files: Vec<String> = match std::fs::read_dir(directory) {
            Ok(entries) => entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect(),
            Err(_) => Vec::new(),
        };
        files.sort();
        let listed: Vec<String> = MIGRATIONS.iter().map(|migration| format!("{}.sql", migration.name)).collect();
        assert_eq!(listed, files);
        for (index, migration) in MIGRATIONS.iter().enumerate() {
            assert_eq!(migration.version as usize, index + 1);
            assert!(migration.name.starts_with(&format!("{:04}_", migration.version)), "{}", migration.name);
        }
    }
}
