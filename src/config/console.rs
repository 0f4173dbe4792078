//! Settings of the console.

use serde::{Deserialize, Serialize};

/// What stands for the trace's id in [`Console::trace_url`].
const TRACE_ID: &str = "{trace_id}";
/// What stands for the event's time, Unix milliseconds.
const TIME: &str = "{timestamp_ms}";

/// What pages show.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Console {
    /// Address of a trace in your tracing system, with `{trace_id}` and perhaps `{timestamp_ms}` in it; empty: traces are named and not linked.
    /// `ERRATA_CONSOLE__TRACE_URL`
    pub trace_url: String,
}

impl Console {
    /// The address of a trace; none without a setting or a trace.
    #[must_use]
    pub fn trace_link(&self, trace_id: &str, timestamp_ms: i64) -> Option<String> {
        // An id is hexadecimal digits; whatever else was sent as one must not steer where the link leads.
        let is_id = !trace_id.is_empty() && trace_id.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
        (is_id && !self.trace_url.is_empty())
            .then(|| self.trace_url.replace(TRACE_ID, trace_id).replace(TIME, &timestamp_ms.to_string()))
    }

    /// Whether the setting is an address that a trace can be put into.
    pub(super) fn is_good(&self) -> bool {
        let is_web = self.trace_url.starts_with("http://") || self.trace_url.starts_with("https://");
        self.trace_url.is_empty() || (is_web && self.trace_url.contains(TRACE_ID))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trace_is_linked_where_its_id_is_one() {
        let console = Console { trace_url: "https://t.example/{trace_id}?at={timestamp_ms}".into() };
        assert_eq!(console.trace_link("4bf9-2f", 17).as_deref(), Some("https://t.example/4bf9-2f?at=17"));
        for id in ["", "../x", "a b", "a\"onclick"] {
            assert_eq!(console.trace_link(id, 17), None, "{id}");
        }
        assert_eq!(Console::default().trace_link("4bf9", 17), None);
    }

    #[test]
    fn an_address_without_a_place_for_the_trace_is_no_good() {
        for (url, good) in [
            ("", true),
            ("https://t.example/{trace_id}", true),
            ("https://t.example/", false),
            ("javascript:{trace_id}", false),
        ] {
            assert_eq!(Console { trace_url: url.into() }.is_good(), good, "{url}");
        }
    }
}
