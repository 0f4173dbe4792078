//! How widespread an error is, in sentences.

use std::collections::BTreeSet;

use crate::{
    console::{
        chart::spark,
        view::{
            Explore, Markup, number, percent, plural,
            time::{Format, ago, duration, moment},
        },
    },
    event::Event,
    store::query::{Impact, IssueHours},
};

const HOUR_MS: i64 = 3_600_000;

/// Releases that are named; of more, it is said how many.
const RELEASES: usize = 5;

pub(super) struct ImpactView {
    /// The days around, hour by hour; where those are not known, the hour around minute by minute.
    pub(super) spark: Markup,
    /// How many events there were in those days; empty where they are not known.
    pub(super) days: Markup,
    /// How many events, and where they lead.
    pub(super) events: Markup,
    /// `12 accounts`, `only this account`.
    pub(super) accounts: String,
    /// This account's part; empty where it is the only one, or nobody's.
    pub(super) share: String,
    pub(super) since: Markup,
    pub(super) since_ago: Markup,
    /// Of the days around.
    pub(super) releases: String,
}

impl ImpactView {
    pub(super) fn new(event: &Event, impact: &Impact, hours: Option<&IssueHours>, now_ms: i64) -> Self {
        let fingerprint = format!("{:016x}", event.fingerprint);
        let link = Explore::between(impact.from_ms, impact.to_ms).with("fingerprint", &fingerprint);
        let events = plural(impact.events, "event", "events");
        let is_alone = impact.accounts == 1 && impact.account_events > 0;
        let accounts = match impact.accounts {
            0 => "no account is named".to_owned(),
            _ if is_alone => "only this account".to_owned(),
            accounts => plural(accounts, "account", "accounts"),
        };
        let share = if is_alone || impact.account_events == 0 {
            String::new()
        } else {
            format!("This account has {} of them ({}).", percent(impact.account_share), number(impact.account_events))
        };
        let releases = hours.map(|hours| releases(&hours.releases)).unwrap_or_default();
        let (spark, days) = hours
            .and_then(|hours| days(hours, &fingerprint))
            .unwrap_or_else(|| (spark(&impact.per_minute, &format!("{events} in the hour around")), Markup::default()));
        Self {
            spark,
            days,
            events: link.text(&events),
            accounts,
            share,
            since: moment(impact.first_seen_ms, Format::Minute),
            since_ago: ago(impact.first_seen_ms, now_ms),
            releases,
        }
    }
}

/// Of which releases they were; nothing where none is named.
fn releases(releases: &BTreeSet<String>) -> String {
    let named: Vec<&str> = releases.iter().map(String::as_str).filter(|release| !release.is_empty()).collect();
    match named.as_slice() {
        [] => String::new(),
        [release] if named.len() == releases.len() => format!("All in release {release}."),
        [release] => format!("Those with a release are all of {release}."),
        several if several.len() <= RELEASES => format!("In releases {}: not tied to one.", several.join(", ")),
        several => format!("In {} releases: not tied to one.", several.len()),
    }
}

/// The hours as a picture, and their sum; none where nothing is counted.
fn days(hours: &IssueHours, fingerprint: &str) -> Option<(Markup, Markup)> {
    let events: u64 = hours.counts.iter().sum();
    if events == 0 {
        return None;
    }
    let length_ms = hours.counts.len() as i64 * HOUR_MS;
    let words = format!("{} in {}", plural(events, "event", "events"), duration(length_ms));
    let link =
        Explore::between(hours.from_ms, hours.from_ms.saturating_add(length_ms)).with("fingerprint", fingerprint);
    Some((spark(&hours.counts, &format!("{words}, by the hour")), link.text(&words)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_release_is_to_blame_only_if_it_is_the_only_one() {
        let told = |names: &[&str]| releases(&names.iter().map(|name| (*name).to_owned()).collect());
        assert_eq!([told(&[]), told(&[""])], ["", ""]);
        assert_eq!(told(&["1.4"]), "All in release 1.4.");
        assert_eq!(told(&["", "1.4"]), "Those with a release are all of 1.4.");
        assert_eq!(told(&["1.4", "1.5"]), "In releases 1.4, 1.5: not tied to one.");
        assert_eq!(told(&["1", "2", "3", "4", "5", "6"]), "In 6 releases: not tied to one.");
    }

    #[test]
    fn days_without_a_count_are_not_told_of() {
        let mut hours = IssueHours { from_ms: 0, counts: vec![0; 48], releases: BTreeSet::new() };
        assert!(days(&hours, "ff").is_none());
        hours.counts[3] = 749;
        let (spark, words) = days(&hours, "ff").unwrap();
        assert!(spark.as_str().contains("aria-label=\"749 events in 2 d, by the hour\""), "{spark}");
        assert!(words.as_str().ends_with("fingerprint=ff\">749 events in 2 d</a>"), "{words}");
    }
}
