//! Issues: the kinds of errors a project has, by fingerprint, and where each stands.
//!
//! [`state`] is pure: from what is known of an issue to its state. [`list()`] asks the store and puts pages together. Whoever resolves an
//! issue is in [`crate::state`]; what an issue is made of, in [`crate::event::fingerprint`]. `docs/issues.md` has the definitions.

pub mod cursor;
pub mod list;
pub mod resolve;
pub mod state;

pub use cursor::{IssueCursor, IssueCursorError, Sort};
pub use list::{Issue, IssuePage, Question, Trend, list, one};
pub use resolve::{Resolving, resolution};
pub use state::{Escalation, IssueState, Usual};

/// How long an issue is new, unless the question says otherwise.
pub const NEW_MS: i64 = 24 * 3_600_000;
