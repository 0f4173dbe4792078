//! What runs beside the HTTP server.

use std::{
    collections::HashMap,
    convert::Infallible,
    future::Future,
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::{
    sync::{oneshot, watch},
    task::{JoinError, JoinHandle},
};

use super::{AppError, DRAIN_TIMEOUT};
use crate::{
    alerts::{
        self,
        evaluator::Evaluator,
        notify::{Notifier, Rounds},
    },
    deliver::{self, DeliverError, Deliverer, quarantine::Quarantine, totals::TotalsDeliverer},
    erase::{Course, Progress},
    http, spool,
    store::{client::Access, migrate::MigrateError},
};

/// How often the tables are looked after.
const UPKEEP_INTERVAL: Duration = Duration::from_secs(3600);

/// How often it is looked whether an alert rule is due: rules are evaluated by the minute, some by the second.
const EVALUATION_INTERVAL: Duration = Duration::from_millis(500);

/// How often ClickHouse is asked whether it is there.
const HEALTH_INTERVAL: Duration = Duration::from_secs(2);

/// How often an erasure that waits is looked at; after each failure in a row twice as long, up to [`MAX_ERASE_INTERVAL`].
const ERASE_INTERVAL: Duration = Duration::from_millis(250);
const MAX_ERASE_INTERVAL: Duration = Duration::from_secs(60);

/// How often it is said again that ClickHouse is not ready.
const REMIND_INTERVAL: Duration = Duration::from_secs(60);

/// What a delivery ended with.
type Delivery = oneshot::Receiver<Result<(), DeliverError>>;

/// The tasks that end only when something failed, or when they are told to.
pub(super) struct Running {
    pub(super) delivery: Delivery,
    pub(super) totals: Delivery,
    pub(super) clickhouse: JoinHandle<Result<Infallible, MigrateError>>,
}

impl Running {
    pub(super) async fn first_failure(&mut self) -> AppError {
        let migration = |ended: Result<Result<Infallible, MigrateError>, JoinError>| match ended {
            Ok(Err(error)) => AppError::Migrate(error),
            Err(error) => AppError::Panicked(error.to_string()),
        };
        let ended = tokio::select! {
            ended = &mut self.clickhouse => return migration(ended),
            ended = &mut self.delivery => ended,
            ended = &mut self.totals => ended,
        };
        match ended {
            // It ends well only when it is told to, or when the migration failed before it could begin.
            Ok(Ok(())) => migration((&mut self.clickhouse).await),
            Ok(Err(error)) => AppError::Deliver(error),
            Err(_) => AppError::Panicked("a delivery thread".into()),
        }
    }

    /// Lets delivery send what is queued, within the deadline. What is left stays in the spool.
    pub(super) async fn end(&mut self, result: &mut Result<(), AppError>) {
        self.clickhouse.abort();
        if matches!(result, Err(AppError::Deliver(_) | AppError::Migrate(_) | AppError::Panicked(_))) {
            return;
        }
        let drain = |delivery| tokio::time::timeout(DRAIN_TIMEOUT, delivery);
        let (events, totals) = tokio::join!(drain(&mut self.delivery), drain(&mut self.totals));
        for (left, what) in [(events, "events"), (totals, "request totals")] {
            match left {
                Ok(Ok(Err(error))) if result.is_ok() => *result = Err(error.into()),
                Ok(_) => {}
                Err(_) => tracing::info!("{what} are left in the spool; they are delivered after the next start"),
            }
        }
    }
}

/// Delivers events as soon as the tables are there.
pub(super) fn deliver_events(
    shared: &http::Shared,
    reader: spool::Reader,
    when_migrated: watch::Receiver<bool>,
    stop: watch::Receiver<bool>,
) -> Result<Delivery, AppError> {
    let deliverer = Deliverer {
        options: deliver::Options::new(shared.config.data_dir.join("deliver")),
        reader,
        writer: shared.spool.clone(),
        destination: shared.store.clone(),
        quarantine: shared.quarantine.clone(),
        books: Arc::clone(&shared.books),
        metrics: Arc::clone(&shared.metrics),
        origins: Arc::clone(&shared.origins),
        tombstones: Arc::clone(&shared.eraser.tombstones),
        clock: shared.clock.clone(),
        earlier: deliver::Earlier::default(),
        pending: deliver::rollup::Pending::default(),
    };
    shared.metrics.rollup_pending.set(1);
    on_own_thread("deliver", when_migrated, stop, |stop| deliverer.run(stop))
}

/// Delivers request totals as soon as the tables are there.
pub(super) fn deliver_totals(
    shared: &http::Shared,
    reader: spool::Reader,
    when_migrated: watch::Receiver<bool>,
    stop: watch::Receiver<bool>,
) -> Result<Delivery, AppError> {
    let deliverer = TotalsDeliverer {
        options: deliver::totals::Options::default(),
        reader,
        writer: shared.totals.spool.clone(),
        store: shared.store.clone(),
        refused: Quarantine::open(shared.config.data_dir.join("totals/refused"))?,
        metrics: Arc::clone(&shared.metrics),
        clock: shared.clock.clone(),
    };
    on_own_thread("deliver-totals", when_migrated, stop, |stop| deliverer.run(stop))
}

/// Delivery blocks on files and encodes batches, so it has a thread and a runtime of its own.
fn on_own_thread<R>(
    name: &str,
    mut when_migrated: watch::Receiver<bool>,
    stop: watch::Receiver<bool>,
    run: impl FnOnce(watch::Receiver<bool>) -> R + Send + 'static,
) -> Result<Delivery, AppError>
where
    R: Future<Output = Result<(), DeliverError>>,
{
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(AppError::Serve)?;
    let (sender, receiver) = oneshot::channel();
    let mut stopped = stop.clone();
    std::thread::Builder::new()
        .name(name.to_owned())
        .spawn(move || {
            let ended = runtime.block_on(async {
                let migrated = tokio::select! {
                    // An error says that the migration failed: the collector is ending.
                    migrated = when_migrated.wait_for(|migrated| *migrated) => migrated.is_ok(),
                    _ = stopped.wait_for(|stop| *stop) => false,
                };
                if migrated { run(stop).await } else { Ok(()) }
            });
            let _ = sender.send(ended); // nobody waits: the collector has ended
        })
        .map_err(AppError::Serve)?;
    Ok(receiver)
}

/// Migrates as soon as ClickHouse answers (until then events queue in the spool), then watches whether it still does.
pub(super) async fn mind_clickhouse(
    access: Access,
    shared: http::Shared,
    migrated: watch::Sender<bool>,
) -> Result<Infallible, MigrateError> {
    let mut said = None;
    let since_ms = shared.clock.now_ms();
    loop {
        let attempt = async {
            access.first_reachable().await?;
            shared.store.migrate().await?;
            shared.store.apply_retention(shared.config.retention_days).await
        };
        match attempt.await {
            Ok(()) => break,
            Err(error) if error.is_transient() => {
                let problem = error.to_string();
                // Once, and again when it changes or a minute is over.
                if said
                    .as_ref()
                    .is_none_or(|(last, at): &(String, Instant)| *last != problem || at.elapsed() >= REMIND_INTERVAL)
                {
                    tracing::warn!("ClickHouse is not ready: {problem}; events are taken and queue in the spool");
                    said = Some((problem.clone(), Instant::now()));
                }
                // The evaluation has not begun: nobody else says that it does not go on.
                shared.alerts.frozen(since_ms, &problem);
                shared.health.set(Err(problem));
                tokio::time::sleep(HEALTH_INTERVAL).await;
            }
            Err(error) => return Err(error),
        }
    }
    let _ = migrated.send(true); // nobody waits: the collector is ending
    let upkeep = keep_up(Arc::clone(&shared));
    let alerts = evaluate_alerts(Arc::clone(&shared));
    let erasures = erase(Arc::clone(&shared));
    tokio::pin!(upkeep, alerts, erasures);
    loop {
        let state = shared.store.ping().await.map_err(|error| error.to_string());
        shared.metrics.clickhouse_up.set(i64::from(state.is_ok()));
        shared.health.set(state);
        tokio::select! {
            never = &mut upkeep => match never {},
            never = &mut alerts => match never {},
            never = &mut erasures => match never {},
            () = tokio::time::sleep(HEALTH_INTERVAL) => {}
        }
    }
}

/// Evaluates the alert rules as long as ClickHouse has our tables.
async fn evaluate_alerts(shared: http::Shared) -> Infallible {
    let parts = alerts::evaluator::Parts {
        store: shared.store.clone(),
        state: shared.state.clone(),
        rules: Arc::clone(&shared.rules),
        metrics: Arc::clone(&shared.metrics),
        clock: shared.clock.clone(),
        status: shared.alerts.clone(),
        base_url: shared.config.base_url(),
    };
    let mut evaluator = loop {
        match Evaluator::open(parts.clone()) {
            Ok(evaluator) => break evaluator,
            Err(error) => tracing::warn!("reading the alerts: {error}; trying again"),
        }
        tokio::time::sleep(HEALTH_INTERVAL).await;
    };
    let mut reached_ms = 0;
    loop {
        let horizon_ms = horizon(&shared, reached_ms);
        let goes_on = match shared.health.get() {
            Ok(()) => {
                let _step = shared.eraser.evaluation.lock().await;
                evaluator.tick(horizon_ms).await
            }
            // No rule may be due before what is queued is stored: that nothing is known is to be said at once.
            Err(problem) => {
                evaluator.freeze(horizon_ms, &problem);
                false
            }
        };
        // After a freeze the rules wait for all that came meanwhile: what lies between would have alerts resolve that fire again at once.
        reached_ms = if goes_on { horizon_ms } else { 0 };
        tokio::time::sleep(EVALUATION_INTERVAL).await;
    }
}

/// Goes on with erasures, one after the other, as long as ClickHouse has our tables.
async fn erase(shared: http::Shared) -> Infallible {
    let eraser = &shared.eraser;
    let mut courses: HashMap<String, Course> = HashMap::new();
    let mut failures = 0_u32;
    loop {
        let mut fails = false;
        let (unfinished, mut waits) = match eraser.unfinished().await {
            Ok(unfinished) => (unfinished, false),
            Err(error) => {
                tracing::warn!("reading erasures: {error}; trying again");
                (Vec::new(), true)
            }
        };
        for erasure in &unfinished {
            let course = courses.entry(erasure.id.clone()).or_default();
            let problem = match eraser.advance(erasure, course, |at_ms| is_delivered(&shared, at_ms)).await {
                Ok(Progress::Done) => {
                    courses.remove(&erasure.id);
                    continue;
                }
                Ok(Progress::Waits) => None,
                Err(error) => {
                    tracing::warn!(erasure = erasure.id, "erasing: {error}; trying again");
                    fails = true;
                    Some(error.to_string())
                }
            };
            waits = true;
            if let Err(error) = eraser.note(erasure, problem).await {
                tracing::warn!("noting how far an erasure is: {error}");
            }
        }
        // What waits is looked at again; what is new says so.
        failures = if fails { failures.saturating_add(1) } else { 0 };
        let again = ERASE_INTERVAL.saturating_mul(2_u32.saturating_pow(failures)).min(MAX_ERASE_INTERVAL);
        let pause = if waits { again } else { UPKEEP_INTERVAL };
        let _ = tokio::time::timeout(pause, eraser.begun.notified()).await; // either is a reason to look
    }
}

/// Whether everything that was in the spool at a time is stored and rolled up.
fn is_delivered(shared: &http::Shared, at_ms: i64) -> bool {
    // In this order, as in `horizon`.
    let queued = shared.spool.stats().items;
    let pending = shared.metrics.rollup_pending.get();
    (queued == 0 && pending == 0) || shared.books.rolled_up_ms() > at_ms
}

/// Tells receivers what the outbox holds; also while ClickHouse is away.
pub(super) async fn notify(shared: http::Shared) -> Infallible {
    let notifier = Notifier {
        state: shared.state.clone(),
        rules: Arc::clone(&shared.rules),
        metrics: Arc::clone(&shared.metrics),
        clock: shared.clock.clone(),
        base_url: shared.config.base_url(),
    };
    let mut rounds = Rounds::default();
    loop {
        if let Err(error) = notifier.deliver(&mut rounds) {
            tracing::warn!("telling receivers of alerts: {error}; trying again");
        }
        tokio::time::sleep(EVALUATION_INTERVAL).await;
    }
}

/// The time up to which everything received is stored and rolled up, milliseconds since the Unix epoch; `reached_ms`: the last that was known.
///
/// Where nothing waits it is now. What comes in then has it go back to the last delivery, which is hours ago where little comes; it was known
/// that there was nothing since.
fn horizon(shared: &http::Shared, reached_ms: i64) -> i64 {
    // In this order: an event is in the spool, and counted as pending before the spool forgets it.
    let now_ms = shared.clock.now_ms();
    let queued = shared.spool.stats().items;
    let pending = shared.metrics.rollup_pending.get();
    let known_ms = if queued == 0 && pending == 0 { now_ms } else { shared.books.rolled_up_ms().max(reached_ms) };
    known_ms.min(now_ms)
}

/// Does what the tables need from time to time.
async fn keep_up(shared: http::Shared) -> Infallible {
    loop {
        match shared.store.merge_closed_weeks(shared.clock.now_ms()).await {
            Ok(weeks) if weeks.is_empty() => {}
            Ok(weeks) => tracing::info!(?weeks, "merged closed weeks"),
            Err(error) => tracing::warn!("merging closed weeks: {error}; trying again later"),
        }
        tokio::time::sleep(UPKEEP_INTERVAL).await;
    }
}
