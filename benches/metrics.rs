//! What a scrape of `/metrics` costs when clients have filled every family that they choose labels of, against the client library
//! writing the same series: `cargo bench --bench metrics`.

use std::time::{Duration, Instant};

use errata::metrics::Metrics;
use prometheus::{IntCounterVec, Opts, Registry, TextEncoder};

/// Distinct services, routes and fields that are thrown at it.
const DISTINCT: usize = 100_000;

const SCRAPES: usize = 200;

fn filled() -> anyhow::Result<Metrics> {
    let metrics = Metrics::new()?;
    for number in 0..DISTINCT {
        let (service, route) = (format!("service-{number}"), format!("/api/v1/module/resource{number}/{{id}}/"));
        metrics.api_errors.counter([&service, "production"], ["500"]).inc();
        metrics.api_errors_by_route.counter([&service, &route, "POST"], ["500"]).inc();
        metrics.rate_limited.counter([&service, &route], []).inc();
        metrics.validation_failures.counter([&service, &format!("items[].field_{number}"), "required"], []).inc();
    }
    Ok(metrics)
}

/// As many series of three labels in the client library.
fn library(series: usize) -> anyhow::Result<Registry> {
    let (registry, opts) = (Registry::new(), Opts::new("errata_series_total", "As many series."));
    let counters = IntCounterVec::new(opts, &["service", "route", "status"])?;
    registry.register(Box::new(counters.clone()))?;
    for number in 0..series {
        let (service, route) = (format!("service-{number}"), format!("/api/v1/module/resource{number}/{{id}}/"));
        counters.with_label_values(&[&service, &route, "500"]).inc();
    }
    Ok(registry)
}

fn report(what: &str, mut scrape: impl FnMut() -> anyhow::Result<usize>) -> anyhow::Result<()> {
    let (mut took, mut bytes) = (Vec::<Duration>::new(), 0);
    for _ in 0..SCRAPES {
        let began = Instant::now();
        bytes = scrape()?;
        took.push(began.elapsed());
    }
    took.sort();
    let [best, half, worst] = [took[0], took[SCRAPES / 2], took[SCRAPES - 1]];
    println!("{what}: {best:?} at best, {half:?} half of the time, {worst:?} at worst; {} KiB", bytes / 1024);
    Ok(())
}

fn main() -> anyhow::Result<()> {
    let metrics = filled()?;
    let text = metrics.encode()?;
    let series = text.split(|byte| *byte == b'\n').filter(|line| !line.is_empty() && line[0] != b'#').count();
    println!("{series} series");
    report("a scrape", || Ok(metrics.encode()?.len()))?;
    let registry = library(series)?;
    report("the client library alone", || Ok(TextEncoder::new().encode_to_string(&registry.gather())?.len()))
}
