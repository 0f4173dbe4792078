//! `errata demo`: traffic to look at, by the HTTP API alone.

mod mistakes;
mod random;
mod replay;
mod world;

use std::{
    path::PathBuf,
    time::{Duration, Instant},
};

use serde_json::Value;
use tokio::time::MissedTickBehavior;

use self::{replay::Replay, world::World};
use super::{
    Exit,
    client::{Client, ClientArgs},
    duration,
    import::{Batch, Shipper},
    patience::Patience,
    settings::Settings,
    terminal::{self, grouped},
};
use crate::clock::Clock;

/// Between two requests.
const TICK: Duration = Duration::from_millis(250);

/// Between two lines of progress.
const TELL_EVERY: Duration = Duration::from_secs(10);

/// How long a collector may be away.
const PATIENCE: Duration = Duration::from_mins(5);

/// Most events in a request.
const BATCH: usize = 1000;

/// Stream realistic traffic to a running collector, so that there is something to look at
///
/// Services, accounts, retries, clients that hammer a rate limit, a route that fails for half a minute: all errors are those
/// of the published reference. It runs until Ctrl-C or --duration. With --replay it sends a captured file instead, as if
/// it happened now.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  errata demo
  errata demo --rate 500 --duration 1m
  errata demo --seed 7                              the same traffic every time
  errata demo --replay captured.ndjson.gz --speed 60   two days in 48 minutes")]
pub struct Args {
    /// Events per second
    #[arg(long, value_name = "N", default_value_t = 20.0, value_parser = positive, allow_negative_numbers = true)]
    rate: f64,
    /// Stop after this time; default: never
    #[arg(long, value_name = "DURATION", value_parser = duration::parse)]
    duration: Option<Duration>,
    /// Seed of the traffic; default: a new one each time
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    /// Send the events of this NDJSON file (plain, gzip or zstd), moved to now
    #[arg(long, value_name = "FILE", conflicts_with_all = ["rate", "seed"])]
    replay: Option<PathBuf>,
    /// How many times faster than captured
    #[arg(long, value_name = "N", default_value_t = 1.0, requires = "replay", value_parser = positive)]
    speed: f64,
    #[command(flatten)]
    client: ClientArgs,
}

/// Where the events come from.
enum Source {
    World { world: Box<World>, rate: f64, owed: f64 },
    Replay { replay: Replay, waiting: Option<(i64, Value)> },
}

/// What was sent so far.
#[derive(Default)]
struct Sent {
    events: u64,
    rejected: u64,
    /// An id of the latest batch, for the hints.
    id: Option<String>,
}

pub async fn run(args: &Args, settings: &Settings) -> anyhow::Result<Exit> {
    let client = Client::new(&args.client, settings)?;
    let clock = Clock::system();
    let mut source = Source::open(args, clock.now_ms())?;
    let shipper = Shipper::new(client, Patience::new(PATIENCE), terminal::note);
    let (started, mut told, mut sent) = (Instant::now(), Instant::now(), Sent::default());
    let mut ticks = tokio::time::interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut last_ms = clock.now_ms() - TICK.as_millis() as i64;
    let is_over = |started: Instant| args.duration.is_some_and(|limit| started.elapsed() >= limit);
    while !is_over(started) {
        tokio::select! {
            _ = ticks.tick() => {}
            _ = tokio::signal::ctrl_c() => break,
        }
        let now_ms = clock.now_ms();
        let Some(events) = source.due(last_ms, now_ms)? else { break };
        last_ms = now_ms;
        let is_first = sent.events == 0;
        send(&shipper, &events, &mut sent).await?;
        if is_first && sent.events > 0 {
            hints(&shipper.client, &sent);
        }
        if told.elapsed() >= TELL_EVERY {
            told = Instant::now();
            tell(&sent, started.elapsed());
        }
    }
    tell(&sent, started.elapsed());
    Ok(if sent.rejected == 0 { Exit::Done } else { Exit::Negative })
}

