//! The columns of `events`.

use std::sync::Arc;

use arrow_array::{ArrayRef, Float64Array, RecordBatch, UInt16Array, UInt32Array, UInt64Array};
use arrow_schema::ArrowError;
use uuid::Uuid;

use super::{
    ORIGIN_SEPARATOR,
    columns::{Ends, Texts, Words, sixteens, times},
    origin_word, request_columns,
};
use crate::{
    event::EventRef,
    store::{
        details::{self, Elsewhere},
        fold::{self, Fold},
    },
};

/// The rows of `events`.
pub(super) struct EventColumns<'a> {
    projects: Words<&'a str>,
    timestamps: Vec<i64>,
    received: Vec<i64>,
    keys: Vec<u64>,
    request_uuids: Vec<u8>,
    request_texts: Texts,
    statuses: Vec<u16>,
    origins: Words<[&'a str; 5]>,
    hosts: Words<&'a str>,
    path_values: Texts,
    errors: Words<&'a str>,
    field_ends: Ends,
    fields: Words<&'a str>,
    messages: Words<&'a str>,
    rules: Words<&'a str>,
    bodies: Texts,
    account_ids: Texts,
    user_ids: Texts,
    durations: Vec<Option<f64>>,
    client_ips: Vec<u32>,
    user_agents: Words<&'a str>,
    fingerprints: Vec<u64>,
    details: Texts,
}

impl<'a> EventColumns<'a> {
    pub fn with_capacity(rows: usize) -> Self {
        Self {
            projects: Words::with_capacity(rows),
            timestamps: Vec::with_capacity(rows),
            received: Vec::with_capacity(rows),
            keys: Vec::with_capacity(rows),
            request_uuids: Vec::with_capacity(rows * 16),
            request_texts: Texts::with_capacity(rows),
            statuses: Vec::with_capacity(rows),
            origins: Words::with_capacity(rows),
            hosts: Words::with_capacity(rows),
            path_values: Texts::with_capacity(rows),
            errors: Words::with_capacity(rows),
            field_ends: Ends::with_capacity(rows),
            fields: Words::with_capacity(rows),
            messages: Words::with_capacity(rows),
            rules: Words::with_capacity(rows),
            bodies: Texts::with_capacity(rows),
            account_ids: Texts::with_capacity(rows),
            user_ids: Texts::with_capacity(rows),
            durations: Vec::with_capacity(rows),
            client_ips: Vec::with_capacity(rows),
            user_agents: Words::with_capacity(rows),
            fingerprints: Vec::with_capacity(rows),
            details: Texts::with_capacity(rows),
        }
    }

    pub fn push(&mut self, event: &EventRef<'a>, json: &mut Vec<u8>) {
        self.projects.push(event.project);
        self.timestamps.push(event.timestamp_ms);
        self.received.push(event.received_at_ms);
        self.keys.push(event.key.stored());
        let (uuid, text) = request_columns(event.request_id);
        self.request_uuids.extend_from_slice(uuid.as_bytes());
        self.request_texts.push(text);
        self.statuses.push(event.status);
        let origin = [event.service, event.environment, event.release, event.method, event.route];
        let words = origin.map(origin_word);
        self.origins.push_with(words, |texts| texts.push(&origin_text(words)));
        self.hosts.push(event.host);
        self.errors.push(event.error);
        self.field_ends.push(event.errors.len());
        for error in &event.errors {
            self.fields.push(error.field);
            self.messages.push(error.message);
            self.rules.push(error.rule);
        }
        self.account_ids.push(event.account_id);
        self.user_ids.push(event.user_id);
        self.durations.push(event.duration_ms);
        self.user_agents.push(event.user_agent);
        self.fingerprints.push(event.fingerprint);
        self.push_folded(event, origin, json);
    }

    /// The columns in which an event says nothing twice.
    fn push_folded(&mut self, event: &EventRef<'a>, origin: [&str; 5], json: &mut Vec<u8>) {
        let fold = Fold::of(event);
        match &fold {
            Some(fold) => self.bodies.push(&fold.fold(event.response)),
            None => self.bodies.push(event.response),
        }
        let path_values = fold::path_values(event.route, event.path);
        self.path_values.push(path_values.as_deref().unwrap_or_default());
        let client_ip = ip4(event.client_ip);
        self.client_ips.push(client_ip.unwrap_or_default());
        let elsewhere = Elsewhere {
            fold: fold.as_ref(),
            origin: !origin.iter().any(|word| word.contains(ORIGIN_SEPARATOR)),
            path: path_values.is_some(),
            client_ip: client_ip.is_some(),
        };
        details::write(event, elsewhere, json);
        self.details.push_bytes(json);
    }

    pub fn finish(self, batch_id: Uuid) -> Result<RecordBatch, ArrowError> {
        let rows = self.keys.len();
        let [fields, messages, rules] =
            self.field_ends.finish([self.fields.finish()?, self.messages.finish()?, self.rules.finish()?])?;
        let columns: [(&str, ArrayRef); 23] = [
            ("project", self.projects.finish()?),
            ("timestamp", times(self.timestamps)),
            ("received_at", times(self.received)),
            ("key", Arc::new(UInt64Array::new(self.keys.into(), None))),
            ("batch_id", sixteens(batch_id.as_bytes().repeat(rows))?),
            ("request_uuid", sixteens(self.request_uuids)?),
            ("request_text", self.request_texts.finish()?),
            ("status", Arc::new(UInt16Array::new(self.statuses.into(), None))),
            ("origin", self.origins.finish()?),
            ("host", self.hosts.finish()?),
            ("path_values", self.path_values.finish()?),
            ("error", self.errors.finish()?),
            ("errors.field", fields),
            ("errors.message", messages),
            ("errors.rule", rules),
            ("body", self.bodies.finish()?),
            ("account_id", self.account_ids.finish()?),
            ("user_id", self.user_ids.finish()?),
            (DURATION, Arc::new(Float64Array::from(self.durations))),
            ("client_ip4", Arc::new(UInt32Array::new(self.client_ips.into(), None))),
            ("user_agent", self.user_agents.finish()?),
            ("fingerprint", Arc::new(UInt64Array::new(self.fingerprints.into(), None))),
            ("details", self.details.finish()?),
        ];
        RecordBatch::try_from_iter_with_nullable(columns.map(|(name, column)| (name, column, name == DURATION)))
    }
}

/// The one column that has nulls.
const DURATION: &str = "duration_ms";

/// The words of an origin as the column holds them.
fn origin_text(words: [&str; 5]) -> String {
    let mut text = String::with_capacity(words.iter().map(|word| word.len() + 1).sum());
    for (index, word) in words.into_iter().enumerate() {
        if index > 0 {
            text.push(ORIGIN_SEPARATOR);
        }
        text.push_str(word);
    }
    text
}

/// An IPv4 address as a number, if it reads back as the same text; 0 stands for none.
fn ip4(text: &str) -> Option<u32> {
    if text.is_empty() {
        return Some(0);
    }
    text.parse::<std::net::Ipv4Addr>().ok().map(u32::from).filter(|address| *address != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A dictionary with a text twice is refused.
    #[test]
    fn different_origins_are_different_words_of_the_dictionary() {
        let odd = ["a\u{1f}b", "a\u{fffd}b", "\u{fffd}", "a", "\u{1f}"];
        let words: Vec<_> = odd.map(|service| [service, "", "", "", ""].map(origin_word)).to_vec();
        for (one, other) in words.iter().flat_map(|one| words.iter().map(move |other| (one, other))) {
            assert_eq!(one == other, origin_text(*one) == origin_text(*other), "{one:?} {other:?}");
        }
    }
}
