//! The error catalog: what the API's published reference says of each error.

/// A loaded and validated catalog.
#[derive(Debug, Default)]
pub struct Catalog {}
