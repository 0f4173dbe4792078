//! Every Prometheus series of the collector, in one struct. The names are the HTTP contract.
//!
//! Label sets are bounded: past a family's limit, labels whose values clients choose become `other`, so that hostile or
//! careless input cannot grow `/metrics` without end. Never a request id, an account or a message as a label.

mod bounded;

use std::{
    collections::HashMap,
    fmt::Write,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use prometheus::{
    Gauge, Histogram, HistogramOpts, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry, TextEncoder,
    core::{Collector, Desc},
};

use crate::{
    decode::Reason,
    deliver::RetryClass,
    event::{FieldError, Marks, view::EventView},
};

use bounded::Series;
pub use bounded::{BoundedCounter, OTHER};

/// All series. Help texts are the second argument of each constructor call in [`Metrics::new`].
pub struct Metrics {
    registry: Families,
    /// Families whose labels are unknown before their first event, with their types: the client library says nothing of
    /// a family without a series. The bounded ones are among them.
    later: Vec<(Desc, &'static str)>,
    pub api_errors: BoundedCounter<3>,
    pub api_errors_by_route: BoundedCounter<4>,
    pub api_requests: BoundedCounter<3>,
    pub rate_limited: BoundedCounter<2>,
    pub validation_failures: BoundedCounter<3>,
    /// Labels: protocol, code.
    pub ingest_requests: IntCounterVec,
    /// Labels: protocol, outcome.
    pub ingest_events: IntCounterVec,
    /// Label: reason.
    pub ingest_rejected: IntCounterVec,
    pub ingest_duration: Histogram,
    pub ingest_bytes: IntCounter,
    /// Label: mark.
    pub ingest_marked: IntCounterVec,
    pub spool_bytes: IntGauge,
    pub spool_events: IntGauge,
    pub spool_oldest: Gauge,
    pub spool_fsync: Histogram,
    pub spool_quarantined: IntCounter,
    /// Damaged items of the spool that are counted in it.
    damaged: AtomicU64,
    damaged_totals: AtomicU64,
    /// Label: outcome.
    pub insert_batches: IntCounterVec,
    pub insert_events: IntCounter,
    pub erased_events: IntCounter,
    pub rollup_pending: IntGauge,
    pub insert_duration: Histogram,
    /// Label: reason.
    pub insert_retries: IntCounterVec,
    pub visible_lag: Gauge,
    pub books_imbalance: IntGauge,
    /// Label: query.
    pub query_duration: prometheus::HistogramVec,
    pub clickhouse_up: IntGauge,
    /// Label: rule.
    pub alerts_firing: IntGaugeVec,
    /// Label: rule.
    pub alert_failures: IntCounterVec,
    /// Labels: receiver, outcome.
    pub notifications: IntCounterVec,
    /// Label: outcome.
    pub audit_entries: IntCounterVec,
    pub tails: IntGauge,
    /// Label: outcome.
    pub tail_events: IntCounterVec,
    pub totals_accepted: IntCounter,
    /// Label: reason.
    pub totals_rejected: IntCounterVec,
    pub totals_pending: IntGauge,
    pub totals_stored: IntCounter,
    pub totals_refused: IntCounter,
}

impl std::fmt::Debug for Metrics {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Metrics")
    }
}

const REQUEST_BUCKETS: [f64; 12] = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0];
const INSERT_BUCKETS: [f64; 10] = [0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 30.0];

