//! Points in time in the reader's zone, and how long ago they were.

use chrono::{DateTime, FixedOffset, Local, Utc};

use crate::cli::duration;

/// How times are shown.
pub struct Times {
    pub now: DateTime<Utc>,
    zone: fn(DateTime<Utc>) -> DateTime<FixedOffset>,
}

impl Times {
    /// In the zone of this machine, with the offset that holds at each time.
    pub fn local(now: DateTime<Utc>) -> Self {
        Self { now, zone: |at| at.with_timezone(&Local).fixed_offset() }
    }

    #[cfg(test)]
    pub fn utc(now: DateTime<Utc>) -> Self {
        Self { now, zone: |at| at.fixed_offset() }
    }

    fn parse(&self, text: &str) -> Option<DateTime<FixedOffset>> {
        DateTime::parse_from_rfc3339(text).ok().map(|at| (self.zone)(at.with_timezone(&Utc)))
    }

    /// `Tue 17 Nov 2026 14:02:07 UTC (5 d ago)`; empty for what is no time.
    pub fn full(&self, text: &str) -> String {
        let Some(at) = self.parse(text) else { return String::new() };
        let seconds = self.now.signed_duration_since(at).num_seconds();
        let distance = duration::rough(seconds.unsigned_abs());
        let relative = if seconds < 0 { format!("in {distance}") } else { format!("{distance} ago") };
        format!("{} {} ({relative})", at.format("%a %-d %b %Y %H:%M:%S"), zone_name(&at))
    }

    /// `17 Nov 14:02:07`.
    pub fn short(&self, text: &str) -> String {
        self.parse(text).map_or_else(String::new, |at| at.format("%-d %b %H:%M:%S").to_string())
    }

    /// `14:02:07`.
    pub fn clock(&self, text: &str) -> String {
        self.parse(text).map_or_else(String::new, |at| at.format("%H:%M:%S").to_string())
    }

    /// The clock time of Unix seconds.
    pub fn clock_of_unix(&self, seconds: i64) -> String {
        DateTime::from_timestamp(seconds, 0)
            .map_or_else(String::new, |at| (self.zone)(at).format("%H:%M:%S").to_string())
    }
}

fn zone_name(at: &DateTime<FixedOffset>) -> String {
    if at.offset().local_minus_utc() == 0 { "UTC".to_owned() } else { at.format("%:z").to_string() }
}
