//! How many answers that go on there may be at once.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use crate::http::answer::ApiError;

/// When to try again: somebody has to close one first.
const RETRY_AFTER: Duration = Duration::from_secs(10);

/// Places for answers of one kind.
#[derive(Debug)]
pub(super) struct Places {
    /// What they are, in the plural.
    kind: &'static str,
    per_token: usize,
    in_all: usize,
    /// By the token's id.
    taken: Mutex<HashMap<String, usize>>,
}

/// A place that is taken until it is dropped.
#[derive(Debug)]
pub(super) struct Place {
    places: Arc<Places>,
    token_id: String,
}

impl Places {
    pub(super) fn new(kind: &'static str, per_token: usize, in_all: usize) -> Self {
        Self { kind, per_token, in_all, taken: Mutex::default() }
    }

    /// # Errors
    /// 429 when the token, or all together, have as many as there may be.
    pub(super) fn take(self: &Arc<Self>, token_id: &str) -> Result<Place, ApiError> {
        let Self { kind, per_token, in_all, .. } = **self;
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        let own = taken.get(token_id).copied().unwrap_or_default();
        let refusal = if own >= per_token {
            format!("this token has {own} {kind} open, which is as many as it may; close one, or use another token")
        } else if taken.values().sum::<usize>() >= in_all {
            format!("{in_all} {kind} are open on this collector, which is as many as it serves; try again later")
        } else {
            taken.insert(token_id.to_owned(), own + 1);
            return Ok(Place { places: Arc::clone(self), token_id: token_id.to_owned() });
        };
        Err(ApiError::rate_limited(RETRY_AFTER).field("token", refusal))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.places.taken.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = taken.get_mut(&self.token_id) {
            *count -= 1;
            if *count == 0 {
                taken.remove(&self.token_id);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_has_so_many_places_and_all_tokens_so_many() {
        let places = Arc::new(Places::new("tails", 2, 3));
        let first = places.take("a").unwrap();
        let _second = places.take("a").unwrap();
        assert!(places.take("a").is_err());
        let _third = places.take("b").unwrap();
        assert!(places.take("c").is_err());
        drop(first);
        let _again = places.take("c").unwrap();
        assert!(places.take("b").is_err());
        assert_eq!(places.taken.lock().unwrap().len(), 3);
    }
}
