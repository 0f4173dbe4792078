//! A sparkline: the shape of some counts, as small as a word.

use std::fmt::Write;

use crate::console::view::{Markup, escape};

const WIDTH: f64 = 120.0;
const HEIGHT: f64 = 24.0;

/// Bars at most; more values are put together, each group by its largest, so that no peak is lost.
const BARS: usize = 40;

/// Counts over time as bars. `label` says what they are, for who does not see them: `749 events in 2 days`.
#[must_use]
pub fn spark(counts: &[u64], label: &str) -> Markup {
    let per_bar = counts.len().div_ceil(BARS).max(1);
    let bars: Vec<u64> = counts.chunks(per_bar).map(|chunk| chunk.iter().copied().max().unwrap_or_default()).collect();
    let most = bars.iter().copied().max().unwrap_or_default();
    let width = WIDTH / bars.len().max(1) as f64;
    let mut path = String::new();
    for (index, count) in bars.iter().enumerate().filter(|(_, count)| **count > 0) {
        // What is there is seen, however small beside the largest.
        let height = (*count as f64 / most as f64 * (HEIGHT - 1.0)).max(1.5);
        let (left, thick) = (index as f64 * width, (width - 0.6).max(0.6));
        let _ = write!(path, "M{left:.1} {HEIGHT}v-{height:.1}h{thick:.1}v{height:.1}z"); // writing to a String cannot fail
    }
    let label = escape(label);
    Markup::new(format!(
        "<svg class=\"spark\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-label=\"{label}\" preserveAspectRatio=\"none\"><title>{label}</title>\
         <path class=\"base\" d=\"M0 {base}h{WIDTH}\"/><path class=\"bars\" d=\"{path}\"/></svg>",
        base = HEIGHT - 0.5
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tallest_bar_is_the_most_and_nothing_is_no_bar() {
        let svg = spark(&[0, 5, 10], "a<b");
        let svg = svg.as_str();
        assert_eq!(svg.matches("v-").count(), 2, "{svg}");
        assert!(svg.contains("M40.0 24v-11.5h39.4v11.5z") && svg.contains("M80.0 24v-23.0h39.4v23.0z"), "{svg}");
        assert!(svg.contains("aria-label=\"a&lt;b\"") && !svg.contains("a<b"), "{svg}");
    }

    #[test]
    fn many_values_lose_no_peak() {
        let mut counts = vec![0; 4000];
        counts[1234] = u64::MAX;
        let svg = spark(&counts, "");
        assert_eq!(svg.as_str().matches("v-23.0").count(), 1);
        assert!(spark(&[], "").as_str().contains("class=\"bars\" d=\"\""));
    }
}
