//! Counters whose labels clients choose. They are most of the series there are, so a scrape must not cost much for each: what a series is
//! called is written once, when it is made, and a scrape adds its number.

use std::{
    collections::HashMap,
    fmt::Write,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use prometheus::{IntCounter, IntCounterVec};

/// Value of a label whose own value came after the family's limit was reached.
pub const OTHER: &str = "other";

/// Longest label value as it stands in the text format, bytes; longer ones are cut.
pub(super) const LABEL_BYTES: usize = 120;

/// A counter family with `N` labels and at most `limit` series (and those that fold what comes after).
pub struct BoundedCounter<const N: usize> {
    pub(super) vec: IntCounterVec,
    name: &'static str,
    labels: [&'static str; N],
    known: Mutex<HashMap<[String; N], IntCounter>>,
    series: Arc<Series>,
    limit: usize,
}

impl<const N: usize> BoundedCounter<N> {
    pub(super) fn new(vec: IntCounterVec, name: &'static str, labels: [&'static str; N], limit: usize) -> Self {
        Self { vec, name, labels, known: Mutex::default(), series: Arc::default(), limit }
    }

    /// Its series, for scrapes.
    pub(super) fn series(&self) -> Arc<Series> {
        Arc::clone(&self.series)
    }

    /// The counter of these labels, or the one that stands for all past the limit. `free` are the leading labels, whose values
    /// clients choose; `fixed` the others, which are few by nature.
    pub fn counter<const A: usize, const B: usize>(&self, free: [&str; A], fixed: [&str; B]) -> IntCounter {
        self.counter_or(free, fixed, fixed)
    }

    /// As [`Self::counter`]; past the limit the fixed labels have these coarser values.
    pub fn counter_or<const A: usize, const B: usize>(
        &self,
        free: [&str; A],
        fixed: [&str; B],
        coarse: [&str; B],
    ) -> IntCounter {
        const { assert!(A + B == N, "one value for each label") };
        let labels: [String; N] = std::array::from_fn(|i| cut(if i < A { free[i] } else { fixed[i - A] }));
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(counter) = known.get(&labels) {
            return counter.clone();
        }
        if known.len() < self.limit {
            return self.add(&mut known, labels);
        }
        let folded: [String; N] = std::array::from_fn(|i| if i < A { OTHER.to_owned() } else { cut(coarse[i - A]) });
        match known.get(&folded) {
            Some(counter) => counter.clone(),
            None => self.add(&mut known, folded),
        }
    }

    fn add(&self, known: &mut HashMap<[String; N], IntCounter>, labels: [String; N]) -> IntCounter {
        let counter = self.vec.with_label_values(&labels);
        let mut pairs: Vec<_> = self.labels.iter().zip(&labels).collect();
        pairs.sort_unstable();
        self.series.lock().push((text(self.name, &pairs), counter.clone()));
        known.insert(labels, counter.clone());
        counter
    }
}

/// The series of a family: what each is called in the text format, up to its value.
#[derive(Default)]
pub(super) struct Series(Mutex<Vec<(String, IntCounter)>>);

impl Series {
    fn lock(&self) -> MutexGuard<'_, Vec<(String, IntCounter)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Appends a line for each.
    pub(super) fn write(&self, into: &mut String) {
        for (series, counter) in self.lock().iter() {
            into.push_str(series);
            // Writing to a String does not fail.
            let _ = writeln!(into, "{}", counter.get());
        }
    }
}

/// A series as it begins in the text format.
fn text(name: &str, pairs: &[(&&str, &String)]) -> String {
    let mut text = format!("{name}{{");
    for (index, (label, value)) in pairs.iter().enumerate() {
        text.push_str(if index == 0 { "" } else { "," });
        text.push_str(label);
        text.push_str("=\"");
        for c in value.chars() {
            match c {
                '\n' => text.push_str("\\n"),
                '\\' | '"' => text.extend(['\\', c]),
                c => text.push(c),
            }
        }
        text.push('"');
    }
    text + "} "
}

fn cut(value: &str) -> String {
    // The text format writes a backslash before these.
    let written = |c: char| c.len_utf8() + usize::from(matches!(c, '\\' | '"' | '\n'));
    let mut room = LABEL_BYTES;
    let fits = |c: &char| room.checked_sub(written(*c)).inspect(|left| room = *left).is_some();
    value.chars().take_while(fits).collect()
}
