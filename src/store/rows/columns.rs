//! Columns in the making: Arrow's buffers, filled row by row.

use std::{
    collections::HashMap,
    hash::{BuildHasher, BuildHasherDefault, Hash, Hasher, RandomState},
    sync::{Arc, LazyLock},
};

use arrow_array::{
    Array, ArrayRef, DictionaryArray, FixedSizeBinaryArray, ListArray, PrimitiveArray, StringArray,
    TimestampMillisecondArray, types::Int32Type,
};
use arrow_buffer::{Buffer, OffsetBuffer, ScalarBuffer};
use arrow_schema::{ArrowError, Field};
use xxhash_rust::xxh3::xxh3_64_with_seed;

/// Texts of high cardinality.
#[derive(Debug)]
pub(super) struct Texts {
    offsets: Vec<i32>,
    bytes: Vec<u8>,
}

impl Texts {
    pub fn with_capacity(rows: usize) -> Self {
        let mut offsets = Vec::with_capacity(rows + 1);
        offsets.push(0);
        Self { offsets, bytes: Vec::new() }
    }

    /// The caller bounds the sum of all texts by 31 bits.
    pub fn push(&mut self, text: &str) {
        self.push_bytes(text.as_bytes());
    }

    /// The bytes of a text. (Whether they are one is checked in the end.)
    pub fn push_bytes(&mut self, text: &[u8]) {
        self.bytes.extend_from_slice(text);
        self.offsets.push(self.bytes.len() as i32);
    }

    fn array(self) -> Result<StringArray, ArrowError> {
        StringArray::try_new(offsets(self.offsets), Buffer::from_vec(self.bytes), None)
    }

    pub fn finish(self) -> Result<ArrayRef, ArrowError> {
        Ok(Arc::new(self.array()?))
    }
}

/// Texts that repeat: a dictionary, which `LowCardinality` takes over without hashing each row.
///
/// `K` is what a text is known by: itself, or the parts it is put together from.
#[derive(Debug)]
pub(super) struct Words<K> {
    keys: Vec<i32>,
    known: HashMap<K, i32, BuildHasherDefault<TextHasher>>,
    /// In the order of their keys: the same rows give the same bytes.
    texts: Texts,
    last: Option<(K, i32)>,
}

impl<K: Copy + Eq + Hash> Words<K> {
    pub fn with_capacity(rows: usize) -> Self {
        let (known, texts) = (HashMap::default(), Texts::with_capacity(0));
        Self { keys: Vec::with_capacity(rows), known, texts, last: None }
    }

    /// Adds a row; `write` adds the text of one that was not there before.
    pub fn push_with(&mut self, word: K, write: impl FnOnce(&mut Texts)) {
        let key = match self.last {
            Some((last, key)) if last == word => key,
            _ => {
                let (next, texts) = (self.known.len() as i32, &mut self.texts);
                let key = *self.known.entry(word).or_insert_with(|| {
                    write(texts);
                    next
                });
                self.last = Some((word, key));
                key
            }
        };
        self.keys.push(key);
    }

    pub fn finish(self) -> Result<ArrayRef, ArrowError> {
        let keys = PrimitiveArray::<Int32Type>::new(self.keys.into(), None);
        Ok(Arc::new(DictionaryArray::try_new(keys, Arc::new(self.texts.array()?))?))
    }
}

impl<'a> Words<&'a str> {
    pub fn push(&mut self, word: &'a str) {
        self.push_with(word, |texts| texts.push(word));
    }
}

/// Where the lists of a row end; several columns may share it.
#[derive(Debug)]
pub(super) struct Ends(Vec<i32>);

impl Ends {
    pub fn with_capacity(rows: usize) -> Self {
        let mut ends = Vec::with_capacity(rows + 1);
        ends.push(0);
        Self(ends)
    }

    pub fn push(&mut self, length: usize) {
        let last = self.0.last().copied().unwrap_or_default();
        self.0.push(last + length as i32);
    }

    /// Lists of each of the values.
    pub fn finish<const N: usize>(self, values: [ArrayRef; N]) -> Result<[ArrayRef; N], ArrowError> {
        let ends = offsets(self.0);
        let mut lists = Vec::with_capacity(N);
        for values in values {
            let item = Arc::new(Field::new_list_field(values.data_type().clone(), false));
            lists.push(Arc::new(ListArray::try_new(item, ends.clone(), values, None)?) as ArrayRef);
        }
        lists.try_into().map_err(|_| ArrowError::ComputeError("a list was lost".to_owned()))
    }
}

/// 16 bytes a row.
pub(super) fn sixteens(bytes: Vec<u8>) -> Result<ArrayRef, ArrowError> {
    Ok(Arc::new(FixedSizeBinaryArray::try_new(16, Buffer::from_vec(bytes), None)?))
}

/// Milliseconds since the Unix epoch. (`Int64` would silently be read as seconds.)
pub(super) fn times(milliseconds: Vec<i64>) -> ArrayRef {
    Arc::new(TimestampMillisecondArray::new(ScalarBuffer::from(milliseconds), None).with_timezone("UTC"))
}

/// `ends` ascend, because lengths were added up.
fn offsets(ends: Vec<i32>) -> OffsetBuffer<i32> {
    OffsetBuffer::new(ScalarBuffer::from(ends))
}

/// Hashes each text in one go. Seeded anew in every process, because clients choose the texts.
#[derive(Debug)]
pub(super) struct TextHasher(u64);

static SEED: LazyLock<u64> = LazyLock::new(|| RandomState::new().hash_one(0));

impl Default for TextHasher {
    fn default() -> Self {
        Self(*SEED)
    }
}

impl Hasher for TextHasher {
    fn write(&mut self, bytes: &[u8]) {
        self.0 = xxh3_64_with_seed(bytes, self.0);
    }

    /// What ends a `str`: the hash of its bytes knows their number.
    fn write_u8(&mut self, _: u8) {}

    /// The length of an array, always the same here.
    fn write_usize(&mut self, _: usize) {}

    fn finish(&self) -> u64 {
        self.0
    }
}
