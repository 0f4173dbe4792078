//! Which field errors users meet: counts per field, rule, route, message, account.

use std::collections::BTreeMap;

use clickhouse::Row;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{
    Filter, Sql, Store, StoreError, Value,
    rollup::{HOUR_MS, Range, take_whole},
};
use crate::event::pseudonym::{MASK, PERSONAL};

/// Shortest id, bytes, that is left out of messages that are counted: `at most 100 characters` is one message, also to the account `100`.
pub(super) const SHORTEST_COUNTED: usize = 4;

/// What field errors are counted by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FailureKey {
    Field,
    Rule,
    Route,
    Message,
    /// The message without [what may be somebody's](crate::event::pseudonym::PERSONAL): for those who may not see people.
    MaskedMessage,
    Account,
    Path,
}

impl FailureKey {
    /// Those that can be asked for.
    pub const ALL: [Self; 6] = [Self::Field, Self::Rule, Self::Route, Self::Message, Self::Account, Self::Path];

    /// Name in answers and in `group_by`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Field => "field",
            Self::Rule => "rule",
            Self::Route => "route",
            Self::Message | Self::MaskedMessage => "message",
            Self::Account => "account",
            Self::Path => "path",
        }
    }

    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|key| key.as_str() == text)
    }

    /// As the rollup names it, if it tells them apart.
    const fn in_rollup(self) -> Option<&'static str> {
        match self {
            Self::Field => Some("field"),
            Self::Rule => Some("rule"),
            Self::Route => Some("route"),
            Self::Message | Self::MaskedMessage | Self::Account | Self::Path => None,
        }
    }

    /// As the inner select over the events names it.
    const fn column(self) -> &'static str {
        match self {
            Self::Field => "error_field",
            Self::Rule => "error_rule",
            Self::Route => "route",
            Self::Message | Self::MaskedMessage => "error_message",
            Self::Account => "account_id",
            Self::Path => "error_path",
        }
    }
}

/// Field errors of one set of keys.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct FailureRow {
    pub keys: BTreeMap<&'static str, String>,
    /// Occurrences: an event that has the same error at two positions counts twice.
    pub count: u64,
    /// Events with at least one of them.
    pub events: u64,
    /// Accounts that met it; events without an account count as none.
    pub accounts: u64,
    /// Part of all occurrences that fit the filter.
    pub share: f64,
    /// Occurrences in the period to compare with, when there is one.
    pub previous_count: Option<u64>,
    /// Milliseconds since the Unix epoch, within the period asked for.
    pub first_seen_ms: i64,
    pub last_seen_ms: i64,
    /// At most five.
    pub sample_request_ids: Vec<String>,
}

#[derive(Row, Deserialize)]
struct Counted {
    labels: Vec<String>,
    count: u64,
    events: u64,
    accounts: u64,
    total: u64,
    previous: u64,
    first_seen: i64,
    last_seen: i64,
    samples: Vec<String>,
}

/// A piece of the question: in which period it is, and where its field errors are counted.
struct Piece {
    current: bool,
    range: Range,
    in_rollup: bool,
}

impl Store {
    /// Field errors by keys, the most frequent first. `previous` is a period (from, to; milliseconds) to compare with, before the
    /// filter's own.
    ///
    /// Whole hours come from the rollup where keys and filter allow. The numbers are the same; of an hour, the samples are one of
    /// each service, environment and route.
    pub async fn validation_failures(
        &self,
        project: &str,
        filter: &Filter,
        group_by: &[FailureKey],
        previous: Option<(i64, i64)>,
        limit: usize,
    ) -> Result<Vec<FailureRow>, StoreError> {
        let since_ms = self.rollups_since_ms().await?;
        let events = events_in_rollup(filter, group_by);
        let periods = [Some((true, (filter.from_ms, filter.to_ms))), previous.map(|range| (false, range))];
        let cut = |(current, range)| {
            let mut rest = vec![range];
            let whole = if events.is_some() { take_whole(&mut rest, HOUR_MS, since_ms) } else { Vec::new() };
            let piece = move |range, in_rollup| Piece { current, range, in_rollup };
            let whole = whole.into_iter().map(move |range| piece(range, true));
            whole.chain(rest.into_iter().map(move |range| piece(range, false)))
        };
        let mut sql = Sql::new(
            "SELECT labels, sumIf(occurrences, current) AS count, sumIf(with_any, current) AS events, \
             uniqExactArrayIf(account_ids, current) AS accounts, sum(count) OVER () AS total, \
             sumIf(occurrences, NOT current) AS previous, minIf(first, current) AS first_seen, \
             maxIf(last, current) AS last_seen, groupUniqArrayArrayIf(5)(ids, current) AS samples FROM (",
        );
        for (index, piece) in periods.into_iter().flatten().flat_map(cut).enumerate() {
            sql.push(if index == 0 { "" } else { " UNION ALL " });
            let filter = filter.within(piece.range);
            sql.push(if piece.current { "SELECT 1 AS current, " } else { "SELECT 0 AS current, " });
            match events.filter(|_| piece.in_rollup) {
                Some(events) => self.push_cells_of(&mut sql, project, &filter, group_by, events),
                None => self.push_events_of(&mut sql, project, &filter, group_by),
            }
            sql.push(" GROUP BY labels");
        }
        sql.push(&format!(") GROUP BY labels HAVING count > 0 ORDER BY count DESC, labels LIMIT {limit}"));
        let rows: Vec<Counted> = self.rows_of("counting validation failures", self.ask_wide(&sql)).await?;
        Ok(rows.into_iter().map(|row| failure(group_by, row, previous.is_some())).collect())
    }

