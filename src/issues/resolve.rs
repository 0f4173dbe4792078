//! What is noted of an issue that is called resolved.

use crate::{
    state::Resolution,
    store::{
        Store, StoreError,
        query::{IssueFilter, IssueRelease},
    },
};

/// A client's clock may run ahead of ours by an hour; what is further ahead is rejected on arrival.
const CLOCK_AHEAD_MS: i64 = 2 * 3_600_000;

/// Releases noted as older at most, those seen last.
const MOST_OLDER: usize = 1000;

/// Who resolves which issue, and how.
#[derive(Clone, Debug)]
pub struct Resolving {
    pub project: String,
    pub fingerprint: u64,
    /// Milliseconds since the Unix epoch.
    pub now_ms: i64,
    /// Name of the token.
    pub by: String,
    pub comment: String,
    /// Empty: not said.
    pub in_release: String,
}

/// The resolution to note; none if the project has no such issue.
///
/// # Errors
/// When ClickHouse does not answer.
pub async fn resolution(store: &Store, asked: Resolving) -> Result<Option<Resolution>, StoreError> {
    let Resolving { project, fingerprint, now_ms, by, comment, in_release } = asked;
    let of_issue = IssueFilter::of(vec![fingerprint], (now_ms, now_ms.saturating_add(CLOCK_AHEAD_MS)));
    let Some(kind) = store.issue_kinds(&project, &of_issue).await?.pop() else { return Ok(None) };
    let ahead = store.issue_releases(&project, &of_issue).await?;
    let after_ms = ahead.iter().map(|release| release.last_ms).max().unwrap_or(now_ms).max(now_ms);
    let mut older_releases = Vec::new();
    if !in_release.is_empty() {
        let seen = store.service_releases(&project, &kind.service, (0, now_ms + 1)).await?;
        older_releases = older(seen, &in_release);
    }
    Ok(Some(Resolution { project, fingerprint, at_ms: now_ms, after_ms, by, comment, in_release, older_releases }))
}

/// The releases that a service had errors with before it had one with `release`, to the hour: all it ever had, where `release` is not known yet.
/// Events that name no release are of none of them.
fn older(seen: Vec<IssueRelease>, release: &str) -> Vec<String> {
    let mut first = std::collections::HashMap::new();
    for IssueRelease { release, first_ms, last_ms, .. } in seen {
        let times = first.entry(release).or_insert((first_ms, last_ms));
        *times = (times.0.min(first_ms), times.1.max(last_ms));
    }
    let began = first.get(release).map_or(i64::MAX, |(first_ms, _)| *first_ms);
    let mut older: Vec<_> = first
        .into_iter()
        .filter(|(name, (first_ms, _))| !name.is_empty() && name != release && *first_ms <= began)
        .collect();
    older.sort_by_key(|(_, (_, last_ms))| std::cmp::Reverse(*last_ms));
    older.truncate(MOST_OLDER);
    older.into_iter().map(|(name, _)| name).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn older_releases_are_those_that_came_first() {
        let seen = |release: &str, first_ms, last_ms| IssueRelease {
            fingerprint: 1,
            release: release.into(),
            events: 1,
            first_ms,
            last_ms,
        };
        let all = || vec![seen("3", 30, 35), seen("1", 20, 25), seen("1", 10, 15), seen("2", 20, 40), seen("", 1, 50)];
        assert_eq!(older(all(), "2"), ["1"]);
        assert_eq!(older(all(), "1"), [""; 0]);
        assert_eq!(older(all(), "4"), ["2", "3", "1"], "one that is not out yet");
    }
}
