//! What counting events into rollups costs the collector, one thread: `cargo bench --bench rollup`.
//!
//! Events of the benchmarks' cardinalities (20 services, 400 routes, 50,000 accounts, Zipf-like; half with a field error), in
//! groups of 500,000 as delivery makes them.

use std::time::Instant;

use errata::{
    event::{Event, codec},
    store::rollup::{Group, RollupTable, Rollups, encode},
};

const GROUP: u64 = 500_000;
const ROUNDS: u64 = 4;

/// Of the seeded generator: see `benches/store/generator.sql`.
fn event(number: u64, template: &Event) -> Event {
    let hash = |salt: u64| xxhash_rust::xxh3::xxh3_64_with_seed(&number.to_le_bytes(), salt);
    let zipf = |bound: f64, hash: u64| bound.powf((hash % 1_000_003) as f64 / 1_000_003.0) as u64;
    let (route, account, kind) = (zipf(400.0, hash(2)), zipf(50_000.0, hash(1)), hash(3));
    let mut event = template.clone();
    event.fingerprint = hash(5) % 10 + route * 1000 + kind % 10 * 100;
    event.service = format!("service-{}", route % 20);
    event.environment = String::from(if kind.is_multiple_of(20) { "staging" } else { "production" });
    event.route = format!("/api/v1/module/resource{route}/{{id}}/");
    event.method = String::from(["POST", "POST", "GET", "PATCH"][(hash(2) % 4) as usize]);
    event.status = [400, 400, 400, 401, 403, 404, 409, 422, 429, 500][(kind % 10) as usize];
    event.account_id = account.to_string();
    // 100,000 events a second.
    event.timestamp_ms += number as i64 / 100;
    if !matches!(event.status, 400 | 409 | 422) {
        event.errors.clear();
    }
    for error in &mut event.errors {
        error.field = format!("field_{}", hash(4) % 10);
        error.rule = format!("rule_{}", hash(4) / 10 % 5);
    }
    event
}

/// Any event with one field error, from the captured traffic's kind of body.
fn template() -> anyhow::Result<Event> {
    use errata::{
        decode::{Context, Format, Limits, events},
        event::{catalog::Catalog, scrub::Scrubber},
    };
    let body = br#"{"request_id":"0b1d7d2e-8a3f-4d0a-9d5b-5f6a7b8c9d0e","status":422,"response":{"errors":{"f":["Required"]}}}"#;
    let (limits, scrubber) = (Limits::default(), Scrubber::default());
    let received_at_ms = 1_795_132_800_000;
    let context = Context {
        project: "bench",
        received_at_ms,
        oldest_ms: 0,
        catalog: Catalog::builtin(),
        scrubber: &scrubber,
        limits: &limits,
    };
    let decoded = events(Format::Json, body, context)?;
    anyhow::ensure!(!decoded.events.is_empty(), "the template decodes");
    Ok(codec::decode(&codec::encode(&decoded.events[0].1))?)
}

fn main() -> anyhow::Result<()> {
    let template = template()?;
    for round in 0..ROUNDS {
        let events: Vec<Event> = (round * GROUP..(round + 1) * GROUP).map(|number| event(number, &template)).collect();
        let mut rollups = Rollups::default();
        let counting = Instant::now();
        for event in &events {
            rollups.add(&event.into());
        }
        let counting = counting.elapsed();
        let encoding = Instant::now();
        let mut bytes = 0;
        for table in RollupTable::ALL {
            bytes += encode(&Group::new(20_000), table, &rollups)?.iter().map(bytes::Bytes::len).sum::<usize>();
        }
        let encoding = encoding.elapsed();
        let each = |took: std::time::Duration| took.as_secs_f64() * 1e6 / GROUP as f64;
        println!(
            "round {round}: {GROUP} events counted in {counting:.1?} ({:.3} µs each), encoded in {encoding:.1?} ({:.3} µs \
             each) to {bytes} bytes, {} bytes of memory",
            each(counting),
            each(encoding),
            rollups.memory(),
        );
    }
    Ok(())
}
