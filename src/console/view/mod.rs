//! How numbers, times, statuses and links are shown: the same on every page, and escaped in one place.
//!
//! Everything here returns [`Markup`], which templates do not escape again: `{{ view::badge(422) }}`.

mod badge;
mod link;
mod markup;
mod number;
mod pager;
mod table;
mod text;
pub mod time;

pub use badge::{Family, badge, badge_with, state_tag};
pub use link::{Explore, address, chip, filter_words, issue_path, lookup_path, request, request_for};
pub use markup::{Markup, escape};
pub use number::{compact, number, percent, plural, share};
pub use pager::Pager;
pub use table::{Column, scroll};
pub use text::{capital, code, field_name, route_code};
pub use time::{ago, duration, moment};
