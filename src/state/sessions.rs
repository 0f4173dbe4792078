//! Sessions of the console: somebody has shown a token in a browser, which keeps a cookie in its place.
//!
//! Kept is the SHA-256 of the cookie. A session may hold several tokens, of several projects; one of them is the current one. It ends at its
//! own time, or with its tokens: a token that is revoked or has expired is not in it any more.

use rusqlite::{Row, TransactionBehavior, params};
use subtle::ConstantTimeEq;

use super::{
    State, StateError, TokenInfo,
    tokens::{hash, hex, token_info},
};

/// A session and who it is of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Session {
    /// The token that pages are shown for.
    pub token: TokenInfo,
    /// All tokens that were shown in it, the current one included.
    pub tokens: Vec<TokenInfo>,
    /// When it ends, milliseconds since the Unix epoch.
    pub expires_ms: i64,
}

/// What `find_session` reads of each of its tokens.
struct Held {
    hash: Vec<u8>,
    token: TokenInfo,
    is_current: bool,
    expires_ms: i64,
}

impl State {
    /// Begins a session of a token, or adds the token to the one of this cookie and makes it the current one there. Returns the cookie: the
    /// only time it can be read.
    ///
    /// # Errors
    /// When the database cannot be written, or the system gives no random numbers.
    pub fn begin_session(
        &self,
        token_id: &str,
        cookie: Option<&str>,
        now_ms: i64,
        expires_ms: i64,
    ) -> Result<String, StateError> {
        let mut random = [0; 32];
        getrandom::fill(&mut random).map_err(StateError::Random)?;
        // A new cookie each time: what was known before somebody signed in is of no use after it.
        let new = hex(&random);
        let mut connection = self.write();
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        transaction.execute("DELETE FROM sessions WHERE expires_ms <= ?", [now_ms])?;
        let hash_of_new = hash(&new);
        if let Some(cookie) = cookie {
            let old = hash(cookie);
            transaction.execute(
                "UPDATE sessions SET hash = ?, current = 0, expires_ms = ? WHERE hash = ?",
                params![hash_of_new.as_slice(), expires_ms, old.as_slice()],
            )?;
        }
        transaction.execute(
            "INSERT OR REPLACE INTO sessions (hash, token_id, current, expires_ms) VALUES (?, ?, 1, ?)",
            params![hash_of_new.as_slice(), token_id, expires_ms],
        )?;
        transaction.commit()?;
        Ok(new)
    }

    /// The session of a cookie; none when it has ended, or its tokens have.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn find_session(&self, cookie: &str, now_ms: i64) -> Result<Option<Session>, StateError> {
        let hash = hash(cookie);
        let connection = self.read();
        let mut statement = connection.prepare_cached(
            "SELECT s.hash AS session_hash, s.current, s.expires_ms AS session_expires_ms, t.* FROM sessions s \
             JOIN tokens t ON t.id = s.token_id WHERE s.hash = ? AND s.expires_ms > ? ORDER BY t.project, t.name",
        )?;
        let rows = statement.query_map(params![hash.as_slice(), now_ms], held)?.collect::<Result<Vec<_>, _>>()?;
        let live: Vec<Held> = rows
            .into_iter()
            // The index finds by value; the last word has a comparison in constant time.
            .filter(|held| bool::from(held.hash.as_slice().ct_eq(&hash)))
            .filter(|held| held.token.expires_ms.is_none_or(|expires| now_ms < expires))
            .collect();
        let Some(current) = live.iter().find(|held| held.is_current).or(live.first()) else { return Ok(None) };
        let (token, expires_ms) = (current.token.clone(), current.expires_ms);
        Ok(Some(Session { token, expires_ms, tokens: live.into_iter().map(|held| held.token).collect() }))
    }

    /// Makes another token of the session the current one; false when the session does not hold it.
    ///
    /// # Errors
    /// When the database cannot be written.
    pub fn switch_session(&self, cookie: &str, token_id: &str) -> Result<bool, StateError> {
        let hash = hash(cookie);
        let mut connection = self.write();
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let chosen = transaction.execute(
            "UPDATE sessions SET current = 1 WHERE hash = ? AND token_id = ?",
            params![hash.as_slice(), token_id],
        )?;
        if chosen == 0 {
            return Ok(false);
        }
        transaction.execute(
            "UPDATE sessions SET current = 0 WHERE hash = ? AND token_id <> ?",
            params![hash.as_slice(), token_id],
        )?;
        transaction.commit()?;
        Ok(true)
    }

    /// Ends the session of a cookie.
    ///
    /// # Errors
    /// When the database cannot be written.
    pub fn end_session(&self, cookie: &str) -> Result<(), StateError> {
        self.write().execute("DELETE FROM sessions WHERE hash = ?", [hash(cookie).as_slice()])?;
        Ok(())
    }
}

