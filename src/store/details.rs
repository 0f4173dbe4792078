//! The column `details`: the parts of an event that nothing filters or groups by, as one JSON object.
//!
//! What is empty is left out. Part of the stored format: ALIAS columns of `events` show the members by name.

use serde::{
    Deserialize, Deserializer, Serialize,
    de::{MapAccess, Visitor},
};

use super::fold::Fold;
use crate::event::{EventRef, Exception, RateLimit};

/// `details` as it is read back; members that were left out are empty.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Details {
    pub event_id: String,
    /// The words of the column `origin`, where one of them holds its separator.
    pub origin: Option<[String; 5]>,
    /// The path, where it does not follow from the route and `path_values`.
    pub path: Option<String>,
    /// The error template, where it is not the error.
    pub error_template: Option<String>,
    pub code: String,
    /// Paths of the field errors, where they are not their fields.
    pub paths: Option<Vec<String>>,
    pub rate_limit: Option<RateLimit>,
    /// The client's address, where it is no IPv4 address.
    pub client_ip: String,
    pub trace_id: String,
    pub span_id: String,
    pub request_headers: Pairs,
    pub response_headers: Pairs,
    pub exception: Option<Exception>,
    pub attributes: Pairs,
    pub marks: u32,
    /// Whether texts are stored as they were and not folded.
    pub plain: bool,
}

/// Names and values in their order; a name may come twice.
#[derive(Debug, Default)]
pub struct Pairs(pub Vec<(String, String)>);

impl<'de> Deserialize<'de> for Pairs {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct PairsVisitor;
        impl<'de> Visitor<'de> for PairsVisitor {
            type Value = Pairs;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("an object of texts")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Pairs, A::Error> {
                let mut pairs = Vec::new();
                while let Some(pair) = map.next_entry()? {
                    pairs.push(pair);
                }
                Ok(Pairs(pairs))
            }
        }
        deserializer.deserialize_map(PairsVisitor)
    }
}

/// What the other columns of an event already say of it.
#[derive(Clone, Copy, Debug)]
pub struct Elsewhere<'a> {
    /// None: the event is stored plain.
    pub fold: Option<&'a Fold<'a>>,
    pub origin: bool,
    pub path: bool,
    pub client_ip: bool,
}

/// Writes the details of an event in the place of what `json` holds.
pub fn write(event: &EventRef<'_>, elsewhere: Elsewhere<'_>, json: &mut Vec<u8>) {
    let mut object = Object::begin(json);
    object.put_text("event_id", event.event_id);
    if !elsewhere.origin {
        object.put("origin", &[event.service, event.environment, event.release, event.method, event.route]);
    }
    if !elsewhere.path {
        object.put("path", event.path);
    }
    if event.error_template != event.error {
        object.put("error_template", event.error_template);
    }
    object.put_text("code", event.code);
    if event.errors.iter().any(|error| error.path != error.field) {
        object.put("paths", &event.errors.iter().map(|error| error.path).collect::<Vec<_>>());
    }
    if let Some(limit) = &event.rate_limit {
        object.put("rate_limit", limit);
    }
    if !elsewhere.client_ip {
        object.put_text("client_ip", event.client_ip);
    }
    object.put_text("trace_id", event.trace_id);
    object.put_text("span_id", event.span_id);
    object.put_pairs("request_headers", &event.request_headers, elsewhere.fold);
    object.put_pairs("response_headers", &event.response_headers, elsewhere.fold);
    if let Some(exception) = &event.exception {
        object.put("exception", exception);
    }
    object.put_pairs("attributes", &event.attributes, None);
    if event.marks.0 != 0 {
        object.put("marks", &event.marks.0);
    }
    if elsewhere.fold.is_none() {
        object.put("plain", &true);
    }
    object.end();
}

/// A JSON object that is being written.
struct Object<'j> {
    json: &'j mut Vec<u8>,
}

impl<'j> Object<'j> {
    fn begin(json: &'j mut Vec<u8>) -> Self {
        json.clear();
        json.push(b'{');
        Self { json }
    }

    fn end(self) {
        self.json.push(b'}');
    }

    fn name(&mut self, name: &str) {
        if self.json.len() > 1 {
            self.json.push(b',');
        }
        self.json.push(b'"');
        self.json.extend_from_slice(name.as_bytes());
        self.json.extend_from_slice(b"\":");
    }

    fn put<T: Serialize + ?Sized>(&mut self, name: &str, value: &T) {
        self.name(name);
        push_json(self.json, value);
    }

    fn put_text(&mut self, name: &str, text: &str) {
        if !text.is_empty() {
            self.put(name, text);
        }
    }

    fn put_pairs(&mut self, name: &str, pairs: &[(&str, &str)], fold: Option<&Fold<'_>>) {
        if pairs.is_empty() {
            return;
        }
        self.name(name);
        for (index, (name, value)) in pairs.iter().enumerate() {
            self.json.push(if index == 0 { b'{' } else { b',' });
            push_json(self.json, name);
            self.json.push(b':');
            match fold {
                Some(fold) => push_json(self.json, &*fold.fold_header(value)),
                None => push_json(self.json, value),
            }
        }
        self.json.push(b'}');
    }
}

fn push_json<T: Serialize + ?Sized>(json: &mut Vec<u8>, value: &T) {
    if let Err(error) = serde_json::to_writer(json, value) {
        // Writing to a Vec does not fail, and texts, numbers and lists of them have no other error.
        unreachable!("a text or number always encodes: {error}");
    }
}
