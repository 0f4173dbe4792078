//! What stands beside an alert that fires, so that whoever is told need not search first.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{
    evaluate::Finding,
    rule::{DAY_MS, Labels, Rule},
};
use crate::{
    clock::rfc3339,
    store::{Store, StoreError, query::Filter},
};

/// Events behind an alert, as they were when it fired.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Evidence {
    /// Events in the window that fit the alert.
    pub events: u64,
    /// The routes with most of them, at most three.
    pub groups: Vec<Group>,
    /// The accounts with most of them, at most three.
    pub accounts: Vec<AccountShare>,
    /// Request ids to look up, at most five.
    pub samples: Vec<String>,
    /// The first of them in the window.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_seen: Option<String>,
    /// The newest release, if it came within the day and after another one: it may be what has changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub release: Option<ReleaseChange>,
    /// The events, as a page of the console.
    pub link: String,
}

/// Events of one route and status.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Group {
    pub service: String,
    pub route: String,
    pub status: u16,
    pub events: u64,
}

/// Events of one account.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct AccountShare {
    pub account: String,
    pub events: u64,
    /// Part of all, 0 to 1.
    pub share: f64,
}

/// A change of release.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ReleaseChange {
    pub from: String,
    pub to: String,
    /// The first event of the new one.
    pub seen_at: String,
}

/// The events that an alert is about.
#[must_use]
pub fn filter(rule: &Rule, labels: &Labels, (from_ms, to_ms): (i64, i64)) -> Filter {
    let mut filter = Filter { statuses: rule.kind.statuses(), ..rule.filter(from_ms, to_ms) };
    for (name, value) in labels {
        let value = vec![value.clone()];
        match name.as_str() {
            "service" => filter.services = value,
            "environment" => filter.environments = value,
            "route" => filter.routes = value,
            "method" => filter.methods = value,
            "account" => filter.account_ids = value,
            "field" => filter.fields = value,
            "rule" => filter.rules = value,
            "fingerprint" => filter.fingerprints = u64::from_str_radix(&value[0], 16).into_iter().collect(),
            _ => {}
        }
    }
    filter
}

/// The evidence of a finding as far as it needs no reading: where to look.
#[must_use]
pub fn link_alone(rule: &Rule, labels: &Labels, finding: &Finding, base_url: &str) -> Evidence {
    Evidence { link: link(base_url, &filter(rule, labels, finding.window)), ..Evidence::default() }
}

/// Reads the evidence of a finding.
///
/// # Errors
/// When the store does not answer: the alert then fires without it.
pub async fn gather(
    store: &Store,
    project: &str,
    rule: &Rule,
    labels: &Labels,
    finding: &Finding,
    base_url: &str,
) -> Result<Evidence, StoreError> {
    let filter = filter(rule, labels, finding.window);
    let (short, groups, accounts, own) = tokio::try_join!(
        store.in_short(project, &filter),
        store.top_groups(project, &filter),
        store.top_accounts(project, &filter),
        store.releases_seen(project, &filter)
    )?;
    // A release is of the service, whatever it answers. Two that ran side by side before the day are no change of it.
    let (end, day) = (finding.window.1, finding.window.1 - DAY_MS);
    let two_days = Filter {
        from_ms: day - DAY_MS,
        to_ms: end,
        services: if filter.services.is_empty() {
            groups.iter().map(|group| group.service.clone()).collect::<BTreeSet<_>>().into_iter().collect()
        } else {
            filter.services.clone()
        },
        environments: filter.environments.clone(),
        ..Filter::default()
    };
    let mut releases = store.releases_seen(project, &two_days).await?.into_iter();
    let release = releases
        .next()
        .zip(releases.next())
        .filter(|(to, _)| to.first_seen >= day)
        // One that none of these events is of has not changed them: it is of another environment, say. Of a silence, there are none.
        .filter(|(to, _)| short.events == 0 || own.iter().any(|seen| seen.release == to.release))
        .map(|(to, from)| ReleaseChange { from: from.release, to: to.release, seen_at: rfc3339(to.first_seen) });
    let share = |events: u64| if short.events == 0 { 0.0 } else { events as f64 / short.events as f64 };
    Ok(Evidence {
        events: short.events,
        groups: groups
            .into_iter()
            .map(|group| Group {
                service: group.service,
                route: group.route,
                status: group.status,
                events: group.events,
            })
            .collect(),
        accounts: accounts
            .into_iter()
            .map(|top| AccountShare { account: top.account, events: top.events, share: share(top.events) })
            .collect(),
        samples: short.samples,
        first_seen: (short.events > 0).then(|| rfc3339(short.first_seen)),
        release,
        link: link(base_url, &filter),
    })
}

/// The search that shows the events of a filter.
fn link(base_url: &str, filter: &Filter) -> String {
    let mut query = url::form_urlencoded::Serializer::new(String::new());
    let lists = [
        ("service", &filter.services),
        ("environment", &filter.environments),
        ("route", &filter.routes),
        ("method", &filter.methods),
        ("account_id", &filter.account_ids),
        ("field", &filter.fields),
        ("rule", &filter.rules),
    ];
    for (name, values) in lists {
        for value in values {
            query.append_pair(name, value);
        }
    }
    for status in &filter.statuses {
        query.append_pair("status", &status.to_string());
    }
    for fingerprint in &filter.fingerprints {
        query.append_pair("fingerprint", &format!("{fingerprint:016x}"));
    }
    query.append_pair("from", &rfc3339(filter.from_ms)).append_pair("to", &rfc3339(filter.to_ms));
    format!("{base_url}/explore?{}", query.finish())
}
