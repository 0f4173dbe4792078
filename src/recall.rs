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

/// Texts that were seen once lately, as far as they are told apart.
const DOOR: usize = 4096;

/// Results by text. A text is remembered when it is seen a second time: most of those that never repeat cost no memory. Two
/// generations: when the younger is full it takes the older one's place, and what is asked for again comes along; so what
/// repeats stays, and the memory is bounded.
#[derive(Debug)]
pub struct Recall<T> {
    /// Clients choose the texts: they must not know where they are put.
    seed: u64,
    /// Upper halves of the hashes of texts seen once, each in the place that its lower half says.
    door: Box<[u32]>,
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
        Self { seed: RandomState::new().hash_one(0), door: vec![0; DOOR].into(), younger, older, bytes: 0 }
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
        if let Some((known, result)) = self.older.remove(&hash).filter(|(known, _)| **known == *text) {
            self.remember(hash, known, result.clone());
            return Some(result);
        }
        let result = make()?;
        if text.len() <= MAX_TEXT && self.was_seen(hash) {
            self.remember(hash, text.into(), result.clone());
        }
        Some(result)
    }

    /// Whether a text of this hash was seen before; it is now.
    fn was_seen(&mut self, hash: u64) -> bool {
        let (seen, upper) = (&mut self.door[hash as usize % DOOR], (hash >> 32) as u32);
        std::mem::replace(seen, upper) == upper
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
    fn what_repeats_is_made_twice_at_most_and_memory_is_bounded() {
        let mut table = Recall::default();
        assert_eq!(table.get_or_make(b"a", || Some(0)), Some(0));
        assert_eq!(table.get_or_make(b"a", || Some(1)), Some(1), "seen once only");
        assert_eq!(table.get_or_make(b"a", || Some(2)), Some(1));
        assert_eq!(table.get_or_make(b"b", || None), None);
        assert_eq!(table.get_or_make(b"b", || Some(3)), Some(3));
        assert_eq!(table.get_or_make(b"b", || Some(4)), Some(4));
        for number in 0..3 * MAX_ENTRIES {
            for _ in 0..2 {
                table.get_or_make(format!("{number:0>400}").as_bytes(), || Some(4));
            }
            assert!(table.younger.len() <= MAX_ENTRIES && table.bytes <= MAX_BYTES);
            assert_eq!(table.get_or_make(b"a", || Some(9)), Some(1), "what is asked for again stays");
        }
        assert!(table.younger.len() > 100, "{}", table.younger.len());
        assert_eq!(table.get_or_make(b"b", || Some(7)), Some(7), "what is not asked for goes");
        let long = vec![b'x'; MAX_TEXT + 1];
        table.get_or_make(&long, || Some(5));
        table.get_or_make(&long, || Some(5));
        assert_eq!(table.get_or_make(&long, || Some(6)), Some(6), "too long to be remembered");
    }

    #[test]
    fn what_never_repeats_is_not_kept() {
        let mut table = Recall::default();
        for number in 0..100_000 {
            table.get_or_make(format!("{number}").as_bytes(), || Some(()));
        }
        assert!(table.younger.len() + table.older.len() < 10, "{}", table.younger.len());
    }
}
