//! Request totals from their spool into ClickHouse: read → insert → count their hours → forget.
//!
//! At least once is enough: a repetition replaces (`docs/decisions/0009-request-totals.md`). So there is no plan and no verification, and
//! an insert whose outcome is unknown is simply repeated. As with events, retries are by class and without end, and a total that
//! ClickHouse will never take is found by bisection and set aside, once an insert of none has shown that the table is right.

use std::{sync::Arc, time::Duration};

use tokio::{sync::watch, time::Instant};

use super::{DeliverError, Failure, RetryClass, deliverer::wait, quarantine::Quarantine, shortage};
use crate::{
    clock::Clock,
    event::RequestTotal,
    metrics::Metrics,
    spool::{Item, Position, Reader, Writer},
    store::{Store, StoreError, totals::Hours},
};

/// Bounds of a batch and of the wait for one.
#[derive(Clone, Debug)]
pub struct Options {
    pub max_rows: usize,
    /// How long a short queue is left to grow: each batch makes a part a week, and reporters report at the same time of the minute.
    pub linger: Duration,
    /// First and longest pause between attempts.
    pub retry: (Duration, Duration),
}

impl Default for Options {
    fn default() -> Self {
        let retry = (Duration::from_millis(100), Duration::from_secs(5));
        Self { max_rows: 100_000, linger: Duration::from_secs(1), retry }
    }
}

/// Bytes of payloads read at once, at most.
const MAX_BYTES: usize = 32 << 20;

/// Attempts that fail for want of memory before a batch is halved.
const MEMORY_ATTEMPTS: u32 = 3;

/// Delivers the spool of request totals.
pub struct TotalsDeliverer {
    pub options: Options,
    pub reader: Reader,
    pub writer: Writer,
    pub store: Store,
    /// Where totals go that cannot be delivered.
    pub refused: Quarantine,
    pub metrics: Arc<Metrics>,
    pub clock: Clock,
}

/// What became of an insert.
enum Outcome {
    Stored,
    /// Not of so many at once, or, of one, never.
    Refused(String),
    /// The shutdown came first.
    Interrupted,
}

type Queued = (Position, RequestTotal);

impl TotalsDeliverer {
    /// Delivers until `stop` turns true and the spool is empty, or `stop`'s sender is gone.
    ///
    /// # Errors
    /// On an I/O error of the spool or where refused totals are set aside.
    pub async fn run(mut self, mut stop: watch::Receiver<bool>) -> Result<(), DeliverError> {
        loop {
            match self.run_until_failure(&mut stop).await {
                Err(error) if shortage::is_cause_of(&error) => {
                    let pause = self.options.retry.1;
                    tracing::warn!("delivery of totals: {error}; going on in {pause:?}, when there may be room again");
                    if !wait(pause, &mut stop).await {
                        return Ok(());
                    }
                }
                ended => return ended,
            }
        }
    }

    async fn run_until_failure(&mut self, stop: &mut watch::Receiver<bool>) -> Result<(), DeliverError> {
        loop {
            let from = self.reader.start();
            if !self.gather(from, stop).await {
                return Ok(());
            }
            let (totals, end) = self.read(from)?;
            if !self.deliver(&totals, stop).await? {
                return Ok(());
            }
            self.reader.forget(end)?;
        }
    }

    /// Waits until there is something worth a batch; `false` when it is time to end.
    async fn gather(&mut self, from: Position, stop: &mut watch::Receiver<bool>) -> bool {
        loop {
            let stopping = *stop.borrow_and_update();
            tokio::select! {
                biased;
                there = self.reader.wait(from, Duration::from_secs(if stopping { 0 } else { 3600 })) => {
                    if there { break } else if stopping { return false }
                }
                changed = stop.changed() => if changed.is_err() { return false },
            }
        }
        let until = Instant::now() + self.options.linger;
        while !*stop.borrow_and_update() && self.writer.stats().items < self.options.max_rows as u64 {
            tokio::select! {
                () = tokio::time::sleep_until(until) => break,
                changed = stop.changed() => if changed.is_err() { break },
            }
        }
        true
    }

