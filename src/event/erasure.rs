//! What can be erased: all events of an account, of a user, or of a request.

use super::RequestId;

/// Whose events are to go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Erasable {
    Account(String),
    User(String),
    Request(RequestId),
}

impl Erasable {
    /// Names of the kinds, as requests and receipts have them.
    pub const KINDS: [&'static str; 3] = ["account_id", "user_id", "request_id"];

    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Account(_) => Self::KINDS[0],
            Self::User(_) => Self::KINDS[1],
            Self::Request(_) => Self::KINDS[2],
        }
    }

    #[must_use]
    pub fn value(&self) -> &str {
        match self {
            Self::Account(id) | Self::User(id) => id,
            Self::Request(id) => id.as_str(),
        }
    }

    /// Of a kind and a value; none where the value is empty or no request id.
    #[must_use]
    pub fn parse(kind: &str, value: &str) -> Option<Self> {
        match kind {
            "request_id" => RequestId::parse(value).ok().map(Self::Request),
            _ if value.is_empty() => None,
            "account_id" => Some(Self::Account(value.to_owned())),
            "user_id" => Some(Self::User(value.to_owned())),
            _ => None,
        }
    }

    /// Whether an event is to go.
    #[must_use]
    pub fn holds(&self, account_id: &str, user_id: &str, request_id: &str) -> bool {
        match self {
            Self::Account(id) => id == account_id,
            Self::User(id) => id == user_id,
            Self::Request(id) => id.as_str() == request_id,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_erased_reads_back_and_holds_its_own() {
        for kind in Erasable::KINDS {
            let erasable = Erasable::parse(kind, "req_1").unwrap();
            assert_eq!((erasable.kind(), erasable.value()), (kind, "req_1"));
            let own = Erasable::KINDS.map(|other| if other == kind { "req_1" } else { "other" });
            assert!(erasable.holds(own[0], own[1], own[2]) && !erasable.holds("other", "other", "other"));
            assert_eq!(Erasable::parse(kind, ""), None);
        }
        assert_eq!(Erasable::parse("request_id", "a b"), None);
        assert_eq!(Erasable::parse("service", "a"), None);
    }
}
