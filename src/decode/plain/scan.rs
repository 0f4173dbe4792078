//! The top level of an event's JSON text, taken apart in one pass where it is plain.
//!
//! Plain: an object of known names, each once, without escapes in names and top-level texts; numbers without sign and exponent; no
//! booleans. What nested values hold is not looked at here. Whatever is not plain, or no JSON, is `None`: the full
//! way ([`crate::decode::item`]) reads it, and says what is wrong with it.

use crate::decode::item::MAX_DEPTH;

/// Deepest nesting of a value: the event around it is a level too.
const MAX_NESTED: usize = MAX_DEPTH - 1;

/// Fields an event may have, sorted by name; [`Fields`] is indexed by their place here.
const NAMES: [&str; COUNT] = [
    "account_id",
    "client_ip",
    "duration_ms",
    "environment",
    "error",
    "errors",
    "event_id",
    "exception",
    "host",
    "method",
    "path",
    "release",
    "request_headers",
    "request_id",
    "response",
    "response_headers",
    "route",
    "service",
    "span_id",
    "status",
    "timestamp",
    "trace_id",
    "user_agent",
    "user_id",
];
const COUNT: usize = 24;

/// A field by its place in [`NAMES`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
pub enum Field {
    AccountId,
    ClientIp,
    DurationMs,
    Environment,
    Error,
    Errors,
    EventId,
    Exception,
    Host,
    Method,
    Path,
    Release,
    RequestHeaders,
    RequestId,
    Response,
    ResponseHeaders,
    Route,
    Service,
    SpanId,
    Status,
    Timestamp,
    TraceId,
    UserAgent,
    UserId,
}

impl Field {
    fn of(name: &str) -> Option<Self> {
        Some(match name {
            "account_id" => Self::AccountId,
            "client_ip" => Self::ClientIp,
            "duration_ms" => Self::DurationMs,
            "environment" => Self::Environment,
            "error" => Self::Error,
            "errors" => Self::Errors,
            "event_id" => Self::EventId,
            "exception" => Self::Exception,
            "host" => Self::Host,
            "method" => Self::Method,
            "path" => Self::Path,
            "release" => Self::Release,
            "request_headers" => Self::RequestHeaders,
            "request_id" => Self::RequestId,
            "response" => Self::Response,
            "response_headers" => Self::ResponseHeaders,
            "route" => Self::Route,
            "service" => Self::Service,
            "span_id" => Self::SpanId,
            "status" => Self::Status,
            "timestamp" => Self::Timestamp,
            "trace_id" => Self::TraceId,
            "user_agent" => Self::UserAgent,
            "user_id" => Self::UserId,
            _ => return None,
        })
    }
}

/// A value at the top level.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Raw<'t> {
    /// Not sent, or null.
    #[default]
    Absent,
    /// What stands between the quotes; no escapes.
    Text(&'t str),
    /// Digits, perhaps with a fraction: JSON's grammar without sign and exponent, at most 15 digits before the point.
    Number(&'t str),
    /// The text of an object or array; only its ends are known to be right.
    Nested(&'t str),
}

/// The fields of an event as sent.
#[derive(Debug, Default)]
pub struct Fields<'t>([Raw<'t>; COUNT]);

impl<'t> Fields<'t> {
    /// Takes an object apart; `None` where it is not plain.
    pub fn scan(text: &'t str) -> Option<Self> {
        let mut fields = Self::default();
        let mut seen = 0_u32;
        let mut scan = Scan { text, at: 0 };
        scan.skip_space();
        scan.expect(b'{')?;
        loop {
            scan.skip_space();
            scan.expect(b'"')?;
            let name = scan.rest_of_text()?;
            let field = Field::of(name)? as usize;
            if seen & (1 << field) != 0 {
                return None;
            }
            seen |= 1 << field;
            scan.skip_space();
            scan.expect(b':')?;
            scan.skip_space();
            fields.0[field] = scan.value()?;
            scan.skip_space();
            match scan.next()? {
                b',' => {}
                b'}' => break,
                _ => return None,
            }
        }
        scan.skip_space();
        (scan.at == text.len()).then_some(fields)
    }

