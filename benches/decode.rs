//! How fast captured exchanges become events, one thread: `cargo bench --bench decode`.

use std::{fs, time::Instant};

use errata::{
    decode::{Context, Format, Limits, decompress, events},
    event::{catalog::Catalog, codec, scrub::Scrubber},
};

const ROUNDS: u32 = 5;

fn main() -> anyhow::Result<()> {
    let packed = fs::read(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/drf-exchanges.ndjson.gz"))?;
    let (limits, scrubber) = (Limits::default(), Scrubber::default());
    // A day after the last captured exchange.
    let received_at_ms = 1_795_132_800_000;
    let context = Context {
        project: "bench",
        received_at_ms,
        oldest_ms: 0,
        catalog: Catalog::builtin(),
        scrubber: &scrubber,
        limits: &limits,
    };
    for round in 1..=ROUNDS {
        let started = Instant::now();
        let body = decompress(Some("gzip"), &packed, &limits)?;
        let unpacked = started.elapsed();
        let parsed = Instant::now();
        for line in body.split(|&byte| byte == b'\n').filter(|line| !line.is_empty()) {
            std::hint::black_box(serde_json::from_slice::<serde_json::Value>(line)?);
        }
        let parsed = parsed.elapsed();
        let decoding = Instant::now();
        let decoded = events(Format::Ndjson, &body, context)?;
        let decoding = decoding.elapsed();
        let encoding = Instant::now();
        let bytes: usize = decoded.events.iter().map(|(_, event)| codec::encode(event).len()).sum();
        let encoding = encoding.elapsed();
        let per_second = decoded.events.len() as f64 / decoding.as_secs_f64();
        println!(
            "round {round}: {} events of {} bytes; gunzip {unpacked:.1?}, parse alone {parsed:.1?}, decode {decoding:.1?} \
             ({per_second:.0} events/s), encode {encoding:.1?} to {bytes} bytes",
            decoded.events.len(),
            body.len(),
        );
    }
    Ok(())
}
