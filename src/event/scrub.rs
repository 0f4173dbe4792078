//! Scrubbing: secrets and personal values are replaced before anything is stored.

/// What to replace. Made once from configuration.
#[derive(Debug, Default)]
pub struct Scrubber {}
