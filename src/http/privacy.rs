//! Who may see whom: what an asker sees of the people behind events.
//!
//! - [`Sight`] is made of a token. Stored events become answers through it alone ([`super::stored`]), and so does every id of an
//!   account or a user ([`Shown`]) in an answer that somebody who sees no people may ask for: a handler that forgot would not compile.
//!   What only those roles may ask that see people (lookups, rate limits, alerts) has ids as they are.
//! - A token with a role that works with people (`support`, `sre`, `admin`) sees them; one that has only `product` sees
//!   pseudonyms. Of several roles the one that reaches furthest counts.
//! - `translate` turns pseudonyms in `account_id` and `user_id` into the ids they stand for, wherever query parameters are read
//!   (`super::params::Params`), so every filter takes what answers show.

use std::{
    collections::{BTreeSet, HashMap},
    sync::{Arc, Mutex, PoisonError},
};

use serde::Serialize;
use utoipa::ToSchema;

use super::{Parts, Shared, answer::ApiError, params, unavailable};
use crate::{
    event::{
        Event,
        catalog::{ErrorExplanation, Explanation, FieldExplanation},
        pseudonym::{self, Person, Pseudonyms},
    },
    state::{Role, TokenInfo},
    store::query::FailureKey,
};

/// Pseudonyms whose ids are remembered; past it they are found in the store.
const REMEMBERED: usize = 200_000;

/// What an id becomes that is nobody's: no event has it, as no text of an event holds U+0000.
const NOBODY: &str = "\u{0}";

/// Different pseudonyms that a parameter takes.
const MOST_NAMES: usize = 50;

const DAY_MS: i64 = 86_400_000;

/// Roles that work with people.
const WITH_PEOPLE: [Role; 2] = [Role::Support, Role::Sre];

/// Pseudonyms, and what was made of them.
#[derive(Debug)]
pub struct Privacy {
    pub pseudonyms: Pseudonyms,
    /// Ids by project, kind and pseudonym.
    known: Mutex<HashMap<(String, Person, String), String>>,
}

impl Privacy {
    #[must_use]
    pub fn new(pseudonyms: Pseudonyms) -> Arc<Self> {
        Arc::new(Self { pseudonyms, known: Mutex::default() })
    }

    fn name(&self, project: &str, person: Person, id: &str) -> String {
        let name = self.pseudonyms.of(project, person, id);
        if !id.is_empty() {
            self.remember(project, person, &name, id);
        }
        name
    }

    fn remember(&self, project: &str, person: Person, name: &str, id: &str) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= REMEMBERED {
            known.clear();
        }
        known.insert((project.to_owned(), person, name.to_owned()), id.to_owned());
    }

    /// The names that some of the ids have, with those; each is remembered.
    fn search(
        &self,
        project: &str,
        person: Person,
        mut names: BTreeSet<String>,
        ids: Vec<String>,
    ) -> Vec<(String, String)> {
        let mut found = Vec::new();
        for id in ids {
            if names.is_empty() {
                break;
            }
            let name = self.pseudonyms.of(project, person, &id);
            if names.remove(&name) {
                self.remember(project, person, &name, &id);
                found.push((name, id));
            }
        }
        found
    }

    fn recall(&self, project: &str, person: Person, name: &str) -> Option<String> {
        let key = (project.to_owned(), person, name.to_owned());
        self.known.lock().unwrap_or_else(PoisonError::into_inner).get(&key).cloned()
    }
}

impl Parts {
    /// What a token's owner sees.
    #[must_use]
    pub fn sight(&self, token: &TokenInfo) -> Sight {
        let veil = (!token.has_any(&WITH_PEOPLE)).then(|| (Arc::clone(&self.privacy), token.project.clone()));
        Sight { veil }
    }
}

/// What an asker sees of the people behind events.
#[derive(Clone, Debug)]
pub struct Sight {
    /// For those who see pseudonyms: what makes them, and the project.
    veil: Option<(Arc<Privacy>, String)>,
}

