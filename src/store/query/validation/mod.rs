//! Which field errors users meet: counts per field, rule, route, message, account.

mod rank;

use std::collections::BTreeMap;

use clickhouse::Row;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use rank::Ranking;
pub use rank::{FailureRule, FailureRules};

use super::{
    FailureTrend, Filter, Sql, Store, StoreError, Value,
    rollup::{HOUR_MS, Range, take_whole},
};
use crate::event::pseudonym::{MASK, PERSONAL, SHORTEST_IN_TEXT};

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

/// Field errors counted, and what came to be known on the way.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct CountedFailures {
    pub rows: Vec<FailureRow>,
    /// Empty unless asked for.
    pub trends: Vec<FailureTrend>,
    /// If the rows tell fields and rules apart, and come from the rollup.
    pub rules: Option<FailureRules>,
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
        Ok(self.failures_and_trends(project, filter, group_by, previous, limit, None).await?.rows)
    }

    /// The same, and how the most frequent field errors went over the range, in steps of so many milliseconds
    /// ([`Store::failure_trends`]).
    ///
    /// What is counted by the rollup is first ranked by its counts alone: accounts, times and samples, which are most of the rollup, are read
    /// for the groups that are shown.
    pub async fn failures_and_trends(
        &self,
        project: &str,
        filter: &Filter,
        group_by: &[FailureKey],
        previous: Option<(i64, i64)>,
        limit: usize,
        trend_step_ms: Option<i64>,
    ) -> Result<CountedFailures, StoreError> {
        let ranking = match events_in_rollup(filter, group_by) {
            Some(_) => Some(self.rank_failures(project, filter, group_by, limit).await?),
            None => None,
        };
        if ranking.as_ref().is_some_and(|ranking| ranking.groups.is_empty()) {
            return Ok(CountedFailures {
                rules: ranking.and_then(|ranking| ranking.rules),
                ..CountedFailures::default()
            });
        }
        let narrow = ranking.as_ref().map_or_else(|| filter.clone(), |ranking| ranking.narrowed(filter, group_by));
        let trends = async {
            match trend_step_ms {
                Some(step_ms) => self.failure_trends(project, &narrow, step_ms, limit).await,
                None => Ok(Vec::new()),
            }
        };
        let rows = self.count_failures(project, &narrow, group_by, previous, (ranking.as_ref(), limit));
        let (mut rows, trends) = tokio::try_join!(rows, trends)?;
        if let Some(ranking) = &ranking {
            // Shares are of all that was ranked; what has come in since counts too.
            rows.iter_mut().for_each(|row| row.total = ranking.total.max(row.count));
        }
        let rows = rows.into_iter().map(|row| failure(group_by, row, previous.is_some())).collect();
        Ok(CountedFailures { rows, trends, rules: ranking.and_then(|ranking| ranking.rules) })
    }

    /// Everything that a row tells, in one pass.
    async fn count_failures(
        &self,
        project: &str,
        filter: &Filter,
        group_by: &[FailureKey],
        previous: Option<(i64, i64)>,
        (ranking, limit): (Option<&Ranking>, usize),
    ) -> Result<Vec<Counted>, StoreError> {
        let events = events_in_rollup(filter, group_by);
        let keys = numbered(group_by.len());
        let mut sql = Sql::new("SELECT ");
        sql.push(&labels(group_by.len())).push(
            " AS labels, sumIf(occurrences, current) AS count, sumIf(with_any, current) AS events, \
             uniqExactArrayIf(account_ids, current) AS accounts, sum(count) OVER () AS total, \
             sumIf(occurrences, NOT current) AS previous, minIf(first, current) AS first_seen, \
             maxIf(last, current) AS last_seen, groupUniqArrayArrayIf(5)(ids, current) AS samples FROM (",
        );
        for (index, piece) in self.pieces(filter, group_by, previous).await?.into_iter().enumerate() {
            sql.push(if index == 0 { "" } else { " UNION ALL " });
            let filter = filter.within(piece.range);
            sql.push(if piece.current { "SELECT 1 AS current, " } else { "SELECT 0 AS current, " });
            match events.filter(|_| piece.in_rollup) {
                Some(events) => self.push_cells_of(&mut sql, project, &filter, group_by, (events, piece.current)),
                None => self.push_events_of(&mut sql, project, &filter, group_by, piece.current),
            }
            sql.push(&grouped(&keys));
        }
        sql.push(&format!("){} HAVING count > 0", grouped(&keys)));
        if let Some(ranking) = ranking.filter(|_| !group_by.is_empty()) {
            // Of what is narrowed there may be more groups: all values of one key with all of another.
            let key =
                |index| ranking.groups.iter().filter_map(|labels: &Vec<String>| labels.get(index)).cloned().collect();
            sql.push(" AND labels IN arrayMap(group -> [");
            for index in 0..group_by.len() {
                let separator = if index == 0 { "" } else { ", " };
                sql.push(&format!("{separator}group.{}", index + 1));
            }
            sql.push("], arrayZip(");
            for index in 0..group_by.len() {
                sql.push(if index == 0 { "" } else { ", " }).push_value("{}", Value::Texts(key(index)));
            }
            sql.push("))");
        }
        sql.push(&format!(" ORDER BY count DESC, labels LIMIT {limit}"));
        self.rows_of("counting validation failures", self.ask_wide(&sql)).await
    }

    /// The question cut into what the rollup answers and what the events do.
    async fn pieces(
        &self,
        filter: &Filter,
        group_by: &[FailureKey],
        previous: Option<(i64, i64)>,
    ) -> Result<Vec<Piece>, StoreError> {
        let since_ms = self.rollups_since_ms().await?;
        let told_apart = events_in_rollup(filter, group_by).is_some();
        let periods = [Some((true, (filter.from_ms, filter.to_ms))), previous.map(|range| (false, range))];
        let cut = |(current, range)| {
            let mut rest = vec![range];
            let whole = if told_apart { take_whole(&mut rest, HOUR_MS, since_ms) } else { Vec::new() };
            let piece = move |range, in_rollup| Piece { current, range, in_rollup };
            let whole = whole.into_iter().map(move |range| piece(range, true));
            whole.chain(rest.into_iter().map(move |range| piece(range, false)))
        };
        Ok(periods.into_iter().flatten().flat_map(cut).collect())
    }

    /// Field errors by labels, from the events of a range; of what is not the current period, only how many.
    fn push_events_of(&self, sql: &mut Sql, project: &str, filter: &Filter, group_by: &[FailureKey], is_current: bool) {
        push_keys(sql, group_by.iter().map(|key| (key.column(), *key == FailureKey::MaskedMessage)));
        sql.push(if is_current {
            "count() AS occurrences, uniqExact(key) AS with_any, \
             groupUniqArrayIf(account_id, account_id != '') AS account_ids, min(at) AS first, max(at) AS last, \
             groupUniqArray(5)(request_id) AS ids FROM "
        } else {
            "count() AS occurrences, 0 AS with_any, [] AS account_ids, 0 AS first, 0 AS last, [] AS ids FROM "
        });
        self.push_errors_that_fit(sql, project, filter, group_by);
    }

    /// The field errors of a range's events, each event once.
    fn push_errors_that_fit(&self, sql: &mut Sql, project: &str, filter: &Filter, group_by: &[FailureKey]) {
        // Paths are no column of their own: they are read only if asked for.
        let paths = if group_by.contains(&FailureKey::Path) { "path" } else { "field" };
        sql.push(
            "(SELECT key, request_id, account_id, route, toUnixTimestamp64Milli(timestamp) AS at, \
             `errors.field` AS error_fields, ",
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

    /// Field errors by labels, from the whole hours of a range; `events` sums the events with at least one. Of what is not the current
    /// period, only how many.
    fn push_cells_of(
        &self,
        sql: &mut Sql,
        project: &str,
        filter: &Filter,
        group_by: &[FailureKey],
        (events, is_current): (&str, bool),
    ) {
        push_keys(sql, group_by.iter().filter_map(|key| Some((key.in_rollup()?, false))));
        if is_current {
            sql.push("sum(count) AS occurrences, toUInt64(").push(events).push(
                ") AS with_any, groupUniqArrayArray(accounts) AS account_ids, \
                 toUnixTimestamp64Milli(min(first_seen)) AS first, toUnixTimestamp64Milli(max(last_seen.1)) AS last, \
                 groupUniqArrayIf(5)(last_seen.2, last_seen.2 != '') AS ids FROM ",
            );
        } else {
            sql.push(
                "sum(count) AS occurrences, 0 AS with_any, [] AS account_ids, 0 AS first, 0 AS last, [] AS ids FROM ",
            );
        }
        self.push_cells_that_fit(sql, project, filter);
    }

    fn push_cells_that_fit(&self, sql: &mut Sql, project: &str, filter: &Filter) {
        sql.push(&self.table("rollup_failures"));
        sql.push_cells(project, &[(None, (filter.from_ms, filter.to_ms))]).push_conditions(filter);
        sql.push_errors_conditions(filter, "field", "rule");
    }
}

/// Names of the columns that are grouped by.
fn numbered(keys: usize) -> Vec<String> {
    (0..keys).map(|index| format!("key_{index}")).collect()
}

/// These columns as one. Grouping by texts in an array takes several times as long as by the columns.
fn labels(keys: usize) -> String {
    let texts: Vec<_> = numbered(keys).iter().map(|key| format!("toString({key})")).collect();
    format!("CAST([{}], 'Array(String)')", texts.join(", "))
}

/// ` GROUP BY …`; of no key, one group, if there is anything.
fn grouped(keys: &[String]) -> String {
    if keys.is_empty() { " GROUP BY tuple()".to_owned() } else { format!(" GROUP BY {}", keys.join(", ")) }
}

/// Columns to group by, and whether what may be somebody's is masked in each.
fn push_keys<'a>(sql: &mut Sql, columns: impl Iterator<Item = (&'a str, bool)>) {
    for (index, (column, is_masked)) in columns.enumerate() {
        if is_masked {
            sql.push_masked(column);
        } else {
            sql.push(column);
        }
        sql.push(&format!(" AS key_{index}, "));
    }
}

