//! One batch: attempted until its fate is known.

use std::time::Duration;

use tokio::{sync::watch, time::Instant};
use tracing::{Instrument, field::Empty};

use super::{
    DeliverError, Deliverer, Destination, Failure, InsertError, RetryClass, Stored,
    part::{Part, missing},
    plan::Batch,
    rollup::Tally,
    rows::{Index, LogError, Rows},
};
use crate::telemetry::SPANS;

/// Attempts that fail for want of memory before a batch is halved.
const MEMORY_ATTEMPTS: u32 = 3;

/// What became of one batch.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    Stored,
    /// The destination will not take these rows.
    Refused(String),
    /// The destination has too little memory for so many rows at once, and has stored none of them.
    TooLarge,
    /// The shutdown came first; the plan stays.
    Interrupted,
}

/// What was known of a batch before an attempt.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Before {
    /// Never sent, in this run or another.
    Untried,
    /// Perhaps sent.
    Unknown,
}

impl<D: Destination> Deliverer<D> {
    /// Attempts one batch until its fate is known.
    pub(super) async fn deliver(
        &mut self,
        batch: &Batch,
        part: &Part,
        mut before: Before,
        stop: &mut watch::Receiver<bool>,
    ) -> Result<Outcome, DeliverError> {
        let rows = part.of(batch).len();
        if rows == 0 {
            return Ok(Outcome::Stored);
        }
        let mut pause = self.options.retry.0;
        let mut out_of_memory = 0;
        let mut index = Index::Missing;
        for attempt in 1.. {
            let started = Instant::now();
            let span = insert_span(attempt);
            let failure = match self.attempt(batch, attempt, part, before, &mut index).instrument(span.clone()).await {
                Ok(how) => {
                    self.metrics.insert_batches.with_label_values(&[how]).inc();
                    self.metrics.insert_duration.observe(started.elapsed().as_secs_f64());
                    return Ok(Outcome::Stored);
                }
                Err(InsertError::Log(LogError::Spool(error))) => return Err(error.into()),
                Err(InsertError::Log(LogError::Lost)) => return Err(DeliverError::Lost),
                Err(InsertError::Destination(failure)) => failure,
            };
            span.record("otel.status_code", "ERROR");
            self.metrics.insert_batches.with_label_values(&["failed"]).inc();
            out_of_memory = if failure.class == RetryClass::Memory { out_of_memory + 1 } else { 0 };
            if let Some(outcome) = self.fate(batch, &failure, rows > 1 && out_of_memory >= MEMORY_ATTEMPTS).await {
                return Ok(outcome);
            }
            if failure.class != RetryClass::Resend {
                before = Before::Unknown;
            }
            self.metrics.insert_retries.with_label_values(&[failure.class.as_str()]).inc();
            tracing::warn!(
                class = failure.class.as_str(),
                attempt,
                rows,
                "insert: {failure}; next attempt in {pause:?}"
            );
            let factor = match failure.class {
                RetryClass::Overloaded | RetryClass::Memory => 4,
                _ => 1,
            };
            if !wait(pause * factor, stop).await {
                return Ok(Outcome::Interrupted);
            }
            pause = (pause * 2).min(self.options.retry.1);
        }
        Ok(Outcome::Interrupted)
    }

    /// One attempt: ask if need be, send what is missing, verify. Returns the `outcome` label. When it fails, what was counted
    /// of the batch's group is given up.
    async fn attempt(
        &mut self,
        batch: &Batch,
        attempt: u32,
        part: &Part,
        before: Before,
        index: &mut Index,
    ) -> Result<&'static str, InsertError> {
        let mut uncounted = Tally::Lost;
        let tally = self.pending.tally(batch).unwrap_or(&mut uncounted);
        let destination = &self.destination;
        let whole = part.of(batch);
        let outcome = async {
            let indexes: Vec<usize> = match before {
                Before::Untried => whole.clone().collect(),
                Before::Unknown => match destination.stored(&batch.reference(), true).await? {
                    // Of what is stored already, nothing was counted, or an attempt failed before.
                    Stored::All => return Ok((false, "found")),
                    Stored::Nothing => whole.clone().collect(),
                    Stored::Some(keys) => {
                        let missing = missing(part, whole.clone(), &keys);
                        let (rows, count) = (whole.len(), missing.len());
                        tracing::warn!(missing = count, rows, "a part of a batch is stored; sending the rest");
                        missing
                    }
                },
            };
            let mut rows = Rows::new(part, &indexes, &mut self.reader, &mut *tally, index);
            destination.insert(batch.id, attempt, &mut rows).await?;
            let is_counted = rows.are_read() && indexes.len() == whole.len();
            match destination.stored(&batch.reference(), false).await.map_err(after_an_answer)? {
                Stored::All => Ok((is_counted, "stored")),
                Stored::Nothing | Stored::Some(_) => Err(InsertError::Destination(Failure {
                    class: RetryClass::Ambiguous,
                    message: "the insert was answered, but the rows are not there".into(),
                })),
            }
        }
        .await;
        if !matches!(outcome, Ok((true, _))) {
            *tally = Tally::Lost;
        }
        outcome.map(|(_, how)| how)
    }

    /// Whether a failure is the last word on a batch: only if nothing of it is stored.
    async fn fate(&self, batch: &Batch, failure: &Failure, is_too_large: bool) -> Option<Outcome> {
        let outcome = match failure.class {
            RetryClass::Poison if self.tables_are_right().await => Outcome::Refused(failure.message.clone()),
            RetryClass::Memory if is_too_large => Outcome::TooLarge,
            _ => return None,
        };
        self.stores_nothing_of(batch).await.then_some(outcome)
    }

    async fn stores_nothing_of(&self, batch: &Batch) -> bool {
        matches!(self.destination.stored(&batch.reference(), true).await, Ok(Stored::Nothing))
    }

    /// Whether the destination takes an empty batch: then a refusal is about rows, not about the tables.
    async fn tables_are_right(&self) -> bool {
        let probe = self.destination.takes_empty().await;
        if let Err(failure) = &probe {
            tracing::error!(
                "ClickHouse refuses even an empty batch; check its tables (`errata migrate status`): {failure}"
            );
        }
        probe.is_ok()
    }
}

/// A failure after the destination has answered an insert: what is there is unknown then, also if it cannot be asked at all.
pub(super) fn after_an_answer(failure: Failure) -> Failure {
    match failure.class {
        RetryClass::Resend => Failure { class: RetryClass::Ambiguous, ..failure },
        _ => failure,
    }
}

/// The span of one attempt, its verification included.
fn insert_span(attempt: u32) -> tracing::Span {
    tracing::info_span!(
        target: SPANS,
        "insert",
        otel.kind = "client",
        otel.status_code = Empty,
        db.system.name = "clickhouse",
        db.operation.name = "INSERT",
        errata.attempt = attempt,
    )
}

/// Sleeps unless delivery is to stop: then there is one pause at most before the end.
pub(super) async fn wait(pause: Duration, stop: &mut watch::Receiver<bool>) -> bool {
    if *stop.borrow_and_update() {
        return false;
    }
    tokio::select! {
        () = tokio::time::sleep(pause) => true,
        changed = stop.changed() => changed.is_ok() && !*stop.borrow(),
    }
}
