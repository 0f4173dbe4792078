//! How much of a range is searched for one page.
//!
//! A filter that few events fit is searched for one by one, newest first, and a range may hold a hundred million. A page is there at once all the same: it
//! searches so far back as there are [`SCANNED`] events of any kind, which the rollups tell, and leads on from there.

use crate::event::EventKey;
use crate::store::query::{Cursor, Filter, Histogram};

/// Events that are looked at for a page, roughly.
const SCANNED: u64 = 1_000_000;

/// From when on a page searches, milliseconds since the Unix epoch: `all` counts the events of any kind, in steps.
pub(super) fn first_ms(all: &Histogram, filter: &Filter, cursor: Option<Cursor>) -> i64 {
    let end_ms = cursor.map_or(filter.to_ms, |cursor| cursor.timestamp_ms);
    let mut scanned = 0_u64;
    for (at_ms, counts) in all.counts.iter().rev().filter(|(at_ms, _)| **at_ms <= end_ms) {
        scanned = scanned.saturating_add(counts.values().sum());
        if scanned >= SCANNED {
            return (*at_ms).max(filter.from_ms);
        }
    }
    filter.from_ms
}

/// Where a search goes on that has come to `first_ms` without filling its page: there, or where the chart has older events that fit; nowhere if it
/// is whole and has none.
pub(super) fn next(first_ms: i64, counted: &Histogram, filter: &Filter, step_ms: i64) -> Option<Cursor> {
    if first_ms <= filter.from_ms {
        return None;
    }
    let before = |timestamp_ms| Some(Cursor { timestamp_ms, key: EventKey(0) });
    if counted.counted_from_ms > filter.from_ms {
        return before(first_ms);
    }
    let (at_ms, _) = counted.counts.range(..first_ms).next_back()?;
    before(first_ms.min(at_ms + step_ms))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn histogram(bars: &[(i64, u64)]) -> Histogram {
        Histogram { counts: bars.iter().map(|(at, count)| (*at, [(500, *count)].into())).collect(), counted_from_ms: 0 }
    }

    const FILTER: fn() -> Filter = || Filter { from_ms: 0, to_ms: 1000, ..Filter::default() };

    #[test]
    fn a_page_searches_as_far_as_there_are_many_events() {
        let all = histogram(&[(0, 5), (100, SCANNED), (200, SCANNED - 1), (300, 7), (900, 1)]);
        assert_eq!(first_ms(&all, &FILTER(), None), 200);
        let from_there = Cursor { timestamp_ms: 199, key: EventKey(0) };
        assert_eq!(first_ms(&all, &FILTER(), Some(from_there)), 100);
        assert_eq!(first_ms(&histogram(&[(100, 3)]), &FILTER(), None), 0);
        assert_eq!(first_ms(&histogram(&[]), &FILTER(), None), 0);
    }

    #[test]
    fn a_search_goes_on_where_something_fits() {
        let at = |cursor: Option<Cursor>| cursor.map(|cursor| cursor.timestamp_ms);
        assert_eq!(at(next(0, &histogram(&[]), &FILTER(), 100)), None);
        assert_eq!(at(next(500, &histogram(&[(100, 1), (900, 1)]), &FILTER(), 100)), Some(200));
        assert_eq!(at(next(500, &histogram(&[(400, 1)]), &FILTER(), 100)), Some(500));
        assert_eq!(at(next(500, &histogram(&[(900, 1)]), &FILTER(), 100)), None);
        let in_part = Histogram { counted_from_ms: 700, ..histogram(&[(900, 1)]) };
        assert_eq!(at(next(500, &in_part, &FILTER(), 100)), Some(500));
    }
}
