//! Charts as inline SVG: no script draws them and nothing is fetched for them. Each has a title, a description, axes with units, and its numbers as
//! a table.

mod scale;
mod spark;
mod stacked;

pub use spark::spark;
pub use stacked::{Band, Mark, Shade, Stacked};
