//! Every question asked of ClickHouse, one file a question.
//!
//! Texts travel as server-side parameters, numbers as what they are, identifiers come from enums, every query names its project, and reads
//! deduplicate by event key: an event that was stored twice is seen once.

pub mod alerts;
pub mod cursor;
mod event_row;
mod evidence;
pub mod filter;
pub mod fresh;
mod friction;
pub mod histogram;
pub mod impact;
pub mod issues;
mod observed;
mod people;
pub mod rate_limit;
pub mod rates;
pub mod ratio;
pub mod received;
pub mod request;
mod rollup;
pub mod search;
pub mod served;
pub mod status;
pub mod top;
mod trend;
pub mod validation;

use std::{
    fmt::Write as _,
    time::{Duration, Instant},
};

use clickhouse::query::Query;
use serde::Serialize;

use super::{Store, StoreError, insert::within, traced};
use crate::telemetry;

pub use alerts::{AlertCell, AlertColumn, FieldHour, TotalCell};
pub use cursor::Cursor;
pub use filter::{Filter, StatusFilter};
pub use fresh::{IssueHours, ReleaseStart};
pub use friction::{FailingAccount, FrictionRow, FrictionState, MAX_FAILURES};
pub use histogram::Histogram;
pub use impact::{EventSummary, Impact};
pub use issues::{IssueFilter, IssueKind, IssueRelease, IssueSamples, IssueStep, NamedCount, SeenIssue};
pub use observed::GeneralError;
pub use rate_limit::Episode;
pub use rates::{NO_STEPS_S, RateKey, Series};
pub use ratio::{RatedPoint, RatedSeries};
pub use received::Received;
pub use request::Found;
pub use search::Page;
pub use served::RequestPoint;
pub use status::{ProjectSpan, TableParts};
pub use top::{Top, TopRow};
pub use trend::FailureTrend;
pub use validation::{CountedFailures, FailureKey, FailureRow, FailureRule, FailureRules};

/// Past this, a person is told that the question was too large.
const READ_TIMEOUT: Duration = Duration::from_secs(30);

/// What keeps the fixed cost of a small read down (measured: `docs/decisions/0001-lookup-index.md`).
const LEAN: [(&str, &str); 8] = [
    ("max_threads", "1"),
    // Compiling takes longer than most questions, and each new range is another expression.
    ("compile_expressions", "0"),
    ("compile_aggregate_expressions", "0"),
    ("compile_sort_description", "0"),
    ("optimize_use_projections", "0"),
    ("optimize_use_implicit_projections", "0"),
    ("use_query_condition_cache", "0"),
    ("use_skip_indexes", "0"),
];

/// A client's clock may run ahead of ours by an hour (what is further ahead is rejected on arrival); so nothing with a
/// timestamp of `t` or later was received before `t` minus this. Lets ClickHouse skip older partitions.
const CLOCK_AHEAD_MS: i64 = 2 * 3_600_000;

/// SQL and its parameters, put together piece by piece.
#[derive(Clone, Debug, Default)]
struct Sql {
    text: String,
    /// Name, and value as the crate writes it.
    params: Vec<(String, Value)>,
}

#[derive(Clone, Debug, Serialize)]
#[serde(untagged)]
enum Value {
    Text(String),
    Texts(Vec<String>),
    Int(i64),
    UInt(u64),
    UInts(Vec<u64>),
    Ints(Vec<i64>),
}

impl Sql {
    fn new(text: &str) -> Self {
        Self { text: text.to_owned(), params: Vec::new() }
    }

    fn push(&mut self, text: &str) -> &mut Self {
        self.text.push_str(text);
        self
    }

    /// Appends text in which `{}` stands for a value: a parameter of its type, but for a single number. That is what it says wherever it stands, and a
    /// parameter takes ClickHouse longer to understand; its type is the smallest it fits: where that matters, the text says `toInt64({})`.
    fn push_value(&mut self, text: &str, value: Value) -> &mut Self {
        let (before, after) = text.split_once("{}").unwrap_or((text, ""));
        self.text.push_str(before);
        // Writing to a String does not fail.
        let _ = match value {
            // By itself, the minus could end up behind another one, which begins a comment.
            Value::Int(number @ ..0) => write!(self.text, "({number})"),
            Value::Int(number) => write!(self.text, "{number}"),
            Value::UInt(number) => write!(self.text, "{number}"),
            Value::Text(_) => self.push_parameter("String", value),
            Value::Texts(_) => self.push_parameter("Array(String)", value),
            Value::UInts(_) => self.push_parameter("Array(UInt64)", value),
            Value::Ints(_) => self.push_parameter("Array(Int64)", value),
        };
        self.push(after)
    }

