//! What of a question the rollups can answer, and what is left to the events.
//!
//! Rollups know whole minutes, hours, days and weeks of UTC. A range is cut into those and the edges around them, which are read from the events; no event is in
//! two of the pieces, so the sums of the pieces are the answer.

use std::sync::{OnceLock, atomic::Ordering};

use super::{CLOCK_AHEAD_MS, Filter, Sql, Store, StoreError, Value};
use crate::store::rows::week_of;

pub(super) const MINUTE_MS: i64 = 60_000;
pub(super) const HOUR_MS: i64 = 3_600_000;
pub(super) const DAY_MS: i64 = 24 * HOUR_MS;
const WEEK_MS: i64 = 7 * DAY_MS;

/// From, and up to but without, milliseconds since the Unix epoch.
pub(super) type Range = (i64, i64);

/// Takes out of the ranges what whole units they hold from `since_ms` on; the rest stays.
pub(super) fn take_whole(ranges: &mut Vec<Range>, unit_ms: i64, since_ms: i64) -> Vec<Range> {
    let mut whole = Vec::new();
    let mut rest = Vec::new();
    for (from, to) in ranges.drain(..) {
        let first = from.max(since_ms).saturating_add(unit_ms - 1).div_euclid(unit_ms) * unit_ms;
        let end = to.div_euclid(unit_ms) * unit_ms;
        if first < end {
            whole.push((first, end));
            rest.extend([(from, first), (end, to)].into_iter().filter(|(from, to)| from < to));
        } else {
            rest.push((from, to));
        }
    }
    *ranges = rest;
    whole
}

/// The same of weeks, from Monday to Monday.
pub(super) fn take_weeks(ranges: &mut Vec<Range>) -> Vec<Range> {
    let shifted = |ranges: Vec<Range>, by_ms: i64| -> Vec<Range> {
        ranges.into_iter().map(|(from, to)| (from.saturating_add(by_ms), to.saturating_add(by_ms))).collect()
    };
    // Weeks of the epoch's week day are those of Monday moved by as much.
    let monday_ms = i64::from(week_of(0)) * DAY_MS;
    let mut rest = shifted(std::mem::take(ranges), -monday_ms);
    let weeks = take_whole(&mut rest, WEEK_MS, i64::MIN);
    *ranges = shifted(rest, monday_ms);
    shifted(weeks, monday_ms)
}

/// Begin of the unit that a moment is in.
pub(super) const fn begin_of(at_ms: i64, unit_ms: i64) -> i64 {
    at_ms.div_euclid(unit_ms) * unit_ms
}

/// One key for what some columns say together. To group by it is several times as fast as by the texts themselves where they are `LowCardinality`, which is
/// hashed by its dictionary (`docs/decisions/0007-rollups.md`). Of 100,000 groups, two share a key once in four thousand million times.
/// None: nothing to group by.
pub(super) fn key_of(columns: &[impl AsRef<str>]) -> Option<String> {
    let hashes = columns.iter().enumerate().map(|(index, column)| part_of_key(index, column.as_ref()));
    hashes.reduce(|sum, hash| format!("{sum} + {hash}"))
}

/// What the column at this place adds to the [key](key_of).
pub(super) fn part_of_key(index: usize, column: &str) -> String {
    format!("{} * cityHash64({column})", 2 * index + 1)
}

impl Filter {
    /// The same filter of another range.
    pub(super) fn within(&self, (from_ms, to_ms): Range) -> Self {
        Self { from_ms, to_ms, ..self.clone() }
    }
}

impl Sql {
    /// What [`key_of`] makes of columns that have these values.
    pub(super) fn push_key_of(&mut self, texts: impl IntoIterator<Item = String>) -> &mut Self {
        for (index, text) in texts.into_iter().enumerate() {
            let sum = if index == 0 { "" } else { " + " };
            self.push_value(&format!("{sum}{}", part_of_key(index, "{}")), Value::Text(text));
        }
        self
    }

    /// ` WHERE …` for the cells of a project in any of some ranges, those of a `per` each, if the table has it.
    pub(super) fn push_cells(&mut self, project: &str, ranges: &[(Option<&str>, Range)]) -> &mut Self {
        self.push_project_of_cells(project, ranges.iter().map(|(_, range)| *range));
        for (per, range) in ranges {
            self.push_cell(*per, *range);
            if per.is_some() {
                let (from_ms, to_ms) = range;
                // The sorting key has the hour before the minutes: of `at` alone, ClickHouse reads all that is counted by the minute.
                self.push_value(
                    " AND toStartOfHour(at) >= toDateTime({}, 'UTC')",
                    Value::Int(begin_of(*from_ms, HOUR_MS) / 1000),
                );
                self.push_value(" AND toStartOfHour(at) < toDateTime({}, 'UTC')", Value::Int(to_ms / 1000));
            }
            self.push(")");
        }
        self.push(")")
    }

    /// As [`Sql::push_cells`], of the counts of field errors, whose sorting key has the time alone.
    pub(super) fn push_failure_counts(&mut self, project: &str, ranges: &[(&str, Range)]) -> &mut Self {
        self.push_project_of_cells(project, ranges.iter().map(|(_, range)| *range));
        for (per, range) in ranges {
            self.push_cell(Some(per), *range).push(")");
        }
        self.push(")")
    }

