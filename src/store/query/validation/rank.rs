//! Which field errors are the most frequent: told by the counts alone, so that the rest is read for those that are shown.

use std::collections::{BTreeSet, HashMap};

use clickhouse::Row;
use serde::Deserialize;

use super::{Counted, FailureKey, labels, pieces::Source};
use crate::store::query::{
    FailureTrend, Filter, Sql, Store, StoreError, Value,
    rollup::{DAY_MS, key_of},
};

/// The most frequent groups of a question. A group is known by the [hash of its keys](key_of): to carry the names of all groups through the ranking takes
/// more than all the rest of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Ranking {
    groups: BTreeSet<u64>,
    /// If the groups tell fields and rules apart: a group of each of the rules that cause most, and how often that rule was broken.
    rules: Option<Vec<(u64, u64)>>,
    /// Hashes of the routes of all these groups, if they tell routes apart.
    routes: BTreeSet<u64>,
    pub(super) total: u64,
}

/// Rules that are told at most.
const MAX_RULES: usize = 10;

/// Which rules cause most: pairs of field and rule, the most frequent first, at most ten.
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

#[derive(Row, Deserialize)]
struct Ranked {
    group_hash: u64,
    route: u64,
    is_shown: bool,
    /// Whether it stands for one of the rules that cause most.
    is_of_top_rule: bool,
    /// Of the group's field and rule.
    of_rule: u64,
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
        let names = |columns: &[&str]| format!("any({}) AS key_0, any({}) AS key_1", columns[0], columns[1]);
        self.push_occurrences(&mut sql, project, filter, &by, names).await?;
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
        let tells_routes = group_by.contains(&FailureKey::Route);
        // Of each rule only its largest groups can be among the largest of all.
        let mut sql = Sql::new(&format!(
            "SELECT group_hash, route, toBool(place <= {limit}) AS is_shown, toBool({tells_rules} AND place_of_rule = 1 AND rule_place <= {MAX_RULES}) AS is_of_top_rule, \
             of_rule, total FROM (SELECT one.1 AS place_of_rule, one.2.2 AS group_hash, one.2.3 AS route, of_rule, rule_place, total, \
             row_number() OVER (ORDER BY one.2) AS place FROM (SELECT arrayJoin(arrayZip(arrayEnumerate(tops), tops)) AS one, of_rule, rule_place, \
             total FROM (SELECT tops, of_rule, sum(of_rule) OVER () AS total, row_number() OVER (ORDER BY of_rule DESC, pair) AS rule_place FROM (\
             SELECT pair, sum(count) AS of_rule, groupArraySorted({})((-toInt64(count), CAST(group_hash, 'UInt64'), CAST(route, 'UInt64'))) AS tops FROM (\
             SELECT group_hash, any(pair_) AS pair, any(route_) AS route, sum(occurrences) AS count FROM (",
            limit.max(1)
        ));
        let hashes = |columns: &[&str]| {
            let of = |key| group_by.iter().position(|other| *other == key).map(|index| columns[index]);
            // Without pairs, all is one.
            let pair = of(FailureKey::Field).zip(of(FailureKey::Rule)).and_then(|(field, rule)| key_of(&[field, rule]));
            let hash = |key: Option<String>| key.map_or_else(|| "toUInt64(0)".to_owned(), |key| format!("any({key})"));
            format!(
                "{} AS pair_, {} AS route_",
                hash(pair),
                hash(of(FailureKey::Route).and_then(|route| key_of(&[route])))
            )
        };
        self.push_occurrences(&mut sql, project, filter, group_by, hashes).await?;
        sql.push(
            ") GROUP BY group_hash HAVING count > 0) GROUP BY pair)))) WHERE is_shown OR is_of_top_rule ORDER BY of_rule DESC",
        );
        let ranked: Vec<Ranked> = self.rows_of("ranking validation failures", self.ask_wide(&sql)).await?;
        let of_rules = ranked.iter().filter(|group| group.is_of_top_rule);
        Ok(Ranking {
            groups: ranked.iter().filter(|group| group.is_shown).map(|group| group.group_hash).collect(),
            rules: tells_rules.then(|| of_rules.map(|group| (group.group_hash, group.of_rule)).collect()),
            routes: ranked.iter().filter(|_| tells_routes).map(|group| group.route).collect(),
            total: ranked.first().map_or(0, |group| group.total),
        })
    }

    /// How often each group was, in each piece of the range, and what else is told of a group by these columns, of which each has one in the order of
    /// the keys.
    async fn push_occurrences(
        &self,
        sql: &mut Sql,
        project: &str,
        filter: &Filter,
        group_by: &[FailureKey],
        told: impl Fn(&[&str]) -> String,
    ) -> Result<(), StoreError> {
        for (index, piece) in self.pieces(filter, group_by, None, DAY_MS).await?.into_iter().enumerate() {
            sql.push(if index == 0 { "SELECT " } else { " UNION ALL SELECT " });
            let in_rollup = piece.source != Source::Events;
            let told = told(&columns(group_by, in_rollup));
            sql.push(&format!("{} AS group_hash, {told}, ", hash_of(group_by, piece.source)));
            sql.push(if in_rollup { "sum(count)" } else { "count()" }).push(" AS occurrences FROM ");
            self.push_failures_that_fit(sql, project, &filter.within(piece.range), group_by, piece.source);
            sql.push(" GROUP BY group_hash");
        }
        Ok(())
    }
}

