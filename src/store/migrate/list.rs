//! The migrations of this binary: one line a file of `migrations/`, in order.

use super::Migration;

/// `migration!(1, "0001_events")` is the file `migrations/0001_events.sql`.
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
pub const MIGRATIONS: &[Migration] = &[migration!(1, "0001_events"), migration!(2, "0002_request_index")];
