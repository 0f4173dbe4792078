//! What was made of a text before, so that it is made once of a text that repeats.

use std::{
    collections::HashMap,
    hash::{BuildHasher, BuildHasherDefault, Hasher, RandomState},
};

use xxhash_rust::xxh3::xxh3_64_with_seed;

/// Entries at most; then it begins anew.
const MAX_ENTRIES: usize = 4096;

/// Bytes of all texts at most; then it begins anew.
const MAX_BYTES: usize = 1 << 20;

/// Longest text that is remembered, bytes: longer ones repeat seldom.
pub const MAX_TEXT: usize = 8 << 10;

/// Results by text, bounded.
#[derive(Debug)]
pub struct Recall<T> {
    /// Clients choose the texts: they must not know where they are put.
    seed: u64,
    /// By the hash of the text. Of two texts with one hash, the latter is remembered.
    entries: HashMap<u64, (Box<[u8]>, T), BuildHasherDefault<Same>>,
    bytes: usize,
}

/// The hash of a hash: itself.
#[derive(Debug, Default)]
struct Same(u64);

impl Hasher for Same {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }

    fn write(&mut self, bytes: &[u8]) {
        self.0 = xxh3_64_with_seed(bytes, self.0);
    }
}

impl<T> Default for Recall<T> {
    fn default() -> Self {
        Self { seed: RandomState::new().hash_one(0), entries: HashMap::default(), bytes: 0 }
    }
}

impl<T: Clone> Recall<T> {
    /// The result remembered of this text, else the one made now; `None` when none can be made, which is not remembered.
    pub fn get_or_make(&mut self, text: &[u8], make: impl FnOnce() -> Option<T>) -> Option<T> {
        let hash = xxh3_64_with_seed(text, self.seed);
        if let Some((known, result)) = self.entries.get(&hash)
            && **known == *text
        {
            return Some(result.clone());
        }
        let made = make()?;
        if text.len() <= MAX_TEXT {
            self.remember(hash, text, made.clone());
        }
        Some(made)
    }

    fn remember(&mut self, hash: u64, text: &[u8], result: T) {
        if self.entries.len() >= MAX_ENTRIES || self.bytes + text.len() > MAX_BYTES {
            self.entries.clear();
            self.bytes = 0;
        }
        self.bytes += text.len();
        self.entries.insert(hash, (text.into(), result));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_result_is_made_once_and_memory_is_bounded() {
        let mut table = Recall::default();
        assert_eq!(table.get_or_make(b"a", || Some(1)), Some(1));
        assert_eq!(table.get_or_make(b"a", || Some(2)), Some(1));
        assert_eq!(table.get_or_make(b"b", || None), None);
        assert_eq!(table.get_or_make(b"b", || Some(3)), Some(3));
        for number in 0..3 * MAX_ENTRIES {
            table.get_or_make(format!("{number:0>400}").as_bytes(), || Some(4));
            assert!(table.entries.len() <= MAX_ENTRIES && table.bytes <= MAX_BYTES);
        }
        let long = vec![b'x'; MAX_TEXT + 1];
        table.get_or_make(&long, || Some(5));
        assert_eq!(table.get_or_make(&long, || Some(6)), Some(6), "too long to be remembered");
    }
}
