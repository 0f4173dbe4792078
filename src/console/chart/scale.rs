//! Scales: where a value lies, and which values are written at the axes.

/// Milliseconds.
const MINUTE: i64 = 60_000;
const HOUR: i64 = 60 * MINUTE;
const DAY: i64 = 24 * HOUR;

/// Distances of ticks on a time axis.
const TIME_STEPS: [i64; 16] = [
    MINUTE,
    2 * MINUTE,
    5 * MINUTE,
    10 * MINUTE,
    15 * MINUTE,
    30 * MINUTE,
    HOUR,
    2 * HOUR,
    3 * HOUR,
    6 * HOUR,
    12 * HOUR,
    DAY,
    2 * DAY,
    7 * DAY,
    14 * DAY,
    28 * DAY,
];

/// A part of a line of pixels onto which values go.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Scale {
    /// The least and the largest value.
    pub(super) domain: (f64, f64),
    /// Where they lie.
    pub(super) range: (f64, f64),
}

impl Scale {
    pub(super) fn at(&self, value: f64) -> f64 {
        let (least, largest) = self.domain;
        let part = if largest > least { (value - least) / (largest - least) } else { 0.0 };
        self.range.0 + part * (self.range.1 - self.range.0)
    }
}

/// Round values from 0 to the first one that is not below `largest`; at most `most` steps. Counts have no fractions.
pub(super) fn ticks(largest: u64, most: u64) -> Vec<u64> {
    let needed = largest.max(1).div_ceil(most.max(1));
    let mut unit = 1_u64;
    let step = loop {
        if let Some(step) = [1, 2, 5].into_iter().map(|round| round * unit).find(|step| *step >= needed) {
            break step;
        }
        match unit.checked_mul(10).filter(|unit| unit.checked_mul(5).is_some()) {
            Some(larger) => unit = larger,
            None => break needed,
        }
    };
    let count = largest.max(1).div_ceil(step);
    (0..=count).map(|index| index.saturating_mul(step)).collect()
}

/// Round times within a range, at most `most` of them, milliseconds; and whether they are whole days.
pub(super) fn time_ticks(from_ms: i64, to_ms: i64, most: i64) -> (Vec<i64>, bool) {
    let length = to_ms.saturating_sub(from_ms).max(1);
    let fits = |step: &&i64| length / **step < most.max(1);
    let step = TIME_STEPS.iter().find(fits).copied().unwrap_or_else(|| {
        let days = length / DAY / most.max(1) + 1;
        days.saturating_mul(DAY)
    });
    let first = from_ms.div_euclid(step) * step;
    let ticks = (0..=most).map(|index| first.saturating_add(index.saturating_mul(step)));
    (ticks.filter(|at| (from_ms..to_ms).contains(at)).collect(), step >= DAY)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_lie_between_the_ends_also_upside_down() {
        let down = Scale { domain: (0.0, 50.0), range: (200.0, 0.0) };
        assert_eq!([0.0, 25.0, 50.0].map(|value| down.at(value) as i64), [200, 100, 0]);
        let flat = Scale { domain: (3.0, 3.0), range: (10.0, 20.0) };
        assert!((flat.at(3.0) - 10.0).abs() < 1e-9);
    }

    #[test]
    fn ticks_are_round_and_reach_the_largest_value() {
        assert_eq!(ticks(0, 4), [0, 1]);
        assert_eq!(ticks(1, 4), [0, 1]);
        assert_eq!(ticks(7, 4), [0, 2, 4, 6, 8]);
        assert_eq!(ticks(749, 4), [0, 200, 400, 600, 800]);
        assert_eq!(ticks(1000, 4), [0, 500, 1000]);
        for largest in [3, 99, 12_345, u64::MAX] {
            let ticks = ticks(largest, 4);
            assert!(ticks.len() <= 6 && *ticks.last().unwrap() >= largest, "{largest}: {ticks:?}");
        }
    }

    #[test]
    fn ticks_of_time_are_round_and_few() {
        let (ticks, days) = time_ticks(30 * MINUTE, 6 * HOUR + 30 * MINUTE, 8);
        assert_eq!((ticks, days), ((1..=6).map(|hour| hour * HOUR).collect(), false));
        let (ticks, days) = time_ticks(0, 30 * DAY, 10);
        assert_eq!((ticks, days), (vec![0, 7 * DAY, 14 * DAY, 21 * DAY, 28 * DAY], true));
        for (from, to) in [(0, 1), (5, 5), (0, i64::MAX), (i64::MIN / 4, i64::MAX / 4)] {
            assert!(time_ticks(from, to, 10).0.len() <= 11, "{from} {to}");
        }
    }
}
