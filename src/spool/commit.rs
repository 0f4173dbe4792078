//! The log's thread: gather → encode → write → `fdatasync` → answer.

use std::{
    sync::{Arc, mpsc},
    thread::JoinHandle,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use tokio::sync::oneshot;

use super::{
    AppendError, Appended, Position, SpoolError,
    files::{Dir, File, PlaceError, failed, is_out_of_space, place},
    format::{SEGMENT_HEADER_BYTES, SegmentHeader},
    group::{Call, Group, Limits, Stamp},
    keys::Remembered,
    recover,
    shared::{Segment, Shared},
    writer::{Message, Repeats, Request},
};

/// The segment that is written to.
pub struct Active {
    pub header: SegmentHeader,
    pub file: Box<dyn File>,
    /// Durable length.
    pub bytes: u64,
    /// Keys of its items, in order, for its sidecar.
    pub keys: Vec<u128>,
}

pub struct Committer {
    shared: Arc<Shared>,
    active: Active,
    /// Position of the next item.
    next: u64,
    remembered: Remembered,
    group: Group,
    latest: Latest,
    sealer: Option<JoinHandle<()>>,
}

/// What the group before was like.
#[derive(Default)]
struct Latest {
    calls: usize,
    sync: Duration,
}

/// What a call is told once its group is durable.
struct Planned {
    answer: oneshot::Sender<Result<Appended, AppendError>>,
    outcome: Result<Appended, AppendError>,
    /// Whether it is true only if the group becomes durable.
    needs_sync: bool,
    _room: tokio::sync::OwnedSemaphorePermit,
}

/// Why a group was not kept.
enum Failure {
    /// Nothing of it is in the log; later ones may be.
    NoSpace,
    Poison(String),
}

impl Committer {
    pub fn new(shared: Arc<Shared>, active: Active, next: u64, remembered: Remembered) -> Self {
        Self { shared, active, next, remembered, group: Group::default(), latest: Latest::default(), sealer: None }
    }

    /// Serves until every writer is dropped or one asks to close.
    pub fn run(mut self, messages: mpsc::Receiver<Message>) {
        let _alarm = PanicAlarm(Arc::clone(&self.shared));
        let mut closing = None;
        while closing.is_none() {
            let Ok(first) = messages.recv() else { break };
            let requests = self.gather(first, &messages, &mut closing);
            self.commit(requests);
        }
        if let Some(sealer) = self.sealer.take() {
            join(sealer);
        }
        drop(self);
        drop(messages);
        if let Some(done) = closing {
            // Whoever closed may have stopped waiting.
            let _ = done.send(());
        }
    }

    /// Takes what is queued, and waits a little for the callers of the group before: they were just answered, and those of
    /// them that go on at once would otherwise miss this sync and wait for the next. A caller that is alone waits for nobody.
    fn gather(
        &self,
        first: Message,
        messages: &mpsc::Receiver<Message>,
        closing: &mut Option<oneshot::Sender<()>>,
    ) -> Vec<Request> {
        let mut requests = Vec::new();
        let mut gathered = 0;
        let mut expected = None;
        let deadline = Instant::now() + self.latest.patience();
        let mut message = Some(first);
        while let Some(taken) = message.take() {
            match taken {
                Message::Append(request) => {
                    gathered += request.items.bytes();
                    requests.push(request);
                }
                Message::Close(done) => {
                    *closing = Some(done);
                    break;
                }
            }
            if gathered >= self.shared.tuning.group_bytes {
                break;
            }
            message = messages.try_recv().ok();
            if message.is_none() && requests.len() < *expected.get_or_insert(requests.len() + self.latest.calls) {
                let left = deadline.saturating_duration_since(Instant::now());
                // Timed out, or every writer is gone: the next round tells.
                message = messages.recv_timeout(left).ok();
            }
        }
        requests
    }

    fn commit(&mut self, requests: Vec<Request>) {
        let poison = self.shared.poison.borrow().clone();
        if let Some(reason) = poison {
            for request in requests {
                tell(request.answer, Err(AppendError::Poisoned(reason.clone())));
            }
            return;
        }
        self.latest.calls = requests.len();
        let planned = self.plan(requests);
        if self.group.bytes.is_empty() {
            return settle(planned, || Ok(()));
        }
        match self.persist() {
            Ok(()) => {
                self.publish();
                settle(planned, || Ok(()));
                self.rotate_if_full();
            }
            Err(Failure::NoSpace) => {
                let reserve = self.shared.options.reserve_bytes;
                let free = self.shared.dir.free_bytes().unwrap_or(0);
                tracing::warn!(free, reserve, "no space left for the spool; appends are refused until there is");
                settle(planned, || Err(AppendError::DiskFull { free, reserve }));
            }
            Err(Failure::Poison(reason)) => {
                self.poison(&reason);
                settle(planned, || Err(AppendError::Poisoned(reason.clone())));
            }
        }
    }

    /// Encodes what is new of each call, or refuses the call.
    fn plan(&mut self, requests: Vec<Request>) -> Vec<Planned> {
        let stamp = Stamp { segment: self.active.header.id, synced: self.active.bytes, appended_ms: now_ms() };
        self.group.begin(self.next, stamp);
        let limits = Limits::now(&self.shared);
        let mut planned = Vec::with_capacity(requests.len());
        for Request { items, repeats, answer, room } in requests {
            let call = match repeats {
                Repeats::Drop => Call::of(&items, &self.remembered, &mut self.group.fresh),
                Repeats::Keep => Call::of_all(&items),
            };
            let outcome = match limits.check(call.bytes, self.group.bytes.len() as u64) {
                Ok(()) => {
                    self.group.add(&items, &call.fresh, self.shared.tuning.record_bytes);
                    Ok(Appended { duplicates: call.duplicates, end: Position(self.group.next) })
                }
                Err(refused) => {
                    if repeats == Repeats::Drop {
                        call.withdraw(&items, &mut self.group.fresh);
                    }
                    Err(refused)
                }
            };
            planned.push(Planned { answer, outcome, needs_sync: call.needs_sync, _room: room });
        }
        planned
    }

    /// Writes the group and makes it durable. A sync is asked for once and never again.
    fn persist(&mut self) -> Result<(), Failure> {
        let Active { file, bytes, .. } = &self.active;
        match file.write_at(&self.group.bytes, *bytes) {
            Ok(()) => {}
            Err(error) if is_out_of_space(&error) => {
                let back = file.set_len(*bytes).and_then(|()| file.sync_data());
                return Err(back.map_or_else(
                    |error| Failure::Poison(format!("cutting off a record that did not fit: {error}")),
                    |()| Failure::NoSpace,
                ));
            }
            Err(error) => return Err(Failure::Poison(format!("writing to the segment: {error}"))),
        }
        let began = Instant::now();
        file.sync_data().map_err(|error| Failure::Poison(format!("syncing the segment: {error}")))?;
        self.latest.sync = began.elapsed();
        if let Some(observe) = self.shared.sync_observer.get() {
            observe(self.latest.sync);
        }
        Ok(())
    }

    /// The group is durable: it is known, readable and counted from now on.
    fn publish(&mut self) {
        self.active.bytes += self.group.bytes.len() as u64;
        self.active.keys.extend_from_slice(&self.group.keys);
        for key in self.group.keys.drain(..) {
            self.remembered.insert(key);
        }
        self.next = self.group.next;
        self.shared.state().add(&self.group.records, &self.group.tags, self.active.bytes, self.group.stamp.appended_ms);
        self.shared.end.send_replace(self.next);
    }

    /// Begins a new segment when this one is large enough. Where that cannot be done and nothing is in doubt (no file
    /// descriptors, no space), the old one goes on growing and it is tried again after the next group.
    fn rotate_if_full(&mut self) {
        if self.active.bytes < self.shared.options.segment_bytes {
            return;
        }
        match begin_segment(&*self.shared.dir, self.next) {
            Ok(active) => {
                let keys = std::mem::replace(&mut self.active, active).keys;
                let mut state = self.shared.state();
                if let Some(sealed) = state.segments.back_mut() {
                    sealed.unsealed = Some(Arc::new(keys));
                }
                state.segments.push_back(Segment::empty(&self.active.header));
                drop(state);
                self.seal();
            }
            Err(PlaceError::Unchanged(error)) => tracing::warn!(%error, "a new spool segment could not be begun"),
            Err(PlaceError::InDoubt(error)) => self.poison(&format!("beginning a segment: {error}")),
        }
    }

    /// Writes the sidecar without keeping the next group waiting.
    fn seal(&mut self) {
        if let Some(sealer) = self.sealer.take() {
            join(sealer);
        }
        let shared = Arc::clone(&self.shared);
        if shared.tuning.seal_inline {
            return shared.seal();
        }
        match std::thread::Builder::new().name("spool-seal".to_owned()).spawn(move || shared.seal()) {
            Ok(sealer) => self.sealer = Some(sealer),
            Err(error) => {
                tracing::warn!(%error, "no thread to write the keys of a spool segment; writing them in place");
                self.shared.seal();
            }
        }
    }

    fn poison(&self, reason: &str) {
        tracing::error!(reason, "the spool failed; it takes nothing until the next start");
        self.shared.poison.send_replace(Some(reason.to_owned()));
    }
}

impl Latest {
    /// A part of what a sync takes, so that waiting in vain costs little.
    fn patience(&self) -> Duration {
        if self.calls > 1 { (self.sync / 8).min(Duration::from_millis(2)) } else { Duration::ZERO }
    }
}

/// Makes a segment whose first item has this position, durably.
pub fn begin_segment(dir: &dyn Dir, first: u64) -> Result<Active, PlaceError> {
    let mut id = [0; 8];
    getrandom::fill(&mut id).map_err(|error| PlaceError::Unchanged(std::io::Error::other(error)))?;
    let header = SegmentHeader { id: u64::from_le_bytes(id), first };
    let file = place(dir, &recover::segment_name(first), &[&header.encode()])?;
    Ok(Active { header, file, bytes: SEGMENT_HEADER_BYTES as u64, keys: Vec::new() })
}

/// Starts the thread.
pub fn start(committer: Committer, messages: mpsc::Receiver<Message>) -> Result<(), SpoolError> {
    let dir = Arc::clone(&committer.shared.dir);
    std::thread::Builder::new()
        .name("spool".to_owned())
        .spawn(move || committer.run(messages))
        .map(drop)
        .map_err(failed("start the thread of", &*dir, ""))
}

fn settle(planned: Vec<Planned>, synced: impl Fn() -> Result<(), AppendError>) {
    for Planned { answer, outcome, needs_sync, .. } in planned {
        let outcome = outcome.and_then(|appended| if needs_sync { synced().map(|()| appended) } else { Ok(appended) });
        tell(answer, outcome);
    }
}

fn tell(answer: oneshot::Sender<Result<Appended, AppendError>>, outcome: Result<Appended, AppendError>) {
    // The caller may have gone; what was kept stays kept.
    let _ = answer.send(outcome);
}

fn join(sealer: JoinHandle<()>) {
    if sealer.join().is_err() {
        tracing::warn!("the thread that writes the keys of spool segments panicked; trying again later");
    }
}

fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

/// A thread that panics (a bug) leaves a poisoned log, not a silent one.
struct PanicAlarm(Arc<Shared>);

impl Drop for PanicAlarm {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.poison.send_replace(Some("its thread panicked".to_owned()));
        }
    }
}
