//! What a support person may send to the customer: short, friendly, and nothing internal in it.
//!
//! The text is made of catalog wording alone. Of the event it shows: the request id, the time, the rate limit, field
//! paths, and, for a 4xx only, a message without wording of its own, because the customer read that message in the answer.
//! Never: anything of a 5xx's body, exceptions, routes, hosts, headers, account and user ids.

use std::fmt::Write as _;

use chrono::{DateTime, Utc};

use super::{
    Catalog, Explanation,
    explain::Worded,
    template::{clean, fill},
};
use crate::event::Event;

/// Most field errors listed one by one.
const MAX_LINES: usize = 10;
/// Longest quotation of a message, in characters.
const MAX_QUOTE: usize = 200;
/// Longest field path shown, in characters.
const MAX_PATH: usize = 80;
/// A reset further than this from the event is no reset, in seconds (31 days).
const MAX_RESET: i64 = 31 * 24 * 3600;

const SERVER_ERROR: &str = "Something went wrong on our side; nothing is wrong with your request. Please try again in a few \
     minutes. If it keeps happening, tell us and we will look into it.";
const CLIENT_ERROR: &str = "Your request could not be processed as it was sent. Please check it against the API \
     documentation and send it again.";

impl Catalog {
    /// The reply to paste; `explanation` is that of [`Catalog::explain`] for the same event.
    #[must_use]
    pub fn customer_reply(&self, event: &Event, explanation: &Explanation) -> String {
        let body = if event.status >= 500 {
            self.status_words(event.status)
        } else if event.status == 429 {
            format!("{}{}", self.general_words(event, explanation), retry_time(event))
        } else if event.errors.is_empty() {
            format!("{}{}", self.general_words(event, explanation), self.general_quote(event, explanation))
        } else {
            self.field_words(event)
        };
        let when =
            sent_at(event.timestamp_ms).map_or_else(String::new, |time| format!(" about your request of {time}"));
        format!(
            "Hello,\n\nthank you for getting in touch{when}.\n\n{body}\n\nIf you need more help with this, please mention the \
             request ID {}.\n",
            event.request_id
        )
    }

    fn status_words(&self, code: u16) -> String {
        let entry = self.status(code).or_else(|| Self::generic().status(code));
        let fallback = if code >= 500 { SERVER_ERROR } else { CLIENT_ERROR };
        entry.map(|entry| entry.customer.as_str()).filter(|text| !text.is_empty()).unwrap_or(fallback).to_owned()
    }

    /// Words for the general message: those of its mapping, its scenario, its rule, its status.
    fn general_words(&self, event: &Event, explanation: &Explanation) -> String {
        if let Some(entry) = self.message_entry("", &event.error).filter(|entry| !entry.customer.is_empty()) {
            return fill(&entry.customer, "", &entry.rule);
        }
        let scenario = self.scenario(event.status, &event.error, &event.response_headers);
        if let Some(entry) = scenario.filter(|entry| !entry.customer.is_empty()) {
            return entry.customer.clone();
        }
        self.status_words(explanation.status.code)
    }

    /// The general message, when the catalog has no words for it and the customer saw it in the answer.
    fn general_quote(&self, event: &Event, explanation: &Explanation) -> String {
        let worded = self.message_entry("", &event.error).is_some_and(|entry| !entry.customer.is_empty());
        let documented = explanation.error.as_ref().is_none_or(|error| error.documented);
        if worded || documented || !was_answered(&event.response, &event.error) {
            return String::new();
        }
        quote(&event.error).map_or_else(String::new, |quoted| format!(" The answer to it read: {quoted}"))
    }

