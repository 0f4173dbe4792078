//! Alertmanager's API v2: `POST /api/v2/alerts` (github.com/prometheus/alertmanager, `api/v2/openapi.yaml`).
//!
//! It knows an alert by its labels, so these are the same from every collector. It takes one for resolved when `endsAt` has passed: a
//! firing alert ends some missed refreshes ahead, a resolved one when it resolved.

use reqwest::header::HeaderMap;
use serde::Serialize;

use super::{BELIEVED_MS, Notification, SendError, Status, http};
use crate::{
    alerts::{
        receiver::{Network, SecretText},
        rule::Labels,
    },
    clock::rfc3339,
};

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Alert<'a> {
    labels: Labels,
    annotations: Labels,
    starts_at: &'a str,
    ends_at: String,
    #[serde(rename = "generatorURL")]
    generator_url: &'a str,
}

pub(super) async fn send(
    url: &SecretText,
    allow: &[Network],
    notifications: &[Notification],
    now_ms: i64,
) -> Result<(), SendError> {
    let mut url = http::address(url)?;
    let path = format!("{}/api/v2/alerts", url.path().trim_end_matches('/'));
    url.set_path(&path);
    let alerts: Vec<_> = notifications.iter().map(|notification| alert(notification, now_ms)).collect();
    let body = serde_json::to_vec(&alerts).map_err(|error| SendError::Unmade(error.to_string()))?;
    http::post(url, allow, HeaderMap::new(), body).await
}

fn alert(notification: &Notification, now_ms: i64) -> Alert<'_> {
    let mut annotations: Labels = notification
        .facts()
        .into_iter()
        .map(|(name, text)| match name {
            // As dashboards and templates call them.
            "what" => ("summary".to_owned(), text),
            "runbook" => ("runbook_url".to_owned(), text),
            name => (name.replace(' ', "_"), text),
        })
        .collect();
    annotations.insert("value".to_owned(), notification.value.to_string());
    annotations.insert("threshold".to_owned(), notification.threshold.to_string());
    let ends_at = match (notification.status, &notification.resolved_at) {
        (Status::Resolved, Some(at)) => at.clone(),
        (Status::Resolved, None) => rfc3339(now_ms),
        (Status::Firing, _) => rfc3339(now_ms + BELIEVED_MS),
    };
    Alert {
        labels: notification
            .labels
            .iter()
            .filter(|(_, value)| !value.is_empty())
            .map(|(n, v)| (n.clone(), v.clone()))
            .collect(),
        annotations,
        starts_at: notification.fired_at.as_deref().unwrap_or(&notification.active_since),
        ends_at,
        generator_url: notification.evidence.as_ref().map_or(notification.link.as_str(), |evidence| &evidence.link),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::alerts::notify::message::tests::notification;

    #[test]
    fn a_firing_alert_ends_ahead_and_a_resolved_one_when_it_did() {
        let firing = serde_json::to_value(alert(&notification(Status::Firing), 1_000_000)).unwrap();
        assert_eq!(firing["startsAt"], "1970-01-01T00:02:00.000Z");
        assert_eq!(firing["endsAt"], "1970-01-01T00:21:40.000Z");
        assert_eq!(firing["labels"]["alertname"], "errors");
        assert_eq!(firing["labels"]["severity"], "page");
        assert_eq!(firing["annotations"]["summary"], "50 over 10 X");
        assert_eq!(firing["generatorURL"], "http://e/explore?status=5xx");
        let resolved = serde_json::to_value(alert(&notification(Status::Resolved), 1_000_000)).unwrap();
        assert_eq!(resolved["endsAt"], "1970-01-01T00:04:00.000Z");
        assert_eq!(resolved["labels"], firing["labels"], "else it would be another alert");
    }
}
