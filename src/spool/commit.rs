//! The log's thread: gather → encode → write → `fdatasync` → answer.

use std::{
    sync::Arc,
    thread::JoinHandle,
    time::{Instant, SystemTime, UNIX_EPOCH},
};

use tokio::sync::{mpsc, oneshot};

use super::{
    AppendError, Appended, Item, SpoolError,
    files::{Dir, File, PlaceError, failed, is_out_of_space, place},
    format::{RECORD_HEADER_BYTES, RecordHeader, SEGMENT_HEADER_BYTES, SegmentHeader, item_bytes, push_item},
    keys::{KeySet, Remembered},
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
    sealer: Option<JoinHandle<()>>,
}

/// What is written and synced at once. Its buffers are kept.
#[derive(Default)]
struct Group {
    /// Whole records.
    bytes: Vec<u8>,
    /// In order; known for good only after the sync.
    keys: Vec<u128>,
    fresh: KeySet,
    tags: Vec<u64>,
    /// First position and number of items of each record.
    records: Vec<(u64, u64)>,
    /// Milliseconds since the Unix epoch.
    appended_ms: i64,
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
        Self { shared, active, next, remembered, group: Group::default(), sealer: None }
    }

    /// Serves until every writer is dropped or one asks to close.
    pub fn run(mut self, mut messages: mpsc::UnboundedReceiver<Message>) {
        let _alarm = PanicAlarm(Arc::clone(&self.shared));
        let mut closing = None;
        while closing.is_none() {
            let Some(message) = messages.blocking_recv() else { break };
            let mut requests = Vec::new();
            let mut gathered = 0;
            let mut waiting = Some(message);
            while let Some(message) = waiting.take() {
                match message {
                    Message::Append(request) => {
                        gathered += request.items.iter().map(item_bytes).sum::<usize>();
                        requests.push(request);
                    }
                    Message::Close(done) => closing = Some(done),
                }
                if closing.is_none() && gathered < self.shared.tuning.group_bytes {
                    waiting = messages.try_recv().ok();
                }
            }
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

    fn commit(&mut self, requests: Vec<Request>) {
        let poison = self.shared.poison.borrow().clone();
        if let Some(reason) = poison {
            for request in requests {
                tell(request.answer, Err(AppendError::Poisoned(reason.clone())));
            }
            return;
        }
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
        self.group.clear();
        let limits = Limits::now(&self.shared);
        self.group.appended_ms = now_ms();
        let mut next = self.next;
        let mut planned = Vec::with_capacity(requests.len());
        for Request { items, repeats, answer, room } in requests {
            let call = match repeats {
                Repeats::Drop => Call::of(&items, &self.remembered, &self.group.fresh),
                Repeats::Keep => Call::of_all(&items),
            };
            let outcome = limits.check(call.bytes, self.group.bytes.len() as u64).map(|()| {
                self.encode(&items, &call.fresh, &mut next);
                Appended { duplicates: call.duplicates }
            });
            planned.push(Planned { answer, outcome, needs_sync: call.needs_sync, _room: room });
        }
        planned
    }

    /// Adds records of these items of the call to the group.
    fn encode(&mut self, items: &[Item], fresh: &[usize], next: &mut u64) {
        let mut rest = fresh;
        while let Some(&index) = rest.first() {
            let start = self.group.bytes.len();
            self.group.bytes.resize(start + RECORD_HEADER_BYTES, 0);
            push_item(&mut self.group.bytes, &items[index]);
            let mut taken = 1;
            while let Some(&index) = rest.get(taken) {
                let payload = self.group.bytes.len() - start - RECORD_HEADER_BYTES;
                if payload + item_bytes(&items[index]) > self.shared.tuning.record_bytes {
                    break;
                }
                push_item(&mut self.group.bytes, &items[index]);
                taken += 1;
            }
            for &index in &rest[..taken] {
                self.group.keys.push(items[index].key);
                self.group.fresh.insert(items[index].key);
                self.group.tags.push(items[index].tag);
            }
            let payload = &self.group.bytes[start + RECORD_HEADER_BYTES..];
            let header = RecordHeader {
                payload_bytes: payload.len() as u32,
                segment: self.active.header.id,
                first: *next,
                synced: self.active.bytes,
                appended_ms: self.group.appended_ms,
                items: taken as u32,
                payload_crc: crc32c::crc32c(payload),
            };
            self.group.bytes[start..start + RECORD_HEADER_BYTES].copy_from_slice(&header.encode());
            self.group.records.push((*next, taken as u64));
            *next += taken as u64;
            rest = &rest[taken..];
        }
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
        if let Some(observe) = self.shared.sync_observer.get() {
            observe(began.elapsed());
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
        if let Some(&(first, count)) = self.group.records.last() {
            self.next = first + count;
        }
        self.shared.state().add(&self.group.records, &self.group.tags, self.active.bytes, self.group.appended_ms);
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

impl Group {
    /// Buffers that a rare large group needed are given back.
    const KEPT_BYTES: usize = 8 * 1024 * 1024;

    fn clear(&mut self) {
        self.bytes.clear();
        self.bytes.shrink_to(Self::KEPT_BYTES);
        self.keys.clear();
        self.fresh.clear();
        self.tags.clear();
        self.records.clear();
    }
}

/// One call, held against what is known.
struct Call {
    /// Indexes of the items to keep.
    fresh: Vec<usize>,
    duplicates: Vec<usize>,
    /// What keeping them takes at most.
    bytes: u64,
    needs_sync: bool,
}

impl Call {
    /// Keeps every item.
    fn of_all(items: &[Item]) -> Self {
        let bytes = items.iter().map(|item| (RECORD_HEADER_BYTES + item_bytes(item)) as u64).sum();
        Self { fresh: (0..items.len()).collect(), duplicates: Vec::new(), bytes, needs_sync: true }
    }

    fn of(items: &[Item], remembered: &Remembered, group: &KeySet) -> Self {
        let mut call =
            Self { fresh: Vec::with_capacity(items.len()), duplicates: Vec::new(), bytes: 0, needs_sync: false };
        let mut own = KeySet::with_capacity_and_hasher(items.len(), group.hasher().clone());
        for (index, item) in items.iter().enumerate() {
            if remembered.contains(item.key) {
                call.duplicates.push(index);
                continue;
            }
            call.needs_sync = true;
            if group.contains(&item.key) || !own.insert(item.key) {
                call.duplicates.push(index);
            } else {
                call.fresh.push(index);
                call.bytes += (RECORD_HEADER_BYTES + item_bytes(item)) as u64;
            }
        }
        call
    }
}

/// What there is room for, as of the beginning of a group.
struct Limits {
    used: u64,
    max: u64,
    free: u64,
    reserve: u64,
}

impl Limits {
    fn now(shared: &Shared) -> Self {
        Self {
            used: shared.state().used(),
            max: shared.options.max_bytes,
            // A file system that does not tell its free space still tells when there is none.
            free: shared.dir.free_bytes().unwrap_or(u64::MAX),
            reserve: shared.options.reserve_bytes,
        }
    }

    /// Whether a call of this size fits after what the group has already.
    fn check(&self, bytes: u64, gathered: u64) -> Result<(), AppendError> {
        if bytes == 0 {
            return Ok(());
        }
        let limit = self.max.min(u64::from(u32::MAX));
        if bytes > limit {
            return Err(AppendError::Full { used: bytes, limit });
        }
        if self.used + gathered + bytes > self.max {
            return Err(AppendError::Full { used: self.used + gathered, limit: self.max });
        }
        let free = self.free.saturating_sub(gathered);
        if free.saturating_sub(bytes) < self.reserve {
            return Err(AppendError::DiskFull { free, reserve: self.reserve });
        }
        Ok(())
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
pub fn start(committer: Committer, messages: mpsc::UnboundedReceiver<Message>) -> Result<(), SpoolError> {
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
