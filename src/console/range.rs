//! The time range of a page: in its address, and chosen at the top.

use super::{
    Visit,
    view::time::{self, Format},
};
use crate::{http::params::Params, store::query::Filter};

/// The lengths people choose most: the parameter, the words.
const PRESETS: [(&str, &str); 7] = [
    ("-15m", "last 15 min"),
    ("-1h", "last hour"),
    ("-6h", "last 6 h"),
    ("-24h", "last 24 h"),
    ("-7d", "last 7 d"),
    ("-30d", "last 30 d"),
    ("-90d", "last 90 d"),
];

/// A time range, and how it was asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Range {
    /// Milliseconds since the Unix epoch.
    pub from_ms: i64,
    /// Not included.
    pub to_ms: i64,
    /// The parameters as asked for; empty: the default.
    pub from: String,
    pub to: String,
}

/// One length to choose.
#[derive(Clone, Debug)]
pub struct Choice {
    pub words: &'static str,
    pub link: String,
    pub is_chosen: bool,
}

/// The time picker of a page.
#[derive(Clone, Debug)]
pub struct Picker {
    /// What is chosen.
    pub words: String,
    pub choices: Vec<Choice>,
    /// Where the form for other times leads, and what it keeps of the address.
    pub action: String,
    pub kept: Vec<(String, String)>,
    /// As a browser's date field takes them, UTC.
    pub from: String,
    pub to: String,
}

impl Range {
    /// Reads `from` and `to`; what is wrong with them is among the problems of the parameters.
    #[must_use]
    pub fn read(params: &mut Params, visit: &Visit) -> Self {
        let (from_ms, to_ms) = params.range(visit.now_ms);
        Self { from_ms, to_ms, from: visit.param("from"), to: visit.param("to") }
    }

    /// Conditions on events, within this range.
    #[must_use]
    pub fn filter(&self, conditions: Filter) -> Filter {
        Filter { from_ms: self.from_ms, to_ms: self.to_ms, ..conditions }
    }

    #[must_use]
    pub const fn length_ms(&self) -> i64 {
        self.to_ms - self.from_ms
    }

    /// The parameters that lead to the same range.
    #[must_use]
    pub fn params(&self) -> Vec<(&'static str, String)> {
        let pairs = [("from", &self.from), ("to", &self.to)];
        pairs.into_iter().filter(|(_, value)| !value.is_empty()).map(|(name, value)| (name, value.clone())).collect()
    }

    /// `last 24 h`, or from when to when.
    #[must_use]
    pub fn words(&self) -> String {
        let asked = if self.from.is_empty() { "-24h" } else { &self.from };
        let preset = PRESETS.iter().find(|(value, _)| *value == asked && self.to.is_empty());
        preset.map_or_else(
            || {
                let until = if self.to.is_empty() { "now".to_owned() } else { time::utc(self.to_ms, Format::Minute) };
                format!("{} – {until}", time::utc(self.from_ms, Format::Minute))
            },
            |(_, words)| (*words).to_owned(),
        )
    }

    /// The time picker of the page that was asked for.
    #[must_use]
    pub fn picker(&self, visit: &Visit) -> Picker {
        let asked = if self.from.is_empty() { "-24h" } else { &self.from };
        let choices = PRESETS.iter().map(|(value, words)| Choice {
            words,
            // Another range begins at its first page.
            link: visit.with_params(&[("from", value), ("to", ""), ("cursor", "")]),
            is_chosen: *value == asked && self.to.is_empty(),
        });
        let keeps = |(name, _): &(String, String)| !["from", "to", "cursor"].contains(&name.as_str());
        Picker {
            words: self.words(),
            choices: choices.collect(),
            action: visit.path().to_owned(),
            kept: visit.params().into_iter().filter(keeps).collect(),
            from: time::utc(self.from_ms, Format::Field),
            to: time::utc(self.to_ms, Format::Field),
        }
    }
}
