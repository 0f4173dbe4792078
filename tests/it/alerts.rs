//! Alerts in a whole collector: what fires, what does not, and who is told.

mod alertmanager;
mod captured;
mod pace;
pub mod receivers;
mod replayed;
pub mod running;
