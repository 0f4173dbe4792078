//! What is remembered of the texts of earlier events, so that what repeats is scrubbed, read and classified once.
//!
//! Everything here is a pure function of a text and of the collector's settings (catalog, scrubbing rules), remembered beside
//! its result. The texts may hold secrets: like the bodies, a memo lives in memory only.

use std::sync::Arc;

use super::{
    answer::Answer,
    parts::{HeaderList, Thrown},
};
use crate::recall::Recall;

/// What one thread remembers between events and between bodies of one collector: the settings it was made under are part of
/// no key.
#[derive(Debug, Default)]
pub struct Memo {
    /// Texts that scrubbing leaves as they are.
    pub(super) clean: Recall<()>,
    /// Identifiers that scrubbing leaves as they are.
    pub(super) clean_ids: Recall<()>,
    /// Route templates of paths that scrubbing leaves as they are.
    pub(super) routes: Recall<Arc<str>>,
    /// What an event says is wrong, by status, `error`, `errors` and `response`.
    pub(super) answers: Recall<Arc<Answer>>,
    pub(super) headers: Recall<Arc<HeaderList>>,
    pub(super) exceptions: Recall<Arc<Thrown>>,
    /// Buffers that are kept.
    pub(super) key: Vec<u8>,
    pub(super) form: Vec<u8>,
    pub(super) text: String,
}
