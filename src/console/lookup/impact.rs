//! How widespread an error is, in sentences.

use crate::{
    console::{
        chart::spark,
        view::{
            Explore, Markup, number, percent, plural,
            time::{Format, ago, moment},
        },
    },
    event::Event,
    store::query::Impact,
};

pub(super) struct ImpactView {
    pub(super) spark: Markup,
    /// How many events, and where they lead.
    pub(super) events: Markup,
    /// `12 accounts`, `only this account`.
    pub(super) accounts: String,
    /// This account's part; empty where it is the only one, or nobody's.
    pub(super) share: String,
    pub(super) since: Markup,
    pub(super) since_ago: Markup,
    pub(super) releases: String,
}

impl ImpactView {
    pub(super) fn new(event: &Event, impact: &Impact, now_ms: i64) -> Self {
        let link =
            Explore::between(impact.from_ms, impact.to_ms).with("fingerprint", format!("{:016x}", event.fingerprint));
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
        let releases = match impact.releases.as_slice() {
            [] => String::new(),
            [release] => format!("All in release {release}."),
            several => format!("In releases {}: not tied to one.", several.join(", ")),
        };
        Self {
            spark: spark(&impact.per_minute, &format!("{events} in the hour around")),
            events: link.text(&events),
            accounts,
            share,
            since: moment(impact.first_seen_ms, Format::Minute),
            since_ago: ago(impact.first_seen_ms, now_ms),
            releases,
        }
    }
}
