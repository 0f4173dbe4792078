//! Where field errors are counted: a question is cut into what the rollups of days and of hours answer, and what is left to the events.

use super::FailureKey;
use crate::store::{
    query::{
        FailureTrend, Filter, Sql, Store, StoreError,
        rollup::{DAY_MS, HOUR_MS, Range, take_weeks, take_whole},
    },
    rollup::RollupTable,
};

/// A piece of the question: in which period it is, and where its field errors are counted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::store::query) struct Piece {
    pub(super) current: bool,
    pub(in crate::store::query) source: Source,
}

/// Where field errors are counted, and of which time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::store::query) enum Source {
    /// Cells that say how often and nothing else, of these `per`.
    Counts(Vec<(&'static str, Range)>),
    Days(Range),
    Hours(Range),
    Events(Range),
}

impl Source {
    pub(in crate::store::query) const fn is_rollup(&self) -> bool {
        !matches!(self, Self::Events(_))
    }

    /// Whether its cells have the key of field, rule and route.
    pub(super) const fn has_key(&self) -> bool {
        matches!(self, Self::Counts(_) | Self::Days(_))
    }
}

impl Store {
    /// The question cut into what the rollups answer and what the events do; of the current period, by cells of at most
    /// `unit_ms`: zero, of none.
    pub(in crate::store::query) async fn pieces(
        &self,
        filter: &Filter,
        group_by: &[FailureKey],
        previous: Option<(i64, i64)>,
        unit_ms: i64,
    ) -> Result<Vec<Piece>, StoreError> {
        let (hours_since_ms, days_since_ms) = (self.rollups_since_ms().await?, self.failure_days_since_ms().await?);
        let told_apart = events_in_rollup(filter, group_by).is_some();
        let periods = [Some((true, (filter.from_ms, filter.to_ms))), previous.map(|range| (false, range))];
        let mut pieces = Vec::new();
        for (current, range) in periods.into_iter().flatten() {
            let mut rest = vec![range];
            let mut take = |cell_ms, since_ms| {
                let is_told = told_apart && (cell_ms <= unit_ms || !current);
                if is_told { take_whole(&mut rest, cell_ms, since_ms) } else { Vec::new() }
            };
            let days = take(DAY_MS, days_since_ms.max(hours_since_ms));
            let hours = take(HOUR_MS, hours_since_ms);
            let sources = days.into_iter().map(Source::Days).chain(hours.into_iter().map(Source::Hours));
            let sources = sources.chain(rest.into_iter().map(Source::Events));
            pieces.extend(sources.map(|source| Piece { current, source }));
        }
        Ok(pieces)
    }

    /// The same of the current period alone, for a question that goes through all of its field errors and only counts them.
    pub(super) async fn pieces_to_count(
        &self,
        filter: &Filter,
        group_by: &[FailureKey],
    ) -> Result<Vec<Piece>, StoreError> {
        let pieces = self.pieces(filter, group_by, None, DAY_MS).await?;
        // Days are in the order of their key: of one failure, they are read at once.
        Ok(if one_failure(filter).is_some() { pieces } else { days_as_counts(pieces) })
    }

    /// The field errors of a range's events, each event once.
    fn push_errors_that_fit(&self, sql: &mut Sql, project: &str, filter: &Filter, group_by: &[FailureKey]) {
        // Paths, which are no column of their own, and messages are read only if asked for.
        let is_asked = |keys: &[FailureKey]| group_by.iter().any(|key| keys.contains(key));
        let paths = if is_asked(&[FailureKey::Path]) { "path" } else { "field" };
        let messages = if is_asked(&[FailureKey::Message, FailureKey::MaskedMessage]) { "message" } else { "field" };
        sql.push(
            "(SELECT key, request_id, account_id, route, toUnixTimestamp64Milli(timestamp) AS at, \
             `errors.field` AS error_fields, ",
        );
        sql.push(&format!("`errors.{paths}` AS error_paths, `errors.{messages}` AS error_messages, "));
        sql.push(if is_asked(&[FailureKey::MaskedMessage]) { "user_id, " } else { "" });
        sql.push("`errors.rule` AS error_rules FROM ");
        sql.push(&self.table("events")).push_range(project, filter.from_ms, filter.to_ms).push_conditions(filter);
        sql.push(
            " AND notEmpty(`errors.field`) LIMIT 1 BY key) ARRAY JOIN error_fields AS error_field, \
             error_paths AS error_path, error_messages AS error_message, error_rules AS error_rule WHERE 1",
        );
        sql.push_errors_conditions(filter, "error_field", "error_rule");
    }

    /// The cells or field errors that fit, in the time that `source` has.
    pub(in crate::store::query) fn push_failures_that_fit(
        &self,
        sql: &mut Sql,
        project: &str,
        filter: &Filter,
        group_by: &[FailureKey],
        source: &Source,
    ) {
        let mut push_cells = |table: RollupTable, range: Range| {
            sql.push(&self.table(table.name())).push_cells(project, &[(None, range)]);
        };
        match source {
            Source::Counts(cells) => {
                sql.push(&self.table(RollupTable::FailureCounts.name())).push_failure_counts(project, cells);
            }
            Source::Days(range) => push_cells(RollupTable::FailureDays, *range),
            Source::Hours(range) => push_cells(RollupTable::Failures, *range),
            Source::Events(range) => return self.push_errors_that_fit(sql, project, &filter.within(*range), group_by),
        }
        sql.push_conditions(filter).push_errors_conditions(filter, "field", "rule");
        if let (Source::Days(_), Some(failure)) = (source, one_failure(filter)) {
            sql.push(" AND key = ").push_key_of(failure.map(String::clone));
        }
    }
}

/// Field, rule and route, if a filter is of just one failure.
fn one_failure(filter: &Filter) -> Option<[&String; FailureTrend::KEYS.len()]> {
    match (&*filter.fields, &*filter.rules, &*filter.routes) {
        ([field], [rule], [route]) => Some([field, rule, route]),
        _ => None,
    }
}

/// What days tell, from the counts of the same days, and of the weeks that they fill.
fn days_as_counts(pieces: Vec<Piece>) -> Vec<Piece> {
    let (mut days, mut others) = (Vec::new(), Vec::new());
    for piece in pieces {
        match piece.source {
            Source::Days(range) => days.push(range),
            _ => others.push(piece),
        }
    }
    let mut cells: Vec<_> = take_weeks(&mut days).into_iter().map(|week| ("week", week)).collect();
    cells.extend(days.into_iter().map(|day| ("day", day)));
    let counts = (!cells.is_empty()).then_some(Piece { current: true, source: Source::Counts(cells) });
    counts.into_iter().chain(others).collect()
}

/// How the rollup counts the events with at least one of the field errors of a group; none if it does not tell apart what the
/// question does.
///
/// An event is in one cell for each of its pairs of field and rule. Where each cell that fits has a group of its own, that is what
/// is asked for; else the repeats are taken off, and they are known for all rules of a field, all fields of a rule, and everything.
pub(in crate::store::query) fn events_in_rollup(filter: &Filter, group_by: &[FailureKey]) -> Option<&'static str> {
    let Filter { statuses, methods, account_ids, user_ids, fields, rules, fingerprints, releases, text, .. } = filter;
    let others = [methods, account_ids, user_ids, releases];
    let told_apart = group_by.iter().all(|key| key.in_rollup().is_some())
        && others.iter().all(|values| values.is_empty())
        && statuses.is_empty()
        && fingerprints.is_empty()
        && text.is_none();
    if !told_apart {
        return None;
    }
    let one_field = group_by.contains(&FailureKey::Field) || fields.len() == 1;
    let one_rule = group_by.contains(&FailureKey::Rule) || rules.len() == 1;
    match (one_field, one_rule) {
        (true, true) => Some("sum(events)"),
        (true, false) if rules.is_empty() => Some("sum(events) - sum(field_repeats)"),
        (false, true) if fields.is_empty() => Some("sum(events) - sum(rule_repeats)"),
        (false, false) if fields.is_empty() && rules.is_empty() => Some("sum(events) - sum(any_repeats)"),
        _ => None,
    }
}
