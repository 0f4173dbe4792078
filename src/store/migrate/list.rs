//! The migrations of this binary: one line a file of `migrations/`, in order.

use super::{Migration, Ttl};

/// `migration!(1, "0001_events")` is the file `migrations/0001_events.sql`.
#[allow(unused_macros, reason = "the list may be empty")]
macro_rules! migration {
    ($version:literal, $name:literal) => {
        Migration {
            version: $version,
            name: $name,
            sql: include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/migrations/", $name, ".sql")),
        }
    };
}

/// Ascending, without gaps. An entry is never changed or removed once it is released.
pub const MIGRATIONS: &[Migration] = &[];

/// The tables whose rows expire, with the expression of time each goes by.
pub const RETENTION: &[Ttl] = &[];