    /// Reads a batch; sets aside what does not decode.
    fn read(&mut self, from: Position) -> Result<(Vec<Queued>, Position), DeliverError> {
        let mut totals = Vec::new();
        let mut undecodable = Vec::new();
        let end =
            self.reader.read_with(
                from,
                self.options.max_rows,
                MAX_BYTES,
                |position, item| match RequestTotal::decode(item.payload) {
                    Ok(total) => totals.push((position, total)),
                    Err(error) => undecodable.push((position, item.to_item(), error)),
                },
            )?;
        for (position, item, error) in undecodable {
            self.set_aside(position, &item, &error.to_string())?;
        }
        Ok((totals, end))
    }

    /// Stores a batch and counts its hours; `false` when interrupted.
    async fn deliver(&self, totals: &[Queued], stop: &mut watch::Receiver<bool>) -> Result<bool, DeliverError> {
        let mut parts = vec![totals];
        let mut stored = Vec::with_capacity(totals.len());
        while let Some(part) = parts.pop() {
            match (self.insert(part, stop).await, part) {
                (Outcome::Interrupted, _) => return Ok(false),
                (Outcome::Stored, _) => stored.extend(part.iter().map(|(_, total)| total)),
                (Outcome::Refused(reason), [(position, total)]) => {
                    let item = Item { key: total.received_us as u128, tag: 0, payload: total.encode() };
                    self.set_aside(*position, &item, &reason)?;
                }
                (Outcome::Refused(_), _) => {
                    let (first, second) = part.split_at(part.len() / 2);
                    parts.extend([second, first]);
                }
            }
        }
        if !self.count_hours(&Hours::of(stored.iter().copied()), stop).await {
            return Ok(false);
        }
        self.metrics.totals_stored.inc_by(stored.len() as u64);
        Ok(true)
    }

    /// Inserts until it is known what becomes of the rows.
    async fn insert(&self, rows: &[Queued], stop: &mut watch::Receiver<bool>) -> Outcome {
        let mut pause = self.options.retry.0;
        for attempt in 1.. {
            let Err(error) = self.store.insert_totals(rows.iter().map(|(_, total)| total)).await else {
                return Outcome::Stored;
            };
            let halve = match error.class() {
                RetryClass::Poison => !rows.is_empty() && self.table_is_right().await,
                RetryClass::Memory => attempt >= MEMORY_ATTEMPTS && rows.len() > 1,
                _ => false,
            };
            if halve {
                tracing::warn!(rows = rows.len(), "ClickHouse refuses request totals: {error}; looking for the rows");
                return Outcome::Refused(error.to_string());
            }
            if !self.pause(&mut pause, error, "inserting request totals", stop).await {
                break;
            }
        }
        Outcome::Interrupted
    }

    /// Counts hours anew; `false` when interrupted.
    async fn count_hours(&self, hours: &Hours, stop: &mut watch::Receiver<bool>) -> bool {
        let mut pause = self.options.retry.0;
        while let Err(error) = self.store.count_hours(hours).await {
            if !self.pause(&mut pause, error, "counting hours of request totals", stop).await {
                return false;
            }
        }
        true
    }

    /// Whether the table takes no rows at all: then a refusal is about the rows.
    async fn table_is_right(&self) -> bool {
        let probe = self.store.probe_totals().await;
        if let Err(error) = &probe {
            tracing::error!(
                "ClickHouse refuses even no request totals; check its tables (`errata migrate status`): {error}"
            );
        }
        probe.is_ok()
    }

    /// Waits before the next attempt, longer each time; `false` when it is time to end.
    async fn pause(
        &self,
        pause: &mut Duration,
        error: StoreError,
        what: &str,
        stop: &mut watch::Receiver<bool>,
    ) -> bool {
        let Failure { class, message } = error.into();
        self.metrics.insert_retries.with_label_values(&[class.as_str()]).inc();
        tracing::warn!(class = class.as_str(), "{what}: {message}; again in {pause:?}");
        let factor = if matches!(class, RetryClass::Overloaded | RetryClass::Memory) { 4 } else { 1 };
        let goes_on = wait(*pause * factor, stop).await;
        *pause = (*pause * 2).min(self.options.retry.1);
        goes_on
    }

    fn set_aside(&self, position: Position, item: &Item, reason: &str) -> Result<(), DeliverError> {
        tracing::error!(
            position = position.0,
            reason,
            "a request total cannot be delivered and is set aside in totals/refused of the data directory"
        );
        self.metrics.totals_refused.inc();
        Ok(self.refused.put(position, item, reason, self.clock.now_ms())?)
    }
}
