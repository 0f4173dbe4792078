//! Which field errors users meet: counts per field, rule, route, message, account.

mod mask;
mod pieces;
mod rank;

use std::{
    collections::{BTreeMap, BTreeSet},
    mem::take,
};

use clickhouse::Row;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

pub(super) use pieces::events_in_rollup;
use pieces::{Piece, Source};
pub(super) use rank::columns;
pub use rank::{FailureRule, FailureRules};
use rank::{KEY, Ranking, hash_of};

use super::{
    FailureTrend, Filter, Sql, Store, StoreError,
    rollup::{DAY_MS, HOUR_MS},
};

/// As a query is called in logs.
const COUNTING: &str = "counting validation failures";

/// From so many groups on, their rows are asked for in two halves.
const MANY_GROUPS: usize = 16;

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
    /// Hash of the labels, if it was ranked.
    hash: u64,
    labels: Vec<String>,
    count: u64,
    events: u64,
    accounts: u64,
    total: u64,
    previous: u64,
    first_seen: i64,
    last_seen: i64,
    samples: Vec<String>,
    /// Number of a step and occurrences in it, if steps were asked for; steps without any are left out.
    steps: Vec<(u32, u64)>,
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
    /// Whole days and hours come from the rollups where keys and filter allow. The numbers are the same; of a day or an hour, the samples are one
    /// of each service, environment and route.
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
        if let Some(ranking) = ranking.as_ref().filter(|ranking| ranking.is_empty()) {
            return Ok(CountedFailures { rules: ranking.rules(group_by, &[]), ..CountedFailures::default() });
        }
        // The cells tell the steps of whole hours as well, in the same pass.
        let steps = trend_step_ms
            .filter(|step_ms| ranking.is_some() && step_ms % HOUR_MS == 0 && group_by == FailureTrend::KEYS);
        let asked = Rows { group_by, ranking: ranking.as_ref(), step_ms: steps, limit };
        let mut counted = self.count_failures(project, filter, previous, &asked).await?;
        let rules = ranking.as_ref().and_then(|ranking| ranking.rules(group_by, &counted));
        if let Some(ranking) = &ranking {
            counted.retain(|row| ranking.shows(row.hash));
            // Shares are of all that was ranked; what has come in since counts too.
            for row in &mut counted {
                row.total = ranking.total.max(row.count);
            }
        }
        let trends = match trend_step_ms {
            Some(_) if steps.is_some() => {
                counted.iter_mut().filter_map(|row| FailureTrend::of(&row.labels, take(&mut row.steps))).collect()
            }
            Some(step_ms) if !counted.is_empty() => {
                self.failure_trends(project, &narrowed(filter, group_by, &counted), step_ms, limit).await?
            }
            _ => Vec::new(),
        };
        let rows = counted.into_iter().map(|row| failure(group_by, row, previous.is_some())).collect();
        Ok(CountedFailures { rows, trends, rules })
    }

    /// Everything that a row tells, the most frequent first.
    async fn count_failures(
        &self,
        project: &str,
        filter: &Filter,
        previous: Option<(i64, i64)>,
        rows: &Rows<'_>,
    ) -> Result<Vec<Counted>, StoreError> {
        let unit_ms = rows.step_ms.map_or(DAY_MS, FailureTrend::unit_ms);
        let pieces = self.pieces(filter, rows.group_by, previous, unit_ms).await?;
        let wanted = rows.ranking.map(Ranking::wanted).unwrap_or_default();
        let sql = |groups: &[u64]| self.sql_of_rows(project, filter, rows, &pieces, groups);
        // Days are read by their key: each half takes half as much, and two threads need not unite what they have found of the same groups. All else
        // would be gone through twice.
        let by_groups = pieces
            .iter()
            .all(|piece| matches!(piece.source, Source::Days(_)) && hash_of(rows.group_by, &piece.source) == KEY);
        if !by_groups || wanted.len() < MANY_GROUPS {
            return self.rows_of(COUNTING, self.ask_wide(&sql(&wanted))).await;
        }
        let (first, second) = wanted.split_at(wanted.len() / 2);
        let (first, second) = (sql(first), sql(second));
        let (mut counted, others) = tokio::try_join!(
            self.rows_of(COUNTING, self.ask(&first)),
            self.rows_of::<Counted>(COUNTING, self.ask(&second))
        )?;
        counted.extend(others);
        counted.sort_by(|a, b| (b.count, &a.labels).cmp(&(a.count, &b.labels)));
        Ok(counted)
    }

    /// The question for everything that a row tells; of what was ranked, of these groups.
    fn sql_of_rows(&self, project: &str, filter: &Filter, rows: &Rows<'_>, pieces: &[Piece], groups: &[u64]) -> Sql {
        let Rows { group_by, ranking, limit, .. } = *rows;
        let group = if ranking.is_some() { "CAST(any(group_hash), 'UInt64')" } else { "toUInt64(0)" };
        let mut sql = Sql::new(&format!("SELECT {group} AS hash, {}", labels(group_by.len(), ranking.is_some())));
        sql.push(
            " AS labels, sumIf(occurrences, current) AS count, sumIf(with_any, current) AS events, \
             uniqExactArrayMergeIf(account_ids, current) AS accounts, sum(count) OVER () AS total, \
             sumIf(occurrences, NOT current) AS previous, minIf(first, current) AS first_seen, \
             maxIf(last, current) AS last_seen, groupUniqArrayArrayIf(5)(ids, current) AS samples, \
             arrayZip((sumMapIf(of_steps.1, of_steps.2, current) AS summed).1, summed.2) AS steps FROM (",
        );
        let steps = rows.step_ms.map(|step_ms| (FailureTrend::begin_ms(filter.from_ms, step_ms), step_ms));
        for (index, piece) in pieces.iter().enumerate() {
            sql.push(if index == 0 { "" } else { " UNION ALL " });
            self.push_piece_of(&mut sql, project, filter, rows, (piece, steps, groups));
        }
        sql.push(&format!(") GROUP BY {} HAVING count > 0", rows.grouped()));
        // Of what was ranked, every group is wanted.
        sql.push(" ORDER BY count DESC, labels");
        if ranking.is_none() {
            sql.push(&format!(" LIMIT {limit}"));
        }
        sql
    }

    /// What a piece of the range tells of each group; of what is not the current period, only how many.
    fn push_piece_of(
        &self,
        sql: &mut Sql,
        project: &str,
        filter: &Filter,
        rows: &Rows<'_>,
        (piece, steps, groups): (&Piece, Option<(i64, i64)>, &[u64]),
    ) {
        let in_rollup = piece.source.is_rollup();
        let columns = columns(rows.group_by, in_rollup);
        sql.push(if piece.current { "SELECT 1 AS current, " } else { "SELECT 0 AS current, " });
        if rows.ranking.is_some() {
            sql.push(&format!("{} AS group_hash, ", hash_of(rows.group_by, &piece.source)));
            push_keys(sql, columns.iter().map(|column| (format!("any({column})"), false)));
        } else {
            let masked = rows.group_by.iter().map(|key| *key == FailureKey::MaskedMessage);
            push_keys(sql, columns.iter().map(|column| (*column).to_owned()).zip(masked));
        }
        // Only what is in the rollup has events that it can count.
        let events = events_in_rollup(filter, rows.group_by).unwrap_or_default();
        sql.push(if in_rollup { "sum(count) AS occurrences, " } else { "count() AS occurrences, " });
        // Accounts as hashes of 64 bits: their names take half as long again.
        match (piece.current, in_rollup) {
            (true, true) => sql.push(&format!(
                "toUInt64({events}) AS with_any, uniqExactArrayState(arrayMap(account -> cityHash64(account), accounts)) AS account_ids, \
                 toUnixTimestamp64Milli(min(first_seen)) AS first, toUnixTimestamp64Milli(max(last_seen.1)) AS last, \
                 groupUniqArrayIf(5)(last_seen.2, last_seen.2 != '') AS ids, "
            )),
            (true, false) => sql.push(
                "uniqExact(key) AS with_any, \
                 uniqExactArrayState(if(account_id = '', emptyArrayUInt64(), [cityHash64(account_id)])) AS account_ids, min(at) AS first, \
                 max(at) AS last, groupUniqArray(5)(request_id) AS ids, ",
            ),
            (false, _) => sql.push("0 AS with_any, uniqExactArrayState(emptyArrayUInt64()) AS account_ids, 0 AS first, 0 AS last, [] AS ids, "),
        };
        match steps.filter(|_| piece.current) {
            Some((begin_ms, step_ms)) => {
                let (at_ms, count) =
                    if in_rollup { ("toInt64(toUnixTimestamp(at)) * 1000", "count") } else { ("at", "1") };
                sql.push(&format!("sumMap([toUInt32(intDiv({at_ms} - {begin_ms}, {step_ms}))], [toUInt64({count})])"))
            }
            None => sql.push("([]::Array(UInt32), []::Array(UInt64))"),
        };
        sql.push(" AS of_steps FROM ");
        self.push_failures_that_fit(sql, project, filter, rows.group_by, &piece.source);
        if let Some(ranking) = rows.ranking {
            ranking.push_groups(sql, rows.group_by, &piece.source, groups);
        }
        sql.push(&format!(" GROUP BY {}", rows.grouped()));
    }
}