impl Sql {
    /// A text without [what may be somebody's](crate::event::pseudonym::PERSONAL), and without its event's own account and user, whose columns
    /// must be there: as [`without_word`](crate::event::pseudonym::without_word) finds them, or more where letters other than ASCII's are
    /// around them.
    pub(super) fn push_masked(&mut self, column: &str) -> &mut Self {
        let ids = ["account_id", "user_id"];
        let holds = ids.map(|id| format!("(length({id}) >= {SHORTEST_IN_TEXT} AND position({column}, {id}) > 0)"));
        // U+0000 is in no text. An edge of the id that is no letter needs no edge of a word.
        let word = ids.map(|id| {
            format!(
                "if(length({id}) >= {SHORTEST_IN_TEXT}, concat(if(match({id}, '^\\\\w'), '\\\\b', ''), regexpQuoteMeta({id}), \
                 if(match({id}, '\\\\w$'), '\\\\b', '')), '\\\\x00')"
            )
        });
        // A pattern for each row is dear: made for those alone whose text has an id in it.
        self.push(&format!("if({}, replaceRegexpAll(", holds.join(" OR "))).push_impersonal(column);
        self.push(&format!(", concat({}), ", word.join(", '|', "))).push_value("{}), ", Value::Text(MASK.to_owned()));
        self.push_impersonal(column).push(")")
    }

    fn push_impersonal(&mut self, column: &str) -> &mut Self {
        self.push(&format!("replaceRegexpAll(toString({column}), "))
            .push_value("{}, ", Value::Text(PERSONAL.to_owned()));
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