impl Metrics {
    /// Makes and registers every series.
    ///
    /// # Errors
    /// Never with the names below; registering a name twice would be one.
    #[allow(clippy::too_many_lines)] // a table
    pub fn new() -> prometheus::Result<Self> {
        let registry = Families::default();
        let r = &registry;
        let build = IntGauge::with_opts(
            Opts::new("errata_build_info", "Version of the collector; the value is always 1.")
                .const_label("version", env!("CARGO_PKG_VERSION")),
        )?;
        build.set(1);
        register(r, build)?;
        let mut metrics = Self {
            api_errors: bounded(
                r,
                "errata_api_errors_total",
                "Error events accepted, by status code of the API's response.",
                ["service", "environment", "status"],
                1000,
            )?,
            api_errors_by_route: bounded(
                r,
                "errata_api_errors_by_route_total",
                "Error events accepted, by route template.",
                ["service", "route", "method", "status"],
                1100,
            )?,
            api_requests: bounded(
                r,
                "errata_api_requests_total",
                "Requests served, by status code, from request totals; a total that repeats adds what it has more.",
                ["service", "environment", "status"],
                600,
            )?,
            rate_limited: bounded(
                r,
                "errata_rate_limited_total",
                "Events with status 429.",
                ["service", "route"],
                500,
            )?,
            validation_failures: bounded(
                r,
                "errata_validation_failures_total",
                "Field errors in accepted events, one for each message.",
                ["service", "field", "rule"],
                1000,
            )?,
            ingest_requests: counters(
                r,
                "errata_ingest_requests_total",
                "Requests that shipped events, by status code of the answer.",
                &["protocol", "code"],
            )?,
            ingest_events: counters(
                r,
                "errata_ingest_events_total",
                "Events received: accepted, duplicate or rejected.",
                &["protocol", "outcome"],
            )?,
            ingest_rejected: counters(
                r,
                "errata_ingest_rejected_total",
                "Events rejected on arrival, by reason.",
                &["reason"],
            )?,
            ingest_duration: histogram(
                r,
                "errata_ingest_duration_seconds",
                "Time from the first byte of an ingest request to its durable answer.",
                &REQUEST_BUCKETS,
            )?,
            ingest_bytes: counter(r, "errata_ingest_bytes_total", "Bytes of ingest bodies as received.")?,
            ingest_marked: counters(
                r,
                "errata_ingest_marked_total",
                "Accepted events that were changed on the way in: cut, scrubbed, given a request id and so on.",
                &["mark"],
            )?,
            spool_bytes: gauge(r, "errata_spool_bytes", "Bytes of the spool on disk.")?,
            spool_events: gauge(r, "errata_spool_events", "Events in the spool that ClickHouse does not have yet.")?,
            spool_oldest: float(r, "errata_spool_oldest_seconds", "Age of the oldest event in the spool, 0 if empty.")?,
            spool_fsync: histogram(
                r,
                "errata_spool_fsync_seconds",
                "Duration of the spool's fdatasync.",
                &REQUEST_BUCKETS,
            )?,
            spool_quarantined: counter(
                r,
                "errata_spool_quarantined_total",
                "Events and damaged regions set aside because they could not be delivered.",
            )?,
            insert_batches: counters(
                r,
                "errata_insert_batches_total",
                "Batches sent to ClickHouse: stored, found (an earlier attempt had stored it), failed, quarantined.",
                &["outcome"],
            )?,
            insert_events: counter(r, "errata_insert_events_total", "Events verified in ClickHouse.")?,
            insert_duration: histogram(
                r,
                "errata_insert_duration_seconds",
                "Duration of one insert attempt, verification included.",
                &INSERT_BUCKETS,
            )?,
            erased_events: counter(
                r,
                "errata_erased_events_total",
                "Events erased: deleted from ClickHouse, or left out of delivery.",
            )?,
            rollup_pending: gauge(
                r,
                "errata_rollup_pending_events",
                "Events in ClickHouse that the rollups do not count yet; 1 from the start until that is known.",
            )?,
            insert_retries: counters(
                r,
                "errata_insert_retries_total",
                "Insert attempts repeated, by class.",
                &["reason"],
            )?,
            visible_lag: float(
                r,
                "errata_visible_lag_seconds",
                "Time from acknowledgement to being queryable, of the oldest event of the last batch, or of one that waits longer.",
            )?,
            books_imbalance: gauge(
                r,
                "errata_books_imbalance_events",
                "Accepted minus stored, queued and quarantined events; anything but 0 is a defect.",
            )?,
            query_duration: {
                let opts = HistogramOpts::new("errata_query_duration_seconds", "Duration of a question to ClickHouse.")
                    .buckets(REQUEST_BUCKETS.to_vec());
                register(r, prometheus::HistogramVec::new(opts, &["query"])?)?
            },
            clickhouse_up: gauge(r, "errata_clickhouse_up", "1 if ClickHouse answered the last check, else 0.")?,
            alerts_firing: register(
                r,
                IntGaugeVec::new(Opts::new("errata_alerts_firing", "Alerts that fire, by rule."), &["rule"])?,
            )?,
            alert_failures: counters(
                r,
                "errata_alerts_evaluation_failures_total",
                "Evaluations of an alert rule that ClickHouse answered with an error; the rule's alerts stay as they are.",
                &["rule"],
            )?,
            notifications: counters(
                r,
                "errata_notifications_total",
                "Attempts to tell a receiver of an alert: sent, failed (tried again), given_up.",
                &["receiver", "outcome"],
            )?,
            audit_entries: counters(
                r,
                "errata_audit_entries_total",
                "Entries of the audit log: written, or lost (then they are in the collector's log).",
                &["outcome"],
            )?,
            tails: gauge(r, "errata_tails", "Live tails that are open.")?,
            tail_events: counters(
                r,
                "errata_tail_events_total",
                "Events for live tails: sent, or missed because there were too many at once or the client was slow.",
                &["outcome"],
            )?,
            totals_accepted: counter(
                r,
                "errata_totals_accepted_total",
                "Request totals accepted, repetitions included.",
            )?,
            totals_rejected: counters(
                r,
                "errata_totals_rejected_total",
                "Request totals rejected on arrival, by reason.",
                &["reason"],
            )?,
            totals_pending: gauge(r, "errata_totals_pending", "Request totals that ClickHouse does not have yet.")?,
            totals_stored: counter(r, "errata_totals_stored_total", "Request totals stored in ClickHouse.")?,
            totals_refused: counter(
                r,
                "errata_totals_refused_total",
                "Request totals set aside because they could not be delivered, or were damaged on disk.",
            )?,
            damaged: AtomicU64::new(0),
            damaged_totals: AtomicU64::new(0),
            registry,
            later: Vec::new(),
        };
        metrics.begin();
        Ok(metrics)
    }