impl Source {
    fn open(args: &Args, now_ms: i64) -> anyhow::Result<Self> {
        if let Some(path) = &args.replay {
            return Ok(Self::Replay { replay: Replay::open(path, args.speed, now_ms)?, waiting: None });
        }
        let seed = args.seed.unwrap_or(now_ms as u64);
        terminal::note(&format!("seed {seed}: --seed {seed} makes the same traffic again"));
        Ok(Self::World { world: Box::new(World::new(seed, now_ms)), rate: args.rate, owed: 0.0 })
    }

    /// The events between two times; `None` when there will be no more.
    fn due(&mut self, from_ms: i64, to_ms: i64) -> std::io::Result<Option<Vec<Value>>> {
        match self {
            Self::World { world, rate, owed } => {
                let span_ms = (to_ms - from_ms).max(0);
                *owed += *rate * span_ms as f64 / 1000.0;
                let count = *owed as usize;
                *owed -= count as f64;
                let at = |index: usize| from_ms + (span_ms as f64 * (index + 1) as f64 / count as f64) as i64;
                Ok(Some((0..count).map(|index| world.event(at(index))).collect()))
            }
            Self::Replay { replay, waiting } => {
                let mut events = Vec::new();
                loop {
                    let next = match waiting.take() {
                        Some(next) => Some(next),
                        None => replay.next()?,
                    };
                    match next {
                        Some((due_ms, event)) if due_ms <= to_ms => events.push(event),
                        Some(later) => {
                            *waiting = Some(later);
                            return Ok(Some(events));
                        }
                        None => return Ok(if events.is_empty() { None } else { Some(events) }),
                    }
                }
            }
        }
    }
}

async fn send(shipper: &Shipper, events: &[Value], sent: &mut Sent) -> anyhow::Result<()> {
    for chunk in events.chunks(BATCH) {
        let mut batch = Batch::default();
        for (number, event) in (sent.events + 1..).zip(chunk) {
            batch.push(number, event.to_string().as_bytes());
        }
        let outcome = shipper.ship(&batch).await?;
        sent.events += chunk.len() as u64;
        sent.rejected += outcome.unlisted + outcome.rejected.len() as u64;
        if let Some(rejection) = outcome.rejected.first() {
            terminal::note(&terminal::clean(&format!("rejected: {}", rejection.message)));
        }
        let id = chunk.iter().rev().find_map(|event| event.get("request_id")?.as_str());
        sent.id = id.map(str::to_owned).or(sent.id.take());
    }
    Ok(())
}

fn hints(client: &Client, sent: &Sent) {
    let id = terminal::clean(sent.id.as_deref().unwrap_or("ID"));
    let origin = client.origin();
    terminal::note(&format!(
        "streaming to {origin}; try in another terminal:\n  errata lookup {id}\n  curl -s {origin}/metrics | grep errata_api_errors_total\n(Ctrl-C ends it)"
    ));
}

fn tell(sent: &Sent, elapsed: Duration) {
    let id = sent.id.as_deref().map(|id| format!("; the latest: errata lookup {}", terminal::clean(id)));
    terminal::note(&format!(
        "{} events in {}, {} rejected{}",
        grouped(sent.events),
        duration::rough(elapsed.as_secs()),
        grouped(sent.rejected),
        id.unwrap_or_default()
    ));
}

fn positive(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(number) if number > 0.0 && number <= 1e6 => Ok(number),
        _ => Err("expected a number above 0, at most 1000000".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fractions_of_events_are_owed_not_lost() {
        let mut source = Source::World { world: Box::new(World::new(1, 0)), rate: 3.0, owed: 0.0 };
        let counts: Vec<_> =
            (0..8).map(|tick| source.due(tick * 250, (tick + 1) * 250).unwrap().unwrap().len()).collect();
        assert_eq!(counts.iter().sum::<usize>(), 6, "{counts:?}");
    }

    #[test]
    fn rates_are_positive() {
        assert_eq!(positive("0.5"), Ok(0.5));
        for text in ["0", "-1", "NaN", "inf", "x"] {
            assert!(positive(text).is_err(), "{text}");
        }
    }
}
