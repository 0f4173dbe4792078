//! Alerts: rules over what is stored, what state each is in, and who is told.
//!
//! [`parse`] makes a [`RuleSet`] of `alerts.toml` once. [`samples`] reads what a rule needs from the store, [`evaluate`] says of one
//! series at one time whether the rule's condition holds, and why; it is pure, so [`replay`] asks it the same over history. [`machine`]
//! moves a series from state to state, and [`evaluator`] does all this again and again, and writes the states down; [`notify`] tells receivers.
//!
//! # Time
//!
//! Windows are whole steps (minutes, or seconds for rules with shorter windows) of the events' own `timestamp`, and end at a *horizon*:
//! the time up to which everything received is stored and rolled up. So an event counts in the window of its own time however late it
//! arrives, as long as a window still covers that time; an old backlog falls into windows that nobody evaluates any more and raises
//! nothing. Replay goes by the same timestamps: an import's `received_at` is the time of the import and says nothing about then.

pub mod alert;
pub mod counted;
pub mod evaluate;
pub mod evaluator;
pub mod evidence;
mod keys;
pub mod machine;
pub mod notify;
pub mod parse;
pub mod receiver;
pub mod replay;
pub mod rule;
pub mod samples;
pub mod status;

pub use parse::Problems;
pub use rule::{Rule, RuleSet};
