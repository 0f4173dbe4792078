//! Request totals: how many requests were served, successes included. The denominator of rates.

use serde::{Deserialize, Serialize};

use super::codec::DecodeError;

/// The version of the spool payload that this build writes.
const VERSION: u8 = 1;

/// Requests that one reporter served in one minute with one outcome. A later one that differs in the count alone replaces it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RequestTotal {
    pub project: String,
    /// Begin of the minute, seconds since the Unix epoch.
    pub minute: u32,
    pub service: String,
    pub environment: String,
    pub release: String,
    /// Template of the path; empty where no route matched.
    pub route: String,
    pub method: String,
    /// 100 to 599.
    pub status: u16,
    /// The process that counted; empty where it names none.
    pub reporter: String,
    pub count: u64,
    /// When it was received, microseconds since the Unix epoch, and of two the greater one came later.
    pub received_us: i64,
}

impl RequestTotal {
    /// Appends the spool payload: one version byte, then the fields in their order, in postcard's encoding.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        postcard::to_extend(self, vec![VERSION])
            // postcard fails only where a serializer reports an unknown length or a custom error; a total has neither.
            .unwrap_or_else(|error| unreachable!("a total always encodes: {error}"))
    }

    /// Decodes a spool payload.
    ///
    /// # Errors
    /// When the payload is empty, of a version this build does not know, or malformed.
    pub fn decode(payload: &[u8]) -> Result<Self, DecodeError> {
        match payload.split_first() {
            None => Err(DecodeError::Empty),
            Some((&VERSION, fields)) => Ok(postcard::from_bytes(fields)?),
            Some((&version, _)) => Err(DecodeError::UnknownVersion(version)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_payload_is_what_it_was_made_of_and_nothing_less() {
        let text = |name: &str| name.to_owned();
        let total = RequestTotal {
            project: text("project"),
            minute: u32::MAX,
            service: text("service"),
            environment: text("environment"),
            release: text("release"),
            route: text("route"),
            method: text("method"),
            status: 599,
            reporter: text("reporter"),
            count: u64::MAX,
            received_us: i64::MAX,
        };
        let payload = total.encode();
        assert_eq!(RequestTotal::decode(&payload).unwrap(), total);
        assert!(matches!(RequestTotal::decode(&[]), Err(DecodeError::Empty)));
        assert!(matches!(RequestTotal::decode(&[9]), Err(DecodeError::UnknownVersion(9))));
        for end in 1..payload.len() {
            assert!(matches!(RequestTotal::decode(&payload[..end]), Err(DecodeError::Malformed(_))), "{end} bytes");
        }
    }
}
