//! Measurements of the collector alone: latencies at a pace, and what it does while ClickHouse is away.

use std::{
    path::Path,
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    time::{Duration, Instant},
};

use anyhow::ensure;

use crate::{
    collector::{Collector, Shipper},
    drive::{self, Live},
    engine::Engine,
    events::{Body, Events, Generator},
    process,
    relay::Relay,
    report::{Report, mib},
    spool_files, wire,
};

const DRAIN_LIMIT: Duration = Duration::from_secs(120);

/// Acknowledgements with `connections` at half load: half of what the collector sustains, which is events/s until all is
/// visible; and at half of what it acknowledges for a while when each connection sends as fast as it can.
pub fn half_load(
    report: &mut Report,
    errata: &Path,
    data_dir: &Path,
    events: &Events,
    connections: usize,
) -> anyhow::Result<()> {
    let collector = Collector::start(errata, data_dir, "embedded")?.with_tables()?;
    let (first, rest) = events.bodies.split_at(events.bodies.len() / 2);
    let (second, third) = rest.split_at(rest.len() / 2);
    let count = |bodies: &[Body]| bodies.iter().map(|body| body.events as u64).sum::<u64>();
    let begun = Instant::now();
    let full = drive::closed_loop(&collector, first, connections)?;
    collector.until_stored(count(first), DRAIN_LIMIT)?;
    let sustained = count(first) as f64 / begun.elapsed().as_secs_f64();
    let acknowledged = count(first) as f64 / full.took.as_secs_f64();
    let half = drive::paced(&collector, second, connections, sustained / 2.0, |_, _| {})?;
    collector.until_stored(count(first) + count(second), DRAIN_LIMIT)?;
    let burst = drive::paced(&collector, third, connections, acknowledged / 2.0, |_, _| {})?;
    collector.until_stored(events.count, DRAIN_LIMIT)?;
    let title = format!("{connections} connections");
    report.figure(&format!("{title}, full load: events/s acknowledged"), acknowledged);
    report.figure(&format!("{title}, full load: events/s until all is visible"), sustained);
    report.figure(&format!("{title}, full load: ack p50 ms"), full.at(500));
    report.figure(&format!("{title}, full load: ack p99 ms"), full.at(990));
    report.figure(&format!("{title}, half of what is sustained: ack p50 ms"), half.at(500));
    report.figure(&format!("{title}, half of what is sustained: ack p99 ms (reach: 20)"), half.at(990));
    report.figure(&format!("{title}, half of what is acknowledged: ack p50 ms"), burst.at(500));
    report.figure(&format!("{title}, half of what is acknowledged: ack p99 ms"), burst.at(990));
    report.figure(&format!("{title}: peak memory MiB, collector"), mib(process::peak_memory(collector.pid())?));
    collector.stop()
}

/// How long an acknowledged event waits until a lookup finds it, at a set rate of events.
pub fn visible(report: &mut Report, errata: &Path, data_dir: &Path, bodies: &[Body], rate: f64) -> anyhow::Result<()> {
    let collector = Collector::start(errata, data_dir, "embedded")?.with_tables()?;
    let (acknowledged, waited) = drive::until_visible(&collector, bodies, 8, rate)?;
    let count: usize = bodies.iter().map(|body| body.events).sum();
    collector.until_stored(count as u64, DRAIN_LIMIT)?;
    let title = format!("{rate} events/s");
    report.figure(&format!("{title}: ack p50 ms"), acknowledged.at(500));
    report.figure(&format!("{title}: ack p99 ms"), acknowledged.at(990));
    report.figure(&format!("{title}: ack → found p50 ms"), drive::at(&waited, 500));
    report.figure(
        &format!("{title}: ack → found p99 ms, {} samples (reach: 1000)", waited.len()),
        drive::at(&waited, 990),
    );
    collector.stop()
}

/// Memory and bytes written while ClickHouse refuses connections and the spool fills at full load.
pub fn without_clickhouse(
    report: &mut Report,
    errata: &Path,
    data_dir: &Path,
    events: &Events,
    connections: usize,
) -> anyhow::Result<()> {
    let nowhere = format!("http://127.0.0.1:{}", wire::free_port()?);
    let collector = Collector::start(errata, data_dir, &nowhere)?;
    let before = process::written(collector.pid())?;
    let acknowledged = drive::closed_loop(&collector, &events.bodies, connections)?;
    let metrics = collector.metrics()?;
    let queued = metrics.count("errata_spool_events")?;
    ensure!(queued == events.count, "{queued} of {} events are in the spool", events.count);
    metrics.balanced()?;
    let memory = process::peak_memory(collector.pid())?;
    let written = (process::written(collector.pid())? - before) as f64;
    collector.stop()?;
    let held = spool_files::held(data_dir)?;
    ensure!(held.items == events.count, "the spool holds {} of {} events", held.items, events.count);
    let title = "ClickHouse down";
    report.figure(&format!("{title}: events/s acknowledged"), events.count as f64 / acknowledged.took.as_secs_f64());
    report.figure(&format!("{title}: peak memory MiB, collector (reach: 256)"), mib(memory));
    report.figure("spool: bytes of an encoded event", held.payload as f64 / held.items as f64);
    report.figure("spool: bytes of its files / bytes of events", held.files as f64 / held.payload as f64);
    report.figure("spool: bytes written to disk / bytes of events (reach: 1.1)", written / held.payload as f64);
    Ok(())
}

/// An outage of ClickHouse under a steady stream of events.
pub struct Outage {
    pub rate: f64,
    pub before: Duration,
    pub away: Duration,
}