/// The filter of some rows, and of hardly anything else.
fn narrowed(filter: &Filter, group_by: &[FailureKey], counted: &[Counted]) -> Filter {
    let mut narrow = filter.clone();
    for (index, key) in group_by.iter().enumerate() {
        let values: BTreeSet<&String> = counted.iter().filter_map(|row| row.labels.get(index)).collect();
        let values = values.into_iter().cloned().collect();
        match key {
            FailureKey::Field => narrow.fields = values,
            FailureKey::Rule => narrow.rules = values,
            FailureKey::Route => narrow.routes = values,
            FailureKey::Message | FailureKey::MaskedMessage | FailureKey::Account | FailureKey::Path => {}
        }
    }
    narrow
}

/// What is asked of each row.
struct Rows<'a> {
    group_by: &'a [FailureKey],
    ranking: Option<&'a Ranking>,
    /// Of the steps to count by.
    step_ms: Option<i64>,
    /// Where nothing was ranked.
    limit: usize,
}

impl Rows<'_> {
    /// What is grouped by; of no key, one group, if there is anything.
    fn grouped(&self) -> String {
        if self.ranking.is_some() {
            "group_hash".to_owned()
        } else if self.group_by.is_empty() {
            "tuple()".to_owned()
        } else {
            (0..self.group_by.len()).map(|index| format!("key_{index}")).collect::<Vec<_>>().join(", ")
        }
    }
}

/// The columns `key_0` and so on as one; `any` of each group's, where they are not what is grouped by. (Grouping by texts in an array takes several times
/// as long as by the columns, and those several times as long as [by a hash of them](rank::hash_of).)
fn labels(keys: usize, any: bool) -> String {
    let text = |index| if any { format!("toString(any(key_{index}))") } else { format!("toString(key_{index})") };
    format!("CAST([{}], 'Array(String)')", (0..keys).map(text).collect::<Vec<_>>().join(", "))
}

/// Columns of labels, and whether what may be somebody's is masked in each.
fn push_keys(sql: &mut Sql, columns: impl Iterator<Item = (String, bool)>) {
    for (index, (column, is_masked)) in columns.enumerate() {
        if is_masked {
            sql.push_masked(&column);
        } else {
            sql.push(&column);
        }
        sql.push(&format!(" AS key_{index}, "));
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
