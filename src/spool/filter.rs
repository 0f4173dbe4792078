//! Which tags a sealed segment may have, in a quarter of what the tags take.
//!
//! A split block Bloom filter (the one of the Parquet format): a tag sets one bit in each of the eight words of one block. With
//! 16 bits a tag, about one tag in a thousand that is not there seems to be.

/// Odd numbers, each of which picks a bit in a word.
const SALTS: [u32; 8] =
    [0x9e37_79b1, 0x85eb_ca77, 0xc2b2_ae3d, 0x27d4_eb2f, 0x1656_67b1, 0xd3a2_646d, 0xfd70_46c5, 0xb55a_4f09];

/// Tags a block is made for: 16 bits each.
const TAGS_A_BLOCK: usize = 16;

/// A set of tags that answers "no" for certain and "yes" perhaps.
#[derive(Debug, Default)]
pub struct Filter {
    blocks: Box<[[u32; 8]]>,
}

impl Filter {
    pub fn of(tags: &[u64]) -> Self {
        let mut blocks = vec![[0; 8]; tags.len().div_ceil(TAGS_A_BLOCK)].into_boxed_slice();
        for &tag in tags {
            let (block, bits) = place(tag, blocks.len());
            for (word, bit) in blocks[block].iter_mut().zip(bits) {
                *word |= bit;
            }
        }
        Self { blocks }
    }

    pub fn may_have(&self, tag: u64) -> bool {
        if self.blocks.is_empty() {
            return false;
        }
        let (block, bits) = place(tag, self.blocks.len());
        self.blocks[block].iter().zip(bits).all(|(word, bit)| word & bit != 0)
    }
}

/// The block of a tag and its bit in each word. Tags are hashes, but not all callers need make good ones.
fn place(tag: u64, blocks: usize) -> (usize, [u32; 8]) {
    let mixed = u128::from(tag ^ 0x9e37_79b9_7f4a_7c15) * 0xd6e8_feb8_6659_fd93;
    let mixed = (mixed as u64) ^ ((mixed >> 64) as u64);
    let block = ((mixed >> 32) * blocks as u64) >> 32;
    (block as usize, SALTS.map(|salt| 1 << ((mixed as u32).wrapping_mul(salt) >> 27)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_tag_is_missed_and_few_others_seem_to_be_there() {
        for spread in [1, 0x9e37_79b9_7f4a_7c15_u64] {
            let tags: Vec<u64> = (0..50_000_u64).map(|n| n.wrapping_mul(spread)).collect();
            let filter = Filter::of(&tags);
            assert!(tags.iter().all(|tag| filter.may_have(*tag)));
            let others = (50_000..150_000_u64).filter(|n| filter.may_have(n.wrapping_mul(spread))).count();
            assert!(others < 500, "{others} of 100,000 seem to be there");
        }
        assert!(!Filter::of(&[]).may_have(0));
    }
}
