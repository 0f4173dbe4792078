//! Everything that can keep the collector from starting, or end it.

use std::{net::SocketAddr, path::PathBuf};

use crate::{
    alerts::Problems,
    deliver::{DeliverError, quarantine::QuarantineError},
    event::scrub::ScrubError,
    spool::SpoolError,
    state::StateError,
    store::{
        client::AccessError,
        engine::{EngineError, install::InstallError},
        migrate::MigrateError,
    },
};

/// Why the collector did not start, or ended.
#[derive(Debug, thiserror::Error)]
pub enum AppError {
    #[error("cannot listen on {address}: {source}; is another collector running? Set ERRATA_LISTEN to another address")]
    Listen { address: SocketAddr, source: std::io::Error },
    #[error("the data directory {path} is in use by another errata (process {pid}); stop that one, or set ERRATA_DATA_DIR to another directory", path = path.display())]
    InUse { path: PathBuf, pid: String },
    #[error("{action} {path}: {source}", path = path.display())]
    Io { action: &'static str, path: PathBuf, source: std::io::Error },
    #[error("the catalog {path}:\n{problems}", path = path.display())]
    Catalog { path: PathBuf, problems: String },
    #[error("the alert rules {path}:\n{problems}", path = path.display())]
    Rules { path: PathBuf, problems: Problems },
    #[error(transparent)]
    Scrub(#[from] ScrubError),
    #[error(transparent)]
    State(#[from] StateError),
    #[error(transparent)]
    Spool(#[from] SpoolError),
    #[error(transparent)]
    Quarantine(#[from] QuarantineError),
    #[error(transparent)]
    Engine(#[from] EngineError),
    #[error(transparent)]
    Install(#[from] InstallError),
    #[error(transparent)]
    Access(#[from] AccessError),
    #[error(transparent)]
    Migrate(#[from] MigrateError),
    #[error("delivery ended: {0}; nothing is lost, it goes on after the next start")]
    Deliver(#[from] DeliverError),
    #[error("the spool failed: {0}; every acknowledged event is safe, start the collector again when the disk is well")]
    SpoolFailed(String),
    #[error("the metrics cannot be registered: {0}")]
    Metrics(#[from] prometheus::Error),
    #[error("a part of the collector panicked: {0}")]
    Panicked(String),
    #[error("the HTTP server: {0}")]
    Serve(std::io::Error),
}
