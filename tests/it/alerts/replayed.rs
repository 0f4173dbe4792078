//! The captured incident, hammering and login burst, moved to now and played at speed by `errata demo --replay`, with real parts: a collector,
//! its ClickHouse, Debian's Alertmanager and Prometheus. Times are those of the capture (`tests/data/README.md`, Windows).
//!
//! `ERRATA_REPLAY=long` (`make replay`) plays them so slowly that burn rates over request totals, which are of whole minutes, see them too.

mod incident;
mod night;
mod stage;
mod stepped;