fn held(row: &Row<'_>) -> rusqlite::Result<Held> {
    Ok(Held {
        hash: row.get("session_hash")?,
        token: token_info(row)?,
        is_current: row.get("current")?,
        expires_ms: row.get("session_expires_ms")?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::{NewToken, Role};

    fn state(dir: &std::path::Path) -> State {
        State::open(dir).unwrap()
    }

    /// Makes a token and returns its id.
    fn token(state: &State, name: &str, expires_ms: Option<i64>) -> String {
        let new = NewToken {
            name: name.into(),
            project: format!("{name}-project"),
            roles: vec![Role::Support],
            expires_ms,
            limit: None,
        };
        let text = state.create_token(&new, 1).unwrap();
        state.find_token(&text, 1).unwrap().unwrap().id
    }

    #[test]
    fn a_session_is_found_by_its_cookie_alone_until_it_ends() {
        let dir = tempfile::tempdir().unwrap();
        let state = state(dir.path());
        let id = token(&state, "a", None);
        let cookie = state.begin_session(&id, None, 10, 100).unwrap();
        assert_eq!(cookie.len(), 64);
        let session = state.find_session(&cookie, 99).unwrap().unwrap();
        assert_eq!((session.token.name.as_str(), session.tokens.len(), session.expires_ms), ("a", 1, 100));
        assert_eq!(state.find_session(&cookie, 100).unwrap(), None);
        assert_eq!(state.find_session(&format!("{cookie}0"), 50).unwrap(), None);
        let kept: Vec<u8> = state.read().query_row("SELECT hash FROM sessions", [], |row| row.get(0)).unwrap();
        assert_eq!(kept, hash(&cookie));
        state.end_session(&cookie).unwrap();
        assert_eq!(state.find_session(&cookie, 50).unwrap(), None);
    }

    #[test]
    fn a_session_ends_with_its_token() {
        let dir = tempfile::tempdir().unwrap();
        let state = state(dir.path());
        let (revoked, expiring) = (token(&state, "a", None), token(&state, "b", Some(50)));
        let of_revoked = state.begin_session(&revoked, None, 10, 100).unwrap();
        let of_expiring = state.begin_session(&expiring, None, 10, 100).unwrap();
        assert!(state.find_session(&of_expiring, 49).unwrap().is_some());
        assert_eq!(state.find_session(&of_expiring, 50).unwrap(), None);
        state.revoke_token("a", 15).unwrap();
        assert_eq!(state.find_session(&of_revoked, 20).unwrap(), None);
    }

    #[test]
    fn a_session_holds_several_tokens_and_signing_in_again_makes_a_new_cookie() {
        let dir = tempfile::tempdir().unwrap();
        let state = state(dir.path());
        let (a, b) = (token(&state, "a", None), token(&state, "b", None));
        let first = state.begin_session(&a, None, 10, 100).unwrap();
        let second = state.begin_session(&b, Some(&first), 20, 110).unwrap();
        assert_eq!(state.find_session(&first, 30).unwrap(), None);
        let name = |session: Option<Session>| session.map(|it| (it.token.name, it.tokens.len()));
        assert_eq!(name(state.find_session(&second, 30).unwrap()), Some(("b".into(), 2)));
        assert!(state.switch_session(&second, &a).unwrap());
        assert_eq!(name(state.find_session(&second, 30).unwrap()), Some(("a".into(), 2)));
        assert!(!state.switch_session(&second, "nobody").unwrap());
        state.revoke_token("a", 25).unwrap();
        assert_eq!(name(state.find_session(&second, 30).unwrap()), Some(("b".into(), 1)));
    }

    #[test]
    fn sessions_that_have_ended_are_forgotten() {
        let dir = tempfile::tempdir().unwrap();
        let state = state(dir.path());
        let id = token(&state, "a", None);
        state.begin_session(&id, None, 10, 100).unwrap();
        state.begin_session(&id, None, 200, 300).unwrap();
        let count: i64 = state.read().query_row("SELECT count(*) FROM sessions", [], |row| row.get(0)).unwrap();
        assert_eq!(count, 1);
    }
}
