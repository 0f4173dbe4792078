//! What was made of a text before, so that it is made once of a text that repeats.

use std::{
    collections::HashMap,
    hash::{BuildHasher, BuildHasherDefault, Hasher, RandomState},
};

use xxhash_rust::xxh3::xxh3_64_with_seed;

/// Entries of a generation.
const MAX_ENTRIES: usize = 4096;

/// Bytes of all texts of a generation.
const MAX_BYTES: usize = 512 << 10;

/// Longest text that is remembered, bytes: longer ones repeat seldom.
pub const MAX_TEXT: usize = 8 << 10;

/// Results by text. Two generations: when the younger is full it takes the older one's place, and what is asked for again comes
/// along; so what repeats stays, and the memory is bounded.
#[derive(Debug)]
pub struct Recall<T> {
    /// Clients choose the texts: they must not know where they are put.
    seed: u64,
    younger: Generation<T>,
    older: Generation<T>,
    /// Bytes of the younger one's texts.
    bytes: usize,
}

/// By the hash of the text. Of two texts with one hash, the latter is remembered.
type Generation<T> = HashMap<u64, (Box<[u8]>, T), BuildHasherDefault<Same>>;

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
        let (younger, older) = (HashMap::default(), HashMap::default());
        Self { seed: RandomState::new().hash_one(0), younger, older, bytes: 0 }
    }
}

impl<T: Clone> Recall<T> {
    /// The result remembered of this text, else the one made now; `None` when none can be made, which is not remembered.
    pub fn get_or_make(&mut self, text: &[u8], make: impl FnOnce() -> Option<T>) -> Option<T> {
        let hash = xxh3_64_with_seed(text, self.seed);
        if let Some((known, result)) = self.younger.get(&hash)
            && **known == *text
        {
            return Some(result.clone());
        }
        let known = self.older.remove(&hash).filter(|(known, _)| **known == *text);
        let (text, result) = match known {
            Some(known) => known,
            None => (text.into(), make()?),
        };
        if text.len() <= MAX_TEXT {
            self.remember(hash, text, result.clone());
        }
        Some(result)
    }

    fn remember(&mut self, hash: u64, text: Box<[u8]>, result: T) {
        if self.younger.len() >= MAX_ENTRIES || self.bytes + text.len() > MAX_BYTES {
            std::mem::swap(&mut self.younger, &mut self.older);
            self.younger.clear();
            self.bytes = 0;
        }
        self.bytes += text.len();
        self.younger.insert(hash, (text, result));
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
            assert!(table.younger.len() <= MAX_ENTRIES && table.bytes <= MAX_BYTES);
            assert_eq!(table.get_or_make(b"a", || Some(9)), Some(1), "what is asked for again stays");
        }
        assert_eq!(table.get_or_make(b"b", || Some(7)), Some(7), "what is not asked for goes");
        let long = vec![b'x'; MAX_TEXT + 1];
        table.get_or_make(&long, || Some(5));
        assert_eq!(table.get_or_make(&long, || Some(6)), Some(6), "too long to be remembered");
    }
}