    /// ` WHERE …` up to the first of the ranges, which are alternatives.
    fn push_project_of_cells(&mut self, project: &str, ranges: impl Iterator<Item = Range>) {
        let earliest = ranges.map(|(from_ms, _)| from_ms).min().unwrap_or_default();
        self.push(" WHERE batch = toUUID('00000000-0000-0000-0000-000000000000')");
        self.push_value(" AND project = {}", Value::Text(project.to_owned()));
        // As `CLOCK_AHEAD_MS` has it of the time of receipt.
        let week = week_of(earliest.saturating_sub(CLOCK_AHEAD_MS)).max(0);
        self.push_value(" AND week >= toDate({}) AND (0", Value::Int(week.into()));
    }

    /// An alternative, which the caller closes.
    fn push_cell(&mut self, per: Option<&str>, (from_ms, to_ms): Range) -> &mut Self {
        self.push_value(" OR (at >= toDateTime({}, 'UTC')", Value::Int(from_ms / 1000));
        self.push_value(" AND at < toDateTime({}, 'UTC')", Value::Int(to_ms / 1000));
        match per {
            Some(per) => self.push(&format!(" AND per = '{per}'")),
            None => self,
        }
    }

    /// As [`Sql::push_cells`], of the rollups of accounts and issues, whose sorting keys have the day before the account or issue: of the time alone,
    /// ClickHouse looks for them in every day.
    pub(super) fn push_cells_by_day(&mut self, project: &str, ranges: &[Range]) -> &mut Self {
        let cells: Vec<_> = ranges.iter().map(|range| (None, *range)).collect();
        self.push_cells(project, &cells);
        let (first, last) = (ranges.iter().map(|range| range.0).min(), ranges.iter().map(|range| range.1 - 1).max());
        // A larger number is taken for seconds.
        let day = |ms: Option<i64>| Value::Int(ms.unwrap_or(0).div_euclid(DAY_MS).clamp(0, u16::MAX.into()));
        self.push_value(" AND toDate(at) >= toDate({})", day(first));
        self.push_value(" AND toDate(at) <= toDate({})", day(last))
    }
}

impl Store {
    /// From which timestamp on the rollups count every event, milliseconds since the Unix epoch.
    pub(super) async fn rollups_since_ms(&self) -> Result<i64, StoreError> {
        self.since_ms(&self.rollups_since_ms, "rollup_start").await
    }

    /// The same of the hours of issues.
    pub(super) async fn issues_since_ms(&self) -> Result<i64, StoreError> {
        self.since_ms(&self.issues_since_ms, "issue_start").await
    }

    /// The same of the days of field errors.
    pub(super) async fn failure_days_since_ms(&self) -> Result<i64, StoreError> {
        self.since_ms(&self.failure_days_since_ms, "failure_day_start").await
    }

    /// What a table says of it: kept once the migrations are through, because one that is being made says nothing yet.
    async fn since_ms(&self, kept: &OnceLock<i64>, table: &str) -> Result<i64, StoreError> {
        if let Some(since_ms) = kept.get() {
            return Ok(*since_ms);
        }
        let is_migrated = self.is_migrated.load(Ordering::Acquire);
        // Zero of an empty table.
        let sql = Sql::new(&format!("SELECT toUnixTimestamp64Milli(max(at)) FROM {}", self.table(table)));
        let last: i64 = self.answered("reading the start of the rollups", self.ask(&sql).fetch_one()).await?;
        let since_ms = if last == 0 { 0 } else { last.saturating_add(CLOCK_AHEAD_MS) };
        if is_migrated {
            // Whoever was first has read the same.
            let _ = kept.set(since_ms);
        }
        Ok(since_ms)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_is_cut_into_whole_units_and_edges() {
        let cut = |range, since| {
            let mut rest = vec![range];
            (take_whole(&mut rest, 10, since), rest)
        };
        assert_eq!(cut((13, 47), 0), (vec![(20, 40)], vec![(13, 20), (40, 47)]));
        assert_eq!(cut((20, 40), 0), (vec![(20, 40)], vec![]));
        assert_eq!(cut((20, 41), 0), (vec![(20, 40)], vec![(40, 41)]));
        assert_eq!(cut((13, 27), 0), (vec![], vec![(13, 27)]));
        assert_eq!(cut((13, 47), 25), (vec![(30, 40)], vec![(13, 30), (40, 47)]));
        assert_eq!(cut((13, 47), 99), (vec![], vec![(13, 47)]));
        assert_eq!(cut((13, 47), i64::MAX), (vec![], vec![(13, 47)]));
    }

    #[test]
    fn weeks_go_from_monday_to_monday() {
        let day = |number: i64| number * DAY_MS;
        // 2026-11-17, a Tuesday, is day 20,774.
        let mut rest = vec![(day(20_774), day(20_804)), (day(20_806), day(20_807))];
        assert_eq!(take_weeks(&mut rest), [(day(20_780), day(20_801))]);
        assert_eq!(rest, [(day(20_774), day(20_780)), (day(20_801), day(20_804)), (day(20_806), day(20_807))]);
        let mut short = vec![(day(20_781), day(20_787))];
        assert!(take_weeks(&mut short).is_empty() && short.len() == 1);
    }

    #[test]
    fn hours_leave_minutes_and_minutes_leave_edges() {
        let mut rest = vec![(HOUR_MS - 90_500, 3 * HOUR_MS + 61_000)];
        assert_eq!(take_whole(&mut rest, HOUR_MS, 0), [(HOUR_MS, 3 * HOUR_MS)]);
        let minutes = [(HOUR_MS - 60_000, HOUR_MS), (3 * HOUR_MS, 3 * HOUR_MS + 60_000)];
        assert_eq!(take_whole(&mut rest, MINUTE_MS, 0), minutes);
        assert_eq!(rest, [(HOUR_MS - 90_500, HOUR_MS - 60_000), (3 * HOUR_MS + 60_000, 3 * HOUR_MS + 61_000)]);
    }
}
