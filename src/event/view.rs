//! An event as borrowed parts: what the ingest path hands on without owning a text of it.

use serde::Serialize;

use super::{Event, EventKey, Exception, FieldError, Marks, RateLimit, RequestId};

/// An [`Event`] whose texts stand somewhere else. Its fields are the event's, in the same order, so that both have the same
/// encoding (see [`super::codec`]).
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct EventView<'a> {
    pub project: &'a str,
    pub key: EventKey,
    pub event_id: &'a str,
    /// In its canonical form.
    pub request_id: &'a str,
    pub timestamp_ms: i64,
    pub received_at_ms: i64,
    pub status: u16,
    pub service: &'a str,
    pub environment: &'a str,
    pub release: &'a str,
    pub host: &'a str,
    pub method: &'a str,
    pub path: &'a str,
    pub route: &'a str,
    pub error: &'a str,
    pub error_template: &'a str,
    pub code: &'a str,
    pub errors: &'a [FieldError],
    pub response: &'a str,
    pub account_id: &'a str,
    pub user_id: &'a str,
    pub duration_ms: Option<f64>,
    pub rate_limit: Option<RateLimit>,
    pub client_ip: &'a str,
    pub user_agent: &'a str,
    pub trace_id: &'a str,
    pub span_id: &'a str,
    pub request_headers: &'a [(String, String)],
    pub response_headers: &'a [(String, String)],
    pub exception: Option<&'a Exception>,
    pub attributes: &'a [(String, String)],
    pub fingerprint: u64,
    pub marks: Marks,
}

impl EventView<'_> {
    /// The event with texts of its own.
    #[must_use]
    pub fn to_event(&self) -> Event {
        Event {
            project: self.project.to_owned(),
            key: self.key,
            event_id: self.event_id.to_owned(),
            request_id: RequestId::of_canonical(self.request_id),
            timestamp_ms: self.timestamp_ms,
            received_at_ms: self.received_at_ms,
            status: self.status,
            service: self.service.to_owned(),
            environment: self.environment.to_owned(),
            release: self.release.to_owned(),
            host: self.host.to_owned(),
            method: self.method.to_owned(),
            path: self.path.to_owned(),
            route: self.route.to_owned(),
            error: self.error.to_owned(),
            error_template: self.error_template.to_owned(),
            code: self.code.to_owned(),
            errors: self.errors.to_vec(),
            response: self.response.to_owned(),
            account_id: self.account_id.to_owned(),
            user_id: self.user_id.to_owned(),
            duration_ms: self.duration_ms,
            rate_limit: self.rate_limit,
            client_ip: self.client_ip.to_owned(),
            user_agent: self.user_agent.to_owned(),
            trace_id: self.trace_id.to_owned(),
            span_id: self.span_id.to_owned(),
            request_headers: self.request_headers.to_vec(),
            response_headers: self.response_headers.to_vec(),
            exception: self.exception.cloned(),
            attributes: self.attributes.to_vec(),
            fingerprint: self.fingerprint,
            marks: self.marks,
        }
    }
}

impl<'a> From<&'a Event> for EventView<'a> {
    fn from(event: &'a Event) -> Self {
        Self {
            project: &event.project,
            key: event.key,
            event_id: &event.event_id,
            request_id: event.request_id.as_str(),
            timestamp_ms: event.timestamp_ms,
            received_at_ms: event.received_at_ms,
            status: event.status,
            service: &event.service,
            environment: &event.environment,
            release: &event.release,
            host: &event.host,
            method: &event.method,
            path: &event.path,
            route: &event.route,
            error: &event.error,
            error_template: &event.error_template,
            code: &event.code,
            errors: &event.errors,
            response: &event.response,
            account_id: &event.account_id,
            user_id: &event.user_id,
            duration_ms: event.duration_ms,
            rate_limit: event.rate_limit,
            client_ip: &event.client_ip,
            user_agent: &event.user_agent,
            trace_id: &event.trace_id,
            span_id: &event.span_id,
            request_headers: &event.request_headers,
            response_headers: &event.response_headers,
            exception: event.exception.as_ref(),
            attributes: &event.attributes,
            fingerprint: event.fingerprint,
            marks: event.marks,
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::{
        decode,
        event::{codec, view::EventView},
    };

    #[test]
    fn a_view_encodes_as_its_event_does() {
        let body = br#"{"request_id":"r-1","status":500,"service":"a","environment":"b","release":"c","host":"d",
            "method":"get","path":"/e/1","error":"f","errors":{"g":["h"]},"response":{"code":"i"},"account_id":1,
            "user_id":2,"duration_ms":1.5,"client_ip":"192.0.2.1","user_agent":"j","trace_id":"k","span_id":"l",
            "request_headers":{"Accept":"m"},"response_headers":{"X-RateLimit-Limit":"5"},"event_id":"n",
            "exception":{"type":"o","message":"p","stacktrace":"q"},"attributes":{"r":"s"},"extra":1}"#;
        let events = decode::tests::array(body).unwrap();
        let event = &events.events[0].1;
        let by_serde = postcard::to_stdvec(event).unwrap();
        assert_eq!(codec::encode(EventView::from(event))[1..], by_serde);
        assert_eq!(codec::decode(&codec::encode(EventView::from(event))).unwrap(), *event);
    }
}
