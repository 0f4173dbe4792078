//! Which field errors are the most frequent: told by the counts alone, so that the rest is read for those that are shown.

use std::{
    cmp::Reverse,
    collections::{BTreeSet, HashMap},
};

use clickhouse::Row;
use serde::Deserialize;

use super::{
    Counted, FailureKey, labels,
    pieces::{Piece, Source},
};
use crate::store::query::{
    FailureTrend, Filter, Sql, Store, StoreError, Value,
    rollup::{key_of, part_of_key},
};

/// The most frequent groups of a question. A group is known by the [hash of its keys](key_of): to carry the names of all groups through the ranking takes
/// more than all the rest of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Ranking {
    groups: BTreeSet<u64>,
    /// If the groups tell fields and rules apart: a group of each of the rules that cause most, and how often that rule was broken.
    rules: Option<Vec<(u64, u64)>>,
    /// What the routes of all these groups add to their hashes, if they tell field, rule and route apart.
    routes: BTreeSet<u64>,
    pub(super) total: u64,
}

/// Rules that are told at most: "these three are 71 % of failures". Each costs a group that is read for its name.
const MAX_RULES: usize = 3;

/// Which rules cause most: pairs of field and rule, the most frequent first, at most three.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FailureRules {
    pub rules: Vec<FailureRule>,
    /// Occurrences of all rules.
    pub total: u64,
}

/// How often a field broke a rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FailureRule {
    pub field: String,
    pub rule: String,
    pub count: u64,
}

/// A group among those of its field and rule: minus how often it was, and its hash.
type Top = (i64, u64);

#[derive(Row, Deserialize)]
struct RankedRule {
    pair: u64,
    of_rule: u64,
    /// Its largest groups, the largest first.
    tops: Vec<Top>,
    /// Of all rules, also those that are not read.
    total: u64,
}

#[derive(Row, Deserialize)]
struct CountedRule {
    labels: Vec<String>,
    count: u64,
    total: u64,
}

impl Store {
    /// Which rules cause most, over all routes.
    pub async fn failure_rules(&self, project: &str, filter: &Filter) -> Result<FailureRules, StoreError> {
        let by = [FailureKey::Field, FailureKey::Rule];
        let mut sql = Sql::new(&format!(
            "SELECT {} AS labels, sum(occurrences) AS count, sum(count) OVER () AS total FROM (",
            labels(by.len(), true)
        ));
        let names =
            |_: &Source, columns: &[&str]| format!("any({}) AS key_0, any({}) AS key_1", columns[0], columns[1]);
        let pieces = self.pieces_to_count(filter, &by).await?;
        self.push_occurrences(&mut sql, project, filter, &by, pieces, names);
        sql.push(&format!(") GROUP BY group_hash HAVING count > 0 ORDER BY count DESC, group_hash LIMIT {MAX_RULES}"));
        let counted: Vec<CountedRule> = self.rows_of("counting the rules broken most", self.ask_wide(&sql)).await?;
        let total = counted.first().map_or(0, |rule| rule.total);
        let rules = counted.into_iter().filter_map(|rule| rule_of(&by, &rule.labels, rule.count));
        Ok(FailureRules { rules: in_order(rules), total })
    }

