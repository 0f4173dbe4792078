//! Which validations users meet, what would fix most, and who cannot get on.

pub(crate) mod accounts;
pub(crate) mod csv;
pub(crate) mod friction;

use std::collections::BTreeMap;

use axum::{
    Extension,
    extract::State as AxumState,
    response::{IntoResponse, Response},
};
use serde::Serialize;
use utoipa::ToSchema;

pub use accounts::{__path_friction_accounts, friction_accounts};
pub use friction::{__path_friction, friction};

use super::{
    Shared,
    answer::{ApiError, Data},
    params::Params,
    privacy::{Shown, Sight},
    unavailable,
};
use crate::{
    clock::rfc3339,
    event::catalog::Catalog,
    state::TokenInfo,
    store::query::{CountedFailures, FailureKey, FailureRow, FailureRule, FailureRules, FailureTrend, Filter},
};

/// Rows of an analysis unless `limit` says otherwise, and at most.
pub(super) const ROWS: (usize, usize) = (100, 1000);

/// Which validations users meet.
#[derive(Debug, Serialize, ToSchema)]
pub struct Failures {
    pub from: String,
    pub to: String,
    /// What would fix most.
    pub summary: FailureSummary,
    /// Most frequent first.
    pub rows: Vec<Failure>,
}

/// The rules that cause most of the failures.
#[derive(Debug, Default, Serialize, ToSchema)]
pub struct FailureSummary {
    /// Messages that fit the filters.
    pub failures: u64,
    /// The three most frequent rules of fields, over all routes.
    pub top: Vec<TopRule>,
    /// Part of the failures that they cause together, 0 to 1.
    pub top_share: f64,
    /// The same in words: `Three rules cause 71 % of 4,812 validation failures.`
    pub sentence: String,
}

/// A rule that a field breaks.
#[derive(Debug, Serialize, ToSchema)]
pub struct TopRule {
    pub field: String,
    pub rule: String,
    pub count: u64,
    /// Part of all messages, 0 to 1.
    pub share: f64,
}

/// Field errors of one group.
#[derive(Debug, Serialize, ToSchema)]
pub struct Failure {
    /// The values grouped by: `field`, `rule`, `route`, `message`, `account`, `path`.
    #[serde(flatten)]
    pub keys: BTreeMap<&'static str, Shown>,
    /// Messages; an event with the same message at two positions counts twice.
    pub count: u64,
    /// Events with at least one of them.
    pub events: u64,
    /// Accounts that met it.
    pub accounts: u64,
    /// Part of all messages, 0 to 1.
    pub share: f64,
    /// Messages in the period before, with `compare=previous`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub previous_count: Option<u64>,
    pub first_seen: String,
    pub last_seen: String,
    /// At most five request ids.
    pub samples: Vec<String>,
    /// Whether the error catalog has it; absent unless grouped by field and message, or by field, rule and route: then whether it has a message for
    /// that rule.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub documented: Option<bool>,
}

/// What was asked of the failures.
pub(crate) struct Asked {
    pub(crate) filter: Filter,
    pub(crate) group_by: Vec<FailureKey>,
    /// The period to compare with, if any: from, to.
    pub(crate) previous: Option<(i64, i64)>,
    pub(crate) limit: usize,
}

/// The period of the same length before a filter's range, which ends at `ends_ms` so far.
pub(crate) fn before(filter: &Filter, ends_ms: i64) -> (i64, i64) {
    (filter.from_ms.saturating_sub(ends_ms - filter.from_ms).max(0), filter.from_ms)
}

