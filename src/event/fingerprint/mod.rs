//! The identity of a kind of error: what makes two events "the same error".
//!
//! # Stored format
//!
//! The fingerprint is XXH3-64 (seed 0) over these strings, each preceded by its length in bytes as a 32-bit
//! little-endian number:
//!
//! 1. `1`, the version of this format;
//! 2. service, route, status (decimal), error template;
//! 3. the number of distinct field rules (decimal), then of each in byte order its field and its rule;
//! 4. exception type; function and file of the top frame of our own code ([`frame::top`]), empty without a stack trace.
//!
//! Not in it, so that an error stays itself: environment, release, method, messages of fields, line numbers, accounts.
//! It is stored and linked to. It never changes without a new version, and that only with a migration.

pub mod frame;

use std::collections::BTreeSet;

use xxhash_rust::xxh3::xxh3_64;

use super::{Event, Exception, FieldError};

const VERSION: &str = "1";

/// What a fingerprint is made of.
#[derive(Clone, Copy, Debug)]
pub struct Parts<'a> {
    pub service: &'a str,
    pub route: &'a str,
    pub status: u16,
    pub error_template: &'a str,
    /// Made by [`rules`].
    pub rules: &'a [u8],
    /// Made by [`thrown`]; `None` without an exception.
    pub thrown: Option<&'a [u8]>,
}

/// The fingerprint of an event; the event's own `fingerprint` is not read.
#[must_use]
pub fn of(event: &Event) -> u64 {
    let parts = Parts {
        service: &event.service,
        route: &event.route,
        status: event.status,
        error_template: &event.error_template,
        rules: &rules(&event.errors),
        thrown: Some(&thrown(event.exception.as_ref())),
    };
    of_parts(&parts, &mut Vec::with_capacity(512))
}

/// The fingerprint of these parts. `form` is a buffer; what it holds is lost.
#[must_use]
pub fn of_parts(parts: &Parts<'_>, form: &mut Vec<u8>) -> u64 {
    form.clear();
    push(VERSION, form);
    push(parts.service, form);
    push(parts.route, form);
    let digits = [100, 10, 1].map(|unit| b'0' + (parts.status / unit % 10) as u8);
    push(std::str::from_utf8(&digits).unwrap_or_default(), form);
    push(parts.error_template, form);
    form.extend_from_slice(parts.rules);
    // Three empty strings.
    form.extend_from_slice(parts.thrown.unwrap_or(&[0; 12]));
    xxh3_64(form)
}

/// The third of the strings above, in their form: how many rules, and which.
#[must_use]
pub fn rules(errors: &[FieldError]) -> Box<[u8]> {
    let rules: BTreeSet<_> = errors.iter().map(|error| (error.field.as_str(), error.rule.as_str())).collect();
    let mut form = Vec::new();
    push(&rules.len().to_string(), &mut form);
    for (field, rule) in rules {
        push(field, &mut form);
        push(rule, &mut form);
    }
    form.into()
}

/// The last of the strings above, in their form: exception and frame.
#[must_use]
pub fn thrown(exception: Option<&Exception>) -> Box<[u8]> {
    let frame = exception.and_then(|exception| frame::top(&exception.stacktrace)).unwrap_or_default();
    let mut form = Vec::new();
    push(exception.map_or("", |exception| &exception.r#type), &mut form);
    push(&frame.function, &mut form);
    push(&frame.file, &mut form);
    form.into()
}

fn push(text: &str, form: &mut Vec<u8>) {
    form.extend_from_slice(&(text.len() as u32).to_le_bytes());
    form.extend_from_slice(text.as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{EventKey, Marks, RequestId};

    fn event() -> Event {
        let error = |field: &str, rule: &str| FieldError {
            field: field.into(),
            path: field.into(),
            message: "m".into(),
            rule: rule.into(),
        };
        Event {
            project: "p".into(),
            key: EventKey(1),
            event_id: String::new(),
            request_id: RequestId::parse("r-1").unwrap(),
            timestamp_ms: 1,
            received_at_ms: 2,
            status: 422,
            service: "api".into(),
            environment: "production".into(),
            release: "1".into(),
            host: "h".into(),
            method: "POST".into(),
            path: "/items/1".into(),
            route: "/items/{id}".into(),
            error: "Validation failed".into(),
            error_template: "Validation failed".into(),
            code: String::new(),
            errors: vec![error("items[].sku", "required"), error("email", "unique")],
            response: String::new(),
            account_id: "17".into(),
            user_id: String::new(),
            duration_ms: None,
            rate_limit: None,
            client_ip: String::new(),
            user_agent: String::new(),
            trace_id: String::new(),
            span_id: String::new(),
            request_headers: vec![],
            response_headers: vec![],
            exception: Some(Exception {
                r#type: "KeyError".into(),
                message: "'a'".into(),
                stacktrace: "  File \"/srv/app/views.py\", line 5, in post\n".into(),
            }),
            attributes: vec![],
            fingerprint: 0,
            marks: Marks::default(),
        }
    }

    #[test]
    fn the_stored_format_does_not_change() {
        assert_eq!(
            of(&event()),
            GOLDEN,
            "stored fingerprints would no longer be found: see the module's documentation"
        );
    }

    const GOLDEN: u64 = 9_691_792_337_520_713_183;

    #[test]
    fn an_error_stays_itself() {
        let same: [fn(&mut Event); 7] = [
            |e| e.errors.reverse(),
            |e| e.errors.push(e.errors[0].clone()),
            |e| e.errors[0].message = "reworded".into(),
            |e| e.errors[0].path = "items[7].sku".into(),
            |e| e.release = "2".into(),
            |e| e.exception.as_mut().unwrap().stacktrace = "  File \"/srv/app/views.py\", line 9, in post\n".into(),
            |e| (e.account_id, e.fingerprint, e.environment) = ("18".into(), 5, "staging".into()),
        ];
        for (n, change) in same.iter().enumerate() {
            let mut event = event();
            change(&mut event);
            assert_eq!(of(&event), of(&self::event()), "{n}");
        }
    }

    #[test]
    fn another_error_is_another() {
        let other: [fn(&mut Event); 9] = [
            |e| e.service = "media".into(),
            |e| e.route = "/items".into(),
            |e| e.status = 400,
            |e| e.error_template = "Conflict".into(),
            |e| e.errors[0].rule = "blank".into(),
            |e| e.errors.truncate(1),
            |e| e.exception = None,
            |e| e.exception.as_mut().unwrap().stacktrace = "  File \"/srv/app/views.py\", line 5, in get\n".into(),
            // Neighbours do not run into one another.
            |e| (e.service, e.route) = ("api/items".into(), "/{id}".into()),
        ];
        for (n, change) in other.iter().enumerate() {
            let mut event = event();
            change(&mut event);
            assert_ne!(of(&event), of(&self::event()), "{n}");
        }
    }
}
