//! Which issues somebody has called resolved.

use rusqlite::{OptionalExtension, Row, TransactionBehavior, params};

use super::{State, StateError};

/// Resolutions kept for a project at most; the oldest go first, and their issues are open again.
const MOST: i64 = 20_000;

/// That an issue is resolved: what decides whether it has come back since. Times are milliseconds since the Unix epoch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resolution {
    pub project: String,
    pub fingerprint: u64,
    pub at_ms: i64,
    /// Events up to this time are of before: the moment of resolving, or the last event known then, where a client's clock runs ahead.
    pub after_ms: i64,
    /// Name of the token.
    pub by: String,
    pub comment: String,
    /// The release that holds the remedy; empty: not said.
    pub in_release: String,
    /// Releases known to be older than that one: their events say nothing of the remedy.
    pub older_releases: Vec<String>,
}

const COLUMNS: &str = "project, fingerprint, at_ms, after_ms, by, comment, in_release, older_releases";

impl State {
    /// Notes a resolution, in the place of an earlier one of the same issue.
    ///
    /// # Errors
    /// When the database cannot be written.
    pub fn resolve_issue(&self, resolution: &Resolution) -> Result<(), StateError> {
        let mut connection = self.write();
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        transaction.execute(
            &format!("INSERT OR REPLACE INTO issue_resolutions ({COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?)"),
            params![
                resolution.project,
                resolution.fingerprint.cast_signed(),
                resolution.at_ms,
                resolution.after_ms,
                resolution.by,
                resolution.comment,
                resolution.in_release,
                serde_json::to_string(&resolution.older_releases).unwrap_or_default(),
            ],
        )?;
        transaction.execute(
            "DELETE FROM issue_resolutions WHERE project = ?1 AND fingerprint IN
             (SELECT fingerprint FROM issue_resolutions WHERE project = ?1 ORDER BY at_ms DESC LIMIT -1 OFFSET ?2)",
            params![resolution.project, MOST],
        )?;
        transaction.commit()?;
        Ok(())
    }

    /// Forgets a resolution; whether there was one.
    ///
    /// # Errors
    /// When the database cannot be written.
    pub fn reopen_issue(&self, project: &str, fingerprint: u64) -> Result<bool, StateError> {
        let sql = "DELETE FROM issue_resolutions WHERE project = ? AND fingerprint = ?";
        Ok(self.write().execute(sql, params![project, fingerprint.cast_signed()])? > 0)
    }

    /// The resolutions of a project.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn resolutions(&self, project: &str) -> Result<Vec<Resolution>, StateError> {
        let connection = self.read();
        let sql = format!("SELECT {COLUMNS} FROM issue_resolutions WHERE project = ? ORDER BY fingerprint");
        let mut statement = connection.prepare_cached(&sql)?;
        let rows = statement.query_map([project], resolution)?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// The resolution of one issue.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn resolution(&self, project: &str, fingerprint: u64) -> Result<Option<Resolution>, StateError> {
        let sql = format!("SELECT {COLUMNS} FROM issue_resolutions WHERE project = ? AND fingerprint = ?");
        Ok(self.read().query_row(&sql, params![project, fingerprint.cast_signed()], resolution).optional()?)
    }
}

fn resolution(row: &Row<'_>) -> rusqlite::Result<Resolution> {
    let older: String = row.get("older_releases")?;
    Ok(Resolution {
        project: row.get("project")?,
        fingerprint: row.get::<_, i64>("fingerprint")?.cast_unsigned(),
        at_ms: row.get("at_ms")?,
        after_ms: row.get("after_ms")?,
        by: row.get("by")?,
        comment: row.get("comment")?,
        in_release: row.get("in_release")?,
        older_releases: serde_json::from_str(&older).unwrap_or_default(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resolved(project: &str, fingerprint: u64, at_ms: i64) -> Resolution {
        Resolution {
            project: project.into(),
            fingerprint,
            at_ms,
            after_ms: at_ms + 1,
            by: "anna".into(),
            comment: "mended".into(),
            in_release: "2".into(),
            older_releases: vec!["1".into(), "1, \"odd\"".into()],
        }
    }

    #[test]
    fn a_resolution_is_of_one_project_and_replaced_by_the_next() {
        let dir = tempfile::tempdir().unwrap();
        let state = State::open(dir.path()).unwrap();
        let largest = resolved("p", u64::MAX, 5);
        state.resolve_issue(&largest).unwrap();
        state.resolve_issue(&resolved("q", u64::MAX, 6)).unwrap();
        assert_eq!(state.resolution("p", u64::MAX).unwrap(), Some(largest));
        state.resolve_issue(&resolved("p", u64::MAX, 9)).unwrap();
        assert_eq!(state.resolutions("p").unwrap(), [resolved("p", u64::MAX, 9)]);
        assert!(state.reopen_issue("p", u64::MAX).unwrap() && !state.reopen_issue("p", u64::MAX).unwrap());
        assert_eq!(state.resolution("p", u64::MAX).unwrap(), None);
        assert_eq!(state.resolutions("q").unwrap().len(), 1);
    }

    #[test]
    fn the_oldest_resolutions_of_a_project_make_room() {
        let dir = tempfile::tempdir().unwrap();
        let state = State::open(dir.path()).unwrap();
        state.resolve_issue(&resolved("q", 1, 1)).unwrap();
        {
            let connection = state.write();
            let sql = format!(
                "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {MOST})
                 INSERT INTO issue_resolutions ({COLUMNS}) SELECT 'p', i, i, i, '', '', '', '[]' FROM n"
            );
            connection.execute_batch(&sql).unwrap();
        }
        state.resolve_issue(&resolved("p", 1 << 40, MOST + 1)).unwrap();
        assert_eq!(state.resolutions("p").unwrap().len() as i64, MOST);
        assert_eq!((state.resolution("p", 1).unwrap(), state.resolution("p", 2).unwrap().is_some()), (None, true));
        assert!(state.resolution("q", 1).unwrap().is_some());
    }
}
