//! Tokens: 256 random bits each, of which only the SHA-256 is kept.

use std::{fmt, str::FromStr};

use rusqlite::{OptionalExtension, Row, params};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use super::{
    State, StateError,
    audit::{self, AuditEntry, COMMAND_LINE},
};

/// What a token may do (HTTP contract).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Ship events.
    Ingest,
    /// Look up requests, search.
    Support,
    /// Error rates, search.
    Sre,
    /// Validation analytics, search without personal columns.
    Product,
    /// Everything.
    Admin,
}

impl Role {
    const ALL: [Self; 5] = [Self::Ingest, Self::Support, Self::Sre, Self::Product, Self::Admin];

    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ingest => "ingest",
            Self::Support => "support",
            Self::Sre => "sre",
            Self::Product => "product",
            Self::Admin => "admin",
        }
    }
}

/// Events a token may ship per window.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Limit {
    pub events: u64,
    /// Length of the window, seconds.
    pub seconds: u64,
}

impl FromStr for Limit {
    type Err = String;

    /// Reads `10000/60s` (also `m`, `h`).
    fn from_str(text: &str) -> Result<Self, String> {
        let teach = || format!("expected events per window such as 10000/60s, got {text:?}");
        let (events, window) = text.split_once('/').ok_or_else(teach)?;
        let unit = window.chars().last().ok_or_else(teach)?;
        let scale = match unit {
            's' => 1,
            'm' => 60,
            'h' => 3600,
            _ => return Err(teach()),
        };
        let events: u64 = events.trim().parse().map_err(|_| teach())?;
        let count: u64 = window[..window.len() - 1].parse().map_err(|_| teach())?;
        match count.checked_mul(scale) {
            Some(seconds) if (1..=86_400).contains(&seconds) && events > 0 => Ok(Self { events, seconds }),
            _ => Err(format!("{}; at least one event, and a window of 1 second to 24 hours", teach())),
        }
    }
}

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}s", self.events, self.seconds)
    }
}

/// A token to make.
#[derive(Clone, Debug)]
pub struct NewToken {
    pub name: String,
    pub project: String,
    pub roles: Vec<Role>,
    pub expires_ms: Option<i64>,
    pub limit: Option<Limit>,
}

/// What is kept of a token; not the token.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct TokenInfo {
    /// First 12 hex digits of the hash: names the token in lists and logs.
    pub id: String,
    pub name: String,
    pub project: String,
    pub roles: Vec<Role>,
    pub created_ms: i64,
    pub expires_ms: Option<i64>,
    pub limit: Option<Limit>,
}

impl TokenInfo {
    /// Whether the token has one of these roles, or is an admin's.
    #[must_use]
    pub fn has_any(&self, roles: &[Role]) -> bool {
        self.roles.iter().any(|role| *role == Role::Admin || roles.contains(role))
    }
}

/// Begins every token, so that secret scanners can find one that leaked.
const PREFIX: &str = "errata_";

const COLUMNS: &str = "id, name, project, roles, created_ms, expires_ms, limit_events, limit_seconds";

impl State {
    /// Makes a token and returns its text: the only time it can be read.
    ///
    /// # Errors
    /// When the name is taken, or the database cannot be written.
    pub fn create_token(&self, new: &NewToken, now_ms: i64) -> Result<String, StateError> {
        let mut random = [0; 32];
        getrandom::fill(&mut random).map_err(StateError::Random)?;
        let token = format!("{PREFIX}{}", hex(&random));
        let hash = hash(&token);
        let roles: Vec<&str> = new.roles.iter().map(|role| role.as_str()).collect();
        let mut connection = self.write();
        let transaction = connection.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
        if transaction.query_row("SELECT 1 FROM tokens WHERE name = ?", [&new.name], |_| Ok(())).optional()?.is_some() {
            return Err(StateError::TokenExists(new.name.clone()));
        }
        transaction.execute(
            "INSERT INTO tokens (id, hash, name, project, roles, created_ms, expires_ms, limit_events, limit_seconds)
             VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
            params![
                hex(&hash[..6]),
                hash.as_slice(),
                new.name,
                new.project,
                roles.join(","),
                now_ms,
                new.expires_ms,
                new.limit.map(|limit| limit.events as i64),
                new.limit.map(|limit| limit.seconds as i64),
            ],
        )?;
        let subject = format!("{} ({})", new.name, roles.join(","));
        audit::enter(&transaction, &deed(&new.project, "token created", subject, now_ms))?;
        transaction.commit()?;
        Ok(token)
    }

