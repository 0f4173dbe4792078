//! What can go wrong with ClickHouse, and what delivery does about it.

use std::io;

use clickhouse::error::Error as ClickHouseError;

use super::rows::EncodeError;

/// A failed call to ClickHouse.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    #[error("clickhouse cannot be reached: {0}")]
    Unreachable(String),
    #[error("clickhouse did not answer: {0}")]
    Interrupted(String),
    #[error("clickhouse did not answer in time ({0})")]
    TimedOut(&'static str),
    #[error("clickhouse refused (code {code}): {message}")]
    Server { code: u32, message: String },
    #[error("the answer of clickhouse is not understood: {0}; is it migrated by another version of errata?")]
    Answer(String),
    #[error("the request to clickhouse cannot be made: {0}")]
    Request(String),
    #[error("inserts of batch {0} still run after they were killed")]
    Unsettled(uuid::Uuid),
    #[error("clickhouse cannot delete: {0}")]
    Mutation(String),
    #[error("the answer has more than {0} rows; ask for a shorter range")]
    TooMuch(usize),
    #[error(transparent)]
    Encode(#[from] EncodeError),
}

/// What a failed insert means for the next attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RetryClass {
    /// Nothing was taken: send the same again.
    Resend,
    /// Unknown whether it was taken: settle, count, and only then send again.
    Ambiguous,
    /// ClickHouse is at a limit: settle, count, back off, and send again; nothing is dropped.
    Overloaded,
    /// ClickHouse has too little memory for the insert: as overloaded, and in smaller batches when it stays so.
    Memory,
    /// Something in the data is refused: sending the same again does not help; bisect and set aside.
    Poison,
    /// Credentials, rights, configuration or the tables are wrong: an operator must act; keep everything.
    Denied,
}

impl RetryClass {
    pub const ALL: [Self; 6] =
        [Self::Resend, Self::Ambiguous, Self::Overloaded, Self::Memory, Self::Poison, Self::Denied];

    /// The `reason` label of `errata_insert_retries_total`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Resend => "unreachable",
            Self::Ambiguous => "ambiguous",
            Self::Overloaded => "overloaded",
            Self::Memory => "memory",
            Self::Poison => "poison",
            Self::Denied => "denied",
        }
    }
}

impl StoreError {
    /// Whether ClickHouse did not answer at all: then it answers no other question either.
    #[must_use]
    pub fn is_outage(&self) -> bool {
        matches!(self, Self::Unreachable(_) | Self::Interrupted(_) | Self::TimedOut(_))
    }

    #[must_use]
    pub fn class(&self) -> RetryClass {
        match self {
            Self::Unreachable(_) => RetryClass::Resend,
            Self::Interrupted(_) | Self::TimedOut(_) | Self::Answer(_) | Self::Unsettled(_) | Self::Mutation(_) => {
                RetryClass::Ambiguous
            }
            Self::Server { code, .. } => class_of(*code),
            Self::Request(_) => RetryClass::Denied,
            Self::Encode(_) | Self::TooMuch(_) => RetryClass::Poison,
        }
    }
}

/// ClickHouse's exception codes, by `errorCodeToName`. An unknown one is ambiguous: the block may have been committed.
pub(super) fn class_of(code: u32) -> RetryClass {
    match code {
        // MEMORY_LIMIT_EXCEEDED, CANNOT_ALLOCATE_MEMORY
        241 | 173 => RetryClass::Memory,
        // TOO_MANY_SIMULTANEOUS_QUERIES, TOO_MANY_PARTS, NOT_ENOUGH_SPACE, LIMIT_EXCEEDED, QUOTA_EXCEEDED, TABLE_IS_READ_ONLY,
        // CANNOT_SCHEDULE_TASK
        202 | 252 | 243 | 290 | 201 | 242 | 439 => RetryClass::Overloaded,
        // UNKNOWN_USER, WRONG_PASSWORD, REQUIRED_PASSWORD, IP_ADDRESS_NOT_ALLOWED, DATABASE_ACCESS_DENIED,
        // AUTHENTICATION_FAILED, ACCESS_DENIED, READONLY, UNKNOWN_SETTING, SUPPORT_IS_DISABLED, SETTING_CONSTRAINT_VIOLATION
        192 | 193 | 194 | 195 | 291 | 516 | 497 | 164 | 115 | 344 | 452
        // UNKNOWN_DATABASE, UNKNOWN_TABLE, THERE_IS_NO_COLUMN, NO_SUCH_COLUMN_IN_TABLE, NUMBER_OF_COLUMNS_DOESNT_MATCH,
        // UNKNOWN_IDENTIFIER, UNKNOWN_TYPE, TYPE_MISMATCH, ILLEGAL_COLUMN, ILLEGAL_TYPE_OF_ARGUMENT, CANNOT_CONVERT_TYPE,
        // SYNTAX_ERROR, UNKNOWN_FORMAT, NOT_IMPLEMENTED: the tables are not ours. No row is to blame.
        | 81 | 60 | 8 | 16 | 20 | 47 | 50 | 53 | 44 | 43 | 70 | 62 | 73 | 48 => RetryClass::Denied,
        // CANNOT_PARSE_*, SIZES_OF_COLUMNS_DOESNT_MATCH, SIZES_OF_ARRAYS_DONT_MATCH, INCORRECT_DATA, TOO_LARGE_STRING_SIZE,
        // TOO_LARGE_ARRAY_SIZE, VALUE_IS_OUT_OF_RANGE_OF_DATA_TYPE, CANNOT_INSERT_NULL_IN_ORDINARY_COLUMN,
        // VIOLATED_CONSTRAINT
        6 | 26 | 27 | 38 | 41 | 72 | 9 | 190 | 117 | 131 | 128 | 321 | 349 | 469 => RetryClass::Poison,
        _ => RetryClass::Ambiguous,
    }
}

