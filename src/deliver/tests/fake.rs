//! A destination in memory that fails as told.

use super::*;

/// What happens to one call of `insert`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// It succeeds.
    None,
    /// It fails with a class, and nothing is stored.
    Before(RetryClass),
    /// It is stored, and the answer is lost.
    After,
    /// Half is stored, and the answer is lost.
    Half,
    /// It never answers; whether it stored is the flag.
    Hang { stored: bool },
}

/// Minutes and the events of each.
pub type PerMinute = Vec<(u32, u64)>;

/// A destination in memory.
#[derive(Clone, Default)]
pub struct Fake(pub Arc<Mutex<Inner>>);

#[derive(Default)]
pub struct Inner {
    pub rows: Vec<(Uuid, EventKey)>,
    pub faults: VecDeque<Fault>,
    /// Rows that are refused whenever they are in a batch.
    pub poison: HashSet<EventKey>,
    /// Whether even an empty batch is refused; mends itself after as many refusals.
    pub drifted: u32,
    /// Rows that fit its memory at once; 0 for any number.
    pub fits: usize,
    /// Batches by id, to see that a retry has the same rows.
    pub sent: BTreeMap<Uuid, Vec<EventKey>>,
    pub inserts: u32,
    /// What is in the rollups: per minute, by table and group; twice when it was added twice.
    pub rollups: Vec<(RollupTable, Uuid, PerMinute)>,
    pub rollup_faults: VecDeque<Fault>,
    /// What becomes of the questions whether a batch, or a group, is there: a class fails one of them.
    pub batch_questions: VecDeque<Option<RetryClass>>,
    pub group_questions: VecDeque<Option<RetryClass>>,
    /// A file in which a byte is to be flipped when the next insert comes, and where.
    pub flip: Option<(PathBuf, usize)>,
}

impl Fake {
    pub fn failing(faults: &[Fault]) -> Self {
        let fake = Self::default();
        fake.0.lock().unwrap().faults = faults.iter().copied().collect();
        fake
    }

    /// Keys of all rows, sorted: a row that is stored twice is there twice.
    pub fn keys(&self) -> Vec<u128> {
        let mut keys: Vec<u128> = self.0.lock().unwrap().rows.iter().map(|(_, key)| key.0).collect();
        keys.sort_unstable();
        keys
    }

    /// Panics unless every table of rollups counts every stored row once.
    pub fn check_rollups(&self) {
        let inner = self.0.lock().unwrap();
        let sum = |counts: Vec<(u32, u64)>| {
            counts.into_iter().fold(BTreeMap::new(), |mut sums, (minute, count)| {
                *sums.entry(minute).or_insert(0) += count;
                sums
            })
        };
        for table in RollupTable::ALL {
            let own = inner.rollups.iter().filter(|(of, ..)| *of == table);
            let counted = sum(own.flat_map(|(.., counts)| counts.clone()).collect());
            assert_eq!(counted, sum(inner.per_minute(|_| true)), "{table:?}");
        }
    }
}

pub fn failure(class: RetryClass) -> Failure {
    Failure { class, message: format!("told to fail: {class:?}") }
}

impl Destination for Fake {
    async fn insert(&self, batch: Uuid, _attempt: u32, rows: &mut Rows<'_>) -> Result<(), InsertError> {
        if let Some((file, at)) = self.0.lock().unwrap().flip.take() {
            let mut bytes = std::fs::read(&file).unwrap();
            bytes[at] ^= 1;
            std::fs::write(&file, bytes).unwrap();
        }
        let mut decodes = true;
        while let Some(piece) = rows.next_piece()? {
            decodes &= piece.events().all(|event| event.is_ok());
        }
        let fault = {
            let mut inner = self.0.lock().unwrap();
            inner.inserts += 1;
            if inner.drifted > 0 {
                return Err(failure(RetryClass::Poison).into());
            }
            let fault = inner.faults.pop_front().unwrap_or(Fault::None);
            if inner.fits > 0 && rows.keys().count() > inner.fits {
                return Err(failure(RetryClass::Memory).into());
            }
            if rows.keys().any(|key| inner.poison.contains(&key)) || !decodes {
                return Err(failure(RetryClass::Poison).into());
            }
            let keys: Vec<EventKey> = rows.keys().collect();
            let count = match fault {
                Fault::None | Fault::After | Fault::Hang { stored: true } => keys.len(),
                Fault::Half => keys.len() / 2,
                Fault::Before(_) | Fault::Hang { stored: false } => 0,
            };
            inner.rows.extend(keys[..count].iter().map(|key| (batch, *key)));
            let whole = inner.sent.entry(batch).or_insert_with(|| keys.clone());
            assert!(keys.iter().all(|key| whole.contains(key)), "a retry holds rows of its batch only");
            fault
        };
        Ok(fault.answer().await?)
    }

    async fn takes_empty(&self) -> Result<(), Failure> {
        let mut inner = self.0.lock().unwrap();
        if inner.drifted == 0 {
            return Ok(());
        }
        inner.drifted -= 1;
        Err(failure(RetryClass::Poison))
    }

    async fn stored_keys(&self, batch: &BatchRef) -> Result<HashSet<EventKey>, Failure> {
        let inner = self.0.lock().unwrap();
        Ok(inner.rows.iter().filter(|(id, _)| *id == batch.id).map(|(_, key)| *key).collect())
    }

    async fn stored(&self, batch: &BatchRef, _may_run: bool) -> Result<Stored, Failure> {
        if let Some(Some(class)) = self.0.lock().unwrap().batch_questions.pop_front() {
            return Err(failure(class));
        }
        let keys = self.stored_keys(batch).await?;
        Ok(match keys.len() {
            0 => Stored::Nothing,
            stored if stored >= batch.rows => Stored::All,
            _ => Stored::Some(keys),
        })
    }

    async fn roll_up(
        &self,
        group: &Group,
        table: RollupTable,
        counts: Counts<'_>,
        _attempt: u32,
    ) -> Result<(), Failure> {
        let fault = {
            let mut inner = self.0.lock().unwrap();
            let fault = inner.rollup_faults.pop_front().unwrap_or(Fault::None);
            let counts = match counts {
                Counts::Counted(rollups) => rollups.per_minute().collect(),
                Counts::Stored => inner.per_minute(|batch| group.batches.contains(&batch)),
            };
            if matches!(fault, Fault::None | Fault::After | Fault::Hang { stored: true }) {
                inner.rollups.push((table, group.id, counts));
            }
            fault
        };
        fault.answer().await
    }

    async fn rolled_up(&self, group: &Group, table: RollupTable, _may_run: bool) -> Result<bool, Failure> {
        let mut inner = self.0.lock().unwrap();
        if let Some(Some(class)) = inner.group_questions.pop_front() {
            return Err(failure(class));
        }
        Ok(inner.rollups.iter().any(|(of, id, _)| (*of, *id) == (table, group.id)))
    }
}

impl Inner {
    /// The stored rows of some batches per minute: each event has the minute of its key.
    fn per_minute(&self, of: impl Fn(Uuid) -> bool) -> Vec<(u32, u64)> {
        let rows: HashSet<_> = self.rows.iter().filter(|(batch, _)| of(*batch)).collect();
        rows.iter().map(|(_, key)| (key.0 as u32 * 60, 1)).collect()
    }
}

impl Fault {
    async fn answer(self) -> Result<(), Failure> {
        match self {
            Self::None => Ok(()),
            Self::Before(class) => Err(failure(class)),
            Self::After | Self::Half => Err(failure(RetryClass::Ambiguous)),
            Self::Hang { .. } => std::future::pending().await,
        }
    }
}