    /// Who a token belongs to; `None` for an unknown or expired one.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn find_token(&self, token: &str, now_ms: i64) -> Result<Option<TokenInfo>, StateError> {
        let hash = hash(token);
        let connection = self.read();
        let mut statement = connection.prepare_cached(&format!("SELECT {COLUMNS}, hash FROM tokens WHERE hash = ?"))?;
        let found = statement
            .query_row([hash.as_slice()], |row| Ok((token_info(row)?, row.get::<_, Vec<u8>>("hash")?)))
            .optional()?;
        Ok(found
            // The index finds by value; the last word has a comparison in constant time.
            .filter(|(_, stored)| bool::from(stored.as_slice().ct_eq(&hash)))
            .map(|(info, _)| info)
            .filter(|info| info.expires_ms.is_none_or(|expires| now_ms < expires)))
    }

    /// Whether the token of this id is neither revoked nor expired.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn is_valid_token(&self, id: &str, now_ms: i64) -> Result<bool, StateError> {
        let connection = self.read();
        let sql = "SELECT 1 FROM tokens WHERE id = ? AND (expires_ms IS NULL OR expires_ms > ?)";
        let mut statement = connection.prepare_cached(sql)?;
        Ok(statement.query_row(params![id, now_ms], |_| Ok(())).optional()?.is_some())
    }

    /// All tokens, oldest first.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn tokens(&self) -> Result<Vec<TokenInfo>, StateError> {
        let connection = self.lists();
        let mut statement =
            connection.prepare_cached(&format!("SELECT {COLUMNS} FROM tokens ORDER BY created_ms, id"))?;
        let rows = statement.query_map([], token_info)?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// Revokes the token of this name or id, at once.
    ///
    /// # Errors
    /// When there is none, or the database cannot be written.
    pub fn revoke_token(&self, name_or_id: &str, now_ms: i64) -> Result<(), StateError> {
        let mut connection = self.write();
        let transaction = connection.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
        let revoked: Vec<(String, String)> = transaction
            .prepare("DELETE FROM tokens WHERE name = ?1 OR id = ?1 RETURNING project, name")?
            .query_map([name_or_id], |row| Ok((row.get(0)?, row.get(1)?)))?
            .collect::<Result<_, _>>()?;
        if revoked.is_empty() {
            return Err(StateError::NoToken(name_or_id.to_owned()));
        }
        for (project, name) in revoked {
            audit::enter(&transaction, &deed(&project, "token revoked", name, now_ms))?;
        }
        // Without its token a session is none already; this forgets it.
        transaction.execute("DELETE FROM sessions WHERE token_id NOT IN (SELECT id FROM tokens)", [])?;
        transaction.commit()?;
        Ok(())
    }
}

/// What somebody with the data directory did.
fn deed(project: &str, action: &str, subject: String, at_ms: i64) -> AuditEntry {
    AuditEntry {
        at_ms,
        project: project.to_owned(),
        token: COMMAND_LINE.to_owned(),
        action: action.to_owned(),
        subject,
        outcome: "ok".to_owned(),
        ..AuditEntry::default()
    }
}

pub(super) fn token_info(row: &Row<'_>) -> rusqlite::Result<TokenInfo> {
    let roles: String = row.get("roles")?;
    let limit = match (row.get::<_, Option<i64>>("limit_events")?, row.get::<_, Option<i64>>("limit_seconds")?) {
        (Some(events), Some(seconds)) => Some(Limit { events: events as u64, seconds: seconds as u64 }),
        _ => None,
    };
    Ok(TokenInfo {
        id: row.get("id")?,
        name: row.get("name")?,
        project: row.get("project")?,
        roles: Role::ALL.into_iter().filter(|role| roles.split(',').any(|name| name == role.as_str())).collect(),
        created_ms: row.get("created_ms")?,
        expires_ms: row.get("expires_ms")?,
        limit,
    })
}

