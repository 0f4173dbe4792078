//! The HTTP edge: routes as one table, one middleware stack, one way to answer.

pub mod answer;
mod auth;
pub mod ingest;
pub mod quota;

use std::sync::Arc;

use crate::{clock::Clock, state::State};

/// What handlers share.
pub type Shared = Arc<Parts>;

/// The rooms that handlers call.
pub struct Parts {
    pub config: crate::config::Config,
    pub clock: Clock,
    pub state: State,
    pub quota: quota::Quota,
    pub metrics: Arc<crate::metrics::Metrics>,
    pub catalog: Arc<crate::event::catalog::Catalog>,
    pub scrubber: crate::event::scrub::Scrubber,
    pub limits: crate::decode::Limits,
    pub spool: crate::spool::Writer,
    pub in_flight: Arc<tokio::sync::Semaphore>,
}
