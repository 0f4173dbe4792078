//! `errata import`: files of events or request totals to a collector, in batches, over interruptions.
//!
//! ```text
//! input (open, decompress) → batches (a thread) → ship (retry, resend smaller) → tally, resume record, progress
//! ```

mod batches;
pub(super) mod input;
mod progress;
mod resume;
mod ship;
mod tally;

use std::{
    collections::VecDeque,
    path::{Path, PathBuf},
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};

use anyhow::Context;
use tokio::{sync::mpsc, task::JoinHandle};

use self::{
    batches::{Batches, Broken},
    input::{Input, Kind},
    progress::Progress,
    resume::{Done, Resume},
    ship::{Outcome, ShipError},
    tally::{Rejections, Tally},
};
use super::{
    Exit,
    client::{Client, ClientArgs},
    duration,
    patience::Patience,
    settings::Settings,
    terminal,
};

pub(super) use self::{batches::Batch, ship::Shipper};

/// Requests under way at once: the collector works on one while the next travels. Results are taken in order. Of totals it
/// is one, because of two of the same the one received last counts.
const IN_FLIGHT: usize = 2;

/// Batches that are read ahead.
const READ_AHEAD: usize = 2;

/// Send captured events, or request totals (NDJSON, one a line), to a collector
///
/// The first line tells which of the two a file holds. Files may be gzip or zstd compressed, whatever they are called. Sending an event twice is harmless: the collector
/// recognises it. So an import that was interrupted goes on where it stopped (records are under $XDG_STATE_HOME or
/// ~/.local/state), and one whose collector restarts waits and loses nothing.
///
/// Exit code: 0 when every line was taken, 1 when lines were rejected, also before an interruption (a summary names
/// them), 2 on failure.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  errata import errors.ndjson.gz request-totals.ndjson.gz
  errata import day1.ndjson.zst day2.ndjson.zst --batch 5000
  kubectl logs shop-api | grep '\"status\":' | errata import -
  errata import errors.ndjson --url https://errata.example --patience 1h")]
pub struct Args {
    /// Files to import; - is standard input
    #[arg(value_name = "FILE", required = true)]
    files: Vec<PathBuf>,
    /// Most lines in a request (a request also ends at 4 MiB)
    #[arg(long, value_name = "LINES", default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    batch: u32,
    /// Begin anew instead of where an earlier run of the same command stopped
    #[arg(long)]
    restart: bool,
    /// How long to retry when the collector is away, full or asks to wait
    #[arg(long, value_name = "DURATION", default_value = "5m", value_parser = duration::parse)]
    patience: Duration,
    #[command(flatten)]
    client: ClientArgs,
}

pub async fn run(args: &Args, settings: &Settings) -> anyhow::Result<Exit> {
    let client = Client::new(&args.client, settings)?;
    let records = resume::directory(|name| std::env::var_os(name));
    let shipper = Shipper::new(client, Patience::new(args.patience), progress::note);
    let started = Instant::now();
    let mut tally = Tally::default();
    let job = Job { shipper: &shipper, records: records.as_deref(), lines: args.batch as usize, restart: args.restart };
    for file in &args.files {
        if let Err(error) = job.import(file, &mut tally).await {
            if tally.lines() > 0 {
                terminal::note(&format!("before the failure: {}", tally.summary(started.elapsed()).trim_end()));
            }
            return Err(error.context(terminal::clean(&format!("cannot import {}", file.display()))));
        }
    }
    terminal::print(&tally.summary(started.elapsed()))?;
    Ok(if tally.rejected() == 0 { Exit::Done } else { Exit::Negative })
}

/// What the inputs of one run share.
struct Job<'a> {
    shipper: &'a Shipper,
    /// Where resume records are; `None` without a home directory.
    records: Option<&'a Path>,
    /// Lines per batch.
    lines: usize,
    restart: bool,
}

/// A batch under way, and how far the input is when it is done.
struct UnderWay {
    task: JoinHandle<Result<Outcome, ShipError>>,
    lines: u64,
    position: u64,
}

type ReadBatch = Result<(Batch, u64), Broken>;

