//! Alerts in a whole collector: what fires, what does not, and who is told.

mod alertmanager;
mod captured;
mod pace;
mod receivers;
mod replayed;
mod running;
