//! The histogram of a view.

use std::collections::BTreeMap;

use crate::{
    console::{
        Range,
        address::Address,
        chart::{Band, Stacked},
        view::{self, Explore, Family, Markup, number},
    },
    store::query::{Filter, Histogram},
};

/// What the histogram says.
pub(super) struct Counted {
    pub(super) chart: Markup,
    /// Events counted.
    pub(super) events: u64,
    /// From when on, milliseconds since the Unix epoch, if not all of the range was.
    pub(super) only_from_ms: Option<i64>,
    /// Each status with its events, the most first, as links.
    pub(super) statuses: Vec<(Markup, Markup)>,
}

impl Counted {
    pub(super) fn new(histogram: &Histogram, filter: &Filter, step_s: u32, range: &Range, address: &Address) -> Self {
        let step_ms = i64::from(step_s) * 1000;
        let first_ms = filter.from_ms.div_euclid(step_ms) * step_ms;
        let steps = (filter.to_ms - 1).div_euclid(step_ms) - filter.from_ms.div_euclid(step_ms) + 1;
        let steps = usize::try_from(steps).unwrap_or_default();
        let mut by_status: BTreeMap<u16, u64> = BTreeMap::new();
        let mut bands = Family::ALL.map(|family| Band { family, counts: vec![0; steps] });
        for (at_ms, counts) in &histogram.counts {
            let step = usize::try_from((at_ms - first_ms).div_euclid(step_ms)).unwrap_or(usize::MAX);
            for (status, count) in counts {
                *by_status.entry(*status).or_default() += count;
                let band = bands.iter_mut().find(|band| band.family == Family::of(*status));
                if let Some(shown) = band.and_then(|band| band.counts.get_mut(step)) {
                    *shown += count;
                }
            }
        }
        let events = by_status.values().sum();
        let begins = (0..steps as i64).map(|step| first_ms + step * step_ms);
        let is_whole = histogram.counted_from_ms <= filter.from_ms;
        let chart = Stacked {
            id: "histogram",
            title: format!("Errors, {}", range.words()),
            description: format!(
                "{} errors over time by kind, in steps of {}.",
                number(events),
                view::duration(step_ms)
            ),
            events: address
                .without(&["from", "to"])
                .pairs()
                .iter()
                .fold(Explore::default(), |link, (name, value)| link.with(name, value)),
            unit: format!("errors per {}", view::time::per(step_ms)),
            from_ms: first_ms,
            step_ms,
            counted_ms: Some((histogram.counted_from_ms.max(filter.from_ms), filter.to_ms)),
            bands: bands.into(),
            gaps_are: Some("not counted"),
            known: begins.map(|at_ms| is_whole || at_ms >= histogram.counted_from_ms).collect(),
            ..Stacked::default()
        };
        let mut statuses: Vec<_> = by_status.into_iter().collect();
        statuses.sort_by_key(|(status, count)| (std::cmp::Reverse(*count), *status));
        let link = |(status, count): (u16, u64)| {
            let text = status.to_string();
            (view::badge(status), address.narrow("status", &text, &number(count)))
        };
        Self {
            chart: chart.html(),
            events,
            only_from_ms: (!is_whole).then_some(histogram.counted_from_ms),
            statuses: statuses.into_iter().map(link).collect(),
        }
    }
}