    pub fn get(&self, field: Field) -> Raw<'t> {
        self.0[field as usize]
    }

    /// A text; `""` when absent, `None` when it is something else or longer than `max` bytes.
    pub fn text(&self, field: Field, max: usize) -> Option<&'t str> {
        match self.get(field) {
            Raw::Absent => Some(""),
            Raw::Text(text) if text.len() <= max => Some(text),
            _ => None,
        }
    }

    /// The fields that were sent and are not null, sorted by name.
    pub fn sent(&self) -> impl Iterator<Item = (Field, &'static str, Raw<'t>)> + '_ {
        let fields = FIELDS.into_iter().zip(NAMES).zip(self.0);
        fields.filter(|(_, raw)| *raw != Raw::Absent).map(|((field, name), raw)| (field, name, raw))
    }
}

const FIELDS: [Field; COUNT] = {
    use Field as F;
    [
        F::AccountId,
        F::ClientIp,
        F::DurationMs,
        F::Environment,
        F::Error,
        F::Errors,
        F::EventId,
        F::Exception,
        F::Host,
        F::Method,
        F::Path,
        F::Release,
        F::RequestHeaders,
        F::RequestId,
        F::Response,
        F::ResponseHeaders,
        F::Route,
        F::Service,
        F::SpanId,
        F::Status,
        F::Timestamp,
        F::TraceId,
        F::UserAgent,
        F::UserId,
    ]
};

struct Scan<'t> {
    text: &'t str,
    at: usize,
}

impl<'t> Scan<'t> {
    fn bytes(&self) -> &'t [u8] {
        &self.text.as_bytes()[self.at..]
    }

    fn next(&mut self) -> Option<u8> {
        let byte = *self.bytes().first()?;
        self.at += 1;
        Some(byte)
    }

    fn expect(&mut self, byte: u8) -> Option<()> {
        (self.next()? == byte).then_some(())
    }

    fn skip_space(&mut self) {
        while let Some(b' ' | b'\t' | b'\n' | b'\r') = self.bytes().first() {
            self.at += 1;
        }
    }

    /// What is left of a text whose opening quote was read; steps over its closing one.
    fn rest_of_text(&mut self) -> Option<&'t str> {
        let length = plain_length(self.bytes());
        let start = self.at;
        self.at += length;
        self.expect(b'"')?;
        Some(&self.text[start..start + length])
    }

    fn value(&mut self) -> Option<Raw<'t>> {
        match self.next()? {
            b'"' => self.rest_of_text().map(Raw::Text),
            b'0'..=b'9' => self.number().map(Raw::Number),
            b'{' | b'[' => self.nested().map(Raw::Nested),
            b'n' => {
                let null = self.bytes().starts_with(b"ull");
                self.at += 3;
                null.then_some(Raw::Absent)
            }
            _ => None,
        }
    }

    /// A number whose first digit was read. What follows it is the caller's business.
    fn number(&mut self) -> Option<&'t str> {
        let start = self.at - 1;
        let digits = |bytes: &[u8]| bytes.iter().take_while(|byte| byte.is_ascii_digit()).count();
        let whole = 1 + digits(self.bytes());
        if whole > 15 || (whole > 1 && self.text.as_bytes()[start] == b'0') {
            return None;
        }
        self.at = start + whole;
        if self.bytes().first() == Some(&b'.') {
            let fraction = digits(&self.bytes()[1..]);
            if fraction == 0 {
                return None;
            }
            self.at += 1 + fraction;
        }
        Some(&self.text[start..self.at])
    }

    /// An object or array whose opening bracket was read: up to the bracket that closes it.
    fn nested(&mut self) -> Option<&'t str> {
        let start = self.at - 1;
        let mut depth = 1;
        while depth > 0 {
            match self.next()? {
                b'"' => self.skip_text()?,
                b'{' | b'[' if depth < MAX_NESTED => depth += 1,
                b'{' | b'[' => return None,
                b'}' | b']' => depth -= 1,
                _ => {}
            }
        }
        Some(&self.text[start..self.at])
    }

    /// As [`Self::rest_of_text`], over escapes.
    fn skip_text(&mut self) -> Option<()> {
        loop {
            self.at += plain_length(self.bytes());
            match self.next()? {
                b'"' => return Some(()),
                b'\\' => self.at += 1,
                _ => return None,
            }
            if self.at > self.text.len() {
                return None;
            }
        }
    }
}

