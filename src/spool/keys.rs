//! The latest item keys, so that a repeated item is told from a new one.

use std::{
    collections::HashSet,
    hash::{BuildHasher, Hasher, RandomState},
};

/// A set of keys with a seed that clients cannot know.
pub type KeySet = HashSet<u128, Mixed>;

/// Two generations: the younger fills to `limit`, then takes the older one's place. Remembers at least the latest `limit` keys
/// and at most twice as many, at some 20 to 40 bytes each.
pub struct Remembered {
    limit: usize,
    younger: KeySet,
    older: KeySet,
}

impl Remembered {
    pub fn new(limit: usize) -> Self {
        Self { limit: limit.max(1), younger: KeySet::default(), older: KeySet::default() }
    }

    pub fn contains(&self, key: u128) -> bool {
        self.younger.contains(&key) || self.older.contains(&key)
    }

    pub fn insert(&mut self, key: u128) {
        if self.younger.len() >= self.limit {
            std::mem::swap(&mut self.younger, &mut self.older);
            self.younger.clear();
        }
        self.younger.insert(key);
    }
}

/// One multiplication folded, under a random seed: keys are mostly hashes already, but a client may choose them.
#[derive(Clone)]
pub struct Mixed {
    seed: u128,
}

impl Default for Mixed {
    fn default() -> Self {
        let random = RandomState::new();
        Self { seed: (u128::from(random.hash_one(1_u8)) << 64) | u128::from(random.hash_one(2_u8)) }
    }
}

impl BuildHasher for Mixed {
    type Hasher = MixedHasher;

    fn build_hasher(&self) -> MixedHasher {
        MixedHasher { state: self.seed }
    }
}

pub struct MixedHasher {
    state: u128,
}

impl Hasher for MixedHasher {
    fn finish(&self) -> u64 {
        let folded = fold(self.state ^ 0x9E37_79B9_7F4A_7C15_F39C_C060_5CED_C834);
        folded ^ (folded >> 32)
    }

    fn write_u128(&mut self, key: u128) {
        self.state = u128::from(fold(self.state ^ key)) | (self.state & (u128::from(u64::MAX) << 64));
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_u128(u128::from(*byte));
        }
    }
}

fn fold(value: u128) -> u64 {
    let product = u128::from(value as u64) * u128::from((value >> 64) as u64);
    (product as u64) ^ ((product >> 64) as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_latest_keys_are_remembered_and_old_ones_go() {
        let mut remembered = Remembered::new(10);
        for key in 0..100 {
            remembered.insert(key);
        }
        assert!((90..100).all(|key| remembered.contains(key)));
        assert!(!(0..80).any(|key| remembered.contains(key)));
    }

    #[test]
    fn keys_that_differ_in_one_half_only_spread_over_the_table() {
        let hasher = Mixed::default();
        for shift in [0, 40, 64, 100] {
            let buckets: HashSet<u64> = (0..4096_u128).map(|n| hasher.hash_one(n << shift) & 0xFFFF).collect();
            assert!(buckets.len() > 3500, "{} of 4096 buckets for shift {shift}", buckets.len());
        }
    }
}
