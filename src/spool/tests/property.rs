//! Any sequence of appends, reads, forgetting, restarts and power cuts at any moment, held against a plain model.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;

#[derive(Clone, Debug)]
enum Operation {
    /// Keys may repeat within it and from before.
    Append(Vec<u128>),
    /// Reads some and forgets it.
    Forget {
        max_items: usize,
    },
    Reopen,
    /// Reopens, and cuts the power during the recovery.
    CrashInRecovery {
        after: u64,
        seed: u64,
    },
    /// The power goes so many changes later, whatever is done until then.
    CutPowerAfter(u64),
    Crash(u64),
    /// The process ends, the machine does not.
    Kill,
}

fn operation() -> impl Strategy<Value = Operation> {
    prop_oneof![
        8 => prop::collection::vec(0..200_u128, 1..12).prop_map(Operation::Append),
        3 => (1..30_usize).prop_map(|max_items| Operation::Forget { max_items }),
        1 => Just(Operation::Reopen),
        1 => (0..12_u64, any::<u64>()).prop_map(|(after, seed)| Operation::CrashInRecovery { after, seed }),
        2 => (0..20_u64).prop_map(Operation::CutPowerAfter),
        1 => any::<u64>().prop_map(Operation::Crash),
        1 => Just(Operation::Kill),
    ]
}

/// What the log must remember.
#[derive(Default)]
struct Model {
    acknowledged: BTreeSet<u128>,
    /// Tried, and neither acknowledged nor refused for certain.
    possible: BTreeSet<u128>,
    delivered: BTreeSet<u128>,
    forgotten: BTreeSet<u128>,
}

struct Machine {
    disk: Simulated,
    log: Option<(Writer, Reader)>,
    model: Model,
}

impl Machine {
    fn new() -> Self {
        let disk = Simulated::default();
        let log = Some(open(&disk, options()));
        Self { disk, log, model: Model::default() }
    }

    fn perform(&mut self, operation: Operation) {
        match operation {
            Operation::Append(keys) => self.append(keys),
            Operation::Forget { max_items } => self.forget(max_items),
            Operation::CutPowerAfter(changes) => self.disk.cut_power_after(changes),
            Operation::Reopen => {
                self.close();
                match try_open(&self.disk, options()) {
                    Ok(log) => self.log = Some(log),
                    // The power went.
                    Err(_) => self.recover(7),
                }
            }
            Operation::CrashInRecovery { after, seed } => {
                self.close();
                self.disk.crash(seed);
                self.disk.cut_power_after(after);
                if let Ok((writer, _)) = try_open(&self.disk, options()) {
                    close(&writer);
                }
                self.recover(seed.rotate_left(7));
            }
            Operation::Crash(seed) => self.recover(seed),
            Operation::Kill => {
                self.close();
                self.disk.kill();
                self.log = Some(open(&self.disk, options()));
                self.check();
            }
        }
    }

    fn append(&mut self, keys: Vec<u128>) {
        let Some((writer, _)) = &self.log else { return };
        match run(writer.append(items(keys.iter().copied()))) {
            Ok(appended) => {
                let mut seen = BTreeSet::new();
                for (index, key) in keys.into_iter().enumerate() {
                    let known = self.model.acknowledged.contains(&key) || !seen.insert(key);
                    let duplicate = appended.duplicates.contains(&index);
                    assert!(duplicate || !known, "{key} was acknowledged before and is kept again");
                    assert!(!duplicate || known || self.model.possible.contains(&key), "{key} is no duplicate");
                }
                self.model.acknowledged.extend(seen);
            }
            Err(_) => self.model.possible.extend(keys),
        }
    }

    fn forget(&mut self, max_items: usize) {
        let Some((_, reader)) = &mut self.log else { return };
        let Ok(chunk) = reader.read(reader.start(), max_items, usize::MAX) else { return };
        let keys: Vec<u128> = chunk.items.iter().map(|(_, item)| item.key).collect();
        assert!(keys.iter().all(|key| !self.model.forgotten.contains(key)), "forgotten, and there again");
        self.model.delivered.extend(&keys);
        if reader.forget(chunk.end).is_ok() {
            self.model.forgotten.extend(keys);
        }
    }

    fn close(&mut self) {
        if let Some((writer, _)) = self.log.take() {
            close(&writer);
        }
    }

    /// Cuts the power, opens, and holds everything there is against the model.
    fn recover(&mut self, seed: u64) {
        self.close();
        self.disk.crash(seed);
        self.log = Some(open(&self.disk, options()));
        self.check();
    }

    fn check(&mut self) {
        let Some((writer, reader)) = &mut self.log else { return };
        let there = queued(reader);
        let distinct: BTreeSet<u128> = there.iter().copied().collect();
        assert_eq!(distinct.len(), there.len(), "kept twice: {there:?}");
        for key in &self.model.acknowledged {
            // A checkpoint whose write failed may be durable all the same: what it covers was delivered.
            assert!(distinct.contains(key) || self.model.delivered.contains(key), "{key} was acknowledged and is lost");
        }
        for key in &distinct {
            assert!(!self.model.forgotten.contains(key), "{key} was forgotten and is there again");
            assert!(self.model.acknowledged.contains(key) || self.model.possible.contains(key), "{key} from nowhere");
            assert!(writer.holds(item(*key).tag));
        }
        assert_eq!(writer.stats().items, there.len() as u64);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn whatever_crashes_acknowledged_items_are_kept_once(operations in prop::collection::vec(operation(), 1..60)) {
        let mut machine = Machine::new();
        for operation in operations {
            machine.perform(operation);
        }
        machine.recover(42);
        machine.close();
    }
}
