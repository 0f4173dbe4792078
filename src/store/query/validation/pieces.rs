//! Where field errors are counted: a question is cut into what the rollups of days and of hours answer, and what is left to the events.

use super::FailureKey;
use crate::store::{
    query::{
        Filter, Sql, Store, StoreError,
        rollup::{DAY_MS, HOUR_MS, Range, take_whole},
    },
    rollup::RollupTable,
};

/// A piece of the question: in which period it is, and where its field errors are counted.
#[derive(Clone, Copy)]
pub(in crate::store::query) struct Piece {
    pub(super) current: bool,
    pub(in crate::store::query) range: Range,
    pub(in crate::store::query) source: Source,
}

/// Where field errors are counted.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(in crate::store::query) enum Source {
    Days,
    Hours,
    Events,
}

impl Source {
    /// The rollup, if it is one.
    pub(in crate::store::query) const fn rollup(self) -> Option<RollupTable> {
        match self {
            Self::Days => Some(RollupTable::FailureDays),
            Self::Hours => Some(RollupTable::Failures),
            Self::Events => None,
        }
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
            for (source, ranges) in [(Source::Days, days), (Source::Hours, hours), (Source::Events, rest)] {
                pieces.extend(ranges.into_iter().map(|range| Piece { current, range, source }));
            }
        }
        Ok(pieces)
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

    /// The cells or field errors of a piece's range, which `filter` has.
    pub(in crate::store::query) fn push_failures_that_fit(
        &self,
        sql: &mut Sql,
        project: &str,
        filter: &Filter,
        group_by: &[FailureKey],
        source: Source,
    ) {
        let Some(rollup) = source.rollup() else { return self.push_errors_that_fit(sql, project, filter, group_by) };
        sql.push(&self.table(rollup.name()));
        sql.push_cells(project, &[(None, (filter.from_ms, filter.to_ms))]).push_conditions(filter);
        sql.push_errors_conditions(filter, "field", "rule");
        // Days are in the order of this key: of one failure, nothing else is read.
        if let (Source::Days, [field], [rule], [route]) = (source, &*filter.fields, &*filter.rules, &*filter.routes) {
            sql.push(" AND key = ").push_key_of([field, rule, route].map(String::clone));
        }
    }
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