/// How many bytes come before the next quote, backslash or control character: eight at a time.
fn plain_length(bytes: &[u8]) -> usize {
    const ONES: u64 = 0x0101_0101_0101_0101;
    const HIGHS: u64 = 0x8080_8080_8080_8080;
    // The high bit of each byte that is zero (and perhaps of some after the first such byte).
    let zeros = |word: u64| word.wrapping_sub(ONES) & !word & HIGHS;
    let mut length = 0;
    for chunk in bytes.chunks_exact(8) {
        let word = u64::from_le_bytes(chunk.try_into().unwrap_or_default());
        let quotes = zeros(word ^ (ONES * u64::from(b'"')));
        let backslashes = zeros(word ^ (ONES * u64::from(b'\\')));
        let controls = word.wrapping_sub(ONES * 0x20) & !word & HIGHS;
        let found = quotes | backslashes | controls;
        if found != 0 {
            return length + (found.trailing_zeros() / 8) as usize;
        }
        length += 8;
    }
    let rest = bytes[length..].iter();
    length + rest.take_while(|byte| !matches!(byte, b'"' | b'\\' | 0..0x20)).count()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn names_are_sorted_and_every_field_stands_at_its_name() {
        assert!(NAMES.is_sorted());
        for (place, (field, name)) in FIELDS.into_iter().zip(NAMES).enumerate() {
            assert_eq!(field as usize, place);
            assert_eq!(Field::of(name), Some(field));
            let debug: String = format!("{field:?}").to_lowercase();
            assert_eq!(debug, name.replace('_', ""));
        }
    }

    #[test]
    fn a_plain_object_is_taken_apart() {
        let text = r#" { "status" : 422, "service":"é", "duration_ms":1.50,"response":{"a":["}\"",{}]},"host":null } "#;
        let fields = Fields::scan(text).unwrap();
        assert_eq!(fields.get(Field::Status), Raw::Number("422"));
        assert_eq!(fields.get(Field::Service), Raw::Text("é"));
        assert_eq!(fields.get(Field::DurationMs), Raw::Number("1.50"));
        assert_eq!(fields.get(Field::Response), Raw::Nested(r#"{"a":["}\"",{}]}"#));
        let sent: Vec<_> = fields.sent().map(|(_, name, _)| name).collect();
        assert_eq!(sent, ["duration_ms", "response", "service", "status"]);
    }

    #[test]
    fn what_is_not_plain_goes_the_full_way() {
        for text in [
            "",
            "{}",
            "[]",
            r#"{"status":400"#,
            r#"{"status":400,}"#,
            r#"{"status":400}x"#,
            r#"{"status":400,"status":401}"#,
            r#"{"status":0400}"#,
            r#"{"status":400.}"#,
            r#"{"status":-400}"#,
            r#"{"status":4e2}"#,
            r#"{"status":true}"#,
            r#"{"status":nul}"#,
            r#"{"status":1234567890123456}"#,
            r#"{"service":"a\"b"}"#,
            r#"{"other":1}"#,
            "{\"service\":\"a\tb\"}",
            r#"{"response":{"a":"b}"#,
            r#"{"response":{"a":"\"#,
        ] {
            assert!(Fields::scan(text).is_none(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn a_text_ends_at_the_first_byte_that_is_not_plain(text in r#"[a-zé" \\\x00-\x1f]{0,40}"#) {
            let expected = text.bytes().take_while(|byte| !matches!(byte, b'"' | b'\\' | 0..0x20)).count();
            prop_assert_eq!(plain_length(text.as_bytes()), expected);
        }

        #[test]
        fn whatever_is_plain_is_what_a_parser_reads(text in r#"\{("(status|host|path)":("[a-z\\"{}]{0,4}"|[0-9.]{1,4}|\{"a":\[?[0-9"\]}]{0,3}\}|null),?){0,3}\}"#) {
            let parsed = serde_json::from_str::<serde_json::Map<String, serde_json::Value>>(&text);
            if let Some(fields) = Fields::scan(&text) {
                for (_, name, raw) in fields.sent() {
                    let Ok(parsed) = &parsed else {
                        // Only nested values are not looked at.
                        prop_assert!(fields.sent().any(|(_, _, raw)| matches!(raw, Raw::Nested(_))));
                        continue;
                    };
                    match raw {
                        Raw::Text(inside) => prop_assert_eq!(parsed[name].as_str(), Some(inside)),
                        Raw::Number(digits) => prop_assert_eq!(parsed[name].as_f64(), digits.parse().ok()),
                        Raw::Nested(nested) => {
                            prop_assert_eq!(&parsed[name], &serde_json::from_str::<serde_json::Value>(nested).unwrap());
                        }
                        Raw::Absent => {}
                    }
                }
            }
        }
    }
}
