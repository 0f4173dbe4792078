//! What becomes of the events that are not taken: listed, counted, remembered.

use std::collections::BTreeMap;

use super::{PROTOCOL, Rejected};
use crate::{
    decode::Reject,
    http::Shared,
    state::{Rejection, TokenInfo},
};

/// Rejections listed in an answer, and remembered of one request; all are counted.
const LISTED_REJECTIONS: usize = 100;

/// Counts rejects and remembers those that name a request id, so that a lookup can say what became of them.
pub(super) async fn account_for(shared: &Shared, token: &TokenInfo, rejects: &[Reject], now_ms: i64) {
    if rejects.is_empty() {
        return;
    }
    for reject in rejects {
        shared.metrics.ingest_rejected.with_label_values(&[reject.reason.as_str()]).inc();
    }
    shared.metrics.ingest_events.with_label_values(&[PROTOCOL, "rejected"]).inc_by(rejects.len() as u64);
    let remembered: Vec<Rejection> = rejects
        .iter()
        .filter_map(|reject| {
            let request_id = reject.request_id.as_ref()?.as_str().to_owned();
            let words: Vec<_> = reject.errors.iter().map(|(field, text)| format!("{field}: {text}")).collect();
            Some(Rejection {
                request_id,
                at_ms: now_ms,
                reason: reject.reason.as_str().to_owned(),
                message: words.join("; "),
            })
        })
        .take(LISTED_REJECTIONS)
        .collect();
    if remembered.is_empty() {
        return;
    }
    let (state, project) = (shared.state.clone(), token.project.clone());
    let written = tokio::task::spawn_blocking(move || state.remember_rejections(&project, &remembered, now_ms)).await;
    // The good events are durable and the client is told of the bad ones: only a later lookup of these knows less.
    match written {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::error!(%error, "rejections are not remembered; a lookup will not know of them"),
        Err(error) => tracing::error!(%error, "rejections are not remembered; a lookup will not know of them"),
    }
}

/// The first of them, for the answer.
pub(super) fn list(rejects: &[Reject]) -> Vec<Rejected> {
    let listed = rejects.iter().take(LISTED_REJECTIONS).map(|reject| {
        let mut errors: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for (field, message) in &reject.errors {
            errors.entry(field.clone()).or_default().push(message.clone());
        }
        Rejected { index: reject.index, errors }
    });
    listed.collect()
}
