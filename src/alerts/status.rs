//! How the evaluation itself is: for those who ask, beside the state of each alert.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex, PoisonError},
};

/// How it begins when nothing can be evaluated.
const NO_DATA: &str = "frozen: no data since ";

/// When alerts were last evaluated, and whether that goes on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Evaluation {
    /// The end of the newest windows that were evaluated, milliseconds since the Unix epoch.
    pub evaluated_ms: Option<i64>,
    /// Why states stay as they are: all of them (`frozen: no data since …`), or those of some rules (`frozen: rule …`).
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

    /// Rules were evaluated up to `end`; none if no rule could be. Those of `failing` could not.
    pub(super) fn evaluated(&self, end: Option<i64>, failing: &BTreeSet<String>) {
        let mut evaluation = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        evaluation.evaluated_ms = evaluation.evaluated_ms.max(end);
        let names: Vec<_> = failing.iter().map(String::as_str).collect();
        // Why is in the log: what ClickHouse says may have the query in it.
        evaluation.frozen = match &names[..] {
            [] => None,
            [name] => Some(format!("frozen: rule {name} cannot be evaluated (the collector's log says why)")),
            names => {
                Some(format!("frozen: rules {} cannot be evaluated (the collector's log says why)", names.join(", ")))
            }
        };
    }

    /// No rule can be evaluated. Whether this is news.
    pub(crate) fn frozen(&self, since_ms: i64, why: &str) -> bool {
        let mut evaluation = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let is_news = evaluation.frozen.as_ref().is_none_or(|frozen| !frozen.starts_with(NO_DATA));
        let since = evaluation.evaluated_ms.unwrap_or(since_ms);
        evaluation.frozen = Some(format!("{NO_DATA}{} ({why})", crate::clock::rfc3339(since)));
        is_news
    }
}