    /// The most frequent groups of field errors, and the rules that cause most: how often they were, and nothing else of them is read. Of groups
    /// that are equally frequent, which of them are among the most frequent is up to their hashes.
    pub(super) async fn rank_failures(
        &self,
        project: &str,
        filter: &Filter,
        group_by: &[FailureKey],
        limit: usize,
    ) -> Result<Ranking, StoreError> {
        let tells_rules = [FailureKey::Field, FailureKey::Rule].iter().all(|key| group_by.contains(key));
        let tells_routes = tells_rules && group_by.contains(&FailureKey::Route);
        let pieces = self.pieces_to_count(filter, group_by).await?;
        // Of each rule only its largest groups can be among the largest of all.
        let mut sql = Sql::new(&format!(
            "SELECT pair, of_rule, tops, total FROM (SELECT *, sum(of_rule) OVER () AS total, row_number() OVER (ORDER BY of_rule DESC, pair) AS place, \
             row_number() OVER (ORDER BY tops[1]) AS place_of_top FROM (\
             SELECT pair, sum(count) AS of_rule, groupArraySorted({})((-toInt64(count), CAST(group_hash, 'UInt64'))) AS tops FROM (",
            limit.max(1)
        ));
        // One piece has each group once.
        let is_one = pieces.len() == 1;
        sql.push(if is_one {
            "SELECT group_hash, pair_ AS pair, occurrences AS count FROM ("
        } else {
            "SELECT group_hash, any(pair_) AS pair, sum(occurrences) AS count FROM ("
        });
        let pair = |source: &Source, columns: &[&str]| {
            let of = |key| group_by.iter().position(|other| *other == key).map(|index| columns[index]);
            let hash = match (of(FailureKey::Field).zip(of(FailureKey::Rule)), source) {
                (Some(_), Source::Counts(_)) => Some("pair".to_owned()),
                (Some((field, rule)), _) => key_of(&[field, rule]),
                // Without pairs, all is one.
                (None, _) => None,
            };
            format!("{} AS pair_", hash.map_or_else(|| "toUInt64(0)".to_owned(), |hash| format!("any({hash})")))
        };
        self.push_occurrences(&mut sql, project, filter, group_by, pieces, pair);
        sql.push(if is_one { ") WHERE count > 0" } else { ") GROUP BY group_hash HAVING count > 0" });
        // A rule whose largest group is not among the largest of so many rules has none to show.
        sql.push(&format!(") GROUP BY pair)) WHERE place <= {MAX_RULES} OR place_of_top <= {limit}"));
        let rules: Vec<RankedRule> = self.rows_of("ranking validation failures", self.ask_wide(&sql)).await?;
        Ok(Ranking::of(rules, limit, tells_rules, tells_routes))
    }

    /// How often each group was, in each piece of the range, and what else is told of a group by these columns, of which each has one in the order of
    /// the keys.
    fn push_occurrences(
        &self,
        sql: &mut Sql,
        project: &str,
        filter: &Filter,
        group_by: &[FailureKey],
        pieces: Vec<Piece>,
        told: impl Fn(&Source, &[&str]) -> String,
    ) {
        for (index, Piece { source, .. }) in pieces.into_iter().enumerate() {
            sql.push(if index == 0 { "SELECT " } else { " UNION ALL SELECT " });
            let in_rollup = source.is_rollup();
            let told = told(&source, &columns(group_by, in_rollup));
            sql.push(&format!("{} AS group_hash, {told}, ", hash_of(group_by, &source)));
            sql.push(if in_rollup { "sum(count)" } else { "count()" }).push(" AS occurrences FROM ");
            self.push_failures_that_fit(sql, project, filter, group_by, &source);
            sql.push(" GROUP BY group_hash");
        }
    }
}

/// The keys' columns, in a piece that comes from the rollup or from the events.
pub(in crate::store::query) fn columns(group_by: &[FailureKey], in_rollup: bool) -> Vec<&'static str> {
    group_by.iter().map(|key| key.in_rollup().filter(|_| in_rollup).unwrap_or(key.column())).collect()
}

/// The column that some cells have of field, rule and route.
pub(super) const KEY: &str = "key";

/// What [stands for the keys](key_of) of a group, whatever their order is. Of field, rule and route together, some cells have it.
pub(super) fn hash_of(group_by: &[FailureKey], source: &Source) -> String {
    let mut keys = group_by.to_vec();
    // In the order in which those cells have it.
    keys.sort_by_key(|key| FailureTrend::KEYS.iter().position(|other| other == key));
    if source.has_key() && keys == FailureTrend::KEYS {
        return KEY.to_owned();
    }
    key_of(&columns(&keys, source.is_rollup())).unwrap_or_else(|| "toUInt64(0)".to_owned())
}

/// The most frequent first, and by their names.
fn in_order(rules: impl Iterator<Item = FailureRule>) -> Vec<FailureRule> {
    let mut rules: Vec<_> = rules.collect();
    rules.sort_by(|a, b| (b.count, &a.field, &a.rule).cmp(&(a.count, &b.field, &b.rule)));
    rules
}

/// The rule that labels of these keys name.
fn rule_of(group_by: &[FailureKey], labels: &[String], count: u64) -> Option<FailureRule> {
    let label = |key| labels.get(group_by.iter().position(|other| *other == key)?).cloned();
    Some(FailureRule { field: label(FailureKey::Field)?, rule: label(FailureKey::Rule)?, count })
}

