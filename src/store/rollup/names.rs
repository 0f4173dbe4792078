//! Texts that repeat, as small numbers.

use std::{
    collections::HashMap,
    hash::{BuildHasher, Hasher, RandomState},
    sync::Arc,
};

use xxhash_rust::xxh3::xxh3_64_with_seed;

/// The number of a text.
pub(super) type Name = u32;

/// Each text once.
#[derive(Default)]
pub(super) struct Names {
    numbers: HashMap<Arc<str>, Name, Seeded>,
    texts: Vec<Arc<str>>,
    /// Of all texts.
    bytes: usize,
}

impl Names {
    pub(super) fn number(&mut self, text: &str) -> Name {
        if let Some(number) = self.numbers.get(text) {
            return *number;
        }
        let number = self.texts.len() as Name;
        let text: Arc<str> = text.into();
        self.bytes += text.len();
        self.texts.push(Arc::clone(&text));
        self.numbers.insert(text, number);
        number
    }

    pub(super) fn text(&self, name: Name) -> &str {
        &self.texts[name as usize]
    }

    pub(super) fn len(&self) -> usize {
        self.texts.len()
    }

    /// Bytes of memory, about.
    pub(super) fn memory(&self) -> usize {
        self.texts.len() * 80 + self.bytes
    }
}

/// XXH3 with a seed of the process: as fast as a map of short keys needs, and nobody outside can choose keys that collide.
#[derive(Clone, Copy)]
pub(super) struct Seeded(u64);

impl Default for Seeded {
    fn default() -> Self {
        Self(RandomState::new().hash_one(0))
    }
}

impl Seeded {
    /// One hash of several texts.
    pub(super) fn of_all(self, texts: [&str; 5], number: u16) -> u64 {
        texts.iter().fold(self.0 ^ u64::from(number), |hash, text| xxh3_64_with_seed(text.as_bytes(), hash))
    }
}

impl BuildHasher for Seeded {
    type Hasher = SeededHasher;

    fn build_hasher(&self) -> SeededHasher {
        SeededHasher(self.0)
    }
}

pub(super) struct SeededHasher(u64);

impl Hasher for SeededHasher {
    fn write(&mut self, bytes: &[u8]) {
        self.0 = xxh3_64_with_seed(bytes, self.0);
    }

    /// Ends a text; what it is hashed with says as much already.
    fn write_u8(&mut self, _: u8) {}

    fn write_u32(&mut self, number: u32) {
        self.write_u64(number.into());
    }

    fn write_u64(&mut self, number: u64) {
        self.0 = (self.0 ^ number).wrapping_mul(0x9E37_79B9_7F4A_7C15).rotate_left(31);
    }

    fn finish(&self) -> u64 {
        self.0 ^ (self.0 >> 29)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_has_one_number_and_a_number_its_text() {
        let mut names = Names::default();
        let numbers: Vec<_> = ["a", "", "b", "a", ""].iter().map(|text| names.number(text)).collect();
        assert_eq!(numbers, [0, 1, 2, 0, 1]);
        assert_eq!((names.text(0), names.text(1), names.len()), ("a", "", 3));
    }

    #[test]
    fn where_a_text_ends_makes_a_difference_to_the_hash_of_several() {
        let seeded = Seeded::default();
        let hash = |first, second| seeded.of_all([first, second, "", "", ""], 422);
        assert_ne!(hash("ab", "c"), hash("a", "bc"));
        assert_ne!(hash("a", ""), hash("", "a"));
        assert_eq!(hash("a", "b"), hash("a", "b"));
    }
}