/// A text about somebody, as an asker may see it. Only [`Sight`] makes one.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, ToSchema)]
#[serde(transparent)]
#[schema(value_type = String)]
pub struct Shown(String);

impl Shown {
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Display for Shown {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl Sight {
    /// Whether ids are shown as they are.
    #[must_use]
    pub const fn sees_people(&self) -> bool {
        self.veil.is_none()
    }

    #[must_use]
    pub fn account(&self, id: String) -> Shown {
        self.person(Person::Account, id)
    }

    #[must_use]
    pub fn user(&self, id: String) -> Shown {
        self.person(Person::User, id)
    }

    /// An address, an agent, a host, a path with ids in it: shown or left out.
    #[must_use]
    pub fn whole(&self, text: String) -> Shown {
        Shown(if self.sees_people() { text } else { String::new() })
    }

    /// A message: shown, or with [what may be somebody's](pseudonym::PERSONAL) masked.
    #[must_use]
    pub fn message(&self, text: String) -> Shown {
        Shown(if self.sees_people() { text } else { pseudonym::masked(&text).into_owned() })
    }

    /// What messages are counted by, so that two that are shown alike are one.
    #[must_use]
    pub const fn message_key(&self) -> FailureKey {
        if self.sees_people() { FailureKey::Message } else { FailureKey::MaskedMessage }
    }

    /// A message of an event whose account and user are known: they are not named in it either.
    #[must_use]
    pub fn message_of(&self, text: String, account_id: &str, user_id: &str) -> Shown {
        let Some((privacy, project)) = &self.veil else { return Shown(text) };
        let text = pseudonym::masked(&text);
        let account = privacy.name(project, Person::Account, account_id);
        let text = pseudonym::without_word(&text, account_id, &account);
        Shown(pseudonym::without_word(&text, user_id, &privacy.name(project, Person::User, user_id)))
    }

    /// What an event means, without what may be somebody's in the messages it quotes.
    #[must_use]
    pub fn explanation(&self, explanation: Explanation, event: &Event) -> Explanation {
        if self.sees_people() {
            return explanation;
        }
        let shown = |text: String| self.message_of(text, &event.account_id, &event.user_id).to_string();
        let Explanation { headline, status, error, fields, scenario, documented } = explanation;
        Explanation {
            headline: shown(headline),
            error: error.map(|error| ErrorExplanation { message: shown(error.message), ..error }),
            fields: fields
                .into_iter()
                .map(|field| FieldExplanation { message: shown(field.message), ..field })
                .collect(),
            status,
            scenario,
            documented,
        }
    }

    /// A text that is about nobody.
    #[must_use]
    pub fn plain(&self, text: String) -> Shown {
        Shown(text)
    }

    fn person(&self, person: Person, id: String) -> Shown {
        match &self.veil {
            None => Shown(id),
            Some((privacy, project)) => Shown(privacy.name(project, person, &id)),
        }
    }
}

/// The parameters that name people.
const PARAMETERS: [(&str, Person); 2] = [("account_id", Person::Account), ("user_id", Person::User)];

/// Puts ids in the place of pseudonyms in query parameters of a path.
///
/// # Errors
/// 403 for a plain id from somebody who may not see people: else they could be found by trying. 400 for more than [`MOST_NAMES`].
pub(super) async fn translate(
    shared: &Shared,
    token: &TokenInfo,
    path: &str,
    pairs: &mut [(String, String)],
) -> Result<(), ApiError> {
    let sees_people = shared.sight(token).sees_people();
    for (parameter, person) in PARAMETERS {
        let asked: Vec<String> =
            pairs.iter().filter(|(name, _)| name == parameter).flat_map(|(_, value)| names(value)).collect();
        let (pseudonyms, plain): (BTreeSet<_>, BTreeSet<_>) =
            asked.into_iter().partition(|name| pseudonym::is_pseudonym(person, name));
        if !plain.is_empty() && !sees_people {
            let needs = format!(
                "{parameter}: a token of the role product filters by pseudonyms ({}…), as answers show them; ids need the role \
                 support or sre",
                if person == Person::Account { "acct_" } else { "user_" }
            );
            return Err(ApiError::forbidden(needs));
        }
        if pseudonyms.len() > MOST_NAMES {
            let message = format!("takes {MOST_NAMES} pseudonyms at most; ask in parts");
            return Err(ApiError::invalid(parameter, message));
        }
        if pseudonyms.is_empty() {
            continue;
        }
        let range = range_of(shared, path, pairs);
        let found = find(shared, &token.project, person, pseudonyms, range).await?;
        let id_of = |name: String| match found.get(&name) {
            Some(id) => id.clone(),
            // To somebody who sees people it may be an id that only looks like one.
            None if sees_people => name,
            None => NOBODY.to_owned(),
        };
        for (_, value) in pairs.iter_mut().filter(|(name, _)| name == parameter) {
            let ids: Vec<_> = names(value)
                .map(|name| if pseudonym::is_pseudonym(person, &name) { id_of(name) } else { name })
                .collect();
            *value = ids.join(",");
        }
    }
    Ok(())
}

/// The range whose people are looked through.
fn range_of(shared: &Shared, path: &str, pairs: &[(String, String)]) -> (i64, i64) {
    let now_ms = shared.clock.now_ms();
    if path.ends_with("/tail") {
        // What comes in may be of anybody who was ever there.
        return (now_ms - i64::from(shared.config.retention_days) * DAY_MS, now_ms + 1);
    }
    params::range_of(pairs, now_ms)
}

/// The names in a parameter's value.
fn names(value: &str) -> impl Iterator<Item = String> + '_ {
    value.split(',').map(str::trim).filter(|name| !name.is_empty()).map(str::to_owned)
}

/// The ids that pseudonyms stand for: remembered, or among those that the range has. The store is asked once, whatever their number.
async fn find(
    shared: &Shared,
    project: &str,
    person: Person,
    mut names: BTreeSet<String>,
    range: (i64, i64),
) -> Result<HashMap<String, String>, ApiError> {
    let mut found = HashMap::new();
    names.retain(|name| match shared.privacy.recall(project, person, name) {
        Some(id) => found.insert(name.clone(), id).is_some(),
        None => true,
    });
    if names.is_empty() {
        return Ok(found);
    }
    let seen = shared.timed("people_seen", shared.store.people_seen(project, person, range));
    let seen = seen.await.map_err(|error| unavailable(&error))?;
    let (privacy, project) = (Arc::clone(&shared.privacy), project.to_owned());
    // Half a million ids take half a second to hash: not on a thread that serves.
    let hits = tokio::task::spawn_blocking(move || privacy.search(&project, person, names, seen)).await;
    found.extend(hits.map_err(|error| ApiError::internal("finding pseudonyms", &error))?);
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::pseudonym::SECRET_BYTES;

    #[test]
    fn of_all_that_were_looked_through_only_hits_are_remembered() {
        let privacy = Privacy::new(Pseudonyms::new(&[7; SECRET_BYTES]));
        let name = privacy.pseudonyms.of("p", Person::Account, "17");
        let wanted = BTreeSet::from([name.clone(), "acct_000000000000".to_owned()]);
        let seen = (0..100).map(|id| id.to_string()).collect();
        let found = privacy.search("p", Person::Account, wanted, seen);
        assert_eq!(found, [(name.clone(), "17".to_owned())]);
        assert_eq!(privacy.known.lock().unwrap().len(), 1);
        assert_eq!(privacy.recall("p", Person::Account, &name).as_deref(), Some("17"));
    }

    #[test]
    fn texts_are_masked_or_left_out_for_who_sees_no_people() {
        let privacy = Privacy::new(Pseudonyms::new(&[7; SECRET_BYTES]));
        let (veiled, plain) = (Sight { veil: Some((privacy, "p".to_owned())) }, Sight { veil: None });
        let text = || "\"anna\" is not a valid choice".to_owned();
        assert_eq!((plain.message(text()).to_string(), plain.whole(text()).to_string()), (text(), text()));
        assert_eq!((veiled.message(text()).as_str(), veiled.whole(text()).as_str()), ("… is not a valid choice", ""));
    }
}
