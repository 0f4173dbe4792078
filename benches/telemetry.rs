//! What tracing costs where no receiver of traces is configured: `cargo bench --bench telemetry`.

use std::{hint::black_box, time::Instant};

use errata::telemetry::{self, Origins, SPANS};

const TIMES: u32 = 5_000_000;

fn nanoseconds(what: &str, mut work: impl FnMut(u32)) {
    let began = Instant::now();
    for number in 0..TIMES {
        work(number);
    }
    println!("{what}: {:.1} ns", began.elapsed().as_secs_f64() * 1e9 / f64::from(TIMES));
}

fn main() -> anyhow::Result<()> {
    let runtime = tokio::runtime::Runtime::new()?;
    let telemetry = telemetry::init(runtime.handle()).map_err(anyhow::Error::msg)?;
    let origins = Origins::default();
    nanoseconds("a span with three fields", |number| {
        let span =
            tracing::info_span!(target: SPANS, "bench", otel.name = format!("number {number}"), number, more = 1);
        black_box(span.in_scope(|| number));
    });
    nanoseconds("the headers of a request to ClickHouse", |_| {
        black_box(telemetry::of_current_span());
    });
    nanoseconds("noting an append, making the span of a delivery", |number| {
        origins.note(u64::from(number));
        black_box(origins.delivery(0, u64::from(number), 1));
    });
    telemetry.end();
    Ok(())
}