/// How fast the backlog of an outage drains while new events keep coming; sees that each event is stored once.
pub fn outage(report: &mut Report, errata: &Path, data_dir: &Path, each: u64, outage: &Outage) -> anyhow::Result<()> {
    let (for_engine, for_collector) = (data_dir.join("engine"), data_dir.join("collector"));
    std::fs::create_dir(&for_engine)?;
    std::fs::create_dir(&for_collector)?;
    let engine = Engine::start(errata, &for_engine)?;
    let mut relay = Relay::start(engine.port)?;
    let collector = Collector::start(errata, &for_collector, &engine.url(relay.port))?.with_tables()?;
    let live = Live { each, rate: outage.rate, stop: AtomicBool::new(false), shipped: AtomicU64::new(0) };
    let title = format!("outage of {:?} at {} events/s", outage.away, outage.rate);
    let latencies = std::thread::scope(|scope| {
        let shipping = scope.spawn(|| live.ship(&collector, 8));
        std::thread::sleep(outage.before);
        relay.down();
        eprintln!("ClickHouse is away");
        std::thread::sleep(outage.away);
        let ended = relay.up().map_err(Into::into).and_then(|()| drain(report, &title, &collector, &live));
        live.stop.store(true, Ordering::Relaxed);
        let latencies = shipping.join().map_err(|_| anyhow::anyhow!("shipping panicked"))?;
        ended.and(latencies)
    })?;
    let shipped = live.shipped.load(Ordering::Relaxed);
    collector.until_stored(shipped, DRAIN_LIMIT)?;
    report.figure(&format!("{title}: ack p99 ms throughout"), drive::at(&latencies, 990));
    report.figure(&format!("{title}: peak memory MiB, collector"), mib(process::peak_memory(collector.pid())?));
    collector.stop()?;
    for count in ["count()", "uniqExact(request_id)"] {
        let rows = engine.number(&format!("SELECT {count} FROM errata.events"))?;
        ensure!(rows == shipped, "{count} of events is {rows}; {shipped} were acknowledged");
    }
    Ok(())
}

/// Waits until the backlog is gone but for what arrives in a second.
fn drain(report: &mut Report, title: &str, collector: &Collector, live: &Live) -> anyhow::Result<()> {
    let state = || -> anyhow::Result<(f64, f64)> {
        let metrics = collector.metrics()?;
        Ok((metrics.value("errata_insert_events_total")?, metrics.value("errata_spool_events")?))
    };
    let (back, backlog_then) = (Instant::now(), state()?.1);
    eprintln!("ClickHouse is back; {backlog_then} events wait");
    // From the first insert that gets through: until then the collector pauses between attempts.
    let (stored_then, _) = state()?;
    let mut first = None;
    loop {
        let (stored, waiting) = state()?;
        if stored > stored_then && first.is_none() {
            first = Some((Instant::now(), stored));
        }
        if waiting <= live.rate {
            let took = back.elapsed();
            let drained = stored - stored_then;
            report.figure(&format!("{title}: backlog, events"), backlog_then);
            report.figure(&format!("{title}: seconds until it was gone"), took.as_secs_f64());
            report.figure(
                &format!("{title}: delivered / arriving until then (reach: 3)"),
                drained / took.as_secs_f64() / live.rate,
            );
            if let Some((first, stored_first)) = first {
                let rate = (stored - stored_first) / first.elapsed().as_secs_f64();
                report.figure(&format!("{title}: the same from the first insert on"), rate / live.rate);
            }
            return Ok(());
        }
        ensure!(back.elapsed() < Duration::from_secs(1800), "{waiting} events still wait");
        std::thread::sleep(Duration::from_millis(100));
    }
}

/// How soon a collector acknowledges an event after it was killed with a large spool.
pub fn recovery(report: &mut Report, errata: &Path, data_dir: &Path, gib: f64, each: u64) -> anyhow::Result<()> {
    let nowhere = format!("http://127.0.0.1:{}", wire::free_port()?);
    let collector = Collector::start(errata, data_dir, &nowhere)?;
    let live = Live { each, rate: f64::INFINITY, stop: AtomicBool::new(false), shipped: AtomicU64::new(0) };
    let full = gib * f64::from(1 << 30);
    std::thread::scope(|scope| {
        let shipping = scope.spawn(|| live.ship(&collector, 8));
        let filled = loop {
            match collector.metrics().and_then(|metrics| metrics.value("errata_spool_bytes")) {
                Ok(bytes) if bytes < full => std::thread::sleep(Duration::from_millis(200)),
                Ok(_) => break Ok(()),
                Err(error) => break Err(error),
            }
            if shipping.is_finished() {
                break Ok(());
            }
        };
        live.stop.store(true, Ordering::Relaxed);
        shipping.join().map_err(|_| anyhow::anyhow!("shipping panicked"))??;
        filled
    })?;
    drop(collector); // killed
    let mut generator = Generator::new(u64::MAX);
    let body = generator.body(1);
    let began = Instant::now();
    let collector = Collector::start(errata, data_dir, &nowhere)?;
    Shipper::open(&collector)?.ship(&body)?;
    let took = began.elapsed();
    let metrics = collector.metrics()?;
    let (bytes, events) = (metrics.value("errata_spool_bytes")?, metrics.count("errata_spool_events")?);
    let shipped = live.shipped.load(Ordering::Relaxed) + 1;
    ensure!(events == shipped, "{events} events recovered, {shipped} were acknowledged");
    let title = format!("killed with {:.1} GiB in the spool", bytes / f64::from(1 << 30));
    report.figure(&format!("{title}: seconds from start to the first 202 (reach: 2 at 10 GiB)"), took.as_secs_f64());
    report.figure(&format!("{title}: peak memory MiB, collector"), mib(process::peak_memory(collector.pid())?));
    collector.stop()
}
