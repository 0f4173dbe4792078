//! The error catalog: what the API's published reference says of each error.

/// A loaded and validated catalog.
#[derive(Debug, Default)]
pub struct Catalog {}

impl Catalog {
    /// The rule that the catalog maps a message to.
    #[must_use]
    pub fn rule_for(&self, _message: &str) -> Option<&str> {
        None
    }
}
