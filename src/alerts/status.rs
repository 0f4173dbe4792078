//! How the evaluation itself is: for those who ask, beside the state of each alert.

use std::sync::{Arc, Mutex, PoisonError};

/// When alerts were last evaluated, and whether that goes on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Evaluation {
    /// The end of the newest windows that were evaluated, milliseconds since the Unix epoch.
    pub evaluated_ms: Option<i64>,
    /// Why every state stays as it is: `frozen: no data since …`.
    pub frozen: Option<String>,
}

/// The [`Evaluation`], shared. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Status(Arc<Mutex<Evaluation>>);

impl Status {
    #[must_use]
    pub fn get(&self) -> Evaluation {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn evaluated(&self, end: i64) {
        let mut evaluation = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        evaluation.evaluated_ms = evaluation.evaluated_ms.max(Some(end));
        evaluation.frozen = None;
    }

    /// Whether this is news.
    pub(super) fn frozen(&self, since_ms: i64, why: &str) -> bool {
        let mut evaluation = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let is_news = evaluation.frozen.is_none();
        let since = evaluation.evaluated_ms.unwrap_or(since_ms);
        evaluation.frozen = Some(format!("frozen: no data since {} ({why})", crate::clock::rfc3339(since)));
        is_news
    }
}
