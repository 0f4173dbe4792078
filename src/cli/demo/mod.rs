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

use self::{
    replay::{Range, Replay},
    world::World,
};
use super::{
    Exit,
    client::{Client, ClientArgs},
    duration,
    import::{Batch, Shipper, input::Kind},
    patience::Patience,
    settings::Settings,
    terminal::{self, grouped},
};
use crate::clock::{
    Clock,
    when::{Edge, calendar},
};

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
/// of the published reference. It runs until Ctrl-C or --duration. With --replay it sends captured files instead, of events and of request
/// totals, as if it happened now.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  errata demo
  errata demo --rate 500 --duration 1m
  errata demo --seed 7                              the same traffic every time
  errata demo --replay captured.ndjson.gz --speed 60   two days in 48 minutes
  errata demo --replay errors.ndjson.gz totals.ndjson.gz --from 2026-11-18T13:30:00Z --to 2026-11-18T15:00:00Z --speed 30")]
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
    /// Send the events and request totals of these NDJSON files (plain, gzip or zstd), moved to now
    #[arg(long, value_name = "FILE", num_args = 1.., conflicts_with_all = ["rate", "seed"])]
    replay: Vec<PathBuf>,
    /// How many times faster than captured
    #[arg(long, value_name = "N", default_value_t = 1.0, requires = "replay", value_parser = speed)]
    speed: f64,
    /// Begin at this time of the capture, RFC 3339 or a date such as 2026-11-18 (its begin, UTC): it becomes now
    #[arg(long, value_name = "TIME", requires = "replay", value_parser = begin)]
    from: Option<i64>,
    /// End before this time of the capture, or with this date
    #[arg(long, value_name = "TIME", requires = "replay", value_parser = end)]
    to: Option<i64>,
    #[command(flatten)]
    client: ClientArgs,
}

/// Where the events come from.
enum Source {
    World { world: Box<World>, rate: f64, owed: f64 },
    Replay(Box<Replay>),
}

/// What is to be sent.
#[derive(Debug, Default, PartialEq)]
struct Due {
    events: Vec<Value>,
    totals: Vec<Value>,
}

impl Due {
    fn is_empty(&self) -> bool {
        self.events.is_empty() && self.totals.is_empty()
    }
}

/// What was sent so far.
#[derive(Default)]
struct Sent {
    events: u64,
    /// Reports of request totals; one of a minute that goes on replaces the one before it.
    totals: u64,
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
        let Some(due) = source.due(last_ms, now_ms)? else { break };
        last_ms = now_ms;
        let is_first = sent.events == 0;
        send(&shipper, Kind::Events, &due.events, &mut sent).await?;
        send(&shipper, Kind::Totals, &due.totals, &mut sent).await?;
        if is_first && sent.events > 0 {
            hints(&shipper.client, &sent);
        }
        if told.elapsed() >= TELL_EVERY {
            told = Instant::now();
            tell(&sent, started.elapsed());
        }
    }
    tell(&sent, started.elapsed());
    if let Source::Replay(replay) = &source
        && replay.passed_over() > 0
    {
        terminal::note(&format!("{} lines have no time, or are no events or totals", grouped(replay.passed_over())));
    }
    Ok(if sent.rejected == 0 { Exit::Done } else { Exit::Negative })
}

impl Source {
    fn open(args: &Args, now_ms: i64) -> anyhow::Result<Self> {
        if !args.replay.is_empty() {
            let range = Range { from_ms: args.from, to_ms: args.to };
            let replay = Replay::open(&args.replay, range, args.speed, now_ms)?;
            terminal::note(&replay.describe());
            return Ok(Self::Replay(Box::new(replay)));
        }
        let seed = args.seed.unwrap_or(now_ms as u64);
        terminal::note(&format!("seed {seed}: --seed {seed} makes the same traffic again"));
        Ok(Self::World { world: Box::new(World::new(seed, now_ms)), rate: args.rate, owed: 0.0 })
    }

    /// What there is between two times; `None` when there will be no more.
    fn due(&mut self, from_ms: i64, to_ms: i64) -> std::io::Result<Option<Due>> {
        match self {
            Self::World { world, rate, owed } => {
                let span_ms = (to_ms - from_ms).max(0);
                *owed += *rate * span_ms as f64 / 1000.0;
                let count = *owed as usize;
                *owed -= count as f64;
                let at = |index: usize| from_ms + (span_ms as f64 * (index + 1) as f64 / count as f64) as i64;
                let events = (0..count).map(|index| world.event(at(index))).collect();
                Ok(Some(Due { events, ..Due::default() }))
            }
            Self::Replay(replay) => replay.due(to_ms),
        }
    }
}

async fn send(shipper: &Shipper, kind: Kind, lines: &[Value], sent: &mut Sent) -> anyhow::Result<()> {
    for chunk in lines.chunks(BATCH) {
        let mut batch = Batch::default();
        for (number, line) in (sent.events + 1..).zip(chunk) {
            batch.push(number, line.to_string().as_bytes());
        }
        let outcome = shipper.ship_as(kind, &batch).await?;
        match kind {
            Kind::Events => sent.events += chunk.len() as u64,
            Kind::Totals => sent.totals += chunk.len() as u64,
        }
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
    let totals = if sent.totals == 0 { String::new() } else { format!(" and {} request totals", grouped(sent.totals)) };
    terminal::note(&format!(
        "{} events{totals} in {}, {} rejected{}",
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

/// A captured minute becomes at most a hundred of them.
fn speed(text: &str) -> Result<f64, String> {
    let least = |speed: &f64| *speed >= 0.01;
    positive(text).ok().filter(least).ok_or_else(|| "expected a number from 0.01 to 1000000".to_owned())
}

fn begin(text: &str) -> Result<i64, String> {
    calendar(text, Edge::From)
}

fn end(text: &str) -> Result<i64, String> {
    calendar(text, Edge::To)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fractions_of_events_are_owed_not_lost() {
        let mut source = Source::World { world: Box::new(World::new(1, 0)), rate: 3.0, owed: 0.0 };
        let counts: Vec<_> =
            (0..8).map(|tick| source.due(tick * 250, (tick + 1) * 250).unwrap().unwrap().events.len()).collect();
        assert_eq!(counts.iter().sum::<usize>(), 6, "{counts:?}");
    }

    #[test]
    fn a_capture_is_cut_at_times_and_days() {
        let day_ms = 1_794_960_000_000;
        assert_eq!([begin("2026-11-18"), end("2026-11-17")], [Ok(day_ms), Ok(day_ms)]);
        assert_eq!(end("2026-11-18T00:00:01Z"), Ok(day_ms + 1000));
        assert!(begin("-1h").unwrap_err().starts_with("expected RFC 3339"), "now is of another time");
    }

    #[test]
    fn rates_are_positive() {
        assert_eq!(positive("0.5"), Ok(0.5));
        for text in ["0", "-1", "NaN", "inf", "x"] {
            assert!(positive(text).is_err(), "{text}");
        }
        assert!(speed("0.009").is_err() && speed("0.01") == Ok(0.01));
    }
}