    /// Makes the series whose labels are known, so that their first increase is one, and notes the families of the others.
    fn begin(&mut self) {
        for outcome in ["accepted", "duplicate", "rejected"] {
            self.ingest_events.with_label_values(&["json", outcome]);
        }
        for reason in Reason::ALL {
            self.ingest_rejected.with_label_values(&[reason.as_str()]);
            self.totals_rejected.with_label_values(&[reason.as_str()]);
        }
        for (_, mark) in Marks::NAMES {
            self.ingest_marked.with_label_values(&[mark]);
        }
        for outcome in ["stored", "found", "failed", "quarantined"] {
            self.insert_batches.with_label_values(&[outcome]);
        }
        for outcome in ["written", "lost"] {
            self.audit_entries.with_label_values(&[outcome]);
        }
        for outcome in ["sent", "missed"] {
            self.tail_events.with_label_values(&[outcome]);
        }
        for class in RetryClass::ALL {
            self.insert_retries.with_label_values(&[class.as_str()]);
        }
        let counters = [
            self.api_errors.vec.desc(),
            self.api_errors_by_route.vec.desc(),
            self.api_requests.vec.desc(),
            self.rate_limited.vec.desc(),
            self.validation_failures.vec.desc(),
            self.ingest_requests.desc(),
            self.notifications.desc(),
            self.alert_failures.desc(),
        ];
        let kinds = counters.into_iter().flatten().map(|desc| (desc, "counter"));
        let durations = self.query_duration.desc().into_iter().map(|desc| (desc, "histogram"));
        let gauges = self.alerts_firing.desc().into_iter().map(|desc| (desc, "gauge"));
        self.later = kinds.chain(durations).chain(gauges).map(|(desc, kind)| (desc.clone(), kind)).collect();
    }

    /// As [`Self::count_damaged`], of request totals.
    pub fn count_damaged_totals(&self, total: u64) {
        let before = self.damaged_totals.fetch_max(total, Ordering::Relaxed);
        self.totals_refused.inc_by(total.saturating_sub(before));
    }

