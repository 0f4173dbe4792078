//! Slack's incoming webhooks, which Mattermost and others take too: one text in its markup.

use reqwest::header::HeaderMap;
use serde_json::json;

use super::{Notification, SendError, http};
use crate::alerts::receiver::{Network, SecretText};

pub(super) async fn send(url: &SecretText, allow: &[Network], notification: &Notification) -> Result<(), SendError> {
    let body = json!({"text": text(notification)}).to_string().into_bytes();
    http::post(http::address(url)?, allow, HeaderMap::new(), body).await
}

fn text(notification: &Notification) -> String {
    let facts = notification.facts().into_iter().map(|(name, text)| format!("• {name}: {}", escaped(&text)));
    let lines: Vec<_> = std::iter::once(format!("*{}*", escaped(&notification.title()))).chain(facts).collect();
    lines.join("\n")
}

/// So that no text of a client mentions anybody (`<!channel>`) or hides a link.
fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::alerts::notify::{Status, message::tests::notification};

    #[test]
    fn texts_of_clients_are_no_markup() {
        let text = text(&notification(Status::Firing));
        assert!(
            text.starts_with("*[FIRING] page · errors · route=/a/&lt;int:pk&gt;/ service=api*\n• what: 50 over 10 X\n"),
            "{text}"
        );
        assert!(!text.contains('<'), "{text}");
    }
}