    /// Field errors by labels, from the events of a range.
    fn push_events_of(&self, sql: &mut Sql, project: &str, filter: &Filter, group_by: &[FailureKey]) {
        push_labels(sql, group_by.iter().map(|key| (key.column(), *key == FailureKey::MaskedMessage)));
        // Paths are no column of their own: they are read only if asked for.
        let paths = if group_by.contains(&FailureKey::Path) { "path" } else { "field" };
        sql.push(
            "count() AS occurrences, uniqExact(key) AS with_any, \
             groupUniqArrayIf(account_id, account_id != '') AS account_ids, min(at) AS first, max(at) AS last, \
             groupUniqArray(5)(request_id) AS ids FROM (SELECT key, request_id, account_id, route, \
             toUnixTimestamp64Milli(timestamp) AS at, `errors.field` AS error_fields, ",
        );
        sql.push(&format!("`errors.{paths}` AS error_paths, "));
        sql.push(if group_by.contains(&FailureKey::MaskedMessage) { "user_id, " } else { "" });
        sql.push("`errors.message` AS error_messages, `errors.rule` AS error_rules FROM ");
        sql.push(&self.table("events")).push_range(project, filter.from_ms, filter.to_ms).push_conditions(filter);
        sql.push(
            " AND notEmpty(`errors.field`) LIMIT 1 BY key) ARRAY JOIN error_fields AS error_field, \
             error_paths AS error_path, error_messages AS error_message, error_rules AS error_rule WHERE 1",
        );
        sql.push_errors_conditions(filter, "error_field", "error_rule");
    }

    /// Field errors by labels, from the whole hours of a range; `events` sums the events with at least one.
    fn push_cells_of(&self, sql: &mut Sql, project: &str, filter: &Filter, group_by: &[FailureKey], events: &str) {
        push_labels(sql, group_by.iter().filter_map(|key| Some((key.in_rollup()?, false))));
        sql.push("sum(count) AS occurrences, toUInt64(").push(events).push(
            ") AS with_any, groupUniqArrayArray(accounts) AS account_ids, \
             toUnixTimestamp64Milli(min(first_seen)) AS first, toUnixTimestamp64Milli(max(last_seen.1)) AS last, \
             groupUniqArrayIf(5)(last_seen.2, last_seen.2 != '') AS ids FROM ",
        );
        sql.push(&self.table("rollup_failures"));
        sql.push_cells(project, &[(None, (filter.from_ms, filter.to_ms))]).push_conditions(filter);
        sql.push_errors_conditions(filter, "field", "rule");
    }
}

/// Columns, and whether what may be somebody's is masked in each.
fn push_labels<'a>(sql: &mut Sql, columns: impl Iterator<Item = (&'a str, bool)>) {
    sql.push("CAST([");
    for (index, (column, is_masked)) in columns.enumerate() {
        sql.push(if index == 0 { "" } else { ", " });
        if is_masked {
            sql.push_masked(column, SHORTEST_COUNTED);
        } else {
            sql.push(&format!("toString({column})"));
        }
    }
    sql.push("], 'Array(String)') AS labels, ");
}

impl Sql {
    /// A text without [what may be somebody's](crate::event::pseudonym::PERSONAL), and without its event's own account and user, whose columns
    /// must be there, where they have so many bytes at least: a shorter one is any word.
    pub(super) fn push_masked(&mut self, column: &str, shortest: usize) -> &mut Self {
        // No text holds U+0000: what is too short is looked for in vain.
        let own = |id: &str| format!("if(length({id}) >= {shortest}, {id}, '\\0')");
        self.push(&format!("replaceRegexpAll(replaceAll(replaceAll(toString({column}), {}, ", own("account_id")));
        self.push_value("{}), ", Value::Text(MASK.to_owned())).push(&own("user_id"));
        self.push_value(", {}), ", Value::Text(MASK.to_owned()));
        self.push_value("{}, ", Value::Text(PERSONAL.to_owned()));
        self.push_value("{})", Value::Text(MASK.to_owned()))
    }
}

/// How the rollup counts the events with at least one of the field errors of a group; none if it does not tell apart what the
/// question does.
///
/// An event is in one cell for each of its pairs of field and rule. Where each cell that fits has a group of its own, that is what
/// is asked for; else the repeats are taken off, and they are known for all rules of a field, all fields of a rule, and everything.
pub(super) fn events_in_rollup(filter: &Filter, group_by: &[FailureKey]) -> Option<&'static str> {
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

fn failure(group_by: &[FailureKey], row: Counted, compared: bool) -> FailureRow {
    let names = group_by.iter().map(|key| key.as_str());
    FailureRow {
        keys: names.zip(row.labels).collect(),
        count: row.count,
        events: row.events,
        accounts: row.accounts,
        share: row.count as f64 / row.total as f64,
        previous_count: compared.then_some(row.previous),
        first_seen_ms: row.first_seen,
        last_seen_ms: row.last_seen,
        sample_request_ids: row.samples,
    }
}