    /// Counts what the spool set aside by itself; `total` since this process began to open it.
    pub fn count_damaged(&self, total: u64) {
        let before = self.damaged.fetch_max(total, Ordering::Relaxed);
        self.spool_quarantined.inc_by(total.saturating_sub(before));
    }

    /// What an accepted event adds one to, its fields' failures apart: by its service, environment, route, method, status and
    /// marks.
    pub fn counters_of(&self, event: &EventView<'_>) -> EventCounters {
        let status = event.status.to_string();
        let mut counters = vec![
            self.api_errors.counter([event.service, event.environment], [&status]),
            self.api_errors_by_route.counter([event.service, event.route, event.method], [&status]),
        ];
        if event.status == 429 {
            counters.push(self.rate_limited.counter([event.service, event.route], []));
        }
        counters.extend(event.marks.names().map(|mark| self.ingest_marked.with_label_values(&[mark])));
        EventCounters(counters)
    }

    /// What an error of a field of an accepted event adds one to.
    pub fn counters_of_field(&self, service: &str, error: &FieldError) -> EventCounters {
        EventCounters(vec![self.validation_failures.counter([service, &error.field, &error.rule], [])])
    }

    /// All series in the text exposition format.
    ///
    /// # Errors
    /// When a series does not encode, which the client library rules out for registered ones.
    pub fn encode(&self) -> prometheus::Result<Vec<u8>> {
        let mut text = String::new();
        let families = self.registry.plain.gather();
        TextEncoder::new().encode_utf8(&families, &mut text)?;
        let bounded = self.registry.bounded.lock().unwrap_or_else(PoisonError::into_inner);
        for (Desc { fq_name, help, .. }, kind) in &self.later {
            if families.iter().all(|known| known.name() != fq_name) {
                // Writing to a String does not fail.
                let _ = write!(text, "# HELP {fq_name} {help}\n# TYPE {fq_name} {kind}\n");
            }
            if let Some(series) = bounded.get(fq_name.as_str()) {
                series.write(&mut text);
            }
        }
        Ok(text.into_bytes())
    }
}

/// Every family there is.
#[derive(Default)]
struct Families {
    plain: Registry,
    /// By name.
    bounded: Mutex<HashMap<&'static str, Arc<Series>>>,
}

fn register<C: Collector + Clone + 'static>(registry: &Families, collector: C) -> prometheus::Result<C> {
    registry.plain.register(Box::new(collector.clone()))?;
    Ok(collector)
}

fn bounded<const N: usize>(
    registry: &Families,
    name: &'static str,
    help: &str,
    labels: [&'static str; N],
    limit: usize,
) -> prometheus::Result<BoundedCounter<N>> {
    let counter = BoundedCounter::new(IntCounterVec::new(Opts::new(name, help), &labels)?, name, labels, limit);
    registry.bounded.lock().unwrap_or_else(PoisonError::into_inner).insert(name, counter.series());
    Ok(counter)
}

fn counters(registry: &Families, name: &str, help: &str, labels: &[&str]) -> prometheus::Result<IntCounterVec> {
    register(registry, IntCounterVec::new(Opts::new(name, help), labels)?)
}

fn counter(registry: &Families, name: &str, help: &str) -> prometheus::Result<IntCounter> {
    register(registry, IntCounter::new(name, help)?)
}

fn gauge(registry: &Families, name: &str, help: &str) -> prometheus::Result<IntGauge> {
    register(registry, IntGauge::new(name, help)?)
}

fn float(registry: &Families, name: &str, help: &str) -> prometheus::Result<Gauge> {
    register(registry, Gauge::new(name, help)?)
}

fn histogram(registry: &Families, name: &str, help: &str, buckets: &[f64]) -> prometheus::Result<Histogram> {
    register(registry, Histogram::with_opts(HistogramOpts::new(name, help).buckets(buckets.to_vec()))?)
}

/// The counters of an accepted event.
#[derive(Debug)]
pub struct EventCounters(Vec<IntCounter>);

impl EventCounters {
    /// Counts one such event.
    pub fn inc(&self) {
        self.0.iter().for_each(IntCounter::inc);
    }
}

#[cfg(test)]
mod tests;
