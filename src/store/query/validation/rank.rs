//! Which field errors are the most frequent: told by the counts alone, so that the rest is read for those that are shown.

use std::collections::{BTreeMap, BTreeSet};

use clickhouse::Row;
use serde::Deserialize;

use super::{FailureKey, grouped, labels, numbered, push_keys};
use crate::store::query::{Filter, Sql, Store, StoreError};

/// The most frequent groups of a question, the largest first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Ranking {
    pub(super) groups: Vec<Vec<String>>,
    /// If the groups tell fields and rules apart.
    pub(super) rules: Option<FailureRules>,
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
    labels: Vec<String>,
    total: u64,
    /// Of the group's field and rule.
    of_rule: u64,
}

impl Store {
    /// Which rules cause most, over all routes.
    pub async fn failure_rules(&self, project: &str, filter: &Filter) -> Result<FailureRules, StoreError> {
        let ranking = self.rank_failures(project, filter, &[FailureKey::Field, FailureKey::Rule], 0).await?;
        Ok(ranking.rules.unwrap_or_default())
    }

    /// The most frequent groups of field errors, and the rules that cause most: how often they were, and nothing else of them is read.
    pub(super) async fn rank_failures(
        &self,
        project: &str,
        filter: &Filter,
        group_by: &[FailureKey],
        limit: usize,
    ) -> Result<Ranking, StoreError> {
        let keys = numbered(group_by.len());
        let key_of = |key| group_by.iter().position(|other| *other == key);
        let pair = key_of(FailureKey::Field).zip(key_of(FailureKey::Rule));
        // Without pairs, all is one.
        let pair_of = pair.map_or_else(|| "0".to_owned(), |(field, rule)| format!("(key_{field}, key_{rule})"));
        let mut sql = Sql::new(&format!(
            "SELECT labels, total, of_rule FROM (SELECT *, dense_rank() OVER (ORDER BY of_rule DESC, pair) AS rule_place FROM (\
             SELECT labels, pair, sum(count) OVER () AS total, sum(count) OVER (PARTITION BY pair) AS of_rule, \
             row_number() OVER (ORDER BY count DESC, labels) AS place, \
             row_number() OVER (PARTITION BY pair ORDER BY count DESC, labels) AS place_of_rule FROM (SELECT {pair_of} AS pair, \
             {} AS labels, sum(occurrences) AS count FROM (",
            labels(group_by.len())
        ));
        for (index, piece) in self.pieces(filter, group_by, None).await?.into_iter().enumerate() {
            sql.push(if index == 0 { "SELECT " } else { " UNION ALL SELECT " });
            let filter = filter.within(piece.range);
            if piece.in_rollup {
                push_keys(&mut sql, group_by.iter().filter_map(|key| Some((key.in_rollup()?, false))));
                sql.push("sum(count) AS occurrences FROM ");
                self.push_cells_that_fit(&mut sql, project, &filter);
            } else {
                push_keys(&mut sql, group_by.iter().map(|key| (key.column(), *key == FailureKey::MaskedMessage)));
                sql.push("count() AS occurrences FROM ");
                self.push_errors_that_fit(&mut sql, project, &filter, group_by);
            }
            sql.push(&grouped(&keys));
        }
        // A rule is named by its first group, where it has none among the most frequent.
        sql.push(&format!(
            "){} HAVING count > 0))) WHERE place <= {limit} OR (place_of_rule = 1 AND rule_place <= {MAX_RULES}) ORDER BY place",
            grouped(&keys)
        ));
        let ranked: Vec<Ranked> = self.rows_of("ranking validation failures", self.ask_wide(&sql)).await?;
        let total = ranked.first().map_or(0, |group| group.total);
        let rules = pair.map(|pair| FailureRules { rules: rules_of(&ranked, pair), total });
        Ok(Ranking { groups: ranked.into_iter().take(limit).map(|group| group.labels).collect(), rules, total })
    }
}

/// The pairs of field and rule, whose labels have these places, the most frequent first.
fn rules_of(ranked: &[Ranked], (field, rule): (usize, usize)) -> Vec<FailureRule> {
    let mut by_rule = BTreeMap::new();
    for group in ranked {
        if let (Some(field), Some(rule)) = (group.labels.get(field), group.labels.get(rule)) {
            by_rule.insert((field, rule), group.of_rule);
        }
    }
    let rule = |((field, rule), count): ((&String, &String), u64)| FailureRule {
        field: field.clone(),
        rule: rule.clone(),
        count,
    };
    let mut rules: Vec<_> = by_rule.into_iter().map(rule).collect();
    rules.sort_by_key(|rule| std::cmp::Reverse(rule.count));
    rules.truncate(MAX_RULES);
    rules
}

impl Ranking {
    /// The filter of the ranked groups, and of hardly anything else.
    pub(super) fn narrowed(&self, filter: &Filter, group_by: &[FailureKey]) -> Filter {
        let mut narrow = filter.clone();
        for (index, key) in group_by.iter().enumerate() {
            let values: BTreeSet<&String> = self.groups.iter().filter_map(|labels| labels.get(index)).collect();
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
}