impl Job<'_> {
    async fn import(&self, file: &Path, tally: &mut Tally) -> anyhow::Result<()> {
        let input = input::open(file)?;
        let destination = self.shipper.client.identity();
        let resume = self.records.zip(input.identity.clone()).map(|(dir, id)| Resume::of(dir, id, destination));
        let done = if self.restart { None } else { resume.as_ref().map(Resume::done) };
        let Done { lines: skip, rejections } = done.unwrap_or_default();
        let name = input.name.clone();
        if skip > 0 {
            let skip = terminal::grouped(skip);
            progress::note(&format!("{name}: going on after line {skip} (--restart begins anew)"));
        }
        tally.add_earlier(rejections.clone());
        let mut record = Record { name: &name, resume: resume.as_ref(), rejections };
        let (kind, mut progress) = (input.kind, Progress::begin(&name, input.size));
        let in_flight = match kind {
            Kind::Events => IN_FLIGHT,
            Kind::Totals => {
                progress::note(&format!("{name}: request totals"));
                1
            }
        };
        let before = tally.lines();
        let mut batches = read(input, self.lines, skip);
        let mut under_way = VecDeque::new();
        loop {
            let batch = if under_way.len() < in_flight { batches.recv().await } else { None };
            match batch {
                Some(batch) => {
                    let read = batch.map(|(batch, position)| self.send(kind, batch, position));
                    match read {
                        Ok(sent) => under_way.push_back(sent),
                        Err(broken) => {
                            // What came before it goes out first.
                            while let Some(oldest) = under_way.pop_front() {
                                record.settle(oldest, tally).await?;
                            }
                            return Err(broken.into());
                        }
                    }
                }
                None => match under_way.pop_front() {
                    Some(oldest) => {
                        let position = record.settle(oldest, tally).await?;
                        progress.at(position, tally.lines() - before);
                    }
                    None => break,
                },
            }
        }
        if skip == 0 && tally.lines() == before {
            progress::note(&format!("{name}: no line in it, nothing to import"));
        }
        resume.map_or(Ok(()), |resume| resume.clear()).context("cannot remove the resume record")
    }

    fn send(&self, kind: Kind, batch: Batch, position: u64) -> UnderWay {
        let (shipper, lines) = (self.shipper.clone(), batch.done);
        UnderWay { task: tokio::spawn(async move { shipper.ship_as(kind, &batch).await }), lines, position }
    }
}

/// How far one input is, for the next run.
struct Record<'a> {
    name: &'a str,
    /// `None` for what cannot be read twice.
    resume: Option<&'a Resume>,
    /// Of this input, those before an interruption included.
    rejections: Rejections,
}

impl Record<'_> {
    /// Waits for the oldest batch, counts it and records it; returns how far the input is.
    async fn settle(&mut self, oldest: UnderWay, tally: &mut Tally) -> anyhow::Result<u64> {
        let outcome = oldest.task.await.context("sending a batch broke off")??;
        tally.add(self.name, &outcome);
        self.rejections.add(self.name, &outcome.rejected, outcome.unlisted);
        let done = || Done { lines: oldest.lines, rejections: self.rejections.clone() };
        if let Some(Err(error)) = self.resume.map(|resume| resume.save(done())) {
            progress::note(&format!("cannot record how far the import is, so it cannot be resumed: {error}"));
        }
        Ok(oldest.position)
    }
}

/// Reads batches on a thread of its own, which ends when nobody wants them any more. (A task of the runtime would keep
/// the process alive while it waits for standard input.)
fn read(input: Input, lines: usize, skip: u64) -> mpsc::Receiver<ReadBatch> {
    let (sender, receiver) = mpsc::channel(READ_AHEAD);
    let position = Arc::clone(&input.position);
    let mut batches = Batches::new(input.reader, lines);
    std::thread::spawn(move || {
        let mut next = batches.skip(skip).and_then(|()| batches.next());
        while let Some(item) = next.transpose() {
            let is_last = item.is_err();
            let item = item.map(|batch| (batch, position.load(Ordering::Relaxed)));
            if sender.blocking_send(item).is_err() || is_last {
                return;
            }
            next = batches.next();
        }
    });
    receiver
}

#[cfg(test)]
mod tests;
