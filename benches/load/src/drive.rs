//! Load: bodies that are ready in memory over kept connections, as fast as they are acknowledged or at a set pace.

use std::{
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::ensure;

use crate::{
    collector::{Collector, Shipper},
    events::{Body, Generator},
    wire::Connection,
};

/// Lookups that wait for an acknowledged event at once.
const WATCHERS: usize = 4;

/// How long each body's acknowledgement took, in order of duration, and how long all of them took.
pub struct Acknowledged {
    pub took: Duration,
    pub latencies: Vec<Duration>,
}

impl Acknowledged {
    /// Milliseconds that so many per mille of the bodies took at most.
    pub fn at(&self, per_mille: usize) -> f64 {
        at(&self.latencies, per_mille)
    }
}

/// The quantile of sorted durations, in milliseconds.
pub fn at(sorted: &[Duration], per_mille: usize) -> f64 {
    let index = (sorted.len() * per_mille / 1000).min(sorted.len().saturating_sub(1));
    sorted.get(index).map_or(f64::NAN, |duration| duration.as_secs_f64() * 1000.0)
}

/// Ships every body once over `connections`; each sends its next body when the last one was acknowledged.
pub fn closed_loop(collector: &Collector, bodies: &[Body], connections: usize) -> anyhow::Result<Acknowledged> {
    let next = AtomicUsize::new(0);
    let began = Instant::now();
    let latencies = on_threads(connections, || {
        let mut shipper = Shipper::open(collector)?;
        let mut latencies = Vec::new();
        while let Some(body) = bodies.get(next.fetch_add(1, Ordering::Relaxed)) {
            latencies.push(shipper.ship(body)?);
        }
        Ok(latencies)
    })?;
    Ok(Acknowledged { took: began.elapsed(), latencies })
}

/// Ships every body once at `rate` events a second, whatever the collector does; a latency counts from the moment when
/// the body was due, so that a stall is seen by all that wait for it.
pub fn paced<'a>(
    collector: &Collector,
    bodies: &'a [Body],
    connections: usize,
    rate: f64,
    acknowledged: impl Fn(&'a Body, Instant) + Sync,
) -> anyhow::Result<Acknowledged> {
    let each = bodies.first().map_or(0, |body| body.events);
    let interval = Duration::from_secs_f64(each as f64 / rate);
    let next = AtomicUsize::new(0);
    let began = Instant::now();
    let latencies = on_threads(connections, || {
        let mut shipper = Shipper::open(collector)?;
        let mut latencies = Vec::new();
        loop {
            let number = next.fetch_add(1, Ordering::Relaxed);
            let Some(body) = bodies.get(number) else { return Ok(latencies) };
            let due = began + interval * number as u32;
            std::thread::sleep(due.saturating_duration_since(Instant::now()));
            shipper.ship(body)?;
            let now = Instant::now();
            acknowledged(body, now);
            latencies.push(now - due);
        }
    })?;
    Ok(Acknowledged { took: began.elapsed(), latencies })
}

/// Events that are made as they are shipped, at a pace, until somebody says stop.
pub struct Live {
    /// Events in a request.
    pub each: u64,
    /// Events a second; infinite: as fast as they are acknowledged.
    pub rate: f64,
    pub stop: AtomicBool,
    /// Events acknowledged so far.
    pub shipped: AtomicU64,
}

impl Live {
    /// Ships until [`Live::stop`]; returns how long after its time each body was acknowledged, in order of duration.
    pub fn ship(&self, collector: &Collector, connections: usize) -> anyhow::Result<Vec<Duration>> {
        let interval = Duration::from_secs_f64(self.each as f64 / self.rate);
        let (next, began, seed) = (AtomicUsize::new(0), Instant::now(), AtomicU64::new(0));
        on_threads(connections, || {
            let mut generator = Generator::new(seed.fetch_add(1, Ordering::Relaxed));
            let mut shipper = Shipper::open(collector)?;
            let mut latencies = Vec::new();
            while !self.stop.load(Ordering::Relaxed) {
                let due = began + interval * next.fetch_add(1, Ordering::Relaxed) as u32;
                let body = generator.body(self.each);
                std::thread::sleep(due.saturating_duration_since(Instant::now()));
                shipper.ship(&body)?;
                self.shipped.fetch_add(self.each, Ordering::Relaxed);
                latencies.push(if interval.is_zero() { Duration::ZERO } else { due.elapsed() });
            }
            Ok(latencies)
        })
    }
}

/// Runs the same work on several threads; all their durations, in order.
pub fn on_threads(
    threads: usize,
    work: impl Fn() -> anyhow::Result<Vec<Duration>> + Sync,
) -> anyhow::Result<Vec<Duration>> {
    let mut latencies = Vec::new();
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..threads).map(|_| scope.spawn(&work)).collect();
        for thread in threads {
            latencies.extend(thread.join().map_err(|_| anyhow::anyhow!("a connection's thread panicked"))??);
        }
        anyhow::Ok(())
    })?;
    latencies.sort_unstable();
    Ok(latencies)
}

/// Ships at a pace and asks for the last event of a body as soon as it is acknowledged, four at a time: how long
/// until its lookup says `found`. (The collector holds such a question back and looks every 50 ms.)
pub fn until_visible(
    collector: &Collector,
    bodies: &[Body],
    connections: usize,
    rate: f64,
) -> anyhow::Result<(Acknowledged, Vec<Duration>)> {
    let latest: Mutex<Option<(&Body, Instant)>> = Mutex::new(None);
    let ended = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let watchers: Vec<_> = (0..WATCHERS).map(|_| scope.spawn(|| watch(collector, &latest, &ended))).collect();
        let shipped = paced(collector, bodies, connections, rate, |body, at| {
            *latest.lock().unwrap_or_else(PoisonError::into_inner) = Some((body, at));
        });
        ended.store(true, Ordering::Relaxed);
        let mut waited = Vec::new();
        for watcher in watchers {
            waited.extend(watcher.join().map_err(|_| anyhow::anyhow!("a watcher panicked"))??);
        }
        waited.sort_unstable();
        Ok((shipped?, waited))
    })
}

fn watch(
    collector: &Collector,
    latest: &Mutex<Option<(&Body, Instant)>>,
    ended: &AtomicBool,
) -> anyhow::Result<Vec<Duration>> {
    let mut connection = Connection::open(collector.port)?;
    let mut waited = Vec::new();
    while !ended.load(Ordering::Relaxed) {
        let Some((body, acknowledged)) = latest.lock().unwrap_or_else(PoisonError::into_inner).take() else {
            std::thread::sleep(Duration::from_millis(1));
            continue;
        };
        let head = collector.head("GET", &format!("/api/v1/requests/{}", body.last_id));
        loop {
            let answer = connection.ask(&head, std::iter::empty())?;
            ensure!(answer.status == 200, "an acknowledged event is found or pending: {}", answer.text());
            match answer.json()?["data"]["state"].as_str() {
                Some("found") => break,
                Some("pending") => {}
                other => anyhow::bail!("state {other:?} of {}", body.last_id),
            }
        }
        waited.push(acknowledged.elapsed());
    }
    Ok(waited)
}
