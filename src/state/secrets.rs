//! Secrets of the installation: random, made once, never shown. The database's file is its owner's alone.

use rusqlite::params;

use super::{State, StateError};

/// Bytes of a secret.
const SECRET_BYTES: usize = 32;

pub(super) const SCHEMA: &str = "
    CREATE TABLE secrets (name TEXT PRIMARY KEY, value BLOB NOT NULL) STRICT;
";

impl State {
    /// The secret of this name; made now if there is none.
    ///
    /// # Errors
    /// When the database cannot be read or written, or the system gives no random numbers.
    pub fn secret(&self, name: &str) -> Result<[u8; SECRET_BYTES], StateError> {
        let mut new = [0; SECRET_BYTES];
        getrandom::fill(&mut new).map_err(StateError::Random)?;
        let connection = self.write();
        connection
            .execute("INSERT OR IGNORE INTO secrets (name, value) VALUES (?, ?)", params![name, new.as_slice()])?;
        Ok(connection.query_row("SELECT value FROM secrets WHERE name = ?", [name], |row| row.get(0))?)
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use crate::state::FILE;

    #[test]
    fn a_secret_is_made_once_and_its_file_is_its_owners_alone() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join(FILE), b"").unwrap();
        std::fs::set_permissions(dir.path().join(FILE), std::fs::Permissions::from_mode(0o644)).unwrap();
        let (one, other) = (State::open(dir.path()).unwrap(), State::open(dir.path()).unwrap());
        let secret = one.secret("pseudonyms").unwrap();
        assert_eq!(other.secret("pseudonyms").unwrap(), secret);
        assert_ne!(other.secret("another").unwrap(), secret);
        for file in std::fs::read_dir(dir.path()).unwrap() {
            let mode = file.unwrap().metadata().unwrap().permissions().mode();
            assert_eq!(mode & 0o077, 0, "{mode:o}");
        }
    }
}