/// The keys' columns, in a piece that comes from the rollup or from the events.
pub(in crate::store::query) fn columns(group_by: &[FailureKey], in_rollup: bool) -> Vec<&'static str> {
    group_by.iter().map(|key| key.in_rollup().filter(|_| in_rollup).unwrap_or(key.column())).collect()
}

/// What [stands for the keys](key_of) of a group, whatever their order is. Of field, rule and route together, the cells of days have it.
pub(super) fn hash_of(group_by: &[FailureKey], source: Source) -> String {
    let mut keys = group_by.to_vec();
    // In the order in which days have it.
    keys.sort_by_key(|key| FailureTrend::KEYS.iter().position(|other| other == key));
    if source == Source::Days && keys == FailureTrend::KEYS {
        return "key".to_owned();
    }
    key_of(&columns(&keys, source != Source::Events)).unwrap_or_else(|| "toUInt64(0)".to_owned())
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
    /// Nothing fits.
    pub(super) const fn is_empty(&self) -> bool {
        self.total == 0
    }

    /// Whether a group is one to show.
    pub(super) fn shows(&self, group: u64) -> bool {
        self.groups.contains(&group)
    }

    /// Conditions for the groups that are shown, or that name a rule.
    pub(super) fn push_groups(&self, sql: &mut Sql, group_by: &[FailureKey], source: Source) {
        if group_by.is_empty() {
            return;
        }
        // By itself it is told by the dictionary: the rest is hashed for what is left. Days have the hash.
        if source != Source::Days && !self.routes.is_empty() {
            let routes = Value::UInts(self.routes.iter().copied().collect());
            sql.push_value(&format!(" AND {} IN {{}}", key_of(&["route"]).unwrap_or_default()), routes);
        }
        let of_rules = self.rules.iter().flatten().map(|(group, _)| group);
        let groups: BTreeSet<u64> = self.groups.iter().chain(of_rules).copied().collect();
        sql.push(&format!(" AND {}", hash_of(group_by, source)))
            .push_value(" IN {}", Value::UInts(groups.into_iter().collect()));
    }

    /// The rules that cause most, by the names that their groups have; none if the groups do not tell them.
    pub(super) fn rules(&self, group_by: &[FailureKey], counted: &[Counted]) -> Option<FailureRules> {
        let labels: HashMap<u64, &[String]> = counted.iter().map(|row| (row.hash, row.labels.as_slice())).collect();
        let named =
            self.rules.as_ref()?.iter().filter_map(|(group, count)| rule_of(group_by, labels.get(group)?, *count));
        Some(FailureRules { rules: in_order(named), total: self.total })
    }
}