pub(super) fn hash(token: &str) -> [u8; 32] {
    Sha256::digest(token.as_bytes()).into()
}

pub(super) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        let _ = write!(text, "{byte:02x}"); // writing to a String cannot fail
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::AuditFilter;

    fn new(name: &str) -> NewToken {
        NewToken { name: name.into(), project: "shop".into(), roles: vec![Role::Ingest], expires_ms: None, limit: None }
    }

    #[test]
    fn a_token_is_found_by_its_text_alone_and_never_stored() {
        let dir = tempfile::tempdir().unwrap();
        let state = State::open(dir.path()).unwrap();
        let token = state.create_token(&new("a"), 1).unwrap();
        assert_eq!(token.len(), PREFIX.len() + 64);
        assert_eq!(state.find_token(&token, 2).unwrap().unwrap().project, "shop");
        assert_eq!(state.find_token(&format!("{token}0"), 2).unwrap(), None);
        drop(state);
        for file in std::fs::read_dir(dir.path()).unwrap() {
            let bytes = std::fs::read(file.unwrap().path()).unwrap();
            assert!(!bytes.windows(token.len()).any(|window| window == token.as_bytes()));
        }
    }

    #[test]
    fn another_process_sees_new_and_revoked_tokens_at_once() {
        let dir = tempfile::tempdir().unwrap();
        let (collector, cli) = (State::open(dir.path()).unwrap(), State::open(dir.path()).unwrap());
        let token = cli.create_token(&new("a"), 1).unwrap();
        let id = collector.find_token(&token, 2).unwrap().unwrap().id;
        assert!(collector.is_valid_token(&id, 2).unwrap());
        cli.revoke_token("a", 3).unwrap();
        assert!(collector.find_token(&token, 2).unwrap().is_none() && !collector.is_valid_token(&id, 2).unwrap());
        assert!(matches!(cli.revoke_token("a", 4), Err(StateError::NoToken(_))));
        let filter = AuditFilter { to_ms: 10, ..AuditFilter::default() };
        let entries = collector.audit("shop", &filter, 10).unwrap().into_iter();
        let deeds: Vec<_> = entries.map(|entry| (entry.action, entry.subject, entry.at_ms)).collect();
        let deed = |action: &str, subject: &str, at_ms| (action.to_owned(), subject.to_owned(), at_ms);
        assert_eq!(deeds, [deed("token revoked", "a", 3), deed("token created", "a (ingest)", 1)]);
    }

    #[test]
    fn an_expired_token_is_unknown() {
        let dir = tempfile::tempdir().unwrap();
        let state = State::open(dir.path()).unwrap();
        let token = state.create_token(&NewToken { expires_ms: Some(100), ..new("a") }, 1).unwrap();
        let id = state.find_token(&token, 99).unwrap().unwrap().id;
        assert!(state.find_token(&token, 100).unwrap().is_none());
        assert_eq!([99, 100].map(|now_ms| state.is_valid_token(&id, now_ms).unwrap()), [true, false]);
    }

    #[test]
    fn a_name_is_used_once() {
        let dir = tempfile::tempdir().unwrap();
        let state = State::open(dir.path()).unwrap();
        state.create_token(&new("a"), 1).unwrap();
        assert!(matches!(state.create_token(&new("a"), 1), Err(StateError::TokenExists(_))));
    }

    #[test]
    fn limits_read_as_they_are_shown() {
        assert_eq!("10/60s".parse::<Limit>().unwrap().to_string(), "10/60s");
        assert_eq!("10/2m".parse::<Limit>().unwrap(), Limit { events: 10, seconds: 120 });
        for text in ["", "10", "10/", "10/0s", "0/1s", "x/1s", "1/1d", "1/25h", "1/é"] {
            assert!(text.parse::<Limit>().is_err(), "{text}");
        }
    }
}