/// Validation failures.
///
/// Field errors by what they are about, most frequent first, and which rules cause most of them. Takes the filters of the event search. A token
/// whose only role is `product` sees accounts as pseudonyms, and messages without quoted values, addresses and long numbers.
#[utoipa::path(
    get, path = "/api/v1/validation/failures", tag = "analyse", operation_id = "validation_failures",
    params(
        ("group_by" = Option<String>, Query,
            description = "field, rule, route, message, account, path; several; default field and rule"),
        ("compare" = Option<String>, Query, description = "`previous`: also count the period of equal length before"),
        ("from" = Option<String>, Query, description = "start of the range: RFC 3339, a date of UTC (`2026-11-17`: its begin), a time before now (`-30m`, `-7d`), or `now`; default: 24 hours before `to`"), ("to" = Option<String>, Query, description = "end of the range, not included; as `from`, but of a date its end; default: now"),
        ("format" = Option<String>, Query, description = "`json` (default), or `csv`: the rows alone, as a file for spreadsheets"),
        ("limit" = Option<u32>, Query, description = "1 to 1000, default 100")),
    responses((status = 200, description = "field errors, most frequent first", body = Failures), (status = 400, description = "a parameter is wrong"),
        (status = 503, description = "ClickHouse does not answer"))
)]
pub async fn failures(
    AxumState(shared): AxumState<Shared>,
    Extension(token): Extension<TokenInfo>,
    mut params: Params,
) -> Result<Response, ApiError> {
    let sight = shared.sight(&token);
    let asked = read(&mut params, &sight, shared.clock.now_ms());
    let as_csv = super::csv::is_asked(&mut params);
    params.finish()?;
    let failures = count(&shared, &token, &asked).await?;
    Ok(if as_csv { csv::answer(&asked, &failures) } else { Data::ok(failures).into_response() })
}

/// Reads what is asked; those who may not see people get messages without their traces.
pub(crate) fn read(params: &mut Params, sight: &Sight, now_ms: i64) -> Asked {
    let filter = params.filter(now_ms);
    let mut group_by = params.choices("group_by", &FailureKey::ALL, FailureKey::as_str);
    if group_by.is_empty() {
        group_by = vec![FailureKey::Field, FailureKey::Rule];
    }
    for key in group_by.iter_mut().filter(|key| **key == FailureKey::Message) {
        *key = sight.message_key();
    }
    let limit = params.limit(ROWS.0, ROWS.1);
    let compared = params.parsed("compare", "previous", |text| (text == "previous").then_some(())).is_some();
    let previous = compared.then(|| before(&filter, filter.to_ms));
    Asked { filter, group_by, previous, limit }
}

/// Counts what is asked, and which rules cause most of it.
pub(crate) async fn count(shared: &Shared, token: &TokenInfo, asked: &Asked) -> Result<Failures, ApiError> {
    Ok(Box::pin(count_and_trends(shared, token, asked, None)).await?.0)
}

/// The same, and how what was counted went over the range, in steps of so many milliseconds.
pub(crate) async fn count_and_trends(
    shared: &Shared,
    token: &TokenInfo,
    asked: &Asked,
    trend_step_ms: Option<i64>,
) -> Result<(Failures, Vec<FailureTrend>), ApiError> {
    let filter = &asked.filter;
    let rules = async {
        let rules = shared.store.failure_rules(&token.project, filter);
        shared.timed("validation_summary", rules).await.map_err(|error| unavailable(&error))
    };
    let counted = counted(shared, token, asked, trend_step_ms);
    // Rows by field and rule bring the rules with them, mostly.
    let by_rule = [FailureKey::Field, FailureKey::Rule].iter().all(|key| asked.group_by.contains(key));
    let (CountedFailures { rows, trends, .. }, rules) = if by_rule {
        let counted = counted.await?;
        let known = counted.rules.clone();
        (counted, if let Some(known) = known { known } else { rules.await? })
    } else {
        tokio::try_join!(counted, rules)?
    };
    let summary = FailureSummary::of(rules);
    let sight = shared.sight(token);
    let rows = rows.into_iter().map(|row| sight.failure(row, shared.catalog, filter)).collect();
    Ok((Failures { from: rfc3339(filter.from_ms), to: rfc3339(filter.to_ms), summary, rows }, trends))
}

/// Counts what is asked.
pub(crate) async fn rows(shared: &Shared, token: &TokenInfo, asked: &Asked) -> Result<Vec<Failure>, ApiError> {
    let sight = shared.sight(token);
    let rows = counted(shared, token, asked, None).await?.rows;
    Ok(rows.into_iter().map(|row| sight.failure(row, shared.catalog, &asked.filter)).collect())
}