impl From<ClickHouseError> for StoreError {
    fn from(error: ClickHouseError) -> Self {
        match error {
            ClickHouseError::BadResponse(text) => from_answer(text),
            ClickHouseError::Network(source) => {
                let message = chain(source.as_ref());
                if is_refused(source.as_ref()) { Self::Unreachable(message) } else { Self::Interrupted(message) }
            }
            ClickHouseError::TimedOut => Self::TimedOut("the time-out of the connection"),
            ClickHouseError::InvalidParams(_) | ClickHouseError::Unsupported(_) => Self::Request(error.to_string()),
            other => Self::Answer(other.to_string()),
        }
    }
}

/// `Code: 252. DB::Exception: …` is ClickHouse's own word, whatever the HTTP status was; anything else comes from a proxy or a
/// server that is going down.
fn from_answer(text: String) -> StoreError {
    match code_in(&text) {
        Some(code) => StoreError::Server { code, message: text },
        None => StoreError::Interrupted(text),
    }
}

/// ClickHouse's exception code, if the error is its answer.
pub(super) fn code_of(error: &ClickHouseError) -> Option<u32> {
    match error {
        ClickHouseError::BadResponse(text) => code_in(text),
        _ => None,
    }
}

fn code_in(text: &str) -> Option<u32> {
    let (_, rest) = text.split_once("Code: ")?;
    let digits: String = rest.chars().take_while(char::is_ascii_digit).collect();
    digits.parse().ok()
}

fn is_refused(error: &(dyn std::error::Error + 'static)) -> bool {
    std::iter::successors(Some(error), |&error| error.source())
        .filter_map(|error| error.downcast_ref::<io::Error>())
        .any(|error| error.kind() == io::ErrorKind::ConnectionRefused)
}

fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let texts: Vec<_> = std::iter::successors(Some(error), |&error| error.source()).map(ToString::to_string).collect();
    texts.join(": ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn class(answer: &str) -> RetryClass {
        StoreError::from(ClickHouseError::BadResponse(answer.to_owned())).class()
    }

    #[test]
    fn exceptions_are_classed_by_their_code() {
        assert_eq!(class("Code: 252. DB::Exception: Too many parts (3000)"), RetryClass::Overloaded);
        assert_eq!(class("Code: 241. DB::Exception: Memory limit exceeded"), RetryClass::Memory);
        assert_eq!(class("Code: 516. DB::Exception: default: Authentication failed"), RetryClass::Denied);
        assert_eq!(class("Code: 117. DB::Exception: Cannot parse"), RetryClass::Poison);
        assert_eq!(class("Code: 159. DB::Exception: Timeout exceeded"), RetryClass::Ambiguous);
    }

    #[test]
    fn what_is_no_exception_of_clickhouse_is_ambiguous() {
        assert_eq!(class("502 Bad Gateway"), RetryClass::Ambiguous);
        assert_eq!(class("<html>Service Unavailable</html>"), RetryClass::Ambiguous);
        assert_eq!(StoreError::from(ClickHouseError::TimedOut).class(), RetryClass::Ambiguous);
        let reset = ClickHouseError::Network(Box::new(io::Error::from(io::ErrorKind::ConnectionReset)));
        assert_eq!(StoreError::from(reset).class(), RetryClass::Ambiguous);
    }

    #[test]
    fn only_a_refused_connection_is_resent_without_counting() {
        let refused = ClickHouseError::Network(Box::new(io::Error::from(io::ErrorKind::ConnectionRefused)));
        assert_eq!(StoreError::from(refused).class(), RetryClass::Resend);
    }
}
