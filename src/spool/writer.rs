//! The appending side: calls are queued within a bound, the log's thread answers them.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc,
    },
    time::Duration,
};

use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

use super::{AppendError, Appended, Batch, Item, Recovery, Stats, shared::Shared};

/// What one unit of the queue's budget stands for, bytes. A call takes at least one unit.
const UNIT: usize = 1024;

/// What the log's thread is asked for.
pub enum Message {
    Append(Request),
    /// Everything queued before is answered first.
    Close(oneshot::Sender<()>),
}

pub struct Request {
    pub items: Batch,
    pub repeats: Repeats,
    pub answer: oneshot::Sender<Result<Appended, AppendError>>,
    /// Room in the queue, given back with the answer.
    pub room: OwnedSemaphorePermit,
}

/// What is done with an item whose key is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Repeats {
    /// It is a duplicate, and not kept again.
    Drop,
    /// It is kept again, whatever is known.
    Keep,
}

/// The appending side; cheap to clone.
///
/// The log's thread ends when the last one is dropped or after [`Writer::close`], and answers what is queued before.
#[derive(Clone)]
pub struct Writer {
    shared: Arc<Shared>,
    queue: mpsc::Sender<Message>,
    budget: Arc<Semaphore>,
    closed: Arc<AtomicBool>,
}

impl Writer {
    pub(super) fn new(shared: Arc<Shared>) -> (Self, mpsc::Receiver<Message>) {
        let (queue, messages) = mpsc::channel();
        let budget = Arc::new(Semaphore::new(units(shared.tuning.queue_bytes) as usize));
        (Self { shared, queue, budget, closed: Arc::new(AtomicBool::new(false)) }, messages)
    }

    /// Appends items; returns after they are durable (`fdatasync`), in the order of the calls. Waits while the queue is
    /// full.
    ///
    /// Once the call is queued it takes effect even if the future is dropped.
    ///
    /// # Errors
    /// [`AppendError`]; nothing of the call is kept then (it may still be found after a crash).
    pub async fn append(&self, items: Vec<Item>) -> Result<Appended, AppendError> {
        self.queue(items.into(), Repeats::Drop).await
    }

    /// [`Writer::append`] of items that are encoded already.
    ///
    /// # Errors
    /// As [`Writer::append`].
    pub async fn append_batch(&self, items: Batch) -> Result<Appended, AppendError> {
        self.queue(items, Repeats::Drop).await
    }

    /// Appends items that had left the spool without being delivered, although their keys are known.
    ///
    /// # Errors
    /// As [`Writer::append`].
    pub async fn append_again(&self, items: Vec<Item>) -> Result<(), AppendError> {
        self.queue(items.into(), Repeats::Keep).await.map(drop)
    }

    async fn queue(&self, items: Batch, repeats: Repeats) -> Result<Appended, AppendError> {
        if items.is_empty() {
            return Ok(Appended::default());
        }
        let room = units(items.bytes()).min(units(self.shared.tuning.queue_bytes));
        let Ok(room) = Arc::clone(&self.budget).acquire_many_owned(room).await else { return Err(self.gone()) };
        let (answer, outcome) = oneshot::channel();
        if self.queue.send(Message::Append(Request { items, repeats, answer, room })).is_err() {
            return Err(self.gone());
        }
        outcome.await.unwrap_or_else(|_| Err(self.gone()))
    }

    /// Whether an item of this tag is kept and not yet forgotten. Looks through the tags of the segment that is written to; of
    /// others a filter is asked, and a file read where that says perhaps.
    #[must_use]
    pub fn holds(&self, tag: u64) -> bool {
        self.shared.holds(tag)
    }

    #[must_use]
    pub fn stats(&self) -> Stats {
        self.shared.stats()
    }

    /// Why the spool takes nothing at the moment, if so. Asks the file system for its free space.
    #[must_use]
    pub fn refusal(&self) -> Option<AppendError> {
        if let Some(reason) = self.shared.poison.borrow().clone() {
            return Some(AppendError::Poisoned(reason));
        }
        if self.closed.load(Ordering::Acquire) {
            return Some(AppendError::Closed);
        }
        let (used, limit) = (self.shared.state().used(), self.shared.options.max_bytes);
        let margin = (self.shared.tuning.record_bytes as u64).min(limit / 16);
        if used + margin > limit {
            return Some(AppendError::Full { used, limit });
        }
        let reserve = self.shared.options.reserve_bytes;
        match self.shared.dir.free_bytes() {
            Ok(free) if free < reserve => Some(AppendError::DiskFull { free, reserve }),
            // A file system that does not tell is asked by the next write.
            _ => None,
        }
    }

    /// Returns, with the reason, when a write or sync failed: nothing is taken any more, and the process must end (non-zero)
    /// and recover at its next start. Never returns otherwise.
    pub async fn failed(&self) -> String {
        let mut poison = self.shared.poison.subscribe();
        let reason = poison.wait_for(Option::is_some).await.ok().and_then(|reason| reason.clone());
        match reason {
            Some(reason) => reason,
            None => std::future::pending().await,
        }
    }

    /// Refuses further appends, waits until the queued ones are answered and the log's thread has ended.
    pub async fn close(&self) {
        self.closed.store(true, Ordering::Release);
        self.budget.close();
        let (done, closed) = oneshot::channel();
        if self.queue.send(Message::Close(done)).is_ok() {
            // An error says that it has ended already.
            let _ = closed.await;
        }
    }

    /// What opening found.
    #[must_use]
    pub fn recovery(&self) -> &Recovery {
        &self.shared.recovery
    }

    /// Has each `fdatasync` of a group timed, for a histogram. The first observer stays; it must be quick, appends wait for it.
    pub fn observe_syncs(&self, observer: impl Fn(Duration) + Send + Sync + 'static) {
        // Documented: a second one is not taken.
        let _ = self.shared.sync_observer.set(Box::new(observer));
    }

    fn gone(&self) -> AppendError {
        match self.shared.poison.borrow().clone() {
            Some(reason) => AppendError::Poisoned(reason),
            None => AppendError::Closed,
        }
    }
}

fn units(bytes: usize) -> u32 {
    u32::try_from(bytes.div_ceil(UNIT).max(1)).unwrap_or(u32::MAX)
}