async fn counted(
    shared: &Shared,
    token: &TokenInfo,
    asked: &Asked,
    trend_step_ms: Option<i64>,
) -> Result<CountedFailures, ApiError> {
    let Asked { filter, group_by, previous, limit } = asked;
    let rows = shared.store.failures_and_trends(&token.project, filter, group_by, *previous, *limit, trend_step_ms);
    shared.timed("validation_failures", rows).await.map_err(|error| unavailable(&error))
}

impl FailureSummary {
    /// Of the rules, the most frequent first.
    fn of(FailureRules { rules, total: failures }: FailureRules) -> Self {
        let share = |count: u64| if failures == 0 { 0.0 } else { count as f64 / failures as f64 };
        let caused: u64 = rules.iter().map(|rule| rule.count).sum();
        let sentence = sentence(rules.len(), caused, failures);
        let top = |FailureRule { field, rule, count }| TopRule { field, rule, count, share: share(count) };
        Self { failures, top_share: share(caused), sentence, top: rules.into_iter().map(top).collect() }
    }
}

fn sentence(rules: usize, caused: u64, failures: u64) -> String {
    let subject = match rules {
        0 => return "No validation failed.".to_owned(),
        1 => "One rule causes",
        2 => "Two rules cause",
        _ => "Three rules cause",
    };
    let noun = if failures == 1 { "validation failure" } else { "validation failures" };
    let failures_text = thousands(failures);
    if caused == failures {
        return format!("{subject} all {failures_text} {noun}.");
    }
    format!("{subject} {} % of {failures_text} {noun}.", percent(caused, failures))
}

/// A share in whole per cent that is neither 0 nor 100 unless it is just that.
fn percent(part: u64, whole: u64) -> u64 {
    if part == 0 || whole == 0 {
        return 0;
    }
    let rounded = (part as f64 / whole as f64 * 100.0).round() as u64;
    if part == whole { 100 } else { rounded.clamp(1, 99) }
}

/// A number as people read it: `4,812`.
pub(super) fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

impl Sight {
    /// Counted field errors as the asker sees them.
    fn failure(&self, row: FailureRow, catalog: &Catalog, filter: &Filter) -> Failure {
        let key = |name| row.keys.get(name).map(String::as_str);
        let documented = match (key("field"), key("message"), key("rule"), key("route")) {
            (Some(field), Some(message), _, route) => {
                let route = route.or_else(|| filter.routes.first().map(String::as_str)).unwrap_or_default();
                Some(catalog.field_entry(route, field, message).is_some())
            }
            (Some(field), None, Some(rule), Some(route)) => Some(catalog.documents_rule(route, field, rule)),
            _ => None,
        };
        let key = |(name, value): (&'static str, String)| match name {
            "account" => (name, self.account(value)),
            "message" => (name, self.message(value)),
            _ => (name, self.plain(value)),
        };
        Failure {
            keys: row.keys.into_iter().map(key).collect(),
            count: row.count,
            events: row.events,
            accounts: row.accounts,
            share: row.share,
            previous_count: row.previous_count,
            first_seen: rfc3339(row.first_seen_ms),
            last_seen: rfc3339(row.last_seen_ms),
            samples: row.sample_request_ids,
            documented,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_summary_says_what_would_fix_most() {
        let of = |groups: &[(&str, u64)], total| {
            let rule = |(field, count): &(&str, u64)| FailureRule {
                field: (*field).to_owned(),
                rule: "required".to_owned(),
                count: *count,
            };
            FailureSummary::of(FailureRules { rules: groups.iter().map(rule).collect(), total })
        };
        let summary = of(&[("a", 5000), ("b", 1500), ("c", 600)], 10_000);
        assert_eq!((summary.failures, summary.top.len()), (10_000, 3));
        assert_eq!(summary.sentence, "Three rules cause 71 % of 10,000 validation failures.");
        assert_eq!(of(&[("a", 1)], 1).sentence, "One rule causes all 1 validation failure.");
        assert_eq!(of(&[], 0).sentence, "No validation failed.");
    }

    #[test]
    fn a_share_is_whole_only_where_it_is_and_numbers_are_grouped() {
        assert_eq!([percent(0, 5), percent(1, 5000), percent(4999, 5000), percent(5, 5)], [0, 1, 99, 100]);
        assert_eq!([0, 999, 1000, 1_234_567].map(thousands), ["0", "999", "1,000", "1,234,567"]);
    }
}