    fn field_words(&self, event: &Event) -> String {
        let shown = event.errors.iter().take(MAX_LINES).map(|error| self.word(&event.route, error));
        let lines: Vec<_> =
            shown.map(|worded| (clean(&worded.explanation.path, MAX_PATH), sentence(&worded))).collect();
        if let [(path, text)] = lines.as_slice()
            && event.errors.len() == 1
        {
            let field = if path.is_empty() || text.contains(&format!("“{path}”")) {
                String::new()
            } else {
                format!(" (The field is “{path}”.)")
            };
            return format!("Your request was not carried out. {text}{field}");
        }
        let mut body = "Your request was not carried out, for these reasons:\n".to_owned();
        for (path, text) in &lines {
            // Writing to a String does not fail.
            let _ = if path.is_empty() { write!(body, "\n- {text}") } else { write!(body, "\n- {path}: {text}") };
        }
        let more = event.errors.len() - lines.len();
        if more > 0 {
            let _ = write!(body, "\n- … and {more} more, listed in the answer to your request");
        }
        body.push_str("\n\nOnce these are put right, the request can be sent again.");
        body
    }
}

/// A field error's words; the message itself is added where the catalog knows only its rule.
fn sentence(worded: &Worded) -> String {
    let quoted = quote(&worded.explanation.message).filter(|_| !worded.own_words);
    let quoted = quoted.map_or_else(String::new, |quoted| format!(" The answer said: {quoted}"));
    format!("{}{quoted}", worded.customer)
}

/// When to retry, from the rate limit the API reported.
fn retry_time(event: &Event) -> String {
    let Some(limit) = event.rate_limit else { return String::new() };
    let mut text = limit.limit.map_or_else(String::new, |limit| format!(" The limit is {limit} requests."));
    let sent = event.timestamp_ms.div_euclid(1000);
    let reset = limit.reset.filter(|reset| reset.checked_sub(sent).is_some_and(|wait| wait.abs() <= MAX_RESET));
    if let Some((reset, time)) = reset.and_then(|reset| Some((reset, sent_at(reset.checked_mul(1000)?)?))) {
        let wait = reset - sent;
        let after = if wait > 0 { format!(" ({wait} seconds after it)") } else { String::new() };
        // Writing to a String does not fail.
        let _ = write!(text, " Requests are taken again from {time}{after}.");
    }
    text
}

fn sent_at(timestamp_ms: i64) -> Option<String> {
    let time: DateTime<Utc> = DateTime::from_timestamp_millis(timestamp_ms)?;
    Some(time.format("%-d %B %Y, %H:%M:%S UTC").to_string())
}

/// Whether the answer's body, a JSON document, has this very text in it.
fn was_answered(response: &str, text: &str) -> bool {
    fn holds(value: &serde_json::Value, text: &str) -> bool {
        match value {
            serde_json::Value::String(found) => found == text,
            serde_json::Value::Array(items) => items.iter().any(|item| holds(item, text)),
            serde_json::Value::Object(members) => members.values().any(|member| holds(member, text)),
            _ => false,
        }
    }
    serde_json::from_str(response).is_ok_and(|value| holds(&value, text))
}

/// A message in quotation marks, with addresses and keys masked; `None` when it looks like a program's own output.
fn quote(message: &str) -> Option<String> {
    const INTERNAL: [&str; 6] = ["Traceback", "Exception", "Error:", "File \"", " at 0x", "SELECT "];
    let trimmed = message.trim();
    if trimmed.is_empty() || trimmed.lines().count() > 1 || INTERNAL.iter().any(|mark| trimmed.contains(mark)) {
        return None;
    }
    let cleaned = clean(trimmed, MAX_QUOTE);
    let masked: Vec<_> = cleaned.split(' ').map(mask).collect();
    Some(format!("“{}”", masked.join(" ")))
}

/// A word, or what stands for it when it may be somebody's address, a key, or the token that scrubbing left in its
/// place (`[email:3f9a2c51d0be]`).
fn mask(word: &str) -> &str {
    let long = word.chars().filter(char::is_ascii_alphanumeric).count() >= 20;
    let is_key = long && word.chars().any(|character| character.is_ascii_digit());
    let is_token = word.contains(':') && word.contains(']');
    if word.contains('@') || is_key || is_token { "[…]" } else { word }
}
