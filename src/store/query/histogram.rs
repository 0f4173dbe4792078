//! Events over time by status, of any filter, within a bounded time.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use super::{Filter, RateKey, Store, StoreError, rates::in_rollups};

/// The first piece that is counted is this part of the range; each further one is twice as long as the one before.
const FIRST_PIECE: i64 = 32;

/// Events by step and status.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Histogram {
    /// By the begin of the step, milliseconds since the Unix epoch, and status; what is zero is left out.
    pub counts: BTreeMap<i64, BTreeMap<u16, u64>>,
    /// From when on everything is counted, milliseconds since the Unix epoch: later than the range's start when that would have
    /// taken longer than it may.
    pub counted_from_ms: i64,
}

impl Store {
    /// Counts the events of a filter per step; steps begin at multiples of `step_seconds` of Unix time.
    ///
    /// What the rollups tell is read from them. Anything else is counted over the events, the newest first, piece by piece until
    /// `patience` is over: the answer says how far back it goes. At least one piece is counted.
    pub async fn histogram(
        &self,
        project: &str,
        filter: &Filter,
        step_seconds: u32,
        patience: Duration,
    ) -> Result<Histogram, StoreError> {
        let by_status = [RateKey::Status];
        let step_ms = i64::from(step_seconds.max(1)) * 1000;
        let pieces = if in_rollups(filter, &by_status) {
            vec![(filter.from_ms, filter.to_ms)]
        } else {
            pieces(filter.from_ms, filter.to_ms, step_ms)
        };
        let began = Instant::now();
        let mut histogram = Histogram { counts: BTreeMap::new(), counted_from_ms: filter.to_ms };
        for piece in pieces {
            if histogram.counted_from_ms < filter.to_ms && began.elapsed() >= patience {
                break;
            }
            for series in self.rates(project, &filter.within(piece), &by_status, step_seconds).await? {
                let status = series.labels.get("status").and_then(|status| status.parse().ok()).unwrap_or_default();
                for (at_ms, count) in series.points {
                    *histogram.counts.entry(at_ms).or_default().entry(status).or_default() += count;
                }
            }
            histogram.counted_from_ms = piece.0;
        }
        Ok(histogram)
    }
}

/// A range in pieces of whole steps, the newest first, each twice as long as the one before.
fn pieces(from_ms: i64, to_ms: i64, step_ms: i64) -> Vec<(i64, i64)> {
    let steps = |ms: i64| ms.div_euclid(step_ms).max(1) * step_ms;
    let mut length_ms = steps((to_ms - from_ms) / FIRST_PIECE);
    let mut pieces = Vec::new();
    let mut end_ms = to_ms;
    while end_ms > from_ms {
        let begin_ms = (end_ms - length_ms).div_euclid(step_ms) * step_ms;
        pieces.push((begin_ms.max(from_ms), end_ms));
        end_ms = begin_ms;
        length_ms = length_ms.saturating_mul(2);
    }
    pieces
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_are_of_whole_steps_and_leave_nothing_out() {
        for (from, to, step) in [(0, 3200, 10), (7, 3333, 10), (5, 6, 10), (0, 86_400_000, 900_000), (3, 64, 60)] {
            let pieces = pieces(from, to, step);
            assert_eq!((pieces[0].1, pieces.last().unwrap().0), (to, from), "{from} {to} {step}");
            for two in pieces.windows(2) {
                assert_eq!(two[1].1, two[0].0);
                assert_eq!(two[0].0 % step, 0, "a step is in one piece");
            }
            assert!(pieces.len() <= 7, "{pieces:?}");
        }
    }
}