    fn push_parameter(&mut self, kind: &str, value: Value) -> std::fmt::Result {
        let name = format!("p{}", self.params.len());
        self.params.push((name.clone(), value));
        write!(self.text, "{{{name}:{kind}}}")
    }
}

impl Store {
    /// A read with its parameters, lean settings and limits.
    fn ask(&self, sql: &Sql) -> Query {
        let mut query = traced(&self.read).query(&sql.text);
        for (name, value) in &sql.params {
            query = query.param(name, value);
        }
        for (name, value) in LEAN {
            query = query.with_setting(name, value);
        }
        query.with_setting("max_execution_time", READ_TIMEOUT.as_secs().to_string())
    }

    /// A read that goes over many rows: with as many threads as ClickHouse likes.
    fn ask_wide(&self, sql: &Sql) -> Query {
        self.ask(sql).with_setting("max_threads", "0")
    }

    /// A small read of one table, without the newer analyzer: it looks into every column of `events` that is made of others, whether it is asked for or
    /// not, which takes as long as the read.
    fn ask_plainly(&self, sql: &Sql) -> Query {
        self.ask(sql).with_setting("enable_analyzer", "0")
    }

    async fn rows<T>(&self, what: &'static str, sql: &Sql) -> Result<Vec<T>, StoreError>
    where
        T: clickhouse::RowOwned + clickhouse::RowRead,
    {
        self.rows_of(what, self.ask(sql)).await
    }

    async fn rows_of<T>(&self, what: &'static str, query: Query) -> Result<Vec<T>, StoreError>
    where
        T: clickhouse::RowOwned + clickhouse::RowRead,
    {
        self.answered(what, query.fetch_all::<T>()).await
    }

    /// Waits for an answer, and logs it if it was slow.
    async fn answered<T>(
        &self,
        what: &'static str,
        answer: impl Future<Output = clickhouse::error::Result<T>>,
    ) -> Result<T, StoreError> {
        let started = Instant::now();
        // Boxed: every question's future would hold it several times over.
        let answer = within(READ_TIMEOUT + Duration::from_secs(5), what, Box::pin(answer)).await;
        self.log_if_slow(what, started.elapsed(), answer.as_ref().err());
        answer
    }

    /// Whoever asked: the API, a page, an alert rule.
    fn log_if_slow(&self, query: &'static str, took: Duration, error: Option<&StoreError>) {
        let Some(slow) = self.slow.filter(|slow| took >= *slow) else { return };
        let error = error.map(tracing::field::display);
        let (took_ms, slow_ms) = (took.as_millis() as u64, slow.as_millis() as u64);
        tracing::warn!(query, took_ms, slow_ms, error, trace_id = telemetry::trace_id(), "a slow query");
    }

    /// Rows until they take more than so many bytes by `size`, at least one if there is any; and whether some were left.
    ///
    /// An event may have 256 KiB: a page of many would be held several times over before it is sent.
    async fn rows_within<T>(
        &self,
        what: &'static str,
        query: Query,
        bytes: usize,
        size: impl Fn(&T) -> usize,
    ) -> Result<(Vec<T>, bool), StoreError>
    where
        T: clickhouse::RowOwned + clickhouse::RowRead,
    {
        let read = async {
            let mut cursor = query.fetch::<T>()?;
            let (mut rows, mut taken, mut is_cut) = (Vec::new(), 0_usize, false);
            // To the end: clickhouse-local does not bear well that somebody hangs up in the middle of an answer.
            while let Some(row) = cursor.next().await? {
                taken = taken.saturating_add(size(&row));
                is_cut |= taken > bytes && !rows.is_empty();
                if !is_cut {
                    rows.push(row);
                }
            }
            Ok((rows, is_cut))
        };
        self.answered(what, read).await
    }

    /// `database.table`, as it stands in SQL.
    fn table(&self, name: &str) -> String {
        format!("{}.{name}", self.database)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_stand_where_they_are_and_texts_are_parameters() {
        let mut sql = Sql::new("SELECT 1");
        sql.push_value(" - {}", Value::Int(-5)).push_value(", {}", Value::Text("a".to_owned()));
        sql.push_value(", {} AS least", Value::Int(i64::MIN)).push_value(", {}", Value::UInt(u64::MAX));
        sql.push_value(" IN {}", Value::Ints(vec![-1, 2])).push_value(" = {}", Value::Int(0));
        let expected = "SELECT 1 - (-5), {p0:String}, (-9223372036854775808) AS least, 18446744073709551615 IN {p1:Array(Int64)} = 0";
        assert_eq!(sql.text, expected);
        assert_eq!(sql.params.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(), ["p0", "p1"]);
    }
}