impl Ranking {
    /// The `limit` largest groups of all rules, and the largest group of each of the rules that cause most.
    fn of(mut rules: Vec<RankedRule>, limit: usize, tells_rules: bool, tells_routes: bool) -> Self {
        rules.sort_unstable_by_key(|rule| (Reverse(rule.of_rule), rule.pair));
        let tops = |rule: &RankedRule| rule.tops.iter().map(|top| (*top, rule.pair)).collect::<Vec<_>>();
        let mut shown: Vec<(Top, u64)> = rules.iter().flat_map(tops).collect();
        shown.sort_unstable();
        shown.truncate(limit);
        let largest = rules.iter().filter_map(|rule| Some(((*rule.tops.first()?, rule.pair), rule.of_rule)));
        let of_rules: Vec<_> = largest.take(if tells_rules { MAX_RULES } else { 0 }).collect();
        // The key of field, rule and route is that of the first two, and what the route adds to it.
        let routes =
            shown.iter().chain(of_rules.iter().map(|(top, _)| top)).map(|((_, key), pair)| key.wrapping_sub(*pair));
        Self {
            groups: shown.iter().map(|((_, group), _)| *group).collect(),
            routes: routes.filter(|_| tells_routes).collect(),
            rules: tells_rules.then(|| of_rules.iter().map(|(((_, group), _), of_rule)| (*group, *of_rule)).collect()),
            total: rules.first().map_or(0, |rule| rule.total),
        }
    }

    /// Nothing fits.
    pub(super) const fn is_empty(&self) -> bool {
        self.total == 0
    }

    /// Whether a group is one to show.
    pub(super) fn shows(&self, group: u64) -> bool {
        self.groups.contains(&group)
    }

    /// The groups that are shown, or that name a rule.
    pub(super) fn wanted(&self) -> Vec<u64> {
        let of_rules = self.rules.iter().flatten().map(|(group, _)| group);
        self.groups.iter().chain(of_rules).copied().collect::<BTreeSet<u64>>().into_iter().collect()
    }

    /// Conditions for some of the groups that are wanted.
    pub(super) fn push_groups(&self, sql: &mut Sql, group_by: &[FailureKey], source: &Source, groups: &[u64]) {
        if group_by.is_empty() {
            return;
        }
        // By itself it is told by the dictionary: the rest is hashed for what is left. Some cells have the hash.
        if !source.has_key() && !self.routes.is_empty() {
            let routes = Value::UInts(self.routes.iter().copied().collect());
            let place = FailureTrend::KEYS.iter().position(|key| *key == FailureKey::Route).unwrap_or_default();
            sql.push_value(&format!(" AND {} IN {{}}", part_of_key(place, "route")), routes);
        }
        sql.push(&format!(" AND {}", hash_of(group_by, source))).push_value(" IN {}", Value::UInts(groups.to_vec()));
    }

    /// The rules that cause most, by the names that their groups have; none if the groups do not tell them.
    pub(super) fn rules(&self, group_by: &[FailureKey], counted: &[Counted]) -> Option<FailureRules> {
        let labels: HashMap<u64, &[String]> = counted.iter().map(|row| (row.hash, row.labels.as_slice())).collect();
        let named =
            self.rules.as_ref()?.iter().filter_map(|(group, count)| rule_of(group_by, labels.get(group)?, *count));
        Some(FailureRules { rules: in_order(named), total: self.total })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_largest_groups_are_shown_and_one_of_each_of_the_largest_rules_is_known() {
        let rule = |pair, of_rule, tops: &[Top]| RankedRule { pair, of_rule, tops: tops.to_vec(), total: 29 };
        let small = |pair| rule(pair, 1, &[(-1, 100 + pair)]);
        let rules = || {
            let many = (10..20).map(small);
            let first = [rule(1, 9, &[(-5, 11), (-4, 12)]), rule(2, 10, &[(-8, 21), (-2, 22)])];
            first.into_iter().chain(many).collect::<Vec<_>>()
        };
        let ranking = Ranking::of(rules(), 3, true, true);
        assert_eq!(ranking.groups, [11, 12, 21].into());
        assert_eq!(ranking.rules, Some(vec![(21, 10), (11, 9), (110, 1)]), "three of twelve");
        assert_eq!(ranking.wanted(), [11, 12, 21, 110]);
        assert_eq!((ranking.routes, ranking.total), ([10, 11, 19, 100].into(), 29));
        let by_field = Ranking::of(rules(), 1, false, false);
        assert_eq!((by_field.groups, by_field.rules, by_field.routes), ([21].into(), None, BTreeSet::new()));
        assert!(Ranking::of(Vec::new(), 3, true, true).is_empty());
    }
}
