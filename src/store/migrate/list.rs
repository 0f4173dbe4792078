//! The migrations of this binary: one line a file of `migrations/`, in order.

use super::{Migration, Ttl};

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
pub const MIGRATIONS: &[Migration] = &[
    migration!(1, "0001_events"),
    migration!(2, "0002_request_index"),
    migration!(3, "0003_rollups"),
    migration!(4, "0004_request_totals"),
    migration!(5, "0005_issues"),
    migration!(6, "0006_release_hours"),
    migration!(7, "0007_failure_days"),
];

/// The tables whose rows expire, with the expression of time each goes by.
pub const RETENTION: &[Ttl] = &[
    Ttl { table: "events", time: "toDateTime(received_at)", extra_days: 0 },
    // A week, because a week's parts go when its last event does, and 30 days in which a lookup says "expired" instead of
    // "never received".
    Ttl { table: "request_index", time: "week", extra_days: 37 },
    // As long as the events they count: a week's parts go when its last event does.
    Ttl { table: "rollup_counts", time: "week", extra_days: 7 },
    Ttl { table: "rollup_failures", time: "week", extra_days: 7 },
    Ttl { table: "rollup_failure_days", time: "week", extra_days: 7 },
    Ttl { table: "rollup_failure_counts", time: "week", extra_days: 7 },
    Ttl { table: "rollup_accounts", time: "week", extra_days: 7 },
    Ttl { table: "rollup_issues", time: "week", extra_days: 7 },
    Ttl { table: "release_hours", time: "at", extra_days: 7 },
    // An issue that comes back within this time is known by its first day, though its events are gone.
    Ttl { table: "issues", time: "toDateTime(last_seen)", extra_days: 400 },
    Ttl { table: "request_totals", time: "toMonday(minute)", extra_days: 7 },
    Ttl { table: "request_totals_hours", time: "toMonday(hour)", extra_days: 7 },
];
