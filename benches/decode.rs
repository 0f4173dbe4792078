//! How fast exchanges become events, one thread: `cargo bench --bench decode`. The captured traffic unless
//! `DECODE_BENCH_FILE` names a file of NDJSON.

use std::{
    fs,
    ops::ControlFlow,
    time::{Instant, SystemTime, UNIX_EPOCH},
};

use errata::{
    decode::{Context, Format, Limits, Memo, decompress, each_event},
    event::{catalog::Catalog, codec, scrub::Scrubber},
};

const ROUNDS: u32 = 5;

fn main() -> anyhow::Result<()> {
    let (limits, scrubber) = (Limits::default(), Scrubber::default());
    let body = if let Some(path) = std::env::var_os("DECODE_BENCH_FILE") {
        fs::read(path)?
    } else {
        let packed = fs::read(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/drf-exchanges.ndjson.gz"))?;
        decompress(Some("gzip"), &packed, &limits)?.into_owned()
    };
    // A day after the last captured exchange; those of a file may be as late as now.
    let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis() as i64;
    let received_at_ms = if std::env::var_os("DECODE_BENCH_FILE").is_some() { now } else { 1_795_132_800_000 };
    let context = Context {
        project: "bench",
        received_at_ms,
        oldest_ms: 0,
        catalog: Catalog::builtin(),
        scrubber: &scrubber,
        limits: &limits,
    };
    let mut memo = Memo::default();
    for round in 1..=ROUNDS {
        let parsed = Instant::now();
        for line in body.split(|&byte| byte == b'\n').filter(|line| !line.is_empty()) {
            std::hint::black_box(serde_json::from_slice::<serde_json::Value>(line)?);
        }
        let parsed = parsed.elapsed();
        let decoding = Instant::now();
        let (mut count, mut bytes) = (0, 0);
        each_event(Format::Ndjson, &body, context, &mut memo, |_, event| {
            count += 1;
            bytes += codec::encode(event).len();
            ControlFlow::Continue(())
        })?;
        let decoding = decoding.elapsed();
        println!(
            "round {round}: {count} events of {} bytes; parse alone {parsed:.1?}, decode and encode {decoding:.1?} to {bytes} bytes: \
             {:.2} us an event, {:.2} of parsing alone",
            body.len(),
            decoding.as_secs_f64() * 1e6 / f64::from(count),
            decoding.as_secs_f64() / parsed.as_secs_f64(),
        );
    }
    Ok(())
}
